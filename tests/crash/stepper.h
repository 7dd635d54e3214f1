/*
 * stepper.h: runs a function in a child, so many instructions far by ptrace, and kills it there.
 *
 * To kill anew for each instruction costs the square of their number. A child that stands between two instructions has left in shared memory exactly
 * what its death there would leave; so stepper_walk lets one child stand at each instruction, and the tests kill in truth at some of them besides.
 *
 * Under valgrind (WEIR_UNDER) an instruction of the machine is one of valgrind's own, and a call has millions. There a step is a nap: the child runs for so long and is
 * stopped, wherever it is by then. What memcheck looks at is the code before and behind a death; which instants there are is the plain run's matter. Two runs are never alike
 * then, and a child may end before the instant that another one reached.
 */
#ifndef WEIR_TESTS_STEPPER_H
#define WEIR_TESTS_STEPPER_H

#define STEPPER_NAP_US 5U

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void stepper_broken(const char *what)
{
    fprintf(stderr, "broken harness: %s: %s\n", what, strerror(errno));
    exit(99);
}

/* Called by the child just before what is stepped: stops it. */
static inline void stepper_ready(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(77);
    }
    raise(SIGSTOP);
}

/* A child that runs `body`, which calls stepper_ready; it stands there. Ends the program with 77 where ptrace is forbidden. */
static inline pid_t stepper_start(void (*body)(void))
{
    pid_t pid = fork();
    if (pid < 0) {
        stepper_broken("fork");
    }
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) {
        stepper_broken("waitpid");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("skipped: ptrace is forbidden here\n");
        exit(77);
    }
    return pid;
}

/* Are steps naps? */
static inline bool stepper_naps(void)
{
    return getenv("WEIR_UNDER") != NULL;
}

/* `k` instructions further. False: it has ended. */
static inline bool stepper_step(pid_t pid, uint32_t k)
{
    int status = 0;
    if (stepper_naps() && k > 0) {
        if (ptrace(PTRACE_CONT, pid, NULL, NULL) != 0) {
            stepper_broken("go on");
        }
        (void)usleep(k * STEPPER_NAP_US);
        (void)kill(pid, SIGSTOP); /* or it has ended, and waits for us */
        if (waitpid(pid, &status, 0) != pid) {
            stepper_broken("nap");
        }
        return WIFSTOPPED(status);
    }
    for (uint32_t i = 0; i < k; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid) {
            stepper_broken("single step");
        }
        if (!WIFSTOPPED(status)) {
            return false;
        }
    }
    return true;
}

static inline void stepper_end(pid_t pid)
{
    if (kill(pid, SIGKILL) == 0) {
        (void)waitpid(pid, NULL, 0);
    }
}

/* `k` instructions of it, then its death. */
static inline void stepper_kill(pid_t pid, uint32_t k)
{
    if (stepper_step(pid, k)) {
        stepper_end(pid);
    }
}

/*
 * A child that stands behind instruction `k` goes on to its end and stands at every `step`-th instruction: `look(k)` says whether that was the last. What it does to
 * the `bytes` at `memory` is undone. Returns the k of the last look.
 */
static inline uint32_t stepper_walk_on(pid_t pid, uint32_t k, uint32_t step,
                                       bool (*look)(uint32_t k), void *memory, size_t bytes)
{
    void *saved = malloc(bytes);
    bool alive = true;
    for (bool last = false; !last; k += last ? 0 : step) {
        memcpy(saved, memory, bytes);
        last = look(k);
        memcpy(memory, saved, bytes);
        if (!last) {
            bool was_alive = alive;
            alive = was_alive && stepper_step(pid, step);
            if (!alive && (!was_alive || !stepper_naps())) {
                stepper_broken("the call does not end");
            }
        }
    }
    if (alive) {
        stepper_end(pid);
    }
    free(saved);
    return k;
}

/* The same from the beginning, with a child of `body`. */
static inline uint32_t stepper_walk(void (*body)(void), uint32_t step, bool (*look)(uint32_t k),
                                    void *memory, size_t bytes)
{
    return stepper_walk_on(stepper_start(body), 0, step, look, memory, bytes);
}

#endif
