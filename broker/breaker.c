#include "broker/breaker.h"

#include "shm/weir_weave.h"

#include <string.h>

bool breaker_is_failure(enum weir_call_class class)
{
    return class == WEIR_CLASS_TRANSPORT || class == WEIR_CLASS_SERVER ||
           class == WEIR_CLASS_TIMEOUT;
}

bool breaker_is_answer(enum weir_call_class class)
{
    return class == WEIR_CLASS_OK || class == WEIR_CLASS_BUSINESS;
}

static uint64_t slice_of(const struct breaker_rule *rule, uint64_t now_ns)
{
    return now_ns / weir_max_u64(1, rule->window_ns / WEIR_BREAKER_SLICES);
}

static void window_clear(struct weir_shm_breaker *b, uint64_t slice)
{
    memset(b->failed, 0, sizeof b->failed);
    memset(b->ended, 0, sizeof b->ended);
    b->slice = slice;
}

/* Empty the slices that have come since the last look. Ends: at most all of them. */
static void window_move(struct weir_shm_breaker *b, const struct breaker_rule *rule,
                        uint64_t now_ns)
{
    uint64_t slice = slice_of(rule, now_ns);
    if (slice <= b->slice) {
        return;
    }
    if (slice - b->slice >= WEIR_BREAKER_SLICES) {
        window_clear(b, slice);
        return;
    }
    while (b->slice < slice) {
        b->slice++;
        b->failed[b->slice % WEIR_BREAKER_SLICES] = 0;
        b->ended[b->slice % WEIR_BREAKER_SLICES] = 0;
    }
}

static void change(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns,
                   enum weir_breaker_state to)
{
    b->generation++;
    b->leased = 0;
    b->passed = 0;
    b->until_ns = to == WEIR_BREAKER_OPEN ? now_ns + rule->open_ns : 0;
    window_clear(b, slice_of(rule, now_ns));
    WEIR_WEAVE("breaker:cleared");
    b->state = to;
}

static void trip(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns,
                 enum weir_call_class class)
{
    b->cause = class;
    b->trips++;
    change(b, rule, now_ns, WEIR_BREAKER_OPEN);
}

static bool leases_over(const struct weir_shm_breaker *b, uint64_t now_ns)
{
    return b->leased > 0 && now_ns >= b->until_ns;
}

enum breaker_says breaker_ask(const struct weir_shm_breaker *b, const struct breaker_rule *rule,
                              uint64_t now_ns, uint64_t *earliest_ns)
{
    if (rule->failure_cnt == 0 || b->state == WEIR_BREAKER_CLOSED) {
        return BREAKER_PASS;
    }
    bool free_lease = b->state == WEIR_BREAKER_OPEN
                          ? now_ns >= b->until_ns
                          : b->leased + b->passed < rule->probe_cnt || leases_over(b, now_ns);
    if (free_lease) {
        return BREAKER_PROBE;
    }
    *earliest_ns = b->until_ns;
    return BREAKER_REFUSE;
}

struct breaker_ticket breaker_take(struct weir_shm_breaker *b, const struct breaker_rule *rule,
                                   uint64_t now_ns, uint64_t lease_until_ns)
{
    if (rule->failure_cnt == 0) {
        return (struct breaker_ticket){0};
    }
    if (b->state == WEIR_BREAKER_OPEN && now_ns >= b->until_ns) {
        change(b, rule, now_ns, WEIR_BREAKER_HALF_OPEN);
    }
    if (b->state != WEIR_BREAKER_HALF_OPEN) {
        return (struct breaker_ticket){.generation = b->generation, .held = true};
    }
    if (leases_over(b, now_ns)) { /* nobody knows what became of them: they say nothing any more */
        b->generation++;
        b->leased = 0;
    }
    uint64_t lease_ns = weir_min_u64(weir_max_u64(lease_until_ns, now_ns + WEIR_NS_PER_MS),
                                     now_ns + BREAKER_LEASE_MAX_NS);
    b->until_ns = b->leased == 0 ? lease_ns : weir_max_u64(b->until_ns, lease_ns);
    b->leased++;
    return (struct breaker_ticket){.generation = b->generation, .held = true, .probe = true};
}

static bool told_closed(struct weir_shm_breaker *b, const struct breaker_rule *rule,
                        uint64_t now_ns, enum weir_call_class class)
{
    uint64_t failed = 0;
    uint64_t ended = 0;
    window_move(b, rule, now_ns);
    b->ended[b->slice % WEIR_BREAKER_SLICES]++;
    b->failed[b->slice % WEIR_BREAKER_SLICES] += breaker_is_failure(class) ? 1U : 0U;
    for (uint32_t i = 0; i < WEIR_BREAKER_SLICES; i++) {
        failed += b->failed[i];
        ended += b->ended[i];
    }
    if (!breaker_is_failure(class) || failed < rule->failure_cnt ||
        failed * 1000000U < ended * rule->failed_ppm) {
        return false;
    }
    trip(b, rule, now_ns, class);
    return true;
}

static bool told_half_open(struct weir_shm_breaker *b, const struct breaker_rule *rule,
                           uint64_t now_ns, enum weir_call_class class)
{
    b->leased -= b->leased > 0 ? 1U : 0U;
    if (breaker_is_failure(class)) {
        trip(b, rule, now_ns, class);
        return true;
    }
    if (breaker_is_answer(class) && ++b->passed >= rule->probe_cnt) {
        change(b, rule, now_ns, WEIR_BREAKER_CLOSED);
        return true;
    }
    return false;
}

bool breaker_told(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns,
                  struct breaker_ticket *ticket, enum weir_call_class class)
{
    const struct breaker_ticket t = *ticket;
    *ticket = (struct breaker_ticket){0};
    if (rule->failure_cnt == 0 || !t.held || t.generation != b->generation) {
        return false;
    }
    if (b->state == WEIR_BREAKER_HALF_OPEN && t.probe) {
        return told_half_open(b, rule, now_ns, class);
    }
    if (b->state == WEIR_BREAKER_CLOSED &&
        (breaker_is_failure(class) || breaker_is_answer(class))) {
        return told_closed(b, rule, now_ns, class);
    }
    return false;
}

void breaker_restart(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns)
{
    uint32_t generation = b->generation + 1;
    uint64_t slice = slice_of(rule, now_ns);
    if (rule->failure_cnt == 0) {
        memset(b, 0, sizeof *b);
        b->generation = generation;
        return;
    }
    bool torn = false;
    for (uint32_t i = 0; i < WEIR_BREAKER_SLICES; i++) {
        torn = torn || b->failed[i] > b->ended[i];
    }
    if (torn || b->slice > slice) {
        window_clear(b, slice);
    }
    bool open = b->state == WEIR_BREAKER_OPEN;
    bool half_open = b->state == WEIR_BREAKER_HALF_OPEN && b->passed < rule->probe_cnt;
    if (!open && !half_open) {
        b->state = WEIR_BREAKER_CLOSED;
        b->passed = 0;
    }
    b->until_ns = open ? weir_min_u64(b->until_ns, now_ns + rule->open_ns) : 0;
    b->leased = 0;
    b->generation = generation;
}
