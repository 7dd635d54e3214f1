/*
 * weir_ring.c: NCQ with a full test. The header is the manual; here is why each step stands where it stands.
 *
 * Steps between two WEIR_WEAVE marks touch shared memory once; tests/model/ring_model.c has the same steps under the same names.
 */
#include "weir_ring.h"

#include "weir_atomic.h"
#include "weir_types.h"
#include "weir_weave.h"

static uint64_t cell_make(uint32_t cycle, uint32_t handle)
{
    return ((uint64_t)cycle << 32) | handle;
}

static uint32_t cell_cycle(uint64_t cell)
{
    return (uint32_t)(cell >> 32);
}

static uint32_t cell_handle(uint64_t cell)
{
    return (uint32_t)cell;
}

/* The cycle of a position; truncated, so compare for equality only. */
static uint32_t pos_cycle(const struct weir_ring *view, uint64_t pos)
{
    return (uint32_t)(pos >> view->order);
}

static uint64_t ring_cells(const struct weir_ring *view)
{
    return UINT64_C(1) << view->order;
}

static uint64_t *pos_cell(const struct weir_ring *view, uint64_t pos)
{
    return &view->cell[pos & (ring_cells(view) - 1)];
}

/* How far `a` is ahead of `b`; negative if behind. Positions wrap at 2^64, so only differences mean anything. */
static int64_t pos_ahead(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b);
}

static bool order_valid(uint32_t order)
{
    return order >= WEIR_RING_ORDER_MIN && order <= WEIR_RING_ORDER_MAX;
}

static bool line_aligned(const void *p)
{
    return p != NULL && (uintptr_t)p % WEIR_LINE_BYTES == 0;
}

size_t weir_ring_bytes(uint32_t order)
{
    if (!order_valid(order)) {
        return 0;
    }
    return sizeof(struct weir_shm_ring_line) + (sizeof(uint64_t) << order);
}

int weir_ring_attach(struct weir_ring *view, void *ring_memory,
                     const struct weir_shm_ring_head *head, uint32_t order)
{
    if (!order_valid(order) || !line_aligned(ring_memory) || !line_aligned(head)) {
        return WEIR_E_ARGUMENT;
    }
    struct weir_shm_ring_line *line = ring_memory;
    view->tail = &line->tail;
    view->cell = (uint64_t *)(line + 1);
    view->head = &head->head;
    view->order = order;
    return 0;
}

int weir_ring_attach_consumer(struct weir_ring_consumer *view, void *ring_memory,
                              struct weir_shm_ring_head *head, uint32_t order)
{
    int rc = weir_ring_attach(&view->ring, ring_memory, head, order);
    if (rc != 0) {
        return rc;
    }
    view->head = &head->head;
    view->tail_repaired = 0;
    view->cell_poisoned = 0;
    return 0;
}

int weir_ring_format(void *ring_memory, struct weir_shm_ring_head *head, uint32_t order,
                     uint64_t start)
{
    struct weir_ring view;
    int rc = weir_ring_attach(&view, ring_memory, head, order);
    if (rc != 0) {
        return rc;
    }
    /* Each cell looks as if the entry one lap earlier had been taken. */
    for (uint64_t pos = start; pos != start + ring_cells(&view); pos++) {
        uint64_t taken = cell_make(pos_cycle(&view, pos) - 1, 0);
        weir_store_relaxed_u64(pos_cell(&view, pos), taken); /* relaxed: nobody maps it yet */
    }
    weir_store_relaxed_u64(view.tail, start);   /* relaxed: nobody maps it yet */
    weir_store_relaxed_u64(&head->head, start); /* relaxed: nobody maps it yet */
    return 0;
}

/* Moves tail from `pos` to the next position. It may fail: then someone else has done it, or tail was never there. */
static void tail_advance(const struct weir_ring *view, uint64_t pos)
{
    uint64_t expected = pos;
    /* pair:ring-tail R: the cell is published before it is counted; weave: both callers stand at a name just before */
    (void)weir_cas_u64(view->tail, &expected, pos + 1);
}

/*
 * The order of the three loads:
 *   tail, then cell: the cell is judged by a tail that is not newer than it.
 *   cell, then head: head only goes up, so if it is above T - n now, the entry that `seen` showed there is gone for good and
 *   may be overwritten.
 * The difference is signed because a consumer can be at T + 1 while tail still says T.
 */
int weir_ring_put(const struct weir_ring *view, uint32_t handle)
{
    if (handle == WEIR_RING_POISON) {
        return WEIR_E_ARGUMENT;
    }
    int64_t capacity = (int64_t)ring_cells(view);
    for (uint32_t i = 0; i < WEIR_RING_PUT_TRIES_MAX; i++) {
        WEIR_WEAVE("ring:put");
        uint64_t tail = weir_load_acquire_u64(view->tail); /* pair:ring-tail A */
        uint32_t cycle = pos_cycle(view, tail);
        uint64_t *cell = pos_cell(view, tail);
        WEIR_WEAVE("ring:put-tail");
        /* pair:ring-publish A: if it shows our cycle, it is published and tail may move past it */
        uint64_t seen = weir_load_acquire_u64(cell);
        if (cell_cycle(seen) == cycle) {
            WEIR_WEAVE("ring:help");
            tail_advance(view, tail); /* its producer died or is slow: do its last step */
            continue;
        }
        if (cell_cycle(seen) + 1 != cycle) {
            weir_cpu_relax(); /* our tail is a lap old, or someone scribbled */
            continue;
        }
        WEIR_WEAVE("ring:put-cell");
        /* pair:ring-head A: the entry one lap ago was read out */
        uint64_t head = weir_load_acquire_u64(view->head);
        if (pos_ahead(tail, head) >= capacity) {
            WEIR_WEAVE("ring:full");
            if (weir_load_acquire_u64(view->tail) == tail) { /* pair:ring-tail A */
                return WEIR_RING_FULL;
            }
            continue;
        }
        WEIR_WEAVE("ring:publish");
        /* pair:ring-publish R: what the caller wrote into its slot can be seen with the entry */
        if (weir_cas_u64(cell, &seen, cell_make(cycle, handle))) {
            WEIR_WEAVE("ring:published");
            tail_advance(view, tail);
            return WEIR_RING_OK;
        }
    }
    return WEIR_RING_BUSY;
}

/* Replaces what `seen` showed at `pos` by an entry that takers skip. It fails if a producer published there meanwhile. */
static void cell_poison(struct weir_ring_consumer *view, uint64_t pos, uint64_t seen)
{
    uint64_t poison = cell_make(pos_cycle(&view->ring, pos), WEIR_RING_POISON);
    WEIR_WEAVE("ring:poison");
    /* pair:ring-publish R: an entry like any other */
    if (weir_cas_u64(pos_cell(&view->ring, pos), &seen, poison)) {
        view->cell_poisoned++;
    }
}

/*
 * Nothing takeable at `pos`: says whether the ring is empty, and mends what no honest producer leaves behind.
 *
 * Head is loaded again before anything is judged: if another consumer went past `pos`, then what looks like a wild tail or a
 * foreign cell is only old news. With head still at pos, an honest tail is in pos - 1 .. pos + n.
 */
static bool judged_empty(struct weir_ring_consumer *view, uint64_t pos, uint64_t seen)
{
    const struct weir_ring *ring = &view->ring;
    bool behind = cell_cycle(seen) + 1 == pos_cycle(ring, pos); /* free, says the cell */
    WEIR_WEAVE("ring:take-cell");
    uint64_t tail = weir_load_acquire_u64(ring->tail); /* pair:ring-tail A: loaded after the cell */
    WEIR_WEAVE("ring:take-tail");
    if (weir_load_acquire_u64(view->head) != pos) { /* pair:ring-head A: loaded after the tail */
        return false;
    }
    if (!behind) {
        cell_poison(view, pos, seen); /* a cycle that nobody could have written here */
        return false;
    }
    int64_t ahead = pos_ahead(tail, pos);
    if (ahead < -1 || ahead > (int64_t)ring_cells(ring)) {
        WEIR_WEAVE("ring:repair-tail");
        if (weir_cas_u64(ring->tail, &tail, pos)) { /* pair:ring-tail R */
            view->tail_repaired++;
        }
        return false;
    }
    if (ahead > 0) {
        cell_poison(view, pos, seen); /* a hole; fails if a producer filled it just now */
        return false;
    }
    return true;
}

int weir_ring_take(struct weir_ring_consumer *view, uint32_t *handle)
{
    const struct weir_ring *ring = &view->ring;
    uint64_t repairs = view->tail_repaired + view->cell_poisoned;
    for (uint32_t i = 0; i < WEIR_RING_TAKE_TRIES_MAX; i++) {
        WEIR_WEAVE("ring:take-begin");
        uint64_t head = weir_load_acquire_u64(view->head); /* pair:ring-head A */
        WEIR_WEAVE("ring:take-head");
        /* pair:ring-publish A: what the producer wrote into its slot can be read */
        uint64_t seen = weir_load_acquire_u64(pos_cell(ring, head));
        if (cell_cycle(seen) != pos_cycle(ring, head)) {
            if (judged_empty(view, head, seen)) {
                return WEIR_RING_EMPTY;
            }
            continue;
        }
        WEIR_WEAVE("ring:take");
        /* pair:ring-head R: the cell was read out and may be reused */
        if (!weir_cas_u64(view->head, &head, head + 1)) {
            continue;
        }
        WEIR_WEAVE("ring:taken");
        if (cell_handle(seen) != WEIR_RING_POISON) {
            *handle = cell_handle(seen);
            return WEIR_RING_OK;
        }
    }
    return view->tail_repaired + view->cell_poisoned != repairs ? WEIR_RING_CORRUPT
                                                                : WEIR_RING_BUSY;
}

bool weir_ring_ready(const struct weir_ring_consumer *view)
{
    const struct weir_ring *ring = &view->ring;
    uint64_t head = weir_load_acquire_u64(view->head); /* pair:ring-head A */
    /* pair:ring-publish A: nothing is read through it here; it keeps the tail load behind */
    uint64_t seen = weir_load_acquire_u64(pos_cell(ring, head));
    if (cell_cycle(seen) + 1 != pos_cycle(ring, head)) {
        return true;
    }
    int64_t ahead = pos_ahead(weir_load_acquire_u64(ring->tail), head); /* pair:ring-tail A */
    return ahead != 0 && ahead != -1;
}

uint64_t weir_ring_depth_hint(const struct weir_ring *view)
{
    uint64_t head = weir_load_acquire_u64(view->head); /* pair:ring-head A */
    uint64_t tail = weir_load_acquire_u64(view->tail); /* pair:ring-tail A */
    int64_t depth = pos_ahead(tail, head);
    return depth < 0 ? 0 : weir_min_u64((uint64_t)depth, ring_cells(view));
}
