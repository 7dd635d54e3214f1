/*
 * bad_call.h: a call to a server that breaks HTTP, and what must be so of each, whatever it does: it ends by its name and in time, nothing of another answer is in it, the worker's
 * memory stays small, and the next call has its own answer. bad_servers.c: HTTP/1; bad_h2.c: HTTP/2.
 */
#ifndef WEIR_TESTS_PROCESS_BAD_CALL_H
#define WEIR_TESTS_PROCESS_BAD_CALL_H

#include "rig.h"

/* Provider "raw" with one endpoint, `endpoint` being its keys behind the name; routes raw.get and raw.post (/r/...) with one call in flight; each send costs a unit of raw.l. */
void bad_config(struct rig *r, const char *endpoint);

struct bad_call {
    bool post;
    const char *rest;  /* of the path */
    const char *order; /* a POST's body; NULL: none */
    unsigned limit_ms;
};

struct bad_end {
    struct weir_response answer; /* released: but for its texts */
    uint64_t took_ms;
    uint32_t charged;
    char body[64];
};
struct bad_end bad_call(struct rig *r, struct weir *w, const struct bad_call *c);

/* It ended as `wanted`, done with `status`. */
void bad_judge(struct rig *r, const char *name, const struct bad_call *c, const struct bad_end *end,
               enum weir_result wanted, uint32_t status);

/* Nothing is held, and nothing that was left over is taken for this one's: the server answers "fine". */
void bad_fine(struct rig *r, struct weir *w, const char *name, const struct bad_call *c);

/* The worker, at the begin of a test and at its end: the same one, which has grown by no more than `most_kib`. */
struct bad_worker {
    pid_t pid;
    long kib;
};
struct bad_worker bad_worker_look(struct rig *r);
void bad_worker_judge(struct rig *r, const struct bad_worker *before, long most_kib);

#endif
