/*
 * parser.h: libyaml in a process of its own.
 *
 * The configuration is read before anything else is known, by whoever started weird: often root, with every capability. libyaml reads what somebody wrote there, so it runs in
 * a child that has no more than the file's bytes, memory and one pipe (cage.h, CAGE_PARSER). The parent opens and reads the file before, and reads the pipe as a stranger's word
 * (config_events.h): every check of the schema, every message and every ${VAR} stays with the parent.
 *
 *   the child has      the bytes of this file. The environment and a configuration that was loaded before are wiped in its copy of the memory: keys written as ${VAR} never are
 *                      there; one that is written in the file is
 *   the child ends     by itself, with its answer; by a signal (a call that is not listed, too much memory or time); or it is killed: PARSER_MAX_NS. The load fails with its name
 *   the parent ends    the child's next write ends it, or its processor time
 *
 * A child for each file, gone before the file's messages are printed. At the start nothing of it is left when weird serves anybody; at a reload it has neither segments nor descriptors of the broker.
 */
#ifndef WEIR_BROKER_PARSER_H
#define WEIR_BROKER_PARSER_H

#include "broker/cage.h"
#include "broker/config/config.h"

/* A file of 1 MiB takes a tenth of a second; processor time is bounded besides (cage.c). */
#define PARSER_MAX_NS (20 * WEIR_NS_PER_S)

struct parser {
    enum cage_mode mode;
    struct weir_config *loaded; /* a configuration that the child must not see; NULL: none yet */
    /* called by the child first: what else it must not have; NULL: nothing */
    void (*forget)(void *arg);
    void *forget_arg;
};

/* For weir_config_load: `run` of a struct weir_config_parser whose `arg` is a struct parser. Caller: weird, one thread. */
ssize_t parser_run(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                   size_t why_bytes);

/*
 * Its halves, for tests. Start: the child's pid, and `fd` to read from; -1 with `why`. It answers in its own copy of `out`.
 */
pid_t parser_start(const struct parser *p, const char *buf, size_t bytes, char *out, size_t room,
                   int *fd, char *why, size_t why_bytes);

/* Read `fd` to its end into `out`, wait for the end of `pid`, a child, and end it where it does not, within `max_ns`. Closes `fd`. Returns the bytes, or -1 with `why`. */
ssize_t parser_hear(pid_t pid, int fd, char *out, size_t room, uint64_t max_ns, char *why,
                    size_t why_bytes);

#endif
