#include "sender.h"

#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_NS (20 * WEIR_NS_PER_MS) /* refunds come earlier than a refusal promises */
/* Longer than a call waits for any limit: one that ends at its deadline while it is under way is charged, and weir-sim never counts it. */
#define CALL_NS          (40 * WEIR_NS_PER_S)
#define REFUSED_AGAIN_NS (100 * WEIR_NS_PER_MS)
#define END_NS           (4 * WEIR_NS_PER_S)

struct sender_plan sender_plan;

struct lane {
    struct wire wire;
    struct weir_permit permit;
    unsigned route;
    bool busy;
};

struct route {
    weir_route_id id;
    uint64_t again_ns;
    char request[160];
    size_t bytes;
};

struct sender {
    struct rig *r;
    struct weir *w;
    struct route route[SENDER_ROUTES_MAX];
    unsigned cnt; /* lanes, flights */
    struct lane *lane;
    struct {
        weir_ticket ticket; /* 0: free */
        unsigned route;
    } flight[SENDER_CALLS_MAX];
};

static void count(struct sender *s, enum sender_count what)
{
    weir_fetch_add_u32(&s->r->shared->count[what], 1);
}

static void count_status(struct sender *s, uint32_t status, enum sender_count good)
{
    count(s, status == 200                                     ? good
             : status == 429 || status == 418 || status == 403 ? SENDER_REFUSED
                                                               : SENDER_OTHER);
}

static void routes_find(struct sender *s)
{
    s->cnt = sender_plan.route_cnt * sender_plan.calls;
    for (unsigned i = 0; i < sender_plan.route_cnt; i++) {
        struct route *x = &s->route[i];
        x->id = rig_route(s->w, sender_plan.route[i].name);
        x->bytes =
            (size_t)snprintf(x->request, sizeof x->request,
                             "GET %s HTTP/1.1\r\nHost: judge\r\n\r\n", sender_plan.route[i].path);
    }
}

/* How long to sleep: until the first route may be asked again. */
static struct timespec until(uint64_t now_ns, uint64_t next_ns)
{
    uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    return (struct timespec){.tv_nsec = (long)weir_min_u64(left_ns, ASK_AGAIN_NS)};
}

static bool stopped(const struct sender *s)
{
    return weir_load_acquire_u32(&s->r->shared->stop) != 0;
}

/* When to ask again: as promised, or a little earlier, never at once. */
static uint64_t again_at(uint64_t now_ns, uint64_t earliest_ns)
{
    return weir_min_u64(weir_max_u64(earliest_ns, now_ns + WEIR_NS_PER_MS / 10),
                        now_ns + ASK_AGAIN_NS);
}

/* ---------------------------------------------------------------------------------------------- by permit */

static void settle(struct sender *s, struct lane *l, uint32_t kind, uint32_t status)
{
    const struct weir_outcome o = {.kind = kind, .status = status};
    l->busy = false;
    if (weir_permit_settle(s->w, &l->permit, &o) != 0) {
        (void)printf("FAILED: a permit could not be settled\n");
        count(s, SENDER_OTHER);
    }
}

static void lane_start(struct sender *s, struct lane *l)
{
    const struct route *x = &s->route[l->route];
    bool trouble = weir_load_acquire_u32(&s->r->shared->count[SENDER_TROUBLE]) != 0;
    if (trouble && sender_plan.give_back != 0 && rig_random(s->r, sender_plan.give_back) == 0) {
        settle(s, l, WEIR_OUTCOME_NOT_SENT, 0);
        count(s, SENDER_GIVEN);
        return;
    }
    switch (wire_send(&l->wire, s->w, l->permit.use_by_ns, x->request, x->bytes)) {
    case WIRE_SENT:
        l->busy = true;
        break;
    case WIRE_LATE:
        settle(s, l, WEIR_OUTCOME_NOT_SENT, 0);
        count(s, SENDER_LATE);
        break;
    case WIRE_BROKEN:
        settle(s, l, WEIR_OUTCOME_NO_ANSWER, 0);
        count(s, SENDER_OTHER);
        wire_close(&l->wire);
        break;
    }
}

/* Take permits for idle lanes of route `i`. Returns when to ask again. */
static uint64_t lanes_fill(struct sender *s, unsigned i)
{
    struct route *x = &s->route[i];
    for (unsigned n = i; n < s->cnt; n += sender_plan.route_cnt) {
        struct lane *l = &s->lane[n];
        uint64_t now_ns = weir_now_ns(s->w);
        if (l->busy || (l->wire.fd < 0 && !wire_open(&l->wire, sender_plan.port))) {
            continue;
        }
        if (now_ns < x->again_ns) {
            return x->again_ns;
        }
        int rc = weir_permit_try(s->w, x->id, 0, NULL, WEIR_PRIORITY_HIGH, &l->permit);
        if (rc == WEIR_OK) {
            lane_start(s, l);
        } else {
            x->again_ns = rc == WEIR_DENIED ? again_at(now_ns, l->permit.denial.earliest_ns)
                                            : now_ns + WEIR_NS_PER_MS / 10;
            return x->again_ns;
        }
    }
    return UINT64_MAX; /* every lane is busy */
}

static void lane_read(struct sender *s, struct lane *l)
{
    int status = wire_read(&l->wire);
    if (status == 0) {
        return;
    }
    if (status < 0) {
        wire_close(&l->wire);
    }
    if (l->busy) {
        if (weir_now_ns(s->w) - l->permit.granted_at_ns > sender_plan.overdue_ns) {
            count(s, SENDER_OVERDUE);
        }
        settle(s, l, status > 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER,
               status > 0 ? (uint32_t)status : 0);
        count_status(s, status > 0 ? (uint32_t)status : 0, SENDER_GOOD);
    }
}

static unsigned lanes_wait(struct sender *s, uint64_t next_ns)
{
    struct pollfd fd[SENDER_CALLS_MAX];
    unsigned busy = 0;
    const struct timespec ts = until(weir_now_ns(s->w), next_ns);
    for (unsigned i = 0; i < s->cnt; i++) {
        fd[i] = (struct pollfd){.fd = s->lane[i].wire.fd, .events = POLLIN};
    }
    (void)ppoll(fd, s->cnt, &ts, NULL);
    for (unsigned i = 0; i < s->cnt; i++) {
        if (fd[i].fd >= 0 && fd[i].revents != 0) {
            lane_read(s, &s->lane[i]);
        }
        busy += s->lane[i].busy;
    }
    return busy;
}

int sender_by_permit(struct rig *r, int arg)
{
    static struct sender s;
    (void)arg;
    s.r = r;
    s.w = rig_attach(r, WEIR_ROLE_TRADER);
    routes_find(&s);
    s.lane = calloc(s.cnt, sizeof *s.lane);
    for (unsigned i = 0; s.lane != NULL && i < s.cnt; i++) {
        s.lane[i].wire.fd = -1;
        s.lane[i].route = i % sender_plan.route_cnt;
    }
    while (s.lane != NULL && !stopped(&s)) {
        uint64_t next_ns = UINT64_MAX;
        for (unsigned i = 0; i < sender_plan.route_cnt; i++) {
            next_ns = weir_min_u64(next_ns, lanes_fill(&s, i));
        }
        (void)lanes_wait(&s, next_ns);
    }
    uint64_t end_ns = weir_now_ns(s.w) + END_NS;
    while (s.lane != NULL && lanes_wait(&s, UINT64_MAX) > 0 && weir_now_ns(s.w) < end_ns) {
    }
    weir_close(s.w);
    return s.lane == NULL;
}

/* ---------------------------------------------------------------------------------------------- by call */

static uint64_t flights_fill(struct sender *s, unsigned i)
{
    struct route *x = &s->route[i];
    for (unsigned n = i; n < s->cnt; n += sender_plan.route_cnt) {
        uint64_t now_ns = weir_now_ns(s->w);
        if (s->flight[n].ticket != 0) {
            continue;
        }
        if (now_ns < x->again_ns) {
            return x->again_ns;
        }
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = x->id,
                                               .priority_set = 1,
                                               .priority = WEIR_PRIORITY_HIGH,
                                               .deadline_ns = now_ns + CALL_NS};
        if (weir_submit(s->w, &spec, &s->flight[n].ticket) != 0) {
            s->flight[n].ticket = 0;
            x->again_ns = now_ns + 5 * WEIR_NS_PER_MS;
        }
    }
    return UINT64_MAX;
}

static void flight_end(struct sender *s, const struct weir_response *a)
{
    uint64_t now_ns = weir_now_ns(s->w);
    unsigned n = 0;
    while (n < s->cnt && s->flight[n].ticket != a->ticket) {
        n++;
    }
    if (n < s->cnt) {
        s->flight[n].ticket = 0;
        if (a->result == WEIR_RESULT_REFUSED) {
            /* Only what cannot pass before its deadline is refused: what comes free meanwhile, others take. */
            s->route[n % sender_plan.route_cnt].again_ns =
                weir_min_u64(weir_max_u64(a->denial.earliest_ns, now_ns + WEIR_NS_PER_MS),
                             now_ns + REFUSED_AGAIN_NS);
        }
    }
    if (a->result == WEIR_RESULT_DONE) {
        if (a->first_byte_ns - a->permitted_ns > sender_plan.overdue_ns) {
            count(s, SENDER_OVERDUE);
        }
        count_status(s, a->status, SENDER_CALLED);
    } else {
        /* Refused and expired are weir's, and some calls die with their worker. What no worker may say here is that it cannot make them. */
        bool wrong = a->result == WEIR_RESULT_REJECTED || a->result == WEIR_RESULT_NO_ROOM ||
                     a->result == WEIR_RESULT_TOO_LARGE;
        count(s, wrong ? SENDER_OTHER : SENDER_WAITED);
    }
    (void)weir_release(s->w, a->ticket);
}

int sender_by_call(struct rig *r, int arg)
{
    static struct sender s;
    unsigned calls = sender_plan.route_cnt * sender_plan.calls;
    struct weir_open_opts opts = {.role = arg % 4 < 2 ? WEIR_ROLE_CALLER : WEIR_ROLE_TRADER,
                                  .patience_ns = 5 * WEIR_NS_PER_S,
                                  .slots = calls,
                                  .response_bytes = (uint64_t)(calls + 2) * (16U << 10)};
    struct weir_diag diag = {0};
    struct weir_response a;
    int rc;
    s.r = r;
    s.w = rig_attach_opts(r, &opts, &diag, &rc);
    if (s.w == NULL) {
        (void)printf("FAILED: cannot attach: %d %s\n", rc, diag.text);
        return 1;
    }
    routes_find(&s);
    while (!stopped(&s)) {
        uint64_t next_ns = UINT64_MAX;
        for (unsigned i = 0; i < sender_plan.route_cnt; i++) {
            next_ns = weir_min_u64(next_ns, flights_fill(&s, i));
        }
        struct pollfd fd = {.fd = weir_fd(s.w), .events = POLLIN};
        while (weir_poll(s.w, &a) == 0) {
            flight_end(&s, &a);
        }
        const struct timespec ts = until(weir_now_ns(s.w), next_ns);
        (void)ppoll(&fd, 1, &ts, NULL);
    }
    weir_close(s.w);
    return 0;
}

void sender_print(const struct rig *r)
{
    const uint32_t *c = r->shared->count;
    (void)printf("by permit: %u answered, %u late and given back, %u given back at random; by "
                 "call: %u answered, %u not made; throttled %u, otherwise %u, overdue %u\n",
                 c[SENDER_GOOD], c[SENDER_LATE], c[SENDER_GIVEN], c[SENDER_CALLED],
                 c[SENDER_WAITED], c[SENDER_REFUSED], c[SENDER_OTHER], c[SENDER_OVERDUE]);
}
