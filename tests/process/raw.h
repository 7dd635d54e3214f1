/* raw.h: a listener inside the test that answers by script, for what weir-sim does not do. */
#ifndef WEIR_TESTS_PROCESS_RAW_H
#define WEIR_TESTS_PROCESS_RAW_H

#include "rig.h"

struct raw {
    pid_t pid;
    uint16_t port;
    uint32_t *requests; /* whole requests read so far */
};

/*
 * Serve in a child: each request is read up to its blank line; the answer is what `answer` writes to `fd` for its path. It returns whether the
 * connection stays open.
 */
void raw_start(struct rig *r, struct raw *raw, bool (*answer)(int fd, const char *path));
/* The same, on a port that was chosen before. */
void raw_start_at(struct rig *r, struct raw *raw, uint16_t port,
                  bool (*answer)(int fd, const char *path));
void raw_stop(struct raw *raw);
/* In `answer`: the head of the request, as it came. */
const char *raw_head(void);
/* Write text to a descriptor, whole. */
void raw_say(int fd, const char *text);
/* A port on which nobody listens. */
uint16_t raw_port_closed(void);

#endif
