/* shadow.c: `weir limits --shadow`: what another configuration would have refused, in text and JSON. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"

#include <inttypes.h>
#include <string.h>

static bool trial_get(const struct image *image, struct weir_shm_trial *head)
{
    return image_get(image, WEIR_SECTION_TRIAL, 0, head, sizeof *head);
}

static uint64_t sum(const uint64_t by[WEIR_PRIORITY_CNT])
{
    uint64_t all = 0;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        all += by[p];
    }
    return all;
}

/* What the limit of the same name has refused since the broker's start; 0 where there is none. */
static uint64_t live_refused(const struct image *image, uint32_t live)
{
    struct weir_shm_limit_stats stats;
    return image_get(image, WEIR_SECTION_LIMIT, live, &stats, sizeof stats) ? sum(stats.refused)
                                                                            : 0;
}

/* ---------------------------------------------------------------------------------------------- text */

static double percent(uint64_t part, uint64_t all)
{
    return all > 0 ? 100.0 * (double)part / (double)all : 0;
}

static void head_text(FILE *out, const struct image *image, const struct weir_shm_trial *h)
{
    char file[TEXT_BYTES], age[DURATION_BYTES];
    uint64_t age_ns = image->now_ns > h->since_ns ? image->now_ns - h->since_ns : 0;
    (void)fprintf(out, "%s, judged beside the live one for %s; it refuses nothing\n",
                  PRINT_TEXT(file, h->file), print_duration(age, age_ns));
    (void)fprintf(out,
                  "  brokered  %" PRIu64 " calls, each judged as it was made: %" PRIu64
                  " would have been refused (%.2f %%)\n",
                  h->exact, h->exact_refused, percent(h->exact_refused, h->exact));
    (void)fprintf(out,
                  "  traders'  %" PRIu64
                  " permits, judged by count, at the routes' own costs: %" PRIu64
                  " would have been refused (%.2f %%)\n",
                  h->folded, h->folded_refused, percent(h->folded_refused, h->folded));
    if (h->no_route + h->no_scope + h->skipped > 0) {
        (void)fprintf(out,
                      "  not judged: %" PRIu64 " of routes and %" PRIu64
                      " of scope values that it does not have, %" PRIu64 " too many at once\n",
                      h->no_route, h->no_scope, h->skipped);
    }
}

static const struct column columns[] = {
    {"LIMIT", -18},     {"KIND", -6},         {"WINDOW", 6},        {"QUOTA", 5},
    {"LIVE QUOTA", 10}, {"FULLEST", 11},      {"WOULD REFUSE", 12}, {"c/h/m/l/b", -9},
    {"OF TRADERS", 10}, {"LIVE REFUSED", 12},
};

static void row_text(struct table *table, const struct image *image,
                     const struct weir_shm_trial_limit *l)
{
    char provider[TEXT_BYTES], name[TEXT_BYTES], window[DURATION_BYTES];
    uint64_t by[WEIR_PRIORITY_CNT];
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        by[p] = l->exact_refused[p] + l->folded_refused[p];
    }
    table_cell(table, "%s.%s", PRINT_TEXT(provider, l->provider), PRINT_TEXT(name, l->name));
    table_cell(table, "%s",
               l->kind == WEIR_LIMIT_TOKEN_BUCKET   ? "bucket"
               : l->kind == WEIR_LIMIT_FIXED_WINDOW ? "window"
                                                    : weir_limit_kind_name(l->kind));
    table_cell(table, "%s", print_window(window, l->window_ns));
    table_cell(table, "%u", l->quota);
    if (l->live < image->tables.limit_cnt) {
        const uint32_t quota = image->tables.limit[l->live].quota;
        table_cell(table, "%s%u", quota == l->quota ? "= " : "", quota);
    } else {
        table_cell(table, "(new)");
    }
    table_cell(table, "%u/%u", l->used_units, l->quota_units);
    table_cell(table, "%" PRIu64, sum(by));
    table_cell(table, "%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64, by[0], by[1],
               by[2], by[3], by[4]);
    table_cell(table, "%" PRIu64, sum(l->folded_refused));
    if (l->live < image->tables.limit_cnt) {
        table_cell(table, "%" PRIu64, live_refused(image, l->live));
    } else {
        table_cell(table, "-");
    }
}

void shadow_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options)
{
    struct weir_shm_trial head;
    struct weir_shm_trial_limit limit;
    struct table table;
    (void)before;
    (void)options;
    if (!trial_get(image, &head)) {
        (void)fprintf(out,
                      "no configuration is judged beside the live one: start weird with --shadow "
                      "FILE, or write shadow: FILE under broker\n");
        return;
    }
    head_text(out, image, &head);
    table_init(&table, columns, WEIR_ARRAY_CNT(columns));
    const uint32_t cnt = image_cnt(image, WEIR_SECTION_TRIAL_LIMIT, sizeof limit);
    for (uint32_t i = 0; i < cnt && i < WEIR_LIMITS_MAX; i++) {
        (void)image_get(image, WEIR_SECTION_TRIAL_LIMIT, i, &limit, sizeof limit);
        row_text(&table, image, &limit);
    }
    table_print(&table, out, "  ");
}

/* ---------------------------------------------------------------------------------------------- json */

static json_t *classes_json(const uint64_t by[WEIR_PRIORITY_CNT])
{
    json_t *o = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(o, weir_priority_name(p), json_u64(by[p]));
    }
    return o;
}

static json_t *limit_json(const struct image *image, const struct weir_shm_trial_limit *l)
{
    char provider[TEXT_BYTES], name[TEXT_BYTES];
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "name",
        json_sprintf("%s.%s", PRINT_TEXT(provider, l->provider), PRINT_TEXT(name, l->name)));
    (void)json_object_set_new(o, "kind", json_string(weir_limit_kind_name(l->kind)));
    (void)json_object_set_new(o, "window_ns", json_u64(l->window_ns));
    (void)json_object_set_new(o, "rate_units", json_u64(l->rate_quota));
    (void)json_object_set_new(o, "quota_units", json_u64(l->quota_units));
    (void)json_object_set_new(o, "used_units", json_u64(l->used_units));
    (void)json_object_set_new(o, "would_refuse_brokered", classes_json(l->exact_refused));
    (void)json_object_set_new(o, "would_refuse_traders", classes_json(l->folded_refused));
    (void)json_object_set_new(o, "would_refuse_for_ever", json_u64(l->never));
    const bool live = l->live < image->tables.limit_cnt;
    (void)json_object_set_new(o, "live_quota_units",
                              live ? json_u64(image->tables.limit[l->live].quota) : json_null());
    (void)json_object_set_new(o, "live_refused",
                              live ? json_u64(live_refused(image, l->live)) : json_null());
    return o;
}

json_t *shadow_json(const struct image *image, const struct image *before,
                    const struct options *options)
{
    struct weir_shm_trial head;
    struct weir_shm_trial_limit limit;
    (void)before;
    (void)options;
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(image->view.header->name));
    (void)json_object_set_new(o, "now_ns", json_u64(image->now_ns));
    if (!trial_get(image, &head)) {
        (void)json_object_set_new(o, "shadow", json_null());
        return o;
    }
    json_t *s = json_object();
    json_t *limits = json_array();
    (void)json_object_set_new(s, "file", JSON_FIELD(head.file));
    (void)json_object_set_new(
        s, "age_ns", json_u64(image->now_ns > head.since_ns ? image->now_ns - head.since_ns : 0));
    (void)json_object_set_new(s, "brokered", json_u64(head.exact));
    (void)json_object_set_new(s, "brokered_would_refuse", json_u64(head.exact_refused));
    (void)json_object_set_new(s, "traders", json_u64(head.folded));
    (void)json_object_set_new(s, "traders_would_refuse", json_u64(head.folded_refused));
    (void)json_object_set_new(s, "unknown_route", json_u64(head.no_route));
    (void)json_object_set_new(s, "unknown_scope", json_u64(head.no_scope));
    (void)json_object_set_new(s, "not_judged", json_u64(head.skipped));
    const uint32_t cnt = image_cnt(image, WEIR_SECTION_TRIAL_LIMIT, sizeof limit);
    for (uint32_t i = 0; i < cnt && i < WEIR_LIMITS_MAX; i++) {
        (void)image_get(image, WEIR_SECTION_TRIAL_LIMIT, i, &limit, sizeof limit);
        (void)json_array_append_new(limits, limit_json(image, &limit));
    }
    (void)json_object_set_new(s, "limits", limits);
    (void)json_object_set_new(o, "shadow", s);
    return o;
}
