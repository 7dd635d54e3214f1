/*
 * test_client_request.c: the life of a request as a client sees it, with a worker that moves by hand.
 *
 * Oracle: what the fake worker finds in the slot is what was asked for; each request is given once, to the handle that submitted it; a
 * ticket dies with its release; nothing is handed over when an error is answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_broker.h"

#include "shm/weir_atomic.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct stage {
    struct fake_broker f;
    struct weir *w;
};

static int setup(void **state)
{
    struct stage *s = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(sizeof *s, WEIR_LINE_BYTES));
    assert_non_null(s);
    fake_broker_make(&s->f, WEIR_ROLE_CALLER);
    fake_broker_listen(&s->f);
    assert_int_equal(fake_broker_open(&s->f, WEIR_ROLE_CALLER, &s->w, NULL), WEIR_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct stage *s = *state;
    weir_close(s->w);
    fake_broker_free(&s->f);
    free(s);
    return 0;
}

static weir_ticket submit(struct weir *w)
{
    weir_ticket ticket;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    assert_int_equal(weir_submit(w, &spec, &ticket), WEIR_OK);
    return ticket;
}

static enum weir_slot_state state_of(const struct stage *s, uint32_t slot)
{
    return weir_slot_state(weir_load_acquire_u64(&s->f.slot[slot].state)); /* pair:slot A */
}

static size_t slots_in(const struct stage *s, enum weir_slot_state state)
{
    size_t cnt = 0;
    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        cnt += state_of(s, i) == state;
    }
    return cnt;
}

/* What the worker finds is what was said, without gaps and in order. */
static void what_the_worker_sees(void **state)
{
    struct stage *s = *state;
    const struct weir_header headers[] = {{"X-A", "1"}, {"X-Bee", ""}};
    const struct weir_cost units = {.cnt = 2, .units = {3, 4}};
    struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                     .route = FAKE_FILES,
                                     .scope = UINT64_C(1) << 32,
                                     .units = &units,
                                     .path_rest = "a/b",
                                     .query = "q=1",
                                     .headers = headers,
                                     .header_cnt = 2,
                                     .body = "body",
                                     .body_bytes = 4};
    weir_ticket ticket;
    uint32_t slot;
    uint64_t before_ns = weir_now_ns(s->w);
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_OK);
    assert_false(fake_take(&s->f, WEIR_PRIORITY_HIGH, &slot));
    assert_true(fake_take(&s->f, WEIR_PRIORITY_LOW, &slot)); /* the route's class */
    const struct weir_shm_request *r = &s->f.slot[slot].request;
    assert_int_equal(r->route, FAKE_FILES);
    assert_int_equal(r->priority, WEIR_PRIORITY_LOW);
    assert_int_equal(r->scope, UINT64_C(1) << 32);
    assert_int_equal(r->unit_cnt, 2);
    assert_int_equal(r->units[1], 4);
    assert_true(r->submitted_ns >= before_ns);
    assert_true(r->deadline_ns == r->submitted_ns + WEIR_NS_PER_S); /* the route's timeout */
    const char expected[] = "a/bq=1"
                            "\3\0\1\0X-A1"
                            "\5\0\0\0X-Bee"
                            "body";
    assert_int_equal(r->path_bytes + r->query_bytes + r->headers_bytes + r->body_bytes,
                     sizeof expected - 1);
    assert_memory_equal(s->f.request + slot * FAKE_REQUEST_BYTES, expected, sizeof expected - 1);
    assert_int_equal(s->f.wake->submitted, 1);
    spec.priority_set = 1;
    spec.priority = WEIR_PRIORITY_CRITICAL;
    spec.deadline_ns = weir_now_ns(s->w) + WEIR_NS_PER_MS * 500;
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_OK);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_CRITICAL, &slot));
    assert_true(s->f.slot[slot].request.deadline_ns == spec.deadline_ns);
    spec = (struct weir_request_spec){.struct_bytes = sizeof spec, .route = WEIR_ROUTE_NOP};
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_OK);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot));
}

struct bad_case {
    struct weir_request_spec spec;
    int error;
};

static void bad_requests(void **state)
{
    struct stage *s = *state;
    static const struct weir_header inject = {"X-A", "1\r\nHost: evil"};
    static const struct weir_header host = {"Host", "evil"};
    static const struct weir_header nothing = {NULL, NULL};
    static const struct weir_cost one = {.cnt = 1, .units = {6}};
    static const struct weir_cost two = {.cnt = 2, .units = {1, 1}};
    static char big[FAKE_REQUEST_BYTES + 1];
    const struct bad_case cases[] = {
        {{.route = 99}, WEIR_E_ROUTE_UNKNOWN},
        {{.route = FAKE_OWN}, WEIR_E_TRANSPORT},
        {{.route = FAKE_ORDER, .path_rest = "a"}, WEIR_E_PATH_INVALID},
        {{.route = FAKE_FILES, .path_rest = "../a"}, WEIR_E_PATH_INVALID},
        {{.route = FAKE_FILES, .path_rest = "/evil.example"}, WEIR_E_PATH_INVALID},
        {{.route = FAKE_FILES, .query = "a b"}, WEIR_E_PATH_INVALID},
        {{.route = FAKE_FREE, .headers = &inject, .header_cnt = 1}, WEIR_E_HEADER_INVALID},
        {{.route = FAKE_FREE, .headers = &host, .header_cnt = 1}, WEIR_E_HEADER_FORBIDDEN},
        {{.route = FAKE_FREE, .headers = &host, .header_cnt = 33}, WEIR_E_HEADER_INVALID},
        {{.route = FAKE_FREE, .headers = &nothing, .header_cnt = 1}, WEIR_E_ARGUMENT},
        {{.route = FAKE_FREE, .header_cnt = 1}, WEIR_E_ARGUMENT},
        {{.route = FAKE_FREE, .body_bytes = 1}, WEIR_E_ARGUMENT},
        {{.route = FAKE_FREE, .body = big, .body_bytes = sizeof big}, WEIR_E_BODY_TOO_LARGE},
        {{.route = FAKE_FREE, .body = big, .body_bytes = SIZE_MAX}, WEIR_E_BODY_TOO_LARGE},
        {{.route = FAKE_FREE, .query = "q", .body = big, .body_bytes = sizeof big - 1},
         WEIR_E_BODY_TOO_LARGE},
        {{.route = FAKE_ORDER, .scope = UINT64_C(2) << 32}, WEIR_E_SCOPE_UNKNOWN},
        {{.route = FAKE_ORDER, .scope = 1}, WEIR_E_SCOPE_UNKNOWN},
        {{.route = FAKE_ORDER, .units = &one}, WEIR_E_COST},
        {{.route = FAKE_ORDER, .units = &two}, WEIR_E_ARGUMENT},
        {{.route = FAKE_FREE, .priority_set = 1, .priority = (enum weir_priority)5},
         WEIR_E_PRIORITY},
        {{.route = FAKE_FREE, .deadline_ns = 1}, WEIR_E_DEADLINE},
    };
    weir_ticket ticket = 77;
    uint32_t slot;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        struct weir_request_spec spec = cases[i].spec;
        spec.struct_bytes = sizeof spec;
        assert_int_equal(weir_submit(s->w, &spec, &ticket), cases[i].error);
    }
    struct weir_request_spec spec = {.struct_bytes = 0, .route = FAKE_FREE};
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_E_ARGUMENT);
    spec.struct_bytes = sizeof spec;
    s->f.block->client[7] = 1;
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_E_BLOCKED);
    s->f.block->client[7] = 0;
    s->f.gate->block_all = 1;
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_E_BLOCKED);
    assert_int_equal(ticket, 77);
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        assert_false(fake_take(&s->f, p, &slot));
    }
    assert_int_equal(slots_in(s, WEIR_SLOT_FREE), FAKE_SLOTS);
}

static void poll_wait_release(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    uint32_t slot;
    weir_ticket ticket = submit(s->w);
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
    assert_int_equal(weir_wait(s->w, ticket, weir_now_ns(s->w) + 1000, &r), WEIR_PENDING);
    assert_int_equal(weir_release(s->w, ticket), WEIR_PENDING);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    fake_done(&s->f, slot, "hello");
    assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
    assert_true(r.ticket == ticket);
    assert_int_equal(r.result, WEIR_RESULT_DONE);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body_bytes, 5);
    assert_memory_equal(r.body, "hello", 5);
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY); /* given once */
    assert_int_equal(weir_wait(s->w, ticket, 0, &r), WEIR_OK);
    assert_int_equal(weir_release(s->w, ticket), WEIR_OK);
    assert_int_equal(weir_release(s->w, ticket), WEIR_E_TICKET);
    assert_int_equal(weir_wait(s->w, ticket, 0, &r), WEIR_E_TICKET);
    assert_int_equal(weir_cancel(s->w, ticket), WEIR_E_TICKET);
    assert_int_equal(weir_wait(s->w, 12345, 0, &r), WEIR_E_TICKET);
    /* The same slot again: the old ticket stays dead. */
    weir_ticket next = submit(s->w);
    assert_int_equal((uint32_t)next, (uint32_t)ticket);
    assert_int_equal(weir_cancel(s->w, ticket), WEIR_E_TICKET);
    assert_int_equal(weir_cancel(s->w, next), WEIR_OK);
    assert_int_equal(slots_in(s, WEIR_SLOT_FREE), FAKE_SLOTS);
}

/* The worker says DONE, the waiter answers and releases, and only then the done bit comes. */
static void late_done_bit(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    uint32_t slot;
    weir_ticket ticket = submit(s->w);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    fake_done(&s->f, slot, "one");
    assert_int_equal(weir_wait(s->w, ticket, UINT64_MAX, &r), WEIR_OK);
    s->f.wake->done[0] |= UINT64_C(1) << slot; /* late, before the release */
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
    assert_int_equal(weir_release(s->w, ticket), WEIR_OK);
    s->f.wake->done[0] |= UINT64_C(1) << slot; /* late, after it */
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
    ticket = submit(s->w);
    s->f.wake->done[0] |= UINT64_C(1) << slot; /* late, in the next request's time */
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    fake_done(&s->f, slot, "two");
    assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
    assert_true(r.ticket == ticket);
    assert_memory_equal(r.body, "two", 3);
}

static void poll_serves_all(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    bool seen[FAKE_SLOTS] = {false};
    uint32_t slot;
    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        (void)submit(s->w);
        assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    }
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    weir_ticket ticket;
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_E_NO_SLOT);
    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        fake_done(&s->f, i, "x");
    }
    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
        assert_false(seen[(uint32_t)r.ticket]);
        seen[(uint32_t)r.ticket] = true;
        if (i == 0) { /* one that ends again and again must not hide the others */
            assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
            ticket = submit(s->w);
            seen[(uint32_t)ticket] = false;
            assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
            fake_done(&s->f, slot, "y");
        }
    }
    assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
    assert_true(r.ticket == ticket);
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
}

static void cancel(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    uint32_t slot;
    uint64_t rung;
    weir_ticket ticket = submit(s->w);
    assert_int_equal(weir_cancel(s->w, ticket), WEIR_OK);
    assert_true(
        fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot)); /* the entry stays, the slot decides */
    assert_false(fake_claim(&s->f, slot));
    ticket = submit(s->w);
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    assert_int_equal(weir_cancel(s->w, ticket), WEIR_E_CANCEL_LATE);
    assert_int_equal(s->f.slot[slot].cancel, 1);
    assert_int_equal(read(s->f.doorbell, &rung, sizeof rung), sizeof rung);
    fake_done(&s->f, slot, "late");
    assert_int_equal(weir_cancel(s->w, ticket), WEIR_E_CANCEL_LATE);
    assert_int_equal(weir_wait(s->w, ticket, UINT64_MAX, &r), WEIR_OK);
    assert_int_equal(weir_release(s->w, ticket), WEIR_OK);
}

static void ring_full(void **state)
{
    struct stage *s = *state;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    weir_ticket ticket;
    for (uint32_t i = 0; i < 1U << FAKE_RING_ORDER; i++) {
        (void)submit(s->w);
    }
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_E_RING_FULL);
    assert_int_equal(slots_in(s, WEIR_SLOT_SUBMITTED), 1U << FAKE_RING_ORDER);
    assert_int_equal(slots_in(s, WEIR_SLOT_FREE), FAKE_SLOTS - (1U << FAKE_RING_ORDER));
    uint32_t slot;
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot));
    assert_int_equal(weir_submit(s->w, &spec, &ticket), WEIR_OK);
}

/* A scribbled ring answers BUSY: the request counts as submitted, and the bell rings for the sweep. */
static void ring_damaged(void **state)
{
    struct stage *s = *state;
    uint64_t rung;
    *s->f.level[WEIR_PRIORITY_MEDIUM].ring.tail = UINT64_C(0xdeadbeef00000000);
    weir_ticket ticket = submit(s->w);
    assert_int_equal(state_of(s, (uint32_t)ticket), WEIR_SLOT_SUBMITTED);
    assert_int_equal(read(s->f.doorbell, &rung, sizeof rung), sizeof rung);
}

static void doorbell(void **state)
{
    struct stage *s = *state;
    uint64_t rung;
    (void)submit(s->w);
    assert_int_equal(read(s->f.doorbell, &rung, sizeof rung), -1); /* the worker is awake */
    s->f.need_wakeup->word = 3;
    (void)submit(s->w);
    (void)submit(s->w);
    assert_int_equal(read(s->f.doorbell, &rung, sizeof rung), sizeof rung);
    assert_int_equal(rung, 1);                   /* once per sleep */
    assert_int_equal(s->f.need_wakeup->word, 3); /* producers never clear it */
    s->f.need_wakeup->word = 5;
    (void)submit(s->w);
    assert_int_equal(read(s->f.doorbell, &rung, sizeof rung), sizeof rung);
}

static void bad_answers(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    uint32_t slot;
    for (int kind = 0; kind < 3; kind++) {
        weir_ticket ticket = submit(s->w);
        assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
        fake_done(&s->f, slot, "x");
        struct weir_shm_response *a = &s->f.slot[slot].response;
        a->result = kind == 0 ? 200 : a->result;
        a->body_off_bytes = kind == 1 ? FAKE_POOL_BYTES : a->body_off_bytes;
        a->headers_bytes = kind == 2 ? UINT32_MAX : a->headers_bytes;
        assert_int_equal(weir_poll(s->w, &r), WEIR_E_CORRUPT);
        assert_true(r.ticket == ticket);
        assert_null(r.body);
        assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
    }
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0;
}

static void descriptor(void **state)
{
    struct stage *s = *state;
    struct weir *other;
    struct weir_response r;
    uint32_t slot;
    int fd = weir_fd(s->w);
    assert_true(fd >= 0);
    assert_int_equal(weir_dup(s->w, &other), WEIR_OK);
    assert_int_equal(weir_fd(other), WEIR_E_HANDLES);
    for (int i = 0; i < 3; i++) {
        (void)submit(s->w);
        assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
        assert_false(readable(fd));
        assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
        fake_done(&s->f, slot, "x");
        assert_true(readable(fd));
        assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
        assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
    }
    assert_int_equal(weir_poll(s->w, &r), WEIR_EMPTY);
    /* Both ends of the broker gone: say so rather than wake for ever. */
    (void)close(s->f.bell[1]);
    s->f.bell[1] = -1;
    assert_int_equal(weir_poll(s->w, &r), WEIR_E_STALE);
    weir_close(s->w); /* the bell is free again */
    s->w = other;
    assert_true(weir_fd(other) == fd);
}

/* Each thread gets its own answers; a ticket belongs to its handle. */
static void two_threads(void **state)
{
    struct stage *s = *state;
    struct weir *other;
    struct weir_response r;
    uint32_t slot;
    assert_int_equal(weir_dup(s->w, &other), WEIR_OK);
    weir_ticket mine = submit(s->w);
    weir_ticket theirs = submit(other);
    for (int i = 0; i < 2; i++) {
        assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
        fake_done(&s->f, slot, "x");
    }
    assert_int_equal(weir_wait(other, mine, 0, &r), WEIR_E_TICKET);
    assert_int_equal(weir_poll(other, &r), WEIR_OK);
    assert_true(r.ticket == theirs);
    assert_int_equal(weir_poll(other, &r), WEIR_EMPTY);
    assert_int_equal(weir_poll(s->w, &r), WEIR_OK);
    assert_true(r.ticket == mine);
    weir_close(other);
}

/* A closed thread's request in flight: its index is not given to another before the request has ended. */
static void close_in_flight(void **state)
{
    struct stage *s = *state;
    struct weir *other[WEIR_THREADS_MAX];
    struct weir_response r;
    uint32_t slot;
    for (uint32_t i = 1; i < WEIR_THREADS_MAX; i++) {
        assert_int_equal(weir_dup(s->w, &other[i]), WEIR_OK);
    }
    (void)submit(other[1]); /* in flight */
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    weir_ticket queued = submit(other[1]);
    weir_close(other[1]);
    assert_int_equal(state_of(s, (uint32_t)queued), WEIR_SLOT_FREE); /* taken back */
    assert_int_equal(weir_dup(s->w, &other[1]), WEIR_E_HANDLES);
    fake_done(&s->f, slot, "for nobody");
    assert_int_equal(weir_dup(s->w, &other[1]), WEIR_OK);
    assert_int_equal(state_of(s, slot), WEIR_SLOT_FREE);
    assert_int_equal(weir_poll(other[1], &r), WEIR_EMPTY);
    for (uint32_t i = 1; i < WEIR_THREADS_MAX; i++) {
        weir_close(other[i]);
    }
}

/* A worker in another thread: takes one request, waits, answers or not. */
struct worker {
    struct stage *s;
    uint32_t claim_after_us, done_after_us;
    bool claims, answers;
};

static void *worker_run(void *arg)
{
    struct worker *k = arg;
    uint32_t slot;
    while (!fake_take(&k->s->f, WEIR_PRIORITY_MEDIUM, &slot)) {
        weir_cpu_relax();
    }
    (void)usleep(k->claim_after_us);
    if (k->claims && fake_claim(&k->s->f, slot) && k->answers) {
        (void)usleep(k->done_after_us);
        fake_done(&k->s->f, slot, "answer");
    }
    return NULL;
}

static int call(struct stage *s, struct worker *k, uint64_t patience_ns, struct weir_response *r)
{
    pthread_t thread;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    k->s = s;
    assert_int_equal(pthread_create(&thread, NULL, worker_run, k), 0);
    int rc = weir_call(s->w, &spec, weir_now_ns(s->w) + patience_ns, r);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return rc;
}

/* A call that the worker takes in time, even on a busy machine: one that it was too late for is made again. */
static int call_taken(struct stage *s, struct worker *k, struct weir_response *r)
{
    int rc = WEIR_E_DEADLINE;
    for (int i = 0; i < 5 && rc == WEIR_E_DEADLINE; i++) {
        rc = call(s, k, 50 * WEIR_NS_PER_MS, r);
    }
    return rc;
}

static void calls(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    /* Parked when the answer comes, and woken before its 50 ms end: then nobody asked it to stop. */
    struct worker fine = {.claims = true, .answers = true, .done_after_us = 5000};
    bool in_time = false;
    for (int i = 0; i < 5 && !in_time; i++) {
        assert_int_equal(call_taken(s, &fine, &r), WEIR_OK);
        assert_memory_equal(r.body, "answer", 6);
        in_time = s->f.slot[(uint32_t)r.ticket].cancel == 0;
        assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
    }
    assert_true(in_time);
    /* Nobody takes it. */
    struct worker absent = {.claims = false};
    assert_int_equal(call(s, &absent, 2 * WEIR_NS_PER_MS, &r), WEIR_E_DEADLINE);
    assert_int_equal(slots_in(s, WEIR_SLOT_FREE), FAKE_SLOTS);
    /* Taken, and the answer comes after the deadline. */
    struct worker slow = {.claims = true, .answers = true, .done_after_us = 200000};
    assert_int_equal(call_taken(s, &slow, &r), WEIR_OK);
    assert_int_equal(s->f.slot[(uint32_t)r.ticket].cancel, 1);
    assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
    /* Taken, and nothing comes within the grace. */
    struct worker lost = {.claims = true, .answers = false};
    assert_int_equal(call_taken(s, &lost, &r), WEIR_PENDING);
    fake_done(&s->f, (uint32_t)r.ticket, "after all");
    assert_int_equal(weir_wait(s->w, r.ticket, 0, &r), WEIR_OK);
    assert_int_equal(weir_release(s->w, r.ticket), WEIR_OK);
    const struct weir_request_spec late = {.struct_bytes = sizeof late, .route = FAKE_FREE};
    assert_int_equal(weir_call(s->w, &late, 1, &r), WEIR_E_DEADLINE);
}

static void wait_without_supervisor(void **state)
{
    struct stage *s = *state;
    struct weir_response r;
    uint32_t slot;
    weir_ticket answered = submit(s->w);
    weir_ticket lost = submit(s->w); /* its time: 100 ms */
    assert_true(fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) && fake_claim(&s->f, slot));
    fake_broker_die(&s->f);
    fake_done(&s->f, slot, "the worker outlives its supervisor");
    assert_int_equal(weir_wait(s->w, answered, UINT64_MAX, &r), WEIR_OK);
    assert_int_equal(weir_wait(s->w, lost, UINT64_MAX, &r), WEIR_E_STALE);
    uint64_t now_ns = weir_now_ns(s->w);
    assert_true(now_ns > s->f.slot[(uint32_t)lost].request.deadline_ns + WEIR_NS_PER_S);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_the_worker_sees),
        TEST(bad_requests),
        TEST(poll_wait_release),
        TEST(late_done_bit),
        TEST(poll_serves_all),
        TEST(cancel),
        TEST(ring_full),
        TEST(ring_damaged),
        TEST(doorbell),
        TEST(bad_answers),
        TEST(descriptor),
        TEST(two_threads),
        TEST(close_in_flight),
        TEST(calls),
        TEST(wait_without_supervisor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
