/*
 * answer_world.h: a broker whose exchange is the fuzzer's: a real worker (broker/worker.c and all that it calls, libcurl too) in a thread of this process, libweir at the other end.
 *
 * One provider `p` with eight routes by number, a limit of one call in flight, a retry, stops by status, header and text, and counts in answers. Oracle of each call, here: the sanitizers; a named
 * outcome before its deadline and a little; DONE only with a status that HTTP has; a body within the route's cap.
 */
#ifndef WEIR_TESTS_FUZZ_ANSWER_WORLD_H
#define WEIR_TESTS_FUZZ_ANSWER_WORLD_H

#include "weir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_ROUTES 8U

/* A socket that listens on some port of 127.0.0.1. */
int world_listen(unsigned *port);

/* Start the broker and `serve` in threads, and attach. `endpoint`: keys of the endpoint in the configuration. Once. */
void world_open(const char *endpoint, void *(*serve)(void *arg));
bool world_is_open(void);

/* An operator's order; its answer is waited for. */
void world_operate(uint32_t operation, const char *target, const uint8_t *more, size_t bytes);

/* Let what an answer said be forgotten: stops, and what others are said to use. */
void world_go_on(void);

/* Make one call, and judge its end. `waits`: the server may not answer, so its deadline is short. */
struct weir_response world_call(unsigned which, bool waits);

/* It was refused, because the limit of one in flight is held. */
bool world_is_full(const struct weir_response *a);

#endif
