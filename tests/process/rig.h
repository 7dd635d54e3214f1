/*
 * rig.h: real processes for tests: weir-sim, weird, and strategies that are killed.
 *
 * A test opens one rig, starts what it needs from the build tree in a fresh runtime directory, forks strategies, and closes the rig. The
 * rig is a subreaper: whatever outlives its parent (a worker whose supervisor was killed) becomes a child of the test, and is ended with it.
 * An alarm ends a test that hangs. Exit status: 0 passed, 1 failed, 77 skipped (no io_uring), 98 a promise was broken (tests/support/promise.h), 99 could not set up.
 *
 * CHECK, CHECK_INT and CHECK_TEXT are for all that a machine in bad straits may change: what is there by when, who came first, how many of how many. PROMISE and PROMISE_INT are for what it may not:
 * see tests/support/promise.h. A strategy may use them too; the test ends with their status whatever becomes of the strategy.
 */
#ifndef WEIR_TESTS_PROCESS_RIG_H
#define WEIR_TESTS_PROCESS_RIG_H

#include "libclient/handle.h"
#include "libclient/weir.h"
#include "shm/weir_atomic.h"
#include "tests/support/promise.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/types.h>

#define RIG_CHILDREN_MAX 64
#define RIG_ORDERS_MAX   1000000U

struct rig {
    const char *test;
    const char *sim_path, *weird_path;
    char dir[64];
    char conf[96], log[96], sim_conf[96];
    pid_t sim, weird;
    const char *state_dir; /* where weird keeps its journal; NULL: it keeps none */
    const char *option;    /* one more option of weird; NULL: none */
    const char *
        clock; /* rig_config_limits: how often the exchange is asked for its time; NULL: each second */
    uint16_t port; /* of the simulator */
    unsigned seed;
    unsigned checks, failures;
    struct rig_shared *shared;
};

/* What strategies tell the test: one row per order, found again by the number in its client order id "o-N". */
enum { RIG_ORDER_NONE = 0, RIG_ORDER_OUT = 100 }; /* else enum weir_result */
struct rig_shared {
    uint32_t order_next;
    uint32_t stop;
    uint32_t broken;    /* promises, by whoever found them so */
    uint32_t count[64]; /* for the test's own use */
    uint32_t order[RIG_ORDERS_MAX];
    uint32_t order_status[RIG_ORDERS_MAX];
};

/* argv: path of weir-sim, path of weird, [seed]. Never returns on failure. */
void rig_open(struct rig *r, const char *test, int argc, char **argv, unsigned limit_s);
/* End everything, say how it went, return the exit status. */
int rig_close(struct rig *r);
/* End this process where it cannot go on; with the status of a broken promise, if there was one, or a sanitizer spoke in the broker. */
void rig_exit(int status) __attribute__((noreturn));

void rig_sim_start(struct rig *r, const char *json);
void rig_sim_stop(struct rig *r);

/* Write the configuration; "$PORT" becomes the simulator's port, "$PORT2" `port2`. */
void rig_config(struct rig *r, const char *yaml, uint16_t port2);
/* The usual configuration, with lines put into the map `broker` ("wake: spin, log: debug"). */
void rig_config_usual(struct rig *r, const char *broker);
/* The same with other limits of weight (quota per window). */
void rig_config_limits(struct rig *r, const char *broker, unsigned quota, const char *window);
/* Start weird and wait until it can be attached to. */
void rig_weird_start(struct rig *r);
/* Start weird; do not wait. */
void rig_weird_spawn(struct rig *r);
/* Start one more weird with this option, as `--takeover`; r->weird stays. Its log goes to the same file. */
pid_t rig_weird_another(struct rig *r, const char *option);
/* Run weird with the configuration until it ends by itself; its stderr goes to `out`. Returns the exit status. */
int rig_weird_run(struct rig *r, const char *option, char *out, size_t out_bytes);
/* Send SIGTERM and wait for the end: the exit status, or -1 when it took longer than `limit_ms`. */
int rig_weird_stop(struct rig *r, unsigned limit_ms);

/* Call `each` for every child of `parent`. */
void rig_children_each(pid_t parent, void (*each)(pid_t pid, void *arg), void *arg);
/* A process of this name ("weird-worker") among the supervisor's and our children; 0 if there is none. */
pid_t rig_process(const struct rig *r, const char *name);
/* Wait for another one than `old`. 0 after `limit_ms`. */
pid_t rig_process_next(const struct rig *r, const char *name, pid_t old, unsigned limit_ms);

/* kill -9 of the worker, and another one is there. */
void rig_worker_kill(struct rig *r);
/* A number of KiB in the worker's /proc/PID/status, as "VmRSS:"; -1: it is not there. */
long rig_worker_kib(const struct rig *r, const char *what);

/* Fork a strategy: its exit status is what `run` returns. */
pid_t rig_fork(struct rig *r, int (*run)(struct rig *r, int arg), int arg);
/* Wait for one child: exit status, 128 + signal, or -1 when it had to be killed after `limit_ms`. */
int rig_wait(pid_t pid, unsigned limit_ms);

/* Attach as `role`; ends the process with 1 if that fails. */
struct weir *rig_attach(struct rig *r, enum weir_role role);
struct weir *rig_attach_opts(struct rig *r, struct weir_open_opts *opts, struct weir_diag *diag,
                             int *rc);
weir_route_id rig_route(struct weir *w, const char *name);

/* What weir says is used of a limit. */
uint32_t rig_used(struct weir *w, const char *limit, weir_scope_id scope);

/* A section of the board, through an open handle. */
const void *rig_board(const struct weir *w, enum weir_section_kind kind, size_t bytes);
const struct weir_shm_worker *rig_board_worker(const struct weir *w);
const struct weir_shm_client *rig_board_client(const struct weir *w, uint32_t index);

/* One HTTP exchange with the simulator by libcurl: the status, 0 on failure. `out` may be NULL. */
long rig_http(struct rig *r, const char *method, const char *path, const char *body, char *out,
              size_t out_bytes);
/* GET a JSON document of the simulator; NULL on failure. */
json_t *rig_json(struct rig *r, const char *path);
/* A number inside the report, by a path such as "orders.duplicates"; -1 if it is not there. */
double rig_report(struct rig *r, const char *path);
/* An operator's order (enum weir_operation) without the program. Returns the answer's error, -1000 for none within 2 s. */
int rig_operate(struct rig *r, uint32_t operation, const char *target, uint64_t duration_ns);
void rig_fault(struct rig *r, const char *json);
void rig_faults_clear(struct rig *r);

/* A strategy's order by weir_call semantics: submits and remembers. Returns 0 and the ticket, or the error. */
int rig_order_submit(struct rig *r, struct weir *w, weir_route_id route, uint64_t deadline_ns,
                     weir_ticket *ticket, uint32_t *number);
void rig_order_ended(struct rig *r, uint32_t number, const struct weir_response *response);
/* Compare what the strategies know with what the exchange saw. `orphans`: orders without an outcome are allowed (their client was killed). */
void rig_orders_check(struct rig *r, bool orphans);

uint64_t rig_now_ns(void);
void rig_sleep_ms(unsigned ms);
unsigned rig_random(struct rig *r, unsigned below);
/* Was this program built with a sanitizer? Then weird was, too: its runtime needs memory and calls of its own. */
static inline bool rig_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/*
 * How many times slower than usual all of it is: 1, or more under valgrind (scripts/valgrind.sh). For times that a test sets itself, and has no condition to wait for instead: a deadline
 * that lets one call through and ends another.
 */
static inline unsigned rig_slowness(void)
{
    return getenv("WEIR_UNDER") != NULL ? 10 : 1;
}

/* Begin the broker's log anew. What a sanitizer said in it is kept. */
void rig_log_clear(struct rig *r);
/* Does the broker's log hold this text? In how many lines? */
bool rig_log_has(const struct rig *r, const char *text);
unsigned rig_log_count(const struct rig *r, const char *text);
void rig_log_show(const struct rig *r, const char *pattern);

bool rig_check(struct rig *r, bool good, const char *file, int line, const char *format, ...)
    WEIR_PRINTF(5, 6);
bool rig_check_int(struct rig *r, long long got, long long want, const char *file, int line,
                   const char *what);
#define CHECK(r, condition, ...) \
    rig_check(r, condition, __FILE__, __LINE__, #condition ": " __VA_ARGS__)
#define CHECK_INT(r, got, want) \
    rig_check_int(r, (long long)(got), (long long)(want), __FILE__, __LINE__, #got)
/* A promise that was broken, else a check like the others. */
bool rig_promise(struct rig *r, bool good, const char *file, int line, const char *format, ...)
    WEIR_PRINTF(5, 6);
/* The same of a count. A negative one could not be read, by which nothing is broken: a plain failure. */
bool rig_promise_int(struct rig *r, long long got, long long want, const char *file, int line,
                     const char *what);
#define PROMISE(r, condition, ...) \
    rig_promise(r, condition, __FILE__, __LINE__, #condition ": " __VA_ARGS__)
#define PROMISE_INT(r, got, want) \
    rig_promise_int(r, (long long)(got), (long long)(want), __FILE__, __LINE__, #got)
#define CHECK_TEXT(r, got, want)                                                                 \
    rig_check(r, strcmp(got, want) == 0, __FILE__, __LINE__, "text\n  got:    %s\n  wanted: %s", \
              got, want)

#endif
