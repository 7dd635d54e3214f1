/*
 * audit.c: from the rings of traders and of this worker to the records on the board (weir_audit.h).
 *
 * What a trader's ring holds is checked like all that comes from an arena, on a private copy: an entry that libweir would not have written is counted and left
 * out. Whose an entry is comes from the attach alone.
 */
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define RECORD_WORDS (sizeof(struct weir_shm_audit_record) / sizeof(uint64_t))
#define ENTRY_WORDS  (sizeof(struct weir_shm_audit_entry) / sizeof(uint64_t))

/* Entries that are taken from traders in one turn: whoever floods its ring must not stop the loop. */
#define TURN_MAX 4096U
/* A trader's clock is ours but for what it interpolates since the last anchor. */
#define SLACK_NS (100 * WEIR_NS_PER_MS)
/* At its death a worker had at most one ring half way: what is on the board of it lies among so many records. */
#define LOOK_BACK 4096U

/* What of a ring is on the board already, as a worker finds it that follows another one. */
struct newest {
    bool known;
    uint16_t life;
    uint32_t place;
};

struct audit {
    struct weir_shm_audit *head;
    struct weir_shm_audit_record *record;
    uint32_t cnt;
    uint32_t
        uid; /* that weird was started as; from the auxiliary vector, because the cage allows no call for it */
    uint32_t turn; /* with whom the next turn begins */
    struct weir_shm_audit_ring *own;
    struct audit_source own_source;
    struct newest newest[WEIR_CLIENTS_MAX][WEIR_THREADS_MAX];
    struct newest newest_own;
};

/* ---------------------------------------------------------------------------------------------- records */

/* Whose a record is. The row on the board outlives the worker, and is the client's until its index is given to another. */
static void whose(const struct worker *w, uint32_t client, struct weir_shm_audit_record *r)
{
    r->client = (uint8_t)client;
    if (client >= WEIR_CLIENTS_MAX) {
        r->client = WEIR_AUDIT_NOBODY;
        (void)memcpy(r->name, "weird", sizeof "weird");
        r->uid = w->audit->uid;
        r->pid = w->region->worker->pid;
        return;
    }
    const struct weir_shm_client *row = &w->region->client[client];
    memcpy(r->name, row->name, sizeof r->name);
    r->uid = row->uid;
    r->pid = row->pid;
    r->life = (uint16_t)row->life;
}

static void put(struct worker *w, struct weir_shm_audit_record *r)
{
    struct audit *a = w->audit;
    uint64_t word[RECORD_WORDS];
    uint64_t n = weir_load_relaxed_u64(&a->head->written); /* relaxed: this thread writes it */
    uint64_t *to = (void *)&a->record[n % a->cnt];
    r->number = n + 1;
    memcpy(word, r, sizeof word);
    weir_store_release_u64(&a->head->begun, n + 1); /* pair:audit_begun R */
    weir_fence_full();                              /* the announcement before the first word */
    WEIR_WEAVE("audit:announced");
    for (size_t i = 0; i < RECORD_WORDS; i++) {
        weir_store_relaxed_u64(&to[i], word[i]); /* relaxed: judged by `begun` and `written` */
    }
    WEIR_WEAVE("audit:recorded");
    weir_store_release_u64(&a->head->written, n + 1); /* pair:audit_written R */
    WEIR_WEAVE("audit:shown");
}

/* A record that bears only a number. */
static void put_count(struct worker *w, uint32_t client, uint32_t thread, enum weir_audit_kind kind,
                      uint64_t cnt)
{
    struct weir_shm_audit_record r = {.at_ns = worker_now(w),
                                      .route = UINT16_MAX,
                                      .generation = (uint16_t)(w->shared.tables.word >> 32),
                                      .kind = (uint8_t)kind,
                                      .reporter = WEIR_AUDIT_BY_BROKER,
                                      .thread = (uint8_t)thread,
                                      .count = (uint32_t)weir_min_u64(cnt, UINT32_MAX)};
    whose(w, client, &r);
    put(w, &r);
    if (kind == WEIR_AUDIT_DROPPED) {
        board_add(&w->audit->head->dropped, cnt);
    } else if (kind == WEIR_AUDIT_DAMAGED) {
        board_add(&w->audit->head->damaged, cnt);
    }
}

/* ---------------------------------------------------------------------------------------------- entries */

/* Could libweir have written this? Of tables that are gone only the shape can be judged. */
static bool entry_ok(const struct worker *w, const struct client *c,
                     const struct weir_shm_audit_entry *e, uint64_t now_ns)
{
    const struct weir_tables *t = &w->shared.tables;
    bool granted = e->kind == WEIR_AUDIT_GRANTED;
    if (e->kind < WEIR_AUDIT_GRANTED || e->kind > WEIR_AUDIT_SETTLED ||
        e->priority >= WEIR_PRIORITY_CNT || e->unit_cnt > WEIR_PERMIT_LIMITS_MAX ||
        e->at_ns > now_ns + SLACK_NS || e->at_ns + SLACK_NS < c->info.attached_ns ||
        e->granted_at_ns > e->at_ns || e->granted_at_ns + SLACK_NS < c->info.attached_ns ||
        (granted && e->granted_at_ns != e->at_ns)) {
        return false;
    }
    for (uint32_t i = 0; i < WEIR_PERMIT_LIMITS_MAX; i++) {
        bool sign = granted                            ? e->units[i] >= 0
                    : e->kind == WEIR_AUDIT_GIVEN_BACK ? e->units[i] <= 0
                                                       : true;
        if (!sign || (i >= e->unit_cnt && e->units[i] != 0)) {
            return false;
        }
    }
    if (e->generation != (uint16_t)(t->word >> 32)) {
        return true;
    }
    if (e->route >= t->route_cnt || e->unit_cnt != t->route[e->route].limit_cnt) {
        return false;
    }
    for (uint32_t i = 0; i < e->unit_cnt; i++) {
        const struct weir_shm_limit_row *row = &t->limit[t->route[e->route].limit[i]];
        if ((uint32_t)(e->scope >> row->scope_shift & 0xffffU) >= row->word_cnt) {
            return false;
        }
    }
    return true;
}

static void entry_put(struct worker *w, const struct weir_shm_audit_entry *e, uint32_t client,
                      uint32_t thread, enum weir_audit_reporter reporter, uint64_t place)
{
    struct weir_shm_audit_record r = {.at_ns = e->at_ns,
                                      .granted_at_ns = e->granted_at_ns,
                                      .scope = e->scope,
                                      .route = e->route,
                                      .generation = e->generation,
                                      .kind = e->kind,
                                      .priority = e->priority,
                                      .unit_cnt = e->unit_cnt,
                                      .reporter = (uint8_t)reporter,
                                      .thread = (uint8_t)thread,
                                      .place = (uint32_t)place};
    memcpy(r.units, e->units, sizeof r.units);
    whose(w, client, &r);
    put(w, &r);
}

/*
 * Take up to `max` entries of one ring; `c` NULL: the worker's own. Returns how many. Ends: `head` is read once, and what it claims beyond the ring's size is
 * not looked at.
 */
static uint32_t take(struct worker *w, const struct client *c, uint32_t thread,
                     struct weir_shm_audit_ring *ring, struct audit_source *s, uint32_t max)
{
    const uint32_t cnt = c != NULL ? WEIR_AUDIT_RING_CNT : WEIR_AUDIT_OWN_CNT;
    const uint32_t client = c != NULL ? c->info.index : WEIR_AUDIT_NOBODY;
    uint64_t head = weir_load_acquire_u64(&ring->head);       /* pair:audit A */
    uint64_t dropped = weir_load_relaxed_u64(&ring->dropped); /* relaxed: only counted */
    if (head == s->taken && dropped == s->dropped) {
        return 0;
    }
    uint64_t now_ns = worker_now(w);
    uint64_t damaged = 0;
    uint32_t n = 0;
    if (head - s->taken > cnt) { /* no writer of ours does that: there is nothing to believe */
        damaged = head - s->taken;
        s->taken = head;
    }
    for (; n < max && s->taken != head; n++, s->taken++) {
        const uint64_t *from = (void *)&weir_audit_entries(ring)[s->taken & (cnt - 1)];
        struct weir_shm_audit_entry e;
        uint64_t word[ENTRY_WORDS];
        for (size_t i = 0; i < ENTRY_WORDS; i++) {
            word[i] = weir_load_relaxed_u64(&from[i]); /* relaxed: behind the head's acquire */
        }
        memcpy(&e, word, sizeof e);
        if (c != NULL && !entry_ok(w, c, &e, now_ns)) {
            damaged++;
        } else {
            entry_put(w, &e, c != NULL ? client : e.client, thread,
                      c != NULL ? WEIR_AUDIT_BY_TRADER : WEIR_AUDIT_BY_BROKER, s->taken);
        }
    }
    if (damaged > 0) {
        put_count(w, client, thread, WEIR_AUDIT_DAMAGED, damaged);
    }
    weir_store_release_u64(&ring->taken, s->taken); /* pair:audit_taken R: copied, may be reused */
    WEIR_WEAVE("audit:taken");
    if (s->taken == head && dropped != s->dropped) {
        put_count(w, client, thread, WEIR_AUDIT_DROPPED, dropped - s->dropped);
        s->dropped = dropped;
        weir_store_relaxed_u64(&ring->dropped_taken, dropped); /* relaxed: for our successor */
    }
    return n;
}

static void take_own(struct worker *w)
{
    (void)take(w, NULL, 0, w->audit->own, &w->audit->own_source, UINT32_MAX);
}

static struct weir_shm_audit_ring *ring_of(const struct client *c, uint32_t thread)
{
    return (void *)(c->audit_ring + thread * weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT));
}

static uint32_t take_client(struct worker *w, struct client *c, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t t = 0; c->audit_ring != NULL && t < WEIR_THREADS_MAX && n < max; t++) {
        n += take(w, c, t, ring_of(c, t), &c->audit[t], max - n);
    }
    return n;
}

/* ---------------------------------------------------------------------------------------------- for the others */

/* Where a source goes on: behind what its ring says was taken, and behind what is on the board besides. */
static void source_open(struct audit_source *s, const struct weir_shm_audit_ring *ring,
                        const struct newest *newest, uint32_t cnt)
{
    /* relaxed, all: a worker before us wrote them, and has ended; a client that changes them loses or doubles its own words */
    s->taken = weir_load_relaxed_u64(&ring->taken);
    s->dropped = weir_load_relaxed_u64(&ring->dropped_taken);
    uint64_t more = (uint32_t)(newest->place - (uint32_t)s->taken) + UINT64_C(1);
    uint64_t left = weir_load_relaxed_u64(&ring->head) - s->taken;
    if (newest->known && more <= left && left <= cnt) {
        s->taken += more;
    }
}

/* What a worker before us put on the board last, by ring. */
static void newest_find(struct audit *a)
{
    /* relaxed: nobody else writes any more */
    uint64_t written = weir_load_relaxed_u64(&a->head->written);
    uint64_t n = weir_min_u64(written, weir_min_u64(a->cnt, LOOK_BACK));
    for (uint64_t k = written - n; k < written; k++) {
        const struct weir_shm_audit_record *r = &a->record[k % a->cnt];
        bool own = r->reporter == WEIR_AUDIT_BY_BROKER;
        if (r->number != k + 1 || r->kind < WEIR_AUDIT_GRANTED || r->kind > WEIR_AUDIT_SETTLED ||
            (!own && (r->client >= WEIR_CLIENTS_MAX || r->thread >= WEIR_THREADS_MAX))) {
            continue;
        }
        *(own ? &a->newest_own : &a->newest[r->client][r->thread]) =
            (struct newest){.known = true, .life = r->life, .place = r->place};
    }
}

bool audit_open(struct worker *w)
{
    const struct region *r = w->region;
    if (r->audit == NULL) {
        return true;
    }
    struct audit *a = calloc(1, sizeof *a);
    w->audit = a;
    if (a == NULL || !weir_audit_open(&w->shared.audit, r->audit_ring,
                                      weir_audit_ring_bytes(WEIR_AUDIT_OWN_CNT))) {
        return false;
    }
    w->shared.audit.client = WEIR_AUDIT_NOBODY;
    a->head = r->audit;
    a->record = r->audit_record;
    a->cnt = r->audit_cnt;
    a->uid = (uint32_t)getauxval(AT_UID);
    a->own = r->audit_ring;
    newest_find(a);
    source_open(&a->own_source, a->own, &a->newest_own, WEIR_AUDIT_OWN_CNT);
    return true;
}

void audit_began(struct worker *w)
{
    if (w->audit != NULL) {
        take_own(w); /* of the worker before, whose number it bears no more */
        put_count(w, WEIR_AUDIT_NOBODY, 0, WEIR_AUDIT_WORKER, w->region->gate->incarnation);
    }
}

void audit_attach(struct worker *w, struct client *c, bool recovered)
{
    for (uint32_t t = 0;
         w->audit != NULL && recovered && c->audit_ring != NULL && t < WEIR_THREADS_MAX; t++) {
        struct newest *newest = &w->audit->newest[c->info.index][t];
        newest->known =
            newest->known && newest->life == (uint16_t)w->region->client[c->info.index].life;
        source_open(&c->audit[t], ring_of(c, t), newest, WEIR_AUDIT_RING_CNT);
    }
}

void audit_hold(struct worker *w)
{
    w->shared.audit.ring = NULL;
}

void audit_granted(struct worker *w, const struct call *c, bool granted)
{
    if (w->audit != NULL) {
        w->shared.audit.ring = w->audit->own;
        if (granted) {
            weir_audit_granted(&w->shared, &c->permit);
        }
    }
}

void audit_turn(struct worker *w)
{
    struct audit *a = w->audit;
    if (a == NULL) {
        return;
    }
    /* relaxed: for display */
    weir_store_relaxed_u64((uint64_t *)&a->head->utc_offset_ns,
                           weir_clock_realtime_ns() - worker_now(w));
    take_own(w);
    uint32_t left = TURN_MAX;
    uint32_t first = a->turn;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX && left > 0; i++) {
        struct client *c = &w->client[(first + i) % WEIR_CLIENTS_MAX];
        if (c->live) {
            uint32_t n = take_client(w, c, left);
            left -= n;
            a->turn = n > 0 ? c->info.index + 1 : a->turn; /* who comes next begins next time */
        }
    }
}

void audit_take(struct worker *w, struct client *c)
{
    if (w->audit != NULL) {
        take_own(w);
        (void)take_client(w, c, WEIR_THREADS_MAX * WEIR_AUDIT_RING_CNT);
    }
}

void audit_refused(struct worker *w, const struct client *c, uint32_t limit, uint32_t priority,
                   uint32_t cnt, enum weir_audit_reporter reporter)
{
    if (w->audit == NULL) {
        return;
    }
    struct weir_shm_audit_record r = {.at_ns = worker_now(w),
                                      .route = UINT16_MAX,
                                      .generation = (uint16_t)(w->shared.tables.word >> 32),
                                      .kind = WEIR_AUDIT_REFUSED,
                                      .priority = (uint8_t)priority,
                                      .reporter = (uint8_t)reporter,
                                      .count = cnt,
                                      .detail = limit};
    whose(w, c != NULL ? c->info.index : WEIR_AUDIT_NOBODY, &r);
    put(w, &r);
}

void audit_ended(struct worker *w, const struct call *c, enum weir_result result)
{
    if (w->audit == NULL || c->client == NULL) {
        return; /* what the worker does for itself is its permits */
    }
    take_own(w); /* what was granted and corrected comes before its end */
    struct weir_shm_audit_record r = {.at_ns = worker_now(w),
                                      .granted_at_ns = c->permitted_ns,
                                      .scope = c->scope,
                                      .route = (uint16_t)c->route,
                                      .generation = (uint16_t)(w->shared.tables.word >> 32),
                                      .kind = WEIR_AUDIT_ENDED,
                                      .priority = (uint8_t)c->priority,
                                      .reporter = WEIR_AUDIT_BY_BROKER,
                                      .detail =
                                          (c->transfer.status & 0xffffU) << 16 | (uint32_t)result};
    whose(w, c->client->info.index, &r);
    put(w, &r);
}
