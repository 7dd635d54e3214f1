#include "bad_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bad_config(struct rig *r, const char *endpoint)
{
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig}\n"
        "providers:\n"
        "  - name: raw\n"
        "    clock: {source: host, error: 1ms, max_jitter: 5ms}\n"
        "    limits:\n"
        "      - {name: l, kind: sliding_window, quota: 10000, window: 5m}\n"
        "      - {name: one, kind: concurrency, quota: 1}\n"
        "    endpoints:\n"
        "      - {name: a, %s}\n"
        "    routes:\n"
        "      - {name: get, method: GET, path: /r/*, cost: {l: 1, one: 1}, timeout: 5s, "
        "max_response: 64KiB}\n"
        "      - {name: post, method: POST, path: /r/*, cost: {l: 1, one: 1}, timeout: 5s, "
        "max_response: 64KiB}\n",
        endpoint);
    rig_config(r, text, 0);
}

static const char *verb(const struct bad_call *c)
{
    return c->post ? "POST" : "GET";
}

struct bad_end bad_call(struct rig *r, struct weir *w, const struct bad_call *c)
{
    struct bad_end e = {0};
    const char *order = c->post && c->order != NULL ? c->order : NULL;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, c->post ? "raw.post" : "raw.get"),
                                           .path_rest = c->rest,
                                           .body = order,
                                           .body_bytes = order != NULL ? strlen(order) : 0};
    uint32_t before = rig_used(w, "raw.l", 0);
    uint64_t began_ns = rig_now_ns();
    int rc = weir_call(w, &spec, weir_now_ns(w) + c->limit_ms * WEIR_NS_PER_MS, &e.answer);
    e.took_ms = (rig_now_ns() - began_ns) / WEIR_NS_PER_MS;
    rig_check(r, rc == 0, __FILE__, __LINE__, "%s %s: %s", verb(c), c->rest, weir_strerror(rc));
    (void)snprintf(e.body, sizeof e.body, "%.*s",
                   (int)weir_min_u64(e.answer.body_bytes, sizeof e.body - 1),
                   e.answer.body != NULL ? (const char *)e.answer.body : "");
    (void)weir_release(w, e.answer.ticket);
    e.charged = rig_used(w, "raw.l", 0) - before;
    return e;
}

void bad_judge(struct rig *r, const char *name, const struct bad_call *c, const struct bad_end *end,
               enum weir_result wanted, uint32_t status)
{
    const struct weir_response *a = &end->answer;
    rig_check(r, a->result == wanted && (wanted != WEIR_RESULT_DONE || a->status == status),
              __FILE__, __LINE__, "%s %s: %s, status %u, curl %d, %zu bytes; wanted %s", verb(c),
              name, weir_result_text(a->result), a->status, a->error, a->body_bytes,
              weir_result_text(wanted));
    rig_check(r, end->took_ms < c->limit_ms + 2000, __FILE__, __LINE__, "%s: took %llu ms", name,
              (unsigned long long)end->took_ms);
    rig_check(r, strstr(end->body, "evil") == NULL, __FILE__, __LINE__, "%s: %s", name, end->body);
}

void bad_fine(struct rig *r, struct weir *w, const char *name, const struct bad_call *c)
{
    const struct bad_end e = bad_call(r, w, c);
    rig_check(r, e.answer.result == WEIR_RESULT_DONE && strcmp(e.body, "fine") == 0, __FILE__,
              __LINE__, "after %s %s: %s, curl %d: %s", verb(c), name,
              weir_result_text(e.answer.result), e.answer.error, e.body);
}

struct bad_worker bad_worker_look(struct rig *r)
{
    return (struct bad_worker){.pid = rig_process(r, "weird-worker"),
                               .kib = rig_worker_kib(r, "VmRSS:")};
}

void bad_worker_judge(struct rig *r, const struct bad_worker *before, long most_kib)
{
    long grown_kib = rig_worker_kib(r, "VmHWM:") - before->kib;
    (void)printf("the worker has grown by %ld KiB at most\n", grown_kib);
    if (!rig_sanitized() && getenv("WEIR_UNDER") == NULL) {
        CHECK(r, grown_kib < most_kib, "in memory");
    }
    CHECK_INT(r, rig_process(r, "weird-worker"), before->pid);
}
