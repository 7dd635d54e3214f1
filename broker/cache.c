#include "broker/cache.h"

#include "broker/batch.h"
#include "broker/last_good.h"
#include "shm/weir_atomic.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- what an answer says of itself */

/* The value of the header line `name`; false: it is another one. Blanks before the colon are wrong (RFC 9112, 5.1), and still it is that header. */
static bool line_value(const char *line, size_t bytes, const char *name, const char **value,
                       size_t *value_bytes)
{
    size_t n = strlen(name);
    if (bytes < n || strncasecmp(line, name, n) != 0) {
        return false;
    }
    const char *from = line + n;
    const char *to = line + bytes;
    while (from < to && (*from == ' ' || *from == '\t')) {
        from++;
    }
    if (from == to || *from++ != ':') {
        return false;
    }
    while (from < to && (*from == ' ' || *from == '\t')) {
        from++;
    }
    while (to > from && (to[-1] == '\r' || to[-1] == '\n' || to[-1] == ' ' || to[-1] == '\t')) {
        to--;
    }
    *value = from;
    *value_bytes = (size_t)(to - from);
    return true;
}

/* Digits only; anything else counts as 0, which keeps nothing. */
static uint64_t seconds_ns(const char *text, size_t bytes)
{
    uint64_t s = 0;
    size_t i = bytes > 1 && text[0] == '"' ? 1 : 0;
    for (; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        s = s * 10 + (uint64_t)(text[i] - '0');
        s = weir_min_u64(s, UINT64_C(1) << 31); /* RFC 9111, 1.2.2 */
    }
    return s * WEIR_NS_PER_S;
}

static bool token_is(const char *token, size_t bytes, const char *name)
{
    return strlen(name) == bytes && strncasecmp(token, name, bytes) == 0;
}

/* One directive of Cache-Control. False: it forbids to keep the answer. */
static bool directive(const char *token, size_t bytes, bool *shared, struct cache_directives *out)
{
    const char *equals = memchr(token, '=', bytes);
    size_t name_bytes = equals != NULL ? (size_t)(equals - token) : bytes;
    if (token_is(token, name_bytes, "no-store") || token_is(token, name_bytes, "no-cache") ||
        token_is(token, name_bytes, "private")) {
        return false;
    }
    if (token_is(token, name_bytes, "must-revalidate") ||
        token_is(token, name_bytes, "proxy-revalidate")) {
        out->must_revalidate = true;
    }
    bool for_shared = token_is(token, name_bytes, "s-maxage");
    if (equals != NULL && (for_shared || (token_is(token, name_bytes, "max-age") &&
                                          !*shared))) { /* RFC 9111, 5.2.2.10 */
        out->max_age_ns = seconds_ns(equals + 1, bytes - name_bytes - 1);
        *shared = *shared || for_shared;
    }
    return true;
}

static bool cache_control(const char *value, size_t bytes, bool *shared,
                          struct cache_directives *out)
{
    for (size_t from = 0; from < bytes;) { /* ends: `from` goes up each time */
        const char *end = memchr(value + from, ',', bytes - from);
        size_t to = end != NULL ? (size_t)(end - value) : bytes;
        size_t next = to + 1;
        while (from < to && (value[from] == ' ' || value[from] == '\t')) {
            from++;
        }
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t')) {
            to--;
        }
        if (!directive(value + from, to - from, shared, out)) {
            return false;
        }
        from = next;
    }
    return true;
}

static size_t line_bytes(const char *at, size_t left)
{
    const char *end = memchr(at, '\n', left);
    return end != NULL ? (size_t)(end - at) + 1 : left;
}

bool cache_directives(const char *head, size_t bytes, bool honour, struct cache_directives *out)
{
    const char *value;
    size_t value_bytes;
    bool shared = false;
    *out = (struct cache_directives){.max_age_ns = UINT64_MAX};
    for (size_t at = 0, n = 0; at < bytes; at += n) {
        n = line_bytes(head + at, bytes - at);
        if (head[at] == ' ' || head[at] == '\t') {
            return false; /* a line goes on (RFC 9112, 5.2): it may be a cookie's, or forbid */
        }
        if (line_value(head + at, n, "vary", &value, &value_bytes) &&
            memchr(value, '*', value_bytes) != NULL) {
            return false; /* what it depends on is in no request: RFC 9111, 4.1 */
        }
        if (!honour) {
            continue;
        }
        if (line_value(head + at, n, "cache-control", &value, &value_bytes) &&
            !cache_control(value, value_bytes, &shared, out)) {
            return false;
        }
        if (line_value(head + at, n, "age", &value, &value_bytes)) {
            out->age_ns = seconds_ns(value, value_bytes);
        }
    }
    return true;
}

size_t cache_head_clean(const char *head, size_t bytes, char *to)
{
    static const char cookie[] = "set-cookie";
    size_t cnt = 0;
    for (size_t at = 0, n = 0; at < bytes; at += n) {
        n = line_bytes(head + at, bytes - at);
        if (n >= sizeof cookie - 1 && strncasecmp(head + at, cookie, sizeof cookie - 1) == 0) {
            continue;
        }
        memcpy(to + cnt, head + at, n);
        cnt += n;
    }
    return cnt;
}

/* ---------------------------------------------------------------------------------------------- what lies where */

static uint64_t answer_bytes(const struct weir_shm_cache_head *h)
{
    return (uint64_t)h->head_bytes + h->body_bytes;
}

static bool is_whole(const struct weir_shm_cache_head *h)
{
    return (weir_load_relaxed_u64(&h->sequence) & 1U) != 0; /* relaxed: only we write it */
}

/* The board's view of what is kept; `sign` of one answer. Relaxed: for monitors. */
static void count_answer(struct worker *w, const struct weir_shm_cache_head *h, int sign)
{
    uint64_t bytes = weir_round_up(answer_bytes(h), POOL_GRANULE_BYTES);
    board_add(&w->region->cache->answers, sign > 0 ? 1 : UINT64_MAX);
    board_add(&w->region->cache->answers_bytes, sign > 0 ? bytes : 0 - bytes);
}

static void drop(struct worker *w, struct weir_shm_cache_head *h)
{
    if (is_whole(h)) {
        count_answer(w, h, -1);
        weir_cache_take_away(h);
        pool_release(&w->cache->pool, h->data_off_bytes, (uint32_t)answer_bytes(h));
    }
}

struct weir_shm_cache_head *cache_look(struct worker *w, const struct weir_cache_key *key)
{
    uint32_t first = weir_cache_set(&w->cache->view, key);
    for (uint32_t i = first; i < first + WEIR_CACHE_WAYS; i++) {
        struct weir_shm_cache_head *h = &w->region->cache_head[i];
        if (is_whole(h) && h->key[0] == key->word[0] && h->key[1] == key->word[1]) {
            return h;
        }
    }
    return NULL;
}

/* Is the answer behind its end? A later broker may still want it (last_good.h). */
static bool is_over(struct worker *w, const struct weir_shm_cache_head *h)
{
    return w->now_ns >= h->stale_until_ns;
}

/* One step of the clock's hand. Returns whether an answer went. */
static bool hand_step(struct worker *w)
{
    struct cache *c = w->cache;
    uint32_t i = c->hand;
    struct weir_shm_cache_head *h = &w->region->cache_head[i];
    c->hand = (c->hand + 1) & (c->view.head_cnt - 1);
    if (!is_whole(h)) {
        return false;
    }
    bool over = is_over(w, h);
    if (!over && c->touched[i] != 0) {
        c->touched[i] = 0;
        return false;
    }
    board_add(over ? &w->region->cache->expired : &w->region->cache->evicted, 1);
    drop(w, h);
    return true;
}

/* Granules for an answer, of others where there are none free. Ends: two rounds of the hand empty the cache. */
static bool granules_hold(struct worker *w, uint32_t bytes, uint32_t *off_bytes)
{
    struct cache *c = w->cache;
    bool held = pool_hold(&c->pool, bytes, off_bytes);
    for (uint32_t n = 0; !held && n < 2 * c->view.head_cnt; n++) {
        held = hand_step(w) && pool_hold(&c->pool, bytes, off_bytes);
    }
    return held;
}

/* How much an answer would be missed: 0 for none, then those behind their end, then the untouched; of equals the one that ends soonest. */
static uint64_t missed(struct worker *w, uint32_t i)
{
    const struct weir_shm_cache_head *h = &w->region->cache_head[i];
    if (!is_whole(h)) {
        return 0;
    }
    /* instants are far below 2^62 */
    return h->stale_until_ns |
           (!is_over(w, h) && w->cache->touched[i] != 0 ? UINT64_C(1) << 62 : 0);
}

/* The head for a new answer to `key`: of the same key, or the one that is missed least. */
static struct weir_shm_cache_head *head_choose(struct worker *w, const struct weir_cache_key *key)
{
    struct weir_shm_cache_head *same = cache_look(w, key);
    uint32_t best = weir_cache_set(&w->cache->view, key);
    for (uint32_t i = best + 1, end = best + WEIR_CACHE_WAYS; same == NULL && i < end; i++) {
        best = missed(w, i) < missed(w, best) ? i : best;
    }
    if (same != NULL) {
        return same;
    }
    struct weir_shm_cache_head *h = &w->region->cache_head[best];
    if (is_whole(h)) {
        board_add(is_over(w, h) ? &w->region->cache->expired : &w->region->cache->evicted, 1);
    }
    return h;
}

bool cache_put(struct worker *w, const struct weir_shm_cache_head *as, const char *head,
               const char *body)
{
    const struct weir_cache_key key = {{as->key[0], as->key[1]}};
    struct weir_shm_cache_head put = *as;
    uint64_t bytes = answer_bytes(as);
    if (bytes == 0 || bytes > w->region->cache->answer_max_bytes ||
        !granules_hold(w, (uint32_t)bytes, &put.data_off_bytes)) {
        return false;
    }
    struct weir_shm_cache_head *h = head_choose(w, &key);
    drop(w, h);
    weir_cache_put(h, w->region->cache_data, &put, head, body);
    w->cache->touched[cache_index(w, h)] = 1; /* it is new: it has its chance */
    w->cache->refresh_at_ns[cache_index(w, h)] = 0;
    count_answer(w, h, +1);
    last_good_changed(w, as->route);
    return true;
}

/* ---------------------------------------------------------------------------------------------- start, and what clients say */

/* Granules of answers that a worker before us kept. A head that it died in is even, and no answer. */
static void answers_recover(struct worker *w)
{
    struct weir_shm_cache *board = w->region->cache;
    weir_store_relaxed_u64(&board->answers, 0); /* relaxed: counted anew */
    weir_store_relaxed_u64(&board->answers_bytes, 0);
    for (uint32_t i = 0; i < w->cache->view.head_cnt; i++) {
        struct weir_shm_cache_head *h = &w->region->cache_head[i];
        if (!is_whole(h)) {
            continue;
        }
        bool ok = answer_bytes(h) <= board->answer_max_bytes &&
                  pool_claim(&w->cache->pool, h->data_off_bytes, (uint32_t)answer_bytes(h));
        if (ok) {
            count_answer(w, h, +1);
        } else {
            weir_cache_take_away(h);
        }
    }
}

bool cache_open(struct worker *w)
{
    static struct cache cache; /* one per process */
    const struct region *r = w->region;
    w->cache = NULL;
    if (r->cache == NULL) {
        return true;
    }
    memset(&cache, 0, sizeof cache);
    if (!weir_cache_view_open(&cache.view, r->cache_head, r->cache_head_cnt, r->cache_data,
                              r->cache_bytes)) {
        return false;
    }
    cache.touched = calloc(r->cache_head_cnt, sizeof *cache.touched);
    cache.refresh_at_ns = calloc(r->cache_head_cnt, sizeof *cache.refresh_at_ns);
    cache.follow_due_ns = UINT64_MAX;
    if (cache.touched == NULL || cache.refresh_at_ns == NULL ||
        !pool_init(&cache.pool, r->cache_bytes)) {
        return false;
    }
    w->cache = &cache;
    answers_recover(w);
    return batch_open(w);
}

void cache_fold(struct worker *w, struct client *c)
{
    struct region *r = w->region;
    for (uint32_t t = 0; w->cache != NULL && t < WEIR_THREADS_MAX; t++) {
        uint64_t off =
            t * c->meter_stride_bytes + weir_meter_cache_off_bytes(r->route_cnt, r->limit_cnt);
        const uint32_t *hits = (const void *)(c->meter + off);
        uint32_t *seen = c->meter_seen + off / sizeof(uint32_t);
        for (uint32_t i = 0; i < r->route_cnt; i++) {
            uint32_t now = weir_load_relaxed_u32(&hits[i]); /* relaxed: its own word for it */
            board_add(&r->cache_route[i].hits_client, now - seen[i]);
            seen[i] = now;
        }
        const struct weir_shm_cache_touch *touch = (const void *)(hits + r->route_cnt);
        uint32_t cnt = weir_load_relaxed_u32(&touch->cnt); /* relaxed: a hint */
        uint32_t fresh = cnt - seen[r->route_cnt];
        fresh = fresh < WEIR_ARRAY_CNT(touch->head) ? fresh : (uint32_t)WEIR_ARRAY_CNT(touch->head);
        seen[r->route_cnt] = cnt;
        for (uint32_t i = 0; i < fresh; i++) {
            uint32_t head = weir_load_relaxed_u32(
                &touch->head[(cnt - 1 - i) % WEIR_ARRAY_CNT(touch->head)]); /* relaxed: a hint */
            if (head < w->cache->view.head_cnt) {
                w->cache->touched[head] = 1;
            }
        }
    }
}
