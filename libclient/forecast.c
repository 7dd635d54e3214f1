/*
 * forecast.c: the state of a limit, now and to come. Planning, not trading: takes nothing and is not hot.
 */
#include "handle.h"

#include "shm/weir_forecast.h"

#include <string.h>

/* One limit word at one instant. */
struct look {
    struct weir_limit_place at;
    uint32_t index; /* of the word */
    struct weir_limit_time time;
    struct weir_limit_state state;
};

static int look_at(struct weir *w, uint32_t limit, weir_scope_id scope, struct look *l)
{
    struct weir_permit_view *view = &w->view;
    uint64_t seq;
    if (weir_handle_ours(w) && weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    int rc = weir_handle_ours(w) ? weir_permit_refresh(view) : WEIR_E_FORKED;
    if (rc != WEIR_OK) {
        return rc;
    }
    if (w->role != WEIR_ROLE_TRADER) {
        return WEIR_E_NOT_TRADER;
    }
    if (limit >= view->tables.limit_cnt) {
        return WEIR_E_LIMIT_UNKNOWN;
    }
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    struct weir_shm_limit_word *word = weir_permit_word(view, limit, scope, &l->index);
    if (word == NULL) {
        return WEIR_E_SCOPE_UNKNOWN;
    }
    l->at = (struct weir_limit_place){
        .row = row, .word = word, .cell = weir_limit_cells(view->cell, row, l->index)};
    l->time = (struct weir_limit_time){.now_ns = weir_clock_now(&view->time)};
    l->time.server = weir_permit_server_clock(view, row->provider, &seq);
    if (l->time.server == NULL) {
        return WEIR_CONTENDED;
    }
    l->time.error_ns = weir_server_clock_error_ns(l->time.server, l->time.now_ns);
    weir_limit_state_get(&l->state, &l->at, &view->foreign[l->index], &l->time);
    return WEIR_OK;
}

int weir_limit_get(struct weir *w, uint32_t limit, weir_scope_id scope, struct weir_limit_info *out)
{
    struct look l;
    if (out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    int rc = look_at(w, limit, scope, &l);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out = (struct weir_limit_info){.provider = w->view.tables.provider[l.at.row->provider].name,
                                    .name = l.at.row->name,
                                    .kind = (enum weir_limit_kind)l.at.row->kind,
                                    .quota_units = l.state.quota,
                                    .used_units = l.state.used,
                                    .reset_ns = l.state.reset_ns};
    memcpy(out->left_units, l.state.left, sizeof out->left_units);
    return WEIR_OK;
}

/* The worker's measure of a word's pace. */
static void pace_of_board(const struct weir *w, const struct look *l, struct weir_forecast_for *f)
{
    if (l->index >= w->board->pace_cnt) {
        return;
    }
    const struct weir_shm_pace *pace = &w->board->pace[l->index];
    /* relaxed: statistics, both */
    uint64_t since_ns = weir_load_relaxed_u64(&pace->since_ns);
    if (since_ns != 0 && since_ns < l->time.now_ns) {
        f->pace_micro = weir_load_relaxed_u64(&pace->short_micro);
        f->pace_over_ns = weir_min_u64(l->time.now_ns - since_ns, WEIR_PACE_SHORT_NS);
    }
}

static void pace_of_caller(const struct weir_limit_reading *before,
                           const struct weir_limit_reading *now, const struct look *l,
                           struct weir_forecast_for *f)
{
    if (before->at_ns == 0 || before->at_ns >= now->at_ns || before->epoch != now->epoch) {
        return; /* cannot be compared: nothing is known, rather than a pace of nothing */
    }
    int64_t taken = weir_limit_taken_micro(&l->at, before, now);
    f->pace_over_ns = now->at_ns - before->at_ns;
    f->pace_micro =
        taken > 0 ? (uint64_t)((unsigned __int128)(uint64_t)taken * WEIR_NS_PER_S / f->pace_over_ns)
                  : 0;
}

/* What is asked, with every default: NULL asks nothing in particular, a shorter struct is an older program's. */
static int ask_copy(struct weir_forecast_ask *to, const struct weir_forecast_ask *from)
{
    *to = (struct weir_forecast_ask){.struct_bytes = sizeof *to};
    if (from == NULL) {
        return WEIR_OK;
    }
    if (from->struct_bytes < sizeof from->struct_bytes) {
        return WEIR_E_ARGUMENT;
    }
    for (size_t i = sizeof *to; i < from->struct_bytes; i++) {
        if (((const char *)from)[i] != 0) {
            return WEIR_E_UNSUPPORTED; /* a field that this libweir does not know */
        }
    }
    memcpy(to, from, from->struct_bytes < sizeof *to ? from->struct_bytes : sizeof *to);
    return (unsigned)to->priority < WEIR_PRIORITY_CNT ? WEIR_OK : WEIR_E_PRIORITY;
}

int weir_limit_forecast(struct weir *w, uint32_t limit, weir_scope_id scope,
                        const struct weir_forecast_ask *ask, struct weir_forecast *out)
{
    struct weir_forecast_ask asked;
    struct look l;
    int rc = out != NULL ? ask_copy(&asked, ask) : WEIR_E_ARGUMENT;
    rc = rc != WEIR_OK ? rc : look_at(w, limit, scope, &l);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_tables *t = &w->view.tables;
    uint32_t route;
    /* relaxed: an epoch that moves meanwhile only makes this reading incomparable */
    const struct weir_limit_reading reading = weir_limit_reading_take(
        &l.at, &l.time, weir_load_relaxed_u64(&w->view.provider[l.at.row->provider].clock_epoch));
    struct weir_forecast_for f = {
        .at = &l.at,
        .foreign = &w->view.foreign[l.index],
        .time = &l.time,
        .units = asked.units != 0 ? asked.units
                                  : weir_forecast_dearest(t->route, t->route_cnt, limit, &route),
        .priority = (unsigned)asked.priority,
        .shares = w->view.member != NULL,
        .member = w->view.member != NULL ? w->view.member[limit] : 0,
    };
    if (asked.before != NULL) {
        pace_of_caller(&asked.before->reading, &reading, &l, &f);
    } else {
        pace_of_board(w, &l, &f);
    }
    weir_forecast_make(out, &f, &l.state);
    out->reading = reading;
    return WEIR_OK;
}
