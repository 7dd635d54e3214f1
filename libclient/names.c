/*
 * names.c: from the names of the configuration to ids, what stands behind an id, and the texts of answers. Start-up work: nothing here is hot.
 */
#include "handle.h"

#include "shm/weir_age.h"
#include "shm/weir_error.h"

#include <string.h>

/* Whose handle, and are the tables fresh? What every function here asks first. */
static int enter(struct weir *w)
{
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    return weir_permit_refresh(&w->view);
}

int weir_route_find(struct weir *w, const char *name, weir_route_id *out)
{
    if (name == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w);
    return rc != WEIR_OK ? rc : weir_tables_route_find(&w->view.tables, name, out);
}

int weir_scope_find(struct weir *w, const char *provider, const char *scope, weir_scope_id *out)
{
    if (provider == NULL || scope == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w);
    return rc != WEIR_OK ? rc : weir_tables_scope_find(&w->view.tables, provider, scope, out);
}

int weir_limit_find(struct weir *w, const char *name, uint32_t *out)
{
    if (name == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w);
    return rc != WEIR_OK ? rc : weir_tables_limit_find(&w->view.tables, name, out);
}

int weir_route_get(struct weir *w, weir_route_id route, struct weir_route_info *out)
{
    if (out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (route == WEIR_ROUTE_NOP) {
        *out = (struct weir_route_info){
            .provider = "weir", .name = "nop", .priority = WEIR_PRIORITY_MEDIUM, .idempotent = 1};
        return WEIR_OK;
    }
    const struct weir_tables *t = &w->view.tables;
    if (route >= t->route_cnt) {
        return WEIR_E_ROUTE_UNKNOWN;
    }
    const struct weir_shm_route_row *r = &t->route[route];
    *out = (struct weir_route_info){.provider = t->provider[r->provider].name,
                                    .name = r->name,
                                    .method = (enum weir_method)r->method,
                                    .priority = (enum weir_priority)r->priority,
                                    .limit_cnt = r->limit_cnt,
                                    .own_transport = (r->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0,
                                    .idempotent = (r->flags & WEIR_ROUTE_IDEMPOTENT) != 0,
                                    .timeout_ns = r->timeout_ns,
                                    .response_max_bytes = r->response_max_bytes};
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        out->limit[i] = r->limit[i];
        out->cost[i] = r->cost[i];
    }
    return WEIR_OK;
}

int weir_cost_at_age(struct weir *w, weir_route_id route, uint64_t born_ns, struct weir_cost *out,
                     uint64_t *cheaper_at_ns)
{
    int rc = enter(w);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_tables *t = &w->view.tables;
    if (out == NULL || route >= t->route_cnt) {
        return out == NULL ? WEIR_E_ARGUMENT : WEIR_E_ROUTE_UNKNOWN;
    }
    const struct weir_shm_route_row *row = &t->route[route];
    uint64_t now_ns = weir_clock_now(&w->view.time);
    uint64_t age_ns = now_ns > born_ns ? now_ns - born_ns : 0;
    uint64_t jitter_ns = t->provider[row->provider].jitter_ns;
    uint64_t cheaper_ns = weir_age_cheaper(row, age_ns, jitter_ns);
    *out = (struct weir_cost){.cnt = row->limit_cnt};
    memcpy(out->units, row->cost, sizeof out->units);
    if (row->age_cnt > 0) {
        out->units[row->age_slot] = weir_age_units(row, age_ns, jitter_ns);
    }
    if (cheaper_at_ns != NULL) {
        *cheaper_at_ns = cheaper_ns == UINT64_MAX ? UINT64_MAX : now_ns - age_ns + cheaper_ns;
    }
    return WEIR_OK;
}

int weir_server_time(struct weir *w, const char *provider, uint64_t *utc_ns, uint64_t *error_ns)
{
    if (provider == NULL || utc_ns == NULL || error_ns == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_tables *t = &w->view.tables;
    uint32_t p = 0;
    while (p < t->provider_cnt && strcmp(t->provider[p].name, provider) != 0) {
        p++;
    }
    if (p == t->provider_cnt) {
        return WEIR_E_SCOPE_UNKNOWN;
    }
    uint64_t seq;
    const struct weir_server_clock *clock = weir_permit_server_clock(&w->view, p, &seq);
    if (clock == NULL || clock->state != WEIR_CLOCK_KNOWN) {
        return WEIR_DENIED;
    }
    uint64_t now_ns = weir_now_ns(w);
    *utc_ns = now_ns + (uint64_t)clock->offset_ns;
    *error_ns = weir_server_clock_error_ns(clock, now_ns);
    return WEIR_OK;
}

const char *weir_strerror(int error)
{
    return weir_error_text(error);
}

const char *weir_hint(int error)
{
    return weir_error_hint(error);
}

const char *weir_reason_text(uint32_t reason)
{
    return weir_reason_name(reason);
}

const char *weir_result_text(uint32_t result)
{
    return weir_result_name(result);
}

const char *weir_version(void)
{
    return WEIR_VERSION;
}
