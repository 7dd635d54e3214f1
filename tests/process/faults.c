/*
 * Calls of libc that fail. Each call that weird makes while it starts, lets a client in, makes a call for it and stops fails once: the first time, the
 * second, and so on until there are no more; then the same with what a client makes. And the machine's UTC jumps.
 *
 *   process_faults SIM WEIRD FAULT_SO [SEED] [--long | --part=K/N | --only CALL]
 *
 * Without --long a few of the times of each call, chosen by the seed; --part: all times for the Kth of N parts of the calls; --only: all times of one call.
 *
 * Oracles: nothing hangs. weird either ends with a status that is not 0 and says why, or it stands, and then a client can attach, gets a permit and a named
 * outcome, and SIGTERM ends it in time. A client's fault is an error with a name and costs the broker nothing. At the exchange: no violation, no order twice.
 */
#include "fault.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACH_MS 9000U /* a broker that cannot know how the last one ended waits a lease */
#define WORK_NS   (6 * WEIR_NS_PER_S)
#define END_MS    12000U
#define TIMES_MAX 200U
#define CI_TIMES  2U /* of each call and error */
#define CLIENT_OK 40 /* exit status of a client: so much more than rc = 0 */

static struct fault_page *page;
static const char *fault_so;
static char top[64]; /* the rig's own directory */
static unsigned runs, stood, refused, hits;

static const struct {
    const char *call;
    int error[3];
} broker_calls[] = {
    {"memfd_create", {ENOMEM, EMFILE}},
    {"ftruncate", {ENOSPC, EINTR}},
    {"fallocate", {ENOSPC, EINTR}},
    {"mmap", {ENOMEM}},
    {"socket", {EMFILE, ENOBUFS}},
    {"socketpair", {EMFILE}},
    {"bind", {EADDRINUSE, EACCES}},
    {"listen", {EADDRINUSE}},
    {"connect", {EINTR, ECONNREFUSED}},
    {"accept4", {EMFILE, EINTR, ECONNABORTED}},
    {"getsockopt", {ENOBUFS}},
    {"setsockopt", {ENOPROTOOPT}},
    {"sendmsg", {EINTR, ENOBUFS, EPIPE}},
    {"recvmsg", {EINTR, ENOBUFS}},
    {"send", {EINTR, ENOBUFS, FAULT_SHORT}},
    {"recv", {EINTR, ECONNRESET, FAULT_SHORT}},
    {"eventfd", {EMFILE}},
    {"signalfd", {EMFILE}},
    {"fork", {EAGAIN}},
    {"open", {EMFILE, EACCES}},
    {"read", {EINTR, EIO, FAULT_SHORT}},
    {"write", {EINTR, ENOSPC, FAULT_SHORT}},
    {"pwrite", {EINTR, ENOSPC, FAULT_SHORT}},
    {"mkdir", {ENOSPC}},
    {"unlink", {EACCES}},
    {"flock", {EINTR, ENOLCK}},
    {"fsync", {EIO, EINTR}},
    {"rename", {ENOSPC}},
    {"poll", {EINTR}},
    {"epoll_wait", {EINTR}},
    {"io_uring_queue_init", {ENOMEM, EPERM}},
    {"cq_lost", {ENOMEM}},
};

static const struct {
    const char *call;
    int error[3];
} client_calls[] = {
    {"socket", {EMFILE}},
    {"connect", {EINTR, EAGAIN, ECONNREFUSED}},
    {"send", {EINTR, EPIPE, FAULT_SHORT}},
    {"recvmsg", {EINTR, ENOBUFS}},
    {"mmap", {ENOMEM}},
    {"write", {EINTR, EAGAIN}},
    {"setsockopt", {ENOPROTOOPT}},
    {"madvise", {EINVAL}},
};

static void arm(const char *call, int error, uint32_t after, uint32_t times)
{
    memset(page->call, 0, sizeof page->call);
    page->error = error;
    page->after = after;
    page->times = times;
    page->pid = 0;
    page->seen = 0;
    page->failed = 0;
    (void)snprintf(page->call, sizeof page->call, "%s", call);
}

/* ---------------------------------------------------------------------------------------------- one run of weird */

/* With a journal only where its calls are what fails: a new one counts its limits as spent, and then each run waits for a window. */
static bool wants_journal(const char *call)
{
    static const char *const calls[] = {"open",   "read",  "write",  "pwrite", "mkdir",
                                        "unlink", "flock", "rename", "fsync",  "fallocate"};
    bool wants = false;
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(calls); i++) {
        wants = wants || strcmp(calls[i], call) == 0;
    }
    return wants;
}

static void own_directory(struct rig *r, const char *call)
{
    char state[96];
    static char kept[96];
    (void)snprintf(r->dir, sizeof r->dir, "%.40s/%u", top, runs);
    (void)snprintf(state, sizeof state, "%s/state", r->dir);
    memcpy(kept, state, sizeof kept);
    (void)mkdir(r->dir, 0700);
    (void)mkdir(kept, 0700);
    r->state_dir = wants_journal(call) ? kept : NULL;
    (void)truncate(r->log, 0);
}

static void spawn_with_faults(struct rig *r)
{
    (void)setenv("LD_PRELOAD", fault_so, 1);
    rig_weird_spawn(r);
    (void)unsetenv("LD_PRELOAD");
}

/* Has weird ended? Its status, or -1. */
static int ended(struct rig *r)
{
    int status = 0;
    if (r->weird == 0 || waitpid(r->weird, &status, WNOHANG) != r->weird) {
        return -1;
    }
    r->weird = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Attach, or learn that weird has ended. */
static struct weir *attach(struct rig *r, int *status)
{
    const struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .role = WEIR_ROLE_TRADER, .runtime_dir = r->dir};
    struct weir *w = NULL;
    uint64_t end_ns = rig_now_ns() + ATTACH_MS * WEIR_NS_PER_MS;
    *status = -1;
    while (weir_open(&w, "rig", &opts, NULL) != 0 && *status < 0 && rig_now_ns() < end_ns) {
        *status = ended(r);
        rig_sleep_ms(5);
    }
    return w;
}

static int work(struct rig *r, struct weir *w)
{
    weir_ticket t;
    uint32_t n;
    struct weir_permit p;
    struct weir_response a;
    const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
    weir_route_id own = rig_route(w, "sim.own");
    int rc = weir_permit_wait(w, own, 0, NULL, WEIR_PRIORITY_HIGH, weir_now_ns(w) + WORK_NS,
                              &p); /* the clock may be asked anew first */
    if (rc == 0) {
        rc = weir_permit_settle(w, &p, &unused);
    }
    if (rc != 0) {
        return rc;
    }
    rc = rig_order_submit(r, w, rig_route(w, "sim.order"), weir_now_ns(w) + 2 * WEIR_NS_PER_S, &t,
                          &n);
    if (rc == 0) {
        rc = weir_wait(w, t, weir_now_ns(w) + 6 * WEIR_NS_PER_S, &a);
    }
    if (rc == 0) {
        rig_order_ended(r, n, &a);
        rc = weir_release(w, t);
    }
    const struct weir_request_spec kept = {.struct_bytes = sizeof kept,
                                           .route = rig_route(w, "sim.kept")};
    if (rc == 0) {
        rc = weir_call(w, &kept, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a);
    }
    if (rc == 0) {
        rc = weir_release(w, a.ticket);
    }
    return rc;
}

/* What weird says when it gives up: its last line on stderr must name the matter. */
static bool says_why(const struct rig *r)
{
    return rig_log_has(r, "\"error\"") || rig_log_has(r, "error: ") || rig_log_has(r, "weird: ");
}

static bool run_broker(struct rig *r, const char *call, int error, uint32_t k)
{
    int status;
    runs++;
    own_directory(r, call);
    arm(call, error, k, 1);
    unsigned before = r->failures;
    spawn_with_faults(r);
    struct weir *w = attach(r, &status);
    if (w != NULL) {
        stood++;
        CHECK_INT(r, work(r, w), 0);
        weir_close(w);
        int rc = rig_weird_stop(r, END_MS);
        rig_check(r, rc == 0 || (page->failed > 0 && rc > 0 && says_why(r)), __FILE__, __LINE__,
                  "SIGTERM ends it: status %d", rc);
    } else if (status < 0) {
        rig_check(r, false, __FILE__, __LINE__, "neither up nor ended after %u ms", ATTACH_MS);
        (void)rig_weird_stop(r, END_MS);
    } else {
        refused++;
        rig_check(r, error != EINTR, __FILE__, __LINE__, "an interrupted call is made again");
        rig_check(r, status > 0 && status < 128 && page->failed > 0, __FILE__, __LINE__,
                  "ended with status %d", status);
        rig_check(r, says_why(r), __FILE__, __LINE__, "says why");
    }
    bool hit = page->failed > 0;
    hits += hit;
    if (hit && strcmp(call, "cq_lost") ==
                   0) { /* by then the strategy has been served by the next worker */
        CHECK(r, rig_log_has(r, "\"completions_lost\""), "said");
    }
    if (r->failures > before && k != UINT32_MAX) {
        (void)printf("  in: %s fails with %s, time %u (reproduce: --only %s)\n", call,
                     strerror(error), k + 1, call);
        rig_log_show(r, "");
    } else if (getenv("WEIR_FAULTS_SHOW") != NULL && hit) {
        (void)printf("%s %s %u: %s\n", call, strerror(error), k + 1,
                     w != NULL ? "stands" : "ended");
        rig_log_show(r, w != NULL ? "\"warn\"" : "error");
    }
    arm("", 0, 0, 0);
    return hit;
}

/* ---------------------------------------------------------------------------------------------- one run of a client */

/* In the child: weir_open, some work, weir_close, as a program of its own. Exit status: CLIENT_OK, or CLIENT_OK + 1 for a named error. */
static int client_main(const char *dir)
{
    const struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .role = WEIR_ROLE_TRADER, .runtime_dir = dir};
    struct weir *w = NULL;
    struct weir_diag diag = {0};
    struct weir_permit p;
    struct weir_response a;
    const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
    int rc = weir_open(&w, "rig", &opts, &diag);
    if (rc != 0) {
        return rc < 0 && diag.text[0] != '\0' && weir_strerror(rc)[0] != '\0' ? CLIENT_OK + 1 : 1;
    }
    weir_route_id own;
    weir_route_id ping;
    rc = weir_route_find(w, "sim.own", &own);
    rc = rc != 0 ? rc : weir_route_find(w, "sim.ping", &ping);
    rc = rc != 0 ? rc
                 : weir_permit_wait(w, own, 0, NULL, WEIR_PRIORITY_HIGH,
                                    weir_now_ns(w) + 3 * WEIR_NS_PER_S, &p);
    rc = rc != 0 ? rc : weir_permit_settle(w, &p, &unused);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = ping};
    (void)weir_fd(w);
    rc = rc != 0 ? rc : weir_call(w, &spec, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a);
    if (rc == 0) {
        (void)weir_release(w, a.ticket);
    }
    weir_close(w);
    return rc == 0 ? CLIENT_OK : rc > 0 || weir_strerror(rc)[0] != '\0' ? CLIENT_OK + 1 : 2;
}

static bool run_client(struct rig *r, const char *call, int error, uint32_t k)
{
    runs++;
    arm(call, error, k, 1);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setenv("LD_PRELOAD", fault_so, 1);
        (void)execl("/proc/self/exe", "process_faults", "--client", r->dir, (char *)NULL);
        _exit(127);
    }
    int status = rig_wait(pid, END_MS);
    bool hit = page->failed > 0;
    hits += hit;
    rig_check(r, status == CLIENT_OK || (status == CLIENT_OK + 1 && hit), __FILE__, __LINE__,
              "a client: %s fails with %s, time %u: status %d", call, strerror(error), k + 1,
              status);
    arm("", 0, 0, 0);
    return hit;
}

/* ---------------------------------------------------------------------------------------------- all of them */

struct plan {
    const char *only;
    bool everything;
    unsigned part, parts, turn; /* a turn for each kind of failure */
};

/* One run in which nothing fails: how often is each call made? */
static void survey(struct rig *r, bool (*run)(struct rig *, const char *, int, uint32_t))
{
    memset(page->made, 0, sizeof page->made);
    page->counting = 1;
    (void)run(r, "open", 0, UINT32_MAX); /* as if with a journal */
    page->counting = 0;
}

static unsigned made(const char *call)
{
    for (unsigned i = 0; i < FAULT_CALLS_MAX; i++) {
        if (strcmp(page->made[i].call, call) == 0) {
            return page->made[i].cnt;
        }
    }
    return 0;
}

/* Each time of one call, or a few of them by the seed. */
static void each_time(struct rig *r, struct plan *plan, const char *call, int error,
                      bool (*run)(struct rig *, const char *, int, uint32_t))
{
    unsigned cnt = made(call);
    if (plan->only != NULL ? strcmp(plan->only, call) != 0
                           : (plan->turn++ % plan->parts != plan->part)) {
        return;
    }
    if (cnt == 0) {
        (void)printf("%s is not called\n", call);
    }
    for (unsigned i = 0; i < (plan->everything ? TIMES_MAX : CI_TIMES) && i < cnt; i++) {
        bool each = plan->everything || cnt <= CI_TIMES;
        (void)run(r, call, error, each ? i : rig_random(r, cnt));
    }
}

static void broker_all(struct rig *r, struct plan *plan)
{
    survey(r, run_broker);
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(broker_calls); i++) {
        for (unsigned e = 0; e < 3 && broker_calls[i].error[e] != 0; e++) {
            each_time(r, plan, broker_calls[i].call, broker_calls[i].error[e], run_broker);
        }
    }
}

static void clients_all(struct rig *r, struct plan *plan)
{
    survey(r, run_client);
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(client_calls); i++) {
        for (unsigned e = 0; e < 3 && client_calls[i].error[e] != 0; e++) {
            each_time(r, plan, client_calls[i].call, client_calls[i].error[e], run_client);
        }
    }
}

/* UTC jumps by an hour, both ways, while a strategy works: weir's own time does not care, and the exchange's is not this machine's. */
static void utc_steps(struct rig *r)
{
    static const int64_t steps_s[] = {3600, -3600, 0};
    int status;
    runs++;
    own_directory(r, "");
    arm("", 0, 0, 0);
    spawn_with_faults(r);
    struct weir *w = attach(r, &status);
    if (CHECK(r, w != NULL, "up")) {
        for (unsigned i = 0; i < WEIR_ARRAY_CNT(steps_s); i++) {
            page->utc_step_ns = steps_s[i] * (int64_t)WEIR_NS_PER_S;
            for (unsigned n = 0; n < 20; n++) {
                CHECK_INT(r, work(r, w), 0);
            }
            rig_sleep_ms(300);
        }
        weir_close(w);
    }
    CHECK_INT(r, rig_weird_stop(r, END_MS), 0);
}

/* One more route, whose answers go to disk: the files of that are opened, read and written too. */
static bool route_add(const struct rig *r)
{
    FILE *f = fopen(r->conf, "ae");
    if (f == NULL) {
        perror(r->conf);
        return false;
    }
    (void)fprintf(f, "      - {name: kept, method: GET, path: /api/v3/time, cost: {weight: 1}, "
                     "share: public, cache: 1h, last_good: 1h}\n");
    return fclose(f) == 0;
}

int main(int argc, char **argv)
{
    struct rig r;
    struct plan plan = {.parts = 1};
    char path[96];
    if (argc == 3 && strcmp(argv[1], "--client") == 0) {
        return client_main(argv[2]);
    }
    if (argc > 4 && strcmp(argv[argc - 1], "--long") == 0) {
        plan.everything = true;
        argc--;
    } else if (argc > 4 && sscanf(argv[argc - 1], "--part=%u/%u", &plan.part, &plan.parts) == 2 &&
               plan.part >= 1 && plan.part <= plan.parts) {
        plan.everything = true;
        plan.part--;
        argc--;
    } else if (argc > 5 && strcmp(argv[argc - 2], "--only") == 0) {
        plan.everything = true;
        plan.only = argv[argc - 1];
        argc -= 2;
    }
    fault_so = argc > 3 ? argv[3] : "";
    if (argc > 3) { /* the rig knows nothing of it */
        memmove(&argv[3], &argv[4], sizeof *argv * (size_t)(argc - 3));
        argc--;
    }
    rig_open(&r, "faults", argc, argv, plan.everything ? 3600 : 280);
    (void)snprintf(top, sizeof top, "%s", r.dir);
    (void)snprintf(path, sizeof path, "%s/page", top);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    page = fd >= 0 && ftruncate(fd, sizeof *page) == 0
               ? mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
               : MAP_FAILED;
    if (page == MAP_FAILED || setenv(FAULT_ENV, path, 1) != 0) {
        perror(path);
        return 99;
    }
    rig_sim_start(&r,
                  "{\"latency_ms\": 1, \"limits\": [{\"name\": \"weight\", \"kind\": "
                  "\"fixed_window\", \"quota\": 2000, \"window_ms\": 1000}, {\"name\": "
                  "\"orders\", \"kind\": \"fixed_window\", \"quota\": 500, \"window_ms\": 1000, "
                  "\"scope\": \"key\", \"counts\": \"orders\"}]}");
    rig_config_limits(&r, "wake: sleep, last_good_every: 100ms", 2000, "1s");
    if (!route_add(&r)) {
        return 99;
    }
    broker_all(&r, &plan);
    runs++;
    own_directory(&r, "");
    rig_weird_start(&r);
    clients_all(&r, &plan);
    CHECK_INT(&r, rig_weird_stop(&r, END_MS), 0);
    utc_steps(&r);
    (void)printf("%u runs, %u faults struck; weird stood %u of them and refused to start in %u\n",
                 runs, hits, stood, refused);
    CHECK(&r, hits > 20 || plan.only != NULL || plan.parts > 1, "faults struck");
    rig_orders_check(&r, false);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    (void)snprintf(r.dir, sizeof r.dir, "%s", top);
    return rig_close(&r);
}
