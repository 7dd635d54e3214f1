/*
 * A server whose clock gains or loses 200 ppm: what weir publishes of it stays true, it is never taken for a clock that was stepped, and what refills or rolls by
 * it comes back no earlier with us than there. Oracle: the true offset, by the same arithmetic on paper.
 */
#include "broker/server_clock.h"
#include "shm/weir_sliding.h"
#include "shm/weir_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after its friends */
#include <cmocka.h>

#define DRIFT_PPM 200
#define BASE_NS   (INT64_C(1700000000) * (int64_t)WEIR_NS_PER_S)

static int64_t true_offset(uint64_t now_ns, int ppm)
{
    return BASE_NS + (int64_t)now_ns / 1000000 * ppm;
}

static uint64_t below(unsigned *seed, uint64_t n)
{
    *seed = *seed * 1664525U + 1013904223U;
    return (*seed >> 8) % n;
}

/* Ask every `every_ns`; ways there and back are drawn anew each time, now and then they are short. */
static void drifting(int ppm, uint64_t every_ns)
{
    struct server_clock clock = {0};
    unsigned seed = 7;
    unsigned stepped = 0;
    for (uint64_t i = 1; i <= 2000; i++) {
        uint64_t sent_ns = i * every_ns;
        uint64_t way_ns = i % 10 == 0 ? 200000 : 30 * WEIR_NS_PER_MS;
        uint64_t seen_ns = sent_ns + below(&seed, way_ns);
        uint64_t back_ns = seen_ns + below(&seed, way_ns);
        uint64_t utc_ns = seen_ns + (uint64_t)true_offset(seen_ns, ppm);
        stepped +=
            server_clock_sample(&clock, sent_ns, back_ns, utc_ns / WEIR_NS_PER_MS * WEIR_NS_PER_MS,
                                WEIR_NS_PER_MS) != SERVER_CLOCK_REFINED;
        struct weir_server_clock c = server_clock_value(&clock, back_ns, 0);
        for (uint64_t later = 0; later <= every_ns; later += every_ns / 4) {
            uint64_t now_ns = back_ns + later;
            int64_t wrong_ns = true_offset(now_ns, ppm) - c.offset_ns;
            assert_in_range((uint64_t)llabs(wrong_ns), 0, weir_server_clock_error_ns(&c, now_ns));
        }
    }
    assert_int_equal(stepped, 1); /* the first sample */
}

static void test_offset(void **state)
{
    (void)state;
    drifting(DRIFT_PPM, WEIR_NS_PER_S);
    drifting(-DRIFT_PPM, WEIR_NS_PER_S);
    drifting(DRIFT_PPM, 30 * WEIR_NS_PER_S);
    drifting(-DRIFT_PPM, 30 * WEIR_NS_PER_S);
}

/* `ns` of a server that loses 200 ppm, in ours, rounded up. */
static uint64_t slow(uint64_t ns)
{
    return (uint64_t)(((unsigned __int128)ns * 1000000U + 1000000U - DRIFT_PPM - 1) /
                      (1000000U - DRIFT_PPM));
}

static void test_spans(void **state)
{
    static const uint32_t quota[] = {1, 7, 20, 1000, 4096};
    static const uint64_t window_ns[] = {WEIR_NS_PER_S, 10 * WEIR_NS_PER_S, 86400 * WEIR_NS_PER_S};
    (void)state;
    for (size_t w = 0; w < WEIR_ARRAY_CNT(window_ns); w++) {
        assert_true(weir_sliding_span_ns(window_ns[w], 0) >= slow(window_ns[w]));
        for (size_t q = 0; q < WEIR_ARRAY_CNT(quota); q++) {
            assert_true(weir_bucket_unit_ns(window_ns[w], quota[q]) * quota[q] >=
                        slow(window_ns[w]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offset),
        cmocka_unit_test(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
