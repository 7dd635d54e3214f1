/*
 * rig.h: the programs that the bench measures against, each started by it, known by its pid and ended by it.
 *
 * Everything lies in one temporary directory, everything listens on loopback or on a unix socket in there, and every child asks the
 * kernel to end it when the bench dies, so a killed bench leaves no process behind (its directory it does leave).
 */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include <sys/types.h>

#include "bench.h"

struct rig_dir {
    char path[64];
};

struct rig_child {
    pid_t pid; /* 0: none */
    char log[128];
};

int rig_dir_make(struct rig_dir *dir, struct bench_result *result);
void rig_dir_remove(struct rig_dir *dir); /* with all files in it */

/* Write `text` to a new file `dir`/`name`; its path goes to `path`. */
int rig_file(const struct rig_dir *dir, const char *name, const char *text, char *path,
             size_t bytes, struct bench_result *result);

/* Start argv[0], looked for in PATH, on `core` (-1: any), with its output in `dir`/`name`.log. */
int rig_spawn(struct rig_child *child, const struct rig_dir *dir, const char *name, int core,
              const char *const argv[], struct bench_result *result);

/* SIGTERM, and SIGKILL after 5 s. Only this pid. */
void rig_stop(struct rig_child *child);

/* Is it still there? If not, the last line of its log goes to the result, and -1 comes back. */
int rig_alive(struct rig_child *child, const char *name, struct bench_result *result);

/* nginx with one worker on `core`, serving `body_bytes` at /file.json on 127.0.0.1:`port`; where `port` is 0 a free one is taken. */
struct rig_nginx {
    struct rig_child child;
    unsigned port;
};
#define RIG_BODY_BYTES 1024U
int rig_nginx_start(struct rig_nginx *nginx, const struct rig_dir *dir, int core,
                    struct bench_result *result);

/* As if the machine had lost it: master and worker by SIGKILL, the master first, so that nobody keeps the listening socket. */
void rig_nginx_crash(struct rig_nginx *nginx);

/* HAProxy with one thread on `core`, on 127.0.0.1:`port`, before the server on 127.0.0.1:`server_port`; connections are kept on both sides. */
struct rig_haproxy {
    struct rig_child child;
    unsigned port;
};
int rig_haproxy_start(struct rig_haproxy *haproxy, const struct rig_dir *dir, int core,
                      unsigned server_port, struct bench_result *result);

/* redis-server without persistence on `core`, on the unix socket `path`. */
struct rig_redis {
    struct rig_child child;
    char path[96];
};
int rig_redis_start(struct rig_redis *redis, const struct rig_dir *dir, int core,
                    struct bench_result *result);

#endif
