/*
 * test_ring.c: the ring in one thread, from every start position that ever hid a bug.
 *
 * Oracle: a plain counter. Handles go in as 0, 1, 2, ... and must come out in that order, each once; FULL exactly at n inside,
 * EMPTY exactly at 0. Damage is written by hand and must be survived within the stated bounds, and counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir_ring.h"
#include "weir_types.h"

#define ORDER 6
#define CELLS (UINT64_C(1) << ORDER)

static const uint64_t starts[] = {
    0,
    1,
    CELLS - 1,
    CELLS,
    CELLS + 1,
    (UINT64_C(1) << 32) - 3,           /* a 32-bit position would wrap */
    (UINT64_C(1) << (32 + ORDER)) - 3, /* the cell's cycle wraps */
    (UINT64_C(1) << 63) - 3,           /* the sign of a difference flips */
    UINT64_MAX - 2,                    /* the position wraps */
    UINT64_MAX - CELLS,                /* the same, a lap earlier */
};

struct fixture {
    uint8_t *memory;
    struct weir_shm_ring_head *head;
    struct weir_shm_ring_line *line;
    uint64_t *cell;
    struct weir_ring producer;
    struct weir_ring_consumer consumer;
};

static void setup(struct fixture *f, uint32_t order, uint64_t start)
{
    size_t bytes = weir_ring_bytes(order);
    f->memory = aligned_alloc(WEIR_LINE_BYTES, bytes);
    f->head = aligned_alloc(WEIR_LINE_BYTES, sizeof(*f->head));
    assert_non_null(f->memory);
    assert_non_null(f->head);
    memset(f->memory, 0xa5, bytes); /* format must not lean on zeroed memory */
    f->line = (struct weir_shm_ring_line *)(void *)f->memory;
    f->cell = (uint64_t *)(void *)(f->line + 1);
    assert_int_equal(weir_ring_format(f->memory, f->head, order, start), 0);
    assert_int_equal(weir_ring_attach(&f->producer, f->memory, f->head, order), 0);
    assert_int_equal(weir_ring_attach_consumer(&f->consumer, f->memory, f->head, order), 0);
}

static void teardown(struct fixture *f)
{
    free(f->memory);
    free(f->head);
}

static void expect_take(struct fixture *f, uint32_t handle)
{
    uint32_t got = 0xdead;
    assert_true(weir_ring_ready(&f->consumer));
    assert_int_equal(weir_ring_take(&f->consumer, &got), WEIR_RING_OK);
    assert_int_equal(got, handle);
}

static void expect_empty(struct fixture *f)
{
    uint32_t got = 0xdead;
    assert_int_equal(weir_ring_take(&f->consumer, &got), WEIR_RING_EMPTY);
    assert_int_equal(got, 0xdead);
    assert_false(weir_ring_ready(&f->consumer));
}

static void expect_honest(const struct fixture *f)
{
    assert_int_equal(f->consumer.tail_repaired, 0);
    assert_int_equal(f->consumer.cell_poisoned, 0);
}

/* Fill to FULL, drain to EMPTY, with every fill level in between, over several laps. */
static void fifo_and_capacity(uint32_t order, uint64_t start)
{
    struct fixture f;
    setup(&f, order, start);
    uint64_t cells = UINT64_C(1) << order;
    uint32_t in = 0;
    uint32_t out = 0;
    expect_empty(&f);
    for (uint64_t level = 1; level <= cells; level += order > 8 ? 4097 : 1) {
        for (uint64_t i = 0; i < level; i++) {
            assert_int_equal(weir_ring_put(&f.producer, in++), WEIR_RING_OK);
            assert_int_equal(weir_ring_depth_hint(&f.producer), i + 1);
        }
        for (uint64_t i = 0; i < level; i++) {
            expect_take(&f, out++);
        }
        expect_empty(&f);
    }
    for (uint64_t i = 0; i < cells; i++) {
        assert_int_equal(weir_ring_put(&f.producer, in++), WEIR_RING_OK);
    }
    assert_int_equal(weir_ring_put(&f.producer, 0xbad), WEIR_RING_FULL);
    for (uint64_t i = 0; i < 3 * cells; i++) { /* one out, one in, at the brim */
        expect_take(&f, out++);
        assert_int_equal(weir_ring_put(&f.producer, in++), WEIR_RING_OK);
        assert_int_equal(weir_ring_put(&f.producer, 0xbad), WEIR_RING_FULL);
    }
    for (uint64_t i = 0; i < cells; i++) {
        expect_take(&f, out++);
    }
    expect_empty(&f);
    assert_int_equal(in, out);
    expect_honest(&f);
    teardown(&f);
}

static void test_fifo_from_every_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(starts); i++) {
        fifo_and_capacity(ORDER, starts[i]);
        fifo_and_capacity(WEIR_RING_ORDER_MAX, starts[i]);
    }
    for (uint64_t start = 0; start < 2 * CELLS; start++) {
        fifo_and_capacity(ORDER, start);
    }
}

static void test_usual_start_is_zeroed_memory(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, ORDER, weir_ring_start(ORDER));
    for (uint64_t i = 0; i < CELLS; i++) {
        assert_int_equal(f.cell[i], 0);
    }
    teardown(&f);
}

/* A producer died between publishing and moving tail: the next one helps, and neither FULL nor EMPTY is wrong by one. */
static void test_helped_tail(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(starts); i++) {
        struct fixture f;
        setup(&f, ORDER, starts[i]);
        for (uint32_t level = 1; level <= CELLS; level++) {
            for (uint32_t k = 0; k < level; k++) {
                assert_int_equal(weir_ring_put(&f.producer, k), WEIR_RING_OK);
                f.line->tail--;
            }
            if (level == CELLS) {
                assert_int_equal(weir_ring_put(&f.producer, 0xbad), WEIR_RING_FULL);
                f.line->tail--;
            }
            for (uint32_t k = 0; k < level; k++) {
                expect_take(&f, k);
            }
            assert_int_equal(f.line->tail + 1,
                             f.head->head); /* tail lags behind head: still honest */
            expect_empty(&f);
            assert_int_equal(weir_ring_depth_hint(&f.producer), 0);
            assert_int_equal(weir_ring_put(&f.producer, 7), WEIR_RING_OK);
            expect_take(&f, 7);
            expect_honest(&f);
        }
        teardown(&f);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, ORDER, 0);
    struct weir_ring view;
    assert_int_equal(weir_ring_bytes(WEIR_RING_ORDER_MIN - 1), 0);
    assert_int_equal(weir_ring_bytes(WEIR_RING_ORDER_MAX + 1), 0);
    assert_int_equal(weir_ring_bytes(UINT32_MAX), 0);
    assert_int_equal(weir_ring_bytes(ORDER), WEIR_LINE_BYTES + 8 * CELLS);
    assert_int_equal(weir_ring_bytes(ORDER) % WEIR_LINE_BYTES, 0);
    assert_int_equal(weir_ring_attach(&view, f.memory, f.head, 5), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_attach(&view, f.memory, f.head, 17), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_attach(&view, f.memory + 8, f.head, ORDER), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_attach(&view, NULL, f.head, ORDER), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_attach(&view, f.memory, NULL, ORDER), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_format(f.memory, f.head, 5, 0), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_put(&f.producer, WEIR_RING_POISON), WEIR_E_ARGUMENT);
    assert_int_equal(weir_ring_put(&f.producer, WEIR_RING_POISON - 1), WEIR_RING_OK);
    expect_take(&f, WEIR_RING_POISON - 1);
    expect_empty(&f);
    teardown(&f);
}

/* After any damage: the worker takes until EMPTY within a bound, then the ring is as good as new. */
static uint32_t drain(struct fixture *f)
{
    uint32_t taken = 0;
    uint32_t calls = 0;
    for (;;) {
        uint32_t handle = 0;
        int rc = weir_ring_take(&f->consumer, &handle);
        assert_true(rc == WEIR_RING_OK || rc == WEIR_RING_EMPTY || rc == WEIR_RING_CORRUPT);
        assert_true(++calls <=
                    3 * CELLS); /* at most n cells of damage, at least one dealt with per call */
        if (rc == WEIR_RING_OK) {
            taken++;
        }
        if (rc == WEIR_RING_EMPTY) {
            return taken;
        }
    }
}

static void expect_works(struct fixture *f)
{
    (void)drain(f);
    for (uint32_t lap = 0; lap < 3; lap++) {
        for (uint32_t i = 0; i < CELLS; i++) {
            int rc = WEIR_RING_BUSY;
            for (uint32_t tries = 0; rc != WEIR_RING_OK && tries < 2 * CELLS; tries++) {
                rc = weir_ring_put(&f->producer, i);
                if (rc != WEIR_RING_OK) { /* damage ahead, or forged entries */
                    (void)drain(f);
                }
            }
            assert_int_equal(rc, WEIR_RING_OK);
        }
        (void)drain(f);
    }
    uint64_t repaired = f->consumer.tail_repaired + f->consumer.cell_poisoned;
    for (uint32_t i = 0; i < CELLS; i++) {
        assert_int_equal(weir_ring_put(&f->producer, i), WEIR_RING_OK);
    }
    assert_int_equal(weir_ring_put(&f->producer, 0), WEIR_RING_FULL);
    for (uint32_t i = 0; i < CELLS; i++) {
        expect_take(f, i);
    }
    expect_empty(f);
    assert_int_equal(f->consumer.tail_repaired + f->consumer.cell_poisoned, repaired);
}

static void test_wild_tail(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(starts); i++) {
        const int64_t wild[] = {-2,        -(int64_t)CELLS, 1, (int64_t)CELLS, (int64_t)CELLS + 1,
                                INT64_MAX, INT64_MIN};
        for (size_t k = 0; k < WEIR_ARRAY_CNT(wild); k++) {
            struct fixture f;
            setup(&f, ORDER, starts[i]);
            f.line->tail += (uint64_t)wild[k];
            /* A wild tail is something to do, or nobody would mend it. */
            assert_true(weir_ring_ready(&f.consumer));
            expect_works(&f);
            assert_true(f.consumer.tail_repaired + f.consumer.cell_poisoned > 0);
            teardown(&f);
        }
    }
}

/* Tail ran ahead of one unpublished cell: one poisoned hole, and what comes after it is delivered. */
static void test_hole_is_poisoned(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, ORDER, 0);
    f.line->tail++;
    assert_int_equal(weir_ring_put(&f.producer, 42), WEIR_RING_OK);
    expect_take(&f, 42);
    assert_int_equal(f.consumer.cell_poisoned, 1);
    assert_int_equal(f.consumer.tail_repaired, 0);
    expect_empty(&f);
    expect_works(&f);
    teardown(&f);
}

static void test_wild_cells(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15u;
    print_message("seed 0x%llx\n", (unsigned long long)seed);
    for (uint32_t round = 0; round < 2000; round++) {
        struct fixture f;
        setup(&f, ORDER, starts[round % WEIR_ARRAY_CNT(starts)]);
        for (uint32_t k = 0; k < 1 + round % CELLS; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            uint64_t base =
                (seed >> 8) % 3 == 0 ? seed : ((f.head->head >> ORDER) << 32) + seed % 5;
            f.cell[seed % CELLS] = base;
            if ((seed >> 16) % 8 == 0) {
                f.line->tail = f.head->head + (seed >> 20) % 200 - 100;
            }
            (void)weir_ring_put(&f.producer, k);
        }
        expect_works(&f);
        teardown(&f);
    }
}

/* Every cell bad at once: CORRUPT comes back, in bounded time, and the ring recovers by being taken from. */
static void test_corrupt_is_said(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, ORDER, 0);
    memset(f.cell, 0x77, 8 * CELLS);
    uint32_t handle = 0;
    assert_int_equal(weir_ring_put(&f.producer, 1), WEIR_RING_BUSY);
    assert_int_equal(weir_ring_take(&f.consumer, &handle), WEIR_RING_CORRUPT);
    assert_int_equal(f.consumer.cell_poisoned, WEIR_RING_TAKE_TRIES_MAX / 2);
    expect_works(&f);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifo_from_every_start),
        cmocka_unit_test(test_usual_start_is_zeroed_memory),
        cmocka_unit_test(test_helped_tail),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_wild_tail),
        cmocka_unit_test(test_hole_is_poisoned),
        cmocka_unit_test(test_wild_cells),
        cmocka_unit_test(test_corrupt_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
