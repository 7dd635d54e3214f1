/* The checker of signatures, against Binance's printed examples and against calls that are wrong in one thing. */
#include "sim_signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KEY "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
#define RULE                                                                                 \
    "{\"secrets\": {\"" KEY                                                                  \
    "\": \"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j\"}, \"paths\": " \
    "[\"POST /api/v3/order\"]}"
#define NOW 1499827319559
#define ALL                                                                                   \
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&" \
    "timestamp=1499827319559"
#define SIGNED "&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"

static void rule_read(struct sim_signature_rule *rule)
{
    json_t *root = json_loads(RULE, 0, NULL);
    struct sim_error error;

    memset(rule, 0, sizeof(*rule));
    assert_true(sim_signature_read(root, rule, &error));
    json_decref(root);
}

/* developers.binance.com, "SIGNED request example (HMAC)": in the query, in the body, in both. */
static void test_examples(void **state)
{
    static struct sim_signature_rule rule;
    static struct sim_signatures signatures;
    static const struct {
        const char *key, *query, *body;
        int64_t now_ms;
        enum sim_signature_verdict want;
    } example[] = {
        {KEY, ALL SIGNED, NULL, NOW, SIM_SIGNATURE_GOOD},
        {KEY, NULL, ALL SIGNED, NOW, SIM_SIGNATURE_GOOD},
        {KEY, "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
         "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559&signature="
         "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
         NOW, SIM_SIGNATURE_GOOD},
        {KEY, ALL SIGNED, NULL, NOW + 5000, SIM_SIGNATURE_GOOD},
        {KEY, ALL SIGNED, NULL, NOW + 5001, SIM_SIGNATURE_LATE},
        {KEY, ALL SIGNED, NULL, NOW - 999, SIM_SIGNATURE_GOOD},
        {KEY, ALL SIGNED, NULL, NOW - 1000, SIM_SIGNATURE_LATE},
        {"other", ALL SIGNED, NULL, NOW, SIM_SIGNATURE_UNKNOWN},
        {KEY, ALL, NULL, NOW, SIM_SIGNATURE_MISSING},
        {KEY, "symbol=A" SIGNED, NULL, NOW, SIM_SIGNATURE_MISSING},
        {KEY, ALL SIGNED "&a=b", NULL, NOW, SIM_SIGNATURE_MISSING},
        {KEY, ALL "&a=b" SIGNED, NULL, NOW, SIM_SIGNATURE_BAD},
        {KEY, ALL SIGNED, "a=b", NOW, SIM_SIGNATURE_BAD},
        {KEY, NULL, NULL, NOW, SIM_SIGNATURE_MISSING},
    };

    (void)state;
    rule_read(&rule);
    for (size_t i = 0; i < sizeof(example) / sizeof(example[0]); i++) {
        assert_int_equal(sim_signature_check(
                             &signatures, &rule, example[i].key, example[i].query, example[i].body,
                             example[i].body ? strlen(example[i].body) : 0, example[i].now_ms),
                         example[i].want);
    }
    assert_int_equal(signatures.verdict_cnt[SIM_SIGNATURE_GOOD], 5);
    assert_int_equal(signatures.repeated_cnt, 3); /* the first one three times more */
    sim_signatures_clear(&signatures);
    assert_true(sim_signature_wanted(&rule, "POST", "/api/v3/order"));
    assert_false(sim_signature_wanted(&rule, "GET", "/api/v3/order"));
    assert_false(sim_signature_wanted(&rule, "POST", "/api/v3/order/"));
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {"[]",
                                      "{}",
                                      "{\"secrets\": {}}",
                                      "{\"secrets\": {\"k\": 1}, \"paths\": []}",
                                      "{\"secrets\": {}, \"paths\": [\"\"]}",
                                      "{\"secrets\": {}, \"paths\": [], \"x\": 1}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        static struct sim_signature_rule rule;
        struct sim_error error;
        json_t *root = json_loads(bad[i], 0, NULL);

        memset(&rule, 0, sizeof(rule));
        assert_false(sim_signature_read(root, &rule, &error));
        assert_memory_equal(error.text, "signature", 9);
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples),
                                       cmocka_unit_test(test_refusals)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
