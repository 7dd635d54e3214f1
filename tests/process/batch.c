/*
 * One call for many: what each rule of docs/http.md, "Batches", says, one by one. Oracle: weir-sim's count of calls that reached it by path, and the symbol and its own time in each answer.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS WEIR_NS_PER_MS

/* Each single route has an exchange's path of its own: /q/NAME, and /b/NAME for its batch. */
static const char sim_json[] =
    "{\"latency_ms\": 2, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"token_bucket\", \"quota\": 100000, "
    "\"refill_per_s\": 100000}], \"routes\": ["
    "{\"path\": \"GET /q/list\", \"plays\": \"ok\", \"body\": {\"symbol\": \"S1\"}}, {\"path\": "
    "\"GET /q/*\", "
    "\"plays\": \"quotes\"}, {\"path\": \"GET /b/all\", \"plays\": "
    "\"quotes\"}, {\"path\": \"GET /b/json\", \"plays\": \"quotes\"}, {\"path\": \"GET /b/comma\", "
    "\"plays\": \"quotes\"}, {\"path\": \"GET /b/dear\", \"plays\": \"quotes\"}, "
    "{\"path\": \"GET /b/twice\", \"plays\": \"ok\", \"body\": [{\"symbol\": \"S1\"}, {\"symbol\": "
    "\"S1\"}, "
    "{\"symbol\": "
    "\"S2\", \"time\": 2}]}, "
    "{\"path\": \"GET /b/path\", \"plays\": \"quotes\"}, {\"path\": \"GET /b/scarce\", \"plays\": "
    "\"quotes\"}, {\"path\": \"GET /b/slow\", \"plays\": \"quotes\"}, {\"path\": \"GET /b/stuck\", "
    "\"plays\": \"quotes\"}, {\"path\": \"GET /b/group\", "
    "\"plays\": \"quotes\"}, "
    "{\"path\": \"GET /b/shape\", \"plays\": \"ok\", \"body\": {\"symbol\": \"S1\"}}, "
    "{\"path\": \"GET /b/list\", \"plays\": \"ok\", \"body\": {\"retCode\": 0, \"result\": "
    "{\"list\": [{\"symbol\": "
    "\"S1\", \"p\": 1}, {\"symbol\": \"S2\", \"p\": 2}, {\"symbol\": \"a\\\"\\\\%b\", \"p\": 3}]}, "
    "\"time\": 7}}]}";

static const char head_yaml[] =
    "broker: {name: rig, memory: 64MiB, domains: [{name: default, clients: 40}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: wide, kind: token_bucket, quota: 10000, window: 1s}\n"
    "      - {name: scarce, kind: fixed_window, quota: 2, window: 1h}\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}]\n"
    "    breaker: {failures: 3, part: 50%, open: 1h}\n"
    "    routes:\n"
    "      - {name: bad, method: GET, path: /b/group, cost: {wide: 1}, group: bad}\n";

/* A single route at /q/NAME, and its batch at `path`. */
static const struct {
    const char *name, *cache, *how; /* of the single route */
    const char *path, *cost;        /* of the batch */
} rows[] = {
    {"all", "1h", "param: symbol, item: symbol", "/b/all", "{wide: 4}"},
    {"json", "1h", "param: symbol, item: symbol, names: json, names_param: symbols, max: 8",
     "/b/json", "{wide: 4}"},
    {"comma", "1h", "param: symbol, item: symbol, names: comma, names_param: symbols", "/b/comma",
     "{wide: 4}"},
    {"dear", "1h", "param: symbol, item: symbol", "/b/dear", "{wide: 80}"},
    {"*", "1h", "item: symbol", "/b/path", "{wide: 4}"},
    {"twice", "1h", "param: symbol, item: symbol, when: always", "/b/twice", "{wide: 4}"},
    {"shape", "1h", "param: symbol, item: symbol, when: always", "/b/shape", "{wide: 4}"},
    {"large", "1h", "param: symbol, item: symbol, when: always", "/bytes/10485760",
     "{wide: 4}, max_response: 1MiB"},
    {"scarce", "500ms", "param: symbol, item: symbol, when: always", "/b/scarce", "{scarce: 2}"},
    {"group", "1h", "param: symbol, item: symbol, when: always", "/b/group",
     "{wide: 4}, group: bad"},
    {"list", "1h",
     "param: symbol, with: [category], list: result.list, item: symbol, as: list, when: always",
     "/b/list", "{wide: 4}"},
    {"stuck", "500ms", "param: symbol, item: symbol, when: always", "/b/stuck", "{wide: 4}"},
    {"slow", "500ms", "param: symbol, item: symbol, when: always", "/b/slow", "{wide: 4}"},
};

static void configure(struct rig *r)
{
    static char yaml[16384];
    size_t n = (size_t)snprintf(yaml, sizeof yaml, "%s", head_yaml);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        const char *name = strcmp(rows[i].name, "*") == 0 ? "path" : rows[i].name;
        n += (size_t)snprintf(
            yaml + n, sizeof yaml - n,
            "      - {name: %s, method: GET, path: /q/%s, cost: {wide: 2}, timeout: 5s, "
            "max_response: 4KiB, share: public, cache: %s, batch: {route: %s_b, gather: 50ms, "
            "%s}}\n"
            "      - {name: %s_b, method: GET, path: %s, timeout: 5s, cost: %s}\n",
            name, rows[i].name, rows[i].cache, name, rows[i].how, name, rows[i].path, rows[i].cost);
    }
    rig_config(r, yaml, 0);
}

static struct weir *w;

/* Calls that reached the exchange by this path. */
static long arrivals(struct rig *r, const char *path)
{
    json_t *report = rig_json(r, "/sim/report");
    const json_t *n = json_object_get(json_object_get(report, "by_path"), path);
    long cnt = json_is_integer(n) ? (long)json_integer_value(n) : 0;
    json_decref(report);
    return cnt;
}

struct seen {
    unsigned live, cached, failed,
        refused; /* failed: a status that is not 200; refused: not DONE */
    long singles, batches;
};

/* `cnt` calls at once for S(first) and on; `spare` more of the same names. Each answer must be of the symbol that was asked for. */
static struct seen burst(struct rig *r, const char *route, const char *batch, unsigned first,
                         unsigned cnt, unsigned spare, unsigned deadline_ms)
{
    struct seen seen = {.singles = -arrivals(r, "GET /q/*"), .batches = -arrivals(r, batch)};
    weir_ticket ticket[128];
    unsigned symbol[128];
    char text[32];
    char name[32];
    CHECK(r, cnt + spare <= 128);
    (void)snprintf(name, sizeof name, "sim.%s", route);
    for (unsigned i = 0; i < cnt + spare; i++) {
        symbol[i] = first + i % cnt;
        bool by_path = strcmp(route, "path") == 0;
        (void)snprintf(text, sizeof text, by_path ? "S%u" : "symbol=S%u", symbol[i]);
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, name),
                                               .path_rest = by_path ? text : NULL,
                                               .query = by_path ? NULL : text,
                                               .deadline_ns = weir_now_ns(w) + deadline_ms * MS};
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    for (unsigned i = 0; i < cnt + spare; i++) {
        struct weir_response a;
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 8000 * MS, &a), 0);
        if (a.result != WEIR_RESULT_DONE) {
            seen.refused++;
        } else if (a.status != 200) {
            seen.failed++;
        } else {
            (void)snprintf(text, sizeof text, "\"S%u\"", symbol[i]);
            CHECK(r, memmem(a.body, a.body_bytes, text, strlen(text)) != NULL, "%s: %.*s", text,
                  (int)a.body_bytes, (const char *)a.body);
            seen.live += a.source == WEIR_SOURCE_LIVE;
            seen.cached += a.source == WEIR_SOURCE_CACHE;
        }
        CHECK_INT(r, weir_release(w, ticket[i]), 0);
    }
    seen.singles += arrivals(r, "GET /q/*");
    seen.batches += arrivals(r, batch);
    (void)printf("%-7s S%u and %u more, %u twice: live %u, cached %u, failed %u, refused %u; calls "
                 "%ld single, %ld batch\n",
                 route, first, cnt - 1, spare, seen.live, seen.cached, seen.failed, seen.refused,
                 seen.singles, seen.batches);
    return seen;
}

#define SEEN(r, s, cached_cnt, failed_cnt, single_cnt, batch_cnt) \
    do {                                                          \
        CHECK_INT(r, (s).cached, cached_cnt);                     \
        CHECK_INT(r, (s).failed, failed_cnt);                     \
        CHECK_INT(r, (s).singles, single_cnt);                    \
        CHECK_INT(r, (s).batches, batch_cnt);                     \
        CHECK_INT(r, (s).refused, 0);                             \
    } while (0)

static void test_joined(struct rig *r)
{
    struct seen s = burst(r, "all", "GET /b/all", 0, 32, 8, 5000);
    SEEN(r, s, 40, 0, 0, 1);
    s = burst(r, "all", "GET /b/all", 150, 20, 0, 5000); /* nobody has asked for them */
    SEEN(r, s, 20, 0, 0, 0);
    s = burst(r, "json", "GET /b/json", 0, 20, 4, 5000); /* eight in a call */
    CHECK_INT(r, s.cached, 24);
    CHECK_INT(r, s.singles, 0);
    CHECK(r, s.batches >= 3 && s.batches <= 4, "%ld", s.batches);
    s = burst(r, "comma", "GET /b/comma", 0, 20, 0, 5000);
    SEEN(r, s, 20, 0, 0, 1);
    s = burst(r, "path", "GET /b/path", 0, 20, 0, 5000);
    SEEN(r, s, 20, 0, 0, 1);
    const struct weir_shm_cache_route *row =
        rig_board(w, WEIR_SECTION_CACHE_ROUTE, sizeof(struct weir_shm_cache_route));
    row += rig_route(w, "sim.all");
    CHECK_INT(r, row->batches, 1);
    CHECK_INT(r, row->batched, 40);
    CHECK_INT(r, row->batches_failed, 0);
}

/* Only where that is cheaper: 4 calls cost 8 and a batch 80. */
static void test_cheaper(struct rig *r)
{
    struct seen s = burst(r, "dear", "GET /b/dear", 0, 4, 4, 5000);
    CHECK_INT(r, s.live + s.cached, 8);
    CHECK_INT(r, s.singles, 4);
    CHECK_INT(r, s.batches, 0);
    s = burst(r, "dear", "GET /b/dear", 10, 50, 0, 5000);
    SEEN(r, s, 50, 0, 0, 1);
}

/* One bad name fails a batch. Each then makes its own call, and the bad one joins no batch again. */
static void test_bad_name(struct rig *r)
{
    uint64_t before_ns = rig_now_ns();
    struct seen s = burst(r, "comma", "GET /b/comma", 196, 6, 0, 5000); /* S200, S201: none */
    SEEN(r, s, 0, 2, 6, 1);
    s = burst(r, "comma", "GET /b/comma", 100, 4, 0, 5000); /* none for a second */
    if (rig_now_ns() - before_ns < 1000 * MS) {
        SEEN(r, s, 0, 0, 4, 0);
    } else { /* a machine that is late: the second may be over */
        CHECK_INT(r, s.live + s.cached, 4);
    }
    rig_sleep_ms(1100);
    struct seen first = burst(r, "comma", "GET /b/comma", 50, 4, 0, 5000);
    SEEN(r, first, 4, 0, 0, 1);
    s = burst(r, "comma", "GET /b/comma", 200, 2, 0, 5000);
    SEEN(r, s, 0, 2, 2, 0);
}

/* Answers that are not what the configuration says. */
static void test_bad_answers(struct rig *r)
{
    struct seen s = burst(r, "twice", "GET /b/twice", 1, 3, 0, 5000); /* S1 twice, S2, no S3 */
    SEEN(r, s, 1, 0, 2, 1);
    uint64_t before_ns = rig_now_ns();
    s = burst(r, "shape", "GET /b/shape", 0, 5, 0, 5000);
    SEEN(r, s, 0, 0, 5, 1);
    CHECK(r, rig_log_has(r, "batch_failed"));
    s = burst(r, "shape", "GET /b/shape", 10, 5, 0, 5000);
    /* On a machine that is late its second may be over, and one more was tried. */
    SEEN(r, s, 0, 0, 5, s.batches == 1 && rig_now_ns() - before_ns >= 1000 * MS);
    s = burst(r, "large", "GET /bytes/", 0, 5, 0, 5000); /* 10 MiB, of which 1 MiB is taken */
    SEEN(r, s, 0, 0, 5, 1);
}

/* The batch has no permit before the deadline, or its group's breaker is open: the single calls go on. */
static void test_held_up(struct rig *r)
{
    struct weir_response a;
    struct seen s = burst(r, "scarce", "GET /b/scarce", 0, 4, 0, 5000);
    SEEN(r, s, 4, 0, 0, 1);
    rig_sleep_ms(600);
    s = burst(r, "scarce", "GET /b/scarce", 0, 4, 0, 3000);
    SEEN(r, s, 0, 0, 4, 0);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/b/group\"}");
    for (int i = 0; i < 5; i++) {
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, "sim.bad")};
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 500 * MS, &a), 0);
        CHECK_INT(r, weir_release(w, a.ticket), 0);
    }
    rig_faults_clear(r);
    s = burst(r, "group", "GET /b/group", 0, 4, 0, 5000);
    SEEN(r, s, 0, 0, 4, 0);
}

/* The batch is on the wire and owes its answer, of the one endpoint that there is: who waits makes its own call in time, and who comes then does not wait for that one. */
static void test_stuck(struct rig *r)
{
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/b/stuck\", \"delay_ms\": 4500, "
                 "\"count\": 1}");
    struct seen s = burst(r, "stuck", "GET /b/stuck", 0, 4, 2, 3000);
    SEEN(r, s, 2, 0, 4, 1);
    CHECK_INT(r, s.live, 4);
    rig_sleep_ms(600); /* what was kept of it is old */
    s = burst(r, "stuck", "GET /b/stuck", 0, 4, 0, 3000);
    SEEN(r, s, 4, 0, 0, 1);
}

/* As the answer came, with one element in its list; names with quotes, backslashes and percent signs; other parameters. */
static void test_list(struct rig *r)
{
    static const struct {
        const char *query, *text;
        uint32_t source;
    } asked[] = {
        {"category=linear&symbol=S2", "\"S2\"", WEIR_SOURCE_CACHE},
        {"symbol=S1&category=linear", "\"S1\"", WEIR_SOURCE_CACHE},
        {"symbol=a%22%5C%25b&category=spot", "\"a\\\"\\\\%b\"", WEIR_SOURCE_CACHE},
        {"symbol=S1&category=linear&limit=1", "\"S1\"", WEIR_SOURCE_LIVE},
        {"symbol=S1&symbol=S1&category=linear", "\"S1\"", WEIR_SOURCE_LIVE},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(asked); i++) {
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, "sim.list"),
                                               .query = asked[i].query};
        struct weir_response a;
        json_error_t error;
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 5000 * MS, &a), 0);
        CHECK_INT(r, a.status, 200);
        CHECK_INT(r, a.source, asked[i].source);
        CHECK(r, memmem(a.body, a.body_bytes, asked[i].text, strlen(asked[i].text)) != NULL, "%.*s",
              (int)a.body_bytes, (const char *)a.body);
        json_t *body = json_loadb(a.body, a.body_bytes, 0, &error);
        const json_t *list = json_object_get(json_object_get(body, "result"), "list");
        CHECK(r, a.source == WEIR_SOURCE_LIVE ||
                     (json_array_size(list) == 1 &&
                      json_integer_value(json_object_get(body, "time")) == 7));
        json_decref(body);
        CHECK_INT(r, weir_release(w, a.ticket), 0);
    }
}

/* The worker dies while a batch is on its way: each waiter is answered once, by the next worker. */
static void test_worker_killed(struct rig *r)
{
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 700, \"path\": \"/b/slow\"}");
    weir_ticket ticket[16];
    pid_t worker = rig_process(r, "weird-worker");
    for (unsigned i = 0; i < 16; i++) {
        char query[32];
        (void)snprintf(query, sizeof query, "symbol=S%u", i);
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, "sim.slow"),
                                               .query = query,
                                               .deadline_ns = weir_now_ns(w) + 4500 * MS};
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    for (int i = 0; i < 400 && arrivals(r, "GET /b/slow") == 0; i++) {
        rig_sleep_ms(5);
    }
    CHECK_INT(r, arrivals(r, "GET /b/slow"), 1);
    CHECK_INT(r, kill(worker, SIGKILL), 0);
    for (unsigned i = 0; i < 16; i++) {
        struct weir_response a;
        char text[16];
        (void)snprintf(text, sizeof text, "\"S%u\"", i);
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 8000 * MS, &a), 0);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK(r, memmem(a.body, a.body_bytes, text, strlen(text)) != NULL);
        CHECK_INT(r, weir_release(w, ticket[i]), 0);
    }
    /* Its batches take 700 ms: whoever has less time is not made to wait for one. */
    rig_sleep_ms(600);
    struct seen s = burst(r, "slow", "GET /b/slow", 0, 8, 0, 900);
    SEEN(r, s, 0, 0, 8, 0);
    rig_faults_clear(r);
    /* But not for ever: no batch is made meanwhile that could say that they are fast again. */
    rig_sleep_ms(5300);
    s = burst(r, "slow", "GET /b/slow", 0, 8, 0, 900);
    SEEN(r, s, 8, 0, 0, 1);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "process_batch", argc, argv, 110);
    rig_sim_start(&r, sim_json);
    configure(&r);
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_CALLER);
    test_joined(&r);
    test_cheaper(&r);
    test_bad_name(&r);
    test_bad_answers(&r);
    test_list(&r);
    test_held_up(&r);
    test_stuck(&r);
    test_worker_killed(&r);
    weir_close(w);
    return rig_close(&r);
}
