#include "broker/ceiling.h"

#include "broker/journal.h"
#include "broker/log.h"
#include "broker/memory_rolling.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS  (1 * WEIR_NS_PER_MS) /* at most so often */
#define RETRY_NS (1 * WEIR_NS_PER_S)
#define SAY_NS   (60 * WEIR_NS_PER_S) /* a disk that goes on failing */
#define SLOW_NS  (1 * WEIR_NS_PER_S)  /* a write that takes so long is worth a line */

struct ceilings {
    struct memory_raise *raise; /* one per long word, in the order of memory_each */
    uint32_t cnt;
    struct journal *journal;
    uint64_t
        *pause; /* [hold]: the board's word as last written; anything else where a write failed */
    unsigned char *image;
    uint32_t image_bytes;
    uint64_t look_at_ns;
    /* the write under way */
    bool writing, slow_told;
    int32_t result[2]; /* of the write, of the fsync */
    uint32_t events;
    uint64_t sequence, slot, started_ns;
    /* failures in a row */
    uint64_t failures, said_at_ns;
};

static void raise_fill(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                       void *arg)
{
    struct ceilings *c = arg;
    (void)row;
    c->raise[c->cnt++] = (struct memory_raise){.limit = limit, .word = word};
}

bool ceiling_open(struct worker *w)
{
    struct journal *j = w->region->journal;
    if (j == NULL || j->fd < 0) {
        return true;
    }
    struct ceilings *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return false;
    }
    c->journal = j;
    c->raise = calloc(memory_cnt(&w->shared.tables) + 1U, sizeof *c->raise);
    c->image = aligned_alloc(WEIR_LINE_BYTES, j->slot_bytes);
    c->pause = calloc(w->region->hold_cnt + 1U, sizeof *c->pause);
    if (c->raise == NULL || c->image == NULL || c->pause == NULL) {
        return false;
    }
    memory_each(&w->shared.tables, raise_fill, c);
    w->ceilings = c;
    return true;
}

/* ---------------------------------------------------------------------------------------------- what to raise */

/* How far the ceilings of a word may still grow in all while an earlier broker's usage waits for the exchange's clock (memory.h). */
static uint64_t budget_of(const struct weir_shm_memory *m, const struct weir_shm_limit_row *row,
                          const struct weir_server_clock *clock)
{
    if (m->base_until_ns == 0 || clock->state == WEIR_CLOCK_KNOWN) {
        return UINT64_MAX;
    }
    uint64_t used = memory_base_most(m, row->quota);
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS; e++) {
        used += m->units[e];
    }
    return used < row->quota ? row->quota - used : 0;
}

/* Units charged to window `k`: the larger of the two accounts. */
static uint32_t charged(const struct region *r, uint32_t word, uint32_t k)
{
    bool ahead;
    uint64_t shared = weir_load_acquire_u64(&r->word[word].word[k & 1]);  /* pair:limit A */
    uint64_t own = weir_load_relaxed_u64(&r->own_word[word].word[k & 1]); /* relaxed: our own */
    return (uint32_t)weir_max_u64(weir_window_units(shared, k, &ahead),
                                  weir_window_units(own, k, &ahead));
}

/* The largest cost that was refused since the last raise; hostile values are cut to the quota. */
static uint32_t wanted(const struct region *r, const struct weir_shm_limit_row *row, uint32_t word)
{
    uint64_t units = weir_max_u64(
        weir_load_relaxed_u64(&r->word[word].ceiling_wanted), /* relaxed, both: hints */
        weir_load_relaxed_u64(&r->own_word[word].ceiling_wanted));
    return (uint32_t)weir_min_u64(units, row->quota);
}

/* Surcharges of `units` came between two writes, or passed a ceiling by so much: the next ones may. */
static void ahead_learn(struct weir_shm_memory *m, const struct weir_shm_limit_row *row,
                        uint64_t units)
{
    m->ahead = (uint32_t)weir_max_u64(m->ahead, weir_min_u64(units, row->quota));
}

/* Plan window `k`: a step above what is charged, once less than half a step is left. */
static void window_plan(const struct region *r, const struct weir_shm_limit_row *row,
                        struct memory_raise *raise, uint32_t k, uint32_t want, uint64_t *budget)
{
    struct weir_shm_memory *m = &r->memory[raise->word];
    uint64_t have = memory_ceiling(m, k);
    uint64_t count = weir_min_u64(charged(r, raise->word, k), weir_limit_peak(row));
    uint64_t step = row->ceiling_step;
    ahead_learn(m, row, have != 0 && count > have ? count - have : 0);
    if (have > count + step / 2 && have >= count + want) {
        return;
    }
    uint64_t next = weir_min_u64(count + weir_max_u64(step, want), weir_limit_peak(row));
    if (next <= have) {
        return;
    }
    /* What is charged already is covered whatever the budget says; only room ahead of it is rationed. */
    if (next - have > *budget) {
        next = weir_max_u64(have + *budget, count);
    }
    if (next > have) {
        *budget -= weir_min_u64(*budget, next - have);
        raise->window[raise->cnt] = k;
        raise->units[raise->cnt++] = (uint32_t)next;
    }
}

static void windows_plan(struct worker *w, struct memory_raise *raise, uint32_t want)
{
    const struct region *r = w->region;
    const struct weir_shm_limit_row *row = &w->shared.tables.limit[raise->limit];
    const struct weir_server_clock *clock = &w->provider[row->provider].published;
    struct weir_shm_memory *m = &r->memory[raise->word];
    struct weir_window_span span;
    if (m->base_until_ns != 0 && w->now_ns >= m->base_until_ns) {
        m->base_until_ns = 0; /* whatever it may have counted in is over */
    }
    uint64_t error_ns = weir_server_clock_error_ns(clock, w->now_ns);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row, clock, error_ns, w->now_ns);
    uint64_t budget = budget_of(m, row, clock);
    window_plan(r, row, raise, span.first, want, &budget);
    /* Without a clock every ceiling counts wherever it may: none is given ahead of its window. */
    bool late = clock->state == WEIR_CLOCK_KNOWN &&
                span.left_ns < row->window_ns / 2 + clock->jitter_ns + 2 * error_ns;
    if (span.windows == 2 || late) {
        window_plan(r, row, raise, span.first + 1, span.windows == 2 ? want : 0, &budget);
    }
}

/*
 * A bucket's ceiling is a TAT, so it must also be moved on while nobody asks: it is kept a step ahead, and raised by a quarter of one more, 60 s at most, so
 * that a bucket which is left alone costs few writes.
 */
static void bucket_plan(const struct region *r, const struct weir_shm_limit_row *row,
                        struct memory_raise *raise, uint32_t want, uint64_t now_ns)
{
    struct weir_shm_memory *m = &r->memory[raise->word];
    uint64_t have = weir_load_relaxed_u64(&r->foreign[raise->word].ceiling[0]); /* relaxed: ours */
    uint64_t tat = memory_tat(r, row, raise->word, now_ns);
    uint64_t lead_ns = weir_max_u64(row->ceiling_step, want) * row->unit_ns;
    uint64_t reach =
        weir_max_u64(have, now_ns); /* a ceiling that time has overtaken says nothing */
    if (have != 0 && tat > reach) {
        ahead_learn(m, row, (tat - reach + row->unit_ns - 1) / row->unit_ns);
    }
    uint64_t from = weir_max_u64(tat, now_ns);
    if (have < from + lead_ns) {
        raise->cnt = 1;
        raise->board =
            from + lead_ns + weir_min_u64(row->ceiling_step * row->unit_ns / 4, 60 * WEIR_NS_PER_S);
        raise->disk =
            raise->board; /* its record says what surcharges may add, from whatever instant on */
    }
}

/*
 * A sliding window's ceiling is a number of units since the start (weir_sliding.h). The private account counts by the same ceiling: each write sets it to where
 * the shared one stands, so what is refused there after it was taken here does not use the ceiling up for long.
 */
static void parts_plan(const struct region *r, const struct weir_shm_limit_row *row,
                       struct memory_raise *raise, uint32_t want)
{
    struct weir_shm_memory *m = &r->memory[raise->word];
    uint64_t taken = weir_load_acquire_u64(&r->word[raise->word].word[0]);   /* pair:taken A */
    uint64_t own = weir_load_relaxed_u64(&r->own_word[raise->word].word[0]); /* relaxed: our own */
    uint64_t have = weir_load_relaxed_u64(&r->foreign[raise->word].ceiling[0]); /* relaxed: ours */
    uint64_t step = row->ceiling_step;
    uint64_t most = (int64_t)(own - taken) > 0 ? own : taken;
    int64_t left = (int64_t)(have - most);
    raise->added = weir_load_acquire_u64(&r->word[raise->word].word[1]); /* pair:taken A */
    ahead_learn(m, row, raise->added - m->added);
    if (left <= (int64_t)(step / 2) || left < (int64_t)want) {
        raise->cnt = 1;
        raise->board = taken + weir_max_u64(step, want);
        raise->disk = raise->board + memory_ahead(m, row);
    }
}

static void raise_plan(struct worker *w, struct memory_raise *raise)
{
    const struct region *r = w->region;
    const struct weir_shm_limit_row *row = &w->shared.tables.limit[raise->limit];
    uint32_t want = wanted(r, row, raise->word);
    raise->cnt = 0;
    raise->epoch =
        weir_load_relaxed_u64(&r->provider[row->provider].clock_epoch); /* relaxed: our own */
    switch (memory_record_kind(row)) {
    case WEIR_JOURNAL_BUCKET:
        bucket_plan(r, row, raise, want, w->now_ns);
        break;
    case WEIR_JOURNAL_ROLLING:
        parts_plan(r, row, raise, want);
        break;
    case WEIR_JOURNAL_LIMIT:
    case WEIR_JOURNAL_PROVIDER:
    case WEIR_JOURNAL_BACKOFF:
        windows_plan(w, raise, want);
        break;
    }
    if (want != 0) {
        weir_store_relaxed_u64(&r->word[raise->word].ceiling_wanted, 0); /* relaxed, both: hints */
        weir_store_relaxed_u64(&r->own_word[raise->word].ceiling_wanted, 0);
    }
}

/*
 * The write holds the parts as they stand, so units are counted from here on for it: the private account must not have less behind it than the
 * shared one, or it could grant more than both journals, the one on disk and the one under way, allow for.
 */
static void parts_composed(const struct region *r, struct memory_raise *raise)
{
    struct weir_shm_limit_word *own = &r->own_word[raise->word];
    uint64_t mine = weir_load_relaxed_u64(&own->word[0]);                /* relaxed: our own */
    raise->taken = weir_load_acquire_u64(&r->word[raise->word].word[0]); /* pair:taken A */
    raise->own_taken = (int64_t)(mine - raise->taken) > 0 ? mine : raise->taken;
    weir_store_relaxed_u64(&own->word[0], raise->own_taken); /* relaxed: our own */
}

/* A pause that began or ended must outlive the host, too. */
static bool pauses_changed(struct worker *w, struct ceilings *c)
{
    bool any = false;
    for (uint32_t p = 0; p < w->region->hold_cnt; p++) {
        uint64_t word = weir_load_acquire_u64(&w->region->provider[p].pause); /* pair:pause A */
        any |= word != c->pause[p];
        c->pause[p] = word;
    }
    return any;
}

void ceiling_turn(struct worker *w)
{
    struct ceilings *c = w->ceilings;
    if (c == NULL || w->now_ns < c->look_at_ns) {
        return;
    }
    if (c->writing) {
        if (!c->slow_told && w->now_ns - c->started_ns > SLOW_NS) {
            c->slow_told = true;
            log_warn("journal_slow", "s:s, s:I", "path", c->journal->dir, "waiting_ms",
                     (long long)((w->now_ns - c->started_ns) / WEIR_NS_PER_MS));
        }
        return;
    }
    c->look_at_ns = w->now_ns + LOOK_NS * (1 + c->cnt / 64); /* a look costs by the word */
    bool any = pauses_changed(w, c);
    for (uint32_t i = 0; i < c->cnt; i++) {
        raise_plan(w, &c->raise[i]);
        any |= c->raise[i].cnt != 0;
    }
    if (!any) {
        return;
    }
    struct weir_journal_header facts;
    c->sequence = w->region->own->journal_sequence + 1;
    c->slot = 1 - w->region->own->journal_slot;
    journal_facts(c->journal, w->region, c->sequence, 0, &facts);
    uint64_t used = memory_compose(w->region, &w->shared.tables, c->raise, &facts, c->image,
                                   c->journal->slot_bytes);
    for (uint32_t i = 0; i < c->cnt; i++) {
        const struct weir_shm_limit_row *row = &w->shared.tables.limit[c->raise[i].limit];
        if (memory_record_kind(row) == WEIR_JOURNAL_ROLLING) {
            parts_composed(w->region, &c->raise[i]);
        }
    }
    c->image_bytes = (uint32_t)used;
    c->writing = true;
    c->slow_told = false;
    c->events = 0;
    c->started_ns = w->now_ns;
    WEIR_WEAVE("journal:composed");
    loop_write_sync(&w->loop, (uint32_t)c->sequence, c->journal->fd, c->image, c->image_bytes,
                    c->slot * c->journal->slot_bytes);
}

bool ceiling_is_writing(const struct worker *w)
{
    return w->ceilings != NULL && w->ceilings->writing;
}

/* ---------------------------------------------------------------------------------------------- what was written */

static void windows_publish(const struct region *r, const struct weir_shm_limit_row *row,
                            const struct memory_raise *raise)
{
    struct weir_shm_memory *m = &r->memory[raise->word];
    if (raise->epoch !=
        weir_load_relaxed_u64(&r->provider[row->provider].clock_epoch)) { /* relaxed: our own */
        return; /* its ids are of a timeline that has ended meanwhile */
    }
    for (uint32_t i = 0; i < raise->cnt; i++) {
        uint32_t k = raise->window[i];
        m->window[k % WEIR_MEMORY_WINDOWS] = k;
        m->units[k % WEIR_MEMORY_WINDOWS] = raise->units[i];
        weir_store_relaxed_u64(
            &r->foreign[raise->word].ceiling[k & 1],
            weir_window_word(k, raise->units[i])); /* relaxed: the word alone decides */
    }
}

/* The counts of the private account go on from where the shared one stood in what was written: before the board allows more. */
static void rolling_publish(const struct region *r, const struct weir_shm_limit_row *row,
                            const struct memory_raise *raise)
{
    struct weir_shm_memory *m = &r->memory[raise->word];
    struct weir_shm_limit_word *own = &r->own_word[raise->word];
    if (memory_record_kind(row) == WEIR_JOURNAL_ROLLING) {
        uint64_t since =
            weir_load_relaxed_u64(&own->word[0]) - raise->own_taken; /* relaxed: ours */
        weir_store_relaxed_u64(&own->word[0], raise->taken + since);
        m->added = raise->added;
    }
    if (raise->cnt > 0) {
        m->rolling = raise->disk;
        weir_store_relaxed_u64(&r->foreign[raise->word].ceiling[0],
                               raise->board); /* relaxed: the word alone decides */
    }
}

/* On disk: the ledger, and then the board, may say so. */
static void publish(struct worker *w, const struct memory_raise *raise)
{
    const struct weir_shm_limit_row *row = &w->shared.tables.limit[raise->limit];
    if (memory_is_rolling(row)) {
        rolling_publish(w->region, row, raise);
    } else {
        windows_publish(w->region, row, raise);
    }
    if (raise->cnt > 0) {
        weir_permit_bell(&w->region->pause[row->provider]);
    }
}

static void failed(struct worker *w, struct ceilings *c, int error)
{
    struct weir_shm_journal *b = w->region->journal_board;
    weir_store_relaxed_u32(&b->state, WEIR_JOURNAL_STATE_FAILING); /* relaxed: for people, all */
    weir_store_relaxed_u32((uint32_t *)&b->error, (uint32_t)error);
    board_add(&b->failures, 1);
    c->look_at_ns = w->now_ns + RETRY_NS;
    memset(c->pause, 0xff, w->region->hold_cnt * sizeof *c->pause); /* write them again */
    if (c->failures++ == 0 || w->now_ns - c->said_at_ns >= SAY_NS) {
        c->said_at_ns = w->now_ns;
        log_error("journal_not_written", "s:s, s:s, s:s, s:s, s:I", "path", c->journal->dir,
                  "reason", strerror(error), "meaning",
                  "limits above 10 min grant up to what is on disk, then no more", "next_step",
                  "make room or repair the disk; it is tried again every second", "failures",
                  (long long)c->failures);
    }
}

static void succeeded(struct worker *w, struct ceilings *c)
{
    struct weir_shm_journal *b = w->region->journal_board;
    uint64_t now_ns = worker_now(w);
    WEIR_WEAVE("journal:durable");
    w->region->own->journal_slot = c->slot; /* nobody else reads the ledger while we live */
    w->region->own->journal_sequence = c->sequence;
    WEIR_WEAVE("journal:owned");
    for (uint32_t i = 0; i < c->cnt; i++) {
        publish(w, &c->raise[i]);
        WEIR_WEAVE("journal:raised");
    }
    weir_store_relaxed_u32(&b->state, WEIR_JOURNAL_STATE_WORKS); /* relaxed: for people, all */
    weir_store_relaxed_u64(&b->sequence, c->sequence);
    weir_store_relaxed_u64(&b->written_at_ns, now_ns);
    board_add(&b->writes, 1);
    if (now_ns - c->started_ns > weir_load_relaxed_u64(&b->sync_max_ns)) { /* relaxed: our own */
        weir_store_relaxed_u64(&b->sync_max_ns, now_ns - c->started_ns);
    }
    if (c->failures > 0) {
        log_info("journal_written_again", "s:I", "failures", (long long)c->failures);
        c->failures = 0;
    }
    c->look_at_ns = 0; /* more may have been charged meanwhile */
    worker_due(w, now_ns);
}

void ceiling_event(struct worker *w, const struct loop_event *e)
{
    struct ceilings *c = w->ceilings;
    if (c == NULL || !c->writing || e->index > 1 ||
        e->generation != ((uint32_t)c->sequence & 0xffffffU)) {
        return;
    }
    c->result[e->index] = e->result;
    if (++c->events < 2) {
        return;
    }
    c->writing = false;
    int32_t written = c->result[0];
    if (written == (int32_t)c->image_bytes && c->result[1] == 0) {
        succeeded(w, c);
    } else if (written < 0) {
        failed(w, c, -written);
    } else {
        failed(w, c, written != (int32_t)c->image_bytes ? ENOSPC : -c->result[1]);
    }
}

void ceiling_realigned(struct worker *w, uint32_t provider, const struct weir_server_clock *to,
                       uint64_t now_ns)
{
    struct ceilings *c = w->ceilings;
    for (uint32_t i = 0; c != NULL && i < c->cnt; i++) {
        const struct weir_shm_limit_row *row = &w->shared.tables.limit[c->raise[i].limit];
        if (row->provider != provider || memory_is_rolling(row)) {
            continue;
        }
        memory_realigned(w->region, c->raise[i].word);
        if (to != NULL && to->state == WEIR_CLOCK_KNOWN) {
            memory_resolve(w->region, row, c->raise[i].word, to, now_ns);
        }
        c->look_at_ns = 0;
    }
}
