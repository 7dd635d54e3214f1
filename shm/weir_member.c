#include "weir_member.h"

#include "weir_limit.h"
#include "weir_permit.h"
#include "weir_tables.h"

#include <stdio.h>

#define ADDRESS_KINDS (1U << WEIR_SCOPE_IP)

static uint32_t value_at(weir_scope_id scope, unsigned kind)
{
    return (uint32_t)(scope >> (16 * kind)) & 0xffffU;
}

static enum weir_member_half half_of(const struct weir_shm_member_row *m)
{
    return m->kinds == ADDRESS_KINDS ? WEIR_MEMBER_ADDRESS : WEIR_MEMBER_KEY;
}

static uint32_t address_cnt(const struct weir_tables *t, const struct weir_shm_provider_row *p)
{
    uint32_t n = 0;
    while (n < p->member_cnt && half_of(&t->member[p->member_first + n]) == WEIR_MEMBER_ADDRESS) {
        n++;
    }
    return n;
}

/* Put the values of a member where `scope` has none. */
static weir_scope_id filled(weir_scope_id scope, const struct weir_shm_member_row *m)
{
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        if ((m->kinds >> k & 1U) != 0 && value_at(scope, k) == 0) {
            scope |= (weir_scope_id)value_at(m->scope, k) << (16 * k);
        }
    }
    return scope;
}

weir_scope_id weir_member_scope(const struct weir_tables *tables, uint32_t provider,
                                weir_scope_id asked, weir_member_pair pair)
{
    const struct weir_shm_provider_row *p = &tables->provider[provider];
    for (unsigned h = 0; h < 2; h++) {
        uint32_t n = weir_member_of(pair, (enum weir_member_half)h);
        if (n > 0 && n <= p->member_cnt) {
            asked = filled(asked, &tables->member[p->member_first + n - 1]);
        }
    }
    return asked;
}

/* Does what the call names agree with this member? */
static bool agrees(const struct weir_shm_member_row *m, weir_scope_id asked)
{
    bool same = true;
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        uint32_t named = value_at(asked, k);
        same = same && ((m->kinds >> k & 1U) == 0 || named == 0 || named == value_at(m->scope, k));
    }
    return same;
}

/* Of the kinds that the members of a half name: does the call name one, and does it leave one open? */
static void named_of(uint32_t kinds, weir_scope_id asked, bool *some, bool *all)
{
    *some = false;
    *all = true;
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        bool named = value_at(asked, k) != 0;
        *some = *some || ((kinds >> k & 1U) != 0 && named);
        *all = *all && ((kinds >> k & 1U) == 0 || named);
    }
}

static weir_member_pair pair_with(weir_member_pair pair, unsigned half, uint32_t place)
{
    return half == WEIR_MEMBER_ADDRESS ? (pair & 0xffff0000U) | (place + 1)
                                       : (pair & 0xffffU) | (place + 1) << 16;
}

/* The candidates of one half, which are `cnt` rows from `first` on. */
static void half_begin(struct weir_member_choice *c, const struct weir_tables *t,
                       const struct weir_shm_provider_row *p, unsigned half, uint32_t first,
                       uint32_t cnt, bool any)
{
    uint64_t open = 0;
    uint32_t kinds = 0;
    bool some, all;
    cnt = cnt < WEIR_MEMBER_HALF_MAX ? cnt : WEIR_MEMBER_HALF_MAX;
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_shm_member_row *m = &t->member[p->member_first + first + i];
        kinds |= m->kinds;
        open |= (uint64_t)agrees(m, c->asked) << i;
    }
    named_of(kinds, c->asked, &some, &all);
    bool one = open != 0 && (open & (open - 1)) == 0;
    if (cnt == 0 || open == 0 || !(any || (some && one))) {
        return; /* nobody, or it must not be moved: as it is named */
    }
    if (one || all) {
        uint32_t place = first + (uint32_t)__builtin_ctzll(open);
        c->scope = filled(c->scope, &t->member[p->member_first + place]);
        c->pair = pair_with(c->pair, half, place);
        return;
    }
    c->open[half] = open;
    c->first[half] = first;
    c->chooses[half] = true;
    c->pair = pair_with(c->pair, half, first + (uint32_t)__builtin_ctzll(open));
    c->scope = filled(c->scope, &t->member[p->member_first + weir_member_of(c->pair, half) - 1]);
}

void weir_member_begin(struct weir_member_choice *choice, const struct weir_permit_view *view,
                       weir_route_id route, weir_scope_id asked, bool any_key)
{
    const struct weir_tables *t = &view->tables;
    const struct weir_shm_provider_row *p = &t->provider[t->route[route].provider];
    *choice = (struct weir_member_choice){.asked = asked, .scope = asked, .route = route};
    uint32_t addresses = address_cnt(t, p);
    half_begin(choice, t, p, WEIR_MEMBER_ADDRESS, 0, addresses, true);
    half_begin(choice, t, p, WEIR_MEMBER_KEY, addresses, p->member_cnt - addresses, any_key);
}

/* Millionths of the quota that are left behind this call, of the limit where least is; below 0 where it does not fit. */
static int64_t headroom_ppm(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                            const struct weir_shm_member_row *m, const struct weir_cost *units,
                            unsigned priority, const struct weir_limit_time *time)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &view->tables.limit[route->limit[i]];
        uint32_t index;
        struct weir_shm_limit_word *word =
            weir_permit_word(view, route->limit[i], m->scope, &index);
        if ((m->kinds >> row->scope_kind & 1U) == 0 || word == NULL) {
            continue;
        }
        const struct weir_limit_place at = {row, word, weir_limit_cells(view->cell, row, index)};
        struct weir_limit_state state;
        weir_limit_state_get(&state, &at, &view->foreign[index], time);
        int64_t cost = units != NULL ? units->units[i] : route->cost[i];
        int64_t left = (int64_t)state.left[priority] - cost;
        int64_t quota = state.quota > 0 ? state.quota : 1;
        int64_t ppm = left * 1000000 / quota;
        least = ppm < least ? ppm : least;
    }
    return least;
}

/* The best candidate of a half; `open` is not 0. */
static uint32_t half_best(const struct weir_member_choice *c, struct weir_permit_view *view,
                          unsigned half, const struct weir_cost *units, unsigned priority,
                          uint32_t turn, const struct weir_limit_time *time)
{
    const struct weir_shm_route_row *route = &view->tables.route[c->route];
    uint32_t first = view->tables.provider[route->provider].member_first + c->first[half];
    uint32_t width = WEIR_MEMBER_HALF_MAX - (uint32_t)__builtin_clzll(c->open[half]);
    uint32_t best = 0;
    int64_t best_ppm = INT64_MIN;
    for (uint32_t n = 0; n < width; n++) {
        uint32_t i = (n + turn) % width;
        /* no time: a clock that cannot be read. Nothing will be granted, whoever it is */
        int64_t ppm = (c->open[half] >> i & 1U) == 0 ? INT64_MIN
                      : time == NULL                 ? 0
                                     : headroom_ppm(view, route, &view->tables.member[first + i],
                                                    units, priority, time);
        if (ppm > best_ppm) {
            best_ppm = ppm;
            best = i;
        }
    }
    return c->first[half] + best;
}

bool weir_member_next(struct weir_member_choice *choice, struct weir_permit_view *view,
                      const struct weir_cost *units, unsigned priority, uint32_t turn)
{
    const struct weir_shm_route_row *route = &view->tables.route[choice->route];
    const struct weir_permit_clock *clock = weir_permit_clock_current(view, route->provider);
    struct weir_limit_time time = {.now_ns = weir_clock_now(&view->time)};
    if (clock != NULL) {
        time.server = &clock->clock;
        time.error_ns = weir_server_clock_error_ns(time.server, time.now_ns);
    }
    for (unsigned h = 0; h < 2; h++) {
        if (choice->chooses[h]) {
            if (choice->open[h] == 0) {
                return false;
            }
            choice->pair = pair_with(
                choice->pair, h,
                half_best(choice, view, h, units, priority, turn, clock != NULL ? &time : NULL));
        }
    }
    choice->scope = weir_member_scope(&view->tables, route->provider, choice->asked, choice->pair);
    return true;
}

bool weir_member_skip(struct weir_member_choice *choice, enum weir_member_half half)
{
    uint32_t place = weir_member_of(choice->pair, half);
    if (!choice->chooses[half] || place == 0) {
        return false;
    }
    choice->open[half] &=
        ~(UINT64_C(1) << ((place - 1 - choice->first[half]) % WEIR_MEMBER_HALF_MAX));
    return choice->open[half] != 0;
}

/* Which half would help against this refusal? False: none. */
static bool half_against(const struct weir_permit_view *view, uint32_t route,
                         const struct weir_denial *denial, enum weir_member_half *half)
{
    const struct weir_shm_provider_row *p =
        &view->tables.provider[view->tables.route[route].provider];
    bool paused = denial->reason == WEIR_REASON_PAUSED || denial->reason == WEIR_REASON_REOPENING;
    uint32_t kind = WEIR_SCOPE_KIND_CNT;
    if (paused && p->hold_kind != 0) {
        kind = p->hold_kind - 1;
    } else if (denial->reason == WEIR_REASON_SIGN_IN) {
        kind = WEIR_SCOPE_KEY; /* another key may have its session */
    } else if (!paused && denial->limit < view->tables.limit_cnt) {
        kind = view->tables.limit[denial->limit].scope_kind;
    }
    *half = kind == WEIR_SCOPE_IP ? WEIR_MEMBER_ADDRESS : WEIR_MEMBER_KEY;
    return kind == WEIR_SCOPE_IP || kind == WEIR_SCOPE_KEY || kind == WEIR_SCOPE_ACCOUNT;
}

bool weir_member_refused(struct weir_member_choice *choice, const struct weir_permit_view *view,
                         const struct weir_denial *denial)
{
    enum weir_member_half half;
    if (!choice->chooses[WEIR_MEMBER_ADDRESS] && !choice->chooses[WEIR_MEMBER_KEY]) {
        return false; /* the usual case: there is no pool */
    }
    return half_against(view, choice->route, denial, &half) && weir_member_skip(choice, half);
}

const char *weir_member_text(const struct weir_tables *tables, uint32_t provider,
                             weir_scope_id scope, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        uint32_t value = value_at(scope, k);
        for (uint32_t i = 0; i < tables->scope_cnt && used < bytes; i++) {
            const struct weir_shm_scope_row *s = &tables->scope[i];
            if (s->provider == provider && s->kind == k && s->value == value &&
                s->name[0] != '\0') {
                int n = snprintf(text + used, bytes - used, "%s%s=%s", used > 0 ? "," : "",
                                 weir_scope_kind_name(k), s->name);
                used += n > 0 ? (size_t)n : 0;
            }
        }
    }
    return text;
}
