/*
 * Bans: an address (or a key) that goes on after 429 gets 418 for a while,
 * growth times as long each time, up to a bound. Time here is monotonic: a ban
 * has a length, and a shifted exchange clock neither ends nor stretches it.
 */
#ifndef SIM_BAN_H
#define SIM_BAN_H

#include <stdbool.h>
#include <stdint.h>

struct sim_ban_rule {
    int64_t after;     /* violations that bring a ban; 0 = never */
    int64_t window_ms; /* they must come within this span */
    int64_t first_ms;
    int64_t max_ms;
    double growth; /* of the length, from ban to ban */
    bool extend;   /* a call under a ban starts its length anew */
};

struct sim_ban {
    int64_t violation_cnt; /* in the running span */
    int64_t span_from_mono_ns;
    int64_t ban_cnt;      /* bans so far: sets the length of the next */
    int64_t from_mono_ns; /* of the last ban */
    int64_t until_mono_ns;
    int64_t past_ns;     /* length of the bans before the last one */
    int64_t refused_cnt; /* arrivals while banned */
};

bool sim_ban_holds(const struct sim_ban *ban, int64_t now_mono_ns);

/* Counts one 429; true when it brings a ban, which starts at once. */
bool sim_ban_violation(const struct sim_ban_rule *rule, struct sim_ban *ban, int64_t now_mono_ns);

/* Counts a call under a ban that holds. */
void sim_ban_refuse(const struct sim_ban_rule *rule, struct sim_ban *ban, int64_t now_mono_ns);

/* Time spent banned until now, the running ban included. */
int64_t sim_ban_spent_ns(const struct sim_ban *ban, int64_t now_mono_ns);

#endif
