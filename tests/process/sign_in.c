/*
 * sign_in.c: sessions (broker/sign_in.h): refresh tokens of single use, and in sign_in_cookie.c cookies with crumbs; workers and brokers killed around the sign-in, answers that are lost, disks that
 * are full.
 *
 * Oracle: weir-sim, whose refresh tokens are good for one use: `reused` counts those that came a second time. It is 0 wherever weir did not say that it would send one again.
 * Every call ends once, with a name.
 *
 *   sign_in WEIR-SIM WEIRD [SEED] [--long]
 */
#include "scene.h"
#include "sign_in_session.h"

#include "shm/weir_sign_in.h"

#ifdef WEIR_WEAVE_HOOKS
#include "weave.h"
#define LIMIT_S 230
#else
#define LIMIT_S 150
#endif

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
    const char *drain, *timeout; /* of the broker, of a sign-in */
};
static const struct scene usual = {.lasts_s = 2,
                                   .sign_in = "",
                                   .method = "POST",
                                   .login_quota = 100,
                                   .more = "",
                                   .user = "",
                                   .drain = "3s",
                                   .timeout = "2s"};

static void configure(struct rig *r, const struct scene *s)
{
    char text[4096];
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig, wake: sleep, log: debug, drain: %s%s}\n"
        "providers:\n"
        "  - name: login\n"
        "    limits: [{name: l, kind: sliding_window, quota: %u, window: 2s}]\n"
        "    endpoints: [{name: login, url: \"http://127.0.0.1:$PORT\"}]\n"
        "    routes:\n"
        "      - {name: token, method: %s, path: /oauth2/token, cost: {l: 1}, timeout: %s}\n"
        "  - name: p\n"
        "    auth: {kind: oauth2, refresh_token: \"%s\",\n"
        "           sign_in: {route: login.token, margin: 1s%s}}\n"
        "    limits: [{name: b, kind: token_bucket, quota: 10000, window: 1s}]\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
        "    routes:\n"
        "      - {name: get, method: GET, path: /v1/accounts, cost: {b: 1}, timeout: 3s, "
        "signed: true}\n"
        "      - {name: order, method: POST, path: /v1/orders, cost: {b: 1}, timeout: 3s, "
        "signed: true}\n"
        "      - {name: open, method: GET, path: /v1/open, cost: {b: 1}, timeout: 3s}\n",
        s->drain, s->user, s->login_quota, s->method, s->timeout, token, s->sign_in);
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

/* The exchange, weird, and an operator's token that nobody has used. */
static struct weir *begin(struct rig *r, const struct scene *s)
{
    lost_before = rig_log_count(r, "\"sign_in_lost\"");
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

/* As a person would, on the exchange's page. */
static void token_fetch(struct rig *r)
{
    char text[256] = "";
    rig_sleep_ms(120);               /* what a dead worker had sent has arrived by then */
    (void)rig_report(r, "arrivals"); /* ... and was read: the simulator reads in turn */
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
    for (unsigned i = 0; i < 500 && session_report(r, "given") < wanted; i++) {
        rig_sleep_ms(20);
    }
    double got = session_report(r, "given");
    return CHECK(r, got >= wanted, "%.0f given, wanted %.0f", got, wanted);
}

/* Refused by name, and at once. */
static void refused(struct rig *r, struct weir *w)
{
    uint64_t from_ns = rig_now_ns();
    struct weir_response a = session_call(w, "p.get");
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_SIGN_IN);
    CHECK(r, a.denial.earliest_ns == UINT64_MAX, "not by itself");
    CHECK(r, rig_now_ns() - from_ns < 2 * WEIR_NS_PER_S, "at once");
}

static void reload(struct rig *r, const struct scene *s)
{
    unsigned before = rig_log_count(r, "\"tables_changed\"");
    configure(r, s);
    (void)kill(r->weird, SIGHUP);
    for (unsigned i = 0; i < 400 && rig_log_count(r, "\"tables_changed\"") == before; i++) {
        rig_sleep_ms(20);
    }
    CHECK(r, rig_log_count(r, "\"tables_changed\"") > before, "reloaded");
}

/* Nothing was used twice. */
static void never_twice(struct rig *r, const char *where)
{
    double reused = session_report(r, "reused");
    double unknown = session_report(r, "unknown");
    CHECK(r, reused >= 0 && unknown >= 0, "%s", where);
    PROMISE(r, reused <= 0 && unknown <= 0, "%s: %.0f tokens used twice, %.0f unknown", where,
            reused, unknown);
}

/* ---------------------------------------------------------------------------------------------- scenes */

/* Sessions follow each other ahead of their end: nobody notices. */
static void goes_on(struct rig *r, const char *method, unsigned calls)
{
    struct scene s = usual;
    s.method = method;
    struct weir *w = begin(r, &s);
    for (unsigned i = 0; i < calls; i++) {
        session_good(r, w, i % 2 == 0 ? "p.get" : "p.order");
        rig_sleep_ms(50);
    }
    CHECK_INT(r, state_of(w), WEIR_SIGN_IN_READY);
    CHECK(r, session_report(r, "given") >= 2, "%.0f given", session_report(r, "given"));
    CHECK_INT(r, session_report(r, "bad"), 0);
    never_twice(r, method);
    session_search_all(r);
    end(r, w);
    session_search(r);
}

/* The token on the disk, and no other, is what a next broker begins with, whatever became of the one before. */
static void outlives(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    session_good(r, w, "p.get");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    session_good(r, w, "p.get");
    never_twice(r, "a stop and a start");
    reload(r, &usual);
    session_good(r, w, "p.get");
    never_twice(r, "a reload");
    pid_t old = r->weird;
    pid_t next = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = next;
    rig_sleep_ms(200);
    session_good(r, w, "p.order");
    never_twice(r, "a takeover");
    rig_worker_kill(r); /* at rest, most likely */
    session_good(r, w, "p.get");
    never_twice(r, "a worker's death");
    weir_close(w);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGKILL);
    (void)kill(worker, SIGKILL);
    (void)rig_wait(r->weird, 5000);
    rig_sleep_ms(100);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)session_call_for(w, "p.get", 10000); /* limits count as spent for a while */
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
    rig_worker_kill(r); /* the next one wants to sign in, and waits for its permit */
    for (unsigned i = 0; i < 8; i++) {
        rig_sleep_ms(100);
        rig_worker_kill(r);
    }
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    session_good(r, w, "p.get");
    never_twice(r, "deaths before it was sent");
    CHECK_INT(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before, 0);
    end(r, w);
}

/* It was sent, and nobody lives who could hear the answer: lost, by name, and nothing is tried until a person gives a new one. */
static void dies_sent(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 900, "
                 "\"count\": 1}");
    double given = session_report(r, "given");
    for (unsigned i = 0; i < 500 && board(w)->busy == 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK(r, given_soon(r, given + 1), "it was spent");
    rig_worker_kill(r);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_LOST), "lost");
    refused(r, w);
    CHECK_INT(r, board(w)->why, WEIR_SIGN_IN_WHY_DIED);
    CHECK_INT(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before, 1);
    given = session_report(r, "given");
    rig_worker_kill(r);
    rig_sleep_ms(1500);
    refused(r, w);
    CHECK(r, session_report(r, "given") == given, "nothing is tried");
    never_twice(r, "a death behind the gate");
    token_fetch(r);
    reload(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "with the new one");
    session_good(r, w, "p.get");
    rig_worker_kill(
        r); /* the token of the file goes before the configured one, which is its ancestor */
    session_good(r, w, "p.get");
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
    unsigned again = rig_log_count(r, "\"sign_in_token_sent_again\"");
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_REFUSED), "refused");
    CHECK_INT(r, session_report(r, "reused"), 1);
    CHECK_INT(r, rig_log_count(r, "\"sign_in_token_sent_again\"") - again, 1);
    CHECK_INT(r, board(w)->second_uses, 1);
    rig_worker_kill(r);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_REFUSED), "still");
    rig_sleep_ms(1200);
    CHECK_INT(r, session_report(r, "reused"), 1);
    end(r, w);
    /* ... or it had never arrived, and all is well. */
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    double given = session_report(r, "given");
    rig_fault(r, "{\"kind\": \"reset_before_count\", \"path\": \"/oauth2/token\", \"count\": 1}");
    CHECK(r, given_soon(r, given + 2), "goes on");
    CHECK(r, board(w)->second_uses >= 1, "it was said");
    never_twice(r, "one that never arrived");
    session_good(r, w, "p.get");
    end(r, w);
}

/* "Too many", and no connection: nothing is spent, and it is tried again. A status that says nothing: lost. */
static void exchange_unwell(struct rig *r)
{
    struct weir *w = begin(r, &usual);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    double given = session_report(r, "given");
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
    session_good(r, w, "p.get");
    double given = session_report(r, "given");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    session_good(r, w, "p.order"); /* 401 says that nothing was done */
    CHECK_INT(r, session_report(r, "given"), given + 1);
    CHECK_INT(r, session_report(r, "bad"), 1);
    CHECK_INT(r, board(w)->renewed, 1);
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    for (unsigned i = 0; i < 5; i++) { /* so soon again: the answer is what it is */
        struct weir_response a = session_call(w, "p.order");
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.status, 401);
    }
    CHECK_INT(r, session_report(r, "given"), given + 1);
    CHECK_INT(r, session_report(r, "bad"), 6);
    never_twice(r, "revoked");
    end(r, w);

    /* A call that met a dead connection first was written twice in its first attempt: the one behind the renewal is another. */
    w = begin(r, &s);
    session_good(r, w, "p.get");
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/v1/accounts\", \"count\": 1, "
                 "\"reused_only\": true}");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    session_good(r, w, "p.get");
    CHECK_INT(r, board(w)->renewed, 1);
    rig_faults_clear(r);
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
    double given = session_report(r, "given");
    rig_sleep_ms(2500);
    CHECK(r, session_report(r, "given") == given, "nothing is spent");
    struct weir_response a = session_call_for(w, "p.get", 300);
    CHECK(r, a.result == WEIR_RESULT_REFUSED || a.result == WEIR_RESULT_EXPIRED, "%s",
          weir_result_text(a.result));
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &all, NULL), 0);
    CHECK(r, given_soon(r, given + 1), "goes on");
    session_good(r, w, "p.get");
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
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 1200, "
                 "\"count\": 1}");
    double given = session_report(r, "given");
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
    session_good(r, w, "p.get");
    CHECK_INT(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before, 0);
    never_twice(r, "a stop with a full disk");
    end(r, w);
}

/* The answer to a sign-in takes longer than anybody would wait for a worker that makes way. Calls go on until it has come, and the token is the successor's. */
static void slow_at_a_takeover(struct rig *r)
{
    struct scene s = usual;
    s.drain = "100ms";
    s.timeout = "8s";
    struct weir *w = begin(r, &s);
    unsigned hung = rig_log_count(r, "\"worker_hangs\"");
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 5000, "
                 "\"count\": 1}");
    CHECK(r, given_soon(r, session_report(r, "given") + 1), "spent");
    pid_t old = r->weird;
    uint64_t from_ns = rig_now_ns();
    pid_t next = rig_weird_another(r, "--takeover");
    while (rig_now_ns() < from_ns + 4 * WEIR_NS_PER_S) {
        struct weir_response a = session_call_for(w, "p.open", 2000);
        CHECK(r, a.result == WEIR_RESULT_DONE, "%s, %.3f s behind the takeover's begin",
              weir_result_text(a.result), (double)(rig_now_ns() - from_ns) / 1e9);
        rig_sleep_ms(20);
    }
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = next;
    CHECK(r, rig_log_has(r, "\"quiescing_waits\""), "it was said");
    CHECK_INT(r, rig_log_count(r, "\"worker_hangs\"") - hung, 0);
    session_good(r, w, "p.get");
    CHECK_INT(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before, 0);
    never_twice(r, "a takeover during a sign-in");
    end(r, w);
}

/* No disk takes the only token that there is: who wants to take over is refused, in time, and nothing is lost. */
static void disk_full_at_a_takeover(struct rig *r)
{
    struct scene s = usual;
    s.user = geteuid() == 0 ? ", user: root" : "";
    s.drain = "100ms";
    struct weir *w = begin(r, &s);
    struct rlimit none = {0, RLIM_INFINITY};
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 300, "
                 "\"count\": 1}");
    pid_t worker = rig_process(r, "weird-worker");
    CHECK(r, given_soon(r, session_report(r, "given") + 1), "spent");
    CHECK(r, prlimit(worker, RLIMIT_FSIZE, &none, NULL) == 0, "%s", strerror(errno));
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_UNKEPT), "in memory alone");
    CHECK_INT(r, rig_wait(rig_weird_another(r, "--takeover"), 30000), 1);
    CHECK(r, rig_log_has(r, "it has a refresh token that no disk takes"), "the reason");
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    CHECK_INT(r, session_call_for(w, "p.open", 2000).result, WEIR_RESULT_DONE);
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &all, NULL), 0);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "it goes on");
    session_good(r, w, "p.get");
    CHECK_INT(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before, 0);
    never_twice(r, "a takeover with a full disk");
    end(r, w);
}

/* What comes of calls, by name. */
static int caller(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a = session_call(w, arg % 2 == 0 ? "p.get" : "p.order");
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
        rig_worker_kill(r);
        if (state_of(w) == WEIR_SIGN_IN_LOST) {
            lost++;
            token_fetch(r);
            reload(r, &s);
        }
    }
    /* What the board says may be the last dead worker's word: a call that is served counts. */
    uint64_t end_ns = rig_now_ns() + 30 * WEIR_NS_PER_S;
    bool served = false;
    while (!served && rig_now_ns() < end_ns) {
        struct weir_response a = session_call(w, "p.get");
        served = a.result == WEIR_RESULT_DONE && a.status == 200;
        if (!served && state_of(w) == WEIR_SIGN_IN_LOST &&
            rig_log_count(r, "\"sign_in_lost\"") - lost_before > lost) { /* not one of before */
            lost++;
            token_fetch(r);
            reload(r, &s);
        }
        rig_sleep_ms(served ? 0 : 100);
    }
    CHECK(r, served, "in the end");
    while (weir_load_acquire_u32(&r->shared->count[DONE]) <= 10 && rig_now_ns() < end_ns) {
        rig_sleep_ms(10); /* callers that were held up all the while */
    }
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    never_twice(r, "deaths anywhere");
    CHECK(r, rig_log_count(r, "\"sign_in_lost\"") - lost_before >= lost, "each loss has its line");
    CHECK_INT(r, r->shared->count[OTHER], 0);
    CHECK(r, r->shared->count[DONE] > 10, "%u calls", r->shared->count[DONE]);
    (void)printf("%u kills, %u times lost; calls: %u done, %u refused by name, %u late\n", kills,
                 lost, r->shared->count[DONE], r->shared->count[REFUSED], r->shared->count[LATE]);
    session_search_all(r);
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
                session_good(r, w, "p.get");
            }
            never_twice(r, at[i].name);
        }
        end(r, w);
    }
}

/* The worker that was asked to make way dies while it waits for the answer. One of the two brokers serves, and the token that was spent is spent. */
static void dies_waiting(struct rig *r, struct weave_page *page)
{
    struct scene s = usual;
    s.drain = "100ms";
    s.timeout = "8s";
    struct weir *w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_READY), "signed in");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/oauth2/token\", \"delay_ms\": 5000, "
                 "\"count\": 1}");
    CHECK(r, given_soon(r, session_report(r, "given") + 1), "spent");
    pid_t worker = rig_process(r, "weird-worker");
    weave_arm(page, (uint32_t)worker, "quiesce:waits", 0);
    pid_t old = r->weird;
    pid_t next = rig_weird_another(r, "--takeover");
    pid_t held = weave_await(page, 4000);
    CHECK_INT(r, held, worker);
    (void)kill(worker, SIGKILL);
    siginfo_t left = {0};
    for (unsigned i = 0; i < 1000 && left.si_pid == 0; i++) {
        rig_sleep_ms(20);
        (void)waitid(P_PID, (id_t)old, &left, WEXITED | WNOHANG | WNOWAIT);
        if (left.si_pid == 0) {
            (void)waitid(P_PID, (id_t)next, &left, WEXITED | WNOHANG | WNOWAIT);
        }
    }
    CHECK(r, left.si_pid == old || left.si_pid == next, "one of them leaves");
    CHECK_INT(r, rig_wait(left.si_pid == old ? old : next, 5000), left.si_pid == old ? 0 : 1);
    r->weird = left.si_pid == old ? next : old;
    weir_close(w); /* it may have looked at the old broker's board until then */
    w = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_LOST), "the token was on its way");
    refused(r, w);
    never_twice(r, "a death at a takeover");
    end(r, w);
}
#endif

/* The exchange names the server: an endpoint or nothing. */
static void named_server(struct rig *r)
{
    struct scene s = usual;
    s.sign_in = ", server: api_server";
    s.more = ", \"server\": \"http://127.0.0.1/\"";
    struct weir *w = begin(r, &s);
    session_good(r, w, "p.get");
    end(r, w);
    s.more = ", \"server\": \"https://api07.example.com/\"";
    w = begin(r, &s);
    CHECK(r, state_soon(r, w, WEIR_SIGN_IN_ASTRAY), "astray");
    refused(r, w);
    CHECK(r, rig_log_has(r, "sign_in_astray"), "said");
    end(r, w);
}

/* In each something strikes while a session begins or ends: with a process held up it strikes before or behind that. */
static void (*const scenes[])(struct rig *r) = {
    outlives,    dies_unsent, dies_sent,           answer_lost,        exchange_unwell,
    revoked,     disk_full,   disk_full_at_a_stop, slow_at_a_takeover, disk_full_at_a_takeover,
    named_server};

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
        dies_waiting(&r, page);
    }
#endif
    for (unsigned i = 0; i < 2; i++) {
        RIG_SCENE (&r, 300) {
            goes_on(&r, i == 0 ? "POST" : "GET", i == 0 ? 60 : 30);
        }
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(scenes); i++) {
        RIG_SCENE (&r, 200) {
            scenes[i](&r);
        }
    }
    RIG_SCENE (&r, 300) {
        dies_anywhere(&r, all ? 400 : 16);
    }
    RIG_SCENE (&r, 300) {
        sign_in_cookies(&r);
    }
    return rig_close(&r);
}
