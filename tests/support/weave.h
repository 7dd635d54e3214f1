/*
 * weave.h: hold another process at a named instant of its code (WEIR_WEAVE), in a build with -Dweave=true.
 *
 * One page is shared by a test and everything it starts. The test names an instant and a process; whoever that is stands still there, in a loop without a
 * system call, until the test lets it go, or kills it. So a kill, a stop and a delay at an instruction are the same thing up to the last step, and
 * while somebody stands there the test can look whether the others go on.
 *
 *   writers  the test: all but `held` and `seen`; the process that is held: `held`; the one that is watched: `seen`
 *   dies     held stays 1 until the next weave_hold; nobody waits for it but the test, which has a time-out
 */
#ifndef WEIR_TESTS_SUPPORT_WEAVE_H
#define WEIR_TESTS_SUPPORT_WEAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WEAVE_NAMES_MAX  256
#define WEAVE_NAME_BYTES 40

/* The environment names the file of the page; whatever was built with the hooks maps it when it starts. */
#define WEAVE_ENV "WEIR_WEAVE_PAGE"

struct weave_seen {
    char name[WEAVE_NAME_BYTES];
    uint32_t hits;
};

struct weave_page {
    uint32_t target; /* pid that will be held at `name`; 0: nobody */
    uint32_t after;  /* so often it passes before */
    uint32_t held;   /* it stands there */
    uint32_t go;     /* go on */
    char name[WEAVE_NAME_BYTES];
    uint32_t watch; /* pid whose instants are counted in `seen`; 0: nobody's */
    uint32_t seen_cnt;
    struct weave_seen seen[WEAVE_NAMES_MAX];
};

/* Make the page at `path`, map it, and name it in the environment of what is started from now on. NULL: errno says why. */
struct weave_page *weave_open(const char *path);

/* Count the instants of one process for a while into `seen`. */
void weave_watch(struct weave_page *page, pid_t pid, unsigned ms);

/* Hold `pid` at `name`, after it passed it `after` times. False: it did not come there within `limit_ms`; it is not held any more. */
bool weave_hold(struct weave_page *page, pid_t pid, const char *name, uint32_t after,
                unsigned limit_ms);

/* Whoever is held goes on. */
void weave_go(struct weave_page *page);

/* The names that this program has, in the order of the linker, each once or more. */
uint32_t weave_names(const char *const **names);

#endif
