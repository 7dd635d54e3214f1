/*
 * no_uring.c: where io_uring is forbidden, weird says by what and exits, at once and once.
 *
 * A seccomp filter answers EPERM to io_uring_setup, as container runtimes do.
 *
 * no_uring WEIRD
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] = "broker: {name: t}\n"
                             "providers:\n"
                             "  - name: x\n"
                             "    limits: [{name: l, kind: token_bucket, quota: 100, window: 1s}]\n"
                             "    routes: [{name: r, transport: own, cost: {l: 1}}]\n";

/* In the child: forbid io_uring_setup, and become weird. */
static _Noreturn void become(const char *weird, const char *dir, const char *file, int out)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (dup2(out, STDERR_FILENO) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77); /* no seccomp here: nothing to show */
    }
    (void)execl(weird, weird, "--config", file, "--runtime-dir", dir, "--state-dir", "none",
                (char *)NULL);
    _exit(99);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/weir-no-uring-XXXXXX";
    char file[64];
    char text[2048] = "";
    int pair[2];
    int status;
    if (argc != 2 || mkdtemp(dir) == NULL || pipe(pair) != 0) {
        return 99;
    }
    (void)snprintf(file, sizeof file, "%s/weir.yaml", dir);
    FILE *f = fopen(file, "we");
    if (f == NULL || fputs(config, f) < 0 || fclose(f) != 0) {
        return 99;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(argv[1], dir, file, pair[1]);
    }
    (void)close(pair[1]);
    size_t n = 0;
    for (ssize_t got;
         n + 1 < sizeof text && (got = read(pair[0], text + n, sizeof text - 1 - n)) > 0;) {
        n += (size_t)got;
    }
    (void)waitpid(pid, &status, 0);
    (void)unlink(file);
    (void)rmdir(dir);
    bool said = strstr(text, "weird: cannot open io_uring: ") != NULL &&
                strstr(text, "io_uring_setup") != NULL;
    bool left = WIFEXITED(status) && WEXITSTATUS(status) == 1;
    (void)printf("no_uring: said %d, exit status %d\n%s", said,
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1, text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        return 77;
    }
    return said && left ? 0 : 1;
}
