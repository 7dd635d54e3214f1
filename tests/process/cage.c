/*
 * cage.c: what is left to weird's worker and resolver when they run, and what weird says where the cage cannot be had.
 *
 * Oracle: /proc/PID of the running processes. The ways out of the cage are tried in cage_break.c.
 */
#include "rig.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A line of /proc/PID/NAME that begins with `key`, its value without blanks before it; "" if there is none. */
static const char *proc_line(pid_t pid, const char *name, const char *key, char out[128])
{
    char path[64];
    char line[256];
    out[0] = '\0';
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            const char *at = line + strlen(key);
            at += strspn(at, " \t");
            (void)snprintf(out, 128, "%.*s", (int)strcspn(at, "\n"), at);
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return out;
}

/* The user that weird takes by itself. */
static uid_t usual_uid(void)
{
    const struct passwd *user = getpwnam("weir");
    user = user != NULL ? user : getpwnam("nobody");
    return geteuid() == 0 && user != NULL ? user->pw_uid : geteuid();
}

static void caged(struct rig *r, const char *who, pid_t pid, uid_t uid)
{
    char got[128];
    char want[64];
    CHECK(r, pid > 0, "there is a %s", who);
    (void)snprintf(want, sizeof want, "%u\t%u\t%u\t%u", uid, uid, uid, uid);
    /* One that has just begun closes the door behind itself last. */
    for (int i = 0; i < 200 && strcmp(proc_line(pid, "status", "Seccomp:", got), "2") != 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK_TEXT(r, proc_line(pid, "status", "Uid:", got), want);
    CHECK_TEXT(r, proc_line(pid, "status", "NoNewPrivs:", got), "1");
    CHECK_TEXT(r, proc_line(pid, "status", "Seccomp:", got), "2");
    CHECK_TEXT(r, proc_line(pid, "status", "Threads:", got), "1");
    const char *const sets[] = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(sets); i++) {
        CHECK_TEXT(r, proc_line(pid, "status", sets[i], got), "0000000000000000");
    }
    if (geteuid() == 0) {
        CHECK_TEXT(r, proc_line(pid, "status", "CapBnd:", got), "0000000000000000");
        CHECK_TEXT(r, proc_line(pid, "status", "Groups:", got), "");
    }
    (void)proc_line(pid, "limits", "Max core file size", got);
    CHECK(r, strncmp(got, "0 ", 2) == 0, "%s: no core: %s", who, got);
    if (uid != 0) {
        /* What cannot be dumped belongs to root in /proc: its memory and descriptors are closed to others of its user. */
        struct stat st;
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
        CHECK(r, stat(path, &st) == 0 && st.st_uid == 0, "%s: %s belongs to root", who, path);
    }
}

/* The supervisor keeps what docs/security.md says of what it was started with, which is what we have, and no more. */
static void supervisor(struct rig *r, pid_t pid, bool other_user)
{
    char got[128];
    char want[32];
    unsigned long long ours = strtoull(proc_line(getpid(), "status", "CapPrm:", got), NULL, 16);
    unsigned long long kept = 1ULL << CAP_IPC_LOCK;
    kept |= other_user ? 1ULL << CAP_KILL | 1ULL << CAP_SETGID | 1ULL << CAP_SETUID : 0;
    (void)snprintf(want, sizeof want, "%016llx", ours & kept);
    CHECK_TEXT(r, proc_line(pid, "status", "CapEff:", got), want);
    CHECK_TEXT(r, proc_line(pid, "status", "CapPrm:", got), want);
    CHECK_TEXT(r, proc_line(pid, "status", "CapInh:", got), "0000000000000000");
    CHECK_TEXT(r, proc_line(pid, "status", "CapAmb:", got), "0000000000000000");
    CHECK_TEXT(r, proc_line(pid, "status", "NoNewPrivs:", got), "1");
    if (geteuid() == 0) {
        CHECK_TEXT(r, proc_line(pid, "status", "CapBnd:", got), "0000000000000000");
    }
}

static void one_call(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    struct weir_response a = {0};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    (void)weir_release(w, a.ticket);
    weir_close(w);
}

/* The first worker, and the one after it. */
static void running(struct rig *r)
{
    char got[128];
    rig_weird_start(r);
    pid_t worker = rig_process(r, "weird-worker");
    caged(r, "worker", worker, usual_uid());
    (void)proc_line(worker, "limits", "Max data size", got);
    CHECK(r, strncmp(got, "134217728 ", 10) == 0 || rig_sanitized(), "worker_memory: %s", got);
    caged(r, "resolver", rig_process_next(r, "weird-resolver", 0, 5000), usual_uid());
    supervisor(r, r->weird, usual_uid() != geteuid());
    one_call(r);
    (void)kill(worker, SIGKILL);
    pid_t next = rig_process_next(r, "weird-worker", worker, 5000);
    one_call(r); /* it answers: so it is in */
    caged(r, "next worker", next, usual_uid());
    (void)kill(next, SIGSYS); /* as the filter would end it */
    CHECK(r, rig_process_next(r, "weird-worker", next, 5000) > 0, "a third worker");
    one_call(r);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    CHECK(r, rig_log_has(r, "\"signal\":31"), "the log says how it ended");
    CHECK(r, !rig_log_has(r, "worker_call_forbidden"), "no call was forbidden");
}

/* ---------------------------------------------------------------------------------------------- what is refused */

static void refused(struct rig *r, const char *broker, const char *option, int status,
                    const char *text)
{
    static char out[8192];
    rig_config_usual(r, broker);
    CHECK_INT(r, rig_weird_run(r, option, out, sizeof out), status);
    CHECK(r, strstr(out, text) != NULL, "wanted: %s\n  got: %s", text, out);
}

static void refusals(struct rig *r)
{
    char want[256];
    refused(r, "wake: sleep", "--cage=maybe", 1, "weird: --cage=maybe: use enforce, log or off\n");
    refused(r, "user: nosuchuser", NULL, 1,
            "weird: broker.user=nosuchuser: there is no such user: make it (useradd --system "
            "nosuchuser), or name another\n");
    refused(r, "user: nosuchuser", "--check", 2,
            "weird: broker.user=nosuchuser: there is no such user: make it (useradd --system "
            "nosuchuser), or name another\n");
    if (geteuid() != 0) {
        (void)snprintf(want, sizeof want,
                       "weird: broker.user=root: only root can become another user, and weird runs "
                       "as uid %u: start it as root or as root, or leave broker.user out\n",
                       (unsigned)geteuid());
        refused(r, "user: root", NULL, 1, want);
    }
}

/* Without the filter, for diagnosis: user, capabilities and limits stay. */
static void off(struct rig *r)
{
    char got[128];
    rig_config_usual(r, "wake: sleep");
    r->option = "--cage=off";
    rig_weird_start(r);
    r->option = NULL;
    pid_t worker = rig_process(r, "weird-worker");
    CHECK_TEXT(r, proc_line(worker, "status", "Seccomp:", got), "0");
    CHECK_TEXT(r, proc_line(worker, "status", "NoNewPrivs:", got), "1");
    CHECK_TEXT(r, proc_line(worker, "status", "CapEff:", got), "0000000000000000");
    one_call(r);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    CHECK(r, rig_log_has(r, "cage_not_enforced"), "the log says that it is off");
}

/* Root has no capability over files: what a stop could not write is refused at the start, before anything is taken. */
static void foreign_directory(struct rig *r)
{
    char path[128];
    char want[400];
    if (geteuid() != 0) {
        return;
    }
    rig_config_usual(r, "wake: sleep");
    (void)snprintf(path, sizeof path, "%s/rig", r->dir);
    (void)mkdir(path, 0755);
    CHECK(r, chown(path, usual_uid(), 0) == 0, "%s belongs to another user", path);
    (void)snprintf(want, sizeof want,
                   "weird: cannot write: path=%s: Permission denied: weird keeps no capability "
                   "over files: make the directory belong to the user that starts it (uid 0)\n",
                   path);
    refused(r, "wake: sleep", NULL, 1, want);
    CHECK(r, chown(path, 0, 0) == 0, "%s belongs to root again", path);
    rig_weird_start(r);
    one_call(r);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    CHECK(r, !rig_log_has(r, "limits_counted_as_spent"), "the refusal left nothing behind");
}

/* A root that must stay root has no capability either. */
static void root_stays(struct rig *r)
{
    if (geteuid() != 0) {
        return;
    }
    rig_config_usual(r, "wake: sleep, user: root");
    rig_weird_start(r);
    caged(r, "worker of root", rig_process(r, "weird-worker"), 0);
    supervisor(r, r->weird, false);
    one_call(r);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
}

/* ---------------------------------------------------------------------------------------------- not as root */

/* As nobody: weird runs, its worker keeps the user, another user is refused. */
static int as_nobody(struct rig *r, int arg)
{
    (void)arg;
    const struct passwd *nobody = getpwnam("nobody");
    if (nobody == NULL || setgroups(0, NULL) != 0 || setgid(nobody->pw_gid) != 0 ||
        setuid(nobody->pw_uid) != 0 || access(r->weird_path, X_OK) != 0) {
        return 77; /* the build tree is closed to others */
    }
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* else /proc/self is closed to ourselves */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    r->failures = r->checks = 0;
    r->weird = 0;
    refusals(r);
    rig_config_usual(r, "wake: sleep");
    rig_weird_start(r);
    caged(r, "worker of nobody", rig_process(r, "weird-worker"), nobody->pw_uid);
    supervisor(r, r->weird, false);
    one_call(r);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    if (r->failures > 0) {
        rig_log_show(r, "");
    }
    return r->failures == 0 ? 0 : 1;
}

static void not_as_root(struct rig *r)
{
    if (geteuid() != 0) {
        return; /* the rest was it */
    }
    struct rig other = *r;
    (void)snprintf(other.dir, sizeof other.dir, "%.40s/nobody", r->dir);
    (void)snprintf(other.conf, sizeof other.conf, "%s/weir.yaml", other.dir);
    (void)snprintf(other.log, sizeof other.log, "%s/weird.log", other.dir);
    CHECK(r, mkdir(other.dir, 0777) == 0 && chmod(other.dir, 0777) == 0 && chmod(r->dir, 0755) == 0,
          "a directory for nobody");
    int rc = rig_wait(rig_fork(&other, as_nobody, 0), 60000);
    CHECK(r, rc == 0 || rc == 77, "as nobody: %d", rc);
    if (rc == 77) {
        (void)printf("not tried as nobody: %s is closed to it\n", r->weird_path);
    }
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "cage", argc, argv, 80);
    rig_sim_start(&r, "{}");
    refusals(&r);
    rig_config_usual(&r, "wake: sleep, worker_memory: 128MiB");
    running(&r);
    off(&r);
    foreign_directory(&r);
    root_stays(&r);
    not_as_root(&r);
    return rig_close(&r);
}
