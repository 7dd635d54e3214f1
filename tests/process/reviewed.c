/*
 * reviewed.c: what reviewers opened, closed for good. One function for each finding.
 */
#include "rig.h"

#include <poll.h>
#include <sys/mman.h>

/* A caller who says that its calls cost nothing would have walked through the private account. */
static void cheap_words(struct rig *r, struct weir *w)
{
    struct weir_route_info info;
    weir_route_id ping = rig_route(w, "sim.ping");
    CHECK_INT(r, weir_route_get(w, ping, &info), 0);
    struct weir_cost units = {.cnt = info.limit_cnt};
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = ping, .units = &units};
    struct weir_response a;
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_COST);
    (void)weir_release(w, a.ticket);
}

/* One store by a trader would have stopped the provider for 36 years. */
static void long_pause(struct rig *r, struct weir *w)
{
    struct weir_shm_pause *p = &w->at->pause[0];
    weir_store_release_u64(&p->word, UINT64_MAX & ~WEIR_PAUSE_GENERATION_MASK);
    rig_sleep_ms(100); /* ten looks of the worker */
    uint64_t until_ns = weir_pause_until_ns(weir_load_acquire_u64(&p->word));
    CHECK(r, until_ns <= weir_now_ns(w) + WEIR_PAUSE_TRADER_MAX_NS + 2 * WEIR_NS_PER_S,
          "cut to 60 s");
    weir_store_release_u64(&p->word, 0);
}

/* A client that keeps a mapping of its arena must not keep the memory: the pages go when its index returns. */
static void kept_arena(struct rig *r)
{
    if (getenv("WEIR_UNDER") != NULL) {
        return; /* valgrind knows no length of 0 */
    }
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    size_t bytes = w->at->arena.bytes;
    const uint64_t *kept =
        mremap(w->at->arena.base, 0, bytes, MREMAP_MAYMOVE); /* length 0: a second mapping */
    if (!CHECK(r, kept != MAP_FAILED, "a second mapping")) {
        weir_close(w);
        return;
    }
    CHECK(r, kept[0] == WEIR_MAGIC, "of the arena");
    weir_close(w);
    rig_sleep_ms(500);
    CHECK(r, kept[0] == 0, "its pages are gone");
    (void)munmap((void *)(uintptr_t)kept, bytes);
}

/* An event loop must learn that nobody will ring any more. */
static void bell_of_the_dead(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    struct weir_response a;
    struct pollfd p = {.fd = weir_fd(w), .events = POLLIN};
    CHECK_INT(r, weir_poll(w, &a), WEIR_EMPTY);
    CHECK_INT(r, poll(&p, 1, 50), 0);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    CHECK_INT(r, poll(&p, 1, 2000), 1);
    CHECK_INT(r, weir_poll(w, &a), WEIR_E_STALE);
    weir_close(w);
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "reviewed", argc, argv, 80);
    rig_sim_start(&r, "{}");
    rig_config_usual(&r, "wake: adaptive");
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    cheap_words(&r, w);
    long_pause(&r, w);
    weir_close(w);
    kept_arena(&r);
    bell_of_the_dead(&r);
    return rig_close(&r);
}
