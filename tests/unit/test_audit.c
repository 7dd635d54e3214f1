/*
 * test_audit.c: the audit from the permit to the reader: rings that overflow and wrap, writers that die, rings in which somebody scribbles, a worker that
 * follows a dead one, and a board that is overwritten while it is copied.
 *
 * Oracle: the account that the permit path keeps by itself (meter.units), and counting by hand. Seeds are printed with a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "audit.h"
#include "board.h"
#include "broker/worker.h"
#include "fixture.h"
#include "shm/weir_atomic.h"

#define KEPT   64U
#define CLIENT 3U

static const char yaml[] =
    "broker: {audit: 64}\n"
    "providers:\n"
    "  - name: a\n"
    "    scopes: {account: [main, sub]}\n"
    "    limits:\n"
    "      - {name: w, kind: token_bucket, quota: 1000000, window: 1s}\n"
    "      - {name: o, kind: token_bucket, quota: 3, window: 9m, scope: account}\n"
    "    routes:\n"
    "      - {name: depth, transport: own, cost: {w: 5}}\n"
    "      - {name: order, transport: own, cost: {w: 1, o: 1}, priority: critical}\n";

enum { DEPTH = 0, ORDER = 1 };

struct stage {
    struct weir_config *config;
    struct region region;
    struct worker worker[2]; /* the second follows the first */
    struct weir_segment arena, shadow;
    struct weir_permit_view view; /* of the client's thread 0 */
    uint64_t units[2];            /* its account */
    uint64_t taken;               /* records looked at */
};
static struct stage *s;

static struct weir_shm_audit_ring *ring(void)
{
    return weir_segment_section(&s->arena, WEIR_SECTION_AUDIT_RING, 1, NULL, NULL);
}

static void worker_make(struct worker *w)
{
    w->region = &s->region;
    region_permit_view(&s->region, &w->shared, false);
    assert_int_equal(weir_permit_refresh(&w->shared), WEIR_OK);
    assert_true(audit_open(w));
}

static void client_make(struct worker *w, bool recovered)
{
    struct client *c = &w->client[CLIENT];
    *c = (struct client){.info = {.index = CLIENT, .attached_ns = worker_now(w)}, .live = true};
    c->audit_ring = (void *)ring();
    if (!recovered) {
        s->region.client[CLIENT] = (struct weir_shm_client){
            .state = WEIR_CLIENT_LIVE, .pid = 77, .uid = 1000, .life = 1, .name = "maker"};
    }
    audit_attach(w, c, recovered);
}

static int setup(void **state)
{
    static struct weir_config_diag diag;
    char text[256];
    const struct arena_spec spec = {
        .slot_cnt = 1, .request_bytes = 64, .response_bytes = 4096, .role = WEIR_ROLE_TRADER};
    (void)state;
    s = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(sizeof *s, WEIR_LINE_BYTES));
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    s->config = weir_config_parse(yaml, sizeof yaml - 1, "test.yaml", &diag);
    if (s->config == NULL) {
        weir_config_diag_print(stderr, &diag);
    }
    assert_non_null(s->config);
    assert_int_equal(region_create(&s->region, s->config, text, sizeof text), WEIR_OK);
    s->region.gate->lease_until_ns = UINT64_MAX;
    assert_int_equal(arena_create(&s->region, "x", &spec, &s->arena, &s->shadow), WEIR_OK);
    worker_make(&s->worker[0]);
    client_make(&s->worker[0], false);
    region_permit_view(&s->region, &s->view, false);
    s->view.meter.units = s->units;
    assert_true(
        weir_audit_open(&s->view.audit, ring(), weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT)));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(s->worker[0].audit);
    free(s->worker[1].audit);
    weir_segment_unmap(&s->arena);
    weir_segment_unmap(&s->shadow);
    region_destroy(&s->region);
    weir_config_free(s->config);
    free(s);
    return 0;
}

static struct weir_permit take(weir_route_id route)
{
    struct weir_permit p;
    assert_int_equal(weir_permit_take(&s->view, route, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_OK);
    return p;
}

/* The board as a monitor has it. */
static void look(struct image *image, struct audit_view *view)
{
    static struct findings findings;
    *image = (struct image){.view.fd = -1};
    findings.cnt = 0;
    assert_int_equal(image_alloc(image, s->region.board.bytes), WEIR_OK);
    memcpy(image->bytes, s->region.board.base, image->size);
    assert_int_equal(image_open(image, &findings), WEIR_OK);
    audit_view_get(image, view);
    assert_true(view->kept);
}

/* Record `number`, counted from the end where it is below 1. */
static struct weir_shm_audit_record record(int64_t number)
{
    struct image image;
    struct audit_view view;
    struct weir_shm_audit_record r;
    look(&image, &view);
    assert_true(audit_record_get(
        &image, &view, number > 0 ? (uint64_t)number : view.last - (uint64_t)-number, &r));
    image_free(&image);
    return r;
}

static uint64_t written(void)
{
    return s->region.audit->written;
}

/* ---------------------------------------------------------------------------------------------- what is written */

static void a_permit_and_its_corrections(void **state)
{
    (void)state;
    struct weir_permit p = take(ORDER);
    const struct weir_cost dearer = {.cnt = 2, .units = {4, 1}};
    assert_int_equal(weir_permit_end(&s->view, &p, &dearer), WEIR_OK);
    struct weir_permit q = take(DEPTH);
    assert_int_equal(weir_permit_give(&s->view, &q), WEIR_OK);
    assert_int_equal(written(), 0); /* nothing before the worker looks */
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), 4);
    struct weir_shm_audit_record r = record(1);
    assert_string_equal(r.name, "maker");
    assert_int_equal(r.pid, 77);
    assert_int_equal(r.uid, 1000);
    assert_int_equal(r.client, CLIENT);
    assert_int_equal(r.life, 1);
    assert_int_equal(r.reporter, WEIR_AUDIT_BY_TRADER);
    assert_int_equal(r.kind, WEIR_AUDIT_GRANTED);
    assert_int_equal(r.route, ORDER);
    assert_int_equal(r.priority, WEIR_PRIORITY_HIGH);
    assert_true(r.at_ns == p.granted_at_ns && r.granted_at_ns == p.granted_at_ns);
    assert_int_equal(r.units[0], 1);
    assert_int_equal(r.units[1], 1);
    r = record(2);
    assert_int_equal(r.kind, WEIR_AUDIT_SETTLED);
    assert_int_equal(r.units[0], 3);
    assert_int_equal(r.units[1], 0);
    assert_true(r.granted_at_ns == p.granted_at_ns && r.at_ns >= p.granted_at_ns);
    r = record(4);
    assert_int_equal(r.kind, WEIR_AUDIT_GIVEN_BACK);
    assert_int_equal(r.units[0], -5);
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), 4); /* once */
}

/* A call that counts as it was charged is no second entry; a refusal is none at all. */
static void what_changes_nothing_is_no_entry(void **state)
{
    (void)state;
    struct weir_permit p = take(ORDER);
    assert_int_equal(weir_permit_end(&s->view, &p, NULL), WEIR_OK);
    (void)take(ORDER); /* 3 less what jitter costs a bucket */
    assert_int_equal(weir_permit_take(&s->view, ORDER, 0, NULL, 0, &p), WEIR_DENIED);
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), 2);
    audit_refused(&s->worker[0], &s->worker[0].client[CLIENT], 1, 2, 1000, WEIR_AUDIT_BY_TRADER);
    struct weir_shm_audit_record r = record(3);
    assert_int_equal(r.kind, WEIR_AUDIT_REFUSED);
    assert_int_equal(r.count, 1000);
    assert_int_equal(r.detail, 1);
    assert_int_equal(r.priority, 2);
}

static void scopes_are_told_apart(void **state)
{
    (void)state;
    struct weir_permit p;
    weir_scope_id sub;
    assert_int_equal(weir_permit_refresh(&s->view), WEIR_OK);
    assert_int_equal(weir_tables_scope_find(&s->view.tables, "a", "account=sub", &sub), WEIR_OK);
    assert_int_equal(weir_permit_take(&s->view, ORDER, sub, NULL, 0, &p), WEIR_OK);
    audit_turn(&s->worker[0]);
    assert_true(record(1).scope == sub);
}

/* Sum of all records' units, by limit. */
static void sums_add(int64_t sum[2])
{
    struct image image;
    struct audit_view view;
    look(&image, &view);
    for (uint64_t k = s->taken + 1; k <= view.last; k++) {
        struct weir_shm_audit_record r;
        assert_true(audit_record_get(&image, &view, k, &r));
        const struct weir_shm_route_row *route =
            r.route < 2 ? &s->worker[0].shared.tables.route[r.route] : NULL;
        for (uint32_t i = 0; route != NULL && i < r.unit_cnt; i++) {
            sum[route->limit[i]] += r.units[i];
        }
    }
    s->taken = view.last;
    image_free(&image);
}

/* Any mix of permits, corrections and looks: the records add up to the account. */
static void sums_are_the_account(void **state)
{
    (void)state;
    uint64_t random = 7;
    int64_t sum[2] = {0};
    for (uint32_t n = 0; n < 20000; n++) {
        struct weir_permit p = take(DEPTH);
        const struct weir_cost units = {.cnt = 1,
                                        .units = {(uint32_t)fixture_random_below(&random, 12)}};
        switch (fixture_random_below(&random, 4)) {
        case 0:
            assert_int_equal(weir_permit_give(&s->view, &p), WEIR_OK);
            break;
        case 1:
            assert_int_equal(weir_permit_end(&s->view, &p, &units), WEIR_OK);
            break;
        case 2:
            assert_int_equal(weir_permit_end(&s->view, &p, NULL), WEIR_OK);
            break;
        default: /* never settled */
            break;
        }
        if (fixture_random_below(&random, 16) == 0 || ring()->head - ring()->taken > KEPT - 4) {
            audit_turn(&s->worker[0]);
            assert_true(written() - s->taken <= KEPT);
            sums_add(sum);
        }
    }
    audit_turn(&s->worker[0]);
    sums_add(sum);
    assert_int_equal(ring()->dropped, 0);
    assert_int_equal(sum[0], s->units[0]);
    assert_true(sum[0] > 0);
}

/* ---------------------------------------------------------------------------------------------- what is missing */

static void a_full_ring_drops_and_says_so(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < WEIR_AUDIT_RING_CNT + 30; n++) {
        (void)take(DEPTH);
    }
    assert_int_equal(ring()->dropped, 30);
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), WEIR_AUDIT_RING_CNT + 1);
    struct weir_shm_audit_record r = record(0);
    assert_int_equal(r.kind, WEIR_AUDIT_DROPPED);
    assert_int_equal(r.count, 30);
    assert_int_equal(s->region.audit->dropped, 30);
    (void)take(DEPTH); /* there is room again */
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), WEIR_AUDIT_RING_CNT + 2);
    assert_int_equal(record(0).kind, WEIR_AUDIT_GRANTED);
    assert_int_equal(ring()->dropped, 30);
}

/* The next thread with the same ring goes on where the one before it stopped. */
static void the_next_writer_goes_on(void **state)
{
    (void)state;
    (void)take(DEPTH);
    (void)take(DEPTH);
    assert_true(
        weir_audit_open(&s->view.audit, ring(), weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT)));
    (void)take(ORDER);
    audit_turn(&s->worker[0]);
    assert_int_equal(written(), 3);
    assert_int_equal(record(3).route, ORDER);
}

static void a_ring_of_no_shape_is_no_audit(void **state)
{
    (void)state;
    struct weir_audit a;
    assert_false(weir_audit_open(&a, NULL, 4096));
    assert_false(weir_audit_open(&a, ring(), sizeof(struct weir_shm_audit_ring)));
    assert_false(weir_audit_open(&a, ring(), weir_audit_ring_bytes(3)));
    assert_null(a.ring);
    assert_true(weir_audit_open(&a, ring(), weir_audit_ring_bytes(1)));
}

static void old_records_are_overwritten_and_counted(void **state)
{
    (void)state;
    struct image image;
    struct audit_view view;
    struct weir_shm_audit_record r;
    for (uint32_t n = 0; n < KEPT + 10; n++) {
        (void)take(DEPTH);
    }
    audit_turn(&s->worker[0]);
    look(&image, &view);
    assert_int_equal(view.first, 11);
    assert_int_equal(view.last, KEPT + 10);
    assert_false(audit_record_get(&image, &view, 10, &r));
    assert_true(audit_record_get(&image, &view, 11, &r));
    assert_true(audit_record_get(&image, &view, KEPT + 10, &r));
    assert_false(audit_record_get(&image, &view, KEPT + 11, &r));
    image_free(&image);
}

/* What is announced is not there any more, what is not published is not there yet, and a place that bears another number is neither. */
static void torn_records_are_not_shown(void **state)
{
    (void)state;
    struct image image;
    struct audit_view view;
    struct weir_shm_audit_record r;
    for (uint32_t n = 0; n < KEPT + 10; n++) {
        (void)take(DEPTH);
    }
    audit_turn(&s->worker[0]);
    s->region.audit->begun += 5; /* the worker is in the middle of the next ones */
    look(&image, &view);
    assert_int_equal(view.first, 16);
    assert_int_equal(view.last, KEPT + 10);
    image_free(&image);
    s->region.audit_record[20 - 1].number = 7;
    look(&image, &view);
    assert_false(audit_record_get(&image, &view, 20, &r));
    assert_true(audit_record_get(&image, &view, 21, &r));
    image_free(&image);
    s->region.audit->begun = UINT64_MAX;
    look(&image, &view);
    assert_true(view.first == view.last + 1);
    image_free(&image);
}

/* ---------------------------------------------------------------------------------------------- who lies */

static struct weir_shm_audit_entry *entry(uint32_t i)
{
    return &weir_audit_entries(ring())[i];
}

/* One permit before, one between, one after; the third entry is changed by `scribble`. */
static void scribbled(void (*scribble)(struct weir_shm_audit_entry *))
{
    uint64_t before = written();
    uint64_t head = ring()->head;
    uint64_t damaged = s->region.audit->damaged;
    for (uint32_t n = 0; n < 4; n++) {
        (void)take(DEPTH);
    }
    scribble(entry((uint32_t)(head + 2) & (WEIR_AUDIT_RING_CNT - 1)));
    audit_turn(&s->worker[0]);
    assert_int_equal(written() - before, 4); /* three permits, one that says what is missing */
    struct weir_shm_audit_record r = record(0);
    assert_int_equal(r.kind, WEIR_AUDIT_DAMAGED);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.reporter, WEIR_AUDIT_BY_BROKER);
    assert_int_equal(r.client, CLIENT);
    assert_int_equal(s->region.audit->damaged - damaged, 1);
}

static void no_kind(struct weir_shm_audit_entry *e)
{
    e->kind = 0;
}
static void broker_kind(struct weir_shm_audit_entry *e)
{
    e->kind = WEIR_AUDIT_ENDED;
}
static void no_class(struct weir_shm_audit_entry *e)
{
    e->priority = WEIR_PRIORITY_CNT;
}
static void no_route(struct weir_shm_audit_entry *e)
{
    e->route = 4000;
}
static void many_units(struct weir_shm_audit_entry *e)
{
    e->unit_cnt = 200;
}
static void other_units(struct weir_shm_audit_entry *e)
{
    e->unit_cnt = 2;
}
static void hidden_units(struct weir_shm_audit_entry *e)
{
    e->units[7] = 1;
}
static void negative(struct weir_shm_audit_entry *e)
{
    e->units[0] = -5;
}
static void far_scope(struct weir_shm_audit_entry *e)
{
    e->scope = UINT64_MAX;
}
static void future(struct weir_shm_audit_entry *e)
{
    e->at_ns += 10 * WEIR_NS_PER_S;
    e->granted_at_ns = e->at_ns;
}
static void endless(struct weir_shm_audit_entry *e)
{
    e->at_ns = e->granted_at_ns = UINT64_MAX;
}
static void ancient(struct weir_shm_audit_entry *e)
{
    e->at_ns = e->granted_at_ns = 1;
}
static void two_instants(struct weir_shm_audit_entry *e)
{
    e->granted_at_ns--;
}
static void given_more(struct weir_shm_audit_entry *e)
{
    e->kind = WEIR_AUDIT_GIVEN_BACK;
}
static void late_grant(struct weir_shm_audit_entry *e)
{
    e->kind = WEIR_AUDIT_SETTLED;
    e->granted_at_ns = e->at_ns + 1;
}

static void scribbled_entries_are_left_out(void **state)
{
    (void)state;
    void (*const all[])(struct weir_shm_audit_entry *) = {
        no_kind,     broker_kind,  no_class,     no_route,   many_units,
        other_units, hidden_units, negative,     far_scope,  future,
        endless,     ancient,      two_instants, given_more, late_grant};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(all); i++) {
        scribbled(all[i]);
    }
    /* Whom it names is not asked. */
    (void)take(DEPTH);
    entry((uint32_t)(ring()->head - 1) & (WEIR_AUDIT_RING_CNT - 1))->client = CLIENT + 1;
    audit_turn(&s->worker[0]);
    assert_int_equal(record(0).client, CLIENT);
    assert_string_equal(record(0).name, "maker");
}

/* A head that no writer can have stored; then an honest one goes on. */
static void scribbled_heads_are_survived(void **state)
{
    (void)state;
    const uint64_t lies[] = {WEIR_AUDIT_RING_CNT + 1, UINT64_MAX, UINT64_C(1) << 63,
                             UINT64_MAX - 3};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(lies); i++) {
        uint64_t before = written();
        ring()->head += lies[i];
        audit_turn(&s->worker[0]);
        assert_int_equal(written() - before, 1);
        assert_int_equal(record(0).kind, WEIR_AUDIT_DAMAGED);
        audit_turn(&s->worker[0]);
        assert_int_equal(written() - before, 1); /* once, not at each look */
    }
    assert_true(
        weir_audit_open(&s->view.audit, ring(), weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT)));
    (void)take(DEPTH);
    audit_turn(&s->worker[0]);
    assert_int_equal(record(0).kind, WEIR_AUDIT_GRANTED);
}

/* Random bytes in the whole ring: nothing but what its reader bounds comes of it, and whose it is stays true. */
static void noise_in_a_ring(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t random = seed;
        uint64_t before = written();
        uint64_t *word = (void *)ring();
        uint64_t words = weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT) / sizeof *word;
        for (uint32_t i = 0; i < 300; i++) {
            word[fixture_random_below(&random, words)] = fixture_random(&random);
        }
        ring()->head = s->worker[0].client[CLIENT].audit[0].taken +
                       fixture_random_below(&random, WEIR_AUDIT_RING_CNT + 2);
        audit_turn(&s->worker[0]);
        if (written() - before > WEIR_AUDIT_RING_CNT + 2 ||
            (written() > before && record(0).client != CLIENT)) {
            fail_msg("seed %llu: %llu records, of client %u", (unsigned long long)seed,
                     (unsigned long long)(written() - before), record(0).client);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- who dies */

/* A client that died between its entry and its head has left none. */
static void half_an_entry_is_none(void **state)
{
    (void)state;
    (void)take(DEPTH);
    *entry(1) = *entry(0); /* written, and not published */
    audit_take(&s->worker[0], &s->worker[0].client[CLIENT]);
    assert_int_equal(written(), 1);
}

/* A worker that died `behind` entries before it could say that they are taken; with `half` it was inside a record. */
static void follow(uint64_t behind, bool half)
{
    struct worker *next = &s->worker[1];
    uint64_t before = written();
    ring()->taken = s->worker[0].client[CLIENT].audit[0].taken - behind;
    if (half) {
        s->region.audit->begun++;
        s->region.audit_record[written() % KEPT].number = written() + 1;
    }
    free(next->audit);
    memset(next, 0, sizeof *next);
    worker_make(next);
    client_make(next, true);
    next->client[CLIENT].info.attached_ns = 0;
    audit_began(next);
    assert_int_equal(written() - before, 1);
    assert_int_equal(record(0).kind, WEIR_AUDIT_WORKER);
    audit_turn(next);
    assert_int_equal(written() - before, 1); /* nothing twice */
    (void)take(ORDER);
    audit_turn(next);
    assert_int_equal(written() - before, 2); /* nothing lost */
    assert_int_equal(record(0).route, ORDER);
}

static void a_worker_follows_another(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 20; n++) {
        (void)take(DEPTH);
    }
    audit_turn(&s->worker[0]);
    follow(0, false);
    s->worker[0].client[CLIENT].audit[0] = s->worker[1].client[CLIENT].audit[0];
    follow(7, true);
}

/* The entries of another life of the same index are no reason to skip any. */
static void another_life_is_not_mistaken(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 5; n++) {
        (void)take(DEPTH);
    }
    audit_turn(&s->worker[0]);
    ring()->taken = 0;
    s->region.client[CLIENT].life = 2;
    worker_make(&s->worker[1]);
    client_make(&s->worker[1], true);
    s->worker[1].client[CLIENT].info.attached_ns = 0;
    audit_turn(&s->worker[1]);
    assert_int_equal(written(), 10);
}

/* ---------------------------------------------------------------------------------------------- all at once */

enum { PERMITS = 30000 };
static uint32_t over; /* the writer has ended */

/* Takes permits, and leaves the worker time to write them down. */
static void *writer(void *arg)
{
    (void)arg;
    for (uint32_t n = 0; n < PERMITS; n++) {
        struct weir_permit p;
        while (weir_load_acquire_u64(&ring()->head) - weir_load_acquire_u64(&ring()->taken) >
               WEIR_AUDIT_RING_CNT - 2) {
            (void)sched_yield();
        }
        if (weir_permit_take(&s->view, DEPTH, 0, NULL, WEIR_PRIORITY_HIGH, &p) != WEIR_OK) {
            n--; /* a bucket refills */
        }
    }
    weir_store_release_u32(&over, 1);
    return NULL;
}

/* Copies the board again and again: a record that it shows is whole, whatever the worker does meanwhile. */
static void *reader(void *arg)
{
    static struct findings findings;
    const struct board board = {.live = s->region.board, .socket = -1};
    struct image image = {.view.fd = -1};
    uint64_t *torn = arg;
    uint32_t last = 0;
    do {
        struct audit_view view;
        last = weir_load_acquire_u32(&over);
        if (board_copy(&board, &image, &findings) != WEIR_OK) {
            torn[0]++;
            break;
        }
        audit_view_get(&image, &view);
        uint64_t before_ns = 0;
        for (uint64_t k = view.first; k <= view.last; k++) {
            struct weir_shm_audit_record r;
            bool there = audit_record_get(&image, &view, k, &r);
            /* all come from one ring, in order */
            torn[0] += !there || r.place + 1 != r.number || r.at_ns != r.granted_at_ns ||
                       r.at_ns < before_ns || r.units[0] != 5 || strcmp(r.name, "maker") != 0;
            torn[1]++;
            before_ns = there ? r.at_ns : before_ns;
        }
    } while (last == 0);
    image_free(&image);
    return NULL;
}

static void a_writer_a_worker_and_a_reader(void **state)
{
    pthread_t thread[2];
    uint64_t torn[2] = {0};
    (void)state;
    weir_store_release_u32(&over, 0);
    assert_int_equal(pthread_create(&thread[0], NULL, reader, torn), 0);
    assert_int_equal(pthread_create(&thread[1], NULL, writer, NULL), 0);
    while (weir_load_acquire_u32(&over) == 0) {
        audit_turn(&s->worker[0]);
        (void)sched_yield();
    }
    audit_turn(&s->worker[0]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    print_message("%llu records looked at\n", (unsigned long long)torn[1]);
    assert_int_equal(torn[0], 0);
    assert_int_equal(written(), PERMITS);
    assert_int_equal(ring()->dropped, 0);
}

/* ---------------------------------------------------------------------------------------------- what is shown */

static void lines(void **state)
{
    (void)state;
    struct image image;
    struct audit_view view;
    struct weir_shm_audit_record r;
    const struct weir_cost three = {.cnt = 1, .units = {3}};
    struct weir_permit p;
    assert_int_equal(weir_permit_take(&s->view, DEPTH, 0, &three, 2, &p), WEIR_OK);
    (void)take(DEPTH);
    assert_int_equal(weir_permit_give(&s->view, &p), WEIR_OK);
    audit_turn(&s->worker[0]);
    s->region.audit->utc_offset_ns = 1795329720000000000 - (int64_t)p.granted_at_ns;
    memcpy(s->region.audit_record[0].name, "m\033[31m", 7);
    look(&image, &view);
    assert_true(audit_record_get(&image, &view, 1, &r));
    json_t *o = audit_json(&image, &view, &r);
    assert_true(json_integer_value(json_object_get(o, "at")) == 1795329720000000000);
    assert_string_equal(json_string_value(json_object_get(o, "audit")), "granted");
    assert_string_equal(json_string_value(json_object_get(o, "route")), "a.depth");
    assert_string_equal(json_string_value(json_object_get(o, "client")), "m?[31m");
    assert_string_equal(json_string_value(json_object_get(o, "reported")), "trader");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "units"), "w")), 3);
    json_decref(o);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    audit_text(out, &image, &view, &r);
    (void)fclose(out);
    assert_non_null(strstr(text, "2026-11-22T06:42:00.000000000Z  m?[31m "));
    assert_non_null(strstr(text, "trader  granted     medium      a.depth  w 3\n"));
    free(text);
    assert_true(audit_record_get(&image, &view, 2, &r));
    o = audit_json(&image, &view, &r);
    assert_null(json_object_get(o, "units")); /* what the route costs anyway */
    json_decref(o);
    assert_true(audit_record_get(&image, &view, 3, &r));
    o = audit_json(&image, &view, &r);
    assert_null(json_object_get(o, "units"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "charged"), "w")), -3);
    assert_true(json_integer_value(json_object_get(o, "granted_weir_ns")) ==
                (json_int_t)p.granted_at_ns);
    json_decref(o);
    image_free(&image);
}

static void filters(void **state)
{
    (void)state;
    struct image image;
    struct audit_view view;
    struct weir_shm_audit_record depth, order, dropped;
    (void)take(DEPTH);
    (void)take(ORDER);
    ring()->dropped = 4;
    audit_turn(&s->worker[0]);
    look(&image, &view);
    assert_true(audit_record_get(&image, &view, 1, &depth));
    assert_true(audit_record_get(&image, &view, 2, &order));
    assert_true(audit_record_get(&image, &view, 3, &dropped));
    const struct audit_filter o = {.limit = "o"}, ao = {.limit = "a.o"}, none = {.limit = "b.o"};
    const struct audit_filter maker = {.client = "maker"}, taker = {.client = "taker"};
    const struct audit_filter later = {.since_utc_ns = audit_utc_ns(&view, order.at_ns) + 1};
    assert_false(audit_matches(&image, &o, &view, &depth));
    assert_true(audit_matches(&image, &o, &view, &order));
    assert_true(audit_matches(&image, &ao, &view, &order));
    assert_false(audit_matches(&image, &none, &view, &order));
    assert_true(audit_matches(&image, &o, &view, &dropped)); /* a gap is never silent */
    assert_true(audit_matches(&image, &maker, &view, &depth));
    assert_false(audit_matches(&image, &taker, &view, &depth));
    assert_false(audit_matches(&image, &later, &view, &order));
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_permit_and_its_corrections),
        TEST(what_changes_nothing_is_no_entry),
        TEST(scopes_are_told_apart),
        TEST(sums_are_the_account),
        TEST(a_full_ring_drops_and_says_so),
        TEST(the_next_writer_goes_on),
        TEST(a_ring_of_no_shape_is_no_audit),
        TEST(old_records_are_overwritten_and_counted),
        TEST(torn_records_are_not_shown),
        TEST(scribbled_entries_are_left_out),
        TEST(scribbled_heads_are_survived),
        TEST(noise_in_a_ring),
        TEST(half_an_entry_is_none),
        TEST(a_worker_follows_another),
        TEST(another_life_is_not_mistaken),
        TEST(a_writer_a_worker_and_a_reader),
        TEST(lines),
        TEST(filters),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
