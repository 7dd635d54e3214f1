#include "crowd.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ORDER_EACH 10U

/* Of one process. Its writer appends; the test reads what is below `cnt`. */
struct book {
    uint32_t cnt;
    struct crowd_record of[CROWD_RECORDS_MAX];
};

static struct book *book; /* [CROWD_PROCESSES] */
static pid_t child[CROWD_PROCESSES];
static uint64_t deadline_ns;
static unsigned think_ms;

struct caller {
    bool out, order;
    weir_ticket ticket;
    uint32_t number;
    unsigned calls;
    uint64_t next_ns, began_ns;
};

static void ask(struct rig *r, struct weir *w, struct caller *c, weir_route_id ping,
                weir_route_id order)
{
    const uint64_t now_ns = weir_now_ns(w);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = ping, .deadline_ns = now_ns + deadline_ns};
    c->order = ++c->calls % ORDER_EACH == 0;
    int rc = c->order ? rig_order_submit(r, w, order, spec.deadline_ns, &c->ticket, &c->number)
                      : weir_submit(w, &spec, &c->ticket);
    c->out = rc == 0;
    c->began_ns = now_ns;
    c->next_ns = now_ns + WEIR_NS_PER_MS; /* not handed over: once more */
}

static void ended(struct rig *r, struct weir *w, struct caller *c, struct book *own,
                  const struct weir_response *a)
{
    const uint64_t now_ns = weir_now_ns(w);
    if (c->order) {
        rig_order_ended(r, c->number, a);
    }
    if (own->cnt < CROWD_RECORDS_MAX) {
        own->of[own->cnt] = (struct crowd_record){.began_ns = c->began_ns,
                                                  .sent_ns = a->sent_ns,
                                                  .ended_ns = now_ns,
                                                  .result = (uint32_t)a->result,
                                                  .status = a->status,
                                                  .endpoint = a->endpoint,
                                                  .sends = a->sends,
                                                  .doubt = a->doubt,
                                                  .order = c->order};
        weir_store_release_u32(&own->cnt, own->cnt + 1);
    }
    (void)weir_release(w, a->ticket);
    c->out = false;
    c->next_ns = now_ns + (think_ms / 2 + rig_random(r, think_ms + 1)) * WEIR_NS_PER_MS;
}

/* Take what has ended. Returns how many. */
static unsigned take(struct rig *r, struct weir *w, struct caller *c, struct book *own)
{
    struct weir_response a;
    unsigned cnt = 0;
    while (weir_poll(w, &a) == 0) {
        unsigned i = 0;
        while (i < CROWD_CALLERS && (!c[i].out || c[i].ticket != a.ticket)) {
            i++;
        }
        if (i == CROWD_CALLERS) {
            (void)printf("FAILED: an answer that nobody asked for, or a second one\n");
            (void)weir_fetch_add_u32(&r->shared->count[63], 1);
            continue;
        }
        ended(r, w, &c[i], own, &a);
        cnt++;
    }
    return cnt;
}

static int crowd(struct rig *r, int arg)
{
    static struct caller c[CROWD_CALLERS];
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const weir_route_id ping = rig_route(w, "sim.ping");
    const weir_route_id order = rig_route(w, "sim.order");
    struct pollfd ready = {.fd = weir_fd(w), .events = POLLIN};
    unsigned out = 0;
    for (unsigned i = 0; i < CROWD_CALLERS; i++) {
        c[i] = (struct caller){.calls = rig_random(r, ORDER_EACH),
                               .next_ns = weir_now_ns(w) +
                                          rig_random(r, 2 * think_ms + 1) * WEIR_NS_PER_MS};
    }
    for (;;) {
        const bool stop = weir_load_acquire_u32(&r->shared->stop) != 0;
        const uint64_t now_ns = weir_now_ns(w);
        for (unsigned i = 0; i < CROWD_CALLERS && !stop; i++) {
            if (!c[i].out && now_ns >= c[i].next_ns) {
                ask(r, w, &c[i], ping, order);
                out += c[i].out;
            }
        }
        out -= take(r, w, c, &book[arg]);
        if (stop && out == 0) {
            break;
        }
        (void)poll(&ready, 1, 1);
    }
    weir_close(w);
    return 0;
}

void crowd_open(uint64_t limit_ns, unsigned pause_ms)
{
    deadline_ns = limit_ns;
    think_ms = pause_ms;
    book = mmap(NULL, CROWD_PROCESSES * sizeof *book, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (book == MAP_FAILED) {
        exit(99);
    }
}

void crowd_start(struct rig *r)
{
    weir_store_release_u32(&r->shared->stop, 0);
    for (unsigned i = 0; i < CROWD_PROCESSES; i++) {
        weir_store_release_u32(&book[i].cnt, 0);
        child[i] = rig_fork(r, crowd, (int)i);
    }
}

void crowd_stop(struct rig *r)
{
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < CROWD_PROCESSES; i++) {
        CHECK_INT(r, rig_wait(child[i], 20000), 0);
    }
}

void crowd_each(void (*each)(const struct crowd_record *a, void *arg), void *arg)
{
    for (unsigned p = 0; p < CROWD_PROCESSES; p++) {
        uint32_t cnt = weir_load_acquire_u32(&book[p].cnt);
        for (uint32_t i = 0; i < cnt; i++) {
            each(&book[p].of[i], arg);
        }
    }
}

const struct crowd_record *crowd_last(unsigned process)
{
    uint32_t cnt = weir_load_acquire_u32(&book[process].cnt);
    return cnt > 0 ? &book[process].of[cnt - 1] : NULL;
}
