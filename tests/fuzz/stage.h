/*
 * stage.h: what the targets with processes' protocols share: an input that is read from its front, messages that are edited, descriptors that are
 * counted, and a liar that answers whoever connects.
 */
#ifndef WEIR_FUZZ_STAGE_H
#define WEIR_FUZZ_STAGE_H

#include "broker/config/config.h"
#include "broker/region.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STAGE_FDS_MAX      16
#define STAGE_MESSAGES_MAX 16
#define STAGE_BYTES_MAX    8192

/* Ends the program where it is false: what the fuzzer looks for. */
void stage_must(bool good);

struct stage_input {
    const uint8_t *at;
    size_t left;
};

/* The next byte; 0 when there is none. */
uint8_t stage_byte(struct stage_input *in);
uint32_t stage_u32(struct stage_input *in);

/* Some bytes of `what` become others: their number (at most 7), then for each its place (2 bytes) and its value. Every second way of editing ends in a place within `head`. */
void stage_edit(struct stage_input *in, void *what, size_t bytes, size_t head);

struct stage_message {
    size_t bytes;
    size_t fd_cnt;
    int fd[STAGE_FDS_MAX]; /* not owned */
    unsigned char body[STAGE_BYTES_MAX];
};

/* One message, as far as the socket takes it. */
void stage_send(int socket, const struct stage_message *m);

/* Receive one message: the bytes, 0 at the end, -1 where there is none. The descriptors are closed; their number goes to `*fd_cnt`. Never blocks. */
ssize_t stage_take(int socket, void *body, size_t bytes, size_t *fd_cnt);

/* Descriptors of this process that are open. */
unsigned stage_fds(void);
/* Ends the program, with a list, where there are not `cnt`. */
void stage_fds_check(unsigned cnt);
/* Close all from this one on. */
void stage_fds_close(int from);

/* A configuration and the shared memory that it asks for. Once. */
struct weir_config *stage_config(const char *yaml);
void stage_region(struct region *r, const struct weir_config *config);

/* A fresh directory, removed with what lies in it when the program ends. */
const char *stage_dir(void);

/* A listening socket in it. */
int stage_listen(const char *path);

/* Accepts one connection, sends the messages without a look at what was asked, and closes it, or keeps it until stage_liar_end. */
struct stage_liar {
    pthread_t thread;
    int listener;
    int socket; /* -1: none */
    bool keep;
    size_t cnt;
    struct stage_message message[STAGE_MESSAGES_MAX];
};
void stage_liar_begin(struct stage_liar *l);
void stage_liar_end(struct stage_liar *l);

#endif
