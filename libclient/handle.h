/*
 * handle.h: what libweir keeps in this process. Private to libclient.
 *
 *   struct weir_attachment   one per weir_open: descriptors, mappings, pointers into them. Written while it is opened; afterwards only
 *                            the words marked "atomic" change, so its threads share it without a lock.
 *   struct weir_board        one per board: its mapping and what was found on it. A takeover brings another one (board.c); the older ones stay
 *                            mapped until the last handle closes, because names and rows of them were handed out.
 *   struct weir              one per thread: what a thread alone touches. Several point at one attachment; the last to close frees it.
 *
 * Fork. A child shares the segments with its parent, but not its identity: the supervisor knows one pid, the worker one meter per
 * thread. `guard` lies on a page that the kernel empties in every child (MADV_WIPEONFORK), so one load tells a child that it is one.
 */
#ifndef WEIR_CLIENT_HANDLE_H
#define WEIR_CLIENT_HANDLE_H

#include "weir.h"

#include "shm/weir_atomic.h"
#include "shm/weir_cache.h"
#include "shm/weir_health.h"
#include "shm/weir_permit.h"
#include "shm/weir_ring.h"
#include "shm/weir_segment.h"
#include "shm/weir_slot.h"

#define WEIR_GUARD_ALIVE     UINT64_C(0x6465766f6c227765)
#define WEIR_SPIN_DEFAULT_NS (20 * WEIR_NS_PER_US)

/* The request area and everything around it; all NULL for a monitor. */
struct weir_client_arena {
    struct weir_shm_wake *wake;
    struct weir_shm_slot *slot;
    char *request; /* payload of slot i at i * request_stride_bytes */
    const char *pool;
    char *meter; /* struct weir_shm_meter_head of thread i at i * meter_stride_bytes */
    char *audit; /* the same: struct weir_shm_audit_ring; NULL: the broker keeps none */
    uint64_t request_stride_bytes;
    uint64_t pool_bytes;
    uint64_t meter_stride_bytes;
    uint64_t audit_stride_bytes;
    uint32_t slot_cnt;
    uint32_t meter_route_cnt; /* private copies of what the meter heads said at attach */
    uint32_t meter_limit_cnt;
};

struct weir_board {
    struct weir_board *before; /* the one that it took over from; NULL: the first */
    struct weir_segment segment;
    /* what a fresh permit view starts from */
    const struct weir_shm_gate *gate;
    const struct weir_shm_clock *clock;
    const struct weir_shm_need_wakeup *need_wakeup;
    const uint32_t *block;
    const struct weir_shm_provider *provider;
    const struct weir_shm_foreign *foreign;
    const struct weir_shm_pace *pace; /* [limit word], for forecasts */
    uint32_t pace_cnt;
    const struct weir_shm_health *health; /* [endpoint, then group] */
    uint32_t health_cnt;
    uint32_t tables_cnt;
    const void *tables_base;
    uint64_t tables_stride_bytes;
    struct weir_tables_bounds bounds;
    struct weir_cache_view cache;
    uint64_t cache_answer_max_bytes;
    struct weir_ring level[WEIR_PRIORITY_CNT];
};

enum weir_kept_state {
    WEIR_KEPT_NONE = 0,
    WEIR_KEPT_READY = 1,
    WEIR_KEPT_GIVEN = 2, /* by poll or wait; not released */
};

/* A request that was answered from the cache: the slot is FILLING, and the thread's own. */
struct weir_kept {
    uint64_t word; /* of the slot */
    uint32_t thread;
    uint32_t before, next; /* in the list of those to be polled: index + 1; 0: none */
    enum weir_kept_state state;
    struct weir_response response;
};

struct weir_attachment {
    const uint64_t *guard; /* WEIR_GUARD_ALIVE in the process that opened, 0 in its children */
    enum weir_role role;
    uint32_t client; /* our index; UINT32_MAX for a monitor */
    uint32_t domain;
    uint32_t ring_order; /* from the welcome: never read from shared memory */
    uint64_t broker_id;
    int64_t namespace_offset_ns;
    uint64_t spin_ns;
    char client_name
        [WEIR_NAME_BYTES]; /* as the broker has it: by it and the uid our shares are found */
    uint32_t uid;
    int control_fd; /* its end means that the supervisor is gone; a rejoin puts another connection under the same number */
    char path[108]; /* of the socket, for a rejoin */
    int doorbell_fd;
    int bell_fd;
    struct weir_segment permits, ring, arena;
    struct weir_shm_limit_word *word;
    uint64_t *cell;
    struct weir_shm_pause *pause;
    uint32_t word_cnt, cell_cnt, pause_cnt; /* of the permits segment */
    struct weir_client_arena mem;
    /*
     * Byte per slot: the thread that owns the slot has been given its answer. The worker sets the done bit after the state word, so
     * a bit can come late, when weir_wait has already answered; this byte keeps weir_poll from giving it again. Written by the slot's owner only.
     */
    uint8_t *given;
    struct weir_kept *kept; /* [slot]; NULL: the board has no cache */
    char *kept_room;        /* the copy for slot i at i * kept_stride_bytes */
    uint64_t kept_stride_bytes;
    uint32_t handles; /* atomic: open handles */
    uint32_t threads; /* atomic: bit per thread index in use */
    /* atomic: subset of `threads`: closed, but a request of it is still in flight */
    uint32_t retired;
    uint32_t fd_owner;  /* atomic: thread index + 1 of the handle that owns the bell, 0 = nobody */
    uint64_t newest;    /* atomic: the newest struct weir_board, as a word */
    uint32_t following; /* atomic: 1 while one thread looks for a newer board */
    uint32_t rejoining; /* atomic: 1 from a rejoin until it is answered: as good as no connection */
    uint64_t rejoin_at_ns; /* of the thread that follows: no rejoin before */
};

/* One thread's handle. The permit path touches the first line and the view. */
struct weir {
    const uint64_t *guard;
    enum weir_role role;
    uint32_t thread;
    struct weir_attachment *at;
    const struct weir_board *board; /* that `view` leads into */
    uint32_t slot_hint;             /* the slot that was freed last is the warmest */
    /* the NEED_WAKEUP word for which the doorbell was rung: once per sleep of the worker */
    uint32_t last_rung;
    uint32_t kept_first;  /* answers from the cache that nobody has polled: index + 1 */
    uint32_t *cache_hits; /* [route] in our meter, and what was hit; NULL for a monitor */
    struct weir_shm_cache_touch *cache_touch;
    uint32_t poll_from; /* where the next poll starts, so that low slots do not starve high ones */
    bool fd_used;       /* this handle owns the bell */
    bool fd_armed;      /* ... and asked for a byte since it last emptied it */
    struct weir_permit_view view;
};

/* The handle that `view` is of. */
static inline struct weir *weir_of_view(struct weir_permit_view *view)
{
    return (struct weir *)(void *)((char *)view - offsetof(struct weir, view));
}

/* Is this process the one that opened the handle? One load; every public function asks first. */
static inline bool weir_handle_ours(const struct weir *w)
{
    /* relaxed: the word changes only by fork, which orders everything before it */
    return WEIR_LIKELY(weir_load_relaxed_u64(w->guard) == WEIR_GUARD_ALIVE);
}

/* The instant `weir_ns` on this process' own CLOCK_MONOTONIC: what futex(2) wants. */
static inline uint64_t weir_own_clock_ns(const struct weir *w, uint64_t weir_ns)
{
    return weir_ns - (uint64_t)w->at->namespace_offset_ns;
}

/* ---- attach.c */

/* weir_open's options with every default filled in. */
struct weir_attach_plan {
    enum weir_role role;
    uint32_t slots;
    uint32_t request_bytes;
    uint64_t response_bytes;
    uint64_t patience_ns;
    uint64_t spin_ns;
    const char *name;
    const char *domain;
    const char *runtime_dir; /* NULL: by the environment */
    char client_name[WEIR_NAME_BYTES];
};

/* Where an attach failed, for its text. */
struct weir_attach_context {
    const struct weir_attach_plan *plan;
    struct weir_diag *diag; /* may be NULL */
    char path[108];         /* of the socket; the size of sockaddr_un.sun_path */
};

/* Connect, say hello, receive, map. On failure `*at` holds nothing that must be released. */
int weir_attachment_open(struct weir_attachment *at, const struct weir_attach_plan *plan,
                         struct weir_diag *diag);

/* Unmap and close everything. Touches no shared word, so a forked child may do it too. */
void weir_attachment_close(struct weir_attachment *at);

/* Has the supervisor closed its end? One system call. */
bool weir_attachment_ended(const struct weir_attachment *at);

/* Fill `diag` with "cannot attach: name=N path=P: CAUSE: HINT" and return `error`. `hint` NULL: the error's own. */
int weir_attach_fail(const struct weir_attach_context *c, int error, const char *hint,
                     const char *cause, ...) WEIR_PRINTF(4, 5);

/* ---- sections.c */

/* Map the received descriptors (-1 = not received) and find every section that the role needs; checks counts and sizes. */
int weir_attachment_map(struct weir_attachment *at, const struct weir_attach_context *c,
                        const int *fd, size_t fd_cnt);

/* Find every section that the role needs on the mapped b->segment. Returns the first section that is not as it must be, or NULL. */
const char *weir_board_find(const struct weir_attachment *at, struct weir_board *b);

/* ---- board.c: what a takeover asks of a client */

static inline struct weir_board *weir_board_newest(const struct weir_attachment *at)
{
    return (struct weir_board *)(uintptr_t)weir_load_acquire_u64(&at->newest); /* pair:board A */
}

/* Lead the view of `w` into `b`. Returns WEIR_OK or WEIR_E_CORRUPT. */
int weir_board_enter(struct weir *w, const struct weir_board *b);

/*
 * The lease has ended, or a successor is named: is there a newer board? Never waits: what the successor has sent is taken, and a connection that has ended
 * is made again, for a later look. Returns true when the view leads into another board than before: ask again. Caller: the thread that owns `w`.
 */
bool weir_board_follow(struct weir *w);

/* As weir_board_follow, for up to 10 ms, the pause of a takeover; only where a successor is named. */
bool weir_board_await(struct weir *w);

/* Has this board a successor? One load of a line that permits read anyway. */
static inline bool weir_board_left(const struct weir *w)
{
    /* relaxed: a newer board brings its own order */
    return WEIR_UNLIKELY(weir_load_relaxed_u64(&w->board->gate->successor) != 0);
}

/* The last handle closes, and the connection had ended: tell a successor that this client leaves, if there is one. */
void weir_board_leave(struct weir_attachment *at);

/* ---- slots.c */

/* The slot that `ticket` names, and its word, if it is a live request of this handle; NULL otherwise. */
struct weir_shm_slot *weir_ticket_slot(const struct weir *w, weir_ticket ticket, uint64_t *word);

/* Claim a free slot for this thread: its index, or UINT32_MAX. `*word` is its FILLING word. */
uint32_t weir_slot_claim(struct weir *w, uint64_t *word);

/* A slot that is this thread's alone (DONE, CANCELLED, FILLING) becomes free; its generation goes up, so its ticket dies. */
void weir_slot_free(struct weir *w, uint32_t index, uint64_t word);

/* The handle closes: take back what is queued, free what has ended. Returns whether a request is still in flight. */
bool weir_slots_leave(struct weir *w);

/* Free what has ended of threads that closed meanwhile; gives back thread indices that have nothing in flight any more. */
void weir_slots_reap(struct weir_attachment *at);

/* ---- permit.c */

/* weir_permit_take_long, followed by the newest board's where the one in use was left: what a view of libweir does where the short way has no answer. */
weir_long_way weir_permit_long_way;

/* ---- request.c */

/* weir_submit with another deadline than the spec's. */
int weir_submit_until(struct weir *w, const struct weir_request_spec *spec, uint64_t deadline_ns,
                      weir_ticket *out);

/* A private copy of a caller's spec, whatever version it is of. WEIR_OK, WEIR_E_ARGUMENT, _UNSUPPORTED. */
int weir_spec_copy(struct weir_request_spec *to, const struct weir_request_spec *from);

/* Wake the worker if it sleeps; `always` rings even if it does not seem to. */
void weir_doorbell(struct weir *w, bool always);

/* ---- cache.c */

/* Memory for answers from the cache; without it the worker gives them. Caller: weir_open, once. */
void weir_kept_open(struct weir_attachment *at);
void weir_kept_close(struct weir_attachment *at);

/* Is the answer fresh on the board? Then the slot `index`, FILLING by `word` and this thread's, has it, and is not handed over. */
bool weir_kept_try(struct weir *w, const struct weir_request_spec *spec,
                   const struct weir_shm_route_row *route, uint32_t index, uint64_t word,
                   uint64_t now_ns);

/* The answer that `ticket` names, if it is one from the cache and of this handle. */
struct weir_kept *weir_kept_of(const struct weir *w, weir_ticket ticket);

/* One that was not given yet. */
bool weir_kept_poll(struct weir *w, struct weir_response *out);

/* It was given by wait, or is released (`state`): no poll gives it any more. */
void weir_kept_leave(struct weir *w, struct weir_kept *k, enum weir_kept_state state);

#endif
