#include "broker/rolling.h"

#include <string.h>

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static bool is_bucket(const struct rolling *r)
{
    return r->rule.unit_ns != 0;
}

/* Whole units of a bucket's ns, rounded up. */
static uint64_t units_of(const struct rolling *r, uint64_t ns)
{
    return is_bucket(r) ? ns / r->rule.unit_ns + (ns % r->rule.unit_ns != 0) : ns;
}

void rolling_init(struct rolling *r, const struct rolling_rule *rule)
{
    memset(r, 0, sizeof *r);
    r->rule = *rule;
}

void rolling_restore(struct rolling *r, uint64_t now_ns, uint64_t until_ns, uint32_t units)
{
    if (units == 0 || until_ns <= now_ns) {
        return;
    }
    uint64_t n = is_bucket(r) ? (uint64_t)units * r->rule.unit_ns : units;
    r->shared_until_ns = now_ns + r->rule.window_ns * ROLLING_SHARED;
    r->point[0] = (struct rolling_point){.seen_ns = now_ns,
                                         .until_ns = is_bucket(r) ? UINT64_MAX : until_ns,
                                         .used = units,
                                         .proven = n,
                                         .possible = n};
}

void rolling_answered(struct rolling *r, uint64_t stamp_ns, uint64_t sent_ns, uint64_t done_ns,
                      uint32_t units)
{
    struct rolling_answers *last =
        &r->answers[(r->answers_cnt + ROLLING_ANSWERS - 1) % ROLLING_ANSWERS];
    uint64_t grain_ns = r->rule.window_ns / ROLLING_GRAINS;
    if (r->answers_cnt > 0 && stamp_ns < last->stamp_ns + grain_ns &&
        stamp_ns + grain_ns > last->stamp_last_ns && done_ns < last->done_ns + grain_ns) {
        last->stamp_ns = weir_min_u64(last->stamp_ns, stamp_ns);
        last->stamp_last_ns = weir_max_u64(last->stamp_last_ns, stamp_ns);
        last->sent_ns = weir_min_u64(last->sent_ns, sent_ns);
        last->done_ns = weir_max_u64(last->done_ns, done_ns);
        last->units += units;
        return;
    }
    r->answers[r->answers_cnt++ % ROLLING_ANSWERS] =
        (struct rolling_answers){stamp_ns, stamp_ns, sent_ns, done_ns, units};
}

/* Time that our bucket stood empty takes others' units from the server's too. */
static void drain(struct rolling *r, uint64_t idle_ns)
{
    for (uint32_t i = 0; i < 2 * ROLLING_POINTS; i++) {
        struct rolling_point *p = &r->point[i];
        p->proven = less(p->proven, idle_ns);
        p->possible = less(p->possible, idle_ns);
        p->until_ns = p->possible == 0 && p->proven == 0 ? 0 : p->until_ns;
    }
}

void rolling_look(struct rolling *r, uint64_t now_ns, uint64_t tat_ns, uint64_t given_ns,
                  uint64_t keep_ns)
{
    if (now_ns <= r->looked_ns) {
        return;
    }
    uint32_t last = (r->past_next + ROLLING_PAST - 1) % ROLLING_PAST;
    /* Whoever came since the last look has moved TAT on: how long it stood empty before is not known, and counts as no time. */
    uint64_t idle_ns = r->looked_ns != 0 ? less(now_ns, weir_max_u64(tat_ns, r->looked_ns)) : 0;
    drain(r, idle_ns);
    r->idle_ns += idle_ns;
    /* Looks are kept so far apart that they reach back over keep_ns; the newest is always taken. */
    uint32_t before = (r->past_next + ROLLING_PAST - 2) % ROLLING_PAST;
    bool dense =
        r->past[before].at_ns != 0 && now_ns - r->past[before].at_ns < keep_ns / (ROLLING_PAST - 3);
    uint32_t at = dense ? last : r->past_next;
    r->past[at].at_ns = now_ns;
    r->past[at].full_ns = weir_max_u64(tat_ns, now_ns);
    r->past[at].given_ns = r->looked_ns != 0 ? r->given_ns : given_ns;
    r->past[at].idle_ns = r->idle_ns;
    r->given_ns = given_ns;
    r->past_next = (at + 1) % ROLLING_PAST;
    r->looked_ns = now_ns;
}

/*
 * Bucket: what we had charged at an instant `*since_ns`, no later than asked for, and have not taken back since; in ns. The newest look that is old enough. `*idle_ns`: for so long
 * it stood empty since.
 */
static uint64_t level_at(const struct rolling *r, uint64_t *since_ns, uint64_t *idle_ns)
{
    uint64_t at_ns = 0;
    uint64_t firm_ns = 0; /* what was given back later had been charged by then, at worst */
    *idle_ns = 0;
    for (uint32_t i = 0; i < ROLLING_PAST; i++) {
        uint64_t t = r->past[i].at_ns;
        if (t != 0 && t <= *since_ns && t > at_ns) {
            at_ns = t;
            firm_ns = less(less(r->past[i].full_ns, t), r->given_ns - r->past[i].given_ns);
            *idle_ns = r->idle_ns - r->past[i].idle_ns;
        }
    }
    *since_ns = at_ns != 0 ? at_ns : *since_ns;
    return firm_ns;
}

/* Bucket: units granted at `since_ns` or later whose calls were over at `sent_ns`, and the call of the report. */
static uint64_t known_over(const struct rolling *r, const struct rolling_report *q,
                           uint64_t since_ns)
{
    uint64_t units = q->stamp_ns >= since_ns ? q->units : 0;
    for (uint32_t i = 0; i < ROLLING_ANSWERS && i < r->answers_cnt; i++) {
        const struct rolling_answers *a = &r->answers[i];
        units += a->stamp_ns >= since_ns && a->done_ns <= q->sent_ns ? a->units : 0;
    }
    return units;
}

static struct rolling_point point_of(const struct rolling *r, const struct rolling_report *q,
                                     uint64_t now_ns)
{
    struct rolling_point p = {.sent_ns = q->sent_ns,
                              .seen_ns = q->seen_ns,
                              .since_ns = less(q->sent_ns, q->jitter_ns),
                              .used = q->used,
                              .claim = q->claim,
                              .least = q->least,
                              .fresh = true};
    if (is_bucket(r)) {
        uint64_t one_ns = r->rule.unit_ns;
        uint64_t used_ns = weir_min_u64(q->used, 2 * (uint64_t)r->rule.quota) * one_ns;
        uint64_t idle_ns;
        uint64_t ours_ns = level_at(r, &p.since_ns, &idle_ns);
        uint64_t over_ns = known_over(r, q, p.since_ns) * one_ns;
        p.possible = less(used_ns + (q->seen_ns - p.since_ns), ours_ns + over_ns + idle_ns);
        /* A count has no parts: up to one unit of it may be ours. */
        uint64_t last = (r->past_next + ROLLING_PAST - 1) % ROLLING_PAST;
        uint64_t most_ns = less(r->past[last].full_ns, q->sent_ns) + q->jitter_ns + r->rule.step_ns;
        p.proven = less(less(used_ns, one_ns), most_ns + q->late_ns);
        p.until_ns = UINT64_MAX;
    } else {
        p.since_ns -= r->rule.part_ns != 0 ? p.since_ns % r->rule.part_ns : 0;
        p.own = q->units;
        p.stamp_ns = q->stamp_ns;
        p.proven = less(q->used, q->most);
        p.until_ns = q->seen_ns + r->rule.window_ns;
    }
    if (q->claim) {
        p.until_ns = weir_min_u64(p.until_ns, now_ns + ROLLING_CLAIM_NS);
    }
    return p;
}

/* Two replies that nobody can put in order, where there is room for one. */
static void point_merge(struct rolling_point *p, const struct rolling_point *q)
{
    p->sent_ns = weir_min_u64(p->sent_ns, q->sent_ns);
    p->seen_ns = weir_max_u64(p->seen_ns, q->seen_ns);
    p->until_ns = weir_max_u64(p->until_ns, q->until_ns);
    p->since_ns = weir_min_u64(p->since_ns, q->since_ns);
    p->used = p->used > q->used ? p->used : q->used;
    p->own = 0;
    p->least = p->least && q->least;
    p->proven = weir_max_u64(p->proven, q->proven);
    p->possible = weir_max_u64(p->possible, q->possible);
    p->fresh = true;
}

static bool is_live(const struct rolling_point *p, uint64_t now_ns)
{
    return p->until_ns > now_ns;
}

/* Does `p` say all that `q` says? One that tells only the least does not stand for a number. */
static bool says_all(const struct rolling_point *p, const struct rolling_point *q)
{
    return !p->least || q->least;
}

/* Into the half of the points that it belongs to. False: it is late. */
static bool point_put(struct rolling *r, const struct rolling_point *p, uint64_t now_ns)
{
    uint32_t first = p->claim ? ROLLING_POINTS : 0;
    uint32_t judges = p->claim ? 2 * ROLLING_POINTS : ROLLING_POINTS;
    struct rolling_point *place = NULL;
    for (uint32_t i = 0; i < judges; i++) {
        const struct rolling_point *q = &r->point[i];
        if (is_live(q, now_ns) && q->sent_ns >= p->seen_ns && says_all(q, p)) {
            return false;
        }
    }
    for (uint32_t i = first; i < 2 * ROLLING_POINTS; i++) {
        struct rolling_point *q = &r->point[i];
        if (!is_live(q, now_ns) || (q->seen_ns <= p->sent_ns && says_all(p, q))) {
            q->until_ns = 0;
            place = i < first + ROLLING_POINTS && place == NULL ? q : place;
        }
    }
    if (place != NULL) {
        *place = *p;
    } else if (says_all(p, &r->point[first])) {
        point_merge(&r->point[first], p);
    }
    return true;
}

/* The most of each of the last windows. */
static void history_note(struct rolling *r, uint64_t now_ns, uint64_t n)
{
    uint64_t window = now_ns / weir_max_u64(r->rule.window_ns, 1);
    uint32_t at = (uint32_t)(window % ROLLING_HISTORY);
    if (r->history[at].window != window) {
        r->history[at].window = window;
        r->history[at].most = 0;
    }
    r->history[at].most = weir_max_u64(r->history[at].most, n);
}

static uint64_t expected(const struct rolling *r, uint64_t now_ns)
{
    uint64_t window = now_ns / weir_max_u64(r->rule.window_ns, 1);
    uint64_t most = 0;
    for (uint32_t i = 0; i < ROLLING_HISTORY && r->rule.expect; i++) {
        if (r->history[i].window + ROLLING_HISTORY > window) {
            most = weir_max_u64(most, r->history[i].most);
        }
    }
    return most;
}

/* Bucket: what stands now, in ns. */
static uint64_t level_now(const struct rolling *r, uint64_t now_ns)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < ROLLING_POINTS; i++) {
        most = is_live(&r->point[i], now_ns) ? weir_max_u64(most, r->point[i].possible) : most;
    }
    return most;
}

bool rolling_report(struct rolling *r, const struct rolling_report *report, uint64_t now_ns)
{
    if (report->sent_ns > report->seen_ns) {
        return false;
    }
    struct rolling_point p = point_of(r, report, now_ns);
    uint64_t before_ns = level_now(r, now_ns);
    if (!point_put(r, &p, now_ns)) {
        return false;
    }
    if (p.proven > 0) {
        uint64_t *until = p.claim ? &r->claimed_until_ns : &r->shared_until_ns;
        uint64_t length_ns = r->rule.window_ns * ROLLING_SHARED;
        length_ns = p.claim ? weir_min_u64(length_ns, ROLLING_CLAIM_NS) : length_ns;
        *until = weir_max_u64(*until, now_ns + length_ns);
    }
    if (is_bucket(r) && !p.claim && r->shared_until_ns > now_ns) {
        history_note(r, now_ns, less(p.possible, before_ns));
    }
    return true;
}

/*
 * Sliding: units of ours that are over, for grants whose span begins at `from_ns`. What the server's rolling window surely counted is over as long as the report stands;
 * all else as long as it is in the span.
 */
static uint64_t over(const struct rolling *r, const struct rolling_point *p, uint64_t from_ns,
                     rolling_stamped *stamped, const void *arg)
{
    uint64_t in_ns =
        r->rule.window_ns - r->rule.window_ns / 2000; /* the server's W may be shorter */
    uint64_t firm = r->rule.rolls ? p->own : 0;
    uint64_t twice = firm != 0 && p->stamp_ns < p->since_ns ? firm : 0; /* in `span` as well */
    uint64_t late = firm == 0 && p->stamp_ns >= weir_max_u64(p->since_ns, from_ns) ? p->own : 0;
    uint64_t span = p->since_ns > from_ns ? stamped(arg, from_ns, p->since_ns) : 0;
    for (uint32_t i = 0; i < ROLLING_ANSWERS && i < r->answers_cnt; i++) {
        const struct rolling_answers *a = &r->answers[i];
        if (a->done_ns > p->sent_ns) {
            continue;
        }
        if (r->rule.rolls && a->sent_ns > less(p->seen_ns, in_ns)) {
            firm += a->units;
            twice += a->stamp_ns < p->since_ns && a->stamp_last_ns >= from_ns ? a->units : 0;
        } else if (a->stamp_ns >= weir_max_u64(p->since_ns, from_ns)) {
            late += a->units;
        }
    }
    return firm + late + less(span, twice);
}

/* One report, as of now. */
static uint64_t worth(const struct rolling *r, const struct rolling_point *p, bool shared,
                      uint64_t from_ns, rolling_stamped *stamped, const void *arg)
{
    if (!shared) {
        return p->proven;
    }
    if (is_bucket(r)) {
        return p->possible;
    }
    return weir_max_u64(less(p->used, over(r, p, from_ns, stamped, arg)), p->proven);
}

bool rolling_shared(const struct rolling *r, uint64_t now_ns)
{
    return weir_max_u64(r->shared_until_ns, r->claimed_until_ns) > now_ns;
}

struct rolling_foreign rolling_foreign(struct rolling *r, uint64_t now_ns, uint64_t ahead_ns,
                                       rolling_stamped *stamped, const void *arg)
{
    uint64_t most[2] = {0, 0}; /* own reports', claims' */
    uint64_t until_ns = 0;
    bool shared = r->shared_until_ns > now_ns;
    bool claimed = shared || r->claimed_until_ns > now_ns;
    uint64_t from_ns = less(now_ns + ahead_ns, r->rule.span_ns);
    for (uint32_t i = 0; i < 2 * ROLLING_POINTS; i++) {
        struct rolling_point *p = &r->point[i];
        if (!is_live(p, now_ns)) {
            continue;
        }
        uint64_t n = worth(r, p, i < ROLLING_POINTS ? shared : claimed, from_ns, stamped, arg);
        if (p->fresh && !p->claim && shared && !is_bucket(r)) {
            history_note(r, now_ns, n);
        }
        p->fresh = false;
        most[i / ROLLING_POINTS] = weir_max_u64(most[i / ROLLING_POINTS], n);
        until_ns = n > 0 ? weir_max_u64(until_ns, p->until_ns) : until_ns;
    }
    uint64_t kept = expected(r, now_ns);
    uint64_t own = is_bucket(r) ? most[0] + kept : weir_max_u64(most[0], kept);
    uint64_t all = weir_max_u64(own, most[1]);
    until_ns = kept > 0 ? weir_max_u64(until_ns, now_ns + r->rule.window_ns) : until_ns;
    until_ns = is_bucket(r) ? now_ns + all + ROLLING_KEEP_NS : until_ns;
    uint64_t units = weir_min_u64(units_of(r, all), r->rule.quota);
    uint64_t without = weir_min_u64(units_of(r, own), r->rule.quota);
    return (struct rolling_foreign){.units = (uint32_t)units,
                                    .claimed = (uint32_t)(units - without),
                                    .until_ns = units > 0 ? until_ns : 0};
}
