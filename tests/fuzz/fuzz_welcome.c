/*
 * fuzz_welcome.c: a broker that lies to libweir (libclient/attach.c, sections.c, board.c): welcomes, descriptors, segments.
 *
 * The input makes two welcomes, the second of which is as after a takeover: right ones with other bytes, cut, with other descriptors; and changes some bytes of the segments' headers before
 * they are handed out. A handle that opens is used. Oracle: the sanitizers; a refusal has a name and a text; a call that a handle takes is answered with what weir.h promises; nothing stays open
 * when it was closed.
 */
#include "../unit/fake_broker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "stage.h"
#include "weir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define HEAD_BYTES 2048U /* of a segment: header and sections' table */
#define GIFT_CNT   10U

static struct fake_broker fake;
static struct stage_liar liar;
static int gift[GIFT_CNT];
static unsigned char saved[4][HEAD_BYTES];
static struct weir_segment *const segments[4] = {&fake.board, &fake.permits, &fake.ring,
                                                 &fake.arena};

static void once(void)
{
    char path[128];
    (void)stage_dir();
    fake_broker_make(&fake, WEIR_ROLE_TRADER);
    (void)snprintf(path, sizeof path, "%s/fake", fake.dir);
    stage_must(mkdir(path, 0700) == 0);
    liar.listener = stage_listen(fake.path);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int gifts[GIFT_CNT] = {null,          fake.board.fd, fake.permits.fd, fake.ring.fd,
                                 fake.arena.fd, fake.doorbell, fake.bell[0],    fake.bell[1],
                                 fake.board.fd, liar.listener};
    memcpy(gift, gifts, sizeof gift);
    for (unsigned i = 0; i < 4; i++) {
        memcpy(saved[i], segments[i]->base, HEAD_BYTES);
    }
    (void)setenv("WEIR_RUNTIME_DIR", fake.dir, 1);
}

static void gone(void)
{
    fake_broker_free(&fake);
}

static void welcome_make(struct stage_input *in, size_t fd_cnt, struct stage_message *m)
{
    uint8_t how = stage_byte(in);
    struct weir_attach_welcome w = fake.welcome;
    w.monotonic_ns = weir_clock_monotonic_ns();
    w.fd_cnt = (uint32_t)fd_cnt;
    memcpy(m->body, &w, sizeof w);
    m->bytes = sizeof w;
    m->fd_cnt = fd_cnt;
    memcpy(m->fd, fake.fd, fd_cnt * sizeof m->fd[0]);
    stage_edit(in, m->body, sizeof w, 72);
    if ((how & 1) != 0) {
        m->fd_cnt = stage_byte(in) % STAGE_FDS_MAX;
        for (size_t i = 0; i < m->fd_cnt; i++) {
            m->fd[i] = gift[stage_byte(in) % GIFT_CNT];
        }
    }
    if ((how & 2) != 0 && m->fd_cnt > 0) {
        m->fd[stage_byte(in) % m->fd_cnt] = gift[stage_byte(in) % GIFT_CNT];
    }
    if ((how & 4) != 0) {
        m->bytes = stage_byte(in) % sizeof w + 1U;
    }
}

/* Whatever was let in must be safe to use. */
static void use(struct weir *w, enum weir_role role, bool ended)
{
    weir_ticket ticket;
    struct weir_response a;
    struct weir_permit permit;
    struct weir_limit_info info;
    const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
    int rc = weir_check(w);
    stage_must(rc <= 0);
    if (ended) { /* its lease: whoever asks looks for a newer board */
        weir_store_release_u64(&fake.gate->successor, 7);      /* as a successor was named */
        weir_store_release_u64(&fake.gate->lease_until_ns, 1); /* no partner */
    }
    for (weir_route_id r = 0; r < FAKE_ROUTES; r++) {
        if (weir_permit_try(w, r, 0, NULL, WEIR_PRIORITY_MEDIUM, &permit) == 0) {
            stage_must(role == WEIR_ROLE_TRADER && weir_permit_settle(w, &permit, &not_sent) == 0);
        }
    }
    for (uint32_t l = 0; l < 4; l++) {
        (void)weir_limit_get(w, l, 0, &info);
    }
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    rc = weir_submit(w, &spec, &ticket);
    stage_must(rc != 0 || role != WEIR_ROLE_MONITOR);
    (void)weir_poll(w, &a);
    (void)weir_fd(w);
}

static void put_back(void)
{
    for (unsigned i = 0; i < 4; i++) {
        memcpy(segments[i]->base, saved[i], HEAD_BYTES);
    }
    memset(fake.slot, 0, sizeof *fake.slot * FAKE_SLOTS);
    fake.gate->successor = 0;
    fake.gate->lease_until_ns = weir_clock_monotonic_ns() + 3600 * WEIR_NS_PER_S;
    uint32_t slot;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        struct weir_ring_consumer *level = &fake.level[p];
        while (weir_ring_take(level, &slot) == WEIR_RING_OK) {
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const size_t fd_cnts[] = {1, 5, 6};
    struct stage_input in = {data, bytes};
    struct weir_diag diag = {0};
    struct weir *w = NULL;
    static unsigned open_cnt;
    if (fake.board.base == NULL) {
        once();
        stage_must(atexit(gone) == 0);
        open_cnt = stage_fds();
    }
    uint8_t how = stage_byte(&in);
    unsigned role = how % 3U;
    liar.cnt = (how & 0x10) != 0 ? 2 : 1;
    liar.keep = (how & 0x20) == 0;
    welcome_make(&in, fd_cnts[role], &liar.message[0]);
    welcome_make(&in, 1, &liar.message[1]);
    unsigned which = stage_byte(&in);
    stage_edit(&in, segments[which & 3U]->base, HEAD_BYTES, 512);
    stage_liar_begin(&liar);
    int rc = fake_broker_open(&fake, (enum weir_role)(role + 1), &w, &diag);
    if (rc == 0) {
        stage_must(w != NULL);
        use(w, (enum weir_role)(role + 1), (how & 0x40) != 0);
        weir_close(w);
    } else {
        stage_must(rc < 0 && diag.error == rc && diag.text[0] != '\0');
    }
    stage_liar_end(&liar);
    put_back();
    stage_fds_check(open_cnt);
    return 0;
}
