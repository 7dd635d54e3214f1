/*
 * config_check_budget.c: what routes take from limits.
 *
 * A configuration that passes here can grant every route to every priority at some time: no cost is above what its limit
 * leaves to the lowest class.
 */
#include <stdio.h>
#include <string.h>

#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"

static void names_write(const struct weir_config_provider *provider, char *out, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < provider->limit_cnt && at < bytes; i++) {
        at +=
            (size_t)snprintf(out + at, bytes - at, "%s%s", i ? ", " : "", provider->limit[i].name);
    }
}

bool weir_config_find_limit(struct weir_config_reader *reader,
                            const struct weir_config_provider *provider, const char *name,
                            const struct weir_config_place *place, size_t *idx)
{
    for (*idx = 0; *idx < provider->limit_cnt; (*idx)++) {
        if (strcmp(provider->limit[*idx].name, name) == 0) {
            return true;
        }
    }
    char names[256];
    names_write(provider, names, sizeof(names));
    weir_config_error(reader, place, "no such limit: %s has %s", provider->name, names);
    return false;
}

static const char *capacity_key(const struct weir_config_limit *limit)
{
    switch (limit->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return "burst";
    case WEIR_LIMIT_FIXED_WINDOW:
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
    case WEIR_LIMIT_UNSET:
        break;
    }
    return "quota";
}

static void check_costs(struct weir_config_reader *reader, struct weir_config_provider *provider,
                        struct weir_config_route *route, const struct weir_config_place *place)
{
    struct weir_config_place map = weir_config_place_key(place, "cost");
    for (size_t i = 0; i < route->cost_cnt; i++) {
        struct weir_config_cost *cost = &route->cost[i];
        struct weir_config_place entry = weir_config_place_key(&map, cost->limit);
        if (!weir_config_find_limit(reader, provider, cost->limit, &entry, &cost->limit_idx)) {
            continue;
        }
        const struct weir_config_limit *limit = &provider->limit[cost->limit_idx];
        if (cost->units > limit->burst_units) {
            weir_config_error(reader, &entry,
                              "must not be above limits[%zu].%s = %llu: it could never be granted",
                              cost->limit_idx, capacity_key(limit),
                              (unsigned long long)limit->burst_units);
        }
    }
}

/* A limit of the provider that the route's cost names; false after an error. */
static bool find_charged(struct weir_config_reader *reader,
                         const struct weir_config_provider *provider,
                         const struct weir_config_route *route, const char *name,
                         const struct weir_config_place *place, size_t *idx)
{
    if (!weir_config_find_limit(reader, provider, name, place, idx)) {
        return false;
    }
    for (size_t i = 0; i < route->cost_cnt; i++) {
        if (route->cost[i].limit_idx == *idx) {
            return true;
        }
    }
    weir_config_error(reader, place,
                      "cost does not name limit %s: only what was charged can be corrected: add it "
                      "to cost, with 0 if need be",
                      name);
    return false;
}

/* One entry of settle.counted says where its number is, in one way. */
static void check_counted(struct weir_config_reader *reader,
                          const struct weir_config_counted *counted,
                          const struct weir_config_place *item)
{
    unsigned ways = 0;
    ways += *counted->header != '\0';
    ways += *counted->field != '\0';
    ways += *counted->list != '\0';
    ways += counted->per_bytes != 0;
    if (ways != 1) {
        weir_config_error(reader, item,
                          "has %u of header, field, list and per_bytes: must have one: where the "
                          "answer says what was counted",
                          ways);
    }
    if ((*counted->list != '\0') != (*counted->item != '\0') ||
        (*counted->list != '\0') != (*counted->equals != '\0')) {
        weir_config_error(reader, item,
                          "list, item and equals belong together: write all three, or none");
    }
}

static void check_settle(struct weir_config_reader *reader, struct weir_config_provider *provider,
                         struct weir_config_route *route, const struct weir_config_place *place)
{
    struct {
        const char *key;
        struct weir_config_cost *cost;
        size_t cnt;
    } maps[] = {{"success", route->settle.success, route->settle.success_cnt},
                {"failure", route->settle.failure, route->settle.failure_cnt}};
    struct weir_config_place settle = weir_config_place_key(place, "settle");
    for (size_t m = 0; m < WEIR_ARRAY_CNT(maps); m++) {
        struct weir_config_place map = weir_config_place_key(&settle, maps[m].key);
        for (size_t i = 0; i < maps[m].cnt; i++) {
            struct weir_config_place entry = weir_config_place_key(&map, maps[m].cost[i].limit);
            (void)find_charged(reader, provider, route, maps[m].cost[i].limit, &entry,
                               &maps[m].cost[i].limit_idx);
        }
    }
    struct weir_config_place list = weir_config_place_key(&settle, "counted");
    for (size_t i = 0; i < route->settle.counted_cnt; i++) {
        struct weir_config_counted *counted = &route->settle.counted[i];
        struct weir_config_place item = weir_config_place_item(&list, i);
        struct weir_config_place name = weir_config_place_key(&item, "limit");
        (void)find_charged(reader, provider, route, counted->limit, &name, &counted->limit_idx);
        check_counted(reader, counted, &item);
    }
}

static void check_ages(struct weir_config_reader *reader, struct weir_config_provider *provider,
                       struct weir_config_route *route, const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "age_cost");
    for (size_t i = 0; i < route->age_cnt; i++) {
        struct weir_config_age *age = &route->age[i];
        struct weir_config_place item = weir_config_place_item(&list, i);
        struct weir_config_place name = weir_config_place_key(&item, "limit");
        struct weir_config_place below = weir_config_place_key(&item, "below");
        struct weir_config_place units = weir_config_place_key(&item, "units");
        if (!find_charged(reader, provider, route, age->limit, &name, &age->limit_idx)) {
            continue;
        }
        if (age->limit_idx != route->age[0].limit_idx) {
            weir_config_error(reader, &name,
                              "is another one than in age_cost[0]: one limit of a "
                              "route may depend on age");
        } else if (i > 0 && age->below_ns <= route->age[i - 1].below_ns) {
            weir_config_error(reader, &below, "must be above that of the bracket before it");
        }
        if (age->units > provider->limit[age->limit_idx].burst_units) {
            weir_config_error(reader, &units,
                              "must not be above limits[%zu].%s = %llu: it could never be granted",
                              age->limit_idx, capacity_key(&provider->limit[age->limit_idx]),
                              (unsigned long long)provider->limit[age->limit_idx].burst_units);
        }
    }
}

/* The most that a route takes of a limit, at any age. */
uint64_t weir_config_route_dearest(const struct weir_config_route *route, size_t limit_idx)
{
    uint64_t units = 0;
    for (size_t i = 0; i < route->cost_cnt; i++) {
        units = route->cost[i].limit_idx == limit_idx && route->cost[i].units > units
                    ? route->cost[i].units
                    : units;
    }
    for (size_t i = 0; i < route->age_cnt; i++) {
        units = route->age[i].limit_idx == limit_idx && route->age[i].units > units
                    ? route->age[i].units
                    : units;
    }
    return units;
}

/* The route that takes most of this limit, and how much; NULL if none takes any. */
static const struct weir_config_route *dearest_route(const struct weir_config_provider *provider,
                                                     size_t limit_idx, uint64_t *units)
{
    const struct weir_config_route *dearest = NULL;
    *units = 0;
    for (size_t i = 0; i < provider->route_cnt; i++) {
        const struct weir_config_route *route = &provider->route[i];
        uint64_t most = weir_config_route_dearest(route, limit_idx);
        if (most > *units) {
            *units = most;
            dearest = route;
        }
    }
    return dearest;
}

/* What is kept for the classes above the lowest, each class's part rounded up. */
static uint64_t headroom_units(const struct weir_config_limit *limit)
{
    uint64_t units = 0;
    for (size_t i = 0; i < WEIR_PRIORITY_CNT; i++) {
        units += (limit->burst_units * limit->headroom_ppm[i] + WEIR_CONFIG_WHOLE_PPM - 1) /
                 WEIR_CONFIG_WHOLE_PPM;
    }
    return units;
}

static void check_headroom(struct weir_config_reader *reader,
                           const struct weir_config_provider *provider, size_t limit_idx,
                           const struct weir_config_place *place)
{
    const struct weir_config_limit *limit = &provider->limit[limit_idx];
    uint64_t kept = headroom_units(limit);
    uint64_t left = limit->burst_units > kept ? limit->burst_units - kept : 0;
    uint64_t dearest_units = 0;
    const struct weir_config_route *dearest = dearest_route(provider, limit_idx, &dearest_units);
    bool is_enough = dearest ? left >= dearest_units : left > 0;
    /* Without headroom the cost alone is too high, which has been said. */
    if (is_enough || !kept) {
        return;
    }
    char why[128] = "nothing can be taken there";
    if (dearest) {
        snprintf(why, sizeof(why), "route %s costs %llu", dearest->name,
                 (unsigned long long)dearest_units);
    }
    struct weir_config_place headroom = weir_config_place_key(place, "headroom");
    weir_config_error(
        reader, &headroom,
        "keeps %llu of %s = %llu and leaves %llu to the lowest priority, but %s: lower "
        "the headroom",
        (unsigned long long)kept, capacity_key(limit), (unsigned long long)limit->burst_units,
        (unsigned long long)left, why);
}

void weir_config_check_budget(struct weir_config_reader *reader,
                              struct weir_config_provider *provider,
                              const struct weir_config_place *place)
{
    size_t fault_cnt = reader->fault_cnt;
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_place route = weir_config_place_item(&routes, i);
        check_costs(reader, provider, &provider->route[i], &route);
        check_settle(reader, provider, &provider->route[i], &route);
        check_ages(reader, provider, &provider->route[i], &route);
    }
    struct weir_config_place limits = weir_config_place_key(place, "limits");
    for (size_t i = 0; i < provider->limit_cnt && reader->fault_cnt == fault_cnt; i++) {
        struct weir_config_place limit = weir_config_place_item(&limits, i);
        check_headroom(reader, provider, i, &limit);
    }
}
