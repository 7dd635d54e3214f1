#include "broker/replay_count.h"
#include "shm/weir_error.h"
#include "shm/weir_tables.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOWS_SHOWN 10U
#define WINDOWS_JSON  1000U

typedef unsigned long long ull;

static uint64_t sum(const uint64_t by[WEIR_PRIORITY_CNT])
{
    uint64_t all = 0;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        all += by[p];
    }
    return all;
}

/* "2026-11-22T06:41:35Z", with ms where they are not 0. */
static const char *utc(char text[40], uint64_t utc_ns)
{
    time_t s = (time_t)(utc_ns / WEIR_NS_PER_S);
    unsigned ms = (unsigned)(utc_ns % WEIR_NS_PER_S / WEIR_NS_PER_MS);
    struct tm parts;
    size_t n = gmtime_r(&s, &parts) != NULL ? strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &parts) : 0;
    if (ms != 0) {
        (void)snprintf(text + n, 40 - n, ".%03uZ", ms);
    } else {
        (void)snprintf(text + n, 40 - n, "Z");
    }
    return text;
}

static const char *scope_text(char text[64], const struct replay_report *r,
                              const struct replay_limit *l, uint32_t value)
{
    const char *kind = weir_scope_kind_name(l->row->scope_kind);
    (void)snprintf(text, 64, "%s", kind);
    for (uint32_t i = 0; i < r->scope_cnt; i++) {
        const struct weir_shm_scope_row *s = &r->scope[i];
        if (s->provider == l->row->provider && s->kind == l->row->scope_kind && s->value == value &&
            s->name[0] != '\0') {
            (void)snprintf(text, 64, "%s=%s", kind, s->name);
        }
    }
    return text;
}

static void full_name(char text[2 * WEIR_NAME_BYTES], const struct replay_report *r,
                      const struct replay_limit *l)
{
    (void)snprintf(text, 2 * WEIR_NAME_BYTES, "%s.%s", r->provider[l->row->provider].name,
                   l->row->name);
}

/* ---------------------------------------------------------------------------------------------- text */

static void head_text(FILE *out, const struct replay_report *r)
{
    char from[40], to[40];
    (void)fprintf(out, "%s against %s: %llu calls, %s .. %s\n", r->log, r->config, (ull)r->calls,
                  utc(from, r->first_utc_ns), utc(to, r->last_utc_ns));
    if (r->as_sent) {
        (void)fprintf(out, "as sent: all calls counted as made, by the exchange's own rule\n");
    } else {
        (void)fprintf(out, "permits: %llu granted, %llu refused (%.2f %%)\n", (ull)r->granted,
                      (ull)r->refused, 100.0 * (double)r->refused / (double)r->calls);
    }
    if (r->unreadable + r->unknown_route + r->unordered + r->several + r->unjudged > 0) {
        (void)fprintf(
            out,
            "lines: %llu unreadable, %llu of no route, %llu out of order, %llu that several "
            "routes fit, %llu not judged\n",
            (ull)r->unreadable, (ull)r->unknown_route, (ull)r->unordered, (ull)r->several,
            (ull)r->unjudged);
    }
    if (r->missing > 0) {
        (void)fprintf(out, "the audit lacks %llu records: calls among them are not counted here\n",
                      (ull)r->missing);
    }
}

/* What was refused, or above, by class: "0/0/2/1/0". Returns its length. */
static int classes_text(char text[120], const struct replay_report *r, const struct replay_limit *l)
{
    const uint64_t *by = r->as_sent ? l->over : l->refused;
    return snprintf(text, 120, "%llu/%llu/%llu/%llu/%llu", (ull)by[0], (ull)by[1], (ull)by[2],
                    (ull)by[3], (ull)by[4]);
}

static void limit_text(FILE *out, const struct replay_report *r, const struct replay_limit *l,
                       int width, int classes_width)
{
    char name[2 * WEIR_NAME_BYTES];
    const uint64_t *by = r->as_sent ? l->over : l->refused;
    char classes[120];
    full_name(name, r, l);
    (void)classes_text(classes, r, l);
    (void)fprintf(out, "  %-*s  %10u  %10llu  %12llu  %10llu  %-*s  %8llu  %7llu", width, name,
                  l->row->kind == WEIR_LIMIT_TOKEN_BUCKET ? l->row->quota : l->row->rate_quota,
                  (ull)l->calls, (ull)l->units, (ull)sum(by), classes_width, classes,
                  (ull)l->windows, (ull)l->bad_windows);
    if (!r->as_sent) {
        (void)fprintf(out, "  %10llu", (ull)sum(l->over));
    }
    (void)fprintf(
        out, "%s\n",
        l->row->kind == WEIR_LIMIT_CONCURRENCY ? "  (not judged: a log has no ends of calls)" : "");
}

/* One of the worst windows. */
struct worst {
    const struct replay_limit *limit;
    const struct replay_window *window;
};

static uint64_t badness(const struct worst *w)
{
    return w->window->refused + w->window->over;
}

/* Keep the ten worst, the worst first; of equals the earlier. */
static void worst_add(struct worst worst[WINDOWS_SHOWN], unsigned *cnt, struct worst one)
{
    unsigned at = *cnt;
    while (at > 0 && badness(&worst[at - 1]) < badness(&one)) {
        at--;
    }
    if (at == WINDOWS_SHOWN) {
        return;
    }
    *cnt += *cnt < WINDOWS_SHOWN;
    memmove(&worst[at + 1], &worst[at], (*cnt - at - 1) * sizeof worst[0]);
    worst[at] = one;
}

static void windows_text(FILE *out, const struct replay_report *r, int width)
{
    struct worst worst[WINDOWS_SHOWN];
    unsigned cnt = 0;
    char name[2 * WEIR_NAME_BYTES], scope[64], at[40];
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        for (size_t w = 0; w < r->limit[i].bad_cnt; w++) {
            worst_add(worst, &cnt, (struct worst){&r->limit[i], &r->limit[i].bad[w]});
        }
    }
    if (cnt == 0) {
        return;
    }
    (void)fprintf(out, "\nthe worst windows\n  %-*s  %-16s  %-24s  %10s  %12s  %10s\n", width,
                  "LIMIT", "SCOPE", "WINDOW", "CALLS", "UNITS", r->as_sent ? "ABOVE" : "REFUSED");
    for (unsigned i = 0; i < cnt; i++) {
        full_name(name, r, worst[i].limit);
        (void)fprintf(out, "  %-*s  %-16s  %-24s  %10llu  %12llu  %10llu\n", width, name,
                      scope_text(scope, r, worst[i].limit, worst[i].window->scope),
                      utc(at, worst[i].window->start_utc_ns), (ull)worst[i].window->calls,
                      (ull)worst[i].window->units, (ull)badness(&worst[i]));
    }
}

void replay_text(FILE *out, const struct replay_report *r)
{
    char name[2 * WEIR_NAME_BYTES];
    char classes[120];
    int width = 12;
    int classes_width = 9;
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        full_name(name, r, &r->limit[i]);
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
        int n = classes_text(classes, r, &r->limit[i]);
        classes_width = n > classes_width ? n : classes_width;
    }
    head_text(out, r);
    (void)fprintf(out, "\n  %-*s  %10s  %10s  %12s  %10s  %-*s  %8s  %7s%s\n", width, "LIMIT",
                  "QUOTA", "CALLS", "UNITS", r->as_sent ? "ABOVE" : "REFUSED", classes_width,
                  "c/h/m/l/b", "WINDOWS", "OF THEM", r->as_sent ? "" : "  VIOLATIONS");
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        limit_text(out, r, &r->limit[i], width, classes_width);
    }
    windows_text(out, r, width);
}

/* ---------------------------------------------------------------------------------------------- json */

static json_t *n_json(uint64_t n)
{
    return json_integer((json_int_t)weir_min_u64(n, INT64_MAX));
}

static json_t *classes_json(const uint64_t by[WEIR_PRIORITY_CNT])
{
    json_t *o = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(o, weir_priority_name(p), n_json(by[p]));
    }
    return o;
}

static json_t *window_json(const struct replay_report *r, const struct replay_limit *l,
                           const struct replay_window *w)
{
    char text[64], at[40];
    json_t *o = json_object();
    (void)json_object_set_new(o, "start", json_string(utc(at, w->start_utc_ns)));
    (void)json_object_set_new(o, "scope", json_string(scope_text(text, r, l, w->scope)));
    (void)json_object_set_new(o, "calls", n_json(w->calls));
    (void)json_object_set_new(o, "units", n_json(w->units));
    (void)json_object_set_new(o, "refused", n_json(w->refused));
    (void)json_object_set_new(o, "violations", n_json(w->over));
    return o;
}

static json_t *limit_json(const struct replay_report *r, const struct replay_limit *l)
{
    char name[2 * WEIR_NAME_BYTES];
    json_t *o = json_object();
    json_t *windows = json_array();
    full_name(name, r, l);
    (void)json_object_set_new(o, "name", json_string(name));
    (void)json_object_set_new(o, "kind", json_string(weir_limit_kind_name(l->row->kind)));
    (void)json_object_set_new(o, "quota_units", n_json(l->row->rate_quota));
    (void)json_object_set_new(o, "burst_units", n_json(l->row->quota));
    (void)json_object_set_new(o, "window_ns", n_json(l->row->rate_window_ns));
    (void)json_object_set_new(o, "calls", n_json(l->calls));
    (void)json_object_set_new(o, "units", n_json(l->units));
    (void)json_object_set_new(o, "made", n_json(l->granted));
    (void)json_object_set_new(o, "refused", classes_json(l->refused));
    (void)json_object_set_new(o, "refused_for_ever", n_json(l->never));
    (void)json_object_set_new(o, "violations", classes_json(l->over));
    (void)json_object_set_new(o, "judged", json_boolean(l->row->kind != WEIR_LIMIT_CONCURRENCY));
    (void)json_object_set_new(o, "windows_cnt", n_json(l->windows));
    (void)json_object_set_new(o, "bad_windows_cnt", n_json(l->bad_windows));
    for (size_t w = 0; w < l->bad_cnt && w < WINDOWS_JSON; w++) {
        (void)json_array_append_new(windows, window_json(r, l, &l->bad[w]));
    }
    (void)json_object_set_new(o, "bad_windows", windows);
    return o;
}

bool replay_json(FILE *out, const struct replay_report *r)
{
    char at[40];
    json_t *limits = json_array();
    json_t *o = json_object();
    (void)json_object_set_new(o, "log", json_string(r->log));
    (void)json_object_set_new(o, "config", json_string(r->config));
    (void)json_object_set_new(o, "mode", json_string(r->as_sent ? "as_sent" : "permits"));
    (void)json_object_set_new(o, "first", json_string(utc(at, r->first_utc_ns)));
    (void)json_object_set_new(o, "last", json_string(utc(at, r->last_utc_ns)));
    (void)json_object_set_new(o, "lines", n_json(r->lines));
    (void)json_object_set_new(o, "calls", n_json(r->calls));
    (void)json_object_set_new(o, "made", n_json(r->granted));
    (void)json_object_set_new(o, "refused", n_json(r->refused));
    (void)json_object_set_new(o, "unreadable", n_json(r->unreadable));
    (void)json_object_set_new(o, "unknown_route", n_json(r->unknown_route));
    (void)json_object_set_new(o, "out_of_order", n_json(r->unordered));
    (void)json_object_set_new(o, "several_routes", n_json(r->several));
    (void)json_object_set_new(o, "not_judged", n_json(r->unjudged));
    (void)json_object_set_new(o, "missing", n_json(r->missing));
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        (void)json_array_append_new(limits, limit_json(r, &r->limit[i]));
    }
    (void)json_object_set_new(o, "limits", limits);
    bool ok = o != NULL && json_dumpf(o, out, JSON_INDENT(2)) == 0;
    (void)fputc('\n', out);
    json_decref(o);
    return ok;
}
