/* Public market data, made up but of the true shape and size. */
#include "sim_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol {
    const char *base;
    int64_t price_cents; /* all are quoted in USDT */
};

static const struct symbol symbols[] = {
    {"BTC", 6425013}, {"ETH", 341277}, {"BNB", 58441}, {"SOL", 14562}, {"XRP", 5231},
    {"ADA", 4528},    {"DOGE", 1211},  {"AVAX", 2744}, {"DOT", 621},   {"LINK", 1433},
    {"LTC", 8217},    {"BCH", 38940},  {"ATOM", 812},  {"UNI", 745},   {"ETC", 2310},
    {"XLM", 988},     {"NEAR", 517},   {"FIL", 442},   {"APT", 893},   {"ARB", 871},
};
enum { SYMBOL_CNT = sizeof(symbols) / sizeof(symbols[0]), SYMBOL_BYTES = 24 };

/* From clock time alone, so that equal questions at one instant agree. */
static int64_t price_cents(const struct symbol *symbol, int64_t utc_ms)
{
    int64_t swing = symbol->price_cents / 200 + 1;

    return symbol->price_cents + (utc_ms / 100 * 7919) % swing;
}

static void symbol_name(const struct symbol *symbol, char *out)
{
    snprintf(out, SYMBOL_BYTES, "%sUSDT", symbol->base);
}

static const struct symbol *symbol_find(const char *name)
{
    char known[SYMBOL_BYTES];

    for (size_t i = 0; name && i < SYMBOL_CNT; i++) {
        symbol_name(&symbols[i], known);
        if (strcmp(known, name) == 0) {
            return &symbols[i];
        }
    }
    return NULL;
}

static void unknown_symbol(struct sim_request *request)
{
    sim_answer_error(request, 400, -1121, "Invalid symbol.");
}

static int64_t utc_ms_now(const struct sim_request *request)
{
    return sim_clock_now(&request->sim->clock).utc_ns / SIM_NS_PER_MS;
}

static void time_answer(struct sim_request *request)
{
    const char *unit = sim_request_header(request, "X-MBX-TIME-UNIT");
    int64_t utc_us = sim_clock_now(&request->sim->clock).utc_ns / 1000;
    bool micro = unit && strcasecmp(unit, "microsecond") == 0;

    sim_answer_json(request, 200,
                    json_pack("{s:I}", "serverTime", (json_int_t)(micro ? utc_us : utc_us / 1000)));
}

/* 60000 → MINUTE, 1; a scaled window of 1500 → MILLISECOND, 1500. */
static json_t *rate_limit_json(const struct sim_limit_rule *rule)
{
    static const char *const types[] = {"REQUEST_WEIGHT", "RAW_REQUESTS", "ORDERS"};
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"DAY", 86400000},
                 {"HOUR", 3600000},
                 {"MINUTE", 60000},
                 {"SECOND", 1000},
                 {"MILLISECOND", 1}};
    int64_t window_ms = rule->window_ms > 0 ? rule->window_ms : 1000;
    const char *interval = rule->every == SIM_EVERY_MONTH ? "MONTH" : "DAY";
    int64_t interval_cnt = 1;
    size_t unit = 0;
    json_t *object;

    if (rule->every == SIM_EVERY_WINDOW_MS) {
        while (window_ms % units[unit].ms != 0) {
            unit++;
        }
        interval = units[unit].name;
        interval_cnt = window_ms / units[unit].ms;
    }
    object = json_pack("{s:s, s:s, s:I, s:I}", "rateLimitType", types[rule->counts], "interval",
                       interval, "intervalNum", (json_int_t)interval_cnt, "limit",
                       (json_int_t)rule->quota);
    if (rule->kind == SIM_TOKEN_BUCKET) {
        json_object_set_new(object, "refillPerSecond", json_real(rule->refill_per_s));
    }
    return object;
}

static json_t *symbol_json(const struct symbol *symbol)
{
    char name[SYMBOL_BYTES];

    symbol_name(symbol, name);
    return json_pack(
        "{s:s, s:s, s:s, s:i, s:s, s:i, s:[s,s,s,s,s], s:b, s:b, s:b, s:[{s:s,s:s,s:s,s:s},"
        "{s:s,s:s,s:s,s:s}]}",
        "symbol", name, "status", "TRADING", "baseAsset", symbol->base, "baseAssetPrecision", 8,
        "quoteAsset", "USDT", "quoteAssetPrecision", 8, "orderTypes", "LIMIT", "LIMIT_MAKER",
        "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT", "icebergAllowed", 1,
        "isSpotTradingAllowed", 1, "isMarginTradingAllowed", 1, "filters", "filterType",
        "PRICE_FILTER", "minPrice", "0.01000000", "maxPrice", "1000000.00000000", "tickSize",
        "0.01000000", "filterType", "LOT_SIZE", "minQty", "0.00001000", "maxQty", "9000.00000000",
        "stepSize", "0.00001000");
}

static void exchange_info_answer(struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    json_t *limits = json_array();
    json_t *list = json_array();

    for (size_t i = 0; i < config->limit_cnt; i++) {
        if (config->limits[i].counts <= SIM_COUNTS_ORDERS && config->limits[i].kind != SIM_BYTES) {
            json_array_append_new(limits, rate_limit_json(&config->limits[i]));
        }
    }
    for (size_t i = 0; i < SYMBOL_CNT; i++) {
        json_array_append_new(list, symbol_json(&symbols[i]));
    }
    sim_answer_json(request, 200,
                    json_pack("{s:s, s:I, s:o, s:[], s:o}", "timezone", "UTC", "serverTime",
                              (json_int_t)utc_ms_now(request), "rateLimits", limits,
                              "exchangeFilters", "symbols", list));
}

/* One side of a book, a cent a level, away from FROM_CENTS. */
static void side_print(FILE *out, const char *name, int64_t from_cents, int step, long level_cnt)
{
    fprintf(out, "\"%s\":[", name);
    for (long i = 0; i < level_cnt; i++) {
        int64_t cents = from_cents + step * i;
        int64_t lots = 1000 + (cents * 2654435761LL) % 900000;

        fprintf(out, "%s[\"%lld.%02lld000000\",\"%lld.%05lld000\"]", i ? "," : "",
                (long long)(cents / 100), (long long)(cents % 100), (long long)(lots / 100000),
                (long long)(lots % 100000));
    }
    fputc(']', out);
}

static void depth_answer(struct sim_request *request)
{
    const struct symbol *symbol = symbol_find(sim_request_query(request, "symbol"));
    const char *limit_text = sim_request_query(request, "limit");
    char *end = NULL;
    long limit = limit_text ? strtol(limit_text, &end, 10) : 100;
    int64_t utc_ms = utc_ms_now(request);
    size_t body_bytes = 0;
    char *body = NULL;
    FILE *out;

    if (!symbol) {
        unknown_symbol(request);
        return;
    }
    if (limit < 1 || (end && *end)) {
        sim_answer_error(request, 400, -1100, "Illegal characters found in parameter 'limit'.");
        return;
    }
    limit = limit < 5000 ? limit : 5000;
    out = open_memstream(&body, &body_bytes);
    if (!out) {
        sim_answer_error(request, 500, -1000, "Out of memory.");
        return;
    }
    /* A cheap coin has fewer cents than 5000 levels: its book starts higher. */
    int64_t mid_cents = price_cents(symbol, utc_ms) + limit;
    fprintf(out, "{\"lastUpdateId\":%lld,", (long long)utc_ms);
    side_print(out, "bids", mid_cents, -1, limit);
    fputc(',', out);
    side_print(out, "asks", mid_cents + 1, 1, limit);
    fputc('}', out);
    fclose(out);
    sim_answer_text(request, 200, "application/json;charset=UTF-8", body, body_bytes);
}

static json_t *price_json(const struct symbol *symbol, int64_t utc_ms, bool day)
{
    int64_t cents = price_cents(symbol, utc_ms);
    char name[SYMBOL_BYTES];
    char price[32];

    symbol_name(symbol, name);
    snprintf(price, sizeof(price), "%lld.%02lld000000", (long long)(cents / 100),
             (long long)(cents % 100));
    if (!day) {
        return json_pack("{s:s, s:s}", "symbol", name, "price", price);
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "symbol", name,
                     "priceChangePercent", "0.250", "lastPrice", price, "highPrice", price,
                     "lowPrice", price, "volume", "12345.67800000", "openTime",
                     (json_int_t)(utc_ms - 86400000), "closeTime", (json_int_t)utc_ms, "count",
                     (json_int_t)76543);
}

static void ticker_answer(struct sim_request *request, bool day)
{
    const char *name = sim_request_query(request, "symbol");
    const struct symbol *symbol = symbol_find(name);
    int64_t utc_ms = utc_ms_now(request);
    json_t *list;

    if (name) {
        if (symbol) {
            sim_answer_json(request, 200, price_json(symbol, utc_ms, day));
        } else {
            unknown_symbol(request);
        }
        return;
    }
    list = json_array();
    for (size_t i = 0; i < SYMBOL_CNT; i++) {
        json_array_append_new(list, price_json(&symbols[i], utc_ms, day));
    }
    sim_answer_json(request, 200, list);
}

void sim_market_answer(struct sim_request *request)
{
    switch (request->call.route) {
    case SIM_ROUTE_PING:
        sim_answer_json(request, 200, json_object());
        break;
    case SIM_ROUTE_TIME:
        time_answer(request);
        break;
    case SIM_ROUTE_EXCHANGE_INFO:
        exchange_info_answer(request);
        break;
    case SIM_ROUTE_DEPTH:
        depth_answer(request);
        break;
    default:
        ticker_answer(request, request->call.route == SIM_ROUTE_TICKER_24HR);
        break;
    }
}
