#include "weir_audit.h"

#include "weir_atomic.h"
#include "weir_permit.h"
#include "weir_weave.h"

#include <string.h>

#define ENTRY_WORDS (sizeof(struct weir_shm_audit_entry) / sizeof(uint64_t))

bool weir_audit_open(struct weir_audit *audit, void *ring, uint64_t bytes)
{
    *audit = (struct weir_audit){0};
    if (ring == NULL || bytes <= sizeof(struct weir_shm_audit_ring)) {
        return false;
    }
    uint64_t cnt =
        (bytes - sizeof(struct weir_shm_audit_ring)) / sizeof(struct weir_shm_audit_entry);
    if (cnt == 0 || cnt > UINT32_MAX || (cnt & (cnt - 1)) != 0) {
        return false;
    }
    audit->ring = ring;
    audit->cnt = (uint32_t)cnt;
    /* relaxed: our own, or a thread's that has left before us (pair:threads) */
    audit->head = weir_load_relaxed_u64(&audit->ring->head);
    audit->taken = audit->head - cnt; /* look before the first entry */
    return true;
}

/* Is there room for one more? Looks at the worker's line only where the last look leaves none. */
static bool room(struct weir_audit *a)
{
    if (WEIR_LIKELY(a->head - a->taken < a->cnt)) {
        return true;
    }
    a->taken = weir_load_acquire_u64(&a->ring->taken); /* pair:audit_taken A */
    if (a->head - a->taken < a->cnt) {
        return true;
    }
    uint64_t *n = &a->ring->dropped;
    weir_store_relaxed_u64(n, weir_load_relaxed_u64(n) + 1); /* relaxed: own line; the worker
                                                                 finds it at its next look */
    return false;
}

static void put(struct weir_audit *a, const struct weir_shm_audit_entry *entry)
{
    uint64_t word[ENTRY_WORDS];
    uint64_t *to = (void *)&weir_audit_entries(a->ring)[a->head & (a->cnt - 1)];
    memcpy(word, entry, sizeof word);
    for (size_t i = 0; i < ENTRY_WORDS; i++) {
        weir_store_relaxed_u64(&to[i], word[i]); /* relaxed: published below */
    }
    WEIR_WEAVE("audit:filled");
    weir_store_release_u64(&a->ring->head, ++a->head); /* pair:audit R */
    WEIR_WEAVE("audit:published");
}

/* What all entries about a permit say. The scope is that of its charges: a limit's words lie side by side. */
static struct weir_shm_audit_entry about(const struct weir_permit_view *view,
                                         const struct weir_permit *permit)
{
    struct weir_shm_audit_entry e = {.at_ns = permit->granted_at_ns,
                                     .granted_at_ns = permit->granted_at_ns,
                                     .route = (uint16_t)permit->route,
                                     .generation = permit->tables_generation,
                                     .priority = permit->priority,
                                     .unit_cnt = (uint8_t)permit->charge_cnt,
                                     .client = view->audit.client};
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        const struct weir_shm_limit_row *row = &view->tables.limit[c->limit];
        e.scope |= (uint64_t)(c->word - row->word_first) << row->scope_shift;
    }
    return e;
}

void weir_audit_granted(struct weir_permit_view *view, const struct weir_permit *permit)
{
    if (room(&view->audit)) {
        struct weir_shm_audit_entry e = about(view, permit);
        e.kind = WEIR_AUDIT_GRANTED;
        for (uint32_t i = 0; i < permit->charge_cnt; i++) {
            e.units[i] = (int32_t)weir_min_u64(permit->charge[i].units, INT32_MAX);
        }
        put(&view->audit, &e);
    }
}

void weir_audit_corrected(struct weir_permit_view *view, const struct weir_permit *permit,
                          bool made, const struct weir_cost *units, uint64_t now_ns)
{
    struct weir_shm_audit_entry e = about(view, permit);
    uint32_t any = 0;
    e.at_ns = now_ns;
    e.kind = made ? WEIR_AUDIT_SETTLED : WEIR_AUDIT_GIVEN_BACK;
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        int64_t was = permit->charge[i].units;
        int64_t is = !made ? 0 : units != NULL ? units->units[i] : was;
        int64_t more = is - was;
        e.units[i] = more > INT32_MAX ? INT32_MAX : more < INT32_MIN ? INT32_MIN : (int32_t)more;
        any |= (uint32_t)e.units[i];
    }
    if (any != 0 && room(&view->audit)) {
        put(&view->audit, &e);
    }
}
