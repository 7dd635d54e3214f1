/*
 * prop_memory.c: random crashes of the host under a long window, against a simulated exchange.
 *
 * Each schedule draws quota, window, jitter, offsets; then permits are taken by the real permit path, the worker's planner raises ceilings, writes
 * reach the disk or do not, the exchange's clock becomes known, and the host dies: memory is lost, the monotonic clock starts anew, this
 * machine's UTC may be anything, and only the last write that reached the disk (or the one under way) is there. Sometimes only the worker
 * dies, or the broker stops cleanly.
 *
 * Oracle, in plain arithmetic, by the true server time that the code under test does not know:
 *   window   the server counts at most N units in each of its windows, over all lives of the host
 *   loss     when the clock is known again, weir counts at most what it counted in that window before, plus one step for each death (where
 *            nothing was taken while the clock was unknown: that is carried over by a rougher rule, weir_limit_repair.h)
 *   forgotten  ... and at least what it counted before, surcharges included
 *   exact    after a clean stop with a known clock nothing is counted too much
 *
 * Surcharges (calls that are settled for more) pass a ceiling by no more than the room that is kept for them: the condition of the promise. The
 * exchange's count here leaves them out: it has counted them before anybody knows.
 *
 * broker/ceiling.c is part of this program, so that its planner runs as it is; the loop and the disk are played here.
 *
 * prop_memory [--seed N] [--schedules N] [--seconds N]
 */
#include "broker/ceiling.c" /* NOLINT: its statics are what is tested */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "fixture.h"

#define SLOT_BYTES 4096U
#define WINDOWS    512

/* ---------------------------------------------------------------------------------------------- what ceiling.c asks of weird */

void loop_write_sync(struct loop *loop, uint32_t generation, int fd, const void *at, uint32_t bytes,
                     uint64_t off)
{
    (void)loop, (void)generation, (void)fd, (void)at, (void)bytes, (void)off;
}

void log_event(enum weir_config_log level, const char *event, const char *fields, ...)
{
    (void)level, (void)event, (void)fields;
}

static struct {
    struct fixture f;
    struct weir_permit_view view;
    struct worker w;
    struct region region;
    struct journal journal;
    struct provider provider;
    struct weir_shm_ledger ledger;
    struct weir_shm_backoff backoff;
    struct weir_shm_journal board;
    struct weir_shm_memory memory[FIXTURE_WORDS];
    unsigned char disk[2 * SLOT_BYTES] __attribute__((aligned(128)));
    uint64_t true_ns;  /* the server's time */
    int64_t offset_ns; /* server minus weir time, true in this boot */
    uint64_t counted[WINDOWS], number[WINDOWS];
    uint64_t before[WINDOWS], before_number[WINDOWS];
    uint64_t surplus_max;    /* what weir may count too much */
    bool floated;            /* something was taken while the clock was unknown */
    struct weir_permit last; /* the last one granted, while it is open */
    uint64_t jitter_ns, window_ns, boots, step_max;
    uint32_t quota, dearest, step, ahead;
    uint64_t random, seed;
} s;

static struct {
    uint64_t schedules, granted, refused, crashes, stops, resolved, full, compared, surcharges;
} total;

void journal_facts(const struct journal *j, const struct region *region, uint64_t sequence,
                   uint32_t flags, struct weir_journal_header *out)
{
    (void)j, (void)region;
    *out = (struct weir_journal_header){.sequence = sequence,
                                        .flags = flags,
                                        .utc_ns = 1,
                                        .monotonic_ns = s.true_ns - (uint64_t)s.offset_ns,
                                        .name = "prop"};
    (void)snprintf(out->boot_id, sizeof out->boot_id, "%" PRIu64, s.boots);
}

static uint64_t below(uint64_t n)
{
    return n == 0 ? 0 : fixture_random_below(&s.random, n);
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static void violated(const char *what, uint64_t got, uint64_t allowed)
{
    printf("VIOLATED: %s: %" PRIu64 ", allowed %" PRIu64 ": repeat with --seed %" PRIu64
           " --schedules 1\n",
           what, got, allowed, s.seed);
    exit(1);
}

/* ---------------------------------------------------------------------------------------------- the server */

static uint64_t *counted_at(uint64_t server_ns)
{
    uint64_t k = server_ns / s.window_ns;
    if (s.number[k % WINDOWS] != k) {
        s.number[k % WINDOWS] = k;
        s.counted[k % WINDOWS] = 0;
    }
    return &s.counted[k % WINDOWS];
}

static void arrive(uint32_t units)
{
    uint64_t *n = counted_at(s.true_ns + below(s.jitter_ns));
    *n += units;
    if (*n > s.quota) {
        violated("units in one window", *n, s.quota);
    }
}

/* ---------------------------------------------------------------------------------------------- a life of the host */

static uint64_t now_ns(void)
{
    return s.true_ns - (uint64_t)s.offset_ns;
}

static void time_pass(uint64_t ns)
{
    s.true_ns += ns;
    s.w.now_ns = now_ns();
    fixture_time_set(&s.view, now_ns());
}

static void clock_publish(const struct weir_server_clock *clock)
{
    fixture_server_clock(&s.f, clock);
    s.provider.published = *clock;
}

static void memory_lose(void)
{
    struct fixture_memory *m = s.f.memory;
    memset(m->word, 0, sizeof m->word);
    memset(m->own, 0, sizeof m->own);
    memset(m->foreign, 0, sizeof m->foreign);
    memset(s.memory, 0, sizeof s.memory);
    memset(&s.ledger, 0, sizeof s.ledger);
    s.last.state = WEIR_PERMIT_NONE; /* settled with nobody */
    free(s.w.ceilings != NULL ? s.w.ceilings->raise : NULL);
    free(s.w.ceilings != NULL ? s.w.ceilings->image : NULL);
    free(s.w.ceilings != NULL ? s.w.ceilings->pause : NULL);
    free(s.w.ceilings);
    s.w.ceilings = NULL;
}

/* Nothing but the names stands in the room for them: the journal must not carry what happened to lie in memory. */
static void names_check(const unsigned char *slot)
{
    const struct weir_journal_header *h = (const void *)slot;
    for (uint64_t at = sizeof *h; at < h->used_bytes;) {
        const struct weir_journal_record *r = (const void *)(slot + at);
        for (unsigned n = 0; r->kind == WEIR_JOURNAL_LIMIT && n < 3; n++) {
            const char *name = weir_journal_names(r) + (size_t)n * WEIR_NAME_BYTES;
            for (size_t i = strnlen(name, WEIR_NAME_BYTES); i < WEIR_NAME_BYTES; i++) {
                if (name[i] != '\0') {
                    violated("a byte of memory behind a name", (unsigned char)name[i], 0);
                }
            }
        }
        at += r->bytes;
    }
}

/* What journal_create does, on the disk of this test. */
static void journal_fill(uint32_t flags)
{
    memory_exact(&s.region, &s.view.tables);
    for (uint32_t slot = 0; slot < 2; slot++) {
        struct weir_journal_header facts;
        journal_facts(&s.journal, &s.region, ++s.ledger.journal_sequence, flags, &facts);
        (void)memory_compose(&s.region, &s.view.tables, NULL, &facts, s.disk + slot * SLOT_BYTES,
                             SLOT_BYTES);
        names_check(s.disk + slot * SLOT_BYTES);
    }
    s.ledger.journal_slot = 1;
}

/* A broker starts in a new boot, or (`same`) in the same one. */
static void begin(bool first, bool same)
{
    struct weir_journal_view view;
    char boot[WEIR_JOURNAL_BOOT_ID_BYTES];
    struct weir_server_clock unknown = {.state = WEIR_CLOCK_UNKNOWN, .jitter_ns = s.jitter_ns};
    memory_lose();
    s.boots += same ? 0 : 1;
    (void)snprintf(boot, sizeof boot, "%" PRIu64, s.boots);
    if (!same) {
        s.offset_ns = (int64_t)(s.true_ns - WEIR_NS_PER_S - below(1000 * WEIR_NS_PER_S));
    }
    /* This machine's UTC after a boot: right, off by some windows, or anything. */
    unknown.offset_ns = s.offset_ns;
    unknown.offset_ns +=
        one_in(2) ? 0 : (int64_t)below(8 * s.window_ns) - (int64_t)(4 * s.window_ns);
    time_pass(0);
    clock_publish(&unknown);
    if (!first) {
        if (weir_journal_find(&view, s.disk, sizeof s.disk) != WEIR_JOURNAL_SOUND) {
            violated("no sound slot", 0, 1);
        }
        uint64_t until_ns = s.backoff.until_ns;
        memset(&s.backoff, 0, sizeof s.backoff);
        const struct memory_when when = {now_ns(), 1, UINT64_MAX};
        memory_restore(&s.region, &s.view.tables, &view, boot, false, &when);
        if (s.backoff.level != 3 || s.backoff.steps != 7 ||
            (same && s.backoff.until_ns != until_ns)) {
            violated("the backoff is another one", s.backoff.until_ns, until_ns);
        }
        /* A clock that was restored is the one in use. */
        struct weir_server_clock clock = memory_clock(&s.region, 0);
        s.provider.published = clock;
        s.ledger.journal_sequence = view.header->sequence;
    }
    journal_fill(0);
    s.journal.slot_bytes = SLOT_BYTES;
    s.journal.fd = 3;
    if (!ceiling_open(&s.w)) {
        exit(99);
    }
}

/* The write under way reaches the disk: whole, torn, or not at all. */
static void disk_write(bool whole)
{
    const struct ceilings *c = s.w.ceilings;
    unsigned char *slot = s.disk + c->slot * SLOT_BYTES;
    memcpy(slot, c->image, whole ? c->image_bytes : below(c->image_bytes));
}

static void write_done(bool good)
{
    struct ceilings *c = s.w.ceilings;
    if (c->writing) {
        disk_write(good);
        for (uint32_t i = 0; i < 2; i++) {
            const struct loop_event e = {.index = i,
                                         .generation = (uint32_t)c->sequence & 0xffffffU,
                                         .result = !good    ? -EIO
                                                   : i == 0 ? (int)c->image_bytes
                                                            : 0};
            ceiling_event(&s.w, &e);
        }
    }
}

static void look(void)
{
    time_pass(below(20 * WEIR_NS_PER_MS));
    ceiling_turn(&s.w);
}

/* Is what is known of the exchange's windows on disk already? */
static bool durable(void)
{
    const uint32_t *u = s.memory[0].units;
    return s.provider.published.state == WEIR_CLOCK_KNOWN && (u[0] | u[1] | u[2] | u[3]) != 0;
}

/* Before memory goes: what it held, by window. While the clock was unknown it held nothing of the exchange's windows. */
static void counts_note(uint64_t loss)
{
    if (durable()) {
        s.surplus_max = 0;
        for (uint32_t i = 0; i < 2; i++) {
            uint64_t w = s.f.memory->word[0].word[i];
            if (w == 0) {
                continue;
            }
            s.before_number[weir_window_id(w) % WINDOWS] = weir_window_id(w);
            s.before[weir_window_id(w) % WINDOWS] = (uint32_t)w;
        }
    }
    s.surplus_max += loss;
}

/* How much weir counts in the server's current window, above what it counted before. */
static void surplus_check(void)
{
    uint32_t k = (uint32_t)(s.true_ns / s.window_ns);
    bool ahead;
    uint64_t mine = weir_window_units(s.f.memory->word[0].word[k & 1], k, &ahead);
    uint64_t before = s.before_number[k % WINDOWS] == k ? s.before[k % WINDOWS] : 0;
    if (s.floated) {
        return;
    }
    total.compared++;
    if (mine < weir_min_u64(before, s.quota)) {
        violated("forgotten: units", before - mine, 0);
    }
    if (mine > before + s.surplus_max) {
        violated("counted too much", mine, before + s.surplus_max);
    }
}

static void clock_known(void)
{
    const struct weir_server_clock from = s.provider.published;
    if (from.state == WEIR_CLOCK_KNOWN) {
        return;
    }
    uint64_t error_ns = below(2 * WEIR_NS_PER_S);
    struct weir_server_clock to = {.state = WEIR_CLOCK_KNOWN,
                                   .offset_ns = s.offset_ns + (int64_t)below(2 * error_ns + 1) -
                                                (int64_t)error_ns,
                                   .error_ns = error_ns,
                                   .sampled_at_ns = now_ns(),
                                   .drift_ppb = 1000,
                                   .jitter_ns = s.jitter_ns};
    struct weir_server_clock closed = from;
    closed.state = WEIR_CLOCK_CLOSED;
    weir_server_clock_publish(&s.f.memory->provider, &closed);
    const struct weir_shm_limit_row *row = &s.view.tables.limit[0];
    weir_limit_realign(row, &s.f.memory->word[0], &from, &to, now_ns());
    weir_limit_realign(row, &s.f.memory->own[0], &from, &to, now_ns());
    ceiling_realigned(&s.w, 0, &to, now_ns());
    clock_publish(&to);
    total.resolved++;
    surplus_check();
}

static void take(void)
{
    struct weir_permit permit;
    struct weir_cost cost = {.cnt = 1, .units = {1 + (uint32_t)below(s.dearest)}};
    if (one_in(40)) {
        cost.units[0] = 1 + (uint32_t)below(s.quota); /* dearer than any route says */
    }
    s.step_max = weir_max_u64(s.step_max, cost.units[0]); /* a refused one makes room ahead, too */
    int rc = weir_permit_take(&s.view, 0, 0, &cost, WEIR_PRIORITY_CRITICAL, &permit);
    if (rc == WEIR_OK) {
        total.granted++;
        arrive(cost.units[0]);
        s.floated |= s.provider.published.state != WEIR_CLOCK_KNOWN;
        s.last = permit;
    } else {
        total.refused++;
        total.full += rc == WEIR_DENIED && permit.denial.reason == WEIR_REASON_LIMIT_FULL;
    }
}

/* The last call ends, and cost more. */
static void surcharge(void)
{
    uint32_t more = (uint32_t)below(s.ahead + 1U);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t w = s.f.memory->word[0].word[i];
        uint64_t ceiling = weir_window_ceiling(&s.f.memory->foreign[0], weir_window_id(w));
        more = weir_max_u64((uint32_t)w, ceiling) + more <= ceiling + s.ahead ? more : 0;
    }
    if (s.last.state != WEIR_PERMIT_GRANTED) {
        return;
    }
    struct weir_cost counted = {.cnt = 1, .units = {s.last.charge[0].units + more}};
    (void)weir_permit_end(&s.view, &s.last, &counted);
    total.surcharges += more != 0;
}

static void host_dies(void)
{
    if (s.w.ceilings->writing && one_in(2)) {
        disk_write(one_in(2));
    }
    total.crashes++;
    /*
     * One step, as far as a call ever needed it, and one for a torn neighbour. While the clock is unknown the ceiling of a window that has ended still
     * counts: one more.
     */
    counts_note((durable() ? 1 : 2) * weir_max_u64(s.step_max, s.step) + s.step + s.ahead);
    s.true_ns += s.jitter_ns + (one_in(2) ? below(10 * WEIR_NS_PER_S) : below(2 * s.window_ns));
    begin(false, one_in(3));
}

static void worker_dies(void)
{
    free(s.w.ceilings->raise);
    free(s.w.ceilings->image);
    free(s.w.ceilings->pause);
    free(s.w.ceilings);
    s.w.ceilings = NULL;
    if (!ceiling_open(&s.w)) {
        exit(99);
    }
}

static void clean_stop(void)
{
    write_done(true);
    s.true_ns += s.jitter_ns;
    time_pass(0);
    journal_fill(WEIR_JOURNAL_CLEAN);
    s.true_ns += below(s.window_ns);
    counts_note(0);
    total.stops++;
    begin(false, one_in(2));
}

static void schedule(void)
{
    s.random = s.seed;
    s.window_ns = (601 + below(3000)) * WEIR_NS_PER_S;
    s.jitter_ns = below(500) * WEIR_NS_PER_MS;
    s.quota = 4 + (uint32_t)below(one_in(2) ? 40 : 1000);
    s.dearest = 1 + (uint32_t)below(one_in(2) ? 1 : s.quota / 4);
    s.step = (s.quota + 199) / 200 > s.dearest ? (s.quota + 199) / 200 : s.dearest;
    s.step_max = s.step;
    s.ahead = one_in(3) ? 0 : 1 + (uint32_t)below(s.quota / 4);
    s.surplus_max = 0;
    s.floated = false;
    s.boots = 0;
    memset(s.disk, 0, sizeof s.disk);
    memset(s.number, 0, sizeof s.number);
    memset(s.before_number, 0, sizeof s.before_number);
    memset(s.before, 0, sizeof s.before);
    memset(s.counted, 0, sizeof s.counted);
    s.true_ns = UINT64_C(1700000000) * WEIR_NS_PER_S + below(1000000 * WEIR_NS_PER_S);
    const struct fixture_spec spec = {
        .jitter_ns = s.jitter_ns,
        .slack_ns = s.jitter_ns,
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW,
                   .quota = s.quota,
                   .window_ns = s.window_ns,
                   .ceiling_step = s.step,
                   .ceiling_ahead = s.ahead}},
        .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}},
    };
    fixture_open(&s.f, &spec);
    fixture_view(&s.f, &s.view, 1);
    if (weir_permit_refresh(&s.view) != WEIR_OK) {
        exit(99);
    }
    struct fixture_memory *m = s.f.memory;
    s.region = (struct region){.provider_cnt = 1,
                               .hold_cnt = 1,
                               .limit_cnt = 1,
                               .word_cnt = 1,
                               .gate = &m->gate,
                               .provider = &m->provider,
                               .foreign = m->foreign,
                               .word = m->word,
                               .own_word = m->own,
                               .pause = &m->pause,
                               .own = &s.ledger,
                               .backoff = &s.backoff,
                               .memory = s.memory,
                               .journal_board = &s.board,
                               .journal = &s.journal};
    s.w.region = &s.region;
    s.w.provider = &s.provider;
    s.w.shared.tables = s.view.tables;
    s.backoff = (struct weir_shm_backoff){.until_ns = below(WEIR_NS_PER_S), .level = 3, .steps = 7};
    begin(true, false);
    for (uint32_t i = 60 + (uint32_t)below(600); i > 0; i--) {
        switch (below(16)) {
        case 0:
            one_in(6) ? host_dies() : time_pass(below(s.window_ns / 4));
            break;
        case 1:
            one_in(4) ? clock_known() : time_pass(below(WEIR_NS_PER_S));
            break;
        case 2:
            one_in(8) ? worker_dies() : surcharge();
            break;
        case 3:
            one_in(20) ? clean_stop() : write_done(!one_in(10));
            break;
        case 4:
        case 5:
        case 6:
        case 7:
            look();
            break;
        case 8:
        case 9:
            write_done(!one_in(20));
            break;
        default:
            take();
            break;
        }
    }
    total.schedules++;
    memory_lose();
    fixture_close(&s.f);
}

int main(int argc, char **argv)
{
    uint64_t schedules = UINT64_MAX;
    uint64_t seconds = 5;
    s.seed = 20260608;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t v = strtoull(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--seed") == 0) {
            s.seed = v;
        } else if (strcmp(argv[i], "--schedules") == 0) {
            schedules = v;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = v;
        }
    }
    printf("prop_memory: seed %" PRIu64 ", oracle: true counts per window\n", s.seed);
    time_t end = time(NULL) + (time_t)seconds;
    while (total.schedules < schedules && (schedules != UINT64_MAX || time(NULL) < end)) {
        schedule();
        s.seed++;
    }
    printf("%" PRIu64 " schedules: %" PRIu64 " granted, %" PRIu64 " refused (%" PRIu64
           " full), %" PRIu64 " host deaths, %" PRIu64 " clean stops, %" PRIu64
           " times the clock became known, %" PRIu64 " losses compared, %" PRIu64
           " surcharges: no violation\n",
           total.schedules, total.granted, total.refused, total.full, total.crashes, total.stops,
           total.resolved, total.compared, total.surcharges);
    return total.granted > total.schedules && total.crashes > 0 && total.compared > 0 ? 0 : 1;
}
