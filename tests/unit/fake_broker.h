/*
 * fake_broker.h: a broker for tests of libweir: real segments, a scripted supervisor, a worker that moves by hand.
 *
 * The test process keeps the segments mapped and plays the worker; a forked child plays the supervisor: it answers each hello on
 * DIR/NAME/default.sock with `welcome` and `fd`. What is written into `welcome`, `fd` and `script` before fake_broker_listen is what comes.
 *
 * Configuration: provider "sim" with limits "bucket" (5 units, one comes back every 20 ms) and "window" (40 a minute, clock unknown: 20), scope
 * account {a, b} on the bucket, and the routes below.
 */
#ifndef WEIR_TEST_FAKE_BROKER_H
#define WEIR_TEST_FAKE_BROKER_H

#include "shm/weir_attach.h"
#include "shm/weir_layout.h"
#include "shm/weir_ring.h"
#include "shm/weir_segment.h"
#include "shm/weir_slot.h"
#include "weir.h"

#include <sys/types.h>

#define FAKE_RING_ORDER    6U
#define FAKE_SLOTS         80U /* more than the ring holds, so that it can be full */
#define FAKE_REQUEST_BYTES 256U
#define FAKE_POOL_BYTES    65536U
#define FAKE_BROKER_ID     UINT64_C(0x1234)
#define FAKE_BUCKET_NS     (20 * WEIR_NS_PER_MS)

enum fake_route {
    FAKE_ORDER = 0, /* POST, 1 of bucket */
    FAKE_OWN = 1,   /* own transport, 1 of bucket */
    FAKE_FILES = 2, /* GET, path rest, 1 of bucket and 2 of window */
    FAKE_FREE = 3,  /* GET, no limits, timeout 100 ms */
    FAKE_ROUTES
};

enum fake_script {
    FAKE_ANSWER = 0,
    FAKE_SILENT = 1,  /* takes the connection and says nothing */
    FAKE_CLOSE = 2,   /* closes it at once */
    FAKE_GARBAGE = 3, /* answers with other bytes */
};

struct fake_broker {
    char dir[64]; /* the runtime directory; a fresh one */
    char path[128];
    pid_t supervisor; /* 0: none */
    enum fake_script script;
    uint32_t delay_ms; /* before the supervisor binds its socket */
    int64_t clock_skew_ns;
    struct weir_attach_welcome welcome;
    int fd[WEIR_ATTACH_FDS_MAX];
    size_t fd_cnt;
    struct weir_segment board, permits, ring, arena;
    int doorbell;
    int bell[2]; /* client's end, worker's end */
    /* the worker's view */
    struct weir_shm_gate *gate;
    struct weir_shm_need_wakeup *need_wakeup;
    struct weir_shm_block *block;
    struct weir_shm_provider *provider;
    struct weir_shm_pace *pace; /* [limit word] */
    struct weir_shm_limit_word *word;
    struct weir_shm_pause *pause;
    struct weir_shm_wake *wake;
    struct weir_shm_slot *slot;
    char *request;
    char *pool;
    char *meter;
    uint64_t meter_stride_bytes;
    struct weir_ring_consumer level[WEIR_PRIORITY_CNT];
};

/* Segments and tables; no supervisor yet. The welcome and the descriptors are those of `role`. */
void fake_broker_make(struct fake_broker *f, enum weir_role role);

/* Bind the socket and answer from a child. */
void fake_broker_listen(struct fake_broker *f);

/* Kill the supervisor; its socket stays, as after a crash. */
void fake_broker_die(struct fake_broker *f);

/* Supervisor, segments, directory: all gone. */
void fake_broker_free(struct fake_broker *f);

/* weir_open on this broker with `role`. */
int fake_broker_open(struct fake_broker *f, enum weir_role role, struct weir **out,
                     struct weir_diag *diag);

/* The worker's steps. Take one handle from the ring of `priority`; false if it is empty. */
bool fake_take(struct fake_broker *f, unsigned priority, uint32_t *slot);
/* SUBMITTED -> CLAIMED; false if the client was faster. */
bool fake_claim(struct fake_broker *f, uint32_t slot);
/* Write an answer (`body` into the pool), say DONE, ring every bell that is asked for. */
void fake_done(struct fake_broker *f, uint32_t slot, const char *body);

#endif
