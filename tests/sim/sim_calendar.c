#include "sim_calendar.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { DAY_S = 86400, LONGEST_S = 32 * DAY_S /* no month is longer, daylight saving included */ };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

bool sim_calendar_zone_known(const char *zone)
{
    char path[SIM_ZONE_BYTES + 32];
    struct stat file;

    if (!isalpha((unsigned char)*zone) || strstr(zone, "..")) {
        return false;
    }
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", zone);
    return stat(path, &file) == 0 && S_ISREG(file.st_mode);
}

static struct tm local_of(const struct sim_limit_rule *rule, int64_t utc_s)
{
    time_t time_s = (time_t)(utc_s + rule->utc_offset_min * 60);
    const char *now_set = getenv("TZ");
    struct tm tm;

    if (!*rule->zone) {
        gmtime_r(&time_s, &tm);
        return tm;
    }
    if (!now_set || strcmp(now_set, rule->zone) != 0) {
        setenv("TZ", rule->zone, 1);
        tzset();
    }
    localtime_r(&time_s, &tm);
    return tm;
}

/* Days since 1970-01-01, or months since year 0, on the local calendar. */
static int64_t period_at(const struct sim_limit_rule *rule, int64_t utc_s)
{
    struct tm tm = local_of(rule, utc_s);

    if (rule->every == SIM_EVERY_MONTH) {
        return (int64_t)(tm.tm_year + 1900) * 12 + tm.tm_mon;
    }
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
    return floor_div((int64_t)timegm(&tm), DAY_S);
}

/* The first second from FROM_S on whose period is at least NUMBER. Searched,
   not computed: a midnight that daylight saving skips has no other definition. */
static int64_t period_start(const struct sim_limit_rule *rule, int64_t number, int64_t from_s)
{
    int64_t low = from_s; /* before the start */
    int64_t high = from_s + LONGEST_S;

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        if (period_at(rule, middle) >= number) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return high;
}

struct sim_span sim_calendar_span(const struct sim_limit_rule *rule, int64_t utc_ns)
{
    int64_t window_ns = rule->window_ms * SIM_NS_PER_MS;
    int64_t phase_ns = rule->phase_ms * SIM_NS_PER_MS;
    int64_t utc_s = floor_div(utc_ns, SIM_NS_PER_S);
    int64_t number;

    if (rule->every == SIM_EVERY_WINDOW_MS) {
        number = floor_div(utc_ns - phase_ns, window_ns);
        return (struct sim_span){number, number * window_ns + phase_ns,
                                 (number + 1) * window_ns + phase_ns};
    }
    number = period_at(rule, utc_s);
    return (struct sim_span){number, period_start(rule, number, utc_s - LONGEST_S) * SIM_NS_PER_S,
                             period_start(rule, number + 1, utc_s) * SIM_NS_PER_S};
}
