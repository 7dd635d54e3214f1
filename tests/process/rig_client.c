/* What strategies and the oracle need: attaching, reading the board, asking the simulator, comparing orders. */
#include "rig.h"

#include "shm/weir_attach.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------- attaching */

struct weir *rig_attach_opts(struct rig *r, struct weir_open_opts *opts, struct weir_diag *diag,
                             int *rc)
{
    struct weir *w = NULL;
    opts->struct_bytes = sizeof *opts;
    opts->runtime_dir = opts->runtime_dir != NULL ? opts->runtime_dir : r->dir;
    *rc = weir_open(&w, "rig", opts, diag);
    return w;
}

struct weir *rig_attach(struct rig *r, enum weir_role role)
{
    struct weir_open_opts opts = {.role = role, .patience_ns = 5 * rig_slowness() * WEIR_NS_PER_S};
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, &diag, &rc);
    if (w == NULL) {
        (void)printf("FAILED: cannot attach: %d %s\n", rc, diag.text);
        (void)fflush(stdout);
        rig_exit(1);
    }
    return w;
}

weir_route_id rig_route(struct weir *w, const char *name)
{
    weir_route_id route = 0;
    int rc = weir_route_find(w, name, &route);
    if (rc != 0) {
        (void)printf("FAILED: no route %s: %s\n", name, weir_strerror(rc));
        rig_exit(1);
    }
    return route;
}

uint32_t rig_used(struct weir *w, const char *limit, weir_scope_id scope)
{
    uint32_t index = 0;
    struct weir_limit_info info = {0};
    int rc = weir_limit_find(w, limit, &index);
    while (rc == 0 && (rc = weir_limit_get(w, index, scope, &info)) == WEIR_CONTENDED) {
        rc = 0;
    }
    if (rc != 0) {
        (void)printf("FAILED: limit %s: %s\n", limit, weir_strerror(rc));
        rig_exit(1);
    }
    return info.used_units;
}

const void *rig_board(const struct weir *w, enum weir_section_kind kind, size_t bytes)
{
    return weir_segment_section(&w->board->segment, kind, bytes, NULL, NULL);
}

const struct weir_shm_worker *rig_board_worker(const struct weir *w)
{
    return rig_board(w, WEIR_SECTION_WORKER, sizeof(struct weir_shm_worker));
}

const struct weir_shm_client *rig_board_client(const struct weir *w, uint32_t index)
{
    const struct weir_shm_client *c =
        rig_board(w, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    return &c[index];
}

/* ---------------------------------------------------------------------------------------------- the simulator */

struct sink {
    char *out;
    size_t bytes, used;
};

static size_t sink_write(char *at, size_t one, size_t bytes, void *arg)
{
    struct sink *s = arg;
    (void)one;
    size_t room = s->bytes > s->used + 1 ? s->bytes - s->used - 1 : 0;
    size_t n = bytes < room ? bytes : room;
    if (n > 0) {
        memcpy(s->out + s->used, at, n);
        s->used += n;
        s->out[s->used] = '\0';
    }
    return bytes;
}

long rig_http(struct rig *r, const char *method, const char *path, const char *body, char *out,
              size_t out_bytes)
{
    char url[512];
    long status = 0;
    struct sink sink = {.out = out, .bytes = out_bytes};
    CURL *e = curl_easy_init();
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", r->port, path);
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, 10L);
    if (body != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    }
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, sink_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, &sink);
    if (curl_easy_perform(e) == CURLE_OK) {
        (void)curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_easy_cleanup(e);
    return status;
}

json_t *rig_json(struct rig *r, const char *path)
{
    const size_t bytes = 64U << 20;
    char *text = malloc(bytes);
    json_t *root = NULL;
    if (text != NULL) {
        text[0] = '\0';
        if (rig_http(r, "GET", path, NULL, text, bytes) == 200) {
            root = json_loads(text, 0, NULL);
        }
        free(text);
    }
    return root;
}

double rig_report(struct rig *r, const char *path)
{
    json_t *root = rig_json(r, "/sim/report");
    const json_t *at = root;
    char part[64];
    while (at != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        (void)snprintf(part, sizeof part, "%.*s", (int)n, path);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
        path += n + (path[n] == '.' ? 1 : 0);
    }
    double value = json_is_number(at) ? json_number_value(at) : -1;
    json_decref(root);
    return value;
}

void rig_fault(struct rig *r, const char *json)
{
    CHECK_INT(r, rig_http(r, "POST", "/sim/fault", json, NULL, 0), 200);
}

void rig_faults_clear(struct rig *r)
{
    CHECK_INT(r, rig_http(r, "DELETE", "/sim/fault", NULL, NULL, 0), 200);
}

/* ---------------------------------------------------------------------------------------------- orders */

int rig_order_submit(struct rig *r, struct weir *w, weir_route_id route, uint64_t deadline_ns,
                     weir_ticket *ticket, uint32_t *number)
{
    char body[96];
    uint32_t n = weir_fetch_add_u32(&r->shared->order_next, 1);
    if (n >= RIG_ORDERS_MAX) {
        return WEIR_E_MEMORY;
    }
    int bytes = snprintf(body, sizeof body, "symbol=BTCUSDT&side=BUY&newClientOrderId=o-%u", n);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = route,
                                           .body = body,
                                           .body_bytes = (size_t)bytes,
                                           .deadline_ns = deadline_ns};
    *number = n;
    weir_store_release_u32(&r->shared->order[n],
                           RIG_ORDER_OUT); /* before: it may be killed behind it */
    int rc = weir_submit(w, &spec, ticket);
    if (rc != 0) {
        weir_store_release_u32(&r->shared->order[n], RIG_ORDER_NONE);
    }
    return rc;
}

void rig_order_ended(struct rig *r, uint32_t number, const struct weir_response *response)
{
    if (response->result == WEIR_RESULT_REFUSED) {
        /* A full window refuses at once what cannot make its deadline; asking again at once is no strategy, and uses up the order numbers. */
        (void)usleep(1000);
    }
    uint32_t before = weir_xchg_u32(&r->shared->order[number], (uint32_t)response->result);
    weir_store_release_u32(&r->shared->order_status[number], response->status);
    if (before != RIG_ORDER_OUT) {
        (void)printf(WEIR_PROMISE_MARK ": order o-%u ended twice: %s, then %s\n", number,
                     weir_result_text(before), weir_result_text(response->result));
        weir_fetch_add_u32(&r->shared->count[63], 1);
    }
}

static bool may_be_at_exchange(unsigned result, bool orphans)
{
    return result == WEIR_RESULT_DONE || result == WEIR_RESULT_OUTCOME_UNKNOWN ||
           result == WEIR_RESULT_TOO_LARGE || (orphans && result == RIG_ORDER_OUT);
}

/* How often each order number is at the exchange. */
static uint8_t *orders_seen(struct rig *r, uint32_t cnt, unsigned *total)
{
    uint8_t *seen = calloc(cnt + 1, 1);
    json_t *list = rig_json(r, "/sim/orders");
    size_t i;
    const json_t *row;
    *total = 0;
    rig_check(r, list != NULL && seen != NULL, __FILE__, __LINE__, "no list of orders");
    json_array_foreach(list, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "client_order_id"));
        if (id != NULL && strncmp(id, "o-", 2) != 0) {
            continue; /* named by the exchange: nobody's order but a hostile client's */
        }
        unsigned long n = id != NULL ? strtoul(id + 2, NULL, 10) : cnt;
        long long times = json_integer_value(json_object_get(row, "times"));
        rig_promise(r, n < cnt && times == 1, __FILE__, __LINE__, "order %s seen %lld times",
                    id != NULL ? id : "?", times);
        if (n < cnt) {
            seen[n] = (uint8_t)times;
        }
        (*total)++;
    }
    json_decref(list);
    return seen;
}

void rig_orders_check(struct rig *r, bool orphans)
{
    uint32_t cnt = weir_load_acquire_u32(&r->shared->order_next);
    unsigned total;
    unsigned by_result[256] = {0};
    unsigned lost = 0;
    unsigned ghosts = 0;
    unsigned open = 0;
    uint8_t *seen = orders_seen(r, cnt, &total);
    for (uint32_t n = 0; n < cnt; n++) {
        unsigned result = weir_load_acquire_u32(&r->shared->order[n]);
        by_result[result]++;
        lost += result == WEIR_RESULT_DONE &&
                weir_load_acquire_u32(&r->shared->order_status[n]) == 200 && seen[n] == 0;
        ghosts += seen[n] != 0 && !may_be_at_exchange(result, orphans);
        open += result == RIG_ORDER_OUT;
    }
    free(seen);
    (void)printf("orders: %u made, %u at the exchange, %u done, %u outcome unknown, %u refused, %u "
                 "expired, %u not sent, %u of killed clients\n",
                 cnt, total, by_result[WEIR_RESULT_DONE], by_result[WEIR_RESULT_OUTCOME_UNKNOWN],
                 by_result[WEIR_RESULT_REFUSED], by_result[WEIR_RESULT_EXPIRED],
                 by_result[WEIR_RESULT_NOT_SENT] + by_result[WEIR_RESULT_CANCELLED], open);
    PROMISE_INT(r, lost, 0);
    PROMISE_INT(r, ghosts, 0);
    CHECK_INT(r, orphans ? 0 : open, 0);
    PROMISE_INT(r, weir_load_acquire_u32(&r->shared->count[63]), 0);
    PROMISE_INT(r, rig_report(r, "orders.duplicates"), 0);
}

/* ---------------------------------------------------------------------------------------------- the operator */

int rig_operate(struct rig *r, uint32_t operation, const char *target, uint64_t duration_ns)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct weir_operated answer = {.error = -1000};
    struct weir_operate order = {.magic = WEIR_OPERATE_MAGIC,
                                 .version = WEIR_OPERATE_VERSION,
                                 .bytes = sizeof order,
                                 .operation = operation,
                                 .duration_ns = duration_ns,
                                 .reason = "the test"};
    (void)snprintf(order.target, sizeof order.target, "%s", target);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s/rig/default.sock", r->dir);
    const struct timeval patience = {.tv_sec = 2};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
        send(fd, &order, sizeof order, MSG_NOSIGNAL) == (ssize_t)sizeof order &&
        recv(fd, &answer, sizeof answer, 0) != (ssize_t)sizeof answer) {
        answer.error = -1000;
    }
    (void)close(fd);
    return answer.error;
}
