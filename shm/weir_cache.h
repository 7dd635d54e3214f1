/*
 * weir_cache.h: answers on the board that every client may take without asking.
 *
 * Only answers of routes that the configuration marks `share: public` lie here. One line of half a cache line pair (a *head*) stands for one answer; its
 * bytes lie in section CACHE_DATA, in whole granules that the worker gives out from private memory. Heads are grouped in sets of WEIR_CACHE_WAYS; the key says in
 * which set an answer may be, so a look is bounded and there is no index that could be half written.
 *
 *   writer   the worker, alone. A head's `sequence` is odd while it stands for an answer, and only ever goes up
 *              take away   s (odd) -> s + 1, full fence
 *              put         (taken away before) words of data and head, then s + 1 -> s + 2 with release
 *   readers  any number, on read-only mappings, which write nothing and wait for nobody: sequence (acquire), head, bounds, data, acquire fence, sequence
 *            again. Equal and odd: the copy is one answer, whole. Else at most WEIR_CACHE_TRIES times anew, then a miss
 *
 * Why a torn copy is never returned. Every store into a head or into a granule comes behind the fence of the take-away of whatever head stood for those bytes
 * before (granules are given out anew only when their head was taken away). A reader that has loaded one such newer word has, behind its own fence, a second look at
 * the sequence that cannot be older than that take-away: it sees s + 1 or more and drops the copy. A reader that has loaded none of them has the old answer, whole.
 * ABA: the sequence has 64 bits and never comes back, so equal means untouched; a head that was filled again in between bears another one.
 *
 * Who dies: the writer at any instruction leaves the head that it was at even, which is a miss, and all others whole; its successor counts the granules of odd
 * heads as taken and goes on: nothing to repair. What a dead reader leaves is nothing. A board that lies (a monitor's image) leads a reader nowhere outside
 * the sections that it has mapped: indices are masked, offsets and lengths are compared with private bounds before a byte is copied; the copy may be garbage.
 *
 * Age. All instants are weir time. `filled_ns` is when the request was written to its connection (RFC 9111, 4.2.3: the delay of the answer counts as age), so the
 * exchange cannot have made the answer earlier; fresh and stale ends are counted from there.
 *
 * Source: seqlocks as in H.-J. Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012).
 */
#ifndef WEIR_CACHE_H
#define WEIR_CACHE_H

#include "weir_atomic.h"
#include "weir_layout.h"
#include "weir_request.h"

#define WEIR_CACHE_WAYS           8U
#define WEIR_CACHE_HEADS_MIN      64U
#define WEIR_CACHE_HEADS_MAX      65536U
#define WEIR_CACHE_TRIES          8U
#define WEIR_CACHE_GRANULE_BYTES  256U  /* answers begin at multiples of it */
#define WEIR_CACHE_HEAD_MAX_BYTES 8192U /* of an answer's HTTP head */
#define WEIR_CACHE_PARAMS_MAX     32U   /* query parameters of a call that has a key */
#define WEIR_CACHE_TEXT_MAX_BYTES \
    2048U /* its path, query and headers together, with 4 bytes a part */

/* What the cache is, and how it does. Writer: worker (`answer_max_bytes`, `bytes`: the supervisor, once). Absent where no route is cached. */
struct weir_shm_cache {
    uint64_t bytes;            /* of section CACHE_DATA that may be used */
    uint64_t answer_max_bytes; /* head and body of the largest answer that is kept */
    uint64_t answers;          /* now */
    uint64_t answers_bytes;    /* ... and their granules */
    uint64_t evicted;          /* taken away for want of room, before their time */
    uint64_t expired;          /* ... behind it */
    uint64_t reserved[10];
} WEIR_ALIGN_LINE;

/* Per route. Writer: worker, relaxed; for monitors. */
struct weir_shm_cache_route {
    uint64_t hits_client; /* fresh answers that clients took themselves: their own word for it */
    uint64_t hits;        /* ... that the worker gave */
    uint64_t stale;       /* given behind their time */
    uint64_t disk;        /* ... that an earlier broker had fetched */
    uint64_t coalesced;   /* calls that got the answer of another one in flight */
    uint64_t misses;      /* calls that had to be made */
    uint64_t stored;
    uint64_t stored_negative; /* of them */
    uint64_t refreshed;       /* calls of the worker's own, for an answer that is given meanwhile */
    uint64_t not_kept; /* answers that said so themselves (Cache-Control, Vary) or were too large */
    uint64_t batched;  /* calls that got an element of a batch's answer */
    uint64_t batches;  /* calls of the worker's own that were made for many */
    uint64_t batches_failed; /* ... and whose answer was of no use */
    uint64_t reserved[3];
} WEIR_ALIGN_LINE;

/* One answer. 64 bytes; its set is a whole number of lines. */
struct weir_shm_cache_head {
    uint64_t sequence; /* odd: whole (pair:cache) */
    uint64_t key[2];
    uint64_t filled_ns;
    uint64_t fresh_until_ns;
    uint64_t stale_until_ns; /* nobody is given it later */
    uint32_t data_off_bytes; /* in CACHE_DATA: head, then body without a gap */
    uint32_t body_bytes;
    uint16_t head_bytes;
    uint16_t status;
    uint16_t route;
    uint16_t source; /* enum weir_source: LIVE of this broker, DISK of an earlier one */
};

#define WEIR_CACHE_HEAD_WORDS 8U

/* What one thread took from the cache. Writer: the thread; reader: worker. Behind u32 hits[route], which is behind `units` of its meter. */
struct weir_shm_cache_touch {
    uint32_t cnt; /* ever; the last ones are in `head` (relaxed: a hint for the eviction) */
    uint32_t head[31];
};

/* Where the part of the cache begins in a meter, and what a meter with it takes. */
static inline uint64_t weir_meter_cache_off_bytes(uint32_t route_cnt, uint32_t limit_cnt)
{
    return weir_meter_bytes(route_cnt, limit_cnt);
}

static inline uint64_t weir_meter_touch_off_bytes(uint32_t route_cnt, uint32_t limit_cnt)
{
    return weir_meter_cache_off_bytes(route_cnt, limit_cnt) + route_cnt * sizeof(uint32_t);
}

static inline uint64_t weir_meter_all_bytes(uint32_t route_cnt, uint32_t limit_cnt)
{
    return weir_meter_touch_off_bytes(route_cnt, limit_cnt) + sizeof(struct weir_shm_cache_touch);
}

/* ---------------------------------------------------------------------------------------------- the key */

struct weir_cache_key {
    uint64_t word[2];
};

/* A call as far as its answer depends on it. Pointers need not be NUL-terminated. */
struct weir_cache_call {
    uint64_t seed;       /* of the route: provider, name, method, path (weir_cache_seed) */
    uint32_t instrument; /* of its scope */
    uint32_t header_cnt; /* as the client set them; at most WEIR_REQUEST_HEADERS_MAX */
    const struct weir_request_header *header;
    const char *path; /* what is appended to the route's */
    const char *query;
    const void *body;
    size_t path_bytes, query_bytes, body_bytes;
};

/* What a route's keys begin with. */
uint64_t weir_cache_seed(const char *provider, const char *route, uint32_t method,
                         const char *path);

/*
 * XXH3-128 over the normalised call: parameters of the query in order of their names (equal names keep their order), headers in order of their names in
 * lower case, each part with its length, the body by its own hash. Two calls with one key ask the same thing (but for 2^-64 or so of them); calls that differ only in how they
 * are percent-encoded have two, which costs a fetch. False: longer than the bounds above, never kept. Pure; no allocation. Cost: some 30 ns.
 */
bool weir_cache_key_make(const struct weir_cache_call *call, struct weir_cache_key *key);

/* ---------------------------------------------------------------------------------------------- reading */

/* The mapped sections. Private to whoever looks. */
struct weir_cache_view {
    const struct weir_shm_cache_head *head; /* NULL: there is no cache */
    const uint64_t *data;
    uint64_t data_bytes;
    uint32_t head_cnt; /* a power of two */
};

/* False, and no cache, where the sections have not the shape of one. NULL `head`: no cache, true. */
bool weir_cache_view_open(struct weir_cache_view *view, const void *head, uint32_t head_cnt,
                          const void *data, uint64_t data_bytes);

struct weir_cache_answer {
    uint64_t filled_ns, fresh_until_ns, stale_until_ns;
    uint32_t head_bytes, body_bytes; /* as they lie in the copy, one behind the other */
    uint32_t status, source, route;
    uint32_t index; /* of its head */
};

/* How old it is. What was filled before weir time 0 (before the boot, by an earlier broker: DISK) bears an instant that has wrapped. */
static inline uint64_t weir_cache_age_ns(uint64_t filled_ns, uint64_t now_ns)
{
    return (int64_t)(now_ns - filled_ns) > 0 ? now_ns - filled_ns : 0;
}

enum weir_cache_found {
    WEIR_CACHE_MISS = 0,
    WEIR_CACHE_HIT = 1,
    WEIR_CACHE_SMALL = 2, /* it is there, and larger than `room_bytes`: `answer` says how large */
};

/*
 * Copy the answer to `key` that may be given until after `now_ns` (`stale`: by its stale end, else by its fresh one) to `to`. Never returns
 * a copy of two answers. Caller: anyone. Writes nothing but `to` and `answer`. Cost: bounded, no system call.
 */
enum weir_cache_found weir_cache_find(const struct weir_cache_view *view,
                                      const struct weir_cache_key *key, uint64_t now_ns, bool stale,
                                      void *to, uint64_t room_bytes,
                                      struct weir_cache_answer *answer);

/* The first head of the set of `key`. */
static inline uint32_t weir_cache_set(const struct weir_cache_view *view,
                                      const struct weir_cache_key *key)
{
    return (uint32_t)key->word[1] & (view->head_cnt - 1U) & ~(WEIR_CACHE_WAYS - 1U);
}

/* ---------------------------------------------------------------------------------------------- writing: the worker alone */

/* Take the answer of `head` away, if it stands for one: its granules may be used again when this returns. */
void weir_cache_take_away(struct weir_shm_cache_head *head);

/*
 * Put an answer: `http_head` and `body` to `data` + off, then `as` (but for its sequence) to `head`, which was taken away. The granules belong to nobody.
 */
void weir_cache_put(struct weir_shm_cache_head *head, uint64_t *data,
                    const struct weir_shm_cache_head *as, const char *http_head, const char *body);

#endif
