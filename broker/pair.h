/*
 * pair.h: one charge on two accounts, private and shared, that a death in the middle leaves whole.
 *
 * The private account is charged first and given back first, so it never exceeds the shared one; the audit takes a shared word below it for a
 * trader's lie and spends its window (shm/weir_limit_repair.h). A worker that died between the two charges would leave just that: a
 * window of a day, spent for all. So what the private words said before is written to the ledger while a charge is under way, and a worker that
 * starts puts it back. The call had not left yet, or its charge in a later window is void, because its connection died with the worker.
 *
 *   writer   the worker      dies: the next one undoes       reader   the next worker, before its first audit
 *
 * Only fixed windows and buckets are kept: no audit compares cells. Nothing else is charged while a pair is open.
 */
#ifndef WEIR_BROKER_PAIR_H
#define WEIR_BROKER_PAIR_H

#include "shm/weir_permit.h"

struct worker;

/* A permit for `route` is about to be taken on both accounts. */
void pair_open_route(struct worker *w, uint32_t route, uint64_t scope);
/*
 * The charges of `permit` are about to grow on both accounts: those that count more than was charged, or all where `counted` is NULL. What is given back is not kept: the
 * private account gives first, and a death in between leaves it below. Put back behind both, it would stand above.
 */
void pair_open_permit(struct worker *w, const struct weir_permit *permit,
                      const struct weir_cost *counted);
/* One limit's word is about to grow on both accounts. */
void pair_open_word(struct worker *w, uint32_t word);
/* Both accounts have it. */
void pair_close(struct worker *w);
/*
 * The shared account refused, and the private one was given back: now to the bit. A bucket that is given back keeps the time in between, so a call that
 * is refused again and again would carry the private account ahead of the shared one.
 */
void pair_back(struct worker *w);
/* A worker starts: what its predecessor left half done on the private account is undone. */
void pair_undo(struct worker *w);

#endif
