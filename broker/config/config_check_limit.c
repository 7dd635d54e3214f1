/*
 * config_check_limit.c: what must hold between the keys of one limit, by its kind.
 */
#include <string.h>
#include <time.h>

#include "broker/config/config_calendar.h"
#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"
#include "shm/weir_concurrency.h"

/* Of the rate, 1 part in so many may be lost to rounding. */
#define ROUNDING_LOSS_PARTS 1000

/* A bucket that takes longer to fill is a mistake, and its full time must stay far from overflow. */
#define FILL_MAX_NS (UINT64_C(366) * 86400 * WEIR_NS_PER_S)

/* The spacing of a bucket's units, rounded up as the permit path does it: never faster than asked. */
static uint64_t spacing_ns(const struct weir_config_limit *limit)
{
    return (limit->window_ns + limit->quota_units - 1) / limit->quota_units;
}

static void check_rounding(struct weir_config_reader *reader, const struct weir_config_limit *limit,
                           const struct weir_config_place *place)
{
    uint64_t rounded_ns = spacing_ns(limit) * limit->quota_units;
    uint64_t lost_ns = rounded_ns - limit->window_ns;
    if (lost_ns > rounded_ns / ROUNDING_LOSS_PARTS) {
        char window[WEIR_CONFIG_NUMBER_BYTES];
        weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, limit->window_ns, window);
        struct weir_config_place quota = weir_config_place_key(place, "quota");
        weir_config_error(
            reader, &quota,
            "in window = %s is one unit each %llu ns, rounded up: %llu.%llu %% of the "
            "rate is lost, at most 0.1 %% may be: use a coarser unit",
            window, (unsigned long long)spacing_ns(limit),
            (unsigned long long)(lost_ns * UINT64_C(100) / rounded_ns),
            (unsigned long long)(lost_ns * UINT64_C(1000) / rounded_ns % 10));
    }
}

/* A key that was written although this kind has no use for it. */
static void refuse_key(struct weir_config_reader *reader, const struct weir_config_place *place,
                       const char *key, bool is_set, const char *why)
{
    if (is_set) {
        struct weir_config_place at = weir_config_place_key(place, key);
        weir_config_error(reader, &at, "%s: remove it", why);
    }
}

static void check_calendar(struct weir_config_reader *reader, struct weir_config_limit *limit,
                           const struct weir_config_place *place)
{
    struct weir_config_place zone = weir_config_place_key(place, "time_zone");
    struct weir_config_place window = weir_config_place_key(place, "window");
    if (limit->window_ns) {
        weir_config_error(reader, &window,
                          "has no use with calendar, whose windows differ in length: remove one");
    }
    if (!weir_config_zone_exists(limit->time_zone)) {
        weir_config_error(reader, &zone,
                          "no such zone in the system's tz database: write a name like "
                          "America/New_York (package tzdata), or leave it out for UTC");
        return;
    }
    if (!weir_config_calendar_fill(&limit->calendar, limit->calendar_unit, limit->time_zone,
                                   (int64_t)time(NULL), &reader->blocks)) {
        weir_config_error(reader, place, "no memory for the calendar: free some");
        return;
    }
    limit->window_ns = limit->calendar.shortest_ns;
}

static void check_bucket(struct weir_config_reader *reader, const struct weir_config_limit *limit,
                         const struct weir_config_place *place)
{
    struct weir_config_place burst = weir_config_place_key(place, "burst");
    check_rounding(reader, limit, place);
    if (limit->burst_units > FILL_MAX_NS / spacing_ns(limit)) {
        weir_config_error(reader, &burst,
                          "takes longer than 366d to fill at quota = %llu: lower it",
                          (unsigned long long)limit->quota_units);
    }
}

static void check_concurrency(struct weir_config_reader *reader,
                              const struct weir_config_limit *limit,
                              const struct weir_config_place *place)
{
    struct weir_config_place quota = weir_config_place_key(place, "quota");
    if (limit->quota_units > WEIR_CONCURRENCY_UNITS_MAX) {
        weir_config_error(reader, &quota,
                          "is above %u, which kind: concurrency allows: each unit has an owner of "
                          "its own",
                          WEIR_CONCURRENCY_UNITS_MAX);
    }
}

void weir_config_check_rests(struct weir_config_reader *reader,
                             const struct weir_config_provider *provider,
                             const struct weir_config_place *place)
{
    struct weir_config_place limits = weir_config_place_key(place, "limits");
    for (size_t i = 0; i < provider->limit_cnt; i++) {
        const struct weir_config_limit *l = &provider->limit[i];
        uint64_t rest_ns = l->rest_ns ? l->rest_ns : provider->clock.max_jitter_ns;
        if (l->orphan_rest_ns && l->orphan_rest_ns < rest_ns) {
            char rest[WEIR_CONFIG_NUMBER_BYTES];
            struct weir_config_place item = weir_config_place_item(&limits, i);
            struct weir_config_place key = weir_config_place_key(&item, "orphan_rest");
            weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, rest_ns, rest);
            weir_config_error(reader, &key,
                              "must not be below %s = %s: what a dead owner began ends no sooner "
                              "than what somebody settled",
                              l->rest_ns ? "rest" : "rest, by default clock.max_jitter", rest);
        }
    }
}

void weir_config_finish_share(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    const struct weir_config_share *share = section;
    bool by_name = *share->client != '\0';
    bool by_uid = share->uid != WEIR_CONFIG_UID_NONE;
    struct weir_config_place client = weir_config_place_key(place, "client");
    const char *rule =
        by_name ? weir_config_text_fault(WEIR_CONFIG_TYPE_NAME, share->client) : NULL;
    if (by_name == by_uid) {
        weir_config_error(reader, place, "%s: a share is for a client or for a uid: write one",
                          by_name ? "has both client and uid" : "has neither client nor uid");
    } else if (rule != NULL) {
        weir_config_error(reader, &client, "must be %s", rule);
    }
}

/* All parts of a limit are parts of the same whole, and each client has one. */
static void check_shares(struct weir_config_reader *reader, const struct weir_config_limit *limit,
                         const struct weir_config_place *place)
{
    struct weir_config_place shares = weir_config_place_key(place, "shares");
    struct weir_config_place floor = weir_config_place_key(place, "floor");
    uint64_t floors_ppm = 0;
    uint64_t sum_ppm = 0;
    for (size_t i = 0; i < WEIR_PRIORITY_CNT; i++) {
        floors_ppm += limit->floor_ppm[i];
    }
    if (limit->kind != WEIR_LIMIT_FIXED_WINDOW && limit->kind != WEIR_LIMIT_TOKEN_BUCKET) {
        refuse_key(reader, place, "floor", floors_ppm > 0,
                   "only a fixed_window or a token_bucket has floors");
        refuse_key(reader, place, "shares", limit->share_cnt > 0,
                   "only a fixed_window or a token_bucket has shares");
        return;
    }
    for (size_t i = 0; i < limit->share_cnt; i++) {
        sum_ppm += limit->share[i].part_ppm;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(limit->share[i].client, limit->share[k].client) == 0 &&
                limit->share[i].uid == limit->share[k].uid) {
                struct weir_config_place item = weir_config_place_item(&shares, i);
                weir_config_error(reader, &item,
                                  "is for the same clients as shares[%zu]: write one", k);
            }
        }
    }
    if (floors_ppm + sum_ppm > WEIR_CONFIG_WHOLE_PPM) {
        char sum[WEIR_CONFIG_NUMBER_BYTES];
        weir_config_number_write(WEIR_CONFIG_TYPE_PERCENT, floors_ppm + sum_ppm, sum);
        weir_config_error(reader, limit->share_cnt > 0 ? &shares : &floor,
                          "shares and floor of a limit make %s together, above 100%%: lower them",
                          sum);
    }
}

void weir_config_finish_limit(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    struct weir_config_limit *limit = section;
    bool bucket = limit->kind == WEIR_LIMIT_TOKEN_BUCKET;
    bool fixed = limit->kind == WEIR_LIMIT_FIXED_WINDOW;
    bool concurrency = limit->kind == WEIR_LIMIT_CONCURRENCY;
    bool calendar = limit->calendar_unit != WEIR_CONFIG_CALENDAR_NONE;
    if (!limit->burst_units) {
        limit->burst_units = limit->quota_units;
    }
    if (!bucket && limit->burst_units != limit->quota_units) {
        struct weir_config_place burst = weir_config_place_key(place, "burst");
        weir_config_error(reader, &burst,
                          "has no use with kind: %s, where all of quota = %llu may come "
                          "at once: remove it",
                          fixed         ? "fixed_window"
                          : concurrency ? "concurrency"
                                        : "sliding_window",
                          (unsigned long long)limit->quota_units);
    }
    refuse_key(reader, place, "step", limit->step_ns && !bucket,
               "only a token_bucket decays in steps");
    refuse_key(reader, place, "rest", limit->rest_ns && !concurrency,
               "only units of kind: concurrency are let go");
    refuse_key(reader, place, "orphan_rest", limit->orphan_rest_ns && !concurrency,
               "only units of kind: concurrency have an owner");
    refuse_key(reader, place, "calendar", calendar && !fixed,
               "only a fixed_window begins at the edges of a calendar");
    refuse_key(reader, place, "time_zone", *limit->time_zone && !calendar,
               "has no use without calendar");
    refuse_key(reader, place, "window", limit->window_ns && concurrency,
               "kind: concurrency counts what is in flight, not what came in a window");
    if (!limit->window_ns && !concurrency && !calendar) {
        struct weir_config_place window = weir_config_place_key(place, "window");
        weir_config_error(reader, &window, "missing: say how long the window of quota = %llu is",
                          (unsigned long long)limit->quota_units);
        return;
    }
    check_shares(reader, limit, place);
    switch (limit->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        check_bucket(reader, limit, place);
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
        if (calendar) {
            check_calendar(reader, limit, place);
        }
        break;
    case WEIR_LIMIT_CONCURRENCY:
        check_concurrency(reader, limit, place);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_UNSET:
        break;
    }
}
