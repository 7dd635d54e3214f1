#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Map the arena without a look at its header: the client can write that, and may have done so to keep us from serving or reaping it. The
 * supervisor made the segment by the spec in `info` and sealed its size.
 */
static bool arena_map_blind(struct worker *w, struct client *c)
{
    const struct arena_spec spec = {.slot_cnt = c->info.slot_cnt,
                                    .request_bytes = c->info.request_bytes,
                                    .response_bytes = c->info.response_bytes,
                                    .role = c->info.role};
    uint64_t bytes = arena_bytes(w->region, &spec);
    struct stat st;
    if (fstat(c->info.arena_fd, &st) != 0 || (uint64_t)st.st_size < bytes) {
        return false;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->info.arena_fd, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    c->arena = (struct weir_segment){.base = base, .bytes = bytes, .fd = c->info.arena_fd};
    return true;
}

static bool arena_map(struct worker *w, struct client *c)
{
    const struct client_info *i = &c->info;
    if (!arena_map_blind(w, c)) {
        return false;
    }
    if (weir_segment_map(&c->shadow_segment, i->shadow_fd, WEIR_SEGMENT_SHADOW,
                         w->region->broker_id, WEIR_MAP_WRITE) != WEIR_OK) {
        (void)munmap(c->arena.base, c->arena.bytes);
        return false;
    }
    /* Sections are computed from the spec and from nothing else. */
    uint64_t off = sizeof(struct weir_shm_header);
    char *base = c->arena.base;
    c->wake = (void *)(base + off);
    off += weir_round_up(sizeof *c->wake, WEIR_LINE_BYTES);
    c->meter = base + off;
    c->meter_stride_bytes = meter_stride_bytes(w->region);
    off += weir_round_up(WEIR_THREADS_MAX * c->meter_stride_bytes, WEIR_LINE_BYTES);
    const struct arena_spec spec = {.role = i->role};
    c->audit_ring = arena_audit_bytes(w->region, &spec) > 0 ? base + off : NULL;
    off += arena_audit_bytes(w->region, &spec);
    c->slot = (void *)(base + off);
    off += weir_round_up((uint64_t)i->slot_cnt * sizeof *c->slot, WEIR_LINE_BYTES);
    c->request = base + off;
    c->request_stride_bytes = i->request_bytes;
    off += weir_round_up((uint64_t)i->slot_cnt * i->request_bytes, WEIR_LINE_BYTES);
    c->response = base + off;
    c->response_bytes = i->response_bytes;
    c->shadow = (void *)((char *)c->shadow_segment.base + sizeof(struct weir_shm_header));
    c->doubt =
        weir_segment_section(&c->shadow_segment, WEIR_SECTION_DOUBT, sizeof *c->doubt, NULL, NULL);
    return c->doubt != NULL && off + i->response_bytes <= c->arena.bytes;
}

static void client_board(struct worker *w, const struct client *c, enum weir_client_state state)
{
    struct weir_shm_client *b = &w->region->client[c->info.index];
    if (state == WEIR_CLIENT_LIVE) {
        uint32_t life = b->life + 1;
        memset((char *)b + sizeof b->state, 0, sizeof *b - sizeof b->state);
        b->life = life;
        b->pid = c->info.pid;
        b->uid = c->info.uid;
        b->role = c->info.role;
        b->domain = c->info.domain;
        b->slot_cnt = c->info.slot_cnt;
        b->arena_bytes = c->arena.bytes;
        b->attached_ns = c->info.attached_ns;
        memcpy(b->name, c->info.name, sizeof b->name);
    }
    WEIR_WEAVE("client:board");
    weir_store_release_u32(&b->state,
                           state); /* no partner: monitors copy rows, and one may be a look old */
}

/* Room that a former worker had given out, and requests that it had taken. */
static void recover(struct worker *w, struct client *c)
{
    for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
        struct weir_shm_shadow *sh = &c->shadow[s];
        if (sh->pool_bytes > 0 && !pool_claim(&c->pool, sh->pool_off_bytes, sh->pool_bytes)) {
            sh->pool_bytes = 0;
        }
    }
    /* First what was on the wire: it is to find memory, if anything does. */
    for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
        if (c->shadow[s].state == WEIR_SLOT_SENDING) {
            intake_recover(w, c, s);
        }
    }
    for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
        if (c->call[s] == NULL) { /* of one that has ended, its bells once more at most */
            intake_recover(w, c, s);
        }
    }
}

/* Memory for it, and its segments mapped. False: nothing is held. */
static bool client_open(struct worker *w, struct client *c)
{
    uint64_t counts = WEIR_THREADS_MAX * meter_stride_bytes(w->region) / sizeof(uint32_t);
    c->call = calloc(c->info.slot_cnt, sizeof *c->call);
    c->meter_seen = calloc(counts, sizeof *c->meter_seen);
    c->brokered = calloc(2UL * w->region->limit_cnt + 1, sizeof *c->brokered);
    if (c->call != NULL && c->meter_seen != NULL && c->brokered != NULL &&
        pool_init(&c->pool, c->info.response_bytes) && arena_map(w, c)) {
        return true;
    }
    pool_free(&c->pool);
    free(c->call);
    free(c->meter_seen);
    free(c->brokered);
    *c = (struct client){.info = c->info, .recovered = c->recovered};
    return false;
}

static void client_begin(struct worker *w, struct client *c)
{
    const struct client_info *info = &c->info;
    uint32_t life = w->client_life[info->index];
    bool recovered = c->recovered;
    c->live = true;
    c->unit_life = weir_client_life(c->arena.base);
    c->self.uid = info->uid;
    memcpy(c->self.name, info->name, sizeof c->self.name);
    weir_permit_self_find(&c->self, &w->shared.tables);
    usage_attach(w, c, recovered);
    if (recovered) {
        /* the dead worker had folded them, but for a quarter second */
        memcpy(c->meter_seen, c->meter, WEIR_THREADS_MAX * meter_stride_bytes(w->region));
    } else {
        client_board(w, c, WEIR_CLIENT_LIVE);
    }
    audit_attach(w, c, recovered);
    loop_poll(&w->loop, LOOP_DOORBELL, life, info->index, info->doorbell_fd, POLLIN, true);
    loop_poll(&w->loop, LOOP_PIDFD, life, info->index, info->pidfd, POLLIN, false);
    if (recovered) {
        recover(w, c);
    }
    intake_sweep(w, c); /* it may have submitted before we knew it */
    log_info("client_attached", "s:i, s:i, s:i, s:s, s:i, s:b", "client", (int)info->index,
             "client_pid", (int)info->pid, "uid", (int)info->uid, "name", info->name, "slots",
             (int)info->slot_cnt, "recovered", (int)recovered);
    if (info->gone) {
        client_gone(w, info->index);
    }
}

void client_attach(struct worker *w, const struct client_info *info, bool recovered)
{
    struct client *c = &w->client[info->index];
    *c = (struct client){.info = *info, .recovered = recovered};
    w->client_life[info->index]++;
    if (client_open(w, c)) {
        client_begin(w, c);
    } else {
        /* It has been let in, and may have handed over orders: they wait until there is memory (client_retry), or end with it (client_gone). */
        log_error("client_not_mapped", "s:i, s:s", "client", (int)info->index, "next_step",
                  "its requests wait; it is tried again every 10 ms: give this machine memory");
    }
}

void client_retry(struct worker *w, struct client *c)
{
    if (client_open(w, c)) {
        client_begin(w, c);
    }
}

/* Free what is left of it, and tell the supervisor that its index may be used again. */
static void client_forget(struct worker *w, struct client *c)
{
    const struct control_message m = {.kind = CONTROL_REAPED, .client = {.index = c->info.index}};
    pool_free(&c->pool);
    free(c->call);
    free(c->meter_seen);
    free(c->brokered);
    *c = (struct client){0};
    if (w->control >= 0) {
        (void)control_send(w->control, &m, sizeof m, NULL, 0);
    }
}

void client_gone(struct worker *w, uint32_t index)
{
    struct client *c = index < WEIR_CLIENTS_MAX ? &w->client[index] : NULL;
    if (c == NULL || c->gone) {
        return;
    }
    if (!c->live) {
        if (c->info.slot_cnt > 0) { /* it came, and could not be mapped */
            const int fds[] = {c->info.arena_fd, c->info.shadow_fd, c->info.doorbell_fd,
                               c->info.bell_fd, c->info.pidfd};
            for (size_t i = 0; i < WEIR_ARRAY_CNT(fds); i++) {
                (void)close(fds[i]);
            }
            client_forget(w, c);
        }
        return;
    }
    c->gone = true;
    client_board(w, c, WEIR_CLIENT_GONE);
    units_sweep(w);
    client_fold_meters(w, c);
    dispatch_cancel_client(w, c);
    client_reap_if_idle(w, c);
}

void clients_closed(struct worker *w)
{
    struct pollfd bell[WEIR_CLIENTS_MAX];
    uint32_t index[WEIR_CLIENTS_MAX];
    nfds_t cnt = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (w->client[i].live && !w->client[i].gone) {
            index[cnt] = i;
            bell[cnt++] = (struct pollfd){.fd = w->client[i].info.bell_fd};
        }
    }
    if (cnt == 0 || poll(bell, cnt, 0) <= 0) {
        return;
    }
    for (nfds_t k = 0; k < cnt; k++) {
        if ((bell[k].revents & (POLLHUP | POLLERR)) != 0) {
            client_gone(w, index[k]);
        }
    }
}

/* Requests that it submitted and nobody took: they end here, unseen. */
static uint32_t drop_submitted(struct client *c)
{
    uint32_t cnt = 0;
    for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
        uint64_t word = weir_load_acquire_u64(&c->slot[s].state); /* pair:slot A */
        if (weir_slot_state(word) == WEIR_SLOT_SUBMITTED && c->call[s] == NULL) {
            cnt++;
        }
    }
    return cnt;
}

void client_reap_if_idle(struct worker *w, struct client *c)
{
    if (!c->gone || c->in_flight > 0) {
        return;
    }
    uint32_t dropped = drop_submitted(c);
    client_fold_meters(w, c);
    uint32_t life = w->client_life[c->info.index];
    loop_poll_cancel(&w->loop, LOOP_DOORBELL, life, c->info.index);
    loop_poll_cancel(&w->loop, LOOP_PIDFD, life, c->info.index);
    loop_pump(&w->loop);
    board_add(&w->region->worker->client_reaped, 1);
    board_add(&w->region->worker->slot_reaped, dropped);
    client_board(w, c, WEIR_CLIENT_FREE);
    weir_store_relaxed_u32(&w->region->block->client[c->info.index],
                           WEIR_BLOCK_NONE); /* relaxed: the next client starts unblocked */
    weir_segment_unmap(&c->arena);           /* closes the descriptors too */
    weir_segment_unmap(&c->shadow_segment);
    int rest[] = {c->info.doorbell_fd, c->info.bell_fd, c->info.pidfd};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rest); i++) {
        (void)close(rest[i]);
    }
    log_info("client_reaped", "s:i, s:s, s:i", "client", (int)c->info.index, "name", c->info.name,
             "requests_dropped", (int)dropped);
    client_forget(w, c);
}

void client_room_release(struct client *c, uint32_t slot)
{
    struct weir_shm_shadow *sh = &c->shadow[slot];
    if (sh->pool_bytes > 0) {
        pool_release(&c->pool, sh->pool_off_bytes, sh->pool_bytes);
        sh->pool_bytes = 0;
    }
}

/*
 * Has the client let go of the answer that its shadow says is whole? Not while the word says that it is on its way: a worker died between the two,
 * and its successor, which is about to deliver it, looks for room for the calls of other slots.
 */
static bool is_released(const struct weir_shm_shadow *sh, uint64_t word)
{
    enum weir_slot_state state = weir_slot_state(word);
    return weir_slot_gen(word) != sh->generation ||
           (state != WEIR_SLOT_DONE && state != WEIR_SLOT_CLAIMED && state != WEIR_SLOT_SENDING);
}

/* Take back the room of answers that the client has released. */
static bool room_collect(struct client *c)
{
    bool any = false;
    for (uint32_t s = 0; s < c->info.slot_cnt; s++) {
        const struct weir_shm_shadow *sh = &c->shadow[s];
        uint64_t word = weir_load_acquire_u64(&c->slot[s].state); /* pair:slot A */
        if (sh->pool_bytes > 0 && sh->state == WEIR_SLOT_DONE && is_released(sh, word)) {
            client_room_release(c, s);
            any = true;
        }
    }
    return any;
}

bool client_room_hold(struct client *c, uint32_t bytes, uint32_t *off_bytes)
{
    return pool_hold(&c->pool, bytes, off_bytes) ||
           (room_collect(c) && pool_hold(&c->pool, bytes, off_bytes));
}

void client_fold_meters(struct worker *w, struct client *c)
{
    struct region *r = w->region;
    uint64_t granted = 0;
    audit_take(w, c);
    for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) {
        const uint32_t *counts = (const void *)(c->meter + t * c->meter_stride_bytes +
                                                sizeof(struct weir_shm_meter_head));
        uint32_t *seen =
            c->meter_seen +
            (t * c->meter_stride_bytes + sizeof(struct weir_shm_meter_head)) / sizeof(uint32_t);
        for (uint32_t i = 0; i < (r->route_cnt + r->limit_cnt) * WEIR_PRIORITY_CNT; i++) {
            uint32_t now = weir_load_relaxed_u32(
                &counts[i]); /* relaxed: the thread's own counts, its word for it */
            uint32_t diff = now - seen[i];
            if (diff == 0) {
                continue;
            }
            seen[i] = now;
            uint32_t row = i / WEIR_PRIORITY_CNT;
            uint32_t priority = i % WEIR_PRIORITY_CNT;
            if (row < r->route_cnt) {
                board_add(&r->route_stats[row].granted[priority], diff);
                trial_folded(w, row, priority, diff);
                granted += diff;
            } else {
                board_add(&r->limit_stats[row - r->route_cnt].refused[priority], diff);
                audit_refused(w, c, row - r->route_cnt, priority, diff, WEIR_AUDIT_BY_TRADER);
            }
        }
    }
    usage_fold(w, c);
    cache_fold(w, c);
    if (granted > 0) {
        board_add(&r->client[c->info.index].granted, granted);
    }
}
