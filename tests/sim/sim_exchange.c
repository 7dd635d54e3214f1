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

static void parties_free(struct sim_exchange *exchange)
{
    while (exchange->parties) {
        struct sim_party *party = exchange->parties;

        exchange->parties = party->next;
        for (size_t i = 0; i < exchange->config->limit_cnt; i++) {
            sim_limit_close(&party->counts[i]);
        }
        free(party);
    }
}

void sim_exchange_close(struct sim_exchange *exchange)
{
    parties_free(exchange);
    sim_order_log_close(&exchange->orders);
    sim_signatures_clear(&exchange->signatures);
}

void sim_exchange_reset(struct sim_exchange *exchange, struct sim_instant now)
{
    uint64_t generation = exchange->generation + 1;
    const struct sim_config *config = exchange->config;

    sim_exchange_close(exchange);
    sim_exchange_open(exchange, config, now);
    exchange->generation = generation;
}

static struct sim_party *party_find(const struct sim_exchange *exchange, int scope,
                                    const char *name)
{
    struct sim_party *party = exchange->parties;

    while (party && (party->scope != scope || strcmp(party->name, name) != 0)) {
        party = party->next;
    }
    return party;
}

/* A plain list: tests play a handful of addresses and keys. */
static struct sim_party *party_get(struct sim_exchange *exchange, int scope, const char *name)
{
    size_t limit_cnt = exchange->config->limit_cnt;
    struct sim_party *party = party_find(exchange, scope, name);

    if (party) {
        return party;
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

static const char *account_of(const struct sim_config *config, const char *key)
{
    for (size_t i = 0; i < config->account_cnt; i++) {
        if (strcmp(config->accounts[i].key, key) == 0) {
            return config->accounts[i].account;
        }
    }
    return key; /* an account of its own */
}

/* Whose count a limit keeps: "10.0.0.1", or "key-a BTC-USDT" where it is split. */
static void party_name(const struct sim_config *config, const struct sim_call *call, size_t limit,
                       char out[SIM_PARTY_BYTES])
{
    const char *split = call->splits[limit];
    const char *name = "(all)";

    switch (config->limits[limit].scope) {
    case SIM_SCOPE_IP:
        name = call->caller.ip;
        break;
    case SIM_SCOPE_KEY:
        name = call->caller.key;
        break;
    case SIM_SCOPE_ACCOUNT:
        name = account_of(config, call->caller.key);
        break;
    default:
        break;
    }
    snprintf(out, SIM_PARTY_BYTES, "%s%s%s", name, *split ? " " : "", split);
}

static int64_t seconds_up(int64_t ns)
{
    int64_t seconds = (ns + SIM_NS_PER_S - 1) / SIM_NS_PER_S;

    return seconds > 0 ? seconds : 1;
}

/* Room for a part of a batch is no refusal: the answer tells which part. */
static void answer_judge(const struct sim_limit_rule *rule, size_t limit, int64_t piece,
                         const struct sim_limit_answer *answer, struct sim_verdict *verdict)
{
    if (!answer->refused) {
        return;
    }
    if (answer->granted > 0) {
        verdict->piece_cnt = answer->granted / piece;
        return;
    }
    verdict->counts_to_ban = verdict->counts_to_ban || rule->bans;
    if (seconds_up(answer->retry_after_ns) > verdict->retry_after_s) {
        verdict->status = 429;
        verdict->refused_by = (int)limit;
        verdict->retry_after_s = seconds_up(answer->retry_after_ns);
    }
}

static void limits_count(struct sim_exchange *exchange, const struct sim_call *call,
                         struct sim_instant now, struct sim_verdict *verdict)
{
    const struct sim_config *config = exchange->config;
    char name[SIM_PARTY_BYTES];

    for (size_t i = 0; i < config->limit_cnt; i++) {
        const struct sim_limit_rule *rule = &config->limits[i];
        struct sim_charge *charge = &verdict->charges[i];
        struct sim_limit_answer answer;

        verdict->used[i] = SIM_NOT_COUNTED;
        if (call->asks[i].cost == 0) {
            continue;
        }
        party_name(config, call, i, name);
        charge->party = party_get(exchange, rule->scope, name);
        answer = sim_limit_ask(rule, &charge->party->counts[i], call->asks[i], now);
        charge->taken = answer.taken;
        charge->receipt = answer.receipt;
        verdict->used[i] = answer.used;
        answer_judge(rule, i, call->asks[i].piece, &answer, verdict);
    }
}

static void ban_apply(struct sim_exchange *exchange, const struct sim_caller *caller,
                      struct sim_instant now, struct sim_verdict *verdict)
{
    const struct sim_config *config = exchange->config;
    const char *name = config->ban_scope == SIM_SCOPE_KEY ? caller->key : caller->ip;
    struct sim_ban *ban = &party_get(exchange, config->ban_scope, name)->ban;

    if (sim_ban_holds(ban, now.mono_ns)) {
        int64_t left_ns;

        sim_ban_refuse(&config->ban, ban, now.mono_ns);
        left_ns = ban->until_mono_ns - now.mono_ns;
        verdict->status = 418;
        verdict->retry_after_s = seconds_up(left_ns);
        verdict->banned_until_utc_ms = (now.utc_ns + left_ns) / SIM_NS_PER_MS;
    } else if (verdict->counts_to_ban) {
        sim_ban_violation(&config->ban, ban, now.mono_ns);
    }
}

struct sim_verdict sim_exchange_count(struct sim_exchange *exchange, const struct sim_call *call,
                                      struct sim_instant now)
{
    struct sim_verdict verdict = {
        .status = 200, .piece_cnt = INT64_MAX, .generation = exchange->generation};

    exchange->arrival_cnt++;
    if (call->path) {
        exchange->by_path[call->path - exchange->config->paths]++;
    } else {
        exchange->by_route[call->route]++;
    }
    limits_count(exchange, call, now, &verdict);
    ban_apply(exchange, &call->caller, now, &verdict);
    return verdict;
}

void sim_exchange_correct(struct sim_exchange *exchange, struct sim_verdict *verdict, size_t limit,
                          int64_t final, struct sim_instant now)
{
    const struct sim_limit_rule *rule = &exchange->config->limits[limit];
    struct sim_charge *charge = &verdict->charges[limit];
    struct sim_limit_count *count;

    if (!charge->party || verdict->generation != exchange->generation || final == charge->taken) {
        return;
    }
    count = &charge->party->counts[limit];
    sim_limit_correct(rule, count, charge->receipt, final - charge->taken, now);
    charge->taken = final;
    verdict->used[limit] = sim_limit_usage(rule, count, now).used;
}

void sim_exchange_sent(struct sim_exchange *exchange, const struct sim_verdict *verdict,
                       int64_t bytes, struct sim_instant now)
{
    const struct sim_config *config = exchange->config;

    for (size_t i = 0; i < config->limit_cnt && verdict->generation == exchange->generation; i++) {
        if (config->limits[i].kind == SIM_BYTES && verdict->charges[i].party) {
            sim_limit_add(&config->limits[i], &verdict->charges[i].party->counts[i], bytes, now);
        }
    }
}

void sim_exchange_end(struct sim_exchange *exchange, const struct sim_verdict *verdict,
                      bool connections, struct sim_instant now)
{
    const struct sim_config *config = exchange->config;

    for (size_t i = 0; i < config->limit_cnt && verdict->generation == exchange->generation; i++) {
        const struct sim_limit_rule *rule = &config->limits[i];
        const struct sim_charge *charge = &verdict->charges[i];

        if (rule->kind == SIM_CONCURRENCY && charge->party &&
            (rule->counts == SIM_COUNTS_CONNECTIONS) == connections) {
            sim_limit_end(&charge->party->counts[i], charge->taken, now);
        }
    }
}

static const struct sim_limit_count *count_find(const struct sim_exchange *exchange,
                                                const struct sim_call *call, size_t limit)
{
    char name[SIM_PARTY_BYTES];
    const struct sim_party *party;

    party_name(exchange->config, call, limit, name);
    party = party_find(exchange, exchange->config->limits[limit].scope, name);
    return party ? &party->counts[limit] : NULL;
}

struct sim_usage sim_exchange_usage(const struct sim_exchange *exchange,
                                    const struct sim_call *call, size_t limit, int64_t ago_ns,
                                    struct sim_instant now)
{
    const struct sim_limit_count *count = count_find(exchange, call, limit);
    const struct sim_usage *past =
        ago_ns > 0 && count ? sim_usage_at(&count->past, now.mono_ns - ago_ns) : NULL;

    return past ? *past : sim_limit_usage(&exchange->config->limits[limit], count, now);
}

void sim_exchange_use(struct sim_exchange *exchange, size_t limit, const char *party, int64_t units,
                      struct sim_instant now)
{
    const struct sim_limit_rule *rule = &exchange->config->limits[limit];
    struct sim_limit_count *count = &party_get(exchange, rule->scope, party)->counts[limit];

    sim_limit_use(rule, count, units, now);
}

void sim_exchange_answered(struct sim_exchange *exchange, int status)
{
    if (status > 0 && status < SIM_STATUS_MAX) {
        exchange->by_status[status]++;
    } else {
        exchange->unanswered_cnt++;
    }
}
