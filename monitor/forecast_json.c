/* forecast_json.c: `weir limits --forecast --json` and `--budget --json`. Keys are stable; weir(1) lists them. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"

/* From now until then; null: never. */
static json_t *until_json(const struct weir_forecast *f, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX) {
        return json_null();
    }
    return json_u64(at_ns > f->now_ns ? at_ns - f->now_ns : 0);
}

/* UTC in ns; null: never, or the board does not know UTC. */
static json_t *utc_json(const struct image *image, uint64_t at_ns)
{
    return at_ns == UINT64_MAX || !image->live ? json_null()
                                               : json_u64(at_ns + (uint64_t)image->utc_offset_ns);
}

static json_t *pace_json(bool known, uint64_t micro)
{
    return known ? json_real((double)micro / 1e6) : json_null();
}

static json_t *budget_json(const struct image *image, const struct weir_forecast *f)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "used_ppm", json_u64(f->used_ppm));
    (void)json_object_set_new(o, "window_gone_ppm",
                              f->gone_ppm > 0 ? json_u64(f->gone_ppm) : json_null());
    (void)json_object_set_new(o, "burn_ppm", f->burn_ppm > 0 ? json_u64(f->burn_ppm) : json_null());
    (void)json_object_set_new(
        o, "projected_units",
        f->gone_ppm > 0 && f->burn_ppm > 0
            ? json_u64(weir_muldiv_u64(f->quota_units, f->burn_ppm, WEIR_MILLION))
            : json_null());
    (void)json_object_set_new(o, "empty_in_ns", until_json(f, f->burn_empty_ns));
    (void)json_object_set_new(o, "empty_utc_ns", utc_json(image, f->burn_empty_ns));
    return o;
}

static json_t *scope_json(const struct image *image, uint32_t limit, uint32_t value)
{
    struct weir_forecast f;
    struct limit_dearest dearest;
    uint64_t window_micro;
    char scope[TEXT_BYTES];
    const bool known = limit_forecast(image, limit, value, &dearest, &f, &window_micro);
    json_t *o = json_object();
    (void)json_object_set_new(o, "scope", json_string(limit_scope(image, limit, value, scope)));
    (void)json_object_set_new(o, "known", json_boolean(known));
    if (!known) {
        return o;
    }
    const bool measured = f.pace_over_ns > 0;
    json_t *left = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(left, weir_priority_name(p), json_u64(f.left_units[p]));
    }
    (void)json_object_set_new(o, "quota_units", json_u64(f.quota_units));
    (void)json_object_set_new(o, "used_units", json_u64(f.used_units));
    (void)json_object_set_new(o, "left_units", left);
    (void)json_object_set_new(o, "pace_per_s", pace_json(measured, f.pace_micro));
    (void)json_object_set_new(o, "pace_over_ns", json_u64(f.pace_over_ns));
    (void)json_object_set_new(o, "window_pace_per_s", pace_json(measured, window_micro));
    (void)json_object_set_new(o, "reset_in_ns", until_json(&f, f.reset_ns));
    (void)json_object_set_new(o, "reset_utc_ns", utc_json(image, f.reset_ns));
    (void)json_object_set_new(
        o, "at_reset_units", measured && f.gone_ppm > 0 ? json_u64(f.at_reset_units) : json_null());
    (void)json_object_set_new(o, "empty_in_ns",
                              measured ? until_json(&f, f.empty_ns) : json_null());
    (void)json_object_set_new(o, "earliest_in_ns", until_json(&f, f.earliest_ns));
    if (limit_is_budget(&image->tables.limit[limit])) {
        (void)json_object_set_new(o, "budget", budget_json(image, &f));
    }
    return o;
}

static json_t *dearest_json(const struct image *image, uint32_t limit)
{
    const struct weir_tables *t = &image->tables;
    uint32_t route;
    char provider[TEXT_BYTES], name[TEXT_BYTES];
    const uint32_t units = weir_forecast_dearest(t->route, t->route_cnt, limit, &route);
    if (route == UINT32_MAX) {
        return json_null();
    }
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "route",
        json_sprintf("%s.%s", PRINT_TEXT(provider, t->provider[t->route[route].provider].name),
                     PRINT_TEXT(name, t->route[route].name)));
    (void)json_object_set_new(o, "units", json_u64(units));
    (void)json_object_set_new(o, "priority",
                              json_string(weir_priority_name(t->route[route].priority)));
    return o;
}

static json_t *limit_json(const struct image *image, uint32_t limit)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(row->name));
    (void)json_object_set_new(o, "kind", json_string(weir_limit_kind_name(row->kind)));
    (void)json_object_set_new(o, "window_ns", json_u64(row->rate_window_ns));
    (void)json_object_set_new(o, "dearest", dearest_json(image, limit));
    json_t *scopes = json_array();
    for (uint32_t v = row->value_first; v < row->word_cnt; v++) {
        (void)json_array_append_new(scopes, scope_json(image, limit, v));
    }
    (void)json_object_set_new(o, "scopes", scopes);
    return o;
}

json_t *forecast_json(const struct image *image, const struct image *before,
                      const struct options *options)
{
    (void)before;
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(image->view.header->name));
    (void)json_object_set_new(o, "now_ns", json_u64(image->now_ns));
    (void)json_object_set_new(o, "now_utc_ns", utc_json(image, image->now_ns));
    json_t *providers = json_array();
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        const struct weir_shm_provider_row *row = &image->tables.provider[p];
        json_t *provider = json_object();
        json_t *limits = json_array();
        for (uint32_t i = 0; i < row->limit_cnt; i++) {
            if (!options->budget || limit_is_budget(&image->tables.limit[row->limit_first + i])) {
                (void)json_array_append_new(limits, limit_json(image, row->limit_first + i));
            }
        }
        (void)json_object_set_new(provider, "name", JSON_FIELD(row->name));
        (void)json_object_set_new(provider, "limits", limits);
        (void)json_array_append_new(providers, provider);
    }
    (void)json_object_set_new(o, "providers", providers);
    return o;
}
