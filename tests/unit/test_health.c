/*
 * test_health.c: scores, ejections and ways back. Oracle: the formulas at the top of broker/health.h, worked out by hand.
 */
#include "broker/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S     WEIR_NS_PER_S
#define MS    WEIR_NS_PER_MS
#define START (UINT64_C(1000) * S)

static const struct health_peers alone = {.quota_ppm = 1000000};
static struct health h[4];
static struct health *const all[] = {&h[0], &h[1], &h[2], &h[3]};
static const bool usable[] = {true, true, true, true};

static void fresh(void)
{
    memset(h, 0, sizeof h);
}

static void told(unsigned i, enum weir_call_class class, unsigned times, uint64_t at_ns)
{
    for (unsigned k = 0; k < times; k++) {
        health_told(&h[i], class, at_ns);
    }
}

static uint32_t score(unsigned i, uint64_t at_ns)
{
    return health_score(&h[i], &alone, at_ns).score;
}

static void test_nothing_known(void **state)
{
    (void)state;
    fresh();
    assert_int_equal(score(0, START), 1000);
    told(0, WEIR_CLASS_NONE, 100, START);
    assert_int_equal(score(0, START), 1000);
}

static void test_success(void **state)
{
    (void)state;
    fresh();
    told(0, WEIR_CLASS_SERVER, 1, START);
    assert_int_equal(score(0, START), 500); /* (0 + 1) / (1 + 1) */
    told(0, WEIR_CLASS_OK, 2, START);
    assert_int_equal(score(0, START), 750); /* 3 / 4 */
    told(0, WEIR_CLASS_BUSINESS, 4, START);
    assert_int_equal(score(0, START), 875); /* 7 / 8: a wrong call is an answer */
    uint32_t before = score(0, START);
    assert_true(score(0, START + 60 * S) > before); /* what is long ago counts no more */
    assert_true(score(0, START + 60 * S) >= 995);
}

static void test_throttle(void **state)
{
    (void)state;
    fresh();
    told(0, WEIR_CLASS_THROTTLE, 1, START);
    struct health_parts p = health_score(&h[0], &alone, START);
    assert_int_equal(p.success_ppm, 1000000); /* no failure */
    assert_int_equal(p.throttle_ppm, 500000);
    told(0, WEIR_CLASS_BAN, 2, START);
    assert_int_equal(score(0, START), 250);
    assert_int_equal(h[0].failed_row, 0);
}

static void test_latency(void **state)
{
    (void)state;
    fresh();
    health_latency(&h[0], 9 * MS, START);
    health_latency(&h[1], 19 * MS, START);
    const struct health_peers peers = {.best_latency_ns = h[0].latency_ns, .quota_ppm = 1000000};
    assert_int_equal(health_score(&h[0], &peers, START).score, 1000);
    assert_int_equal(health_score(&h[1], &peers, START).latency_ppm, 763158); /* 1/2 + 10/19/2 */
    assert_int_equal(health_score(&h[2], &peers, START).score, 1000);         /* nothing known */
}

/* The peak is taken at once and forgiven slowly. */
static void test_peak(void **state)
{
    (void)state;
    fresh();
    health_latency(&h[0], 1 * MS, START);
    health_latency(&h[0], 500 * MS, START + S);
    assert_int_equal(h[0].latency_ns, 500 * MS);
    health_latency(&h[0], 1 * MS, START + 2 * S);
    assert_in_range((uint64_t)h[0].latency_ns, 452 * MS, 453 * MS); /* 1 + 499 * e^-0.1 */
    health_latency(&h[0], 1 * MS, START + 200 * S);
    assert_in_range((uint64_t)h[0].latency_ns, 1 * MS, 1 * MS + 1000);
}

static void test_fresh_and_quota(void **state)
{
    (void)state;
    fresh();
    h[0].height = 990;
    h[1].height = 1000;
    struct health_peers peers = {.best_height = 1000, .behind_max = 40, .quota_ppm = 1000000};
    assert_int_equal(health_score(&h[0], &peers, START).fresh_ppm, 875000);
    assert_int_equal(health_score(&h[1], &peers, START).fresh_ppm, 1000000);
    h[0].height = 10;
    assert_int_equal(health_score(&h[0], &peers, START).score, 500);
    h[0].height = 0; /* never told */
    assert_int_equal(health_score(&h[0], &peers, START).score, 1000);
    peers.behind_max = 0;
    peers.quota_ppm = 0;
    assert_int_equal(health_score(&h[0], &peers, START).score, 750);
}

static void test_outlier_of_two(void **state)
{
    (void)state;
    fresh();
    told(0, WEIR_CLASS_OK, 20, START);
    told(1, WEIR_CLASS_TRANSPORT, 4, START);
    assert_false(
        health_outlier(all, usable, 2, 1, START)); /* four in a row, and too few to compare */
    told(1, WEIR_CLASS_TRANSPORT, 1, START);
    assert_true(health_outlier(all, usable, 2, 1, START));
    assert_false(health_outlier(all, usable, 2, 0, START));
    health_eject(&h[1], START);
    told(0, WEIR_CLASS_TRANSPORT, 50, START);
    assert_false(health_outlier(all, usable, 2, 0, START)); /* the last one stays, however ill */
}

/* Not five in a row, but every second one: the better peer shows that it is not the network. */
static void test_outlier_by_part(void **state)
{
    (void)state;
    fresh();
    for (unsigned i = 0; i < 20; i++) {
        told(0, i % 2 == 0 ? WEIR_CLASS_SERVER : WEIR_CLASS_OK, 1, START);
    }
    assert_false(health_outlier(all, usable, 2, 0, START)); /* nobody to compare it with */
    told(1, WEIR_CLASS_OK, 20, START);
    assert_true(health_outlier(all, usable, 2, 0, START));
    told(1, WEIR_CLASS_SERVER, 12, START);
    told(1, WEIR_CLASS_OK, 1, START);
    assert_false(health_outlier(all, usable, 2, 0, START)); /* all are ill alike: nobody is */
}

static void test_never_all(void **state)
{
    (void)state;
    for (uint32_t cnt = 1; cnt <= 4; cnt++) {
        fresh();
        uint32_t out = 0;
        for (uint32_t i = 0; i < cnt; i++) {
            told(i, WEIR_CLASS_TRANSPORT, 100, START);
        }
        for (uint32_t i = 0; i < cnt; i++) {
            assert_false(
                health_outlier(all, usable, cnt, i, START)); /* where would the calls go? */
        }
        told(cnt - 1, WEIR_CLASS_OK, 1, START);
        for (uint32_t i = 0; i < cnt; i++) {
            if (health_outlier(all, usable, cnt, i, START)) {
                health_eject(&h[i], START);
                out++;
            }
        }
        assert_int_equal(out, cnt == 1 ? 0 : cnt < 4 ? 1 : 2); /* half of them at most */
    }
    fresh();
    told(1, WEIR_CLASS_TRANSPORT, 100, START);
    const bool shut[] = {false, true};
    assert_false(health_outlier(all, shut, 2, 1, START)); /* the other one cannot take them */
}

static uint64_t seed = UINT64_C(20261122);

static unsigned draw(unsigned below)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (unsigned)((z ^ (z >> 31)) % below);
}

/* Whatever happens to whom: at most half are out, one at most of two or three, somebody usable is in, and scores are scores. */
static void test_any_weather(void **state)
{
    (void)state;
    unsigned ejections = 0;
    for (unsigned run = 0; run < 400; run++) {
        uint32_t cnt = 1 + draw(4);
        unsigned ill[4] = {draw(100), draw(100), draw(100), draw(100)};
        uint64_t at_ns = START;
        fresh();
        for (unsigned step = 0; step < 300; step++) {
            uint32_t i = draw(cnt);
            at_ns += draw(20) * (step % 50 == 0 ? 200 : 10) * MS;
            told(i, draw(100) < ill[i] ? WEIR_CLASS_TRANSPORT + draw(5) : draw(3), 1, at_ns);
            health_latency(&h[i], (1 + draw(500)) * MS, at_ns);
            uint32_t out = 0;
            for (uint32_t k = 0; k < cnt; k++) {
                (void)health_is_out(&h[k], at_ns);
            }
            if (h[i].ejected_until_ns == 0 && health_outlier(all, usable, cnt, i, at_ns)) {
                health_eject(&h[i], at_ns);
                ejections++;
            }
            for (uint32_t k = 0; k < cnt; k++) {
                const struct health_peers peers = {.best_latency_ns = h[0].latency_ns,
                                                   .quota_ppm = draw(1000001)};
                out += h[k].ejected_until_ns != 0 ? 1 : 0;
                assert_in_range(health_score(&h[k], &peers, at_ns).score, 0, 1000);
                assert_in_range(health_start_ppm(&h[k], at_ns), START_PPM, 1000000);
            }
            assert_in_range(out, 0, cnt == 1 ? 0 : cnt < 4 ? 1 : 2);
        }
    }
    assert_true(ejections > 100);
}

static void test_way_back(void **state)
{
    (void)state;
    fresh();
    told(0, WEIR_CLASS_TRANSPORT, 5, START);
    health_eject(&h[0], START);
    assert_true(health_is_out(&h[0], START + 5 * S - 1));
    assert_int_equal(health_start_ppm(&h[0], START), 1000000);
    assert_false(health_is_out(&h[0], START + 5 * S));
    assert_int_equal(health_start_ppm(&h[0], START + 5 * S), 100000);
    assert_int_equal(health_start_ppm(&h[0], START + 10 * S), 550000);
    assert_int_equal(health_start_ppm(&h[0], START + 15 * S), 1000000);
    assert_int_equal(h[0].failed_row, 0);
    uint64_t at_ns = START + 5 * S;
    static const uint64_t out_s[] = {10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(out_s); i++) { /* each time longer, a minute at most */
        health_eject(&h[0], at_ns);
        assert_int_equal(h[0].ejected_until_ns - at_ns, out_s[i] * S);
        at_ns += S;
    }
    health_eject(&h[0], at_ns + 3600 * S); /* an hour of peace */
    assert_int_equal(h[0].ejected_until_ns, at_ns + 3605 * S);
}

static void test_late(void **state)
{
    (void)state;
    fresh();
    assert_false(health_is_late(&h[0], S - 1));
    assert_true(health_is_late(&h[0], S));
    health_latency(&h[0], 1 * MS, START);
    assert_false(health_is_late(&h[0], 49 * MS));
    assert_true(health_is_late(&h[0], 50 * MS));
    health_latency(&h[0], 100 * MS, START);
    assert_false(health_is_late(&h[0], 399 * MS));
    assert_true(health_is_late(&h[0], 400 * MS));
}

/* Several owed answers, and none for longer than any took: another one is asked first. Fewer, or a few ms, are nothing. */
static void test_quiet(void **state)
{
    (void)state;
    fresh();
    assert_false(health_is_quiet(&h[0], 1000, S - 1)); /* nothing is known of it */
    assert_true(health_is_quiet(&h[0], QUIET_OWED, S));
    health_latency(&h[0], 1 * MS, START);
    assert_false(health_is_quiet(&h[0], QUIET_OWED, 10 * MS - 1));
    assert_true(health_is_quiet(&h[0], QUIET_OWED, 10 * MS));
    assert_false(health_is_quiet(&h[0], QUIET_OWED - 1, 3600 * S));
    assert_false(health_is_quiet(&h[0], 0, 3600 * S));
    fresh();
    health_latency(&h[0], 20 * MS, START);
    assert_false(health_is_quiet(&h[0], QUIET_OWED, 30 * MS - 1));
    assert_true(health_is_quiet(&h[0], QUIET_OWED, 30 * MS));
    /* it is quiet before it is late, whatever it takes: who is late is failed, who is quiet is passed over */
    for (uint64_t took_ns = MS / 100; took_ns < 10 * S; took_ns *= 3) {
        fresh();
        health_latency(&h[0], took_ns, START);
        assert_true(health_is_quiet(&h[0], QUIET_OWED, health_late_ns(&h[0])));
        assert_false(health_is_late(&h[0], health_late_ns(&h[0]) - 1));
    }
}

/* A machine that slept for half a second made one answer late: after some more it is not waited for so long again, though the peak has hardly sunk. It is not failed sooner either. */
static void test_spike(void **state)
{
    (void)state;
    fresh();
    for (unsigned i = 0; i < 100; i++) {
        health_latency(&h[0], 20 * MS, START);
    }
    health_latency(&h[0], 600 * MS, START);
    assert_false(health_is_quiet(&h[0], QUIET_OWED, 500 * MS));
    for (unsigned i = 0; i < 24; i++) {
        health_latency(&h[0], 20 * MS, START + i * MS);
    }
    assert_false(health_is_late(&h[0], 2 * S));
    assert_false(health_is_quiet(&h[0], QUIET_OWED, 30 * MS - 1));
    assert_true(health_is_quiet(&h[0], QUIET_OWED, 50 * MS));
    assert_true(health_suspect_ns(&h[0]) >= 80 * MS);
    assert_true(health_suspect_ns(&h[0]) <= 140 * MS);
}

static void test_connect(void **state)
{
    (void)state;
    fresh();
    assert_int_equal(health_connect_ns(&h[0]), S);
    health_connected(&h[0], 1 * MS, START);
    assert_int_equal(health_connect_ns(&h[0]), 100 * MS);
    health_connected(&h[0], 200 * MS, START); /* a slow one counts at once */
    assert_int_equal(health_connect_ns(&h[0]), 800 * MS);
    health_connected(&h[0], 1 * MS, START + 60 * S); /* and is forgiven slowly */
    assert_int_equal(health_connect_ns(&h[0]), 100 * MS);
    assert_int_equal(health_late_ns(&h[0]), S); /* of answers nothing is known */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known),  cmocka_unit_test(test_success),
        cmocka_unit_test(test_throttle),       cmocka_unit_test(test_latency),
        cmocka_unit_test(test_peak),           cmocka_unit_test(test_fresh_and_quota),
        cmocka_unit_test(test_outlier_of_two), cmocka_unit_test(test_outlier_by_part),
        cmocka_unit_test(test_any_weather),    cmocka_unit_test(test_never_all),
        cmocka_unit_test(test_way_back),       cmocka_unit_test(test_late),
        cmocka_unit_test(test_quiet),          cmocka_unit_test(test_spike),
        cmocka_unit_test(test_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
