/*
 * test_replay.c: lines of logs, good and bad, and the counter that knows only the published rules.
 *
 * Oracle: each message word for word; counts by hand, and for rolling windows by looking back over all calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/dry_run.h"
#include "broker/replay_count.h"
#include "broker/replay_line.h"
#include "fixture.h"

static const char yaml[] =
    "providers:\n"
    "  - name: a\n"
    "    clock: {source: host, error: 1ms}\n"
    "    scopes: {account: [main, sub]}\n"
    "    limits:\n"
    "      - {name: w, kind: fixed_window, quota: 100, window: 1m}\n"
    "      - {name: o, kind: token_bucket, quota: 100, window: 1s, scope: account}\n"
    "    endpoints: [{name: api, url: \"https://a.test/v1\"}]\n"
    "    routes:\n"
    "      - {name: depth, method: GET, path: /depth, cost: {w: 5}}\n"
    "      - {name: all, method: GET, path: /*, cost: {w: 1}, priority: low}\n"
    "      - {name: files, method: GET, path: /files/*, cost: {w: 2}}\n"
    "      - {name: order, method: POST, path: /order, cost: {w: 1, o: 1}, priority: critical}\n"
    "      - {name: own, transport: own, cost: {o: 1}}\n"
    "  - name: b\n"
    "    limits: [{name: w, kind: token_bucket, quota: 100, window: 1s}]\n"
    "    endpoints: [{name: api, url: \"https://b.test\"}]\n"
    "    routes: [{name: depth, method: GET, path: /depth, cost: {w: 1}}]\n";

static struct weir_config *config;
static struct dry_run run;
static struct replay_names names;

static int setup(void **state)
{
    static struct weir_config_diag diag;
    char text[256];
    (void)state;
    config = weir_config_parse(yaml, sizeof yaml - 1, "test.yaml", &diag);
    if (config == NULL) {
        weir_config_diag_print(stderr, &diag);
        return -1;
    }
    names.config = config;
    names.tables = &run.view.tables;
    return dry_run_open(&run, config, text, sizeof text);
}

static int teardown(void **state)
{
    (void)state;
    dry_run_close(&run);
    weir_config_free(config);
    return 0;
}

static enum replay_verdict look(const char *line, struct replay_call *call, char text[240])
{
    char copy[1024];
    size_t bytes = strlen(line);
    memcpy(copy, line, bytes + 1);
    text[0] = '\0';
    return replay_line_read(&names, copy, bytes, call, text, 240);
}

#define AT_S UINT64_C(1795329695) /* 2026-11-22T06:41:35Z */

static void good_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *route;
        uint64_t utc_ns;
        uint32_t priority;
        bool whole_second;
    } rows[] = {
        {"{\"at\":\"2026-11-22T06:41:35Z\",\"route\":\"a.depth\"}", "depth", AT_S * 1000000000, 2,
         false},
        {"  {\"at\":1795329695000000001,\"route\":\"a.order\",\"more\":[]}", "order",
         AT_S * 1000000000 + 1, 0, false},
        {"{\"at\":\"2026-11-22t08:41:35.25+02:00\",\"route\":\"a.own\",\"priority\":\"high\"}",
         "own", AT_S * 1000000000 + 250000000, 1, false},
        {"{\"at\":\"2026-11-22 00:11:35.1234567899-0630\",\"route\":\"a.own\"}", "own",
         AT_S * 1000000000 + 123456789, 2, false},
        {"- - - [22/Nov/2026:06:41:35 +0000] \"GET /depth?a=b HTTP/1.1\" 200 1", "depth",
         AT_S * 1000000000, 2, true},
        {"::1 - x [22/Nov/2026:07:41:35 +0100] \"GET https://a.test/v1/depth HTTP/2\" 200", "depth",
         AT_S * 1000000000, 2, true},
        {"x [22/Nov/2026:06:41:35 +0000] \"GET /files/7 HTTP/1.1\"", "files", AT_S * 1000000000, 2,
         true},
        {"x [22/Nov/2026:06:41:35 +0000] \"GET /v1/files/7#x\"", "files", AT_S * 1000000000, 2,
         true},
        {"x [22/Nov/2026:06:41:35 +0000] \"GET /depth/\"", "all", AT_S * 1000000000, 3, true},
        {"x [22/Nov/2026:06:41:35 +0000] \"GET / HTTP/1.1\"", "all", AT_S * 1000000000, 3, true},
        {"x [22/Nov/2026:06:41:35 +0000] \"POST /order HTTP/1.1\"", "order", AT_S * 1000000000, 0,
         true},
    };
    names.provider = "a";
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct replay_call c;
        char text[240];
        enum replay_verdict v = look(rows[i].line, &c, text);
        if (v != REPLAY_CALL || c.utc_ns != rows[i].utc_ns ||
            strcmp(names.tables->route[c.route].name, rows[i].route) != 0 ||
            c.priority != rows[i].priority || c.whole_second != rows[i].whole_second) {
            print_error("%s\n%d %s at %llu\n", rows[i].line, (int)v, text,
                        (unsigned long long)c.utc_ns);
            fail();
        }
    }
    names.provider = NULL;
}

static void what_calls_say_of_themselves(void **state)
{
    (void)state;
    struct replay_call c;
    char text[240];
    assert_int_equal(
        look("{\"at\":1795329695000000000,\"route\":\"a.order\",\"scope\":\"account=sub\","
             "\"units\":{\"o\":7}}",
             &c, text),
        REPLAY_CALL);
    assert_true(c.has_units && c.units.cnt == 2);
    assert_int_equal(c.units.units[0], 1); /* w: not said, the route's own */
    assert_int_equal(c.units.units[1], 7);
    assert_true(c.scope == UINT64_C(1) << 32);
    assert_int_equal(c.status, 0);
    assert_int_equal(
        look("x [22/Nov/2026:06:41:35 +0000] \"POST /order HTTP/1.1\" 429 10", &c, text),
        REPLAY_CALL);
    assert_int_equal(c.status, 429);
    assert_int_equal(look("x [22/Nov/2026:06:41:35 +0000] \"POST /order HTTP/1.1\" 4290", &c, text),
                     REPLAY_CALL);
    assert_int_equal(c.status, 0);
    assert_int_equal(
        look("{\"at\":1795329695000000000,\"route\":\"a.own\",\"status\":200}", &c, text),
        REPLAY_CALL);
    assert_int_equal(c.status, 200);
    /* two providers have this path: the first written is taken, and it is said */
    assert_int_equal(look("x [22/Nov/2026:06:41:35 +0000] \"GET /depth\"", &c, text), REPLAY_CALL);
    assert_true(c.several && c.route == 0);
    names.provider = "b";
    assert_int_equal(look("x [22/Nov/2026:06:41:35 +0000] \"GET /depth\"", &c, text), REPLAY_CALL);
    assert_true(!c.several && c.route == names.tables->provider[1].route_first);
    names.provider = NULL;
}

/* Of an audit only permits are calls; what it lacks is counted. */
static void records_of_an_audit(void **state)
{
    static const struct {
        const char *line;
        enum replay_verdict verdict;
        uint64_t missing;
    } rows[] = {
        {"{\"at\":1795329695000000000,\"audit\":\"granted\",\"number\":4,\"client\":\"x\","
         "\"route\":"
         "\"a.order\",\"priority\":\"high\",\"charged\":{\"w\":1}}",
         REPLAY_CALL, 0},
        {"{\"at\":1,\"audit\":\"settled\",\"route\":\"a.order\",\"charged\":{\"w\":-1}}",
         REPLAY_NO_CALL, 0},
        {"{\"audit\":\"ended\",\"route\":\"a.zork\",\"status\":200}", REPLAY_NO_CALL, 0},
        {"{\"audit\":\"refused\",\"count\":9}", REPLAY_NO_CALL, 0},
        {"{\"audit\":\"worker\",\"count\":9}", REPLAY_NO_CALL, 0},
        {"{\"audit\":\"dropped\",\"count\":9}", REPLAY_NO_CALL, 9},
        {"{\"audit\":\"damaged\",\"count\":1}", REPLAY_NO_CALL, 1},
        {"{\"audit\":\"lost\",\"count\":4000000000000}", REPLAY_NO_CALL, 4000000000000},
        {"{\"audit\":\"lost\",\"count\":-4}", REPLAY_NO_CALL, 0},
        {"{\"audit\":\"lost\",\"count\":\"x\"}", REPLAY_NO_CALL, 0},
        {"{\"at\":1795329695000000000,\"audit\":7,\"route\":\"a.order\"}", REPLAY_CALL, 0},
    };
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct replay_call c;
        char text[240];
        enum replay_verdict v = look(rows[i].line, &c, text);
        if (v != rows[i].verdict || (v == REPLAY_NO_CALL && c.missing != rows[i].missing)) {
            fail_msg("%s: %d, %llu missing", rows[i].line, (int)v, (unsigned long long)c.missing);
        }
    }
}

static void bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
        enum replay_verdict verdict;
    } rows[] = {
        {"garbage", "neither a JSON object nor an access log line ([time] \"METHOD path\")", 1},
        {"[]\"\"", "time = []: is not of the form 22/Nov/2026:06:41:35 +0000", 1},
        {"x [22/Nov/2026:06:41:35 +0000] \"\"", "request = \"\": is no METHOD and path", 1},
        {"x [22/Nov/2026:06:41:35 +0000] \"BREW /pot HTCPCP\"",
         "request = BREW /pot: no route has this path", 2},
        {"x [22/Nov/2026:06:41:35 +0000] \"POST \x01/\xff HTTP/1.1\"",
         "request = POST ?/?: no route has this path", 2},
        {"x [22/Nob/2026:06:41:35 +0000] \"GET /\"",
         "time = [22/Nob/2026:06:41:35 +0000]: is not of the form 22/Nov/2026:06:41:35 +0000", 1},
        {"x [22/Nov/2026:06:41:35] \"GET /\"",
         "time = [22/Nov/2026:06:41:35]: is not of the form 22/Nov/2026:06:41:35 +0000", 1},
        {"{", "no JSON object: string or '}' expected near end of file", 1},
        {"{} trailing", "no JSON object: end of file expected near 'trailing'", 1},
        {"{}", "route: missing, or no text", 1},
        {"{\"route\":7}", "route: missing, or no text", 1},
        {"{\"route\":\"a.depth\"}", "at: missing, or neither a text nor an integer", 1},
        {"{\"route\":\"a.depth\",\"at\":1.5}", "at: missing, or neither a text nor an integer", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695}",
         "at = 1795329695: is no count of ns since 1970", 1},
        {"{\"route\":\"a.depth\",\"at\":-1}", "at = -1: is no count of ns since 1970", 1},
        {"{\"route\":\"a.depth\",\"at\":9223372036854775807}",
         "at = 9223372036854775807: is no count of ns since 1970", 1},
        {"{\"route\":\"a.depth\",\"at\":\"yesterday\"}",
         "at = \"yesterday\": is no time of RFC 3339 (2026-11-22T06:41:35.5Z)", 1},
        {"{\"route\":\"a.depth\",\"at\":\"2026-02-30T06:41:35Z\"}",
         "at = \"2026-02-30T06:41:35Z\": is no time of RFC 3339 (2026-11-22T06:41:35.5Z)", 1},
        {"{\"route\":\"a.depth\",\"at\":\"2026-11-22T06:41:35\"}",
         "at = \"2026-11-22T06:41:35\": is no time of RFC 3339 (2026-11-22T06:41:35.5Z)", 1},
        {"{\"route\":\"a.zork\",\"at\":1795329695000000000}",
         "route = \"a.zork\": the configuration has none", 2},
        {"{\"route\":\"weir.nop\",\"at\":1795329695000000000}",
         "route = \"weir.nop\": the configuration has none", 2},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"priority\":\"urgent\"}",
         "priority = \"urgent\": is one of critical, high, medium, low, background", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"priority\":2}",
         "priority = \"?\": is one of critical, high, medium, low, background", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"scope\":\"account=x\"}",
         "scope = \"account=x\": the provider has no such value", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"units\":{\"o\":1}}",
         "units.o: route depth takes nothing from it", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"units\":{\"w\":-1}}",
         "units.w: must be 0..2147483647", 1},
        {"{\"route\":\"a.depth\",\"at\":1795329695000000000,\"units\":5}",
         "units: is {limit: number}", 1},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct replay_call c;
        char text[240];
        assert_int_equal(look(rows[i].line, &c, text), rows[i].verdict);
        assert_string_equal(text, rows[i].text);
    }
    struct replay_call c;
    char nul[] = "{\"at\":\0}";
    char text[240];
    assert_int_equal(replay_line_read(&names, nul, sizeof nul - 1, &c, text, sizeof text), 1);
    assert_string_equal(text, "holds a NUL byte");
}

/* Any bytes are a call or a text. Run under the sanitizers, this is where a reader that runs over an end is found. */
static void any_bytes(void **state)
{
    (void)state;
    static const char good[] =
        "x [22/Nov/2026:06:41:35 +0000] \"GET http://a.test/depth HTTP/1.1\"";
    static const char json[] =
        "{\"at\":\"2026-11-22T06:41:35.5+01:00\",\"route\":\"a.order\",\"units\":{\"o\":7}}";
    uint64_t seed = 5;
    for (int i = 0; i < 200000; i++) {
        const char *from = i % 2 == 0 ? good : json;
        size_t bytes = 1 + fixture_random_below(&seed, strlen(from));
        char *line = malloc(bytes + 1); /* exactly as large as it is */
        struct replay_call c;
        char text[240] = "";
        memcpy(line, from, bytes);
        for (uint64_t n = fixture_random_below(&seed, 4); n > 0; n--) {
            line[fixture_random_below(&seed, bytes)] = (char)fixture_random_below(&seed, 256);
        }
        line[bytes] = '\0';
        enum replay_verdict v = replay_line_read(&names, line, bytes, &c, text, sizeof text);
        assert_true(v == REPLAY_CALL ? c.route < names.tables->route_cnt : text[0] != '\0');
        free(line);
    }
}

static struct replay_limit limit_make(struct weir_shm_limit_row *row, uint32_t kind, uint32_t quota,
                                      uint64_t window_ns)
{
    *row = (struct weir_shm_limit_row){.kind = kind,
                                       .word_cnt = 1,
                                       .quota = quota,
                                       .rate_quota = quota,
                                       .window_ns = window_ns,
                                       .rate_window_ns = window_ns};
    return (struct replay_limit){.row = row, .word = calloc(1, sizeof(struct replay_word))};
}

/* A rolling window against looking back over everything that was sent. */
static void rolling_windows_are_counted_exactly(void **state)
{
    (void)state;
    enum { CALLS = 4000 };
    static struct replay_event sent[CALLS];
    struct weir_shm_limit_row row;
    struct replay_limit l = limit_make(&row, WEIR_LIMIT_SLIDING_WINDOW, 20, 1000);
    uint64_t seed = 9, now = 1000000, over = 0;
    for (int i = 0; i < CALLS; i++) {
        now += fixture_random_below(&seed, 200);
        sent[i] = (struct replay_event){now, 1 + fixture_random_below(&seed, 4)};
        uint64_t sum = 0;
        for (int k = i; k >= 0 && sent[k].utc_ns + 1000 > now; k--) {
            sum += sent[k].units;
        }
        over += sum > 20;
        assert_true(replay_asked(&l, 0, now, sent[i].units));
        assert_true(replay_counted(&l, 0, now, sent[i].units, 3));
    }
    assert_true(over > 100 && over < CALLS);
    assert_int_equal(l.over[3], over);
    assert_true(replay_closed(&l));
    uint64_t listed = 0;
    for (size_t w = 0; w < l.bad_cnt; w++) {
        listed += l.bad[w].over;
    }
    assert_int_equal(listed, over);
    replay_limit_free(&l);
}

static void buckets_and_windows_by_hand(void **state)
{
    (void)state;
    struct weir_shm_limit_row row;
    struct replay_limit l = limit_make(&row, WEIR_LIMIT_TOKEN_BUCKET, 3, 3000);
    /* three at once, one a thousand ns later, and at 1999 ns not yet the next */
    static const struct {
        uint64_t at;
        uint64_t over;
    } rows[] = {{9000, 0}, {9000, 0}, {9000, 0}, {9000, 1}, {10000, 1}, {10999, 2}, {11000, 2}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        assert_true(replay_asked(&l, 0, rows[i].at, 1));
        assert_true(replay_counted(&l, 0, rows[i].at, 1, 0));
        assert_int_equal(l.over[0], rows[i].over);
    }
    replay_limit_free(&l);
    l = limit_make(&row, WEIR_LIMIT_FIXED_WINDOW, 2, 1000);
    static const uint64_t at[] = {9000, 9999, 9999, 10000, 10500, 10999, 12000};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(at); i++) {
        assert_true(replay_asked(&l, 0, at[i], 1));
        assert_true(replay_counted(&l, 0, at[i], 1, 0));
    }
    assert_true(replay_closed(&l));
    assert_int_equal(l.over[0], 2);
    assert_int_equal(l.windows, 3);
    assert_int_equal(l.bad_windows, 2);
    assert_int_equal(l.bad[1].start_utc_ns, 10000);
    assert_int_equal(l.bad[1].calls, 3);
    replay_limit_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),
        cmocka_unit_test(what_calls_say_of_themselves),
        cmocka_unit_test(records_of_an_audit),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(rolling_windows_are_counted_exactly),
        cmocka_unit_test(buckets_and_windows_by_hand),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
