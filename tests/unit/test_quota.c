/*
 * Quotas at their edges: the last place, slot and byte; the bucket of the rate, full, empty and after any pause.
 */
#include "broker/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void test_attach(void **state)
{
    (void)state;
    struct weir_config_domain d = {
        .name = "d", .client_max = 2, .quota = {.slot_max = 10, .memory_max_bytes = 1000}};
    struct quota_held held = {0};
    char text[160] = "";
    assert_int_equal(quota_attach(&d, &held, 10, 1000, text, sizeof text), WEIR_OK);
    assert_int_equal(quota_attach(&d, &held, 11, 1, text, sizeof text), WEIR_E_QUOTA_SLOTS);
    assert_string_equal(text, "11 slots asked; domain d has 10 together, of which 0 are taken");
    assert_int_equal(quota_attach(&d, &held, 1, 1001, text, sizeof text), WEIR_E_QUOTA_MEMORY);
    assert_string_equal(text,
                        "an arena of 1001 bytes asked; domain d has 1000 together, of which 0 "
                        "are taken");
    held = (struct quota_held){.client_cnt = 1, .slot_cnt = 9, .bytes = 999};
    assert_int_equal(quota_attach(&d, &held, 1, 1, text, sizeof text), WEIR_OK);
    assert_int_equal(quota_attach(&d, &held, 2, 1, text, sizeof text), WEIR_E_QUOTA_SLOTS);
    assert_int_equal(quota_attach(&d, &held, 1, 2, text, sizeof text), WEIR_E_QUOTA_MEMORY);
    held.client_cnt = 2;
    assert_int_equal(quota_attach(&d, &held, 1, 1, text, sizeof text), WEIR_E_TOO_MANY_CLIENTS);
    assert_string_equal(text, "all 2 places of domain d are taken");
    d.quota = (struct weir_config_quota){0}; /* not set: no bound */
    held = (struct quota_held){.client_cnt = 1, .slot_cnt = UINT32_MAX, .bytes = UINT64_MAX / 2};
    assert_int_equal(quota_attach(&d, &held, 4096, 1U << 30, text, sizeof text), WEIR_OK);
}

static unsigned take(const struct weir_config_quota *q, struct quota_flow *flow, uint64_t now_ns,
                     unsigned tries)
{
    unsigned cnt = 0;
    for (unsigned i = 0; i < tries; i++) {
        cnt += quota_submit(q, flow, now_ns) == WEIR_OK;
    }
    return cnt;
}

static void test_rate(void **state)
{
    (void)state;
    const uint64_t rates[] = {1, 3, 50, 1000000};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rates); i++) {
        const struct weir_config_quota q = {.rate_max = rates[i]};
        struct quota_flow flow = {0};
        uint64_t now_ns = 12345;
        unsigned all = (unsigned)rates[i];
        assert_int_equal(take(&q, &flow, now_ns, all + 2), all);
        assert_int_equal(quota_submit(&q, &flow, now_ns), WEIR_E_QUOTA_RATE);
        /* One comes back after 1/rate, not before. */
        uint64_t each_ns = (WEIR_NS_PER_S + rates[i] - 1) / rates[i];
        assert_int_equal(take(&q, &flow, now_ns + each_ns - 1, 2), 0);
        assert_int_equal(take(&q, &flow, now_ns + each_ns, 2), 1);
        /* After any pause a second's worth, and no more. */
        now_ns += 3600 * WEIR_NS_PER_S;
        assert_int_equal(take(&q, &flow, now_ns, all + 2), all);
    }
}

static void test_in_flight(void **state)
{
    (void)state;
    const struct weir_config_quota q = {.in_flight_max = 2, .rate_max = 5};
    struct quota_flow flow = {.in_flight = 1};
    assert_int_equal(quota_submit(&q, &flow, 0), WEIR_OK);
    flow.in_flight = 2;
    assert_int_equal(quota_submit(&q, &flow, 0), WEIR_E_QUOTA_IN_FLIGHT);
    quota_ended(&flow);
    assert_int_equal(take(&q, &flow, 0, 9), 4); /* what was refused took nothing of the rate */
    const struct weir_config_quota none = {0};
    flow.in_flight = UINT32_MAX;
    assert_int_equal(take(&none, &flow, 0, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
