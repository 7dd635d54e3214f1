#include "broker/parser.h"

#include "broker/config/config_events.h"
#include "shm/weir_clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child could not go into its cage: what it wrote is the reason. */
#define STATUS_REASON 3

/* ---------------------------------------------------------------------------------------------- the child */

static void environment_wipe(void)
{
    for (char **v = environ; v != NULL && *v != NULL; v++) {
        explicit_bzero(*v, strlen(*v));
    }
}

static bool write_all(int fd, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* A system that has no other user, or lets nobody become one, is left the filter and a root without capabilities. */
static int go_in(struct cage *cage, char *text, size_t text_bytes)
{
    if (cage_enter(cage, CAGE_PARSER, text, text_bytes) == 0) {
        return 0;
    }
    if (!cage->identity.change) {
        return -1;
    }
    cage->identity.change = false;
    return cage_enter(cage, CAGE_PARSER, text, text_bytes);
}

static _Noreturn void child(const struct parser *p, struct cage *cage, int fd, const char *buf,
                            size_t bytes, char *out, size_t room)
{
    char text[200] = "";
    (void)prctl(PR_SET_NAME, "weird-parser");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd > 0) {
        (void)close_range(0, (unsigned)fd - 1, 0); /* stderr too: what it says goes by the pipe */
    }
    (void)close_range((unsigned)fd + 1, UINT_MAX, 0);
    environment_wipe();
    if (p->forget != NULL) {
        p->forget(p->forget_arg);
    }
    weir_config_free(p->loaded);
    if (go_in(cage, text, sizeof text) != 0) {
        (void)write_all(fd, text, strlen(text));
        _exit(STATUS_REASON);
    }
    size_t n =
        weir_config_yaml_events(buf, bytes, out, room); /* `out` is our copy of the parent's */
    _exit(write_all(fd, out, n) ? 0 : 1);
}

/* ---------------------------------------------------------------------------------------------- the parent */

static int ms_until(uint64_t at_ns)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    return now_ns >= at_ns ? 0 : (int)((at_ns - now_ns) / WEIR_NS_PER_MS + 1);
}

enum heard { HEARD_ALL, HEARD_TOO_MUCH, HEARD_TOO_LATE, HEARD_ERROR };

static enum heard hear(int fd, char *out, size_t room, uint64_t end_ns, size_t *bytes)
{
    *bytes = 0;
    for (;;) {
        char more;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, ms_until(end_ns));
        if (ready == 0) {
            return HEARD_TOO_LATE;
        }
        bool full = *bytes == room; /* then only the end may come */
        ssize_t n =
            ready > 0 ? read(fd, full ? &more : out + *bytes, full ? 1 : room - *bytes) : -1;
        if (n == 0) {
            return HEARD_ALL;
        }
        if (n < 0 && errno != EINTR) {
            return HEARD_ERROR;
        }
        if (n > 0 && full) {
            return HEARD_TOO_MUCH;
        }
        *bytes += n > 0 ? (size_t)n : 0;
    }
}

/* Has it ended by then? Its status; -1: no, and it was killed. Somebody who ignores SIGCHLD is told nothing by the kernel: 0. */
static int end_wait(pid_t pid, uint64_t end_ns)
{
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && ms_until(end_ns) > 0) {
        (void)usleep(200);
    }
    if (got != 0) {
        return status;
    }
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return -1;
}

static ssize_t say_end(int status, const char *out, size_t bytes, char *why, size_t why_bytes)
{
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (signal == SIGSYS) {
        (void)snprintf(why, why_bytes,
                       "the parser made a system call that it never needs, and was ended before it "
                       "was done: this file broke into it, or it is a bug of weir: report it. "
                       "--cage=log has the kernel's log name the call");
    } else if (signal == SIGXCPU) {
        (void)snprintf(why, why_bytes,
                       "the parser used up its processor time: write the file more plainly");
    } else if (signal != 0) {
        (void)snprintf(why, why_bytes,
                       "the parser was ended by signal %d (%s): this file broke it: report it",
                       signal, strsignal(signal));
    } else if (WEXITSTATUS(status) == STATUS_REASON) {
        (void)snprintf(why, why_bytes,
                       "the parser's cage cannot be had: %.*s: a container or an old kernel "
                       "forbids it: allow it, or find out with --cage=off",
                       (int)weir_min_u64(bytes, 200), out);
    } else {
        (void)snprintf(why, why_bytes, "the parser ended with status %d: try again",
                       WEXITSTATUS(status));
    }
    return -1;
}

ssize_t parser_hear(pid_t pid, int fd, char *out, size_t room, uint64_t max_ns, char *why,
                    size_t why_bytes)
{
    uint64_t end_ns = weir_clock_monotonic_ns() + max_ns;
    size_t bytes;
    enum heard heard = hear(fd, out, room, end_ns, &bytes);
    int error = errno;
    (void)close(fd);
    int status = end_wait(pid, heard == HEARD_ALL ? end_ns : 0);
    if (heard == HEARD_TOO_MUCH) {
        (void)snprintf(why, why_bytes,
                       "the parser's answer is forged: more than this file can say: this file "
                       "broke into it, or it is a bug of weir: report it");
    } else if (heard == HEARD_ERROR) {
        (void)snprintf(why, why_bytes, "the parser's answer cannot be read: %s: try again",
                       strerror(error));
    } else if (heard == HEARD_TOO_LATE || status < 0) {
        (void)snprintf(why, why_bytes,
                       "the parser was not done after %llu s, and was killed: write the file more "
                       "plainly, or try again when this machine has time",
                       (unsigned long long)(max_ns / WEIR_NS_PER_S));
    } else if (status != 0) {
        return say_end(status, out, bytes, why, why_bytes);
    } else {
        return (ssize_t)bytes;
    }
    return -1;
}

pid_t parser_start(const struct parser *p, const char *buf, size_t bytes, char *out, size_t room,
                   int *fd, char *why, size_t why_bytes)
{
    struct cage cage = {.mode = p->mode, .hide = true};
    char text[200];
    int ends[2];
    /* broker.user is not known yet: the user that is taken where nobody names one. Without any the child stays who it is. */
    (void)cage_identity_find(&cage.identity, "", text, sizeof text);
    if (pipe(ends) != 0) {
        (void)snprintf(why, why_bytes, "cannot make a pipe to the parser: %s: raise ulimit -n",
                       strerror(errno));
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        child(p, &cage, ends[1], buf, bytes, out, room);
    }
    if (pid < 0) {
        (void)snprintf(why, why_bytes,
                       "cannot start a process for the parser: %s: raise ulimit -u or TasksMax=",
                       strerror(errno));
        (void)close(ends[0]);
    }
    (void)close(ends[1]);
    *fd = ends[0];
    return pid;
}

ssize_t parser_run(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                   size_t why_bytes)
{
    int fd;
    pid_t pid = parser_start(arg, buf, bytes, out, room, &fd, why, why_bytes);
    return pid > 0 ? parser_hear(pid, fd, out, room, PARSER_MAX_NS, why, why_bytes) : -1;
}
