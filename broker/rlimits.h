/*
 * rlimits.h: what this process may use, compared with what the configuration can make it use.
 *
 * A broker that runs out of descriptors refuses clients and connections at its busiest moment. So the need is computed at the start, from what the configuration
 * allows at most, and a limit below it is refused by name.
 */
#ifndef WEIR_BROKER_RLIMITS_H
#define WEIR_BROKER_RLIMITS_H

#include "broker/config/config.h"

/* The descriptors that supervisor or worker, whichever needs more, have open when all places are taken. */
uint64_t rlimits_files_needed(const struct weir_config *config);

/* Raise the soft limit of descriptors to the hard one and compare. Returns 0, or -1 with `text`: what, why, next step. Caller: the supervisor, first of all. */
int rlimits_check(const struct weir_config *config, char *text, size_t text_bytes);

#endif
