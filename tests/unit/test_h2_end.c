/*
 * test_h2_end.c: where an answer over HTTP/2 ended. Oracle: tests/support/h2.c, which reads the same bytes whole and knows nothing of pieces; what is good and bad is RFC 9113's, 8.1.
 */
#include "broker/h2_end.h"
#include "h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint8_t said[1U << 16];
static size_t said_bytes;

static void say(unsigned type, unsigned flags, uint32_t stream, const void *at, size_t bytes)
{
    said_bytes += h2_frame(said + said_bytes, type, flags, stream, at, bytes);
}

/* All of it in pieces of `piece` bytes; whole, with so many bytes of body? */
static bool whole(struct h2_reader *r, size_t piece, uint64_t body_bytes)
{
    for (size_t at = 0; at < said_bytes; at += piece) {
        (void)h2_reader_take(r, said + at, said_bytes - at < piece ? said_bytes - at : piece);
    }
    said_bytes = 0;
    return h2_end_is_whole(r, body_bytes);
}

static struct h2_reader *fresh(void)
{
    struct h2_reader *r = h2_reader_make();
    assert_non_null(r);
    h2_reader_begin(r);
    said_bytes = 0;
    say(H2_SETTINGS, 0, 0, "", 0);
    return r;
}

static void test_cut(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece++) {
        struct h2_reader *r = fresh();
        assert_false(whole(r, piece, 0)); /* nothing came */
        say(H2_HEADERS, H2_END_HEADERS, 1, "\x88", 1);
        assert_false(whole(r, piece, 0));
        say(H2_DATA, 0, 1, "half", 4);
        assert_false(whole(r, piece, 4));
        (void)h2_number(said + said_bytes, H2_RST_STREAM, 1, H2_NO_ERROR);
        said_bytes += H2_HEAD_BYTES + 4;
        assert_false(whole(r, piece, 4));
        say(H2_DATA, H2_END_STREAM, 1, "", 0); /* behind a reset it says nothing */
        assert_false(whole(r, piece, 4));
        h2_reader_free(r);
    }
}

static void test_ended(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece++) {
        struct h2_reader *r = fresh();
        for (uint32_t stream = 1; stream < 9; stream += 2) {
            h2_reader_begin(r);
            say(H2_HEADERS, H2_END_HEADERS, stream, "\x88", 1);
            say(H2_DATA, H2_PADDED, stream, "\3fine\0\0\0", 8);
            say(H2_PING, 0, 0, "12345678", 8);
            say(H2_DATA, H2_PADDED | H2_END_STREAM, stream, "\2\0\0", 3);
            say(H2_DATA, H2_END_STREAM, stream, "more", 4); /* nobody's */
            assert_true(whole(r, piece, 4));
            assert_false(h2_end_is_whole(r, 3)); /* curl lost a byte */
        }
        /* What ends an earlier stream once more ends not this one, nor what ends a later one. */
        h2_reader_begin(r);
        say(H2_DATA, H2_END_STREAM, 7, "", 0);
        say(H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 7, "\x88", 1);
        assert_false(whole(r, piece, 0));
        say(H2_HEADERS, H2_END_HEADERS, 9, "\x88", 1);
        say(H2_DATA, H2_END_STREAM, 11, "", 0);
        assert_false(whole(r, piece, 0));
        say(H2_HEADERS, H2_END_STREAM, 9, "", 0); /* trailers */
        assert_true(whole(r, piece, 0));
        h2_reader_free(r);
    }
}

static void test_half_a_frame(void **state)
{
    (void)state;
    struct h2_reader *r = fresh();
    say(H2_HEADERS, H2_END_HEADERS, 1, "\x88", 1);
    say(H2_DATA, H2_END_STREAM, 1, "fine", 4);
    said_bytes--;
    assert_false(whole(r, 7, 4));
    assert_true(h2_reader_take(r, (const uint8_t *)"e", 1));
    assert_true(h2_end_is_whole(r, 4));
    h2_reader_free(r);
    assert_false(h2_end_is_whole(NULL, 0)); /* not watched: nothing is known */
}

/* The bound of the header, and that a body of single bytes is none of it. */
static void test_flood(void **state)
{
    uint8_t at[64];
    (void)state;
    struct h2_reader *r = fresh();
    h2_reader_begin(r);
    size_t n = h2_frame(at, H2_HEADERS, H2_END_HEADERS, 1, "\x88", 1);
    assert_true(h2_reader_take(r, at, n));
    n = h2_frame(at, H2_DATA, 0, 1, "x", 1);
    for (unsigned i = 0; i < 3 * H2_IDLE_FRAMES_MAX; i++) {
        assert_true(h2_reader_take(r, at, n));
    }
    n = h2_frame(at, H2_DATA, 0, 1, "", 0);
    for (unsigned i = 1; i < H2_IDLE_FRAMES_MAX; i++) {
        assert_true(h2_reader_take(r, at, n));
    }
    assert_false(h2_reader_take(r, at, n));
    h2_reader_begin(r);
    assert_true(h2_reader_take(r, at, n)); /* the next call */
    /* Nothing but padding is nothing too: of any length, and of one that claims more than there is. */
    static const char *const padding[] = {"\0", "\2\0\0", "\7\0"};
    static const size_t padding_bytes[] = {1, 3, 2};
    for (unsigned k = 0; k < 3; k++) {
        h2_reader_begin(r);
        n = h2_frame(at, H2_HEADERS, H2_END_HEADERS, 3 + 2 * k, "\x88", 1);
        assert_true(h2_reader_take(r, at, n));
        n = h2_frame(at, H2_DATA, H2_PADDED, 3 + 2 * k, padding[k], padding_bytes[k]);
        for (unsigned i = 1; i < H2_IDLE_FRAMES_MAX; i++) {
            assert_true(h2_reader_take(r, at, n));
        }
        assert_false(h2_reader_take(r, at, n));
    }
    /* One byte beside it is a body. */
    h2_reader_begin(r);
    n = h2_frame(at, H2_HEADERS, H2_END_HEADERS, 9, "\x88", 1);
    assert_true(h2_reader_take(r, at, n));
    n = h2_frame(at, H2_DATA, H2_PADDED, 9, "\2x\0\0", 4);
    for (unsigned i = 0; i < 3 * H2_IDLE_FRAMES_MAX; i++) {
        assert_true(h2_reader_take(r, at, n));
    }
    h2_reader_free(r);
}

static void test_random(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    unsigned whole_cnt = 0;
    (void)state;
    (void)printf("seed %u\n", seed);
    srand(seed);
    for (unsigned round = 0; round < 20000; round++) {
        static const uint8_t types[] = {H2_DATA,       H2_DATA, H2_DATA,    H2_HEADERS,
                                        H2_RST_STREAM, H2_PING, H2_SETTINGS};
        uint8_t payload[32];
        struct h2_reader *r = fresh();
        say(H2_HEADERS, H2_END_HEADERS | (rand() % 16 == 0), 1, "\x88", 1);
        for (int frames = rand() % 8; frames > 0; frames--) {
            size_t n = (size_t)rand() % sizeof payload;
            memset(payload, rand() % 4, sizeof payload);
            say(types[(size_t)rand() % sizeof types],
                (rand() % 4 == 0 ? H2_END_STREAM : 0) | (rand() % 3 == 0 ? H2_PADDED : 0),
                (uint32_t)(rand() % 8 == 0 ? 3 : 1), payload, n);
        }
        said_bytes -= (size_t)(rand() % 4);
        struct h2_said judge = {.stream = 1};
        h2_judge(&judge, said, said_bytes);
        bool wanted = judge.ended;
        bool got = whole(r, 1 + (size_t)rand() % 50, judge.data_bytes);
        if (got != wanted) {
            fail_msg("round %u: %d, wanted %d", round, got, wanted);
        }
        whole_cnt += got;
        h2_reader_free(r);
    }
    assert_true(whole_cnt > 1000 && whole_cnt < 19000); /* both were met */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_ended),
        cmocka_unit_test(test_half_a_frame), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
