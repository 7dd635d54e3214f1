/*
 * sign_in.c: sessions (broker/sign_in.h): refresh tokens of single use, cookies with crumbs; workers and brokers killed around the sign-in, answers that are lost, disks that
 * are full.
 *
 * Oracle: weir-sim, whose refresh tokens are good for one use: `reused` counts those that came a second time. It is 0 wherever weir did not say that it would send one again.
 * Every call ends once, with a name. Tokens of the simulator hold the text "sim-token", which must be nowhere but in memory for keys and in the files that keep them.
 *
 *   sign_in WEIR-SIM WEIRD [SEED] [--long]
 */
#include "rig.h"

#include "shm/weir_sign_in.h"

#ifdef WEIR_WEAVE_HOOKS
#include "weave.h"
#define LIMIT_S 230
#else
#define LIMIT_S 150
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DONE = 0, REFUSED = 1, LATE = 2, OTHER = 3 }; /* r->shared->count */

static char token[256]; /* as the operator has it */
static char state_dir[96];
static unsigned lost_before; /* lines of the log, which is one for all scenes */

/* What differs between the scenes. */
struct scene {
    unsigned lasts_s;
    const char *sign_in; /* more keys of auth.sign_in */
    const char *method;
    unsigned login_quota; /* in two seconds */
    const char *more;     /* of the simulator's session */
    const char *user;
};
static const struct scene usual = {
    .lasts_s = 2, .sign_in = "", .method = "POST", .login_quota = 100, .more = "", .user = ""};

static void configure(struct rig *r, const struct scene *s)
{
    char text[4096];
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig, wake: sleep, log: debug, drain: 3s%s}\n"
        "providers:\n"
        "  - name: login\n"
        "    limits: [{name: l, kind: sliding_window, quota: %u, window: 2s}]\n"
        "    endpoints: [{name: login, url: \"http://127.0.0.1:$PORT\"}]\n"
        "    routes:\n"
        "      - {name: token, method: %s, path: /oauth2/token, cost: {l: 1}, timeout: 2s}\n"
        "  - name: p\n"
        "    auth: {kind: oauth2, refresh_token: \"%s\",\n"
        "           sign_in: {route: login.token, margin: 1s%s}}\n"
        "    limits: [{name: b, kind: token_bucket, quota: 10000, window: 1s}]\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
        "    routes:\n"
        "      - {name: get, method: GET, path: /v1/accounts, cost: {b: 1}, timeout: 3s, "
        "signed: true}\n"
        "      - {name: order, method: POST, path: /v1/orders, cost: {b: 1}, timeout: 3s, "
        "signed: true}\n",
        s->user, s->login_quota, s->method, token, s->sign_in);
    rig_config(r, text, 0);
}

static void simulate(struct rig *r, const struct scene *s)
{
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "{\"ban_after\": 0, \"limits\": [{\"name\": \"w\", \"kind\": \"sliding_window\", "
        "\"quota\": 100000, "
        "\"window_ms\": 1000}],"
        " \"routes\": [{\"path\": \"GET /v1/accounts\", \"plays\": \"ok\"},"
        "              {\"path\": \"POST /v1/orders\", \"plays\": \"ok\"},"
        "              {\"path\": \"ANY /oauth2/token\", \"plays\": \"ok\"}],"
        " \"session\": {\"token\": \"%s /oauth2/token\", \"first\": \"first/sim-token+0=\", "
        "\"lasts_s\": %u, "
        "\"paths\": [\"GET /v1/accounts\", \"POST /v1/orders\"]%s}}",
        s->method, s->lasts_s, s->more);
    rig_sim_start(r, text);
    (void)snprintf(token, sizeof token, "first/sim-token+0=");
}

/* Nobody knows a broker from before. */
static void state_clear(struct rig *r)
{
    char line[256];
    (void)snprintf(line, sizeof line, "rm -rf %s", state_dir);
    CHECK_INT(r, system(line), 0);
    (void)mkdir(state_dir, 0700);
}

static unsigned lines(const struct rig *r, const char *text)
{
    static char line[8192];
    unsigned cnt = 0;
    FILE *f = fopen(r->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        cnt += strstr(line, text) != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return cnt;
}

/* The exchange, weird, and an operator's token that nobody has used. */
static struct weir *begin(struct rig *r, const struct scene *s)
{
    lost_before = lines(r, "\"sign_in_lost\"");
    state_clear(r);
    simulate(r, s);
    configure(r, s);
    rig_weird_start(r);
    return rig_attach(r, WEIR_ROLE_TRADER);
}

static void end(struct rig *r, struct weir *w)
{
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    rig_sim_stop(r);
}

static double session(struct rig *r, const char *what)
{
    char path[64];
    (void)snprintf(path, sizeof path, "session.%s", what);
    return rig_report(r, path);
}

/* As a person would, on the exchange's page. */
static void token_fetch(struct rig *r)
{
    char text[256] = "";
    rig_sleep_ms(120); /* what a dead worker had sent has arrived by then */
    (void)rig_http(r, "POST", "/sim/token", "{}", text, sizeof text);
    json_t *answer = json_loads(text, 0, NULL);
    const char *now = json_string_value(json_object_get(answer, "refresh_token"));
    if (CHECK(r, now != NULL, "a token")) {
        (void)snprintf(token, sizeof token, "%s", now);
    }
    json_decref(answer);
}

static const struct weir_shm_sign_in *board(struct weir *w)
{
    return rig_board(w, WEIR_SECTION_SIGN_IN, sizeof(struct weir_shm_sign_in));
}

static uint32_t state_of(struct weir *w)
{
    return weir_load_acquire_u32(&board(w)->state);
}

static bool state_soon(struct rig *r, struct weir *w, uint32_t wanted)
{
    for (unsigned i = 0; i < 500 && state_of(w) != wanted; i++) {
        rig_sleep_ms(20);
    }
    return CHECK_INT(r, state_of(w), wanted);
}

static bool given_soon(struct rig *r, double wanted)
{
    for (unsigned i = 0; i < 500 && session(r, "given") < wanted; i++) {
        rig_sleep_ms(20);
    }
    double got = session(r, "given");
    return CHECK(r, got >= wanted, "%.0f given, wanted %.0f", got, wanted);
}

static struct weir_response call_for(struct weir *w, const char *route, unsigned limit_ms)
{
    bool order = strcmp(route, "p.order") == 0;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .body = order ? "a=1" : NULL,
                                           .body_bytes = order ? 3 : 0};
    struct weir_response a = {0};
    int rc = weir_call(w, &spec, weir_now_ns(w) + limit_ms * WEIR_NS_PER_MS, &a);
    if (rc != 0) {
        a.result = WEIR_RESULT_UNSET;
        a.error = rc;
    }
    (void)weir_release(w, a.ticket);
    return a;
}

static struct weir_response call(struct weir *w, const char *route)
{
    return call_for(w, route, 3000);
}

static void good(struct rig *r, struct weir *w, const char *route)
{
    struct weir_response a = call(w, route);
    CHECK(r, a.result == WEIR_RESULT_DONE && a.status == 200, "%s: %s, status %u, reason %u", route,
          weir_result_text(a.result), a.status, a.denial.reason);
}

/* Refused by name, and at once. */
static void refused(struct rig *r, struct weir *w)
{
    uint64_t from_ns = rig_now_ns();
    struct weir_response a = call(w, "p.get");
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_SIGN_IN);
    CHECK(r, a.denial.earliest_ns == UINT64_MAX, "not by itself");
    CHECK(r, rig_now_ns() - from_ns < 2 * WEIR_NS_PER_S, "at once");
}

static void worker_kill(struct rig *r)
{
    pid_t worker = rig_process_next(r, "weird-worker", 0, 5000);
    if (CHECK(r, worker > 0, "a worker")) {
        (void)kill(worker, SIGKILL);
        CHECK(r, rig_process_next(r, "weird-worker", worker, 5000) > 0, "a worker again");
    }
}

static void reload(struct rig *r, const struct scene *s)
{
    unsigned before = lines(r, "\"tables_changed\"");
    configure(r, s);
    (void)kill(r->weird, SIGHUP);
    for (unsigned i = 0; i < 400 && lines(r, "\"tables_changed\"") == before; i++) {
        rig_sleep_ms(20);
    }
    CHECK(r, lines(r, "\"tables_changed\"") > before, "reloaded");
}

/* Nothing was used twice. */
static void never_twice(struct rig *r, const char *where)
{
    double reused = session(r, "reused");
    double unknown = session(r, "unknown");
    CHECK(r, reused == 0 && unknown == 0, "%s: %.0f tokens used twice, %.0f unknown", where, reused,
          unknown);
}

/* ---------------------------------------------------------------------------------------------- where secrets are */

static bool holds(const char *at, size_t bytes)
{
    return memmem(at, bytes, "sim-token", 9) != NULL;
}

static bool file_holds(const char *path)
{
    static char chunk[1 << 20];
    size_t keep = 0;
    bool found = false;
    off_t off = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    for (ssize_t n;
         fd >= 0 && !found && (n = pread(fd, chunk + keep, sizeof chunk - keep, off)) > 0;
         off += n) {
        size_t bytes = keep + (size_t)n;
        found = holds(chunk, bytes);
        keep = bytes < 16 ? bytes : 16;
        memmove(chunk, chunk + bytes - keep, keep);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return found;
}

/* Segments, the log, the journal: all but the files that keep tokens. */
static void descriptors_search(struct rig *r, pid_t pid)
{
    char path[64];
    char target[256];
    unsigned kept = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char inner[512];
        struct stat st;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        ssize_t n = readlink(inner, target, sizeof target - 1);
        if (n <= 0 || stat(inner, &st) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        target[n] = '\0';
        if (strstr(target, "/token.") != NULL) {
            kept++;
            CHECK_INT(r, st.st_mode & 0777, 0600);
            continue;
        }
        CHECK(r, !file_holds(inner), "%s", target);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    CHECK_INT(r, kept, 1);
}

/* Of the worker: mappings that others have too. What libcurl copied lies on its heap. */
static void shared_search(struct rig *r, pid_t pid, bool all)
{
    static char chunk[1 << 20];
    char path[64];
    char line[512];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (mem >= 0 && maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long long from;
        unsigned long long to;
        char mode[8];
        if (sscanf(line, "%llx-%llx %7s", &from, &to, mode) != 3 || mode[0] != 'r' ||
            (mode[3] != 's' && !all) || to - from > (1ULL << 32) ||
            strstr(line, "/token.") != NULL) {
            continue;
        }
        bool found = false;
        for (unsigned long long at = from; at < to && !found; at += sizeof chunk - 16) {
            unsigned long long want = to - at < sizeof chunk ? to - at : sizeof chunk;
            ssize_t n = pread(mem, chunk, want, (off_t)at);
            found = n > 0 && holds(chunk, (size_t)n);
        }
        CHECK(r, !found, "%d: %s", (int)pid, line);
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    if (mem >= 0) {
        (void)close(mem);
    }
}

static void secrets_search(struct rig *r)
{
    CHECK(r, !file_holds(r->log), "the log");
    if (geteuid() != 0 || rig_sanitized()) {
        return; /* who cannot be dumped can be read by root only */
    }
    pid_t worker = rig_process(r, "weird-worker");
    descriptors_search(r, r->weird);
    descriptors_search(r, worker);
    shared_search(r, worker, false);
    shared_search(r, r->weird, false);
    shared_search(r, rig_process(r, "weird-resolver"), true);
}

/* ---------------------------------------------------------------------------------------------- scenes */

/* Sessions follow each other ahead of their end: nobody notices. */
static void goes_on(struct rig *r, const char *method, unsigned calls)
{
    struct scene s = usual;
    s.method = method;
    struct weir *w = begin(r, &s);
    for (unsigned i = 0; i < calls; i++) {
        good(r, w, i % 2 == 0 ? "p.get" : "p.order");
        rig_sleep_ms(50);
    }
    CHECK_INT(r, state_of(w), WEIR_SIGN_IN_READY);
    CHECK(r, session(r, "given") >= 2, "%.0f given", session(r, "given"));
    CHECK_INT(r, session(r, "bad"), 0);
    never_twice(r, method);
    secrets_search(r);
    end(r, w);
    CHECK(r, !file_holds(r->log), "the log");
}

/* The token on the disk, and no other, is what a next broker begins with, whatever became of the one before. */
static void outlives(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    good(r, w, "p.get");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    good(r, w, "p.get");
    never_twice(r, "a stop and a start");
    reload(r, &usual);
    good(r, w, "p.get");
    never_twice(r, "a reload");
    pid_t old = r->weird;
    pid_t next = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = next;
    rig_sleep_ms(200);
    good(r, w, "p.order");
    never_twice(r, "a takeover");
    worker_kill(r); /* at rest, most likely */
    good(r, w, "p.get");
    never_twice(r, "a worker's death");
    weir_close(w);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGKILL);
    (void)kill(worker, SIGKILL);
    (void)rig_wait(r->weird, 5000);
    rig_sleep_ms(100);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)call_for(w, "p.get", 10000); /* limits count as spent for a while */
    CHECK(r, state_of(w) == WEIR_SIGN_IN_READY || state_of(w) == WEIR_SIGN_IN_STARTING, "%u",
          state_of(w));
    never_twice(r, "the broker's death");
    end(r, w);
}

/* SPENDING is on the disk, and there is no permit: a worker that dies then has sent nothing, and the next one knows. */
static void dies_unsent(struct rig *r)
{
    struct scene s = usual;
    s.login_quota = 1;
    struct weir *w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    worker_kill(r); /* the next one wants to sign in, and waits for its permit */
    for (unsigned i = 0; i < 8; i++) {
        rig_sleep_ms(100);
        worker_kill(r);
    }
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    good(r, w, "p.get");
    never_twice(r, "deaths before it was sent");
    CHECK_INT(r, lines(r, "\"sign_in_lost\"") - lost_before, 0);
    end(r, w);
}

/* It was sent, and nobody lives who could hear the answer: lost, by name, and nothing is tried until a person gives a new one. */
static void dies_sent(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 900, "
                 "\"count\": 1}");
    double given = session(r, "given");
    for (unsigned i = 0; i < 500 && board(w)->busy == 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK(r, given_soon(r, given + 1), "it was spent");
    worker_kill(r);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_LOST), "lost");
    refused(r, w);
    CHECK_INT(r, board(w)->why, WEIR_SIGN_IN_WHY_DIED);
    CHECK_INT(r, lines(r, "\"sign_in_lost\"") - lost_before, 1);
    given = session(r, "given");
    worker_kill(r);
    rig_sleep_ms(1500);
    refused(r, w);
    CHECK(r, session(r, "given") == given, "nothing is tried");
    never_twice(r, "a death behind the gate");
    token_fetch(r);
    reload(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "with the new one");
    good(r, w, "p.get");
    worker_kill(
        r); /* the token of the file goes before the configured one, which is its ancestor */
    good(r, w, "p.get");
    never_twice(r, "a new token");
    end(r, w);
}

/* The answer is lost on its way, and the worker lives. */
static void answer_lost(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_LOST), "lost");
    CHECK_INT(r, board(w)->why, WEIR_SIGN_IN_WHY_SILENT);
    rig_sleep_ms(2200); /* the session in force goes on to its end */
    refused(r, w);
    never_twice(r, "a lost answer");
    end(r, w);
    /* Allowed to: it says so, once, and the exchange refuses it. */
    struct scene s = usual;
    s.sign_in = ", second_use: 1";
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_REFUSED), "refused");
    CHECK_INT(r, session(r, "reused"), 1);
    CHECK_INT(r, lines(r, "\"sign_in_token_sent_again\""), 1);
    CHECK_INT(r, board(w)->second_uses, 1);
    worker_kill(r);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_REFUSED), "still");
    rig_sleep_ms(1200);
    CHECK_INT(r, session(r, "reused"), 1);
    end(r, w);
    /* ... or it had never arrived, and all is well. */
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    double given = session(r, "given");
    rig_fault(r, "{\"kind\": \"reset_before_count\", \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, given_soon(r, given + 2), "goes on");
    CHECK(r, board(w)->second_uses >= 1, "it was said");
    never_twice(r, "one that never arrived");
    good(r, w, "p.get");
    end(r, w);
}

/* "Too many", and no connection: nothing is spent, and it is tried again. A status that says nothing: lost. */
static void exchange_unwell(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    double given = session(r, "given");
    (void)rig_http(r, "POST", "/sim/limit", "{\"limit\": \"w\", \"quota\": 1}", NULL, 0);
    for (unsigned i = 0; i < 300 && !rig_log_has(r, "\"why\":\"stopped\""); i++) {
        (void)rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0);
        rig_sleep_ms(10);
    }
    CHECK(r, rig_log_has(r, "\"why\":\"stopped\""), "stopped");
    (void)rig_http(r, "POST", "/sim/limit", "{\"limit\": \"w\", \"quota\": 100000}", NULL, 0);
    CHECK(r, given_soon(r, given + 1), "goes on");
    rig_fault(r,
              "{\"kind\": \"status\", \"status\": 503, \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_LOST), "lost");
    CHECK_INT(r, board(w)->why, WEIR_SIGN_IN_WHY_STATUS);
    never_twice(r, "503");
    end(r, w);
}

/* A token that the exchange takes back before its time: once more, for each call, and never a loop. */
static void revoked(struct rig *r)
{
    struct scene s = usual;
    s.lasts_s = 1000;
    struct weir *w = begin(r, &s);
    good(r, w, "p.get");
    double given = session(r, "given");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    good(r, w, "p.order"); /* 401 says that nothing was done */
    CHECK_INT(r, session(r, "given"), given + 1);
    CHECK_INT(r, session(r, "bad"), 1);
    CHECK_INT(r, board(w)->renewed, 1);
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    for (unsigned i = 0; i < 5; i++) { /* so soon again: the answer is what it is */
        struct weir_response a = call(w, "p.order");
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.status, 401);
    }
    CHECK_INT(r, session(r, "given"), given + 1);
    CHECK_INT(r, session(r, "bad"), 6);
    never_twice(r, "revoked");
    end(r, w);
}

/* The connection was dead, curl sent again, and that answer says that nothing was done: the call that is made anew may meet a dead connection too. */
static void revoked_behind_the_dead(struct rig *r)
{
    struct scene s = usual;
    s.lasts_s = 1000;
    struct weir *w = begin(r, &s);
    good(r, w, "p.get");
    rig_fault(r, "{\"kind\": \"reset_before_count\", \"path\": \"/v1/accounts\", \"reused_only\": "
                 "true, \"count\": 1}");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    good(r, w, "p.get");
    CHECK_INT(r, session(r, "bad"), 1);
    CHECK_INT(r, board(w)->renewed, 1);
    end(r, w);
}

/* A disk that takes nothing: nothing is spent. One that takes the first half: what came is in memory alone, and kept as soon as it can be. */
static void disk_full(struct rig *r)
{
    /* The test takes the disk away by prlimit: of another user's process only CAP_SYS_RESOURCE may, which containers lack. */
    struct scene s = usual;
    s.user = geteuid() == 0 ? ", user: root" : "";
    struct weir *w = begin(r, &s);
    struct rlimit none = {0, RLIM_INFINITY};
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    pid_t worker = rig_process(r, "weird-worker");
    CHECK(r, prlimit(worker, RLIMIT_FSIZE, &none, NULL) == 0, "%s", strerror(errno));
    for (unsigned i = 0; i < 300 && board(w)->why != WEIR_SIGN_IN_WHY_DISK; i++) {
        rig_sleep_ms(20); /* the log is a file too, and takes nothing */
    }
    CHECK_INT(r, board(w)->why, WEIR_SIGN_IN_WHY_DISK);
    double given = session(r, "given");
    rig_sleep_ms(2500);
    CHECK(r, session(r, "given") == given, "nothing is spent");
    struct weir_response a = call_for(w, "p.get", 300);
    CHECK(r, a.result == WEIR_RESULT_REFUSED || a.result == WEIR_RESULT_EXPIRED, "%s",
          weir_result_text(a.result));
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &all, NULL), 0);
    CHECK(r, given_soon(r, given + 1), "goes on");
    good(r, w, "p.get");
    never_twice(r, "a full disk");
    end(r, w);
}

/* The only token that there is, in the memory of a worker that is told to stop: it is written as soon as the disk takes it, and not when its turn would have come. */
static void disk_full_at_a_stop(struct rig *r)
{
    struct scene s = usual;
    s.user = geteuid() == 0 ? ", user: root" : "";
    struct weir *w = begin(r, &s);
    struct rlimit none = {0, RLIM_INFINITY};
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 300, "
                 "\"count\": 1}");
    double given = session(r, "given");
    pid_t worker = rig_process(r, "weird-worker");
    CHECK(r, given_soon(r, given + 1), "spent");
    CHECK(r, prlimit(worker, RLIMIT_FSIZE, &none, NULL) == 0, "%s", strerror(errno));
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_UNKEPT), "in memory alone");
    uint64_t failed = weir_load_relaxed_u64(&board(w)->failed);
    for (unsigned i = 0; i < 500 && weir_load_relaxed_u64(&board(w)->failed) < failed + 2; i++) {
        rig_sleep_ms(20); /* the next one is more than 3 s ahead, which is all of `drain` */
    }
    (void)kill(r->weird, SIGTERM);
    rig_sleep_ms(300);
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &all, NULL), 0);
    weir_close(w);
    CHECK_INT(r, rig_wait(r->weird, 10000), 0);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    good(r, w, "p.get");
    CHECK_INT(r, lines(r, "\"sign_in_lost\"") - lost_before, 0);
    never_twice(r, "a stop with a full disk");
    end(r, w);
}

/* What comes of calls, by name. */
static int caller(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a = call(w, arg % 2 == 0 ? "p.get" : "p.order");
        unsigned at = a.result == WEIR_RESULT_DONE && a.status == 200 ? DONE
                      : a.result == WEIR_RESULT_REFUSED && a.denial.reason == WEIR_REASON_SIGN_IN
                          ? REFUSED
                      : a.result == WEIR_RESULT_EXPIRED || a.result == WEIR_RESULT_TIMEOUT ||
                              a.result == WEIR_RESULT_OUTCOME_UNKNOWN
                          ? LATE
                          : OTHER;
        weir_fetch_add_u32(&r->shared->count[at], 1);
        if (at == OTHER) {
            (void)printf("%s: status %u, error %d, reason %u\n", weir_result_text(a.result),
                         a.status, a.error, a.denial.reason);
        }
        rig_sleep_ms(5);
    }
    weir_close(w);
    return 0;
}

/* Workers die at any time. Where a token was on its way, that is lost, and said; a person gives a new one, and all goes on. */
static void dies_anywhere(struct rig *r, unsigned kills)
{
    struct scene s = usual;
    s.lasts_s = 1;
    struct weir *w = begin(r, &s);
    pid_t pid[4];
    unsigned lost = 0;
    weir_store_release_u32(&r->shared->stop, 0);
    memset(r->shared->count, 0, sizeof r->shared->count);
    for (int i = 0; i < 4; i++) {
        pid[i] = rig_fork(r, caller, i);
    }
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 60}");
    for (unsigned i = 0; i < kills; i++) {
        rig_sleep_ms(rig_random(r, 300));
        worker_kill(r);
        if (state_of(w) == WEIR_SIGN_IN_LOST) {
            lost++;
            token_fetch(r);
            reload(r, &s);
        }
    }
    for (unsigned i = 0; i < 50 && state_of(w) != WEIR_SIGN_IN_READY; i++) {
        rig_sleep_ms(100);
        if (state_of(w) == WEIR_SIGN_IN_LOST) {
            lost++;
            token_fetch(r);
            reload(r, &s);
        }
    }
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "in the end");
    good(r, w, "p.get");
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    never_twice(r, "deaths anywhere");
    CHECK(r, lines(r, "\"sign_in_lost\"") - lost_before >= lost, "each loss has its line");
    CHECK_INT(r, r->shared->count[OTHER], 0);
    CHECK(r, r->shared->count[DONE] > 10, "%u calls", r->shared->count[DONE]);
    (void)printf("%u kills, %u times lost; calls: %u done, %u refused by name, %u late\n", kills,
                 lost, r->shared->count[DONE], r->shared->count[REFUSED], r->shared->count[LATE]);
    secrets_search(r);
    end(r, w);
}

#ifdef WEIR_WEAVE_HOOKS
/* The same at each named instant: what is lost, and what is not, is known for each. */
static void dies_at(struct rig *r, struct weave_page *page)
{
    static const struct {
        const char *name;
        bool lost;
    } at[] = {{"session:write", false},
              {"session:intent", false},
              {"session:sent", true},
              {"session:answered", true},
              {"session:kept", false}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(at); i++) {
        struct weir *w = begin(r, &usual);
        CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
        pid_t worker = rig_process(r, "weird-worker");
        pid_t held = weave_hold(page, worker, at[i].name, 0, 8000);
        if (CHECK(r, held == worker, "%s: somebody stood there", at[i].name)) {
            (void)kill(held, SIGKILL);
            CHECK(r, rig_process_next(r, "weird-worker", held, 5000) > 0, "a worker again");
            CHECK(r, state_soon(r, w, at[i].lost ? WEIR_SIGN_IN_LOST : WEIR_SIGN_IN_READY), "%s",
                  at[i].name);
            if (at[i].lost) {
                refused(r, w);
            } else {
                good(r, w, "p.get");
            }
            never_twice(r, at[i].name);
        }
        end(r, w);
    }
}
#endif

/* The exchange names the server: an endpoint or nothing. */
static void named_server(struct rig *r)
{
    struct scene s = usual;
    s.sign_in = ", server: api_server";
    s.more = ", \"server\": \"http://127.0.0.1/\"";
    struct weir *w = begin(r, &s);
    good(r, w, "p.get");
    end(r, w);
    s.more = ", \"server\": \"https://api07.example.com/\"";
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_ASTRAY), "astray");
    refused(r, w);
    CHECK(r, rig_log_has(r, "sign_in_astray"), "said");
    end(r, w);
}

/* ---------------------------------------------------------------------------------------------- cookies */

static void cookies(struct rig *r)
{
    static const char sim[] =
        "{\"limits\": [{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": 100000, "
        "\"window_ms\": 1000}],"
        " \"routes\": [{\"path\": \"GET /v7/quote\", \"plays\": \"ok\"},"
        "   {\"path\": \"GET /consent\", \"plays\": \"ok\"}, {\"path\": \"GET /v1/getcrumb\", "
        "\"plays\": \"ok\"}],"
        " \"session\": {\"cookie\": \"GET /consent\", \"crumb\": \"GET /v1/getcrumb\", "
        "\"lasts_s\": "
        "4, \"paths\": [\"GET /v7/quote\"]}}";
    static const char yaml[] =
        "broker: {name: rig, wake: sleep, log: debug}\n"
        "providers:\n"
        "  - name: p\n"
        "    auth: {kind: cookie, sign_in: {route: p.consent, crumb_route: p.getcrumb, crumb: "
        "crumb, margin: 1500ms, expired: [401, 403]}}\n"
        "    limits: [{name: b, kind: token_bucket, quota: 10000, window: 1s}]\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
        "    routes:\n"
        "      - {name: consent, method: GET, path: /consent, cost: {b: 1}, timeout: 2s}\n"
        "      - {name: getcrumb, method: GET, path: /v1/getcrumb, cost: {b: 1}, timeout: 2s}\n"
        "      - {name: get, method: GET, path: /v7/quote, cost: {b: 1}, timeout: 3s, signed: "
        "true}\n";
    rig_sim_start(r, sim);
    rig_config(r, yaml, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (unsigned i = 0; i < 60; i++) {
        good(r, w, "p.get");
        rig_sleep_ms(80);
    }
    /* a call may be on its way with the crumb that a renewal has just replaced: it is made again, and was good */
    CHECK(r, session(r, "bad") <= session(r, "cookies"), "%.0f", session(r, "bad"));
    CHECK_INT(r, session(r, "crumbs_refused"), 0);
    CHECK(r, session(r, "cookies") >= 2, "%.0f cookies", session(r, "cookies"));
    double before = session(r, "cookies");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    good(r, w, "p.get");
    CHECK(r, session(r, "cookies") > before, "fetched once more");
    worker_kill(r);
    good(r, w, "p.get");
    /* "Too Many Requests" in place of a crumb */
    rig_fault(r,
              "{\"kind\": \"status\", \"status\": 500, \"path\": \"/v1/getcrumb\", \"count\": 1}");
    worker_kill(r);
    good(r, w, "p.get"); /* waits while it is tried again */
    CHECK(r, rig_log_has(r, "\"sign_in_failed\""), "said");
    CHECK(r, !file_holds(r->log), "the log");
    if (geteuid() == 0 && !rig_sanitized()) {
        shared_search(r, rig_process(r, "weird-worker"), false);
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    rig_sim_stop(r);
}

int main(int argc, char **argv)
{
    static struct rig r;
    bool all = argc > 1 && strcmp(argv[argc - 1], "--long") == 0;
    rig_open(&r, "sign_in", argc - all, argv, all ? 900 : LIMIT_S);
    (void)snprintf(state_dir, sizeof state_dir, "%s/state", r.dir);
    r.state_dir = state_dir;
    (void)mkdir(state_dir, 0700);
#ifdef WEIR_WEAVE_HOOKS
    char path[128];
    (void)snprintf(path, sizeof path, "%s/weave", r.dir);
    struct weave_page *page = weave_open(path);
    if (CHECK(&r, page != NULL, "a page")) {
        dies_at(&r, page);
    }
#endif
    goes_on(&r, "POST", 60);
    goes_on(&r, "GET", 30);
    outlives(&r);
    dies_unsent(&r);
    dies_sent(&r);
    answer_lost(&r);
    exchange_unwell(&r);
    revoked(&r);
    revoked_behind_the_dead(&r);
    disk_full(&r);
    disk_full_at_a_stop(&r);
    named_server(&r);
    dies_anywhere(&r, all ? 400 : 16);
    cookies(&r);
    return rig_close(&r);
}
