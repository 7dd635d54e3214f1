#include "weir_cache.h"

#include "weir_weave.h"

#include <string.h>

#include <xxhash.h>

/* ---------------------------------------------------------------------------------------------- the key */

uint64_t weir_cache_seed(const char *provider, const char *route, uint32_t method, const char *path)
{
    const char *const text[] = {provider, route, path};
    uint64_t seed = method;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(text); i++) {
        seed = XXH3_64bits_withSeed(text[i], strlen(text[i]) + 1, seed);
    }
    return seed;
}

/* The normalised text, as it grows. */
struct text {
    size_t bytes;
    bool full;
    char at[WEIR_CACHE_TEXT_MAX_BYTES];
};

/* A part with its length, so that no two calls have one text. */
static void text_put(struct text *t, const char *from, size_t bytes, bool lower)
{
    uint32_t length = (uint32_t)bytes;
    if (t->full || bytes > sizeof t->at || t->bytes + sizeof length + bytes > sizeof t->at) {
        t->full = true;
        return;
    }
    memcpy(t->at + t->bytes, &length, sizeof length);
    t->bytes += sizeof length;
    for (size_t i = 0; i < bytes && lower; i++) {
        char c = from[i];
        t->at[t->bytes + i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    if (!lower && bytes > 0) {
        memcpy(t->at + t->bytes, from, bytes);
    }
    t->bytes += bytes;
}

struct piece {
    const char *at;
    size_t bytes, name_bytes;
};

static bool piece_after(const struct piece *a, const struct piece *b)
{
    size_t n = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
    int order = memcmp(a->at, b->at, n);
    return order > 0 || (order == 0 && a->name_bytes > b->name_bytes);
}

static void query_put(struct text *t, const char *query, size_t bytes)
{
    struct piece piece[WEIR_CACHE_PARAMS_MAX];
    size_t cnt = 0;
    for (size_t from = 0; from <= bytes && bytes > 0;) { /* ends: `from` goes up each time */
        const char *end = memchr(query + from, '&', bytes - from);
        size_t to = end != NULL ? (size_t)(end - query) : bytes;
        const char *equals = memchr(query + from, '=', to - from);
        if (cnt == WEIR_CACHE_PARAMS_MAX) {
            t->full = true;
            return;
        }
        struct piece p = {query + from, to - from,
                          equals != NULL ? (size_t)(equals - query) - from : to - from};
        size_t i = cnt++;
        for (; i > 0 && piece_after(&piece[i - 1], &p); i--) { /* equal names keep their order */
            piece[i] = piece[i - 1];
        }
        piece[i] = p;
        from = to + 1;
    }
    for (size_t i = 0; i < cnt; i++) {
        text_put(t, piece[i].at, piece[i].bytes, false);
    }
    text_put(t, "", 0, false);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool header_after(const struct weir_request_header *a, const struct weir_request_header *b)
{
    for (uint32_t i = 0; i < a->name_bytes && i < b->name_bytes; i++) {
        if (lower(a->name[i]) != lower(b->name[i])) {
            return lower(a->name[i]) > lower(b->name[i]);
        }
    }
    return a->name_bytes > b->name_bytes;
}

static void headers_put(struct text *t, const struct weir_request_header *header, uint32_t cnt)
{
    const struct weir_request_header *sorted[WEIR_REQUEST_HEADERS_MAX];
    if (cnt > WEIR_REQUEST_HEADERS_MAX) {
        t->full = true;
        return;
    }
    for (uint32_t n = 0; n < cnt; n++) {
        uint32_t i = n;
        for (; i > 0 && header_after(sorted[i - 1], &header[n]); i--) {
            sorted[i] = sorted[i - 1];
        }
        sorted[i] = &header[n];
    }
    for (uint32_t i = 0; i < cnt; i++) {
        text_put(t, sorted[i]->name, sorted[i]->name_bytes, true);
        text_put(t, sorted[i]->value, sorted[i]->value_bytes, false);
    }
    text_put(t, "", 0, false);
}

bool weir_cache_key_make(const struct weir_cache_call *call, struct weir_cache_key *key)
{
    struct text t;
    t.bytes = 0;
    t.full = false;
    text_put(&t, (const char *)&call->instrument, sizeof call->instrument, false);
    text_put(&t, call->path, call->path_bytes, false);
    query_put(&t, call->query, call->query_bytes);
    headers_put(&t, call->header, call->header_cnt);
    if (call->body_bytes > 0) {
        XXH128_hash_t body = XXH3_128bits_withSeed(call->body, call->body_bytes, call->seed);
        text_put(&t, (const char *)&body, sizeof body, false);
    }
    if (t.full) {
        return false;
    }
    XXH128_hash_t hash = XXH3_128bits_withSeed(t.at, t.bytes, call->seed);
    /* 0 is what an empty head bears. */
    *key = (struct weir_cache_key){{hash.low64 != 0 ? hash.low64 : 1, hash.high64}};
    return true;
}

/* ---------------------------------------------------------------------------------------------- reading */

bool weir_cache_view_open(struct weir_cache_view *view, const void *head, uint32_t head_cnt,
                          const void *data, uint64_t data_bytes)
{
    *view = (struct weir_cache_view){.head = NULL};
    if (head == NULL || head_cnt == 0) {
        return data == NULL || data_bytes == 0;
    }
    if (data == NULL || head_cnt < WEIR_CACHE_WAYS || head_cnt > WEIR_CACHE_HEADS_MAX ||
        (head_cnt & (head_cnt - 1U)) != 0 || data_bytes > UINT32_MAX) {
        return false;
    }
    *view = (struct weir_cache_view){head, data, data_bytes & ~UINT64_C(7), head_cnt};
    return true;
}

static bool untouched(const struct weir_shm_cache_head *h, uint64_t sequence)
{
    weir_fence_acquire();                                   /* the copy's loads stay before it */
    return weir_load_relaxed_u64(&h->sequence) == sequence; /* relaxed: behind the fence */
}

/* Inside the mapped data, whatever the head says? */
static bool in_bounds(const struct weir_cache_view *view, const struct weir_shm_cache_head *h)
{
    uint64_t bytes = (uint64_t)h->head_bytes + h->body_bytes;
    return h->data_off_bytes % sizeof(uint64_t) == 0 && h->data_off_bytes <= view->data_bytes &&
           weir_round_up(bytes, sizeof(uint64_t)) <= view->data_bytes - h->data_off_bytes &&
           h->head_bytes <= WEIR_CACHE_HEAD_MAX_BYTES;
}

/* One try at one head: HIT and SMALL are whole. `*again`: the writer came in between. */
static enum weir_cache_found head_try(const struct weir_cache_view *view, uint32_t index,
                                      const struct weir_cache_key *key, uint64_t now_ns, bool stale,
                                      char *to, uint64_t room_bytes,
                                      struct weir_cache_answer *answer, bool *again)
{
    const struct weir_shm_cache_head *h = &view->head[index];
    struct weir_shm_cache_head copy;
    uint64_t sequence = weir_load_acquire_u64(&h->sequence); /* pair:cache A */
    *again = false;
    if ((sequence & 1U) == 0) {
        return WEIR_CACHE_MISS; /* being written, perhaps by a dead worker: nobody waits for it */
    }
    weir_copy_relaxed(&copy, (const uint64_t *)(const void *)h, sizeof copy);
    uint64_t until_ns = stale ? copy.stale_until_ns : copy.fresh_until_ns;
    uint64_t bytes = (uint64_t)copy.head_bytes + copy.body_bytes;
    if (copy.key[0] != key->word[0] || copy.key[1] != key->word[1] || now_ns >= until_ns ||
        now_ns >= copy.stale_until_ns || !in_bounds(view, &copy)) {
        *again = !untouched(h, sequence);
        return WEIR_CACHE_MISS;
    }
    enum weir_cache_found found = bytes <= room_bytes ? WEIR_CACHE_HIT : WEIR_CACHE_SMALL;
    if (found == WEIR_CACHE_HIT) {
        weir_copy_relaxed(to, view->data + copy.data_off_bytes / sizeof(uint64_t), bytes);
    }
    if (!untouched(h, sequence)) {
        *again = true;
        return WEIR_CACHE_MISS;
    }
    *answer = (struct weir_cache_answer){.filled_ns = copy.filled_ns,
                                         .fresh_until_ns = copy.fresh_until_ns,
                                         .stale_until_ns = copy.stale_until_ns,
                                         .head_bytes = copy.head_bytes,
                                         .body_bytes = copy.body_bytes,
                                         .status = copy.status,
                                         .source = copy.source,
                                         .route = copy.route,
                                         .index = index};
    return found;
}

enum weir_cache_found weir_cache_find(const struct weir_cache_view *view,
                                      const struct weir_cache_key *key, uint64_t now_ns, bool stale,
                                      void *to, uint64_t room_bytes,
                                      struct weir_cache_answer *answer)
{
    if (view->head == NULL) {
        return WEIR_CACHE_MISS;
    }
    uint32_t first = weir_cache_set(view, key);
    for (uint32_t way = 0; way < WEIR_CACHE_WAYS; way++) {
        /* relaxed: a hint; the copy of the head decides */
        if (weir_load_relaxed_u64(&view->head[first + way].key[0]) != key->word[0]) {
            continue;
        }
        bool again = true;
        for (uint32_t i = 0; i < WEIR_CACHE_TRIES && again; i++) {
            enum weir_cache_found found =
                head_try(view, first + way, key, now_ns, stale, to, room_bytes, answer, &again);
            if (found != WEIR_CACHE_MISS) {
                return found;
            }
        }
    }
    return WEIR_CACHE_MISS;
}

/* ---------------------------------------------------------------------------------------------- writing */

void weir_cache_take_away(struct weir_shm_cache_head *head)
{
    uint64_t sequence = weir_load_relaxed_u64(&head->sequence); /* relaxed: only we write it */
    if ((sequence & 1U) == 0) {
        return;
    }
    weir_store_relaxed_u64(&head->sequence, sequence + 1); /* relaxed: ordered by the fence */
    WEIR_WEAVE("cache:taken_away");
    weir_fence_full(); /* before any store into what it stood for (pair:cache, the readers' second look) */
}

/* Words of data from two texts that need not end at words; relaxed: published by the sequence. */
static void data_put(uint64_t *to, const char *head, uint32_t head_bytes, const char *body,
                     uint32_t body_bytes)
{
    uint64_t bytes = (uint64_t)head_bytes + body_bytes;
    for (uint64_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        uint64_t end = weir_min_u64(at + sizeof word, bytes);
        if (at >= head_bytes) {
            memcpy(&word, body + (at - head_bytes), end - at);
        } else if (end <= head_bytes) {
            memcpy(&word, head + at, end - at);
        } else {
            memcpy(&word, head + at, head_bytes - at);
            memcpy((char *)&word + (head_bytes - at), body, end - head_bytes);
        }
        weir_store_relaxed_u64(&to[at / sizeof word], word);
    }
}

void weir_cache_put(struct weir_shm_cache_head *head, uint64_t *data,
                    const struct weir_shm_cache_head *as, const char *http_head, const char *body)
{
    uint64_t words[WEIR_CACHE_HEAD_WORDS];
    uint64_t *to = (uint64_t *)(void *)head;
    uint64_t sequence = weir_load_relaxed_u64(&head->sequence); /* relaxed: only we write it */
    data_put(data + as->data_off_bytes / sizeof(uint64_t), http_head, as->head_bytes, body,
             as->body_bytes);
    memcpy(words, as, sizeof words);
    WEIR_WEAVE("cache:data");
    for (size_t i = 1; i < WEIR_CACHE_HEAD_WORDS; i++) {
        weir_store_relaxed_u64(&to[i], words[i]); /* relaxed: published by the sequence */
    }
    WEIR_WEAVE("cache:filled");
    weir_store_release_u64(&head->sequence, sequence + 1); /* pair:cache R */
    WEIR_WEAVE("cache:published");
}
