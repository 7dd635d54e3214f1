#include "broker/tables_follow.h"

#include "shm/weir_concurrency.h"
#include "shm/weir_sliding.h"
#include "shm/weir_tables.h"
#include "shm/weir_window.h"

#include <stdio.h>
#include <string.h>

#define RESTART "stop weird and start it to change that; what was used is remembered"

/* What is compared, and where to say what differs. */
struct pair {
    const struct weir_shm_tables *was;
    struct weir_shm_tables *next;
    char *text;
    size_t text_bytes;
};

static int refuse(const struct pair *p, const char *what, const char *name, const char *how)
{
    (void)snprintf(p->text, p->text_bytes, "%s%s%.64s %s: " RESTART, what,
                   name[0] != '\0' ? " " : "", name, how);
    return WEIR_E_ARGUMENT;
}

static int refuse_number(const struct pair *p, const char *name, const char *what, uint64_t was,
                         uint64_t is, const char *why)
{
    char how[256];
    (void)snprintf(how, sizeof how, "has %s %llu, it had %llu: %s", what, (unsigned long long)is,
                   (unsigned long long)was, why);
    return refuse(p, "limit", name, how);
}

static const void *row_of(const struct weir_shm_tables *block, uint32_t off_bytes, size_t bytes,
                          uint32_t i)
{
    return (const char *)block + off_bytes + i * bytes;
}

/* ---------------------------------------------------------------------------------------------- names and places */

/* The rows of one sort: as many, and each with the name that it had. A row begins with its name at `name_off_bytes`. */
static int names_same(const struct pair *p, const char *what, uint32_t was_cnt, uint32_t next_cnt,
                      uint32_t was_off, uint32_t next_off, size_t row_bytes, size_t name_off_bytes)
{
    uint32_t cnt = was_cnt < next_cnt ? was_cnt : next_cnt;
    for (uint32_t i = 0; i < cnt; i++) {
        const char *old = (const char *)row_of(p->was, was_off, row_bytes, i) + name_off_bytes;
        const char *new = (const char *)row_of(p->next, next_off, row_bytes, i) + name_off_bytes;
        if (strncmp(old, new, WEIR_NAME_BYTES) != 0) {
            char how[128];
            (void)snprintf(how, sizeof how,
                           "stands where %.31s was: programs that run know it by its place", old);
            return refuse(p, what, new, how);
        }
    }
    if (was_cnt != next_cnt) {
        bool more = next_cnt > was_cnt;
        const char *name = (more ? (const char *)row_of(p->next, next_off, row_bytes, cnt)
                                 : (const char *)row_of(p->was, was_off, row_bytes, cnt)) +
                           name_off_bytes;
        return refuse(p, what, name,
                      more ? "is new: the memory that is shared has no room for it"
                           : "is missing: programs that run may still use it");
    }
    return WEIR_OK;
}
#define NAMES_SAME(p, what, cnt, off, type)                                           \
    names_same(p, what, (p)->was->cnt, (p)->next->cnt, (p)->was->off, (p)->next->off, \
               sizeof(struct type), offsetof(struct type, name))

static int providers_same(const struct pair *p)
{
    for (uint32_t i = 0; i < p->was->provider_cnt; i++) {
        const struct weir_shm_provider_row *old = &tables_providers(p->was)[i];
        const struct weir_shm_provider_row *new = &tables_providers(p->next)[i];
        if (old->limit_first != new->limit_first || old->limit_cnt != new->limit_cnt ||
            old->route_first != new->route_first || old->route_cnt != new->route_cnt ||
            old->endpoint_first != new->endpoint_first || old->endpoint_cnt != new->endpoint_cnt ||
            old->member_first != new->member_first || old->member_cnt != new->member_cnt ||
            old->hold_first != new->hold_first || old->hold_kind != new->hold_kind ||
            memcmp(old->scope_cnt, new->scope_cnt, sizeof old->scope_cnt) != 0) {
            return refuse(
                p, "provider", new->name,
                "has other limits, routes, endpoints, scope values or members of a pool than it "
                "had, or another throttle.scope");
        }
        if (new->jitter_ns < old->jitter_ns) {
            return refuse(p, "provider", new->name,
                          "has a lower clock.max_jitter than it had: what was permitted before may "
                          "still be so late");
        }
    }
    for (uint32_t i = 0; i < p->was->scope_cnt; i++) {
        const struct weir_shm_scope_row *old =
            row_of(p->was, p->was->scope_off_bytes, sizeof *old, i);
        const struct weir_shm_scope_row *new =
            row_of(p->next, p->next->scope_off_bytes, sizeof *new, i);
        if (old->provider != new->provider || old->kind != new->kind || old->value != new->value) {
            return refuse(p, "scope value", new->name, "stands at another place");
        }
    }
    if (p->was->member_cnt != p->next->member_cnt ||
        (p->was->member_cnt > 0 &&
         memcmp(row_of(p->was, p->was->member_off_bytes, sizeof(struct weir_shm_member_row), 0),
                row_of(p->next, p->next->member_off_bytes, sizeof(struct weir_shm_member_row), 0),
                p->was->member_cnt * sizeof(struct weir_shm_member_row)) != 0)) {
        return refuse(p, "provider", tables_providers(p->was)[0].name,
                      "or one behind it has another pool: each member has its place");
    }
    return WEIR_OK;
}

/* Which limits a call takes from may grow or shrink at the end: programs say units by place in that list. */
static int routes_same(const struct pair *p)
{
    for (uint32_t i = 0; i < p->was->route_cnt; i++) {
        const struct weir_shm_route_row *old =
            row_of(p->was, p->was->route_off_bytes, sizeof *old, i);
        const struct weir_shm_route_row *new =
            row_of(p->next, p->next->route_off_bytes, sizeof *new, i);
        uint32_t cnt = old->limit_cnt < new->limit_cnt ? old->limit_cnt : new->limit_cnt;
        if (memcmp(old->limit, new->limit, cnt * sizeof old->limit[0]) != 0) {
            return refuse(
                p, "route", new->name,
                "takes from its limits in another order: programs say costs by that order");
        }
    }
    return WEIR_OK;
}

/* ---------------------------------------------------------------------------------------------- limits */

static int cells_follow(const struct pair *p, const struct weir_shm_limit_row *old,
                        struct weir_shm_limit_row *new)
{
    if (new->cell_cnt > old->cell_stride) {
        return refuse_number(p, new->name, "cells", old->cell_cnt, new->cell_cnt,
                             "so many were not set aside for it");
    }
    new->cell_first = old->cell_first;
    new->cell_stride = old->cell_stride;
    if (new->kind == WEIR_LIMIT_CONCURRENCY &&new->cell_cnt < old->cell_cnt) {
        return refuse_number(p, new->name, "quota", old->quota, new->quota,
                             "nobody who holds a unit can be told to let it go");
    }
    if (new->kind == WEIR_LIMIT_CONCURRENCY) {
        new->ahead_peak_ns = weir_units_ahead_peak(new, old);
    }
    if (new->form == WEIR_FORM_PARTS &&new->span_ns != old->span_ns) {
        return refuse(
            p, "limit", new->name,
            "counts in parts of its window, which cannot change (nor max_jitter with it)");
    }
    return WEIR_OK;
}

static int limit_follow(const struct pair *p, const struct weir_shm_limit_row *old,
                        struct weir_shm_limit_row *new)
{
    if (old->kind != new->kind || old->form != new->form) {
        return refuse(p, "limit", new->name, "counts in another way (kind, or cells for parts)");
    }
    if (old->scope_kind != new->scope_kind || old->word_first != new->word_first ||
        old->word_cnt != new->word_cnt || old->value_first != new->value_first) {
        return refuse(p, "limit", new->name, "has another scope");
    }
    bool kept = old->ceiling_step != 0;
    if (kept != (new->ceiling_step != 0)) {
        return refuse(p, "limit", new->name,
                      "counts for more than 10 min, or does not any more: it is remembered on disk "
                      "by that");
    }
    bool other_rate = new->kind == WEIR_LIMIT_TOKEN_BUCKET &&
                      (old->unit_ns != new->unit_ns || old->quota != new->quota);
    if (kept && (other_rate || old->shape != new->shape || old->span_ns != new->span_ns)) {
        return refuse(p, "limit", new->name,
                      "is remembered on disk, which tells windows and rates by what they are");
    }
    uint32_t peak = weir_limit_peak(old);
    new->quota_peak =
        peak > new->quota ? peak : 0; /* 0 as at the start: the same tables are the same bytes */
    if (new->kind ==
        WEIR_LIMIT_TOKEN_BUCKET &&new->unit_ns > (UINT64_C(1) << 61) / weir_limit_peak(new)) {
        return refuse_number(p, new->name, "ns for a unit", old->unit_ns, new->unit_ns,
                             "too slow for the burst that it once had");
    }
    return cells_follow(p, old, new);
}

static int limits_follow(const struct pair *p)
{
    for (uint32_t i = 0; i < p->was->limit_cnt; i++) {
        char *at = (char *)p->next + p->next->limit_off_bytes;
        int rc = limit_follow(p, &tables_limits(p->was)[i], &((struct weir_shm_limit_row *)at)[i]);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

uint32_t tables_cell_cnt(const struct weir_shm_tables *block)
{
    uint32_t cnt = 1; /* a section is never empty */
    for (uint32_t i = 0; i < block->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &tables_limits(block)[i];
        uint32_t end = l->cell_first + l->word_cnt * l->cell_stride;
        cnt = end > cnt ? end : cnt;
    }
    return cnt;
}

int tables_follow(const struct weir_shm_tables *was, struct weir_shm_tables *next, char *text,
                  size_t text_bytes)
{
    const struct pair p = {was, next, text, text_bytes};
    int rc = NAMES_SAME(&p, "provider", provider_cnt, provider_off_bytes, weir_shm_provider_row);
    rc = rc != WEIR_OK ? rc
                       : NAMES_SAME(&p, "limit", limit_cnt, limit_off_bytes, weir_shm_limit_row);
    rc = rc != WEIR_OK ? rc
                       : NAMES_SAME(&p, "route", route_cnt, route_off_bytes, weir_shm_route_row);
    rc = rc != WEIR_OK
             ? rc
             : NAMES_SAME(&p, "endpoint", endpoint_cnt, endpoint_off_bytes, weir_shm_endpoint_row);
    rc = rc != WEIR_OK
             ? rc
             : NAMES_SAME(&p, "scope value", scope_cnt, scope_off_bytes, weir_shm_scope_row);
    rc = rc != WEIR_OK ? rc : providers_same(&p);
    rc = rc != WEIR_OK ? rc : routes_same(&p);
    rc = rc != WEIR_OK ? rc : limits_follow(&p);
    if (rc == WEIR_OK) {
        next->generation = was->generation + 1;
        next->checksum = weir_tables_checksum(next);
    }
    return rc;
}
