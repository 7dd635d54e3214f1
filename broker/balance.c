#include "broker/balance.h"

uint64_t balance_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The first candidate whose place is `next` or behind it, else the first of all: candidates come and go. */
static uint32_t turn_of(const struct balance_state *state, const struct balance_candidate *c,
                        uint32_t cnt)
{
    uint32_t i = 0;
    while (i < cnt && c[i].place < state->next) {
        i++;
    }
    return i < cnt ? i : 0;
}

static uint32_t round_robin(struct balance_state *state, const struct balance_candidate *c,
                            uint32_t cnt)
{
    uint32_t i = turn_of(state, c, cnt);
    state->next = c[i].place + 1;
    return i;
}

static uint32_t smooth(const struct balance_candidate *c, uint32_t cnt)
{
    int64_t sum = 0;
    uint32_t best = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        *c[i].current += c[i].weight;
        sum += c[i].weight;
        best = *c[i].current > *c[best].current ? i : best;
    }
    *c[best].current -= sum;
    return best;
}

static uint32_t least_latency(struct balance_state *state, const struct balance_candidate *c,
                              uint32_t cnt)
{
    uint32_t from = turn_of(state, c, cnt);
    uint32_t best = from;
    double least = -1.0;
    for (uint32_t k = 0; k < cnt; k++) {
        uint32_t i = (from + k) % cnt;
        /* Nothing known: 0 brings it its first call, and until that is answered it stands behind all others. */
        double load = c[i].latency_ns > 0.0 ? c[i].latency_ns * (c[i].in_flight + 1.0)
                      : c[i].in_flight == 0 ? 0.0
                                            : 1e18 * c[i].in_flight;
        load = load * 1000.0 / c[i].weight;
        if (least < 0.0 || load < least) {
            least = load;
            best = i;
        }
    }
    state->next = c[best].place + 1;
    return best;
}

static uint32_t least_connections(struct balance_state *state, const struct balance_candidate *c,
                                  uint32_t cnt)
{
    uint32_t from = turn_of(state, c, cnt);
    uint32_t best = from;
    for (uint32_t k = 1; k < cnt; k++) {
        uint32_t i = (from + k) % cnt;
        if ((uint64_t)c[i].in_flight * c[best].weight < (uint64_t)c[best].in_flight * c[i].weight) {
            best = i;
        }
    }
    state->next = c[best].place + 1;
    return best;
}

/* One at random by weight, leaving out `but` (cnt: nobody). */
static uint32_t draw(const struct balance_candidate *c, uint32_t cnt, uint32_t but,
                     uint64_t *random)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        sum += i != but ? c[i].weight : 0;
    }
    uint64_t at = (uint64_t)((unsigned __int128)balance_random(random) * sum >> 64);
    for (uint32_t i = 0; i < cnt; i++) {
        if (i == but) {
            continue;
        }
        if (at < c[i].weight) {
            return i;
        }
        at -= c[i].weight;
    }
    return but != 0 ? 0 : 1; /* not reached: `at` is below the sum */
}

static uint32_t two_choices(const struct balance_candidate *c, uint32_t cnt, uint64_t *random)
{
    uint32_t a = draw(c, cnt, cnt, random);
    uint32_t b = draw(c, cnt, a, random);
    uint64_t of_a = (uint64_t)c[a].score * (c[b].in_flight + UINT64_C(1));
    uint64_t of_b = (uint64_t)c[b].score * (c[a].in_flight + UINT64_C(1));
    return of_b > of_a ? b : a;
}

uint32_t balance_pick(enum weir_balance kind, struct balance_state *state,
                      const struct balance_candidate *c, uint32_t cnt, uint64_t *random)
{
    if (cnt == 1) {
        return 0;
    }
    switch (kind) {
    case WEIR_BALANCE_ROUND_ROBIN:
        return round_robin(state, c, cnt);
    case WEIR_BALANCE_WEIGHTED_ROUND_ROBIN:
        return smooth(c, cnt);
    case WEIR_BALANCE_LEAST_LATENCY:
        return least_latency(state, c, cnt);
    case WEIR_BALANCE_LEAST_CONNECTIONS:
        return least_connections(state, c, cnt);
    case WEIR_BALANCE_TWO_CHOICES:
        return two_choices(c, cnt, random);
    case WEIR_BALANCE_FAILOVER:
    case WEIR_BALANCE_UNSET:
        break;
    }
    return 0;
}
