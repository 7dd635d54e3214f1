/*
 * program.h: servers by other people (nginx, HAProxy) as processes of a test: their files, their ports, their start. All files are in the rig's directory; all processes end with the rig.
 */
#ifndef WEIR_TESTS_PROCESS_PROGRAM_H
#define WEIR_TESTS_PROCESS_PROGRAM_H

#include "rig.h"

#include <netinet/in.h>

/* Say what could not be set up, end everything, and the test with 99. */
_Noreturn void program_give_up(struct rig *r, const char *what);

/* Write a file. */
void program_file(struct rig *r, const char *name, const char *format, ...) WEIR_PRINTF(3, 4);

struct sockaddr_in program_loopback(uint16_t port);
/* A socket that is bound to a port of the loopback which nobody has, and does not listen. */
int program_socket(struct rig *r, uint16_t *port);
/* Such a port. */
uint16_t program_port(struct rig *r);
/* Returns the descriptor; -1: nobody listens. */
int program_connect(const char *host, uint16_t port);

/* Run a program in the rig's directory, in a process group of its own; its stdout and its stderr go to files there. */
pid_t program_start(struct rig *r, const char *out, const char *err, const char *const argv[8]);
/* Wait until it listens. If it does not, what it wrote to `err` is shown. */
void program_await(struct rig *r, pid_t pid, const char *host, uint16_t port, const char *name,
                   const char *err);

/* nginx in the foreground, by NAME.conf, which is written; its words go to `err`. `master`: it can take another certificate while it runs. */
struct program_nginx {
    const char *name;
    const char *err;
    bool master;
    unsigned connections;
    const char *http; /* lines of the map, behind those that all have */
};
pid_t program_nginx_start(struct rig *r, const struct program_nginx *n);

#endif
