/*
 * test_stop.c: which call's "stop" is heeded behind an operator's resume (broker/answer.c, broker/pause.c), on a region as weird makes it.
 *
 * Oracle: the order of three instants. The exchange read a call when it was written, not when its permit was granted. What was written behind the resume is answered by an
 * exchange that the operator has not seen: its Retry-After holds. What was written before it is of what the operator knew.
 */
#include "broker/config/config.h"
#include "broker/dry_run.h"
#include "broker/log.h"
#include "broker/pause.h"
#include "broker/worker.h"
#include "shm/weir_pause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MS      WEIR_NS_PER_MS
#define S       WEIR_NS_PER_S
#define RESUMED (UINT64_C(1000) * S)
#define NOW     (RESUMED + S)

static const char yaml[] = "broker: {state_dir: none, log: error}\n"
                           "providers:\n"
                           "  - name: p\n"
                           "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
                           "    limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n"
                           "    endpoints: [{name: e, url: 'https://h'}]\n"
                           "    routes: [{name: r, method: GET, path: /a, cost: {l: 1}}]\n";

struct stop {
    struct weir_config *config;
    struct dry_run run;
    struct provider provider;
    struct route route;
    struct call call;
    struct worker w;
};

static void time_set(struct stop *s, uint64_t now_ns)
{
    weir_clock_stand(&s->w.shared.time, now_ns);
    s->w.now_ns = now_ns;
}

/* A worker that an operator has told to go on at RESUMED; it is NOW, and a 429 or 418 came to a call. */
static void stop_open(struct stop *s, uint32_t status)
{
    static struct weir_config_diag diag;
    char text[256];
    memset(s, 0, sizeof *s);
    s->config = weir_config_parse(yaml, sizeof yaml - 1, "t", &diag);
    if (s->config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    assert_int_equal(dry_run_open(&s->run, s->config, text, sizeof text), WEIR_OK);
    log_open(s->config->broker.log, "test");
    s->provider.config = &s->config->provider[0];
    s->provider.published.state = WEIR_CLOCK_KNOWN; /* its UTC is weir's time here */
    s->w.config = s->config;
    s->w.region = &s->run.region;
    s->w.shared = s->run.view;
    s->w.provider = &s->provider;
    s->w.route = &s->route;
    time_set(s, RESUMED);
    pause_resume(&s->w, 0);
    time_set(s, NOW);
    s->call.head_status = status;
}

/* As coarse as the board's word. */
static uint64_t on_board(uint64_t until_ns)
{
    return weir_pause_until_ns(weir_pause_make(until_ns, WEIR_PAUSE_THROTTLED, 0));
}

static uint64_t paused_until_ns(const struct stop *s)
{
    return weir_pause_until_ns(s->run.region.provider[0].pause);
}

static void stop_close(struct stop *s)
{
    dry_run_close(&s->run);
    weir_config_free(s->config);
}

/* Until when does a Retry-After of 20 s hold whose call had its permit and was written then? 0: not heeded. */
static uint64_t told(uint64_t granted_at_ns, uint64_t sent_ns)
{
    static struct stop s;
    stop_open(&s, 429);
    s.call.permit.granted_at_ns = granted_at_ns;
    s.call.sent_ns = sent_ns;
    s.call.retry_after_ns = 20 * S;
    answer_throttled(&s.w, &s.call, THROTTLE_BY_STATUS);
    uint64_t until_ns = paused_until_ns(&s);
    assert_int_equal(s.run.region.provider[0].throttled, 1); /* counted in any case */
    stop_close(&s);
    return until_ns;
}

static void test_retry_after(void **state)
{
    (void)state;
    /* its connection took a moment, and the operator spoke meanwhile */
    assert_int_equal(told(RESUMED - MS, RESUMED), on_board(NOW + 20 * S));
    assert_int_equal(told(RESUMED - MS, RESUMED + MS), on_board(NOW + 20 * S));
    assert_int_equal(told(RESUMED - 3 * S, NOW), on_board(NOW + 20 * S));
    /* all behind it */
    assert_int_equal(told(RESUMED, RESUMED + MS), on_board(NOW + 20 * S));
    assert_int_equal(told(RESUMED + MS, RESUMED + MS), on_board(NOW + 20 * S));
    /* written before it */
    assert_int_equal(told(RESUMED - MS, RESUMED - 1), 0);
    assert_int_equal(told(RESUMED - 3 * S, RESUMED - 2 * S), 0);
    /* not known when it was written: its permit decides */
    assert_int_equal(told(RESUMED - MS, 0), 0);
    assert_int_equal(told(RESUMED, 0), on_board(NOW + 20 * S));
}

/* The pause that an answer with these lines makes: the status, then each header as it comes from libcurl. */
static uint64_t heard(const char *const *line, size_t cnt)
{
    static struct stop s;
    static char room[CALL_HEAD_MAX_BYTES + 64];
    stop_open(&s, 429);
    s.call.permit.granted_at_ns = NOW;
    s.call.sent_ns = NOW;
    s.call.room = room;
    s.call.head_status = 0;
    assert_true(answer_head(&s.w, &s.call, "HTTP/1.1 429 X\r\n", 16));
    for (size_t i = 0; i < cnt; i++) {
        assert_true(answer_head(&s.w, &s.call, line[i], strlen(line[i])));
    }
    assert_true(answer_head(&s.w, &s.call, "\r\n", 2));
    uint64_t until_ns = paused_until_ns(&s);
    stop_close(&s);
    return until_ns;
}

static uint64_t heard_one(const char *value)
{
    char line[256];
    const char *const lines[] = {line};
    (void)snprintf(line, sizeof line, "Retry-After: %s\r\n", value);
    return heard(lines, 1);
}

/* What a Retry-After may say. Whatever is none asks for nothing: the pause is the backoff's. */
static void test_retry_after_values(void **state)
{
    static const char *const bad[] = {"NaN",
                                      "-1",
                                      "-99999999999999999999",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "1e9",
                                      "+5",
                                      "0x10",
                                      "5 apples",
                                      "",
                                      "31622401",
                                      "Sun, 06 Nov 2194 08:49:37 GMT",
                                      "inf",
                                      "soon"};
    (void)state;
    const uint64_t backoff_ns = heard(NULL, 0);
    assert_true(backoff_ns > NOW && backoff_ns < NOW + 2 * S);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        uint64_t until_ns = heard_one(bad[i]);
        if (until_ns < NOW || until_ns >= NOW + 2 * S) { /* the backoff has its jitter */
            fail_msg("Retry-After: %s pauses for %lld ns", bad[i], (long long)(until_ns - NOW));
        }
    }
    assert_int_equal(heard_one("20"), on_board(NOW + 20 * S));
    assert_int_equal(heard_one(" \t20 "), on_board(NOW + 20 * S));
    assert_int_equal(heard_one("20.5"), on_board(NOW + 20 * S + S / 2));
    assert_int_equal(heard_one("259200"), on_board(NOW + 259200 * S)); /* Binance: three days */
    assert_int_equal(heard_one("31622400"), on_board(NOW + 31622400 * S));
    assert_true(heard_one("Sun, 06 Nov 1994 08:49:37 GMT") < NOW + 2 * S); /* over */
    const char *const twice[] = {"Retry-After: 20\r\n", "retry-after: NaN\r\n",
                                 "RETRY-AFTER: 5\r\n"};
    assert_int_equal(heard(twice, 3), on_board(NOW + 20 * S));
}

/* "Banned until" in a body: by the same instant. */
static uint64_t banned(uint64_t granted_at_ns, uint64_t sent_ns)
{
    static struct stop s;
    stop_open(&s, 418);
    s.call.permit.granted_at_ns = granted_at_ns;
    s.call.sent_ns = sent_ns;
    answer_banned_until(&s.w, &s.call, NOW + 90 * S);
    uint64_t until_ns = paused_until_ns(&s);
    stop_close(&s);
    return until_ns;
}

static void test_banned_until(void **state)
{
    (void)state;
    assert_int_equal(banned(RESUMED - MS, RESUMED + MS), on_board(NOW + 90 * S));
    assert_int_equal(banned(RESUMED + MS, RESUMED + MS), on_board(NOW + 90 * S));
    assert_int_equal(banned(RESUMED - MS, RESUMED - 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_retry_after_values),
        cmocka_unit_test(test_banned_until),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
