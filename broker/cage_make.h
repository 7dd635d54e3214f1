/*
 * cage_make.h: the supervisor's side of the cage (cage.h): made from the configuration at the start, and its word for the log when it ended somebody.
 */
#ifndef WEIR_BROKER_CAGE_MAKE_H
#define WEIR_BROKER_CAGE_MAKE_H

#include "broker/cage.h"
#include "broker/config/config.h"

/*
 * Find the user, and try the cage once, so that what this system refuses is said once and at the start. Returns 0, or -1 with `text`: what, why, next step. Caller: the
 * supervisor, before it forks.
 */
int cage_make(struct cage *cage, enum cage_mode mode, const struct weir_config_broker *broker,
              const struct secret_area *secrets, char *text, size_t text_bytes);

/* Say what it is. Caller: the supervisor, once it is sure that it starts. */
void cage_made_log(const struct cage *cage);

/* A worker ended: was it for a call that the cage forbids, and for which? */
void cage_report_log(struct cage *cage);

#endif
