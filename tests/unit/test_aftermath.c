/*
 * test_aftermath.c: what a limit bears from a clean stop, or from a journal, to the next start, by the same configuration and by others (broker/aftermath.h), with a reload in between.
 *
 * Oracle: what the exchange may still hold against us, by hand: units that are owed at the stop are owed at the start, and no honest word is called damaged.
 */
#include "broker/aftermath.h"
#include "broker/journal.h"
#include "broker/memory.h"
#include "broker/memory_rolling.h"
#include "broker/reload.h"
#include "broker/tables_build.h"
#include "broker/tables_follow.h"
#include "shm/weir_bucket.h"
#include "shm/weir_cells.h"
#include "shm/weir_latch.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_sliding.h"
#include "shm/weir_window.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LATE_NS (60 * WEIR_NS_PER_S) /* nor on which machine */

struct broker {
    struct weir_config *config;
    struct region region;
    struct journal journal;
    struct weir_permit_view view;
    enum aftermath found;
};
static struct broker b;
static char dir[] = "/tmp/weir-aftermath.XXXXXX";

static struct weir_config *config_of(uint32_t quota, uint32_t burst)
{
    static struct weir_config_diag diag;
    char yaml[1024];
    (void)snprintf(yaml, sizeof yaml,
                   "broker: {name: t, state_dir: none}\nproviders:\n  - name: p\n"
                   "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
                   "    limits:\n"
                   "      - {name: b, kind: token_bucket, quota: %u, window: 1000s, burst: %u}\n"
                   "    routes:\n      - {name: r, transport: own, cost: {b: 1}}\n",
                   quota, burst);
    struct weir_config *config = weir_config_parse(yaml, strlen(yaml), "t", &diag);
    if (config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    return config;
}

static void tables_read(void)
{
    region_permit_view(&b.region, &b.view, false);
    assert_int_equal(weir_permit_refresh(&b.view), WEIR_OK); /* so they are signed, too */
}

static const struct weir_shm_limit_row *row_of(void)
{
    return &b.view.tables.limit[0];
}

static void start_with(struct weir_config *config)
{
    char text[512] = "";
    memset(&b, 0, sizeof b);
    b.config = config;
    assert_int_equal(region_create(&b.region, b.config, text, sizeof text), WEIR_OK);
    b.region.journal = &b.journal;
    if (journal_open(&b.journal, config->broker.state_dir, "t", text, sizeof text) != 0 ||
        aftermath_enter(dir, &b.region, false, &b.found, text, sizeof text) != 0) {
        fail_msg("%s", text);
    }
    tables_read();
}

static void start(uint32_t quota, uint32_t burst)
{
    start_with(config_of(quota, burst));
}

static void stop(void)
{
    assert_int_equal(aftermath_leave(dir, &b.region), 0);
    journal_close(&b.journal);
    region_destroy(&b.region);
    weir_config_free(b.config);
}

/* As the last test leaves it, nothing was ever used. */
static void forget(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/state", dir);
    (void)unlink(path);
}

static void reload_with(struct weir_config *config)
{
    char text[512] = "";
    struct tables_size size;
    tables_measure(config, &size);
    struct weir_shm_tables *next = aligned_alloc(WEIR_LINE_BYTES, size.bytes);
    assert_non_null(next);
    memset(next, 0, size.bytes);
    assert_int_equal(tables_build(config, &size, 1, next, text, sizeof text), WEIR_OK);
    assert_int_equal(tables_follow(reload_tables(&b.region), next, text, sizeof text), WEIR_OK);
    (void)reload_switch(&b.region, next);
    free(next);
    weir_config_free(config);
    tables_read();
}

static void reload(uint32_t quota, uint32_t burst)
{
    reload_with(config_of(quota, burst));
}

/* Both accounts owe so much from now on; returns the word. */
static uint64_t owe(uint64_t owed_ns)
{
    uint64_t tat = weir_clock_monotonic_ns() + owed_ns;
    b.region.word[0].word[0] = b.region.own_word[0].word[0] = tat;
    return tat;
}

/* What the worker's first look says, at both accounts. */
static void looks_at(enum weir_limit_damage shared, enum weir_limit_damage own)
{
    static const struct weir_server_clock unknown = {.state = WEIR_CLOCK_UNKNOWN};
    static struct weir_shm_limit_word none;
    const struct weir_limit_place at = {row_of(), &b.region.word[0], NULL};
    const struct weir_limit_place mine = {row_of(), &b.region.own_word[0], NULL};
    const struct weir_limit_place nothing = {row_of(), &none, NULL};
    assert_int_equal(weir_limit_audit(&at, &nothing, &unknown, &b.view.time), shared);
    assert_int_equal(weir_limit_audit(&mine, &nothing, &unknown, &b.view.time), own);
}

static void both_are(uint64_t tat)
{
    assert_int_equal(b.found, AFTERMATH_RESTORED);
    assert_int_equal(b.region.word[0].word[0], tat);
    assert_int_equal(b.region.own_word[0].word[0], tat);
    looks_at(WEIR_LIMIT_SOUND, WEIR_LIMIT_SOUND);
}

/* Within `units` of this row, and what the machine took for it. */
static void both_owe(uint64_t units)
{
    const uint64_t *word[2] = {b.region.word[0].word, b.region.own_word[0].word};
    uint64_t now_ns = weir_clock_monotonic_ns();
    assert_int_equal(b.found, AFTERMATH_RESTORED);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(*word[i] <= now_ns + units * row_of()->unit_ns);
        assert_true(*word[i] + LATE_NS >= now_ns + units * row_of()->unit_ns);
    }
    looks_at(WEIR_LIMIT_SOUND, WEIR_LIMIT_SOUND);
}

/* The same row: to the ns, and as often as it is stopped and started. */
static void same_row_is_exact(void **arg)
{
    (void)arg;
    start(5, 24);
    assert_int_equal(b.found, AFTERMATH_FRESH);
    uint64_t tat = owe(23 * row_of()->unit_ns);
    for (unsigned i = 0; i < 3; i++) {
        stop();
        start(5, 24);
        both_are(tat);
        assert_int_equal(row_of()->quota_peak, 0);
    }
    stop();
    forget();
}

/* A smaller burst, by the file of the start or by a reload before the stop: what is owed stays owed, and is no damage. */
static void smaller_burst_owes_all(void **arg)
{
    (void)arg;
    for (unsigned reloaded = 0; reloaded < 2; reloaded++) {
        start(5, 24);
        uint64_t tat = owe(24 * row_of()->unit_ns - WEIR_NS_PER_MS);
        if (reloaded == 1) {
            reload(5, 9);
            assert_int_equal(weir_limit_peak(row_of()), 24);
            looks_at(WEIR_LIMIT_SOUND, WEIR_LIMIT_SOUND);
        }
        stop();
        start(5, 9);
        both_are(tat);
        assert_int_equal(row_of()->quota, 9);
        assert_int_equal(weir_limit_peak(row_of()), 24);
        stop();
        start(5, 9); /* and over the next stop */
        both_are(tat);
        owe(2 * row_of()->unit_ns);
        stop();
        start(5, 9); /* what is not owed any more is not borne for ever */
        assert_int_equal(row_of()->quota_peak, 0);
        stop();
        forget();
    }
}

/* Overdrawn by surcharges as far as a word may be, then a smaller burst. */
static void overdrawn_stays_overdrawn(void **arg)
{
    (void)arg;
    start(5, 24);
    uint64_t tat = owe(2 * 24 * row_of()->unit_ns);
    stop();
    start(5, 9);
    both_are(tat);
    assert_int_equal(weir_limit_peak(row_of()), 24);
    stop();
    forget();
}

/* The exchange fills the new part of a larger burst at its rate only. */
static void larger_burst_leaves_what_was_left(void **arg)
{
    (void)arg;
    start(5, 24);
    owe(20 * row_of()->unit_ns);
    stop();
    start(5, 30);
    both_owe(26);
    stop();
    forget();
}

/* Another rate: no counter of this burst holds more than all of it; what was owed is owed in its units. */
static void other_rate_owes_units(void **arg)
{
    (void)arg;
    start(20, 30);
    owe(28 * row_of()->unit_ns);
    stop();
    start(5, 9); /* 28 units, of four times the length */
    both_owe(28);
    assert_true(weir_limit_peak(row_of()) >= 28);
    stop();
    forget();
    start(20, 30);
    stop();
    start(10, 12); /* nothing owed: an exchange that counted by this rate may have none left */
    both_owe(12);
    stop();
    forget();
}

/* A word that nobody honest has written is found damaged at the next start too, whatever the burst is then. */
static void damage_is_still_found(void **arg)
{
    (void)arg;
    static const uint64_t ahead[] = {49, 1000, 1000000};
    for (unsigned i = 0; i < sizeof ahead / sizeof ahead[0]; i++) {
        for (unsigned burst = 9; burst <= 24; burst += 15) {
            start(5, 24);
            owe(24 * row_of()->unit_ns);
            b.region.word[0].word[0] =
                weir_clock_monotonic_ns() + ahead[i] * row_of()->unit_ns + LATE_NS;
            if (burst == 9) {
                looks_at(WEIR_LIMIT_AHEAD, WEIR_LIMIT_SOUND);
                b.region.word[0].word[0] =
                    weir_clock_monotonic_ns() + ahead[i] * row_of()->unit_ns + LATE_NS;
            }
            stop();
            start(5, burst);
            assert_int_equal(b.found, AFTERMATH_RESTORED);
            looks_at(WEIR_LIMIT_AHEAD, WEIR_LIMIT_SOUND);
            /* Set to spent, by the largest burst that it had. */
            uint64_t now_ns = weir_clock_monotonic_ns();
            assert_true(b.region.word[0].word[0] + LATE_NS >= now_ns + 24 * row_of()->unit_ns);
            stop();
            forget();
        }
    }
    /* So it is where the rate is another one, by which it could pass for honest. */
    start(5, 30);
    b.region.word[0].word[0] = weir_clock_monotonic_ns() + 61 * row_of()->unit_ns + LATE_NS;
    stop();
    start(1, 30);
    looks_at(WEIR_LIMIT_AHEAD, WEIR_LIMIT_SOUND);
    stop();
    forget();
}

/* What the worker took itself, beyond the burst, is not below what a damaged word is set to: it is told once. */
static void damage_is_told_once(void **arg)
{
    (void)arg;
    static const struct weir_server_clock unknown = {.state = WEIR_CLOCK_UNKNOWN};
    start(5, 9);
    uint64_t tat = owe(17 * row_of()->unit_ns);
    const struct weir_limit_place at = {row_of(), &b.region.word[0], NULL};
    const struct weir_limit_place own = {row_of(), &b.region.own_word[0], NULL};
    b.region.word[0].word[0] = UINT64_MAX;
    assert_int_equal(weir_limit_audit(&at, &own, &unknown, &b.view.time), WEIR_LIMIT_AHEAD);
    assert_int_equal(weir_limit_audit(&at, &own, &unknown, &b.view.time), WEIR_LIMIT_SOUND);
    assert_int_equal(b.region.word[0].word[0], tat);
    b.region.word[0].word[0] = 0;
    assert_int_equal(weir_limit_audit(&at, &own, &unknown, &b.view.time), WEIR_LIMIT_FORGOTTEN);
    assert_int_equal(weir_limit_audit(&at, &own, &unknown, &b.view.time), WEIR_LIMIT_SOUND);
    stop();
    forget();
}

/* ---------------------------------------------------------------------------------------------- other limits, by the text of the configuration */

#define JITTER "max_jitter: 20ms"
#define HOST   "{source: host, error: 1ms, " JITTER "}"
#define SERVER "{path: /time, field: t, " JITTER "}" /* which nobody has asked yet */

static struct weir_config *config_by(const char *state, const char *clock, const char *scopes,
                                     const char *limit)
{
    static struct weir_config_diag diag;
    char yaml[1024];
    (void)snprintf(yaml, sizeof yaml,
                   "broker: {name: t, state_dir: %s}\nproviders:\n  - name: p\n    clock: %s\n"
                   "    scopes: {%s}\n    limits:\n      - {name: b, %s}\n"
                   "    endpoints: [{name: e, url: \"http://127.0.0.1:1\"}]\n"
                   "    routes:\n      - {name: r, transport: own, cost: {b: 1}}\n",
                   state, clock, scopes, limit);
    struct weir_config *config = weir_config_parse(yaml, strlen(yaml), "t", &diag);
    if (config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    return config;
}

static void start_by(const char *clock, const char *scopes, const char *limit)
{
    start_with(config_by("none", clock, scopes, limit));
}

/* As the worker has it: so far from this machine's clock. */
static struct weir_server_clock clock_say(uint32_t state, int64_t offset_ns)
{
    struct weir_server_clock clock = {.offset_ns = offset_ns,
                                      .error_ns = WEIR_NS_PER_MS,
                                      .sampled_at_ns = weir_clock_monotonic_ns(),
                                      .jitter_ns = 20 * WEIR_NS_PER_MS,
                                      .state = state};
    weir_server_clock_publish(&b.region.provider[0], &clock);
    return clock;
}

/* Both accounts bear so much in the window that is current by `clock`. */
static uint32_t window_fill(uint32_t value, const struct weir_server_clock *clock, uint32_t units)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row_of(), clock, clock->error_ns,
                        weir_clock_monotonic_ns());
    uint64_t word = weir_window_word(span.first, units);
    b.region.word[value].word[span.first & 1] = word;
    b.region.own_word[value].word[span.first & 1] = word;
    return span.first;
}

static void window_has(uint32_t value, uint32_t k, uint32_t units)
{
    bool ahead;
    assert_int_equal(weir_window_units(b.region.word[value].word[k & 1], k, &ahead), units);
    assert_int_equal(weir_window_units(b.region.own_word[value].word[k & 1], k, &ahead), units);
}

#define FIXED(quota) "kind: fixed_window, window: 600s, quota: " #quota

/* Windows of a convention: the exchange's holds several of ours, filled by the larger cap. With a clock that is known, units are units. */
static void lower_quota_spends_convention(void **arg)
{
    (void)arg;
    for (unsigned known = 0; known < 2; known++) {
        start_by(SERVER, "", FIXED(60));
        struct weir_server_clock clock =
            clock_say(known ? WEIR_CLOCK_KNOWN : WEIR_CLOCK_UNKNOWN, INT64_C(1) << 60);
        uint32_t k = window_fill(0, &clock, 20);
        stop();
        start_by(SERVER, "", FIXED(60));
        assert_int_equal(b.found, AFTERMATH_RESTORED);
        window_has(0, k, 20);
        stop();
        start_by(SERVER, "", FIXED(90)); /* more gives what it may */
        window_has(0, k, 20);
        stop();
        start_by(SERVER, "", FIXED(6));
        window_has(0, k, known ? 20 : 90); /* the most that was in force */
        if (!known) {
            window_has(0, k + 1, 90);
        }
        assert_int_equal(weir_limit_peak(row_of()), known ? 20 : 90);
        assert_int_equal(b.region.guessed_ns[0], 0); /* no guess: it bears the most */
        stop();
        forget();
    }
}

/* Windows of another length are spent where the exchange is, not where this machine's clock is. */
static void other_window_is_spent_by_the_clock(void **arg)
{
    (void)arg;
    start_by(SERVER, "", FIXED(60));
    struct weir_server_clock clock = clock_say(WEIR_CLOCK_KNOWN, INT64_C(1) << 60);
    (void)window_fill(0, &clock, 60);
    stop();
    start_by(SERVER, "", "kind: fixed_window, window: 300s, quota: 20");
    assert_int_equal(b.found, AFTERMATH_RESTORED);
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row_of(), &clock, clock.error_ns,
                        weir_clock_monotonic_ns());
    window_has(0, span.first, 20);
    /* It spent what it has. The exchange may have counted more: a raise is not free. */
    reload_with(config_by("none", SERVER, "", "kind: fixed_window, window: 300s, quota: 60"));
    window_has(0, span.first, 60);
    stop();
    forget();
}

/* Whose the units are is said by names, of one value as of many; one that is new may be one that is gone. */
static void units_follow_their_names(void **arg)
{
    (void)arg;
    static const struct {
        const char *was, *is;
        uint32_t units[2]; /* 60: spent */
    } list[] = {
        {"ip: [main]", "ip: [sub, main]", {0, 20}},
        {"ip: [main]", "ip: [main, sub]", {20, 0}},
        {"ip: [main]", "ip: [other]", {20}},
        {"ip: [main]", "", {20}},
        {"", "ip: [main]", {20}},
        {"", "ip: [main, sub]", {20, 60}},
        {"ip: [main]", "ip: [sub, new]", {60, 60}},
        {"ip: [main, sub]", "ip: [sub, new]", {21, 60}},
        {"ip: [main, sub]", "", {60}},
        {"ip: [main, sub]", "ip: [sub, main]", {21, 20}},
    };
    for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
        start_by(HOST, list[i].was, FIXED(60) ", scope: ip");
        struct weir_server_clock clock = clock_say(WEIR_CLOCK_KNOWN, INT64_C(1) << 60);
        uint32_t k = 0;
        for (uint32_t v = 0; v < row_of()->word_cnt; v++) {
            k = window_fill(v, &clock, 20 + v);
        }
        stop();
        start_by(HOST, list[i].is, FIXED(60) ", scope: ip");
        assert_int_equal(b.found, AFTERMATH_RESTORED);
        for (uint32_t v = 0; v < row_of()->word_cnt; v++) {
            window_has(v, k, list[i].units[v]);
        }
        stop();
        forget();
    }
}

/* A rate by another window is another rate: a smaller burst owes what was owed. */
static void other_rate_by_its_window(void **arg)
{
    (void)arg;
    start(20, 30);
    owe(28 * row_of()->unit_ns);
    stop();
    start_by(HOST, "", "kind: token_bucket, quota: 20, window: 4000s, burst: 9");
    both_owe(28);
    stop();
    forget();
}

#define CELLS(quota) "kind: sliding_window, window: 300s, quota: " #quota

/* What found no cell counts by a raise after the next start, too. */
static void owed_units_stay_owed(void **arg)
{
    (void)arg;
    start_by(HOST, "", CELLS(60));
    for (unsigned i = 0; i < 60; i++) {
        b.region.cell[i] = b.region.own_cell[i] = weir_clock_monotonic_ns();
    }
    reload_with(config_by("none", HOST, "", CELLS(10)));
    uint64_t owed = b.region.word[0].owed;
    assert_int_equal((uint32_t)owed, 50);
    stop();
    start_by(HOST, "", CELLS(10));
    assert_int_equal(b.found, AFTERMATH_RESTORED);
    assert_int_equal(b.region.word[0].owed, owed);
    assert_int_equal(b.region.own_word[0].owed, owed);
    stop();
    forget();
}

/* Another quota by the start spends the cells there are; what a reload adds is not free. */
static void other_cells_are_spent(void **arg)
{
    (void)arg;
    start_by(HOST, "", CELLS(60));
    stop();
    start_by(HOST, "", CELLS(40));
    uint64_t empty_at_ns;
    const uint64_t *cell = weir_limit_cells(b.region.cell, row_of(), 0);
    uint64_t now_ns = weir_clock_monotonic_ns();
    assert_int_equal(weir_sliding_used(row_of(), cell, now_ns, &empty_at_ns), 40);
    reload_with(config_by("none", HOST, "", CELLS(60)));
    assert_int_equal(weir_sliding_used(row_of(), cell, now_ns, &empty_at_ns), 60);
    stop();
    forget();
}

/* A lower max_jitter: what is on its way by the larger one is waited for. A larger one: the clock says so from the first permit on. */
static void jitter_is_the_larger_one(void **arg)
{
    (void)arg;
    start_by("{source: host, error: 1ms, max_jitter: 400ms}", "", FIXED(60));
    (void)clock_say(WEIR_CLOCK_KNOWN, INT64_C(1) << 60);
    uint64_t stopped_ns = weir_clock_monotonic_ns();
    stop();
    start_by(HOST, "", FIXED(60));
    assert_true(weir_clock_monotonic_ns() >= stopped_ns + 400 * WEIR_NS_PER_MS);
    stop();
    start_by("{source: host, error: 1ms, max_jitter: 400ms}", "", FIXED(60));
    assert_int_equal(memory_clock(&b.region, 0).state, WEIR_CLOCK_KNOWN);
    assert_int_equal(memory_clock(&b.region, 0).jitter_ns, 400 * WEIR_NS_PER_MS);
    reload_with(config_by("none", "{source: host, error: 1ms, max_jitter: 500ms}", "", FIXED(60)));
    assert_int_equal(memory_clock(&b.region, 0).state, WEIR_CLOCK_KNOWN);
    assert_int_equal(memory_clock(&b.region, 0).jitter_ns, 500 * WEIR_NS_PER_MS);
    stop();
    forget();
}

/* A start that is killed while it waits, before it is known to run: the next one knows what it would have known. No journal helps here. */
static void killed_start_forgets_nothing(void **arg)
{
    (void)arg;
    start_by("{source: host, error: 1ms, max_jitter: 3s}", "", FIXED(60));
    struct weir_server_clock clock = clock_say(WEIR_CLOCK_KNOWN, INT64_C(1) << 60);
    uint32_t k = window_fill(0, &clock, 20);
    stop();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        start_by(HOST, "", FIXED(60));
        _exit(0);
    }
    (void)usleep(300000);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* it was still waiting */
    start_by(HOST, "", FIXED(60));
    assert_int_equal(b.found, AFTERMATH_RESTORED);
    window_has(0, k, 20);
    stop();
    forget();
}

/* ---------------------------------------------------------------------------------------------- long limits, by a journal alone */

#define LONG "kind: fixed_window, window: 1h, quota: 60, scope: ip"

static bool is_spent(uint32_t value)
{
    if (row_of()->kind == WEIR_LIMIT_SLIDING_WINDOW) {
        uint64_t empty_at_ns;
        return weir_sliding_used(row_of(), weir_limit_cells(b.region.cell, row_of(), value),
                                 weir_clock_monotonic_ns(), &empty_at_ns) >= row_of()->quota;
    }
    if (row_of()->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        return b.region.word[value].word[0] > weir_clock_monotonic_ns();
    }
    return (uint32_t)b.region.word[value].word[0] >= row_of()->quota ||
           (uint32_t)b.region.word[value].word[1] >= row_of()->quota;
}

/* A clean journal names what there was: what it does not name is new, unless it may be something that it names. */
static void journal_names_what_there_was(void **arg)
{
    (void)arg;
    static const struct {
        const char *was, *is, *limit;
        bool spent[2];
    } list[] = {
        {"", "", LONG, {false}},
        {"", "", "kind: sliding_window, window: 1h, quota: 60, scope: ip", {true}},
        {"", "", "kind: token_bucket, window: 1h, quota: 60, burst: 60, scope: ip", {true}},
        {"", "", "kind: fixed_window, window: 1h, quota: 60, scope: account", {true}},
        {"",
         "",
         "kind: fixed_window, window: 1h, quota: 60, scope: ip}\n      - {name: c, " LONG,
         {false, false}},
        {"ip: [main]", "ip: [sub, main]", LONG, {false, false}},
        {"ip: [main, sub]", "ip: [main, other]", LONG, {false, true}},
    };
    for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
        char state[64];
        char path[96];
        (void)snprintf(state, sizeof state, "%s/journal", dir);
        start_with(config_by(state, HOST, list[i].was, LONG));
        (void)clock_say(WEIR_CLOCK_KNOWN, INT64_C(1) << 60);
        stop();
        forget();
        start_with(config_by(state, HOST, list[i].is, list[i].limit));
        assert_int_equal(b.found, AFTERMATH_JOURNAL);
        for (uint32_t v = 0; v < row_of()->word_cnt; v++) {
            if (is_spent(v) != list[i].spent[v]) {
                fail_msg("%u: value %u", i, v);
            }
        }
        stop();
        forget();
        (void)snprintf(path, sizeof path, "rm -rf %s", state);
        assert_int_equal(system(path), 0); /* NOLINT: a directory of this test */
    }
}

/* What a journal says that `was` wrote, to `is`: with its other slot torn. */
static void journal_say(const char *clock, const char *was, const char *clock_is, const char *is,
                        void (*use)(void))
{
    static _Alignas(WEIR_LINE_BYTES) unsigned char slot[1 << 16];
    struct weir_journal_header facts = {0};
    const struct memory_when when = {.now_ns = weir_clock_monotonic_ns(), .utc_ns = 1};
    char state[64];
    (void)snprintf(state, sizeof state, "%s/journal", dir);
    start_with(config_by(state, clock, "", was));
    use();
    facts.monotonic_ns = weir_clock_monotonic_ns();
    memcpy(facts.boot_id, b.journal.boot_id, sizeof facts.boot_id);
    assert_true(memory_compose(&b.region, &b.view.tables, NULL, &facts, slot, sizeof slot) > 0);
    stop();
    forget();
    start_with(config_by("none", clock_is, "", is));
    ((struct weir_shm_limit_row *)(uintptr_t)row_of())->ceiling_step = 1; /* as with a journal */
    const struct weir_journal_view view = {.header = (const void *)slot, .other_torn = true};
    memory_restore(&b.region, &b.view.tables, &view, b.journal.boot_id, false, &when);
    ((struct weir_shm_limit_row *)(uintptr_t)row_of())->ceiling_step = 0;
    memory_sign(&b.region);
    (void)snprintf(state, sizeof state, "rm -rf %s/journal", dir);
    assert_int_equal(system(state), 0); /* NOLINT: a directory of this test */
}

static void use_window(void)
{
    b.region.memory[0].window[3 % WEIR_MEMORY_WINDOWS] = 3;
    b.region.memory[0].units[3 % WEIR_MEMORY_WINDOWS] = 30;
    b.region.memory[0].base_until_ns = 1;
    b.region.memory[0].base_window[3 % WEIR_MEMORY_WINDOWS] = 3;
    b.region.memory[0].base_units[3 % WEIR_MEMORY_WINDOWS] = 30;
}

/* The step of then was larger: so many units more may have been granted. */
static void torn_neighbour_was_of_the_larger_quota(void **arg)
{
    (void)arg;
    journal_say(SERVER, "kind: fixed_window, window: 1h, quota: 4000", SERVER,
                "kind: fixed_window, window: 1h, quota: 40", use_window);
    assert_int_equal(b.region.memory[0].base_units[3 % WEIR_MEMORY_WINDOWS], 30 + 4000 / 200);
    stop();
    forget();
}

#define AGO_PARTS 20U

static void use_part(void)
{
    uint64_t into_ns;
    uint32_t part = weir_sliding_part(row_of(), weir_clock_monotonic_ns(), &into_ns) - AGO_PARTS;
    b.region.cell[part % WEIR_SLIDING_WORDS] = weir_window_word(part, 7);
}

/* Those units arrived by the longer jitter. By the shorter one's span they are younger by as much. */
static void parts_arrived_by_the_larger_jitter(void **arg)
{
    (void)arg;
    uint64_t into_ns;
    journal_say("{source: host, error: 1ms, max_jitter: 60s}",
                "kind: sliding_window, window: 700s, quota: 5000", HOST,
                "kind: sliding_window, window: 700s, quota: 5000", use_part);
    uint32_t part = weir_sliding_part(row_of(), weir_clock_monotonic_ns(), &into_ns);
    uint64_t oldest_ns = 0;
    for (uint32_t back = 1; back <= WEIR_SLIDING_PARTS; back++) {
        uint64_t word = b.region.cell[(part - back) % WEIR_SLIDING_WORDS];
        if ((uint32_t)word == 7 && weir_window_id(word) == part - back) {
            oldest_ns = back * row_of()->part_ns;
        }
    }
    const uint64_t was_part_ns =
        weir_sliding_part_ns(weir_sliding_span_ns(700 * WEIR_NS_PER_S, 60 * WEIR_NS_PER_S));
    assert_true(oldest_ns > 0);
    assert_true(oldest_ns + 40 * WEIR_NS_PER_S < (AGO_PARTS - 1) * was_part_ns);
    stop();
    forget();
}

static int dir_make(void **arg)
{
    (void)arg;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int dir_drop(void **arg)
{
    (void)arg;
    forget();
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_row_is_exact),
        cmocka_unit_test(smaller_burst_owes_all),
        cmocka_unit_test(overdrawn_stays_overdrawn),
        cmocka_unit_test(larger_burst_leaves_what_was_left),
        cmocka_unit_test(other_rate_owes_units),
        cmocka_unit_test(damage_is_still_found),
        cmocka_unit_test(damage_is_told_once),
        cmocka_unit_test(lower_quota_spends_convention),
        cmocka_unit_test(other_window_is_spent_by_the_clock),
        cmocka_unit_test(units_follow_their_names),
        cmocka_unit_test(other_rate_by_its_window),
        cmocka_unit_test(owed_units_stay_owed),
        cmocka_unit_test(other_cells_are_spent),
        cmocka_unit_test(jitter_is_the_larger_one),
        cmocka_unit_test(killed_start_forgets_nothing),
        cmocka_unit_test(journal_names_what_there_was),
        cmocka_unit_test(torn_neighbour_was_of_the_larger_quota),
        cmocka_unit_test(parts_arrived_by_the_larger_jitter),
    };
    return cmocka_run_group_tests(tests, dir_make, dir_drop);
}
