/*
 * cache.c: answers that lie on the board, for whoever asks. The protocol, and why no copy is torn: shm/weir_cache.h.
 *
 * A request whose answer is fresh there never becomes one: it takes a slot, so that it has a ticket, and leaves the slot FILLING, which the worker does not look
 * at; the answer is copied into memory of this process. So nothing is written that another process reads but two counts in the thread's own meter, and no system
 * call is made.
 *
 *   kept[slot]   private to the thread that owns the slot, like `given`; ordered between two owners by the slot word
 *   room         one answer per slot, mapped when the attachment is opened and touched when it is used
 *
 * A handle whose descriptor is in use hands its requests over all the same: only the worker can ring that bell. It gives them the same answers.
 */
#include "handle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096U
/* Of address space, touched as far as it is used. What is larger than its part of it, the worker gives. */
#define KEPT_MAX_BYTES (UINT64_C(256) << 20)

void weir_kept_open(struct weir_attachment *at)
{
    const struct weir_board *b = weir_board_newest(at);
    if (b->cache.head == NULL || at->mem.slot_cnt == 0) {
        return;
    }
    uint64_t most_bytes = KEPT_MAX_BYTES / at->mem.slot_cnt / PAGE_BYTES * PAGE_BYTES;
    uint64_t stride_bytes =
        weir_min_u64(weir_round_up(b->cache_answer_max_bytes, PAGE_BYTES), most_bytes);
    at->kept = calloc(at->mem.slot_cnt, sizeof *at->kept);
    void *room = mmap(NULL, stride_bytes * at->mem.slot_cnt, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at->kept == NULL || room == MAP_FAILED) {
        if (room != MAP_FAILED) {
            (void)munmap(room, stride_bytes * at->mem.slot_cnt);
        }
        free(at->kept);
        at->kept = NULL;
        return;
    }
    at->kept_room = room;
    at->kept_stride_bytes = stride_bytes;
}

void weir_kept_close(struct weir_attachment *at)
{
    if (at->kept_room != NULL) {
        (void)munmap(at->kept_room, at->kept_stride_bytes * at->mem.slot_cnt);
    }
    free(at->kept);
    at->kept = NULL;
    at->kept_room = NULL;
}

/* ---------------------------------------------------------------------------------------------- look */

static bool key_of(const struct weir_shm_route_row *route, const struct weir_request_spec *s,
                   struct weir_cache_key *key)
{
    struct weir_request_header header[WEIR_REQUEST_HEADERS_MAX];
    if (s->header_cnt > WEIR_REQUEST_HEADERS_MAX || (s->headers == NULL && s->header_cnt > 0) ||
        (s->body == NULL && s->body_bytes > 0)) {
        return false;
    }
    for (size_t i = 0; i < s->header_cnt; i++) {
        const struct weir_header *h = &s->headers[i];
        if (h->name == NULL || h->value == NULL) {
            return false;
        }
        header[i] = (struct weir_request_header){h->name, h->value, (uint32_t)strlen(h->name),
                                                 (uint32_t)strlen(h->value)};
    }
    const struct weir_cache_call call = {
        .seed = route->cache_seed,
        .instrument = (uint32_t)(s->scope >> (16 * WEIR_SCOPE_INSTRUMENT)) & 0xffffU,
        .header_cnt = (uint32_t)s->header_cnt,
        .header = header,
        .path = s->path_rest,
        .query = s->query,
        .body = s->body,
        .path_bytes = s->path_rest != NULL ? strlen(s->path_rest) : 0,
        .query_bytes = s->query != NULL ? strlen(s->query) : 0,
        .body_bytes = s->body_bytes};
    return weir_cache_key_make(&call, key);
}

/* Counts for the worker: how often, and what is worth keeping. Relaxed: this thread is their only writer. */
static void count_hit(const struct weir *w, uint32_t route, uint32_t head)
{
    struct weir_shm_cache_touch *touch = w->cache_touch;
    if (touch == NULL || route >= w->at->mem.meter_route_cnt) {
        return; /* a monitor has no meter */
    }
    uint32_t cnt = weir_load_relaxed_u32(&touch->cnt);
    weir_store_relaxed_u32(&w->cache_hits[route], weir_load_relaxed_u32(&w->cache_hits[route]) + 1);
    weir_store_relaxed_u32(&touch->head[cnt % WEIR_ARRAY_CNT(touch->head)], head);
    weir_store_relaxed_u32(&touch->cnt, cnt + 1);
}

static void response_make(struct weir_response *out, const struct weir_cache_answer *a,
                          const char *at, uint64_t now_ns)
{
    enum weir_source source = a->source == WEIR_SOURCE_DISK ? WEIR_SOURCE_DISK
                              : now_ns >= a->fresh_until_ns ? WEIR_SOURCE_STALE
                                                            : WEIR_SOURCE_CACHE;
    *out = (struct weir_response){.result = WEIR_RESULT_DONE,
                                  .status = a->status,
                                  .headers = a->head_bytes > 0 ? at : NULL,
                                  .headers_bytes = a->head_bytes,
                                  .body = a->body_bytes > 0 ? at + a->head_bytes : NULL,
                                  .body_bytes = a->body_bytes,
                                  .endpoint = UINT32_MAX,
                                  .submitted_ns = now_ns,
                                  .source = source,
                                  .age_ns = weir_cache_age_ns(a->filled_ns, now_ns)};
}

int weir_cache_get(struct weir *w, const struct weir_request_spec *spec, uint64_t max_age_ns,
                   void *to, size_t bytes, struct weir_response *out)
{
    struct weir_request_spec s;
    struct weir_cache_key key;
    struct weir_cache_answer answer;
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (out == NULL || (to == NULL && bytes > 0)) {
        return WEIR_E_ARGUMENT;
    }
    *out = (struct weir_response){.ticket = 0};
    int rc = weir_spec_copy(&s, spec);
    if (rc == WEIR_OK && weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    rc = rc != WEIR_OK ? rc : weir_permit_refresh(&w->view);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (s.route >= w->view.tables.route_cnt) {
        return WEIR_E_ROUTE_UNKNOWN;
    }
    const struct weir_shm_route_row *route = &w->view.tables.route[s.route];
    if ((route->flags & WEIR_ROUTE_CACHED) == 0 || !key_of(route, &s, &key)) {
        return WEIR_EMPTY;
    }
    uint64_t now_ns = weir_now_ns(w);
    enum weir_cache_found found =
        weir_cache_find(&w->board->cache, &key, now_ns, max_age_ns != 0, to, bytes, &answer);
    if (found == WEIR_CACHE_MISS ||
        (max_age_ns != 0 && weir_cache_age_ns(answer.filled_ns, now_ns) > max_age_ns)) {
        return WEIR_EMPTY;
    }
    response_make(out, &answer, to, now_ns);
    if (found == WEIR_CACHE_SMALL) {
        out->headers = NULL;
        out->body = NULL;
        return WEIR_E_BODY_TOO_LARGE;
    }
    count_hit(w, s.route, answer.index);
    out->delivered_ns = now_ns;
    return WEIR_OK;
}

/* ---------------------------------------------------------------------------------------------- instead of a request */

bool weir_kept_try(struct weir *w, const struct weir_request_spec *spec,
                   const struct weir_shm_route_row *route, uint32_t index, uint64_t word,
                   uint64_t now_ns)
{
    struct weir_attachment *at = w->at;
    struct weir_cache_key key;
    struct weir_cache_answer answer;
    if (at->kept == NULL || w->fd_used || !key_of(route, spec, &key)) {
        return false;
    }
    char *room = at->kept_room + index * at->kept_stride_bytes;
    if (weir_cache_find(&w->board->cache, &key, now_ns, false, room, at->kept_stride_bytes,
                        &answer) != WEIR_CACHE_HIT) {
        return false;
    }
    count_hit(w, spec->route, answer.index);
    struct weir_kept *k = &at->kept[index];
    k->word = word;
    k->state = WEIR_KEPT_READY;
    k->thread = w->thread;
    response_make(&k->response, &answer, room, now_ns);
    k->response.ticket = (uint64_t)weir_slot_gen(word) << 32 | index;
    k->response.delivered_ns = now_ns;
    k->before = 0;
    k->next = w->kept_first;
    if (k->next != 0) {
        at->kept[k->next - 1].before = index + 1;
    }
    w->kept_first = index + 1;
    return true;
}

struct weir_kept *weir_kept_of(const struct weir *w, weir_ticket ticket)
{
    uint32_t index = (uint32_t)ticket;
    if (w->at->kept == NULL || index >= w->at->mem.slot_cnt) {
        return NULL;
    }
    struct weir_kept *k = &w->at->kept[index];
    return k->state != WEIR_KEPT_NONE && k->thread == w->thread &&
                   weir_slot_gen(k->word) == ticket >> 32
               ? k
               : NULL;
}

bool weir_kept_poll(struct weir *w, struct weir_response *out)
{
    if (w->kept_first == 0) {
        return false;
    }
    struct weir_kept *k = &w->at->kept[w->kept_first - 1];
    weir_kept_leave(w, k, WEIR_KEPT_GIVEN);
    *out = k->response;
    return true;
}

void weir_kept_leave(struct weir *w, struct weir_kept *k, enum weir_kept_state state)
{
    if (k->state == WEIR_KEPT_READY) {
        if (k->before != 0) {
            w->at->kept[k->before - 1].next = k->next;
        } else {
            w->kept_first = k->next;
        }
        if (k->next != 0) {
            w->at->kept[k->next - 1].before = k->before;
        }
    }
    k->state = state;
}
