/*
 * dst_broker.c: the supervisor's part, in the order of broker/supervisor.c and broker/admission.c, with the real region, journal and aftermath.
 *
 * The supervisor is a process of its own: it holds the segments, renews the lease while no worker lives, starts workers, and passes messages. Sockets and
 * pidfds are numbers here.
 */
#include "dst.h"

#include "broker/aftermath.h"
#include "broker/journal.h"
#include "broker/log.h"
#include "broker/worker.h"
#include "libclient/handle.h"
#include "shm/weir_attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BEAT_NS    (200 * DST_MS)
#define INBOX_MAX  256U
#define ATTACH_MAX 65536U

struct dst_process dst_worker_process = {.name = "worker"};
struct dst_process dst_supervisor_process = {.name = "supervisor"};

struct attached {
    bool used;
    unsigned client; /* of dst_clients */
    uint64_t life;
    struct client_info info;
    bool rung, closed;
};

static struct {
    bool up;  /* clients may attach */
    bool ran; /* a broker has run on this host's disk before */
    bool stopping, drain_told;
    uint64_t life;
    struct region region;
    struct journal journal;
    struct attached attached[WEIR_CLIENTS_MAX];
    struct control_message inbox[INBOX_MAX];
    unsigned inbox_first, inbox_cnt;
    uint64_t restart_at;
    uint64_t worker_since;
    uint64_t worker_lives;
    uint64_t backoff;
    unsigned attach_number;
    uint64_t ticket;
} b;

static bool again_planned;

struct region *dst_region(void)
{
    return dst_supervisor_process.live || dst_worker_process.live ? &b.region : NULL;
}

bool dst_broker_up(void)
{
    return b.up && dst_supervisor_process.live;
}

bool dst_worker_up(void)
{
    return dst_worker_process.live;
}

uint64_t dst_worker_since(void)
{
    return b.worker_since;
}

uint64_t dst_broker_life(void)
{
    return b.life;
}

uint64_t dst_broker_worker_lives(void)
{
    return b.worker_lives;
}

unsigned dst_broker_attached(void)
{
    unsigned cnt = 0;
    for (unsigned i = 0; i < WEIR_CLIENTS_MAX; i++) {
        cnt += b.attached[i].used;
    }
    return cnt;
}

/* ---------------------------------------------------------------------------------------------- log: the trace */

void log_open(enum weir_config_log level, const char *process)
{
    (void)level;
    (void)process;
}

void log_warm_up(void)
{
}

void log_event(enum weir_config_log level, const char *event, const char *fields, ...)
{
    char text[512] = "";
    size_t n = 0;
    va_list args;
    dst_trace(event, level, 0, 0);
    if (!dst_tracing) {
        return;
    }
    va_start(args, fields);
    for (const char *p = fields; *p != '\0' && n < sizeof text - 64; p++) {
        if (*p != 's' || p[1] != ':') {
            continue;
        }
        const char *name = va_arg(args, const char *);
        p += 2;
        const char *end = text + sizeof text;
        char *at = text + n;
        size_t room = (size_t)(end - at);
        n += (size_t)(*p == 's' ? snprintf(at, room, " %s=%.100s", name, va_arg(args, const char *))
                      : *p == 'I' ? snprintf(at, room, " %s=%lld", name, va_arg(args, long long))
                                  : snprintf(at, room, " %s=%d", name, va_arg(args, int)));
    }
    va_end(args);
    dst_say("   log:%s", text);
}

/* ---------------------------------------------------------------------------------------------- control messages */

bool dst_control_ready(void);
bool dst_doorbell_rung(int fd);

bool dst_control_ready(void)
{
    return b.inbox_cnt > 0 || !dst_supervisor_process.live;
}

static void tell_worker(const struct control_message *m)
{
    if (!dst_worker_process.live) {
        return;
    }
    if (b.inbox_cnt == INBOX_MAX) {
        dst_broken("simulator", "too many control messages");
    }
    b.inbox[(b.inbox_first + b.inbox_cnt++) % INBOX_MAX] = *m;
    dst_loop_control();
}

static int copy_for(struct dst_process *p, int fd)
{
    if (fd >= DST_FD_FIRST) {
        return fd;
    }
    int copy = dup(fd);
    if (copy < 0) {
        dst_broken("simulator", "no descriptors left");
    }
    dst_process_fd(p, copy);
    return copy;
}

ssize_t control_receive(int socket, void *message, size_t bytes, int *fds, size_t *fd_cnt)
{
    (void)socket;
    *fd_cnt = 0;
    if (b.inbox_cnt == 0) {
        errno = EAGAIN;
        return dst_supervisor_process.live ? -1 : 0;
    }
    struct control_message m = b.inbox[b.inbox_first];
    b.inbox_first = (b.inbox_first + 1) % INBOX_MAX;
    b.inbox_cnt--;
    if (m.kind == CONTROL_ATTACH) {
        fds[0] = copy_for(&dst_worker_process, m.client.arena_fd);
        fds[1] = copy_for(&dst_worker_process, m.client.shadow_fd);
        fds[2] = m.client.doorbell_fd;
        fds[3] = m.client.bell_fd;
        fds[4] = m.client.pidfd;
        *fd_cnt = CONTROL_FDS;
    }
    memcpy(message, &m, bytes);
    return (ssize_t)bytes;
}

static void reaped(uint32_t index)
{
    struct attached *a = &b.attached[index];
    if (!a->used) {
        return;
    }
    struct dst_process *saved = dst_cur;
    dst_cur = &dst_supervisor_process;
    (void)close(a->info.arena_fd);
    (void)close(a->info.shadow_fd);
    dst_cur = saved;
    a->used = false;
}

static void operated(const struct control_operation *o)
{
    dst_say("operated: %s", o->answer.text);
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        dst_check_resumed(i); /* whatever it was: what was told before it is not judged any more */
    }
}

int control_send(int socket, const void *message, size_t bytes, const int *fds, size_t fd_cnt)
{
    const struct control_message *m = message;
    (void)socket;
    (void)bytes;
    (void)fds;
    (void)fd_cnt;
    if (!dst_supervisor_process.live) {
        return -1;
    }
    if (m->kind == CONTROL_REAPED) {
        dst_trace("reaped", m->client.index, 0, 0);
        reaped(m->client.index);
    } else if (m->kind == CONTROL_OPERATED) {
        operated(&m->operation);
    }
    return 0;
}

void dst_broker_operate(unsigned operation, const char *target, uint64_t duration_ns)
{
    struct control_message m = {.kind = CONTROL_OPERATE, .operation = {.ticket = ++b.ticket}};
    m.operation.asked = (struct weir_operate){.magic = WEIR_OPERATE_MAGIC,
                                              .version = WEIR_OPERATE_VERSION,
                                              .bytes = sizeof m.operation.asked,
                                              .operation = operation,
                                              .duration_ns = duration_ns};
    (void)snprintf(m.operation.asked.target, sizeof m.operation.asked.target, "%s", target);
    if (!b.stopping && dst_supervisor_process.live) {
        tell_worker(&m);
    }
}

/* ---------------------------------------------------------------------------------------------- the worker's lives */

static void worker_body(void *arg)
{
    static struct client_info infos[WEIR_CLIENTS_MAX];
    uint32_t cnt = 0;
    (void)arg;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (b.attached[i].used) {
            infos[cnt] = b.attached[i].info;
            infos[cnt].arena_fd = copy_for(&dst_worker_process, infos[cnt].arena_fd);
            infos[cnt].shadow_fd = copy_for(&dst_worker_process, infos[cnt].shadow_fd);
            cnt++;
        }
    }
    int rc = worker_run(dst_config, &b.region, infos, cnt, DST_FD_CONTROL, DST_FD_RESOLVER);
    dst_trace("worker left", (uint64_t)rc, 0, 0);
    if (rc != 0) {
        dst_broken("worker", "it does not start: status %d", rc);
    }
}

static void worker_died(struct dst_process *p)
{
    (void)p;
    dst_trace("worker died", b.worker_lives, 0, 0);
    dst_http_worker_died();
    dst_loop_worker_died();
    b.inbox_cnt = 0;
    b.restart_at = dst_now + dst_log_uniform(100 * DST_US, 5 * DST_MS);
    if (dst_chance(0.1)) { /* SIGSEGV: it backs off */
        b.restart_at = dst_now + DST_S;
    }
    dst_wake_process(&dst_supervisor_process);
}

static void worker_start(void)
{
    b.restart_at = 0;
    b.worker_lives++;
    b.worker_since = dst_now;
    b.inbox_cnt = 0;
    b.drain_told = false;
    dst_born(&dst_worker_process, worker_body, NULL);
    dst_trace("worker", b.worker_lives, 0, 0);
}

/* ---------------------------------------------------------------------------------------------- the supervisor */

static void supervisor_open(void)
{
    char text[512] = "";
    enum aftermath found;
    memset(b.attached, 0, sizeof b.attached);
    b.stopping = false;
    if (region_create(&b.region, dst_config, text, sizeof text) != WEIR_OK) {
        dst_broken("simulator", "%s", text);
    }
    b.region.journal = &b.journal;
    bool fresh = !b.ran;
    if (journal_open(&b.journal, dst_world.journal ? "/state" : JOURNAL_NONE, "dst", text,
                     sizeof text) != 0 ||
        aftermath_enter("/run/dst", &b.region, fresh, &found, text, sizeof text) != 0) {
        dst_broken("restart", "the broker does not start: %s", text);
    }
    b.ran = true;
    b.life++;
    b.up = true;
    dst_trace("broker", b.life, found, b.region.journal_board->found);
}

static void beat(void)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    weir_store_relaxed_u64(&b.region.supervisor->heartbeat_ns, now_ns);
    if (!dst_worker_process.live && !b.stopping) {
        weir_store_release_u64(&b.region.gate->lease_until_ns, now_ns + LEASE_NS);
        if (dst_now >= b.restart_at) {
            worker_start();
        }
    }
    const struct control_message drain = {.kind = CONTROL_DRAIN};
    if (b.stopping && !b.drain_told && dst_worker_process.live) {
        tell_worker(&drain);
        b.drain_told = true;
    }
}

static void supervisor_body(void *arg)
{
    (void)arg;
    supervisor_open();
    worker_start();
    while (!b.stopping || dst_worker_process.live) {
        beat();
        uint64_t next = dst_now + BEAT_NS;
        next = !dst_worker_process.live && b.restart_at < next ? b.restart_at : next;
        dst_block(next, NULL);
    }
    weir_store_release_u64(&b.region.gate->lease_until_ns, 0);
    (void)usleep(1000);
    b.up = false;
    if (aftermath_leave("/run/dst", &b.region) != 0) {
        dst_broken("restart", "the state is not written");
    }
    dst_trace("stopped", b.life, 0, 0);
}

static void start_event(void *arg, uint64_t x, uint64_t y)
{
    (void)arg;
    (void)x;
    (void)y;
    again_planned = false;
    if (dst_supervisor_process.live) {
        return;
    }
    if (dst_worker_process.live) { /* it holds the lock */
        again_planned = true;
        dst_at(dst_now + 500 * DST_MS, start_event, NULL, 0, 0);
        return;
    }
    dst_born(&dst_supervisor_process, supervisor_body, NULL);
}

static void supervisor_died(struct dst_process *p)
{
    (void)p;
    b.up = false;
    dst_trace("supervisor died", b.life, dst_worker_process.live, 0);
    dst_loop_control(); /* its end of the socket is closed */
    for (unsigned i = 0; i < WEIR_CLIENTS_MAX; i++) {
        b.attached[i].used = b.attached[i].used && dst_worker_process.live;
    }
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        dst_check_resumed(i);
    }
    if (!again_planned) {
        again_planned = true;
        dst_at(dst_now + dst_log_uniform(DST_MS, 3 * DST_S), start_event, NULL, 0, 0);
    }
}

void dst_broker_start(void)
{
    again_planned = true;
    dst_at(dst_now, start_event, NULL, 0, 0);
}

void dst_broker_stop(void)
{
    b.stopping = dst_broker_up(); /* before that SIGTERM just ends it */
    dst_wake_process(&dst_supervisor_process);
}

void dst_broker_reset(void)
{
    memset(&b, 0, sizeof b);
    again_planned = false;
    dst_worker_process.died = worker_died;
    dst_supervisor_process.died = supervisor_died;
    dst_supervisor_process.heir = &dst_worker_process;
    dst_worker_process.stall_max = 20 * DST_MS;
    dst_supervisor_process.stall_max = 20 * DST_MS;
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
        tell_worker(&m);
    }
}

static void left(uint32_t index)
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
            left(i);
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
    bool ok = arena_create(&b.region, "dst", &spec, &arena, &shadow) == WEIR_OK;
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
    if (!dst_broker_up() || b.stopping || !dst_worker_process.live || index == UINT32_MAX) {
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
    tell_worker(&m);
    dst_trace("attach", index, a->client, a->life);
    weir_attach_name(at->client_name, plan->client_name);
    at->role = plan->role;
    at->spin_ns = plan->spin_ns;
    at->client = index;
    at->ring_order = b.region.ring_order;
    at->broker_id = b.region.broker_id;
    at->control_fd = DST_FD_LINK + (int)b.life;
    struct weir_board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        weir_attachment_close(at);
        return WEIR_E_MEMORY;
    }
    board->segment.fd = -1;
    weir_store_release_u64(&at->newest, (uint64_t)(uintptr_t)board);
    const int fd[] = {copy_for(dst_cur, b.region.board.fd),
                      copy_for(dst_cur, b.region.ring[0].fd),
                      copy_for(dst_cur, a->info.arena_fd),
                      a->info.doorbell_fd,
                      a->info.bell_fd,
                      copy_for(dst_cur, b.region.permits.fd)};
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
    if (at->control_fd == DST_FD_LINK + (int)b.life && at->client < WEIR_CLIENTS_MAX &&
        b.attached[at->client].info.doorbell_fd == at->doorbell_fd) {
        b.attached[at->client].closed = true;
        left(at->client);
    }
}

bool weir_attachment_ended(const struct weir_attachment *at)
{
    return at->control_fd != DST_FD_LINK + (int)b.life || !dst_supervisor_process.live;
}

/* Nobody takes over here: there is no newer board. */
bool weir_board_follow(struct weir *w)
{
    (void)w;
    return false;
}

bool weir_board_await(struct weir *w)
{
    (void)w;
    return false;
}

void weir_board_leave(struct weir_attachment *at)
{
    (void)at;
}

int weir_attach_fail(const struct weir_attach_context *c, int error, const char *hint,
                     const char *cause, ...)
{
    (void)c;
    (void)hint;
    dst_say("attach failed: %d %s", error, cause);
    return error;
}
