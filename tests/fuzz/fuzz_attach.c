/*
 * fuzz_attach.c: who attaches says anything, in any order: the supervisor's side of shm/weir_attach.h, with operators' orders and a worker's answers.
 *
 * The input is a list of steps: a byte for what is done, one for who does it (four connections to two domains), then what the step needs. Hellos and orders are right ones, some
 * bytes of which are others, cut where a byte says so, with up to 15 descriptors that nobody asked for. Oracle: the sanitizers; each answer is of its kind, with a name where it refuses,
 * and with exactly the descriptors of the role where it does not; the worker is told of nobody outside the domain's limits, and gets no order that is none; when all have left and are
 * reaped, nothing counts as held, and as many descriptors are open as before.
 */
#include "broker/admission.h"
#include "broker/log.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define CLIENTS   4U
#define STEPS_MAX 40U

static const char yaml[] = "broker:\n"
                           "  name: fuzz\n"
                           "  log: error\n"
                           "  state_dir: none\n"
                           "  domains:\n"
                           "    - {name: a, clients: 3, slots: 80, arena: 1MiB, request: 4KiB}\n"
                           "    - {name: b, role: caller, clients: 2, quota: {slots: 100, "
                           "monitors: 1}}\n"
                           "providers:\n"
                           "  - name: p\n"
                           "    limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n"
                           "    endpoints: [{name: e, url: \"http://127.0.0.1:1\"}]\n"
                           "    routes: [{name: r, method: GET, path: /r, cost: {l: 1}}]\n";

static struct weir_config *config;
static struct region region;
static struct admission admission;
static int worker[2]; /* the supervisor's end, the worker's */
static int extra;     /* a descriptor that nobody asked for */

/* One connection: our end, and where the supervisor has its own. */
struct end {
    int fd;
    struct peer *peer;
};

static void once(void)
{
    char text[512];
    config = stage_config(yaml);
    stage_region(&region, config);
    log_open(config->broker.log, "fuzz");
    region.gate->lease_until_ns = 1; /* as once the first worker has begun */
    stage_must(admission_open(&admission, config, &region, stage_dir(), NULL, text, sizeof text) ==
                   0 &&
               socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, worker) == 0);
    extra = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static bool printable(const char *text, size_t bytes)
{
    size_t i = 0;
    for (; i < bytes && text[i] != '\0'; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return false;
        }
    }
    return i < bytes;
}

/* ---------------------------------------------------------------------------------------------- what must hold */

static void welcome_check(const struct weir_attach_welcome *w, ssize_t n, size_t fd_cnt)
{
    stage_must(n == (ssize_t)sizeof *w && w->version == WEIR_ATTACH_VERSION &&
               printable(w->text, sizeof w->text) && w->fd_cnt == fd_cnt);
    if (w->error != 0) {
        stage_must(w->error < 0 && fd_cnt == 0 && w->text[0] != '\0' &&
                   strcmp(weir_error_name(w->error), "?") != 0);
    } else {
        stage_must(fd_cnt == 1 || fd_cnt == 5 || (fd_cnt == 6 && w->domain == 0));
        stage_must(fd_cnt == 1 || w->client < WEIR_CLIENTS_MAX);
    }
}

static void answers_check(const struct end *e)
{
    union {
        struct weir_attach_welcome welcome;
        struct weir_operated operated;
        char bytes[1024];
    } said;
    size_t fd_cnt;
    ssize_t n;
    while (e->fd >= 0 && (n = stage_take(e->fd, &said, sizeof said, &fd_cnt)) > 0) {
        if (said.welcome.magic == WEIR_ATTACH_MAGIC) {
            welcome_check(&said.welcome, n, fd_cnt);
        } else {
            stage_must(said.operated.magic == WEIR_OPERATE_MAGIC && fd_cnt == 0 &&
                       n == (ssize_t)sizeof said.operated);
        }
    }
}

static void client_check(const struct client_info *c)
{
    const struct weir_config_domain *d = &config->broker.domain[c->domain];
    const struct arena_spec spec = {.slot_cnt = c->slot_cnt,
                                    .request_bytes = c->request_bytes,
                                    .response_bytes = c->response_bytes,
                                    .role = c->role};
    stage_must(c->index < WEIR_CLIENTS_MAX && c->domain < config->broker.domain_cnt &&
               c->pid == (uint32_t)getpid() && c->uid == getuid());
    stage_must(c->role >= WEIR_ROLE_CALLER && c->role <= (uint32_t)d->role && c->slot_cnt >= 1 &&
               c->slot_cnt <= d->slot_max);
    stage_must(arena_bytes(&region, &spec) - arena_audit_bytes(&region, &spec) <=
               d->arena_max_bytes);
    stage_must(printable(c->name, sizeof c->name) && strchr(c->name, ' ') == NULL);
}

/* All that the supervisor has told the worker. */
static void worker_check(void)
{
    static struct control_message m;
    size_t fd_cnt;
    ssize_t n;
    while ((n = stage_take(worker[1], &m, sizeof m, &fd_cnt)) > 0) {
        stage_must(n == (ssize_t)sizeof m);
        if (m.kind == CONTROL_ATTACH) {
            stage_must(fd_cnt == CONTROL_FDS);
            client_check(&m.client);
        } else {
            const struct weir_operate *o = &m.operation.asked;
            stage_must(m.kind == CONTROL_OPERATE && fd_cnt == 0 && m.operation.ticket != 0);
            stage_must(
                o->operation >= WEIR_OPERATION_PAUSE && o->operation <= WEIR_OPERATION_CHECK &&
                printable(o->target, sizeof o->target) && printable(o->reason, sizeof o->reason));
        }
    }
}

static void held_check(void)
{
    uint64_t bytes = 0;
    for (uint32_t d = 0; d < config->broker.domain_cnt; d++) {
        const struct quota_held *h = &admission.held[d];
        bytes += h->bytes;
        stage_must(h->client_cnt <= config->broker.domain[d].client_max);
        stage_must(d == 0 || h->slot_cnt <= 100);
    }
    stage_must(bytes == admission.memory_bytes && bytes <= config->broker.memory_max_bytes);
}

/* ---------------------------------------------------------------------------------------------- steps */

static void arrive(struct end *e, uint32_t domain)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, admission.path[domain], sizeof to.sun_path);
    e->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    stage_must(e->fd >= 0 && connect(e->fd, (const struct sockaddr *)&to, sizeof to) == 0);
    e->peer = admission_accept(&admission, domain);
    stage_must(e->peer != NULL);
}

static void depart(struct end *e)
{
    if (e->fd >= 0) {
        answers_check(e);
        (void)close(e->fd);
        e->fd = -1;
    }
}

static void hear(struct end *e)
{
    uint32_t index = 0;
    if (e->peer == NULL || e->peer->socket < 0) {
        return;
    }
    enum admission_event what = admission_read(&admission, e->peer, worker[0], &index);
    if (what == ADMISSION_LEFT) {
        e->peer = NULL;
    } else if (what == ADMISSION_ATTACHED) {
        stage_must(index == UINT32_MAX || admission.used[index]);
    }
    answers_check(e);
    worker_check();
    held_check();
}

static void speak(struct stage_input *in, struct end *e, const void *what, size_t bytes)
{
    static struct stage_message m;
    uint8_t how = stage_byte(in);
    memcpy(m.body, what, bytes);
    m.bytes = bytes;
    stage_edit(in, m.body, bytes, 48);
    if ((how & 0x80) != 0) {
        m.bytes = stage_byte(in) * 2U < sizeof m.body ? (size_t)stage_byte(in) * 2 : m.bytes;
    }
    m.fd_cnt = (how & 0x40) != 0 ? how & 15U : 0;
    for (size_t i = 0; i < m.fd_cnt; i++) {
        m.fd[i] = extra;
    }
    if (e->fd >= 0) {
        stage_send(e->fd, &m);
    }
}

static void say_hello(struct stage_input *in, struct end *e)
{
    struct weir_attach_hello hello = {.magic = WEIR_ATTACH_MAGIC,
                                      .version = WEIR_ATTACH_VERSION,
                                      .bytes = sizeof hello,
                                      .abi_major = WEIR_ABI_MAJOR,
                                      .layout_hash = weir_layout_hash(),
                                      .role = stage_byte(in) & 3U,
                                      .slot_cnt = stage_byte(in),
                                      .client_name = "maker"};
    uint8_t more = stage_byte(in);
    hello.rejoin = (more & 1) != 0 ? 1U + (more >> 4) : 0;
    hello.request_bytes = (more & 2) != 0 ? stage_u32(in) : 0;
    hello.response_bytes = (more & 4) != 0 ? (uint64_t)stage_u32(in) << (more >> 3) : 0;
    speak(in, e, &hello, sizeof hello);
}

static void say_order(struct stage_input *in, struct end *e)
{
    struct weir_operate order = {.magic = WEIR_OPERATE_MAGIC,
                                 .version = WEIR_OPERATE_VERSION,
                                 .bytes = sizeof order,
                                 .operation = 1U + (stage_byte(in) & 7U),
                                 .target = "p",
                                 .reason = "why"};
    speak(in, e, &order, sizeof order);
}

static void worker_answers(struct stage_input *in)
{
    struct control_operation o = {
        .ticket = admission.operations - (stage_byte(in) & 3U),
        .answer = {.magic = WEIR_OPERATE_MAGIC, .version = 2, .bytes = sizeof o.answer}};
    admission_operated(&admission, &o);
}

static void step(struct stage_input *in, struct end *ends)
{
    uint8_t what = stage_byte(in);
    uint8_t who = stage_byte(in);
    struct end *e = &ends[who % CLIENTS];
    switch (what % 10) {
    case 0:
    case 1:
        depart(e);
        hear(e);
        if (e->peer == NULL || e->peer->socket < 0) {
            arrive(e, who >> 7);
        }
        break;
    case 2:
    case 3:
        say_hello(in, e);
        hear(e);
        break;
    case 4:
        say_order(in, e);
        hear(e);
        break;
    case 5:
        depart(e);
        break;
    case 6:
        hear(e);
        break;
    case 7:
        admission_reaped(&admission, who);
        break;
    case 8:
        worker_answers(in);
        break;
    default:
        if ((who & 1) != 0) {
            admission_operations_lost(&admission);
        } else {
            admission_idle(&admission,
                           weir_clock_monotonic_ns() + (uint64_t)(who >> 4) * WEIR_NS_PER_S);
        }
        break;
    }
}

/* Everybody leaves. */
static void end_all(struct end *ends)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        depart(&ends[i]);
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct end e = {.fd = -1, .peer = &admission.peer[i]};
        for (int more = 0; more < 64 && e.peer != NULL && e.peer->socket >= 0; more++) {
            hear(&e); /* what was said before the end comes first */
        }
        stage_must(admission.peer[i].socket < 0);
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        admission_reaped(&admission, i);
    }
    held_check();
    stage_must(admission.memory_bytes == 0);
    for (uint32_t d = 0; d < config->broker.domain_cnt; d++) {
        stage_must(admission.held[d].client_cnt == 0 && admission.held[d].slot_cnt == 0);
    }
    if (admission.spare) {
        weir_segment_unmap(&admission.spare_arena);
        weir_segment_unmap(&admission.spare_shadow);
        admission.spare = false;
    }
    worker_check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct stage_input in = {data, bytes};
    struct end ends[CLIENTS];
    static unsigned open_cnt;
    if (config == NULL) {
        once();
        open_cnt = stage_fds();
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        ends[i] = (struct end){.fd = -1};
    }
    for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++) {
        step(&in, ends);
    }
    end_all(ends);
    stage_fds_check(open_cnt);
    return 0;
}
