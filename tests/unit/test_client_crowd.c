/*
 * test_client_crowd.c: several threads of one attachment submit, wait and poll at once, against a worker that echoes.
 *
 * Oracle: every body comes back to the thread that sent it, once, within its time; at the end every slot is free. Runs under ThreadSanitizer
 * in the checked build.
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

#include <pthread.h>

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

#define CROWD       3U
#define CROWD_CALLS 1500U

struct member {
    struct weir *w;
    uint32_t number;
    uint32_t wrong; /* answers that were not ours, late or missing */
};

/* Half by wait, half by poll; the body comes back, so a stranger's answer would show. */
static void member_turn(struct member *m, uint32_t turn)
{
    char said[32];
    struct weir_response r;
    weir_ticket ticket;
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec,
        .route = FAKE_FREE,
        .body = said,
        .body_bytes = (size_t)snprintf(said, sizeof said, "%u:%u", m->number, turn)};
    uint64_t deadline_ns = weir_now_ns(m->w) + 10 * WEIR_NS_PER_S;
    if (weir_submit(m->w, &spec, &ticket) != WEIR_OK) {
        m->wrong++;
        return;
    }
    int rc = turn % 2 == 0 ? weir_wait(m->w, ticket, deadline_ns, &r) : WEIR_EMPTY;
    while (rc == WEIR_EMPTY && weir_now_ns(m->w) < deadline_ns) {
        rc = weir_poll(m->w, &r);
    }
    if (rc != WEIR_OK || r.ticket != ticket || r.body_bytes != spec.body_bytes ||
        memcmp(r.body, said, r.body_bytes) != 0 || weir_release(m->w, ticket) != WEIR_OK) {
        m->wrong++;
    }
}

static void *member_run(void *arg)
{
    struct member *m = arg;
    for (uint32_t turn = 0; turn < CROWD_CALLS && m->wrong == 0; turn++) {
        member_turn(m, turn);
    }
    return NULL;
}

static void *echo_run(void *arg)
{
    struct stage *s = arg;
    uint32_t slot;
    for (uint32_t served = 0; served < CROWD * CROWD_CALLS;) {
        if (!fake_take(&s->f, WEIR_PRIORITY_MEDIUM, &slot) || !fake_claim(&s->f, slot)) {
            weir_cpu_relax();
            continue;
        }
        char body[FAKE_REQUEST_BYTES] = "";
        uint32_t bytes = s->f.slot[slot].request.body_bytes;
        if (bytes == 0) {
            return NULL; /* the test gave up */
        }
        memcpy(body, s->f.request + slot * FAKE_REQUEST_BYTES, bytes);
        fake_done(&s->f, slot, body);
        served++;
    }
    return NULL;
}

static void crowd(void **state)
{
    struct stage *s = *state;
    struct member m[CROWD] = {{.w = s->w}};
    pthread_t thread[CROWD];
    pthread_t worker;
    uint32_t wrong = 0;
    assert_int_equal(pthread_create(&worker, NULL, echo_run, s), 0);
    for (uint32_t i = 0; i < CROWD; i++) {
        m[i].number = i;
        assert_true(i == 0 || weir_dup(s->w, &m[i].w) == WEIR_OK);
        assert_int_equal(pthread_create(&thread[i], NULL, member_run, &m[i]), 0);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        wrong += m[i].wrong;
    }
    if (wrong > 0) {
        const struct weir_request_spec empty = {.struct_bytes = sizeof empty, .route = FAKE_FREE};
        weir_ticket ticket;
        (void)weir_submit(s->w, &empty, &ticket); /* sends the worker home */
    }
    assert_int_equal(pthread_join(worker, NULL), 0);
    assert_int_equal(wrong, 0);
    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        uint64_t word = weir_load_acquire_u64(&s->f.slot[i].state); /* pair:slot A */
        assert_int_equal(weir_slot_state(word), WEIR_SLOT_FREE);
    }
    for (uint32_t i = 1; i < CROWD; i++) {
        weir_close(m[i].w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(crowd, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
