/*
 * wait.c: how an answer comes back: by poll, by wait, by descriptor.
 *
 * The state word says DONE; everything else is a bell. The worker writes the response, stores DONE (release), then looks at `waiter`
 * (futex), sets the slot's done bit, then looks at `fd_armed`. Each of those looks is one half of a Dekker pair: announce, fence, look
 * again. A bell that is lost or doubled therefore costs time or a look, never an answer.
 */
#include "handle.h"

#include "shm/weir_futex.h"
#include "shm/weir_weave.h"

#include <string.h>
#include <sys/socket.h>

/* A sleeper looks so often whether the supervisor still lives. */
#define SLICE_NS (100 * WEIR_NS_PER_MS)
/* A worker ends each request at its deadline; so long after it an answer is not to be expected any more. */
#define GRACE_NS WEIR_NS_PER_S

/* ---------------------------------------------------------------------------------------------- the answer */

static bool in_pool(const struct weir_client_arena *m, uint32_t off, uint32_t bytes)
{
    return off <= m->pool_bytes && bytes <= m->pool_bytes - off;
}

/*
 * Fill `out` from a DONE slot. The response line is copied once and the copy is checked: the memory is ours, but a worker with a bug must
 * not lead us outside it. `out->ticket` is filled in any case, so that the request can be released.
 */
static int response_take(struct weir *w, uint32_t index, uint64_t word, struct weir_response *out)
{
    const struct weir_client_arena *m = &w->at->mem;
    struct weir_shm_response r;
    memcpy(&r, &m->slot[index].response, sizeof r); /* ordered by the acquire load of DONE */
    w->at->given[index] = 1;
    *out = (struct weir_response){.ticket = (uint64_t)weir_slot_gen(word) << 32 | index};
    if (r.result == WEIR_RESULT_UNSET || r.result >= WEIR_RESULT_CNT ||
        !in_pool(m, r.headers_off_bytes, r.headers_bytes) ||
        !in_pool(m, r.body_off_bytes, r.body_bytes)) {
        return WEIR_E_CORRUPT;
    }
    out->result = (enum weir_result)r.result;
    out->status = r.status;
    out->error = r.error;
    out->denial = (struct weir_denial){
        .reason = r.denial_reason, .limit = r.denial_limit, .earliest_ns = r.denial_earliest_ns};
    out->headers = r.headers_bytes > 0 ? m->pool + r.headers_off_bytes : NULL;
    out->headers_bytes = r.headers_bytes;
    out->body = r.body_bytes > 0 ? m->pool + r.body_off_bytes : NULL;
    out->body_bytes = r.body_bytes;
    out->endpoint = r.endpoint;
    out->sends = r.sends;
    out->submitted_ns = r.submitted_ns;
    out->taken_ns = r.taken_ns;
    out->permitted_ns = r.permitted_ns;
    out->sent_ns = r.sent_ns;
    out->first_byte_ns = r.first_byte_ns;
    out->done_ns = r.done_ns;
    out->delivered_ns = r.delivered_ns;
    out->source = r.source <= WEIR_SOURCE_DISK ? r.source : WEIR_SOURCE_UNSET;
    out->member = r.member;
    out->age_ns = r.age_ns;
    out->doubt = r.doubt < WEIR_DOUBT_CNT ? r.doubt : WEIR_DOUBT_NONE;
    return WEIR_OK;
}

/* ---------------------------------------------------------------------------------------------- poll */

/*
 * Is slot `index`, whose done bit was seen, an answer for this thread? The bit is cleared before the state is judged: a worker that ends
 * the request after our look sets it again. Bits of other threads are left alone.
 */
static bool poll_slot(struct weir *w, uint32_t index, uint64_t *word)
{
    const struct weir_client_arena *m = &w->at->mem;
    *word = weir_load_acquire_u64(&m->slot[index].state); /* pair:slot A */
    if (weir_slot_state(*word) == WEIR_SLOT_FREE || weir_slot_thread(*word) != w->thread) {
        return false;
    }
    WEIR_WEAVE("poll:seen");
    weir_and_u64(&m->wake->done[index / 64U], ~(UINT64_C(1) << (index % 64U))); /* pair:done A */
    *word = weir_load_acquire_u64(&m->slot[index].state);                       /* pair:slot A */
    /* A bit can also be late, from a request that weir_wait has answered already. */
    return weir_slot_state(*word) == WEIR_SLOT_DONE && w->at->given[index] == 0;
}

/* One round over the done bits, beginning where the last one ended. The index found, or UINT32_MAX. */
static uint32_t poll_scan(struct weir *w, uint64_t *word)
{
    const struct weir_client_arena *m = &w->at->mem;
    uint32_t words = (m->slot_cnt + 63U) / 64U;
    uint32_t first = w->poll_from / 64U;
    uint64_t ahead = UINT64_MAX << (w->poll_from % 64U);
    for (uint32_t n = 0; n <= words;
         n++) { /* the first word twice: its upper bits, at the end its lower ones */
        uint32_t k = (first + n) % words;
        uint64_t bits = weir_load_acquire_u64(&m->wake->done[k]); /* pair:done A */
        bits &= n == 0 ? ahead : n == words ? ~ahead : UINT64_MAX;
        for (; bits != 0; bits &= bits - 1) {
            uint32_t index = k * 64U + (uint32_t)__builtin_ctzll(bits);
            if (index < m->slot_cnt && poll_slot(w, index, word)) {
                w->poll_from = (index + 1U) % m->slot_cnt;
                return index;
            }
        }
    }
    return UINT32_MAX;
}

/* Empty the bell. Returns whether its other end is closed: no worker will ever ring again. */
static bool bell_drain(struct weir *w)
{
    char bytes[64];
    ssize_t n = 1;
    for (int i = 0; i < 64 && n > 0;
         i++) { /* bounded: what comes meanwhile makes it readable again */
        n = recv(w->at->bell_fd, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    w->fd_armed = false;
    return n == 0;
}

int weir_poll(struct weir *w, struct weir_response *out)
{
    uint64_t word;
    bool ended = false;
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (w->role == WEIR_ROLE_MONITOR) {
        return WEIR_E_NOT_CALLER;
    }
    if (w->kept_first != 0 && weir_kept_poll(w, out)) {
        return WEIR_OK;
    }
    if (w->fd_armed) {
        ended = bell_drain(w); /* before the scan: a byte that comes after it stays */
    }
    uint32_t index = poll_scan(w, &word);
    if (index == UINT32_MAX && w->fd_used) {
        weir_store_release_u32(&w->at->mem.wake->fd_armed, 1); /* pair:armed R */
        WEIR_WEAVE("wait:armed");
        weir_fence_full(); /* armed, then the second look; the worker: done bit, then the look at armed */
        w->fd_armed = true;
        index = poll_scan(w, &word);
    }
    if (index == UINT32_MAX) {
        return ended ? WEIR_E_STALE : WEIR_EMPTY;
    }
    return response_take(w, index, word, out);
}

int weir_fd(struct weir *w)
{
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (w->role == WEIR_ROLE_MONITOR) {
        return WEIR_E_NOT_CALLER;
    }
    uint32_t owner = 0;
    WEIR_WEAVE("fd:claim");
    if (!weir_cas_u32(&w->at->fd_owner, &owner, w->thread + 1) && /* pair:fd-owner A */
        owner != w->thread + 1) {
        return WEIR_E_HANDLES; /* two event loops would take each other's bytes */
    }
    w->fd_used = true;
    if (!w->fd_armed) {
        weir_store_release_u32(&w->at->mem.wake->fd_armed, 1); /* pair:armed R */
        WEIR_WEAVE("fd:armed");
        w->fd_armed = true;
    }
    return w->at->bell_fd;
}

/* ---------------------------------------------------------------------------------------------- wait */

static bool is_done(const struct weir_shm_slot *slot, uint64_t *word)
{
    *word = weir_load_acquire_u64(&slot->state); /* pair:slot A */
    return weir_slot_state(*word) == WEIR_SLOT_DONE;
}

static bool spin(struct weir *w, const struct weir_shm_slot *slot, uint64_t deadline_ns,
                 uint64_t *word)
{
    uint64_t now_ns = weir_now_ns(w);
    uint64_t end_ns = weir_min_u64(now_ns + w->at->spin_ns, deadline_ns);
    while (now_ns < end_ns) {
        for (int i = 0; i < 8; i++) { /* the clock costs more than the look */
            if (is_done(slot, word)) {
                return true;
            }
            weir_cpu_relax();
        }
        now_ns = weir_now_ns(w);
    }
    return is_done(slot, word);
}

/* Sleep on the low half of the state word, in slices. */
static int park(struct weir *w, struct weir_shm_slot *slot, uint64_t deadline_ns, uint64_t *word)
{
    const uint32_t *low = (const uint32_t *)(const void *)&slot->state; /* little endian */
    for (;;) {
        weir_store_relaxed_u32(&slot->waiter, 1); /* relaxed: ordered by the fence */
        weir_fence_full(); /* waiter, then the look at the state; the worker: state, then waiter (pair:slot-waiter) */
        if (is_done(slot, word)) {
            return WEIR_OK;
        }
        uint64_t now_ns = weir_now_ns(w);
        if (now_ns >= deadline_ns) {
            return WEIR_PENDING;
        }
        /* A worker that outlives its supervisor still answers; past the request's own time nobody does. */
        if (now_ns > slot->request.deadline_ns + GRACE_NS && weir_attachment_ended(w->at)) {
            return WEIR_E_STALE;
        }
        uint64_t until_ns = weir_min_u64(deadline_ns, now_ns + SLICE_NS);
        (void)weir_futex_wait_until(low, (uint32_t)*word, weir_own_clock_ns(w, until_ns));
    }
}

static int wait_done(struct weir *w, weir_ticket ticket, uint64_t deadline_ns, uint64_t *word)
{
    struct weir_shm_slot *slot = weir_ticket_slot(w, ticket, word);
    if (slot == NULL) {
        return WEIR_E_TICKET;
    }
    if (weir_slot_state(*word) == WEIR_SLOT_DONE || spin(w, slot, deadline_ns, word)) {
        return WEIR_OK;
    }
    int rc = park(w, slot, deadline_ns, word);
    weir_store_relaxed_u32(&slot->waiter, 0); /* relaxed: saves the worker a system call at most */
    return rc;
}

int weir_wait(struct weir *w, weir_ticket ticket, uint64_t deadline_ns, struct weir_response *out)
{
    uint64_t word;
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (w->role == WEIR_ROLE_MONITOR) {
        return WEIR_E_NOT_CALLER;
    }
    struct weir_kept *kept = weir_kept_of(w, ticket);
    if (kept != NULL) {
        weir_kept_leave(w, kept, WEIR_KEPT_GIVEN);
        *out = kept->response;
        return WEIR_OK;
    }
    int rc = wait_done(w, ticket, deadline_ns, &word);
    if (rc != WEIR_OK) {
        return rc;
    }
    return response_take(w, (uint32_t)ticket, word, out);
}

int weir_call(struct weir *w, const struct weir_request_spec *spec, uint64_t deadline_ns,
              struct weir_response *out)
{
    weir_ticket ticket;
    if (spec == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    *out = (struct weir_response){.ticket = 0};
    if (deadline_ns == 0) {
        return WEIR_E_DEADLINE; /* an instant long ago, as everywhere */
    }
    int rc = weir_submit_until(w, spec, deadline_ns, &ticket);
    if (rc != WEIR_OK) {
        return rc;
    }
    /* The route's timeout may end it earlier than the caller's deadline. */
    uint64_t end_ns = w->at->mem.slot[(uint32_t)ticket].request.deadline_ns;
    rc = weir_wait(w, ticket, end_ns, out);
    if (rc == WEIR_PENDING && weir_cancel(w, ticket) == WEIR_OK) {
        return WEIR_E_DEADLINE; /* nobody had taken it */
    }
    if (rc == WEIR_PENDING) {
        rc = weir_wait(w, ticket, end_ns + GRACE_NS, out);
    }
    out->ticket = ticket;
    return rc;
}
