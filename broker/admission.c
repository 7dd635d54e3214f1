#include "broker/admission.h"

#include "broker/log.h"
#include "shm/weir_atomic.h"
#include "shm/weir_attach.h"
#include "shm/weir_error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5; not in glibc 2.36 */
#endif

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

#define HELLO_MAX_NS        (1 * WEIR_NS_PER_S)
#define OPERATION_MAX_NS    (10 * WEIR_NS_PER_S) /* a worker that is stopped does not answer */
#define SLOTS_DEFAULT       64U
#define REQUEST_DEFAULT     2048U
#define ARENA_DEFAULT_BYTES (UINT64_C(1) << 20)
#define POOL_MIN_BYTES      4096U

/* ---------------------------------------------------------------------------------------------- sockets */

static int listen_on(struct admission *a, uint32_t d, const char *dir, int taken, char *text,
                     size_t text_bytes)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/%s.sock", dir,
                     a->config->broker.domain[d].name);
    if (n < 0 || (size_t)n >= sizeof sa.sun_path) {
        (void)snprintf(text, text_bytes,
                       "cannot listen: path=%s/%s.sock: longer than 107 bytes: choose a shorter "
                       "broker.runtime_dir",
                       dir, a->config->broker.domain[d].name);
        return -1;
    }
    memcpy(a->path[d], sa.sun_path, sizeof sa.sun_path);
    if (taken >= 0) {
        a->listener[d] = taken; /* bound there already; who waits on it need not know */
        return 0;
    }
    (void)unlink(sa.sun_path); /* we hold the lock: what lies here is left over */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The socket is open to all: the configuration decides, and it can say why it refuses. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        chmod(sa.sun_path, 0666) != 0 || listen(fd, 128) != 0) {
        (void)snprintf(text, text_bytes,
                       "cannot listen: path=%s: %s: make the directory writable for this user",
                       sa.sun_path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    a->listener[d] = fd;
    return 0;
}

int admission_open(struct admission *a, const struct weir_config *config, struct region *region,
                   const char *dir, const int *listener, char *text, size_t text_bytes)
{
    memset(a, 0, sizeof *a);
    a->config = config;
    a->region = region;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        a->peer[i].socket = -1;
    }
    for (uint32_t d = 0; d < region->domain_cnt; d++) {
        a->listener[d] = -1;
    }
    for (uint32_t d = 0; d < region->domain_cnt; d++) {
        if (listen_on(a, d, dir, listener != NULL ? listener[d] : -1, text, text_bytes) != 0) {
            admission_close(a);
            return -1;
        }
    }
    return 0;
}

void admission_close(struct admission *a)
{
    for (uint32_t d = 0; d < a->region->domain_cnt; d++) {
        if (a->listener[d] >= 0) {
            (void)close(a->listener[d]);
            (void)unlink(a->path[d]);
        }
    }
}

static enum admission_event peer_left(struct peer *p, uint32_t *index)
{
    *index = p->client;
    (void)close(p->socket);
    *p = (struct peer){.socket = -1, .client = UINT32_MAX};
    return ADMISSION_LEFT;
}

static struct peer *peer_new(struct admission *a, int socket, uint32_t domain)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (a->peer[i].socket < 0) {
            a->peer[i] = (struct peer){.socket = socket,
                                       .domain = domain,
                                       .client = UINT32_MAX,
                                       .accepted_at_ns = weir_clock_monotonic_ns()};
            return &a->peer[i];
        }
    }
    return NULL;
}

/* Connections of a domain: its monitors, or those that have not been answered yet. */
static uint32_t peers_count(const struct admission *a, uint32_t domain, bool monitors)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        const struct peer *p = &a->peer[i];
        bool wanted = monitors ? p->attached && p->client == UINT32_MAX : !p->attached;
        cnt += p->socket >= 0 && p->domain == domain && wanted;
    }
    return cnt;
}

struct peer *admission_accept(struct admission *a, uint32_t domain)
{
    if (peers_count(a, domain, false) >= WAITING_MAX) {
        return NULL; /* the others wait in the kernel's queue of this domain's socket */
    }
    int fd = accept4(a->listener[domain], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return NULL;
    }
    /*
     * No descriptors from clients: closing the last copy of one may block us for as long as its sender likes (SO_LINGER, FUSE). Before
     * Linux 6.16 there is no such switch; what comes is closed at once then.
     */
    const int no = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof no);
    struct peer *p = peer_new(a, fd, domain);
    if (p == NULL) {
        (void)close(fd);
    }
    return p;
}

/* ---------------------------------------------------------------------------------------------- policy */

struct asked {
    struct weir_attach_hello hello;
    struct ucred cred;
    const struct weir_config_domain *domain;
    uint32_t domain_index;
    struct arena_spec spec;
};

static bool listed(const struct weir_config_numbers *list, uint64_t id)
{
    for (size_t i = 0; i < list->cnt; i++) {
        if (list->number[i] == id) {
            return true;
        }
    }
    return false;
}

/* Is the peer a member of a listed group, by its effective or its supplementary groups (SO_PEERGROUPS, Linux 4.13)? */
static bool group_listed(const struct asked *q, int socket)
{
    gid_t groups[256];
    socklen_t bytes = sizeof groups;
    if (listed(&q->domain->gids, q->cred.gid)) {
        return true;
    }
    if (q->domain->gids.cnt == 0 ||
        getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0) {
        return false;
    }
    for (size_t i = 0; i < bytes / sizeof groups[0]; i++) {
        if (listed(&q->domain->gids, groups[i])) {
            return true;
        }
    }
    return false;
}

static bool user_allowed(const struct asked *q, int socket)
{
    if (q->domain->uids.cnt == 0 && q->domain->gids.cnt == 0) {
        return q->cred.uid == geteuid();
    }
    return listed(&q->domain->uids, q->cred.uid) || group_listed(q, socket);
}

static int say(struct weir_attach_welcome *welcome, int error, const char *cause)
{
    (void)snprintf(welcome->text, sizeof welcome->text, "%s", cause);
    return error;
}

static int versions_check(const struct weir_attach_hello *h, struct weir_attach_welcome *welcome)
{
    char text[160];
    if (h->magic != WEIR_ATTACH_MAGIC || h->version != WEIR_ATTACH_VERSION) {
        (void)snprintf(text, sizeof text, "the hello is of version %u, this broker speaks %u",
                       h->version, WEIR_ATTACH_VERSION);
        return say(welcome, WEIR_E_ABI, text);
    }
    if (h->abi_major != WEIR_ABI_MAJOR) {
        (void)snprintf(text, sizeof text, "ABI %u.%u in the broker, this library speaks %u.x",
                       WEIR_ABI_MAJOR, WEIR_ABI_MINOR, h->abi_major);
        return say(welcome, WEIR_E_ABI, text);
    }
    if (h->layout_hash != weir_layout_hash()) {
        (void)snprintf(text, sizeof text, "layout %016llx in the broker, %016llx in this library",
                       (unsigned long long)weir_layout_hash(), (unsigned long long)h->layout_hash);
        return say(welcome, WEIR_E_LAYOUT, text);
    }
    return WEIR_OK;
}

static int role_check(const struct asked *q, int socket, struct weir_attach_welcome *welcome)
{
    char text[160];
    if (!user_allowed(q, socket)) {
        (void)snprintf(text, sizeof text, "uid %u gid %u is not in domain %s", q->cred.uid,
                       q->cred.gid, q->domain->name);
        return say(welcome, WEIR_E_PERMISSION, text);
    }
    if (q->hello.role < WEIR_ROLE_MONITOR || q->hello.role > (uint32_t)q->domain->role) {
        (void)snprintf(text, sizeof text, "role %s asked, domain %s grants %s at most",
                       weir_role_name(q->hello.role), q->domain->name,
                       weir_role_name(q->domain->role));
        return say(welcome, WEIR_E_ROLE, text);
    }
    return WEIR_OK;
}

/* The arena that was asked for, inside what the domain allows. */
static int arena_check(const struct admission *a, struct asked *q,
                       struct weir_attach_welcome *welcome)
{
    char text[160];
    struct arena_spec *s = &q->spec;
    s->role = q->hello.role;
    s->slot_cnt = q->hello.slot_cnt != 0
                      ? q->hello.slot_cnt
                      : (uint32_t)weir_min_u64(SLOTS_DEFAULT, q->domain->slot_max);
    uint64_t request_bytes =
        weir_round_up(q->hello.request_bytes != 0 ? q->hello.request_bytes : REQUEST_DEFAULT, 64);
    s->request_bytes = (uint32_t)weir_min_u64(request_bytes, UINT32_MAX - 63U);
    s->response_bytes = q->hello.response_bytes;
    if (s->slot_cnt > q->domain->slot_max ||
        s->request_bytes > weir_round_up(q->domain->request_max_bytes, 64) ||
        s->response_bytes > q->domain->arena_max_bytes) {
        (void)snprintf(text, sizeof text,
                       "%u slots of %u bytes asked, domain %s allows %llu of %llu", s->slot_cnt,
                       s->request_bytes, q->domain->name, (unsigned long long)q->domain->slot_max,
                       (unsigned long long)q->domain->request_max_bytes);
        return say(welcome, WEIR_E_ARENA_TOO_LARGE, text);
    }
    if (s->response_bytes == 0) {
        uint64_t rest = arena_bytes(a->region, s) - arena_audit_bytes(a->region, s);
        s->response_bytes = rest + POOL_MIN_BYTES < ARENA_DEFAULT_BYTES ? ARENA_DEFAULT_BYTES - rest
                                                                        : POOL_MIN_BYTES * 16;
    }
    s->response_bytes = weir_round_up(s->response_bytes, WEIR_LINE_BYTES);
    uint64_t bytes = arena_bytes(a->region, s);
    if (bytes - arena_audit_bytes(a->region, s) > q->domain->arena_max_bytes ||
        a->memory_bytes + bytes > a->config->broker.memory_max_bytes) {
        (void)snprintf(
            text, sizeof text,
            "an arena of %llu bytes asked; domain %s allows %llu, broker.memory has %llu left",
            (unsigned long long)bytes, q->domain->name,
            (unsigned long long)q->domain->arena_max_bytes,
            (unsigned long long)(a->config->broker.memory_max_bytes - a->memory_bytes));
        return say(welcome, WEIR_E_ARENA_TOO_LARGE, text);
    }
    return WEIR_OK;
}

static uint32_t index_free(const struct admission *a)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (!a->used[i]) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* ---------------------------------------------------------------------------------------------- attach */

static int pidfd_of(int socket, pid_t pid)
{
    int fd = -1;
    socklen_t bytes = sizeof fd;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &bytes) == 0) {
        return fd; /* no race with a reused pid */
    }
    if (errno != ENOPROTOOPT) {
        return -1; /* dead already: its pid may be another's by now */
    }
    return (int)syscall(SYS_pidfd_open, pid, 0); /* before Linux 6.5 */
}

static void close_all(const int *fds, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

static bool spare_fits(const struct admission *a, const struct arena_spec *spec)
{
    return a->spare && a->spare_arena.bytes == arena_bytes(a->region, spec) &&
           spec->slot_cnt == SLOTS_DEFAULT && spec->request_bytes == REQUEST_DEFAULT;
}

static int arena_get(struct admission *a, const struct arena_spec *spec, struct weir_segment *arena,
                     struct weir_segment *shadow)
{
    if (spare_fits(a, spec)) {
        *arena = a->spare_arena;
        *shadow = a->spare_shadow;
        a->spare = false;
        return WEIR_OK;
    }
    return arena_create(a->region, a->config->broker.name, spec, arena, shadow);
}

/* Make a client's pieces: `info` for the worker, `bell_client` for the client. */
static int pieces_make(struct admission *a, const struct asked *q, int socket,
                       struct client_info *info, int *bell_client,
                       struct weir_attach_welcome *welcome)
{
    struct weir_segment arena;
    struct weir_segment shadow;
    int bell[2] = {-1, -1};
    int rc = arena_get(a, &q->spec, &arena, &shadow);
    if (rc != WEIR_OK) {
        return say(welcome, rc, "the broker found no memory for the arena");
    }
    info->pidfd = pidfd_of(socket, q->cred.pid);
    info->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = info->pidfd >= 0 && info->doorbell_fd >= 0 &&
              socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bell) == 0 &&
              shutdown(bell[0], SHUT_RD) ==
                  0; /* the client has nothing to say there: no bytes, no descriptors */
    info->arena_fd = arena.fd;
    info->shadow_fd = shadow.fd;
    info->bell_fd = bell[0];
    *bell_client = bell[1];
    arena.fd = shadow.fd = -1; /* the supervisor keeps the descriptors, not the mappings */
    weir_segment_unmap(&arena);
    weir_segment_unmap(&shadow);
    if (!ok) {
        const int fds[] = {info->arena_fd, info->shadow_fd, info->doorbell_fd,
                           info->pidfd,    bell[0],         bell[1]};
        close_all(fds, WEIR_ARRAY_CNT(fds));
        *bell_client = -1;
        return say(welcome, WEIR_E_SYSTEM, "the broker has no descriptors left");
    }
    return WEIR_OK;
}

static void info_fill(struct client_info *info, const struct asked *q, uint32_t index)
{
    info->index = index;
    info->domain = q->domain_index;
    info->role = q->hello.role;
    info->pid = (uint32_t)q->cred.pid;
    info->uid = q->cred.uid;
    info->slot_cnt = q->spec.slot_cnt;
    info->request_bytes = q->spec.request_bytes;
    info->response_bytes = q->spec.response_bytes;
    info->attached_ns = weir_clock_monotonic_ns();
    weir_attach_name(info->name, q->hello.client_name);
}

/* A client has its pieces (+1), or they are free again (-1). */
static void held_add(struct admission *a, const struct client_info *c, int sign)
{
    struct quota_held *held = &a->held[c->domain];
    const struct arena_spec spec = {.slot_cnt = c->slot_cnt,
                                    .request_bytes = c->request_bytes,
                                    .response_bytes = c->response_bytes,
                                    .role = c->role};
    uint64_t bytes = arena_bytes(a->region, &spec);
    held->client_cnt += sign > 0 ? 1U : -1U;
    held->slot_cnt += sign > 0 ? c->slot_cnt : -(uint64_t)c->slot_cnt;
    held->bytes += sign > 0 ? bytes : -bytes;
    a->memory_bytes += sign > 0 ? bytes : -bytes;
}

static bool tell_worker(const struct client_info *info, int worker)
{
    const struct control_message m = {.kind = CONTROL_ATTACH, .client = *info};
    const int fds[CONTROL_FDS] = {info->arena_fd, info->shadow_fd, info->doorbell_fd, info->bell_fd,
                                  info->pidfd};
    return worker >= 0 && control_send(worker, &m, sizeof m, fds, CONTROL_FDS) == 0;
}

/* Attach a caller or trader. Fills welcome and the descriptors to send with it. */
static int client_admit(struct admission *a, struct asked *q, struct peer *p, int worker,
                        struct weir_attach_welcome *welcome, int *fds, size_t *fd_cnt,
                        int *bell_client)
{
    int rc = arena_check(a, q, welcome);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = quota_attach(q->domain, &a->held[q->domain_index], q->spec.slot_cnt,
                      arena_bytes(a->region, &q->spec), welcome->text, sizeof welcome->text);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint32_t index = index_free(a);
    if (index == UINT32_MAX) {
        return say(welcome, WEIR_E_TOO_MANY_CLIENTS, "every place of the broker is taken");
    }
    struct client_info info = {0};
    info_fill(&info, q, index);
    rc = pieces_make(a, q, p->socket, &info, bell_client, welcome);
    if (rc != WEIR_OK) {
        return rc;
    }
    /* The first worker sets clocks, then the lease: before that a client could do nothing with what it gets. */
    bool ready = weir_load_acquire_u64(&a->region->gate->lease_until_ns) != 0; /* no partner */
    if (!ready || !tell_worker(&info, worker)) {
        const int all[] = {info.arena_fd, info.shadow_fd, info.doorbell_fd,
                           info.bell_fd,  info.pidfd,     *bell_client};
        close_all(all, WEIR_ARRAY_CNT(all));
        *bell_client = -1;
        return say(welcome, WEIR_E_NOT_READY, "the worker is being started");
    }
    a->client[index] = info;
    a->used[index] = true;
    held_add(a, &info, 1);
    p->client = index;
    welcome->client = index;
    fds[(*fd_cnt)++] = a->region->ring[q->domain_index].fd;
    fds[(*fd_cnt)++] = info.arena_fd;
    fds[(*fd_cnt)++] = info.doorbell_fd;
    fds[(*fd_cnt)++] = *bell_client;
    if (q->hello.role == WEIR_ROLE_TRADER) {
        fds[(*fd_cnt)++] = a->region->permits.fd;
    }
    return WEIR_OK;
}

/*
 * A client whose connection ended with the supervisor before us: this one stands for it from now on. It is known by its process, which the kernel
 * names, and which lives: its pidfd says when it does not. And by the id of the broker, which a successor has too: a process may still hold, and close, what it had of another one.
 */
static int rejoin(struct admission *a, const struct asked *q, struct peer *p,
                  struct weir_attach_welcome *welcome)
{
    uint32_t index = q->hello.rejoin - 1;
    const struct client_info *c = index < WEIR_CLIENTS_MAX ? &a->client[index] : NULL;
    if (c == NULL || q->hello.broker_id != a->region->broker_id || !a->used[index] || c->gone ||
        c->pid != (uint32_t)q->cred.pid || c->uid != q->cred.uid || c->domain != p->domain) {
        return say(welcome, WEIR_E_STALE, "this broker does not know that client: open again");
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (a->peer[i].socket >= 0 && a->peer[i].client == index) {
            uint32_t former;
            (void)peer_left(&a->peer[i], &former); /* of no meaning any more */
        }
    }
    p->client = index;
    welcome->client = index;
    return WEIR_OK;
}

static int admit(struct admission *a, struct asked *q, struct peer *p, int worker,
                 struct weir_attach_welcome *welcome, int *fds, size_t *fd_cnt, int *bell_client)
{
    int rc = versions_check(&q->hello, welcome);
    rc = rc != WEIR_OK ? rc : role_check(q, p->socket, welcome);
    if (rc != WEIR_OK) {
        return rc;
    }
    fds[(*fd_cnt)++] = a->region->board.fd;
    if (q->hello.role == WEIR_ROLE_MONITOR) {
        return peers_count(a, p->domain, true) < q->domain->quota.monitor_max
                   ? WEIR_OK
                   : say(welcome, WEIR_E_TOO_MANY_CLIENTS,
                         "all places for monitors of the domain are taken");
    }
    if (q->hello.rejoin != 0) {
        return rejoin(a, q, p, welcome);
    }
    return client_admit(a, q, p, worker, welcome, fds, fd_cnt, bell_client);
}

static struct weir_attach_welcome welcome_for(const struct admission *a, uint32_t domain)
{
    return (struct weir_attach_welcome){.magic = WEIR_ATTACH_MAGIC,
                                        .version = WEIR_ATTACH_VERSION,
                                        .bytes = sizeof(struct weir_attach_welcome),
                                        .abi_major = WEIR_ABI_MAJOR,
                                        .abi_minor = WEIR_ABI_MINOR,
                                        .layout_hash = weir_layout_hash(),
                                        .broker_id = a->region->broker_id,
                                        .client = UINT32_MAX,
                                        .domain = domain,
                                        .ring_order = a->region->ring_order,
                                        .monotonic_ns = weir_clock_monotonic_ns()};
}

static void answer(struct admission *a, struct asked *q, struct peer *p, int worker)
{
    struct weir_attach_welcome welcome = welcome_for(a, p->domain);
    int fds[WEIR_ATTACH_FDS_MAX];
    size_t fd_cnt = 0;
    int bell_client = -1;
    welcome.error = admit(a, q, p, worker, &welcome, fds, &fd_cnt, &bell_client);
    welcome.fd_cnt = welcome.error == WEIR_OK ? (uint32_t)fd_cnt : 0;
    welcome.monotonic_ns = weir_clock_monotonic_ns();
    if (welcome.error != WEIR_OK) {
        log_info("attach_refused", "s:s, s:s, s:i, s:s", "domain", q->domain->name, "error",
                 weir_error_name(welcome.error), "uid", (int)q->cred.uid, "cause", welcome.text);
    }
    p->attached = control_send(p->socket, &welcome, sizeof welcome, fds, welcome.fd_cnt) == 0 &&
                  welcome.error == WEIR_OK;
    if (bell_client >= 0) {
        (void)close(bell_client); /* the client has its own copy now */
    }
}

enum admission_event admission_read(struct admission *a, struct peer *p, int worker,
                                    uint32_t *index)
{
    struct asked q = {.domain = &a->config->broker.domain[p->domain], .domain_index = p->domain};
    socklen_t bytes = sizeof q.cred;
    union {
        struct weir_attach_hello hello;
        struct weir_operate operate;
    } said;
    memset(&said, 0, sizeof said);
    ssize_t n = control_receive(p->socket, &said, sizeof said, NULL,
                                NULL); /* descriptors from clients are closed */
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return ADMISSION_NOTHING;
    }
    if (n <= 0) {
        return peer_left(p, index);
    }
    if (p->attached || p->operation != 0) {
        return ADMISSION_NOTHING; /* nothing more is to be said; it is ignored */
    }
    if (getsockopt(p->socket, SOL_SOCKET, SO_PEERCRED, &q.cred, &bytes) != 0) {
        return peer_left(p, index);
    }
    if (said.operate.magic == WEIR_OPERATE_MAGIC) {
        return operate_take(a, p, &q.cred, &said.operate, (size_t)n, worker) ? ADMISSION_NOTHING
                                                                             : peer_left(p, index);
    }
    q.hello = said.hello;
    q.hello.client_name[WEIR_NAME_BYTES - 1] = '\0';
    answer(a, &q, p, worker);
    if (!p->attached) {
        return peer_left(p, index);
    }
    *index = p->client;
    return ADMISSION_ATTACHED;
}

void admission_restore(struct admission *a, const struct client_info *info, int socket)
{
    a->client[info->index] = *info;
    a->used[info->index] = true;
    held_add(a, info, 1);
    struct peer *p = socket >= 0 ? peer_new(a, socket, info->domain) : NULL;
    if (p != NULL) {
        p->client = info->index;
        p->attached = true;
    }
}

int admission_socket(const struct admission *a, uint32_t index)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (a->peer[i].socket >= 0 && a->peer[i].client == index) {
            return a->peer[i].socket;
        }
    }
    return -1;
}

bool admission_board_send(struct admission *a, uint32_t index)
{
    int socket = admission_socket(a, index);
    struct weir_attach_welcome welcome = welcome_for(a, a->client[index].domain);
    welcome.client = index;
    welcome.fd_cnt = 1;
    return socket < 0 ||
           control_send(socket, &welcome, sizeof welcome, &a->region->board.fd, 1) == 0;
}

void admission_operated(struct admission *a, const struct control_operation *operation)
{
    for (uint32_t i = 0; i < PEERS_MAX && operation->ticket != 0; i++) {
        struct peer *p = &a->peer[i];
        if (p->socket >= 0 && p->operation == operation->ticket) {
            uint32_t index;
            (void)control_send(p->socket, &operation->answer, sizeof operation->answer, NULL, 0);
            (void)peer_left(p, &index);
            return;
        }
    }
}

void admission_operations_lost(struct admission *a)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct control_operation o = {.ticket = a->peer[i].operation};
        if (a->peer[i].socket >= 0 && o.ticket != 0) {
            o.answer = (struct weir_operated){
                .magic = WEIR_OPERATE_MAGIC,
                .version = WEIR_OPERATE_VERSION,
                .bytes = sizeof o.answer,
                .error = WEIR_E_NOT_READY,
                .text = "the worker died before it answered; whether it was done is unknown"};
            admission_operated(a, &o);
        }
    }
}

void admission_reaped(struct admission *a, uint32_t index)
{
    if (index >= WEIR_CLIENTS_MAX || !a->used[index]) {
        return;
    }
    struct client_info *c = &a->client[index];
    const struct arena_spec spec = {.slot_cnt = c->slot_cnt,
                                    .request_bytes = c->request_bytes,
                                    .response_bytes = c->response_bytes,
                                    .role = c->role};
    const int fds[] = {c->arena_fd, c->shadow_fd, c->doorbell_fd, c->bell_fd, c->pidfd};
    /* Whoever kept the descriptor or a mapping must not keep the memory: it was allocated by us and counts against broker.memory. */
    (void)fallocate(c->arena_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    (off_t)arena_bytes(a->region, &spec));
    close_all(fds, WEIR_ARRAY_CNT(fds));
    held_add(a, c, -1);
    a->used[index] = false;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (a->peer[i].socket >= 0 && a->peer[i].client == index) {
            /* Dead, but somebody (a forked child) still holds the connection: its place is needed. */
            uint32_t gone;
            (void)peer_left(&a->peer[i], &gone);
        }
    }
}

void admission_idle(struct admission *a, uint64_t now_ns)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &a->peer[i];
        uint64_t most_ns = p->operation != 0 ? OPERATION_MAX_NS : HELLO_MAX_NS;
        if (p->socket >= 0 && !p->attached && now_ns - p->accepted_at_ns > most_ns) {
            uint32_t index;
            (void)peer_left(p, &index);
        }
    }
    if (!a->spare) {
        /* With an audit a trader's arena is another one than a caller's; traders are the ones in a hurry. */
        struct arena_spec spec = {
            .slot_cnt = SLOTS_DEFAULT, .request_bytes = REQUEST_DEFAULT, .role = WEIR_ROLE_TRADER};
        uint64_t rest = arena_bytes(a->region, &spec) - arena_audit_bytes(a->region, &spec);
        spec.response_bytes =
            weir_round_up(rest + POOL_MIN_BYTES < ARENA_DEFAULT_BYTES ? ARENA_DEFAULT_BYTES - rest
                                                                      : POOL_MIN_BYTES * 16,
                          WEIR_LINE_BYTES);
        a->spare = arena_create(a->region, a->config->broker.name, &spec, &a->spare_arena,
                                &a->spare_shadow) == WEIR_OK;
    }
}
