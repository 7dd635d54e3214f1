/*
 * fuzz_handover.c: a takeover with somebody who lies (shm/weir_handover.h).
 *
 * First byte, bit 0: 0 = the taker lies, and the giver is ours (broker/handover.c); 1 = the giver lies (broker/takeover.c). The rest makes messages: right ones, some bytes of which
 * are others, cut, doubled, out of order, with other descriptors. Oracle: the sanitizers; an answer is of its question's kind; the giver says that it has everything back only
 * when no lease holds on the other board, and then nobody is named as successor; a taker that gives up says why; as many descriptors are open afterwards as before.
 */
#include "broker/handover.h"
#include "broker/reload.h"
#include "broker/log.h"
#include "broker/takeover.h"
#include "shm/weir_atomic.h"
#include "stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define NOBODY \
    UINT32_C(0x7ffffff0) /* no process has this number: a taker that hangs is killed by it */
#define GIFT_CNT 10U

static const char yaml[] =
    "broker:\n"
    "  name: fuzz\n"
    "  log: error\n"
    "  state_dir: none\n"
    "  domains: [{name: a, clients: 3, slots: 80, arena: 1MiB}, {name: b, clients: 2}]\n"
    "providers:\n"
    "  - name: p\n"
    "    limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n"
    "    endpoints: [{name: e, url: \"http://127.0.0.1:1\"}]\n"
    "    routes: [{name: r, method: GET, path: /r, cost: {l: 1}}]\n";

static struct weir_config *config;
static struct region region; /* of the giver */
static struct region other;  /* of a right taker */
static struct weir_segment arena, shadow;
static struct client_info client;
static char giver_dir[96];
static int listener;       /* of takers */
static int gift[GIFT_CNT]; /* descriptors that are sent */
static int fd_first;       /* of an input */

static void once(void)
{
    char text[512];
    config = stage_config(yaml);
    log_open(config->broker.log, "fuzz");
    stage_region(&region, config);
    const struct region_fds fds = {.broker_id = region.broker_id,
                                   .permits = dup(region.permits.fd),
                                   .ledger = dup(region.ledger.fd),
                                   .ring = {dup(region.ring[0].fd), dup(region.ring[1].fd)},
                                   .tables = reload_tables(&region),
                                   .tables_stride_bytes = region.tables_stride_bytes};
    stage_must(region_adopt(&other, config, &fds, text, sizeof text) == WEIR_OK);
    const struct arena_spec spec = {
        .slot_cnt = 8, .request_bytes = 2048, .response_bytes = 65536, .role = WEIR_ROLE_TRADER};
    stage_must(arena_create(&region, "fuzz", &spec, &arena, &shadow) == WEIR_OK);
    char path[120];
    (void)snprintf(giver_dir, sizeof giver_dir, "%s", stage_dir());
    (void)snprintf(path, sizeof path, "%s/" WEIR_HANDOVER_SOCKET, giver_dir);
    listener = stage_listen(path);
    (void)snprintf(path, sizeof path, "%s/some.sock", giver_dir);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int image = memfd_create("board", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* right, but not sealed */
    stage_must(write(image, region.board.base, region.board.bytes) == (ssize_t)region.board.bytes);
    const int gifts[GIFT_CNT] = {null,
                                 region.board.fd,
                                 region.permits.fd,
                                 region.ledger.fd,
                                 region.ring[0].fd,
                                 region.ring[1].fd,
                                 other.board.fd,
                                 arena.fd,
                                 stage_listen(path),
                                 image};
    memcpy(gift, gifts, sizeof gift);
    client = (struct client_info){.domain = 1,
                                  .role = WEIR_ROLE_TRADER,
                                  .slot_cnt = spec.slot_cnt,
                                  .request_bytes = spec.request_bytes,
                                  .response_bytes = spec.response_bytes,
                                  .name = "maker",
                                  .arena_fd = arena.fd,
                                  .shadow_fd = shadow.fd,
                                  .doorbell_fd = null,
                                  .bell_fd = null,
                                  .pidfd = null};
    fd_first = dup(null);
    (void)close(fd_first);
}

/* A right message of `kind`, with what the input changes on it. */
static void message_make(struct stage_input *in, struct stage_message *m, struct weir_handover *h,
                         const int *fds, size_t fd_cnt)
{
    uint8_t how = stage_byte(in);
    h->magic = WEIR_HANDOVER_MAGIC;
    h->version = WEIR_HANDOVER_VERSION;
    h->bytes = sizeof *h;
    memcpy(m->body, h, sizeof *h);
    m->bytes = sizeof *h;
    m->fd_cnt = fd_cnt;
    if (fd_cnt > 0) {
        memcpy(m->fd, fds, fd_cnt * sizeof m->fd[0]);
    }
    stage_edit(in, m->body, sizeof *h, 160);
    if ((how & 1) != 0) { /* other descriptors */
        m->fd_cnt = stage_byte(in) % STAGE_FDS_MAX;
        for (size_t i = 0; i < m->fd_cnt; i++) {
            m->fd[i] = gift[stage_byte(in) % GIFT_CNT];
        }
    }
    if ((how & 2) != 0 && m->fd_cnt > 0) { /* one other */
        m->fd[stage_byte(in) % m->fd_cnt] = gift[stage_byte(in) % GIFT_CNT];
    }
    if ((how & 4) != 0) {
        m->bytes = 1U + stage_byte(in) * 32U % sizeof *h;
    }
}

/* ---------------------------------------------------------------------------------------------- the taker lies */

static const struct client_info *client_next(void *arg, uint32_t from, int *socket)
{
    (void)arg;
    *socket = from == 0 ? gift[0] : -1;
    client.index = from;
    return from < 2 ? &client : NULL;
}

static void question(struct stage_input *in, int socket)
{
    static struct stage_message m;
    static struct weir_handover h;
    memset(&h, 0, sizeof h);
    h.kind = 1U + stage_byte(in) % 7U;
    h.index = stage_byte(in) % 4U;
    if (h.kind == WEIR_HANDOVER_HELLO) {
        h.hello = (struct weir_handover_hello){.abi_major = WEIR_ABI_MAJOR,
                                               .abi_minor = WEIR_ABI_MINOR,
                                               .layout_hash = weir_layout_hash(),
                                               .flags = h.index & 1U};
    }
    message_make(in, &m, &h, &other.board.fd, h.kind == WEIR_HANDOVER_READY ? 1 : 0);
    stage_send(socket, &m);
}

static void answers_check(int socket)
{
    static struct weir_handover h;
    size_t fd_cnt;
    ssize_t n;
    while ((n = stage_take(socket, &h, sizeof h, &fd_cnt)) > 0) {
        stage_must(n == (ssize_t)sizeof h && h.magic == WEIR_HANDOVER_MAGIC &&
                   h.kind <= WEIR_HANDOVER_GO);
        if (h.error != 0) {
            stage_must(h.error < 0 && fd_cnt == 0 && h.text[0] != '\0' &&
                       memchr(h.text, '\0', sizeof h.text) != NULL);
        } else if (h.kind == WEIR_HANDOVER_HELLO) {
            stage_must(fd_cnt == 5);
        } else if (h.kind == WEIR_HANDOVER_CLIENT) {
            stage_must(h.client.index == WEIR_CLIENTS_MAX ? fd_cnt == 0 : fd_cnt >= 5);
        }
    }
}

/* It has all it needs: permits stop. It may say some more, and is gone then. */
static void finish(struct stage_input *in, struct handover *h, int theirs)
{
    struct weir_shm_gate *gate = other.gate;
    bool granted = (stage_byte(in) & 1) != 0;
    gate->lease_until_ns = granted ? 77 : 0;
    for (unsigned i = stage_byte(in) & 3U; i > 0; i--) {
        question(in, theirs);
    }
    (void)shutdown(theirs, SHUT_WR); /* its messages can be read, then its end */
    enum handover_end end = handover_finish(h, &region);
    answers_check(theirs);
    if (end == HANDOVER_BACK) {
        stage_must(h->socket < 0 && region.gate->successor == 0);
    } else {
        stage_must(region.gate->successor == NOBODY && region.gate->lease_until_ns == 0);
    }
    region.gate->successor = 0;
}

static void taker_lies(struct stage_input *in)
{
    int pair[2];
    struct handover h;
    static const int listeners[WEIR_DOMAINS_MAX];
    const struct handover_clients clients = {
        .next = client_next, .listener = stage_byte(in) % 2 == 0 ? listeners : NULL};
    stage_must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    handover_adopt(&h, giver_dir, gift[8], gift[0]);
    h.socket = pair[0];
    h.stage = HANDOVER_ASKS;
    h.taker_pid = NOBODY;
    region.gate->lease_until_ns = 77;
    for (unsigned i = 0; i < 12 && in->left > 0 && h.socket >= 0; i++) {
        question(in, pair[1]);
        enum handover_event what = handover_read(&h, &region, &clients);
        answers_check(pair[1]);
        stage_must(region.gate->lease_until_ns == 77 && region.gate->successor == 0);
        stage_must((what == HANDOVER_LOST) == (h.socket < 0));
        if (what == HANDOVER_IS_READY) {
            stage_must(h.board.base != NULL);
            finish(in, &h, pair[1]);
            break;
        }
    }
    handover_drop(&h);
    (void)close(pair[1]);
}

/* ---------------------------------------------------------------------------------------------- the giver lies */

static void answers_make(struct stage_input *in, struct stage_liar *l)
{
    static struct weir_handover h;
    const int hello[] = {region.board.fd, region.permits.fd, region.ledger.fd, gift[0], gift[8]};
    const int one[] = {arena.fd, shadow.fd, gift[0], gift[0], gift[0], gift[0]};
    uint8_t order = stage_byte(in); /* bits: one of them is left out, or comes twice */
    static const unsigned kinds[] = {WEIR_HANDOVER_HELLO,  WEIR_HANDOVER_PIECE,
                                     WEIR_HANDOVER_PIECE,  WEIR_HANDOVER_CLIENT,
                                     WEIR_HANDOVER_CLIENT, WEIR_HANDOVER_GO};
    l->cnt = 0;
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(kinds); i++) {
        memset(&h, 0, sizeof h);
        h.kind = kinds[i];
        struct stage_message *m = &l->message[l->cnt];
        if (i == 0) {
            h.hello = (struct weir_handover_hello){.abi_major = WEIR_ABI_MAJOR,
                                                   .layout_hash = weir_layout_hash(),
                                                   .pid = 1,
                                                   .broker_id = region.broker_id,
                                                   .domain_cnt = region.domain_cnt,
                                                   .ring_order = region.ring_order,
                                                   .ledger_bytes = region.ledger.bytes};
            message_make(in, m, &h, hello, 5);
        } else if (i <= 2) {
            const int ring[] = {region.ring[i - 1].fd, gift[8]};
            message_make(in, m, &h, ring, 2);
        } else if (i == 3) {
            h.client = (struct weir_handover_client){.index = 3,
                                                     .domain = 1,
                                                     .role = WEIR_ROLE_TRADER,
                                                     .slot_cnt = 8,
                                                     .request_bytes = 2048,
                                                     .response_bytes = 65536,
                                                     .name = "maker"};
            message_make(in, m, &h, one, 6);
        } else {
            h.client.index = WEIR_CLIENTS_MAX;
            if (i == 5) {
                memset(&h.go, 0, sizeof h.go);
                h.go.provider_cnt = 1;
                h.go.clock[0] = (struct weir_handover_clock){.known = 1, .epoch = 4};
            }
            message_make(in, m, &h, NULL, 0);
        }
        if ((order & 0xc0U) == 0x40 && (order & 7U) == i) {
            continue;
        }
        l->cnt++;
        if ((order & 0xc0U) == 0x80 && (order & 7U) == i) {
            l->message[l->cnt++] = *m;
        }
    }
}

static void giver_lies(struct stage_input *in)
{
    static struct stage_liar liar;
    static struct takeover t;
    static struct region mine;
    static struct journal journal;
    static struct admission admission;
    char text[512] = "";
    int rc = -1;
    memset(&mine, 0, sizeof mine);
    memset(&journal, 0, sizeof journal);
    liar.listener = listener;
    bool orphans = (stage_byte(in) & 1) != 0;
    answers_make(in, &liar);
    stage_liar_begin(&liar);
    enum takeover_found found =
        takeover_begin(&t, giver_dir, config, orphans, &mine, &journal, text, sizeof text);
    stage_must(memchr(text, '\0', sizeof text) != NULL);
    stage_must(found == TAKEOVER_READY || found == TAKEOVER_NOBODY || text[0] != '\0');
    if (found == TAKEOVER_READY) {
        rc = admission_open(&admission, config, &mine, giver_dir, t.listener, text, sizeof text);
        rc = rc != 0 ? rc : takeover_clients(&t, &admission, text, sizeof text);
        rc = rc != 0 ? rc : takeover_finish(&t, &mine, 0, text, sizeof text);
        stage_must(rc == 0 || (text[0] != '\0' && mine.gate->lease_until_ns == 0));
        if (rc == 0) {
            stage_must(mine.gate->lease_until_ns != 0 && mine.gate->successor == 0);
            takeover_tell(&t, &admission);
        }
    }
    region_destroy(&mine);
    if (t.board.base != NULL) {
        t.board.fd = -1; /* closed with the others */
        weir_segment_unmap(&t.board);
    }
    stage_liar_end(&liar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct stage_input in = {data, bytes};
    static unsigned open_cnt;
    if (config == NULL) {
        once();
        stage_fds_close(fd_first); /* what somebody else left to this process */
        open_cnt = stage_fds();
    }
    if ((stage_byte(&in) & 1) == 0) {
        taker_lies(&in);
    } else {
        giver_lies(&in);
        stage_fds_close(fd_first); /* a taker that fails leaves them to its end */
    }
    stage_fds_check(open_cnt);
    return 0;
}
