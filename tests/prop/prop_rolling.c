/*
 * prop_rolling.c: random crashes under long limits that know no windows: token buckets, sliding windows in parts.
 *
 * As prop_memory.c, whose planner (broker/ceiling.c) runs here too: permits are taken by the real path, settled for less or for more, renewed; ceilings are raised, writes reach
 * the disk whole, torn or not at all; worker, broker or host die. After a host's death weir time begins anew, and all that tells how long it was away
 * is UTC, which is right within what the kernel says, or, where the kernel says nothing, anything.
 *
 * Oracle, in plain arithmetic by a clock that never stops and that the code under test does not see:
 *   server     of what permits took (not of surcharges, which the server counts before anybody knows), any interval of one window holds at most N units; the
 *              bucket never overflows. Over all lives
 *   forgotten  whatever was charged, surcharges included, the words hold after each death: for each instant, at least as many units granted since; at
 *              least the same TAT
 *   loss       and at most one step more, with a quarter of it in a bucket, the room for surcharges, and the call under way when the journal was composed. Not
 *              checked where UTC was not to be trusted
 *   exact      a clean stop in the same boot loses nothing
 *
 * At the named instants of the permit path and of the journal's own reading (WEIR_WEAVE) another trader takes, a ceiling is planned, a write ends, time passes, or all dies.
 *
 * Surcharges keep to what they must for the promise to hold: they pass the ceiling in force by no more than the room that is kept for them.
 *
 * prop_rolling [--seed N] [--schedules N] [--seconds N]
 */
#include "broker/ceiling.c" /* NOLINT: its statics are what is tested */

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <time.h>

#include "fixture.h"
#include "prop_instants.h"
#include "weir_cells.h"

#define SLOT_BYTES 4096U
#define LOG_MAX    4096U
#define OPEN_MAX   16U

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

struct arrival {
    uint64_t at_ns; /* true time */
    uint64_t units;
};

/* What the words say, in true time: since when units count, and a TAT. */
struct memory_view {
    struct arrival part[WEIR_SLIDING_WORDS]; /* at_ns: the latest that it can have been */
    uint64_t tat_ns;
};

static struct {
    struct fixture f;
    struct weir_permit_view view, other;
    jmp_buf death;
    bool woven, mortal; /* hooks do something; they may kill */
    struct worker w;
    struct region region;
    struct journal journal;
    struct provider provider;
    struct weir_shm_ledger ledger;
    struct weir_shm_backoff backoff;
    struct weir_shm_journal board;
    struct weir_shm_memory memory[FIXTURE_WORDS];
    unsigned char disk[2 * SLOT_BYTES] __attribute__((aligned(128)));
    uint64_t true_ns, boot_ns; /* weir time = true - boot */
    int64_t utc_off_ns;        /* this machine's UTC less true time */
    uint64_t utc_error_ns;
    struct arrival log[LOG_MAX]; /* at the server */
    uint32_t log_cnt;
    struct arrival
        charge[LOG_MAX]; /* at weir: permits, surcharges; a call that is renewed was charged then */
    uint32_t charge_cnt;
    struct weir_permit open[OPEN_MAX];
    uint32_t open_charge[OPEN_MAX]; /* its entry of `charge` */
    uint32_t open_cnt;
    uint64_t jitter_ns, window_ns, boots, step_max;
    uint32_t kind, quota, dearest, step, ahead;
    uint64_t random, seed;
} s;

static struct {
    uint64_t schedules, granted, refused, crashes, stops, full, compared, surcharges, renewed;
} total;

static uint64_t now_ns(void)
{
    return s.true_ns - s.boot_ns;
}

void journal_facts(const struct journal *j, const struct region *region, uint64_t sequence,
                   uint32_t flags, struct weir_journal_header *out)
{
    (void)j, (void)region;
    *out = (struct weir_journal_header){.sequence = sequence,
                                        .flags = flags,
                                        .utc_ns = s.true_ns + (uint64_t)s.utc_off_ns,
                                        .utc_error_ns = s.utc_error_ns,
                                        .monotonic_ns = now_ns(),
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

static void arrive(uint64_t at_ns, uint64_t units)
{
    if (s.log_cnt < LOG_MAX) {
        s.log[s.log_cnt++] = (struct arrival){at_ns + below(s.jitter_ns), units};
    }
}

static uint32_t charged_at(uint64_t at_ns, uint64_t units)
{
    uint32_t i = s.charge_cnt < LOG_MAX ? s.charge_cnt++ : LOG_MAX - 1;
    s.charge[i] = (struct arrival){at_ns, units};
    return i;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const struct arrival *)a)->at_ns;
    uint64_t y = ((const struct arrival *)b)->at_ns;
    return x < y ? -1 : x > y;
}

static void server_check(void)
{
    uint64_t sum = 0;
    unsigned __int128 debt = 0; /* ns * quota */
    uint32_t first = 0;
    qsort(s.log, s.log_cnt, sizeof s.log[0], by_time);
    for (uint32_t i = 0; i < s.log_cnt; i++) {
        sum += s.log[i].units;
        while (s.log[i].at_ns - s.log[first].at_ns >= s.window_ns) {
            sum -= s.log[first++].units;
        }
        unsigned __int128 drained =
            i > 0 ? (unsigned __int128)(s.log[i].at_ns - s.log[i - 1].at_ns) * s.quota : 0;
        debt = debt > drained ? debt - drained : 0;
        debt += (unsigned __int128)s.log[i].units * s.window_ns;
        if (s.kind == WEIR_LIMIT_SLIDING_WINDOW && sum > s.quota) {
            violated("units in one window", sum, s.quota);
        }
        if (s.kind == WEIR_LIMIT_TOKEN_BUCKET && debt > (unsigned __int128)s.quota * s.window_ns) {
            violated("units in the bucket", (uint64_t)(debt / s.window_ns), s.quota);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- what the words say */

static const struct weir_shm_limit_row *row_of(void)
{
    return &s.view.tables.limit[0];
}

static void words_read(struct memory_view *v)
{
    const struct weir_limit_place at = fixture_place(&s.f, &s.view, 0, false);
    memset(v, 0, sizeof *v);
    v->tat_ns = at.word->word[0] + s.boot_ns;
    for (uint32_t i = 0; s.kind == WEIR_LIMIT_SLIDING_WINDOW && i < WEIR_SLIDING_WORDS; i++) {
        /* Unsigned: parts of an earlier boot end before this one began. */
        uint64_t number = (uint64_t)weir_window_id(at.cell[i]) - WEIR_SLIDING_PART_FIRST;
        uint64_t end_ns = (number + 1) * row_of()->part_ns - 1 + s.boot_ns;
        v->part[i].at_ns = weir_min_u64(end_ns, s.true_ns); /* none was granted later than now */
        v->part[i].units = (uint32_t)at.cell[i];
    }
}

/* Units granted at `since_ns` or later. */
static uint64_t units_since(const struct memory_view *v, uint64_t since_ns)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < WEIR_SLIDING_WORDS; i++) {
        units += v->part[i].at_ns >= since_ns ? v->part[i].units : 0;
    }
    return units;
}

static void parts_compare(const struct memory_view *before, const struct memory_view *after,
                          uint64_t loss, uint64_t slack_ns, bool timed)
{
    const uint64_t span_ns = row_of()->span_ns;
    for (uint32_t i = 0; i < s.charge_cnt; i++) {
        uint64_t at_ns = s.charge[i].at_ns;
        uint64_t were = 0;
        for (uint32_t k = 0; k < s.charge_cnt; k++) {
            were += s.charge[k].at_ns >= at_ns ? s.charge[k].units : 0;
        }
        if (at_ns + span_ns > s.true_ns && units_since(after, at_ns) < were) {
            violated("forgotten: units", were - units_since(after, at_ns), 0);
        }
    }
    uint64_t most = units_since(before, s.true_ns - span_ns - slack_ns) + loss;
    if (timed && units_since(after, s.true_ns - span_ns) > most) {
        violated("lost: units", units_since(after, s.true_ns - span_ns), most);
    }
}

/* After a restore, by what was before it. `loss` in units, `error_ns` of what is known of the time between. */
static void compare(const struct memory_view *before, uint64_t loss, uint64_t error_ns, bool timed)
{
    struct memory_view after;
    words_read(&after);
    total.compared++;
    if (s.kind == WEIR_LIMIT_SLIDING_WINDOW) {
        /* One part more: the grid of another boot lies elsewhere. */
        parts_compare(before, &after, loss, 2 * row_of()->part_ns + error_ns, timed);
        return;
    }
    uint64_t was_ns = weir_max_u64(before->tat_ns, s.true_ns);
    if (weir_max_u64(after.tat_ns, s.true_ns) < was_ns) {
        violated("forgotten: TAT, ns", was_ns - after.tat_ns, 0);
    }
    uint64_t most_ns = was_ns + loss * row_of()->unit_ns + error_ns;
    if (loss > 0) {
        most_ns += s.step * row_of()->unit_ns / 4 + WEIR_NS_PER_MS;
    }
    if (timed && after.tat_ns > most_ns) {
        violated("lost: TAT, ns", after.tat_ns - was_ns, most_ns - was_ns);
    }
}

/* ---------------------------------------------------------------------------------------------- lives */

static void time_pass(uint64_t ns)
{
    s.true_ns += ns;
    s.w.now_ns = now_ns();
    fixture_time_set(&s.view, now_ns());
    fixture_time_set(&s.other, now_ns());
}

static void ceilings_free(void)
{
    if (s.w.ceilings != NULL) {
        free(s.w.ceilings->raise);
        free(s.w.ceilings->image);
        free(s.w.ceilings->pause);
        free(s.w.ceilings);
    }
    s.w.ceilings = NULL;
}

static void memory_lose(void)
{
    struct fixture_memory *m = s.f.memory;
    memset(m->word, 0, sizeof m->word);
    memset(m->own, 0, sizeof m->own);
    memset(m->cell, 0, sizeof m->cell);
    memset(m->own_cell, 0, sizeof m->own_cell);
    memset(m->foreign, 0, sizeof m->foreign);
    memset(s.memory, 0, sizeof s.memory);
    memset(&s.ledger, 0, sizeof s.ledger);
    s.open_cnt = 0; /* permits of a broker that is gone are settled with nobody */
    ceilings_free();
}

static void journal_fill(uint32_t flags)
{
    memory_exact(&s.region, &s.view.tables);
    for (uint32_t slot = 0; slot < 2; slot++) {
        struct weir_journal_header facts;
        journal_facts(&s.journal, &s.region, ++s.ledger.journal_sequence, flags, &facts);
        if (memory_compose(&s.region, &s.view.tables, NULL, &facts, s.disk + slot * SLOT_BYTES,
                           SLOT_BYTES) == 0) {
            exit(99);
        }
    }
    s.ledger.journal_slot = 1;
}

static void boot(void)
{
    s.boots++;
    s.boot_ns = s.true_ns - 1 - below(one_in(2) ? 1000 * WEIR_NS_PER_S : 2 * s.window_ns);
    s.utc_error_ns = one_in(3) ? UINT64_MAX : below(100 * WEIR_NS_PER_MS);
    s.utc_off_ns = s.utc_error_ns == UINT64_MAX
                       ? (int64_t)below(6 * s.window_ns) - (int64_t)(3 * s.window_ns)
                       : (int64_t)below(2 * s.utc_error_ns + 1) - (int64_t)s.utc_error_ns;
}

/* Returns how far the time between is known; UINT64_MAX: not at all. */
static uint64_t begin(bool first, bool same)
{
    struct weir_journal_view view;
    uint64_t error_ns = 0;
    char id[WEIR_JOURNAL_BOOT_ID_BYTES];
    s.woven = false; /* nobody is there yet */
    memory_lose();
    if (!same) {
        boot();
    }
    (void)snprintf(id, sizeof id, "%" PRIu64, s.boots);
    time_pass(0);
    if (!first) {
        if (weir_journal_find(&view, s.disk, sizeof s.disk) != WEIR_JOURNAL_SOUND) {
            violated("no sound slot", 0, 1);
        }
        const struct memory_when when = {now_ns(), s.true_ns + (uint64_t)s.utc_off_ns,
                                         s.utc_error_ns};
        memory_restore(&s.region, &s.view.tables, &view, id, false, &when);
        s.ledger.journal_sequence = view.header->sequence;
        bool known = s.utc_error_ns != UINT64_MAX && view.header->utc_error_ns != UINT64_MAX;
        error_ns = same    ? 0
                   : known ? 2 * (s.utc_error_ns + view.header->utc_error_ns) + WEIR_NS_PER_MS
                           : UINT64_MAX;
    }
    journal_fill(0);
    s.journal.slot_bytes = SLOT_BYTES;
    s.journal.fd = 3;
    if (!ceiling_open(&s.w)) {
        exit(99);
    }
    return error_ns;
}

static void disk_write(bool whole)
{
    const struct ceilings *c = s.w.ceilings;
    memcpy(s.disk + c->slot * SLOT_BYTES, c->image, whole ? c->image_bytes : below(c->image_bytes));
}

static void write_done(bool good)
{
    struct ceilings *c = s.w.ceilings;
    if (!c->writing) {
        return;
    }
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

static void look(void)
{
    time_pass(below(20 * WEIR_NS_PER_MS));
    ceiling_turn(&s.w);
}

/* ---------------------------------------------------------------------------------------------- what happens */

static void take(struct weir_permit_view *view)
{
    struct weir_permit permit;
    struct weir_cost cost = {.cnt = 1, .units = {1 + (uint32_t)below(s.dearest)}};
    if (one_in(40)) {
        cost.units[0] = 1 + (uint32_t)below(s.quota); /* dearer than any route says */
    }
    s.step_max = weir_max_u64(s.step_max, cost.units[0]); /* a refused one makes room ahead, too */
    int rc = weir_permit_take(view, 0, 0, &cost, WEIR_PRIORITY_CRITICAL, &permit);
    if (rc == WEIR_OK) {
        total.granted++;
        uint64_t at_ns =
            permit.granted_at_ns + s.boot_ns; /* whoever slept since must not be late */
        arrive(at_ns, cost.units[0]);
        uint32_t charge = charged_at(at_ns, cost.units[0]);
        if (s.open_cnt < OPEN_MAX) {
            s.open_charge[s.open_cnt] = charge;
            s.open[s.open_cnt++] = permit;
        }
    } else {
        total.refused++;
        total.full += rc == WEIR_DENIED && permit.denial.reason == WEIR_REASON_LIMIT_FULL;
    }
}

/* May a surcharge of `more` come? Others may use the ceiling up before it does. */
static bool has_room(uint64_t more)
{
    const struct weir_limit_place at = fixture_place(&s.f, &s.view, 0, false);
    uint64_t ceiling = s.f.memory->foreign[at.row->word_first].ceiling[0];
    uint64_t from = weir_max_u64(at.word->word[0], ceiling);
    if (s.kind == WEIR_LIMIT_SLIDING_WINDOW) {
        return from + more <= ceiling + s.ahead;
    }
    return weir_max_u64(from, now_ns()) + more * at.row->unit_ns <=
           weir_max_u64(ceiling, now_ns()) + s.ahead * at.row->unit_ns;
}

/* The oldest open call ends, and cost what was reserved or more. (What is given back was counted by the server all the same: it is told of no refund here.) */
static void settle(void)
{
    if (s.open_cnt == 0) {
        return;
    }
    uint32_t i = (uint32_t)below(s.open_cnt);
    struct weir_permit p = s.open[i];
    struct weir_cost counted = {.cnt = 1, .units = {p.charge[0].units}};
    uint32_t more = (uint32_t)below(s.ahead + 1U);
    uint64_t at_ns = s.true_ns;
    if (has_room(more)) {
        counted.units[0] += more;
        total.surcharges += more != 0;
    }
    (void)weir_permit_end(&s.view, &p, &counted);
    (void)charged_at(at_ns, counted.units[0] - p.charge[0].units);
    s.open[i] = s.open[--s.open_cnt];
    s.open_charge[i] = s.open_charge[s.open_cnt];
}

/* A call stays open: its units count from now on. By the rule of surcharges, for the journal. */
static void renew(void)
{
    if (s.open_cnt == 0 || s.kind != WEIR_LIMIT_SLIDING_WINDOW) {
        return;
    }
    uint32_t i = (uint32_t)below(s.open_cnt);
    struct weir_permit *p = &s.open[i];
    const struct weir_limit_place at = fixture_place(&s.f, &s.view, 0, false);
    uint64_t at_ns = s.true_ns;
    if (has_room(p->charge[0].units) &&
        weir_sliding_renew(at.row, at.word, at.cell, &p->charge[0], p->stamp_ns, now_ns())) {
        s.charge[s.open_charge[i]].at_ns = at_ns;
        total.renewed++;
    }
}

static void host_dies(void)
{
    struct memory_view before;
    bool torn = false;
    words_read(&before);
    if (s.w.ceilings->writing && one_in(2)) {
        torn = one_in(2);
        disk_write(!torn);
    }
    total.crashes++;
    s.true_ns += s.jitter_ns + (one_in(2) ? below(10 * WEIR_NS_PER_S) : below(2 * s.window_ns));
    uint64_t error_ns = begin(false, one_in(3));
    /* The step, room for surcharges, a step for a torn neighbour, and a call that was under way while the parts were read: it may count twice. */
    uint64_t loss = weir_max_u64(s.step_max, s.step) + s.ahead + s.step + s.step_max + 1;
    compare(&before, loss, error_ns == UINT64_MAX ? 0 : error_ns, error_ns != UINT64_MAX);
}

static void clean_stop(void)
{
    struct memory_view before;
    s.woven = false; /* permits have ended */
    write_done(true);
    time_pass(s.jitter_ns);
    journal_fill(WEIR_JOURNAL_CLEAN);
    words_read(&before);
    s.true_ns += below(s.window_ns);
    total.stops++;
    bool same = one_in(2);
    uint64_t error_ns = begin(false, same);
    compare(&before, 0, error_ns == UINT64_MAX ? 0 : error_ns + 2 * WEIR_NS_PER_MS,
            error_ns != UINT64_MAX);
}

/* Somebody stopped here, and the others went on. */
void weir_weave_hook(const char *name)
{
    if (!s.woven || s.w.ceilings == NULL || !prop_instant(name)) {
        return;
    }
    s.woven = false; /* one thing at each instant, and nothing within it */
    switch (below(8)) {
    case 0:
    case 1:
        take(&s.other);
        break;
    case 2:
        look();
        break;
    case 3:
        write_done(true);
        break;
    case 4:
        time_pass(below(row_of()->part_ns * 2 + 1));
        break;
    case 5:
        if (s.mortal && one_in(4)) {
            longjmp(s.death, 1);
        }
        break;
    default:
        break;
    }
    s.woven = true;
}

static void worker_dies(void)
{
    ceilings_free();
    if (!ceiling_open(&s.w)) {
        exit(99);
    }
}

static void draw(void)
{
    s.kind = one_in(2) ? WEIR_LIMIT_TOKEN_BUCKET : WEIR_LIMIT_SLIDING_WINDOW;
    s.window_ns = (601 + below(3000)) * WEIR_NS_PER_S;
    s.jitter_ns = below(500) * WEIR_NS_PER_MS;
    s.quota = 4 + (uint32_t)below(one_in(2) ? 40 : 1000);
    s.dearest = 1 + (uint32_t)below(one_in(2) ? 1 : s.quota / 4);
    s.step = (s.quota + 199) / 200 > s.dearest ? (s.quota + 199) / 200 : s.dearest;
    s.step_max = s.step;
    s.ahead = one_in(3) ? 0 : 1 + (uint32_t)below(s.quota / 4);
    s.true_ns = UINT64_C(1700000000) * WEIR_NS_PER_S + below(1000000 * WEIR_NS_PER_S);
    s.log_cnt = 0;
    s.charge_cnt = 0;
    s.boots = 0;
    memset(s.disk, 0, sizeof s.disk);
}

static void open_memory(void)
{
    const struct fixture_spec spec = {
        .jitter_ns = s.jitter_ns,
        .slack_ns = s.jitter_ns,
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = s.kind,
                   .form = WEIR_FORM_PARTS,
                   .quota = s.quota,
                   .window_ns = s.window_ns,
                   .ceiling_step = s.step,
                   .ceiling_ahead = s.ahead}},
        .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}},
    };
    fixture_open(&s.f, &spec);
    fixture_view(&s.f, &s.view, 1);
    fixture_view(&s.f, &s.other, 1);
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
                               .cell = m->cell,
                               .own_cell = m->own_cell,
                               .pause = &m->pause,
                               .own = &s.ledger,
                               .backoff = &s.backoff,
                               .memory = s.memory,
                               .journal_board = &s.board,
                               .journal = &s.journal};
    s.w.region = &s.region;
    s.w.provider = &s.provider;
    s.w.shared.tables = s.view.tables;
    s.provider.published = (struct weir_server_clock){.state = WEIR_CLOCK_KNOWN};
}

static void happen(void)
{
    switch (below(16)) {
    case 0:
        one_in(6) ? host_dies() : time_pass(below(s.window_ns / 4));
        break;
    case 1:
        one_in(4) ? renew() : time_pass(below(WEIR_NS_PER_S));
        break;
    case 2:
        one_in(8) ? worker_dies() : time_pass(below(s.window_ns / 100));
        break;
    case 3:
        one_in(20) ? clean_stop() : write_done(!one_in(10));
        break;
    case 4:
    case 5:
    case 6:
        look();
        break;
    case 7:
        settle();
        break;
    case 8:
    case 9:
        write_done(!one_in(20));
        break;
    default:
        take(&s.view);
        break;
    }
}

static void schedule(void)
{
    s.random = s.seed;
    draw();
    open_memory();
    (void)begin(true, false);
    for (uint32_t i = 60 + (uint32_t)below(600); i > 0; i--) {
        bool alive = setjmp(s.death) == 0;
        s.woven = one_in(4);
        s.mortal = s.woven;
        if (alive) {
            happen();
        }
        s.woven = false;
        if (!alive) {
            host_dies();
        }
    }
    server_check();
    total.schedules++;
    memory_lose();
    fixture_close(&s.f);
}

int main(int argc, char **argv)
{
    uint64_t schedules = UINT64_MAX;
    uint64_t seconds = 5;
    s.seed = 20261122;
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
    printf("prop_rolling: seed %" PRIu64 ", oracle: true counts, and the words before each death\n",
           s.seed);
    time_t end = time(NULL) + (time_t)seconds;
    while (total.schedules < schedules && (schedules != UINT64_MAX || time(NULL) < end)) {
        schedule();
        s.seed++;
    }
    printf("%" PRIu64 " schedules: %" PRIu64 " granted, %" PRIu64 " refused (%" PRIu64
           " full), %" PRIu64 " host deaths, %" PRIu64 " clean stops, %" PRIu64
           " surcharges, %" PRIu64 " renewals, %" PRIu64 " memories compared: no violation\n",
           total.schedules, total.granted, total.refused, total.full, total.crashes, total.stops,
           total.surcharges, total.renewed, total.compared);
    return total.granted > total.schedules && total.crashes > 0 && total.compared > 0 ? 0 : 1;
}
