/* stat.c: `weir stat`, for people. */
#include "show_limits.h"
#include "show_stat.h"

#include "print.h"
#include "weir_error.h"
#include "weir_health.h"
#include "weir_hold.h"
#include "weir_journal.h"
#include "weir_sign_in.h"

#include <inttypes.h>
#include <string.h>

uint64_t stat_granted(const struct weir_shm_route_stats *stats)
{
    uint64_t sum = 0;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        sum += stats->granted[p];
    }
    return sum;
}

void stat_totals_get(const struct image *image, struct stat_totals *totals)
{
    *totals = (struct stat_totals){0};
    uint32_t cnt = image_cnt(image, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    for (uint32_t r = 0; r < cnt; r++) {
        struct weir_shm_route_stats stats;
        (void)image_get(image, WEIR_SECTION_ROUTE, r, &stats, sizeof stats);
        totals->permits += stat_granted(&stats);
        totals->calls += stats.calls;
    }
    cnt = image_cnt(image, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats));
    for (uint32_t l = 0; l < cnt; l++) {
        struct weir_shm_limit_stats stats;
        (void)image_get(image, WEIR_SECTION_LIMIT, l, &stats, sizeof stats);
        totals->units_reaped += stats.units_reaped;
    }
}

/* ---------------------------------------------------------------------------------------------- the broker */

static const char *state_text(const struct image_health *h)
{
    return h->supervisor_stale      ? "supervisor stale"
           : h->worker_down         ? "worker down"
           : h->worker_stale        ? "worker stale"
           : h->lease_left_ns == 0  ? "lease ended"
           : h->gate.block_all != 0 ? "blocked by an operator"
           : h->gate.tables == 0    ? "starting"
                                    : "up";
}

static uint64_t since(const struct image *image, uint64_t then_ns)
{
    return image->now_ns > then_ns ? image->now_ns - then_ns : 0;
}

static void processes_text(FILE *out, const struct image *image, const struct image_health *h)
{
    char a[DURATION_BYTES], b[DURATION_BYTES];
    (void)fprintf(out, "  supervisor  pid %u, up %s, heartbeat %s ago\n", h->supervisor.pid,
                  print_duration(a, since(image, h->supervisor.started_ns)),
                  print_duration(b, h->supervisor_age_ns));
    if (h->worker_down) {
        (void)fprintf(out, "  worker      down since %s, restarts %u",
                      print_duration(a, h->worker_down_ns), h->supervisor.worker_restarts);
        if (h->supervisor.worker_crashes > 0) {
            (void)fprintf(out, ", crashes in a row %u, the next start in %s",
                          h->supervisor.worker_crashes, print_duration(b, h->worker_next_ns));
        }
        (void)fputc('\n', out);
    } else {
        (void)fprintf(out, "  worker      pid %u, up %s, heartbeat %s ago, incarnation %u\n",
                      h->worker.pid, print_duration(a, since(image, h->worker.started_ns)),
                      print_duration(b, h->worker_age_ns), h->gate.incarnation);
        if (h->supervisor.worker_restarts > 0) {
            (void)fprintf(out, "  restarts    %u, the last death %s ago\n",
                          h->supervisor.worker_restarts, print_duration(a, h->worker_down_ns));
        }
    }
    if (h->lease_left_ns > 0) {
        (void)fprintf(out, "  lease       %s left\n", print_duration(a, h->lease_left_ns));
    } else {
        (void)fprintf(out, "  lease       ended %s ago: nothing is granted\n",
                      print_duration(a, since(image, h->gate.lease_until_ns)));
    }
}

/* The journal: nothing to say where the board has none. */
static void journal_text(FILE *out, const struct image *image)
{
    char a[DURATION_BYTES], b[DURATION_BYTES];
    struct weir_shm_journal j;
    if (!image_get(image, WEIR_SECTION_JOURNAL, 0, &j, sizeof j)) {
        return;
    }
    if (j.state == WEIR_JOURNAL_STATE_NONE) {
        (void)fprintf(out, "  journal     none: a reboot forgets what was used\n");
        return;
    }
    (void)fprintf(out, "  journal     %s, on disk %s ago, longest write %s, %" PRIu64 " failed",
                  j.state == WEIR_JOURNAL_STATE_WORKS ? "works" : "FAILING: long windows stop",
                  print_duration(a, since(image, j.written_at_ns)),
                  print_duration(b, j.sync_max_ns), j.failures);
    if (j.failures > 0) {
        (void)fprintf(out, ", the last by errno %d", j.error);
    }
    (void)fprintf(out, "\n");
    if (j.found == WEIR_JOURNAL_ABSENT) {
        (void)fprintf(out, "              there was none at the start\n");
    } else if (j.found != WEIR_JOURNAL_SOUND) {
        (void)fprintf(out, "              refused at the start as %s: %s\n",
                      weir_journal_verdict_name(j.found), weir_journal_verdict_text(j.found));
    }
}

static void work_text(FILE *out, const struct image *image, const struct image *before,
                      const struct image_health *h)
{
    char a[DURATION_BYTES];
    const struct weir_shm_worker *w = &h->worker;
    struct stat_totals now, then = {0};
    stat_totals_get(image, &now);
    (void)fprintf(out, "  loop        %" PRIu64 " turns, longest %s, slept %" PRIu64 " times\n",
                  w->loop_cycles, print_duration(a, w->loop_cycle_max_ns), w->wakes);
    (void)fprintf(out, "  work        %u in flight, %" PRIu64 " calls, %" PRIu64 " permits",
                  w->in_flight, now.calls, now.permits);
    if (before != NULL) {
        stat_totals_get(before, &then);
        (void)fprintf(out, ": %.1f permits/s, %.1f calls/s",
                      rate_per_s(now.permits, then.permits, image, before),
                      rate_per_s(now.calls, then.calls, image, before));
    }
    (void)fprintf(out,
                  "\n  rings       %" PRIu64 " entries taken, %" PRIu64 " dropped, %" PRIu64
                  " repaired, %" PRIu64 " requests found by the sweep\n",
                  w->ring_taken, w->ring_dropped, w->ring_repaired, w->swept);
    (void)fprintf(
        out,
        "  repairs     %" PRIu64 " limit words, %" PRIu64 " dead clients, %" PRIu64
        " of their requests, %" PRIu64 " of their units; %" PRIu64 " pauses told by traders\n",
        w->limit_damaged, w->client_reaped, w->slot_reaped, now.units_reaped, w->permit_reports);
}

/* A line for each provider that is not open. */
static void holds_text(FILE *out, const struct image *image)
{
    char name[TEXT_BYTES];
    char text[HOLD_BYTES];
    for (uint32_t p = 0; image->tables.word != 0 && p < image->tables.provider_cnt; p++) {
        const struct weir_shm_provider_row *row = &image->tables.provider[p];
        for (uint32_t v = 0; v < weir_hold_cnt(row); v++) {
            struct weir_shm_provider line;
            char value[TEXT_BYTES] = "";
            (void)image_get(image, WEIR_SECTION_PROVIDER, weir_hold_line(row, p, v), &line,
                            sizeof line);
            if (hold_text(text, &line, image->now_ns)) {
                (void)fprintf(out, "  paused      %s%s%s: %s\n", PRINT_TEXT(name, row->name),
                              row->hold_kind != 0 ? " " : "",
                              row->hold_kind != 0 ? hold_name(image, p, v, value) : "", text);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- tables */

static const struct column endpoint_columns[] = {
    {"ENDPOINT", -16}, {"ADDRESS", -15}, {"INFL", 4},        {"CONN", 4},
    {"REQUESTS", 8},   {"FAILED", 6},    {"SERVER ms", -14}, {"TOTAL ms", -14},
};

/* "1.20/3.40/9.00", three digits each: p50, p99, p99.9, the percentiles that people ask for, in ms. */
static const char *percentiles_text(char text[TEXT_BYTES], const struct weir_shm_histogram *h)
{
    double ms[3];
    int digits[3];
    static const uint32_t ppm[3] = {500000, 990000, 999000};
    uint64_t samples = 0;
    for (unsigned i = 0; i < 3; i++) {
        ms[i] = (double)weir_histogram_percentile_ns(h, ppm[i], &samples) / 1e6;
        digits[i] = ms[i] < 9.995 ? 2 : ms[i] < 99.95 ? 1 : 0;
    }
    if (samples == 0) {
        return "-";
    }
    (void)snprintf(text, TEXT_BYTES, "%.*f/%.*f/%.*f", digits[0], ms[0], digits[1], ms[1],
                   digits[2], ms[2]);
    return text;
}

static void endpoints_text(FILE *out, const struct image *image)
{
    struct table table;
    char provider[TEXT_BYTES], name[TEXT_BYTES], text[TEXT_BYTES];
    table_init(&table, endpoint_columns, WEIR_ARRAY_CNT(endpoint_columns));
    for (uint32_t e = 0; e < image->tables.endpoint_cnt; e++) {
        const struct weir_shm_endpoint_row *row = &image->tables.endpoint[e];
        struct weir_shm_endpoint endpoint;
        (void)image_get(image, WEIR_SECTION_ENDPOINT, e, &endpoint, sizeof endpoint);
        table_cell(&table, "%s.%s",
                   PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
        table_cell(&table, "%s",
                   endpoint.address[0] != '\0' ? PRINT_TEXT(name, endpoint.address) : "unresolved");
        table_cell(&table, "%u", endpoint.in_flight);
        table_cell(&table, "%u", endpoint.connections);
        table_cell(&table, "%" PRIu64, endpoint.requests);
        table_cell(&table, "%" PRIu64, endpoint.failures);
        table_cell(&table, "%s", percentiles_text(text, &endpoint.stage[WEIR_STAGE_SERVER]));
        table_cell(&table, "%s", percentiles_text(text, &endpoint.stage[WEIR_STAGE_TOTAL]));
    }
    (void)fprintf(out, "\nendpoints (ms: p50/p99/p99.9)\n");
    table_print(&table, out, "  ");
}

static const struct column health_columns[] = {
    {"HEALTH", -16}, {"SCORE", 5}, {"BREAKER", -16}, {"LATENCY ms", 10}, {"FAILED", 6},
    {"LATE", 5},     {"STOPS", 5}, {"OUT", 4},       {"CHECKED", 8},     {"STATE", -20},
};

/* "open 12.3 s (timeout)", "half_open", "closed", "-" where there is none. */
static const char *breaker_text(char text[TEXT_BYTES], uint64_t word, uint64_t now_ns)
{
    unsigned state = weir_breaker_state_of(word);
    uint64_t until_ns = weir_breaker_until_ns(word);
    if (state == WEIR_BREAKER_OPEN) {
        (void)snprintf(text, TEXT_BYTES, "open %.1f s (%s)",
                       until_ns > now_ns ? (double)(until_ns - now_ns) / 1e9 : 0.0,
                       weir_class_name(weir_breaker_cause_of(word)));
        return text;
    }
    return state == WEIR_BREAKER_NONE ? "-" : weir_breaker_name(state);
}

/* Breakers and scores: of endpoints, then of groups of routes, which have a breaker alone. */
static void health_text(FILE *out, const struct image *image)
{
    struct table table;
    char provider[TEXT_BYTES], name[TEXT_BYTES], text[TEXT_BYTES];
    uint32_t cnt = image_cnt(image, WEIR_SECTION_HEALTH, sizeof(struct weir_shm_health));
    table_init(&table, health_columns, WEIR_ARRAY_CNT(health_columns));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_health h;
        (void)image_get(image, WEIR_SECTION_HEALTH, i, &h, sizeof h);
        if (h.provider >= image->tables.provider_cnt || h.name[0] == '\0') {
            continue; /* no worker has been here yet */
        }
        table_cell(&table, "%s.%s", PRINT_TEXT(provider, image->tables.provider[h.provider].name),
                   PRINT_TEXT(name, h.name));
        table_cell(&table, h.is_group != 0 ? "-" : "%u", h.score);
        table_cell(&table, "%s", breaker_text(text, h.breaker, image->now_ns));
        table_cell(&table, h.latency_ns == 0 ? "-" : "%.2f", (double)h.latency_ns / 1e6);
        table_cell(&table, "%" PRIu64, h.count[WEIR_CLASS_TRANSPORT] + h.count[WEIR_CLASS_SERVER]);
        table_cell(&table, "%" PRIu64, h.count[WEIR_CLASS_TIMEOUT]);
        table_cell(&table, "%" PRIu64, h.count[WEIR_CLASS_THROTTLE] + h.count[WEIR_CLASS_BAN]);
        table_cell(&table, "%" PRIu64, h.ejections);
        table_cell(&table, h.checked_ns == 0 ? "-" : "%.1f s",
                   (double)(image->now_ns - h.checked_ns) / 1e9);
        table_cell(&table, "%s%s%s%s%s", (h.flags & WEIR_HEALTH_EJECTED) != 0 ? "out " : "",
                   (h.flags & WEIR_HEALTH_DOWN) != 0 ? "down " : "",
                   (h.flags & WEIR_HEALTH_SUSPECT) != 0 ? "suspect " : "",
                   (h.flags & WEIR_HEALTH_STARTING) != 0 ? "starting" : "",
                   h.flags == 0 ? "-" : "");
    }
    (void)fprintf(out, "\nhealth\n");
    table_print(&table, out, "  ");
}

static const struct column session_columns[] = {
    {"SESSION", -24}, {"STATE", -9}, {"WHY", -8},    {"LEFT", 9},    {"NEXT", 9},
    {"SIGNED IN", 9}, {"FAILED", 6}, {"RENEWED", 7}, {"REFUSED", 7},
};

/* "12.3 s", "-" where it is over or never. */
static const char *left_text(char text[TEXT_BYTES], uint64_t until_ns, uint64_t now_ns)
{
    if (until_ns <= now_ns || until_ns == UINT64_MAX) {
        return "-";
    }
    (void)snprintf(text, TEXT_BYTES, "%.1f s", (double)(until_ns - now_ns) / 1e9);
    return text;
}

/* How far weir is signed in: where the configuration has sessions. */
static void sessions_text(FILE *out, const struct image *image)
{
    struct table table;
    char provider[TEXT_BYTES], account[TEXT_BYTES], key[TEXT_BYTES], text[TEXT_BYTES];
    uint32_t cnt = image_cnt(image, WEIR_SECTION_SIGN_IN, sizeof(struct weir_shm_sign_in));
    table_init(&table, session_columns, WEIR_ARRAY_CNT(session_columns));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_sign_in s;
        (void)image_get(image, WEIR_SECTION_SIGN_IN, i, &s, sizeof s);
        if (s.provider >= image->tables.provider_cnt) {
            continue;
        }
        table_cell(&table, "%s %s %s",
                   PRINT_TEXT(provider, image->tables.provider[s.provider].name),
                   PRINT_TEXT(account, s.account), PRINT_TEXT(key, s.key));
        table_cell(&table, "%s", weir_sign_in_state_name(s.state));
        table_cell(&table, "%s", weir_sign_in_why_name(s.why));
        table_cell(&table, "%s", left_text(text, s.good_until_ns, image->now_ns));
        table_cell(&table, "%s", left_text(text, s.next_ns, image->now_ns));
        table_cell(&table, "%" PRIu64, s.done);
        table_cell(&table, "%" PRIu64, s.failed);
        table_cell(&table, "%" PRIu64, s.renewed);
        table_cell(&table, "%" PRIu64, s.refused);
    }
    if (cnt > 0) {
        (void)fprintf(out, "\nsessions\n");
        table_print(&table, out, "  ");
    }
}

static const struct column stage_columns[] = {
    {"STAGE", -18}, {"SAMPLES", 9}, {"P50", 8}, {"P99", 8}, {"P99.9", 8},
};

/* Where the time of calls goes, over all endpoints: histograms add up bucket by bucket. */
static void stages_text(FILE *out, const struct image *image)
{
    static const char *const names[WEIR_STAGE_CNT] = {"queue", "permit", "connect", "server",
                                                      "total"};
    struct weir_shm_histogram sum[WEIR_STAGE_CNT] = {0};
    struct table table;
    char a[DURATION_BYTES];
    for (uint32_t e = 0; e < image->tables.endpoint_cnt; e++) {
        struct weir_shm_endpoint endpoint;
        (void)image_get(image, WEIR_SECTION_ENDPOINT, e, &endpoint, sizeof endpoint);
        for (unsigned s = 0; s < WEIR_STAGE_CNT; s++) {
            for (unsigned i = 0; i < WEIR_HISTOGRAM_BUCKETS; i++) {
                sum[s].count[i] += endpoint.stage[s].count[i];
            }
        }
    }
    table_init(&table, stage_columns, WEIR_ARRAY_CNT(stage_columns));
    for (unsigned s = 0; s < WEIR_STAGE_CNT; s++) {
        static const uint32_t ppm[] = {500000, 990000, 999000};
        uint64_t samples;
        (void)weir_histogram_percentile_ns(&sum[s], 0, &samples);
        table_cell(&table, "%s", names[s]);
        table_cell(&table, "%" PRIu64, samples);
        for (unsigned i = 0; i < WEIR_ARRAY_CNT(ppm); i++) {
            table_cell(&table, "%s",
                       samples == 0 ? "-"
                                    : print_duration(
                                          a, weir_histogram_percentile_ns(&sum[s], ppm[i], NULL)));
        }
    }
    (void)fprintf(out, "\ntime of calls\n");
    table_print(&table, out, "  ");
}

static const struct column route_columns[] = {
    {"ROUTE", -20}, {"PERMITS", 8}, {"CALLS", 7},    {"DONE", 7},   {"2xx", 6},
    {"4xx", 4},     {"5xx", 4},     {"NOT SENT", 8}, {"FAILED", 6}, {"UNKNOWN", 7},
};
static const struct column route_rate_columns[] = {
    {"ROUTE", -18}, {"PERMITS", 8}, {"PER S", 7}, {"CALLS", 7},    {"PER S", 7},
    {"DONE", 7},    {"4xx", 4},     {"5xx", 4},   {"NOT SENT", 8}, {"UNKNOWN", 7},
};

static uint64_t results_sum(const struct weir_shm_route_stats *s, const unsigned *result,
                            size_t cnt)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < cnt; i++) {
        sum += s->results[result[i]];
    }
    return sum;
}

static const unsigned not_sent[] = {WEIR_RESULT_REFUSED,   WEIR_RESULT_EXPIRED,
                                    WEIR_RESULT_CANCELLED, WEIR_RESULT_REJECTED,
                                    WEIR_RESULT_NOT_SENT,  WEIR_RESULT_NO_ROOM};
static const unsigned failed[] = {WEIR_RESULT_FAILED, WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TIMEOUT};

static void route_row(struct table *table, const struct image *image, const struct image *before,
                      uint32_t r)
{
    struct weir_shm_route_stats now, then;
    (void)image_get(image, WEIR_SECTION_ROUTE, r, &now, sizeof now);
    table_cell(table, "%" PRIu64, stat_granted(&now));
    if (before != NULL) {
        (void)image_get(before, WEIR_SECTION_ROUTE, r, &then, sizeof then);
        table_cell(table, "%.1f",
                   rate_per_s(stat_granted(&now), stat_granted(&then), image, before));
    }
    table_cell(table, "%" PRIu64, now.calls);
    if (before != NULL) {
        table_cell(table, "%.1f", rate_per_s(now.calls, then.calls, image, before));
    }
    table_cell(table, "%" PRIu64, now.results[WEIR_RESULT_DONE]);
    if (before == NULL) {
        table_cell(table, "%" PRIu64, now.statuses[2]);
    }
    table_cell(table, "%" PRIu64, now.statuses[4]);
    table_cell(table, "%" PRIu64, now.statuses[5]);
    table_cell(table, "%" PRIu64, results_sum(&now, not_sent, WEIR_ARRAY_CNT(not_sent)));
    if (before == NULL) {
        table_cell(table, "%" PRIu64,
                   results_sum(&now, failed, WEIR_ARRAY_CNT(failed)) + now.doubts_absent);
    }
    table_cell(table, "%" PRIu64, now.results[WEIR_RESULT_OUTCOME_UNKNOWN]);
}

static void routes_stat_text(FILE *out, const struct image *image, const struct image *before)
{
    struct table table;
    char provider[TEXT_BYTES], name[TEXT_BYTES];
    if (before != NULL) {
        table_init(&table, route_rate_columns, WEIR_ARRAY_CNT(route_rate_columns));
    } else {
        table_init(&table, route_columns, WEIR_ARRAY_CNT(route_columns));
    }
    for (uint32_t r = 0; r < image->tables.route_cnt; r++) {
        const struct weir_shm_route_row *row = &image->tables.route[r];
        table_cell(&table, "%s.%s",
                   PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
        route_row(&table, image, before, r);
    }
    (void)fprintf(out, "\nroutes\n");
    table_print(&table, out, "  ");
}

static const struct column client_columns[] = {
    {"PID", 6},  {"UID", 5},   {"NAME", -12}, {"ROLE", -7},   {"STATE", -7}, {"SLOTS", 5},
    {"SUBM", 6}, {"ENDED", 6}, {"INFL", 4},   {"PERMITS", 7}, {"REJ", 3},    {"FORGED", 6},
};

static void clients_text(FILE *out, const struct image *image)
{
    static const char *const states[] = {"free", "live", "gone"};
    struct table table;
    char name[TEXT_BYTES];
    uint32_t shown = 0;
    table_init(&table, client_columns, WEIR_ARRAY_CNT(client_columns));
    uint32_t cnt = image_cnt(image, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_client c;
        (void)image_get(image, WEIR_SECTION_CLIENT, i, &c, sizeof c);
        if (c.state == WEIR_CLIENT_FREE) {
            continue;
        }
        struct weir_shm_block block;
        (void)image_get(image, WEIR_SECTION_BLOCK, 0, &block, sizeof block);
        uint32_t shut = i < WEIR_ARRAY_CNT(block.client) ? block.client[i] : WEIR_BLOCK_NONE;
        table_cell(&table, "%u", c.pid);
        table_cell(&table, "%u", c.uid);
        table_cell(&table, "%s", PRINT_TEXT(name, c.name));
        table_cell(&table, "%s", weir_role_name(c.role));
        table_cell(&table, "%s",
                   shut == WEIR_BLOCK_QUARANTINE      ? "quarantined"
                   : shut != WEIR_BLOCK_NONE          ? "blocked"
                   : c.state < WEIR_ARRAY_CNT(states) ? states[c.state]
                                                      : "?");
        table_cell(&table, "%u", c.slot_cnt);
        table_cell(&table, "%" PRIu64, c.submitted);
        table_cell(&table, "%" PRIu64, c.ended);
        table_cell(&table, "%" PRIu64, c.in_flight);
        table_cell(&table, "%" PRIu64, c.granted);
        table_cell(&table, "%" PRIu64, c.rejected);
        table_cell(&table, "%" PRIu64, c.forged);
        shown++;
    }
    (void)fprintf(out, "\nclients%s\n", shown == 0 ? ": none" : "");
    if (shown > 0) {
        table_print(&table, out, "  ");
    }
}

void stat_text(FILE *out, const struct image *image, const struct image *before,
               const struct options *options)
{
    struct image_health health;
    char name[TEXT_BYTES];
    (void)options;
    image_health_get(image, &health);
    (void)fprintf(out, "broker %s: %s\n", PRINT_TEXT(name, image->view.header->name),
                  state_text(&health));
    processes_text(out, image, &health);
    journal_text(out, image);
    work_text(out, image, before, &health);
    holds_text(out, image);
    if (image->tables.word != 0) {
        endpoints_text(out, image);
        health_text(out, image);
        sessions_text(out, image);
        stages_text(out, image);
        routes_stat_text(out, image, before);
        cache_text(out, image, before);
    }
    clients_text(out, image);
}
