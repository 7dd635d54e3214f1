/*
 * hush.h: who makes noise is not listened to for the rest of a tick.
 *
 * Entries of a ring that name no call, and bells behind which no request lies, cost the worker a look each, as many as a core can make: it would never sleep, and the calls of other domains
 * would share its core with whoever else is runnable there. So each domain may put so many of the one into its rings between two ticks of the keeper (10 ms), and each client ring so often without
 * bringing a request; then the domain's rings, or the client's bell, are left alone until the next tick. Nothing is lost by it: entries stay where they are, and the tick's sweep takes requests from the slots.
 * Honest clients leave few such entries (a request that was cancelled before it was taken), and ring once per sleep of the worker.
 *
 * The worker's own memory; nothing here is shared. A new worker begins with nobody hushed.
 */
#ifndef WEIR_BROKER_HUSH_H
#define WEIR_BROKER_HUSH_H

#include "broker/worker.h"

/* Between two ticks: entries of all rings of a domain, and bells of one client since it brought a request. */
#define HUSH_ENTRIES_MAX 1024U
#define HUSH_BELLS_MAX   64U

/* An entry of the domain's rings named no request. */
void hush_dropped(struct worker *w, uint32_t domain);

/* Are the domain's rings left alone until the next tick? */
static inline bool hush_is_on(const struct worker *w, uint32_t domain)
{
    return (w->hush_domains >> domain & 1U) != 0;
}

/* The client's bell rang. Called with each event of its doorbell. */
void hush_rang(struct worker *w, struct client *c);

/* It brought a request: its bells were for something. */
static inline void hush_brought(struct client *c)
{
    c->bells_for_nothing = 0;
}

/* Listen to everybody again. */
void hush_tick(struct worker *w);

#endif
