/* What calls cost: brackets, items, ages, outcomes; and routes that contradict themselves. */
#include "sim_config.h"
#include "sim_order_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sim_config config;
static struct sim_error error;

#define LIMITS                                                                             \
    "\"limits\": ["                                                                        \
    "{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": 20, \"window_ms\": 1000}," \
    "{\"name\": \"c\", \"kind\": \"concurrency\", \"quota\": 4},"                          \
    "{\"name\": \"b\", \"kind\": \"bytes\", \"quota\": 1000, \"window_ms\": 1000}]"

static bool route_read(const char *route)
{
    char text[1024];

    snprintf(text, sizeof(text), "{" LIMITS ", \"routes\": [%s]}", route);
    return sim_config_read(text, &config, &error);
}

static void assert_route_refused(const char *route, const char *why)
{
    assert_false(route_read(route));
    assert_string_equal(error.text, why);
}

/* The first cost of a good route. */
static const struct sim_cost_rule *cost_of(const char *plays, const char *cost)
{
    char route[768];

    snprintf(route, sizeof(route), "{\"path\": \"POST /x\", %s\"costs\": [{\"limit\": \"w\", %s}]}",
             plays, cost);
    if (!route_read(route)) {
        fail_msg("%s", error.text);
    }
    return &config.paths[0].costs[0];
}

static int64_t asked(const struct sim_cost_rule *rule, const char *param)
{
    struct sim_cost_facts facts = {.param = param, .item_cnt = 1};

    return sim_cost_ask(rule, &facts).cost;
}

/* Binance spot: depth 5, 25, 50, 250 for limit up to 100, 500, 1000, 5000. */
static void test_brackets_of_a_parameter(void **state)
{
    const struct sim_cost_rule *rule =
        cost_of("", "\"param\": \"limit\", \"absent_cost\": 5,"
                    "\"brackets\": [[100, 5], [500, 25], [1000, 50], [5000, 250]]");

    (void)state;
    assert_int_equal(asked(rule, NULL), 5);
    assert_int_equal(asked(rule, "1"), 5);
    assert_int_equal(asked(rule, "100"), 5);
    assert_int_equal(asked(rule, "101"), 25);
    assert_int_equal(asked(rule, "1000"), 50);
    assert_int_equal(asked(rule, "5000"), 250);
    assert_int_equal(asked(rule, "5001"), 250);
    assert_int_equal(asked(rule, "-1"), 250);
    assert_int_equal(asked(rule, ""), 250);
    assert_int_equal(asked(rule, "ten"), 250);
    assert_int_equal(asked(rule, "99999999999999999999"), 250);
}

/* Kraken: cancel 8 6 5 4 2 1 by age, free from 300 s on; n of them add up. */
static void test_brackets_of_ages(void **state)
{
    const int64_t ages_ms[] = {0, 4999, 5000, 14999, 45000, 89999, 90000, 299999, 300000};
    const int64_t costs[] = {8, 8, 6, 5, 2, 2, 1, 1, 0};
    const struct sim_cost_rule *rule =
        cost_of("\"plays\": \"cancel\", \"id\": \"cl_ord_id\", ",
                "\"age_brackets\": [[5000, 8], [10000, 6], [15000, 5], [45000, 4], [90000, 2], "
                "[300000, 1]]");
    struct sim_cost_facts facts = {.ages_ms = ages_ms};

    (void)state;
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 0); /* no such order: only the fixed part */
    for (size_t i = 0; i < sizeof(ages_ms) / sizeof(ages_ms[0]); i++) {
        facts.ages_ms = &ages_ms[i];
        facts.age_cnt = 1;
        assert_int_equal(sim_cost_ask(rule, &facts).cost, costs[i]);
    }
    facts.ages_ms = ages_ms;
    facts.age_cnt = 9;
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 33);
}

/* Kraken's own example: add (1) + amend at 7 s (1 + 2) + cancel 36 s later (4) = 8. */
static void test_age_runs_from_the_last_amend(void **state)
{
    struct sim_order_log *log = calloc(1, sizeof(*log));
    int64_t times;
    size_t order_id;

    (void)state;
    assert_non_null(log);
    sim_order_log_open(log);
    order_id = sim_order_accept(log, "a", 0, &times);
    sim_order_touch(log, order_id, 1000 * SIM_NS_PER_S);
    assert_int_equal(sim_order_age_ms(log, order_id, 1007 * SIM_NS_PER_S), 7000);
    sim_order_touch(log, order_id, 1007 * SIM_NS_PER_S);
    assert_int_equal(sim_order_age_ms(log, order_id, 1043 * SIM_NS_PER_S), 36000);
    log->list[order_id - 1].cancelled = true;
    assert_int_equal(sim_order_age_ms(log, order_id, 1043 * SIM_NS_PER_S), -1);
    assert_int_equal(sim_order_age_ms(log, 0, 1043 * SIM_NS_PER_S), -1);
    sim_order_log_close(log);
    free(log);
}

static void test_items_of_a_batch(void **state)
{
    const struct sim_cost_rule *rule =
        cost_of("\"plays\": \"batch_place\", \"id\": \"i\", ", "\"cost\": 9, \"per_item\": 2");
    struct sim_cost_facts facts = {.item_cnt = 5};

    (void)state;
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 19); /* Kraken futures: 9 + n */
    assert_int_equal(sim_cost_ask(rule, &facts).piece, 0);
    rule = cost_of("\"plays\": \"batch_place\", \"id\": \"i\", ",
                   "\"per_item\": 2, \"partial\": true");
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 10);
    assert_int_equal(sim_cost_ask(rule, &facts).piece, 2);
}

static void test_outcome_changes_the_cost(void **state)
{
    const struct sim_cost_rule *rule = cost_of("", "\"cost\": 3, \"success_cost\": 0");

    (void)state;
    assert_int_equal(sim_cost_final(rule, 3, true, 0), 0);
    assert_int_equal(sim_cost_final(rule, 3, false, 0), 3);
    rule = cost_of("", "\"cost\": 3, \"failure_cost\": 1");
    assert_int_equal(sim_cost_final(rule, 3, true, 0), 3);
    assert_int_equal(sim_cost_final(rule, 3, false, 0), 1);
    rule = cost_of("", "\"cost\": 3, \"actual\": [2, 5], \"field\": \"extensions.cost\"");
    assert_int_equal(sim_cost_final(rule, 3, true, 0.0), 2);
    assert_int_equal(sim_cost_final(rule, 3, true, 0.999), 5);
    assert_int_equal(sim_cost_final(rule, 3, false, 0.999), 3);
    assert_string_equal(rule->field, "extensions.cost");
}

/* Helius: sendTransaction has a limit of its own on a path that all methods share. */
static void test_only_some_values_of_a_parameter(void **state)
{
    const struct sim_cost_rule *rule =
        cost_of("", "\"cost\": 1, \"if_param\": \"method\", \"if_value\": \"sendTransaction\"");
    struct sim_cost_facts facts = {.if_param = "sendTransaction"};

    (void)state;
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 1);
    facts.if_param = "getSlot";
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 0);
    facts.if_param = NULL;
    assert_int_equal(sim_cost_ask(rule, &facts).cost, 0);
}

static void test_wrong_costs(void **state)
{
    (void)state;
#define COST(cost) "{\"path\": \"GET /x\", \"costs\": [{\"limit\": \"w\"" cost "}]}"
    assert_route_refused("{\"path\": \"GET /x\", \"costs\": [{\"limit\": \"v\"}]}",
                         "routes[0].costs[0].limit=\"v\": no limit has this name");
    assert_route_refused("{\"path\": \"GET /x\", \"costs\": [{\"limit\": \"b\", \"cost\": 1}]}",
                         "routes[0].costs[0].limit=\"b\": a bytes limit counts answers: no call "
                         "has a cost for it");
    assert_route_refused(
        "{\"path\": \"GET /x\", \"costs\": [{\"limit\": \"c\", \"cost\": 1, \"success_cost\": 0}]}",
        "routes[0].costs[0].limit=\"c\": a concurrency limit takes its units back by itself: only "
        "cost, per_item and brackets are allowed");
    assert_route_refused(COST(", \"param\": \"limit\""),
                         "routes[0].costs[0].brackets: missing: param and brackets go together");
    assert_route_refused(COST(", \"brackets\": [[1, 2]]"),
                         "routes[0].costs[0].param: missing: param and brackets go together");
    assert_route_refused(
        COST(", \"param\": \"l\", \"brackets\": []"),
        "routes[0].costs[0].brackets: must be a list of 1 to 16 pairs [upto, cost]");
    assert_route_refused(COST(", \"param\": \"l\", \"brackets\": [[1, -2]]"),
                         "routes[0].costs[0].brackets[0]: must be [upto, cost], integers from 0 to "
                         "1000000000000 and 1000000000");
    assert_route_refused(COST(", \"param\": \"l\", \"brackets\": [[9, 1], [9, 2]]"),
                         "routes[0].costs[0].brackets[1]: 9: must be above 9 of the pair before");
    assert_route_refused(COST(", \"cost\": 1, \"if_param\": \"m\""),
                         "routes[0].costs[0].if_value: missing: if_param and if_value go together");
    assert_route_refused(COST(", \"per_item\": 1"),
                         "routes[0].costs[0].per_item: only a route that plays batch_place or "
                         "batch_cancel has items");
    assert_route_refused(COST(", \"age_brackets\": [[5000, 8]]"),
                         "routes[0].costs[0].age_brackets: the route's id must say which order");
    assert_route_refused(COST(", \"cost\": 1, \"actual\": [5, 2]"),
                         "routes[0].costs[0].actual: must be [least, most], integers from 0 to "
                         "1000000000");
    assert_route_refused(COST(", \"cost\": 1, \"success_cost\": 0, \"actual\": [1, 2]"),
                         "routes[0].costs[0].actual: success_cost says it already: take one out");
    assert_route_refused(
        COST(", \"success_cost\": 4"),
        "routes[0].costs[0].cost: must be at least 1 where the outcome changes it");
    assert_route_refused(COST(", \"cost\": 1}, {\"limit\": \"w\", \"cost\": 2"),
                         "routes[0].costs[1].limit=\"w\": already in costs[0]");
    assert_route_refused("{\"path\": \"POST /x\", \"plays\": \"batch_place\", \"id\": \"i\", "
                         "\"costs\": [{\"limit\": \"w\", \"cost\": 1, \"partial\": true}]}",
                         "routes[0].costs[0].partial: needs per_item, and no other cost beside it");
}

static void test_wrong_routes(void **state)
{
    (void)state;
    assert_route_refused("{\"path\": \"FETCH /x\"}",
                         "routes[0].path=\"FETCH /x\": must be METHOD /path, of GET, POST, PUT, "
                         "DELETE, PATCH or ANY, and not under /sim/");
    assert_route_refused("{\"path\": \"GET /sim/x\"}",
                         "routes[0].path=\"GET /sim/x\": must be METHOD /path, of GET, POST, PUT, "
                         "DELETE, PATCH or ANY, and not under /sim/");
    assert_route_refused("{\"path\": \"GET x/y\"}",
                         "routes[0].path=\"GET x/y\": must be METHOD /path, of GET, POST, PUT, "
                         "DELETE, PATCH or ANY, and not under /sim/");
    assert_route_refused("{\"path\": \"POST /x\", \"plays\": \"place\"}",
                         "routes[0].id: missing: a route that plays \"place\" needs it");
    assert_route_refused(
        "{\"path\": \"POST /x\", \"plays\": \"place\", \"id\": \"i\", \"items\": \"l\"}",
        "routes[0].items: a route that plays \"place\" has none: take it out");
    assert_route_refused(
        "{\"path\": \"POST /x\", \"plays\": \"query\", \"id\": \"i\", \"body\": {}}",
        "routes[0].body: only a route that plays \"ok\" has one: take it out");
    assert_route_refused("{\"path\": \"GET /x\"}, {\"path\": \"GET /x\"}",
                         "routes[1].path=\"GET /x\": already the path of routes[0]");
}

static void test_routes_match_the_first(void **state)
{
    const struct sim_path *paths = config.paths;

    (void)state;
    assert_true(route_read("{\"path\": \"GET /a/b\"}, {\"path\": \"ANY /a/*\"}"));
    assert_ptr_equal(sim_path_find(paths, 2, "GET", "/a/b"), &paths[0]);
    assert_ptr_equal(sim_path_find(paths, 2, "POST", "/a/b"), &paths[1]);
    assert_ptr_equal(sim_path_find(paths, 2, "GET", "/a/bc"), &paths[1]);
    assert_null(sim_path_find(paths, 2, "GET", "/a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brackets_of_a_parameter),
        cmocka_unit_test(test_brackets_of_ages),
        cmocka_unit_test(test_age_runs_from_the_last_amend),
        cmocka_unit_test(test_items_of_a_batch),
        cmocka_unit_test(test_outcome_changes_the_cost),
        cmocka_unit_test(test_only_some_values_of_a_parameter),
        cmocka_unit_test(test_wrong_costs),
        cmocka_unit_test(test_wrong_routes),
        cmocka_unit_test(test_routes_match_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
