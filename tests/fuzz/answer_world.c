#include "answer_world.h"

#include "broker/admission.h"
#include "broker/handover.h"
#include "broker/journal.h"
#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_MAX    4096U
#define DEADLINE_NS WEIR_NS_PER_S
#define PATIENCE_NS (60 * WEIR_NS_PER_MS) /* where the server waits */
#define SLACK_NS    (3 * WEIR_NS_PER_S)   /* of a busy machine */

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
    "    endpoints: [{name: e, connections: 8, %s}]\n"
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

static struct weir_config *config;
static struct region region;
static struct admission admission;
static int to_worker; /* the supervisor's end */
static struct weir *handle;
static struct journal journal = {.fd = -1, .lock_fd = -1};
static struct handover handover;
static uint32_t attached; /* 1: the handle is open, nobody else comes */

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

int world_listen(unsigned *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_must(bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 64) == 0 &&
               getsockname(fd, (struct sockaddr *)&at, &bytes) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static char socket_dir[96];

static void gone(void)
{
    admission_close(&admission);
    (void)rmdir(socket_dir);
}

void world_open(const char *endpoint, void *(*serve)(void *arg))
{
    char text[sizeof yaml + 256];
    int pair[2];
    pthread_t thread;
    struct weir_diag diag;
    (void)snprintf(text, sizeof text, yaml, endpoint);
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

void world_operate(uint32_t operation, const char *target, const uint8_t *more, size_t bytes)
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

void world_go_on(void)
{
    if (weir_load_acquire_u64(&region.provider[0].pause) != 0) { /* no partner */
        world_operate(WEIR_OPERATION_RESUME, "p", NULL, 0);
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

struct weir_response world_call(unsigned which, bool waits)
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
    uint64_t now_ns = weir_now_ns(handle);
    uint64_t limit_ns = waits ? PATIENCE_NS : DEADLINE_NS;
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
    stage_must(weir_release(handle, a.ticket) == 0);
    return a;
}

bool world_is_open(void)
{
    return handle != NULL;
}

bool world_is_full(const struct weir_response *a)
{
    return a->sends == 0 && a->denial.reason == WEIR_REASON_LIMIT_FULL && a->denial.limit == 0;
}
