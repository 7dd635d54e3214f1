#include "broker/memory.h"

#include "broker/journal.h"
#include "broker/memory_rolling.h"
#include "broker/server_clock.h"
#include "shm/weir_atomic.h"
#include "shm/weir_hold.h"
#include "shm/weir_latch.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_tables.h"
#include "shm/weir_weave.h"

#include <stdio.h>
#include <string.h>

/* Calls charged while the clock is unknown may count in the window before the current one, and for a jitter in the one before that. */
#define UNKNOWN_BACK 2
#define PEAK_MAX     (UINT32_C(1) << 30) /* twice as much is a number of units still */

void memory_each(const struct weir_tables *t,
                 void (*each)(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                              void *arg),
                 void *arg)
{
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &t->limit[i];
        for (uint32_t v = 0; row->ceiling_step != 0 && v < row->word_cnt; v++) {
            each(row, i, row->word_first + v, arg);
        }
    }
}

static void count_one(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                      void *arg)
{
    (void)row;
    (void)limit;
    (void)word;
    (*(uint32_t *)arg)++;
}

uint32_t memory_cnt(const struct weir_tables *t)
{
    uint32_t cnt = 0;
    memory_each(t, count_one, &cnt);
    return cnt;
}

static void bytes_one(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                      void *arg)
{
    (void)limit;
    (void)word;
    *(uint64_t *)arg += weir_journal_record_bytes(memory_record_kind(row));
}

uint64_t memory_slot_bytes(const struct weir_tables *t)
{
    uint64_t bytes = (uint64_t)t->provider_cnt * (weir_journal_record_bytes(WEIR_JOURNAL_PROVIDER) +
                                                  weir_journal_record_bytes(WEIR_JOURNAL_BACKOFF));
    memory_each(t, bytes_one, &bytes);
    return weir_journal_slot_bytes(bytes);
}

uint32_t memory_ceiling(const struct weir_shm_memory *m, uint32_t k)
{
    uint32_t e = k % WEIR_MEMORY_WINDOWS;
    return m->window[e] == k ? m->units[e] : 0;
}

uint32_t memory_base_most(const struct weir_shm_memory *m, uint32_t quota)
{
    uint64_t most = 0;
    if (m->base_until_ns == 0) {
        return 0;
    }
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS; e++) {
        most = weir_max_u64(most, m->base_units[e]);
    }
    return (uint32_t)weir_min_u64(most + m->base_floating, quota);
}

struct weir_server_clock memory_clock(const struct region *region, uint32_t provider)
{
    const struct weir_shm_provider *p = &region->provider[provider];
    struct weir_server_clock clock;
    uint64_t value[WEIR_SERVER_CLOCK_WORDS];
    uint64_t seq = 0;
    if (weir_latch_read(&p->clock_seq, p->clock, value, WEIR_SERVER_CLOCK_WORDS, &seq) &&
        seq != 0) {
        memcpy(&clock, value, sizeof clock);
        return clock;
    }
    return server_clock_unknown(weir_clock_monotonic_ns(), weir_clock_realtime_ns(), 0);
}

/* The first window that a call granted at `now_ns` charges. */
static uint32_t window_first(const struct weir_shm_limit_row *row,
                             const struct weir_server_clock *clock, uint64_t now_ns)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row, clock,
                        weir_server_clock_error_ns(clock, now_ns), now_ns);
    return span.first;
}

/* ---------------------------------------------------------------------------------------------- compose */

struct compose {
    const struct region *region;
    const struct weir_tables *t;
    const struct memory_raise *raise; /* the next word's; NULL: none */
    struct weir_journal_writer writer;
    uint64_t now_ns, utc_ns;
    bool full;
};

/* The name of a limit word's scope value; "" where it has none. */
static const char *scope_name(const struct weir_tables *t, const struct weir_shm_limit_row *row,
                              uint32_t word)
{
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        const struct weir_shm_scope_row *s = &t->scope[i];
        if (s->provider == row->provider && s->kind == row->scope_kind &&
            s->value == word - row->word_first) {
            return s->name;
        }
    }
    return "";
}

/* How a limit word is found again. */
struct names {
    uint64_t identity;
    char provider[WEIR_NAME_BYTES];
    char limit[WEIR_NAME_BYTES];
    char scope[WEIR_NAME_BYTES];
};

static void names_fill(struct names *n, const struct weir_tables *t,
                       const struct weir_shm_limit_row *row, uint32_t word)
{
    /* It goes to disk as it is: what lay on the stack has no business there. */
    memset(n, 0, sizeof *n);
    (void)snprintf(n->provider, sizeof n->provider, "%s", t->provider[row->provider].name);
    (void)snprintf(n->limit, sizeof n->limit, "%s", row->name);
    (void)snprintf(n->scope, sizeof n->scope, "%s", scope_name(t, row, word));
    n->identity = weir_journal_identity(n->provider, n->limit, row->scope_kind, n->scope);
}

/* While the clock is unknown no id is the exchange's: the base goes on as it was, and what was charged since floats. */
static void units_float(struct weir_journal_limit *l, const struct weir_shm_memory *m,
                        uint32_t current, uint32_t quota)
{
    uint64_t floating = m->base_until_ns != 0 ? m->base_floating : 0;
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS; e++) {
        if (weir_window_diff(l->window[e], current) >= -UNKNOWN_BACK) {
            floating += l->units[e];
        }
        l->window[e] = m->base_until_ns != 0 ? m->base_window[e] : 0;
        l->units[e] = m->base_until_ns != 0 ? m->base_units[e] : 0;
    }
    l->floating = (uint32_t)weir_min_u64(floating, quota);
}

static void window_compose(struct compose *c, const struct weir_shm_limit_row *row, uint32_t word,
                           const struct memory_raise *r, struct weir_journal_limit *l)
{
    const struct weir_shm_memory *m = &c->region->memory[word];
    memcpy(l->window, m->window, sizeof l->window);
    memcpy(l->units, m->units, sizeof l->units);
    for (uint32_t i = 0; r != NULL && i < r->cnt; i++) {
        l->window[r->window[i] % WEIR_MEMORY_WINDOWS] = r->window[i];
        l->units[r->window[i] % WEIR_MEMORY_WINDOWS] = r->units[i];
    }
    /* Surcharges may have come since, in whatever window was current, above its ceiling or without one. */
    const uint64_t *board = c->region->foreign[word].ceiling;
    bool granted = (r != NULL && r->cnt > 0) ||
                   (weir_load_relaxed_u64(&board[0]) | weir_load_relaxed_u64(&board[1])) !=
                       0; /* relaxed: our own */
    l->ahead = granted ? memory_ahead(m, row) : 0;
    struct weir_server_clock clock = memory_clock(c->region, row->provider);
    uint32_t first = window_first(row, &clock, c->now_ns);
    if (clock.state != WEIR_CLOCK_KNOWN) {
        units_float(l, m, first, weir_limit_peak(row));
        return;
    }
    l->floating = memory_base_most(m, weir_limit_peak(row)); /* resolved long ago: 0 */
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS; e++) {
        if (weir_window_diff(l->window[e], first) < 0) {
            l->units[e] = 0; /* the exchange is past it for sure */
        }
    }
}

static void limit_compose(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                          void *arg)
{
    struct compose *c = arg;
    enum weir_journal_kind kind = memory_record_kind(row);
    const struct memory_raise *raise = c->raise;
    struct weir_journal_named *n =
        weir_journal_add(&c->writer, kind, weir_journal_record_bytes(kind));
    struct names names;
    (void)limit;
    c->raise += raise != NULL ? 1 : 0;
    if (n == NULL) {
        c->full = true;
        return;
    }
    names_fill(&names, c->t, row, word);
    n->identity = names.identity;
    n->shape = row->shape;
    n->quota = row->quota;
    char *text = (char *)n + (weir_journal_names(&n->head) - (const char *)n);
    memcpy(text, names.provider, WEIR_NAME_BYTES);
    memcpy(text + WEIR_NAME_BYTES, names.limit, WEIR_NAME_BYTES);
    memcpy(text + 2UL * WEIR_NAME_BYTES, names.scope, WEIR_NAME_BYTES);
    if (kind == WEIR_JOURNAL_LIMIT) {
        window_compose(c, row, word, raise, (void *)n);
    } else {
        memory_rolling_fill(c->region, row, word, raise, c->now_ns, &n->head);
    }
}

static void provider_compose(struct compose *c, uint32_t provider)
{
    struct weir_journal_provider *p =
        weir_journal_add(&c->writer, WEIR_JOURNAL_PROVIDER, sizeof *p);
    if (p == NULL) {
        c->full = true;
        return;
    }
    (void)snprintf(p->provider, sizeof p->provider, "%s", c->t->provider[provider].name);
    p->clock = memory_clock(c->region, provider);
    p->utc_offset_ns = p->clock.offset_ns - (int64_t)(c->utc_ns - c->now_ns);
    const struct weir_shm_provider_row *row = &c->t->provider[provider];
    uint64_t until_ns = 0;
    for (uint32_t v = 0; v < weir_hold_cnt(row);
         v++) { /* of several lines the longest: it is restored on all */
        uint64_t word = weir_load_acquire_u64(
            &c->region->provider[weir_hold_line(row, provider, v)].pause); /* pair:pause A */
        p->pause = v == 0 || weir_pause_until_ns(word) > until_ns ? word : p->pause;
        until_ns = weir_pause_until_ns(p->pause);
    }
    if (until_ns > c->now_ns) {
        p->pause_until_utc_ns = c->utc_ns + (until_ns - c->now_ns);
    }
}

/* Weir time as this machine's UTC; 0 stays 0. */
static uint64_t as_utc(const struct compose *c, uint64_t at_ns)
{
    return at_ns != 0 ? at_ns - c->now_ns + c->utc_ns : 0;
}

static void backoff_compose(struct compose *c, uint32_t provider)
{
    const struct weir_shm_provider_row *row = &c->t->provider[provider];
    const struct weir_shm_backoff *s = &c->region->backoff[provider];
    for (uint32_t v = 1; v < weir_hold_cnt(row); v++) {
        const struct weir_shm_backoff *o = &c->region->backoff[weir_hold_line(row, provider, v)];
        s = o->until_ns > s->until_ns || o->operator_until_ns > s->operator_until_ns ? o : s;
    }
    struct weir_journal_backoff *b = weir_journal_add(&c->writer, WEIR_JOURNAL_BACKOFF, sizeof *b);
    if (b == NULL) {
        c->full = true;
        return;
    }
    (void)snprintf(b->provider, sizeof b->provider, "%s", c->t->provider[provider].name);
    b->until_utc_ns = as_utc(c, s->until_ns);
    b->last_utc_ns = as_utc(c, s->last_ns);
    b->operator_until_utc_ns = as_utc(c, s->operator_until_ns);
    b->steps = s->steps;
    b->level = s->level;
    b->cause = s->cause;
}

uint64_t memory_compose(const struct region *region, const struct weir_tables *t,
                        const struct memory_raise *raise, const struct weir_journal_header *facts,
                        void *slot, uint64_t slot_bytes)
{
    struct compose c = {.region = region,
                        .t = t,
                        .raise = raise,
                        .now_ns = facts->monotonic_ns,
                        .utc_ns = facts->utc_ns};
    uint64_t began_ns = weir_clock_monotonic_ns();
    struct weir_journal_header *header = slot;
    weir_journal_begin(&c.writer, slot, slot_bytes, facts);
    for (uint32_t p = 0; p < t->provider_cnt; p++) {
        provider_compose(&c, p);
        backoff_compose(&c, p);
    }
    memory_each(t, limit_compose, &c);
    /* No unit that it holds was granted later: what is restored may be taken for older by what passes from here on. */
    uint64_t passed_ns = weir_clock_monotonic_ns() - began_ns;
    header->monotonic_ns += passed_ns;
    header->utc_ns += passed_ns;
    return c.full ? 0 : weir_journal_end(&c.writer);
}

/* ---------------------------------------------------------------------------------------------- resolve */

static void word_add(uint64_t *at, uint32_t k, uint64_t units, uint32_t quota)
{
    uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
    for (;;) { /* lock-free: each failed CAS is somebody's progress */
        int32_t diff = weir_window_diff(weir_window_id(seen), k);
        if (seen != 0 && diff > 0) {
            return; /* a later window has begun */
        }
        uint64_t have = seen != 0 && diff == 0 ? (uint32_t)seen : 0;
        uint64_t next = weir_window_word(k, (uint32_t)weir_min_u64(have + units, quota));
        WEIR_WEAVE("memory:resolve");
        if (weir_cas_u64(at, &seen, next)) { /* pair:limit R */
            return;
        }
    }
}

/* The last window in which a call granted at `at_ns` may be counted. */
static uint32_t window_latest(const struct weir_shm_limit_row *row,
                              const struct weir_server_clock *clock, uint64_t at_ns)
{
    struct weir_server_clock exact = *clock;
    exact.drift_ppb = 0;
    /* The sample may be younger than the instant: the error grows to both sides of it. */
    uint64_t sampled_ns = clock->sampled_at_ns;
    uint64_t age_ns = at_ns > sampled_ns ? at_ns - sampled_ns : sampled_ns - at_ns;
    uint64_t reach_ns =
        2 * weir_server_clock_error_ns(clock, sampled_ns + age_ns) + clock->jitter_ns;
    return window_first(row, &exact, at_ns + reach_ns);
}

void memory_resolve(const struct region *region, const struct weir_shm_limit_row *row,
                    uint32_t word, const struct weir_server_clock *clock, uint64_t now_ns)
{
    struct weir_shm_memory *m = &region->memory[word];
    if (m->base_until_ns == 0) {
        return;
    }
    uint32_t first = window_first(row, clock, now_ns);
    uint32_t latest = window_latest(row, clock, m->base_at_ns); /* of the base's last call */
    for (uint32_t k = first; k != first + 2; k++) {
        uint32_t e = k % WEIR_MEMORY_WINDOWS;
        uint64_t units = m->base_window[e] == k ? m->base_units[e] : 0;
        if (weir_window_diff(k, latest) <= 0) {
            units += m->base_floating;
        }
        if (units != 0) {
            word_add(&region->word[word].word[k & 1], k, units, weir_limit_peak(row));
            word_add(&region->own_word[word].word[k & 1], k, units, weir_limit_peak(row));
        }
    }
    m->base_until_ns = 0;
    m->base_floating = 0;
    memset(m->base_units, 0, sizeof m->base_units);
}

void memory_realigned(const struct region *region, uint32_t word)
{
    struct weir_shm_memory *m = &region->memory[word];
    for (uint32_t i = 0; i < 2; i++) {
        weir_store_relaxed_u64(&region->foreign[word].ceiling[i], 0); /* relaxed: as its load */
    }
    memset(m->window, 0, sizeof m->window);
    memset(m->units, 0, sizeof m->units);
}

static void exact_one(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                      void *arg)
{
    const struct region *region = arg;
    struct weir_shm_memory *m = &region->memory[word];
    (void)limit;
    if (memory_is_rolling(row)) {
        memory_rolling_exact(region, row, word);
        return;
    }
    memory_realigned(region, word);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t w = weir_load_acquire_u64(&region->word[word].word[i]); /* pair:limit A */
        if ((uint32_t)w != 0) {
            m->window[weir_window_id(w) % WEIR_MEMORY_WINDOWS] = weir_window_id(w);
            m->units[weir_window_id(w) % WEIR_MEMORY_WINDOWS] = (uint32_t)w;
        }
    }
}

void memory_exact(const struct region *region, const struct weir_tables *t)
{
    memory_each(t, exact_one, (void *)(uintptr_t)region);
}

/* ---------------------------------------------------------------------------------------------- restore */

struct restore {
    struct region *region;
    const struct weir_tables *t;
    const struct weir_journal_view *view;
    struct memory_since since; /* for kinds without windows */
    uint64_t now_ns;
    uint64_t
        utc_ns; /* never before the journal was written: a clock that was set back makes no pause longer */
    bool keep_words;
};

/* A limit that has changed its kind has another record: it is not found. */
static const struct weir_journal_named *limit_find(const struct weir_journal_view *view,
                                                   enum weir_journal_kind kind, uint64_t identity)
{
    const struct weir_journal_record *r = NULL;
    while ((r = weir_journal_next(view->header, r)) != NULL) {
        const struct weir_journal_named *n = (const void *)r;
        if (r->kind == kind && n->identity == identity) {
            return n;
        }
    }
    return NULL;
}

/*
 * The configuration of this start may have a lower quota than the one by which these units were granted. What is remembered is not cut to it: a later configuration may raise it
 * again within the window. So the row's peak is as after a reload (weir_limit_peak).
 */
void memory_peak_raise(const struct weir_shm_limit_row *row, uint64_t units)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        units = weir_min_u64(units, (UINT64_C(1) << 61) / row->unit_ns); /* as weir_tables.c asks */
    }
    if (units > weir_limit_peak(row)) { /* the supervisor's own block, before anybody maps it */
        ((struct weir_shm_limit_row *)(uintptr_t)row)->quota_peak =
            (uint32_t)weir_min_u64(units, PEAK_MAX);
    }
}

void memory_peak(const struct weir_shm_limit_row *row, const uint64_t word[2])
{
    if (row->kind == WEIR_LIMIT_FIXED_WINDOW) {
        memory_peak_raise(row, weir_max_u64((uint32_t)word[0], (uint32_t)word[1]));
    }
}

void memory_sign(const struct region *region)
{
    /* pair:tables A */
    uint32_t index = (uint32_t)weir_load_acquire_u64(&region->gate->tables);
    struct weir_shm_tables *t =
        (void *)(region->tables + index % region->tables_cnt * region->tables_stride_bytes);
    t->checksum = weir_tables_checksum(t);
}

/* What the record says becomes the word's base. A torn neighbour may have been on disk once: then one step more may have been granted, by the quota of then. */
static void base_fill(const struct restore *x, const struct weir_shm_limit_row *row, uint32_t word,
                      const struct weir_journal_limit *l)
{
    struct weir_shm_memory *m = &x->region->memory[word];
    uint64_t more = x->view->other_torn ? memory_step(row, l->quota) : 0;
    uint64_t most = weir_max_u64(weir_limit_peak(row), l->quota);
    uint64_t jitter_ns = x->t->provider[row->provider].jitter_ns;
    uint64_t named = 0;
    uint64_t floating = (l->floating != 0 ? (uint64_t)l->floating + more : 0) + l->ahead;
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS; e++) {
        uint64_t units = l->units[e] != 0 ? (uint64_t)l->units[e] + more : 0;
        named += units != 0;
        memory_peak_raise(row, weir_min_u64(units, weir_max_u64(l->units[e], most)));
        m->base_window[e] = 0;
        m->base_units[e] = 0;
        if (l->window[e] % WEIR_MEMORY_WINDOWS == e) {
            m->base_window[e] = l->window[e];
            m->base_units[e] = (uint32_t)weir_min_u64(units, weir_limit_peak(row));
        }
    }
    memory_peak_raise(row, weir_min_u64(floating, weir_max_u64(l->floating, most)));
    m->base_floating = (uint32_t)weir_min_u64(floating, weir_limit_peak(row));
    m->base_at_ns = x->now_ns;
    /* Of a calendar the row has the shortest window: months and days with a change of the clock differ by less than a quarter. */
    uint64_t longest_ns = row->window_ns + (row->calendar_cnt != 0 ? row->window_ns / 4 : 0);
    /* One window may have begun just now; a second one was charged ahead of it, if at all. */
    m->base_until_ns = x->now_ns + (named > 1 ? 2 : 1) * longest_ns + 2 * jitter_ns;
}

/* Does a limit still have a scope value of this name? */
static bool scope_stays(const struct weir_tables *t, const struct weir_shm_limit_row *row,
                        const char *name)
{
    for (uint32_t v = 0; v < row->word_cnt; v++) {
        if (strcmp(scope_name(t, row, row->word_first + v), name) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Of a word that a clean journal does not name: was the limit there, so that what was used of it may have been this word's? It counts in another way now, or for others, or a scope value has
 * another name. (One that is in a pool was everybody's before.)
 */
static bool was_another(const struct restore *x, const struct weir_shm_limit_row *row,
                        const struct names *names)
{
    const struct weir_journal_record *r = NULL;
    while ((r = weir_journal_next(x->view->header, r)) != NULL) {
        const char *text = weir_journal_names(r);
        if (text == NULL || strncmp(text, names->provider, WEIR_NAME_BYTES) != 0 ||
            strncmp(text + WEIR_NAME_BYTES, names->limit, WEIR_NAME_BYTES) != 0) {
            continue;
        }
        const char *scope = text + 2UL * WEIR_NAME_BYTES;
        uint64_t identity =
            weir_journal_identity(names->provider, names->limit, row->scope_kind, scope);
        if (r->kind != memory_record_kind(row) || row->value_first != 0 ||
            ((const struct weir_journal_named *)(const void *)r)->identity != identity ||
            !scope_stays(x->t, row, scope)) {
            return true;
        }
    }
    return false;
}

/* Nothing is known of it: both accounts count as spent. */
static void word_spend(struct restore *x, const struct weir_shm_limit_row *row, uint32_t word)
{
    const struct region *region = x->region;
    x->region->guessed_ns[row - x->t->limit] = x->now_ns;
    struct weir_server_clock clock = memory_clock(region, row->provider);
    const struct weir_limit_place at = {row, &region->word[word],
                                        weir_limit_cells(region->cell, row, word)};
    const struct weir_limit_place own = {row, &region->own_word[word],
                                         weir_limit_cells(region->own_cell, row, word)};
    weir_limit_spend(&at, &clock, x->now_ns);
    weir_limit_spend(&own, &clock, x->now_ns);
}

static void restore_one(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                        void *arg)
{
    struct restore *x = arg;
    const struct region *region = x->region;
    struct weir_server_clock clock = memory_clock(region, row->provider);
    struct names names;
    (void)limit;
    if (x->keep_words && (memory_is_rolling(row) || clock.state == WEIR_CLOCK_KNOWN)) {
        return;
    }
    names_fill(&names, x->t, row, word);
    const struct weir_journal_named *n =
        limit_find(x->view, memory_record_kind(row), names.identity);
    bool clean = (x->view->header->flags & WEIR_JOURNAL_CLEAN) != 0;
    if (n == NULL && x->keep_words) {
        return; /* the state knew it, or knew that it is new */
    }
    if (n == NULL && clean && !was_another(x, row, &names)) { /* new in the configuration */
        return;
    }
    /* A bucket's window is in its rate, which its record has: what was owed is owed still. */
    if (n == NULL || (row->kind != WEIR_LIMIT_TOKEN_BUCKET && n->shape != row->shape)) {
        word_spend(x, row, word);
        return;
    }
    memset(&region->word[word], 0, sizeof region->word[word]); /* nobody else has this memory yet */
    memset(&region->own_word[word], 0, sizeof region->own_word[word]);
    if (memory_is_rolling(row)) {
        memory_rolling_restore(region, row, word, &x->since, &n->head);
        return;
    }
    base_fill(x, row, word, (const void *)n);
    if (clock.state == WEIR_CLOCK_KNOWN) {
        memory_resolve(region, row, word, &clock, x->now_ns);
    }
}

/* Clock and pause of a provider, by name. */
static void provider_restore(const struct restore *x, uint32_t provider,
                             const struct weir_journal_provider *p, bool same_boot)
{
    struct weir_shm_provider *to = &x->region->provider[provider];
    bool usable = p->clock.state == WEIR_CLOCK_KNOWN && p->clock.sampled_at_ns <= x->now_ns &&
                  p->clock.drift_ppb < WEIR_NS_PER_S;
    if (same_boot && usable) {
        uint64_t value[WEIR_SERVER_CLOCK_WORDS];
        struct weir_server_clock clock = p->clock; /* its error has grown with its age */
        clock.jitter_ns = weir_max_u64(clock.jitter_ns, x->t->provider[provider].jitter_ns);
        memcpy(value, &clock, sizeof value);
        weir_latch_write(&to->clock_seq, to->clock, value, WEIR_SERVER_CLOCK_WORDS);
    }
    const struct weir_shm_provider_row *row = &x->t->provider[provider];
    for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
        /* nobody else has this memory yet */
        uint64_t *pause = &x->region->provider[weir_hold_line(row, provider, v)].pause;
        if (same_boot) {
            *pause = p->pause;
        } else if (p->pause_until_utc_ns > x->utc_ns) {
            *pause = weir_pause_make(x->now_ns + (p->pause_until_utc_ns - x->utc_ns),
                                     weir_pause_cause(p->pause), weir_pause_generation(p->pause));
        }
    }
}

/* The other way round; what was before this boot began becomes its first instant. */
static uint64_t as_weir(const struct restore *x, uint64_t utc_ns, bool same_boot)
{
    uint64_t from_utc_ns = same_boot ? x->view->header->utc_ns : x->utc_ns;
    uint64_t from_ns = same_boot ? x->view->header->monotonic_ns : x->now_ns;
    if (utc_ns == 0) {
        return 0;
    }
    if (utc_ns < from_utc_ns && from_utc_ns - utc_ns >= from_ns) {
        return 1;
    }
    return from_ns + (utc_ns - from_utc_ns);
}

static void backoff_restore(const struct restore *x, uint32_t provider,
                            const struct weir_journal_backoff *b, bool same_boot)
{
    const struct weir_shm_provider_row *row = &x->t->provider[provider];
    for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
        /* nobody else has it yet */
        struct weir_shm_backoff *s = &x->region->backoff[weir_hold_line(row, provider, v)];
        s->until_ns = as_weir(x, b->until_utc_ns, same_boot);
        s->last_ns = as_weir(x, b->last_utc_ns, same_boot);
        s->operator_until_ns = as_weir(x, b->operator_until_utc_ns, same_boot);
        s->steps = b->steps;
        s->level = b->level;
        s->cause = b->cause;
    }
}

static void providers_restore(const struct restore *x, bool same_boot)
{
    const struct weir_journal_record *r = NULL;
    while ((r = weir_journal_next(x->view->header, r)) != NULL) {
        const struct weir_journal_provider *p = (const void *)r;
        const struct weir_journal_backoff *b = (const void *)r;
        for (uint32_t i = 0; i < x->t->provider_cnt; i++) {
            const char *name = x->t->provider[i].name;
            if (r->kind == WEIR_JOURNAL_PROVIDER && strcmp(p->provider, name) == 0) {
                provider_restore(x, i, p, same_boot);
            } else if (r->kind == WEIR_JOURNAL_BACKOFF && strcmp(b->provider, name) == 0) {
                backoff_restore(x, i, b, same_boot);
            }
        }
    }
}

void memory_restore(struct region *region, const struct weir_tables *t,
                    const struct weir_journal_view *view, const char *boot_id, bool keep_words,
                    const struct memory_when *when)
{
    const struct weir_journal_header *h = view->header;
    struct restore x = {.region = region,
                        .t = t,
                        .view = view,
                        .now_ns = when->now_ns,
                        .utc_ns = weir_max_u64(when->utc_ns, h->utc_ns),
                        .keep_words = keep_words};
    x.since =
        (struct memory_since){.header = h,
                              .same_boot = strcmp(h->boot_id, boot_id) == 0,
                              .torn = view->other_torn,
                              .now_ns = when->now_ns,
                              .passed_ns = memory_passed_ns(h->utc_ns, h->utc_error_ns,
                                                            when->utc_ns, when->utc_error_ns)};
    if (!keep_words) {
        providers_restore(&x, x.since.same_boot);
    }
    memory_each(t, restore_one, &x);
}
