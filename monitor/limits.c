/* limits.c: `weir limits`, for people. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"
#include "weir_hold.h"

#include <inttypes.h>

/* More scope values than this are shown only where something is used. */
#define SCOPES_SHOWN 8

static void clock_line(FILE *out, const struct image *image,
                       const struct weir_shm_provider *provider)
{
    char a[DURATION_BYTES], b[DURATION_BYTES], c[DURATION_BYTES];
    struct weir_server_clock clock;
    image_server_clock(provider, &clock);
    if (clock.state == WEIR_CLOCK_UNKNOWN) {
        (void)fprintf(out, "  clock  unknown: windows are counted with a reduced quota\n");
        return;
    }
    const uint64_t now_ns = image->now_ns;
    const uint64_t age_ns = now_ns > clock.sampled_at_ns ? now_ns - clock.sampled_at_ns : 0;
    (void)fprintf(out, "  clock  %s: ",
                  clock.state == WEIR_CLOCK_KNOWN    ? "known"
                  : clock.state == WEIR_CLOCK_CLOSED ? "being re-aligned"
                                                     : "damaged");
    if (image->live) {
        int64_t ahead_ns = (int64_t)((uint64_t)clock.offset_ns - (uint64_t)image->utc_offset_ns);
        (void)fprintf(out, "server %s against this machine's UTC, ", print_offset(a, ahead_ns));
    }
    (void)fprintf(out, "true within %s, sampled %s ago, jitter allowed %s; %" PRIu64 " samples",
                  print_duration(a, weir_server_clock_error_ns(&clock, now_ns)),
                  print_duration(b, age_ns), print_duration(c, clock.jitter_ns),
                  provider->clock_samples);
    if (provider->clock_ignored > 0) {
        (void)fprintf(out, ", %" PRIu64 " ignored", provider->clock_ignored);
    }
    (void)fputc('\n', out);
}

/* What answers told about the limits: only where feedback is at work. */
static void reports_line(FILE *out, const struct weir_shm_provider *provider)
{
    if ((provider->reports | provider->reports_ignored | provider->straddle_given |
         provider->claims) == 0) {
        return;
    }
    (void)fprintf(out,
                  "  told   %" PRIu64 " counts heeded, %" PRIu64 " ignored; %" PRIu64
                  " charges at a window's edge given back",
                  provider->reports, provider->reports_ignored, provider->straddle_given);
    if (provider->claims > 0) {
        (void)fprintf(out, "; %" PRIu64 " counts told by traders", provider->claims);
    }
    (void)fputc('\n', out);
}

/* `who`: "" for a provider, else the scope value whose line it is. */
static void pause_line(FILE *out, const struct image *image,
                       const struct weir_shm_provider *provider, const char *who)
{
    char a[DURATION_BYTES];
    char text[HOLD_BYTES];
    const uint64_t now_ns = image->now_ns;
    if (hold_text(text, provider, now_ns)) {
        (void)fprintf(out, "  pause  %s%s%s\n", who, *who != '\0' ? ": " : "", text);
    } else {
        (void)fprintf(out, "  pause  %s%snone", who, *who != '\0' ? ": " : "");
        if (provider->throttled > 0) {
            (void)fprintf(out, " now; %" PRIu64 " answers said stop so far, %s paused in all",
                          provider->throttled, print_duration(a, provider->paused_ns));
        }
        (void)fputc('\n', out);
    }
    if (provider->backoff_steps > 0) {
        uint64_t age_ns =
            now_ns > provider->backoff_last_ns ? now_ns - provider->backoff_last_ns : 0;
        (void)fprintf(out, "  backoff level %u, told to stop %s ago, %" PRIu64 " times in all\n",
                      provider->backoff_level, print_duration(a, age_ns), provider->backoff_steps);
    }
}

/* Of a provider; where its scope values are held apart, of each. */
static void pauses(FILE *out, const struct image *image, uint32_t p,
                   const struct weir_shm_provider *provider)
{
    const struct weir_shm_provider_row *row = &image->tables.provider[p];
    if (row->hold_kind == 0) {
        pause_line(out, image, provider, "");
        return;
    }
    for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
        struct weir_shm_provider line;
        char name[TEXT_BYTES];
        (void)image_get(image, WEIR_SECTION_PROVIDER, weir_hold_line(row, p, v), &line,
                        sizeof line);
        /* nobody calls as value 0 of a pool, unless a route counts by none of that kind */
        bool nobody = v == 0 && row->member_cnt > 0 && line.throttled == 0 && line.pause == 0;
        if (!nobody) {
            pause_line(out, image, &line, hold_name(image, p, v, name));
        }
    }
}

static const struct column brief_columns[] = {
    {"LIMIT", -12}, {"SCOPE", -12}, {"KIND", -6},  {"WINDOW", 5},   {"QUOTA", 5},
    {"USED", 5},    {"LEFT", 5},    {"MEDIUM", 5}, {"RESET-IN", 8}, {"REFUSED c/h/m/l/b", -17},
};
static const struct column priority_columns[] = {
    {"LIMIT", -14}, {"SCOPE", -13}, {"QUOTA", 5}, {"USED", 5}, {"OTHERS", 6},   {"CRIT", 5},
    {"HIGH", 5},    {"MED", 5},     {"LOW", 5},   {"BACK", 5}, {"RESET-IN", 8},
};

static const char *kind_short(uint32_t kind)
{
    switch ((enum weir_limit_kind)kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return "bucket";
    case WEIR_LIMIT_FIXED_WINDOW:
        return "window";
    case WEIR_LIMIT_SLIDING_WINDOW:
        return "slide";
    case WEIR_LIMIT_CONCURRENCY:
        return "atonce";
    case WEIR_LIMIT_UNSET:
        break;
    }
    return "?";
}

/* The cells from QUOTA on that do not depend on the table's width. */
static void brief_row(struct table *table, const struct weir_shm_limit_row *row,
                      const struct weir_shm_limit_stats *stats,
                      const struct weir_limit_state *state, bool known, const char *reset)
{
    char window[DURATION_BYTES];
    table_cell(table, "%s", kind_short(row->kind));
    (void)print_window(window, row->rate_window_ns);
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        table_cell(table, "%u/%s", row->rate_quota, window); /* its quota is the burst */
    } else {
        table_cell(table, "%s", window);
    }
    table_cell(table, "%u", known ? state->quota : row->quota);
    if (known) {
        table_cell(table, "%u", state->used);
        table_cell(table, "%u", state->left[WEIR_PRIORITY_CRITICAL]);
        table_cell(table, "%u", state->left[WEIR_PRIORITY_MEDIUM]);
    } else {
        for (unsigned i = 0; i < 3; i++) {
            table_cell(table, "-");
        }
    }
    table_cell(table, "%s", reset);
    table_cell(table, "%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64, stats->refused[0],
               stats->refused[1], stats->refused[2], stats->refused[3], stats->refused[4]);
}

static void priority_row(struct table *table, const struct weir_shm_limit_row *row,
                         const struct weir_shm_limit_stats *stats,
                         const struct weir_limit_state *state, bool known, const char *reset)
{
    table_cell(table, "%u", known ? state->quota : row->quota);
    if (known) {
        table_cell(table, "%u", state->used);
        if (stats->claimed > 0) { /* so much of it, over all scope values, is traders' word alone */
            table_cell(table, "%u(%" PRIu64 " told)", state->foreign, stats->claimed);
        } else {
            table_cell(table, "%u", state->foreign);
        }
    }
    for (unsigned i = 0; i < (known ? 0U : 2U); i++) {
        table_cell(table, "-");
    }
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        if (known) {
            table_cell(table, "%u", state->left[p]);
        } else {
            table_cell(table, "-");
        }
    }
    table_cell(table, "%s", reset);
}

static void limit_row(struct table *table, const struct image *image, uint32_t limit,
                      uint32_t value, const struct options *options)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    struct weir_limit_state state;
    struct weir_shm_limit_stats stats;
    char text[TEXT_BYTES], reset[DURATION_BYTES];
    bool known = limit_state(image, limit, value, &state);
    (void)image_get(image, WEIR_SECTION_LIMIT, limit, &stats, sizeof stats);
    if (!known) {
        (void)snprintf(reset, sizeof reset, "-");
    } else if (state.damaged) {
        (void)snprintf(reset, sizeof reset, "DAMAGED");
    } else {
        print_duration(reset, state.reset_ns > image->now_ns ? state.reset_ns - image->now_ns : 0);
    }
    table_cell(table, "%s", PRINT_TEXT(text, row->name));
    table_cell(table, "%s", limit_scope(image, limit, value, text));
    if (options->priorities) {
        priority_row(table, row, &stats, &state, known, reset);
    } else {
        brief_row(table, row, &stats, &state, known, reset);
    }
}

static bool value_shown(const struct image *image, uint32_t limit, uint32_t value,
                        const struct options *options)
{
    struct weir_limit_state state;
    return options->all || image->tables.limit[limit].word_cnt <= SCOPES_SHOWN ||
           (limit_state(image, limit, value, &state) && (state.used > 0 || state.damaged));
}

static void provider_text(FILE *out, const struct image *image, uint32_t p,
                          const struct options *options)
{
    const struct weir_shm_provider_row *row = &image->tables.provider[p];
    struct weir_shm_provider provider;
    struct table table;
    char text[TEXT_BYTES];
    uint64_t hidden = 0;
    (void)image_get(image, WEIR_SECTION_PROVIDER, p, &provider, sizeof provider);
    (void)fprintf(out, "%s\n", PRINT_TEXT(text, row->name));
    clock_line(out, image, &provider);
    reports_line(out, &provider);
    pauses(out, image, p, &provider);
    if (options->priorities) {
        table_init(&table, priority_columns, WEIR_ARRAY_CNT(priority_columns));
    } else {
        table_init(&table, brief_columns, WEIR_ARRAY_CNT(brief_columns));
    }
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        uint32_t limit = row->limit_first + i;
        for (uint32_t v = image->tables.limit[limit].value_first;
             v < image->tables.limit[limit].word_cnt; v++) {
            if (value_shown(image, limit, v, options)) {
                limit_row(&table, image, limit, v, options);
            } else {
                hidden++;
            }
        }
    }
    table_print(&table, out, "  ");
    if (hidden > 0) {
        (void)fprintf(out, "  (%" PRIu64 " scope values of which nothing is used: --all)\n",
                      hidden);
    }
}

void limits_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options)
{
    struct weir_shm_worker worker;
    char age[DURATION_BYTES];
    (void)before;
    if (image->tables.word == 0) {
        (void)fprintf(out, "no configuration is loaded yet\n");
        return;
    }
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        (void)fprintf(out, "%s", p > 0 ? "\n" : "");
        provider_text(out, image, p, options);
    }
    (void)image_get(image, WEIR_SECTION_WORKER, 0, &worker, sizeof worker);
    if (image->now_ns > worker.limit_view_ns &&
        image->now_ns - worker.limit_view_ns > WEIR_NS_PER_S) {
        (void)fprintf(out, "\nused and left are %s old: the worker copies them to the board\n",
                      print_duration(age, image->now_ns - worker.limit_view_ns));
    }
}

/* ---------------------------------------------------------------------------------------------- routes */

static const struct column route_columns[] = {
    {"ROUTE", -24}, {"METHOD", -6},  {"PRIORITY", -10},
    {"TIMEOUT", 7}, {"SENT BY", -7}, {"COSTS", -30},
};

static void costs_text(const struct image *image, const struct weir_shm_route_row *route,
                       char *text, size_t bytes)
{
    char name[TEXT_BYTES];
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < route->limit_cnt && used < bytes; i++) {
        int n =
            snprintf(text + used, bytes - used, "%s%s %u", i > 0 ? ", " : "",
                     PRINT_TEXT(name, image->tables.limit[route->limit[i]].name), route->cost[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void routes_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options)
{
    struct table table;
    char provider[TEXT_BYTES], name[TEXT_BYTES], timeout[DURATION_BYTES];
    char costs[WEIR_PERMIT_LIMITS_MAX * 48];
    (void)before;
    (void)options;
    if (image->tables.word == 0) {
        (void)fprintf(out, "no configuration is loaded yet\n");
        return;
    }
    table_init(&table, route_columns, WEIR_ARRAY_CNT(route_columns));
    for (uint32_t r = 0; r < image->tables.route_cnt; r++) {
        const struct weir_shm_route_row *row = &image->tables.route[r];
        bool own = (row->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0;
        table_cell(&table, "%s.%s",
                   PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
        table_cell(&table, "%s", own ? "-" : weir_method_name(row->method));
        table_cell(&table, "%s", weir_priority_name(row->priority));
        table_cell(&table, "%s", print_window(timeout, row->timeout_ns));
        table_cell(&table, "%s", own ? "client" : "weird");
        costs_text(image, row, costs, sizeof costs);
        table_cell(&table, "%s", costs[0] != '\0' ? costs : "nothing");
    }
    table_print(&table, out, "");
}
