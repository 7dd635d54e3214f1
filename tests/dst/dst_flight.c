/*
 * dst_flight.c: a request on its way to the exchange, its answer on its way back, and what the network does to both. Traders' own calls too.
 *
 * A request that was written arrives within J/2, or never: what the theorem asks of the network. A connection that is closed reaches the exchange
 * within the same time.
 */
#include "dst_flight.h"

#include <stdio.h>
#include <string.h>

#define FLIGHTS_MAX 2048U

static struct flight *flight[FLIGHTS_MAX];

/* ---------------------------------------------------------------------------------------------- flights */

static struct flight *flight_new(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        if (flight[i] == NULL) {
            flight[i] = __real_calloc(1, sizeof *flight[i]);
        }
        if (!flight[i]->used) {
            memset(flight[i], 0, offsetof(struct flight, reply));
            flight[i]->used = true;
            flight[i]->xfer = -1;
            return flight[i];
        }
    }
    dst_broken("simulator", "too many requests on their way");
}

void dst_flight_settle(struct flight *f)
{
    if (f->events == 0 && !f->kept && (f->orphan || f->delivered)) {
        f->used = false;
    }
}

static void flight_over(struct flight *f)
{
    if (f->arrived && !f->over) {
        dst_exchange_over(f->provider, f->who, f->path, f->brokered);
    }
    f->over = true;
}

uint64_t dst_transit(unsigned provider)
{
    uint64_t most = dst_world.provider[provider].jitter_ns / 2 - 4 * DST_MS;
    return dst_log_uniform(50 * DST_US, most);
}

static void closed_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    flight_over(f);
    dst_flight_settle(f);
}

/* Nobody waits for it any more: its connection is closed. */
void dst_flight_orphan(struct flight *f)
{
    if (f->orphan) {
        return;
    }
    f->orphan = true;
    f->xfer = -1;
    f->events++;
    dst_at(dst_now + dst_transit(f->provider) +
               (f->arrived ? 0 : dst_world.provider[f->provider].jitter_ns / 2),
           closed_event, f, 0, 0);
}

static void deliver(struct flight *f, enum piece p, size_t bytes)
{
    if (f->orphan) {
        return;
    }
    if (f->trader != NULL) {
        if (p == END || p == RESET) {
            f->delivered = true;
            f->word = p == END ? 1 : 2;
            dst_wake_word(&f->word, 1);
        }
        return;
    }
    dst_http_piece(f->xfer, p, bytes);
    if (p == END || p == RESET) {
        f->delivered = true;
    }
}

static void piece_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    f->events--;
    deliver(f, (enum piece)a, b);
    if (f->orphan) {
        dst_flight_settle(f);
    }
}

static void piece_at(struct flight *f, uint64_t at, enum piece p, size_t bytes)
{
    f->events++;
    dst_at(at, piece_event, f, p, bytes);
}

/* The exchange has written its answer. */
static void written_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    dst_exchange_settle(f->provider, f->who, f->path, &f->reply);
    flight_over(f);
    uint64_t at = dst_now + dst_transit(f->provider);
    size_t whole = f->reply.body_bytes;
    if (f->fate == DST_ANSWER_CUT) {
        piece_at(f, at, HEAD, 0);
        piece_at(f, at, BODY, dst_below(whole + 1) / 2);
        piece_at(f, at + dst_below(5 * DST_MS), RESET, 0);
        return;
    }
    piece_at(f, at, HEAD, 0);
    if (whole > 100 && dst_chance(0.3)) {
        piece_at(f, at, BODY, whole / 2);
        at += dst_below(3 * DST_MS);
    }
    piece_at(f, at, BODY, whole);
    piece_at(f, at, END, 0);
}

/* Who signs people in takes its time. */
static bool signs_in(const struct flight *f)
{
    return dst_world.provider[f->provider].session != DST_SESSION_NONE && f->path[1] != 'r' &&
           f->path[1] != 'k' && strncmp(f->path, "/time", 5) != 0 &&
           strncmp(f->path, "/ask", 4) != 0;
}

static void arrive_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    if (f->late && f->orphan) { /* nobody waits: it is thrown away uncounted */
        dst_flight_settle(f);
        return;
    }
    f->arrived = true;
    dst_exchange_arrive(f->provider, f->who, f->path, f->brokered ? &f->bears : NULL, &f->reply);
    if (f->fate == DST_RESET_SEEN) {
        flight_over(f);
        piece_at(f, dst_now + dst_transit(f->provider), RESET, 0);
        return;
    }
    if (f->fate == DST_ANSWER_LOST) {
        return; /* until the caller loses patience */
    }
    uint64_t most = signs_in(f) ? 300 * DST_MS : 10 * DST_MS;
    uint64_t service = f->fate == DST_ANSWER_SLOW ? dst_log_uniform(100 * DST_MS, 4 * DST_S)
                                                  : dst_log_uniform(50 * DST_US, most);
    f->events++;
    dst_at(dst_now + service, written_event, f, 0, 0);
}

/* A call that was turned away, and goes out once more: the moment for an order to be made twice. */
static bool goes_again(const char *path)
{
    unsigned route;
    unsigned long long id;
    return sscanf(path, "/r%u?id=%llu", &route, &id) == 2 && !dst_world.liars &&
           dst_call_at(id)->turned > 0;
}

static enum dst_fault fate_draw(bool reused, const char *path)
{
    const struct dst_mix *m = &dst_world.mix;
    if (reused && goes_again(path) && dst_fault(DST_RESET_SEEN, m->revoked > 0 ? 0.5 : 0)) {
        return DST_RESET_SEEN;
    }
    if (reused && dst_fault(DST_DEAD_REUSED, m->dead_reused)) {
        return DST_DEAD_REUSED;
    }
    const struct {
        enum dst_fault fate;
        double p;
    } all[] = {{DST_RESET_UNSEEN, m->unseen},
               {DST_RESET_SEEN, m->seen},
               {DST_ANSWER_LOST, m->lost},
               {DST_ANSWER_CUT, m->cut},
               {DST_ANSWER_SLOW, m->slow}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (dst_fault(all[i].fate, all[i].p)) {
            return all[i].fate;
        }
    }
    return DST_FAULT_CNT;
}

/*
 * An exchange that counts some calls behind J, while they are open. One whose connection is closed by then is not counted any more: it is charged no longer.
 */
static uint64_t at_late(struct flight *f, uint64_t at)
{
    unsigned route;
    const struct dst_provider *p = &dst_world.provider[f->provider];
    bool call = sscanf(f->path, "/r%u", &route) == 1;
    if (call && p->late && dst_fault(DST_COUNTED_LATE, 0.15)) {
        f->late = true;
        return dst_now + dst_log_uniform(p->jitter_ns / 2, 4 * DST_S);
    }
    return at;
}

/* A request is written to a connection now. */
struct flight *dst_flight_send(unsigned provider, dst_maker who, const char *path,
                               const struct dst_bears *bears, bool reused)
{
    struct flight *f = flight_new();
    f->provider = provider;
    f->who = who;
    f->brokered = bears != NULL;
    f->bears = bears != NULL ? *bears : (struct dst_bears){0};
    f->sent_at = dst_now;
    f->fate = fate_draw(reused, path);
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    dst_exchange_sent(provider, who, path, bears);
    uint64_t at = dst_now + dst_transit(provider);
    if (f->fate == DST_DEAD_REUSED || f->fate == DST_RESET_UNSEEN) {
        piece_at(f, at, RESET, 0);
    } else if (f->fate == DST_ANSWER_LOST && dst_chance(0.3)) {
        return f; /* lost on its way there */
    } else {
        f->events++;
        at = f->brokered ? at_late(f, at) : at;
        dst_at(at, arrive_event, f, 0, 0);
    }
    return f;
}

bool dst_trader_call(unsigned provider, dst_maker who, const char *path, uint64_t patience_ns,
                     struct dst_reply *out)
{
    struct flight *f = dst_flight_send(provider, who, path, NULL, false);
    uint64_t end = dst_now + patience_ns;
    f->trader = dst_cur;
    f->trader_life = dst_cur->life;
    f->kept = true;
    while (f->word == 0 && dst_now < end) {
        dst_block(end, &f->word);
    }
    if (f->word == 1) {
        *out = f->reply;
        out->sent_at = f->sent_at;
    } else {
        dst_flight_orphan(f);
    }
    bool there = f->word == 1;
    f->kept = false;
    dst_flight_settle(f);
    return there;
}

/* A new broker knows of no units in flight: who keeps calls across a broker's end must end them (docs/limits.md). */
void dst_http_traders_end(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        struct flight *f = flight[i];
        if (f->used && f->trader != NULL && !f->orphan && !f->delivered) {
            f->word = 2;
            dst_wake_word(&f->word, 1);
            dst_flight_orphan(f);
        }
    }
}

void dst_http_client_died(const struct dst_process *p);

void dst_http_client_died(const struct dst_process *p)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        if (flight[i]->used && flight[i]->trader == p && flight[i]->trader_life == p->life) {
            flight[i]->kept = false;
            dst_flight_orphan(flight[i]);
        }
    }
}

/* The worker died: answers that were whole, and that nobody took in. */
void dst_flight_untaken(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        if (flight[i]->used && flight[i]->kept && flight[i]->trader == NULL) {
            flight[i]->kept = false;
            dst_flight_settle(flight[i]);
        }
    }
}

void dst_flight_reset(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        flight[i]->used = false;
    }
}
