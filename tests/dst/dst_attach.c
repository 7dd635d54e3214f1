/* dst_attach.c: clients and their broker: attach, bells, deaths, and the way to a new board. */
#include "dst_broker.h"

#include "libclient/handle.h"
#include "shm/weir_attach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whose connection it is; NULL: somebody else has the index by now. */
static struct attached *link_of(int fd)
{
    struct attached *a = &b.attached[(fd - DST_FD_LINK) >> 12 & 0xff];
    return a->used && a->info.doorbell_fd - DST_FD_DOORBELL == fd - DST_FD_LINK ? a : NULL;
}

/* ---------------------------------------------------------------------------------------------- bells, deaths */

bool dst_doorbell_rung(int fd)
{
    return b.attached[(fd - DST_FD_DOORBELL) >> 12 & 0xff].rung;
}

void dst_broker_doorbell(int fd)
{
    struct attached *a = &b.attached[(fd - DST_FD_DOORBELL) >> 12 & 0xff];
    if (a->used && a->info.doorbell_fd == fd) {
        a->rung = true;
        dst_loop_doorbell(fd);
    }
}

bool dst_broker_bell_closed(int fd)
{
    const struct attached *a = &b.attached[(fd - DST_FD_BELL) >> 12 & 0xff];
    const struct dst_process *p = &dst_client_process[a->client];
    return a->closed || !p->live || p->life != a->life;
}

bool dst_broker_pid_dead(int pidfd)
{
    const struct attached *a = &b.attached[(pidfd - DST_FD_PID) >> 12 & 0xff];
    const struct dst_process *p = &dst_client_process[a->client];
    return !p->live || p->life != a->life;
}

static void gone_event(void *arg, uint64_t index, uint64_t doorbell)
{
    struct attached *a = &b.attached[index];
    (void)arg;
    if (a->used && a->info.doorbell_fd == (int)doorbell && !a->info.gone &&
        dst_supervisor_process.live) {
        const struct control_message m = {.kind = CONTROL_GONE,
                                          .client = {.index = (uint32_t)index}};
        a->info.gone = 1;
        dst_tell_worker(&m);
    }
}

void dst_client_left(uint32_t index)
{
    const struct attached *a = &b.attached[index];
    if (a->used) {
        dst_at(dst_now + dst_log_uniform(10 * DST_US, 2 * DST_MS), gone_event, NULL, index,
               (uint64_t)a->info.doorbell_fd);
    }
}

void dst_broker_client_died(unsigned client)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        const struct attached *a = &b.attached[i];
        if (a->used && a->client == client && a->life == dst_client_process[client].life) {
            if (dst_chance(0.5)) { /* the pidfd or the connection, whichever is seen first */
                dst_loop_process_died(a->info.pidfd);
            }
            dst_client_left(i);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- attach */

static uint32_t index_free(void)
{
    for (uint32_t i = 0; i < 40; i++) {
        if (!b.attached[i].used) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* What admission.c makes of a hello: the client's pieces, kept by the supervisor. */
static bool pieces_make(struct attached *a, uint32_t index, const struct weir_attach_plan *plan)
{
    struct weir_segment arena;
    struct weir_segment shadow;
    struct arena_spec spec = {
        .slot_cnt = plan->slots, .request_bytes = 256, .response_bytes = plan->response_bytes};
    struct dst_process *me = dst_cur;
    dst_hold(true);
    dst_cur = &dst_supervisor_process;
    bool ok = arena_create(&my_side->s.region, "dst", &spec, &arena, &shadow) == WEIR_OK;
    if (ok) {
        a->info.arena_fd = arena.fd;
        a->info.shadow_fd = shadow.fd;
        arena.fd = shadow.fd = -1;
        weir_segment_unmap(&arena);
        weir_segment_unmap(&shadow);
    }
    dst_cur = me;
    dst_hold(false);
    int number = (int)(index << 12 | (b.attach_number++ & 0xfff));
    a->info.index = index;
    a->info.role = plan->role;
    a->info.pid = 1000 + index;
    a->info.slot_cnt = spec.slot_cnt;
    a->info.request_bytes = spec.request_bytes;
    a->info.response_bytes = spec.response_bytes;
    a->info.attached_ns = dst_monotonic();
    a->info.doorbell_fd = DST_FD_DOORBELL + number;
    a->info.bell_fd = DST_FD_BELL + number;
    a->info.pidfd = DST_FD_PID + number;
    weir_attach_name(a->info.name, plan->client_name);
    return ok;
}

int weir_attachment_open(struct weir_attachment *at, const struct weir_attach_plan *plan,
                         struct weir_diag *diag)
{
    struct weir_attach_context c = {.plan = plan, .diag = diag};
    uint32_t index = index_free();
    *at = (struct weir_attachment){.control_fd = -1,
                                   .doorbell_fd = -1,
                                   .bell_fd = -1,
                                   .permits.fd = -1,
                                   .ring.fd = -1,
                                   .arena.fd = -1};
    if (!dst_broker_up() || b.stopping || handover_is_on(&my_side->s.handover) ||
        !dst_worker_process.live || index == UINT32_MAX) {
        return index == UINT32_MAX ? WEIR_E_TOO_MANY_CLIENTS : WEIR_E_NO_BROKER;
    }
    struct attached *a = &b.attached[index];
    *a = (struct attached){.client = (unsigned)(dst_cur - dst_client_process),
                           .life = dst_cur->life};
    if (!pieces_make(a, index, plan)) {
        return WEIR_E_MEMORY;
    }
    a->used = true;
    const struct control_message m = {.kind = CONTROL_ATTACH, .client = a->info};
    dst_tell_worker(&m);
    dst_trace("attach", index, a->client, a->life);
    weir_attach_name(at->client_name, plan->client_name);
    at->role = plan->role;
    at->spin_ns = plan->spin_ns;
    at->client = index;
    at->ring_order = my_side->s.region.ring_order;
    at->broker_id = my_side->s.region.broker_id;
    at->control_fd = DST_FD_LINK + (a->info.doorbell_fd - DST_FD_DOORBELL);
    a->linked = true;
    struct weir_board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        weir_attachment_close(at);
        return WEIR_E_MEMORY;
    }
    board->segment.fd = -1;
    weir_store_release_u64(&at->newest, (uint64_t)(uintptr_t)board);
    const int fd[] = {dst_copy_for(dst_cur, my_side->s.region.board.fd),
                      dst_copy_for(dst_cur, my_side->s.region.ring[0].fd),
                      dst_copy_for(dst_cur, a->info.arena_fd),
                      a->info.doorbell_fd,
                      a->info.bell_fd,
                      dst_copy_for(dst_cur, my_side->s.region.permits.fd)};
    int rc = weir_attachment_map(at, &c, fd, plan->role == WEIR_ROLE_TRADER ? 6 : 5);
    if (rc != WEIR_OK) {
        weir_attachment_close(at);
    }
    return rc;
}

void weir_attachment_close(struct weir_attachment *at)
{
    weir_segment_unmap(&at->arena);
    weir_segment_unmap(&at->ring);
    weir_segment_unmap(&at->permits);
    for (struct weir_board *b0 = weir_board_newest(at), *before; b0 != NULL; b0 = before) {
        before = b0->before;
        weir_segment_unmap(&b0->segment);
        free(b0);
    }
    weir_store_release_u64(&at->newest, 0);
    /* Also where nobody has it just now: a successor that is under way may know it. */
    struct attached *a = at->control_fd >= DST_FD_LINK
                             ? &b.attached[(at->control_fd - DST_FD_LINK) >> 12 & 0xff]
                             : NULL;
    if (a != NULL && a->info.doorbell_fd == at->doorbell_fd) {
        dst_trace("detach", at->client, a->linked, 0);
        a->closed = true;
        if (a->linked) {
            dst_client_left(at->client);
        }
    }
}

bool weir_attachment_ended(const struct weir_attachment *at)
{
    const struct attached *a = link_of(at->control_fd);
    return a == NULL || !a->linked;
}

/* recvmsg on a client's connection: the board of whoever has taken over. */
ssize_t dst_broker_welcome(int fd, struct msghdr *m)
{
    struct attached *a = link_of(fd);
    m->msg_controllen = 0;
    if (a == NULL || !a->linked) {
        return 0;
    }
    if (!a->welcome || dst_now < a->welcome_at || !dst_broker_up()) {
        errno = EAGAIN;
        return -1;
    }
    a->welcome = false;
    struct weir_attach_welcome w = {.magic = WEIR_ATTACH_MAGIC,
                                    .version = WEIR_ATTACH_VERSION,
                                    .bytes = sizeof w,
                                    .error = a->stale ? WEIR_E_STALE : 0,
                                    .client = a->info.index,
                                    .broker_id = my_side->s.region.broker_id,
                                    .fd_cnt = 1};
    memcpy(m->msg_iov->iov_base, &w, sizeof w);
    if (!a->stale) {
        int board = dst_copy_for(dst_cur, my_side->s.region.board.fd);
        m->msg_controllen = CMSG_SPACE(sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &board, sizeof board);
    }
    return (ssize_t)sizeof w;
}

/* A hello on a new connection: it stands for the client from now on, or ends and says that the client leaves. */
void dst_broker_knocks(const void *hello)
{
    const struct weir_attach_hello *q = hello;
    const struct attached *a = &b.attached[q->rejoin - 1];
    /* As broker/admission.c: known by its process. An index of a broker before this one may be somebody else's by now. */
    bool known = a->used && dst_cur == &dst_client_process[a->client] && dst_cur->life == a->life;
    b.rejoining = known ? (int)q->rejoin - 1 : -1;
}

void dst_broker_rejoined(int link)
{
    struct attached *a = link_of(link);
    if (a != NULL && b.rejoining >= 0 && a == &b.attached[b.rejoining]) {
        a->linked = a->welcome = true;
        a->stale = a->info.gone != 0;
        a->welcome_at = dst_now + dst_log_uniform(20 * DST_US, 2 * DST_MS);
    }
    b.rejoining = -1;
}

/* The new connection was closed: dup3 has made another number of it, or the client leaves. */
void dst_broker_knocked(void)
{
    if (b.rejoining >= 0 && b.attached[b.rejoining].used) {
        b.attached[b.rejoining].closed = true;
        dst_client_left((uint32_t)b.rejoining);
    }
    b.rejoining = -1;
}

int weir_attach_fail(const struct weir_attach_context *c, int error, const char *hint,
                     const char *cause, ...)
{
    (void)c;
    (void)hint;
    dst_say("attach failed: %d %s", error, cause);
    return error;
}
