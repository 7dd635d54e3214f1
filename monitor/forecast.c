/* forecast.c: `weir limits --forecast` and `--budget`, for people: what needs attention must show without reading numbers. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"

#include <inttypes.h>
#include <stdlib.h>

/* More scope values than this are shown only where something is used. */
#define SCOPES_SHOWN 8

/* ---------------------------------------------------------------------------------------------- instants */

/* Weir time as UTC; only a live board knows. */
static bool utc_of(const struct image *image, uint64_t at_ns, uint64_t *utc_ns)
{
    *utc_ns = at_ns + (uint64_t)image->utc_offset_ns;
    return image->live;
}

/* "in 12.0 s", or "17:32 UTC" where it is more than ten minutes away and the board is live; "now"; "never". */
static const char *when(char buffer[DURATION_BYTES], const struct image *image, uint64_t at_ns)
{
    char duration[DURATION_BYTES];
    uint64_t utc_ns, now_utc_ns;
    if (at_ns == UINT64_MAX) {
        (void)snprintf(buffer, DURATION_BYTES, "never");
    } else if (at_ns <= image->now_ns) {
        (void)snprintf(buffer, DURATION_BYTES, "now");
    } else if (utc_of(image, at_ns, &utc_ns) && at_ns - image->now_ns > 600 * WEIR_NS_PER_S) {
        (void)utc_of(image, image->now_ns, &now_utc_ns);
        print_utc(buffer, utc_ns, now_utc_ns);
    } else {
        (void)snprintf(buffer, DURATION_BYTES, "in %.28s",
                       print_duration(duration, at_ns - image->now_ns));
    }
    return buffer;
}

static void heading(FILE *out, const struct image *image, uint32_t p)
{
    char text[TEXT_BYTES], at[DURATION_BYTES];
    uint64_t utc_ns;
    (void)fprintf(out, "%s", PRINT_TEXT(text, image->tables.provider[p].name));
    if (utc_of(image, image->now_ns, &utc_ns)) {
        (void)fprintf(out, "  at %s", print_utc(at, utc_ns, utc_ns));
    }
    (void)fputc('\n', out);
}

static bool value_shown(const struct weir_shm_limit_row *row, const struct weir_forecast *f,
                        const struct options *options)
{
    return options->all || row->word_cnt <= SCOPES_SHOWN || f->used_units > 0 || f->pace_micro > 0;
}

/* ---------------------------------------------------------------------------------------------- --forecast */

static const struct column forecast_columns[] = {
    {"LIMIT", -12},        {"SCOPE", -10},  {"USED", 11}, {"%", 3},
    {"PACE", 7},           {"AT RESET", 8}, {"RESET", 9}, {"LASTS", -8},
    {"DEAREST CALL", -18}, {"PASSES", -6},
};

/* What the trader asks first: will it last? */
static const char *lasts(char buffer[DURATION_BYTES], const struct image *image,
                         const struct weir_forecast *f)
{
    char at[DURATION_BYTES];
    if (f->pace_over_ns == 0 && f->empty_ns > f->now_ns) {
        (void)snprintf(buffer, DURATION_BYTES, "-"); /* not measured, or held and not used up */
    } else if (f->empty_ns == UINT64_MAX) {
        (void)snprintf(buffer, DURATION_BYTES, "yes");
    } else if (f->empty_ns <= f->now_ns) {
        (void)snprintf(buffer, DURATION_BYTES, "FULL");
    } else {
        (void)snprintf(buffer, DURATION_BYTES, "NO: %.26s", when(at, image, f->empty_ns));
    }
    return buffer;
}

static void forecast_row(struct table *table, const struct image *image, uint32_t limit,
                         uint32_t value, const struct weir_forecast *f,
                         const struct limit_dearest *dearest)
{
    const struct weir_tables *t = &image->tables;
    char text[TEXT_BYTES], a[DURATION_BYTES];
    table_cell(table, "%s", PRINT_TEXT(text, t->limit[limit].name));
    table_cell(table, "%s", limit_scope(image, limit, value, text));
    table_cell(table, "%u/%u", f->used_units, f->quota_units);
    table_cell(table, "%u", f->used_ppm / 10000);
    table_cell(table, "%s", f->pace_over_ns > 0 ? print_pace(a, f->pace_micro) : "-");
    if (f->gone_ppm > 0 && f->at_reset_units > 10 * (uint64_t)f->quota_units) {
        table_cell(table, ">10x"); /* its digits say no more */
    } else if (f->gone_ppm > 0 && f->pace_over_ns > 0) {
        table_cell(table, "%" PRIu64, f->at_reset_units);
    } else {
        table_cell(table, "-");
    }
    table_cell(table, "%s", when(a, image, f->reset_ns));
    table_cell(table, "%s", lasts(a, image, f));
    if (dearest->route != UINT32_MAX) {
        table_cell(table, "%s %u %s", PRINT_TEXT(text, t->route[dearest->route].name),
                   dearest->units, weir_priority_name(dearest->priority));
    } else {
        table_cell(table, "(no route) 1 %s", weir_priority_name(dearest->priority));
    }
    /* Of a kind that lives in cells the board does not show when each unit comes back: only an instant when all have. */
    const bool latest = f->earliest_ns > f->now_ns && f->earliest_ns != UINT64_MAX &&
                        weir_limit_in_cells(&t->limit[limit]);
    table_cell(table, "%s%s", latest ? "at most " : "", when(a, image, f->earliest_ns));
}

/* Everything that a table of one provider needs to be filled. */
struct fill {
    FILE *out;
    const struct image *image;
    const struct options *options;
    struct table table;
    uint32_t rows;
    uint64_t hidden;
};

static void rows_fill(struct fill *fill, uint32_t provider, bool budgets,
                      void (*row)(struct table *, const struct image *, uint32_t, uint32_t,
                                  const struct weir_forecast *, const struct limit_dearest *))
{
    const struct weir_shm_provider_row *p = &fill->image->tables.provider[provider];
    for (uint32_t i = 0; i < p->limit_cnt; i++) {
        const uint32_t limit = p->limit_first + i;
        const struct weir_shm_limit_row *l = &fill->image->tables.limit[limit];
        for (uint32_t v = l->value_first; v < l->word_cnt; v++) {
            struct weir_forecast f;
            struct limit_dearest dearest;
            uint64_t window_micro;
            if ((budgets && !limit_is_budget(l)) ||
                !limit_forecast(fill->image, limit, v, &dearest, &f, &window_micro)) {
                continue;
            }
            if (!value_shown(l, &f, fill->options)) {
                fill->hidden++;
                continue;
            }
            fill->rows++;
            row(&fill->table, fill->image, limit, v, &f, &dearest);
        }
    }
}

static void fill_end(struct fill *fill)
{
    table_print(&fill->table, fill->out, "  ");
    if (fill->hidden > 0) {
        (void)fprintf(fill->out, "  (%" PRIu64 " scope values of which nothing is used: --all)\n",
                      fill->hidden);
    }
}

void forecast_text(FILE *out, const struct image *image, const struct image *before,
                   const struct options *options)
{
    (void)before;
    if (image->tables.word == 0) {
        (void)fprintf(out, "no configuration is loaded yet\n");
        return;
    }
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        struct fill fill = {.out = out, .image = image, .options = options};
        (void)fprintf(out, "%s", p > 0 ? "\n" : "");
        heading(out, image, p);
        table_init(&fill.table, forecast_columns, WEIR_ARRAY_CNT(forecast_columns));
        rows_fill(&fill, p, false, forecast_row);
        fill_end(&fill);
    }
    (void)fprintf(
        out, "\nPACE: units taken, over the last 10 s. LASTS: does the dearest call still find "
             "room at this pace until RESET? PASSES: when it would, if nobody else came.\n");
}

/* ---------------------------------------------------------------------------------------------- --budget */

#define BAR_CELLS 24U

static const struct column budget_columns[] = {
    {"BUDGET", -12}, {"SCOPE", -10},   {"USED", -(int)BAR_CELLS - 3},
    {"%", 4},        {"WINDOW %", 8},  {"BURN", 5},
    {"RESET", 9},    {"VERDICT", -20},
};

/* '#' used, '.' free; '|' stands where an even pace would be now: '#' beyond it burns too fast. */
static const char *bar(char buffer[BAR_CELLS + 4], const struct weir_forecast *f)
{
    uint64_t used = ((uint64_t)f->used_ppm * BAR_CELLS + WEIR_MILLION / 2) / WEIR_MILLION;
    used = weir_min_u64(used == 0 && f->used_units > 0 ? 1 : used,
                        BAR_CELLS); /* a little is not nothing */
    const uint64_t even = (uint64_t)f->gone_ppm * BAR_CELLS / WEIR_MILLION;
    unsigned n = 0;
    buffer[n++] = '[';
    for (unsigned i = 0; i <= BAR_CELLS; i++) {
        if (i == even && f->gone_ppm > 0) {
            buffer[n++] = '|';
        }
        if (i < BAR_CELLS) {
            buffer[n++] = i < used ? '#' : '.';
        }
    }
    buffer[n++] = ']';
    buffer[n] = '\0';
    return buffer;
}

static void verdict(char *text, size_t bytes, const struct image *image,
                    const struct weir_forecast *f)
{
    char at[DURATION_BYTES], early[DURATION_BYTES];
    if (f->used_units >= f->quota_units) {
        (void)snprintf(text, bytes, "SPENT until %s", when(at, image, f->reset_ns));
    } else if (f->used_units == 0) {
        (void)snprintf(text, bytes, "unused");
    } else if (f->burn_ppm == 0 && f->gone_ppm > 0) {
        (void)snprintf(text, bytes, "too early to say");
    } else if (f->burn_empty_ns != UINT64_MAX && f->gone_ppm > 0) {
        (void)snprintf(
            text, bytes, "burning %.1fx: empties %s%s, %s before the reset",
            (double)f->burn_ppm / 1e6,
            image->live && f->burn_empty_ns - f->now_ns > 600 * WEIR_NS_PER_S ? "at " : "",
            when(at, image, f->burn_empty_ns),
            print_duration(early,
                           f->reset_ns > f->burn_empty_ns ? f->reset_ns - f->burn_empty_ns : 0));
    } else if (f->burn_empty_ns != UINT64_MAX) {
        (void)snprintf(text, bytes, "burning %.1fx its refill: empties %s",
                       (double)f->burn_ppm / 1e6, when(at, image, f->burn_empty_ns));
    } else if (f->gone_ppm > 0) {
        const uint64_t units = (uint64_t)f->quota_units * f->burn_ppm / WEIR_MILLION;
        (void)snprintf(text, bytes, "lasts: about %" PRIu64 " of %u at the reset", units,
                       f->quota_units);
    } else {
        (void)snprintf(text, bytes, "lasts");
    }
}

static void budget_row(struct table *table, const struct image *image, uint32_t limit,
                       uint32_t value, const struct weir_forecast *f,
                       const struct limit_dearest *dearest)
{
    char text[TEXT_BYTES], line[BAR_CELLS + 4], at[DURATION_BYTES], words[160];
    (void)dearest;
    table_cell(table, "%s", PRINT_TEXT(text, image->tables.limit[limit].name));
    table_cell(table, "%s", limit_scope(image, limit, value, text));
    table_cell(table, "%s %u/%u", bar(line, f), f->used_units, f->quota_units);
    table_cell(table, "%u", f->used_ppm / 10000);
    if (f->gone_ppm > 0) {
        table_cell(table, "%u", f->gone_ppm / 10000);
    } else {
        table_cell(table, "-");
    }
    if (f->burn_ppm > 0) {
        table_cell(table, "%.1fx", (double)f->burn_ppm / 1e6);
    } else {
        table_cell(table, "-");
    }
    table_cell(table, "%s", when(at, image, f->reset_ns));
    verdict(words, sizeof words, image, f);
    table_cell(table, "%s", words);
}

void budget_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options)
{
    uint32_t shown = 0;
    (void)before;
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        struct fill fill = {.out = out, .image = image, .options = options};
        table_init(&fill.table, budget_columns, WEIR_ARRAY_CNT(budget_columns));
        rows_fill(&fill, p, true, budget_row);
        if (fill.rows > 0 || fill.hidden > 0) {
            (void)fprintf(out, "%s", shown > 0 ? "\n" : "");
            heading(out, image, p);
            shown++;
            fill_end(&fill);
        } else {
            free(fill.table.text);
        }
    }
    if (shown == 0) {
        (void)fprintf(out, "no limit has a window of an hour or more: weir limits --forecast shows "
                           "the others\n");
    }
}
