#include "broker/handover.h"

#include "broker/journal.h"
#include "broker/log.h"
#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A taker copies a board and writes a lease in a few milliseconds; one that needs so long hangs. */
#define TAKE_MAX_MS 2000
/* The kernel ends a killed process sooner than this, or not at all. */
#define DIE_MAX_MS 1000

/* ---------------------------------------------------------------------------------------------- connections */

void handover_adopt(struct handover *h, const char *dir, int listener, int lock_fd)
{
    *h = (struct handover){.listener = listener,
                           .socket = -1,
                           .lock_fd = lock_fd,
                           .owner_uid = (uint32_t)geteuid(),
                           .board.fd = -1};
    int n = snprintf(h->path, sizeof h->path, "%s/" WEIR_HANDOVER_SOCKET, dir);
    if (n < 0 || (size_t)n >= sizeof h->path) {
        h->path[0] = '\0';
    }
}

void handover_close(struct handover *h)
{
    handover_drop(h);
    if (h->listener >= 0) {
        (void)unlink(h->path);
        (void)close(h->listener);
        h->listener = -1;
    }
}

int handover_listen(struct handover *h, const char *dir, int lock_fd, char *text, size_t text_bytes)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    handover_adopt(h, dir, -1, lock_fd);
    if (h->path[0] == '\0') {
        (void)snprintf(text, text_bytes,
                       "cannot listen: path=%s/" WEIR_HANDOVER_SOCKET
                       ": longer than 107 bytes: choose a shorter broker.runtime_dir",
                       dir);
        return -1;
    }
    memcpy(sa.sun_path, h->path, sizeof sa.sun_path);
    (void)unlink(sa.sun_path); /* we hold the lock: what lies here is left over */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        chmod(sa.sun_path, 0600) != 0 || listen(fd, 4) != 0) {
        (void)snprintf(text, text_bytes,
                       "cannot listen: path=%s: %s: make the directory writable for this user",
                       sa.sun_path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    h->listener = fd;
    return 0;
}

bool handover_accept(struct handover *h)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    bool trusted = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0 &&
                   (cred.uid == h->owner_uid || cred.uid == 0);
    if (!trusted || h->socket >= 0) {
        (void)close(fd);
        return false;
    }
    h->socket = fd;
    h->stage = HANDOVER_ASKS;
    h->since_ns = weir_clock_monotonic_ns();
    h->taker_pid = (uint32_t)cred.pid;
    return true;
}

void handover_drop(struct handover *h)
{
    if (h->socket >= 0) {
        (void)close(h->socket);
    }
    h->socket = -1;
    h->stage = HANDOVER_NONE;
    if (h->board.base != NULL) {
        weir_segment_unmap(&h->board);
    }
}

/* ---------------------------------------------------------------------------------------------- answers */

static struct weir_handover answer_make(enum weir_handover_kind kind)
{
    struct weir_handover m;
    memset(&m, 0, sizeof m);
    m.magic = WEIR_HANDOVER_MAGIC;
    m.version = WEIR_HANDOVER_VERSION;
    m.bytes = sizeof m;
    m.kind = kind;
    return m;
}

static int hello_judge(const struct handover *h, const struct weir_handover *asked, bool orphan,
                       struct weir_handover *m)
{
    const struct weir_handover_hello *a = &asked->hello;
    (void)h;
    if (asked->version != WEIR_HANDOVER_VERSION || a->abi_major != WEIR_ABI_MAJOR) {
        (void)snprintf(m->text, sizeof m->text,
                       "it speaks ABI %u.%u (handover %u), this weird %u.%u (handover %u): stop it "
                       "and start the other one; what it has used is remembered",
                       WEIR_ABI_MAJOR, WEIR_ABI_MINOR, WEIR_HANDOVER_VERSION, a->abi_major,
                       a->abi_minor, asked->version);
        return WEIR_E_ABI;
    }
    if (a->layout_hash != weir_layout_hash()) {
        (void)snprintf(m->text, sizeof m->text,
                       "its memory has layout %016llx, this weird's %016llx: stop it and start the "
                       "other one; what it has used is remembered",
                       (unsigned long long)weir_layout_hash(), (unsigned long long)a->layout_hash);
        return WEIR_E_LAYOUT;
    }
    if ((a->flags & WEIR_HANDOVER_ORPHANS_ONLY) != 0 && !orphan) {
        (void)snprintf(m->text, sizeof m->text,
                       "its supervisor lives: to replace it, give --takeover");
        return WEIR_E_PERMISSION;
    }
    return WEIR_OK;
}

static int hello_answer(struct handover *h, struct region *r, const struct weir_handover *asked,
                        bool orphan)
{
    struct weir_handover m = answer_make(WEIR_HANDOVER_HELLO);
    const struct journal *j = r->journal;
    bool kept = j != NULL && j->fd >= 0;
    const int fds[] = {r->board.fd, r->permits.fd,     r->ledger.fd,          h->lock_fd,
                       h->listener, kept ? j->fd : -1, kept ? j->lock_fd : -1};
    m.error = hello_judge(h, asked, orphan, &m);
    if (m.error != WEIR_OK) {
        log_warn("takeover_refused", "s:i, s:s", "taker", (int)h->taker_pid, "why", m.text);
        (void)control_send(h->socket, &m, sizeof m, NULL, 0);
        return -1;
    }
    m.hello = (struct weir_handover_hello){.abi_major = WEIR_ABI_MAJOR,
                                           .abi_minor = WEIR_ABI_MINOR,
                                           .layout_hash = weir_layout_hash(),
                                           .flags = orphan ? WEIR_HANDOVER_ORPHAN : 0,
                                           .pid = (uint32_t)getpid(),
                                           .broker_id = r->broker_id,
                                           .domain_cnt = r->domain_cnt,
                                           .ring_order = r->ring_order,
                                           .ledger_bytes = r->ledger.bytes,
                                           .restarts = h->restarts,
                                           .journal = kept};
    if (kept) {
        m.hello.journal_slot_bytes = j->slot_bytes;
        m.hello.journal_generation = j->generation;
        (void)snprintf(m.hello.journal_dir, sizeof m.hello.journal_dir, "%.255s", j->dir);
    }
    return control_send(h->socket, &m, sizeof m, fds, kept ? 7 : 5);
}

static int piece_answer(struct handover *h, struct region *r, uint32_t domain, const int *listener)
{
    struct weir_handover m = answer_make(WEIR_HANDOVER_PIECE);
    if (domain >= r->domain_cnt) {
        return -1;
    }
    m.index = domain;
    const int fds[] = {r->ring[domain].fd, listener != NULL ? listener[domain] : -1};
    return control_send(h->socket, &m, sizeof m, fds, listener != NULL ? 2 : 1);
}

static int client_answer(struct handover *h, uint32_t from, const struct handover_clients *clients)
{
    struct weir_handover m = answer_make(WEIR_HANDOVER_CLIENT);
    int socket = -1;
    const struct client_info *c = clients->next(clients->arg, from, &socket);
    if (c == NULL) {
        m.client.index = WEIR_CLIENTS_MAX;
        return control_send(h->socket, &m, sizeof m, NULL, 0);
    }
    m.client = (struct weir_handover_client){.index = c->index,
                                             .domain = c->domain,
                                             .role = c->role,
                                             .pid = c->pid,
                                             .uid = c->uid,
                                             .slot_cnt = c->slot_cnt,
                                             .request_bytes = c->request_bytes,
                                             .gone = c->gone,
                                             .response_bytes = c->response_bytes,
                                             .attached_ns = c->attached_ns};
    memcpy(m.client.name, c->name, sizeof m.client.name);
    const int fds[] = {c->arena_fd, c->shadow_fd, c->doorbell_fd, c->bell_fd, c->pidfd, socket};
    return control_send(h->socket, &m, sizeof m, fds, socket >= 0 ? 6 : 5);
}

/* One message of the taker: 0 answered, 1 it is ready, -1 it is gone or talks nonsense. */
static int one_answer(struct handover *h, struct region *r, const struct handover_clients *clients)
{
    static struct weir_handover m; /* large */
    int board = -1;
    size_t fd_cnt = 1;
    ssize_t n = control_receive(h->socket, &m, sizeof m, &board, &fd_cnt);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    bool sound =
        n >= (ssize_t)offsetof(struct weir_handover, text) && m.magic == WEIR_HANDOVER_MAGIC;
    bool ready = sound && n == (ssize_t)sizeof m && m.kind == WEIR_HANDOVER_READY && fd_cnt == 1 &&
                 h->stage == HANDOVER_ASKS;
    if (fd_cnt == 1 && !ready) {
        (void)close(board);
    }
    if (!sound) {
        return -1;
    }
    WEIR_WEAVE("handover:asked");
    if (m.kind == WEIR_HANDOVER_HELLO) {
        return hello_answer(h, r, &m, clients->listener == NULL);
    }
    if (m.kind == WEIR_HANDOVER_PIECE) {
        return piece_answer(h, r, m.index, clients->listener);
    }
    if (m.kind == WEIR_HANDOVER_CLIENT) {
        return client_answer(h, m.index, clients);
    }
    if (!ready) {
        return -1;
    }
    if (weir_segment_map(&h->board, board, WEIR_SEGMENT_BOARD, r->broker_id, WEIR_MAP_READ) !=
        WEIR_OK) {
        (void)close(board);
        return -1;
    }
    return 1;
}

enum handover_event handover_read(struct handover *h, struct region *r,
                                  const struct handover_clients *clients)
{
    int rc = one_answer(h, r, clients);
    if (rc < 0) {
        log_warn("takeover_ended", "s:i, s:s", "taker", (int)h->taker_pid, "meaning",
                 "whoever wanted to take over is gone, or was refused: this broker goes on");
        handover_drop(h);
        return HANDOVER_LOST;
    }
    if (rc == 1) {
        h->stage = HANDOVER_READY;
        h->since_ns = weir_clock_monotonic_ns();
        log_info("takeover_ready", "s:i", "taker", (int)h->taker_pid);
        return HANDOVER_IS_READY;
    }
    if (h->stage == HANDOVER_ASKS) {
        h->since_ns = weir_clock_monotonic_ns();
    }
    return HANDOVER_NOTHING;
}

void handover_refuse(struct handover *h, const char *why)
{
    struct weir_handover m = answer_make(WEIR_HANDOVER_GO);
    m.error = WEIR_E_NOT_READY;
    (void)snprintf(m.text, sizeof m.text, "%s", why);
    (void)control_send(h->socket, &m, sizeof m, NULL, 0); /* who is gone needs no reason */
    handover_drop(h);
}

/* ---------------------------------------------------------------------------------------------- the end */

/*
 * The old board says nothing any more: who is between the look at the lease and a charge finds the clock closed and starts over; who gives something back
 * later finds another epoch and gives nothing.
 */
static void board_end(struct handover *h, struct region *r)
{
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        uint64_t seq = 0;
        struct weir_handover_clock *c = &h->clock[p];
        uint64_t value[WEIR_SERVER_CLOCK_WORDS];
        c->known = weir_latch_read(&r->provider[p].clock_seq, r->provider[p].clock, value,
                                   WEIR_SERVER_CLOCK_WORDS, &seq) &&
                   seq != 0;
        memcpy(&c->clock, value, sizeof c->clock);
        c->epoch =
            weir_load_relaxed_u64(&r->provider[p].clock_epoch); /* relaxed: no worker lives */
    }
    weir_store_relaxed_u64(&r->gate->successor,
                           h->taker_pid); /* relaxed: behind it the lease is released */
    WEIR_WEAVE("handover:end_lease");
    weir_store_release_u64(&r->gate->lease_until_ns, 0); /* no partner: compared with time */
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        struct weir_server_clock closed = h->clock[p].clock;
        closed.state = WEIR_CLOCK_CLOSED;
        if (h->clock[p].known != 0) {
            weir_server_clock_publish(&r->provider[p], &closed);
        }
    }
    uint32_t need = weir_load_relaxed_u32(&r->need_wakeup->word); /* relaxed: no worker lives */
    /* The next epoch, asleep for ever: whoever publishes by this board rings, and the successor's worker hears it. */
    WEIR_WEAVE("handover:closed");
    (void)weir_xchg_u32(&r->need_wakeup->word, ((need >> 1) + 1) << 1 | 1U); /* pair:wakeup R */
}

static void board_back(struct handover *h, struct region *r)
{
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        if (h->clock[p].known != 0) {
            weir_server_clock_publish(&r->provider[p], &h->clock[p].clock);
        }
    }
    weir_store_relaxed_u64(&r->gate->successor, 0); /* relaxed: the caller releases the lease */
}

static bool go_send(struct handover *h, const struct region *r)
{
    struct weir_handover m = answer_make(WEIR_HANDOVER_GO);
    m.go.provider_cnt = r->provider_cnt;
    m.go.ended_at_ns = weir_clock_monotonic_ns();
    memcpy(m.go.clock, h->clock, r->provider_cnt * sizeof m.go.clock[0]);
    return control_send(h->socket, &m, sizeof m, NULL, 0) == 0;
}

/* Wait for one message or the end: 1 TAKEN, 0 the end, -1 neither in time. */
static int taken_wait(const struct handover *h, int limit_ms)
{
    static struct weir_handover m; /* large */
    uint64_t end_ns = weir_clock_monotonic_ns() + (uint64_t)limit_ms * WEIR_NS_PER_MS;
    for (;;) { /* ends by the clock */
        struct pollfd p = {.fd = h->socket, .events = POLLIN};
        uint64_t now_ns = weir_clock_monotonic_ns();
        if (now_ns >= end_ns) {
            return -1;
        }
        (void)poll(&p, 1, (int)((end_ns - now_ns) / WEIR_NS_PER_MS) + 1);
        ssize_t n = control_receive(h->socket, &m, sizeof m, NULL, NULL);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
            return 0;
        }
        if (n == (ssize_t)sizeof m && m.kind == WEIR_HANDOVER_TAKEN) {
            return 1;
        }
    }
}

enum handover_end handover_finish(struct handover *h, struct region *r)
{
    WEIR_WEAVE("handover:begin");
    board_end(h, r);
    WEIR_WEAVE("handover:go");
    int taken = go_send(h, r) ? taken_wait(h, TAKE_MAX_MS) : 0;
    if (taken < 0) {
        log_warn("takeover_hangs", "s:i", "taker", (int)h->taker_pid);
        (void)kill((pid_t)h->taker_pid, SIGKILL); /* its socket is open, so the pid is its own */
        taken = taken_wait(h, DIE_MAX_MS);
    }
    if (taken == 1) {
        WEIR_WEAVE("handover:taken");
        log_info("handed_over", "s:i", "taker", (int)h->taker_pid);
        return HANDOVER_GIVEN;
    }
    /* Dead: nobody else can write its board (the one mapping that could was its own). Alive and stopped: it may still write. */
    const struct weir_shm_gate *gate =
        weir_segment_section(&h->board, WEIR_SECTION_GATE, sizeof *gate, NULL, NULL);
    /* no partner: the writer is dead */
    bool granted = gate == NULL || weir_load_acquire_u64(&gate->lease_until_ns) != 0;
    if (taken < 0 || granted) {
        log_error(
            "takeover_failed", "s:i, s:s", "taker", (int)h->taker_pid, "meaning",
            "the successor died, or hangs, with a lease in its hands: permits stop, and the next "
            "broker waits it out");
        return HANDOVER_BURNT;
    }
    board_back(h, r);
    log_warn("takeover_ended", "s:i, s:s", "taker", (int)h->taker_pid, "meaning",
             "the successor died before it granted anything: this broker goes on");
    handover_drop(h);
    return HANDOVER_BACK;
}
