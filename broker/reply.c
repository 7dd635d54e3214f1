/*
 * reply.c: what a whole answer tells besides its content.
 *
 * In this order, because each step uses the one before: the server's clock (clock_reply.c); which window counted the call, so that the other
 * window of a straddle is given back (weir_straddle.h); others' usage of the limits that its feedback names (feedback.h); a stop in its body
 * (throttle.h). Nothing here can fail a call: what cannot be read is counted and left alone.
 */
#include "broker/clock_reply.h"
#include "broker/feedback.h"
#include "broker/late.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "broker/reply_rolling.h"
#include "broker/reply_value.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_claim.h"
#include "shm/weir_overdue.h"
#include "shm/weir_straddle.h"

#include <stdlib.h>
#include <string.h>

/* How far back looks at the words reach at least, beyond J on both sides. */
#define LOOK_MIN_NS (100 * WEIR_NS_PER_MS)

/* Open calls are looked at every 10 ms; they are charged so far ahead, for turns that come late. */
#define OVERDUE_AHEAD_NS (30 * WEIR_NS_PER_MS)

/* The last count of a limit word, for the drop that a window's edge makes. */
struct last_count {
    uint32_t used;
    uint64_t sent_ns, received_ns;
};

struct reply_word {
    uint32_t provider;
    uint32_t limit;
    struct feedback feedback;
    struct last_count last;
    uint32_t claimed; /* of what is published, so much rests on claims */
    struct rolling
        *rolling; /* kinds whose count falls all the time, instead of `feedback`; else NULL */
};

struct reply {
    struct reply_word **word; /* [limit word]; NULL: no feedback names its limit */
    uint32_t word_cnt;
};

/* One answer under the knife. */
struct answer {
    const struct call *call;
    uint32_t provider;
    json_t *root; /* of the body, read when first asked for */
    bool root_tried;
};

/* ---------------------------------------------------------------------------------------------- values */

static enum reply_verdict member(struct answer *a, const char *path, char buffer[40],
                                 struct reply_text *text)
{
    const struct call *c = a->call;
    if (!a->root_tried) {
        a->root_tried = true;
        a->root = reply_json(hear_body_at(&c->hear), c->hear.body_bytes);
    }
    return a->root != NULL ? reply_member(a->root, path, buffer, text) : REPLY_ABSENT;
}

static enum reply_verdict feedback_text(struct answer *a, const struct weir_config_feedback *f,
                                        char buffer[40], struct reply_text *text)
{
    return f->header[0] != '\0' ? reply_header(hear_head_at(&a->call->hear),
                                               a->call->hear.head_bytes, f->header, text)
                                : member(a, f->field, buffer, text);
}

static bool takes_from(const struct weir_shm_route_row *route, uint32_t limit)
{
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        if (route->limit[i] == limit) {
            return true;
        }
    }
    return false;
}

/* The limit that an entry names, where the call's route takes from it: a narrow count never moves another limit. */
static const struct weir_shm_limit_row *entry_limit(struct worker *w, const struct answer *a,
                                                    const struct weir_config_feedback *f,
                                                    uint32_t *index)
{
    const struct weir_tables *t = &w->shared.tables;
    uint32_t limit = t->provider[a->provider].limit_first + (uint32_t)f->limit_idx;
    if (!takes_from(&t->route[a->call->route], limit) ||
        weir_permit_word(&w->shared, limit, a->call->scope, index) == NULL) {
        return NULL;
    }
    return &t->limit[limit];
}

/* ---------------------------------------------------------------------------------------------- clock */

static void clock_look(struct worker *w, struct answer *a, struct clock_evidence *e)
{
    const struct call *c = a->call;
    const struct weir_config_clock *config = &w->provider[a->provider].config->clock;
    char buffer[40];
    struct reply_text text;
    if (config->source != WEIR_CONFIG_CLOCK_SERVER) {
        return;
    }
    bool asked = c->route == w->provider[a->provider].clock_route && c->transfer.status == 200;
    if (asked && config->field[0] != '\0') {
        if (member(a, config->field, buffer, &text) == REPLY_VALUE) {
            clock_stamp(w, c, text, e);
        } else {
            board_add(&w->region->provider[a->provider].clock_ignored, 1);
            log_warn("clock_sample_refused", "s:s, s:s", "provider",
                     w->provider[a->provider].config->name, "field_absent", config->field);
        }
    }
    if (!e->found && config->header[0] != '\0' &&
        reply_header(hear_head_at(&c->hear), c->hear.head_bytes, config->header, &text) ==
            REPLY_VALUE) {
        clock_stamp(w, c, text, e);
    }
}

static void resets_look(struct worker *w, struct answer *a, struct clock_evidence *e)
{
    const struct weir_config_provider *p = w->provider[a->provider].config;
    for (size_t i = 0; i < p->feedback_cnt && !e->found; i++) {
        const struct weir_config_feedback *f = &p->feedback[i];
        char buffer[40];
        struct reply_text text;
        uint32_t index;
        if (f->reports != WEIR_CONFIG_REPORTS_RESET ||
            p->clock.source != WEIR_CONFIG_CLOCK_SERVER) {
            continue;
        }
        const struct weir_shm_limit_row *row = entry_limit(w, a, f, &index);
        if (row != NULL && feedback_text(a, f, buffer, &text) == REPLY_VALUE) {
            clock_reset(w, a->call, f, text, row->window_ns, e);
        }
    }
}

/* A count that fell to a quarter: a window ended between the two answers. */
static void drop_look(struct worker *w, struct answer *a, struct reply_word *r, uint32_t used,
                      uint64_t window_ns, struct clock_evidence *e)
{
    const struct call *c = a->call;
    struct last_count *last = &r->last;
    bool known = w->shared.tables.limit[r->limit].calendar_cnt != 0; /* a calendar's edges */
    bool later = !known && last->received_ns != 0 && last->received_ns < c->sent_ns;
    if (later && !e->found && used < last->used / 4 && last->used - used >= 8 &&
        w->provider[a->provider].config->clock.source == WEIR_CONFIG_CLOCK_SERVER) {
        clock_drop(w, a->provider, last->sent_ns, c->first_byte_ns, window_ns, e);
    }
    if (last->received_ns < c->first_byte_ns) {
        *last = (struct last_count){used, c->sent_ns, c->first_byte_ns};
    }
}

/* ---------------------------------------------------------------------------------------------- others' usage */

/* Write what others use of one word to the board, where it changed. */
static void word_publish(struct worker *w, struct reply_word *r, uint32_t index, uint32_t id)
{
    struct weir_shm_foreign *board = &w->region->foreign[index];
    bool less = false;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t k = id + i;
        uint64_t next = weir_window_word(k, feedback_foreign(&r->feedback, k));
        /* relaxed: this thread is its writer, and readers take any whole word */
        uint64_t before = weir_load_relaxed_u64(&board->word[k & 1]);
        bool same = weir_window_id(before) == k;
        if (before != next && ((uint32_t)next != 0 || same)) {
            weir_store_relaxed_u64(&board->word[k & 1], next);
            less |= same && (uint32_t)next < (uint32_t)before;
        }
    }
    if (less) {
        weir_permit_bell(&w->shared.pause[r->provider]); /* there is room that nobody promised */
    }
}

static uint32_t charged(const struct weir_shm_limit_word *word, uint32_t id)
{
    bool ahead;
    return weir_window_units(weir_load_acquire_u64(&word->word[id & 1]), id,
                             &ahead); /* pair:limit A */
}

/* Look at what the word holds for the current window and the next. */
static void word_look(struct worker *w, struct reply_word *r, uint32_t index, uint32_t id)
{
    const struct weir_shm_limit_word *word = &w->region->word[index];
    const uint32_t units[2] = {charged(word, id), charged(word, id + 1)};
    const struct weir_server_clock *clock = &w->provider[r->provider].published;
    feedback_look(&r->feedback, id, units, worker_now(w), 2 * clock->jitter_ns + LOOK_MIN_NS);
}

/* What the call took from this word in window `id`; 0 where it is not known to have been counted there. */
static uint32_t units_of(const struct worker *w, const struct call *c, uint32_t index, uint32_t id)
{
    const struct weir_permit *p = &c->permit;
    uint64_t epoch = weir_load_relaxed_u64(
        &w->region->provider[w->route[c->route].provider].clock_epoch); /* relaxed: our own */
    if (c->throttled || (uint16_t)epoch != p->clock_epoch) {
        return 0;
    }
    for (uint32_t i = 0; i < p->charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        const struct weir_charge *g = &p->charge[i];
        if (g->word == index && g->kind == WEIR_LIMIT_FIXED_WINDOW &&
            id - g->window < (uint32_t)g->windows) {
            return g->units;
        }
    }
    return 0;
}

/* Whole units used, by an entry; ABSENT where the answer has no such value. */
static enum reply_verdict used_of(struct answer *a, const struct weir_config_feedback *f,
                                  uint32_t *used)
{
    char buffer[40];
    struct reply_text text;
    uint32_t n;
    enum reply_verdict v = feedback_text(a, f, buffer, &text);
    if (v != REPLY_VALUE) {
        return v;
    }
    bool up = f->reports == WEIR_CONFIG_REPORTS_USED;
    v = reply_units(text, &n, up);
    if (v == REPLY_VALUE && !up && n > f->of_units) {
        return REPLY_GARBAGE; /* more left than there is: another limit's, or another quota */
    }
    *used = up || v != REPLY_VALUE ? n : (uint32_t)f->of_units - n;
    return v;
}

/* One count: what it says of others, and what its fall says of the clock. */
static void count_look(struct worker *w, struct answer *a, const struct weir_config_feedback *f,
                       struct clock_evidence *e)
{
    const struct call *c = a->call;
    uint32_t index;
    uint32_t used = 0;
    const struct weir_shm_limit_row *row = entry_limit(w, a, f, &index);
    if (row == NULL) {
        return;
    }
    enum reply_verdict v = used_of(a, f, &used);
    if (v == REPLY_ABSENT) {
        return;
    }
    bool least = f->reports == WEIR_CONFIG_REPORTS_REMAINING && used >= f->of_units;
    struct weir_shm_provider *board = &w->region->provider[a->provider];
    if (w->reply->word[index]->rolling != NULL) {
        bool taken = v == REPLY_VALUE && reply_rolling_report(w, w->reply->word[index]->rolling, c,
                                                              row, index, used, least);
        board_add(taken ? &board->reports : &board->reports_ignored, 1);
        return;
    }
    const struct weir_server_clock *clock = &w->provider[a->provider].published;
    const struct weir_straddle_span span = {.from_ns = c->sent_ns, .to_ns = c->first_byte_ns};
    struct feedback_report r = {.used = used, .least = least};
    struct reply_word *rw = w->reply->word[index];
    uint64_t now_ns = worker_now(w);
    if (v == REPLY_VALUE) {
        drop_look(w, a, rw, used, row->window_ns, e);
    }
    if (v != REPLY_VALUE || !weir_straddle_window(row, clock, &span, now_ns, &r.id)) {
        board_add(&board->reports_ignored, 1);
        return;
    }
    r.settled_ns = c->sent_ns > clock->jitter_ns ? c->sent_ns - clock->jitter_ns : 0;
    r.units = units_of(w, c, index, r.id);
    word_look(w, rw, index, r.id);
    board_add(feedback_report(&rw->feedback, &r) ? &board->reports : &board->reports_ignored, 1);
    word_publish(w, rw, index, r.id);
}

static void counts_look(struct worker *w, struct answer *a, struct clock_evidence *e)
{
    const struct weir_config_provider *p = w->provider[a->provider].config;
    for (size_t i = 0; i < p->feedback_cnt; i++) {
        if (p->feedback[i].reports != WEIR_CONFIG_REPORTS_RESET) {
            count_look(w, a, &p->feedback[i], e);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- straddles */

/* Tell the account of a word that the worker charged `units` to windows, or took such a charge back. */
static void tell(struct worker *w, const struct weir_charge *c, uint32_t window, uint32_t windows,
                 bool given)
{
    struct reply_word *r = c->word < w->reply->word_cnt ? w->reply->word[c->word] : NULL;
    for (uint32_t i = 0; r != NULL && i < windows; i++) {
        feedback_charged(&r->feedback, window + i, c->units, given);
    }
}

void reply_charged(struct worker *w, const struct weir_permit *permit, bool given)
{
    uint32_t provider = w->route[permit->route].provider;
    uint64_t epoch = weir_load_relaxed_u64(
        &w->region->provider[provider].clock_epoch); /* relaxed: this thread wrote it */
    if (w->provider[provider].config->feedback_cnt == 0 || (uint16_t)epoch != permit->clock_epoch) {
        return;
    }
    for (uint32_t i = 0; i < permit->charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        const struct weir_charge *c = &permit->charge[i];
        if (c->kind == WEIR_LIMIT_FIXED_WINDOW) {
            tell(w, c, c->window, c->windows, given);
        }
    }
}

/* The answer is here: a window in which its call was surely not counted gets its charge back, on both accounts. */
static void straddles_give(struct worker *w, struct call *c)
{
    const struct weir_straddle_span span = {.from_ns = c->sent_ns, .to_ns = c->first_byte_ns};
    struct weir_charge before[WEIR_PERMIT_LIMITS_MAX];
    uint32_t wide = 0;
    for (uint32_t i = 0; i < c->permit.charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        before[i] = c->permit.charge[i];
        wide |= (uint32_t)(before[i].windows == 2 || c->own_permit.charge[i].windows == 2) << i;
    }
    if (wide == 0) {
        return;
    }
    /* First the private account, which never exceeds the shared one. */
    dispatch_as(w, c);
    (void)weir_straddle_give(&w->own, &c->own_permit, &span);
    uint32_t given = weir_straddle_give(&w->shared, &c->permit, &span);
    for (uint32_t i = 0; i < WEIR_PERMIT_LIMITS_MAX; i++) {
        if ((given >> i & 1U) != 0) {
            uint32_t kept = c->permit.charge[i].window;
            tell(w, &before[i], kept == before[i].window ? kept + 1 : kept - 1, 1, true);
            board_add(&w->region->provider[w->route[c->route].provider].straddle_given, 1);
        }
    }
}

/* Tell the accounts of words without windows that the call's units are over. */
static void rolling_tell(struct worker *w, const struct call *c)
{
    for (uint32_t i = 0; i < c->permit.charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        uint32_t index = c->permit.charge[i].word;
        struct reply_word *r = index < w->reply->word_cnt ? w->reply->word[index] : NULL;
        if (r != NULL && r->rolling != NULL) {
            reply_rolling_answered(w, r->rolling, c, index);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- open calls */

/* A call is open: every window that it may be counted in from now on is charged, on both accounts. */
static void overdue_charge(struct worker *w, struct call *c, uint32_t provider)
{
    const struct weir_permit before = c->permit;
    pair_open_permit(w, &c->own_permit, NULL);
    (void)weir_overdue_charge(&w->own, &c->own_permit, OVERDUE_AHEAD_NS);
    uint32_t changed = weir_overdue_charge(&w->shared, &c->permit, OVERDUE_AHEAD_NS);
    pair_close(w);
    for (uint32_t i = 0; i < WEIR_PERMIT_LIMITS_MAX; i++) {
        const struct weir_charge *now = &c->permit.charge[i];
        for (uint32_t k = 0; (changed >> i & 1U) != 0 && k < now->windows; k++) {
            bool old = before.clock_epoch == c->permit.clock_epoch &&
                       now->window + k - before.charge[i].window < before.charge[i].windows;
            if (!old) {
                tell(w, now, now->window + k, 1, false);
                board_add(&w->region->provider[provider].overdue_charged, 1);
            }
        }
    }
}

static void overdue_look(struct worker *w)
{
    for (struct call *c = w->call_first; c != NULL; c = c->all_next) {
        if (c->stage != CALL_RUNNING || c->sends == 0 || c->first_byte_ns != 0 ||
            c->permit.state != WEIR_PERMIT_SENT) {
            continue;
        }
        uint32_t provider = w->route[c->route].provider;
        late_look(w, c, OVERDUE_AHEAD_NS);
        uint64_t covered_ns =
            c->permit.granted_at_ns + w->provider[provider].config->clock.max_jitter_ns;
        if (w->now_ns + OVERDUE_AHEAD_NS >= covered_ns) {
            overdue_charge(w, c, provider);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- the whole answer */

static void stop_look(struct worker *w, struct call *c, uint32_t provider)
{
    const struct weir_config_throttle *config = &w->provider[provider].config->throttle;
    const char *body = hear_body_at(&c->hear);
    uint64_t until_utc_ns;
    if (!c->throttled) {
        answer_throttled(w, c, throttle_body(config, body, c->hear.body_bytes));
    }
    if (c->throttled && config->until_text[0] != '\0' &&
        throttle_until(config, body, c->hear.body_bytes, clock_server_utc_ns(w, provider),
                       &until_utc_ns)) {
        answer_banned_until(w, c, until_utc_ns);
    }
}

void reply_answered(struct worker *w, struct call *c)
{
    struct answer a = {.call = c, .provider = w->route[c->route].provider};
    struct clock_evidence e = {0};
    if (c->sent_ns == 0 || c->first_byte_ns < c->sent_ns) {
        return;
    }
    stop_look(w, c, a.provider);
    clock_look(w, &a, &e);
    resets_look(w, &a, &e);
    straddles_give(w, c);
    counts_look(w, &a, &e);
    rolling_tell(w, c);
    clock_answered(w, c, &e);
    json_decref(a.root);
}

void reply_realigned(struct worker *w, uint32_t provider)
{
    for (uint32_t i = 0; i < w->reply->word_cnt; i++) {
        if (w->reply->word[i] != NULL && w->reply->word[i]->provider == provider) {
            feedback_realigned(&w->reply->word[i]->feedback);
            w->reply->word[i]->last = (struct last_count){0};
        }
    }
}

/* ---------------------------------------------------------------------------------------------- traders' claims */

/* One claim. It is of a trader, who is trusted with the account and still believed only as far as it adds. */
static bool claim_take(struct worker *w, const struct weir_shm_claim *c, uint64_t now_ns)
{
    uint32_t index = (uint32_t)(c->what >> 32);
    struct reply_word *r = index < w->reply->word_cnt ? w->reply->word[index] : NULL;
    if (r == NULL || c->sent_ns > c->seen_ns || c->seen_ns > now_ns ||
        now_ns - c->sent_ns > FEEDBACK_CLAIM_NS) {
        return false;
    }
    const struct weir_shm_limit_row *row = &w->shared.tables.limit[r->limit];
    bool taken;
    if (r->rolling != NULL) {
        taken = reply_rolling_claim(w, r->rolling, c, row, index);
    } else {
        const struct weir_straddle_span span = {.from_ns = c->sent_ns, .to_ns = c->seen_ns};
        uint32_t id;
        if (!weir_straddle_window(row, &w->provider[r->provider].published, &span, now_ns, &id)) {
            return false;
        }
        word_look(w, r, index, id);
        taken = feedback_claim(&r->feedback, id, (uint32_t)c->what);
        word_publish(w, r, index, id);
    }
    if (taken) {
        board_add(&w->region->provider[r->provider].claims, 1);
    }
    return taken;
}

/* What traders' replies told since the last look. */
static void claims_look(struct worker *w)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct client *c = &w->client[i];
        if (!c->live || c->info.role != WEIR_ROLE_TRADER) {
            continue; /* a caller has no say */
        }
        for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) {
            struct weir_shm_meter_head *head = (void *)(c->meter + t * c->meter_stride_bytes);
            struct weir_shm_claim claim[WEIR_CLAIMS];
            uint32_t cnt = weir_claim_take(head, &c->claim_seen[t], claim);
            for (uint32_t k = 0; k < cnt; k++) {
                (void)claim_take(w, &claim[k], worker_now(w));
            }
        }
    }
}

/* For monitors: what rests on claims now, by limit. */
static void claimed_show(struct worker *w)
{
    for (uint32_t l = 0; l < w->region->limit_cnt && l < w->shared.tables.limit_cnt; l++) {
        const struct weir_shm_limit_row *row = &w->shared.tables.limit[l];
        uint64_t units = 0;
        for (uint32_t k = row->word_first;
             k < row->word_first + row->word_cnt && k < w->reply->word_cnt; k++) {
            units += w->reply->word[k] != NULL ? w->reply->word[k]->claimed : 0;
        }
        weir_store_relaxed_u64(&w->region->limit_stats[l].claimed, units); /* relaxed: statistics */
    }
}

void reply_tick(struct worker *w)
{
    late_rise(w);
    overdue_look(w);
    late_fall(w);
    claims_look(w);
    for (uint32_t i = 0; i < w->reply->word_cnt; i++) {
        struct reply_word *r = w->reply->word[i];
        if (r == NULL) {
            continue;
        }
        const struct weir_server_clock *clock = &w->provider[r->provider].published;
        const struct weir_shm_limit_row *row = &w->shared.tables.limit[r->limit];
        if (r->rolling != NULL) {
            r->claimed = reply_rolling_tick(w, r->rolling, row, i);
            continue;
        }
        if (clock->state != WEIR_CLOCK_KNOWN) {
            continue;
        }
        struct weir_window_span span;
        uint64_t now_ns = worker_now(w);
        weir_window_span_at(&span, &(struct weir_window_cache){0}, row, clock,
                            weir_server_clock_error_ns(clock, now_ns), now_ns);
        word_look(w, r, i, span.first);
        word_publish(w, r, i, span.first);
        r->claimed = feedback_claimed(&r->feedback, span.first);
    }
    claimed_show(w);
}

bool reply_counts(const struct worker *w, uint32_t index)
{
    return index < w->reply->word_cnt && w->reply->word[index] != NULL;
}

bool reply_shared(const struct worker *w, uint32_t index)
{
    return reply_counts(w, index) && w->reply->word[index]->rolling != NULL &&
           rolling_shared(w->reply->word[index]->rolling, w->now_ns);
}

/* Room for the words of one limit. */
static bool limit_open(struct worker *w, uint32_t provider, uint32_t limit, bool expect)
{
    const struct weir_shm_limit_row *row = &w->shared.tables.limit[limit];
    for (uint32_t k = row->word_first; k < row->word_first + row->word_cnt; k++) {
        if (w->reply->word[k] != NULL) {
            continue; /* two entries may name it */
        }
        struct reply_word *r = calloc(1, sizeof *r);
        if (r == NULL) {
            return false;
        }
        r->provider = provider;
        r->limit = limit;
        w->reply->word[k] = r;
        if (row->kind != WEIR_LIMIT_FIXED_WINDOW) {
            r->rolling = reply_rolling_open(w, row, k);
            if (r->rolling == NULL) {
                return false;
            }
            continue;
        }
        feedback_init(&r->feedback, row->quota, expect);
        for (uint32_t i = 0; i < 2; i++) { /* of a worker before us; 0 after a start */
            uint64_t word =
                weir_load_relaxed_u64(&w->region->foreign[k].word[i]); /* relaxed: our own */
            feedback_restore(&r->feedback, weir_window_id(word), (uint32_t)word);
        }
    }
    return true;
}

bool reply_open(struct worker *w)
{
    w->reply = calloc(1, sizeof *w->reply);
    if (w->reply == NULL) {
        return false;
    }
    w->reply->word_cnt = w->region->word_cnt;
    w->reply->word = calloc((size_t)w->region->word_cnt + 1, sizeof *w->reply->word);
    bool ok = w->reply->word != NULL;
    for (uint32_t p = 0; ok && p < w->region->provider_cnt; p++) {
        const struct weir_config_provider *config = w->provider[p].config;
        uint32_t first = w->shared.tables.provider[p].limit_first;
        for (size_t i = 0; ok && i < config->feedback_cnt; i++) {
            size_t l = config->feedback[i].limit_idx;
            ok = limit_open(w, p, first + (uint32_t)l,
                            config->limit[l].foreign.expect == WEIR_CONFIG_EXPECT_ADAPTIVE);
        }
    }
    return ok;
}
