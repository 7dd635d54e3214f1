/* Fixed windows: by the server's clock, or from the first call. */
#include "sim_calendar.h"
#include "sim_kind.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Where the closed window NUMBER stands in the history; -1 when it is not kept. */
static int closed_find(const struct sim_limit_count *count, int64_t number)
{
    size_t kept = SIM_WINDOW_HISTORY_MAX;
    size_t oldest = count->history_cnt > kept ? count->history_cnt - kept : 0;

    for (size_t i = count->history_cnt; i-- > oldest;) {
        if (count->history[i % kept].number == number) {
            return (int)(i % kept);
        }
    }
    return -1;
}

static void complete_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                         const struct sim_window *window, int sign)
{
    if (window->number != count->first_window) {
        count->complete_cnt += sign;
        count->complete_used += sign * window->used;
        count->complete_granted += sign * least(window->used, rule->quota);
    }
}

/* A clock that went back comes to a window again: its count goes on where it
   stood, for the rule knows only server time. */
static void window_resume(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                          struct sim_window *window)
{
    int at = closed_find(count, window->number);

    if (at >= 0) {
        window->used = count->history[at].used;
        complete_add(rule, count, &count->history[at], -1);
        count->history[at].number = SIM_WINDOW_RESUMED;
    } else if (window->number > count->first_window && window->number < count->newest) {
        count->complete_cnt--; /* it was passed over as empty */
    }
}

void sim_window_turn(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                     struct sim_window next)
{
    struct sim_window closed = count->window;

    count->newest = closed.number > count->newest ? closed.number : count->newest;
    if (next.number > count->newest) {
        count->complete_cnt += next.number - count->newest - 1;
    }
    count->history[count->history_cnt++ % SIM_WINDOW_HISTORY_MAX] = closed;
    complete_add(rule, count, &closed, 1);
    count->went_back = count->went_back || next.number < closed.number;
    if (count->went_back) {
        window_resume(rule, count, &next);
    }
    count->window = next;
}

void sim_window_add(struct sim_limit_count *count, int64_t units)
{
    count->window.used += units;
    if (count->window.used > count->highest) {
        count->highest = count->window.used;
        count->highest_start_ms = count->window.start_ms;
    }
}

void sim_window_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                          int64_t number, int64_t units)
{
    int at;

    if (number == count->window.number) {
        count->window.used -= least(units, count->window.used);
        return;
    }
    at = closed_find(count, number);
    if (at >= 0) {
        struct sim_window *closed = &count->history[at];

        complete_add(rule, count, closed, -1);
        closed->used -= least(units, closed->used);
        complete_add(rule, count, closed, 1);
    }
}

/* ---- by the server's clock ---- */

static void span_set(struct sim_limit_count *count, struct sim_span span)
{
    count->window_from_ns = span.from_utc_ns;
    count->window_until_ns = span.until_utc_ns;
}

static bool holds(const struct sim_limit_count *count, int64_t ns)
{
    return ns >= count->window_from_ns && ns < count->window_until_ns;
}

static void fixed_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                       struct sim_instant now)
{
    struct sim_span span = sim_calendar_span(rule, now.utc_ns);

    span_set(count, span);
    count->newest = span.number;
    count->first_window = span.number; /* never complete: the run began inside it */
    count->window = (struct sim_window){span.number, span.from_utc_ns / SIM_NS_PER_MS, 0};
}

static double fixed_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                         struct sim_instant now)
{
    int at = -1;

    if (holds(count, now.utc_ns)) {
        return (double)count->window.used;
    }
    if (count->went_back || now.utc_ns < count->window_from_ns) {
        at = closed_find(count, sim_calendar_span(rule, now.utc_ns).number);
    }
    return at >= 0 ? (double)count->history[at].used : 0.0;
}

static int64_t fixed_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                         int64_t units, struct sim_instant now)
{
    if (!holds(count, now.utc_ns)) {
        struct sim_span span = sim_calendar_span(rule, now.utc_ns);

        span_set(count, span);
        sim_window_turn(rule, count,
                        (struct sim_window){span.number, span.from_utc_ns / SIM_NS_PER_MS, 0});
    }
    sim_window_add(count, units);
    return count->window.number;
}

static void fixed_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                            int64_t receipt, int64_t units, struct sim_instant now)
{
    (void)now;
    sim_window_take_back(rule, count, receipt, units);
}

static int64_t fixed_reset_ns(const struct sim_limit_rule *rule,
                              const struct sim_limit_count *count, struct sim_instant now)
{
    (void)count;
    return sim_calendar_span(rule, now.utc_ns).until_utc_ns - now.utc_ns;
}

static int64_t fixed_wait_ns(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                             double missing, struct sim_instant now)
{
    (void)missing;
    return fixed_reset_ns(rule, count, now);
}

const struct sim_kind sim_kind_fixed_window = {
    .open = fixed_open,
    .used = fixed_used,
    .add = fixed_add,
    .take_back = fixed_take_back,
    .wait_ns = fixed_wait_ns,
    .reset_ns = fixed_reset_ns,
};

int64_t sim_window_number(const struct sim_limit_rule *rule, int64_t utc_ns)
{
    return sim_calendar_span(rule, utc_ns).number;
}

/* ---- from the first call, on the monotonic clock: its length is a span ---- */

static void first_start(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                        struct sim_instant now)
{
    count->window_from_ns = now.mono_ns;
    count->window_until_ns = now.mono_ns + rule->window_ms * SIM_NS_PER_MS;
}

static void first_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                       struct sim_instant now)
{
    first_start(rule, count, now);
    count->first_window = -1; /* the first window starts with the run: it can be complete */
    count->window = (struct sim_window){0, now.utc_ns / SIM_NS_PER_MS, 0};
}

static double first_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                         struct sim_instant now)
{
    (void)rule;
    return holds(count, now.mono_ns) ? (double)count->window.used : 0.0;
}

static int64_t first_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                         int64_t units, struct sim_instant now)
{
    if (!holds(count, now.mono_ns)) {
        struct sim_window next = {count->window.number + 1, now.utc_ns / SIM_NS_PER_MS, 0};

        first_start(rule, count, now);
        sim_window_turn(rule, count, next);
    }
    sim_window_add(count, units);
    return count->window.number;
}

static int64_t first_reset_ns(const struct sim_limit_rule *rule,
                              const struct sim_limit_count *count, struct sim_instant now)
{
    (void)rule;
    return holds(count, now.mono_ns) ? count->window_until_ns - now.mono_ns : 0;
}

static int64_t first_wait_ns(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                             double missing, struct sim_instant now)
{
    (void)missing;
    return first_reset_ns(rule, count, now);
}

const struct sim_kind sim_kind_fixed_from_first = {
    .open = first_open,
    .used = first_used,
    .add = first_add,
    .take_back = fixed_take_back,
    .wait_ns = first_wait_ns,
    .reset_ns = first_reset_ns,
};
