/*
 * follow.c: may a call wait for another one of its key (coalesce.c)? Looks, and changes nothing.
 *
 * What holds the first one up has to hold up the other one as well. Else one account's spent limit, one caller's patience or one silent endpoint would stop callers whom it does not concern.
 */
#include "broker/batch.h"
#include "broker/worker.h"
#include "shm/weir_hold.h"

#include <string.h>

/* How often those who wait look whether what they wait for still speaks. */
#define STALL_LOOK_NS (20 * WEIR_NS_PER_MS)

bool follow_same_refusal(const struct worker *w, const struct call *lead, const struct call *c)
{
    const struct weir_tables *t = &w->shared.tables;
    uint32_t of_lead;
    uint32_t of_c;
    if (lead->units.cnt != c->units.cnt ||
        memcmp(lead->units.units, c->units.units, c->units.cnt * sizeof c->units.units[0]) != 0) {
        return false;
    }
    if (lead->denial.reason == WEIR_REASON_SHARE && lead->client != c->client) {
        return false;
    }
    if (lead->request.scope == c->request.scope) {
        return true;
    }
    if (lead->denial.reason == WEIR_REASON_PAUSED || lead->denial.reason == WEIR_REASON_REOPENING) {
        const struct weir_shm_route_row *row = &t->route[c->route];
        return weir_hold_place(t, row, lead->request.scope) ==
               weir_hold_place(t, row, c->request.scope);
    }
    return lead->denial.limit >= t->limit_cnt ||
           (weir_permit_word(&w->shared, lead->denial.limit, lead->request.scope, &of_lead) !=
                NULL &&
            weir_permit_word(&w->shared, lead->denial.limit, c->request.scope, &of_c) != NULL &&
            of_lead == of_c);
}

bool follow_is_stalled(struct worker *w, const struct call *lead)
{
    return lead->stage == CALL_RUNNING && lead->owed && lead->hedge == NULL && lead->pin == NULL &&
           worker_now(w) >= endpoint_suspect_ns(lead->endpoint) && endpoint_sound(w, lead);
}

bool follow_is_batched(const struct call *c)
{
    return c->lead->batch != NULL && c->route != c->lead->route;
}

/* Its batch was made, and owes its answer at an instant when a call of its own is still worth while. */
static bool is_batch_late(const struct worker *w, const struct call *c)
{
    enum call_stage stage = c->lead->stage;
    bool made = stage == CALL_RUNNING || stage == CALL_HEDGED || stage == CALL_LATER;
    return made && follow_is_batched(c) && c->client != NULL && w->now_ns >= c->due_ns;
}

bool follow_is_held_up(struct worker *w, const struct call *c)
{
    return is_batch_late(w, c) || follow_is_stalled(w, c->lead);
}

uint64_t follow_look_ns(const struct worker *w, const struct call *c)
{
    bool others = w->provider[w->route[c->lead->route].provider].endpoint_cnt > 1;
    uint64_t soon_ns = w->now_ns + STALL_LOOK_NS;
    uint64_t at_ns = others ? soon_ns : c->deadline_ns;
    if (follow_is_batched(c)) { /* or it is not made yet: then in a while */
        at_ns = weir_min_u64(at_ns, weir_max_u64(c->due_ns, soon_ns));
    }
    return weir_min_u64(at_ns, c->deadline_ns);
}

bool follow_may(struct worker *w, const struct call *lead, const struct call *c)
{
    if (lead->stage == CALL_RUNNING || lead->stage == CALL_HEDGED) {
        return !follow_is_stalled(w, lead);
    }
    if (lead->priority > c->priority) {
        return false;
    }
    if (lead->stage == CALL_LATER) {
        return lead->due_ns < c->deadline_ns;
    }
    return lead->stage != CALL_QUEUED || lead->denial.reason == WEIR_REASON_NONE ||
           (follow_same_refusal(w, lead, c) && lead->denial.earliest_ns <= c->deadline_ns);
}
