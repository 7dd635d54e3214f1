/*
 * weir_claim.h: what a trader's own replies told of the exchange's counts, on the way from its thread to the worker.
 *
 * The last WEIR_CLAIMS of a thread lie in its meter (struct weir_shm_meter_head), and a count of how many there ever were. It is lossy by intention: a newer count
 * makes older ones worthless, and the thread never waits.
 *
 *   writer   the thread that settles
 *   reader   the worker, every 10 ms. It believes nothing: a claim may only add to what others use, for a minute at most (broker/rolling.h, broker/feedback.h)
 *   writer dies at any instruction   the count names only what is whole
 *   reader dies                      the next worker begins with what comes then
 */
#ifndef WEIR_CLAIM_H
#define WEIR_CLAIM_H

#include "weir_atomic.h"
#include "weir_layout.h"
#include "weir_weave.h"

/* Append one. Caller: the meter's thread. */
static inline void weir_claim_put(struct weir_shm_meter_head *head, const struct weir_shm_claim *c)
{
    uint32_t n = weir_load_relaxed_u32(&head->claim_cnt); /* relaxed: only this thread writes it */
    struct weir_shm_claim *to = &head->claim[n % WEIR_CLAIMS];
    /* The last publication before these stores: who sees one of them sees the count of that, and knows that this place is no longer the old one's. (pair:claim-put) */
    weir_fence_full();
    weir_store_relaxed_u64(&to->sent_ns, c->sent_ns); /* relaxed, all: the count publishes them */
    weir_store_relaxed_u64(&to->seen_ns, c->seen_ns);
    weir_store_relaxed_u64(&to->what, c->what);
    WEIR_WEAVE("claim:filled");
    weir_store_release_u32(&head->claim_cnt, n + 1); /* pair:claim R */
    WEIR_WEAVE("claim:told");
}

/* Take what came since `*seen`, oldest first, at most WEIR_CLAIMS - 1 of it. Returns how many. Ends after one pass. Caller: the worker. */
static inline uint32_t weir_claim_take(struct weir_shm_meter_head *head, uint32_t *seen,
                                       struct weir_shm_claim out[WEIR_CLAIMS])
{
    uint32_t cnt = weir_load_acquire_u32(&head->claim_cnt); /* pair:claim A */
    uint32_t first = cnt - *seen < WEIR_CLAIMS ? *seen : cnt - (WEIR_CLAIMS - 1);
    struct weir_shm_claim copy[WEIR_CLAIMS];
    for (uint32_t n = first; n != cnt; n++) {
        const struct weir_shm_claim *at = &head->claim[n % WEIR_CLAIMS];
        copy[n % WEIR_CLAIMS].sent_ns = weir_load_relaxed_u64(&at->sent_ns); /* relaxed, all: */
        copy[n % WEIR_CLAIMS].seen_ns = weir_load_relaxed_u64(&at->seen_ns); /* judged below */
        copy[n % WEIR_CLAIMS].what = weir_load_relaxed_u64(&at->what);
    }
    weir_fence_full(); /* the copies, then the count again (pair:claim-put) */
    uint32_t now = weir_load_relaxed_u32(&head->claim_cnt); /* relaxed: behind the fence */
    uint32_t taken = 0;
    for (uint32_t n = first; n != cnt; n++) {
        /* The writer may be at place `now`: what stood there was number now - WEIR_CLAIMS. */
        if (now - n < WEIR_CLAIMS) {
            out[taken++] = copy[n % WEIR_CLAIMS];
        }
    }
    *seen = cnt;
    return taken;
}

#endif
