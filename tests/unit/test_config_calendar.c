/*
 * test_config_calendar.c: where the windows of a calendar begin. Oracles: edges read off date(1) and zdump(8) with TZ set; and for every window of three years
 * localtime_r: at an edge the window's date is there, a second before it was not. So a window begins with its first instant, where a midnight is left out or comes twice too.
 */
#include "broker/config/config_calendar.h"
#include "broker/config/config_mem.h"
#include "shm/weir_base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define NEW_YEAR_2026_S INT64_C(1767225600)
#define HOUR_S          INT64_C(3600)

struct made {
    struct weir_config_calendar calendar;
    struct weir_config_block *list;
};

static struct made make(enum weir_config_calendar_unit unit, const char *zone, int64_t now_s)
{
    struct made m = {0};
    assert_true(weir_config_calendar_fill(&m.calendar, unit, zone, now_s, &m.list));
    return m;
}

static int64_t edge_s(const struct made *m, size_t i)
{
    assert_int_equal(m->calendar.edge_utc_ns[i] % WEIR_NS_PER_S, 0);
    return (int64_t)(m->calendar.edge_utc_ns[i] / WEIR_NS_PER_S);
}

/* Is there a window [from, from + hours)? */
static void assert_window(const struct made *m, int64_t from_s, int64_t hours)
{
    size_t i = 0;
    while (i + 2 < m->calendar.cnt && edge_s(m, i) < from_s) {
        i++;
    }
    assert_int_equal(edge_s(m, i), from_s);
    assert_int_equal(edge_s(m, i + 1), from_s + hours * HOUR_S);
}

/* The window of the local time at `at_s`, by the C library's other function. TZ is set. */
static int64_t window_at(enum weir_config_calendar_unit unit, int64_t at_s)
{
    const time_t at = (time_t)at_s;
    struct tm tm;
    assert_non_null(localtime_r(&at, &tm));
    struct tm date = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
    int64_t days = (int64_t)timegm(&date) / 86400;
    return unit == WEIR_CONFIG_CALENDAR_MONTH ? (tm.tm_year + INT64_C(1900)) * 12 + tm.tm_mon
           : unit == WEIR_CONFIG_CALENDAR_DAY ? days
                                              : days * 2 + (tm.tm_hour >= 12);
}

static void check_all(enum weir_config_calendar_unit unit, const char *zone, int64_t now_s)
{
    struct made m = make(unit, zone, now_s);
    uint64_t shortest_ns = UINT64_MAX;
    uint64_t longest_ns = 0;
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
    assert_true(edge_s(&m, 0) <= now_s && now_s < edge_s(&m, m.calendar.cnt - 1));
    assert_int_equal(window_at(unit, now_s), (int64_t)m.calendar.first_id + 1);
    for (size_t i = 0; i < m.calendar.cnt; i++) {
        int64_t id = (int64_t)(m.calendar.first_id + i);
        if (window_at(unit, edge_s(&m, i)) != id || window_at(unit, edge_s(&m, i) - 1) >= id) {
            fail_msg("%s, unit %d: window %lld does not begin at %lld", zone, (int)unit,
                     (long long)id, (long long)edge_s(&m, i));
        }
        if (i > 0) {
            uint64_t length_ns = m.calendar.edge_utc_ns[i] - m.calendar.edge_utc_ns[i - 1];
            shortest_ns = weir_min_u64(shortest_ns, length_ns);
            longest_ns = weir_max_u64(longest_ns, length_ns);
        }
    }
    assert_true(shortest_ns == m.calendar.shortest_ns && longest_ns == m.calendar.longest_ns);
    weir_config_mem_free(m.list);
}

/* Days of 23 and of 25 hours. */
static void test_daylight_saving(void **state)
{
    (void)state;
    struct made m = make(WEIR_CONFIG_CALENDAR_DAY, "America/New_York", NEW_YEAR_2026_S);
    assert_window(&m, 1772946000, 23); /* 2026-03-08 */
    assert_window(&m, 1773028800, 24);
    assert_window(&m, 1793505600, 25); /* 2026-11-01 */
    assert_int_equal(m.calendar.shortest_ns, 23 * HOUR_S * (int64_t)WEIR_NS_PER_S);
    assert_int_equal(m.calendar.longest_ns, 25 * HOUR_S * (int64_t)WEIR_NS_PER_S);
    weir_config_mem_free(m.list);
    m = make(WEIR_CONFIG_CALENDAR_HALF_DAY, "America/New_York", NEW_YEAR_2026_S);
    assert_window(&m, 1772946000, 11);
    assert_window(&m, 1772946000 + 11 * HOUR_S, 12);
    weir_config_mem_free(m.list);
    m = make(WEIR_CONFIG_CALENDAR_MONTH, "Europe/Berlin", NEW_YEAR_2026_S);
    assert_window(&m, 1772319600, 31 * 24 - 1); /* March */
    weir_config_mem_free(m.list);
}

/* Beirut leaves one out: 2026-03-29 begins at 01:00. On the Azores one comes twice: 2026-10-25 begins at the first. */
static void test_midnights(void **state)
{
    (void)state;
    struct made m = make(WEIR_CONFIG_CALENDAR_DAY, "Asia/Beirut", NEW_YEAR_2026_S);
    assert_window(&m, 1774735200, 23);
    weir_config_mem_free(m.list);
    m = make(WEIR_CONFIG_CALENDAR_DAY, "Atlantic/Azores", NEW_YEAR_2026_S);
    assert_window(&m, 1792886400, 25);
    weir_config_mem_free(m.list);
}

static void test_utc(void **state)
{
    (void)state;
    struct made m = make(WEIR_CONFIG_CALENDAR_DAY, "", NEW_YEAR_2026_S);
    assert_window(&m, NEW_YEAR_2026_S, 24);
    assert_true(m.calendar.shortest_ns == m.calendar.longest_ns);
    weir_config_mem_free(m.list);
    m = make(WEIR_CONFIG_CALENDAR_MONTH, "", NEW_YEAR_2026_S);
    assert_window(&m, 1769904000, 28 * 24); /* February */
    assert_window(&m, 1832976000, 29 * 24); /* of 2028 */
    weir_config_mem_free(m.list);
}

/* Wherever clocks change, and at whatever time of the year the file is read. */
static void test_every_window(void **state)
{
    static const char *const zones[] = {
        "America/New_York", "America/Chicago",     "Europe/London",   "Asia/Hong_Kong",
        "Asia/Kolkata",     "Australia/Lord_Howe", "Africa/Cairo",    "Asia/Beirut",
        "America/Havana",   "America/Santiago",    "Atlantic/Azores", "Asia/Kathmandu",
        "Pacific/Chatham",  "Africa/Casablanca",   "Etc/GMT-14",      "Etc/GMT+12"};
    (void)state;
    for (size_t z = 0; z < WEIR_ARRAY_CNT(zones); z++) {
        if (!weir_config_zone_exists(zones[z])) {
            print_message("no zone %s here\n", zones[z]);
            continue;
        }
        for (int64_t day = 0; day < 365; day += 53) {
            int64_t now_s = NEW_YEAR_2026_S + day * 24 * HOUR_S + day * 1711;
            check_all(WEIR_CONFIG_CALENDAR_HALF_DAY, zones[z], now_s);
            check_all(WEIR_CONFIG_CALENDAR_DAY, zones[z], now_s);
            check_all(WEIR_CONFIG_CALENDAR_MONTH, zones[z], now_s);
        }
    }
}

/* The process's own zone is as it was, set or not. */
static void test_own_zone_stays(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    struct made m = make(WEIR_CONFIG_CALENDAR_DAY, "America/New_York", NEW_YEAR_2026_S);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    weir_config_mem_free(m.list);
    assert_int_equal(unsetenv("TZ"), 0);
    m = make(WEIR_CONFIG_CALENDAR_DAY, "America/New_York", NEW_YEAR_2026_S);
    assert_null(getenv("TZ"));
    weir_config_mem_free(m.list);
}

static void test_zone_names(void **state)
{
    /* A folder, and a list of leap seconds: libc would take both for UTC. */
    static const char *const bad[] = {
        "Mars/Olympus", "../../../etc/passwd", "/etc/passwd", "UTC 0", "a;b",
        "America",      "leapseconds"};
    (void)state;
    assert_true(weir_config_zone_exists(""));
    assert_true(weir_config_zone_exists("America/New_York"));
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        assert_false(weir_config_zone_exists(bad[i]));
    }
    char longest[80];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_false(weir_config_zone_exists(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_daylight_saving),
        cmocka_unit_test(test_midnights),
        cmocka_unit_test(test_utc),
        cmocka_unit_test(test_every_window),
        cmocka_unit_test(test_own_zone_stays),
        cmocka_unit_test(test_zone_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
