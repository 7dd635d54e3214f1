/*
 * test_config.c: files in, configurations out, and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/config/config.h"

static struct weir_config_diag diag;

/* The smallest configuration; more keys of the provider may follow it. */
static const char small[] = "providers:\n"
                            "- name: p\n"
                            "  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n"
                            "  routes: [{name: r, transport: own, cost: {l: 1}}]\n";

static struct weir_config *parse(const char *text)
{
    return weir_config_parse(text, strlen(text), "t", &diag);
}

static struct weir_config *parse_good(const char *text)
{
    struct weir_config *config = parse(text);
    if (!config) {
        weir_config_diag_print(stderr, &diag);
    }
    assert_non_null(config);
    assert_int_equal(diag.error_cnt, 0);
    return config;
}

static char *print(const struct weir_config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    weir_config_print(out, config);
    fclose(out);
    return text;
}

/* What is printed loads, and prints the same. */
static void check_round_trip(const struct weir_config *config)
{
    char *first = print(config);
    struct weir_config *again = parse_good(first);
    char *second = print(again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    weir_config_free(again);
}

static void test_defaults(void **state)
{
    (void)state;
    struct weir_config *config = parse_good(small);
    assert_int_equal(diag.warning_cnt, 0);
    const struct weir_config_broker *broker = &config->broker;
    assert_string_equal(broker->name, "default");
    assert_string_equal(broker->runtime_dir, "");
    assert_int_equal(broker->wake, WEIR_CONFIG_WAKE_ADAPTIVE);
    assert_int_equal(broker->log, WEIR_CONFIG_LOG_INFO);
    assert_int_equal(broker->spin_ns, 50000);
    assert_int_equal(broker->memory_max_bytes, 64 << 20);
    assert_int_equal(broker->ring_cnt, 1024);
    assert_int_equal(broker->drain_ns, 10000000000);
    assert_int_equal(broker->domain_cnt, 1);
    assert_string_equal(broker->domain[0].name, "default");
    assert_int_equal(broker->domain[0].role, WEIR_ROLE_TRADER);
    assert_int_equal(broker->domain[0].client_max, 64);
    assert_int_equal(broker->domain[0].slot_max, 1024);
    assert_int_equal(broker->domain[0].uids.cnt, 0);

    const struct weir_config_provider *provider = &config->provider[0];
    assert_int_equal(provider->clock.source, WEIR_CONFIG_CLOCK_NONE);
    assert_string_equal(provider->clock.path, "");
    assert_string_equal(provider->auth.secret, "");
    assert_string_equal(provider->health.path, "");
    assert_int_equal(provider->throttle.status.cnt, 1);
    assert_int_equal(provider->throttle.status.number[0], 429);
    assert_int_equal(provider->balance, WEIR_BALANCE_TWO_CHOICES);
    for (size_t kind = 0; kind < WEIR_SCOPE_KIND_CNT; kind++) {
        assert_int_equal(provider->scope[kind].cnt, 1);
        assert_string_equal(provider->scope[kind].text[0], "");
    }
    assert_int_equal(provider->limit[0].burst_units, 10);
    assert_int_equal(provider->limit[0].scope, WEIR_SCOPE_IP);
    assert_string_equal(provider->route[0].full_name, "p.r");
    assert_int_equal(provider->route[0].priority, WEIR_PRIORITY_MEDIUM);
    assert_int_equal(provider->route[0].method, WEIR_METHOD_UNSET);
    assert_string_equal(provider->route[0].path, "");
    assert_int_equal(provider->route[0].headers.cnt, 3);
    assert_string_equal(provider->route[0].headers.text[1], "x-mbx-apikey");
    check_round_trip(config);
    weir_config_free(config);
}

static void test_example(void **state)
{
    (void)state;
    struct weir_config *config =
        weir_config_load(WEIR_SOURCE_DIR "/examples/weir.yaml", NULL, &diag);
    assert_non_null(config);
    assert_int_equal(diag.warning_cnt, 1); /* no key is set */
    const struct weir_config_provider *binance = &config->provider[0];
    assert_string_equal(binance->clock.field, "serverTime");
    assert_int_equal(binance->limit[0].window_ns, 60000000000);
    assert_int_equal(binance->limit[0].headroom_ppm[WEIR_PRIORITY_CRITICAL], 100000);
    assert_int_equal(binance->limit[0].headroom_ppm[WEIR_PRIORITY_HIGH], 50000);
    assert_int_equal(binance->limit[2].scope, WEIR_SCOPE_ACCOUNT);
    assert_string_equal(binance->endpoint[1].url.host, "api1.binance.com");
    assert_int_equal(binance->endpoint[1].role, WEIR_CONFIG_ENDPOINT_BACKUP);
    const struct weir_config_route *order = &binance->route[4];
    assert_string_equal(order->full_name, "binance.order");
    assert_int_equal(order->method, WEIR_METHOD_POST);
    assert_true(order->is_signed && !order->is_idempotent);
    assert_int_equal(order->cost_cnt, 3);
    assert_int_equal(order->cost[2].limit_idx, 2);
    assert_true(binance->route[5].is_idempotent); /* DELETE */
    check_round_trip(config);
    weir_config_free(config);
}

/* DESIGN.md's sample, kept as a seed of the fuzzer: every key of it is known, the later ones with a warning. */
static void test_design_sample(void **state)
{
    (void)state;
    struct weir_config *config =
        weir_config_load(WEIR_SOURCE_DIR "/tests/fuzz/corpus/config/design.yaml", NULL, &diag);
    assert_non_null(config);
    assert_int_equal(diag.warning_cnt, 1);
    assert_string_equal(strstr(diag.warning[0].text, ":5:"),
                        ":5:11: providers[0].auth: no key is set, so calls to signed routes are "
                        "refused (KEY_MISSING)");
    check_round_trip(config);
    weir_config_free(config);
}

static void test_round_trip_of_units(void **state)
{
    (void)state;
    struct weir_config *config =
        weir_config_load(WEIR_SOURCE_DIR "/tests/fuzz/corpus/config/units.yaml", NULL, &diag);
    assert_non_null(config);
    assert_int_equal(config->provider[0].limit[0].window_ns, 0);
    check_round_trip(config); /* a window that nobody wrote would be refused */
    weir_config_free(config);
}

static void test_round_trip_of_everything(void **state)
{
    (void)state;
    struct weir_config *config = parse_good(
        "broker: {name: b, wake: spin, spin: 1500ns, memory: 1GiB, ring: 64, log: debug,\n"
        "  runtime_dir: '/tmp/a\"b\\c$$d', drain: 0s, domains: [\n"
        "    {name: a, role: caller, uids: [0, 4294967294], gids: [7], clients: 1, slots: 1,\n"
        "     arena: 1MB, request: 1025}, {name: b, clients: 254}]}\n"
        "providers:\n"
        "- name: '1'\n"
        "  clock: {source: host, error: 1ms, max_jitter: 0s}\n"
        "  scopes: {ip: ['10.0.0.1'], account: [main, sub1], instrument: [BTC/USDT]}\n"
        "  auth: {kind: bybit, recv_window: 1500ms, keys: [{account: main, key: k, secret: s},\n"
        "    {account: sub1, key: k2, secret: s2}]}\n"
        "  limits:\n"
        "  - {name: 'true', kind: token_bucket, quota: 3, window: 1s, burst: 30, scope: key,\n"
        "     headroom: {critical: 12.5%, low: 0.0001%}}\n"
        "  - {name: '2', kind: fixed_window, quota: 5, window: 1d}\n"
        "  throttle: {status: [418, 503], retry_after: none, default: 2m}\n"
        "  endpoints: [{name: e, url: 'https://[2001:db8::1]:8443/v1/', ca_file: /etc/ca.pem}]\n"
        "  routes:\n"
        "  - {name: x, method: PATCH, path: /a, cost: {'true': 2, '2': 1}, idempotent: true,\n"
        "     headers: [], max_response: 1KiB, priority: background}\n"
        "  - {name: y, method: GET, path: /y, cost: {'2': 1}, share: public, cache: 1s,\n"
        "     batch: {route: z, param: s, with: [c, d], names: comma, names_param: n, max: 7,\n"
        "       list: r.l, item: i, as: list, gather: 2500us, when: always}}\n"
        "  - {name: z, method: GET, path: /z, cost: {'2': 2}}\n");
    assert_string_equal(config->broker.runtime_dir, "/tmp/a\"b\\c$d");
    const struct weir_config_provider *provider = &config->provider[0];
    assert_string_equal(provider->endpoint[0].url.host, "2001:db8::1");
    assert_true(provider->endpoint[0].url.ipv6);
    assert_string_equal(provider->endpoint[0].url.base_path, "/v1");
    assert_int_equal(provider->limit[0].headroom_ppm[WEIR_PRIORITY_LOW], 1);
    assert_int_equal(provider->scope[WEIR_SCOPE_ACCOUNT].cnt, 2);
    assert_int_equal(provider->route[1].batch.route_idx, 2);
    assert_int_equal(provider->route[1].batch.gather_ns, 2500000);
    check_round_trip(config);
    weir_config_free(config);
}

/* What is read from answers: taken as written, filled in, and printed so that it loads again. */
static void test_what_answers_tell(void **state)
{
    (void)state;
    struct weir_config *config = parse_good(
        "providers:\n"
        "- name: p\n"
        "  clock: {header: X-Time-Now, unit: us}\n"
        "  limits:\n"
        "  - {name: a, kind: fixed_window, quota: 5, window: 1s, foreign: {expect: adaptive}}\n"
        "  - {name: b, kind: fixed_window, quota: 7, window: 1m}\n"
        "  feedback:\n"
        "  - {header: X-Used, limit: a, reports: used}\n"
        "  - {field: rate.left, limit: b, reports: remaining}\n"
        "  - {field: list.0, limit: b, reports: remaining, of: 9}\n"
        "  - {header: x-reset, limit: b, reports: reset, unit: ms, form: left}\n"
        "  throttle: {status: [429], header: X-Stop, text: ['Thank you, but', 'no: \"more\"'],\n"
        "    body: [{field: retCode, equals: 10006}, {field: code, equals: '50011'}],\n"
        "    until_text: 'banned until {time}'}\n"
        "  endpoints: [{name: e, url: 'http://h'}]\n"
        "  routes: [{name: x, method: GET, path: /a, cost: {a: 1, b: 1}}]\n");
    const struct weir_config_provider *p = &config->provider[0];
    assert_string_equal(p->clock.header, "x-time-now");
    assert_int_equal(p->clock.unit, WEIR_CONFIG_UNIT_US);
    assert_int_equal(p->limit[0].foreign.expect, WEIR_CONFIG_EXPECT_ADAPTIVE);
    assert_int_equal(p->limit[1].foreign.expect, WEIR_CONFIG_EXPECT_OFF);
    assert_string_equal(p->feedback[0].header, "x-used");
    assert_int_equal(p->feedback[0].of_units, 0);
    assert_string_equal(p->feedback[1].field, "rate.left");
    assert_int_equal(p->feedback[1].of_units, 7); /* the limit's own quota */
    assert_int_equal(p->feedback[2].of_units, 9);
    assert_int_equal(p->feedback[3].form, WEIR_CONFIG_FORM_LEFT);
    assert_int_equal(p->throttle.body_cnt, 2);
    assert_string_equal(p->throttle.body[0].equals, "10006");
    assert_string_equal(p->throttle.text.text[1], "no: \"more\"");
    check_round_trip(config);
    weir_config_free(config);
}

static void test_secrets_are_masked(void **state)
{
    (void)state;
    char text[sizeof(small) + 128];
    snprintf(text, sizeof(text),
             "%s  auth: {kind: okx, key: hunter2, secret: \"hunter2\", passphrase: hunter2}\n",
             small);
    struct weir_config *config = parse_good(text);
    assert_string_equal(config->provider[0].auth.key, "hunter2");
    char *printed = print(config);
    assert_null(strstr(printed, "hunter2"));
    assert_non_null(strstr(printed, "key: \"***\"\n"));
    check_round_trip(config);
    free(printed);
    weir_config_free(config);

    /* Nor in a complaint, be the fault in the value or in the spelling of its key. */
    static const char *const bad[] = {"auth: {kind: api_key, key: [hunter2]}",
                                      "auth: {kind: api_key, secert: hunter2}",
                                      "auth: {kind: kraken, key: k, secret: hunter2!}",
                                      "auth: {kind: okx, key: k, secret: hunter2}",
                                      "auth: {kind: rsa_query, key: k, secret: hunter2}",
                                      "auth: {kind: bearer, key: k, secret: hunter2}",
                                      "auth: {kind: bybit, key: \"hunter2\\n\", secret: a}",
                                      "auth: {kind: bybit, key: hunter2, keys: [{key: k}]}",

                                      "endpoints: [{name: e, url: 'https://u:hunter2@h'}]",
                                      "endpoints: [{name: e, url: 'https://h?key=hunter2'}]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "%s  %s\n", small, bad[i]);
        assert_null(parse(text));
        for (size_t j = 0; j < diag.error_cnt; j++) {
            assert_null(strstr(diag.error[j].text, "hunter2"));
        }
    }
}

/* The value of broker.name, or of the first error. */
static void check_expansion(const char *written, const char *name, const char *error)
{
    char text[sizeof(small) + 256];
    snprintf(text, sizeof(text), "broker: {name: \"%s\"}\n%s", written, small);
    struct weir_config *config = parse(text);
    if (name) {
        assert_non_null(config);
        assert_string_equal(config->broker.name, name);
    } else {
        assert_null(config);
        assert_string_equal(diag.error[0].text, error);
    }
    weir_config_free(config);
}

static void test_expansion(void **state)
{
    (void)state;
    setenv("WEIR_TEST", "abc", 1);
    setenv("WEIR_EMPTY", "", 1);
    setenv("WEIR_YAML", "x\", ring: \"64", 1);
    unsetenv("WEIR_UNSET");
    check_expansion("${WEIR_TEST}", "abc", NULL);
    check_expansion("x${WEIR_TEST}y${WEIR_TEST}", "xabcyabc", NULL);
    check_expansion("${WEIR_UNSET:d}", "d", NULL);
    check_expansion("${WEIR_TEST:d}", "abc", NULL);
    check_expansion("x${WEIR_EMPTY:d}", "x", NULL);
    check_expansion("x${WEIR_UNSET:}", "x", NULL);
    check_expansion("${WEIR_UNSET}", NULL,
                    "t:1:16: ${WEIR_UNSET}: the environment has no such variable: export it, or "
                    "write ${WEIR_UNSET:default}");
    check_expansion("${1x}", NULL,
                    "t:1:16: ${1x}: not a variable's name: use letters, digits and '_', at most "
                    "127, the first no digit");
    check_expansion("${WEIR_TEST", NULL, "t:1:16: '${' has no '}': write ${VAR} or ${VAR:default}");
    check_expansion("a$b", NULL,
                    "t:1:16: '$' begins nothing: write $$ for a '$', or ${VAR} for a variable");
    check_expansion("a$$b", NULL,
                    "t:1:16: broker.name = \"a$b\": must be letters, digits, '-', '_' and '.', the "
                    "first a letter or a digit");
    /* What a variable holds is a value, never YAML. */
    check_expansion("${WEIR_YAML}", NULL,
                    "t:1:16: broker.name = \"x\", ring: \"64\": must be letters, digits, '-', '_' "
                    "and '.', the first a letter or a digit");
}

static void test_expansion_is_bounded(void **state)
{
    (void)state;
    char *text = malloc(5000);
    assert_non_null(text);
    memset(text, 'a', 4999);
    text[4999] = '\0';
    setenv("WEIR_LONG", text, 1);
    check_expansion("${WEIR_LONG}", NULL, "t:1:16: the value is too long: at most 4096 bytes");
    free(text);
}

static void test_files(void **state)
{
    (void)state;
    assert_null(weir_config_load("/nonexistent/weir.yaml", NULL, &diag));
    assert_string_equal(diag.error[0].text,
                        "/nonexistent/weir.yaml: cannot be read: No such file or directory: give "
                        "the configuration's path");
    assert_null(weir_config_load("/", NULL, &diag));
    assert_string_equal(diag.error[0].text,
                        "/: cannot be read: Is a directory: give the configuration's path");
    assert_null(weir_config_load("/dev/zero", NULL, &diag));
    assert_string_equal(diag.error[0].text,
                        "/dev/zero: larger than 1048576 bytes: is this the configuration?");
    assert_null(parse(""));
    assert_string_equal(diag.error[0].text,
                        "t: empty: a configuration needs at least `providers`, see weir.yaml(5)");
    weir_config_free(NULL);
}

static void test_errors_are_collected(void **state)
{
    (void)state;
    char text[4096] = "broker:\n";
    for (size_t i = 0; i < 30; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "  key%zu: 1\n", i);
    }
    strcat(text, small);
    assert_null(parse(text));
    assert_int_equal(diag.error_cnt, 30);
    assert_int_equal(diag.error[0].line, 2);
    assert_int_equal(diag.error[19].line, 21);
    char *printed = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&printed, &bytes);
    weir_config_diag_print(out, &diag);
    fclose(out);
    assert_non_null(strstr(printed, "error: and 10 more\n"));
    free(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_design_sample),
        cmocka_unit_test(test_round_trip_of_units),
        cmocka_unit_test(test_round_trip_of_everything),
        cmocka_unit_test(test_what_answers_tell),
        cmocka_unit_test(test_secrets_are_masked),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_expansion_is_bounded),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_errors_are_collected),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
