/* Bad configurations and bad attaches: each has its own error and its own text with the next step. Oracle: the texts below. */
#include "rig.h"

#include "shm/weir_attach.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void configurations(struct rig *r)
{
    char out[4096];
    char wanted[512];
    rig_config(r, "broker: {name: rig, wakes: spin}\n", 0);
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 2);
    (void)snprintf(wanted, sizeof wanted,
                   "error: %s:1:21: broker.wakes: unknown key: did you mean wake?\n", r->conf);
    rig_check(r, strstr(out, wanted) != NULL, __FILE__, __LINE__, "message: %s", out);
    rig_config(r, "broker: [", 0);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    CHECK(r, strstr(out, r->conf) != NULL, "names the file");
}

static struct weir *attach(struct rig *r, struct weir_open_opts opts, const char *name,
                           struct weir_diag *diag, int *rc)
{
    struct weir *w = NULL;
    opts.struct_bytes = sizeof opts;
    opts.runtime_dir = r->dir;
    *diag = (struct weir_diag){0};
    *rc = weir_open(&w, name, &opts, diag);
    return w;
}

/* An attach that must fail: with this error, and a text that ends so. */
static void refused(struct rig *r, struct weir_open_opts opts, const char *name, int error,
                    const char *cause)
{
    struct weir_diag diag;
    char wanted[512];
    int rc;
    struct weir *w = attach(r, opts, name, &diag, &rc);
    CHECK_INT(r, w == NULL, 1);
    CHECK_INT(r, rc, error);
    CHECK_INT(r, diag.error, error);
    (void)snprintf(wanted, sizeof wanted, "cannot attach: name=%s path=%s/%s/%s.sock: %s", name,
                   r->dir, name, opts.domain != NULL ? opts.domain : "default", cause);
    CHECK_TEXT(r, diag.text, wanted);
    weir_close(w);
}

/* A hello that the library would never send; the answer's error and text. */
static void hello(struct rig *r, const struct weir_attach_hello *h, size_t bytes, int error,
                  const char *text)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct weir_attach_welcome a = {0};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%.60s/rig/default.sock", r->dir);
    CHECK_INT(r, connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    CHECK_INT(r, send(fd, h, bytes, MSG_NOSIGNAL), bytes);
    CHECK_INT(r, recv(fd, &a, sizeof a, 0), sizeof a);
    CHECK_INT(r, a.error, error);
    CHECK_TEXT(r, a.text, text);
    (void)close(fd);
}

static void hellos(struct rig *r)
{
    char text[160];
    const struct weir_attach_hello good = {.magic = WEIR_ATTACH_MAGIC,
                                           .version = WEIR_ATTACH_VERSION,
                                           .bytes = sizeof good,
                                           .abi_major = WEIR_ABI_MAJOR,
                                           .layout_hash = weir_layout_hash(),
                                           .role = WEIR_ROLE_CALLER};
    struct weir_attach_hello h = good;
    h.abi_major = WEIR_ABI_MAJOR + 1;
    (void)snprintf(text, sizeof text, "ABI %u.%u in the broker, this library speaks %u.x",
                   WEIR_ABI_MAJOR, WEIR_ABI_MINOR, WEIR_ABI_MAJOR + 1);
    hello(r, &h, sizeof h, WEIR_E_ABI, text);
    h = good;
    h.version = 77;
    hello(r, &h, sizeof h, WEIR_E_ABI, "the hello is of version 77, this broker speaks 1");
    h = good;
    h.layout_hash ^= 1;
    (void)snprintf(text, sizeof text, "layout %016llx in the broker, %016llx in this library",
                   (unsigned long long)good.layout_hash, (unsigned long long)h.layout_hash);
    hello(r, &h, sizeof h, WEIR_E_LAYOUT, text);
    h = good;
    h.role = 9;
    hello(r, &h, sizeof h, WEIR_E_ROLE, "role ? asked, domain default grants trader at most");
    h = good;
    h.request_bytes = UINT32_MAX; /* rounded up it would be 0 */
    hello(r, &h, sizeof h, WEIR_E_ARENA_TOO_LARGE,
          "64 slots of 4294967232 bytes asked, domain default allows 1024 of 65536");
    hello(r, &good, 8, WEIR_E_ABI, "ABI 1.0 in the broker, this library speaks 0.x");
}

static void attaches(struct rig *r)
{
    struct weir_diag diag;
    struct weir *w[3];
    int rc;
    refused(r, (struct weir_open_opts){0}, "nobody", WEIR_E_NO_BROKER,
            "no broker of this name was started here: start it (weird --config FILE), or set "
            "WEIR_RUNTIME_DIR to its directory");
    refused(r, (struct weir_open_opts){.domain = "none"}, "rig", WEIR_E_NO_BROKER,
            "the broker has no socket for domain none: start it (weird --config FILE), or name one "
            "of its domains");
    refused(r, (struct weir_open_opts){.domain = "view", .role = WEIR_ROLE_TRADER}, "rig",
            WEIR_E_ROLE,
            "role trader asked, domain view grants monitor at most: ask for a smaller role, or "
            "change the domain's role in the configuration");
    refused(r, (struct weir_open_opts){.domain = "others"}, "rig", WEIR_E_PERMISSION,
            getuid() == 0 ? "uid 0 gid 0 is not in domain others: add the uid or gid to the "
                            "domain's list in the broker's configuration"
                          : "");
    refused(r, (struct weir_open_opts){.domain = "small", .slots = 9}, "rig",
            WEIR_E_ARENA_TOO_LARGE,
            "9 slots of 2048 bytes asked, domain small allows 8 of 4096: ask for fewer slots or "
            "bytes, or raise the domain's `arena`");
    for (int i = 0; i < 2; i++) {
        w[i] = attach(r, (struct weir_open_opts){.domain = "small"}, "rig", &diag, &rc);
        CHECK_INT(r, rc, 0);
    }
    refused(r, (struct weir_open_opts){.domain = "small"}, "rig", WEIR_E_TOO_MANY_CLIENTS,
            "all 2 places of domain small are taken: close a client, or raise the domain's `clients`");
    weir_close(w[0]);
    for (int i = 0; i < 200; i++) { /* its place comes back */
        w[0] = attach(r, (struct weir_open_opts){.domain = "small"}, "rig", &diag, &rc);
        if (w[0] != NULL) {
            break;
        }
        rig_sleep_ms(5);
    }
    CHECK_INT(r, rc, 0);
    weir_close(w[0]);
    weir_close(w[1]);
    w[2] = attach(r, (struct weir_open_opts){.domain = "../x"}, "rig", &diag, &rc);
    CHECK_INT(r, rc, WEIR_E_NAME);
    weir_close(w[2]);
}

/* Another user of this machine. */
static int as_nobody(struct rig *r, int arg)
{
    unsigned before = r->failures;
    (void)arg;
    if (chmod(r->dir, 0755) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
        return 77;
    }
    refused(r, (struct weir_open_opts){0}, "rig", WEIR_E_PERMISSION,
            "uid 65534 gid 65534 is not in domain default: add the uid or gid to the domain's list "
            "in the broker's configuration");
    return r->failures == before ? 0 : 1;
}

/* A handle in a forked child answers by name and touches nothing; the parent's goes on. */
static void forks(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id ping = rig_route(w, "sim.ping");
    pid_t pid = fork();
    if (pid == 0) {
        struct weir_permit p;
        weir_ticket t;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = ping};
        bool good = weir_permit_try(w, ping, 0, NULL, WEIR_PRIORITY_LOW, &p) == WEIR_E_FORKED &&
                    weir_submit(w, &spec, &t) == WEIR_E_FORKED && weir_check(w) == WEIR_E_FORKED;
        weir_close(w);
        _exit(good ? 0 : 1);
    }
    CHECK_INT(r, rig_wait(pid, 2000), 0);
    struct weir_response a;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = ping};
    CHECK_INT(r, weir_call(w, &spec, UINT64_MAX, &a), 0);
    weir_close(w);
    CHECK_TEXT(r, weir_strerror(WEIR_E_FORKED), "this handle belongs to the parent process");
    CHECK_TEXT(r, weir_hint(WEIR_E_FORKED), "open a handle of its own in the child, after fork");
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "bad_attach", argc, argv, 60);
    rig_sim_start(&r, "{}");
    configurations(&r);
    rig_config_usual(&r, "domains: [{name: default}, {name: view, role: monitor}, {name: others, "
                         "uids: [4242]}, {name: small, clients: 2, slots: 8, request: 4KiB}]");
    rig_weird_start(&r);
    attaches(&r);
    hellos(&r);
    forks(&r);
    if (getuid() == 0) {
        CHECK_INT(&r, rig_wait(rig_fork(&r, as_nobody, 0), 3000), 0);
    }
    (void)kill(r.weird, SIGKILL);
    (void)kill(rig_process(&r, "weird-worker"), SIGKILL);
    (void)rig_wait(r.weird, 2000);
    r.weird = 0;
    refused(&r, (struct weir_open_opts){0}, "rig", WEIR_E_NO_BROKER,
            "the broker is dead and left its socket behind: start it again: weird --config FILE");
    return rig_close(&r);
}
