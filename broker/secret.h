/*
 * secret.h: memory for keys.
 *
 * Never swapped (mlock), never in a core (MADV_DONTDUMP), between two pages that nobody can touch, and wiped when it is closed. The supervisor makes one area from the
 * configuration and keeps it for the next worker; a worker gets it by fork, locks its own view, and makes another one for the lines that it sends. The
 * resolver unmaps it.
 *
 * What libcurl copies of a header while it sends a request lies on the worker's heap; that is why the worker leaves no core at all (cage.h).
 */
#ifndef WEIR_BROKER_SECRET_H
#define WEIR_BROKER_SECRET_H

#include "shm/weir_base.h"

struct secret_area {
    char *base; /* NULL: there are no secrets */
    size_t bytes;
    size_t used_bytes;
};

/* Room for `bytes`. 0 bytes: nothing is made. Returns 0, or -1 with `text`: what, why, next step. */
int secret_open(struct secret_area *area, size_t bytes, char *text, size_t text_bytes);

/* `bytes` bytes in the area, NULL when it is full. Zeroed; never given back singly. */
char *secret_take(struct secret_area *area, size_t bytes);

/* Locks do not come along by fork: lock this process's view. Returns 0, or -1 with `text`. */
int secret_lock(const struct secret_area *area, char *text, size_t text_bytes);

/* Wipe, and unmap. A child that wipes does not change its parent's. */
void secret_close(struct secret_area *area);

/* Unmap without a touch: a child that has no business with it. */
void secret_forget(const struct secret_area *area);

#endif
