/*
 * replay.h: weird --replay: a recorded log against a configuration, offline.
 *
 * Each line becomes a call (replay_line.h). Either it asks for a permit in a dry run of the configuration, in virtual time that follows the log, and is
 * dropped where it is refused; or (`as_sent`) all calls count as made. Either way what was made is counted by the exchange's published rule
 * (replay_count.h): of the first, that must never be above a quota.
 *
 * Assumed: the provider's clock is known exactly where the configuration asks for it, and nothing was used before the log's first line. Streams: memory grows with limits and
 * with windows that were not in order, not with the log.
 */
#ifndef WEIR_BROKER_REPLAY_H
#define WEIR_BROKER_REPLAY_H

#include "broker/config/config.h"

struct replay_options {
    const char *config_path;
    const char *log;      /* "-": standard input */
    const char *provider; /* access logs: only its routes; NULL: all */
    bool as_sent;
    bool
        keep_time; /* access logs: calls stay at the second's start instead of being spread over it */
    bool json;
};

/*
 * Replay; the report goes to standard output, what is wrong with lines to standard error. Returns the exit status: 0, 1. The calendars of `config` are moved to the
 * log's days.
 */
int replay_run(struct weir_config *config, const struct replay_options *options);

#endif
