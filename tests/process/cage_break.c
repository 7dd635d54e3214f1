/*
 * cage_break.c: somebody broke in. From inside the cage each way out is tried, by code that is linked with the cage and is no part of weird.
 *
 * Oracle: the kernel. The worker that tries ends by SIGSYS before the call was made, and the report names the call; so does the parser, without a report; the resolver is told
 * EPERM; the ring answers EACCES. What is needed every day still works.
 *
 * cage_break (no arguments). Exit status 77: this machine has no io_uring or no seccomp.
 */
#include "broker/cage.h"
#include "broker/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FINE = 0, WRONG = 1, REFUSED = 40 };

static struct cage cage;
static struct loop loop; /* of the child: opened before the cage, as the worker does */
static int pair[2];
static unsigned checks, failures;

static int told(long rc)
{
    return rc < 0 && errno == EPERM ? REFUSED : rc < 0 ? WRONG : FINE;
}

/* ---------------------------------------------------------------------------------------------- ways out */

static int try_execve(void)
{
    char *const argv[] = {(char *)(uintptr_t) "sh", NULL};
    return told(execve("/bin/sh", argv, NULL));
}
static int try_open(void)
{
    return told(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}
static int try_open_write(void)
{
    return told(open("/tmp/weir-cage-break", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}
static int try_openat2(void)
{
    return told(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0));
}
static int try_fork(void)
{
    return told(fork());
}
static int try_clone3(void)
{
    return told(syscall(SYS_clone3, NULL, 0));
}
static int try_ptrace(void)
{
    return told(ptrace(PTRACE_ATTACH, 1, NULL, NULL));
}
static int try_vm_read(void)
{
    return told(process_vm_readv(1, NULL, 0, NULL, 0, 0));
}
static int try_pidfd_getfd(void)
{
    return told(syscall(SYS_pidfd_getfd, 0, 0, 0));
}
static int try_unix(void)
{
    return told(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static int try_internet(void)
{
    return told(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static int try_read(void)
{
    char byte;
    return told(read(pair[0], &byte, 1));
}
static int try_dup(void)
{
    return told(dup(pair[0]));
}
static int try_netlink(void)
{
    return told(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}
static int try_packet(void)
{
    return told(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}
static int try_listen(void)
{
    return told(listen(pair[0], 1));
}
static int try_executable(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return told(page == MAP_FAILED ? -1 : 0);
}
static int try_make_executable(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    return told(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}
static int try_kill(void)
{
    return told(kill(1, 0));
}
static int try_signal_other(void)
{
    return told(syscall(SYS_tgkill, 1, 1, SIGTERM));
}
static int try_setuid(void)
{
    return told(setuid(0));
}
static int try_dumpable(void)
{
    return told(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int try_memfd(void)
{
    return told(memfd_create("x", 0));
}
static int try_unlink(void)
{
    return told(unlink("/tmp/weir-cage-break"));
}
static int try_bpf(void)
{
    return told(syscall(SYS_bpf, 0, NULL, 0));
}
static int try_namespace(void)
{
    return told(unshare(CLONE_NEWUSER));
}
static int try_limits(void)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    return told(setrlimit(RLIMIT_CORE, &all));
}
static int try_new_ring(void)
{
    struct io_uring_params p = {0};
    return told(syscall(SYS_io_uring_setup, 8, &p));
}
static int try_ring_register(void)
{
    return told(syscall(SYS_io_uring_register, loop.ring.ring_fd, IORING_REGISTER_PROBE, NULL, 0));
}
static int try_other_abi(void)
{
    /* The 32-bit entry has other numbers: 11 is execve there. The kernel ends the process, without a handler. */
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(11L), "b"(0L), "c"(0L), "d"(0L) : "memory");
    return rc == -ENOSYS ? 77 : WRONG;
}

static const struct attempt {
    const char *name; /* of the call, as the report must say */
    int (*run)(void);
    enum cage_who who;
} attempts[] = {
    {"execve", try_execve, CAGE_WORKER},
    {"openat", try_open, CAGE_WORKER},
    {"openat", try_open_write, CAGE_WORKER},
    {"openat2", try_openat2, CAGE_WORKER},
    {"clone", try_fork, CAGE_WORKER},
    {"clone3", try_clone3, CAGE_WORKER},
    {"ptrace", try_ptrace, CAGE_WORKER},
    {"process_vm_readv", try_vm_read, CAGE_WORKER},
    {"pidfd_getfd", try_pidfd_getfd, CAGE_WORKER},
    {"socket", try_unix, CAGE_WORKER},
    {"socket", try_netlink, CAGE_WORKER},
    {"socket", try_packet, CAGE_WORKER},
    {"listen", try_listen, CAGE_WORKER},
    {"mmap", try_executable, CAGE_WORKER},
    {"mprotect", try_make_executable, CAGE_WORKER},
    {"tgkill", try_signal_other, CAGE_WORKER},
    {"setuid", try_setuid, CAGE_WORKER},
    {"prctl", try_dumpable, CAGE_WORKER},
    {"memfd_create", try_memfd, CAGE_WORKER},
    {"unlink", try_unlink, CAGE_WORKER},
    {"bpf", try_bpf, CAGE_WORKER},
    {"unshare", try_namespace, CAGE_WORKER},
    {"prlimit64", try_limits, CAGE_WORKER},
    {"io_uring_setup", try_new_ring, CAGE_WORKER},
    {"io_uring_register", try_ring_register, CAGE_WORKER},
    {"execve", try_execve, CAGE_RESOLVER},
    {"openat", try_open_write, CAGE_RESOLVER},
    {"clone", try_fork, CAGE_RESOLVER},
    {"ptrace", try_ptrace, CAGE_RESOLVER},
    {"socket", try_packet, CAGE_RESOLVER},
    {"kill", try_kill, CAGE_RESOLVER},
    {"setuid", try_setuid, CAGE_RESOLVER},
    {"memfd_create", try_memfd, CAGE_RESOLVER},
    {"io_uring_setup", try_new_ring, CAGE_RESOLVER},
    {"execve", try_execve, CAGE_PARSER},
    {"openat", try_open, CAGE_PARSER},
    {"openat", try_open_write, CAGE_PARSER},
    {"clone", try_fork, CAGE_PARSER},
    {"ptrace", try_ptrace, CAGE_PARSER},
    {"process_vm_readv", try_vm_read, CAGE_PARSER},
    {"socket", try_unix, CAGE_PARSER},
    {"socket", try_internet, CAGE_PARSER},
    {"mmap", try_executable, CAGE_PARSER},
    {"mprotect", try_make_executable, CAGE_PARSER},
    {"kill", try_kill, CAGE_PARSER},
    {"setuid", try_setuid, CAGE_PARSER},
    {"prlimit64", try_limits, CAGE_PARSER},
    {"prctl", try_dumpable, CAGE_PARSER},
    {"memfd_create", try_memfd, CAGE_PARSER},
    {"read", try_read, CAGE_PARSER},
    {"dup", try_dup, CAGE_PARSER},
};

/* ---------------------------------------------------------------------------------------------- the harness */

static void check(bool good, const char *who, const char *what, const char *found)
{
    checks++;
    if (!good) {
        failures++;
        (void)printf("FAILED: %s: %s: %s\n", who, what, found);
    }
}

/* Run `act` inside the cage; the wait status. */
static int inside(enum cage_who who, int (*act)(void))
{
    int status = 0;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char text[256] = "";
        (void)alarm(20);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
            loop_open(&loop, 8, text, sizeof text) != 0 ||
            cage_enter(&cage, who, text, sizeof text) != 0) {
            (void)dprintf(STDOUT_FILENO, "no cage here: %s\n", text);
            _exit(77);
        }
        _exit(act());
    }
    (void)waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        (void)printf("skipped: no io_uring or no seccomp\n");
        exit(77);
    }
    return status;
}

static void outcome(char out[96], int status, const char *call)
{
    (void)snprintf(out, 96, "ended by signal %d, status %d, report: %s",
                   WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                   WIFEXITED(status) ? WEXITSTATUS(status) : -1, call != NULL ? call : "none");
}

static bool sanitizer_needs(const char *call)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return strcmp(call, "openat") == 0 || strcmp(call, "prctl") == 0;
#else
    (void)call;
    return false;
#endif
}

static void ways_out(void)
{
    for (size_t i = 0; i < WEIR_ARRAY_CNT(attempts); i++) {
        const struct attempt *a = &attempts[i];
        bool worker = a->who == CAGE_WORKER;
        char name[32];
        char found[96];
        uint64_t at = 0;
        if (worker && sanitizer_needs(a->name)) {
            continue; /* this build's runtime may: see cage_calls.def */
        }
        int status = inside(a->who, a->run);
        const char *call = cage_report_take(&cage, name, sizeof name, &at);
        outcome(found, status, call);
        if (worker) {
            check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && call != NULL &&
                      strcmp(call, a->name) == 0 && at != 0,
                  "worker", a->name, found);
        } else if (a->who == CAGE_PARSER) {
            check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && call == NULL, "parser",
                  a->name, found);
        } else {
            check(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED && call == NULL, "resolver",
                  a->name, found);
        }
    }
    char found[96];
    int status = inside(CAGE_WORKER, try_other_abi);
    outcome(found, status, NULL);
    check((WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) ||
              (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV), /* a kernel without the entry */
          "worker", "execve by the 32-bit entry", found);
}

/* ---------------------------------------------------------------------------------------------- the ring */

static int submit(unsigned operation, int fd, const void *at, unsigned bytes, unsigned sqe_flags)
{
    struct io_uring_cqe *cqe = NULL;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop.ring);
    io_uring_prep_rw((int)operation, sqe, fd, at, bytes, 0);
    sqe->flags = (uint8_t)sqe_flags;
    if (io_uring_submit_and_wait(&loop.ring, 1) < 0 || io_uring_peek_cqe(&loop.ring, &cqe) != 0) {
        return 1;
    }
    int result = cqe->res;
    io_uring_cqe_seen(&loop.ring, cqe);
    return result;
}

/* stdio asks where the file stands, which the cage does not know. */
static void say_number(const char *what, unsigned which, int result)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s %u: %d\n", what, which, result);
    (void)!write(STDOUT_FILENO, text, (size_t)n);
}

static int ring_refuses(void)
{
    static const uint8_t operation[] = {
        IORING_OP_OPENAT,
        IORING_OP_OPENAT2,
        IORING_OP_CONNECT,
        IORING_OP_SOCKET,
        IORING_OP_ACCEPT,
        IORING_OP_SENDMSG,
        IORING_OP_RECVMSG,
        IORING_OP_SEND,
        IORING_OP_RECV,
        IORING_OP_READ,
        IORING_OP_READV,
        IORING_OP_WRITEV,
        IORING_OP_UNLINKAT,
        IORING_OP_RENAMEAT,
        IORING_OP_LINKAT,
        IORING_OP_MKDIRAT,
        IORING_OP_STATX,
        IORING_OP_SPLICE,
        IORING_OP_CLOSE,
        IORING_OP_FILES_UPDATE,
        IORING_OP_FALLOCATE,
        IORING_OP_EPOLL_CTL,
        IORING_OP_MSG_RING,
        IORING_OP_URING_CMD,
        IORING_OP_GETXATTR,
        IORING_OP_SETXATTR,
        IORING_OP_FADVISE,
        IORING_OP_MADVISE,
        IORING_OP_PROVIDE_BUFFERS,
        IORING_OP_NOP,
        IORING_OP_TIMEOUT,
        IORING_OP_SEND_ZC,
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(operation); i++) {
        int result = submit(operation[i], AT_FDCWD, "/etc/passwd", 0, 0);
        if (result != -EACCES) {
            say_number("operation", operation[i], result);
            return WRONG;
        }
    }
    return FINE;
}

/* The operations of every day, with flags that are not of every day. */
static int ring_flags(void)
{
    const unsigned flags[] = {IOSQE_FIXED_FILE, IOSQE_ASYNC, IOSQE_IO_DRAIN};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(flags); i++) {
        int result = submit(IORING_OP_WRITE, pair[0], "x", 1, flags[i]);
        if (result != -EACCES) {
            say_number("flags", flags[i], result);
            return WRONG;
        }
    }
    return FINE;
}

/* As the journal: a file that was opened before, written and synced by the ring. */
static int journal;
static int journal_writes(void)
{
    struct loop_event event;
    unsigned ended = 0;
    loop_write_sync(&loop, 5, journal, "0123456789", 10, 0);
    for (int i = 0; i < 10 && ended < 2; i++) {
        loop_wait(&loop, WEIR_NS_PER_S);
        while (loop_take(&loop, &event, 1) == 1) {
            ended++;
            int want = event.index == 0 ? 10 : 0;
            if (event.kind != LOOP_JOURNAL || event.result != want) {
                say_number("journal", event.index, event.result);
                return WRONG;
            }
        }
    }
    return ended == 2 ? FINE : 3;
}

static int every_day(void)
{
    struct loop_event event;
    char byte[2];
    loop_poll(&loop, LOOP_CONTROL, 7, 3, pair[1], POLLIN, false);
    loop_pump(&loop);
    if (send(pair[0], "x", 1, MSG_NOSIGNAL) != 1) {
        return 2;
    }
    loop_wait(&loop, 5 * WEIR_NS_PER_S);
    if (loop_take(&loop, &event, 1) != 1 || event.kind != LOOP_CONTROL || event.generation != 7) {
        return 3;
    }
    if (recv(pair[1], byte, sizeof byte, 0) != 1) {
        return 4;
    }
    char *much = malloc(8U << 20);
    if (much == NULL) {
        return 5;
    }
    memset(much, 1, 8U << 20);
    much = realloc(much, 16U << 20);
    free(much);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && close(fd) == 0 && write(STDOUT_FILENO, "", 0) == 0 ? FINE : 6;
}

static int end_by_abort(void)
{
    abort();
}

/* Nothing of the process is for others. */
static int stripped(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? FINE : WRONG;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static int memory_ends(void)
{
    /* Without a sanitizer only: their shadow would not fit. */
    return malloc((size_t)cage.memory_max_bytes + (64U << 20)) == NULL ? FINE : WRONG;
}
#endif

static void expect(const char *what, int status, bool good)
{
    char found[96];
    char name[32];
    uint64_t at;
    outcome(found, status, cage_report_take(&cage, name, sizeof name, &at));
    check(good, "worker", what, found);
}

static bool is_fine(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == FINE;
}

int main(void)
{
    char text[256] = "";
    int status;
    cage.memory_max_bytes = 256U << 20;
    if (cage_identity_find(&cage.identity, "", text, sizeof text) != 0 ||
        cage_open(&cage, text, sizeof text) != 0) {
        (void)printf("skipped: %s\n", text);
        return 77;
    }
    (void)printf("cage_break: oracle: the kernel; as %s\n",
                 cage.identity.change ? cage.identity.name : "the user of this test");
    ways_out();
    status = inside(CAGE_WORKER, ring_refuses);
    expect("the ring refuses", status, is_fine(status));
    status = inside(CAGE_WORKER, ring_flags);
    expect("the ring refuses flags", status, is_fine(status));
    status = inside(CAGE_WORKER, every_day);
    expect("what is needed every day", status, is_fine(status));
    char path[] = "/tmp/weir-cage-journal-XXXXXX";
    journal = mkostemp(path, O_CLOEXEC);
    status = inside(CAGE_WORKER, journal_writes);
    expect("the journal", status, is_fine(status));
    (void)unlink(path);
    status = inside(CAGE_WORKER, end_by_abort);
    expect("abort", status,
           WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    status = inside(CAGE_WORKER, memory_ends);
    expect("memory ends", status, is_fine(status));
    status = inside(CAGE_WORKER, stripped);
    expect("prctl", status, WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
#endif
    cage.mode = CAGE_OFF; /* no filter: the ring still is what it is, and so are user and limits */
    cage.hide = true;
    status = inside(CAGE_WORKER, ring_refuses);
    expect("the ring refuses without a filter", status, is_fine(status));
    status = inside(CAGE_WORKER, stripped);
    expect("hidden without a filter", status, is_fine(status));
    if (cage.identity.change) { /* the kernel counts the processes of others than root */
        status = inside(CAGE_RESOLVER, try_fork);
        expect("no new processes of the resolver without a filter", status,
               WIFEXITED(status) && WEXITSTATUS(status) == WRONG);
    }
    (void)printf("cage_break: %u checks, %u failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
