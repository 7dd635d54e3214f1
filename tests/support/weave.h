/*
 * weave.h: hold another process at a named instant of its code (WEIR_WEAVE), in a build with -Dweave=true.
 *
 * One page is shared by a test and everything it starts. The test names an instant and a process; whoever that is stands still there, in a loop without a
 * system call, until the test lets it go, or kills it. So a kill, a stop and a delay at an instruction are the same thing up to the last step, and
 * while somebody stands there the test can look whether the others go on.
 *
 *   writers  the test: all but `held`, `seen` and `known`; the process that is held: `held`; those that are watched: each its own `seen`; each program, when it
 *            starts: its names into `known`
 *   dies     held stays until the next weave_arm; nobody waits for it but the test, which has a time-out
 */
#ifndef WEIR_TESTS_SUPPORT_WEAVE_H
#define WEIR_TESTS_SUPPORT_WEAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WEAVE_NAMES_MAX  256
#define WEAVE_NAME_BYTES 40
#define WEAVE_KNOWN_MAX  (4 * WEAVE_NAMES_MAX)

/* The environment names the file of the page; whatever was built with the hooks maps it when it starts. */
#define WEAVE_ENV "WEIR_WEAVE_PAGE"

/* In place of a pid: whoever comes first, but the test itself. For who is not born yet. */
#define WEAVE_ANYBODY UINT32_MAX

#define WEAVE_WATCHED 3

struct weave_seen {
    char name[WEAVE_NAME_BYTES];
    uint32_t hits;
};

struct weave_watch {
    uint32_t pid; /* whose instants are counted; 0: nobody's */
    uint32_t seen_cnt;
    struct weave_seen seen[WEAVE_NAMES_MAX];
};

struct weave_page {
    uint32_t test;   /* pid of the test */
    uint32_t target; /* pid that will be held at `name`, or WEAVE_ANYBODY; 0: nobody */
    uint32_t after;  /* so often it passes before */
    uint32_t held;   /* pid of who stands there */
    uint32_t go;     /* go on */
    char name[WEAVE_NAME_BYTES];
    uint32_t known_cnt; /* names that the programs which mapped the page have, some twice */
    char known[WEAVE_KNOWN_MAX][WEAVE_NAME_BYTES];
    struct weave_watch watch[WEAVE_WATCHED];
};

/* Make the page at `path`, map it, and name it in the environment of what is started from now on. NULL: errno says why. */
struct weave_page *weave_open(const char *path);

/* Count the instants of one process into `watch[which].seen`, from zero; `pid` 0 ends it. */
void weave_watch(struct weave_page *page, unsigned which, pid_t pid);

/* Whoever is `pid` (or WEAVE_ANYBODY) is to stop at `name`, after it passed it `after` times. */
void weave_arm(struct weave_page *page, uint32_t pid, const char *name, uint32_t after);

/* Wait until it stands there: its pid. 0: it did not come within `limit_ms`; nobody is held any more. */
pid_t weave_await(struct weave_page *page, unsigned limit_ms);

/* Both. */
pid_t weave_hold(struct weave_page *page, pid_t pid, const char *name, uint32_t after,
                 unsigned limit_ms);

/* Whoever is held goes on. */
void weave_go(struct weave_page *page);

/* All names of the programs that were started with this page, and of the test: each once. Returns how many; UINT32_MAX: there were too many for the page. */
uint32_t weave_known(const struct weave_page *page, const char *names[WEAVE_NAMES_MAX]);

#endif
