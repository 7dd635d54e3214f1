#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "duel.h"
#include "shm/weir_clock.h"

#define STOP_PATIENCE_NS  (5 * WEIR_NS_PER_S)
#define START_PATIENCE_NS (5 * WEIR_NS_PER_S)
#define LOOK_US           2000U

int rig_dir_make(struct rig_dir *dir, struct bench_result *result)
{
    snprintf(dir->path, sizeof(dir->path), "/tmp/weir-bench.XXXXXX");
    if (!mkdtemp(dir->path)) {
        int why = errno;
        dir->path[0] = '\0';
        return bench_fail(result, "cannot make a directory in /tmp: %s", strerror(why));
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    (void)remove(path); /* what cannot be removed stays: it is in /tmp */
    return 0;
}

void rig_dir_remove(struct rig_dir *dir)
{
    if (dir->path[0]) {
        (void)nftw(dir->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        dir->path[0] = '\0';
    }
}

int rig_file(const struct rig_dir *dir, const char *name, const char *text, char *path,
             size_t bytes, struct bench_result *result)
{
    snprintf(path, bytes, "%s/%s", dir->path, name);
    FILE *file = fopen(path, "wxe");
    if (!file) {
        return bench_fail(result, "cannot write %s: %s", path, strerror(errno));
    }
    int wrong = fputs(text, file) < 0;
    wrong |= fclose(file) != 0;
    return wrong ? bench_fail(result, "cannot write %s: %s", path, strerror(errno)) : 0;
}

static _Noreturn void child_live(const char *log, int core, char *const argv[])
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (core >= 0 && duel_pin(core) != 0) {
        _exit(126);
    }
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
        _exit(126);
    }
    execvp(argv[0], argv);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    fflush(stderr);
    _exit(127);
}

int rig_spawn(struct rig_child *child, const struct rig_dir *dir, const char *name, int core,
              const char *const argv[], struct bench_result *result)
{
    char *args[32] = {NULL};
    for (size_t i = 0; argv[i] && i + 1 < WEIR_ARRAY_CNT(args); i++) {
        args[i] = strdup(argv[i]); /* execvp wants them writable; the copies end with the process */
    }
    snprintf(child->log, sizeof(child->log), "%s/%s.log", dir->path, name);
    fflush(NULL);
    child->pid = fork();
    if (child->pid == 0) {
        child_live(child->log, core, args);
    }
    for (size_t i = 0; args[i]; i++) {
        free(args[i]);
    }
    if (child->pid < 0) {
        child->pid = 0;
        return bench_fail(result, "cannot fork for %s: %s", name, strerror(errno));
    }
    return 0;
}

void rig_stop(struct rig_child *child)
{
    if (child->pid <= 0) {
        return;
    }
    uint64_t end_ns = weir_clock_monotonic_ns() + STOP_PATIENCE_NS;
    kill(child->pid, SIGTERM);
    while (waitpid(child->pid, NULL, WNOHANG) == 0) {
        if (weir_clock_monotonic_ns() > end_ns) {
            kill(child->pid, SIGKILL);
            waitpid(child->pid, NULL, 0);
            break;
        }
        usleep(LOOK_US);
    }
    child->pid = 0;
}

static void last_line(const char *path, char *line, size_t bytes)
{
    char next[512];
    line[0] = '\0';
    FILE *file = fopen(path, "re");
    while (file && fgets(next, sizeof(next), file)) {
        next[strcspn(next, "\n")] = '\0';
        if (next[0]) {
            snprintf(line, bytes, "%.*s", (int)bytes - 1, next);
        }
    }
    if (file) {
        fclose(file);
    }
}

int rig_alive(struct rig_child *child, const char *name, struct bench_result *result)
{
    int status;
    if (child->pid > 0 && waitpid(child->pid, &status, WNOHANG) == 0) {
        return 0;
    }
    char line[200];
    child->pid = 0;
    last_line(child->log, line, sizeof(line));
    return bench_fail(result, "%s ended: %s", name, line[0] ? line : "it left no word");
}

/* Connect until somebody listens; the connection itself is not kept. */
static int await_listener(struct rig_child *child, const char *name, const struct sockaddr *address,
                          socklen_t bytes, struct bench_result *result)
{
    uint64_t end_ns = weir_clock_monotonic_ns() + START_PATIENCE_NS;
    do {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = fd < 0 ? -1 : connect(fd, address, bytes);
        if (fd >= 0) {
            close(fd);
        }
        if (rc == 0) {
            return 0;
        }
        usleep(LOOK_US);
        if (rig_alive(child, name, result) != 0) {
            return -1;
        }
    } while (weir_clock_monotonic_ns() < end_ns);
    return bench_fail(result, "%s does not listen within 5 s", name);
}

/* A port that is free now. Somebody may take it before nginx does; then nginx ends, and says so. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    unsigned port = 0;
    if (bind(fd, (struct sockaddr *)&address, bytes) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &bytes) == 0) {
        port = ntohs(address.sin_port);
    }
    close(fd);
    return port;
}

/* The worker runs as whoever runs the bench, or it could not read the directory. */
static int nginx_files(const struct rig_dir *dir, unsigned port, char *conf_path, size_t bytes,
                       struct bench_result *result)
{
    char body[RIG_BODY_BYTES + 1];
    char conf[2048];
    char path[128];
    memset(body, 'x', RIG_BODY_BYTES);
    memcpy(body, "{\"body\":\"", 9);
    memcpy(body + RIG_BODY_BYTES - 2, "\"}", 3);
    if (rig_file(dir, "file.json", body, path, sizeof(path), result) != 0) {
        return -1;
    }
    snprintf(conf, sizeof(conf),
             "%s"
             "worker_processes 1;\n"
             "daemon off;\n"
             "pid nginx.pid;\n"
             "error_log nginx-error.log error;\n"
             "events { worker_connections 1024; }\n"
             "http {\n"
             "    access_log off;\n"
             "    default_type application/json;\n"
             "    keepalive_requests 1000000000;\n"
             "    keepalive_timeout 1h;\n"
             "    tcp_nodelay on;\n"
             "    open_file_cache max=16;\n"
             "    client_body_temp_path body;\n"
             "    proxy_temp_path proxy;\n"
             "    fastcgi_temp_path fastcgi;\n"
             "    uwsgi_temp_path uwsgi;\n"
             "    scgi_temp_path scgi;\n"
             "    server { listen 127.0.0.1:%u; root %s; }\n"
             "}\n",
             geteuid() == 0 ? "user root;\n" : "", port, dir->path);
    return rig_file(dir, "nginx.conf", conf, conf_path, bytes, result);
}

int rig_nginx_start(struct rig_nginx *nginx, const struct rig_dir *dir, int core,
                    struct bench_result *result)
{
    char conf[128];
    char prefix[80];
    if (nginx->port != 0) { /* once more: its files are there */
        snprintf(conf, sizeof(conf), "%s/nginx.conf", dir->path);
    } else {
        nginx->port = free_port();
        if (nginx_files(dir, nginx->port, conf, sizeof(conf), result) != 0) {
            return -1;
        }
    }
    snprintf(prefix, sizeof(prefix), "%s/", dir->path);
    const char *argv[] = {"nginx", "-p", prefix, "-c", conf, "-e", "nginx-start.log", NULL};
    if (access("/usr/sbin/nginx", X_OK) == 0) {
        argv[0] = "/usr/sbin/nginx"; /* Debian keeps it outside an ordinary user's PATH */
    }
    if (rig_spawn(&nginx->child, dir, "nginx", core, argv, result) != 0) {
        return -1;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr = {htonl(INADDR_LOOPBACK)},
        .sin_port = htons((uint16_t)nginx->port),
    };
    return await_listener(&nginx->child, "nginx", (struct sockaddr *)&address, sizeof(address),
                          result);
}

int rig_haproxy_start(struct rig_haproxy *haproxy, const struct rig_dir *dir, int core,
                      unsigned server_port, struct bench_result *result)
{
    char text[1024];
    char path[128];
    haproxy->port = free_port();
    snprintf(text, sizeof(text),
             "global\n  maxconn 1024\n  nbthread 1\n"
             "defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n"
             "  timeout server 1h\n  timeout http-keep-alive 1h\n  http-reuse always\n"
             "listen all\n  bind 127.0.0.1:%u\n  server nginx 127.0.0.1:%u\n",
             haproxy->port, server_port);
    if (rig_file(dir, "haproxy.cfg", text, path, sizeof(path), result) != 0) {
        return -1;
    }
    const char *argv[] = {"haproxy", "-db", "-f", path, NULL};
    if (access("/usr/sbin/haproxy", X_OK) == 0) {
        argv[0] = "/usr/sbin/haproxy";
    }
    if (rig_spawn(&haproxy->child, dir, "haproxy", core, argv, result) != 0) {
        return -1;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr = {htonl(INADDR_LOOPBACK)},
        .sin_port = htons((uint16_t)haproxy->port),
    };
    return await_listener(&haproxy->child, "haproxy", (struct sockaddr *)&address, sizeof(address),
                          result);
}

void rig_nginx_crash(struct rig_nginx *nginx)
{
    char path[64];
    long worker = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)nginx->child.pid,
             (int)nginx->child.pid);
    FILE *file = fopen(path, "r");
    if (file) {
        worker = fscanf(file, "%ld", &worker) == 1 ? worker : 0;
        fclose(file);
    }
    (void)kill(nginx->child.pid, SIGKILL);
    if (worker > 0) {
        (void)kill((pid_t)worker, SIGKILL);
    }
    rig_stop(&nginx->child); /* collects it */
}

int rig_redis_start(struct rig_redis *redis, const struct rig_dir *dir, int core,
                    struct bench_result *result)
{
    snprintf(redis->path, sizeof(redis->path), "%s/redis.sock", dir->path);
    const char *const argv[] = {"redis-server", "--port",       "0",  "--unixsocket",
                                redis->path,    "--save",       "",   "--dir",
                                dir->path,      "--appendonly", "no", NULL};
    if (rig_spawn(&redis->child, dir, "redis", core, argv, result) != 0) {
        return -1;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", redis->path);
    return await_listener(&redis->child, "redis-server", (struct sockaddr *)&address,
                          sizeof(address), result);
}
