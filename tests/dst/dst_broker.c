/*
 * dst_broker.c: the supervisor's part, in the order of broker/supervisor.c and broker/admission.c, with the real region, journal and aftermath.
 *
 * The supervisor is a process of its own: it holds the segments, renews the lease while no worker lives, starts workers, and passes messages. Sockets and
 * pidfds are numbers here.
 */
#include "dst_broker.h"
#include "dst_session.h"

#include "broker/admission.h"
#include "broker/aftermath.h"
#include "broker/log.h"
#include "broker/reload.h"

#define BEAT_NS      (200 * DST_MS)
#define TAKER_MAX_NS (10 * DST_S) /* as broker/supervisor.c has them */

struct dst_process dst_worker_process = {.name = "worker"};
struct dst_process dst_supervisors[2] = {{.name = "supervisor"}, {.name = "successor"}};
struct dst_process *dst_supervisor = &dst_supervisors[0];

struct dst_broker dst_broker;

static bool again_planned;

struct region *dst_region(void)
{
    return dst_supervisor_process.live || dst_worker_process.live ? &my_side->s.region : NULL;
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

void log_warm_up(void) {}

void log_event(enum weir_config_log level, const char *event, const char *fields, ...)
{
    char text[512] = "";
    size_t n = 0;
    va_list args;
    dst_trace(event, level, 0, 0);
    if (strcmp(event, "sign_in_renewed") == 0) {
        va_start(args, fields);
        (void)va_arg(args, const char *); /* "provider" */
        dst_session_renewed(va_arg(args, const char *));
        va_end(args);
    }
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

bool dst_control_ready(void)
{
    return b.inbox_cnt > 0 || !dst_supervisor_process.live;
}

void dst_tell_worker(const struct control_message *m)
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

int dst_copy_for(struct dst_process *p, int fd)
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
    if (socket != DST_FD_CONTROL) {
        return dst_handover_receive(socket, message, bytes, fds, fd_cnt);
    }
    *fd_cnt = 0;
    if (b.inbox_cnt == 0) {
        errno = EAGAIN;
        return dst_supervisor_process.live ? -1 : 0;
    }
    struct control_message m = b.inbox[b.inbox_first];
    b.inbox_first = (b.inbox_first + 1) % INBOX_MAX;
    b.inbox_cnt--;
    if (m.kind == CONTROL_ATTACH) {
        fds[0] = dst_copy_for(&dst_worker_process, m.client.arena_fd);
        fds[1] = dst_copy_for(&dst_worker_process, m.client.shadow_fd);
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
    if (socket == DST_FD_WORKER) {
        dst_tell_worker(m);
        return 0;
    }
    if (socket != DST_FD_CONTROL) {
        return dst_handover_send(socket, message, bytes, fds, fd_cnt);
    }
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
        dst_tell_worker(&m);
    }
}

/* ---------------------------------------------------------------------------------------------- the worker's lives */

/* What it is born with, as fork has it: the clients of that instant, whoever is reaped or attaches before it runs. */
static struct {
    struct client_info info[WEIR_CLIENTS_MAX];
    uint32_t cnt;
} heirloom;

static void heirloom_make(void)
{
    heirloom.cnt = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (b.attached[i].used) {
            struct client_info *info = &heirloom.info[heirloom.cnt++];
            *info = b.attached[i].info;
            info->arena_fd = dst_copy_for(&dst_worker_process, info->arena_fd);
            info->shadow_fd = dst_copy_for(&dst_worker_process, info->shadow_fd);
        }
    }
}

static void worker_body(void *arg)
{
    (void)arg;
    int rc = worker_run(my_side->s.config, &my_side->s.region, heirloom.info, heirloom.cnt,
                        DST_FD_CONTROL, DST_FD_RESOLVER);
    dst_trace("worker left", (uint64_t)rc, 0, 0);
    if (rc != 0) {
        dst_broken("worker", "it does not start: status %d", rc);
    }
}

static void worker_died(struct dst_process *p)
{
    dst_trace("worker died", b.worker_lives, 0, 0);
    dst_http_worker_died();
    dst_loop_worker_died();
    dst_disk_worker_died();
    dst_handover_died(p);
    b.inbox_cnt = 0;
    b.restart_at = dst_now + dst_log_uniform(100 * DST_US, 5 * DST_MS);
    if (dst_chance(0.1)) { /* SIGSEGV: it backs off */
        b.restart_at = dst_now + DST_S;
    }
    dst_wake_process(&dst_supervisor_process);
}

void dst_worker_start(void)
{
    b.restart_at = 0;
    b.worker_lives++;
    b.worker_since = dst_now;
    b.inbox_cnt = 0;
    b.drain_told = false;
    dst_born(&dst_worker_process, worker_body, NULL);
    heirloom_make();
    dst_trace("worker", b.worker_lives, 0, 0);
}

/* ---------------------------------------------------------------------------------------------- the supervisor */

/* False: the disk fails, and the broker says so and does not start. */
static bool broker_open(void)
{
    char text[512] = "";
    enum aftermath found;
    memset(b.attached, 0, sizeof b.attached);
    memset(my_side, 0, sizeof *my_side);
    b.stopping = false;
    if (region_create(&my_side->s.region, dst_reload_read(), text, sizeof text) != WEIR_OK) {
        dst_broken("simulator", "%s", text);
    }
    my_side->s.region.journal = &my_side->s.journal;
    my_side->s.region.handover = &my_side->s.handover;
    bool fresh = !b.ran;
    if (journal_open(&my_side->s.journal, dst_world.journal ? "/state" : JOURNAL_NONE, "dst", text,
                     sizeof text) != 0 ||
        aftermath_enter("/run/dst", &my_side->s.region, fresh, &found, text, sizeof text) != 0) {
        if (dst_faults[DST_DISK_SYNC_FAILED] == 0) {
            dst_broken("restart", "the broker does not start: %s", text);
        }
        dst_say("not started: %s", text);
        return false;
    }
    dst_reload_begun(found == AFTERMATH_RESTORED);
    if (found != AFTERMATH_RESTORED) {
        dst_count_forget_surcharges();
    }
    b.clean = false;
    last_good_open(&my_side->s.last_good, dst_config, &my_side->s.journal, &my_side->s.region,
                   true);
    handover_adopt(&my_side->s.handover, "/run/dst", DST_FD_LISTENER, DST_FD_LOCK);
    dst_reload_adopt(my_side);
    sign_in_files_open(&my_side->s.sign_in, my_side->s.config, &my_side->s.journal,
                       &my_side->s.region);
    b.ran = true;
    b.life++;
    dst_http_traders_end();
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        dst_check_resumed(
            i); /* what a worker without a supervisor was told is not judged, either */
    }
    b.up = true;
    dst_trace("broker", b.life, found, my_side->s.region.journal_board->found);
    return true;
}

/* What broker/supervisor.c does of a takeover, as the giver. */
static const struct client_info *client_next(void *arg, uint32_t from, int *socket)
{
    (void)arg;
    for (uint32_t i = from; i < WEIR_CLIENTS_MAX; i++) {
        if (b.attached[i].used) {
            *socket = b.attached[i].linked ? DST_FD_LINK + (int)(i << 12) : -1;
            return &b.attached[i].info;
        }
    }
    return NULL;
}

static void handover_lost(void)
{
    const struct control_message go_on = {.kind = CONTROL_GO_ON};
    if (my_side->s.quiesce_told) {
        dst_tell_worker(&go_on);
    }
    my_side->s.quiesce_told = false;
}

static void handover_end(void)
{
    struct side *s = my_side; /* which it is not any more when this returns */
    enum handover_end end = handover_finish(&s->s.handover, &s->s.region);
    dst_trace("handover end", end, 0, 0);
    s->left = end != HANDOVER_BACK;
    if (!s->left) {
        weir_store_release_u64(&my_side->s.region.gate->lease_until_ns,
                               weir_clock_monotonic_ns() + LEASE_NS);
        dst_worker_start();
    }
}

static void handover_look(void)
{
    static const int listener[WEIR_DOMAINS_MAX];
    struct handover *h = &my_side->s.handover;
    const struct handover_clients clients = {
        .next = client_next, .arg = NULL, .listener = listener};
    if (dst_handover_waits() && handover_accept(h)) {
        dst_reload_lost(); /* who comes has a configuration of its own */
        my_side->s.quiesce_told = false;
    }
    while (handover_is_on(h) && h->stage == HANDOVER_ASKS && dst_handover_ready(h->socket)) {
        if (handover_read(h, &my_side->s.region, &clients) == HANDOVER_LOST) {
            handover_lost();
        }
    }
    if (handover_is_on(h) && dst_handover_ready(h->socket) &&
        handover_read(h, &my_side->s.region, &clients) == HANDOVER_LOST) {
        handover_lost();
    }
    uint64_t for_ns = weir_clock_monotonic_ns() - h->since_ns;
    if (h->stage == HANDOVER_ASKS && for_ns > TAKER_MAX_NS) {
        handover_drop(h);
    } else if (h->stage == HANDOVER_READY && dst_worker_process.live) {
        switch (quiet_judge(&my_side->s, h->since_ns, weir_clock_monotonic_ns())) {
        case QUIET_KILL:
            dst_kill(&dst_worker_process);
            break;
        case QUIET_GIVE_UP:
            handover_refuse(h, "a token that no disk takes");
            handover_lost();
            break;
        case QUIET_WAIT:
            break;
        }
    }
    const struct control_message quiesce = {.kind = CONTROL_QUIESCE};
    if (h->stage == HANDOVER_READY && !dst_worker_process.live) {
        handover_end();
    } else if (h->stage == HANDOVER_READY && !my_side->s.quiesce_told) {
        dst_tell_worker(&quiesce);
        my_side->s.quiesce_told = true;
    }
}

bool admission_board_send(struct admission *a, uint32_t index)
{
    struct attached *c = &b.attached[index];
    (void)a;
    if (dst_chance(0.1)) {
        return false; /* its connection is full: again with the next beat */
    }
    c->welcome = c->linked;
    c->welcome_at = dst_now + dst_log_uniform(10 * DST_US, 2 * DST_MS);
    return true;
}

static void boards_tell(void)
{
    static struct admission table; /* large */
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        table.used[i] = b.attached[i].used;
    }
    takeover_tell(&my_side->s.takeover, &table);
}

static void beat(void)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    weir_store_relaxed_u64(&my_side->s.region.supervisor->heartbeat_ns, now_ns);
    if (!dst_worker_process.live && !b.stopping) {
        weir_store_release_u64(&my_side->s.region.gate->lease_until_ns, now_ns + LEASE_NS);
        if (dst_now >= b.restart_at) {
            dst_worker_start();
        }
    }
    const struct control_message drain = {.kind = CONTROL_DRAIN};
    if (b.stopping && !b.drain_told && dst_worker_process.live) {
        dst_tell_worker(&drain);
        b.drain_told = true;
    }
}

static void supervisor_loop(void)
{
    const struct side *s = my_side;
    while (!s->left && (!b.stopping || dst_worker_process.live)) {
        if (b.stopping && handover_is_on(&my_side->s.handover)) {
            handover_drop(&my_side->s.handover);
            handover_lost();
        } else if (b.stopping) {
            dst_reload_lost();
        } else if (!b.stopping) {
            handover_look();
        }
        if (s->left) {
            return; /* all is the successor's, or burnt */
        }
        dst_reload_turn();
        beat();
        boards_tell();
        uint64_t next = dst_now + BEAT_NS;
        next = !dst_worker_process.live && b.restart_at < next ? b.restart_at : next;
        dst_block(next, NULL);
    }
    handover_drop(&my_side->s.handover);
    weir_store_release_u64(&my_side->s.region.gate->lease_until_ns, 0);
    (void)usleep(1000);
    b.up = false;
    if (aftermath_leave("/run/dst", &my_side->s.region) != 0 &&
        dst_faults[DST_DISK_SYNC_FAILED] == 0) {
        dst_broken("restart", "the state is not written");
    }
    last_good_leave(&my_side->s.last_good, &my_side->s.region);
    b.clean = true;
    dst_trace("stopped", b.life, 0, 0);
}

static void supervisor_body(void *arg)
{
    (void)arg;
    if (broker_open()) {
        dst_worker_start();
        supervisor_loop();
    }
}

/* ---------------------------------------------------------------------------------------------- the taker */

void admission_restore(struct admission *a, const struct client_info *info, int socket)
{
    (void)a;
    b.attached[info->index].taken = true;
    b.attached[info->index].sent = socket >= 0;
    b.attached[info->index].theirs = *info;
}

/* Permits stood still for so long: by the protocol some messages, and whatever stops of the two processes the run has. */
static void pause_check(uint64_t ended_at)
{
    uint64_t most = 10 * DST_MS + (dst_world.mix.stall > 0 ? 200 * DST_MS : 0);
    uint64_t paused = dst_monotonic() - ended_at;
    dst_checks[DST_CHECK_HANDOVER]++;
    dst_trace("paused for", paused, 0, 0);
    if (paused > most) {
        dst_broken("takeover", "permits stood still for %.3f ms", (double)paused / 1e6);
    }
}

static void reload_event(void *arg, uint64_t x, uint64_t y)
{
    (void)arg;
    (void)x;
    (void)y;
    if (dst_fault(DST_RELOAD, 1)) {
        dst_broker_reload();
    }
}

static void power_take(struct side *s)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct attached *a = &b.attached[i];
        a->used = a->taken;
        a->info = a->taken ? a->theirs : a->info;
        a->linked = a->taken && a->sent;
    }
    pause_check(dst_handover_ended_at());
    dst_supervisor = dst_cur;
    b.now = (unsigned)(s - b.side);
    b.stopping = my_side->s.quiesce_told = b.drain_told = false;
    b.up = true;
    b.restart_at = 0;
    dst_reload_adopt(s);
    reload_guessed(&s->s.region, false,
                   weir_clock_monotonic_ns()); /* as broker/supervisor_open.c has it */
    handover_adopt(&s->s.handover, "/run/dst", DST_FD_LISTENER, DST_FD_LOCK);
    dst_trace("taken over", b.life, b.now, 0);
    if (dst_world.mix.reloads_per_s > 0 && dst_chance(0.3)) { /* some look at the old board still */
        dst_at(dst_now + dst_log_uniform(DST_MS, 2 * DST_S), reload_event, NULL, 0, 0);
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        const struct attached *a = &b.attached[i];
        /* It has a pidfd, and the connection that it was given tells its end. */
        if (a->used && (dst_broker_pid_dead(a->info.pidfd) || (a->linked && a->closed))) {
            dst_client_left(i);
        }
    }
}

static void taker_body(void *arg)
{
    struct side *s = &b.side[b.now ^ 1];
    char text[512] = "";
    bool orphans_only = arg != NULL;
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        b.attached[i].taken = false;
    }
    enum takeover_found found = takeover_begin(&s->s.takeover, "/run/dst", dst_config, orphans_only,
                                               &s->s.region, &s->s.journal, text, sizeof text);
    dst_say("takeover: %d %s", (int)found, text);
    if (found != TAKEOVER_READY) {
        return;
    }
    s->s.region.journal = &s->s.journal;
    s->s.region.handover = &s->s.handover;
    if (takeover_clients(&s->s.takeover, NULL, text, sizeof text) != 0 ||
        takeover_finish(&s->s.takeover, &s->s.region,
                        dst_config->broker.drain_ns + sign_in_longest_ns(dst_config), text,
                        sizeof text) != 0) {
        dst_say("takeover: %s", text);
        return;
    }
    (void)dst_fault(DST_TAKEN_OVER, 1);
    power_take(s);
    boards_tell();
    /* One worker at a time here. The old one touches nothing after TAKEN. */
    while (dst_worker_process.live) {
        dst_block(dst_now + 50 * DST_US, NULL);
    }
    last_good_open(&s->s.last_good, s->s.config, &s->s.journal, &s->s.region, false);
    sign_in_files_open(&s->s.sign_in, s->s.config, &s->s.journal, &s->s.region);
    dst_worker_start();
    if (dst_fault(DST_TAKEOVER_KILLED, dst_world.mix.takeover_kill)) {
        dst_worker_process.kill_in = (long)dst_log_uniform(1, 3000);
    }
    supervisor_loop();
}

bool dst_broker_calm(void)
{
    return dst_broker_up() && !b.stopping &&
           dst_supervisors[0].live + dst_supervisors[1].live == 1 && !dst_reload_is_near();
}

void dst_broker_takeover(void)
{
    if (dst_broker_up() && !b.stopping &&
        !dst_supervisors[0].live + !dst_supervisors[1].live == 1) {
        dst_born(dst_supervisor == dst_supervisors ? &dst_supervisors[1] : &dst_supervisors[0],
                 taker_body, NULL);
        dst_trace("takeover", b.life, 0, 0);
    }
}

static void plan_start(uint64_t at);

static void start_event(void *arg, uint64_t x, uint64_t y)
{
    (void)arg;
    (void)x;
    (void)y;
    again_planned = false;
    if (dst_supervisors[0].live || dst_supervisors[1].live) {
        if (!dst_supervisor_process.live) { /* somebody tries to take over, and may fail */
            plan_start(dst_now + 500 * DST_MS);
        }
        return;
    }
    if (dst_worker_process.live) { /* it holds the lock: take over from it */
        plan_start(dst_now + 500 * DST_MS);
        if (b.unattended) { /* nobody starts anything before it has left by itself */
            return;
        }
        dst_born(dst_supervisor == dst_supervisors ? &dst_supervisors[1] : &dst_supervisors[0],
                 taker_body, &b);
        return;
    }
    dst_reload_edit();
    dst_born(&dst_supervisor_process, supervisor_body, NULL);
}

static void plan_start(uint64_t at)
{
    if (!again_planned) {
        again_planned = true;
        dst_at(at, start_event, NULL, 0, 0);
    }
}

static void supervisor_died(struct dst_process *p)
{
    dst_handover_died(p);
    if (p != dst_supervisor) { /* a taker that is not yet, or a giver that is no more */
        dst_trace("supervisor gone", p->life, 0, 0);
        return;
    }
    b.up = false;
    dst_reload_died();
    if (!b.clean) { /* else the state has them */
        dst_count_forget_surcharges();
    }
    dst_trace("supervisor died", b.life, dst_worker_process.live, 0);
    struct handover *h = &my_side->s.handover;
    h->socket = -1; /* the worker's copy was closed at its birth */
    h->stage = HANDOVER_NONE;
    memset(&h->board, 0, sizeof h->board);
    h->board.fd = -1;
    dst_loop_control(); /* its end of the socket is closed */
    for (unsigned i = 0; i < WEIR_CLIENTS_MAX; i++) {
        b.attached[i].used = b.attached[i].used && dst_worker_process.live;
        b.attached[i].linked = false;
    }
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        dst_check_resumed(i);
    }
    b.unattended = dst_chance(0.3);
    plan_start(dst_now + dst_log_uniform(DST_MS, 3 * DST_S));
}

void dst_broker_start(void)
{
    plan_start(dst_now);
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
    dst_worker_process.stall_max = 20 * DST_MS;
    for (unsigned i = 0; i < 2; i++) {
        dst_supervisors[i].died = supervisor_died;
        dst_supervisors[i].heir = &dst_worker_process;
        dst_supervisors[i].stall_max = 20 * DST_MS;
    }
    dst_supervisor = &dst_supervisors[0];
    b.rejoining = -1;
    dst_reload_reset();
    dst_handover_reset();
}
