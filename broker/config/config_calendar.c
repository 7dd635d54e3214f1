#include "broker/config/config_calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/config/config_mem.h"
#include "shm/weir_base.h"

#define ZONE_DIR "/usr/share/zoneinfo/"

/* Of what is no such file, a folder or a list, tzset(3) would make UTC without a word. RFC 8536: "TZif". */
static bool is_zone_file(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "re");
    bool is = f != NULL && fread(magic, 1, sizeof magic, f) == sizeof magic &&
              memcmp(magic, "TZif", sizeof magic) == 0;
    if (f != NULL) {
        (void)fclose(f);
    }
    return is;
}

bool weir_config_zone_exists(const char *zone)
{
    char path[sizeof(ZONE_DIR) + 64];
    size_t bytes = strlen(zone);
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    if (bytes == 0) {
        return true;
    }
    if (bytes > 63 || strspn(zone, allowed) != bytes || zone[0] == '/') {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s%s", ZONE_DIR, zone);
    return is_zone_file(path);
}

/* The local date and hour that begins window `id`. */
static struct tm edge_local(enum weir_config_calendar_unit unit, int64_t id)
{
    struct tm tm = {.tm_year = 70, .tm_mday = 1, .tm_isdst = -1};
    switch (unit) {
    case WEIR_CONFIG_CALENDAR_MONTH:
        tm.tm_year = (int)(id / 12) - 1900;
        tm.tm_mon = (int)(id % 12);
        break;
    case WEIR_CONFIG_CALENDAR_DAY:
        tm.tm_mday = (int)id + 1; /* mktime carries days over into months */
        break;
    case WEIR_CONFIG_CALENDAR_HALF_DAY:
        tm.tm_mday = (int)(id / 2) + 1;
        tm.tm_hour = (int)(id % 2) * 12;
        break;
    case WEIR_CONFIG_CALENDAR_NONE:
        break;
    }
    return tm;
}

/* The window that holds the local time `tm`: months since year 0, days or half days since 1970-01-01. */
static int64_t window_of(enum weir_config_calendar_unit unit, const struct tm *tm)
{
    struct tm day = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    int64_t days = (int64_t)timegm(&day) / 86400;
    switch (unit) {
    case WEIR_CONFIG_CALENDAR_MONTH:
        return ((int64_t)tm->tm_year + 1900) * 12 + tm->tm_mon;
    case WEIR_CONFIG_CALENDAR_HALF_DAY:
        return days * 2 + (tm->tm_hour >= 12);
    case WEIR_CONFIG_CALENDAR_DAY:
    case WEIR_CONFIG_CALENDAR_NONE:
        break;
    }
    return days;
}

static size_t edges_of(enum weir_config_calendar_unit unit)
{
    return unit == WEIR_CONFIG_CALENDAR_MONTH ? 300
           : unit == WEIR_CONFIG_CALENDAR_DAY ? WEIR_CONFIG_EDGES_MAX / 2
                                              : WEIR_CONFIG_EDGES_MAX;
}

static void edges_fill(struct weir_config_calendar *calendar, enum weir_config_calendar_unit unit,
                       int64_t now_utc_s)
{
    const time_t now = (time_t)now_utc_s;
    struct tm tm;
    (void)localtime_r(&now, &tm);
    int64_t first = window_of(unit, &tm) - 1;
    calendar->first_id = (uint64_t)first;
    calendar->shortest_ns = UINT64_MAX;
    calendar->longest_ns = 0;
    for (size_t i = 0; i < calendar->cnt; i++) {
        tm = edge_local(unit, first + (int64_t)i);
        calendar->edge_utc_ns[i] = (uint64_t)mktime(&tm) * WEIR_NS_PER_S;
        if (i > 0) {
            uint64_t length_ns = calendar->edge_utc_ns[i] - calendar->edge_utc_ns[i - 1];
            calendar->shortest_ns = weir_min_u64(calendar->shortest_ns, length_ns);
            calendar->longest_ns = weir_max_u64(calendar->longest_ns, length_ns);
        }
    }
}

bool weir_config_calendar_fill(struct weir_config_calendar *calendar,
                               enum weir_config_calendar_unit unit, const char *zone,
                               int64_t now_utc_s, struct weir_config_block **list)
{
    const char *before = getenv("TZ");
    char *kept = before != NULL ? strdup(before) : NULL;
    calendar->cnt = edges_of(unit);
    calendar->edge_utc_ns = weir_config_mem_get(list, calendar->cnt * sizeof(uint64_t));
    if (calendar->edge_utc_ns == NULL || (before != NULL && kept == NULL)) {
        free(kept);
        return false;
    }
    (void)setenv("TZ", *zone != '\0' ? zone : "UTC0", 1);
    tzset();
    edges_fill(calendar, unit, now_utc_s);
    (void)(kept != NULL ? setenv("TZ", kept, 1) : unsetenv("TZ"));
    tzset();
    free(kept);
    return true;
}
