#include "weir_forecast.h"

#include <string.h>

/* ---------------------------------------------------------------------------------------------- what was taken */

/* The part of a sliding window that `now_ns` lies in, with its units; 0 in form cells. */
static uint64_t part_now(const struct weir_limit_place *at, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    if (row->form != WEIR_FORM_PARTS || at->cell == NULL) {
        return 0;
    }
    uint64_t into_ns;
    uint32_t part = weir_sliding_part(row, now_ns, &into_ns);
    uint64_t word = weir_load_acquire_u64(&at->cell[part % WEIR_SLIDING_WORDS]); /* pair:limit A */
    return weir_window_id(word) == part ? word : weir_window_word(part, 0);
}

struct weir_limit_reading weir_limit_reading_take(const struct weir_limit_place *at,
                                                  const struct weir_limit_time *time,
                                                  uint64_t epoch)
{
    const struct weir_shm_limit_row *row = at->row;
    struct weir_limit_reading r = {.at_ns = time->now_ns, .epoch = (uint32_t)epoch};
    if (weir_limit_in_cells(row)) {
        r.epoch = 0; /* no server's clock has a part in it */
        r.word[0] = part_now(at, time->now_ns);
        return r;
    }
    r.word[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
    r.word[1] = weir_load_acquire_u64(&at->word->word[1]); /* pair:limit A */
    if (row->kind == WEIR_LIMIT_FIXED_WINDOW && time->server != NULL) {
        struct weir_window_span span;
        weir_window_span_at(&span, &(struct weir_window_cache){0}, row, time->server,
                            time->error_ns, time->now_ns);
        r.window = span.first;
    }
    return r;
}

/*
 * A grant sets TAT' = max(now, TAT) + n*T. While TAT stays ahead of now, its way is n*T. Where it fell behind, the grants came somewhere between the
 * readings: at the earliest when the first was made, at the latest just now.
 */
static int64_t bucket_taken(const struct weir_shm_limit_row *row,
                            const struct weir_limit_reading *before,
                            const struct weir_limit_reading *now)
{
    uint64_t from_ns = weir_max_u64(before->word[0], before->at_ns);
    uint64_t tat = now->word[0];
    if (tat <= from_ns) {
        /* Nothing was taken, or more was given back. */
        uint64_t back_ns = before->word[0] > tat ? before->word[0] - tat : 0;
        return -(int64_t)(uint64_t)((unsigned __int128)back_ns * WEIR_MILLION / row->unit_ns);
    }
    uint64_t most = (uint64_t)((unsigned __int128)(tat - from_ns) * WEIR_MILLION / row->unit_ns);
    if (before->word[0] >= now->at_ns) {
        return (int64_t)most; /* it was never behind: exact */
    }
    most = most / WEIR_MILLION * WEIR_MILLION; /* whole units are taken */
    uint64_t ahead_ns = tat > now->at_ns ? tat - now->at_ns : 0;
    uint64_t least = (ahead_ns + row->unit_ns - 1) / row->unit_ns * WEIR_MILLION;
    least = weir_min_u64(weir_max_u64(least, WEIR_MILLION), most); /* TAT moved: one at least */
    return (int64_t)(least + (most - least) / 2);
}

/* What lies in the window to come is of calls that are charged to two: they count when they are charged to the window before it. */
static int64_t window_taken(const struct weir_limit_reading *before,
                            const struct weir_limit_reading *now)
{
    int64_t units = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t id = weir_window_id(now->word[i]);
        if (now->word[i] == 0 || weir_window_diff(id, now->window) > 0 ||
            weir_window_diff(id, before->window) < 0) {
            continue;
        }
        uint32_t had = weir_window_id(before->word[i]) == id ? (uint32_t)before->word[i] : 0;
        units += (int64_t)(uint32_t)now->word[i] - (int64_t)had;
    }
    return units * (int64_t)WEIR_MILLION;
}

/* Cells stamped since then, or what was added to the part of then and to those behind it. */
static int64_t sliding_taken(const struct weir_limit_place *at,
                             const struct weir_limit_reading *before)
{
    const struct weir_shm_limit_row *row = at->row;
    int64_t units = 0;
    for (uint32_t i = 0; at->cell != NULL && i < row->cell_cnt; i++) {
        uint64_t cell = weir_load_acquire_u64(&at->cell[i]); /* pair:limit A */
        if (row->form == WEIR_FORM_CELLS) {
            units += cell > before->at_ns;
        } else if (cell != 0) {
            int32_t diff = weir_window_diff(weir_window_id(cell), weir_window_id(before->word[0]));
            units += diff >= 0 ? (int64_t)(uint32_t)cell : 0;
            units -= diff == 0 ? (int64_t)(uint32_t)before->word[0] : 0;
        }
    }
    return units * (int64_t)WEIR_MILLION;
}

int64_t weir_limit_taken_micro(const struct weir_limit_place *at,
                               const struct weir_limit_reading *before,
                               const struct weir_limit_reading *now)
{
    const struct weir_shm_limit_row *row = at->row;
    if (before->at_ns == 0 || now->at_ns <= before->at_ns || before->epoch != now->epoch) {
        return 0;
    }
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return bucket_taken(row, before, now);
    case WEIR_LIMIT_FIXED_WINDOW:
        return window_taken(before, now);
    case WEIR_LIMIT_SLIDING_WINDOW:
        return sliding_taken(at, before);
    case WEIR_LIMIT_CONCURRENCY:
    case WEIR_LIMIT_UNSET:
        break;
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- pace */

void weir_pace_step(struct weir_pace *pace, int64_t taken_micro, uint64_t step_ns, uint64_t over_ns)
{
    if (step_ns == 0) {
        return;
    }
    /* Backward Euler of the exponential: right for any step, and no exp(). */
    double share = (double)step_ns / ((double)step_ns + (double)over_ns);
    double rate =
        (double)taken_micro / (double)WEIR_MILLION * (double)WEIR_NS_PER_S / (double)step_ns;
    double filled = pace->filled + (1.0 - pace->filled) * share;
    /* Weighted by what is filled, so that a young average is one over its own age. */
    double sum = pace->units_per_s * pace->filled;
    sum += (rate - sum) * share;
    pace->units_per_s = sum / filled;
    pace->filled = filled;
}

uint64_t weir_pace_micro(const struct weir_pace *pace)
{
    double micro = pace->units_per_s * (double)WEIR_MILLION + 0.5;
    return micro < 1.0 ? 0 : micro > 1e18 ? UINT64_C(1000000000000000000) : (uint64_t)micro;
}

/* ---------------------------------------------------------------------------------------------- exhausted when? */

/* pace [millionths of a unit / s] * ns -> units */
#define MICRO_NS (WEIR_MILLION * WEIR_NS_PER_S)

/* now_ns + a / b, or UINT64_MAX where that lies beyond 292 years. */
static uint64_t instant(uint64_t now_ns, unsigned __int128 a, unsigned __int128 b)
{
    unsigned __int128 after = b > 0 ? a / b + 1 : UINT64_MAX;
    return after < (UINT64_C(1) << 62) ? now_ns + (uint64_t)after : UINT64_MAX;
}

/* A bucket: what is free falls by pace*T - 1 s each second. */
static uint64_t bucket_empty_ns(const struct weir_forecast_for *f, uint64_t tat)
{
    const struct weir_shm_limit_row *row = f->at->row;
    uint64_t now_ns = f->time->now_ns;
    uint64_t taken_ns = (tat > now_ns ? tat - now_ns : 0) + (uint64_t)f->units * row->unit_ns;
    uint64_t tolerance_ns = row->tolerance_ns[f->priority];
    if (taken_ns > tolerance_ns) {
        return now_ns;
    }
    unsigned __int128 out = (unsigned __int128)f->pace_micro * row->unit_ns;
    return out > MICRO_NS ? instant(now_ns, (unsigned __int128)(tolerance_ns - taken_ns) * MICRO_NS,
                                    out - MICRO_NS)
                          : UINT64_MAX;
}

/* One window, as far as a forecast needs it. */
struct window_left {
    const struct weir_forecast_for *f;
    const struct weir_limit_state *s;
    uint64_t left_ns;
};

/* Would the class still find room for the cost `after_ns` from now? */
static bool has_room(const struct window_left *w, uint64_t after_ns)
{
    unsigned __int128 wanted =
        (unsigned __int128)w->f->pace_micro * after_ns / MICRO_NS + w->s->used + w->f->units;
    wanted +=
        weir_window_reserve(w->f->at->row, w->f->priority, w->left_ns - after_ns, w->s->quota);
    return wanted <= w->s->quota;
}

static bool reserve_at_floor(const struct window_left *w, uint64_t after_ns)
{
    const struct weir_shm_limit_row *row = w->f->at->row;
    return weir_window_reserve(row, w->f->priority, w->left_ns - after_ns, w->s->quota) <=
           row->reserve_min[w->f->priority];
}

/* The first instant in (from, to] without room: there is room at from, none at to. */
static uint64_t first_without(const struct window_left *w, uint64_t from_ns, uint64_t to_ns)
{
    while (to_ns - from_ns > 1) { /* halves each time */
        uint64_t middle_ns = from_ns + (to_ns - from_ns) / 2;
        if (has_room(w, middle_ns)) {
            from_ns = middle_ns;
        } else {
            to_ns = middle_ns;
        }
    }
    return to_ns;
}

/*
 * Use grows along a line, and the headroom shrinks along another until its floor: room is two straight pieces, and a piece that has room at both
 * its ends has it all along.
 */
static uint64_t window_empty_ns(const struct weir_forecast_for *f, const struct weir_limit_state *s)
{
    uint64_t now_ns = f->time->now_ns;
    const struct window_left w = {
        .f = f, .s = s, .left_ns = s->reset_ns > now_ns ? s->reset_ns - now_ns : 0};
    if (!has_room(&w, 0)) {
        return now_ns;
    }
    uint64_t falling_ns = 0; /* until the headroom stands at its floor */
    uint64_t floor_ns = w.left_ns;
    if (!reserve_at_floor(&w, 0)) {
        while (floor_ns - falling_ns > 1) { /* halves each time */
            uint64_t middle_ns = falling_ns + (floor_ns - falling_ns) / 2;
            if (reserve_at_floor(&w, middle_ns)) {
                floor_ns = middle_ns;
            } else {
                falling_ns = middle_ns;
            }
        }
    } else {
        floor_ns = 0;
    }
    if (!has_room(&w, floor_ns)) {
        return now_ns + first_without(&w, 0, floor_ns);
    }
    return has_room(&w, w.left_ns) ? UINT64_MAX : now_ns + first_without(&w, floor_ns, w.left_ns);
}

/*
 * A sliding window: what is used now goes away evenly over the span, and the pace comes in. Once a span is over it stands at pace * span. Concurrency: nothing
 * is used up, it is full or it is not.
 */
static uint64_t rolling_empty_ns(const struct weir_forecast_for *f,
                                 const struct weir_limit_state *s)
{
    const struct weir_shm_limit_row *row = f->at->row;
    uint64_t now_ns = f->time->now_ns;
    uint64_t wanted = (uint64_t)s->used + f->units + row->reserve_min[f->priority];
    if (wanted > s->quota) {
        return now_ns;
    }
    unsigned __int128 in =
        (unsigned __int128)f->pace_micro * row->span_ns; /* for a span, in MICRO_NS */
    unsigned __int128 out = (unsigned __int128)s->used * MICRO_NS;
    unsigned __int128 room = (unsigned __int128)(s->quota - wanted) * MICRO_NS;
    if (row->kind == WEIR_LIMIT_CONCURRENCY || in <= out || in - out <= room) {
        return UINT64_MAX;
    }
    /* so much of a span: below it, and a line into the future needs no more digits than a double has */
    return now_ns + (uint64_t)((double)row->span_ns * ((double)room / (double)(in - out))) + 1;
}

/* ---------------------------------------------------------------------------------------------- the budget */

/* Before this share of a window is over, its average says nothing. */
#define BURN_GONE_MIN_PPM 5000U

static void window_burn(struct weir_forecast *out, const struct weir_forecast_for *f)
{
    struct weir_window_span span;
    struct weir_window_cache cache = {0};
    weir_window_span_at(&span, &cache, f->at->row, f->time->server, f->time->error_ns,
                        f->time->now_ns);
    uint64_t window_ns = cache.length_ns; /* days of a calendar differ */
    uint64_t left_ns = out->reset_ns > out->now_ns ? out->reset_ns - out->now_ns : 0;
    uint64_t gone_ns = window_ns > left_ns ? window_ns - left_ns : 0;
    out->gone_ppm = (uint32_t)weir_muldiv_u64(gone_ns, WEIR_MILLION, window_ns);
    out->at_reset_units =
        out->used_units + (uint64_t)((unsigned __int128)f->pace_micro * left_ns / MICRO_NS);
    if (out->gone_ppm < BURN_GONE_MIN_PPM) {
        return;
    }
    out->burn_ppm = (uint64_t)out->used_ppm * WEIR_MILLION / out->gone_ppm;
    if (out->used_units >= out->quota_units) {
        out->burn_empty_ns = out->now_ns;
    } else if (out->burn_ppm > WEIR_MILLION) {
        out->burn_empty_ns =
            instant(out->now_ns, (unsigned __int128)(out->quota_units - out->used_units) * gone_ns,
                    out->used_units);
    }
}

static void bucket_burn(struct weir_forecast *out, const struct weir_forecast_for *f)
{
    out->burn_ppm =
        (uint64_t)((unsigned __int128)f->pace_micro * f->at->row->unit_ns / WEIR_NS_PER_S);
    out->burn_empty_ns = out->empty_ns;
}

static void rolling_burn(struct weir_forecast *out, const struct weir_forecast_for *f)
{
    const struct weir_shm_limit_row *row = f->at->row;
    out->burn_ppm =
        (uint64_t)((unsigned __int128)f->pace_micro * row->span_ns / WEIR_NS_PER_S / row->quota);
    out->burn_empty_ns = out->empty_ns;
}

/* ---------------------------------------------------------------------------------------------- earliest */

/* Claims only fall and room only grows until a window ends, so two answers meet after a few turns; what is later than that is still true, only not exact. */
#define AGREE_TURNS 8

uint64_t weir_forecast_earliest(const struct weir_forecast_for *about)
{
    const struct weir_shm_limit_row *row = about->at->row;
    struct weir_limit_time time = *about->time;
    unsigned judged = about->priority;
    if (!about->shares || row->share_cnt == 0) {
        return weir_limit_earliest(about->at, about->foreign, &time, about->units, judged);
    }
    const struct weir_share_ask ask = {.row = row,
                                       .word = about->at->word,
                                       .cell = about->at->cell,
                                       .foreign = about->foreign,
                                       .units = about->units,
                                       .priority = about->priority,
                                       .member = about->member};
    for (unsigned turn = 0; turn < AGREE_TURNS; turn++) {
        uint64_t at_ns = time.now_ns;
        if (weir_share_judge(&ask, &time, &judged, &at_ns) == WEIR_LIMIT_YES) {
            at_ns = weir_limit_earliest(about->at, about->foreign, &time, about->units, judged);
            if (at_ns == time.now_ns) {
                break;
            }
        }
        if (at_ns == UINT64_MAX) {
            return UINT64_MAX;
        }
        time.now_ns = weir_max_u64(at_ns, time.now_ns);
        time.error_ns =
            time.server != NULL ? weir_server_clock_error_ns(time.server, time.now_ns) : 0;
    }
    return time.now_ns;
}

/* ---------------------------------------------------------------------------------------------- forecast */

void weir_forecast_make(struct weir_forecast *out, const struct weir_forecast_for *about,
                        const struct weir_limit_state *state)
{
    const struct weir_shm_limit_row *row = about->at->row;
    *out = (struct weir_forecast){
        .now_ns = about->time->now_ns,
        .units = about->units,
        .priority = about->priority,
        .quota_units = state->quota,
        .used_units = state->used,
        .pace_micro = about->pace_micro,
        .pace_over_ns = about->pace_over_ns,
        .reset_ns = state->reset_ns,
        .earliest_ns = weir_forecast_earliest(about),
        .empty_ns = UINT64_MAX,
        .burn_empty_ns = UINT64_MAX,
    };
    memcpy(out->left_units, state->left, sizeof out->left_units);
    uint64_t used_ppm = state->quota > 0 ? (uint64_t)state->used * WEIR_MILLION / state->quota : 0;
    out->used_ppm = (uint32_t)weir_min_u64(used_ppm, UINT32_MAX);
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        out->empty_ns = bucket_empty_ns(
            about, weir_load_acquire_u64(&about->at->word->word[0])); /* pair:limit A */
        bucket_burn(out, about);
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
        out->empty_ns = window_empty_ns(about, state);
        window_burn(out, about);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
        out->empty_ns = rolling_empty_ns(about, state);
        rolling_burn(out, about);
        break;
    case WEIR_LIMIT_CONCURRENCY:
        out->pace_micro = 0; /* held, not used up */
        out->pace_over_ns = 0;
        out->empty_ns = rolling_empty_ns(about, state);
        break;
    case WEIR_LIMIT_UNSET:
        break;
    }
}

uint32_t weir_forecast_dearest(const struct weir_shm_route_row *row, uint32_t row_cnt,
                               uint32_t limit, uint32_t *route)
{
    uint32_t units = 0;
    *route = UINT32_MAX;
    for (uint32_t r = 0; r < row_cnt; r++) {
        for (uint32_t i = 0; i < row[r].limit_cnt; i++) {
            if (row[r].limit[i] == limit && row[r].cost[i] > units) {
                units = row[r].cost[i];
                *route = r;
            }
        }
    }
    return units;
}
