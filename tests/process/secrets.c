/*
 * secrets.c: a key that the configuration takes from the environment reaches the exchange, and nothing else.
 *
 * Oracle: a server of this test that reads whole requests, and a search for the key's bytes in everything that anybody but the worker could see: segments, descriptors, logs,
 * the environment, the memory of the other processes, cores, messages.
 */
#include "search.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WITH_KEY = 0, WITHOUT = 1 }; /* r->shared->count */

static char key[SEARCH_TEXT_MAX]; /* made of the seed, so that no file of this machine holds it */
static char line_wanted[96];

/* ---------------------------------------------------------------------------------------------- the exchange */

static void serve_one(struct rig_shared *shared, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    char text[4096];
    size_t n = 0;
    for (ssize_t got; (got = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0;) {
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) {
            bool has = strstr(text, line_wanted) != NULL;
            (void)weir_fetch_add_u32(&shared->count[has ? WITH_KEY : WITHOUT], 1);
            n = 0;
            (void)send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        }
    }
}

static uint16_t server_start(struct rig *r)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) {
        (void)printf("could not set up: server\n");
        exit(99);
    }
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int one = accept(fd, NULL, NULL);
            if (one >= 0 && fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve_one(r->shared, one);
                _exit(0);
            }
            (void)close(one);
        }
    }
    (void)close(fd);
    return ntohs(at.sin_port);
}

static void config(struct rig *r, const char *headers, uint16_t port)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "broker: {name: rig, wake: sleep, log: debug, core: 1GiB}\n"
                   "providers:\n"
                   "  - name: p\n"
                   "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
                   "%s"
                   "    endpoints: [{name: e, url: \"http://127.0.0.1:%u\"}]\n"
                   "    routes:\n"
                   "      - {name: get, method: GET, path: /g, cost: {l: 1}, timeout: 3s}\n"
                   "      - {name: post, method: POST, path: /p, cost: {l: 1}, timeout: 3s, "
                   "headers: [x-other, x-mbx-apikey]}\n"
                   "%s",
                   headers, port,
                   strstr(headers, "auth:") != NULL
                       ? "      - {name: sign, method: POST, path: /s, cost: {l: 1}, timeout: "
                         "3s, headers: [ok-access-sign], signed: true}\n"
                       : "");
    rig_config(r, text, 0);
}

/* ---------------------------------------------------------------------------------------------- calls */

static struct weir_response call(struct rig *r, struct weir *w, const char *route,
                                 const char *header, const char *body)
{
    const struct weir_header one = {.name = header, .value = "mine"};
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec,
        .route = rig_route(w, route),
        .headers = &one,
        .header_cnt = header != NULL,
        .body = body,
        .body_bytes = body != NULL ? strlen(body) : 0,
    };
    struct weir_response a = {0};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a), 0);
    (void)weir_release(w, a.ticket);
    return a;
}

static void calls(struct rig *r, struct weir *w)
{
    uint32_t with = weir_load_acquire_u32(&r->shared->count[WITH_KEY]);
    for (int i = 0; i < 3;
         i++) { /* the same handle and connection, with and without headers of the client's */
        CHECK_INT(r, call(r, w, "p.get", NULL, NULL).result, WEIR_RESULT_DONE);
        CHECK_INT(r, call(r, w, "p.post", "x-other", "body").result, WEIR_RESULT_DONE);
        CHECK_INT(r, call(r, w, "p.post", NULL, "body").result, WEIR_RESULT_DONE);
    }
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WITH_KEY]), with + 9);
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WITHOUT]), 0);
    /* The route lists it, and the provider has it: it is the broker's. */
    struct weir_response a = call(r, w, "p.post", "X-MBX-APIKEY", "body");
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_HEADER_FORBIDDEN);
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WITH_KEY]), with + 9);
}

/* ---------------------------------------------------------------------------------------------- the search */

static bool holds_key(const char *at, size_t bytes)
{
    return search_bytes(at, bytes, key);
}

static bool file_holds(const char *path)
{
    return search_file(path, key);
}

struct found {
    unsigned kept;   /* mappings with it that are locked and left out of cores */
    unsigned shared; /* ... that others map too */
    unsigned other;
    unsigned looked; /* mappings that could be read */
};

static void mapping_count(const struct search_mapping *m, void *arg)
{
    struct found *f = arg;
    f->looked++;
    f->kept += m->holds && m->kept;
    f->shared += m->holds && m->shared;
    f->other += m->holds && !m->kept && !m->shared;
}

static struct found process_search(pid_t pid)
{
    struct found f = {0};
    search_memory(pid, key, mapping_count, &f);
    return f;
}

struct descriptors {
    struct rig *rig;
    unsigned looked;
};

static void descriptor_check(const char *path, const char *target, void *arg)
{
    struct descriptors *d = arg;
    PROMISE(d->rig, !file_holds(path), "%s -> %s", path, target);
    d->looked++;
}

static unsigned descriptors_search(struct rig *r, pid_t pid)
{
    struct descriptors d = {.rig = r};
    search_descriptors(pid, descriptor_check, &d);
    return d.looked;
}

/* `sent`: the key itself goes to the exchange, so curl's buffers of the worker's heap may hold it, and the worker keeps it in a line of its own. */
static void search(struct rig *r, bool sent)
{
    char path[64];
    const struct {
        const char *name;
        pid_t pid;
    } process[] = {{"supervisor", r->weird},
                   {"worker", rig_process_next(r, "weird-worker", 0, 5000)},
                   {"resolver", rig_process_next(r, "weird-resolver", 0, 5000)}};
    PROMISE(r, !file_holds(r->log), "the log");
    if (geteuid() != 0) {
        return; /* what cannot be dumped can be read by root only: that is the point */
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(process); i++) {
        struct found f = process_search(process[i].pid);
        bool worker = i == 1;
        CHECK(r, f.looked > 10, "%s: %u mappings were read", process[i].name, f.looked);
        PROMISE(r, f.shared == 0, "%s: in %u shared mappings", process[i].name, f.shared);
        CHECK(r, (worker && sent) || f.other == 0, "%s: in %u other mappings", process[i].name,
              f.other);
        unsigned kept = i == 0 ? 1 : worker ? 1U + sent : 0;
        CHECK_INT(r, f.kept, kept);
        (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)process[i].pid);
        PROMISE(r, !file_holds(path), "%s: its environment", process[i].name);
        CHECK(r, descriptors_search(r, process[i].pid) >= (i == 2 ? 1U : 4U),
              "%s: descriptors were read", process[i].name);
    }
}

/* What the tools say. */
static void tools(struct rig *r)
{
    static const char *const command[] = {"stat", "limits", "limits --routes", "inspect --check"};
    static char out[1 << 20];
    char monitor[512];
    const char *slash = strrchr(r->weird_path, '/');
    (void)snprintf(monitor, sizeof monitor, "%.*s/../monitor/weir",
                   slash != NULL ? (int)(slash - r->weird_path) : 1,
                   slash != NULL ? r->weird_path : ".");
    (void)setenv("WEIR_RUNTIME_DIR", r->dir, 1);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(command); i++) {
        char line[640];
        (void)snprintf(line, sizeof line, "%s %s --name rig 2>&1", monitor, command[i]);
        FILE *f = popen(line, "re");
        size_t n = f != NULL ? fread(out, 1, sizeof out, f) : 0;
        CHECK(r, f != NULL && pclose(f) == 0 && n > 0, "%s: %.*s", line, (int)(n < 200 ? n : 200),
              out);
        PROMISE(r, !holds_key(out, n), "%s shows it", line);
    }
    (void)unsetenv("WEIR_RUNTIME_DIR");
}

/* ---------------------------------------------------------------------------------------------- cores */

static unsigned cores(const struct rig *r, bool *with_key)
{
    unsigned cnt = 0;
    DIR *d = opendir(r->dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[512];
        if (strncmp(e->d_name, "core", 4) == 0) {
            (void)snprintf(path, sizeof path, "%s/%.200s", r->dir, e->d_name);
            *with_key |= file_holds(path);
            (void)unlink(path);
            cnt++;
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return cnt;
}

static bool cores_lie_here(void)
{
    char pattern[128] = "";
    FILE *f = fopen("/proc/sys/kernel/core_pattern", "re");
    if (f != NULL) {
        (void)!fgets(pattern, sizeof pattern, f);
        (void)fclose(f);
    }
    return strcmp(pattern, "core\n") == 0;
}

/* Kill the worker so that it would leave a core, wait for the next. */
static unsigned crash(struct rig *r, int signal, bool *with_key)
{
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, signal);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) > 0, "a next worker");
    return cores(r, with_key);
}

/* ---------------------------------------------------------------------------------------------- messages */

/* The lines that the worker wrote are in nobody's segments. */
static void signed_form_search(struct rig *r)
{
    char kept[sizeof key];
    memcpy(kept, key, sizeof key);
    (void)snprintf(key, sizeof key, "OK-ACCESS-SIGN: ");
    pid_t worker = rig_process(r, "weird-worker");
    if (geteuid() == 0 && CHECK(r, worker > 0, "a worker")) {
        struct found f = process_search(worker);
        CHECK(r, f.looked > 10, "%u mappings were read", f.looked);
        PROMISE(r, f.shared == 0, "in %u shared mappings", f.shared);
        CHECK(r, descriptors_search(r, worker) >= 4, "descriptors were read");
    }
    memcpy(key, kept, sizeof key);
}

/* A secret that signs is never sent: no copy of it may be left anywhere but in memory for keys, not even on the heap of the worker, whatever OpenSSL did with it. */
static void signing(struct rig *r, uint16_t port)
{
    bool with_key = false;
    config(r,
           "    auth: {kind: okx, key: name, secret: \"${WEIR_TEST_KEY}\", passphrase: phrase}\n",
           port);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (int round = 0; round < 2; round++) {
        uint32_t before = weir_load_acquire_u32(&r->shared->count[WITHOUT]);
        for (int i = 0; i < 20; i++) {
            CHECK_INT(r, call(r, w, "p.sign", NULL, "body").result, WEIR_RESULT_DONE);
        }
        CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WITHOUT]), before + 20);
        CHECK_INT(r, call(r, w, "p.sign", "ok-access-sign", "body").error, WEIR_E_HEADER_FORBIDDEN);
        search(r, false);
        signed_form_search(r);
        tools(r);
        if (round == 0) {
            CHECK_INT(r, crash(r, SIGSEGV, &with_key), 0);
        }
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    PROMISE(r, !with_key && !file_holds(r->log), "the log, or a core");
}

static void signing_messages(struct rig *r, uint16_t port)
{
    static char out[1 << 16];
    config(r, "    auth: {kind: kraken, key: name, secret: \"${WEIR_TEST_KEY}\"}\n", port);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2); /* no base64 */
    CHECK(r, strstr(out, "providers[0].auth.secret: must be base64") != NULL, "%s", out);
    PROMISE(r, !holds_key(out, strlen(out)), "a refusal: %s", out);
    config(r, "    auth: {kind: api_key, header: x-key, keys: [{key: \"${WEIR_TEST_KEY}\"}]}\n",
           port);
    CHECK_INT(r, rig_weird_run(r, "--print-config", out, sizeof out), 0);
    PROMISE(r, !holds_key(out, strlen(out)), "--print-config: %s", out);
}

static void messages(struct rig *r, uint16_t port)
{
    static char out[1 << 16];
    char bad[96];
    config(r, "    headers: [{name: x-mbx-apikey, value: \"${WEIR_TEST_KEY}\"}]\n", port);
    CHECK_INT(r, rig_weird_run(r, "--print-config", out, sizeof out), 0);
    PROMISE(r, !holds_key(out, strlen(out)), "--print-config");
    CHECK(r, strstr(out, "value: \"***\"\n") != NULL, "--print-config: %s", out);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 0);
    PROMISE(r, !holds_key(out, strlen(out)), "--check");
    CHECK(r, strstr(out, "an endpoint is http://, so these are sent readable") != NULL,
          "--check: %s", out);
    (void)snprintf(bad, sizeof bad, "%s\n", key); /* as of a file with a line end */
    (void)setenv("WEIR_TEST_KEY", bad, 1);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    PROMISE(r, !holds_key(out, strlen(out)), "a refusal: %s", out);
    CHECK(r,
          strstr(out, "providers[0].headers[0].value: must hold no control character: is there a "
                      "line end behind it?") != NULL,
          "%s", out);
    (void)setenv("WEIR_TEST_KEY", key, 1);
    config(r, "    headers: [{name: connection, value: \"${WEIR_TEST_KEY}\"}]\n", port);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    CHECK(r, strstr(out, "name = \"connection\": belongs to the broker: remove it") != NULL, "%s",
          out);
    config(r, "    headers: [{name: a, value: \"${WEIR_TEST_KEY}\"}, {name: A, value: b}]\n", port);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    CHECK(r,
          strstr(out, "headers[1].name = \"A\": stands in this list already: remove one") != NULL,
          "%s", out);
    PROMISE(r, !holds_key(out, strlen(out)), "a refusal: %s", out);
}

int main(int argc, char **argv)
{
    static struct rig r;
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    bool with_key = false;
    rig_open(&r, "secrets", argc, argv, 80);
    (void)snprintf(key, sizeof key, "K%08x%08x-never-seen", r.seed * 2654435761U,
                   r.seed ^ 0x5bd1e995U);
    (void)snprintf(line_wanted, sizeof line_wanted, "x-mbx-apikey: %s\r\n", key);
    uint16_t port = server_start(&r);
    (void)setenv("WEIR_TEST_KEY", key, 1);
    bool can_core = setrlimit(RLIMIT_CORE, &all) == 0 && cores_lie_here();
    if (argv[1][0] != '/' || argv[2][0] != '/') {
        can_core = false; /* by hand, with relative paths */
    } else {
        CHECK(&r, chmod(r.dir, 0777) == 0 && chdir(r.dir) == 0, "a place where cores would lie");
    }
    messages(&r, port);
    config(&r,
           "    headers: [{name: X-MBX-APIKEY, value: \"${WEIR_TEST_KEY}\"}, {name: x-two, value: "
           "two}]\n",
           port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    calls(&r, w);
    search(&r, true);
    tools(&r);
    CHECK_INT(&r, crash(&r, SIGABRT, &with_key), 0);
    calls(&r, w); /* the supervisor still had it */
    search(&r, true);
    CHECK_INT(&r, crash(&r, SIGSEGV, &with_key), 0);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    PROMISE(&r, !file_holds(r.log), "the log");
    /* The test itself: without the cage and without secrets a core is left, and would be found. */
    config(&r, "", port);
    r.option = "--cage=off";
    rig_weird_start(&r);
    bool seen = false; /* in the environment, which nobody wiped: there are no secrets */
    unsigned left = crash(&r, SIGABRT, &seen);
    CHECK(&r, (left == 1 && seen) || !can_core || rig_sanitized(), "%u cores without a cage", left);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    /* With secrets there is none, whatever the cage. */
    config(&r, "    headers: [{name: x-mbx-apikey, value: \"${WEIR_TEST_KEY}\"}]\n", port);
    rig_weird_start(&r);
    CHECK_INT(&r, crash(&r, SIGABRT, &with_key), 0);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    PROMISE(&r, !with_key, "a core with the key");
    signing_messages(&r, port);
    signing(&r, port);
    return rig_close(&r);
}
