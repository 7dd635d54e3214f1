/* stat_json.c: `weir stat --json`. Keys are stable; weir(1) lists them. */
#include "show_limits.h"
#include "show_stat.h"

#include "print.h"
#include "weir_error.h"
#include "weir_health.h"
#include "weir_journal.h"
#include "weir_sign_in.h"

static uint64_t since(const struct image *image, uint64_t then_ns)
{
    return image->now_ns > then_ns ? image->now_ns - then_ns : 0;
}

static json_t *supervisor_json(const struct image *image, const struct image_health *h)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "pid", json_u64(h->supervisor.pid));
    (void)json_object_set_new(o, "uptime_ns", json_u64(since(image, h->supervisor.started_ns)));
    (void)json_object_set_new(o, "heartbeat_age_ns", json_u64(h->supervisor_age_ns));
    (void)json_object_set_new(o, "stale", json_boolean(h->supervisor_stale));
    return o;
}

static json_t *worker_json(const struct image *image, const struct image_health *h)
{
    const struct weir_shm_worker *w = &h->worker;
    json_t *o = json_object();
    (void)json_object_set_new(o, "pid", json_u64(w->pid));
    (void)json_object_set_new(o, "uptime_ns", json_u64(since(image, w->started_ns)));
    (void)json_object_set_new(o, "heartbeat_age_ns", json_u64(h->worker_age_ns));
    (void)json_object_set_new(o, "stale", json_boolean(h->worker_stale));
    (void)json_object_set_new(o, "down", json_boolean(h->worker_down));
    (void)json_object_set_new(o, "restarts", json_u64(h->supervisor.worker_restarts));
    (void)json_object_set_new(o, "crashes_in_a_row", json_u64(h->supervisor.worker_crashes));
    (void)json_object_set_new(o, "last_signal", json_u64(h->supervisor.worker_signal));
    (void)json_object_set_new(o, "starts_in_ns", json_u64(h->worker_down ? h->worker_next_ns : 0));
    (void)json_object_set_new(o, "in_flight", json_u64(w->in_flight));
    (void)json_object_set_new(o, "loop_cycles", json_u64(w->loop_cycles));
    (void)json_object_set_new(o, "loop_cycle_max_ns", json_u64(w->loop_cycle_max_ns));
    (void)json_object_set_new(o, "wakes", json_u64(w->wakes));
    (void)json_object_set_new(o, "ring_taken", json_u64(w->ring_taken));
    (void)json_object_set_new(o, "ring_dropped", json_u64(w->ring_dropped));
    (void)json_object_set_new(o, "ring_repaired", json_u64(w->ring_repaired));
    (void)json_object_set_new(o, "swept", json_u64(w->swept));
    (void)json_object_set_new(o, "limit_damaged", json_u64(w->limit_damaged));
    (void)json_object_set_new(o, "client_reaped", json_u64(w->client_reaped));
    (void)json_object_set_new(o, "slot_reaped", json_u64(w->slot_reaped));
    (void)json_object_set_new(o, "permit_reports", json_u64(w->permit_reports));
    (void)json_object_set_new(o, "client_quarantined", json_u64(w->client_quarantined));
    return o;
}

static json_t *journal_json(const struct image *image)
{
    static const char *const states[] = {"none", "works", "failing"};
    struct weir_shm_journal j;
    if (!image_get(image, WEIR_SECTION_JOURNAL, 0, &j, sizeof j)) {
        return json_null();
    }
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "state", json_string(j.state < WEIR_ARRAY_CNT(states) ? states[j.state] : "?"));
    (void)json_object_set_new(o, "found", json_string(weir_journal_verdict_name(j.found)));
    (void)json_object_set_new(o, "found_clean", json_boolean(j.found_clean != 0));
    (void)json_object_set_new(o, "sequence", json_u64(j.sequence));
    (void)json_object_set_new(o, "generation", json_u64(j.generation));
    (void)json_object_set_new(o, "written_age_ns", json_u64(since(image, j.written_at_ns)));
    (void)json_object_set_new(o, "writes", json_u64(j.writes));
    (void)json_object_set_new(o, "failures", json_u64(j.failures));
    (void)json_object_set_new(o, "errno", json_integer(j.error));
    (void)json_object_set_new(o, "sync_max_ns", json_u64(j.sync_max_ns));
    return o;
}

static json_t *histogram_json(const struct weir_shm_histogram *h)
{
    uint64_t samples;
    uint64_t p50_ns = weir_histogram_percentile_ns(h, 500000, &samples);
    json_t *o = json_object();
    (void)json_object_set_new(o, "samples", json_u64(samples));
    (void)json_object_set_new(o, "p50_ns", json_u64(p50_ns));
    (void)json_object_set_new(o, "p99_ns", json_u64(weir_histogram_percentile_ns(h, 990000, NULL)));
    (void)json_object_set_new(o, "p999_ns",
                              json_u64(weir_histogram_percentile_ns(h, 999000, NULL)));
    return o;
}

static json_t *endpoint_json(const struct image *image, uint32_t e)
{
    static const char *const stages[WEIR_STAGE_CNT] = {"queue", "permit", "connect", "server",
                                                       "total"};
    const struct weir_shm_endpoint_row *row = &image->tables.endpoint[e];
    struct weir_shm_endpoint endpoint;
    (void)image_get(image, WEIR_SECTION_ENDPOINT, e, &endpoint, sizeof endpoint);
    json_t *o = json_object();
    (void)json_object_set_new(o, "provider",
                              JSON_FIELD(image->tables.provider[row->provider].name));
    (void)json_object_set_new(o, "name", JSON_FIELD(row->name));
    (void)json_object_set_new(o, "host", JSON_FIELD(row->host));
    (void)json_object_set_new(o, "port", json_u64(row->port));
    (void)json_object_set_new(o, "address", JSON_FIELD(endpoint.address));
    (void)json_object_set_new(o, "in_flight", json_u64(endpoint.in_flight));
    (void)json_object_set_new(o, "connections", json_u64(endpoint.connections));
    (void)json_object_set_new(o, "connections_max", json_u64(row->connections_max));
    (void)json_object_set_new(o, "connects", json_u64(endpoint.connects));
    (void)json_object_set_new(o, "requests", json_u64(endpoint.requests));
    (void)json_object_set_new(o, "failures", json_u64(endpoint.failures));
    (void)json_object_set_new(o, "sent", json_u64(endpoint.sent));
    (void)json_object_set_new(o, "resends_stopped", json_u64(endpoint.resends_stopped));
    (void)json_object_set_new(o, "last_status", json_u64(endpoint.last_status));
    json_t *latency = json_object();
    for (unsigned s = 0; s < WEIR_STAGE_CNT; s++) {
        (void)json_object_set_new(latency, stages[s], histogram_json(&endpoint.stage[s]));
    }
    (void)json_object_set_new(o, "latency", latency);
    return o;
}

static json_t *health_json(const struct image *image, uint32_t i)
{
    struct weir_shm_health h;
    (void)image_get(image, WEIR_SECTION_HEALTH, i, &h, sizeof h);
    json_t *o = json_object();
    json_t *ends = json_object();
    uint64_t until_ns = weir_breaker_until_ns(h.breaker);
    if (h.provider < image->tables.provider_cnt) {
        (void)json_object_set_new(o, "provider",
                                  JSON_FIELD(image->tables.provider[h.provider].name));
    }
    (void)json_object_set_new(o, h.is_group != 0 ? "group" : "endpoint", JSON_FIELD(h.name));
    (void)json_object_set_new(o, "breaker",
                              json_string(weir_breaker_name(weir_breaker_state_of(h.breaker))));
    (void)json_object_set_new(o, "breaker_cause",
                              json_string(weir_class_name(weir_breaker_cause_of(h.breaker))));
    (void)json_object_set_new(o, "breaker_left_ns",
                              json_u64(until_ns > image->now_ns ? until_ns - image->now_ns : 0));
    (void)json_object_set_new(o, "trips", json_u64(h.trips));
    (void)json_object_set_new(o, "probes", json_u64(h.probes));
    for (unsigned c = 0; c < WEIR_CLASS_CNT; c++) {
        (void)json_object_set_new(ends, weir_class_name(c), json_u64(h.count[c]));
    }
    (void)json_object_set_new(o, "ends", ends);
    if (h.is_group != 0) {
        return o;
    }
    (void)json_object_set_new(o, "score", json_u64(h.score));
    (void)json_object_set_new(o, "success_ppm", json_u64(h.success_ppm));
    (void)json_object_set_new(o, "latency_ppm", json_u64(h.latency_ppm));
    (void)json_object_set_new(o, "throttle_ppm", json_u64(h.throttle_ppm));
    (void)json_object_set_new(o, "fresh_ppm", json_u64(h.fresh_ppm));
    (void)json_object_set_new(o, "quota_ppm", json_u64(h.quota_ppm));
    (void)json_object_set_new(o, "start_ppm", json_u64(h.start_ppm));
    (void)json_object_set_new(o, "latency_ns", json_u64(h.latency_ns));
    (void)json_object_set_new(o, "height", json_u64(h.height));
    (void)json_object_set_new(o, "checks", json_u64(h.checks));
    (void)json_object_set_new(o, "checked_age_ns", json_u64(since(image, h.checked_ns)));
    (void)json_object_set_new(o, "ejections", json_u64(h.ejections));
    (void)json_object_set_new(o, "ejected", json_boolean((h.flags & WEIR_HEALTH_EJECTED) != 0));
    (void)json_object_set_new(o, "down", json_boolean((h.flags & WEIR_HEALTH_DOWN) != 0));
    (void)json_object_set_new(o, "suspect", json_boolean((h.flags & WEIR_HEALTH_SUSPECT) != 0));
    return o;
}

/* How far weir is signed in: never with what. */
static json_t *session_json(const struct image *image, uint32_t i)
{
    struct weir_shm_sign_in s;
    (void)image_get(image, WEIR_SECTION_SIGN_IN, i, &s, sizeof s);
    json_t *o = json_object();
    if (s.provider < image->tables.provider_cnt) {
        (void)json_object_set_new(o, "provider",
                                  JSON_FIELD(image->tables.provider[s.provider].name));
    }
    (void)json_object_set_new(o, "account", JSON_FIELD(s.account));
    (void)json_object_set_new(o, "key", JSON_FIELD(s.key));
    (void)json_object_set_new(o, "state", json_string(weir_sign_in_state_name(s.state)));
    (void)json_object_set_new(o, "why", json_string(weir_sign_in_why_name(s.why)));
    (void)json_object_set_new(o, "busy", json_boolean(s.busy != 0));
    (void)json_object_set_new(
        o, "left_ns",
        json_u64(s.good_until_ns > image->now_ns ? s.good_until_ns - image->now_ns : 0));
    (void)json_object_set_new(
        o, "next_ns",
        s.next_ns == UINT64_MAX
            ? json_null()
            : json_u64(s.next_ns > image->now_ns ? s.next_ns - image->now_ns : 0));
    (void)json_object_set_new(o, "signed_in", json_u64(s.done));
    (void)json_object_set_new(o, "failed", json_u64(s.failed));
    (void)json_object_set_new(o, "second_uses", json_u64(s.second_uses));
    (void)json_object_set_new(o, "renewed", json_u64(s.renewed));
    (void)json_object_set_new(o, "refused", json_u64(s.refused));
    return o;
}

/* What became of calls whose end was in doubt. */
static json_t *doubts_json(const struct weir_shm_route_stats *s)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "calls", json_u64(s->doubts));
    (void)json_object_set_new(o, "found", json_u64(s->doubts_found));
    (void)json_object_set_new(o, "absent", json_u64(s->doubts_absent));
    (void)json_object_set_new(o, "resent", json_u64(s->doubts_resent));
    (void)json_object_set_new(o, "unknown", json_u64(s->doubts_unknown));
    (void)json_object_set_new(o, "asked", json_u64(s->doubts_asked));
    (void)json_object_set_new(o, "unnamed", json_u64(s->doubts_unnamed));
    return o;
}

static json_t *route_json(const struct image *image, const struct image *before, uint32_t r)
{
    const struct weir_shm_route_row *row = &image->tables.route[r];
    struct weir_shm_route_stats now, then;
    char provider[TEXT_BYTES], name[TEXT_BYTES];
    (void)image_get(image, WEIR_SECTION_ROUTE, r, &now, sizeof now);
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "name",
        json_sprintf("%s.%s", PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                     PRINT_TEXT(name, row->name)));
    json_t *granted = json_object();
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        (void)json_object_set_new(granted, weir_priority_name(p), json_u64(now.granted[p]));
    }
    (void)json_object_set_new(o, "granted", granted);
    (void)json_object_set_new(o, "calls", json_u64(now.calls));
    json_t *results = json_object();
    for (unsigned i = WEIR_RESULT_DONE; i < WEIR_ARRAY_CNT(now.results); i++) {
        (void)json_object_set_new(results, weir_result_name(i), json_u64(now.results[i]));
    }
    (void)json_object_set_new(results, weir_result_name(WEIR_RESULT_ABSENT),
                              json_u64(now.doubts_absent));
    (void)json_object_set_new(o, "results", results);
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    json_t *statuses = json_object();
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(now.statuses); i++) {
        (void)json_object_set_new(statuses, classes[i], json_u64(now.statuses[i]));
    }
    (void)json_object_set_new(o, "statuses", statuses);
    (void)json_object_set_new(o, "in_bytes", json_u64(now.bytes_in));
    (void)json_object_set_new(o, "retries", json_u64(now.retries));
    (void)json_object_set_new(o, "retries_unaffordable", json_u64(now.retries_unaffordable));
    (void)json_object_set_new(o, "hedges", json_u64(now.hedges));
    (void)json_object_set_new(o, "hedges_won", json_u64(now.hedges_won));
    (void)json_object_set_new(o, "hedges_unaffordable", json_u64(now.hedges_unaffordable));
    (void)json_object_set_new(o, "hedges_refused", json_u64(now.hedges_refused));
    (void)json_object_set_new(o, "hedges_stalled", json_u64(now.hedges_stalled));
    (void)json_object_set_new(o, "doubts", doubts_json(&now));
    (void)json_object_set_new(o, "cache", cache_route_json(image, r));
    if (before != NULL) {
        (void)image_get(before, WEIR_SECTION_ROUTE, r, &then, sizeof then);
        (void)json_object_set_new(
            o, "permits_per_s",
            json_real(rate_per_s(stat_granted(&now), stat_granted(&then), image, before)));
        (void)json_object_set_new(o, "calls_per_s",
                                  json_real(rate_per_s(now.calls, then.calls, image, before)));
    }
    return o;
}

static json_t *client_json(const struct image *image, uint32_t i, const struct weir_shm_client *c)
{
    static const char *const states[] = {"free", "live", "gone"};
    struct weir_shm_block block;
    (void)image_get(image, WEIR_SECTION_BLOCK, 0, &block, sizeof block);
    json_t *o = json_object();
    (void)json_object_set_new(o, "client", json_u64(i));
    (void)json_object_set_new(
        o, "state", json_string(c->state < WEIR_ARRAY_CNT(states) ? states[c->state] : "?"));
    uint32_t out = i < WEIR_ARRAY_CNT(block.client) ? block.client[i] : WEIR_BLOCK_NONE;
    (void)json_object_set_new(o, "blocked", json_boolean(out != WEIR_BLOCK_NONE));
    (void)json_object_set_new(o, "quarantined", json_boolean(out == WEIR_BLOCK_QUARANTINE));
    (void)json_object_set_new(o, "pid", json_u64(c->pid));
    (void)json_object_set_new(o, "uid", json_u64(c->uid));
    (void)json_object_set_new(o, "name", JSON_FIELD(c->name));
    (void)json_object_set_new(o, "role", json_string(weir_role_name(c->role)));
    (void)json_object_set_new(o, "domain", json_u64(c->domain));
    (void)json_object_set_new(o, "slots", json_u64(c->slot_cnt));
    (void)json_object_set_new(o, "arena_bytes", json_u64(c->arena_bytes));
    (void)json_object_set_new(o, "attached_age_ns", json_u64(since(image, c->attached_ns)));
    (void)json_object_set_new(o, "submitted", json_u64(c->submitted));
    (void)json_object_set_new(o, "ended", json_u64(c->ended));
    (void)json_object_set_new(o, "in_flight", json_u64(c->in_flight));
    (void)json_object_set_new(o, "granted", json_u64(c->granted));
    (void)json_object_set_new(o, "rejected", json_u64(c->rejected));
    (void)json_object_set_new(o, "forged", json_u64(c->forged));
    return o;
}

static json_t *clients_json(const struct image *image)
{
    json_t *clients = json_array();
    uint32_t cnt = image_cnt(image, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_client c;
        if (image_get(image, WEIR_SECTION_CLIENT, i, &c, sizeof c) && c.state != WEIR_CLIENT_FREE) {
            (void)json_array_append_new(clients, client_json(image, i, &c));
        }
    }
    return clients;
}

static void totals_json(json_t *o, const struct image *image, const struct image *before)
{
    struct stat_totals now, then;
    stat_totals_get(image, &now);
    (void)json_object_set_new(o, "permits", json_u64(now.permits));
    (void)json_object_set_new(o, "calls", json_u64(now.calls));
    (void)json_object_set_new(o, "units_reaped", json_u64(now.units_reaped));
    if (before != NULL) {
        stat_totals_get(before, &then);
        (void)json_object_set_new(o, "permits_per_s",
                                  json_real(rate_per_s(now.permits, then.permits, image, before)));
        (void)json_object_set_new(o, "calls_per_s",
                                  json_real(rate_per_s(now.calls, then.calls, image, before)));
    }
}

/* The providers that are not open, in the words of `weir limits`. */
static json_t *paused_json(const struct image *image)
{
    char name[TEXT_BYTES];
    char text[HOLD_BYTES];
    json_t *o = json_object();
    for (uint32_t p = 0; image->tables.word != 0 && p < image->tables.provider_cnt; p++) {
        struct weir_shm_provider provider;
        (void)image_get(image, WEIR_SECTION_PROVIDER, p, &provider, sizeof provider);
        if (hold_text(text, &provider, image->now_ns)) {
            (void)json_object_set_new(o, PRINT_TEXT(name, image->tables.provider[p].name),
                                      json_string(text));
        }
    }
    return o;
}

json_t *stat_json(const struct image *image, const struct image *before,
                  const struct options *options)
{
    struct image_health health;
    char text[FINDING_TEXT_BYTES];
    (void)options;
    image_health_get(image, &health);
    int code = image_health_text(&health, text, sizeof text);
    json_t *o = json_object();
    (void)json_object_set_new(o, "name", JSON_FIELD(image->view.header->name));
    (void)json_object_set_new(o, "ok", json_boolean(code == 0 && text[0] == '\0'));
    (void)json_object_set_new(o, "trouble", text[0] != '\0' ? json_string(text) : json_null());
    (void)json_object_set_new(o, "now_ns", json_u64(image->now_ns));
    (void)json_object_set_new(o, "incarnation", json_u64(health.gate.incarnation));
    (void)json_object_set_new(o, "lease_left_ns", json_u64(health.lease_left_ns));
    (void)json_object_set_new(o, "block_all", json_boolean(health.gate.block_all != 0));
    totals_json(o, image, before);
    (void)json_object_set_new(o, "supervisor", supervisor_json(image, &health));
    (void)json_object_set_new(o, "worker", worker_json(image, &health));
    (void)json_object_set_new(o, "paused", paused_json(image));
    (void)json_object_set_new(o, "journal", journal_json(image));
    json_t *endpoints = json_array();
    for (uint32_t e = 0; e < image->tables.endpoint_cnt; e++) {
        (void)json_array_append_new(endpoints, endpoint_json(image, e));
    }
    (void)json_object_set_new(o, "endpoints", endpoints);
    json_t *well = json_array();
    uint32_t health_cnt = image_cnt(image, WEIR_SECTION_HEALTH, sizeof(struct weir_shm_health));
    for (uint32_t i = 0; i < health_cnt; i++) {
        (void)json_array_append_new(well, health_json(image, i));
    }
    (void)json_object_set_new(o, "health", well);
    json_t *sessions = json_array();
    uint32_t session_cnt = image_cnt(image, WEIR_SECTION_SIGN_IN, sizeof(struct weir_shm_sign_in));
    for (uint32_t i = 0; i < session_cnt; i++) {
        (void)json_array_append_new(sessions, session_json(image, i));
    }
    (void)json_object_set_new(o, "sessions", sessions);
    json_t *routes = json_array();
    for (uint32_t r = 0; r < image->tables.route_cnt; r++) {
        (void)json_array_append_new(routes, route_json(image, before, r));
    }
    (void)json_object_set_new(o, "routes", routes);
    (void)json_object_set_new(o, "cache", cache_json(image));
    (void)json_object_set_new(o, "clients", clients_json(image));
    return o;
}
