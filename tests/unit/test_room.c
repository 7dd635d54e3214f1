/*
 * test_room.c: whose room a new answer may have (broker/clients.c), with the shadow and the word of each slot as the end of a call, its client and a death between the
 * two leave them.
 *
 * Oracle: shm/weir_slot.h. A word of the shadow's generation that is CLAIMED, SENDING or DONE belongs to an answer that its client has not let go of. The room of any other
 * comes back once the shadow says that the answer is whole; before that nobody's does.
 */
#include "broker/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SLOTS      2U
#define ROOM_BYTES (4 * POOL_GRANULE_BYTES)
#define GENERATION 7U

struct room {
    struct client client;
    struct weir_shm_slot slot[SLOTS];
    struct weir_shm_shadow shadow[SLOTS];
};

/* Slot 0 has all the room that there is; its shadow and its word are these. */
static void room_open(struct room *r, uint32_t shadow_state, uint32_t generation,
                      enum weir_slot_state word_state)
{
    uint32_t off_bytes;
    memset(r, 0, sizeof *r);
    r->client.info.slot_cnt = SLOTS;
    r->client.slot = r->slot;
    r->client.shadow = r->shadow;
    assert_true(pool_init(&r->client.pool, ROOM_BYTES));
    assert_true(client_room_hold(&r->client, ROOM_BYTES, &off_bytes));
    r->shadow[0].state = shadow_state;
    r->shadow[0].generation = GENERATION;
    r->shadow[0].pool_off_bytes = off_bytes;
    r->shadow[0].pool_bytes = ROOM_BYTES;
    r->slot[0].state = weir_slot_word(generation, word_state, 0);
}

/* Does a call of slot 1 get the room of slot 0? Asked twice: what was given once is gone. */
static bool is_given(uint32_t shadow_state, uint32_t generation, enum weir_slot_state word_state)
{
    struct room r;
    uint32_t off_bytes;
    room_open(&r, shadow_state, generation, word_state);
    bool given = client_room_hold(&r.client, ROOM_BYTES, &off_bytes);
    assert_int_equal(r.shadow[0].pool_bytes, given ? 0 : ROOM_BYTES);
    assert_false(client_room_hold(&r.client, ROOM_BYTES, &off_bytes));
    pool_free(&r.client.pool);
    return given;
}

static const enum weir_slot_state kept[] = {WEIR_SLOT_CLAIMED, WEIR_SLOT_SENDING, WEIR_SLOT_DONE};

/* Whole, and a worker died before its word said so: its successor delivers it, and looks for room before, for a call of another slot. */
static void test_kept_by_the_dead(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(kept); i++) {
        assert_false(is_given(WEIR_SLOT_DONE, GENERATION, kept[i]));
    }
}

static void test_released(void **state)
{
    static const enum weir_slot_state let_go[] = {WEIR_SLOT_FREE, WEIR_SLOT_FILLING,
                                                  WEIR_SLOT_SUBMITTED, WEIR_SLOT_CANCELLED};
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(let_go); i++) {
        assert_true(is_given(WEIR_SLOT_DONE, GENERATION, let_go[i]));
    }
    /* Used again since, whatever the word says now. */
    for (size_t i = 0; i < WEIR_ARRAY_CNT(kept); i++) {
        assert_true(is_given(WEIR_SLOT_DONE, GENERATION + 1, kept[i]));
    }
}

/* Not whole yet: the call has it, and what its client writes into the word changes nothing. */
static void test_under_way(void **state)
{
    (void)state;
    for (unsigned s = WEIR_SLOT_FREE; s <= WEIR_SLOT_CANCELLED; s++) {
        assert_false(is_given(WEIR_SLOT_CLAIMED, GENERATION, (enum weir_slot_state)s));
        assert_false(is_given(WEIR_SLOT_SENDING, GENERATION + 1, (enum weir_slot_state)s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_by_the_dead),
        cmocka_unit_test(test_released),
        cmocka_unit_test(test_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
