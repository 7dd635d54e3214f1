/*
 * weir_ring.h: the ring that carries handles from clients to the worker, whoever dies.
 *
 * A bounded multi-producer multi-consumer FIFO of 32-bit handles in shared memory: NCQ (Nikolaev, DISC 2019) with a test for
 * full. One ring per priority and domain.
 *
 *      ring segment (clients and worker write)            board (the worker writes, clients map it read-only)
 *      +------+------+------+------+------+------+        +------+
 *      | tail |  ..  |cell 0|cell 1| ...  |cell m|        | head |   position of the next take
 *      +------+------+------+------+------+------+        +------+
 *         |            +--------------------------+
 *         |            | cycle:32   | handle:32   |   one word, changed by one CAS
 *         |            +--------------------------+
 *         a hint: the next free position, or one before it
 *
 * Positions are 64-bit and only go up; position p lives in cell p mod n, and its cycle is (uint32_t)(p / n). A cell that bears
 * the cycle of p holds the entry of p; a cell that bears the cycle before it holds the entry of p - n, or is still free.
 *
 * Linearization points
 *   put   the CAS of the cell from (cycle - 1, anything) to (cycle, handle): "ring:publish". Nothing before it can be seen;
 *         nothing after it is needed.
 *   take  the CAS of `head` from H to H + 1: "ring:take".
 *   FULL  the load of `head` that found tail - head >= n.   EMPTY  the load of the cell, `head` being the same before and after it.
 *
 * Who writes what
 *   cell   producers publish into it; the worker only poisons a damaged one
 *   tail   whoever notices that its cell is published moves it on by one: it is helped, never owned
 *   head   consumers only, in a segment that producers cannot write
 *   order  nobody: n = 2^order is kept in private memory and never read from the region
 *
 * Who dies, and what is left
 *   a producer before its publish CAS     nothing of it: a CAS that only helped `tail` was due anyway
 *   a producer after it                   the entry is in; the next producer moves `tail` in its place
 *   a consumer before its take CAS        nothing happened
 *   a consumer after it                   the entry left the ring with it; the slot's state word still says SUBMITTED, and the
 *                                         sweep finds the slot
 *   a stopped one that goes on later      every write is a CAS on the value seen before, so what is stale fails
 * There is no time-out, no owner, no repair after a death: nobody has to notice it.
 *
 * What a hostile producer can do: write any value to `tail` and to the cells. The worker then takes forged handles (the
 * caller checks each against its private account), pulls a wild tail back and poisons holes; producers answer BUSY. Every loop
 * is bounded. It cannot move `head`, and it cannot touch memory outside its own ring: positions are masked by the private order.
 *
 * Not promised: that each entry arrives exactly once when someone scribbles (the slot's state word decides what runs, the ring
 * only says when to look); fairness among producers; wake-ups (see "Sleeping" below). 2^32 laps of the ring during one stall of
 * one producer would let its CAS pass: 50 days at 10^6 entries a second in the largest ring that matters (n = 1024).
 *
 * Sleeping. The ring knows nothing of it; NEED_WAKEUP stands on the board. A producer that got OK loads NEED_WAKEUP after
 * the put, behind weir_fence_full() (on x86 the put's locked CAS is that fence already). The worker sets NEED_WAKEUP by
 * weir_xchg_u32, or a store and weir_fence_full(), then looks at every ring once more with weir_ring_ready(), then sleeps. A
 * weaker fence on the worker's side loses wake-ups; tests/model/wake_model.c shows both. After BUSY the bell is always rung.
 *
 * Proofs: tests/model (every interleaving, with kills), tests/crash (SIGKILL at every instruction), tests/torture. docs/ring.md
 * is the introduction.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir_base.h"

/* A ring has 2^order cells. */
#define WEIR_RING_ORDER_MIN 6
#define WEIR_RING_ORDER_MAX 16

/* The handle that the worker writes into a damaged cell. No client has it: client index 255 does not exist. */
#define WEIR_RING_POISON UINT32_MAX

/* Tries of one put, and looks of one take, before they give up. Honest runs need 2 or 3; see BUSY and CORRUPT below. */
#define WEIR_RING_PUT_TRIES_MAX  256
#define WEIR_RING_TAKE_TRIES_MAX 64

enum weir_ring_answer {
    WEIR_RING_OK = 0,
    WEIR_RING_FULL = 1,  /* put: n entries are inside */
    WEIR_RING_EMPTY = 2, /* take: none is inside */
    /* others were faster each time, or (put) the ring is damaged: nothing was done */
    WEIR_RING_BUSY = 3,
    /* take: so much was repaired that the caller should go and sweep the slots instead */
    WEIR_RING_CORRUPT = 4,
};

/*
 * Shared: the head of a ring's memory. The cells follow it: uint64_t cell[n].
 *
 *   off | bytes | field | unit     | writer             | readers   | order   | dead writer
 *   0   | 8     | tail  | position | producers, worker  | the same  | CAS     | the next producer helps
 */
struct weir_shm_ring_line {
    uint64_t tail;
    uint8_t pad[WEIR_LINE_BYTES - 8];
} WEIR_ALIGN_LINE;

/*
 * Shared, on the board: one per ring.
 *
 *   off | bytes | field | unit     | writer  | readers   | order   | dead writer
 *   0   | 8     | head  | position | worker  | producers | CAS     | the next worker goes on from it
 */
struct weir_shm_ring_head {
    uint64_t head;
    uint8_t pad[WEIR_LINE_BYTES - 8];
} WEIR_ALIGN_LINE;

_Static_assert(sizeof(struct weir_shm_ring_line) == WEIR_LINE_BYTES, "one writer class per line");
_Static_assert(sizeof(struct weir_shm_ring_head) == WEIR_LINE_BYTES, "one writer class per line");
_Static_assert(offsetof(struct weir_shm_ring_line, tail) == 0, "ABI");
_Static_assert(offsetof(struct weir_shm_ring_head, head) == 0, "ABI");

/* Private: a producer's view. Any number of threads may share one; nothing in it changes after attach. */
struct weir_ring {
    uint64_t *tail;
    uint64_t *cell;
    const uint64_t *head; /* read-only memory for clients */
    uint32_t order;       /* the private truth about the ring's size */
};

/* Private: a consumer's view. One thread each (the counters are plain); several views of one ring may take at a time. */
struct weir_ring_consumer {
    struct weir_ring ring;
    uint64_t *head;
    uint64_t tail_repaired; /* times a tail outside its legal range was pulled back to head */
    /* cells that held no legal entry and were skipped; 0 while every producer is honest */
    uint64_t cell_poisoned;
};

/*
 * Bytes of a ring's memory: one line for the tail, then the cells; a multiple of WEIR_LINE_BYTES. 0 if `order` is outside
 * WEIR_RING_ORDER_MIN..MAX. Callers: anyone.
 */
size_t weir_ring_bytes(uint32_t order);

/*
 * Makes an empty ring whose first position is `start`.
 *
 * `start` is weir_ring_start(order) in production, which leaves all cells zero; tests use the edges of the number range.
 * `ring_memory` is weir_ring_bytes(order) long and aligned to WEIR_LINE_BYTES.
 * Callers: the broker only, before any client can map the ring.
 * Returns 0, or WEIR_E_ARGUMENT (order, alignment).
 * Order: plain for whoever maps the memory later; the segment's magic, stored last, publishes it.
 */
int weir_ring_format(void *ring_memory, struct weir_shm_ring_head *head, uint32_t order,
                     uint64_t start);

/* The usual first position, n: cycle 1, one ahead of memory that is all zero. */
static inline uint64_t weir_ring_start(uint32_t order)
{
    return UINT64_C(1) << order;
}

/*
 * Fills a producer's view. `order` comes from a private source (the attach message), never from shared memory. Reads and writes
 * nothing shared. Callers: anyone who has the two mappings; `head` may be mapped read-only.
 * Returns 0, or WEIR_E_ARGUMENT (order, alignment).
 */
int weir_ring_attach(struct weir_ring *view, void *ring_memory,
                     const struct weir_shm_ring_head *head, uint32_t order);

/* The same for a consumer, who may write `head`; the counters start at 0. Callers: the worker. */
int weir_ring_attach_consumer(struct weir_ring_consumer *view, void *ring_memory,
                              struct weir_shm_ring_head *head, uint32_t order);

/*
 * Appends `handle`.
 *
 * Callers: any thread or process with the ring mapped writable; no lock, no system call, no waiting on anyone.
 * Returns
 *   WEIR_RING_OK      published. The caller then looks at NEED_WAKEUP ("Sleeping" above).
 *   WEIR_RING_FULL    n entries were inside at one instant during the call; nothing was changed.
 *   WEIR_RING_BUSY    256 tries failed: a scribbled ring, or others published 256 times meanwhile. Nothing was published.
 *                     The slot stays SUBMITTED; ring the bell, and the sweep finds it.
 *   WEIR_E_ARGUMENT   `handle` is WEIR_RING_POISON.
 * Order: whoever takes the handle sees everything written before the put (pair ring-publish).
 * Cost: 3 loads and 2 CAS alone; `head` and the cell are lines that the worker touched last.
 */
int weir_ring_put(const struct weir_ring *view, uint32_t handle);

/*
 * Takes the oldest handle into `*handle`, which is written with WEIR_RING_OK only.
 *
 * The value is whatever a client wrote: check it against private memory before use.
 * Callers: the worker; several views may take side by side.
 * Returns
 *   WEIR_RING_OK        the entry is the caller's alone.
 *   WEIR_RING_EMPTY     nothing was inside at one instant during the call.
 *   WEIR_RING_BUSY      64 looks lost to other consumers (never with one consumer). Try again.
 *   WEIR_RING_CORRUPT   64 looks, some of which repaired damage: leave the ring, sweep the slots, come back.
 * Repairs are counted in the view. Honest producers never cause one, killed or not.
 * Order: everything that the producer wrote before its put can be read (pair ring-publish).
 * Cost: 2 loads and 1 CAS; when empty, 4 loads.
 */
int weir_ring_take(struct weir_ring_consumer *view, uint32_t *handle);

/*
 * Whether a take now would find something to do: an entry, a damaged cell, or a wild tail. Callers: the worker, for each
 * priority in turn and once more before it sleeps, behind the fence of "Sleeping". Cost: 3 loads, of which an idle worker has
 * all in its cache. True may be out of date when it is returned; false is true of the instant at which the cell was loaded.
 */
bool weir_ring_ready(const struct weir_ring_consumer *view);

/* Entries inside, 0..n, as `tail` tells it: for display, because tail is a hint and anyone may write it. Callers: anyone. */
uint64_t weir_ring_depth_hint(const struct weir_ring *view);

#endif
