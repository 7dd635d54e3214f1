/*
 * test_client_attach.c: weir_open against every answer that a supervisor, or the lack of one, can give.
 *
 * Oracle: each failure has its own error and its own text, word for word; nothing leaks a descriptor; who forked is told so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_broker.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t open_fds(void)
{
    size_t cnt = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d) != NULL) {
        cnt++;
    }
    (void)closedir(d);
    return cnt;
}

/* Open, expect `error` and the text "cannot attach: name=fake path=PATH: " + `rest`; no descriptor may stay. */
static void expect_failure(struct fake_broker *f, enum weir_role role, int error, const char *rest)
{
    struct weir *w = (void *)1;
    struct weir_diag diag;
    char text[512];
    size_t before = open_fds();
    (void)snprintf(text, sizeof text, "cannot attach: name=fake path=%s: %s", f->path, rest);
    assert_int_equal(fake_broker_open(f, role, &w, &diag), error);
    assert_string_equal(diag.text, text);
    assert_int_equal(diag.error, error);
    assert_null(w);
    assert_int_equal(open_fds(), before);
    assert_int_equal(fake_broker_open(f, role, &w, NULL),
                     error); /* no diag: the same, in silence */
}

static void no_broker(void **state)
{
    (void)state;
    struct fake_broker f;
    char directory[128];
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    expect_failure(
        &f, WEIR_ROLE_TRADER, WEIR_E_NO_BROKER,
        "no broker of this name was started here: start it (weird --config FILE), or set "
        "WEIR_RUNTIME_DIR to its directory");
    (void)snprintf(directory, sizeof directory, "%s/fake", f.dir);
    assert_int_equal(mkdir(directory, 0755), 0);
    expect_failure(
        &f, WEIR_ROLE_TRADER, WEIR_E_NO_BROKER,
        "the broker has no socket for domain default: start it (weird --config FILE), or "
        "name one of its domains");
    fake_broker_listen(&f);
    fake_broker_die(&f);
    expect_failure(&f, WEIR_ROLE_TRADER, WEIR_E_NO_BROKER,
                   "the broker is dead and left its socket behind: start it again: weird --config "
                   "FILE");
    fake_broker_free(&f);
}

static void permission(void **state)
{
    (void)state;
    struct fake_broker f;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    bool root = geteuid() == 0;
    assert_int_equal(chmod(f.path, root ? 0600 : 0000), 0);
    if (root) {
        assert_int_equal(seteuid(65534), 0);
    }
    char rest[256];
    (void)snprintf(
        rest, sizeof rest,
        "uid %u may not attach to domain default: add the uid or gid to the domain's list "
        "in the broker's configuration",
        (unsigned)geteuid());
    expect_failure(&f, WEIR_ROLE_TRADER, WEIR_E_PERMISSION, rest);
    if (root) {
        assert_int_equal(seteuid(0), 0);
    }
    fake_broker_free(&f);
}

/* One scripted welcome, one expected text. */
struct welcome_case {
    void (*change)(struct fake_broker *);
    int error;
    const char *rest;
};

static void own_words(struct fake_broker *f)
{
    f->welcome.error = WEIR_E_ROLE;
    f->fd_cnt = 0;
    (void)snprintf(f->welcome.text, sizeof f->welcome.text, "domain default has no traders");
}

static void no_words(struct fake_broker *f)
{
    f->welcome.error = WEIR_E_TOO_MANY_CLIENTS;
    f->fd_cnt = 0;
}

static void starting(struct fake_broker *f)
{
    f->welcome.error = WEIR_E_NOT_READY;
    f->fd_cnt = 0;
}

static void no_tables(struct fake_broker *f)
{
    f->gate->tables = 0;
}

static void other_abi(struct fake_broker *f)
{
    f->welcome.error = WEIR_E_ABI;
    f->welcome.abi_major = 2;
    f->fd_cnt = 0;
}

static void other_layout(struct fake_broker *f)
{
    f->welcome.layout_hash = 0xabc;
}

static void closes(struct fake_broker *f)
{
    f->script = FAKE_CLOSE;
}

static void garbage(struct fake_broker *f)
{
    f->script = FAKE_GARBAGE;
}

static void few_fds(struct fake_broker *f)
{
    f->fd_cnt = 5;
}

static void other_broker(struct fake_broker *f)
{
    f->welcome.broker_id = 0x99;
}

static void swapped(struct fake_broker *f)
{
    f->fd[1] = f->arena.fd;
}

static void not_memory(struct fake_broker *f)
{
    f->fd[0] = f->doorbell;
}

static void other_order(struct fake_broker *f)
{
    f->welcome.ring_order = FAKE_RING_ORDER + 1;
}

static void no_order(struct fake_broker *f)
{
    f->welcome.ring_order = 31;
}

static void other_domain(struct fake_broker *f)
{
    f->welcome.domain = 1; /* the board has ring heads for one domain */
}

static void small_meter(struct fake_broker *f)
{
    ((struct weir_shm_meter_head *)(void *)f->meter)->route_cnt = FAKE_ROUTES - 1;
}

static void bad_tables(struct fake_broker *f)
{
    f->gate->tables = UINT64_C(1) << 32 | 1; /* an empty block */
}

#define CORRUPT_HINT "restart the broker; if it comes again, report it"

static void welcomes(void **state)
{
    (void)state;
    char layout[256];
    (void)snprintf(
        layout, sizeof layout,
        "the broker's memory has layout 0000000000000abc, this libweir's %016llx: rebuild "
        "this program and the broker from the same version",
        (unsigned long long)weir_layout_hash());
    const struct welcome_case cases[] = {
        {own_words, WEIR_E_ROLE,
         "domain default has no traders: ask for a smaller role, or change the domain's role in "
         "the "
         "configuration"},
        {no_words, WEIR_E_TOO_MANY_CLIENTS,
         "the broker has no place for another client: close a client, or raise the domain's "
         "`clients`"},
        {starting, WEIR_E_NOT_READY, "the broker is still starting: try again in a moment"},
        {no_tables, WEIR_E_NOT_READY, "the broker is still starting: try again in a moment"},
        {other_abi, WEIR_E_ABI,
         "the broker speaks ABI 2.0 (attach 1), this libweir 1.0 (attach 1): use the libweir of "
         "the "
         "broker's version, or restart the broker with this one"},
        {other_layout, WEIR_E_LAYOUT, layout},
        {closes, WEIR_E_NOT_READY,
         "the broker closed the connection without an answer: see its log: it is starting or "
         "stopping"},
        {garbage, WEIR_E_ABI,
         "the answer of 26 bytes is not a broker's: see which program listens on this socket"},
        {few_fds, WEIR_E_CORRUPT,
         "5 descriptors arrived, the broker named 6, role trader needs 6: " CORRUPT_HINT},
        {other_broker, WEIR_E_CORRUPT,
         "segment board belongs to broker 0000000000001234, the answer came from "
         "0000000000000099: " CORRUPT_HINT},
        {swapped, WEIR_E_CORRUPT,
         "segment ring: the shared memory is not what its header says: " CORRUPT_HINT},
        {not_memory, WEIR_E_SYSTEM,
         "segment board cannot be mapped: Invalid argument: see the system's reason before this"},
        {other_order, WEIR_E_CORRUPT,
         "section ring is missing, too small or of another shape: " CORRUPT_HINT},
        {no_order, WEIR_E_CORRUPT,
         "section ring is missing, too small or of another shape: " CORRUPT_HINT},
        {other_domain, WEIR_E_CORRUPT,
         "section ring_head is missing, too small or of another shape: " CORRUPT_HINT},
        {small_meter, WEIR_E_CORRUPT,
         "section meter is missing, too small or of another shape: " CORRUPT_HINT},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        struct fake_broker f;
        fake_broker_make(&f, WEIR_ROLE_TRADER);
        cases[i].change(&f);
        fake_broker_listen(&f);
        expect_failure(&f, WEIR_ROLE_TRADER, cases[i].error, cases[i].rest);
        fake_broker_free(&f);
    }
}

static void damaged_tables(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    struct weir_diag diag;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    bad_tables(&f);
    fake_broker_listen(&f);
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w, &diag), WEIR_E_CORRUPT);
    assert_string_equal(diag.text,
                        "cannot attach: the tables on the board: the shared memory is not "
                        "what its header says: " CORRUPT_HINT);
    fake_broker_free(&f);
}

static void silence(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    struct weir_diag diag;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    f.script = FAKE_SILENT;
    fake_broker_listen(&f);
    uint64_t before_ns = weir_clock_monotonic_ns();
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w, &diag), WEIR_E_NOT_READY);
    uint64_t took_ns = weir_clock_monotonic_ns() - before_ns;
    assert_true(took_ns > 4 * WEIR_NS_PER_S && took_ns < 9 * WEIR_NS_PER_S);
    assert_non_null(strstr(diag.text, "the broker did not answer within 5 s: see its log"));
    fake_broker_free(&f);
}

static void no_room_for_fds(void **state)
{
    (void)state;
    if (getenv("WEIR_UNDER") != NULL) {
        skip(); /* valgrind keeps the limit to itself, and the kernel, which counts what a message brings, never hears of it */
    }
    struct fake_broker f;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    /* In a child, because not everybody may raise the limit again. */
    pid_t pid = fork();
    if (pid == 0) {
        struct weir *w;
        struct weir_diag diag = {0};
        int last = -1;
        const struct rlimit few = {.rlim_cur = 64, .rlim_max = 64};
        (void)setrlimit(RLIMIT_NOFILE, &few);
        for (int fd = dup(f.doorbell); fd >= 0; fd = dup(f.doorbell)) {
            last = fd;
        }
        for (int i = 0; i < 4; i++) { /* one for the socket, three for six descriptors */
            (void)close(last - i);
        }
        int rc = fake_broker_open(&f, WEIR_ROLE_TRADER, &w, &diag);
        _exit(rc == WEIR_E_SYSTEM &&
                      strstr(diag.text,
                             "only 3 of 6 descriptors arrived: raise this process' limit "
                             "of open files (ulimit -n)") != NULL
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fake_broker_free(&f);
}

static void names_and_options(void **state)
{
    (void)state;
    struct weir *w;
    struct weir_diag diag;
    static const char *const bad[] = {
        "", ".", "..", "a/b", "a b", "x\n", "a-name-of-32-characters-is-too-1"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        char text[256];
        const struct weir_open_opts opts = {.struct_bytes = sizeof opts, .domain = bad[i]};
        assert_int_equal(weir_open(&w, bad[i], NULL, &diag), WEIR_E_NAME);
        (void)snprintf(text, sizeof text,
                       "cannot attach: name=%s: use letters, digits, '-', '_' and '.', at most 31",
                       bad[i]);
        assert_string_equal(diag.text, text);
        assert_int_equal(weir_open(&w, "fake", &opts, &diag), WEIR_E_NAME);
    }
    struct {
        struct weir_open_opts known;
        char more;
    } newer = {.known = {.struct_bytes = sizeof newer}, .more = 1};
    assert_int_equal(weir_open(&w, "fake", &newer.known, &diag), WEIR_E_UNSUPPORTED);
    newer.known.struct_bytes = 0;
    assert_int_equal(weir_open(&w, "fake", &newer.known, &diag), WEIR_E_ARGUMENT);
    newer.known = (struct weir_open_opts){.struct_bytes = sizeof newer.known, .role = 4};
    assert_int_equal(weir_open(&w, "fake", &newer.known, &diag), WEIR_E_ARGUMENT);
    assert_string_equal(diag.text,
                        "cannot attach: role=4 does not exist: see the function's text in weir.h");
    assert_int_equal(weir_open(NULL, "fake", NULL, &diag), WEIR_E_ARGUMENT);
    char deep[200];
    memset(deep, 'd', sizeof deep - 1);
    deep[0] = '/';
    deep[sizeof deep - 1] = '\0';
    newer.known = (struct weir_open_opts){.struct_bytes = sizeof newer.known, .runtime_dir = deep};
    assert_int_equal(weir_open(&w, "fake", &newer.known, &diag), WEIR_E_ARGUMENT);
    assert_string_equal(diag.text,
                        "cannot attach: name=fake path=?: the socket's path is longer than "
                        "107 bytes: choose a shorter runtime directory");
}

static void patience(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .runtime_dir = f.dir, .patience_ns = 30 * WEIR_NS_PER_MS};
    uint64_t before_ns = weir_clock_monotonic_ns();
    assert_int_equal(weir_open(&w, "fake", &opts, NULL), WEIR_E_NO_BROKER);
    assert_true(weir_clock_monotonic_ns() - before_ns >= opts.patience_ns);
    f.delay_ms = 50;
    opts.patience_ns = 10 * WEIR_NS_PER_S;
    fake_broker_listen(&f);
    assert_int_equal(weir_open(&w, "fake", &opts, NULL), WEIR_OK);
    weir_close(w);
    fake_broker_free(&f);
}

static void runtime_dir_of_environment(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    assert_int_equal(setenv("WEIR_RUNTIME_DIR", f.dir, 1), 0);
    assert_int_equal(weir_open(&w, "fake", NULL, NULL), WEIR_OK);
    weir_close(w);
    assert_int_equal(unsetenv("WEIR_RUNTIME_DIR"), 0);
    struct weir_diag diag;
    assert_int_equal(setenv("XDG_RUNTIME_DIR", f.dir, 1), 0);
    assert_int_equal(weir_open(&w, "no-such-broker", NULL, &diag), WEIR_E_NO_BROKER);
    char path[256];
    (void)snprintf(path, sizeof path, "path=%s/weir/no-such-broker/default.sock:", f.dir);
    assert_non_null(strstr(diag.text, path));
    fake_broker_free(&f);
}

static void time_namespace(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    f.clock_skew_ns = (int64_t)(3600 * WEIR_NS_PER_S);
    fake_broker_listen(&f);
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w, NULL), WEIR_OK);
    uint64_t here_ns = weir_clock_monotonic_ns();
    uint64_t ahead_ns = weir_now_ns(w) - here_ns;
    assert_true(ahead_ns > 3599 * WEIR_NS_PER_S && ahead_ns < 3601 * WEIR_NS_PER_S);
    weir_close(w);
    fake_broker_free(&f);
}

static void roles(void **state)
{
    (void)state;
    size_t before = open_fds();
    for (enum weir_role role = WEIR_ROLE_MONITOR; role <= WEIR_ROLE_TRADER; role++) {
        struct fake_broker f;
        struct weir *w;
        struct weir_permit permit;
        struct weir_response response;
        struct weir_limit_info info;
        struct weir_forecast forecast;
        weir_ticket ticket;
        weir_route_id route;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
        fake_broker_make(&f, role);
        fake_broker_listen(&f);
        assert_int_equal(fake_broker_open(&f, role, &w, NULL), WEIR_OK);
        assert_int_equal(weir_check(w), WEIR_OK);
        assert_int_equal(weir_route_find(w, "sim.free", &route), WEIR_OK);
        bool trader = role == WEIR_ROLE_TRADER;
        bool caller = role != WEIR_ROLE_MONITOR;
        assert_int_equal(weir_permit_try(w, FAKE_OWN, 0, NULL, WEIR_PRIORITY_HIGH, &permit),
                         trader ? WEIR_OK : WEIR_E_NOT_TRADER);
        assert_int_equal(weir_limit_get(w, 0, 0, &info), trader ? WEIR_OK : WEIR_E_NOT_TRADER);
        assert_int_equal(weir_limit_forecast(w, 0, 0, NULL, &forecast),
                         trader ? WEIR_OK : WEIR_E_NOT_TRADER);
        assert_int_equal(weir_submit(w, &spec, &ticket), caller ? WEIR_OK : WEIR_E_NOT_CALLER);
        assert_int_equal(weir_poll(w, &response), caller ? WEIR_EMPTY : WEIR_E_NOT_CALLER);
        assert_true(caller ? weir_fd(w) >= 0 : weir_fd(w) == WEIR_E_NOT_CALLER);
        weir_close(w);
        fake_broker_free(&f);
    }
    assert_int_equal(open_fds(), before);
}

static void fork_guard(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w, NULL), WEIR_OK);
    pid_t pid = fork();
    if (pid == 0) {
        struct weir *other;
        struct weir_permit p;
        struct weir_response r;
        struct weir_limit_info info;
        struct weir_forecast forecast;
        struct weir_route_info about;
        const struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec};
        uint64_t a;
        uint64_t b;
        uint32_t id;
        const int rc[] = {
            weir_dup(w, &other),
            weir_check(w),
            weir_route_find(w, "sim.free", &id),
            weir_scope_find(w, "sim", "", &a),
            weir_limit_find(w, "sim.bucket", &id),
            weir_route_get(w, 0, &about),
            weir_limit_get(w, 0, 0, &info),
            weir_limit_forecast(w, 0, 0, NULL, &forecast),
            weir_server_time(w, "sim", &a, &b),
            weir_permit_try(w, 0, 0, NULL, WEIR_PRIORITY_HIGH, &p),
            weir_permit_wait(w, 0, 0, NULL, WEIR_PRIORITY_HIGH, UINT64_MAX, &p),
            weir_permit_peek(w, 0, 0, NULL, WEIR_PRIORITY_HIGH, &p),
            weir_permit_settle(w, &p, &o),
            weir_submit(w, &spec, &a),
            weir_poll(w, &r),
            weir_wait(w, 0, UINT64_MAX, &r),
            weir_cancel(w, 0),
            weir_release(w, 0),
            weir_call(w, &spec, UINT64_MAX, &r),
            weir_fd(w),
        };
        size_t forked = 0;
        for (size_t i = 0; i < WEIR_ARRAY_CNT(rc); i++) {
            forked += rc[i] == WEIR_E_FORKED;
        }
        weir_close(w);
        _exit(forked == WEIR_ARRAY_CNT(rc) && f.wake->submitted == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct weir_permit p; /* the parent goes on */
    assert_int_equal(weir_permit_try(w, 0, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_OK);
    weir_close(w);
    fake_broker_free(&f);
}

static void dup_limit(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w[WEIR_THREADS_MAX];
    struct weir *one_more = NULL;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w[0], NULL), WEIR_OK);
    for (size_t i = 1; i < WEIR_THREADS_MAX; i++) {
        assert_int_equal(weir_dup(w[0], &w[i]), WEIR_OK);
    }
    assert_int_equal(weir_dup(w[0], &one_more), WEIR_E_HANDLES);
    assert_null(one_more);
    weir_close(w[0]); /* the first may go before the others */
    assert_int_equal(weir_dup(w[3], &w[0]), WEIR_OK);
    struct weir_permit p;
    assert_int_equal(weir_permit_try(w[0], FAKE_OWN, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_OK);
    for (size_t i = 0; i < WEIR_THREADS_MAX; i++) {
        weir_close(w[i]);
    }
    weir_close(NULL);
    fake_broker_free(&f);
}

static void stale_and_lease(void **state)
{
    (void)state;
    struct fake_broker f;
    struct weir *w;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = FAKE_FREE};
    weir_ticket ticket;
    fake_broker_make(&f, WEIR_ROLE_TRADER);
    fake_broker_listen(&f);
    assert_int_equal(fake_broker_open(&f, WEIR_ROLE_TRADER, &w, NULL), WEIR_OK);
    uint64_t lease_ns = f.gate->lease_until_ns;
    f.gate->lease_until_ns = 1;
    assert_int_equal(weir_check(w), WEIR_E_LEASE);
    assert_int_equal(weir_submit(w, &spec, &ticket), WEIR_E_LEASE);
    fake_broker_die(&f);
    assert_int_equal(weir_check(w), WEIR_E_STALE);
    assert_int_equal(weir_submit(w, &spec, &ticket), WEIR_E_STALE);
    f.gate->lease_until_ns = lease_ns; /* a worker that outlives its supervisor */
    assert_int_equal(weir_submit(w, &spec, &ticket), WEIR_OK);
    weir_close(w);
    fake_broker_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_broker),
        cmocka_unit_test(permission),
        cmocka_unit_test(welcomes),
        cmocka_unit_test(damaged_tables),
        cmocka_unit_test(silence),
        cmocka_unit_test(no_room_for_fds),
        cmocka_unit_test(names_and_options),
        cmocka_unit_test(patience),
        cmocka_unit_test(runtime_dir_of_environment),
        cmocka_unit_test(time_namespace),
        cmocka_unit_test(roles),
        cmocka_unit_test(fork_guard),
        cmocka_unit_test(dup_limit),
        cmocka_unit_test(stale_and_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
