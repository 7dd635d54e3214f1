#include "broker/takeover.h"

#include "broker/log.h"
#include "broker/tables_follow.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A broker answers questions in microseconds; one that needs so long hangs. */
#define ANSWER_MAX_MS 10000U
/* On top of what the calls on the wire may take. */
#define GO_EXTRA_MS 15000U

static int say(const struct takeover *t, char *text, size_t text_bytes, const char *cause)
{
    (void)snprintf(text, text_bytes, "cannot take over: pid=%u: %s", t->giver.pid, cause);
    return -1;
}

/* ---------------------------------------------------------------------------------------------- messages */

static int connect_to(const char *dir)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int n = snprintf(to.sun_path, sizeof to.sun_path, "%s/" WEIR_HANDOVER_SOCKET, dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || n < 0 || (size_t)n >= sizeof to.sun_path ||
        connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    return fd;
}

static void fds_close(const int *fds, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++) {
        (void)close(fds[i]);
    }
}

/* Wait for one message of `kind`. Returns WEIR_OK, or -1 with the cause. */
static int receive(struct takeover *t, enum weir_handover_kind kind, struct weir_handover *m,
                   int *fds, size_t *fd_cnt, uint64_t limit_ms, char *text, size_t text_bytes)
{
    struct pollfd p = {.fd = t->socket, .events = POLLIN};
    memset(m, 0, sizeof *m);
    if (poll(&p, 1, (int)limit_ms) <= 0) {
        return say(t, text, text_bytes, "it does not answer: see its log");
    }
    ssize_t n = control_receive(t->socket, m, sizeof *m, fds, fd_cnt);
    bool sound =
        n >= (ssize_t)offsetof(struct weir_handover, text) && m->magic == WEIR_HANDOVER_MAGIC;
    m->text[sizeof m->text - 1] = m->error != 0 ? '\0' : m->text[sizeof m->text - 1];
    if (sound && m->error != 0) {
        return say(t, text, text_bytes, m->text);
    }
    t->broke_off = n <= 0;
    if (t->broke_off) {
        return say(
            t, text, text_bytes,
            "it broke off: it died, or is stopping: look whether a worker is left, and start "
            "again");
    }
    if (!sound || m->version != WEIR_HANDOVER_VERSION || m->kind != (uint32_t)kind ||
        n != (ssize_t)sizeof *m) {
        fds_close(fds, *fd_cnt);
        return say(t, text, text_bytes,
                   "its answer is of another version: stop it and start this one; what it has used "
                   "is remembered");
    }
    return WEIR_OK;
}

static struct weir_handover question_make(enum weir_handover_kind kind, uint32_t index)
{
    struct weir_handover m;
    memset(&m, 0, sizeof m);
    m.magic = WEIR_HANDOVER_MAGIC;
    m.version = WEIR_HANDOVER_VERSION;
    m.bytes = sizeof m;
    m.kind = kind;
    m.index = index;
    return m;
}

static int ask(struct takeover *t, const struct weir_handover *question, struct weir_handover *m,
               int *fds, size_t *fd_cnt, char *text, size_t text_bytes)
{
    (void)control_send(t->socket, question, sizeof *question, NULL,
                       0); /* an end shows by the answer */
    return receive(t, (enum weir_handover_kind)question->kind, m, fds, fd_cnt, ANSWER_MAX_MS, text,
                   text_bytes);
}

/* ---------------------------------------------------------------------------------------------- what there is */

/* Is the journal that was handed over the one that this configuration names? A later start would look there. */
static int journal_same(struct takeover *t, const struct weir_config *config, int lock_fd,
                        char *text, size_t text_bytes)
{
    char path[PATH_MAX];
    char cause[1024];
    struct stat theirs;
    struct stat ours;
    bool kept = strcmp(config->broker.state_dir, JOURNAL_NONE) != 0;
    (void)snprintf(path, sizeof path, "%s/%s/lock", config->broker.state_dir, config->broker.name);
    if (!kept && t->giver.journal == 0) {
        return 0;
    }
    if (kept && t->giver.journal != 0 && stat(path, &ours) == 0 && fstat(lock_fd, &theirs) == 0 &&
        ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino) {
        return 0;
    }
    (void)snprintf(cause, sizeof cause,
                   "its journal is in %s, this one's would be in %.300s: give --state-dir as it "
                   "has it",
                   t->giver.journal != 0 ? t->giver.journal_dir : "no directory",
                   kept ? config->broker.state_dir : "no directory");
    return say(t, text, text_bytes, cause);
}

/* The tables that the old board names; NULL: it names none. `*stride_bytes`: the room of a block. */
static const struct weir_shm_tables *tables_in_force(const struct weir_segment *board,
                                                     uint64_t *stride_bytes)
{
    uint32_t cnt = 0;
    const struct weir_shm_gate *gate =
        weir_segment_section(board, WEIR_SECTION_GATE, sizeof *gate, NULL, NULL);
    const char *at = weir_segment_section(board, WEIR_SECTION_TABLES, 1, &cnt, stride_bytes);
    if (gate == NULL || at == NULL || cnt == 0) {
        return NULL;
    }
    uint64_t word = weir_load_acquire_u64(&gate->tables); /* pair:tables A */
    return (const void *)(at + (uint32_t)word % cnt * *stride_bytes);
}

/* Do both boards have the same sections, and are our tables, brought in line with those in force, the same? */
static bool tables_same(const struct weir_segment *was, const struct weir_segment *is,
                        const struct weir_shm_tables *in_force)
{
    char text[256];
    struct weir_shm_tables *new = weir_segment_section(is, WEIR_SECTION_TABLES, 1, NULL, NULL);
    if (was->bytes != is->bytes || was->header->section_cnt != is->header->section_cnt ||
        memcmp(was->header->section, is->header->section, sizeof was->header->section) != 0 ||
        new == NULL || tables_follow(in_force, new, text, sizeof text) != WEIR_OK) {
        return false;
    }
    size_t from = offsetof(struct weir_shm_tables, used_bytes); /* behind checksum and generation */
    return in_force->used_bytes ==
           new->used_bytes &&memcmp((const char *)in_force + from, (const char *)new + from,
                                    new->used_bytes - from) == 0;
}

static int region_take(struct takeover *t, const struct weir_config *config, struct region_fds *fds,
                       struct region *region, char *text, size_t text_bytes)
{
    char cause[256] = "";
    static const char differs[] =
        "the configuration means other limits, routes, endpoints, domains or ring than those in "
        "force: start with the configuration that it runs with";
    if (t->giver.domain_cnt != config->broker.domain_cnt) {
        return say(t, text, text_bytes, differs);
    }
    fds->tables = tables_in_force(&t->board, &fds->tables_stride_bytes);
    if (fds->tables == NULL) {
        return say(t, text, text_bytes, "its board names no tables: stop it and start this one");
    }
    int rc = region_adopt(region, config, fds, cause, sizeof cause);
    if (rc == WEIR_OK && region->ring_order == t->giver.ring_order &&
        tables_same(&t->board, &region->board, fds->tables)) {
        return 0;
    }
    /* Segments of other sizes are those of another configuration. */
    return say(t, text, text_bytes, rc == WEIR_E_SYSTEM || rc == WEIR_E_MEMORY ? cause : differs);
}

static int pieces_take(struct takeover *t, struct region_fds *fds, char *text, size_t text_bytes)
{
    static struct weir_handover m; /* large */
    for (uint32_t d = 0; d < t->giver.domain_cnt && d < WEIR_DOMAINS_MAX; d++) {
        const struct weir_handover q = question_make(WEIR_HANDOVER_PIECE, d);
        int got[2];
        size_t cnt = 2;
        if (ask(t, &q, &m, got, &cnt, text, text_bytes) != 0) {
            return -1;
        }
        if (cnt == 0) {
            return say(t, text, text_bytes, "it sent no ring: raise ulimit -n");
        }
        fds->ring[d] = got[0];
        t->listener[d] = cnt > 1 ? got[1] : -1;
    }
    return 0;
}

enum takeover_found takeover_begin(struct takeover *t, const char *dir,
                                   const struct weir_config *config, bool orphans_only,
                                   struct region *region, struct journal *journal, char *text,
                                   size_t text_bytes)
{
    static struct weir_handover m; /* large */
    int got[WEIR_HANDOVER_FDS_MAX];
    size_t cnt = WEIR_HANDOVER_FDS_MAX;
    struct weir_handover q = question_make(WEIR_HANDOVER_HELLO, 0);
    *t = (struct takeover){.socket = connect_to(dir), .lock_fd = -1, .board.fd = -1};
    for (uint32_t d = 0; d < WEIR_DOMAINS_MAX; d++) {
        t->listener[d] = -1;
    }
    if (t->socket < 0) {
        return TAKEOVER_NOBODY;
    }
    WEIR_WEAVE("takeover:hello");
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    if (getsockopt(t->socket, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0) {
        t->giver.pid = (uint32_t)cred.pid; /* who bound it, until its answer says better */
    }
    q.hello = (struct weir_handover_hello){.abi_major = WEIR_ABI_MAJOR,
                                           .abi_minor = WEIR_ABI_MINOR,
                                           .layout_hash = weir_layout_hash(),
                                           .flags = orphans_only ? WEIR_HANDOVER_ORPHANS_ONLY : 0,
                                           .pid = (uint32_t)getpid()};
    if (ask(t, &q, &m, got, &cnt, text, text_bytes) != 0) {
        return m.error == WEIR_E_PERMISSION   ? TAKEOVER_ALIVE
               : orphans_only && t->broke_off ? TAKEOVER_NOBODY
                                              : TAKEOVER_FAILED;
    }
    t->giver = m.hello;
    t->giver.journal_dir[sizeof t->giver.journal_dir - 1] = '\0';
    if (t->giver.abi_major != WEIR_ABI_MAJOR || t->giver.layout_hash != weir_layout_hash() ||
        cnt != (m.hello.journal != 0 ? 7U : 5U)) {
        (void)say(t, text, text_bytes, "it speaks another ABI: stop it and start this one");
        return TAKEOVER_FAILED;
    }
    struct region_fds fds = {.broker_id = m.hello.broker_id, .permits = got[1], .ledger = got[2]};
    t->lock_fd = got[3];
    t->handover_listener = got[4];
    if (weir_segment_map(&t->board, got[0], WEIR_SEGMENT_BOARD, fds.broker_id, WEIR_MAP_READ) !=
        WEIR_OK) {
        (void)say(t, text, text_bytes, "its board cannot be mapped: stop it and start this one");
        return TAKEOVER_FAILED;
    }
    bool kept = m.hello.journal != 0;
    WEIR_WEAVE("takeover:pieces");
    if (pieces_take(t, &fds, text, text_bytes) != 0 ||
        journal_same(t, config, kept ? got[6] : -1, text, text_bytes) != 0 ||
        region_take(t, config, &fds, region, text, text_bytes) != 0) {
        return TAKEOVER_FAILED;
    }
    journal_adopt(journal, config->broker.state_dir, config->broker.name, kept ? got[5] : -1,
                  kept ? got[6] : -1);
    journal->slot_bytes = t->giver.journal_slot_bytes;
    journal->generation = t->giver.journal_generation;
    return TAKEOVER_READY;
}

int takeover_clients(struct takeover *t, struct admission *admission, char *text, size_t text_bytes)
{
    static struct weir_handover m; /* large */
    for (uint32_t from = 0; from < WEIR_CLIENTS_MAX;) {
        const struct weir_handover q = question_make(WEIR_HANDOVER_CLIENT, from);
        int got[WEIR_HANDOVER_FDS_MAX];
        size_t cnt = WEIR_HANDOVER_FDS_MAX;
        if (ask(t, &q, &m, got, &cnt, text, text_bytes) != 0) {
            return -1;
        }
        const struct weir_handover_client *c = &m.client;
        WEIR_WEAVE("takeover:client");
        if (c->index >= WEIR_CLIENTS_MAX) {
            return 0;
        }
        if (cnt < CONTROL_FDS || c->index < from || c->domain >= t->giver.domain_cnt) {
            return say(t, text, text_bytes, "it sent half a client: raise ulimit -n");
        }
        struct client_info info = {.index = c->index,
                                   .domain = c->domain,
                                   .role = c->role,
                                   .pid = c->pid,
                                   .uid = c->uid,
                                   .slot_cnt = c->slot_cnt,
                                   .request_bytes = c->request_bytes,
                                   .gone = c->gone,
                                   .response_bytes = c->response_bytes,
                                   .attached_ns = c->attached_ns,
                                   .arena_fd = got[0],
                                   .shadow_fd = got[1],
                                   .doorbell_fd = got[2],
                                   .bell_fd = got[3],
                                   .pidfd = got[4]};
        memcpy(info.name, c->name, sizeof info.name);
        info.name[sizeof info.name - 1] = '\0';
        admission_restore(admission, &info, cnt > CONTROL_FDS ? got[5] : -1);
        t->unsent[c->index] = cnt > CONTROL_FDS;
        from = c->index + 1;
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the change */

/* All that the old board says is on ours, but for what is said of a supervisor; then the lease. */
static void board_copy(const struct takeover *t, struct region *r, const struct weir_handover *go)
{
    struct weir_shm_supervisor own = {.heartbeat_ns = weir_clock_monotonic_ns(),
                                      .started_ns = weir_clock_monotonic_ns(),
                                      .pid = (uint32_t)getpid(),
                                      .worker_restarts = t->giver.restarts};
    size_t head = sizeof(struct weir_shm_header);
    memcpy((char *)r->board.base + head, (const char *)t->board.base + head,
           r->board.bytes - head); /* its writers are gone, ours does not live yet */
    *r->supervisor = own;
    for (uint32_t p = 0; p < r->provider_cnt && p < go->go.provider_cnt; p++) {
        const struct weir_handover_clock *c = &go->go.clock[p];
        if (c->known != 0) {
            uint64_t value[WEIR_SERVER_CLOCK_WORDS];
            memcpy(value, &c->clock, sizeof value);
            weir_latch_write(&r->provider[p].clock_seq, r->provider[p].clock, value,
                             WEIR_SERVER_CLOCK_WORDS);
        }
        r->provider[p].clock_epoch = c->epoch; /* nobody has this memory yet */
    }
    r->gate->successor = 0;
    WEIR_WEAVE("takeover:copied");
    weir_store_release_u64(&r->gate->lease_until_ns,
                           weir_clock_monotonic_ns() +
                               LEASE_NS); /* no partner: compared with time */
}

int takeover_finish(struct takeover *t, struct region *region, uint64_t drain_ns, char *text,
                    size_t text_bytes)
{
    static struct weir_handover m; /* large */
    const struct weir_handover ready = question_make(WEIR_HANDOVER_READY, 0);
    const struct weir_handover taken = question_make(WEIR_HANDOVER_TAKEN, 0);
    size_t cnt = 0;
    WEIR_WEAVE("takeover:ready");
    if (control_send(t->socket, &ready, sizeof ready, &region->board.fd, 1) != 0 ||
        receive(t, WEIR_HANDOVER_GO, &m, NULL, &cnt, drain_ns / WEIR_NS_PER_MS + GO_EXTRA_MS, text,
                text_bytes) != 0) {
        return text[0] != '\0' ? -1 : say(t, text, text_bytes, "it broke off");
    }
    board_copy(t, region, &m);
    uint64_t pause_ns = weir_load_relaxed_u64(&region->gate->lease_until_ns) -
                        LEASE_NS - /* relaxed: our own */
                        m.go.ended_at_ns;
    WEIR_WEAVE("takeover:leased");
    (void)control_send(t->socket, &taken, sizeof taken, NULL,
                       0); /* a giver that died meanwhile needs no word */
    WEIR_WEAVE("takeover:taken");
    (void)close(t->socket);
    t->socket = -1;
    weir_segment_unmap(&t->board);
    log_info("taken_over", "s:i, s:b, s:I", "from_pid", (int)t->giver.pid, "orphan",
             (int)((t->giver.flags & WEIR_HANDOVER_ORPHAN) != 0), "pause_us",
             (long long)(pause_ns / WEIR_NS_PER_US));
    return 0;
}

void takeover_tell(struct takeover *t, struct admission *admission)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (t->unsent[i]) {
            t->unsent[i] = admission->used[i] && !admission_board_send(admission, i);
        }
    }
}
