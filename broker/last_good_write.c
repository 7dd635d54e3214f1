/*
 * last_good_write.c: the worker's side of last_good.h: a snapshot of the kept answers, bit by bit.
 *
 *   IDLE --- a period is over, and an answer was kept since ---> COMPOSE --- the image is whole ---> WRITE --- all pieces and the fsync --> IDLE
 *
 * COMPOSE takes some heads a tick; each answer is copied whole in one go, and this thread is their only writer, so none is torn. WRITE hands one piece at a time to the
 * ring: a buffered write may copy at once, and a turn of the loop should not stand still for more than that of a small one.
 */
#include "broker/last_good.h"

#include "broker/journal.h"
#include "broker/log.h"
#include "broker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMPOSE_BYTES (256 * UINT64_C(1024)) /* of answers a tick */
#define PIECE_BYTES   (64 * UINT64_C(1024))
#define SLOW_NS       (1 * WEIR_NS_PER_S) /* a piece that takes so long is worth a line */

enum stage { STAGE_IDLE = 0, STAGE_COMPOSE, STAGE_WRITE };

struct last_good_write {
    struct last_good *files;
    enum stage stage;
    bool changed; /* an answer was kept since the image was begun that is on disk or on its way */
    uint64_t due_ns;
    struct last_good_walk walk;
    uint64_t file;
    /* the piece under way */
    bool writing, slow_told;
    bool last; /* it is followed by its fsync */
    uint32_t life;
    uint32_t events;
    uint32_t piece_bytes;
    int32_t result[2];
    uint64_t off_bytes, since_ns;
    uint64_t failures; /* in a row */
};

bool last_good_start(struct worker *w)
{
    w->last_good = NULL;
    if (w->region->last_good == NULL) {
        return true;
    }
    w->last_good = calloc(1, sizeof *w->last_good);
    if (w->last_good == NULL) {
        return false;
    }
    w->last_good->files = w->region->last_good;
    w->last_good->changed = true; /* what a worker before us had kept and not written */
    w->last_good->due_ns = worker_now(w) + w->config->broker.last_good_every_ns;
    return true;
}

void last_good_changed(struct worker *w, uint32_t route)
{
    if (w->last_good != NULL && w->last_good->files->kept_ns[route] != 0) {
        w->last_good->changed = true;
    }
}

bool last_good_is_writing(const struct worker *w)
{
    return w->last_good != NULL && w->last_good->writing;
}

static void piece_write(struct worker *w, struct last_good_write *g)
{
    uint64_t left = g->walk.writer.used_bytes - g->off_bytes;
    g->piece_bytes = (uint32_t)weir_min_u64(left, PIECE_BYTES);
    g->last = g->piece_bytes == left;
    g->writing = true;
    g->slow_told = false;
    g->events = 0;
    g->result[0] = 0;
    g->result[1] = 0;
    g->life = (g->life + 1) & 0xffffffU;
    g->since_ns = w->now_ns;
    loop_write_answers(&w->loop, g->life, g->files->fd[g->file], g->files->image + g->off_bytes,
                       g->piece_bytes, g->off_bytes, g->last);
}

static void look_whether_slow(struct worker *w, struct last_good_write *g)
{
    if (g->writing && !g->slow_told && w->now_ns - g->since_ns > SLOW_NS) {
        g->slow_told = true;
        log_warn("last_good_slow", "s:s, s:I", "path", g->files->journal->dir, "waiting_ms",
                 (long long)((w->now_ns - g->since_ns) / WEIR_NS_PER_MS));
    }
}

void last_good_turn(struct worker *w)
{
    struct last_good_write *g = w->last_good;
    if (g == NULL || w->quiescing) {
        return;
    }
    look_whether_slow(w, g);
    if (g->stage == STAGE_IDLE && g->changed && w->now_ns >= g->due_ns) {
        g->stage = STAGE_COMPOSE;
        g->changed = false;
        g->due_ns = w->now_ns + w->config->broker.last_good_every_ns;
        last_good_begin(g->files, &g->walk, 0);
    }
    if (g->stage == STAGE_COMPOSE &&
        last_good_go_on(g->files, w->region, &g->walk, COMPOSE_BYTES)) {
        g->stage = STAGE_WRITE;
        g->file = last_good_next(g->files);
        g->off_bytes = 0;
        piece_write(w, g);
    }
}

static void failed(struct last_good_write *g, int error)
{
    g->stage = STAGE_IDLE;
    g->changed = true; /* the next period tries again */
    if (g->failures++ == 0) {
        log_error("last_good_not_written", "s:s, s:s, s:s, s:s", "path", g->files->journal->dir,
                  "reason", strerror(error), "meaning",
                  "the next broker has what was written before", "next_step",
                  "make room or repair the disk; it is tried again every period");
    }
}

static void succeeded(struct last_good_write *g)
{
    g->stage = STAGE_IDLE;
    last_good_written(g->files, g->file);
    if (g->failures > 0) {
        log_info("last_good_written_again", "s:I", "failures", (long long)g->failures);
        g->failures = 0;
    }
}

void last_good_event(struct worker *w, const struct loop_event *e)
{
    struct last_good_write *g = w->last_good;
    if (g == NULL || !g->writing || e->index > 1 || e->generation != g->life) {
        return;
    }
    g->result[e->index] = e->result;
    if (++g->events < (g->last ? 2U : 1U)) {
        return;
    }
    g->writing = false;
    if (g->result[0] < 0) {
        failed(g, -g->result[0]);
    } else if ((uint32_t)g->result[0] != g->piece_bytes) {
        failed(g, ENOSPC);
    } else if (g->last && g->result[1] != 0) {
        failed(g, -g->result[1]);
    } else if (g->last) {
        succeeded(g);
    } else if (w->quiescing) { /* the next one begins anew; the other file is whole */
        g->stage = STAGE_IDLE;
        g->changed = true;
    } else {
        g->off_bytes += g->piece_bytes;
        piece_write(w, g);
    }
}
