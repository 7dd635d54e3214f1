#include "broker/feedback.h"

#include "shm/weir_base.h"

#include <string.h>

static int32_t diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static uint32_t less(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

static uint32_t most_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void feedback_init(struct feedback *f, uint32_t quota, bool expect)
{
    *f = (struct feedback){.quota = quota, .expect = expect};
}

/* What others used, as far as this window knows. */
static uint32_t used_by_others(const struct feedback *f, const struct feedback_window *w)
{
    if (!w->reported) {
        return 0;
    }
    uint32_t units = w->proven;
    if (f->shared && diff(f->shared_until, w->id) >= 0) {
        units = most_of(units, less(less(w->most, w->answered), w->over));
        units =
            most_of(units, less(less(w->least, w->answered + w->least_answered), w->least_over));
    }
    return units < f->quota ? units : f->quota;
}

/* The window is over: remember what it showed. */
static void window_end(struct feedback *f, const struct feedback_window *w)
{
    if (w->live && w->reported) {
        uint32_t at = f->history_cnt++ % FEEDBACK_HISTORY;
        f->history[at].id = w->id;
        f->history[at].units = used_by_others(f, w);
    }
}

/* The place of window `id`; NULL where a later one has it already. */
static struct feedback_window *window_of(struct feedback *f, uint32_t id)
{
    struct feedback_window *w = &f->window[id & 1];
    if (w->live && w->id == id) {
        return w;
    }
    const struct feedback_window *other = &f->window[(id & 1) ^ 1];
    if ((w->live && diff(id, w->id) < 0) || (other->live && diff(id, other->id) < -1)) {
        return NULL;
    }
    window_end(f, w);
    *w = (struct feedback_window){.id = id, .live = true};
    for (uint32_t i = 0; f->history_moved && i < FEEDBACK_HISTORY; i++) {
        f->history[i].id = id - 1;
    }
    f->history_moved = false;
    return w;
}

/* Others are proven in window `id`. */
static void shared_from(struct feedback *f, uint32_t id)
{
    uint32_t until = id + FEEDBACK_SHARED_WINDOWS;
    f->shared_until = f->shared && diff(f->shared_until, until) > 0 ? f->shared_until : until;
    f->shared = true;
}

void feedback_restore(struct feedback *f, uint32_t id, uint32_t units)
{
    struct feedback_window *w = units > 0 ? window_of(f, id) : NULL;
    if (w != NULL) {
        w->reported = true;
        w->proven = units;
        shared_from(f, id);
    }
}

static const struct feedback_window *window_find(const struct feedback *f, uint32_t id)
{
    const struct feedback_window *w = &f->window[id & 1];
    return w->live && w->id == id ? w : NULL;
}

void feedback_realigned(struct feedback *f)
{
    for (unsigned i = 0; i < 2; i++) {
        window_end(f, &f->window[i]);
    }
    memset(f->window, 0, sizeof f->window);
    memset(f->past, 0, sizeof f->past);
    f->history_moved = true;
    if (f->shared) {
        f->shared = false; /* ids to compare are gone; the next proof sets it again */
    }
}

void feedback_charged(struct feedback *f, uint32_t id, uint32_t units, bool given)
{
    struct feedback_window *w = window_of(f, id);
    if (w != NULL) {
        w->brokered = given ? less(w->brokered, units) : w->brokered + units;
    }
}

void feedback_look(struct feedback *f, uint32_t id, const uint32_t charged[2], uint64_t now_ns,
                   uint64_t keep_ns)
{
    struct feedback_past look = {.at_ns = now_ns};
    f->looked_ns = now_ns;
    for (uint32_t i = 0; i < 2; i++) {
        struct feedback_window *w = window_of(f, id + i);
        if (w == NULL) {
            continue;
        }
        look.id[i] = id + i;
        look.traders[i] = less(charged[i], w->brokered);
        w->traders_peak = most_of(w->traders_peak, look.traders[i]);
    }
    /* Looks are kept so far apart that they reach back over keep_ns; the newest is always taken. */
    const struct feedback_past *before =
        &f->past[(f->past_next + FEEDBACK_PAST - 2) % FEEDBACK_PAST];
    bool dense = before->at_ns != 0 && now_ns - before->at_ns < keep_ns / (FEEDBACK_PAST - 3);
    if (dense) {
        f->past_next = (f->past_next + FEEDBACK_PAST - 1) % FEEDBACK_PAST; /* over the last one */
    }
    f->past[f->past_next] = look;
    f->past_next = (f->past_next + 1) % FEEDBACK_PAST;
}

/* What traders had charged to window `id` at `at_ns`, and have not taken back since. */
static uint32_t traders_at(const struct feedback *f, uint32_t id, uint64_t at_ns)
{
    const struct feedback_past *from = NULL;
    for (uint32_t i = 0; i < FEEDBACK_PAST; i++) {
        const struct feedback_past *p = &f->past[i];
        if (p->at_ns != 0 && p->at_ns <= at_ns && (from == NULL || p->at_ns > from->at_ns)) {
            from = p;
        }
    }
    if (from == NULL) {
        return 0;
    }
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < FEEDBACK_PAST; i++) {
        const struct feedback_past *p = &f->past[i];
        if (p->at_ns < from->at_ns) {
            continue;
        }
        uint32_t units = 0;
        for (unsigned k = 0; k < 2; k++) {
            units = p->id[k] == id ? p->traders[k] : units;
        }
        least = units < least ? units : least;
    }
    return least;
}

bool feedback_report(struct feedback *f, const struct feedback_report *r)
{
    struct feedback_window *w = window_of(f, r->id);
    if (w == NULL) {
        return false;
    }
    uint32_t over = traders_at(f, r->id, r->settled_ns);
    if (r->least) {
        w->least = most_of(w->least, r->used);
        w->least_over = most_of(w->least_over, over);
        w->least_answered += r->units;
    } else if (r->used > w->most) {
        w->most = r->used;
        w->over = over;
    } else if (r->used == w->most) {
        w->over = most_of(w->over, over);
    }
    w->answered += r->least ? 0 : r->units;
    w->reported = true;
    uint64_t ours = (uint64_t)w->brokered + w->traders_peak;
    if (r->used > ours) {
        w->proven = most_of(w->proven, (uint32_t)(r->used - ours));
        shared_from(f, r->id);
    }
    return true;
}

uint32_t feedback_expected(const struct feedback *f, uint32_t id)
{
    if (!f->expect) {
        return 0;
    }
    uint32_t units = 0;
    for (uint32_t i = 0; i < FEEDBACK_HISTORY && i < f->history_cnt; i++) {
        bool recent = f->history_moved || diff(id, f->history[i].id) <= FEEDBACK_HISTORY;
        units = recent ? most_of(units, f->history[i].units) : units;
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct feedback_window *w = &f->window[i];
        bool recent = diff(id, w->id) > 0 && diff(id, w->id) <= FEEDBACK_HISTORY;
        units = w->live && recent ? most_of(units, used_by_others(f, w)) : units;
    }
    return units;
}

bool feedback_claim(struct feedback *f, uint32_t id, uint32_t used)
{
    struct feedback_window *w = window_of(f, id);
    if (w == NULL) {
        return false;
    }
    uint64_t ours = (uint64_t)w->brokered + w->traders_peak;
    uint32_t units = used > ours ? (uint32_t)(used - ours) : 0;
    uint32_t before = w->claimed_until_ns > f->looked_ns ? w->claimed : 0;
    if (units >= before && units > 0) {
        w->claimed = units < f->quota ? units : f->quota;
        w->claimed_until_ns = f->looked_ns + FEEDBACK_CLAIM_NS;
    }
    return true;
}

/* By our own reports. */
static uint32_t foreign_own(const struct feedback *f, uint32_t id)
{
    const struct feedback_window *w = window_find(f, id);
    uint32_t seen = w != NULL ? used_by_others(f, w) : 0;
    return most_of(seen, feedback_expected(f, id));
}

uint32_t feedback_claimed(const struct feedback *f, uint32_t id)
{
    const struct feedback_window *w = window_find(f, id);
    return w != NULL && w->claimed_until_ns > f->looked_ns ? less(w->claimed, foreign_own(f, id))
                                                           : 0;
}

uint32_t feedback_foreign(const struct feedback *f, uint32_t id)
{
    return foreign_own(f, id) + feedback_claimed(f, id);
}
