/*
 * verdicts.c: how tests of this folder end: what is a broken promise and what is not, whoever finds it and however the test ends; and which scenes are played again (rig.h, scene.h).
 * Oracle: the exit status and the words of a test that is played here, in a process of its own.
 */
#include "scene.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char **paths;

static int all_well(struct rig *r)
{
    CHECK(r, true);
    PROMISE_INT(r, 0, 0);
    return rig_close(r);
}

static int check_fails(struct rig *r)
{
    CHECK_INT(r, 1, 2);
    return rig_close(r);
}

static int promise_fails(struct rig *r)
{
    PROMISE(r, false, "kept");
    return rig_close(r);
}

static int count_is_wrong(struct rig *r)
{
    PROMISE_INT(r, 1, 0);
    return rig_close(r);
}

static int count_not_read(struct rig *r)
{
    PROMISE_INT(r, -1, 0);
    return rig_close(r);
}

static int strategy(struct rig *r, int arg)
{
    (void)arg;
    PROMISE(r, false, "in a strategy");
    return 0;
}

static int strategy_breaks_it(struct rig *r)
{
    CHECK_INT(r, rig_wait(rig_fork(r, strategy, 0), 30000), 0);
    return rig_close(r);
}

/* The broker's log is all that is left of what its processes said. */
static void log_write(const struct rig *r, const char *text)
{
    FILE *f = fopen(r->log, "ae");
    if (f != NULL) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

static int sanitizer_speaks(struct rig *r)
{
    log_write(r, "==7==ERROR: AddressSanitizer: heap-use-after-free\n");
    return rig_close(r);
}

static int cannot_go_on(struct rig *r)
{
    CHECK(r, false);
    rig_exit(1);
}

static int cannot_go_on_broken(struct rig *r)
{
    log_write(r, "weird.c:1:2: runtime error: signed integer overflow\n");
    rig_exit(1);
}

static int takes_too_long(struct rig *r)
{
    (void)r;
    (void)alarm(1);
    rig_sleep_ms(60000);
    return 0;
}

static int takes_too_long_broken(struct rig *r)
{
    PROMISE(r, false, "before");
    return takes_too_long(r);
}

static int told_to_end_broken(struct rig *r)
{
    PROMISE(r, false, "before");
    (void)kill(getpid(), SIGTERM);
    rig_sleep_ms(60000);
    return 0;
}

/* Nobody stands in line for hours. */
static int scene_not_late(struct rig *r)
{
    RIG_SCENE (r, 10000000) {
        CHECK(r, false, "played");
    }
    return rig_close(r);
}

static int spin(struct rig *r, int arg)
{
    (void)arg;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
    }
    return 0;
}

/* Two of this rig want one core: one of them is late. */
static int scene_late(struct rig *r, bool promise)
{
    pid_t pid[2];
    unsigned played = 0;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    for (unsigned i = 0; i < 2; i++) {
        pid[i] = rig_fork(r, spin, 0);
        CHECK_INT(r, sched_setaffinity(pid[i], sizeof one, &one), 0);
    }
    RIG_SCENE (r, 50) {
        played++;
        rig_sleep_ms(500);
        CHECK(r, played == 3, "played");
        if (promise && played == 2) {
            PROMISE(r, false, "of the scene");
        }
    }
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_INT(r, rig_wait(pid[i], 30000), 0);
    }
    return rig_close(r);
}

static int scene_late_then_well(struct rig *r)
{
    return scene_late(r, false);
}

static int scene_late_and_broken(struct rig *r)
{
    return scene_late(r, true);
}

static const struct {
    const char *name;
    int (*run)(struct rig *r);
    int status;
    const char *says;
    unsigned times;
} rows[] = {
    {"all well", all_well, 0, "3 checks, 0 failed\n", 1},
    {"a check fails", check_fails, 1, "FAILED verdicts.c:", 1},
    {"a promise is broken", promise_fails, WEIR_PROMISE_EXIT, WEIR_PROMISE_MARK " verdicts.c:", 1},
    {"a count that must be 0", count_is_wrong, WEIR_PROMISE_EXIT, "1 = 1, wanted 0\n", 1},
    {"a count that was not read", count_not_read, 1, "FAILED verdicts.c:", 1},
    {"in a strategy", strategy_breaks_it, WEIR_PROMISE_EXIT, "in a strategy\n", 1},
    {"a sanitizer", sanitizer_speaks, WEIR_PROMISE_EXIT, "a sanitizer spoke in the broker\n", 1},
    {"cannot go on", cannot_go_on, 1, "FAILED", 1},
    {"cannot go on, a sanitizer", cannot_go_on_broken, WEIR_PROMISE_EXIT, "oracle", 1},
    {"too long", takes_too_long, 1, "took too long\n", 1},
    {"too long, broken", takes_too_long_broken, WEIR_PROMISE_EXIT, WEIR_PROMISE_MARK, 1},
    {"told to end, broken", told_to_end_broken, WEIR_PROMISE_EXIT, WEIR_PROMISE_MARK, 1},
    {"a scene fails in time", scene_not_late, 1, ": played\n", 1},
    {"a scene is late twice", scene_late_then_well, 0, "played again: ", 2},
    {"late, and broken", scene_late_and_broken, WEIR_PROMISE_EXIT, "played again: ", 1},
};

static unsigned times_in(const char *text, const char *what)
{
    unsigned cnt = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what)) {
        cnt++;
    }
    return cnt;
}

static void play(struct rig *r, size_t row)
{
    static char said[65536];
    char *dir = (char *)r->shared->order; /* memory that both see */
    int out[2];
    CHECK(r, pipe2(out, O_CLOEXEC) == 0);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        static struct rig inner;
        char *argv[] = {paths[0], paths[1], paths[2], NULL};
        (void)dup2(out[1], STDOUT_FILENO);
        rig_open(&inner, "inner", 3, argv, 60);
        memcpy(dir, inner.dir, sizeof inner.dir);
        exit(rows[row].run(&inner));
    }
    (void)close(out[1]);
    size_t n = 0;
    ssize_t got;
    while ((got = read(out[0], said + n, sizeof said - 1 - n)) > 0) {
        n += (size_t)got;
    }
    said[n] = '\0';
    (void)close(out[0]);
    int status = rig_wait(pid, 30000);
    char log[128];
    (void)snprintf(log, sizeof log, "%.64s/weird.log", dir);
    (void)unlink(log); /* who could not go on left it */
    (void)rmdir(dir);
    rig_check(r, status == rows[row].status && times_in(said, rows[row].says) == rows[row].times,
              __FILE__, __LINE__, "%s: status %d, wanted %d", rows[row].name, status,
              rows[row].status);
    if (r->failures > 0) { /* not as it stands: those words would be this test's own */
        for (char *at = said; (at = strstr(at, WEIR_PROMISE_MARK)) != NULL;) {
            at[0] = 'b';
        }
        (void)printf("%s\n", said);
    }
}

int main(int argc, char **argv)
{
    static struct rig r;
    paths = argv;
    rig_open(&r, "verdicts", argc, argv, 110);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        play(&r, i);
    }
    return rig_close(&r);
}
