/*
 * http_floor.c: curl multi on io_uring, as bare as it can be and still be right.
 *
 * Polls are one-shot and armed again after each socket_action: curl does not promise to drain a socket, and a multishot poll tells of an
 * edge only, so with multishot an upload can hang for ever. Each poll carries its socket's generation, which goes up whenever curl changes its mind, so an
 * event of a poll that no longer matters is dropped.
 */
#include "http_floor.h"

#include <curl/curl.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/weir_clock.h"

#define RING_ENTRIES 256U
#define SOCKETS_MAX  1024U /* descriptors: small numbers, as few others are open */
#define CQE_BATCH    64U
#define IDLE_NS      (100 * WEIR_NS_PER_MS)
#define HANG_NS      (5 * WEIR_NS_PER_S)
#define CANCELLED    UINT64_MAX /* user_data of the cancellations themselves */

struct watch {
    uint32_t generation;
    short events; /* what curl waits for; 0: nothing */
    bool armed;
};

struct transfer {
    CURL *easy;
    size_t got_bytes;
    char body[4096];
    struct http_floor *loop;
    uint64_t start_ns; /* where gates are counted */
};

struct http_floor {
    struct io_uring ring;
    CURLM *multi;
    uint64_t timer_at_ns; /* UINT64_MAX: none */
    struct watch watch[SOCKETS_MAX];
    struct transfer *transfer;
    unsigned transfer_cnt;
    unsigned running_cnt;
    size_t body_bytes;
    bool refill; /* ended transfers start again */
    const char *wrong;
    uint64_t done_cnt;
    struct stats_hist *gate; /* NULL: gates are not counted */
};

static uint64_t watch_data(int fd, const struct watch *watch)
{
    return (uint64_t)watch->generation << 32 | (uint32_t)fd;
}

static struct io_uring_sqe *sqe_get(struct http_floor *loop)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
    if (!sqe) {
        io_uring_submit(&loop->ring);
        sqe = io_uring_get_sqe(&loop->ring);
    }
    if (!sqe) {
        loop->wrong = "the submission queue stays full";
    }
    return sqe;
}

static void watch_arm(struct http_floor *loop, int fd)
{
    struct watch *watch = &loop->watch[fd];
    struct io_uring_sqe *sqe = sqe_get(loop);
    if (sqe) {
        io_uring_prep_poll_add(sqe, fd, (unsigned)watch->events);
        io_uring_sqe_set_data64(sqe, watch_data(fd, watch));
        watch->armed = true;
    }
}

static void watch_disarm(struct http_floor *loop, int fd)
{
    struct watch *watch = &loop->watch[fd];
    if (watch->armed) {
        struct io_uring_sqe *sqe = sqe_get(loop);
        if (sqe) {
            io_uring_prep_cancel64(sqe, watch_data(fd, watch), 0);
            io_uring_sqe_set_data64(sqe, CANCELLED);
        }
        watch->armed = false;
    }
    watch->generation = (watch->generation + 1) & 0xffffffU;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_floor *loop = arg;
    (void)easy;
    (void)socket_arg;
    if (fd < 0 || fd >= (int)SOCKETS_MAX) {
        loop->wrong = "a descriptor above the table";
        return -1;
    }
    watch_disarm(loop, fd);
    struct watch *watch = &loop->watch[fd];
    watch->events = 0;
    if (what != CURL_POLL_REMOVE) {
        watch->events =
            (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
        watch_arm(loop, fd);
    }
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_floor *loop = arg;
    (void)multi;
    loop->timer_at_ns = timeout_ms < 0
                            ? UINT64_MAX
                            : weir_clock_monotonic_ns() + (uint64_t)timeout_ms * WEIR_NS_PER_MS;
    return 0;
}

static size_t on_body(char *data, size_t size, size_t cnt, void *arg)
{
    struct transfer *transfer = arg;
    size_t bytes = size * cnt;
    if (bytes > sizeof(transfer->body) - transfer->got_bytes) {
        return 0;
    }
    memcpy(transfer->body + transfer->got_bytes, data, bytes);
    transfer->got_bytes += bytes;
    return bytes;
}

static int on_gate(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct transfer *transfer = arg;
    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    if (transfer->loop->gate) {
        stats_hist_add(transfer->loop->gate, weir_clock_monotonic_ns() - transfer->start_ns);
    }
    return CURL_PREREQFUNC_OK;
}

void http_floor_gate(struct http_floor *loop, struct stats_hist *hist)
{
    loop->gate = hist;
    for (unsigned i = 0; i < loop->transfer_cnt; i++) {
        curl_easy_setopt(loop->transfer[i].easy, CURLOPT_PREREQFUNCTION, hist ? on_gate : NULL);
    }
}

static void transfer_start(struct http_floor *loop, struct transfer *transfer)
{
    if (loop->gate) {
        transfer->start_ns = weir_clock_monotonic_ns();
    }
    transfer->got_bytes = 0;
    if (curl_multi_add_handle(loop->multi, transfer->easy) != CURLM_OK) {
        loop->wrong = "curl_multi_add_handle failed";
        return;
    }
    loop->running_cnt++;
    if (loop->gate) { /* in this turn, as weir's worker does, and not after a look at the kernel */
        int running;
        loop->timer_at_ns = UINT64_MAX;
        curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

/* Take what ended: an answer may be there after any socket_action. */
static void drain(struct http_floor *loop)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(loop->multi, &left))) {
        struct transfer *transfer = NULL;
        long status = 0;
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (code != CURLE_OK || status != 200 || transfer->got_bytes != loop->body_bytes) {
            loop->wrong = code != CURLE_OK ? curl_easy_strerror(code) : "a wrong answer";
        }
        curl_multi_remove_handle(loop->multi, easy);
        loop->running_cnt--;
        loop->done_cnt++;
        if (loop->refill && !loop->wrong) {
            transfer_start(loop, transfer);
        }
    }
}

static void on_event(struct http_floor *loop, uint64_t data, int res)
{
    int running;
    int fd = (int)(uint32_t)data;
    uint32_t generation = (uint32_t)(data >> 32);
    if (data == CANCELLED || res == -ECANCELED || loop->watch[fd].generation != generation) {
        return;
    }
    loop->watch[fd].armed = false;
    int mask =
        (res & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0) | (res & POLLOUT ? CURL_CSELECT_OUT : 0);
    if (res < 0 || res & POLLERR) {
        mask = CURL_CSELECT_IN | CURL_CSELECT_OUT | CURL_CSELECT_ERR;
    }
    curl_multi_socket_action(loop->multi, fd, mask, &running);
    const struct watch *watch = &loop->watch[fd];
    if (watch->generation == generation && watch->events && !watch->armed) {
        watch_arm(loop, fd);
    }
}

/* One turn: timers, ended transfers, then sleep until a socket or the timer. */
static void turn(struct http_floor *loop)
{
    struct io_uring_cqe *cqe[CQE_BATCH];
    uint64_t data[CQE_BATCH];
    int res[CQE_BATCH];
    int running;
    uint64_t now_ns = weir_clock_monotonic_ns();
    if (loop->timer_at_ns <= now_ns) {
        loop->timer_at_ns = UINT64_MAX;
        curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    drain(loop);
    if (loop->running_cnt == 0 || loop->wrong) {
        return;
    }
    uint64_t wait_ns = IDLE_NS;
    if (loop->timer_at_ns != UINT64_MAX) {
        wait_ns =
            loop->timer_at_ns > now_ns ? weir_min_u64(IDLE_NS, loop->timer_at_ns - now_ns) : 0;
    }
    struct __kernel_timespec ts = {.tv_nsec = (long long)wait_ns};
    io_uring_submit_and_wait_timeout(&loop->ring, cqe, 1, &ts, NULL);
    unsigned cnt = io_uring_peek_batch_cqe(&loop->ring, cqe, CQE_BATCH);
    for (unsigned i = 0; i < cnt; i++) {
        data[i] = io_uring_cqe_get_data64(cqe[i]);
        res[i] = cqe[i]->res;
    }
    io_uring_cq_advance(&loop->ring, cnt); /* before curl runs: its callbacks queue more */
    for (unsigned i = 0; i < cnt; i++) {
        on_event(loop, data[i], res[i]);
    }
}

static double thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int http_floor_run(struct http_floor *loop, double slice_s, struct http_count *count,
                   struct bench_result *result)
{
    memset(count, 0, sizeof(*count));
    uint64_t start_ns = weir_clock_monotonic_ns();
    uint64_t end_ns = start_ns + (uint64_t)(slice_s * 1e9);
    double start_cpu_ns = thread_cpu_ns();
    loop->done_cnt = 0;
    loop->refill = true;
    for (unsigned i = 0; i < loop->transfer_cnt; i++) {
        transfer_start(loop, &loop->transfer[i]);
    }
    while (loop->running_cnt > 0 && !loop->wrong) {
        turn(loop);
        uint64_t now_ns = weir_clock_monotonic_ns();
        loop->refill = now_ns < end_ns;
        if (now_ns > end_ns + HANG_NS) {
            loop->wrong = "transfers hang";
        }
    }
    count->request_cnt = loop->done_cnt;
    count->wall_ns = (double)(weir_clock_monotonic_ns() - start_ns);
    count->cpu_ns = thread_cpu_ns() - start_cpu_ns;
    return loop->wrong ? bench_fail(result, "the bare loop: %s", loop->wrong) : 0;
}

static CURL *easy_make(const char *url, struct transfer *transfer)
{
    CURL *easy = curl_easy_init();
    if (easy) {
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)transfer);
    }
    return easy;
}

static int ring_make(struct io_uring *ring)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = 4 * RING_ENTRIES,
    };
    int rc = io_uring_queue_init_params(RING_ENTRIES, ring, &params);
    if (rc == 0) {
        (void)io_uring_register_ring_fd(ring); /* cheaper to enter; works without */
    }
    return rc;
}

struct http_floor *http_floor_open(const char *url, unsigned in_flight, size_t body_bytes,
                                   struct bench_result *result)
{
    struct http_floor *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        bench_fail(result, "no memory for the bare loop");
        return NULL;
    }
    int rc = ring_make(&loop->ring);
    if (rc != 0) {
        bench_fail(result, "no io_uring: %s (look at /proc/sys/kernel/io_uring_disabled)",
                   strerror(-rc));
        free(loop);
        return NULL;
    }
    loop->multi = curl_multi_init();
    loop->transfer = calloc(in_flight, sizeof(*loop->transfer));
    loop->timer_at_ns = UINT64_MAX;
    loop->body_bytes = body_bytes;
    bool whole = loop->multi && loop->transfer;
    for (unsigned i = 0; whole && i < in_flight; i++) {
        loop->transfer[i].loop = loop;
        loop->transfer[i].easy = easy_make(url, &loop->transfer[i]);
        loop->transfer_cnt++;
        whole = loop->transfer[i].easy != NULL;
    }
    if (!whole) {
        bench_fail(result, "no memory for %u transfers", in_flight);
        http_floor_close(loop);
        return NULL;
    }
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)in_flight * 2);
    return loop;
}

void http_floor_close(struct http_floor *loop)
{
    for (unsigned i = 0; i < loop->transfer_cnt; i++) {
        if (loop->transfer[i].easy) {
            (void)curl_multi_remove_handle(loop->multi, loop->transfer[i].easy);
            curl_easy_cleanup(loop->transfer[i].easy);
        }
    }
    if (loop->multi) {
        curl_multi_cleanup(loop->multi);
    }
    io_uring_queue_exit(&loop->ring);
    free(loop->transfer);
    free(loop);
}
