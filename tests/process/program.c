#include "program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 10000U

void program_give_up(struct rig *r, const char *what)
{
    (void)printf("could not set up: %s: %s\n", what, strerror(errno));
    (void)rig_close(r);
    exit(99);
}

void program_file(struct rig *r, const char *name, const char *format, ...)
{
    char path[160];
    va_list args;
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        program_give_up(r, path);
    }
    va_start(args, format);
    bool good = vfprintf(f, format, args) >= 0;
    va_end(args);
    if (fclose(f) != 0 || !good) {
        program_give_up(r, path);
    }
}

struct sockaddr_in program_loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int program_socket(struct rig *r, uint16_t *port)
{
    struct sockaddr_in at = program_loopback(0);
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, bytes) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) {
        program_give_up(r, "a port");
    }
    *port = ntohs(at.sin_port);
    return fd;
}

uint16_t program_port(struct rig *r)
{
    uint16_t port;
    (void)close(program_socket(r, &port));
    return port;
}

int program_connect(const char *host, uint16_t port)
{
    struct sockaddr_in to = program_loopback(port);
    to.sin_addr.s_addr = inet_addr(host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

pid_t program_start(struct rig *r, const char *out, const char *err, const char *const argv[8])
{
    char *copy[8]; /* execv does not write to them, and yet will not have them const */
    memcpy(copy, argv, sizeof copy);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(0);
        if (chdir(r->dir) == 0) {
            (void)dup2(open(out, O_WRONLY | O_CREAT | O_APPEND, 0600), STDOUT_FILENO);
            (void)dup2(open(err, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
            (void)execv(copy[0], copy);
        }
        _exit(127);
    }
    (void)setpgid(pid, pid);
    return pid;
}

void program_await(struct rig *r, pid_t pid, const char *host, uint16_t port, const char *name,
                   const char *err)
{
    uint64_t end_ns = rig_now_ns() + START_MS * WEIR_NS_PER_MS;
    int fd = -1;
    while ((fd = program_connect(host, port)) < 0) {
        if (waitpid(pid, NULL, WNOHANG) != 0 || rig_now_ns() > end_ns) {
            char line[512];
            (void)snprintf(line, sizeof line, "%s/%s", r->dir, err);
            FILE *f = fopen(line, "re");
            while (f != NULL && fgets(line, sizeof line, f) != NULL) {
                (void)fputs(line, stdout);
            }
            (void)printf("%s does not start: scripts/setup.sh test installs it\n", name);
            program_give_up(r, name);
        }
        rig_sleep_ms(2);
    }
    (void)close(fd);
}

pid_t program_nginx_start(struct rig *r, const struct program_nginx *n)
{
    char conf[160];
    char file[64];
    const char *const argv[8] = {"/usr/sbin/nginx", "-p", r->dir, "-c", conf, "-e", n->err};
    (void)snprintf(file, sizeof file, "%s.conf", n->name);
    (void)snprintf(conf, sizeof conf, "%s/%s", r->dir, file);
    program_file(r, file,
                 "%sdaemon off;\nmaster_process %s;\nworker_processes 1;\npid %s.pid;\n"
                 "error_log %s emerg;\nevents { worker_connections %u; }\n"
                 "http {\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n"
                 "  tcp_nodelay on;\n  client_body_temp_path t1; proxy_temp_path t2;\n"
                 "  fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n%s}\n",
                 geteuid() == 0 ? "user root;\n" : "", n->master ? "on" : "off", n->name, n->err,
                 n->connections, n->http);
    return program_start(r, "program.out", n->err, argv);
}
