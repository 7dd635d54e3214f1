#include "broker/pause.h"

#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <sys/random.h>

/* splitmix64, seeded by the kernel at the worker's start: for jitter only. */
uint64_t worker_draw(struct worker *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct backoff_rule rule_of(const struct worker *w, uint32_t provider)
{
    const struct weir_config_throttle *t = &w->provider[provider].config->throttle;
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
static bool board_pause(struct worker *w, uint32_t provider, uint64_t until_ns, uint32_t cause)
{
    struct weir_shm_provider *board = &w->region->provider[provider];
    uint64_t old = weir_load_relaxed_u64(&board->pause); /* relaxed: this thread wrote it */
    uint64_t next =
        weir_pause_longer(old, until_ns, cause, w->region->backoff[provider].generation);
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

static void show(struct worker *w, uint32_t provider)
{
    struct weir_shm_provider *board = &w->region->provider[provider];
    const struct weir_shm_backoff *s = &w->region->backoff[provider];
    const struct weir_shm_pause *pause = &w->region->pause[provider];
    /* relaxed, all: for display */
    weir_store_relaxed_u64(&board->traders_pause, weir_load_relaxed_u64(&pause->word));
    weir_store_relaxed_u64(&board->reopen, weir_load_relaxed_u64(&pause->reopen));
    weir_store_relaxed_u64(&board->backoff_until_ns, s->until_ns);
    weir_store_relaxed_u64(&board->backoff_last_ns, s->last_ns);
    weir_store_relaxed_u64(&board->backoff_steps, s->steps);
    weir_store_relaxed_u32(&board->backoff_level, s->level);
    weir_store_relaxed_u32(&board->backoff_cause, s->cause);
}

static void log_pause(struct worker *w, uint32_t provider, uint32_t status, const char *by)
{
    const struct weir_shm_backoff *s = &w->region->backoff[provider];
    uint64_t for_ns = s->until_ns > w->now_ns ? s->until_ns - w->now_ns : 0;
    log_warn("provider_paused", "s:s, s:s, s:s, s:i, s:i, s:I", "provider",
             w->provider[provider].config->name, "by", by, "cause",
             s->cause == WEIR_PAUSE_BANNED ? "banned" : "throttled", "status", (int)status,
             "backoff_level", (int)s->level, "for_ms", (long long)(for_ns / WEIR_NS_PER_MS));
}

void pause_throttled(struct worker *w, uint32_t provider, const struct throttle_heard *heard)
{
    struct weir_shm_backoff *s = &w->region->backoff[provider];
    struct weir_shm_pause *pause = &w->region->pause[provider];
    const struct backoff_rule rule = rule_of(w, provider);
    uint64_t now_ns = worker_now(w);
    uint64_t told_ns = heard->for_ns > 0 ? now_ns + heard->for_ns : 0;
    const struct backoff_event event = {.now_ns = now_ns,
                                        .left_ns = heard->left_ns,
                                        .told_until_ns = weir_max_u64(told_ns, heard->until_ns),
                                        .cause = heard->cause,
                                        .random = worker_draw(w)};
    board_add(&w->region->provider[provider].throttled, heard->again ? 0 : 1);
    /* By our own time, not by the generation of the permit: traders can write that, and may not keep the broker from stopping. */
    enum backoff_step step = backoff_tell(s, &rule, &event);
    if (step == BACKOFF_LATE || !board_pause(w, provider, s->until_ns, s->cause)) {
        return;
    }
    if (step == BACKOFF_NEW) {
        /* Their word too, for as long as it may hold: a trader's 429 of the same burst finds its generation over. */
        uint64_t until_ns = weir_min_u64(s->until_ns, now_ns + WEIR_PAUSE_TRADER_MAX_NS);
        s->traders_generation = weir_pause_begin(&pause->word, until_ns, s->cause);
    }
    show(w, provider);
    log_pause(w, provider, heard->status, "broker");
}

/* A trader has put a pause into permits. */
static void traders_told(struct worker *w, uint32_t provider, uint64_t word)
{
    struct weir_shm_backoff *s = &w->region->backoff[provider];
    const struct backoff_rule rule = rule_of(w, provider);
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
        board_pause(w, provider, s->until_ns, s->cause)) {
        log_pause(w, provider, 0, "trader");
    }
}

/* A trader's word holds 60 s at most, whatever it wrote; longer pauses are on the board. Returns the word as it is then. */
static uint64_t traders_word(struct worker *w, uint32_t provider)
{
    struct weir_shm_pause *pause = &w->region->pause[provider];
    uint64_t word = weir_load_acquire_u64(&pause->word); /* pair:pause A */
    uint64_t latest_ns = w->now_ns + WEIR_PAUSE_TRADER_MAX_NS;
    if (weir_pause_until_ns(word) <= latest_ns + WEIR_NS_PER_S) {
        return word;
    }
    uint64_t cut = weir_pause_make(latest_ns, weir_pause_cause(word), weir_pause_generation(word));
    board_add(&w->region->worker->limit_damaged, 1);
    log_warn("pause_damaged", "s:s", "provider", w->provider[provider].config->name);
    WEIR_WEAVE("pause:cut");
    return weir_cas_u64(&pause->word, &word, cut) ? cut : word; /* pair:pause R */
}

/* A pause that is over and, where it was an exchange's, whose ramp is over too: permits need not look any more. */
static void clear(struct worker *w, uint32_t provider, uint64_t traders)
{
    struct weir_shm_provider *board = &w->region->provider[provider];
    struct weir_shm_pause *pause = &w->region->pause[provider];
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
            &board->pause,
            weir_pause_make(0, WEIR_PAUSE_NONE,
                            w->region->backoff[provider].generation)); /* pair:pause R */
        weir_permit_bell(pause);
        log_info("provider_open", "s:s", "provider", w->provider[provider].config->name);
    }
}

void pause_turn(struct worker *w)
{
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        uint64_t word = traders_word(w, p);
        if (weir_pause_generation(word) != w->region->backoff[p].traders_generation) {
            traders_told(w, p, word);
        }
        if (w->region->backoff[p].operator_until_ns != 0 &&
            w->now_ns >= w->region->backoff[p].operator_until_ns) {
            w->region->backoff[p].operator_until_ns = 0;
        }
        clear(w, p, word);
        show(w, p);
    }
}

void pause_open(struct worker *w)
{
    if (getrandom(&w->random, sizeof w->random, GRND_NONBLOCK) != (ssize_t)sizeof w->random) {
        w->random =
            w->now_ns; /* the jitter of one machine need not be secret, only another than its neighbour's */
    }
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        const struct weir_shm_backoff *s = &w->region->backoff[p];
        if (w->now_ns < s->until_ns) {
            (void)board_pause(w, p, s->until_ns, s->cause);
        }
        if (w->now_ns < s->operator_until_ns) {
            (void)board_pause(w, p, s->operator_until_ns, WEIR_PAUSE_OPERATOR);
        }
        show(w, p);
    }
}

void pause_operator(struct worker *w, uint32_t provider, uint64_t until_ns)
{
    struct weir_shm_backoff *s = &w->region->backoff[provider];
    s->operator_until_ns = weir_max_u64(s->operator_until_ns, until_ns);
    (void)board_pause(w, provider, until_ns, WEIR_PAUSE_OPERATOR);
    show(w, provider);
}

void pause_resume(struct worker *w, uint32_t provider)
{
    struct weir_shm_backoff *s = &w->region->backoff[provider];
    struct weir_shm_pause *pause = &w->region->pause[provider];
    uint64_t now_ns = worker_now(w);
    s->resumed_ns = now_ns;
    s->until_ns = weir_min_u64(s->until_ns, now_ns);
    s->operator_until_ns = 0;
    s->generation++;
    /* The board last: a worker that dies in between leaves the pause, and the operator is told that nothing is known. */
    s->traders_generation = weir_pause_resume(&pause->word);
    WEIR_WEAVE("pause:resumed");
    weir_store_release_u64(&w->region->provider[provider].pause,
                           weir_pause_make(0, WEIR_PAUSE_NONE, s->generation)); /* pair:pause R */
    weir_permit_bell(pause);
    show(w, provider);
}
