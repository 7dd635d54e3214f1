/*
 * config_calendar.h: the edges of calendar windows: half days and days of a time zone, months.
 *
 * They are worked out once, when the file is read, by the C library's rules for the zone (tz database), so that the permit path only looks
 * numbers up. They reach from the window before now to about three years ahead; a broker that runs longer stops granting there.
 */
#ifndef WEIR_CONFIG_CALENDAR_H
#define WEIR_CONFIG_CALENDAR_H

#include "broker/config/config.h"

/* How far ahead: three years of half days, days, or 25 years of months. */
#define WEIR_CONFIG_EDGES_MAX 2200U

/* Is there such a zone in the tz database? "" is UTC. */
bool weir_config_zone_exists(const char *zone);

/*
 * Fill `calendar` for windows of `unit` in `zone` around `now_utc_s`; memory from `list`. False: out of memory. Sets and restores TZ, so: one thread only.
 */
bool weir_config_calendar_fill(struct weir_config_calendar *calendar,
                               enum weir_config_calendar_unit unit, const char *zone,
                               int64_t now_utc_s, struct weir_config_block **list);

#endif
