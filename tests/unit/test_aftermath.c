/*
 * test_aftermath.c: what a bucket bears from a clean stop to the next start, by the same configuration and by others (broker/aftermath.h), with a reload in between.
 *
 * Oracle: what the exchange may still hold against us, by hand: units that are owed at the stop are owed at the start, and no honest word is called damaged.
 */
#include "broker/aftermath.h"
#include "broker/journal.h"
#include "broker/reload.h"
#include "broker/tables_build.h"
#include "broker/tables_follow.h"
#include "shm/weir_bucket.h"
#include "shm/weir_limit_repair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void start(uint32_t quota, uint32_t burst)
{
    char text[512] = "";
    memset(&b, 0, sizeof b);
    b.config = config_of(quota, burst);
    assert_int_equal(region_create(&b.region, b.config, text, sizeof text), WEIR_OK);
    b.region.journal = &b.journal;
    if (journal_open(&b.journal, JOURNAL_NONE, "t", text, sizeof text) != 0 ||
        aftermath_enter(dir, &b.region, false, &b.found, text, sizeof text) != 0) {
        fail_msg("%s", text);
    }
    tables_read();
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

static void reload(uint32_t quota, uint32_t burst)
{
    char text[512] = "";
    struct tables_size size;
    struct weir_config *config = config_of(quota, burst);
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
    };
    return cmocka_run_group_tests(tests, dir_make, dir_drop);
}
