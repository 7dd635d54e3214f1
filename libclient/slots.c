/*
 * slots.c: which thread has which request slot, from claim to free. The word and its transitions: shm/weir_slot.h.
 *
 * The generation goes up at each claim and at each free, so a ticket dies with its request: a released one never names a later request.
 * Who dies: the whole process, and the arena with it; a thread that only closes its handle leaves its index "retired" until its last
 * request has ended.
 */
#include "handle.h"

#include "shm/weir_weave.h"

static uint64_t ticket_gen(weir_ticket ticket)
{
    return ticket >> 32;
}

struct weir_shm_slot *weir_ticket_slot(const struct weir *w, weir_ticket ticket, uint64_t *word)
{
    uint32_t index = (uint32_t)ticket;
    if (index >= w->at->mem.slot_cnt) {
        return NULL;
    }
    struct weir_shm_slot *slot = &w->at->mem.slot[index];
    *word = weir_load_acquire_u64(&slot->state); /* pair:slot A */
    enum weir_slot_state state = weir_slot_state(*word);
    bool live = state >= WEIR_SLOT_SUBMITTED && state <= WEIR_SLOT_DONE;
    return live && weir_slot_gen(*word) == ticket_gen(ticket) &&
                   weir_slot_thread(*word) == w->thread
               ? slot
               : NULL;
}

static uint32_t claim_scan(struct weir *w, uint64_t *word)
{
    const struct weir_client_arena *m = &w->at->mem;
    uint32_t index = w->slot_hint;
    for (uint32_t n = 0; n < m->slot_cnt; n++, index++) {
        index = index < m->slot_cnt ? index : 0;
        uint64_t seen = weir_load_acquire_u64(&m->slot[index].state); /* pair:slot A */
        if (weir_slot_state(seen) != WEIR_SLOT_FREE) {
            continue;
        }
        *word = weir_slot_word(weir_slot_gen(seen) + 1U, WEIR_SLOT_FILLING, w->thread);
        WEIR_WEAVE("slot:claim");
        if (weir_cas_u64(&m->slot[index].state, &seen, *word)) { /* pair:slot A */
            WEIR_WEAVE("slot:claimed");
            w->slot_hint = index;
            return index;
        }
    }
    return UINT32_MAX;
}

uint32_t weir_slot_claim(struct weir *w, uint64_t *word)
{
    uint32_t index = claim_scan(w, word);
    if (WEIR_UNLIKELY(index == UINT32_MAX &&
                      weir_load_acquire_u32(&w->at->retired) != 0)) { /* pair:retired A */
        weir_slots_reap(w->at);
        index = claim_scan(w, word);
    }
    if (index != UINT32_MAX) {
        w->at->given[index] =
            0; /* a done bit of the slot's former life may stay: poll looks at the state word */
    }
    return index;
}

/* The caller owns the slot, and the worker has left it: a store is enough. */
static void slot_store_free(struct weir_shm_slot *slot, uint64_t word)
{
    uint64_t next = weir_slot_word(weir_slot_gen(word) + 1U, WEIR_SLOT_FREE, 0);
    WEIR_WEAVE("slot:free");
    weir_store_release_u64(&slot->state, next); /* pair:slot R */
}

void weir_slot_free(struct weir *w, uint32_t index, uint64_t word)
{
    slot_store_free(&w->at->mem.slot[index], word);
    w->slot_hint = index;
}

bool weir_slots_leave(struct weir *w)
{
    const struct weir_client_arena *m = &w->at->mem;
    bool in_flight = false;
    for (uint32_t i = 0; i < m->slot_cnt; i++) {
        struct weir_shm_slot *slot = &m->slot[i];
        uint64_t word = weir_load_acquire_u64(&slot->state); /* pair:slot A */
        enum weir_slot_state state = weir_slot_state(word);
        if (state == WEIR_SLOT_FREE || weir_slot_thread(word) != w->thread) {
            continue;
        }
        bool kept = state == WEIR_SLOT_FILLING; /* answered from the cache, never handed over */
        if (kept && w->at->kept != NULL) {
            w->at->kept[i].state = WEIR_KEPT_NONE; /* the list goes with this handle */
        }
        WEIR_WEAVE("slot:leave");
        if (kept || state == WEIR_SLOT_DONE ||
            (state == WEIR_SLOT_SUBMITTED &&
             weir_cas_u64(&slot->state, &word,
                          weir_slot_with(word, WEIR_SLOT_CANCELLED)))) { /* pair:slot R */
            weir_slot_free(w, i, word);
        } else {
            in_flight = true;
        }
    }
    return in_flight;
}

/* Free the ended requests of a closed thread, whose retired bit the caller holds. Returns whether one is still in flight. */
static bool reap_thread(struct weir_attachment *at, uint32_t thread)
{
    const struct weir_client_arena *m = &at->mem;
    bool in_flight = false;
    for (uint32_t i = 0; i < m->slot_cnt; i++) {
        uint64_t word = weir_load_acquire_u64(&m->slot[i].state); /* pair:slot A */
        if (weir_slot_state(word) == WEIR_SLOT_FREE || weir_slot_thread(word) != thread) {
            continue;
        }
        if (weir_slot_state(word) == WEIR_SLOT_DONE) {
            /* The done bit stays for whoever claims the slot. */
            slot_store_free(&m->slot[i], word);
        } else {
            in_flight = true;
        }
    }
    return in_flight;
}

void weir_slots_reap(struct weir_attachment *at)
{
    for (uint32_t thread = 0; thread < WEIR_THREADS_MAX; thread++) {
        uint32_t bit = 1U << thread;
        uint32_t seen = weir_load_acquire_u32(&at->retired); /* pair:retired A */
        bool mine = false;
        while ((seen & bit) != 0 && !mine) { /* bounded: each failed CAS moved one of 8 bits */
            WEIR_WEAVE("thread:reap");
            mine = weir_cas_u32(&at->retired, &seen, seen & ~bit); /* pair:retired A */
        }
        /* Whoever cleared the bit alone decides about this index and its slots. */
        if (mine && reap_thread(at, thread)) {
            WEIR_WEAVE("thread:reap_later");
            weir_or_u32(&at->retired, bit); /* pair:retired R */
        } else if (mine) {
            WEIR_WEAVE("thread:reaped");
            weir_and_u32(&at->threads, ~bit); /* pair:threads R */
        }
    }
}
