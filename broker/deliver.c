#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_futex.h"
#include "shm/weir_weave.h"

#include <sys/socket.h>

void deliver_ring(struct worker *w, struct client *c, uint32_t slot)
{
    struct weir_shm_slot *s = &c->slot[slot];
    uint64_t *done = &c->wake->done[slot / 64];
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if ((weir_load_relaxed_u64(done) & bit) ==
        0) { /* relaxed: behind the fence; a bit that is still set need not move its line */
        WEIR_WEAVE("deliver:bit");
        weir_or_u64(done, bit); /* pair:done R */
    }
    if (weir_load_relaxed_u32(&s->waiter) != 0) { /* relaxed: behind the fence */
        WEIR_WEAVE("deliver:wake");
        weir_futex_wake((uint32_t *)(void *)&s->state,
                        1); /* the low half on little endian: state and thread */
    }
    if (!c->bell) {
        if (w->bell_cnt == WEIR_ARRAY_CNT(w->bell)) {
            deliver_bells(
                w); /* an index that was reaped and used again within one turn stands here twice */
        }
        c->bell = true;
        w->bell[w->bell_cnt++] = c;
    }
}

void deliver_done(struct worker *w, struct client *c, uint32_t slot, uint64_t word)
{
    WEIR_WEAVE("deliver:done");
    (void)weir_xchg_u64(&c->slot[slot].state,
                        weir_slot_with(word, WEIR_SLOT_DONE)); /* pair:slot R */
    WEIR_WEAVE("deliver:delivered");
    /* What was stored, then the look at bits and bells; the client announces or clears, and then looks at the state. (pair:slot-waiter) */
    weir_fence_after_rmw();
    deliver_ring(w, c, slot);
}

/* Once a turn, however many answers it brought: a system call each would cost more than the answer. */
void deliver_bells(struct worker *w)
{
    for (uint32_t i = 0; i < w->bell_cnt; i++) {
        struct client *c = w->bell[i];
        if (!c->bell) {
            continue; /* reaped meanwhile */
        }
        c->bell = false;
        WEIR_WEAVE("deliver:bell");
        weir_fence_full(); /* done bits, then the look at the bells (pair:armed) */
        if (weir_load_relaxed_u32(&c->wake->waiters) != 0) { /* relaxed: behind the fence */
            (void)weir_fetch_add_u32(&c->wake->completed, 1);
            weir_futex_wake(&c->wake->completed, INT32_MAX);
        }
        WEIR_WEAVE("deliver:rung");
        /* relaxed: behind the fence */
        if (weir_load_relaxed_u32(&c->wake->fd_armed) != 0 &&
            weir_xchg_u32(&c->wake->fd_armed, 0) != 0) { /* pair:armed A */
            /* A full socket means that the client has bytes to read: it is awake already. */
            (void)send(c->info.bell_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    w->bell_cnt = 0;
}
