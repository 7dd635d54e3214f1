#include "fake_broker.h"

#include "shm/weir_atomic.h"
#include "shm/weir_cache.h"
#include "shm/weir_futex.h"
#include "shm/weir_tables.h"
#include "shm/weir_window.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLES_BYTES 8192U

/* A test that cannot set its stage has nothing to say. */
static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void create(struct weir_segment *s, enum weir_segment_kind kind,
                   const struct weir_segment_part *part, size_t cnt, bool readers_only)
{
    const struct weir_segment_spec spec = {.kind = kind,
                                           .name = "fake",
                                           .broker_id = FAKE_BROKER_ID,
                                           .part = part,
                                           .part_cnt = cnt,
                                           .readers_only = readers_only};
    must(weir_segment_create(s, &spec) == WEIR_OK, "weir_segment_create");
}

static void *section(struct weir_segment *s, enum weir_section_kind kind)
{
    void *p = weir_segment_section(s, kind, 1, NULL, NULL);
    must(p != NULL, weir_section_name(kind));
    return p;
}

static void segments_make(struct fake_broker *f)
{
    f->meter_stride_bytes = weir_round_up(weir_meter_all_bytes(FAKE_ROUTES, 2), 128);
    const struct weir_segment_part board[] = {
        {WEIR_SECTION_GATE, 1, sizeof(struct weir_shm_gate)},
        {WEIR_SECTION_CLOCK, 1, sizeof(struct weir_shm_clock)},
        {WEIR_SECTION_NEED_WAKEUP, 1, sizeof(struct weir_shm_need_wakeup)},
        {WEIR_SECTION_BLOCK, 1, sizeof(struct weir_shm_block)},
        {WEIR_SECTION_PROVIDER, 1, sizeof(struct weir_shm_provider)},
        {WEIR_SECTION_FOREIGN, 3, sizeof(struct weir_shm_foreign)},
        {WEIR_SECTION_PACE, 3, sizeof(struct weir_shm_pace)},
        {WEIR_SECTION_LIMIT, 2, sizeof(struct weir_shm_limit_stats)},
        {WEIR_SECTION_ROUTE, FAKE_ROUTES, sizeof(struct weir_shm_route_stats)},
        {WEIR_SECTION_ENDPOINT, 1, sizeof(struct weir_shm_endpoint)},
        {WEIR_SECTION_RING_HEAD, WEIR_PRIORITY_CNT, sizeof(struct weir_shm_ring_head)},
        {WEIR_SECTION_TABLES, 2, TABLES_BYTES},
    };
    const struct weir_segment_part permits[] = {
        {WEIR_SECTION_LIMIT_WORD, 3, sizeof(struct weir_shm_limit_word)},
        {WEIR_SECTION_CELL, 16, sizeof(uint64_t)},
        {WEIR_SECTION_PAUSE, 1, sizeof(struct weir_shm_pause)},
    };
    const struct weir_segment_part ring[] = {
        {WEIR_SECTION_RING, WEIR_PRIORITY_CNT, weir_ring_bytes(FAKE_RING_ORDER)},
    };
    const struct weir_segment_part arena[] = {
        {WEIR_SECTION_WAKE, 1, sizeof(struct weir_shm_wake)},
        {WEIR_SECTION_METER, WEIR_THREADS_MAX, f->meter_stride_bytes},
        {WEIR_SECTION_SLOT, FAKE_SLOTS, sizeof(struct weir_shm_slot)},
        {WEIR_SECTION_REQUEST, FAKE_SLOTS, FAKE_REQUEST_BYTES},
        {WEIR_SECTION_RESPONSE, 1, FAKE_POOL_BYTES},
    };
    create(&f->board, WEIR_SEGMENT_BOARD, board, WEIR_ARRAY_CNT(board), true);
    create(&f->permits, WEIR_SEGMENT_PERMITS, permits, WEIR_ARRAY_CNT(permits), false);
    create(&f->ring, WEIR_SEGMENT_RING, ring, WEIR_ARRAY_CNT(ring), false);
    create(&f->arena, WEIR_SEGMENT_ARENA, arena, WEIR_ARRAY_CNT(arena), false);
}

static void sections_find(struct fake_broker *f)
{
    f->gate = section(&f->board, WEIR_SECTION_GATE);
    f->need_wakeup = section(&f->board, WEIR_SECTION_NEED_WAKEUP);
    f->block = section(&f->board, WEIR_SECTION_BLOCK);
    f->provider = section(&f->board, WEIR_SECTION_PROVIDER);
    f->pace = section(&f->board, WEIR_SECTION_PACE);
    f->word = section(&f->permits, WEIR_SECTION_LIMIT_WORD);
    f->pause = section(&f->permits, WEIR_SECTION_PAUSE);
    f->wake = section(&f->arena, WEIR_SECTION_WAKE);
    f->slot = section(&f->arena, WEIR_SECTION_SLOT);
    f->request = section(&f->arena, WEIR_SECTION_REQUEST);
    f->pool = section(&f->arena, WEIR_SECTION_RESPONSE);
    f->meter = section(&f->arena, WEIR_SECTION_METER);
    struct weir_shm_ring_head *head = section(&f->board, WEIR_SECTION_RING_HEAD);
    char *ring = section(&f->ring, WEIR_SECTION_RING);
    for (uint32_t p = 0; p < WEIR_PRIORITY_CNT; p++) {
        void *memory = ring + p * weir_ring_bytes(FAKE_RING_ORDER);
        must(weir_ring_format(memory, &head[p], FAKE_RING_ORDER,
                              weir_ring_start(FAKE_RING_ORDER)) == WEIR_OK &&
                 weir_ring_attach_consumer(&f->level[p], memory, &head[p], FAKE_RING_ORDER) ==
                     WEIR_OK,
             "ring");
    }
    for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) {
        struct weir_shm_meter_head *m = (void *)(f->meter + t * f->meter_stride_bytes);
        m->route_cnt = FAKE_ROUTES;
        m->limit_cnt = 2;
    }
}

static void limits_fill(struct weir_shm_limit_row *l)
{
    l[0] = (struct weir_shm_limit_row){.kind = WEIR_LIMIT_TOKEN_BUCKET,
                                       .word_first = 0,
                                       .word_cnt = 2,
                                       .scope_shift = 16 * WEIR_SCOPE_ACCOUNT,
                                       .scope_kind = WEIR_SCOPE_ACCOUNT,
                                       .quota = 5,
                                       .window_ns = 5 * FAKE_BUCKET_NS,
                                       .unit_ns = FAKE_BUCKET_NS,
                                       .name = "bucket"};
    l[1] = (struct weir_shm_limit_row){.kind = WEIR_LIMIT_FIXED_WINDOW,
                                       .word_first = 2,
                                       .word_cnt = 1,
                                       .quota = 40,
                                       .quota_unaligned = 20,
                                       .window_ns = 60 * WEIR_NS_PER_S,
                                       .window_inverse = weir_window_inverse(60 * WEIR_NS_PER_S),
                                       .name = "window"};
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        l[0].tolerance_ns[c] = 5 * FAKE_BUCKET_NS;
    }
}

static void routes_fill(struct weir_shm_route_row *r)
{
    r[FAKE_ORDER] = (struct weir_shm_route_row){.limit_cnt = 1,
                                                .cost = {1},
                                                .method = WEIR_METHOD_POST,
                                                .priority = WEIR_PRIORITY_HIGH,
                                                .response_max_bytes = 1024,
                                                .timeout_ns = 2 * WEIR_NS_PER_S,
                                                .name = "order"};
    r[FAKE_OWN] = (struct weir_shm_route_row){
        .limit_cnt = 1, .cost = {1}, .flags = WEIR_ROUTE_OWN_TRANSPORT, .name = "own"};
    r[FAKE_FILES] =
        (struct weir_shm_route_row){.limit_cnt = 2,
                                    .limit = {0, 1},
                                    .cost = {1, 2},
                                    .flags = WEIR_ROUTE_PATH_REST | WEIR_ROUTE_NEEDS_CLOCK,
                                    .method = WEIR_METHOD_GET,
                                    .priority = WEIR_PRIORITY_LOW,
                                    .timeout_ns = WEIR_NS_PER_S,
                                    .name = "files"};
    r[FAKE_FREE] = (struct weir_shm_route_row){.method = WEIR_METHOD_GET,
                                               .priority = WEIR_PRIORITY_MEDIUM,
                                               .timeout_ns = 100 * WEIR_NS_PER_MS,
                                               .name = "free"};
    for (uint32_t i = 0; i < FAKE_ROUTES; i++) {
        memset(r[i].settle_success, 0xff, sizeof r[i].settle_success); /* as charged */
        memset(r[i].settle_failure, 0xff, sizeof r[i].settle_failure);
    }
}

static void tables_fill(struct fake_broker *f)
{
    struct {
        struct weir_shm_tables head;
        struct weir_shm_provider_row provider;
        struct weir_shm_limit_row limit[2];
        struct weir_shm_route_row route[FAKE_ROUTES];
        struct weir_shm_scope_row scope[2];
    } *t = section(&f->board, WEIR_SECTION_TABLES);
    must(sizeof *t <= TABLES_BYTES, "tables");
    char *base = (char *)t;
    t->head = (struct weir_shm_tables){
        .generation = 1,
        .used_bytes = sizeof *t,
        .provider_cnt = 1,
        .provider_off_bytes = (uint32_t)((char *)&t->provider - base),
        .limit_cnt = 2,
        .limit_off_bytes = (uint32_t)((char *)t->limit - base),
        .route_cnt = FAKE_ROUTES,
        .route_off_bytes = (uint32_t)((char *)t->route - base),
        .endpoint_off_bytes = (uint32_t)((char *)t->route - base),
        .scope_cnt = 2,
        .scope_off_bytes = (uint32_t)((char *)t->scope - base),
        .member_off_bytes = (uint32_t)((char *)t->scope - base),
    };
    t->provider = (struct weir_shm_provider_row){.name = "sim",
                                                 .limit_cnt = 2,
                                                 .route_cnt = FAKE_ROUTES,
                                                 .slack_ns = 5 * WEIR_NS_PER_MS,
                                                 .scope_cnt = {1, 1, 2, 1}};
    limits_fill(t->limit);
    routes_fill(t->route);
    t->scope[0] = (struct weir_shm_scope_row){.name = "a", .kind = WEIR_SCOPE_ACCOUNT};
    t->scope[1] = (struct weir_shm_scope_row){.name = "b", .kind = WEIR_SCOPE_ACCOUNT, .value = 1};
    t->head.checksum = weir_tables_checksum(&t->head);
    f->gate->lease_until_ns = weir_clock_monotonic_ns() + 3600 * WEIR_NS_PER_S;
    weir_store_release_u64(&f->gate->tables, UINT64_C(1) << 32); /* pair:tables R */
}

void fake_broker_make(struct fake_broker *f, enum weir_role role)
{
    memset(f, 0, sizeof *f);
    segments_make(f);
    sections_find(f);
    tables_fill(f);
    f->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(f->doorbell >= 0 &&
             socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, f->bell) == 0,
         "descriptors");
    const int fd[] = {f->board.fd, f->ring.fd, f->arena.fd, f->doorbell, f->bell[0], f->permits.fd};
    memcpy(f->fd, fd, sizeof fd);
    f->fd_cnt = role == WEIR_ROLE_MONITOR ? 1 : role == WEIR_ROLE_CALLER ? 5 : 6;
    f->welcome = (struct weir_attach_welcome){.magic = WEIR_ATTACH_MAGIC,
                                              .version = WEIR_ATTACH_VERSION,
                                              .bytes = sizeof f->welcome,
                                              .abi_major = WEIR_ABI_MAJOR,
                                              .abi_minor = WEIR_ABI_MINOR,
                                              .layout_hash = weir_layout_hash(),
                                              .broker_id = FAKE_BROKER_ID,
                                              .client = role == WEIR_ROLE_MONITOR ? UINT32_MAX : 7,
                                              .fd_cnt = (uint32_t)f->fd_cnt,
                                              .ring_order = FAKE_RING_ORDER};
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/weir-test-XXXXXX");
    must(mkdtemp(f->dir) != NULL && chmod(f->dir, 0755) == 0, "mkdtemp");
    (void)snprintf(f->path, sizeof f->path, "%s/fake/default.sock", f->dir);
}

/* ---------------------------------------------------------------------------------------------- supervisor */

static void answer(const struct fake_broker *f, int connection)
{
    struct weir_attach_hello hello;
    if (recv(connection, &hello, sizeof hello, 0) != (ssize_t)sizeof hello ||
        f->script == FAKE_SILENT) {
        return;
    }
    struct weir_attach_welcome w = f->welcome;
    w.monotonic_ns = weir_clock_monotonic_ns() + (uint64_t)f->clock_skew_ns;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof f->fd)];
    } room = {.bytes = {0}};
    struct iovec data = {.iov_base = &w, .iov_len = sizeof w};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
    if (f->script == FAKE_GARBAGE) {
        data.iov_base = (void *)(uintptr_t) "HTTP/1.1 400 Bad Request\r\n";
        data.iov_len = 26;
    } else if (f->fd_cnt > 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = CMSG_SPACE(f->fd_cnt * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(f->fd_cnt * sizeof(int));
        memcpy(CMSG_DATA(h), f->fd, f->fd_cnt * sizeof(int));
    }
    (void)sendmsg(connection, &m, MSG_NOSIGNAL);
}

static void serve(const struct fake_broker *f, int ready)
{
    char directory[128];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(directory, sizeof directory, "%s/fake", f->dir);
    memcpy(at.sun_path, f->path, strnlen(f->path, sizeof at.sun_path - 1));
    (void)usleep(f->delay_ms * 1000);
    (void)mkdir(directory, 0755);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    must(bind(listener, (const struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 8) == 0,
         "bind");
    (void)close(ready);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (f->script == FAKE_CLOSE) {
            (void)close(connection);
        } else {
            answer(f, connection); /* the connection stays open until we die */
        }
    }
}

void fake_broker_listen(struct fake_broker *f)
{
    int ready[2];
    char byte;
    must(pipe(ready) == 0, "pipe");
    f->supervisor = fork();
    must(f->supervisor >= 0, "fork");
    if (f->supervisor == 0) {
        (void)close(ready[0]);
        (void)close(f->bell[1]); /* the worker's end: here the test process is the worker */
        serve(f, ready[1]);
    }
    (void)close(ready[1]);
    if (f->delay_ms == 0) {
        must(read(ready[0], &byte, 1) == 0, "supervisor");
    }
    (void)close(ready[0]);
}

void fake_broker_die(struct fake_broker *f)
{
    if (f->supervisor > 0) {
        (void)kill(f->supervisor, SIGKILL);
        (void)waitpid(f->supervisor, NULL, 0);
        f->supervisor = 0;
    }
}

void fake_broker_free(struct fake_broker *f)
{
    char directory[128];
    fake_broker_die(f);
    weir_segment_unmap(&f->board);
    weir_segment_unmap(&f->permits);
    weir_segment_unmap(&f->ring);
    weir_segment_unmap(&f->arena);
    (void)close(f->doorbell);
    (void)close(f->bell[0]);
    if (f->bell[1] >= 0) {
        (void)close(f->bell[1]);
    }
    (void)unlink(f->path);
    (void)snprintf(directory, sizeof directory, "%s/fake", f->dir);
    (void)rmdir(directory);
    (void)rmdir(f->dir);
}

int fake_broker_open(struct fake_broker *f, enum weir_role role, struct weir **out,
                     struct weir_diag *diag)
{
    const struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .role = role, .runtime_dir = f->dir};
    return weir_open(out, "fake", &opts, diag);
}

/* ---------------------------------------------------------------------------------------------- worker */

bool fake_take(struct fake_broker *f, unsigned priority, uint32_t *slot)
{
    uint32_t handle;
    if (weir_ring_take(&f->level[priority], &handle) != WEIR_RING_OK) {
        return false;
    }
    must(weir_handle_client(handle) == f->welcome.client, "handle");
    *slot = weir_handle_slot(handle);
    return true;
}

bool fake_claim(struct fake_broker *f, uint32_t slot)
{
    uint64_t word = weir_load_acquire_u64(&f->slot[slot].state); /* pair:slot A */
    return weir_slot_state(word) == WEIR_SLOT_SUBMITTED &&
           weir_cas_u64(&f->slot[slot].state, &word,
                        weir_slot_with(word, WEIR_SLOT_CLAIMED)); /* pair:slot R */
}

void fake_done(struct fake_broker *f, uint32_t slot, const char *body)
{
    struct weir_shm_slot *s = &f->slot[slot];
    uint32_t off = slot * 512U;
    memcpy(f->pool + off, body, strlen(body));
    s->response = (struct weir_shm_response){.result = WEIR_RESULT_DONE,
                                             .status = 200,
                                             .body_off_bytes = off,
                                             .body_bytes = (uint32_t)strlen(body),
                                             .submitted_ns = s->request.submitted_ns};
    uint64_t word = weir_load_acquire_u64(&s->state);                        /* pair:slot A */
    weir_store_release_u64(&s->state, weir_slot_with(word, WEIR_SLOT_DONE)); /* pair:slot R */
    weir_fence_full(); /* done, then the look at the waiter (pair:slot-waiter) */
    if (weir_load_relaxed_u32(&s->waiter) != 0) { /* relaxed: behind the fence */
        weir_futex_wake((uint32_t *)(void *)&s->state, 1);
    }
    weir_or_u64(&f->wake->done[slot / 64], UINT64_C(1) << (slot % 64)); /* pair:done R */
    weir_fence_full();                               /* done bit, then the look at the bell */
    if (weir_xchg_u32(&f->wake->fd_armed, 0) != 0) { /* pair:armed A */
        (void)send(f->bell[1], "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}
