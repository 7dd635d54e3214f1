/*
 * prop_breaker.c: random lives of a breaker: calls begin, end in any class or never, time passes, the worker dies. The oracle keeps its own list of calls and
 * of failures, and knows the promises only:
 *   - nothing begins before an open breaker's instant;
 *   - half-open, at most probe_cnt probes are out whose leases have not ended;
 *   - it opens only on a failure, half-open by a probe of this life, or closed where failure_cnt failures lie within the window and they are failed_ppm of the
 *     ends there; throttles, bans and business answers open nothing;
 *   - it closes by the probe_cnt-th answer to probes of the same half-open life, no earlier;
 *   - a probe that fails before its lease ends opens it;
 *   - a call that began before the last change of state, or before a restart, changes nothing;
 *   - liveness: whatever happened, if from then on all is answered well, it is closed after open_ns, one lease, and probe_cnt calls.
 *
 * prop_breaker [--seconds N] [--seed N]     exit 1: violated; the seed and the schedule's number are printed
 */
#include "broker/breaker.h"
#include "weir_health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S        WEIR_NS_PER_S
#define CALLS    64U
#define FAILURES 4096U
#define OPS      400U

struct prop_call {
    struct breaker_ticket ticket;
    uint64_t lease_until_ns;
    uint64_t life; /* of the state that it began in */
};

static uint64_t rng, now_ns, schedule_nr, life, seen_open, seen_closed;
static struct weir_shm_breaker b;
static struct breaker_rule rule;
static struct prop_call call[CALLS];
static unsigned call_cnt;
static struct {
    uint64_t at_ns;
    bool failed;
} end[FAILURES]; /* since it closed */
static unsigned end_cnt;
static unsigned passed; /* probes answered well since it is half-open */
static bool
    tainted; /* a dead writer left counts that the oracle does not know, until the next change of state */

static uint64_t draw(uint64_t below)
{
    uint64_t z = (rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint64_t)((unsigned __int128)(z ^ (z >> 31)) * below >> 64);
}

/* The classes, once more and by themselves. */
static bool is_failure(enum weir_call_class class)
{
    return class == WEIR_CLASS_TRANSPORT || class == WEIR_CLASS_SERVER ||
           class == WEIR_CLASS_TIMEOUT;
}

static bool is_answer(enum weir_call_class class)
{
    return class == WEIR_CLASS_OK || class == WEIR_CLASS_BUSINESS;
}

static void broken(const char *promise)
{
    printf("BROKEN: %s: schedule %llu, now %llu, state %u, leased %u, passed %u\n", promise,
           (unsigned long long)schedule_nr, (unsigned long long)now_ns, b.state, b.leased,
           b.passed);
    exit(1);
}

static void must(bool good, const char *promise)
{
    if (!good) {
        broken(promise);
    }
}

static unsigned probes_out(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < call_cnt; i++) {
        n += call[i].ticket.probe && call[i].life == life && now_ns < call[i].lease_until_ns;
    }
    return n;
}

static void begin(void)
{
    uint64_t earliest_ns = 0;
    uint32_t state = b.state;
    uint64_t open_until_ns = b.until_ns;
    enum breaker_says says = breaker_ask(&b, &rule, now_ns, &earliest_ns);
    if (says == BREAKER_REFUSE) {
        must(state != WEIR_BREAKER_CLOSED, "a closed breaker refuses nobody");
        must(earliest_ns > now_ns, "a refusal names an instant to come");
        return;
    }
    must(state != WEIR_BREAKER_OPEN || now_ns >= open_until_ns, "nothing begins while it is open");
    must(says == (state == WEIR_BREAKER_CLOSED ? BREAKER_PASS : BREAKER_PROBE), "what it says");
    if (call_cnt == CALLS) {
        return;
    }
    life += state == WEIR_BREAKER_OPEN ? 1U : 0U;
    struct prop_call *c = &call[call_cnt++];
    uint64_t lease = draw(4) == 0 ? draw(200) * S : draw(3 * S);
    *c = (struct prop_call){.life = life, .lease_until_ns = now_ns + lease};
    uint64_t longest_ns = now_ns + BREAKER_LEASE_MAX_NS;
    c->lease_until_ns = c->lease_until_ns > longest_ns ? longest_ns : c->lease_until_ns;
    c->ticket = breaker_take(&b, &rule, now_ns, now_ns + lease);
    must(probes_out() <= rule.probe_cnt, "at most probe_cnt probes are out");
}

/* May it have opened by this end, by what the oracle has counted? */
static bool may_open(void)
{
    uint64_t failed = 0;
    uint64_t most = 0;
    for (unsigned i = end_cnt; i > 0 && end[i - 1].at_ns + rule.window_ns >= now_ns; i--) {
        failed += end[i - 1].failed;
        most++;
        /* the window may be an eighth shorter: some number of the last ends must do */
        if (failed >= rule.failure_cnt && failed * 1000000U >= most * rule.failed_ppm) {
            return true;
        }
    }
    return false;
}

static void finish(unsigned i, enum weir_call_class class)
{
    struct prop_call c = call[i];
    uint32_t before = b.state;
    call[i] = call[--call_cnt];
    bool mine = c.life == life;
    if (mine && before == WEIR_BREAKER_CLOSED && end_cnt < FAILURES &&
        (is_failure(class) || is_answer(class))) {
        end[end_cnt].at_ns = now_ns;
        end[end_cnt++].failed = is_failure(class);
    }
    passed += mine && c.ticket.probe && is_answer(class);
    bool probe = c.ticket.probe; /* told clears it */
    bool changed = breaker_told(&b, &rule, now_ns, &c.ticket, class);
    must(changed == (before != b.state), "it says whether its state changed");
    must(!mine || before != WEIR_BREAKER_HALF_OPEN || !probe || now_ns >= c.lease_until_ns ||
             !is_failure(class) || b.state == WEIR_BREAKER_OPEN,
         "a probe that fails opens it again");
    if (!changed) {
        return;
    }
    must(mine, "an end of a former life changes nothing");
    if (b.state == WEIR_BREAKER_OPEN) {
        must(is_failure(class), "only failures open it");
        must(before == WEIR_BREAKER_HALF_OPEN || tainted || may_open(),
             "opened by too few failures");
        seen_open++;
    } else {
        must(b.state == WEIR_BREAKER_CLOSED && before == WEIR_BREAKER_HALF_OPEN && is_answer(class),
             "it closes by a probe's answer");
        must(tainted || passed >= rule.probe_cnt, "it closes by probe_cnt answers");
        seen_closed++;
    }
    end_cnt = 0;
    passed = 0;
    tainted = false;
    life++;
}

static void die(void)
{
    uint32_t before = b.state;
    call_cnt =
        draw(2) == 0
            ? 0
            : call_cnt; /* late ends of a dead worker's calls never come, and could do no harm */
    if (draw(4) == 0) { /* it died while it wrote */
        ((unsigned char *)&b)[draw(sizeof b)] = (unsigned char)draw(256);
        life += 2;
        tainted = true;
        end_cnt = 0;
        call_cnt = 0;
        breaker_restart(&b, &rule, now_ns);
        return;
    }
    breaker_restart(&b, &rule, now_ns);
    must(b.state == before, "a restart changes no state");
    life++;
}

static void revive(void)
{
    call_cnt = 0;
    now_ns += rule.open_ns + BREAKER_LEASE_MAX_NS;
    for (uint32_t i = 0; i < rule.probe_cnt && b.state != WEIR_BREAKER_CLOSED; i++) {
        uint64_t earliest_ns;
        must(breaker_ask(&b, &rule, now_ns, &earliest_ns) != BREAKER_REFUSE, "somebody may try");
        struct breaker_ticket t = breaker_take(&b, &rule, now_ns, now_ns + S);
        (void)breaker_told(&b, &rule, now_ns, &t, WEIR_CLASS_OK);
    }
    must(b.state == WEIR_BREAKER_CLOSED, "it is closed in the end");
}

static void schedule(void)
{
    memset(&b, 0, sizeof b);
    call_cnt = end_cnt = passed = 0;
    tainted = false;
    now_ns = 1000 * S + draw(1000 * S);
    rule = (struct breaker_rule){.failure_cnt = 1 + (uint32_t)draw(8),
                                 .failed_ppm = (uint32_t)draw(1000001),
                                 .probe_cnt = 1 + (uint32_t)draw(4),
                                 .window_ns = S / 10 + draw(20 * S),
                                 .open_ns = S / 10 + draw(60 * S)};
    breaker_restart(&b, &rule, now_ns);
    unsigned bad = (unsigned)draw(100); /* how ill the endpoint is */
    for (unsigned op = 0; op < OPS; op++) {
        unsigned what = (unsigned)draw(100);
        if (what < 40) {
            begin();
        } else if (what < 85 && call_cnt > 0) {
            enum weir_call_class class = draw(100) < bad ? WEIR_CLASS_TRANSPORT + (unsigned)draw(3)
                                                         : (unsigned)draw(WEIR_CLASS_CNT);
            finish((unsigned)draw(call_cnt), class);
        } else if (what < 98) {
            now_ns += draw(3) == 0 ? draw(2 * rule.open_ns) : draw(rule.window_ns / 4);
        } else {
            die();
        }
    }
    revive();
}

int main(int argc, char **argv)
{
    double seconds = 3;
    uint64_t seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0) {
            seconds = atof(argv[i + 1]);
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        }
    }
    printf("seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    rng = seed;
    clock_t until = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
    while (clock() < until) {
        schedule_nr++;
        schedule();
    }
    printf("%llu schedules, opened %llu times, closed %llu times\n",
           (unsigned long long)schedule_nr, (unsigned long long)seen_open,
           (unsigned long long)seen_closed);
    return seen_open > 0 && seen_closed > 0 ? 0 : 1;
}
