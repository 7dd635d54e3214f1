/*
 * weir_latch.h: a value wider than 8 bytes with one writer, read without waiting.
 *
 * Two copies and a sequence number: sequence s says that copy s & 1 is whole. The writer fills the other copy and then raises the
 * sequence; a reader takes the copy that the sequence names and looks at the sequence again. A reader is disturbed only when
 * the writer published once and began again meanwhile. (The kernel knows the idea as seqcount_latch.)
 *
 *   writer   one thread of one process
 *   readers  any number, on read-only mappings; a reader never makes the writer wait
 *   writer dies at any instruction   the copy that the sequence names is whole: nothing to repair, unlike an odd seqlock
 *   reader dies                      nobody notices
 *
 * Values are copied as 8-byte words, because a plain copy would be a data race. weir_latch_read gives up after
 * WEIR_LATCH_TRIES and answers false ("miss"), so that no reader ever loops for ever on damaged memory.
 */
#ifndef WEIR_LATCH_H
#define WEIR_LATCH_H

#include "weir_atomic.h"
#include "weir_base.h"
#include "weir_weave.h"

#include <stddef.h>

#define WEIR_LATCH_TRIES 64

/* Publish `words` 8-byte words from `value`. Caller: the one writer. Order: what was written before is visible to who reads it. */
static inline void weir_latch_write(uint64_t *seq, uint64_t *copies, const uint64_t *value,
                                    size_t words)
{
    uint64_t s = weir_load_relaxed_u64(seq) + 1; /* relaxed: only this thread writes it */
    uint64_t *to = copies + (s & 1) * words;
    /* The release of the last publication keeps these stores after it; readers of copy s & 1 see the sequence move. */
    weir_fence_full();
    for (size_t i = 0; i < words; i++) {
        weir_store_relaxed_u64(&to[i], value[i]);
    }
    WEIR_WEAVE("latch:filled");
    weir_store_release_u64(seq, s); /* pair:latch R */
    WEIR_WEAVE("latch:published");
}

/*
 * Copy the newest whole value to `value`. Returns false when the writer overtook the reader WEIR_LATCH_TRIES times.
 * `*seq_seen` tells a caller later, by one load, whether the value has changed since.
 */
static inline bool weir_latch_read(const uint64_t *seq, const uint64_t *copies, uint64_t *value,
                                   size_t words, uint64_t *seq_seen)
{
    for (int i = 0; i < WEIR_LATCH_TRIES; i++) {
        uint64_t s = weir_load_acquire_u64(seq); /* pair:latch A */
        const uint64_t *from = copies + (s & 1) * words;
        for (size_t w = 0; w < words; w++) {
            value[w] = weir_load_relaxed_u64(&from[w]); /* relaxed: judged by the sequence below */
        }
        weir_fence_acquire(); /* the copy's loads stay before the second look at the sequence */
        if (WEIR_LIKELY(weir_load_relaxed_u64(seq) == s)) {
            *seq_seen = s;
            return true;
        }
    }
    return false;
}

#endif
