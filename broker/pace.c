#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_forecast.h"

#include <stdlib.h>

/* What is kept of one limit word between two ticks. A new worker starts without it: averages say how old they are. */
struct pacer {
    struct weir_limit_reading last;
    struct weir_pace brief, window;
};

bool pace_open(struct worker *w)
{
    uint64_t now_ns = worker_now(w);
    w->pacer = calloc((size_t)w->region->word_cnt + 1, sizeof *w->pacer);
    for (uint32_t k = 0; k < w->region->word_cnt; k++) {
        /* relaxed: for display, all three */
        weir_store_relaxed_u64(&w->region->pace[k].since_ns, now_ns);
        weir_store_relaxed_u64(&w->region->pace[k].short_micro, 0);
        weir_store_relaxed_u64(&w->region->pace[k].window_micro, 0);
    }
    return w->pacer != NULL;
}

static void word_turn(struct worker *w, const struct weir_shm_limit_row *row, uint32_t k,
                      const struct weir_limit_time *time, uint64_t epoch)
{
    struct pacer *p = &w->pacer[k];
    struct weir_shm_pace *board = &w->region->pace[k];
    const struct weir_limit_place at = {row, &w->region->word[k],
                                        weir_limit_cells(w->region->cell, row, k)};
    const struct weir_limit_reading now = weir_limit_reading_take(&at, time, epoch);
    if (p->last.at_ns != 0 && now.at_ns > p->last.at_ns) {
        int64_t taken = weir_limit_taken_micro(&at, &p->last, &now);
        uint64_t step_ns = now.at_ns - p->last.at_ns;
        weir_pace_step(&p->brief, taken, step_ns, WEIR_PACE_SHORT_NS);
        weir_pace_step(&p->window, taken, step_ns,
                       weir_max_u64(row->rate_window_ns, WEIR_PACE_SHORT_NS));
        /* relaxed: for display, both */
        weir_store_relaxed_u64(&board->short_micro, weir_pace_micro(&p->brief));
        weir_store_relaxed_u64(&board->window_micro, weir_pace_micro(&p->window));
    }
    p->last = now;
}

void pace_turn(struct worker *w)
{
    const struct weir_tables *t = &w->shared.tables;
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &t->limit[i];
        struct weir_limit_time time = {.now_ns = worker_now(w),
                                       .server = &w->provider[row->provider].published};
        time.error_ns = weir_server_clock_error_ns(time.server, time.now_ns);
        /* relaxed: our own */
        uint64_t epoch = weir_load_relaxed_u64(&w->region->provider[row->provider].clock_epoch);
        for (uint32_t k = 0; k < row->word_cnt; k++) {
            word_turn(w, row, row->word_first + k, &time, epoch);
        }
    }
}
