#include "broker/cage.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* their shadow memory is counted as data: a limit would end the program */
#else
#define SANITIZED 0
#endif

/* Of the parser: a file of 1 MiB, the events of it, libyaml's queue, and what the program has at its start. */
#define PARSER_DATA_BYTES (64U << 20)

/* The users that a worker of root becomes where nobody names one. */
static const char *const usual_user[] = {"weir", "nobody"};

/* ---------------------------------------------------------------------------------------------- who */

static bool user_find(struct cage_identity *identity, const char *name)
{
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return false;
    }
    identity->uid = user->pw_uid;
    identity->gid = user->pw_gid;
    (void)snprintf(identity->name, sizeof identity->name, "%s", name);
    return true;
}

int cage_identity_find(struct cage_identity *identity, const char *user, char *text,
                       size_t text_bytes)
{
    *identity = (struct cage_identity){.uid = geteuid(), .gid = getegid()};
    bool is_root = geteuid() == 0;
    if (user[0] == '\0') {
        for (size_t i = 0; is_root && i < WEIR_ARRAY_CNT(usual_user) && !identity->change; i++) {
            identity->change = user_find(identity, usual_user[i]);
        }
        if (is_root && !identity->change) {
            (void)snprintf(
                text, text_bytes,
                "broker.user is not set: there is neither a user weir nor nobody: make one "
                "(useradd --system weir) and name it in broker.user");
            return -1;
        }
        return 0;
    }
    if (!user_find(identity, user)) {
        (void)snprintf(
            text, text_bytes,
            "broker.user=%s: there is no such user: make it (useradd --system %s), or name "
            "another",
            user, user);
        return -1;
    }
    if (!is_root && identity->uid != geteuid()) {
        (void)snprintf(
            text, text_bytes,
            "broker.user=%s: only root can become another user, and weird runs as uid %u: "
            "start it as root or as %s, or leave broker.user out",
            user, (unsigned)geteuid(), user);
        return -1;
    }
    identity->change = is_root && identity->uid != 0;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- in */

/* Not even a program with file capabilities could give these back. Without CAP_SETPCAP the set cannot be made smaller: no new privileges does the same. */
static void bounding_set_drop(void)
{
    for (int cap = 0; cap <= CAP_LAST_CAP || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
}

static int identity_take(const struct cage_identity *identity)
{
    int parent_death = 0;
    (void)prctl(PR_GET_PDEATHSIG, &parent_death, 0, 0, 0); /* a change of user forgets it */
    bounding_set_drop();
    if (identity->change &&
        (setgroups(0, NULL) != 0 || setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
         setresuid(identity->uid, identity->uid, identity->uid) != 0)) {
        return -1;
    }
    cap_t none = cap_init();
    int rc = none != NULL ? cap_set_proc(none)
                          : -1; /* a root that stays root, and file capabilities of weird */
    int error = errno;
    (void)cap_free(none);
    (void)prctl(PR_SET_PDEATHSIG, parent_death, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    errno = error;
    return rc;
}

static void limit_set(int resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0) {
        return;
    }
    limit.rlim_max = limit.rlim_max < value ? limit.rlim_max : value;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit((__rlimit_resource_t)resource, &limit);
}

/* All that the parser may use: memory for the largest file, twenty times its time, no file, no process. */
static void parser_limit(void)
{
    const struct rlimit cpu = {.rlim_cur = 5, .rlim_max = 6}; /* SIGXCPU names it; SIGKILL behind */
    (void)setrlimit(RLIMIT_CPU, &cpu);
    limit_set(RLIMIT_NPROC, 0);
    limit_set(RLIMIT_FSIZE, 0);
    limit_set(RLIMIT_NOFILE, 0);
    if (!SANITIZED) {
        limit_set(RLIMIT_DATA, PARSER_DATA_BYTES);
    }
}

static int fail(const char *what, char *text, size_t text_bytes)
{
    int error = errno;
    (void)snprintf(text, text_bytes, "%s: %s", what, strerror(error));
    errno = error;
    return -1;
}

int cage_enter(const struct cage *cage, enum cage_who who, char *text, size_t text_bytes)
{
    if (cage->secrets != NULL && who == CAGE_RESOLVER) {
        secret_forget(cage->secrets);
    } else if (cage->secrets != NULL && secret_lock(cage->secrets, text, text_bytes) != 0) {
        return -1;
    }
    if (identity_take(&cage->identity) != 0) {
        return fail("cannot become the user of broker.user and drop the capabilities", text,
                    text_bytes);
    }
    if (who == CAGE_RESOLVER) {
        limit_set(
            RLIMIT_NPROC,
            0); /* the worker's ring has threads in the kernel, which count: there the filter says no */
    }
    if (who == CAGE_PARSER) {
        parser_limit();
    }
    if (who == CAGE_WORKER && cage->memory_max_bytes != 0 && !SANITIZED) {
        limit_set(RLIMIT_DATA, cage->memory_max_bytes);
    }
    bool core = cage->core && who == CAGE_WORKER;
    if (cage->hide || (cage->mode == CAGE_ENFORCE && !core)) {
        limit_set(RLIMIT_CORE, 0);
        cage_hide(); /* behind the change of user, which sets it anew */
    } else {
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* the change of user has hidden it */
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return fail("cannot give up new privileges", text, text_bytes);
    }
    if (cage_filter_install(cage->mode, who, cage->report) != 0) {
        return fail("cannot install the system-call filter (seccomp)", text, text_bytes);
    }
    return 0;
}

int cage_supervisor_enter(const struct cage *cage, char *text, size_t text_bytes)
{
    static const cap_value_t wanted[] = {CAP_IPC_LOCK, CAP_SETUID, CAP_SETGID, CAP_KILL};
    const size_t cnt = cage->identity.change ? WEIR_ARRAY_CNT(wanted) : 1;
    cap_t now = cap_get_proc();
    cap_t kept = cap_init();
    bool ok = now != NULL && kept != NULL;
    for (size_t i = 0; ok && i < cnt; i++) {
        cap_flag_value_t has = CAP_CLEAR;
        ok = cap_get_flag(now, wanted[i], CAP_PERMITTED, &has) == 0 &&
             cap_set_flag(kept, CAP_PERMITTED, 1, &wanted[i], has) == 0 &&
             cap_set_flag(kept, CAP_EFFECTIVE, 1, &wanted[i], has) == 0;
    }
    bounding_set_drop(); /* needs one that is not kept */
    ok = ok && cap_set_proc(kept) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    int error = errno;
    (void)cap_free(now);
    (void)cap_free(kept);
    errno = error;
    return ok ? 0 : fail("cannot give up the capabilities", text, text_bytes);
}

void cage_hide(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---------------------------------------------------------------------------------------------- the trial */

/* Go in, and say how it was: nothing, or the reason. */
static _Noreturn void try_in_child(const struct cage *cage, int out)
{
    char text[200] = "";
    if (cage_enter(cage, CAGE_WORKER, text, sizeof text) != 0) {
        (void)!write(out, text, strlen(text));
        _exit(1);
    }
    _exit(0);
}

int cage_open(struct cage *cage, char *text, size_t text_bytes)
{
    int out[2];
    int status = 0;
    char reason[200] = "";
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || pipe(out) != 0) {
        return fail("cannot make the cage", text, text_bytes);
    }
    cage->report = page;
    pid_t pid = fork();
    if (pid == 0) {
        try_in_child(cage, out[1]);
    }
    int error = errno;
    (void)close(out[1]);
    while (pid > 0 && read(out[0], reason, sizeof reason - 1) < 0 && errno == EINTR) {
    }
    (void)close(out[0]);
    if (pid < 0) {
        errno = error;
        return fail("cannot start a process", text, text_bytes);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    if (strncmp(reason, "cannot lock", 11) == 0) {
        (void)snprintf(text, text_bytes, "%s", reason); /* it has its own next step */
        return -1;
    }
    (void)snprintf(
        text, text_bytes,
        "%s: a container or an old kernel forbids it: allow it, or find out with --cage=off "
        "(broker.user=%s)",
        reason[0] != '\0' ? reason : "the cage ends whoever enters it", cage->identity.name);
    return -1;
}

/* ---------------------------------------------------------------------------------------------- names */

static const char *const mode_name[] = {"enforce", "log", "off"};

bool cage_mode_read(const char *text, enum cage_mode *mode)
{
    for (size_t i = 0; i < WEIR_ARRAY_CNT(mode_name); i++) {
        if (strcmp(text, mode_name[i]) == 0) {
            *mode = (enum cage_mode)i;
            return true;
        }
    }
    return false;
}

const char *cage_mode_name(enum cage_mode mode)
{
    return mode_name[mode];
}
