#include "broker/http_inside.h"

#include "broker/log.h"
#include "broker/trust.h"
#include "shm/weir_clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* What we know about one descriptor. Indexed by fd; the generation changes with every mask and every life. */
struct http_socket {
    uint32_t generation;
    uint8_t mask; /* CURL_POLL_*, as curl wants it */
    bool armed;
};

static struct http_socket *socket_of(struct http *http, curl_socket_t fd)
{
    size_t i = (size_t)fd;
    if (i >= http->socket_cnt) {
        size_t cnt = weir_max_u64(64, weir_round_up(i + 1, 64));
        struct http_socket *grown = realloc(http->socket, cnt * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + http->socket_cnt, 0, (cnt - http->socket_cnt) * sizeof *grown);
        http->socket = grown;
        http->socket_cnt = cnt;
    }
    return &http->socket[i];
}

static void arm(struct http *http, curl_socket_t fd, struct http_socket *s)
{
    unsigned events = ((s->mask & CURL_POLL_IN) != 0 ? POLLIN | POLLRDHUP : 0U) |
                      ((s->mask & CURL_POLL_OUT) != 0 ? POLLOUT : 0U);
    if (events != 0 && !s->armed) {
        loop_poll(http->loop, LOOP_CURL, s->generation, (uint32_t)fd, fd, events, false);
        s->armed = true;
    }
}

static void disarm(struct http *http, curl_socket_t fd, struct http_socket *s)
{
    if (s->armed) {
        loop_poll_cancel(http->loop, LOOP_CURL, s->generation, (uint32_t)fd);
        s->armed = false;
    }
    s->generation++; /* what may still arrive belongs to the past */
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
    (void)easy;
    (void)socketp;
    struct http *http = arg;
    struct http_socket *s = socket_of(http, fd);
    if (s == NULL) {
        return -1;
    }
    disarm(http, fd, s);
    s->mask = what == CURL_POLL_REMOVE ? 0 : (uint8_t)what;
    arm(http, fd, s);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http *http = arg;
    /* 0 is "at once": a new transfer starts in this turn, not after the next look at a clock. */
    http->timer_ns = timeout_ms < 0 ? UINT64_MAX
                     : timeout_ms == 0
                         ? 0
                         : weir_clock_monotonic_ns() + (uint64_t)timeout_ms * WEIR_NS_PER_MS;
    return 0;
}

struct http *http_open(struct loop *loop)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return NULL;
    }
    http->loop = loop;
    http->timer_ns = UINT64_MAX;
    http->reads_ends = h2_end_open();
    if (!http->reads_ends) {
        log_warn("http2_off", "s:s, s:s", "reason", "this libcurl does not read through OpenSSL",
                 "meaning", "endpoints with http: 2 are asked in HTTP/1.1");
    }
    http->multi = curl_multi_init();
    http->share = curl_share_init();
    if (http->multi == NULL || http->share == NULL) {
        free(http);
        return NULL;
    }
    (void)curl_share_setopt(http->share, CURLSHOPT_SHARE,
                            CURL_LOCK_DATA_SSL_SESSION); /* one thread: no lock functions */
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 1024L);
    return http;
}

bool http_start(struct http *http, struct http_transfer *t)
{
    struct http_easy *e = http_easy_take(http, t->target);
    if (e == NULL) {
        return false;
    }
    CURLcode code = http_easy_set(e, t);
    e->transfer = t;
    e->in_head = true;
    e->in_line = e->has_length = e->chunked = e->broken = e->passed = false;
    t->easy = e;
    t->code = CURLE_OK;
    t->status = 0;
    t->connected = false;
    if (code != CURLE_OK || curl_multi_add_handle(http->multi, e->curl) != CURLM_OK) {
        http_easy_give(t->target, e);
        t->easy = NULL;
        return false;
    }
    return true;
}

/* `closes`: and its connection with it, if it is not over. */
static void transfer_drop(struct http *http, struct http_transfer *t, bool closes)
{
    CURL *curl = t->easy->curl;
    if (closes) {
        (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    }
    (void)curl_multi_remove_handle(http->multi, curl);
    if (closes) {
        (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 0L); /* the handle is kept */
    }
    http_easy_give(t->target, t->easy);
    t->easy = NULL;
}

void http_stop(struct http *http, struct http_transfer *t)
{
    if (t->easy != NULL) {
        /* HTTP/2: curl would keep the connection, less the window of the lost stream. */
        transfer_drop(http, t, t->target->http2);
    }
}

void http_event(struct http *http, const struct loop_event *event)
{
    struct http_socket *s = event->index < http->socket_cnt ? &http->socket[event->index] : NULL;
    if (s == NULL || (s->generation & 0xffffffU) != event->generation || event->result < 0) {
        return; /* a poll of the descriptor's former life, or one that was taken back */
    }
    s->armed = false;
    int what = 0;
    if ((event->result & (POLLIN | POLLHUP | POLLRDHUP)) != 0) {
        what |= CURL_CSELECT_IN;
    }
    if ((event->result & POLLOUT) != 0) {
        what |= CURL_CSELECT_OUT;
    }
    if ((event->result & POLLERR) != 0) {
        what |= CURL_CSELECT_IN | CURL_CSELECT_OUT |
                CURL_CSELECT_ERR; /* never ERR alone: curl would fail a new transfer */
    }
    uint32_t generation = s->generation;
    int running;
    (void)curl_multi_socket_action(http->multi, (curl_socket_t)event->index, what, &running);
    s = &http->socket[event->index]; /* the table may have moved */
    if (s->generation == generation) {
        arm(http, (curl_socket_t)event->index, s);
    }
}

/* Say what is wrong with a certificate, once a minute. curl has one code for all. */
static void certificate_tell(CURL *curl, struct http_target *t)
{
    long verdict = 0;
    uint64_t now_ns = weir_clock_monotonic_ns();
    if (t->refused_at_ns != 0 && now_ns - t->refused_at_ns < 60 * WEIR_NS_PER_S) {
        return;
    }
    t->refused_at_ns = now_ns;
    (void)curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &verdict);
    log_error("certificate_refused", "s:s, s:s, s:s", "endpoint", t->base, "reason",
              trust_reason(verdict), "meaning", "nothing was sent to it");
}

/* Hand finished transfers back. A done callback may start others. */
static bool collect(struct http *http)
{
    bool any = false;
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(http->multi, &left)) != NULL) {
        struct http_easy *e = NULL;
        long value = 0;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &e);
        struct http_transfer *t = e->transfer;
        t->code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &value);
        t->status = (uint32_t)value;
        if (t->code != CURLE_OK) {
            http_unsent_look(e);
        }
        value = 0;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_NUM_CONNECTS, &value);
        t->connected = value > 0;
        if (t->code == CURLE_OK && t->target->http2 && http_is_cut_short(e)) {
            t->code = CURLE_PARTIAL_FILE;
        }
        if (e->broken) {
            t->code = CURLE_WEIRD_SERVER_REPLY;
        } else if (t->code == CURLE_PEER_FAILED_VERIFICATION) {
            certificate_tell(m->easy_handle, t->target);
        }
        transfer_drop(http, t, false);
        t->done(t);
        any = true;
    }
    return any;
}

void http_turn(struct http *http, uint64_t now_ns)
{
    /* An answer can be complete without another event, and a new transfer is kicked by a timer of 0: go on until all is quiet. */
    for (int i = 0; i < 16; i++) {
        if (http->timer_ns <= now_ns) {
            int running;
            http->timer_ns = UINT64_MAX;
            (void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        if (!collect(http) && http->timer_ns > now_ns) {
            return;
        }
        now_ns = weir_clock_monotonic_ns();
    }
}

uint64_t http_next_ns(const struct http *http)
{
    return http->timer_ns;
}
