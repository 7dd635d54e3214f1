/* dst_loop.c: broker/loop.h without a kernel. Events reach the worker as the kernel's do: with the next wait or pump. */
#include "dst.h"

#include "broker/worker.h"

#include <poll.h>
#include <string.h>

#define EVENTS_MAX 4096U

struct worker *dst_worker;

static struct loop_event queue[EVENTS_MAX];
static unsigned queue_head, queue_cnt, visible; /* `visible` of `queue_cnt` have been fetched */

struct armed {
    bool on;
    uint32_t generation;
    int fd;
};

static struct armed doorbell[WEIR_CLIENTS_MAX], pidfd[WEIR_CLIENTS_MAX];
static struct armed handover[2]; /* listener, taker */
static bool control_armed;

void dst_loop_post(int kind, uint32_t generation, uint32_t index, int result, bool more)
{
    if (queue_cnt == EVENTS_MAX) {
        dst_broken("simulator", "too many completions");
    }
    queue[(queue_head + queue_cnt++) % EVENTS_MAX] =
        (struct loop_event){(enum loop_kind)kind, generation & 0xffffffU, index, result, more};
    dst_wake_process(&dst_worker_process);
}

void dst_loop_worker_died(void)
{
    queue_cnt = 0;
    visible = 0;
    memset(doorbell, 0, sizeof doorbell);
    memset(pidfd, 0, sizeof pidfd);
    memset(handover, 0, sizeof handover);
    control_armed = false;
    if (dst_worker != NULL) {
        memset(dst_worker, 0,
               sizeof *dst_worker); /* the next worker is another process: all of its memory is 0 */
        dst_worker = NULL;
    }
}

void dst_loop_reset(void)
{
    queue_head = 0;
    dst_loop_worker_died();
}

void dst_loop_doorbell(int fd)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (doorbell[i].on && doorbell[i].fd == fd) {
            /* Where completions overflow, a multishot poll ends and has to be armed again. */
            bool more = !dst_fault(DST_BELL_CUT, 0.01);
            doorbell[i].on = more;
            dst_loop_post(LOOP_DOORBELL, doorbell[i].generation, i, POLLIN, more);
        }
    }
}

void dst_loop_process_died(int fd)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (pidfd[i].on && pidfd[i].fd == fd) {
            pidfd[i].on = false;
            dst_loop_post(LOOP_PIDFD, pidfd[i].generation, i, POLLIN, false);
        }
    }
}

void dst_loop_control(void)
{
    if (control_armed) {
        control_armed = false;
        dst_loop_post(LOOP_CONTROL, 0, 0, POLLIN, false);
    }
}

/* A taker knocks, or has said something. */
void dst_loop_handover(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (handover[i].on && dst_handover_ready(handover[i].fd)) {
            handover[i].on = false;
            dst_loop_post(LOOP_HANDOVER, handover[i].generation, i, POLLIN, false);
        }
    }
}

int loop_open(struct loop *loop, unsigned entries, char *text, size_t text_bytes)
{
    (void)entries;
    (void)text;
    (void)text_bytes;
    dst_worker = (struct worker *)(void *)((char *)loop - offsetof(struct worker, loop));
    return 0;
}

void loop_close(struct loop *loop)
{
    (void)loop;
}

bool dst_control_ready(void);
bool dst_doorbell_rung(int fd);

void loop_poll(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index, int fd,
               unsigned events, bool multishot)
{
    (void)loop;
    (void)events;
    (void)multishot;
    switch (kind) {
    case LOOP_CONTROL:
        control_armed = true;
        if (dst_control_ready()) {
            dst_loop_control();
        }
        break;
    case LOOP_DOORBELL:
        doorbell[index] = (struct armed){true, generation, fd};
        if (dst_doorbell_rung(fd)) { /* never read, so a bell that rang once stays readable */
            dst_loop_post(LOOP_DOORBELL, generation, index, POLLIN, true);
        }
        break;
    case LOOP_PIDFD:
        pidfd[index] = (struct armed){true, generation, fd};
        if (dst_broker_pid_dead(fd)) {
            dst_loop_process_died(fd);
        }
        break;
    case LOOP_HANDOVER:
        handover[index] = (struct armed){true, generation, fd};
        dst_loop_handover();
        break;
    default:
        break;
    }
}

void loop_poll_cancel(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index)
{
    (void)loop;
    (void)generation;
    if (kind == LOOP_DOORBELL) {
        doorbell[index].on = false;
    } else if (kind == LOOP_PIDFD) {
        pidfd[index].on = false;
    }
}

unsigned loop_take(struct loop *loop, struct loop_event *events, unsigned max)
{
    (void)loop;
    unsigned cnt = 0;
    while (cnt < max && visible > 0) {
        events[cnt++] = queue[queue_head];
        queue_head = (queue_head + 1) % EVENTS_MAX;
        queue_cnt--;
        visible--;
    }
    return cnt;
}

/*
 * What the kernel has put into the ring. Where that is full the rest waits in its overflow list for the next time that it is asked, and every multishot poll
 * that had to go there has ended: its completion says so.
 */
static void fetch(void)
{
    visible = queue_cnt;
    if (queue_cnt > 0 && dst_fault(DST_CQ_OVERFLOW, dst_world.mix.overflow)) {
        visible = (unsigned)dst_below(queue_cnt);
        for (unsigned i = visible; i < queue_cnt; i++) {
            struct loop_event *e = &queue[(queue_head + i) % EVENTS_MAX];
            if (e->kind == LOOP_DOORBELL && e->more) {
                e->more = false;
                doorbell[e->index].on =
                    doorbell[e->index].on && doorbell[e->index].generation != e->generation;
            }
        }
    }
}

void loop_pump(struct loop *loop)
{
    (void)loop;
    fetch();
}

uint32_t loop_lost(const struct loop *loop)
{
    (void)loop;
    return 0;
}

void loop_wait(struct loop *loop, uint64_t timeout_ns)
{
    (void)loop;
    if (queue_cnt == 0) {
        dst_block(timeout_ns > UINT64_MAX - dst_now ? UINT64_MAX : dst_now + timeout_ns, NULL);
    }
    fetch();
}
