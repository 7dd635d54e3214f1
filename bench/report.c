/*
 * report.c: the table for people, the object for programs, the list of rows for the docs.
 */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "stats.h"

int bench_fail(struct bench_result *result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(result->why, sizeof(result->why), format, args);
    va_end(args);
    result->measured = false;
    return -1;
}

int bench_holds(const struct bench_row *row, const struct bench_result *result)
{
    bool is_paired = row->judge == BENCH_RATIO_AT_MOST || row->judge == BENCH_RATIO_AT_LEAST;
    if (!result->measured || row->judge == BENCH_UNJUDGED ||
        (is_paired && result->pair_cnt < STATS_PAIRS_MIN)) {
        return -1;
    }
    switch (row->judge) {
    case BENCH_RATIO_AT_MOST:
        return result->ratio <= row->budget;
    case BENCH_RATIO_AT_LEAST:
        return result->ratio >= row->budget;
    default:
        return result->value <= row->budget;
    }
}

static void budget_text(const struct bench_row *row, char *text, size_t bytes)
{
    switch (row->judge) {
    case BENCH_RATIO_AT_MOST:
        snprintf(text, bytes, "ratio <= %g", row->budget);
        return;
    case BENCH_RATIO_AT_LEAST:
        snprintf(text, bytes, "ratio >= %g", row->budget);
        return;
    case BENCH_VALUE_AT_MOST:
        snprintf(text, bytes, "value <= %g", row->budget);
        return;
    default:
        snprintf(text, bytes, "-");
    }
}

void bench_print_head(const struct bench *bench)
{
    machine_print(&bench->machine, stdout);
    printf("rules     median of %u paired ratios, floor and subject in turns of %.0f ms; cores %d "
           "and %d\n",
           bench->opts.round_cnt, bench_slice_s(bench) * 1e3, bench_core(bench, 0),
           bench_core(bench, 1));
    if (bench->opts.round_cnt < STATS_PAIRS_MIN) {
        printf("          fewer than %u pairs: ratios are shown, not judged\n", STATS_PAIRS_MIN);
    }
    printf("\n%-21s %12s %-5s %12s %9s  %-13s %s\n", "row", "value", "unit", "floor", "ratio",
           "budget", "holds");
    fflush(stdout);
}

static void print_details(const struct bench_result *result)
{
    bool any = false;
    printf("%-21s ", "");
    if (result->has_best) {
        printf("best %.4g", result->best);
        any = true;
    }
    if (result->has_tail) {
        printf("%seach one timed: p50 %.4g  p99 %.4g  p99.9 %.4g", any ? "; " : "", result->p50,
               result->p99, result->p999);
        any = true;
    }
    if (result->note[0]) {
        printf("%s%s", any ? "; " : "", result->note);
    }
    printf("\n");
}

void bench_print_row(const struct bench_row *row, const struct bench_result *result)
{
    char budget[32];
    budget_text(row, budget, sizeof(budget));
    if (!result->measured) {
        printf("%-21s %12s %-5s %12s %9s  %-13s %s\n", row->name, "-", row->unit, "-", "-", budget,
               "-");
        printf("%-21s not measured: %s\n", "", result->why);
        fflush(stdout);
        return;
    }
    int holds = bench_holds(row, result);
    char floor[32] = "-";
    char ratio[32] = "-";
    if (result->has_floor) {
        snprintf(floor, sizeof(floor), "%.5g", result->floor);
        snprintf(ratio, sizeof(ratio), "%.3g", result->ratio);
    }
    printf("%-21s %12.5g %-5s %12s %9s  %-13s %s\n", row->name, result->value, row->unit, floor,
           ratio, budget,
           holds < 0 ? "-"
           : holds   ? "yes"
                     : "NO");
    if (result->has_best || result->has_tail || result->note[0]) {
        print_details(result);
    }
    fflush(stdout);
}

/* A table in Markdown, so that docs/benchmarks.md need not repeat rows.def by hand. */
void bench_print_list(void)
{
    printf("| row | group | measures | against | budget |\n|--|--|--|--|--|\n");
    for (unsigned i = 0; i < bench_row_cnt; i++) {
        const struct bench_row *row = &bench_row[i];
        char budget[32];
        budget_text(row, budget, sizeof(budget));
        printf("| %s | %s | %s | %s | %s%s%s |\n", row->name, row->topic, row->what,
               row->against[0] ? row->against : "-", budget,
               row->judge == BENCH_VALUE_AT_MOST ? " " : "",
               row->judge == BENCH_VALUE_AT_MOST ? row->unit : "");
    }
}

static json_t *number(bool is_there, double value)
{
    return is_there && isfinite(value) ? json_real(value) : json_null();
}

static json_t *row_json(const struct bench_row *row, const struct bench_result *result)
{
    char budget[32];
    int holds = bench_holds(row, result);
    budget_text(row, budget, sizeof(budget));
    json_t *json =
        json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:i}", "name", row->name, "value",
                  number(result->measured, result->value), "unit", row->unit, "floor",
                  number(result->measured && result->has_floor, result->floor), "ratio",
                  number(result->measured && result->has_floor, result->ratio), "budget",
                  row->judge == BENCH_UNJUDGED ? json_null() : json_string(budget), "holds",
                  holds < 0 ? json_null() : json_boolean(holds), "group", row->topic, "pairs",
                  (int)result->pair_cnt);
    if (!json) {
        return NULL;
    }
    if (result->measured && result->has_best) {
        json_object_set_new(json, "best", json_real(result->best));
    }
    if (result->measured && result->has_tail) {
        json_object_set_new(json, "p50", json_real(result->p50));
        json_object_set_new(json, "p99", json_real(result->p99));
        json_object_set_new(json, "p999", json_real(result->p999));
    }
    if (result->note[0]) {
        json_object_set_new(json, "note", json_string(result->note));
    }
    if (!result->measured) {
        json_object_set_new(json, "why", json_string(result->why));
    }
    return json;
}

int bench_print_json(const struct bench *bench, const struct bench_row *const *rows,
                     const struct bench_result *results, unsigned cnt)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < cnt; i++) {
        json_array_append_new(list, row_json(rows[i], &results[i]));
    }
    json_t *whole =
        json_pack("{s:o, s:{s:i, s:f, s:[i, i]}, s:o}", "machine", machine_json(&bench->machine),
                  "run", "rounds", (int)bench->opts.round_cnt, "row_seconds", bench->opts.row_s,
                  "cores", bench_core(bench, 0), bench_core(bench, 1), "rows", list);
    if (!whole) {
        return -1;
    }
    int rc = json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(whole);
    return rc;
}
