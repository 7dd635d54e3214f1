/*
 * log.h: weird's log, one JSON object a line on stderr.
 *
 *   {"at":"2026-11-22T04:05:06.123456Z","level":"info","process":"worker","event":"client_attached","client":3,...}
 *
 * `event` is a stable name, past participle or condition; fields end in their unit. A line is one write(2), so lines of the supervisor and
 * the worker do not mix. Nothing that a client or the network sent is logged except names that were checked, numbers, and lengths.
 */
#ifndef WEIR_BROKER_LOG_H
#define WEIR_BROKER_LOG_H

#include "broker/config/config.h"
#include "shm/weir_base.h"

void log_open(enum weir_config_log level, const char *process);

struct crash_ring;

/* Keep the last lines of this process in `ring`, too (crash.h). NULL: no more. */
void log_keep(struct crash_ring *ring);

/* Do now what the first line would do: later files may be out of reach (cage.h). Writes nothing. */
void log_warm_up(void);

/*
 * Write one event. `fields` is a json_pack format for the inside of an object, e.g. "s:i, s:s", or "" for none (jansson(3)). A line that
 * cannot be built (text that is not UTF-8, no memory) is replaced by one that says so.
 */
void log_event(enum weir_config_log level, const char *event, const char *fields, ...);

#define log_debug(...) log_event(WEIR_CONFIG_LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_event(WEIR_CONFIG_LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_event(WEIR_CONFIG_LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(WEIR_CONFIG_LOG_ERROR, __VA_ARGS__)

#endif
