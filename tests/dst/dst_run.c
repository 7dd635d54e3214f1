/* dst_run.c: who runs, and what time it is. See dst.h. */
#include "dst.h"

#include "dst_points.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ACTORS_MAX  32U
#define STACK_BYTES (512UL << 10)
#define GUARD_BYTES 4096UL
#define EVENTS_MAX  65536U
#define POINT_NS    3U    /* what one access takes */
#define ALONE_MAX   4096U /* points */

/* ---------------------------------------------------------------------------------------------- randomness */

static uint64_t random_state[4];

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256**, Blackman and Vigna, public domain. */
uint64_t dst_random(void)
{
    uint64_t *s = random_state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t dst_below(uint64_t n)
{
    return (uint64_t)(((unsigned __int128)dst_random() * n) >> 64);
}

bool dst_chance(double p)
{
    return (double)(dst_random() >> 11) * 0x1p-53 < p;
}

uint64_t dst_log_uniform(uint64_t low, uint64_t high)
{
    unsigned bits_low = 63U - (unsigned)__builtin_clzll(low | 1);
    unsigned bits_high = 63U - (unsigned)__builtin_clzll(high | 1);
    unsigned bits = bits_low + (unsigned)dst_below(bits_high - bits_low + 1);
    uint64_t n = (UINT64_C(1) << bits) + dst_below(UINT64_C(1) << bits);
    return n < low ? low : n > high ? high : n;
}

static void random_seed(uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random_state[i] = z ^ (z >> 31);
    }
}

/* ---------------------------------------------------------------------------------------------- events */

struct event {
    uint64_t at, order;
    dst_event_fn fn;
    void *arg;
    uint64_t a, b;
};

static struct event heap[EVENTS_MAX];
static size_t heap_cnt;
static uint64_t event_order;

uint64_t dst_now;

static bool earlier(const struct event *x, const struct event *y)
{
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

void dst_at(uint64_t at, dst_event_fn fn, void *arg, uint64_t a, uint64_t b)
{
    if (heap_cnt == EVENTS_MAX) {
        dst_broken("simulator", "too many events");
    }
    size_t i = heap_cnt++;
    struct event e = {at < dst_now ? dst_now : at, event_order++, fn, arg, a, b};
    while (i > 0 && earlier(&e, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = e;
}

static struct event event_take(void)
{
    struct event first = heap[0];
    struct event last = heap[--heap_cnt];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= heap_cnt) {
            break;
        }
        if (k + 1 < heap_cnt && earlier(&heap[k + 1], &heap[k])) {
            k++;
        }
        if (!earlier(&heap[k], &last)) {
            break;
        }
        heap[i] = heap[k];
        i = k;
    }
    heap[i] = last;
    return first;
}

/* ---------------------------------------------------------------------------------------------- actors */

struct dst_actor {
    void *sp;
    char *stack;
    struct dst_process *process; /* NULL: free */
    uint64_t life;
    uint64_t wake_at; /* not before; UINT64_MAX: until somebody wakes it */
    const void *word; /* the futex it sleeps on */
    bool sleeping;
    bool woken;
    void (*body)(void *);
    void *arg;
};

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off);

static struct dst_actor actor[ACTORS_MAX];
static struct dst_actor *current;
static void *scheduler_sp;
static int held;
static long fuse_given;

struct dst_process *dst_cur;
long dst_fuse = 1L << 40;

/* void dst_switch(void **save, void *to): the callee-saved registers and the stack, nothing else. */
__asm__(".text\n"
        ".type dst_switch,@function\n"
        "dst_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp,(%rdi)\n"
        "  movq %rsi,%rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size dst_switch,.-dst_switch\n");
void dst_switch(void **save, void *to);

static void to_scheduler(void)
{
    struct dst_actor *self = current;
    dst_switch(&self->sp, scheduler_sp);
}

static void actor_main(void)
{
    struct dst_actor *self = current;
    self->body(self->arg);
    struct dst_process *p = self->process;
    self->process = NULL;
    p->kill_in = 0;
    p->live = false; /* one actor a process: it has exited */
    dst_process_release(p);
    if (p->died != NULL) {
        dst_cur = NULL;
        p->died(p);
    }
    to_scheduler();
    abort();
}

void dst_born(struct dst_process *p, void (*body)(void *), void *arg)
{
    struct dst_actor *a = actor;
    while (a < actor + ACTORS_MAX && a->process != NULL) {
        a++;
    }
    if (a == actor + ACTORS_MAX) {
        dst_broken("simulator", "too many actors");
    }
    if (a->stack == NULL) {
        a->stack = __real_mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (a->stack == MAP_FAILED || mprotect(a->stack, GUARD_BYTES, PROT_NONE) != 0) {
            dst_broken("simulator", "no memory for a stack");
        }
    }
    p->life++;
    p->live = true;
    p->kill_in = 0;
    p->steady = false;
    uintptr_t top = ((uintptr_t)a->stack + STACK_BYTES) & ~UINT64_C(15);
    void **sp = (void **)top; /* NOLINT: the first frame of a new stack */
    *--sp = NULL;
    *--sp = (void *)(uintptr_t)actor_main;
    for (int i = 0; i < 6; i++) {
        *--sp = NULL;
    }
    *a = (struct dst_actor){.sp = sp,
                            .stack = a->stack,
                            .process = p,
                            .life = p->life,
                            .wake_at = dst_now,
                            .body = body,
                            .arg = arg};
}

static void reap(struct dst_process *p)
{
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX; a++) {
        if (a->process == p) {
            a->process = NULL;
        }
    }
    p->live = false;
    p->kill_in = 0;
    dst_process_release(p);
    if (p->died != NULL) {
        p->died(p);
    }
}

void dst_kill(struct dst_process *p)
{
    if (!p->live) {
        return;
    }
    if (dst_cur == p && held == 0) {
        p->kill_in = 1;
        dst_fuse = 0;
        dst_point_slow();
        return;
    }
    struct dst_process *saved = dst_cur;
    dst_cur = NULL;
    reap(p);
    dst_cur = saved;
}

void dst_block(uint64_t until, const void *word)
{
    current->sleeping = true;
    current->woken = false;
    current->word = word;
    current->wake_at = until;
    to_scheduler();
}

void dst_wake_word(const void *word, int cnt)
{
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX && cnt > 0; a++) {
        if (a->process != NULL && a->sleeping && a->word == word) {
            a->woken = true;
            cnt--;
        }
    }
}

void dst_wake_process(struct dst_process *p)
{
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX; a++) {
        if (a->process == p && a->sleeping) {
            a->woken = true;
        }
    }
}

void dst_hold(bool on)
{
    held += on ? 1 : -1;
}

void dst_passed(uint64_t ns)
{
    dst_now += ns;
    if (heap_cnt > 0 && heap[0].at <= dst_now && dst_fuse > 0 && current != NULL) {
        long left = dst_fuse;
        fuse_given -= left; /* somebody else's turn at the next point */
        dst_fuse = 0;
    }
}

/* How long the running actor may go on. A worker that spins while all others sleep has nobody to give way to: it goes on to the next event. */
static void fuse_set(struct dst_process *p, uint64_t alone_until)
{
    long burst = 1 + (long)dst_below(UINT64_C(1) << dst_below((unsigned)dst_world.burst_shift + 1));
    if (dst_world.spins && p == &dst_worker_process && alone_until > dst_now) {
        uint64_t points = (alone_until - dst_now) / POINT_NS;
        points = points < ALONE_MAX ? points : ALONE_MAX;
        burst = burst < (long)points ? (long)points : burst;
    }
    if (p->kill_in > 0 && p->kill_in < burst) {
        burst = p->kill_in;
    }
    fuse_given = burst;
    dst_fuse = burst;
}

void dst_point_slow(void)
{
    if (current == NULL || held > 0 || dst_cur == NULL) {
        dst_fuse = 1;
        return;
    }
    bool trader = current->process->stall_max > DST_S;
    if (trader && dst_world.mix.reload_stall > 0 && dst_reload_is_near() &&
        dst_chance(dst_world.mix.reload_stall) && dst_fault(DST_STALLED, 1)) {
        current->wake_at =
            dst_now +
            dst_log_uniform(100 * DST_US, current->process->steady ? DST_MS : 300 * DST_MS);
    } else if (dst_world.mix.stall > 0 && current->process->stall_max > 0 &&
               dst_chance(dst_world.mix.stall)) {
        struct dst_process *p = current->process;
        uint64_t most = p->steady ? DST_MS : p->stall_max;
        if (dst_fault(DST_STALLED, 1)) {
            current->wake_at = dst_now + dst_log_uniform(10 * DST_US, most);
        }
    }
    to_scheduler();
}

void weir_weave_hook(const char *name);

void weir_weave_hook(const char *name)
{
    (void)name;
    dst_point();
}

static bool is_ready(const struct dst_actor *a)
{
    return a->process != NULL &&
           (a->sleeping ? a->woken || a->wake_at <= dst_now : a->wake_at <= dst_now);
}

static struct dst_actor *actor_choose(bool *alone)
{
    struct dst_actor *ready[ACTORS_MAX];
    unsigned cnt = 0;
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX; a++) {
        if (is_ready(a)) {
            ready[cnt++] = a;
        }
    }
    *alone = cnt == 1;
    return cnt == 0 ? NULL : ready[cnt == 1 ? 0 : dst_below(cnt)];
}

/* When something else than `self` happens, `at` at the latest. */
static uint64_t next_at(const struct dst_actor *self, uint64_t at)
{
    uint64_t next = heap_cnt > 0 && heap[0].at < at ? heap[0].at : at;
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX; a++) {
        if (a->process != NULL && a != self && a->wake_at < next) {
            next = a->wake_at;
        }
    }
    return next;
}

static void actor_run(struct dst_actor *a, uint64_t alone_until)
{
    struct dst_process *p = a->process;
    a->sleeping = false;
    a->word = NULL;
    a->wake_at = dst_now;
    current = a;
    dst_cur = p;
    fuse_set(p, alone_until);
    dst_switch(&scheduler_sp, a->sp);
    long used = fuse_given - (dst_fuse > 0 ? dst_fuse : 0);
    current = NULL;
    dst_cur = NULL;
    dst_fuse = 1L << 40;
    dst_now += (uint64_t)(used > 0 ? used : 0) * POINT_NS;
    if (a->process == p && p->live && p->kill_in > 0) {
        p->kill_in -= used > 0 ? used : 1;
        if (p->kill_in <= 0) {
            dst_say("%s dies", p->name);
            reap(p);
        }
    }
}

void dst_run_until(uint64_t at)
{
    while (dst_now < at) {
        while (heap_cnt > 0 && heap[0].at <= dst_now) {
            struct event e = event_take();
            e.fn(e.arg, e.a, e.b);
        }
        bool alone;
        struct dst_actor *a = actor_choose(&alone);
        if (a != NULL) {
            actor_run(a, alone ? next_at(a, at) : 0);
            continue;
        }
        uint64_t next = next_at(NULL, at);
        dst_now = next > dst_now ? next : dst_now;
    }
}

/* ---------------------------------------------------------------------------------------------- the trace */

static uint64_t hash;

bool dst_tracing;

void dst_trace(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t word[] = {dst_now, a, b, c};
    for (const char *p = what; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    }
    for (unsigned i = 0; i < 4; i++) {
        hash = (hash ^ word[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    dst_say("%s %llu %llu %llu", what, (unsigned long long)a, (unsigned long long)b,
            (unsigned long long)c);
}

uint64_t dst_hash(void)
{
    return hash;
}

void dst_say(const char *format, ...)
{
    if (!dst_tracing) {
        return;
    }
    va_list args;
    (void)printf("%14.6f ms  %-10s ", (double)dst_now / 1e6, dst_cur != NULL ? dst_cur->name : "-");
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
}

/* ---------------------------------------------------------------------------------------------- a new run */

void dst_run_reset(uint64_t seed)
{
    random_seed(seed);
    for (struct dst_actor *a = actor; a < actor + ACTORS_MAX; a++) {
        a->process = NULL;
    }
    heap_cnt = 0;
    event_order = 0;
    dst_now = 0;
    dst_boot_at = 0;
    dst_boot_number = 1;
    dst_utc_offset = INT64_C(1767225600000000000); /* 2026-01-01 */
    current = NULL;
    dst_cur = NULL;
    held = 0;
    hash = UINT64_C(0xcbf29ce484222325);
}
