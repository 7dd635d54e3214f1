/*
 * dst_check.c: the promises that are looked at from outside the calls: liveness, soundness of the words, pauses, and what is left when all is quiet. What
 * the exchange counts is judged in dst_exchange.c, what a client is told in dst_outcome.c.
 */
#include "dst.h"

#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_concurrency.h"
#include "shm/weir_hold.h"
#include "shm/weir_limit.h"

#include <stdio.h>
#include <string.h>

#define LOOK_NS (10 * DST_MS)
/* So long after its deadline a request has ended, if a worker has lived as long; one that is to make way, and signs in, as well. */
#define LIVE_NS (4 * DST_S)

uint64_t dst_checks[DST_CHECK_CNT];

const char *const dst_check_names[DST_CHECK_CNT] = {
    [DST_CHECK_OTHERS] = "never-exceed-beside-others",
    [DST_CHECK_SETTLED] = "surcharge-counts",
    [DST_CHECK_QUOTA] = "never-exceed",
    [DST_CHECK_ONCE] = "never-twice",
    [DST_CHECK_OUTCOME] = "one-outcome",
    [DST_CHECK_TRUTH] = "true-outcome",
    [DST_CHECK_UNSEEN] = "not-sent-is-not-seen",
    [DST_CHECK_LIVE] = "ends-in-time",
    [DST_CHECK_PAUSE] = "stops-when-told",
    [DST_CHECK_SOUND] = "sound-words",
    [DST_CHECK_JOURNAL] = "covered-on-disk",
    [DST_CHECK_LEAK] = "nothing-left",
    [DST_CHECK_AGE] = "young-enough",
    [DST_CHECK_HANDOVER] = "brief-takeover",
    [DST_CHECK_MEMBER] = "who-sends-pays",
    [DST_CHECK_SINGLE] = "single-use",
    [DST_CHECK_TOKEN] = "token-in-force",
};

static struct told {
    uint64_t until; /* dst_now; nothing of the broker may be sent before */
    uint64_t resumed_at;
} told[DST_PROVIDERS_MAX][DST_VALUES_MAX]; /* by whom a stop is about */

#define IGNORED_MAX  3
#define FORGOTTEN_NS (500 * DST_MS)

static struct { /* a call that waits for nobody; it is never looked into before it is found again */
    const struct call *call;
    uint64_t taken_ns, since;
} forgotten;

static uint64_t damaged_before;
static uint64_t damaged_life;

uint64_t dst_call_cnt(void);

/* ---------------------------------------------------------------------------------------------- pauses */

static struct told *told_of(unsigned provider, dst_maker who, unsigned *value)
{
    *value = dst_made_by(who, dst_world.provider[provider].hold);
    return &told[provider][*value];
}

void dst_check_told_stop(unsigned provider, dst_maker who, uint64_t sent_at, uint64_t until)
{
    unsigned value;
    struct told *t = told_of(provider, who, &value);
    if (sent_at > t->resumed_at && until > t->until) {
        t->until = until;
        dst_trace("told", provider, until, value);
    }
}

void dst_check_resumed(unsigned provider)
{
    for (unsigned v = 0; v < DST_VALUES_MAX; v++) {
        told[provider][v] = (struct told){.until = 0, .resumed_at = dst_now};
    }
}

void dst_check_gate(unsigned provider, dst_maker who)
{
    unsigned value;
    const struct told *t = told_of(provider, who, &value);
    dst_checks[DST_CHECK_PAUSE]++;
    if (dst_now < t->until) {
        dst_broken("pause", "a call leaves for provider %u by member %u, %.3f s before it may",
                   provider, value, (double)(t->until - dst_now) / 1e9);
    }
}

/* ---------------------------------------------------------------------------------------------- pools */

/* Both accounts were charged for the member that the wire shows. */
void dst_check_payer(const struct call *c, dst_maker who)
{
    const struct weir_permit *const both[] = {&c->permit, &c->own_permit};
    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = 0; i < both[n]->charge_cnt; i++) {
            const struct weir_charge *charge = &both[n]->charge[i];
            const struct weir_shm_limit_row *row = &dst_worker->shared.tables.limit[charge->limit];
            enum dst_scope scope = row->scope_kind == WEIR_SCOPE_IP    ? DST_ADDRESS
                                   : row->scope_kind == WEIR_SCOPE_KEY ? DST_KEY
                                                                       : DST_ALL;
            unsigned paid = charge->word - row->word_first;
            dst_checks[DST_CHECK_MEMBER]++;
            if (paid != dst_made_by(who, scope)) {
                dst_broken("member", "a call leaves by member %u, and member %u of limit %s pays",
                           dst_made_by(who, scope), paid, row->name);
            }
        }
    }
}

/* Nothing is in the way of pool member `value`, by far: it may take most of each of its limits, is not held, and has no connection in use. */
static bool is_idle(const struct worker *w, const struct call *c, enum dst_scope scope,
                    unsigned value)
{
    const struct weir_shm_route_row *route = &w->shared.tables.route[c->route];
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[route->provider];
    struct weir_permit_view *view = &dst_worker->shared;
    uint32_t kind = scope == DST_ADDRESS ? WEIR_SCOPE_IP : WEIR_SCOPE_KEY;
    const struct weir_permit_clock *clock = weir_permit_clock_current(view, route->provider);
    struct weir_limit_time time = {.now_ns = weir_clock_now(&view->time)};
    if (clock == NULL) {
        return false;
    }
    time.server = &clock->clock;
    time.error_ns = weir_server_clock_error_ns(time.server, time.now_ns);
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[route->limit[i]];
        uint32_t index = l->word_first + value;
        struct weir_limit_state state;
        if (l->scope_kind != kind) {
            continue;
        }
        const struct weir_limit_place at = {l, &view->word[index],
                                            weir_limit_cells(view->cell, l, index)};
        weir_limit_state_get(&state, &at, &view->foreign[index], &time);
        if (state.left[WEIR_PRIORITY_LOW] < state.quota - state.quota / 4) {
            return false;
        }
    }
    uint32_t place = weir_hold_line(row, route->provider, row->hold_kind == kind + 1 ? value : 0);
    bool open = weir_hold_open(weir_load_relaxed_u64(&w->region->pause[place].word),
                               weir_load_relaxed_u64(&w->region->provider[place].pause));
    for (uint32_t e = 0; scope == DST_ADDRESS && e < w->region->endpoint_cnt; e++) {
        const uint32_t *from = w->endpoint[e].in_flight_from;
        open = open && (from == NULL || from[value] == 0);
    }
    return open;
}

/* Of one half of the pool: does the hedge go by the first attempt's member, where somebody else has nothing to do? */
static bool same_though(const struct worker *w, const struct call *hedge, enum dst_scope scope,
                        bool *same)
{
    const struct call *first = hedge->hedge_of;
    unsigned provider = w->shared.tables.route[hedge->route].provider;
    const struct dst_provider *p = &dst_world.provider[provider];
    unsigned shift = 16 * (scope == DST_ADDRESS ? WEIR_SCOPE_IP : WEIR_SCOPE_KEY);
    unsigned by = (unsigned)(first->scope >> shift & 0xffffU);
    unsigned pool = scope == DST_ADDRESS ? p->address_pool : p->key_pool;
    bool any_key = (w->shared.tables.route[hedge->route].flags & WEIR_ROUTE_ANY_KEY) != 0;
    bool chosen =
        (hedge->request.scope >> shift & 0xffffU) == 0 && (scope == DST_ADDRESS || any_key);
    *same = *same && (unsigned)(hedge->scope >> shift & 0xffffU) == by;
    for (unsigned v = 1; chosen && v <= pool; v++) {
        if (v != by && is_idle(w, hedge, scope, v)) {
            return true;
        }
    }
    return false;
}

static unsigned idle_ignored;

/*
 * Another address and another key, where there are any that may go. In the instant between this look and weir's own somebody may have taken what there is, so once proves
 * nothing.
 */
void dst_check_beside(const struct call *hedge)
{
    const struct worker *w = dst_worker;
    bool same = true;
    bool address = same_though(w, hedge, DST_ADDRESS, &same);
    bool key = same_though(w, hedge, DST_KEY, &same);
    const struct dst_provider *p =
        &dst_world.provider[w->shared.tables.route[hedge->route].provider];
    if (p->address_cnt + p->key_cnt == 0) {
        return;
    }
    dst_checks[DST_CHECK_MEMBER]++;
    if (!same) {
        (void)dst_fault(DST_BESIDE, 1);
        return;
    }
    /* Of both halves that it leaves open one that is busy is enough to say no. */
    bool halves = p->address_cnt > 0 && p->key_cnt > 0;
    idle_ignored += halves ? address && key : address || key;
    if (idle_ignored >= IGNORED_MAX) {
        dst_broken("member", "%u hedges went by the first attempt's member, and others were idle",
                   idle_ignored);
    }
}

/* ---------------------------------------------------------------------------------------------- others */

/* The most that a fixed window's word was seen to hold, by parity. */
static struct {
    uint64_t window;
    uint32_t most;
} charged[DST_PROVIDERS_MAX][2];

/* What weir's word holds of ours in window `window` of the first limit; what it held at most is noted. */
static uint32_t charged_note(unsigned provider, uint64_t window)
{
    const struct worker *w = dst_worker;
    uint32_t index = w->shared.tables.provider[provider].limit_first;
    uint32_t first = w->shared.tables.limit[index].word_first;
    uint64_t word = weir_load_relaxed_u64(&dst_region()->word[first].word[window & 1]);
    uint32_t units = word >> 32 == (uint32_t)window ? (uint32_t)word : 0;
    if (charged[provider][window & 1].window != window) {
        charged[provider][window & 1].window = window;
        charged[provider][window & 1].most = 0;
    }
    if (units > charged[provider][window & 1].most) {
        charged[provider][window & 1].most = units;
    }
    return units;
}

static uint64_t window_of(unsigned provider)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    return dst_server_utc(p, dst_now) / p->limit[0].window_ns;
}

/* feedback.h: brokered calls have charged no more than the word holds, and traders no more than it ever held. What is told beyond both is others'. */
bool dst_check_proves(unsigned provider, unsigned limit, uint64_t told_units)
{
    const struct worker *w = dst_worker;
    if (limit != 0 || dst_region() == NULL || w == NULL || !dst_worker_up() || dst_world.liars ||
        w->provider[provider].published.state != WEIR_CLOCK_KNOWN) {
        return false;
    }
    uint64_t window = window_of(provider);
    uint64_t units = charged_note(provider, window);
    return told_units > units + charged[provider][window & 1].most;
}

/*
 * The theorems begin where a worker's own answers have proved others. A bucket's word also bears what is held for late calls (weir_late.h), and each word what traders
 * claim: neither of them proves anybody.
 */
uint64_t dst_check_others(unsigned provider, unsigned limit, uint64_t window)
{
    const struct region *r = dst_region();
    const struct worker *w = dst_worker;
    if (r == NULL || w == NULL || !dst_worker_up()) {
        return 0;
    }
    uint32_t index = w->shared.tables.provider[provider].limit_first + limit;
    const struct weir_shm_limit_row *l = &w->shared.tables.limit[index];
    const struct weir_shm_foreign *f = &r->foreign[l->word_first];
    uint64_t word = weir_load_relaxed_u64(&f->word[window & 1]);
    uint64_t said = word >> 32 == (uint32_t)window ? (uint32_t)word : 0;
    if (dst_world.provider[provider].limit[limit].kind != DST_FIXED) {
        said = weir_foreign_rolling(weir_load_relaxed_u64(&f->word[0]), dst_monotonic());
    }
    uint64_t not_theirs = weir_load_relaxed_u64(&r->limit_stats[index].claimed);
    if (dst_world.provider[provider].limit[limit].kind == DST_BUCKET) {
        not_theirs += weir_foreign_rolling(weir_load_relaxed_u64(&f->word[1]), dst_monotonic());
    }
    return said > not_theirs ? said - not_theirs : 0;
}

/* ---------------------------------------------------------------------------------------------- words */

static void words_check(const struct region *r)
{
    dst_checks[DST_CHECK_SOUND]++;
    if (damaged_life != dst_broker_life()) {
        damaged_life = dst_broker_life();
        damaged_before = 0;
    }
    uint64_t damaged = weir_load_relaxed_u64(&r->worker->limit_damaged);
    if (damaged != damaged_before && !dst_world.liars) {
        dst_broken("sound words", "%llu limit words were found damaged, and nobody scribbles",
                   (unsigned long long)damaged);
    }
}

/* ---------------------------------------------------------------------------------------------- liveness */

/* Who waits for another call's answer, waits for a call. The worker may be stopped between the two, so it is looked at for a while. */
static void followers_check(const struct worker *w)
{
    const struct call *found = NULL;
    for (const struct call *c = w->call_first; c != NULL && found == NULL; c = c->all_next) {
        found = c->stage == CALL_FOLLOW && c->lead == NULL ? c : NULL;
    }
    dst_checks[DST_CHECK_LIVE]++;
    if (found == NULL || found != forgotten.call || found->taken_ns != forgotten.taken_ns) {
        forgotten.call = found;
        forgotten.taken_ns = found != NULL ? found->taken_ns : 0;
        forgotten.since = dst_now;
    } else if (dst_now - forgotten.since > FORGOTTEN_NS) {
        dst_broken("in time", "a call of slot %u waits for nobody", found->slot);
    }
}

/* By the ledger: what the worker holds of attached clients must end in its time. */
static void calls_check(void)
{
    const struct worker *w = dst_worker;
    if (w == NULL || !dst_worker_up() || dst_now - dst_worker_since() < LIVE_NS) {
        return;
    }
    followers_check(w);
    uint64_t now = dst_monotonic();
    /* Who gives way to another worker ends nothing that waits; a client that slept behind its stamp may hand over then what was late before. */
    uint64_t from = w->quiescing ? w->quiesce_since_ns : 0;
    for (const struct call *c = w->call_first; c != NULL; c = c->all_next) {
        dst_checks[DST_CHECK_LIVE]++;
        if (c->deadline_ns != 0 && now > weir_max_u64(c->deadline_ns, from) + LIVE_NS) {
            dst_broken("in time", "a call of slot %u is still there %.3f s after its deadline",
                       c->slot, (double)(now - c->deadline_ns) / 1e9);
        }
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        const struct client *c = &w->client[i];
        if (!c->live || c->gone || (dst_world.liars && strcmp(c->info.name, "client0") == 0)) {
            continue; /* a liar's slots say what it likes */
        }
        for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
            uint64_t word = weir_load_relaxed_u64(&c->slot[s].state);
            const struct weir_shm_slot *slot = &c->slot[s];
            enum weir_slot_state state = weir_slot_state(word);
            dst_checks[DST_CHECK_LIVE]++;
            if ((state == WEIR_SLOT_SUBMITTED || state == WEIR_SLOT_CLAIMED ||
                 state == WEIR_SLOT_SENDING) &&
                now > weir_max_u64(slot->request.deadline_ns, from) + LIVE_NS) {
                dst_broken("in time",
                           "slot %u of client %u is in state %u, %.3f s after its deadline", s, i,
                           (unsigned)state, (double)(now - slot->request.deadline_ns) / 1e9);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- journal */

/* What the exchange has counted in a long window is covered by what the board says is on disk. (The words may hold more: surcharges come before their ceiling.) */
static void covered_check(const struct region *r, const struct weir_shm_limit_row *l,
                          unsigned provider, unsigned value)
{
    uint64_t window;
    uint64_t units = dst_exchange_count(provider, 1, value, &window);
    uint64_t ceiling =
        weir_load_relaxed_u64(&r->foreign[l->word_first + value].ceiling[window & 1]);
    if (ceiling >> 32 != (uint32_t)window) {
        return;
    }
    dst_checks[DST_CHECK_JOURNAL]++;
    if (units > (uint32_t)ceiling) {
        dst_broken("covered on disk",
                   "the exchange has counted %u units of limit %s, member %u, in window %u, the "
                   "disk covers %u",
                   (unsigned)units, l->name, value, (unsigned)window, (unsigned)(uint32_t)ceiling);
    }
}

static void journal_check(const struct region *r)
{
    const struct worker *w = dst_worker;
    if (w == NULL || w->ceilings == NULL || dst_world.liars) {
        return;
    }
    for (uint32_t p = 0; p < dst_world.provider_cnt; p++) {
        uint32_t limit = w->shared.tables.provider[p].limit_first + 1;
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[limit];
        for (uint32_t v = 0; v < l->word_cnt && v < DST_VALUES_MAX &&
                             w->provider[p].published.state == WEIR_CLOCK_KNOWN;
             v++) {
            covered_check(r, l, p, v);
        }
    }
}

static uint64_t looks;

static void look_event(void *arg, uint64_t a, uint64_t b)
{
    const struct region *r = dst_region();
    (void)arg;
    (void)a;
    (void)b;
    if (r != NULL && dst_broker_up() && dst_worker_up()) {
        words_check(r);
        if (++looks % 10 == 0) {
            calls_check();
        }
        journal_check(r);
        bool open = dst_worker != NULL && dst_worker->shared.tables.limit != NULL;
        for (unsigned p = 0; open && p < dst_world.provider_cnt; p++) {
            (void)charged_note(p, window_of(p));
            (void)charged_note(p, window_of(p) + 1);
        }
    }
    dst_at(dst_now + LOOK_NS, look_event, NULL, 0, 0);
}

void dst_check_start(void)
{
    dst_at(dst_now + LOOK_NS, look_event, NULL, 0, 0);
}

void dst_check_reset(void)
{
    memset(told, 0, sizeof told);
    memset(charged, 0, sizeof charged);
    memset(&forgotten, 0, sizeof forgotten);
    idle_ignored = 0;
    damaged_before = 0;
    damaged_life = 0;
    looks = 0;
}

/* ---------------------------------------------------------------------------------------------- all is quiet */

static void nothing(const char *what, uint64_t n)
{
    dst_checks[DST_CHECK_LEAK]++;
    if (n != 0) {
        dst_broken("nothing left", "%llu %s", (unsigned long long)n, what);
    }
}

static uint64_t units_held(const struct region *r, const struct worker *w, const uint64_t *cells)
{
    uint64_t held = 0;
    (void)r;
    for (uint32_t i = 0; i < w->shared.tables.limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[i];
        for (uint32_t k = l->word_first;
             l->kind == WEIR_LIMIT_CONCURRENCY && k < l->word_first + l->word_cnt; k++) {
            const uint64_t *cell = weir_limit_cells((uint64_t *)(uintptr_t)cells, l, k);
            for (uint32_t n = 0; n < l->cell_cnt; n++) {
                held += weir_unit_held(cell[n]);
            }
        }
    }
    return held;
}

void dst_check_quiet(void)
{
    const struct region *r = dst_region();
    const struct worker *w = dst_worker;
    if (r == NULL || w == NULL || !dst_broker_up() || !dst_worker_up()) {
        dst_broken("restart", "no broker runs at the end");
    }
    uint64_t calls = 0;
    for (const struct call *c = w->call_first; c != NULL; c = c->all_next) {
        calls += c->client != NULL;
    }
    nothing("calls in the worker", calls);
    nothing("clients attached", dst_broker_attached());
    uint64_t live = 0;
    uint64_t flying = 0;
    uint64_t owed = 0;
    uint64_t leased = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        live += w->client[i].live || r->client[i].state != WEIR_CLIENT_FREE;
    }
    for (uint32_t i = 0; i < r->endpoint_cnt; i++) {
        flying += w->endpoint[i].in_flight;
        owed += w->endpoint[i].owed_cnt;
    }
    for (uint32_t i = 0; i < r->endpoint_cnt + r->group_cnt; i++) {
        leased += r->breaker[i].leased;
    }
    nothing("clients on the board", live);
    nothing("calls at endpoints", flying - (w->call_cnt > 0 && flying > 0 ? flying : 0));
    nothing("answers owed by endpoints", w->call_cnt > 0 ? 0 : owed);
    nothing("probes of breakers", w->call_cnt > 0 ? 0 : leased);
    nothing("units in flight, shared account", dst_world.liars ? 0 : units_held(r, w, r->cell));
    nothing("units in flight, private account", units_held(r, w, r->own_cell));
}
