/*
 * What answers tell, from a listener that says what no simulator would: stops inside HTTP 200, bans with an instant, stamps that lie, counts that are
 * no counts, slow answers. Oracle: what the listener in this test wrote, and the board.
 */
#include "raw.h"

#include "shm/weir_pause.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AHEAD_MS 5000U /* the listener's clock against this machine's */

static uint64_t server_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + AHEAD_MS;
}

static void say(int fd, unsigned status, const char *headers, const char *body)
{
    static char text[20000];
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 %u X\r\nX-Time-Now: %llu\r\n%sContent-Length: %zu\r\n\r\n%s", status,
                   (unsigned long long)server_ms(), headers, strlen(body), body);
    raw_say(fd, text);
}

/* A stamp of its own choice, or any other head. */
static void say_head(int fd, const char *headers)
{
    raw_say(fd, "HTTP/1.1 200 OK\r\n");
    raw_say(fd, headers);
    raw_say(fd, "Content-Length: 2\r\n\r\nok");
}

static bool hostile(int fd, const char *path)
{
    static const struct {
        const char *path, *used;
    } counts[] = {{"/r/nan", "NaN"},     {"/r/minus", "-1"}, {"/r/huge", "18446744073709551616"},
                  {"/r/words", "a few"}, {"/r/none", ""},    {"/r/float", "1e3"}};
    static const struct {
        const char *path, *stamp;
    } stamps[] = {{"/r/t/nan", "NaN"},
                  {"/r/t/minus", "-1700000000000"},
                  {"/r/t/huge", "18446744073709551616"},
                  {"/r/t/past", "1000000000000"},
                  {"/r/t/future", "4102444800000"},
                  {"/r/t/none", ""}};
    char text[128];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(counts); i++) {
        if (strcmp(path, counts[i].path) == 0) {
            (void)snprintf(text, sizeof text, "X-Used: %s\r\n", counts[i].used);
            say(fd, 200, text, "ok");
            return true;
        }
        if (strcmp(path, stamps[i].path) == 0) {
            (void)snprintf(text, sizeof text, "X-Time-Now: %s\r\n", stamps[i].stamp);
            say_head(fd, text);
            return true;
        }
    }
    if (strcmp(path, "/r/t/lie") == 0) { /* a quarter of an hour: believable, and false */
        (void)snprintf(text, sizeof text, "X-Time-Now: %llu\r\n",
                       (unsigned long long)server_ms() + 900000);
        say_head(fd, text);
        return true;
    }
    return false;
}

static bool answer(int fd, const char *path)
{
    char text[256];
    if (hostile(fd, path)) {
        return true;
    }
    if (strcmp(path, "/r/code") == 0) {
        say(fd, 200, "", "{\"retCode\":10006,\"retMsg\":\"Too many visits!\"}");
    } else if (strcmp(path, "/r/near") == 0) { /* the number, but not that member */
        say(fd, 200, "", "{\"retCode\":0,\"price\":\"10006\"}");
    } else if (strcmp(path, "/r/text") == 0) {
        say(fd, 200, "", "{\"Note\":\"Thank you for using Alpha Vantage! 25 requests per day.\"}");
    } else if (strcmp(path, "/r/header") == 0) {
        say(fd, 200, "X-Stop: yes\r\n", "ok");
    } else if (strcmp(path, "/r/banned") == 0) {
        (void)snprintf(text, sizeof text, "{\"msg\":\"IP banned until %llu. Please wait.\"}",
                       (unsigned long long)server_ms() + 3000);
        say(fd, 418, "", text);
    } else if (strcmp(path, "/r/used") == 0) {
        say(fd, 200, "X-Used: 60\r\n", "ok");
    } else if (strcmp(path, "/r/body") == 0) {
        say(fd, 200, "", "{\"rate\":{\"left\":\"11\"}}");
    } else if (strcmp(path, "/r/deep") == 0) {
        static char deep[16000];
        memset(deep, '[', sizeof deep - 1);
        say(fd, 200, "", deep);
    } else if (strcmp(path, "/r/slow") == 0) {
        rig_sleep_ms(400);
        say(fd, 200, "", "ok");
    } else {
        say(fd, 200, "", "ok");
    }
    return true;
}

static const char yaml[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: raw\n"
    "    clock: {header: X-Time-Now, unit: ms, max_jitter: 40ms}\n"
    "    limits:\n"
    "      - {name: l, kind: fixed_window, quota: 1000, window: 30d}\n"
    "      - {name: narrow, kind: fixed_window, quota: 100, window: 30d}\n"
    "      - {name: roll, kind: sliding_window, quota: 100, window: 1h}\n"
    "      - {name: silent, kind: sliding_window, quota: 100, window: 1h}\n"
    "    feedback:\n"
    "      - {header: x-used, limit: l, reports: used}\n"
    "      - {field: rate.left, limit: narrow, reports: remaining, of: 111}\n"
    "      - {header: x-roll, limit: roll, reports: remaining, rolls: true}\n"
    "    throttle: {status: [429, 418], header: x-stop, default: 300ms, text: [\"Thank you for "
    "using Alpha Vantage\"], body: [{field: retCode, equals: \"10006\"}], until_text: \"banned "
    "until {time}\"}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT2\", connections: 2}\n"
    "    routes:\n"
    "      - {name: get, method: GET, path: /r/*, cost: {l: 1}, timeout: 3s}\n"
    "      - {name: narrow, method: GET, path: /r/body, cost: {l: 1, narrow: 1}, timeout: 3s}\n"
    "      - {name: own, transport: own, cost: {roll: 1, silent: 1}}\n";

static const struct weir_shm_provider *board;
static const struct weir_shm_foreign *foreign;

static uint32_t call(struct rig *r, struct weir *w, const char *route, const char *rest)
{
    struct weir_response a = {0};
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, route), .path_rest = rest};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 8 * WEIR_NS_PER_S, &a);
    rig_check(r, rc == 0 && a.result == WEIR_RESULT_DONE, __FILE__, __LINE__, "%s %s: %s, %s",
              route, rest != NULL ? rest : "", weir_strerror(rc), weir_result_text(a.result));
    (void)weir_release(w, a.ticket);
    return a.status;
}

static struct weir_server_clock clock_now(void)
{
    struct weir_server_clock c = {0};
    uint64_t value[WEIR_SERVER_CLOCK_WORDS] = {0};
    uint64_t seq;
    (void)weir_latch_read(&board->clock_seq, board->clock, value, WEIR_SERVER_CLOCK_WORDS, &seq);
    memcpy(&c, value, sizeof c);
    return c;
}

/* Others' units of a limit word, whichever window is current. */
static uint32_t others_of(uint32_t word)
{
    uint32_t a = (uint32_t)weir_load_relaxed_u64(&foreign[word].word[0]);
    uint32_t b = (uint32_t)weir_load_relaxed_u64(&foreign[word].word[1]);
    return a > b ? a : b;
}

/* How long the broker's pause lasts from now. */
static uint64_t paused_ms(struct weir *w)
{
    uint64_t until_ns = weir_pause_until_ns(weir_load_acquire_u64(&board->pause));
    uint64_t now_ns = weir_now_ns(w);
    return until_ns > now_ns ? (until_ns - now_ns) / WEIR_NS_PER_MS : 0;
}

static void clock_checks(struct rig *r, struct weir *w)
{
    static const char *const bad[] = {"t/nan", "t/minus", "t/huge", "t/past", "t/future", "t/none"};
    CHECK_INT(r, clock_now().state, WEIR_CLOCK_UNKNOWN); /* there is no path to ask */
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        (void)call(r, w, "raw.get", bad[i]);
    }
    CHECK_INT(r, clock_now().state, WEIR_CLOCK_UNKNOWN);
    CHECK_INT(r, board->clock_ignored, WEIR_ARRAY_CNT(bad));
    (void)call(r, w, "raw.get", "ok");
    (void)call(r, w, "raw.get", "ok");
    struct weir_server_clock before = clock_now();
    uint64_t utc_ns;
    uint64_t error_ns;
    CHECK_INT(r, before.state, WEIR_CLOCK_KNOWN);
    CHECK_INT(r, weir_server_time(w, "raw", &utc_ns, &error_ns), 0);
    int64_t off_ns = (int64_t)(utc_ns - server_ms() * WEIR_NS_PER_MS);
    CHECK(r, (off_ns < 0 ? -off_ns : off_ns) < (int64_t)(error_ns + WEIR_NS_PER_S), "off by %lld",
          (long long)off_ns);
    /* One lie, then the truth, many times over: nothing moves. */
    for (int i = 0; i < 3; i++) {
        (void)call(r, w, "raw.get", "t/lie");
        (void)call(r, w, "raw.get", "ok");
    }
    struct weir_server_clock after = clock_now();
    int64_t moved_ns = after.offset_ns - before.offset_ns;
    CHECK(r, (moved_ns < 0 ? -moved_ns : moved_ns) < (int64_t)WEIR_NS_PER_S, "moved by %lld",
          (long long)moved_ns);
    CHECK_INT(r, board->clock_realigned, 1);
    CHECK_INT(r, board->clock_ignored, WEIR_ARRAY_CNT(bad) + 3);
    CHECK(r, rig_log_has(r, "clock_sample_doubted"), "said so");
}

static void jitter_checks(struct rig *r, struct weir *w)
{
    CHECK(r, clock_now().jitter_ns >= 40 * WEIR_NS_PER_MS, "the floor");
    (void)call(r, w, "raw.get", "slow");
    (void)call(r, w, "raw.get", "slow");
    CHECK(r, clock_now().jitter_ns >= 400 * WEIR_NS_PER_MS, "J = %llu",
          (unsigned long long)clock_now().jitter_ns);
}

static void count_checks(struct rig *r, struct weir *w)
{
    static const char *const bad[] = {"nan", "minus", "huge", "words", "none", "float"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        (void)call(r, w, "raw.get", bad[i]);
    }
    CHECK_INT(r, board->reports_ignored, WEIR_ARRAY_CNT(bad));
    CHECK_INT(r, board->reports, 0);
    CHECK_INT(r, others_of(0), 0);
    (void)call(r, w, "raw.get", "used");
    CHECK_INT(r, board->reports, 1);
    CHECK(r, others_of(0) > 0 && others_of(0) <= 60, "others of l: %u", others_of(0));
    CHECK_INT(r, others_of(1), 0);       /* a count moves only the limit that it names */
    (void)call(r, w, "raw.get", "body"); /* a route that takes nothing from `narrow` */
    CHECK_INT(r, others_of(1), 0);
    (void)call(r, w, "raw.narrow", NULL);
    CHECK_INT(r, others_of(1), 99); /* 111 - 11, less this call */
    (void)call(r, w, "raw.get", "deep");
    CHECK_INT(r, others_of(1), 99);
}

/* A worker dies: the next one knows the clock and what others used, and goes on from there. */
static void restart_checks(struct rig *r, struct weir *w)
{
    pid_t worker = rig_process(r, "weird-worker");
    CHECK(r, worker > 0 && kill(worker, SIGKILL) == 0, "killed");
    CHECK(r, rig_process_next(r, "weird-worker", worker, 5000) > 0, "another one");
    (void)call(r, w, "raw.get", "ok");
    rig_sleep_ms(50); /* some looks at the words */
    CHECK_INT(r, others_of(1), 99);
    CHECK_INT(r, clock_now().state, WEIR_CLOCK_KNOWN);
}

/* A trader settles with what its reply told. */
static void claim(struct rig *r, struct weir *w, enum weir_told_kind kind, uint32_t units)
{
    struct weir_permit p;
    const struct weir_told told = {.cnt = 2, .kind = {kind, kind}, .units = {units, units}};
    const struct weir_outcome o = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200, .told = &told};
    CHECK_INT(r,
              weir_permit_try(w, rig_route(w, "raw.own"), WEIR_SCOPE_DEFAULT, NULL,
                              WEIR_PRIORITY_MEDIUM, &p),
              0);
    CHECK_INT(r, weir_permit_settle(w, &p, &o), 0);
    rig_sleep_ms(60); /* some looks of the worker */
}

/* What traders say adds to others' usage where feedback names the limit, and never takes away. */
static void claim_checks(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    uint64_t before = board->claims;
    claim(r, w, WEIR_TOLD_USED, 1); /* it was ours */
    CHECK_INT(r, others_of(2), 0);
    claim(r, w, WEIR_TOLD_REMAINING, 58); /* 42 used, 2 of them ours */
    for (unsigned i = 0; i < 2000 && others_of(2) < 40; i++) {
        rig_sleep_ms(1); /* on a busy machine the worker comes to it later */
    }
    CHECK(r, others_of(2) >= 40 && others_of(2) <= 42, "others of roll: %u", others_of(2));
    CHECK_INT(r, others_of(3), 0); /* no feedback names it */
    /* One that an answer of our own, or the later one, was before to is none. */
    CHECK(r, board->claims > before && board->claims <= before + 2, "claims");
    claim(r, w, WEIR_TOLD_USED, UINT32_MAX);
    for (unsigned i = 0; i < 2000 && others_of(2) != 100; i++) {
        rig_sleep_ms(1);
    }
    CHECK_INT(r, others_of(2), 100);
    struct weir_permit p;
    CHECK_INT(r,
              weir_permit_try(w, rig_route(w, "raw.own"), WEIR_SCOPE_DEFAULT, NULL,
                              WEIR_PRIORITY_MEDIUM, &p),
              WEIR_DENIED);
    weir_close(w);
}

static void stop_checks(struct rig *r, struct weir *w)
{
    static const char *const stops[] = {"code", "text", "header"};
    (void)call(r, w, "raw.get", "near");
    CHECK_INT(r, board->throttled, 0);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(stops); i++) {
        uint64_t paused_ns = board->paused_ns;
        CHECK_INT(r, call(r, w, "raw.get", stops[i]), 200);
        CHECK_INT(r, board->throttled, i + 1);
        CHECK(r, board->paused_ns > paused_ns, "%s pauses", stops[i]);
    }
    CHECK_INT(r, call(r, w, "raw.get", "banned"), 418);
    CHECK_INT(r, board->throttled, WEIR_ARRAY_CNT(stops) + 1);
    CHECK(r, paused_ms(w) > 500 && paused_ms(w) <= 4500, "banned for %llu ms",
          (unsigned long long)paused_ms(w));
}

int main(int argc, char **argv)
{
    struct rig r;
    struct raw raw;
    rig_open(&r, "told", argc, argv, 60);
    raw_start(&r, &raw, answer);
    rig_config(&r, yaml, raw.port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    board = rig_board(w, WEIR_SECTION_PROVIDER, sizeof *board);
    foreign = rig_board(w, WEIR_SECTION_FOREIGN, sizeof *foreign);
    clock_checks(&r, w);
    count_checks(&r, w);
    restart_checks(&r, w);
    claim_checks(&r);
    jitter_checks(&r, w);
    stop_checks(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    raw_stop(&raw);
    return rig_close(&r);
}
