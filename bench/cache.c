/*
 * cache.c: what a kept answer costs: weir_cache_get of 1 KiB with its head, by a client of its own, from an answer that nginx gave once.
 *
 * The floor is what no shared copy can do without: a sequence, the bytes, the sequence again. weir makes the key, looks at its tables and its clock, and finds the place besides.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "duel.h"
#include "rig_weird.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"

#define ROOM_BYTES 4096U

struct cache_stand {
    struct rig_weird weird;
    uint64_t *line; /* sequence, then RIG_BODY_BYTES */
};

struct cache_member {
    struct weir *weir;
    weir_route_id route;
    uint64_t *line;
    char room[ROOM_BYTES];
};

static void *member_open(const void *arg, unsigned member, struct duel_why *why)
{
    static struct cache_member me; /* one per process */
    const struct cache_stand *stand = arg;
    struct weir_diag diag = {0};
    struct weir_response response;
    struct weir_open_opts opts = rig_weird_opts(&stand->weird);
    (void)member;
    me.line = stand->line;
    if (weir_open(&me.weir, "bench", &opts, &diag) != 0) {
        duel_fail(why, "cannot attach: %s", diag.text);
        return NULL;
    }
    int rc = weir_route_find(me.weir, "bench.kept", &me.route);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof(spec), .route = me.route, .query = "symbol=BTCUSDT&limit=5"};
    rc = rc != 0 ? rc
                 : weir_call(me.weir, &spec, weir_now_ns(me.weir) + 5 * WEIR_NS_PER_S, &response);
    if (rc != 0 || response.status != 200 || response.body_bytes != RIG_BODY_BYTES) {
        duel_fail(why, "no answer to keep: %s", rc < 0 ? weir_strerror(rc) : "not 200");
        return NULL;
    }
    (void)weir_release(me.weir, response.ticket);
    return &me;
}

static int subject(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct cache_member *me = self;
    struct weir_response response;
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof(spec), .route = me->route, .query = "symbol=BTCUSDT&limit=5"};
    int wrong = 0;
    DUEL_LOOP(cnt, hist, {
        wrong |= weir_cache_get(me->weir, &spec, 0, me->room, sizeof(me->room), &response);
    });
    return wrong == 0 ? 0 : duel_fail(why, "weir_cache_get found nothing");
}

static inline void copy(const uint64_t *line, char *to)
{
    uint64_t sequence;
    do {
        sequence = weir_load_acquire_u64(
            &line[0]); /* pair:cache A: as a reader of the real one; this one has no writer */
        memcpy(to, line + 1, RIG_BODY_BYTES);
        __asm__ volatile("" : : "r"(to) : "memory");
        weir_fence_acquire();
    } while (weir_load_relaxed_u64(&line[0]) != sequence);
}

static int floor_copy(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct cache_member *me = self;
    (void)why;
    DUEL_LOOP(cnt, hist, copy(me->line, me->room));
    return 0;
}

int bench_cache_hit(const struct bench *bench, struct bench_result *result)
{
    struct rig_dir dir;
    struct rig_nginx nginx = {0};
    struct cache_stand stand = {.line = duel_share(sizeof(uint64_t) + RIG_BODY_BYTES)};
    struct rig_weird_spec weird = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct duel_spec duel = {.member_cnt = 1,
                             .core = {bench_core(bench, 0)},
                             .open = member_open,
                             .batch = {floor_copy, subject},
                             .batch_cnt = {1000, 1000},
                             .arg = &stand};
    int rc = -1;
    if (stand.line == NULL) {
        return bench_fail(result, "no shared memory");
    }
    if (rig_dir_make(&dir, result) == 0) {
        if (rig_nginx_start(&nginx, &dir, bench_core(bench, 1), result) == 0) {
            weird.port = nginx.port;
            if (rig_weird_start(bench, &stand.weird, &weird, result) == 0) {
                rc = duel_run(bench, &duel, result);
                rig_weird_stop(&stand.weird);
            }
            rig_stop(&nginx.child);
        }
        rig_dir_remove(&dir);
    }
    (void)munmap(stand.line, sizeof(uint64_t) + RIG_BODY_BYTES);
    return rc;
}
