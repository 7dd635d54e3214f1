/* What an answer says of a charge: the forms that exchanges use, and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/hear.h"
#include "broker/settle.h"
#include "shm/weir_base.h"

static struct settle_answer answer_of(const char *head, const char *body)
{
    return (struct settle_answer){.status = 200,
                                  .answer_bytes = strlen(head) + strlen(body),
                                  .head = head,
                                  .head_bytes = strlen(head),
                                  .body = body,
                                  .body_bytes = strlen(body)};
}

/* One limit, charged 8; returns what it counts for. */
static uint32_t counted(struct weir_config_counted rule, const char *head, const char *body)
{
    struct weir_config_cost cost[2] = {{.limit_idx = 3}, {.limit_idx = 5}};
    rule.limit_idx = 5;
    rule.header = rule.header != NULL ? rule.header : "";
    rule.field = rule.field != NULL ? rule.field : "";
    rule.list = rule.list != NULL ? rule.list : "";
    const struct weir_config_route route = {
        .cost = cost, .cost_cnt = 2, .settle = {.counted = &rule, .counted_cnt = 1}};
    const struct settle_answer answer = answer_of(head, body);
    struct weir_cost units = {.cnt = 2, .units = {1, 8}};
    settle_counted(&route, &answer, &units);
    assert_int_equal(units.units[0], 1); /* the other limit is not moved */
    return units.units[1];
}

static void test_numbers(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nX-Cost: 12\r\nX-Half: 2.5\r\nX-None: -1\r\n\r\n";
    assert_int_equal(counted((struct weir_config_counted){.header = "x-cost"}, head, ""), 12);
    assert_int_equal(counted((struct weir_config_counted){.header = "x-half"}, head, ""), 3);
    assert_int_equal(counted((struct weir_config_counted){.header = "x-none"}, head, ""), 8);
    assert_int_equal(counted((struct weir_config_counted){.header = "x-absent"}, head, ""), 8);
    const struct weir_config_counted field = {.field = "data.0.cost"};
    assert_int_equal(counted(field, head, "{\"data\":[{\"cost\":4}]}"), 4);
    assert_int_equal(counted(field, head, "{\"data\":[{\"cost\":\"4\"}]}"), 4);
    assert_int_equal(counted(field, head, "{\"data\":[{\"cost\":0}]}"), 0);
    static const char *const garbage[] = {"",
                                          "{",
                                          "[]",
                                          "{\"data\":[]}",
                                          "{\"data\":[{\"cost\":null}]}",
                                          "{\"data\":[{\"cost\":-1}]}",
                                          "{\"data\":[{\"cost\":\"NaN\"}]}",
                                          "{\"data\":[{\"cost\":18446744073709551616}]}",
                                          "{\"data\":[{\"cost\":4294967296}]}",
                                          "{\"data\":[{\"cost\":[1]}]}"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(garbage); i++) {
        assert_int_equal(counted(field, head, garbage[i]), 8);
    }
}

static void test_lists(void **state)
{
    (void)state;
    const struct weir_config_counted rule = {
        .list = "retExtInfo.list", .item = "code", .equals = "0"};
    assert_int_equal(
        counted(rule, "",
                "{\"retExtInfo\":{\"list\":[{\"code\":0},{\"code\":10006},{\"code\":\"0\"}]}}"),
        2);
    assert_int_equal(counted(rule, "", "{\"retExtInfo\":{\"list\":[]}}"), 0);
    assert_int_equal(counted(rule, "", "{\"retExtInfo\":{\"list\":[1,null,{}]}}"), 0);
    assert_int_equal(counted(rule, "", "{\"retExtInfo\":{\"list\":{}}}"), 8);
    assert_int_equal(counted(rule, "", "{\"retExtInfo\":{}}"), 8);
}

static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(counted((struct weir_config_counted){.per_bytes = 4}, "12", "345"), 2);
    assert_int_equal(counted((struct weir_config_counted){.per_bytes = 5}, "12", "345"), 1);
    assert_int_equal(counted((struct weir_config_counted){.per_bytes = 1024}, "", ""), 0);
}

static void test_ok(void **state)
{
    (void)state;
    struct weir_config_settle config = {.ok = {.field = "", .equals = ""}};
    struct settle_answer a = answer_of("", "{\"retCode\":0}");
    assert_true(settle_success(&config, &a));
    assert_false(settle_asks(&config));
    config.ok = (struct weir_config_settle_ok){.field = "retCode", .equals = "0"};
    assert_true(settle_asks(&config));
    assert_true(settle_success(&config, &a));
    a.status = 400;
    assert_false(settle_success(&config, &a));
    static const char *const no[] = {"{\"retCode\":10001}", "{}", "", "nonsense",
                                     "{\"retCode\":null}"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(no); i++) {
        a = answer_of("", no[i]);
        assert_false(settle_success(&config, &a));
    }
}

/* The worker's own copy: pieces, bounds, and a longer body than is looked into. */
static void test_hear(void **state)
{
    (void)state;
    static char big[3 * REPLY_JSON_MAX_BYTES];
    struct hear h = {0};
    memset(big, 'x', sizeof big);
    assert_true(hear_reserve(&h, HEAR_NOTHING, 256));
    hear_begin(&h);
    hear_head(&h, "abc", 3);
    hear_body(&h, "abc", 3);
    assert_int_equal(h.head_bytes + h.body_bytes, 0);
    assert_string_equal(hear_body_at(&h), "");
    assert_string_equal(hear_head_at(&h), "");
    assert_true(hear_reserve(&h, HEAR_HEAD, 256));
    hear_begin(&h);
    hear_head(&h, big, HEAR_HEAD_MAX_BYTES);
    hear_head(&h, "y", 1); /* does not fit: dropped, not written */
    hear_body(&h, "abc", 3);
    assert_int_equal(h.head_bytes, HEAR_HEAD_MAX_BYTES);
    assert_int_equal(h.body_bytes, 0);
    assert_true(hear_reserve(&h, HEAR_BODY, 256));
    hear_begin(&h);
    hear_head(&h, "head", 4);
    hear_body(&h, "bo", 2);
    hear_body(&h, "dy", 2);
    assert_memory_equal(h.at, "head", 4);
    assert_memory_equal(hear_body_at(&h), "body", 4);
    hear_body(&h, big, sizeof big);
    hear_body(&h, big, sizeof big);
    assert_int_equal(h.body_bytes, REPLY_JSON_MAX_BYTES + 1);
    assert_null(reply_json(hear_body_at(&h), h.body_bytes));
    assert_true(hear_reserve(&h, HEAR_HEAD, 256));
    hear_begin(&h);
    assert_int_equal(h.head_bytes + h.body_bytes, 0);
    free(h.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_lists),
                                       cmocka_unit_test(test_bytes), cmocka_unit_test(test_ok),
                                       cmocka_unit_test(test_hear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
