#include "sim_calendar.h"
#include "sim_kind.h"

#include <math.h>
#include <stdlib.h>

static const struct sim_kind *const kinds[SIM_LIMIT_KIND_CNT] = {
    [SIM_FIXED_WINDOW] = &sim_kind_fixed_window,
    [SIM_TOKEN_BUCKET] = &sim_kind_token_bucket,
    [SIM_FIXED_FROM_FIRST] = &sim_kind_fixed_from_first,
    [SIM_SLIDING_WINDOW] = &sim_kind_sliding_window,
    [SIM_DECAY] = &sim_kind_decay,
    [SIM_CONCURRENCY] = &sim_kind_concurrency,
    [SIM_BYTES] = &sim_kind_sliding_window, /* of what was sent */
};

static void open_once(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                      struct sim_instant now)
{
    if (!count->opened) {
        count->opened = true;
        count->first_mono_ns = now.mono_ns;
        kinds[rule->kind]->open(rule, count, now);
    }
    count->last_mono_ns = now.mono_ns;
}

static int64_t whole_up(double units)
{
    return (int64_t)ceil(units - SIM_LEVEL_ROUNDING);
}

static struct sim_usage usage_get(const struct sim_limit_rule *rule,
                                  const struct sim_limit_count *count, struct sim_instant now)
{
    struct sim_usage usage = {.limit = rule->quota, .interval_ms = rule->window_ms};
    int64_t reset_ns = 0;

    if (rule->every != SIM_EVERY_WINDOW_MS) {
        struct sim_span span = sim_calendar_span(rule, now.utc_ns);

        usage.interval_ms = (span.until_utc_ns - span.from_utc_ns) / SIM_NS_PER_MS;
    }
    if (count && count->opened) {
        usage.used = whole_up(kinds[rule->kind]->used(rule, count, now));
        reset_ns = kinds[rule->kind]->reset_ns(rule, count, now);
    } else if (rule->kind == SIM_FIXED_WINDOW) {
        reset_ns = sim_calendar_span(rule, now.utc_ns).until_utc_ns - now.utc_ns;
    }
    usage.remaining = usage.used < rule->quota ? rule->quota - usage.used : 0;
    usage.reset_utc_ns = now.utc_ns + reset_ns;
    return usage;
}

/* After each change: what a late report will quote. */
static int64_t note_usage(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                          struct sim_instant now)
{
    int64_t used = whole_up(kinds[rule->kind]->used(rule, count, now));

    if (used > count->highest) {
        count->highest = used;
    }
    if (rule->reports.delay_ms > 0) {
        struct sim_usage usage = usage_get(rule, count, now);

        sim_usage_note(&count->past, &usage, now.mono_ns);
    }
    return used;
}

static void debt_add(struct sim_limit_count *count, int64_t units)
{
    count->debt_level -= (double)units;
    count->excess_max = fmax(count->excess_max, -count->debt_level);
}

/* What a call takes that finds ROOM units too few. */
static int64_t refused_take(const struct sim_limit_rule *rule, const struct sim_limit_ask *ask,
                            double room)
{
    if (ask->piece > 0 && room >= (double)ask->piece) {
        return (int64_t)(room / (double)ask->piece) * ask->piece;
    }
    return rule->counts_refused ? ask->cost : 0;
}

struct sim_limit_answer sim_limit_ask(const struct sim_limit_rule *rule,
                                      struct sim_limit_count *count, struct sim_limit_ask ask,
                                      struct sim_instant now)
{
    const struct sim_kind *kind = kinds[rule->kind];
    struct sim_limit_answer answer = {.taken = ask.cost, .granted = ask.cost};
    bool after_paid = rule->kind == SIM_BYTES;
    double missing;
    double room;

    open_once(rule, count, now);
    room = (double)rule->quota - kind->used(rule, count, now);
    missing = (after_paid ? 1.0 : (double)ask.cost) - room; /* a byte must be left */
    answer.refused = !ask.forced && missing > SIM_LEVEL_ROUNDING;
    if (answer.refused) {
        answer.retry_after_ns = kind->wait_ns(rule, count, missing, now);
        answer.taken = refused_take(rule, &ask, room);
        answer.granted = ask.piece > 0 && room >= (double)ask.piece ? answer.taken : 0;
        count->deficit_max = fmax(count->deficit_max, missing);
        count->partial_cnt += answer.granted > 0;
    }
    if (after_paid) {
        answer.taken = 0;
        answer.granted = 0;
    } else {
        answer.receipt = kind->add(rule, count, answer.taken, now);
    }
    debt_add(count, ask.cost);
    count->arrival_cnt++;
    count->violation_cnt += answer.refused;
    count->counted += after_paid ? 0 : ask.cost;
    count->granted += answer.granted;
    answer.used = note_usage(rule, count, now);
    return answer;
}

struct sim_limit_answer sim_limit_count(const struct sim_limit_rule *rule,
                                        struct sim_limit_count *count, int64_t cost,
                                        struct sim_instant now)
{
    return sim_limit_ask(rule, count, (struct sim_limit_ask){.cost = cost}, now);
}

void sim_limit_add(const struct sim_limit_rule *rule, struct sim_limit_count *count, int64_t units,
                   struct sim_instant now)
{
    open_once(rule, count, now);
    kinds[rule->kind]->add(rule, count, units, now);
    count->counted += units;
    count->granted += units;
    note_usage(rule, count, now);
}

void sim_limit_correct(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                       int64_t receipt, int64_t units, struct sim_instant now)
{
    if (units > 0) {
        kinds[rule->kind]->add(rule, count, units, now);
        debt_add(count, units);
    } else {
        kinds[rule->kind]->take_back(rule, count, receipt, -units, now);
    }
    count->counted += units;
    count->granted += units;
    count->corrected += units;
    note_usage(rule, count, now);
}

void sim_limit_use(const struct sim_limit_rule *rule, struct sim_limit_count *count, int64_t units,
                   struct sim_instant now)
{
    int64_t receipt;

    open_once(rule, count, now);
    receipt = kinds[rule->kind]->add(rule, count, units > 0 ? units : 0, now);
    if (units < 0) {
        kinds[rule->kind]->take_back(rule, count, receipt, -units, now);
    }
    count->foreign += units;
    note_usage(rule, count, now);
}

struct sim_usage sim_limit_usage(const struct sim_limit_rule *rule,
                                 const struct sim_limit_count *count, struct sim_instant now)
{
    return usage_get(rule, count, now);
}

void sim_limit_close(struct sim_limit_count *count)
{
    free(count->log.ring);
    count->log = (struct sim_log){0};
}

double sim_limit_share(const struct sim_limit_rule *rule, const struct sim_limit_count *count)
{
    const struct sim_kind *kind = kinds[rule->kind];
    int64_t span_ns = count->last_mono_ns - count->first_mono_ns;

    if (rule->kind == SIM_CONCURRENCY) {
        return span_ns > 0 ? (double)count->busy_unit_ns / ((double)rule->quota * (double)span_ns)
                           : 0.0;
    }
    if (kind->allowed) {
        return count->opened ? (double)count->granted / kind->allowed(rule, count) : 0.0;
    }
    if (count->complete_cnt == 0) {
        return 0.0;
    }
    return (double)count->complete_granted / ((double)rule->quota * (double)count->complete_cnt);
}
