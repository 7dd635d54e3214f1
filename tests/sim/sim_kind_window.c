/* Fixed windows: by the server's clock, or from the first call. */
#include "sim_calendar.h"
#include "sim_kind.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void sim_window_turn(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                     struct sim_window next)
{
    struct sim_window closed = count->window;

    count->history[count->history_cnt++ % SIM_WINDOW_HISTORY_MAX] = closed;
    if (next.number > closed.number) {
        count->complete_cnt += next.number - closed.number - 1;
    }
    if (closed.number != count->first_window) {
        count->complete_cnt++;
        count->complete_used += closed.used;
        count->complete_granted += least(closed.used, rule->quota);
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
    size_t kept = SIM_WINDOW_HISTORY_MAX;
    size_t oldest = count->history_cnt > kept ? count->history_cnt - kept : 0;

    if (number == count->window.number) {
        count->window.used -= least(units, count->window.used);
        return;
    }
    for (size_t i = count->history_cnt; i-- > oldest;) {
        struct sim_window *window = &count->history[i % kept];

        if (window->number == number) {
            int64_t left = window->used - least(units, window->used);

            if (number != count->first_window) {
                count->complete_used -= window->used - left;
                count->complete_granted -=
                    least(window->used, rule->quota) - least(left, rule->quota);
            }
            window->used = left;
            return;
        }
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
    count->first_window = span.number; /* never complete: the run began inside it */
    count->window = (struct sim_window){span.number, span.from_utc_ns / SIM_NS_PER_MS, 0};
}

static double fixed_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                         struct sim_instant now)
{
    (void)rule;
    return holds(count, now.utc_ns) ? (double)count->window.used : 0.0;
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
