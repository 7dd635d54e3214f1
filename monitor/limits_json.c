/* limits_json.c: `weir limits --json`. Keys are stable; weir(1) lists them. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"
#include "weir_hold.h"

static json_t *by_priority_u32(const uint32_t v[WEIR_PRIORITY_CNT])
{
    json_t *o = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(o, weir_priority_name(p), json_u64(v[p]));
    }
    return o;
}

static json_t *by_priority_u64(const uint64_t v[WEIR_PRIORITY_CNT])
{
    json_t *o = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(o, weir_priority_name(p), json_u64(v[p]));
    }
    return o;
}

static json_t *clock_json(const struct image *image, const struct weir_shm_provider *provider)
{
    static const char *const states[] = {"unknown", "known", "closed"};
    struct weir_server_clock clock;
    image_server_clock(provider, &clock);
    uint64_t now_ns = image->now_ns;
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "state",
        json_string(clock.state < WEIR_ARRAY_CNT(states) ? states[clock.state] : "damaged"));
    (void)json_object_set_new(o, "offset_ns", json_integer(clock.offset_ns));
    (void)json_object_set_new(o, "error_ns", json_u64(weir_server_clock_error_ns(&clock, now_ns)));
    (void)json_object_set_new(
        o, "age_ns", json_u64(now_ns > clock.sampled_at_ns ? now_ns - clock.sampled_at_ns : 0));
    (void)json_object_set_new(o, "jitter_ns", json_u64(clock.jitter_ns));
    if (image->live) {
        (void)json_object_set_new(
            o, "ahead_of_utc_ns",
            json_integer((json_int_t)((uint64_t)clock.offset_ns - (uint64_t)image->utc_offset_ns)));
    }
    (void)json_object_set_new(o, "samples", json_u64(provider->clock_samples));
    (void)json_object_set_new(o, "ignored", json_u64(provider->clock_ignored));
    (void)json_object_set_new(o, "realigned", json_u64(provider->clock_realigned));
    return o;
}

static json_t *pause_json(const struct image *image, uint64_t word)
{
    static const char *const causes[] = {"none", "throttled", "banned", "operator"};
    uint32_t cause = weir_pause_cause(word);
    uint64_t until_ns = weir_pause_until_ns(word);
    json_t *o = json_object();
    (void)json_object_set_new(o, "left_ns",
                              json_u64(until_ns > image->now_ns ? until_ns - image->now_ns : 0));
    (void)json_object_set_new(
        o, "cause", json_string(cause < WEIR_ARRAY_CNT(causes) ? causes[cause] : "unknown"));
    return o;
}

static json_t *reopening_json(const struct image *image, const struct weir_shm_provider *provider)
{
    struct hold_state s;
    hold_state_get(&s, provider, image->now_ns);
    json_t *o = json_object();
    (void)json_object_set_new(o, "phase",
                              json_string(!s.reopening ? "none"
                                          : s.probing  ? "probing"
                                                       : "ramping"));
    (void)json_object_set_new(o, "step", json_integer(s.step));
    return o;
}

static json_t *backoff_json(const struct image *image, const struct weir_shm_provider *provider)
{
    uint64_t last_ns = provider->backoff_last_ns;
    json_t *o = json_object();
    (void)json_object_set_new(o, "level", json_integer(provider->backoff_level));
    (void)json_object_set_new(o, "steps", json_u64(provider->backoff_steps));
    (void)json_object_set_new(
        o, "last_ago_ns",
        json_u64(last_ns != 0 && image->now_ns > last_ns ? image->now_ns - last_ns : 0));
    return o;
}

static json_t *state_json(const struct image *image, uint32_t limit, uint32_t value)
{
    struct weir_limit_state state;
    char scope[TEXT_BYTES];
    json_t *o = json_object();
    (void)json_object_set_new(o, "scope", json_string(limit_scope(image, limit, value, scope)));
    if (!limit_state(image, limit, value, &state)) {
        (void)json_object_set_new(o, "known", json_false());
        return o;
    }
    (void)json_object_set_new(o, "known", json_true());
    (void)json_object_set_new(o, "quota_units", json_u64(state.quota));
    (void)json_object_set_new(o, "used_units", json_u64(state.used));
    (void)json_object_set_new(o, "foreign_units", json_u64(state.foreign));
    (void)json_object_set_new(o, "foreign_next_units", json_u64(state.foreign_next));
    (void)json_object_set_new(o, "late_units", json_u64(state.late));
    (void)json_object_set_new(o, "left_units", by_priority_u32(state.left));
    (void)json_object_set_new(
        o, "reset_in_ns",
        json_u64(state.reset_ns > image->now_ns ? state.reset_ns - image->now_ns : 0));
    (void)json_object_set_new(o, "damaged", json_boolean(state.damaged));
    return o;
}

static json_t *limit_json(const struct image *image, uint32_t limit)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    struct weir_shm_limit_stats stats;
    (void)image_get(image, WEIR_SECTION_LIMIT, limit, &stats, sizeof stats);
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(row->name));
    (void)json_object_set_new(o, "kind", json_string(weir_limit_kind_name(row->kind)));
    (void)json_object_set_new(o, "claimed_units", json_u64(stats.claimed));
    (void)json_object_set_new(o, "window_ns", json_u64(row->rate_window_ns));
    (void)json_object_set_new(o, "rate_units", json_u64(row->rate_quota));
    (void)json_object_set_new(o, "headroom_ppm", by_priority_u32(row->headroom_ppm));
    (void)json_object_set_new(o, "refused", by_priority_u64(stats.refused));
    (void)json_object_set_new(o, "damaged_cnt", json_u64(stats.damaged));
    json_t *scopes = json_array();
    for (uint32_t v = row->value_first; v < row->word_cnt; v++) {
        (void)json_array_append_new(scopes, state_json(image, limit, v));
    }
    (void)json_object_set_new(o, "scopes", scopes);
    return o;
}

/* Scope values that stops are told apart by, each with its pause. */
static json_t *held_json(const struct image *image, uint32_t p)
{
    const struct weir_shm_provider_row *row = &image->tables.provider[p];
    json_t *list = json_array();
    for (uint32_t v = 0; row->hold_kind != 0 && v < weir_hold_cnt(row); v++) {
        struct weir_shm_provider line;
        char name[TEXT_BYTES];
        (void)image_get(image, WEIR_SECTION_PROVIDER, weir_hold_line(row, p, v), &line,
                        sizeof line);
        json_t *o = json_object();
        (void)json_object_set_new(o, "scope", json_string(hold_name(image, p, v, name)));
        json_t *pause = json_object();
        (void)json_object_set_new(pause, "broker", pause_json(image, line.pause));
        (void)json_object_set_new(pause, "traders", pause_json(image, line.traders_pause));
        (void)json_object_set_new(o, "pause", pause);
        (void)json_object_set_new(o, "reopening", reopening_json(image, &line));
        (void)json_object_set_new(o, "backoff", backoff_json(image, &line));
        (void)json_object_set_new(o, "throttled", json_u64(line.throttled));
        (void)json_object_set_new(o, "paused_ns", json_u64(line.paused_ns));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *provider_json(const struct image *image, uint32_t p)
{
    const struct weir_shm_provider_row *row = &image->tables.provider[p];
    struct weir_shm_provider provider;
    (void)image_get(image, WEIR_SECTION_PROVIDER, p, &provider, sizeof provider);
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(row->name));
    (void)json_object_set_new(o, "clock", clock_json(image, &provider));
    json_t *pause = json_object();
    (void)json_object_set_new(pause, "broker", pause_json(image, provider.pause));
    (void)json_object_set_new(pause, "traders", pause_json(image, provider.traders_pause));
    (void)json_object_set_new(o, "pause", pause);
    (void)json_object_set_new(o, "reopening", reopening_json(image, &provider));
    (void)json_object_set_new(o, "backoff", backoff_json(image, &provider));
    json_t *told = json_object();
    (void)json_object_set_new(told, "counts_heeded", json_u64(provider.reports));
    (void)json_object_set_new(told, "counts_ignored", json_u64(provider.reports_ignored));
    (void)json_object_set_new(told, "counts_by_traders", json_u64(provider.claims));
    (void)json_object_set_new(told, "straddles_given_back", json_u64(provider.straddle_given));
    (void)json_object_set_new(o, "told", told);
    (void)json_object_set_new(o, "throttled", json_u64(provider.throttled));
    (void)json_object_set_new(o, "paused_ns", json_u64(provider.paused_ns));
    (void)json_object_set_new(o, "held_apart", held_json(image, p));
    json_t *limits = json_array();
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        (void)json_array_append_new(limits, limit_json(image, row->limit_first + i));
    }
    (void)json_object_set_new(o, "limits", limits);
    return o;
}

json_t *limits_json(const struct image *image, const struct image *before,
                    const struct options *options)
{
    struct weir_shm_worker worker;
    (void)before;
    (void)options;
    (void)image_get(image, WEIR_SECTION_WORKER, 0, &worker, sizeof worker);
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(image->view.header->name));
    (void)json_object_set_new(o, "now_ns", json_u64(image->now_ns));
    (void)json_object_set_new(
        o, "view_age_ns",
        json_u64(image->now_ns > worker.limit_view_ns ? image->now_ns - worker.limit_view_ns : 0));
    json_t *providers = json_array();
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        (void)json_array_append_new(providers, provider_json(image, p));
    }
    (void)json_object_set_new(o, "providers", providers);
    return o;
}

static json_t *route_json(const struct image *image, const struct weir_shm_route_row *row)
{
    char provider[TEXT_BYTES], name[TEXT_BYTES];
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "name",
        json_sprintf("%s.%s", PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                     PRINT_TEXT(name, row->name)));
    (void)json_object_set_new(o, "method", json_string(weir_method_name(row->method)));
    (void)json_object_set_new(o, "priority", json_string(weir_priority_name(row->priority)));
    (void)json_object_set_new(o, "timeout_ns", json_u64(row->timeout_ns));
    (void)json_object_set_new(o, "response_max_bytes", json_u64(row->response_max_bytes));
    (void)json_object_set_new(o, "own_transport",
                              json_boolean((row->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0));
    (void)json_object_set_new(o, "idempotent",
                              json_boolean((row->flags & WEIR_ROUTE_IDEMPOTENT) != 0));
    json_t *costs = json_object();
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        (void)json_object_set_new(costs, PRINT_TEXT(name, image->tables.limit[row->limit[i]].name),
                                  json_u64(row->cost[i]));
    }
    (void)json_object_set_new(o, "costs", costs);
    return o;
}

json_t *routes_json(const struct image *image, const struct image *before,
                    const struct options *options)
{
    (void)before;
    (void)options;
    json_t *routes = json_array();
    for (uint32_t r = 0; r < image->tables.route_cnt; r++) {
        (void)json_array_append_new(routes, route_json(image, &image->tables.route[r]));
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "routes", routes);
    return o;
}
