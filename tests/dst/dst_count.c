/*
 * dst_count.c: the exchange's counts, and the judge of never-exceed. By the published rules, with the exchange's own clock, by the instant at which a
 * request arrives; no code is shared with shm/.
 *
 *   fixed      at most quota in each [k W, (k+1) W) of its UTC
 *   bucket     a level that falls by quota/W; never above burst
 *   sliding    at most quota in any (t - W, t]
 *   units      at most quota open
 *
 * An exchange may correct a call's cost when it answers. Less: the rest is off the count at once (a bucket's level does not fall below 0). More: it is on the count at
 * once, and nobody can have known. Such a surcharge is judged only at arrivals whose permit was granted after weir had settled the call: J later.
 *
 * Others take of the same limits, and answers tell the count (`told`, at the instant s at which their call was counted). Judged as feedback.h and rolling.h have their
 * theorems: at an arrival that was granted after such an answer was taken in, and others were known by then, our own and what of others was counted up to s are at
 * most the quota. What others took behind s nobody knows.
 */
#include "dst.h"

#include <stdio.h>
#include <string.h>

#define LOG_MAX   8192U
#define HEARD_MAX 256U
#define DRAIN_NS  (20 * DST_S) /* a bucket's past that matters */

struct entry {
    uint64_t at;
    uint64_t id; /* call */
    uint64_t units;
    uint64_t more; /* surcharge */
    uint64_t more_known_at;
    bool other;
};

struct heard { /* an answer's count, known to weir */
    uint64_t known_at, counted_at;
};

struct count {
    uint64_t window; /* fixed */
    uint64_t units, others;
    double level, level_all; /* bucket: ours, everybody's */
    uint64_t level_at;
    struct entry log[LOG_MAX]; /* a ring: what still counts */
    unsigned log_first, log_cnt;
    uint64_t open; /* units */
    uint64_t used_most;
    uint64_t surcharges; /* in the log */
    struct heard heard[HEARD_MAX];
    unsigned heard_first, heard_cnt;
    uint64_t counted_at; /* all that weir knew J ago is of calls counted up to here; 0: nothing */
    /* after a reload */
    uint64_t most_before, before_until; /* ... so much may still be there */
    uint64_t base_at;                   /* bucket: its level then, and what came since by the log */
    double base;
    bool begun_full; /* ... and it holds no more than it can */
};

#define COUNT_CNT (DST_PROVIDERS_MAX * DST_LIMITS_MAX * DST_VALUES_MAX)

static struct count count[COUNT_CNT]; /* by provider, limit, value of its scope */

static struct count *count_at(unsigned provider, unsigned limit, unsigned value)
{
    return &count[(provider * DST_LIMITS_MAX + limit) * DST_VALUES_MAX + value];
}

static struct count *count_of(unsigned provider, unsigned limit, dst_maker maker)
{
    return count_at(provider, limit,
                    dst_made_by(maker, dst_world.provider[provider].limit[limit].scope));
}

void dst_count_reset(void)
{
    for (unsigned i = 0; i < COUNT_CNT; i++) {
        struct count *c = &count[i];
        c->log_first = c->log_cnt = c->heard_first = c->heard_cnt = 0;
        c->window = c->units = c->others = c->level_at = c->open = c->used_most = 0;
        c->level = c->level_all = 0;
        c->surcharges = c->counted_at = 0;
        c->most_before = c->before_until = c->base_at = 0;
        c->base = 0;
        c->begun_full = false;
    }
}

static struct entry *log_at(struct count *c, unsigned i)
{
    return &c->log[(c->log_first + i) % LOG_MAX];
}

static void log_drop(struct count *c)
{
    const struct entry *e = log_at(c, 0);
    *(e->other ? &c->others : &c->units) -= e->units;
    c->surcharges -= e->more > 0;
    c->log_first = (c->log_first + 1) % LOG_MAX;
    c->log_cnt--;
}

static double drained(double level, uint64_t ns, const struct dst_limit *l)
{
    level -= (double)ns * (double)l->quota / (double)l->window_ns;
    return level < 0 ? 0 : level;
}

/* Let time pass: what no longer counts leaves. */
static void advance(const struct dst_provider *p, const struct dst_limit *l, struct count *c)
{
    uint64_t id;
    switch (l->kind) {
    case DST_FIXED:
        id = dst_server_utc(p, dst_now) / l->window_ns;
        while (id != c->window && c->log_cnt > 0) {
            log_drop(c);
        }
        c->window = id;
        break;
    case DST_BUCKET:
        c->level = drained(c->level, dst_now - c->level_at, l);
        c->level_all = drained(c->level_all, dst_now - c->level_at, l);
        c->level_at = dst_now;
        while (c->log_cnt > 0 && log_at(c, 0)->at + DRAIN_NS <= dst_now) {
            log_drop(c);
        }
        break;
    case DST_SLIDING:
        while (c->log_cnt > 0 && log_at(c, 0)->at + l->window_ns <= dst_now) {
            log_drop(c);
        }
        break;
    default:
        break;
    }
}

static void add(const struct dst_limit *l, struct count *c, uint64_t id, uint64_t units, bool other)
{
    if (l->kind == DST_UNITS) {
        c->open += units;
        return;
    }
    if (c->log_cnt == LOG_MAX) {
        dst_broken("simulator", "too many arrivals in one span");
    }
    *log_at(c, c->log_cnt++) = (struct entry){
        .at = dst_now, .id = id, .units = units, .more_known_at = UINT64_MAX, .other = other};
    *(other ? &c->others : &c->units) += units;
    c->level += other ? 0 : (double)units;
    c->level_all += (double)units;
}

static uint64_t whole(double level)
{
    return level <= 1e-6 ? 0 : (uint64_t)(level - 1e-6) + 1;
}

static uint64_t most_of(const struct dst_limit *l)
{
    return l->kind == DST_BUCKET ? l->burst : l->quota;
}

/* What is judged by: right after a reload the larger number. */
static uint64_t most_now(const struct dst_limit *l, const struct count *c)
{
    uint64_t most = most_of(l);
    return dst_now < c->before_until && c->most_before > most ? c->most_before : most;
}

/* Our own, without what nobody could know. */
static uint64_t ours(const struct dst_provider *p, const struct dst_limit *l, struct count *c)
{
    uint64_t n = l->kind == DST_UNITS    ? c->open
                 : l->kind == DST_BUCKET ? whole(c->level)
                                         : c->units;
    for (unsigned i = 0; c->surcharges > 0 && i < c->log_cnt; i++) {
        const struct entry *e = log_at(c, i);
        bool known =
            e->more > 0 && e->more_known_at < dst_now && dst_now - e->more_known_at > p->jitter_ns;
        n += known ? e->more : 0;
    }
    return n;
}

/* ---------------------------------------------------------------------------------------------- others */

void dst_count_heard(unsigned provider, unsigned limit, uint64_t counted_at)
{
    struct count *c = count_at(provider, limit, 0);
    if (c->heard_cnt == HEARD_MAX) {
        c->heard_first = (c->heard_first + 1) % HEARD_MAX;
        c->heard_cnt--;
    }
    c->heard[(c->heard_first + c->heard_cnt++) % HEARD_MAX] = (struct heard){dst_now, counted_at};
}

/* What a dead worker knew of others the next one has only as a number. */
void dst_count_forget(void)
{
    for (unsigned i = 0; i < COUNT_CNT; i++) {
        struct count *c = &count[i];
        c->heard_cnt = 0;
        c->counted_at = 0;
    }
}

/* A broker died: surcharges may be forgotten with it. */
void dst_count_forget_surcharges(void)
{
    for (unsigned i = 0; i < COUNT_CNT; i++) {
        struct count *c = &count[i];
        for (unsigned k = 0; c->surcharges > 0 && k < c->log_cnt; k++) {
            log_at(c, k)->more_known_at = UINT64_MAX;
        }
    }
}

/* Ours, and others' up to the newest count that weir knew J ago. */
static uint64_t with_others(const struct dst_provider *p, const struct dst_limit *l,
                            struct count *c)
{
    while (c->heard_cnt > 0 && dst_now - c->heard[c->heard_first].known_at > p->jitter_ns) {
        uint64_t at = c->heard[c->heard_first].counted_at;
        c->counted_at = at > c->counted_at ? at : c->counted_at;
        c->heard_first = (c->heard_first + 1) % HEARD_MAX;
        c->heard_cnt--;
    }
    uint64_t n = 0;
    double level = c->base;
    uint64_t at = c->base_at;
    for (unsigned i = 0; i < c->log_cnt; i++) {
        const struct entry *e = log_at(c, i);
        if (e->at <= c->base_at && l->kind == DST_BUCKET && c->base_at > 0) {
            continue;
        }
        if (!e->other || e->at <= c->counted_at) {
            level = drained(level, e->at - at, l) + (double)e->units;
            at = e->at;
            n += e->units;
        }
    }
    return l->kind == DST_BUCKET ? whole(drained(level, dst_now - at, l)) : n;
}

/* Somebody else's call, if the exchange lets it in, or counts also what it refuses. */
void dst_count_other(unsigned provider, unsigned limit, uint64_t units)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_limit *l = &p->limit[limit];
    struct count *c = count_at(provider, limit, 0); /* there is no pool beside others */
    advance(p, l, c);
    uint64_t now = l->kind == DST_BUCKET ? whole(c->level_all) : c->units + c->others;
    if ((now + units <= most_of(l) || (p->counts_refused && now <= 2 * most_of(l))) &&
        dst_fault(DST_OTHERS_CALLED, 1)) {
        add(l, c, UINT64_MAX, units, true);
        dst_trace("others", provider << 8 | limit, units, now + units);
    }
}

/* What the exchange says of one limit: used by everybody. */
uint64_t dst_count_told(unsigned provider, unsigned limit, dst_maker maker)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    struct count *c = count_of(provider, limit, maker);
    advance(p, &p->limit[limit], c);
    return p->limit[limit].kind == DST_BUCKET ? whole(c->level_all) : c->units + c->others;
}

/* ---------------------------------------------------------------------------------------------- arrivals */

void dst_count_arrive(unsigned provider, unsigned limit, dst_maker maker, uint64_t id,
                      uint64_t units, const char *who)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_limit *l = &p->limit[limit];
    struct count *c = count_of(provider, limit, maker);
    if (l->scope != DST_ALL && dst_made_by(maker, l->scope) == 0) {
        dst_broken("member", "%s.%s counts by member, and call %llu (%s) comes from none", p->name,
                   l->name, (unsigned long long)id, who);
    }
    if (units == 0) { /* it only says who it is; surcharges may have taken all there is */
        return;
    }
    advance(p, l, c);
    uint64_t most = most_now(l, c);
    add(l, c, id, units, false);
    if (c->begun_full && dst_now < c->before_until && c->level > (double)most_of(l)) {
        c->level = (double)most_of(l); /* by the rate before; no counter holds more than it can */
    }
    uint64_t now = ours(p, l, c);
    c->used_most = now > c->used_most ? now : c->used_most;
    dst_checks[DST_CHECK_QUOTA]++;
    dst_trace("count", limit, now, most);
    if (now > most) {
        dst_broken("never exceed",
                   "%s.%s, member %u: the exchange counts %llu of %llu: call %llu (%s), server "
                   "time %.6f s, window %.3f s",
                   p->name, l->name, dst_made_by(maker, l->scope), (unsigned long long)now,
                   (unsigned long long)most, (unsigned long long)id, who,
                   (double)dst_server_utc(p, dst_now) / 1e9, (double)l->window_ns / 1e9);
    }
    if (!p->others || l->kind == DST_UNITS) {
        return;
    }
    now = with_others(p, l, c);
    dst_checks[DST_CHECK_OTHERS] += c->counted_at != 0;
    if (c->counted_at != 0 && now > most) {
        dst_broken("never exceed beside others",
                   "%s.%s: with what others were known to use the exchange counts %llu of %llu: "
                   "call %llu (%s); known up to %.6f ms",
                   p->name, l->name, (unsigned long long)now, (unsigned long long)most,
                   (unsigned long long)id, who, (double)c->counted_at / 1e6);
    }
}

/* The call is answered, or cut: its units in flight are free. */
void dst_count_over(unsigned provider, unsigned limit, dst_maker maker, uint64_t units)
{
    if (dst_world.provider[provider].limit[limit].kind == DST_UNITS) {
        count_of(provider, limit, maker)->open -= units;
    }
}

static struct entry *entry_of(struct count *c, uint64_t id, uint64_t at)
{
    for (unsigned i = c->log_cnt; i > 0; i--) {
        struct entry *e = log_at(c, i - 1);
        if (e->id == id && e->at == at && !e->other) {
            return e;
        }
    }
    return NULL;
}

/* The exchange has decided what the call costs in the end. */
void dst_count_settle(unsigned provider, unsigned limit, dst_maker maker, uint64_t id, uint64_t at,
                      uint64_t units)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_limit *l = &p->limit[limit];
    struct count *c = count_of(provider, limit, maker);
    advance(p, l, c);
    struct entry *e = l->kind != DST_UNITS ? entry_of(c, id, at) : NULL;
    if (e == NULL) {
        return;
    }
    dst_trace("settles", limit, id, units);
    if (units >= e->units) {
        c->surcharges += e->more == 0 && units > e->units;
        e->more = units - e->units;
        return;
    }
    double back = (double)(e->units - units);
    c->level = c->level > back ? c->level - back : 0;
    c->level_all = c->level_all > back ? c->level_all - back : 0;
    if (e->at <= c->base_at) {
        c->base = c->base > back ? c->base - back : 0;
    }
    c->units -= e->units - units;
    e->units = units;
}

/* weir has settled the call by its answer: from now on it knows. */
void dst_count_settled(unsigned provider, unsigned limit, dst_maker maker, uint64_t id, uint64_t at)
{
    struct count *c = count_of(provider, limit, maker);
    struct entry *e = c->surcharges > 0 ? entry_of(c, id, at) : NULL;
    if (e != NULL && e->more > 0) {
        e->more_known_at = dst_now;
        dst_checks[DST_CHECK_SETTLED]++;
    }
}

/* ---------------------------------------------------------------------------------------------- another configuration */

/* Windows of another length: what is still in the log of the one that is current by it. */
static void recount(const struct dst_provider *p, const struct dst_limit *l, struct count *c)
{
    uint64_t id = dst_server_utc(p, dst_now) / l->window_ns;
    while (c->log_cnt > 0 && dst_server_utc(p, log_at(c, 0)->at) / l->window_ns != id) {
        log_drop(c);
    }
    c->window = id;
}

/* One whose bucket says what is left gives the new part as it fills; another one at once. */
static void bucket_change(const struct dst_provider *p, const struct dst_limit *was,
                          const struct dst_limit *is, struct count *c)
{
    bool another_rate = is->quota != was->quota;
    c->begun_full = another_rate && !p->others && !p->settles && dst_chance(0.4);
    if (c->begun_full) { /* of another rate: a new counter, which begins with nothing to give */
        c->level = c->level_all = (double)is->burst;
    } else if (is->burst > was->burst && dst_chance(0.5)) {
        c->level += (double)(is->burst - was->burst);
        c->level_all += (double)(is->burst - was->burst);
    }
    c->base = c->level;
    c->base_at = dst_now;
}

void dst_count_change(unsigned provider, unsigned limit, const struct dst_limit *next)
{
    struct dst_provider *p = &dst_world.provider[provider];
    struct dst_limit *l = &p->limit[limit];
    const struct dst_limit was = *l;
    if (memcmp(&was, next, sizeof was) == 0) {
        return;
    }
    for (unsigned v = 0; v < DST_VALUES_MAX; v++) {
        struct count *c = count_at(provider, limit, v);
        advance(p, &was, c);
        c->most_before = most_now(&was, c);
        c->before_until = UINT64_MAX;
    }
    *l = *next;
    for (unsigned v = 0; v < DST_VALUES_MAX; v++) {
        struct count *c = count_at(provider, limit, v);
        if (l->kind == DST_FIXED && was.window_ns != l->window_ns) {
            recount(p, l, c);
        } else if (l->kind == DST_BUCKET && (v == 0) == (l->scope == DST_ALL)) {
            bucket_change(p, &was, l, c);
        }
    }
    dst_trace("limit is", provider << 8 | limit, most_of(l), l->window_ns);
}

void dst_count_cut(unsigned provider, unsigned limit)
{
    const struct dst_limit *l = &dst_world.provider[provider].limit[limit];
    for (unsigned v = 0; l->kind == DST_BUCKET && v < DST_VALUES_MAX; v++) {
        struct count *c = count_at(provider, limit, v);
        double most = (double)l->burst;
        c->level = c->level > most ? most : c->level;
        c->level_all = c->level_all > most ? most : c->level_all;
        c->base = c->base > most ? most : c->base;
    }
}

void dst_count_changed(uint64_t settled_at)
{
    for (unsigned i = 0; i < COUNT_CNT; i++) {
        struct count *c = &count[i];
        c->before_until = c->before_until == UINT64_MAX ? settled_at : c->before_until;
    }
}

uint64_t dst_exchange_count(unsigned provider, unsigned limit, unsigned value, uint64_t *window)
{
    *window = count_at(provider, limit, value)->window;
    return count_at(provider, limit, value)->units;
}

uint64_t dst_count_most(unsigned provider, unsigned limit)
{
    uint64_t most = 0;
    for (unsigned v = 0; v < DST_VALUES_MAX; v++) {
        uint64_t used = count_at(provider, limit, v)->used_most;
        most = used > most ? used : most;
    }
    return most;
}
