/*
 * Windows by server time: of a fixed length from a phase, or a day or month of
 * a calendar. A day of a zone with daylight saving has 23 or 25 hours twice a
 * year; it begins at the first instant that carries its date.
 */
#ifndef SIM_CALENDAR_H
#define SIM_CALENDAR_H

#include "sim_limit.h"

struct sim_span {
    int64_t number; /* one more than that of the span before */
    int64_t from_utc_ns;
    int64_t until_utc_ns;
};

/* The span that holds UTC_NS. Changes TZ of the process: one thread only. */
struct sim_span sim_calendar_span(const struct sim_limit_rule *rule, int64_t utc_ns);

/* False: this machine's tz database has no such zone, and libc would silently
   take it for UTC. */
bool sim_calendar_zone_known(const char *zone);

#endif
