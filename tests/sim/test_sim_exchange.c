/* What the exchange remembers: callers, costs, verdicts, orders, faults, timers. */
#include "sim_exchange.h"
#include "sim_timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct sim_caller alice = {"10.0.0.1", "key-a"};
static const struct sim_caller bob = {"10.0.0.2", "key-a"};

static struct sim_config config;
static struct sim_exchange exchange;

static struct sim_instant at_ms(int64_t ms)
{
    return (struct sim_instant){.utc_ns = ms * SIM_NS_PER_MS, .mono_ns = ms * SIM_NS_PER_MS};
}

static int exchange_set(void **state)
{
    struct sim_error error;

    (void)state;
    if (!sim_config_read("{\"ban_after\": 2, \"ban_first_ms\": 1000, \"limits\": ["
                         "{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 3,"
                         " \"window_ms\": 2000, \"scope\": \"ip\"},"
                         "{\"name\": \"o\", \"kind\": \"fixed_window\", \"quota\": 5,"
                         " \"window_ms\": 10000, \"scope\": \"key\", \"counts\": \"orders\"}]}",
                         &config, &error)) {
        return -1;
    }
    sim_exchange_open(&exchange, &config, at_ms(0));
    return 0;
}

static int exchange_unset(void **state)
{
    (void)state;
    sim_exchange_close(&exchange);
    return 0;
}

static struct sim_verdict order_at(const struct sim_caller *caller, int64_t ms)
{
    struct sim_call call = {
        .caller = *caller, .route = SIM_ROUTE_ORDER_PLACE, .asks = {{.cost = 1}, {.cost = 1}}};

    return sim_exchange_count(&exchange, &call, at_ms(ms));
}

static void test_each_address_has_its_own_count(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order_at(&alice, 100).status, 200);
    }
    assert_int_equal(order_at(&alice, 200).status, 429);
    struct sim_verdict verdict = order_at(&bob, 200);
    assert_int_equal(verdict.status, 200);
    assert_int_equal(verdict.used[0], 1); /* his address is new */
    assert_int_equal(verdict.used[1], 5); /* the key is shared, and the 429 counted too */
}

static void test_retry_after_is_rounded_up(void **state)
{
    struct sim_verdict verdict = {0};

    (void)state;
    for (int i = 0; i < 4; i++) {
        verdict = order_at(&alice, 500);
    }
    assert_int_equal(verdict.status, 429);
    assert_int_equal(verdict.refused_by, 0);
    assert_int_equal(verdict.retry_after_s, 2); /* 1.5 s are left */
}

static void test_going_on_after_429_brings_418(void **state)
{
    struct sim_verdict verdict;

    (void)state;
    for (int i = 0; i < 5; i++) {
        verdict = order_at(&alice, 1500); /* 3 pass, 2 violate: banned until 2500 */
    }
    verdict = order_at(&alice, 2400); /* a new window does not help */
    assert_int_equal(verdict.status, 418);
    assert_int_equal(verdict.retry_after_s, 1);
    assert_int_equal(verdict.banned_until_utc_ms, 2500);
    assert_int_equal(verdict.used[0], 1); /* it counted all the same */
    struct sim_call call = {.caller = alice, .route = SIM_ROUTE_ECHO};
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(2450)).status, 418);
    call = (struct sim_call){.caller = alice, .route = SIM_ROUTE_PING, .asks = {{.cost = 1}}};
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(2500)).status, 200);
}

/* ---- what a configuration can add ---- */

static struct sim_config other;

/* An exchange of another configuration; the fixture's teardown closes it. */
static void exchange_of(const char *text)
{
    struct sim_error error;

    sim_exchange_close(&exchange);
    if (!sim_config_read(text, &other, &error)) {
        fail_msg("%s", error.text);
    }
    sim_exchange_open(&exchange, &other, at_ms(0));
}

static struct sim_call call_of(const char *key, const char *split, int64_t cost)
{
    struct sim_call call = {.caller = {"10.0.0.1", ""}, .asks = {{.cost = cost}}};

    strcpy(call.caller.key, key);
    strcpy(call.splits[0], split);
    return call;
}

static int64_t used_by(const char *key, const char *split)
{
    struct sim_call call = call_of(key, split, 1);

    return sim_exchange_count(&exchange, &call, at_ms(100)).used[0];
}

#define WINDOW "\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 2, \"window_ms\": 1000"

static void test_keys_of_an_account_share(void **state)
{
    (void)state;
    exchange_of("{\"accounts\": {\"a\": \"desk\", \"b\": \"desk\"}, \"limits\": [{" WINDOW
                ", \"scope\": \"account\", \"split\": \"endpoint\"}]}");
    assert_int_equal(used_by("a", ""), 1);
    assert_int_equal(used_by("b", ""), 2);
    assert_int_equal(used_by("c", ""), 1);
    assert_int_equal(used_by("desk", ""), 3); /* a key of the account's own name is the account */
    assert_int_equal(used_by("a", "POST /x"), 1);
    assert_int_equal(used_by("b", "POST /x"), 2);
}

static void test_scope_all_is_one_count(void **state)
{
    (void)state;
    exchange_of("{\"limits\": [{" WINDOW ", \"scope\": \"all\"}]}");
    assert_int_equal(used_by("a", ""), 1);
    assert_int_equal(used_by("b", ""), 2);
}

static void test_some_limits_do_not_ban(void **state)
{
    struct sim_call call = call_of("a", "", 9);

    (void)state;
    exchange_of("{\"ban_after\": 1, \"limits\": [{" WINDOW ", \"bans\": false}]}");
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(100)).status, 429);
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(100)).status, 429);
}

static void test_ban_of_a_key(void **state)
{
    struct sim_call call = call_of("a", "", 9);

    (void)state;
    exchange_of("{\"ban_after\": 1, \"ban_scope\": \"key\", \"limits\": [{" WINDOW "}]}");
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(100)).status, 429);
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(1100)).status, 418);
    call = call_of("b", "", 1);
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(1100)).status, 429);
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(2100)).status, 418);
    call = call_of("c", "", 1);
    assert_int_equal(sim_exchange_count(&exchange, &call, at_ms(2100)).status, 200);
}

static void test_partial_grant_passes_the_first_items(void **state)
{
    struct sim_call call = call_of("a", "", 5);
    struct sim_verdict verdict;

    (void)state;
    exchange_of("{\"ban_after\": 1, \"limits\": [{" WINDOW "}]}");
    call.asks[0].piece = 1;
    verdict = sim_exchange_count(&exchange, &call, at_ms(100));
    assert_int_equal(verdict.status, 200);
    assert_int_equal(verdict.piece_cnt, 2);
    verdict = sim_exchange_count(&exchange, &call, at_ms(200));
    assert_int_equal(verdict.status, 429); /* no item fits: and it was no ban before */
    assert_int_equal(verdict.piece_cnt, INT64_MAX);
}

static void test_outcome_corrects_the_charge(void **state)
{
    struct sim_call call = call_of("a", "", 2);
    struct sim_verdict verdict;

    (void)state;
    exchange_of("{\"limits\": [{" WINDOW "}]}");
    verdict = sim_exchange_count(&exchange, &call, at_ms(100));
    sim_exchange_correct(&exchange, &verdict, 0, 0, at_ms(110));
    assert_int_equal(verdict.used[0], 0);
    sim_exchange_correct(&exchange, &verdict, 0, 0, at_ms(110)); /* again: nothing changes */
    assert_int_equal(sim_exchange_usage(&exchange, &call, 0, 0, at_ms(110)).remaining, 2);
    sim_exchange_reset(&exchange, at_ms(120));
    sim_exchange_correct(&exchange, &verdict, 0, 5, at_ms(130)); /* its party is gone */
    sim_exchange_end(&exchange, &verdict, false, at_ms(130));
    assert_int_equal(sim_exchange_usage(&exchange, &call, 0, 0, at_ms(130)).used, 0);
}

static void test_calls_and_connections_end_by_themselves(void **state)
{
    struct sim_call call = {.asks = {{.cost = 1}, {.cost = 1}}};
    struct sim_verdict verdict;

    (void)state;
    exchange_of("{\"limits\": [{\"name\": \"c\", \"kind\": \"concurrency\", \"quota\": 1},"
                "{\"name\": \"n\", \"kind\": \"concurrency\", \"quota\": 1,"
                " \"counts\": \"connections\"}]}");
    verdict = sim_exchange_count(&exchange, &call, at_ms(0));
    sim_exchange_end(&exchange, &verdict, false, at_ms(10));
    assert_int_equal(sim_exchange_usage(&exchange, &call, 0, 0, at_ms(10)).used, 0);
    assert_int_equal(sim_exchange_usage(&exchange, &call, 1, 0, at_ms(10)).used, 1);
    sim_exchange_end(&exchange, &verdict, true, at_ms(20));
    assert_int_equal(sim_exchange_usage(&exchange, &call, 1, 0, at_ms(20)).used, 0);
    assert_int_equal(sim_exchange_usage(&exchange, &call, 0, 0, at_ms(20)).used, 0);
}

static void test_report_of_each_kind(void **state)
{
    static const char *const kinds[] = {
        "\"fixed_window\", \"every\": \"month\"",
        "\"fixed_from_first\", \"window_ms\": 1000",
        "\"sliding_window\", \"window_ms\": 1000",
        "\"token_bucket\", \"refill_per_s\": 1",
        "\"decay\", \"decay_per_s\": 1, \"step_ms\": 1000",
        "\"concurrency\"",
        "\"bytes\", \"window_ms\": 1000",
    };
    static const char *const fields[] = {"every",           "windows",     "windows_complete",
                                         "excess_max",      "counter_max", "in_progress",
                                         "highest_start_ms"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct sim_call call = call_of("a", "", 1);
        struct sim_verdict verdict;
        json_t *report;
        const json_t *row;

        snprintf(text, sizeof(text),
                 "{\"limits\": [{\"name\": \"l\", \"quota\": 5, \"kind\": %s}]}", kinds[i]);
        exchange_of(text);
        verdict = sim_exchange_count(&exchange, &call, at_ms(100));
        sim_exchange_sent(&exchange, &verdict, 1, at_ms(200));
        report = sim_report(&exchange, at_ms(300));
        row = json_array_get(json_object_get(report, "limits"), 0);
        assert_int_equal(json_integer_value(json_object_get(row, "highest")), 1);
        assert_int_equal(json_integer_value(json_object_get(row, "arrivals")), 1);
        assert_true(json_is_real(json_object_get(row, "share")));
        assert_non_null(json_object_get(row, fields[i]));
        json_decref(report);
    }
}

static void test_report_sums_up(void **state)
{
    json_t *report;
    json_t *row;

    (void)state;
    for (int i = 0; i < 4; i++) {
        sim_exchange_answered(&exchange, order_at(&alice, 100).status);
    }
    sim_exchange_answered(&exchange, 0);
    report = sim_report(&exchange, at_ms(5000));
    row = json_array_get(json_object_get(report, "limits"), 0);
    assert_int_equal(json_integer_value(json_object_get(report, "arrivals")), 4);
    assert_int_equal(json_integer_value(json_object_get(report, "violations")), 1);
    assert_string_equal(json_string_value(json_object_get(row, "caller")), "10.0.0.1");
    assert_int_equal(json_integer_value(json_object_get(row, "highest")), 4);
    row = json_object_get(report, "by_status");
    assert_int_equal(json_integer_value(json_object_get(row, "200")), 3);
    assert_int_equal(json_integer_value(json_object_get(row, "429")), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "none")), 1);
    json_decref(report);
}

static void test_orders_twice_are_duplicates(void **state)
{
    struct sim_order_log *log = &exchange.orders;
    int64_t times;

    (void)state;
    assert_int_equal(sim_order_accept(log, "a", 1000, &times), 1);
    assert_int_equal(sim_order_accept(log, "", 2000, &times), 2); /* no id: never a duplicate */
    assert_int_equal(sim_order_accept(log, "", 2000, &times), 3);
    assert_int_equal(times, 1);
    assert_int_equal(sim_order_accept(log, "a", 3000, &times), 1);
    assert_int_equal(times, 2);
    assert_int_equal(log->duplicate_cnt, 1);
    assert_string_equal(json_string_value(json_array_get(log->duplicates, 0)), "a");
    assert_int_equal(sim_order_find(log, "sim-2", 0), 2);
    assert_int_equal(sim_order_find(log, NULL, 3), 3);
    assert_int_equal(sim_order_find(log, NULL, 4), 0);
    assert_int_equal(sim_order_find(log, "b", 0), 0);
}

static void test_weights_are_binances_unless_configured(void **state)
{
    struct sim_weights weights = config.weights;

    (void)state;
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", NULL).weight, 5);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "100").weight, 5);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "101").weight, 25);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "1000").weight, 50);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "5000").weight, 250);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_TICKER_24HR, NULL, NULL).weight, 80);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_ORDER_PLACE, "X", NULL).orders, 1);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_ORDER_CANCEL, "X", NULL).orders, 0);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_ECHO, NULL, NULL).requests, 0);
    weights.of[SIM_ROUTE_ECHO] = 7;
    weights.of[SIM_ROUTE_DEPTH] = 0;
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_ECHO, NULL, NULL).weight, 7);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_ECHO, NULL, NULL).requests, 1);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "5000").weight, 0);
    assert_int_equal(sim_route_cost(&weights, SIM_ROUTE_DEPTH, "X", "5000").requests, 1);
}

static void test_routes_are_found_by_method_and_path(void **state)
{
    (void)state;
    assert_int_equal(sim_route_find("GET", "/api/v3/order"), SIM_ROUTE_ORDER_QUERY);
    assert_int_equal(sim_route_find("DELETE", "/api/v3/order"), SIM_ROUTE_ORDER_CANCEL);
    assert_int_equal(sim_route_find("PUT", "/api/v3/order"), SIM_ROUTE_OTHER);
    assert_int_equal(sim_route_find("PUT", "/echo"), SIM_ROUTE_ECHO);
    assert_int_equal(sim_route_find("GET", "/api/v3/depths"), SIM_ROUTE_OTHER);
    assert_string_equal(sim_route_rest(SIM_ROUTE_BYTES, "/bytes/512"), "512");
}

static void test_faults_are_used_up(void **state)
{
    struct sim_faults faults = {0};
    struct sim_fault fault = {.kind = SIM_FAULT_RESET, .count = 1, .probability = 0.5};
    struct sim_fault taken;

    (void)state;
    strcpy(fault.path, "/echo");
    strcpy(fault.method, "GET");
    fault.reused_only = true;
    assert_true(sim_fault_add(&faults, &fault));
    assert_false(sim_fault_take(&faults, "GET", "/bytes/1", true, 0, &taken));
    assert_false(sim_fault_take(&faults, "POST", "/echo", true, 0, &taken));
    assert_false(sim_fault_take(&faults, "GET", "/echo", false, 0, &taken));
    assert_false(sim_fault_take(&faults, "GET", "/echo", true, 0.5, &taken));
    assert_true(sim_fault_take(&faults, "GET", "/echo", true, 0.4, &taken));
    assert_int_equal(taken.kind, SIM_FAULT_RESET);
    assert_false(sim_fault_take(&faults, "GET", "/echo", true, 0, &taken));
    assert_int_equal(faults.list[0].hit_cnt, 1);
}

static void test_timers_come_in_order(void **state)
{
    static char items[100];
    struct sim_timers timers = {0};
    int64_t last = -1;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(sim_timer_add(&timers, (i * 37) % 100, &items[(i * 37) % 100]));
    }
    assert_int_equal(sim_timer_next_mono_ns(&timers), 0);
    assert_null(sim_timer_take(&timers, -1));
    for (char *item; (item = sim_timer_take(&timers, 99));) {
        assert_int_equal(item - items, last + 1);
        last = item - items;
    }
    assert_int_equal(last, 99);
    assert_true(sim_timer_next_mono_ns(&timers) == INT64_MAX);
    sim_timers_close(&timers);
}

#define ON_EXCHANGE(test) cmocka_unit_test_setup_teardown(test, exchange_set, exchange_unset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EXCHANGE(test_each_address_has_its_own_count),
        ON_EXCHANGE(test_retry_after_is_rounded_up),
        ON_EXCHANGE(test_going_on_after_429_brings_418),
        ON_EXCHANGE(test_keys_of_an_account_share),
        ON_EXCHANGE(test_scope_all_is_one_count),
        ON_EXCHANGE(test_some_limits_do_not_ban),
        ON_EXCHANGE(test_ban_of_a_key),
        ON_EXCHANGE(test_partial_grant_passes_the_first_items),
        ON_EXCHANGE(test_outcome_corrects_the_charge),
        ON_EXCHANGE(test_calls_and_connections_end_by_themselves),
        ON_EXCHANGE(test_report_of_each_kind),
        ON_EXCHANGE(test_report_sums_up),
        ON_EXCHANGE(test_orders_twice_are_duplicates),
        ON_EXCHANGE(test_weights_are_binances_unless_configured),
        cmocka_unit_test(test_routes_are_found_by_method_and_path),
        cmocka_unit_test(test_faults_are_used_up),
        cmocka_unit_test(test_timers_come_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
