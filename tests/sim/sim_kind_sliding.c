/*
 * Sliding windows from an exact log: sliding_window, and bytes of answers.
 * What arrived at t counts until t + window, exclusive.
 */
#include "sim_kind.h"

#include <stdio.h>
#include <stdlib.h>

static struct sim_log_entry *entry_at(const struct sim_log *log, int64_t sequence)
{
    return &log->ring[(size_t)sequence & (log->max - 1)];
}

static int64_t window_ns(const struct sim_limit_rule *rule)
{
    return rule->window_ms * SIM_NS_PER_MS;
}

static bool counts_still(const struct sim_limit_rule *rule, const struct sim_log_entry *entry,
                         struct sim_instant now)
{
    return entry->mono_ns + window_ns(rule) > now.mono_ns;
}

static void log_grow(struct sim_log *log)
{
    size_t max = log->max ? log->max * 2 : 64;
    struct sim_log_entry *ring = malloc(max * sizeof(*ring));

    if (!ring) {
        /* An oracle that forgets is worse than none. */
        fprintf(stderr, "weir-sim: out of memory for a sliding window of %zu calls\n", max);
        abort();
    }
    for (int64_t i = log->first; i < log->next; i++) {
        ring[(size_t)i & (max - 1)] = *entry_at(log, i);
    }
    free(log->ring);
    log->ring = ring;
    log->max = max;
}

static void log_add(struct sim_log *log, int64_t units, int64_t mono_ns)
{
    if ((size_t)(log->next - log->first) == log->max) {
        log_grow(log);
    }
    *entry_at(log, log->next++) = (struct sim_log_entry){mono_ns, units};
    log->sum += units;
}

static struct sim_window tile_at(const struct sim_limit_rule *rule,
                                 const struct sim_limit_count *count, struct sim_instant now)
{
    int64_t number = (now.mono_ns - count->first_mono_ns) / window_ns(rule);
    int64_t since_ns = now.mono_ns - count->first_mono_ns - number * window_ns(rule);

    return (struct sim_window){number, (now.utc_ns - since_ns) / SIM_NS_PER_MS, 0};
}

static void sliding_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                         struct sim_instant now)
{
    count->first_window = -1; /* tiles start with the run: the first one can be complete */
    count->window = tile_at(rule, count, now);
}

static double sliding_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                           struct sim_instant now)
{
    int64_t used = count->log.sum;

    for (int64_t i = count->log.first; i < count->log.next; i++) {
        const struct sim_log_entry *entry = entry_at(&count->log, i);

        if (counts_still(rule, entry, now)) {
            break;
        }
        used -= entry->units;
    }
    return (double)used;
}

static int64_t sliding_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                           int64_t units, struct sim_instant now)
{
    struct sim_window tile = tile_at(rule, count, now);
    struct sim_log *log = &count->log;

    while (log->first < log->next && !counts_still(rule, entry_at(log, log->first), now)) {
        log->sum -= entry_at(log, log->first++)->units;
    }
    if (tile.number != count->window.number) {
        sim_window_turn(rule, count, tile);
    }
    log_add(log, units, now.mono_ns);
    count->window.used += units;
    if (log->sum > count->highest) { /* a sum over (t - W, t] is greatest at an arrival */
        count->highest = log->sum;
        count->highest_start_ms = (now.utc_ns - window_ns(rule)) / SIM_NS_PER_MS;
    }
    return log->next - 1;
}

static void sliding_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                              int64_t receipt, int64_t units, struct sim_instant now)
{
    struct sim_log_entry *entry;

    (void)now;
    if (receipt < count->log.first || receipt >= count->log.next) {
        return; /* it no longer counts */
    }
    entry = entry_at(&count->log, receipt);
    units = units < entry->units ? units : entry->units;
    entry->units -= units;
    count->log.sum -= units;
    sim_window_take_back(rule, count, (entry->mono_ns - count->first_mono_ns) / window_ns(rule),
                         units);
}

static int64_t sliding_wait_ns(const struct sim_limit_rule *rule,
                               const struct sim_limit_count *count, double missing,
                               struct sim_instant now)
{
    double freed = 0;

    for (int64_t i = count->log.first; i < count->log.next; i++) {
        const struct sim_log_entry *entry = entry_at(&count->log, i);

        if (counts_still(rule, entry, now)) {
            freed += (double)entry->units;
            if (freed >= missing) {
                return entry->mono_ns + window_ns(rule) - now.mono_ns;
            }
        }
    }
    return window_ns(rule);
}

/* Bybit: "when the limit resets if exceeded, else now". */
static int64_t sliding_reset_ns(const struct sim_limit_rule *rule,
                                const struct sim_limit_count *count, struct sim_instant now)
{
    return sliding_used(rule, count, now) < (double)rule->quota
               ? 0
               : sliding_wait_ns(rule, count, 1, now);
}

const struct sim_kind sim_kind_sliding_window = {
    .open = sliding_open,
    .used = sliding_used,
    .add = sliding_add,
    .take_back = sliding_take_back,
    .wait_ns = sliding_wait_ns,
    .reset_ns = sliding_reset_ns,
};
