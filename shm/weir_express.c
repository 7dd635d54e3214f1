#include "weir_express.h"

#include "weir_charge.h"
#include "weir_permit.h"
#include "weir_weave.h"

/* How often one limit is judged anew because somebody was faster, before the permit starts over. */
#define TAKE_TRIES 16

/*
 * Two losses of a thread so close to one another: others do nothing but take from these words, and their line goes to and fro with each permit. Who lost stands
 * back for so many pauses, so that the others take several in a row of a line that they have (T. E. Anderson, "The performance of spin lock
 * alternatives for shared-memory multiprocessors", 1990: backoff). It waits for nobody: after the pauses it goes on, whatever they do.
 */
#define CROWD_NS        2000
#define CROWD_PAUSE_CNT 4

/* One permit's private state. What the clock's sequence and epoch are is in the entry: by another one nobody departs. */
struct trip {
    uint64_t now_ns;
    uint64_t pause_word;
    uint32_t full;        /* the bucket that refuses; NONE_FULL: it is not known why not */
    uint64_t earliest_ns; /* ... until then */
    uint64_t seen[WEIR_EXPRESS_LIMITS]; /* what pass 1 leaves to pass 2 */
    uint64_t next[WEIR_EXPRESS_LIMITS];
};

#define NONE_FULL UINT32_MAX

static weir_express_way travel_bucket, travel_window, travel_two, travel_three, travel_four;

/* ---------------------------------------------------------------------------------------------- what is kept */

static bool limit_learn(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                        uint32_t place, uint64_t scope, unsigned priority,
                        struct weir_express_limit *l)
{
    uint32_t limit = route->limit[place];
    uint32_t units = route->cost[place];
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    uint32_t index;
    struct weir_shm_limit_word *word = weir_permit_word(view, limit, scope, &index);
    bool is_bucket = row->kind == WEIR_LIMIT_TOKEN_BUCKET;
    if (word == NULL || units == 0 || units > row->quota ||
        !(is_bucket || row->kind == WEIR_LIMIT_FIXED_WINDOW)) {
        return false;
    }
    *l = (struct weir_express_limit){
        .at = &word->word[0],
        .foreign = &view->foreign[index].word[0],
        .charge = {.word = index,
                   .units = units,
                   .limit = (uint16_t)limit,
                   .windows = 1,
                   .kind = (uint8_t)row->kind},
        .place = place,
        .units = units,
        .limit = limit,
        .is_bucket = is_bucket,
        .keeps = row->release_q64[priority] != 0 || row->reserve_min[priority] != 0,
        .price = units,
        .bucket = weir_bucket_ask_make(row, &view->foreign[index], units, priority),
        .row = row,
        .word = word,
        .board = &view->foreign[index]};
    if (is_bucket) {
        while (l->bucket.tolerance_ns >> l->room_shift > UINT32_MAX) {
            l->room_shift++;
        }
        l->price = weir_max_u64(l->bucket.n_ns >> l->room_shift, 1);
    }
    return true;
}

static bool entry_learn(struct weir_permit_view *view, uint32_t route, uint64_t scope,
                        unsigned priority, struct weir_express *e)
{
    const struct weir_shm_route_row *row = &view->tables.route[route];
    static weir_express_way *const several[WEIR_EXPRESS_LIMITS - 1] = {travel_two, travel_three,
                                                                       travel_four};
    e->key = 0;
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        if (!limit_learn(view, row, i, scope, priority, &e->limit[i])) {
            return false;
        }
    }
    e->scope = scope;
    e->route = route;
    e->priority = priority;
    e->way = row->limit_cnt > 1           ? several[row->limit_cnt - 2]
             : e->limit[0].is_bucket != 0 ? travel_bucket
                                          : travel_window;
    e->provider = row->provider;
    e->limit_cnt = row->limit_cnt;
    e->granted = route * WEIR_PRIORITY_CNT + priority;
    e->needs_clock = (row->flags & WEIR_ROUTE_NEEDS_CLOCK) != 0;
    e->board = &view->provider[row->provider];
    uint32_t place = weir_hold_place(&view->tables, row, scope);
    e->pause = &view->pause[place];
    e->board_pause = &view->provider[place].pause;
    e->slack_ns = view->tables.provider[row->provider].slack_ns;
    e->state =
        weir_permit_state_word(view->tables.word, row->limit_cnt, priority, WEIR_PERMIT_GRANTED);
    e->length_ns = 0;
    e->epoch = 0;
    e->tables = view->tables.word;
    e->key = weir_express_key(route, priority);
    return true;
}

/* The windows that are current, all of them for as long as the first one is. */
static void windows_learn(const struct weir_permit_clock *clock, struct weir_express *e,
                          uint64_t now_ns)
{
    uint64_t length_ns = UINT64_MAX;
    for (uint32_t i = 0; i < e->limit_cnt; i++) {
        struct weir_express_limit *l = &e->limit[i];
        struct weir_window_zone zone;
        if (l->is_bucket) {
            continue;
        }
        weir_window_zone_make(&zone, l->row, &clock->clock, now_ns);
        length_ns = weir_min_u64(length_ns, zone.length_ns);
        l->window = zone.first;
        l->cap = zone.cap;
        l->end_ns = zone.end_ns;
        l->base = weir_window_word(zone.first, 0);
        l->plain = !l->keeps && l->row->ceiling_step == 0 && zone.cap >= l->units;
        l->spare = (uint64_t)zone.cap - l->units;
        l->charge.window = zone.first;
        l->at = &l->word->word[zone.first & 1];
        l->foreign = &l->board->word[zone.first & 1];
    }
    e->from_ns = now_ns;
    e->length_ns = length_ns;
    e->seq = clock->seq;
    e->state = (e->state & ~(UINT64_MAX << WEIR_PERMIT_EPOCH_SHIFT)) |
               clock->epoch << WEIR_PERMIT_EPOCH_SHIFT;
    e->epoch = clock->epoch;
}

void weir_express_learn(struct weir_permit_view *view, uint32_t route, uint64_t scope,
                        unsigned priority, uint64_t now_ns)
{
    const struct weir_shm_route_row *row = &view->tables.route[route];
    struct weir_express *e = &view->express[weir_express_slot(route, scope, priority)];
    if ((row->flags & (WEIR_ROUTE_IN_CELLS | WEIR_ROUTE_SHARED)) != 0 || row->limit_cnt == 0 ||
        row->limit_cnt > WEIR_EXPRESS_LIMITS) {
        return;
    }
    bool known = e->tables == view->tables.word && e->key == weir_express_key(route, priority) &&
                 e->scope == scope;
    if (!known && !entry_learn(view, route, scope, priority, e)) {
        return;
    }
    const struct weir_permit_clock *clock = &view->clock[e->provider];
    if (e->needs_clock && (e->seq != clock->seq || now_ns - e->from_ns >= e->length_ns)) {
        e->length_ns = 0;
        if (clock->seq != UINT64_MAX && clock->clock.state != WEIR_CLOCK_CLOSED) {
            windows_learn(clock, e, now_ns);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- pass 1 */

/* The clock, all that stands before any limit, and that the windows kept are the current ones. False: not as usual. */
WEIR_INLINE bool depart(struct weir_permit_view *view, const struct weir_express *e, bool clock,
                        struct trip *t)
{
    const struct weir_shm_gate *gate = view->gate;
    const struct weir_shm_provider *board = e->board;
    if (WEIR_UNLIKELY(!weir_clock_now_fast(&view->time, &t->now_ns))) {
        return false;
    }
    if (clock) {
        /* relaxed: what is kept was read behind an acquire; only a change sends us there again */
        uint64_t clock_seq = weir_load_relaxed_u64(&board->clock_seq);
        if (WEIR_UNLIKELY(clock_seq != e->seq || t->now_ns - e->from_ns >= e->length_ns)) {
            return false;
        }
    }
    /* relaxed, all: as in gate_check of the long way, which looks again before it says why not */
    if (WEIR_UNLIKELY(t->now_ns >= weir_load_relaxed_u64(&gate->lease_until_ns))) {
        return false;
    }
    if (WEIR_UNLIKELY(
            (weir_load_relaxed_u32(&gate->block_all) | weir_load_relaxed_u32(view->block)) != 0)) {
        return false;
    }
    t->pause_word = weir_load_relaxed_u64(&e->pause->word);
    return WEIR_LIKELY(weir_hold_open(t->pause_word, weir_load_relaxed_u64(e->board_pause)));
}

/* What stays free of a window for the classes above. */
WEIR_INLINE uint32_t window_kept(const struct weir_permit_view *view, const struct weir_express *e,
                                 const struct weir_express_limit *l, uint64_t now_ns)
{
    const struct weir_server_clock *clock = &view->clock[e->provider].clock;
    uint64_t error_ns = weir_server_clock_error_ns(clock, now_ns);
    uint64_t left_ns = l->end_ns - weir_window_low_ns(clock, error_ns, now_ns);
    return weir_window_reserve(l->row, e->priority, left_ns, l->cap);
}

/* Would the limit pass, its word being `seen`? */
WEIR_INLINE enum weir_limit_verdict limit_judge(const struct weir_permit_view *view,
                                                const struct weir_express *e,
                                                const struct weir_express_limit *l, bool is_bucket,
                                                uint64_t now_ns, uint64_t seen, uint64_t *next,
                                                uint64_t *room, uint64_t *earliest_ns)
{
    /* relaxed: an estimate, newer is better, older is legal */
    uint64_t foreign = weir_load_relaxed_u64(l->foreign);
    if (is_bucket) {
        enum weir_limit_verdict v =
            weir_bucket_judge(&l->bucket, l->row, seen, foreign, now_ns, next, room, earliest_ns);
        *room >>= l->room_shift;
        return v;
    }
    if (WEIR_LIKELY(l->plain) && WEIR_LIKELY(weir_window_fits(l->base, seen, foreign, l->spare))) {
        *next = seen + l->units;
        *room = l->spare - (seen - l->base); /* but for what others use: this only orders */
        return WEIR_LIMIT_YES;
    }
    uint32_t kept = WEIR_UNLIKELY(l->keeps) ? window_kept(view, e, l, now_ns) : 0;
    return weir_window_judge(l->board, l->row->ceiling_step != 0, l->window, seen, foreign,
                             l->units, kept, l->cap, next, room);
}

/* Not as usual, and nothing is charged, or not any more. */
static __attribute__((noinline)) int go_long(struct weir_permit_view *view,
                                             const struct weir_express *e,
                                             struct weir_permit *permit)
{
    weir_long_way *way = view->long_way != NULL ? view->long_way : weir_permit_take_long;
    return way(view, e->route, e->scope, NULL, e->priority, permit);
}

/* Limit `full` is a full bucket. */
static __attribute__((noinline)) int refuse(const struct weir_permit_view *view,
                                            const struct weir_express *e, uint32_t full,
                                            uint64_t earliest_ns, struct weir_permit *permit)
{
    uint32_t limit = e->limit[full].limit;
    weir_permit_count_one(view->meter.refused, limit * WEIR_PRIORITY_CNT + e->priority);
    return weir_permit_deny(permit, WEIR_REASON_LIMIT_FULL, limit, earliest_ns);
}

/* The scarcest limit is not the first one any more. Bring it there. */
static __attribute__((noinline)) void first_change(struct weir_express *e, struct trip *t,
                                                   uint32_t scarcest)
{
    struct weir_express_limit l = e->limit[0];
    e->limit[0] = e->limit[scarcest];
    e->limit[scarcest] = l;
    uint64_t word = t->seen[0];
    t->seen[0] = t->seen[scarcest];
    t->seen[scarcest] = word;
    word = t->next[0];
    t->next[0] = t->next[scarcest];
    t->next[scarcest] = word;
}

/* Which kind limit `i` is of: known where there is one. */
WEIR_INLINE bool is_bucket_at(const struct weir_express *e, uint32_t i, uint32_t kind)
{
    return kind == WEIR_LIMIT_UNSET ? e->limit[i].is_bucket : kind == WEIR_LIMIT_TOKEN_BUCKET;
}

/* Pass 1. True: all would pass, and the scarcest one stands first. */
WEIR_INLINE bool look(struct weir_permit_view *view, struct weir_express *e, uint32_t cnt,
                      uint32_t kind, struct trip *t)
{
    uint64_t least_room = 0;
    uint64_t least_price = 0;
    uint32_t scarcest = 0;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_express_limit *l = &e->limit[i];
        uint64_t room = 0;
        t->next[i] = 0;
        t->earliest_ns = 0;
        /* relaxed: the CAS of pass 2 judges what was read here */
        t->seen[i] = weir_load_relaxed_u64(l->at);
        bool is_bucket = is_bucket_at(e, i, kind);
        enum weir_limit_verdict v = limit_judge(view, e, l, is_bucket, t->now_ns, t->seen[i],
                                                &t->next[i], &room, &t->earliest_ns);
        if (WEIR_UNLIKELY(v != WEIR_LIMIT_YES)) {
            t->full = is_bucket && v == WEIR_LIMIT_NO ? i : NONE_FULL;
            return false;
        }
        if (cnt == 1) {
            break;
        }
        /* room / price compared without dividing; both are below 2^32 */
        if (i == 0 || WEIR_UNLIKELY(room * least_price < least_room * l->price)) {
            scarcest = i;
            least_room = room;
            least_price = l->price;
        }
    }
    if (cnt > 1 && WEIR_UNLIKELY(scarcest != 0)) {
        struct trip out_of_line = *t; /* so that the other one may stay in registers */
        first_change(e, &out_of_line, scarcest);
        *t = out_of_line;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- pass 2 */

/* Last of all: the account may have what the audit has not. */
static __attribute__((noinline)) int arrive_audited(struct weir_permit_view *view,
                                                    const struct weir_permit *permit)
{
    weir_audit_granted(view, permit);
    return WEIR_OK;
}

WEIR_INLINE int arrive(struct weir_permit_view *view, const struct weir_express *e, uint32_t cnt,
                       const struct trip *t, struct weir_permit *permit)
{
    weir_permit_head_fill(permit, t->now_ns, e->slack_ns, e->route,
                          weir_pause_generation(t->pause_word), e->state);
    bool count = view->meter.units != NULL;
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_express_limit *l = &e->limit[i];
        permit->charge[cnt == 1 ? 0 : l->place] = l->charge;
        if (WEIR_LIKELY(count)) {
            weir_permit_count(view, l->limit, l->units);
        }
    }
    weir_permit_count_one(view->meter.granted, e->granted);
    return WEIR_UNLIKELY(view->audit.ring != NULL) ? arrive_audited(view, permit) : WEIR_OK;
}

/* Undo the first `cnt` charges, and begin anew. */
static __attribute__((noinline)) int turn_back(struct weir_permit_view *view,
                                               const struct weir_express *e, uint32_t cnt,
                                               uint64_t granted_at_ns, struct weir_permit *permit)
{
    const struct weir_limit_grant grant = {
        .granted_at_ns = granted_at_ns,
        .now_ns = weir_clock_now(&view->time),
        .epoch = {.now = &e->board->clock_epoch, .seen = e->epoch},
        .tables = &view->gate->tables,
        .tables_seen = e->tables,
        .clock = &view->time};
    /* pair:tables A: what was taken by other tables stays */
    cnt = weir_load_acquire_u64(&view->gate->tables) == e->tables ? cnt : 0;
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_express_limit *l = &e->limit[i];
        const struct weir_limit_place at = {.row = l->row, .word = l->word};
        (void)weir_limit_give(&at, &l->charge, &grant);
        WEIR_WEAVE("permit:rolled_back_one");
    }
    if (view->meter.head != NULL) {
        weir_permit_count_one(&view->meter.head->rolled_back, 0);
    }
    return go_long(view, e, permit);
}

/* Somebody was faster on limit `i`, whose word is t->seen[i] now. As weir_limit_take_again does it for the long way. */
static bool take_again(const struct weir_permit_view *view, const struct weir_express *e,
                       uint32_t i, struct trip *t)
{
    const struct weir_express_limit *l = &e->limit[i];
    for (int n = 0; n < TAKE_TRIES; n++) {
        uint64_t room;
        uint64_t earliest_ns;
        if (limit_judge(view, e, l, l->is_bucket, t->now_ns, t->seen[i], &t->next[i], &room,
                        &earliest_ns) != WEIR_LIMIT_YES) {
            return false;
        }
        /* The word may have been re-aligned: ids of the old timeline must not overwrite the new one's. (pair:epoch A) */
        if (!l->is_bucket && weir_load_acquire_u64(&e->board->clock_epoch) != e->epoch) {
            return false;
        }
        WEIR_WEAVE("express:again");
        if (weir_cas_u64(l->at, &t->seen[i], t->next[i])) { /* pair:limit R */
            return true;
        }
    }
    return false;
}

/* Stand back where the last loss was a moment ago. */
static void give_way(struct weir_express *e, struct trip *t, uint32_t at)
{
    uint64_t last_ns = e->lost_ns;
    e->lost_ns = t->now_ns;
    if (t->now_ns - last_ns < CROWD_NS) {
        for (int n = 0; n < CROWD_PAUSE_CNT; n++) {
            weir_cpu_relax();
        }
        t->seen[at] = weir_load_relaxed_u64(e->limit[at].at); /* relaxed: as in look() */
    }
}

/* Pass 2 from limit `at` on, where somebody was faster. */
static __attribute__((noinline)) int lost(struct weir_permit_view *view, struct weir_express *e,
                                          struct trip *t, uint32_t at, struct weir_permit *permit)
{
    give_way(e, t, at);
    for (uint32_t i = at; i < e->limit_cnt; i++) {
        WEIR_WEAVE("express:lost");
        bool taken =
            i > at && weir_cas_u64(e->limit[i].at, &t->seen[i], t->next[i]); /* pair:limit R */
        if (!taken && !take_again(view, e, i, t)) {
            return turn_back(view, e, i, t->now_ns, permit);
        }
        WEIR_WEAVE("limit:charged");
    }
    /* As below. (pair:latch A) */
    if (e->needs_clock && weir_load_acquire_u64(&e->board->clock_seq) != e->seq) {
        return turn_back(view, e, e->limit_cnt, t->now_ns, permit);
    }
    if (weir_load_acquire_u64(&view->gate->tables) != e->tables) { /* pair:tables A */
        return turn_back(view, e, e->limit_cnt, t->now_ns, permit);
    }
    return arrive(view, e, e->limit_cnt, t, permit);
}

/* The same for a route of one limit: `seen` is its word now. Few arguments, so that whoever loses to nobody keeps no frame. */
static __attribute__((noinline)) int lost_one(struct weir_permit_view *view, struct weir_express *e,
                                              struct weir_permit *permit, uint64_t now_ns,
                                              uint64_t pause_word, uint64_t seen)
{
    struct trip t = {.now_ns = now_ns, .pause_word = pause_word, .seen = {seen}};
    return lost(view, e, &t, 0, permit);
}

/*
 * `kind` is that of all limits, 0 where they may differ; it and `cnt` are constants, so that each way holds only what it needs. Whatever is not as usual is left to
 * functions that are called last, so that the way itself saves no registers: what a permit stores before its CAS must have left the core's buffer when the CAS ends.
 */
WEIR_INLINE int travel(struct weir_permit_view *view, struct weir_express *e, uint32_t cnt,
                       uint32_t kind, struct weir_permit *permit)
{
    struct trip t;
    bool clock = kind == WEIR_LIMIT_FIXED_WINDOW || (kind == WEIR_LIMIT_UNSET && e->needs_clock);
    for (uint32_t i = 0; i < cnt; i++) {
        weir_prefetch_write(e->limit[i].at);
    }
    if (WEIR_UNLIKELY(!depart(view, e, clock, &t))) {
        return go_long(view, e, permit);
    }
    if (WEIR_UNLIKELY(!look(view, e, cnt, kind, &t))) {
        return t.full == NONE_FULL ? go_long(view, e, permit)
                                   : refuse(view, e, t.full, t.earliest_ns, permit);
    }
    for (uint32_t i = 0; i < cnt; i++) {
        uint64_t seen = t.seen[i];
        WEIR_WEAVE("limit:planned");
        if (WEIR_UNLIKELY(!weir_cas_u64(e->limit[i].at, &seen, t.next[i]))) { /* pair:limit R */
            if (cnt == 1) {
                return lost_one(view, e, permit, t.now_ns, t.pause_word, seen);
            }
            struct trip out_of_line = t;
            out_of_line.seen[i] = seen;
            return lost(view, e, &out_of_line, i, permit);
        }
        WEIR_WEAVE("limit:charged");
    }
    /* The charges are locked operations, so this load cannot pass them: a re-alignment that began before it is seen here, one that begins later sees the
     * charges. (pair:latch A) */
    if (clock && WEIR_UNLIKELY(weir_load_acquire_u64(&e->board->clock_seq) != e->seq)) {
        return turn_back(view, e, cnt, t.now_ns, permit);
    }
    /* ... and a reload's tables, which are published before it looks at any word. (pair:tables A) */
    if (WEIR_UNLIKELY(weir_load_acquire_u64(&view->gate->tables) != e->tables)) {
        return turn_back(view, e, cnt, t.now_ns, permit);
    }
    return arrive(view, e, cnt, &t, permit);
}

static int travel_bucket(struct weir_permit_view *view, struct weir_express *e,
                         struct weir_permit *permit)
{
    return travel(view, e, 1, WEIR_LIMIT_TOKEN_BUCKET, permit);
}

static int travel_window(struct weir_permit_view *view, struct weir_express *e,
                         struct weir_permit *permit)
{
    return travel(view, e, 1, WEIR_LIMIT_FIXED_WINDOW, permit);
}

static int travel_two(struct weir_permit_view *view, struct weir_express *e,
                      struct weir_permit *permit)
{
    return travel(view, e, 2, WEIR_LIMIT_UNSET, permit);
}

static int travel_three(struct weir_permit_view *view, struct weir_express *e,
                        struct weir_permit *permit)
{
    return travel(view, e, 3, WEIR_LIMIT_UNSET, permit);
}

static int travel_four(struct weir_permit_view *view, struct weir_express *e,
                       struct weir_permit *permit)
{
    return travel(view, e, 4, WEIR_LIMIT_UNSET, permit);
}

int weir_permit_take(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit)
{
    struct weir_express *e = weir_permit_express(view, route, scope, units, priority);
    return WEIR_LIKELY(e != NULL)
               ? e->way(view, e, permit)
               : weir_permit_take_long(view, route, scope, units, priority, permit);
}
