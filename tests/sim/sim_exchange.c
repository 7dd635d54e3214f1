#include "sim_exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_exchange_open(struct sim_exchange *exchange, const struct sim_config *config,
                       struct sim_instant now)
{
    *exchange = (struct sim_exchange){.config = config, .started = now};
    sim_order_log_open(&exchange->orders);
}

void sim_exchange_close(struct sim_exchange *exchange)
{
    while (exchange->parties) {
        struct sim_party *party = exchange->parties;

        exchange->parties = party->next;
        free(party);
    }
    sim_order_log_close(&exchange->orders);
}

/* A plain list: tests play a handful of addresses and keys. */
static struct sim_party *party_get(struct sim_exchange *exchange, int scope, const char *name)
{
    size_t limit_cnt = exchange->config->limit_cnt;
    struct sim_party *party;

    for (party = exchange->parties; party; party = party->next) {
        if (party->scope == scope && strcmp(party->name, name) == 0) {
            return party;
        }
    }
    party = calloc(1, sizeof(*party) + limit_cnt * sizeof(party->counts[0]));
    if (!party) {
        /* An oracle that forgets is worse than none. */
        fprintf(stderr, "weir-sim: out of memory for caller %s\n", name);
        abort();
    }
    party->scope = scope;
    snprintf(party->name, sizeof(party->name), "%s", name);
    party->next = exchange->parties;
    exchange->parties = party;
    return party;
}

static int64_t cost_on(const struct sim_limit_rule *rule, struct sim_cost cost)
{
    switch (rule->counts) {
    case SIM_COUNTS_WEIGHT:
        return cost.weight;
    case SIM_COUNTS_REQUESTS:
        return cost.requests;
    default:
        return cost.orders;
    }
}

static int64_t seconds_up(int64_t ns)
{
    int64_t seconds = (ns + SIM_NS_PER_S - 1) / SIM_NS_PER_S;

    return seconds > 0 ? seconds : 1;
}

static void limits_count(struct sim_exchange *exchange, const struct sim_caller *caller,
                         struct sim_cost cost, struct sim_instant now, struct sim_verdict *verdict)
{
    const struct sim_config *config = exchange->config;

    for (size_t i = 0; i < config->limit_cnt; i++) {
        const struct sim_limit_rule *rule = &config->limits[i];
        int64_t units = cost_on(rule, cost);
        struct sim_limit_answer answer;
        struct sim_party *party;

        verdict->used[i] = SIM_NOT_COUNTED;
        if (units == 0) {
            continue;
        }
        party = party_get(exchange, rule->scope,
                          rule->scope == SIM_SCOPE_IP ? caller->ip : caller->key);
        answer = sim_limit_count(rule, &party->counts[i], units, now);
        verdict->used[i] = answer.used;
        if (answer.refused && seconds_up(answer.retry_after_ns) > verdict->retry_after_s) {
            verdict->status = 429;
            verdict->refused_by = (int)i;
            verdict->retry_after_s = seconds_up(answer.retry_after_ns);
        }
    }
}

static void ban_apply(struct sim_exchange *exchange, const struct sim_caller *caller,
                      struct sim_instant now, struct sim_verdict *verdict)
{
    struct sim_ban *ban = &party_get(exchange, SIM_SCOPE_IP, caller->ip)->ban;

    if (sim_ban_holds(ban, now.mono_ns)) {
        int64_t left_ns = ban->until_mono_ns - now.mono_ns;

        ban->refused_cnt++;
        verdict->status = 418;
        verdict->retry_after_s = seconds_up(left_ns);
        verdict->banned_until_utc_ms = (now.utc_ns + left_ns) / SIM_NS_PER_MS;
    } else if (verdict->status == 429) {
        sim_ban_violation(&exchange->config->ban, ban, now.mono_ns);
    }
}

struct sim_verdict sim_exchange_count(struct sim_exchange *exchange,
                                      const struct sim_caller *caller, enum sim_route route,
                                      struct sim_cost cost, struct sim_instant now)
{
    struct sim_verdict verdict = {.status = 200};

    exchange->arrival_cnt++;
    exchange->by_route[route]++;
    limits_count(exchange, caller, cost, now, &verdict);
    ban_apply(exchange, caller, now, &verdict);
    return verdict;
}

void sim_exchange_answered(struct sim_exchange *exchange, int status)
{
    if (status > 0 && status < SIM_STATUS_MAX) {
        exchange->by_status[status]++;
    } else {
        exchange->unanswered_cnt++;
    }
}
