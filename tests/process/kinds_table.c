#include "kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXED_PER_S 80U
#define ROLL_MS     3000.0 /* the sliding windows */

const struct kind kinds[KINDS_CNT] = {
    {.name = "fixed",
     .weir = "kind: fixed_window, quota: $N, window: $Wms",
     .sim = "\"kind\": \"fixed_window\", \"quota\": $N, \"window_ms\": $W",
     .cost = 1,
     .measure = MEASURE_WINDOW,
     .judges = "fixed_window"},
    {.name = "bucket",
     .weir = "kind: token_bucket, quota: 60, window: 1s, burst: 60",
     .sim = "\"kind\": \"token_bucket\", \"quota\": 60, \"refill_per_s\": 60",
     .cost = 1,
     .measure = MEASURE_RATE,
     .per_s = 60,
     .judges = "token_bucket"},
    {.name = "decay",
     .weir = "kind: token_bucket, quota: 50, window: 1s, burst: 100, step: 500ms",
     .sim = "\"kind\": \"decay\", \"quota\": 100, \"decay_per_s\": 50, \"step_ms\": 500",
     .cost = 2,
     .measure = MEASURE_RATE,
     .per_s = 50,
     .judges = "token_bucket with step, against decay"},
    {.name = "cells",
     .weir = "kind: sliding_window, quota: 300, window: 3s",
     .sim = "\"kind\": \"sliding_window\", \"quota\": 300, \"window_ms\": 3000",
     .cost = 4,
     .measure = MEASURE_ROLL,
     .per_s = 100,
     .judges = "sliding_window, cells"},
    {.name = "parts",
     .weir = "kind: sliding_window, quota: 15000, window: 3s",
     .sim = "\"kind\": \"sliding_window\", \"quota\": 15000, \"window_ms\": 3000",
     .cost = 200,
     .measure = MEASURE_ROLL,
     .per_s = 5000,
     .slower_by = 0.01,
     .judges = "sliding_window, parts: quota > 4096"},
    {.name = "dear",
     .weir = "kind: sliding_window, quota: 675, window: 3s",
     .sim = "\"kind\": \"sliding_window\", \"quota\": 675, \"window_ms\": 3000",
     .cost = 9,
     .measure = MEASURE_ROLL,
     .per_s = 225,
     .slower_by = 0.01,
     .judges = "sliding_window, parts: cost > 8"},
    {.name = "flight",
     .weir = "kind: concurrency, quota: 8",
     .sim = "\"kind\": \"concurrency\", \"quota\": 8",
     .cost = 1,
     .measure = MEASURE_BUSY,
     .judges = "concurrency"},
};

unsigned kinds_fixed_quota(const struct run *x)
{
    return FIXED_PER_S * x->fixed_ms / 1000;
}

/* Append `text` with $N and $W filled in. */
static size_t fill(char *out, size_t used, size_t bytes, const char *text, const struct run *x)
{
    for (; *text != '\0' && used + 16 < bytes; text++) {
        if (strncmp(text, "$N", 2) == 0 || strncmp(text, "$W", 2) == 0) {
            unsigned value = text[1] == 'N' ? kinds_fixed_quota(x) : x->fixed_ms;
            used += (size_t)snprintf(out + used, bytes - used, "%u", value);
            text++;
        } else {
            out[used++] = *text;
        }
    }
    out[used] = '\0';
    return used;
}

void kinds_configure(struct rig *r, const struct run *x, const char *provider)
{
    char yaml[8192];
    char line[256];
    size_t n = (size_t)snprintf(
        yaml, sizeof yaml,
        "broker: {name: rig, memory: 256MiB, domains: [{clients: 80}]}\n"
        "providers:\n"
        "  - name: %s\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: %ums}\n"
        "    limits:\n",
        provider, x->max_jitter_ms);
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        (void)snprintf(line, sizeof line, "      - {name: %s, scope: account, ", kinds[i].name);
        n = fill(yaml, n, sizeof yaml, line, x);
        n = fill(yaml, n, sizeof yaml, kinds[i].weir, x);
        n = fill(yaml, n, sizeof yaml, "}\n", x);
    }
    n = fill(yaml, n, sizeof yaml,
             "    endpoints:\n"
             "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 256}\n"
             "    routes:\n",
             x);
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        (void)snprintf(line, sizeof line,
                       "      - {name: %s, method: GET, path: /k/%s, cost: {%s: %u}, timeout: 60s, "
                       "max_response: 4KiB}\n",
                       kinds[i].name, kinds[i].name, kinds[i].name, kinds[i].cost);
        n = fill(yaml, n, sizeof yaml, line, x);
    }
    rig_config(r, yaml, 0);
}

void kinds_sim_start(struct rig *r, const struct run *x)
{
    char json[8192];
    char line[256];
    size_t n = (size_t)snprintf(
        json, sizeof json,
        "{\"clock_offset_ms\": %d, \"clock_drift_ppm\": %d, \"count_jitter_ms\": %u, "
        "\"clock_drift_spans\": true, \"jitter_ms\": %u, \"seed\": %u, \"ban_after\": 0, "
        "\"limits\": [",
        x->offset_ms, x->drift_ppm, x->way_ms, x->way_ms, rig_random(r, 1U << 20) + 1);
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        (void)snprintf(line, sizeof line, "%s{\"name\": \"%s\", \"counts\": \"listed\", ",
                       i > 0 ? ", " : "", kinds[i].name);
        n = fill(json, n, sizeof json, line, x);
        n = fill(json, n, sizeof json, kinds[i].sim, x);
        n = fill(json, n, sizeof json, "}", x);
    }
    n = fill(json, n, sizeof json, "], \"routes\": [", x);
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        (void)snprintf(line, sizeof line,
                       "%s{\"path\": \"GET /k/%s\", \"plays\": \"ok\", \"costs\": [{\"limit\": "
                       "\"%s\", \"cost\": %u}]}",
                       i > 0 ? ", " : "", kinds[i].name, kinds[i].name, kinds[i].cost);
        n = fill(json, n, sizeof json, line, x);
    }
    (void)fill(json, n, sizeof json, "]}", x);
    rig_sim_start(r, json);
}

void kinds_calendar_start(struct rig *r, unsigned quota, unsigned before_ms)
{
    char zone[16];
    char text[2048];
    int64_t now_ms = (int64_t)(weir_clock_realtime_ns() / WEIR_NS_PER_MS);
    int64_t hour = now_ms / 3600000 + 1;
    int ahead = (int)(hour % 24) <= 12 ? (int)(hour % 24) : (int)(hour % 24) - 24;
    (void)snprintf(zone, sizeof zone, "Etc/GMT%+d", ahead); /* POSIX counts westward */
    (void)printf("\ncalendar day, %s, midnight %u ms after the start\n", zone, before_ms);
    (void)snprintf(
        text, sizeof text,
        "{\"clock_offset_ms\": %lld, \"count_jitter_ms\": 15, \"jitter_ms\": 15, "
        "\"ban_after\": 0, \"limits\": [{\"name\": \"day\", \"counts\": \"listed\", "
        "\"kind\": \"fixed_window\", \"quota\": %u, \"every\": \"day\", \"zone\": \"%s\"}], "
        "\"routes\": [{\"path\": \"GET /k/day\", \"plays\": \"ok\", \"costs\": "
        "[{\"limit\": \"day\", \"cost\": 1}]}]}",
        (long long)(hour * 3600000 - now_ms - before_ms), quota, zone);
    r->port = 0;
    rig_sim_start(r, text);
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig}\n"
        "providers:\n"
        "  - name: calendar\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: "
        "80ms}\n"
        "    limits:\n"
        "      - {name: day, scope: account, kind: fixed_window, quota: %u, calendar: day, "
        "time_zone: %s}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}\n"
        "    routes:\n"
        "      - {name: day, method: GET, path: /k/day, cost: {day: 1}, max_response: 4KiB}\n",
        quota, zone);
    rig_config(r, text, 0);
}

/* ---------------------------------------------------------------------------------------------- shares */

const json_t *kinds_limit_row(const json_t *report, const char *name)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *text = json_string_value(json_object_get(row, "name"));
        if (text != NULL && strcmp(text, name) == 0) {
            return row;
        }
    }
    return NULL;
}

bool kinds_sample(struct rig *r, struct samples *s)
{
    json_t *report = rig_json(r, "/sim/report");
    if (report == NULL || s->cnt == SAMPLES_MAX) {
        json_decref(report);
        return report != NULL;
    }
    struct sample *x = &s->at[s->cnt++];
    x->at_s = (double)rig_now_ns() / 1e9;
    x->server_ms = json_number_value(json_object_get(report, "server_time_ms"));
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        x->granted[i] =
            json_number_value(json_object_get(kinds_limit_row(report, kinds[i].name), "granted"));
    }
    json_decref(report);
    return true;
}

/* The first sample at or behind `at_s`; s->cnt if there is none. */
static unsigned sample_at(const struct samples *s, double at_s)
{
    unsigned i = 0;
    while (i < s->cnt && s->at[i].at_s < at_s) {
        i++;
    }
    return i;
}

/* What had been granted at an instant between two samples. */
static double granted_at(const struct samples *s, unsigned k, double at_s)
{
    unsigned i = sample_at(s, at_s);
    if (i == 0 || i == s->cnt) {
        return s->at[i == 0 ? 0 : s->cnt - 1].granted[k];
    }
    const struct sample *a = &s->at[i - 1];
    const struct sample *b = &s->at[i];
    return a->granted[k] + (b->granted[k] - a->granted[k]) * (at_s - a->at_s) / (b->at_s - a->at_s);
}

/*
 * Granted in `span_s` from each sample on, of `units`. Under demand that never ends each unit comes back once per span, so any interval of whole spans holds
 * as many, wherever it begins.
 */
static struct share spans(const struct samples *s, unsigned k, double span_s, double units,
                          double from_s, double to_s)
{
    struct share share = {.mean = -1, .best = -1};
    double sum = 0;
    unsigned cnt = 0;
    for (unsigned i = sample_at(s, from_s); i < s->cnt && s->at[i].at_s + span_s <= to_s; i++) {
        double got = granted_at(s, k, s->at[i].at_s + span_s) - s->at[i].granted[k];
        sum += got / units;
        cnt++;
        share.best = got / units > share.best ? got / units : share.best;
    }
    share.mean = cnt > 0 ? sum / cnt : -1;
    return share;
}

static double server_ms_at(const struct samples *s, double at_s)
{
    unsigned i = sample_at(s, at_s);
    i = i < s->cnt ? i : s->cnt - 1;
    return s->at[i].server_ms + (at_s - s->at[i].at_s) * 1000.0;
}

/* Of the fixed windows that lie between two instants as a whole. */
static struct share windows(const json_t *row, double length_ms, double quota, double from_ms,
                            double to_ms)
{
    struct share share = {.mean = -1, .best = -1};
    const json_t *window;
    double sum = 0;
    unsigned cnt = 0;
    size_t i;
    json_array_foreach(json_object_get(row, "windows"), i, window)
    {
        double start_ms = json_number_value(json_object_get(window, "start_ms"));
        if (start_ms >= from_ms && start_ms + length_ms <= to_ms) {
            double used = json_number_value(json_object_get(window, "used")) / quota;
            sum += used;
            cnt++;
            share.best = used > share.best ? used : share.best;
        }
    }
    share.mean = cnt > 0 ? sum / cnt : -1;
    return share;
}

struct share kinds_share(const struct kind *k, const struct run *x, const struct samples *s,
                         const json_t *report, double from_s, double to_s)
{
    unsigned i = (unsigned)(k - kinds);
    const json_t *row = kinds_limit_row(report, k->name);
    double span_s = (ROLL_MS + x->max_jitter_ms) / 1000.0 * (1.0 + k->slower_by);
    double times;
    switch (k->measure) {
    case MEASURE_RATE: /* the longest spans, so that a bucket's depth counts for little */
        times = (to_s - from_s) * 0.8;
        return spans(s, i, times, times * k->per_s, from_s, to_s);
    case MEASURE_ROLL:
        times = (double)(int)((to_s - from_s) * 0.8 / span_s);
        return times < 1 ? (struct share){-1, -1}
                         : spans(s, i, times * span_s, times * span_s * k->per_s, from_s, to_s);
    case MEASURE_WINDOW:
        return windows(row, x->fixed_ms, kinds_fixed_quota(x), server_ms_at(s, from_s),
                       server_ms_at(s, to_s));
    case MEASURE_BUSY:
        break;
    }
    return (struct share){.mean = json_number_value(json_object_get(row, "share")),
                          .best = json_number_value(json_object_get(row, "highest")) / 8.0};
}

double kinds_share_min(const struct kind *k, const struct run *x)
{
    switch (k->measure) {
    case MEASURE_RATE:
        return 0.98;
    case MEASURE_ROLL:
        return 0.98 * ROLL_MS / (ROLL_MS + x->max_jitter_ms);
    case MEASURE_WINDOW:
        return x->fixed_ms >= 50 * x->max_jitter_ms ? 0.98 : 0;
    case MEASURE_BUSY:
        break;
    }
    return 0;
}
