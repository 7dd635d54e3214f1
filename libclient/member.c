/*
 * member.c: a provider's pool, for whoever has a transport of its own, and who made a brokered call. The choice itself is shm/weir_member.h.
 */
#include "handle.h"

#include "shm/weir_error.h"
#include "shm/weir_member.h"

/* Are the tables fresh, and is the route one of theirs? */
static int enter(struct weir *w, weir_route_id route)
{
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    int rc = weir_permit_refresh(&w->view);
    return rc == WEIR_OK && route >= w->view.tables.route_cnt ? WEIR_E_ROUTE_UNKNOWN : rc;
}

/* Ask each, the best first; `*out` is the first that passes, or who says the earliest instant. */
static int walk(struct weir *w, struct weir_member_choice *choice, const struct weir_cost *units,
                enum weir_priority priority, weir_scope_id *out)
{
    struct weir_permit permit;
    uint64_t earliest_ns = UINT64_MAX;
    int rc;
    *out = choice->scope;
    do {
        if (!weir_member_next(choice, &w->view, units, priority, w->view.serial++)) {
            return WEIR_DENIED;
        }
        rc = weir_permit_look(&w->view, choice->route, choice->scope, units, priority, &permit);
        if (rc != WEIR_DENIED) {
            *out = choice->scope;
            return rc;
        }
        if (permit.denial.earliest_ns < earliest_ns) {
            earliest_ns = permit.denial.earliest_ns;
            *out = choice->scope;
        }
    } while (weir_member_refused(choice, &w->view, &permit.denial));
    return WEIR_DENIED;
}

/* May a key be chosen? On the broker's own calls where the route says so; on the caller's own where the exchange counts them by key. */
static bool any_key(const struct weir_tables *t, const struct weir_shm_route_row *row)
{
    bool counted = false;
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        uint32_t kind = t->limit[row->limit[i]].scope_kind;
        counted = counted || kind == WEIR_SCOPE_KEY || kind == WEIR_SCOPE_ACCOUNT;
    }
    return (row->flags & WEIR_ROUTE_ANY_KEY) != 0 ||
           ((row->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0 && counted);
}

int weir_scope_best(struct weir *w, weir_route_id route, weir_scope_id scope,
                    const struct weir_cost *units, enum weir_priority priority, weir_scope_id *out)
{
    struct weir_member_choice choice;
    if (out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = enter(w, route);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (w->role != WEIR_ROLE_TRADER) {
        return WEIR_E_NOT_TRADER;
    }
    const struct weir_shm_route_row *row = &w->view.tables.route[route];
    if ((unsigned)priority >= WEIR_PRIORITY_CNT) {
        return WEIR_E_PRIORITY;
    }
    if (units != NULL && units->cnt != row->limit_cnt) {
        return WEIR_E_ARGUMENT;
    }
    weir_member_begin(&choice, &w->view, route, scope, any_key(&w->view.tables, row));
    return walk(w, &choice, units, priority, out);
}

int weir_scope_text(struct weir *w, weir_route_id route, weir_scope_id scope, char *text,
                    size_t bytes)
{
    if (text == NULL || bytes == 0) {
        return WEIR_E_ARGUMENT;
    }
    text[0] = '\0';
    int rc = enter(w, route);
    if (rc == WEIR_OK) {
        (void)weir_member_text(&w->view.tables, w->view.tables.route[route].provider, scope, text,
                               bytes);
    }
    return rc;
}

int weir_member_name(struct weir *w, weir_route_id route, uint32_t member, char *text, size_t bytes)
{
    if (text == NULL || bytes == 0) {
        return WEIR_E_ARGUMENT;
    }
    text[0] = '\0';
    int rc = enter(w, route);
    if (rc == WEIR_OK && member != 0) {
        const struct weir_tables *t = &w->view.tables;
        uint32_t provider = t->route[route].provider;
        weir_scope_id scope = weir_member_scope(t, provider, WEIR_SCOPE_DEFAULT, member);
        (void)weir_member_text(t, provider, scope, text, bytes);
    }
    return rc;
}
