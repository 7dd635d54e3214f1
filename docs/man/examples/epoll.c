#include <stdio.h>
#include <sys/epoll.h>
#include <weir.h>

/* Take every answer that is there. The WEIR_EMPTY at the end arms the descriptor again. */
static int drain(struct weir *w)
{
    struct weir_response r;
    int rc;

    while ((rc = weir_poll(w, &r)) == 0) {
        printf("%s, status %u\n", weir_result_text(r.result), r.status);
        weir_release(w, r.ticket);
    }
    return rc;
}

int run(struct weir *w)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = epoll < 0 ? WEIR_E_SYSTEM : weir_fd(w);

    if (rc >= 0) {
        rc = epoll_ctl(epoll, EPOLL_CTL_ADD, rc, &event) == 0 ? drain(w) : WEIR_E_SYSTEM;
    }
    while (rc == WEIR_EMPTY) {
        epoll_wait(epoll, &event, 1, -1);
        rc = drain(w);
    }
    return rc; /* WEIR_E_STALE: the broker has gone */
}
