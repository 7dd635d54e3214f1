/*
 * board.h: attach to a broker as a monitor, and copy its board.
 *
 * A monitor is given one descriptor, the board's, and maps it read-only (the memfd is sealed so that nobody can map it otherwise). The
 * connection stays open: its end says that the supervisor is gone. The messages are those of shm/weir_attach.h.
 */
#ifndef WEIR_MONITOR_BOARD_H
#define WEIR_MONITOR_BOARD_H

#include "image.h"
#include "weir_attach.h"

#define BOARD_PATH_BYTES   108 /* struct sockaddr_un's */
#define BOARD_REASON_BYTES 512

/* Which broker. NULL means: $WEIR_NAME or "default"; "default"; $WEIR_RUNTIME_DIR, /run/weir or $XDG_RUNTIME_DIR/weir. */
struct board_target {
    const char *name;
    const char *domain;
    const char *runtime_dir;
};

struct board {
    struct weir_segment live; /* read-only */
    int socket;
    uint64_t broker_id;
    int64_t namespace_offset_ns; /* broker's CLOCK_MONOTONIC minus ours */
};

/*
 * Attach. Returns EXIT_OK, or the exit code of the cause with the message in `reason` ("name=… path=…: cause: next step"); `*board` is
 * detached then.
 */
int board_attach(struct board *board, const struct board_target *target,
                 char reason[BOARD_REASON_BYTES]);

void board_detach(struct board *board);

/*
 * Give the broker an operator's order. Returns EXIT_OK with the answer, or the exit code of the cause with the message in `reason`, as
 * board_attach. Waits 2 s at most.
 */
int board_operate(const struct board_target *target, const struct weir_operate *order,
                  struct weir_operated *answer, char reason[BOARD_REASON_BYTES]);

/*
 * Copy the board and open the copy. Returns as image_open, or WEIR_E_MEMORY. A table block that is replaced while it is copied
 * is copied again, at most 8 times.
 */
int board_copy(const struct board *board, struct image *image, struct findings *findings);

/* Does the supervisor still hold its end of the connection? */
bool board_connected(const struct board *board);

/* Is `name` one that the broker would take: letters, digits, '-', '_', '.', 1 to 31 of them, not beginning with '.'? */
bool board_name_ok(const char *name);

/* The name that `target` stands for. */
const char *board_name(const struct board_target *target);

/* The folder that holds the sockets of `target`'s broker. */
const char *board_runtime_dir(const struct board_target *target, char *buffer, size_t bytes);

#endif
