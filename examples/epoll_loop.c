/*
 * epoll_loop.c: many calls under way at once, in an event loop that also does other things.
 *
 *   epoll_loop [BROKER [ROUTE [QUERY [CALLS]]]]   default: default binance.ticker symbol=BTCUSDT 100
 *   cc epoll_loop.c $(pkg-config --cflags --libs weir)
 *
 * The same descriptor goes into io_uring, libuv or asyncio.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <weir.h>

#define SECOND   UINT64_C(1000000000)
#define AT_ONCE  32 /* calls that this program wants under way */
#define PATIENCE (10 * SECOND)

struct run {
    struct weir *w;
    weir_route_id route;
    const char *query;
    unsigned left, under_way, done, other;
};

/* Hand over as many as may be under way. */
static int submit(struct run *run)
{
    while (run->left != 0 && run->under_way < AT_ONCE) {
        struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = run->route};
        weir_ticket
            ticket; /* names the call: keep it where answers are matched to what was asked */
        spec.query = run->query;
        spec.deadline_ns = weir_now_ns(run->w) + PATIENCE;
        int rc = weir_submit(run->w, &spec, &ticket);
        if (rc == WEIR_E_NO_SLOT || rc == WEIR_E_RING_FULL) {
            return 0; /* full for now: an answer makes room */
        }
        if (rc != 0) {
            (void)fprintf(stderr, "submit: %s: %s\n", weir_strerror(rc), weir_hint(rc));
            return rc;
        }
        run->left--;
        run->under_way++;
    }
    return 0;
}

/* Take all that has ended: only WEIR_EMPTY arms the descriptor again. */
static int drain(struct run *run)
{
    struct weir_response r;
    int rc;
    while ((rc = weir_poll(run->w, &r)) == 0) {
        run->under_way--;
        run->done += r.result == WEIR_RESULT_DONE && r.status == 200;
        run->other += r.result != WEIR_RESULT_DONE || r.status != 200;
        (void)weir_release(run->w, r.ticket);
    }
    return rc == WEIR_EMPTY ? 0 : rc;
}

static int loop(struct run *run)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = weir_fd(run->w);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = fd < 0 ? fd : 0;
    if (rc == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("epoll_ctl");
        rc = 1;
    }
    while (rc == 0 && (rc = submit(run)) == 0 && (rc = drain(run)) == 0 &&
           run->left + run->under_way != 0) {
        /* Other descriptors of yours are served here, too. */
        (void)epoll_wait(epoll, &event, 1, 1000);
    }
    return rc;
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "binance.ticker";
    struct weir_diag diag;
    struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .role = WEIR_ROLE_CALLER, .slots = AT_ONCE};
    struct run run = {.query = argc > 3 ? argv[3] : "symbol=BTCUSDT",
                      .left = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 100};
    if (weir_open(&run.w, argc > 1 ? argv[1] : NULL, &opts, &diag) != 0) {
        (void)fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    int rc = weir_route_find(run.w, name, &run.route);
    rc = rc != 0 ? rc : loop(&run);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s: %s\n", name, weir_strerror(rc), weir_hint(rc));
    }
    (void)printf("%u answered with 200, %u otherwise\n", run.done, run.other);
    weir_close(run.w);
    return rc != 0;
}
