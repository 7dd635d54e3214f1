#include "broker/pause.h"

#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <stdio.h>
#include <sys/random.h>

#define LINE_NAME_BYTES (2 * WEIR_NAME_BYTES + 16)

/* splitmix64, seeded by the kernel at the worker's start: for jitter only. */
uint64_t worker_draw(struct worker *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Whose line is it? Those behind the providers' are of scope values that are held apart. */
static uint32_t provider_of(const struct worker *w, uint32_t line)
{
    const struct weir_tables *t = &w->shared.tables;
    uint32_t p = line;
    for (uint32_t i = 0; line >= t->provider_cnt && i < t->provider_cnt; i++) {
        const struct weir_shm_provider_row *row = &t->provider[i];
        bool is = line >= row->hold_first && line - row->hold_first < weir_hold_cnt(row) - 1;
        p = is ? i : p;
    }
    return p < t->provider_cnt ? p : 0;
}

/* "provider", or "provider ip=a" */
static const char *line_name(const struct worker *w, uint32_t line, char text[LINE_NAME_BYTES])
{
    uint32_t p = provider_of(w, line);
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[p];
    const struct weir_config_provider *config = w->provider[p].config;
    if (line < w->region->provider_cnt) {
        return config->name;
    }
    (void)snprintf(text, LINE_NAME_BYTES, "%s %s=%s", config->name,
                   weir_scope_kind_name(row->hold_kind - 1),
                   config->scope[row->hold_kind - 1].text[line - row->hold_first + 1]);
    return text;
}

static struct backoff_rule rule_of(const struct worker *w, uint32_t line)
{
    const struct weir_config_throttle *t = &w->provider[provider_of(w, line)].config->throttle;
    return (struct backoff_rule){.base_ns = t->default_ns,
                                 .factor = t->backoff.factor,
                                 .jitter_ppm = t->backoff.jitter_ppm,
                                 .max_ns = t->backoff.max_ns,
                                 .quiet_ns = t->backoff.quiet_ns};
}

enum weir_pause_cause pause_cause_of(uint32_t status)
{
    return status == 418 || status == 403 ? WEIR_PAUSE_BANNED : WEIR_PAUSE_THROTTLED;
}

/* Never shortens. Returns whether the board says something new. */
static bool board_pause(struct worker *w, uint32_t line, uint64_t until_ns, uint32_t cause)
{
    struct weir_shm_provider *board = &w->region->provider[line];
    uint64_t old = weir_load_relaxed_u64(&board->pause); /* relaxed: this thread wrote it */
    uint64_t next = weir_pause_longer(old, until_ns, cause, w->region->backoff[line].generation);
    if (weir_pause_until_ns(next) == weir_pause_until_ns(old)) {
        return false;
    }
    uint64_t from_ns = weir_max_u64(w->now_ns, weir_pause_until_ns(old));
    WEIR_WEAVE("pause:board");
    weir_store_release_u64(&board->pause, next); /* pair:pause R */
    if (cause != WEIR_PAUSE_OPERATOR) {
        board_add(&board->paused_ns, until_ns > from_ns ? until_ns - from_ns : 0);
    }
    return true;
}

static void show(struct worker *w, uint32_t line)
{
    struct weir_shm_provider *board = &w->region->provider[line];
    const struct weir_shm_backoff *s = &w->region->backoff[line];
    const struct weir_shm_pause *pause = &w->region->pause[line];
    /* relaxed, all: for display */
    weir_store_relaxed_u64(&board->traders_pause, weir_load_relaxed_u64(&pause->word));
    weir_store_relaxed_u64(&board->reopen, weir_load_relaxed_u64(&pause->reopen));
    weir_store_relaxed_u64(&board->backoff_until_ns, s->until_ns);
    weir_store_relaxed_u64(&board->backoff_last_ns, s->last_ns);
    weir_store_relaxed_u64(&board->backoff_steps, s->steps);
    weir_store_relaxed_u32(&board->backoff_level, s->level);
    weir_store_relaxed_u32(&board->backoff_cause, s->cause);
}

static void log_pause(struct worker *w, uint32_t line, uint32_t status, const char *by)
{
    const struct weir_shm_backoff *s = &w->region->backoff[line];
    uint64_t for_ns = s->until_ns > w->now_ns ? s->until_ns - w->now_ns : 0;
    char name[LINE_NAME_BYTES];
    log_warn("provider_paused", "s:s, s:s, s:s, s:i, s:i, s:I", "provider",
             line_name(w, line, name), "by", by, "cause",
             s->cause == WEIR_PAUSE_BANNED ? "banned" : "throttled", "status", (int)status,
             "backoff_level", (int)s->level, "for_ms", (long long)(for_ns / WEIR_NS_PER_MS));
}

void pause_throttled(struct worker *w, const struct call *c, const struct throttle_heard *heard)
{
    uint32_t line = weir_hold_of_permit(&w->shared, w->route[c->route].provider, &c->permit);
    struct weir_shm_backoff *s = &w->region->backoff[line];
    struct weir_shm_pause *pause = &w->region->pause[line];
    const struct backoff_rule rule = rule_of(w, line);
    uint64_t now_ns = worker_now(w);
    uint64_t told_ns = heard->for_ns > 0 ? now_ns + heard->for_ns : 0;
    const struct backoff_event event = {.now_ns = now_ns,
                                        .left_ns = heard->left_ns,
                                        .told_until_ns = weir_max_u64(told_ns, heard->until_ns),
                                        .cause = heard->cause,
                                        .random = worker_draw(w)};
    board_add(&w->region->provider[line].throttled, heard->again ? 0 : 1);
    /* By our own time, not by the generation of the permit: traders can write that, and may not keep the broker from stopping. */
    enum backoff_step step = backoff_tell(s, &rule, &event);
    if (step == BACKOFF_LATE || !board_pause(w, line, s->until_ns, s->cause)) {
        return;
    }
    if (step == BACKOFF_NEW) {
        /* Their word too, for as long as it may hold: a trader's 429 of the same burst finds its generation over. */
        uint64_t until_ns = weir_min_u64(s->until_ns, now_ns + WEIR_PAUSE_TRADER_MAX_NS);
        s->traders_generation = weir_pause_begin(&pause->word, until_ns, s->cause);
    }
    show(w, line);
    log_pause(w, line, heard->status, "broker");
}

/* A trader has put a pause into permits. */
static void traders_told(struct worker *w, uint32_t line, uint64_t word)
{
    struct weir_shm_backoff *s = &w->region->backoff[line];
    const struct backoff_rule rule = rule_of(w, line);
    s->traders_generation = weir_pause_generation(word);
    if (weir_pause_until_ns(word) == 0) {
        return; /* resumed meanwhile, or nonsense */
    }
    board_add(&w->region->worker->permit_reports, 1);
    /* Its generation was that of permits now, so the call left behind the last pause; if one holds by now it is of the same burst. */
    const struct backoff_event event = {.now_ns = w->now_ns,
                                        .left_ns = w->now_ns,
                                        .told_until_ns = weir_pause_until_ns(word),
                                        .most_ns = WEIR_PAUSE_TRADER_MAX_NS,
                                        .cause = weir_pause_cause(word) == WEIR_PAUSE_BANNED
                                                     ? WEIR_PAUSE_BANNED
                                                     : WEIR_PAUSE_THROTTLED,
                                        .random = worker_draw(w)};
    if (backoff_tell(s, &rule, &event) != BACKOFF_LATE &&
        board_pause(w, line, s->until_ns, s->cause)) {
        log_pause(w, line, 0, "trader");
    }
}

/* A trader's word holds 60 s at most, whatever it wrote; longer pauses are on the board. Returns the word as it is then. */
static uint64_t traders_word(struct worker *w, uint32_t line)
{
    struct weir_shm_pause *pause = &w->region->pause[line];
    uint64_t word = weir_load_acquire_u64(&pause->word); /* pair:pause A */
    uint64_t latest_ns = w->now_ns + WEIR_PAUSE_TRADER_MAX_NS;
    if (weir_pause_until_ns(word) <= latest_ns + WEIR_NS_PER_S) {
        return word;
    }
    uint64_t cut = weir_pause_make(latest_ns, weir_pause_cause(word), weir_pause_generation(word));
    board_add(&w->region->worker->limit_damaged, 1);
    char name[LINE_NAME_BYTES];
    log_warn("pause_damaged", "s:s", "provider", line_name(w, line, name));
    WEIR_WEAVE("pause:cut");
    return weir_cas_u64(&pause->word, &word, cut) ? cut : word; /* pair:pause R */
}

/* A pause that is over and, where it was an exchange's, whose ramp is over too: permits need not look any more. */
static void clear(struct worker *w, uint32_t line, uint64_t traders)
{
    struct weir_shm_provider *board = &w->region->provider[line];
    struct weir_shm_pause *pause = &w->region->pause[line];
    uint32_t provider = provider_of(w, line);
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    const struct weir_reopen_rule rule = {.lease_ns = row->reopen_lease_ns,
                                          .step_ns = row->reopen_step_ns};
    uint64_t own = weir_load_relaxed_u64(&board->pause); /* relaxed: this thread wrote it */
    uint64_t until_ns = weir_max_u64(weir_pause_until_ns(own), weir_pause_until_ns(traders));
    uint64_t reopen = weir_load_acquire_u64(&pause->reopen); /* pair:reopen A */
    uint64_t now_ns = worker_now(w);
    if (until_ns == 0 || now_ns < until_ns) {
        return;
    }
    bool guessed =
        (weir_pause_until_ns(own) != 0 && weir_pause_cause(own) != WEIR_PAUSE_OPERATOR) ||
        (weir_pause_until_ns(traders) != 0 && weir_pause_cause(traders) != WEIR_PAUSE_OPERATOR);
    if (guessed && !weir_reopen_over(&rule, reopen, until_ns, now_ns)) {
        return;
    }
    /* Theirs first: a trader that is told in between finds its word changed, and the board's pause is still there to hold the ramp. */
    if (weir_pause_clear(&pause->word, traders)) {
        WEIR_WEAVE("pause:cleared");
        weir_store_release_u64(
            &board->pause, weir_pause_make(0, WEIR_PAUSE_NONE,
                                           w->region->backoff[line].generation)); /* pair:pause R */
        weir_permit_bell(&w->region->pause[provider_of(w, line)]);
        char name[LINE_NAME_BYTES];
        log_info("provider_open", "s:s", "provider", line_name(w, line, name));
    }
}

void pause_turn(struct worker *w)
{
    for (uint32_t line = 0; line < w->region->hold_cnt; line++) {
        uint64_t word = traders_word(w, line);
        if (weir_pause_generation(word) != w->region->backoff[line].traders_generation) {
            traders_told(w, line, word);
        }
        if (w->region->backoff[line].operator_until_ns != 0 &&
            w->now_ns >= w->region->backoff[line].operator_until_ns) {
            w->region->backoff[line].operator_until_ns = 0;
        }
        clear(w, line, word);
        show(w, line);
    }
}

void pause_open(struct worker *w)
{
    if (getrandom(&w->random, sizeof w->random, GRND_NONBLOCK) != (ssize_t)sizeof w->random) {
        w->random =
            w->now_ns; /* the jitter of one machine need not be secret, only another than its neighbour's */
    }
    for (uint32_t line = 0; line < w->region->hold_cnt; line++) {
        const struct weir_shm_backoff *s = &w->region->backoff[line];
        if (w->now_ns < s->until_ns) {
            (void)board_pause(w, line, s->until_ns, s->cause);
        }
        if (w->now_ns < s->operator_until_ns) {
            (void)board_pause(w, line, s->operator_until_ns, WEIR_PAUSE_OPERATOR);
        }
        show(w, line);
    }
}

static void line_operator(struct worker *w, uint32_t line, uint64_t until_ns)
{
    struct weir_shm_backoff *s = &w->region->backoff[line];
    s->operator_until_ns = weir_max_u64(s->operator_until_ns, until_ns);
    (void)board_pause(w, line, until_ns, WEIR_PAUSE_OPERATOR);
    show(w, line);
}

static void line_resume(struct worker *w, uint32_t line)
{
    struct weir_shm_backoff *s = &w->region->backoff[line];
    struct weir_shm_pause *pause = &w->region->pause[line];
    uint64_t now_ns = worker_now(w);
    s->resumed_ns = now_ns;
    s->until_ns = weir_min_u64(s->until_ns, now_ns);
    s->operator_until_ns = 0;
    s->generation++;
    /* The board last: a worker that dies in between leaves the pause, and the operator is told that nothing is known. */
    s->traders_generation = weir_pause_resume(&pause->word);
    WEIR_WEAVE("pause:resumed");
    weir_store_release_u64(&w->region->provider[line].pause,
                           weir_pause_make(0, WEIR_PAUSE_NONE, s->generation)); /* pair:pause R */
    weir_permit_bell(&w->region->pause[provider_of(w, line)]);
    show(w, line);
}

void pause_operator(struct worker *w, uint32_t provider, uint64_t until_ns)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
        line_operator(w, weir_hold_line(row, provider, v), until_ns);
    }
}

void pause_resume(struct worker *w, uint32_t provider)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
        line_resume(w, weir_hold_line(row, provider, v));
    }
}
