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

/* What one permit has read. Of the clock's sequence and epoch it departs by none but those of the entry. */
struct trip {
    uint64_t now_ns;
    uint64_t pause_word;
};

static weir_express_way travel_bucket, travel_window, travel_two, travel_three, travel_four,
    travel_two_windows, travel_three_windows, travel_four_windows;

/* The clock of who has no window: it is never published. */
static const uint64_t no_clock_seq;

/* ---------------------------------------------------------------------------------------------- what is kept */

static bool limit_learn(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                        uint32_t place, uint64_t scope, unsigned priority, struct weir_express *e)
{
    struct weir_express_limit *l = &e->limit[place];
    struct weir_charge *charge = &e->charge[place];
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
    *charge = (struct weir_charge){.word = index,
                                   .units = units,
                                   .limit = (uint16_t)limit,
                                   .windows = 1,
                                   .kind = (uint8_t)row->kind};
    *l = (struct weir_express_limit){
        .at = &word->word[0],
        .foreign = &view->foreign[index].word[0],
        .step = units,
        .units = units,
        .limit = limit,
        .is_bucket = is_bucket,
        .keeps = row->release_q64[priority] != 0 || row->reserve_min[priority] != 0,
        .place = (uint8_t)place,
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
        l->step = l->bucket.n_ns;
    }
    return true;
}

/* Windows stand in the first column, in the second whatever is not only windows. */
static weir_express_way *way_of(const struct weir_express *e, uint32_t cnt)
{
    static weir_express_way *const ways[WEIR_EXPRESS_LIMITS][2] = {
        {travel_window, travel_bucket},
        {travel_two_windows, travel_two},
        {travel_three_windows, travel_three},
        {travel_four_windows, travel_four}};
    bool any_bucket = false;
    for (uint32_t i = 0; i < cnt; i++) {
        any_bucket |= e->limit[i].is_bucket;
    }
    return ways[cnt - 1][any_bucket];
}

/* What stays free of a window for the classes above. */
static uint32_t window_kept(const struct weir_permit_view *view, const struct weir_express *e,
                            const struct weir_express_limit *l, uint64_t now_ns)
{
    const struct weir_server_clock *clock = &view->clock[e->provider].clock;
    uint64_t error_ns = weir_server_clock_error_ns(clock, now_ns);
    uint64_t left_ns = l->end_ns - weir_window_low_ns(clock, error_ns, now_ns);
    return weir_window_reserve(l->row, e->priority, left_ns, l->cap);
}

/*
 * What the short question of limit `l` is about from now on. Of several limits the scarcest is charged first, so that whoever finds it full by then has nothing to give
 * back. Which one that is need not be asked while all have ample room; half of a small one is ample.
 */
static void room_learn(const struct weir_permit_view *view, const struct weir_express *e,
                       struct weir_express_limit *l, uint64_t now_ns)
{
    /* relaxed: an estimate, newer is better, older is legal */
    l->others = weir_load_relaxed_u64(l->foreign);
    if (l->is_bucket) {
        l->room = weir_bucket_room(&l->bucket, l->row, l->others);
    } else {
        /* What is kept free falls until the window ends, because the earliest arrival does not fall back: what it is now is the most. */
        uint32_t kept = l->keeps ? window_kept(view, e, l, now_ns) : 0;
        l->room = weir_window_room(l->row, l->window, l->others, (uint32_t)l->units, kept, l->cap);
    }
    if (e->limit_cnt > 1) {
        uint64_t half = l->room / 2;
        uint64_t calls = half / WEIR_EXPRESS_AMPLE_CNT;
        l->room -= l->step < calls ? WEIR_EXPRESS_AMPLE_CNT * l->step : half;
    }
}

static bool entry_learn(struct weir_permit_view *view, uint32_t route, uint64_t scope,
                        unsigned priority, struct weir_express *e)
{
    const struct weir_shm_route_row *row = &view->tables.route[route];
    e->limit_cnt = 0;
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        if (!limit_learn(view, row, i, scope, priority, e)) {
            return false;
        }
    }
    e->tables = view->tables.word;
    e->scope = scope;
    e->route = route;
    e->priority = priority;
    e->needs_clock = (row->flags & WEIR_ROUTE_NEEDS_CLOCK) != 0;
    e->way = way_of(e, row->limit_cnt);
    e->provider = row->provider;
    e->board = &view->provider[row->provider];
    /* without a clock, the time that is kept never ends */
    e->from_ns = 0;
    e->length_ns = e->needs_clock ? 0 : UINT64_MAX;
    e->seq = no_clock_seq;
    e->clock_seq = e->needs_clock ? &e->board->clock_seq : &no_clock_seq;
    uint32_t place = weir_hold_place(&view->tables, row, scope);
    e->pause = &view->pause[place];
    e->board_pause = &view->provider[place].pause;
    e->slack_ns = view->tables.provider[row->provider].slack_ns;
    e->state =
        weir_permit_state_word(view->tables.word, row->limit_cnt, priority, WEIR_PERMIT_GRANTED);
    e->granted = route * WEIR_PRIORITY_CNT + priority;
    e->epoch = 0;
    e->limit_cnt = row->limit_cnt;
    for (uint32_t i = 0; i < e->limit_cnt; i++) {
        if (e->limit[i].is_bucket) {
            room_learn(view, e, &e->limit[i], 0); /* at any instant */
        }
    }
    return true;
}

/* The windows that are current, all of them for as long as the first one is. */
static void windows_learn(const struct weir_permit_view *view, struct weir_express *e,
                          uint64_t now_ns)
{
    const struct weir_permit_clock *clock = &view->clock[e->provider];
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
        e->charge[l->place].window = zone.first;
        l->at = &l->word->word[zone.first & 1];
        l->foreign = &l->board->word[zone.first & 1];
        room_learn(view, e, l, now_ns);
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
    if (!weir_express_keeps(e, view->tables.word, route, scope, priority) &&
        !entry_learn(view, route, scope, priority, e)) {
        return;
    }
    const struct weir_permit_clock *clock = &view->clock[e->provider];
    if (e->needs_clock && (e->seq != clock->seq || now_ns - e->from_ns >= e->length_ns)) {
        e->length_ns = 0;
        if (clock->seq != UINT64_MAX && clock->clock.state != WEIR_CLOCK_CLOSED) {
            windows_learn(view, e, now_ns);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- whatever is not as usual */

/* Nothing is charged, or not any more. */
static __attribute__((noinline)) int go_long(struct weir_permit_view *view,
                                             const struct weir_express *e,
                                             struct weir_permit *permit)
{
    weir_long_way *way = view->long_way != NULL ? view->long_way : weir_permit_take_long;
    return way(view, e->route, e->scope, NULL, e->priority, permit);
}

/* Limit `full` is a full bucket. */
WEIR_INLINE int refuse(const struct weir_permit_view *view, const struct weir_express *e,
                       struct weir_permit *permit, uint32_t full, uint64_t earliest_ns)
{
    uint32_t limit = (uint32_t)e->limit[full].limit;
    weir_permit_count_one(view->meter.refused, limit * WEIR_PRIORITY_CNT + e->priority);
    return weir_permit_deny(permit, WEIR_REASON_LIMIT_FULL, limit, earliest_ns);
}

/* Undo the first `cnt` charges, and begin anew. */
static __attribute__((noinline)) int turn_back(struct weir_permit_view *view,
                                               const struct weir_express *e,
                                               struct weir_permit *permit, uint64_t granted_at_ns,
                                               uint32_t cnt)
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
        (void)weir_limit_give(&at, &e->charge[l->place], &grant);
        WEIR_WEAVE("permit:rolled_back_one");
    }
    if (view->meter.head != NULL) {
        weir_permit_count_one(&view->meter.head->rolled_back, 0);
    }
    return go_long(view, e, permit);
}

/* ---------------------------------------------------------------------------------------------- behind the charges */

/* Last of all: the account may have what the audit has not. */
static __attribute__((noinline)) int arrive_audited(struct weir_permit_view *view,
                                                    const struct weir_permit *permit)
{
    weir_audit_granted(view, permit);
    return WEIR_OK;
}

WEIR_INLINE int arrive(struct weir_permit_view *view, const struct weir_express *e, uint32_t cnt,
                       struct trip t, struct weir_permit *permit)
{
    weir_permit_head_fill(permit, t.now_ns, e->slack_ns, e->route,
                          weir_pause_generation(t.pause_word), e->state);
    for (uint32_t i = 0; i < cnt; i++) {
        permit->charge[i] = e->charge[i];
    }
    uint64_t *units = view->meter.units;
    if (WEIR_LIKELY(units != NULL)) {
        for (uint32_t i = 0; i < cnt; i++) {
            weir_count_u64(&units[e->limit[i].limit], e->limit[i].units);
        }
    }
    uint32_t *granted = view->meter.granted;
    if (WEIR_LIKELY(granted != NULL)) {
        weir_count_u32(&granted[e->granted], 1);
    }
    return WEIR_UNLIKELY(view->audit.ring != NULL) ? arrive_audited(view, permit) : WEIR_OK;
}

/*
 * All is charged: does it hold? The charges are locked operations, so these loads cannot pass them: a re-alignment that began before one is seen here, one that begins
 * later sees the charges. (pair:latch A) So with a reload's tables, which are published before it looks at any word. (pair:tables A)
 */
WEIR_INLINE bool holds(const struct weir_permit_view *view, const struct weir_express *e,
                       bool clock)
{
    bool same_clock = !clock || weir_load_acquire_u64(e->clock_seq) == e->seq;
    return WEIR_LIKELY(same_clock) &&
           WEIR_LIKELY(weir_load_acquire_u64(&view->gate->tables) == e->tables);
}

/* ---------------------------------------------------------------------------------------------- asked in full */

/* Would the limit pass, its word being `seen`? */
static enum weir_limit_verdict limit_judge(const struct weir_permit_view *view,
                                           const struct weir_express *e,
                                           const struct weir_express_limit *l, uint64_t now_ns,
                                           uint64_t seen, uint64_t *next, uint64_t *room,
                                           uint64_t *earliest_ns)
{
    /* relaxed: an estimate, newer is better, older is legal */
    uint64_t foreign = weir_load_relaxed_u64(l->foreign);
    if (l->is_bucket) {
        enum weir_limit_verdict v =
            weir_bucket_judge(&l->bucket, l->row, seen, foreign, now_ns, next, room, earliest_ns);
        *room >>= l->room_shift;
        return v;
    }
    uint32_t kept = l->keeps ? window_kept(view, e, l, now_ns) : 0;
    return weir_window_judge(l->board, l->row->ceiling_step != 0, l->window, seen, foreign,
                             (uint32_t)l->units, kept, l->cap, next, room);
}

/* Somebody was faster on limit `i`. As weir_limit_take_again does it for the long way. */
static bool take_again(const struct weir_permit_view *view, const struct weir_express *e,
                       uint32_t i, uint64_t now_ns)
{
    const struct weir_express_limit *l = &e->limit[i];
    uint64_t seen = weir_load_relaxed_u64(l->at); /* relaxed: the CAS judges what was read here */
    for (int n = 0; n < TAKE_TRIES; n++) {
        uint64_t next = 0;
        uint64_t room = 0;
        uint64_t earliest_ns = 0;
        if (limit_judge(view, e, l, now_ns, seen, &next, &room, &earliest_ns) != WEIR_LIMIT_YES) {
            return false;
        }
        /* The word may have been re-aligned: ids of the old timeline must not overwrite the new one's. (pair:epoch A) */
        if (!l->is_bucket && weir_load_acquire_u64(&e->board->clock_epoch) != e->epoch) {
            return false;
        }
        WEIR_WEAVE("express:again");
        if (weir_cas_u64(l->at, &seen, next)) { /* pair:limit R */
            return true;
        }
    }
    return false;
}

/* Stand back where the last loss was a moment ago. */
static void give_way(struct weir_express *e, uint64_t now_ns)
{
    uint64_t last_ns = e->lost_ns;
    e->lost_ns = now_ns;
    if (now_ns - last_ns < CROWD_NS) {
        for (int n = 0; n < CROWD_PAUSE_CNT; n++) {
            weir_cpu_relax();
        }
    }
}

/* Pass 2 from limit `at` on, where somebody was faster. Few arguments, so that whoever loses to nobody keeps no frame. */
static __attribute__((noinline)) int lost(struct weir_permit_view *view, struct weir_express *e,
                                          struct weir_permit *permit, uint64_t now_ns,
                                          uint64_t pause_word, uint32_t at)
{
    const struct trip t = {.now_ns = now_ns, .pause_word = pause_word};
    give_way(e, now_ns);
    for (uint32_t i = at; i < e->limit_cnt; i++) {
        WEIR_WEAVE("express:lost");
        if (!take_again(view, e, i, now_ns)) {
            return turn_back(view, e, permit, now_ns, i);
        }
        WEIR_WEAVE("limit:charged");
    }
    return WEIR_LIKELY(holds(view, e, true)) ? arrive(view, e, e->limit_cnt, t, permit)
                                             : turn_back(view, e, permit, now_ns, e->limit_cnt);
}

/* The scarcest limit is not the first one any more. Bring it there. */
static void first_change(struct weir_express *e, uint64_t seen[], uint64_t next[],
                         uint32_t scarcest)
{
    struct weir_express_limit l = e->limit[0];
    e->limit[0] = e->limit[scarcest];
    e->limit[scarcest] = l;
    uint64_t word = seen[0];
    seen[0] = seen[scarcest];
    seen[scarcest] = word;
    word = next[0];
    next[0] = next[scarcest];
    next[scarcest] = word;
}

/* The rest of the way where a limit has no ample room, or is not plain: pass 1 in full, then pass 2. */
static __attribute__((noinline)) int travel_close(struct weir_permit_view *view,
                                                  struct weir_express *e,
                                                  struct weir_permit *permit, uint64_t now_ns,
                                                  uint64_t pause_word)
{
    const struct trip t = {.now_ns = now_ns, .pause_word = pause_word};
    uint64_t seen[WEIR_EXPRESS_LIMITS];
    uint64_t next[WEIR_EXPRESS_LIMITS];
    uint64_t least_room = 0;
    uint64_t least_price = 0;
    uint32_t scarcest = 0;
    for (uint32_t i = 0; i < e->limit_cnt; i++) {
        struct weir_express_limit *l = &e->limit[i];
        uint64_t room = 0;
        uint64_t earliest_ns = 0;
        next[i] = 0;
        /* relaxed: as there */
        if (weir_load_relaxed_u64(l->foreign) != l->others) {
            room_learn(view, e, l, now_ns);
        }
        /* relaxed: the CAS of pass 2 judges what was read here */
        seen[i] = weir_load_relaxed_u64(l->at);
        enum weir_limit_verdict v =
            limit_judge(view, e, l, now_ns, seen[i], &next[i], &room, &earliest_ns);
        if (WEIR_UNLIKELY(v != WEIR_LIMIT_YES)) {
            return l->is_bucket && v == WEIR_LIMIT_NO ? refuse(view, e, permit, i, earliest_ns)
                                                      : go_long(view, e, permit);
        }
        /* room / price compared without dividing; both are below 2^32 */
        if (i == 0 || room * least_price < least_room * l->price) {
            scarcest = i;
            least_room = room;
            least_price = l->price;
        }
    }
    if (scarcest != 0) {
        first_change(e, seen, next, scarcest);
    }
    for (uint32_t i = 0; i < e->limit_cnt; i++) {
        WEIR_WEAVE("limit:planned");
        if (WEIR_UNLIKELY(!weir_cas_u64(e->limit[i].at, &seen[i], next[i]))) { /* pair:limit R */
            return lost(view, e, permit, now_ns, pause_word, i);
        }
        WEIR_WEAVE("limit:charged");
    }
    return WEIR_LIKELY(holds(view, e, true)) ? arrive(view, e, e->limit_cnt, t, permit)
                                             : turn_back(view, e, permit, now_ns, e->limit_cnt);
}

/* The same where there is one limit, a bucket: most of those who come here find it full, and ask often. `seen` is its word. */
WEIR_INLINE int bucket_close(struct weir_permit_view *view, struct weir_express *e,
                             struct weir_permit *permit, uint64_t now_ns, uint64_t pause_word,
                             uint64_t seen)
{
    const struct weir_express_limit *l = &e->limit[0];
    uint64_t earliest_ns;
    /* relaxed: as in pass 1 */
    uint64_t others = weir_load_relaxed_u64(l->foreign) | l->others;
    return WEIR_LIKELY((uint32_t)others == 0) &&
                   WEIR_LIKELY(weir_bucket_full(&l->bucket, l->room, now_ns, seen, &earliest_ns))
               ? refuse(view, e, permit, 0, earliest_ns)
               : travel_close(view, e, permit, now_ns, pause_word);
}

/* ---------------------------------------------------------------------------------------------- asked in short */

/* The clock, all that stands before any limit, and that the windows kept are the current ones. False: not as usual. */
WEIR_INLINE bool depart(const struct weir_permit_view *view, const struct weir_express *e,
                        bool clock, struct trip *t)
{
    const struct weir_shm_gate *gate = view->gate;
    if (WEIR_UNLIKELY(!weir_clock_now_fast(&view->time, &t->now_ns))) {
        return false;
    }
    if (clock) {
        /* relaxed: what is kept was read behind an acquire; only a change sends us there again */
        uint64_t clock_seq = weir_load_relaxed_u64(e->clock_seq);
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

/* Which kind limit `i` is of: known where all are of one. */
WEIR_INLINE bool is_bucket_at(const struct weir_express *e, uint32_t i, uint32_t kind)
{
    return kind == WEIR_LIMIT_UNSET ? e->limit[i].is_bucket : kind == WEIR_LIMIT_TOKEN_BUCKET;
}

/* Does its word leave room? */
WEIR_INLINE bool limit_fits(const struct weir_express_limit *l, bool is_bucket, uint64_t now_ns,
                            uint64_t seen)
{
    uint64_t own = is_bucket ? weir_max_u64(seen, now_ns) - now_ns : seen - l->base;
    /* relaxed: an estimate, newer is better, older is legal */
    return WEIR_LIKELY(weir_load_relaxed_u64(l->foreign) == l->others) &&
           WEIR_LIKELY(own < l->room);
}

/*
 * `kind` is that of all limits, 0 where they differ; it and `cnt` are constants, so that each way holds only what it needs. Whatever is not as usual is left to
 * functions that are called last, with what they need still in its registers, so that the way itself saves none: what a permit stores before its CAS must have left the
 * core's buffer when the CAS ends.
 */
WEIR_INLINE int travel(struct weir_permit_view *view, struct weir_express *e, uint32_t cnt,
                       uint32_t kind, struct weir_permit *permit)
{
    struct trip t;
    uint64_t seen[WEIR_EXPRESS_LIMITS];
    bool clock = kind != WEIR_LIMIT_TOKEN_BUCKET;
    for (uint32_t i = 0; i < cnt; i++) {
        weir_prefetch_write(e->limit[i].at);
    }
    if (WEIR_UNLIKELY(!depart(view, e, clock, &t))) {
        return go_long(view, e, permit);
    }
#pragma GCC unroll 4
    for (uint32_t i = cnt; i-- > 0;) { /* so that the word that is charged first was read last */
        /* relaxed: the CAS of pass 2 judges what was read here */
        seen[i] = weir_load_relaxed_u64(e->limit[i].at);
        if (WEIR_UNLIKELY(!limit_fits(&e->limit[i], is_bucket_at(e, i, kind), t.now_ns, seen[i]))) {
            return kind == WEIR_LIMIT_TOKEN_BUCKET
                       ? bucket_close(view, e, permit, t.now_ns, t.pause_word, seen[i])
                       : travel_close(view, e, permit, t.now_ns, t.pause_word);
        }
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_express_limit *l = &e->limit[i];
        uint64_t expected = seen[i];
        uint64_t from = is_bucket_at(e, i, kind) ? weir_max_u64(expected, t.now_ns) : expected;
        WEIR_WEAVE("limit:planned");
        if (WEIR_UNLIKELY(!weir_cas_u64(l->at, &expected, from + l->step))) { /* pair:limit R */
            return lost(view, e, permit, t.now_ns, t.pause_word, i);
        }
        WEIR_WEAVE("limit:charged");
    }
    return WEIR_LIKELY(holds(view, e, clock)) ? arrive(view, e, cnt, t, permit)
                                              : turn_back(view, e, permit, t.now_ns, cnt);
}

#define TRAVEL(name, cnt, kind)                                                     \
    static int travel_##name(struct weir_permit_view *view, struct weir_express *e, \
                             struct weir_permit *permit)                            \
    {                                                                               \
        return travel(view, e, cnt, kind, permit);                                  \
    }

TRAVEL(bucket, 1, WEIR_LIMIT_TOKEN_BUCKET)
TRAVEL(window, 1, WEIR_LIMIT_FIXED_WINDOW)
TRAVEL(two, 2, WEIR_LIMIT_UNSET)
TRAVEL(three, 3, WEIR_LIMIT_UNSET)
TRAVEL(four, 4, WEIR_LIMIT_UNSET)
TRAVEL(two_windows, 2, WEIR_LIMIT_FIXED_WINDOW)
TRAVEL(three_windows, 3, WEIR_LIMIT_FIXED_WINDOW)
TRAVEL(four_windows, 4, WEIR_LIMIT_FIXED_WINDOW)

int weir_permit_take(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit)
{
    struct weir_express *e = weir_permit_express(view, route, scope, units, priority);
    return WEIR_LIKELY(e != NULL)
               ? e->way(view, e, permit)
               : weir_permit_take_long(view, route, scope, units, priority, permit);
}
