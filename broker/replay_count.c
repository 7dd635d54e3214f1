#include "broker/replay_count.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more of `bytes` each. */
static bool grow(void **array, size_t cnt, size_t *capacity, size_t bytes)
{
    if (cnt < *capacity) {
        return true;
    }
    size_t more = *capacity * 2 + 64;
    void *p = realloc(*array, more * bytes);
    if (p == NULL) {
        return false;
    }
    *array = p;
    *capacity = more;
    return true;
}

/* ---------------------------------------------------------------------------------------------- windows */

static bool window_close(struct replay_limit *l, struct replay_word *w)
{
    bool kept = true;
    if (w->now.calls > 0) {
        l->windows++;
        if (w->now.refused > 0 || w->now.over > 0) {
            l->bad_windows++;
            void *bad = l->bad;
            kept = l->bad_cnt >= REPLAY_WINDOWS_KEPT ||
                   grow(&bad, l->bad_cnt, &l->bad_capacity, sizeof *l->bad);
            l->bad = bad;
            if (kept && l->bad_cnt < REPLAY_WINDOWS_KEPT) {
                l->bad[l->bad_cnt++] = w->now;
            }
        }
    }
    w->now = (struct replay_window){0};
    w->counted_units = 0;
    return kept;
}

/* Where the window begins that holds `utc_ns`: of a calendar by its edges, which the tables hold, else by division. */
static uint64_t window_start(const struct weir_shm_limit_row *row, uint64_t utc_ns)
{
    if (row->calendar_cnt == 0) {
        return utc_ns - utc_ns % row->rate_window_ns;
    }
    const uint64_t *edge =
        (const uint64_t *)(const void *)((const char *)row + row->calendar_off_bytes);
    uint32_t low = 0; /* begins at utc_ns or before, or is the first */
    uint32_t high = row->calendar_cnt;
    while (high - low > 1) { /* halves each time */
        uint32_t middle = low + (high - low) / 2;
        low = edge[middle] <= utc_ns ? middle : low;
        high = edge[middle] <= utc_ns ? high : middle;
    }
    return edge[low];
}

bool replay_asked(struct replay_limit *l, uint32_t scope, uint64_t utc_ns, uint64_t units)
{
    struct replay_word *w = &l->word[scope];
    uint64_t start_ns = window_start(l->row, utc_ns);
    bool ok = true;
    if (w->now.calls > 0 && w->now.start_utc_ns != start_ns) {
        ok = window_close(l, w);
    }
    w->now.start_utc_ns = start_ns;
    w->now.scope = scope;
    w->now.calls++;
    w->now.units += units;
    l->calls++;
    l->units += units;
    return ok;
}

void replay_refused(struct replay_limit *l, uint32_t scope, uint32_t priority, bool never)
{
    l->word[scope].now.refused++;
    l->refused[priority]++;
    l->never += never;
}

/* ---------------------------------------------------------------------------------------------- what the exchange counts */

/* A bucket of `quota` units that refills rate_quota a window; a call that finds too little is not counted. Exact: in 1/rate_quota ns. */
static bool bucket_over(struct replay_limit *l, struct replay_word *w, uint64_t utc_ns,
                        uint64_t units)
{
    unsigned __int128 now = (unsigned __int128)utc_ns * l->row->rate_quota;
    unsigned __int128 from = w->tat > now ? w->tat : now;
    unsigned __int128 after = from + (unsigned __int128)units * l->row->rate_window_ns;
    if (after - now > (unsigned __int128)l->row->quota * l->row->rate_window_ns) {
        return true;
    }
    w->tat = after;
    return false;
}

/* The units of all calls in (t - W, t]; every call is counted. */
static bool rolling_over(struct replay_limit *l, struct replay_word *w, uint64_t utc_ns,
                         uint64_t units, bool *over)
{
    while (w->event_cnt > 0 && utc_ns - w->event[w->event_first].utc_ns >= l->row->rate_window_ns) {
        w->event_units -= w->event[w->event_first].units;
        w->event_first = (w->event_first + 1) % w->event_capacity;
        w->event_cnt--;
    }
    if (w->event_cnt == w->event_capacity) {
        size_t capacity = w->event_capacity * 2 + 1024;
        struct replay_event *e = malloc(capacity * sizeof *e);
        if (e == NULL) {
            return false;
        }
        for (size_t i = 0; i < w->event_cnt; i++) {
            e[i] = w->event[(w->event_first + i) % w->event_capacity];
        }
        free(w->event);
        w->event = e;
        w->event_first = 0;
        w->event_capacity = capacity;
    }
    w->event[(w->event_first + w->event_cnt) % w->event_capacity] =
        (struct replay_event){.utc_ns = utc_ns, .units = units};
    w->event_cnt++;
    w->event_units += units;
    *over = w->event_units > l->row->rate_quota;
    return true;
}

bool replay_counted(struct replay_limit *l, uint32_t scope, uint64_t utc_ns, uint64_t units,
                    uint32_t priority)
{
    struct replay_word *w = &l->word[scope];
    bool over = false;
    bool ok = true;
    l->granted++;
    switch ((enum weir_limit_kind)l->row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        over = units > 0 && bucket_over(l, w, utc_ns, units);
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
        w->counted_units += units; /* replay_asked has opened the window */
        over = units > 0 && w->counted_units > l->row->rate_quota;
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
        ok = units == 0 || rolling_over(l, w, utc_ns, units, &over);
        break;
    case WEIR_LIMIT_CONCURRENCY:
    case WEIR_LIMIT_UNSET:
        break;
    }
    if (over) {
        w->now.over++;
        l->over[priority]++;
    }
    return ok;
}

bool replay_closed(struct replay_limit *l)
{
    bool ok = true;
    for (uint32_t v = 0; v < l->row->word_cnt; v++) {
        ok = window_close(l, &l->word[v]) && ok;
    }
    return ok;
}

void replay_limit_free(struct replay_limit *l)
{
    for (uint32_t v = 0; l->word != NULL && v < l->row->word_cnt; v++) {
        free(l->word[v].event);
    }
    free(l->word);
    free(l->bad);
}
