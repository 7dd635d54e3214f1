/*
 * fuzz_answer.c: any bytes as the answer of an exchange, through all of the broker: a real worker (broker/worker.c, http.c, libcurl, exchange.c, answer.c, reply.c, cache.c, retry.c) in a thread of
 * this process, a real connection, libweir at the other end.
 *
 * First byte: the route (bits 0 to 2) and whether another thread's order comes beside it (bit 7: a pause, a resume and so on, made of the second byte). Second byte: what the server does behind its
 * last byte (bits 0 and 1: close, end its side, reset, wait) and in how many pieces it writes (bits 2 to 4). The rest is what it writes. Oracle: the sanitizers; each call ends with a named
 * outcome before its deadline and a little; DONE only with a status that HTTP has; a body within the route's cap; its unit of a limit of one in flight comes back, or
 * the next call could not go; a connection whose call ended otherwise than DONE bears no other one; the worker lives.
 */
#include "broker/admission.h"
#include "broker/handover.h"
#include "broker/journal.h"
#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "stage.h"
#include "weir.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define CONNECTIONS 16U
#define BODY_MAX    4096U
#define DEADLINE_NS WEIR_NS_PER_S
#define PATIENCE_NS (60 * WEIR_NS_PER_MS) /* where the server waits */
#define SLACK_NS    (3 * WEIR_NS_PER_S)   /* of a busy machine */

enum { END_CLOSE = 0, END_SHUTDOWN = 1, END_RESET = 2, END_WAIT = 3 };

static const char yaml[] =
    "broker: {name: fuzz, log: error, state_dir: none, domains: [{name: default, clients: 2}]}\n"
    "providers:\n"
    "  - name: p\n"
    "    clock: {source: host, error: 1ms, max_jitter: 1ms}\n"
    "    limits:\n"
    "      - {name: one, kind: concurrency, quota: 1}\n"
    "      - {name: wide, kind: token_bucket, quota: 1000000, window: 1s}\n"
    "    throttle:\n"
    "      status: [429, 418]\n"
    "      retry_after: seconds\n"
    "      header: x-stop\n"
    "      text: [\"slow down\"]\n"
    "      until_text: \"banned until {time}\"\n"
    "      default: 1ms\n"
    "      backoff: {factor: 1, jitter: 0%%}\n"
    "    feedback:\n"
    "      - {header: x-used, limit: wide, reports: used}\n"
    "    retry: {attempts: 2, base: 1ms, max: 5ms}\n"
    "    endpoints: [{name: e, url: \"http://127.0.0.1:%u\", connections: 8}]\n"
    "    routes:\n"
    "      - {name: get, method: GET, path: /r/*, cost: {one: 1, wide: 1}, timeout: 1s, "
    "max_response: 4KiB}\n"
    "      - {name: post, method: POST, path: /r/*, cost: {one: 1, wide: 1}, timeout: 1s, "
    "max_response: 4KiB}\n"
    "      - {name: head, method: HEAD, path: /r/*, cost: {one: 1, wide: 1}, timeout: 1s, "
    "max_response: 4KiB}\n"
    "      - {name: kept, method: GET, path: /r/*, cost: {one: 1, wide: 1}, timeout: 1s, "
    "max_response: 4KiB,\n"
    "         share: public, cache: 1h, negative: 1h, stale: 1h}\n"
    "      - {name: put, method: PUT, path: /r/*, cost: {one: 1, wide: 1}, timeout: 1s, "
    "max_response: 4KiB}\n";
static const char *const routes[] = {"p.get", "p.post", "p.head", "p.kept",
                                     "p.get", "p.put",  "p.kept", "p.post"};

struct connection {
    int fd;       /* -1: none */
    bool served;  /* this input's answer was written to it */
    bool tainted; /* its call did not end well: nothing more may come */
};

static struct weir_config *config;
static struct region region;
static struct admission admission;
static int to_worker; /* the supervisor's end */
static struct weir *handle;
static struct journal journal = {.fd = -1, .lock_fd = -1};
static struct handover handover;
static uint32_t attached; /* 1: the handle is open, nobody else comes */

/* The server's; `lock` guards all of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection connections[CONNECTIONS];
static uint8_t answer[65536]; /* a copy: a late request finds it when its input is gone */
static size_t answer_bytes;
static uint8_t manner;
static int listener;

/* ---------------------------------------------------------------------------------------------- server */

static void close_one(struct connection *c, bool reset)
{
    const struct linger hard = {.l_onoff = 1};
    if (reset) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    (void)close(c->fd);
    *c = (struct connection){.fd = -1};
}

static void answer_write(struct connection *c)
{
    size_t pieces = 1U + (manner >> 2 & 7U);
    size_t piece = answer_bytes / pieces + 1;
    for (size_t at = 0; at < answer_bytes; at += piece) {
        size_t n = answer_bytes - at < piece ? answer_bytes - at : piece;
        (void)send(c->fd, answer + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (pieces > 1) {
            const struct timespec nap = {.tv_nsec = 50000};
            (void)nanosleep(&nap, NULL);
        }
    }
    c->served = true;
    switch (manner & 3) {
    case END_CLOSE:
        close_one(c, false);
        break;
    case END_SHUTDOWN:
        (void)shutdown(c->fd, SHUT_WR);
        break;
    case END_RESET:
        close_one(c, true);
        break;
    default:
        break;
    }
}

/* A request is small and comes in one piece; what was read before its blank line is of no interest. */
static void readable(struct connection *c)
{
    char text[8192];
    ssize_t n = recv(c->fd, text, sizeof text, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        close_one(c, false);
        return;
    }
    stage_must(!c->tainted);
    if (memmem(text, (size_t)n, "\r\n\r\n", 4) != NULL) {
        answer_write(c);
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd p[CONNECTIONS + 1];
        p[CONNECTIONS] = (struct pollfd){.fd = listener, .events = POLLIN};
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            p[i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&lock);
        (void)poll(p, CONNECTIONS + 1, 1000);
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            if (p[i].revents != 0 && connections[i].fd == p[i].fd && p[i].fd >= 0) {
                readable(&connections[i]);
            }
        }
        if (p[CONNECTIONS].revents != 0) {
            unsigned i = 0;
            while (i < CONNECTIONS && connections[i].fd >= 0) {
                i++;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            stage_must(i < CONNECTIONS); /* more than the endpoint may have: something leaks */
            const int yes = 1;
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            connections[i] = (struct connection){.fd = fd};
        }
        (void)pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- broker */

static int worker_socket;

static void *work(void *arg)
{
    static int resolver[2];
    (void)arg;
    stage_must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, resolver) ==
               0);
    (void)worker_run(config, &region, NULL, 0, worker_socket, resolver[0]);
    abort(); /* nobody told it to leave */
}

static void *supervise(void *arg)
{
    (void)arg;
    while (weir_load_acquire_u32(&attached) == 0) { /* no partner */
        struct peer *p = admission_accept(&admission, 0);
        const struct timespec nap = {.tv_nsec = 1000000};
        for (int i = 0; p != NULL && i < 100; i++) {
            uint32_t index;
            if (admission_read(&admission, p, to_worker, &index) != ADMISSION_NOTHING) {
                break;
            }
            (void)nanosleep(&nap, NULL);
        }
        (void)nanosleep(&nap, NULL);
    }
    return NULL;
}

static unsigned port_open(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_must(bind(listener, (const struct sockaddr *)&at, sizeof at) == 0 &&
               listen(listener, 64) == 0 &&
               getsockname(listener, (struct sockaddr *)&at, &bytes) == 0);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connections[i].fd = -1;
    }
    return ntohs(at.sin_port);
}

static char socket_dir[96];

static void gone(void)
{
    admission_close(&admission);
    (void)rmdir(socket_dir);
}

static void once(void)
{
    char text[sizeof yaml + 64];
    int pair[2];
    pthread_t thread;
    struct weir_diag diag;
    (void)snprintf(text, sizeof text, yaml, port_open());
    config = stage_config(text);
    stage_region(&region, config);
    region.journal = &journal;
    region.handover = &handover;
    handover_adopt(&handover, stage_dir(), -1, -1);
    (void)snprintf(socket_dir, sizeof socket_dir, "%s/fuzz", stage_dir());
    stage_must(mkdir(socket_dir, 0700) == 0 &&
               admission_open(&admission, config, &region, socket_dir, NULL, text, sizeof text) ==
                   0 &&
               atexit(gone) == 0);
    stage_must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    to_worker = pair[0];
    worker_socket = pair[1];
    stage_must(pthread_create(&thread, NULL, serve, NULL) == 0 &&
               pthread_create(&thread, NULL, work, NULL) == 0 &&
               pthread_create(&thread, NULL, supervise, NULL) == 0);
    const struct weir_open_opts opts = {.struct_bytes = sizeof opts,
                                        .role = WEIR_ROLE_CALLER,
                                        .runtime_dir = stage_dir(),
                                        .patience_ns = 10 * WEIR_NS_PER_S};
    stage_must(weir_open(&handle, "fuzz", &opts, &diag) == 0);
    weir_store_release_u32(&attached, 1); /* no partner */
}

/* An operator's order; its answer is waited for. */
static void operate(uint32_t operation, const char *target, const uint8_t *more, size_t bytes)
{
    static struct control_message m;
    static uint64_t ticket;
    memset(&m, 0, sizeof m);
    m.kind = CONTROL_OPERATE;
    m.operation.ticket = ++ticket;
    m.operation.asked = (struct weir_operate){.magic = WEIR_OPERATE_MAGIC,
                                              .version = WEIR_OPERATE_VERSION,
                                              .operation = operation,
                                              .duration_ns = WEIR_NS_PER_MS};
    memcpy(m.operation.asked.target, target, strlen(target));
    struct stage_input in = {more, bytes};
    if (bytes > 0) { /* what operate.c lets through */
        stage_edit(&in, &m.operation.asked.duration_ns, sizeof m.operation.asked.duration_ns, 8);
        m.operation.asked.balance = stage_byte(&in);
        m.operation.asked.target[0] = (char)(0x21 + stage_byte(&in) % 0x5e);
    }
    stage_must(control_send(to_worker, &m, sizeof m, NULL, 0) == 0);
    for (;;) {
        struct pollfd p = {.fd = to_worker, .events = POLLIN};
        stage_must(poll(&p, 1, 5000) == 1);
        ssize_t n = control_receive(to_worker, &m, sizeof m, NULL, NULL);
        if (n == (ssize_t)sizeof m && m.kind == CONTROL_OPERATED) {
            stage_must(m.operation.ticket == ticket && m.operation.answer.text[0] != '\0');
            return;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- a call */

/* Let what an answer said be forgotten: stops, and what others are said to use. */
static void go_on(void)
{
    if (weir_load_acquire_u64(&region.provider[0].pause) != 0) { /* no partner */
        operate(WEIR_OPERATION_RESUME, "p", NULL, 0);
    }
}

/* Is it one that an answer, or none, may have? */
static bool outcome_fits(const struct weir_response *a, bool idempotent)
{
    switch (a->result) {
    case WEIR_RESULT_DONE:
        return a->status >= 200 && a->status <= 999 && a->body_bytes <= BODY_MAX &&
               a->headers_bytes <= HEAR_HEAD_MAX_BYTES;
    case WEIR_RESULT_FAILED:
    case WEIR_RESULT_TIMEOUT:
        return idempotent && a->sends > 0;
    case WEIR_RESULT_OUTCOME_UNKNOWN:
        return !idempotent && a->sends == 1;
    case WEIR_RESULT_TOO_LARGE:
        return a->sends > 0;
    case WEIR_RESULT_REFUSED:
    case WEIR_RESULT_EXPIRED:
    case WEIR_RESULT_CANCELLED: /* by weir_call, at the deadline */
    case WEIR_RESULT_NOT_SENT:
        return a->sends == 0;
    default:
        return false;
    }
}

/* Everything of this call is over on the server's side, too. */
static void connections_settle(bool well)
{
    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        c->tainted = c->tainted || (c->fd >= 0 && c->served && !well);
        c->served = false;
    }
    (void)pthread_mutex_unlock(&lock);
}

static struct weir_response call(unsigned which, const uint8_t *data, size_t bytes, uint8_t how)
{
    static unsigned number;
    char query[32];
    struct weir_response a = {0};
    weir_route_id route;
    /* an answer that is kept is not met again */
    (void)snprintf(query, sizeof query, "n=%u", number++);
    stage_must(weir_route_find(handle, routes[which], &route) == 0);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = route, .path_rest = "x", .query = query};
    (void)pthread_mutex_lock(&lock);
    answer_bytes = bytes < sizeof answer ? bytes : sizeof answer;
    memcpy(answer, data, answer_bytes);
    manner = how;
    (void)pthread_mutex_unlock(&lock);
    uint64_t now_ns = weir_now_ns(handle);
    uint64_t limit_ns = (how & 3) == END_WAIT ? PATIENCE_NS : DEADLINE_NS;
    int rc = weir_call(handle, &spec, now_ns + limit_ns, &a);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: weir_call: %s\n", routes[which], weir_error_name(rc));
        abort();
    }
    stage_must(weir_now_ns(handle) < now_ns + limit_ns + SLACK_NS);
    if (!outcome_fits(&a, which != 1 && which != 7)) {
        (void)fprintf(stderr, "%s: result %u status %u sends %u error %d limit %u reason %u\n",
                      routes[which], (unsigned)a.result, a.status, a.sends, a.error, a.denial.limit,
                      a.denial.reason);
        abort();
    }
    connections_settle(a.result == WEIR_RESULT_DONE);
    stage_must(weir_release(handle, a.ticket) == 0);
    return a;
}

/* The limit of one in flight was full: whoever holds it lets it go in time. */
static void goes_on(void)
{
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (int i = 0; i < 5; i++) {
        go_on();
        if (call(0, (const uint8_t *)fine, sizeof fine - 1, END_CLOSE).result == WEIR_RESULT_DONE) {
            return;
        }
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (handle == NULL) {
        once();
    }
    if (bytes < 2) {
        return 0;
    }
    go_on();
    if ((data[0] & 0x80) != 0) {
        operate(1U + data[1] % 6U, "p", data + 2, bytes - 2);
        operate(WEIR_OPERATION_UNBLOCK, "0", NULL, 0); /* it may have been us */
        go_on();
    }
    struct weir_response a = call(data[0] & 7U, data + 2, bytes - 2, data[1]);
    if (a.sends == 0 && a.denial.reason == WEIR_REASON_LIMIT_FULL && a.denial.limit == 0) {
        goes_on();
    }
    return 0;
}
