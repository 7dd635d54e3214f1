#include "weir_tables.h"

#include "weir_concurrency.h"
#include "weir_member.h"
#include "weir_share.h"
#include "weir_sliding.h"
#include "weir_window.h"

#include <string.h>
#include <xxhash.h>

uint64_t weir_tables_checksum(const struct weir_shm_tables *block)
{
    const char *from = (const char *)block + sizeof block->checksum;
    return XXH3_64bits(from, block->used_bytes - sizeof block->checksum);
}

/* Does [off, off + cnt * size) lie inside the used bytes, behind the block's own header, on the type's alignment? */
static bool rows_fit(uint32_t used, uint32_t off, uint32_t cnt, size_t size, size_t align)
{
    return off >= sizeof(struct weir_shm_tables) && off <= used && off % align == 0 &&
           cnt <= (used - off) / size;
}
#define ROWS_FIT(used, off, cnt, type) \
    rows_fit(used, off, cnt, sizeof(struct type), _Alignof(struct type))

static bool name_ok(const char *name)
{
    return memchr(name, '\0', WEIR_NAME_BYTES) != NULL;
}

/* What the arithmetic of the kinds leans on: exact inverse (its loop is bounded by it), no class above the one before it. */
static bool bucket_ok(const struct weir_shm_limit_row *l)
{
    if (l->unit_ns == 0 || l->unit_ns > (UINT64_C(1) << 61) / weir_limit_peak(l) ||
        l->form != WEIR_FORM_NONE) {
        return false;
    }
    uint64_t above_ns = l->quota * l->unit_ns;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        if (l->tolerance_ns[c] > above_ns) {
            return false;
        }
        above_ns = l->tolerance_ns[c];
    }
    return true;
}

/* The edges of a calendar lie inside the block, behind the rows, and in order. */
static bool calendar_ok(const struct weir_shm_limit_row *l, const char *block, uint32_t used)
{
    if (l->calendar_cnt == 0) {
        return true;
    }
    uint64_t off = (uint64_t)((const char *)l - block) + l->calendar_off_bytes;
    if (l->calendar_cnt < 2 || off % sizeof(uint64_t) != 0 || off > used ||
        l->calendar_cnt > (used - off) / sizeof(uint64_t)) {
        return false;
    }
    const uint64_t *edge = weir_window_calendar(l);
    for (uint32_t i = 1; i < l->calendar_cnt; i++) {
        if (edge[i] <= edge[i - 1] || edge[i] - edge[i - 1] < l->window_ns) {
            return false;
        }
    }
    return true;
}

static bool window_ok(const struct weir_shm_limit_row *l, const char *block, uint32_t used)
{
    return l->window_inverse == weir_window_inverse(l->window_ns) &&
           l->quota_unaligned <= l->quota && l->window_ns <= (UINT64_C(1) << 61) &&
           l->form == WEIR_FORM_NONE && calendar_ok(l, block, used);
}

static bool cells_ok(const struct weir_shm_limit_row *l, uint32_t cell_cnt)
{
    return l->cell_cnt > 0 && l->cell_cnt <= l->cell_stride && l->cell_first <= cell_cnt &&
           (uint64_t)l->cell_stride * l->word_cnt <= cell_cnt - l->cell_first &&
           l->span_ns <= (UINT64_C(1) << 61);
}

static bool sliding_ok(const struct weir_shm_limit_row *l, uint32_t cell_cnt)
{
    bool parts = l->form == WEIR_FORM_PARTS && l->cell_cnt == WEIR_SLIDING_WORDS &&
                 l->part_ns > 1 && l->part_ns >= l->span_ns / WEIR_SLIDING_PARTS &&
                 l->part_inverse == weir_window_inverse(l->part_ns);
    bool cells = l->form == WEIR_FORM_CELLS && l->cell_cnt == l->quota &&
                 l->cell_cnt <= WEIR_SLIDING_CELLS_MAX;
    return (parts || cells) && cells_ok(l, cell_cnt) && l->span_ns >= l->window_ns;
}

static bool units_ok(const struct weir_shm_limit_row *l, uint32_t cell_cnt)
{
    return l->form == WEIR_FORM_UNITS && l->cell_cnt == l->quota &&
           l->cell_cnt <= WEIR_CONCURRENCY_UNITS_MAX && l->ahead_ns <= (UINT64_C(1) << 61) &&
           l->ahead_peak_ns <= (UINT64_C(1) << 61) && cells_ok(l, cell_cnt);
}

/* Shares lie inside the block, behind the rows; each has its words. Their parts are at most the whole, which weir_share.h leans on. */
static bool shares_ok(const struct weir_shm_limit_row *l, const struct weir_tables_bounds *bounds,
                      const char *block, uint32_t used)
{
    uint64_t off = (uint64_t)((const char *)l - block) + l->share_off_bytes;
    uint64_t sum_ppm = 0;
    if (l->share_cnt == 0) {
        return true;
    }
    if (l->form != WEIR_FORM_NONE || l->share_cnt > WEIR_SHARES_MAX ||
        off % _Alignof(struct weir_shm_share_row) != 0 || off > used ||
        l->share_cnt > (used - off) / sizeof(struct weir_shm_share_row) ||
        l->cell_cnt != l->share_cnt * WEIR_SHARE_CELLS || !cells_ok(l, bounds->cell_cnt)) {
        return false;
    }
    const struct weir_shm_share_row *entry = weir_share_rows(l);
    for (uint32_t e = 0; e < l->share_cnt; e++) {
        sum_ppm += entry[e].part_ppm;
        if (entry[e].kind < WEIR_SHARE_CLIENT || entry[e].kind > WEIR_SHARE_CLASS ||
            entry[e].part_ppm == 0 || entry[e].priority >= WEIR_PRIORITY_CNT ||
            !name_ok(entry[e].name)) {
            return false;
        }
    }
    return sum_ppm <= 1000000;
}

static bool kind_ok(const struct weir_shm_limit_row *l, const struct weir_tables_bounds *bounds,
                    const char *block, uint32_t used)
{
    switch ((enum weir_limit_kind)l->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return bucket_ok(l);
    case WEIR_LIMIT_FIXED_WINDOW:
        return window_ok(l, block, used);
    case WEIR_LIMIT_SLIDING_WINDOW:
        return sliding_ok(l, bounds->cell_cnt);
    case WEIR_LIMIT_CONCURRENCY:
        return units_ok(l, bounds->cell_cnt);
    case WEIR_LIMIT_UNSET:
        break;
    }
    return false;
}

static bool limit_ok(const struct weir_shm_limit_row *l, const struct weir_tables *t,
                     const struct weir_tables_bounds *bounds, const char *block, uint32_t used)
{
    return l->provider < t->provider_cnt && l->word_cnt > 0 && l->word_first < bounds->word_cnt &&
           l->word_cnt <= bounds->word_cnt - l->word_first && l->quota > 0 && l->window_ns > 1 &&
           kind_ok(l, bounds, block, used) && shares_ok(l, bounds, block, used) &&
           l->scope_shift <= 48 && l->scope_shift % 16 == 0 && name_ok(l->name) &&
           l->value_first < l->word_cnt;
}

static bool route_ok(const struct weir_shm_route_row *r, const struct weir_tables *t)
{
    if (r->provider >= t->provider_cnt || r->limit_cnt > WEIR_PERMIT_LIMITS_MAX ||
        !name_ok(r->name)) {
        return false;
    }
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        if (r->limit[i] >= t->limit_cnt || t->limit[r->limit[i]].provider != r->provider) {
            return false;
        }
        uint32_t kind = t->limit[r->limit[i]].kind;
        if (kind == WEIR_LIMIT_FIXED_WINDOW && (r->flags & WEIR_ROUTE_NEEDS_CLOCK) == 0) {
            return false; /* a permit would look for a clock that it has not read */
        }
        if (t->limit[r->limit[i]].form != WEIR_FORM_NONE && (r->flags & WEIR_ROUTE_IN_CELLS) == 0) {
            return false; /* ... or take cells that bear no owner */
        }
        if (t->limit[r->limit[i]].share_cnt > 0 && (r->flags & WEIR_ROUTE_SHARED) == 0) {
            return false; /* ... or pass by what is kept */
        }
    }
    for (uint32_t i = 0; i < r->age_cnt; i++) {
        if (r->age_cnt > WEIR_AGE_BRACKETS_MAX || r->age_slot >= r->limit_cnt) {
            return false;
        }
    }
    return r->priority < WEIR_PRIORITY_CNT;
}

/* Its pool, and the lines of those whom a stop may be about. */
static bool apart_ok(const struct weir_tables *t, const struct weir_shm_provider_row *p,
                     const struct weir_tables_bounds *bounds)
{
    if (p->member_first > t->member_cnt || p->member_cnt > t->member_cnt - p->member_first ||
        p->member_cnt > WEIR_MEMBERS_MAX || p->hold_kind > WEIR_SCOPE_KIND_CNT) {
        return false;
    }
    uint32_t values = p->hold_kind != 0 ? p->scope_cnt[p->hold_kind - 1] : 1;
    return values <= 1 || (p->hold_first >= t->provider_cnt && p->hold_first <= bounds->hold_cnt &&
                           values - 1 <= bounds->hold_cnt - p->hold_first);
}

static bool rows_ok(const struct weir_tables *t, const struct weir_tables_bounds *bounds,
                    const char *block, uint32_t used)
{
    for (uint32_t i = 0; i < t->provider_cnt; i++) {
        const struct weir_shm_provider_row *p = &t->provider[i];
        if (!name_ok(p->name) || p->limit_first > t->limit_cnt ||
            p->limit_cnt > t->limit_cnt - p->limit_first || p->route_first > t->route_cnt ||
            p->route_cnt > t->route_cnt - p->route_first || p->endpoint_first > t->endpoint_cnt ||
            p->endpoint_cnt > t->endpoint_cnt - p->endpoint_first || !apart_ok(t, p, bounds)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        if (!limit_ok(&t->limit[i], t, bounds, block, used)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < t->route_cnt; i++) {
        if (!route_ok(&t->route[i], t)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < t->endpoint_cnt; i++) {
        if (t->endpoint[i].provider >= t->provider_cnt || !name_ok(t->endpoint[i].name) ||
            memchr(t->endpoint[i].host, '\0', sizeof t->endpoint[i].host) == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        if (t->scope[i].provider >= t->provider_cnt || t->scope[i].kind >= WEIR_SCOPE_KIND_CNT ||
            t->scope[i].value > UINT16_MAX || !name_ok(t->scope[i].name)) {
            return false;
        }
    }
    return true;
}

int weir_tables_resolve(struct weir_tables *tables, uint64_t gate_word, const void *base,
                        uint32_t block_cnt, uint64_t stride_bytes,
                        const struct weir_tables_bounds *bounds)
{
    uint32_t index = (uint32_t)gate_word;
    if (gate_word == 0 || index >= block_cnt) {
        return WEIR_E_CORRUPT;
    }
    const char *at = (const char *)base + index * stride_bytes;
    const struct weir_shm_tables *b = (const void *)at;
    uint32_t used = b->used_bytes;
    if (used < sizeof *b || used > stride_bytes || b->provider_cnt > bounds->provider_cnt ||
        b->limit_cnt > bounds->limit_cnt || b->route_cnt > bounds->route_cnt ||
        b->endpoint_cnt > bounds->endpoint_cnt ||
        !ROWS_FIT(used, b->provider_off_bytes, b->provider_cnt, weir_shm_provider_row) ||
        !ROWS_FIT(used, b->limit_off_bytes, b->limit_cnt, weir_shm_limit_row) ||
        !ROWS_FIT(used, b->route_off_bytes, b->route_cnt, weir_shm_route_row) ||
        !ROWS_FIT(used, b->endpoint_off_bytes, b->endpoint_cnt, weir_shm_endpoint_row) ||
        !ROWS_FIT(used, b->scope_off_bytes, b->scope_cnt, weir_shm_scope_row) ||
        !ROWS_FIT(used, b->member_off_bytes, b->member_cnt, weir_shm_member_row) ||
        weir_tables_checksum(b) != b->checksum) {
        return WEIR_E_CORRUPT;
    }
    struct weir_tables t = {
        .word = gate_word,
        .provider_cnt = b->provider_cnt,
        .limit_cnt = b->limit_cnt,
        .route_cnt = b->route_cnt,
        .endpoint_cnt = b->endpoint_cnt,
        .scope_cnt = b->scope_cnt,
        .member_cnt = b->member_cnt,
        .provider = (const void *)(at + b->provider_off_bytes),
        .limit = (const void *)(at + b->limit_off_bytes),
        .route = (const void *)(at + b->route_off_bytes),
        .endpoint = (const void *)(at + b->endpoint_off_bytes),
        .scope = (const void *)(at + b->scope_off_bytes),
        .member = (const void *)(at + b->member_off_bytes),
    };
    if (!rows_ok(&t, bounds, at, used)) {
        return WEIR_E_CORRUPT;
    }
    *tables = t;
    return WEIR_OK;
}

/* Split "provider.rest" and find the provider. Returns its row or NULL; `*rest` points behind the dot. */
static const struct weir_shm_provider_row *provider_of(const struct weir_tables *t,
                                                       const char *name, const char **rest)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL) {
        return NULL;
    }
    size_t bytes = (size_t)(dot - name);
    for (uint32_t i = 0; i < t->provider_cnt; i++) {
        if (strlen(t->provider[i].name) == bytes && memcmp(t->provider[i].name, name, bytes) == 0) {
            *rest = dot + 1;
            return &t->provider[i];
        }
    }
    return NULL;
}

int weir_tables_route_find(const struct weir_tables *tables, const char *name, weir_route_id *out)
{
    if (strcmp(name, "weir.nop") == 0) {
        *out = WEIR_ROUTE_NOP;
        return WEIR_OK;
    }
    const char *rest;
    const struct weir_shm_provider_row *p = provider_of(tables, name, &rest);
    for (uint32_t i = 0; p != NULL && i < p->route_cnt; i++) {
        if (strcmp(tables->route[p->route_first + i].name, rest) == 0) {
            *out = p->route_first + i;
            return WEIR_OK;
        }
    }
    return WEIR_E_ROUTE_UNKNOWN;
}

int weir_tables_limit_find(const struct weir_tables *tables, const char *name, uint32_t *out)
{
    const char *rest;
    const struct weir_shm_provider_row *p = provider_of(tables, name, &rest);
    for (uint32_t i = 0; p != NULL && i < p->limit_cnt; i++) {
        if (strcmp(tables->limit[p->limit_first + i].name, rest) == 0) {
            *out = p->limit_first + i;
            return WEIR_OK;
        }
    }
    return WEIR_E_LIMIT_UNKNOWN;
}

const char *weir_scope_kind_name(unsigned kind)
{
    static const char *const names[WEIR_SCOPE_KIND_CNT] = {"ip", "key", "account", "instrument"};
    return kind < WEIR_SCOPE_KIND_CNT ? names[kind] : "?";
}

/* One "kind=value" of `bytes` bytes. */
static int scope_part(const struct weir_tables *t, uint32_t provider, const char *part,
                      size_t bytes, weir_scope_id *id)
{
    const char *eq = memchr(part, '=', bytes);
    if (eq == NULL) {
        return WEIR_E_ARGUMENT;
    }
    size_t kind_bytes = (size_t)(eq - part);
    size_t value_bytes = bytes - kind_bytes - 1;
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        const struct weir_shm_scope_row *s = &t->scope[i];
        const char *kind = weir_scope_kind_name(s->kind);
        if (s->provider == provider && strlen(kind) == kind_bytes &&
            memcmp(kind, part, kind_bytes) == 0 && strlen(s->name) == value_bytes &&
            memcmp(s->name, eq + 1, value_bytes) == 0) {
            *id = (*id & ~(UINT64_C(0xffff) << (16 * s->kind))) | (uint64_t)s->value
                                                                      << (16 * s->kind);
            return WEIR_OK;
        }
    }
    return WEIR_E_SCOPE_UNKNOWN;
}

int weir_tables_scope_find(const struct weir_tables *tables, const char *provider,
                           const char *scope, weir_scope_id *out)
{
    uint32_t p = 0;
    while (p < tables->provider_cnt && strcmp(tables->provider[p].name, provider) != 0) {
        p++;
    }
    if (p == tables->provider_cnt) {
        return WEIR_E_SCOPE_UNKNOWN;
    }
    weir_scope_id id = WEIR_SCOPE_DEFAULT;
    while (*scope != '\0') {
        size_t bytes = strcspn(scope, ",");
        int rc = scope_part(tables, p, scope, bytes, &id);
        if (rc != WEIR_OK) {
            return rc;
        }
        scope += bytes;
        if (*scope == ',' && *++scope == '\0') {
            return WEIR_E_ARGUMENT; /* a comma with nothing behind it */
        }
    }
    *out = id;
    return WEIR_OK;
}
