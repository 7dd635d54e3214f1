/*
 * signing.c: orders that weir signs, through kills of the worker, waits for permits, re-sends and a change of keys.
 *
 * Oracle: weir-sim checks each signature itself, by Binance's rules and with a clock of its own, 7 s ahead of this machine's; and a server of this test checks Kraken's
 * nonces and signatures. No call may be refused for its signature, its instant or its nonce.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KILLS 6U

enum {
    DONE = 0,
    UNKNOWN = 1,
    OTHER = 2,
    REFUSED_BY_EXCHANGE = 3,
    READS = 4
}; /* r->shared->count */

static const char *const sim_json =
    "{\"clock_offset_ms\": 7000, \"accounts\": {\"main-1\": \"main\", \"main-2\": \"main\"},"
    " \"limits\": [{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": 100000, "
    "\"window_ms\": 1000},"
    "              {\"name\": \"k\", \"kind\": \"sliding_window\", \"quota\": 100000, "
    "\"window_ms\": 1000,"
    "               \"scope\": \"key\", \"counts\": \"requests\"}],"
    " \"signature\": {\"secrets\": {\"main-1\": \"secret one\", \"main-2\": \"secret two\", "
    "\"sub-1\": \"third\"},"
    "  \"paths\": [\"POST /api/v3/order\", \"GET /api/v3/order\", \"DELETE /api/v3/order\"]}}";

/* The keys of account main are in the environment: another set of them is a rotation. */
static void config(struct rig *r)
{
    rig_config(
        r,
        "broker: {name: rig, wake: sleep, log: info}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s}\n"
        "    scopes: {account: [main, sub, spare]}\n"
        "    auth:\n"
        "      kind: hmac_sha256_query\n"
        "      recv_window: 2s\n"
        "      keys:\n"
        "        - {account: main, key: \"${WEIR_TEST_KEY}\", secret: \"${WEIR_TEST_SECRET}\"}\n"
        "        - {account: sub, key: sub-1, secret: third}\n"
        "    limits: [{name: b, kind: token_bucket, quota: 45, window: 1s, burst: 10}]\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\"}]\n"
        "    routes:\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {b: 1}, timeout: 20s, "
        "signed: true}\n"
        "      - {name: query, method: GET, path: /api/v3/order, cost: {b: 1}, timeout: 20s, "
        "priority: high, signed: true}\n"
        "      - {name: cancel, method: DELETE, path: /api/v3/order, cost: {b: 1}, timeout: 20s, "
        "signed: true}\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {b: 1}}\n",
        0);
}

/* ---------------------------------------------------------------------------------------------- orders */

static struct weir_response call(struct weir *w, const char *route, uint64_t scope,
                                 const char *query, const char *body,
                                 const struct weir_header *header)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .scope = scope,
                                           .query = query,
                                           .body = body,
                                           .body_bytes = body != NULL ? strlen(body) : 0,
                                           .headers = header,
                                           .header_cnt = header != NULL};
    struct weir_response a = {0};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 8 * WEIR_NS_PER_S, &a);
    if (rc != 0) {
        a.result = WEIR_RESULT_UNSET;
        a.error = rc;
    }
    return a;
}

static void count(struct rig *r, const struct weir_response *a)
{
    unsigned at = a->result == WEIR_RESULT_DONE              ? DONE
                  : a->result == WEIR_RESULT_OUTCOME_UNKNOWN ? UNKNOWN
                                                             : OTHER;
    weir_fetch_add_u32(&r->shared->count[at], 1);
    if (at == OTHER) {
        (void)printf("%s: denied by %u, error %d\n", weir_result_text(a->result), a->denial.reason,
                     a->error);
    }
    if (a->result == WEIR_RESULT_DONE && a->status != 200) {
        (void)printf("FAILED: %u: %.*s\n", a->status, (int)a->body_bytes, (const char *)a->body);
        weir_fetch_add_u32(&r->shared->count[REFUSED_BY_EXCHANGE], 1);
    }
}

/* Many at once, so that some of them wait for a permit for longer than their window of 2 s would allow, had they been signed when they came. */
static int orders(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, "sim.order");
    uint64_t scope = 0;
    int bad = weir_scope_find(w, "sim", arg % 2 == 0 ? "account=main" : "account=sub", &scope);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        weir_ticket ticket[30];
        unsigned cnt = 0;
        for (; cnt < WEIR_ARRAY_CNT(ticket); cnt++) {
            char body[96];
            uint32_t n = weir_fetch_add_u32(&r->shared->order_next, 1);
            int bytes = snprintf(body, sizeof body, "symbol=BTCUSDT&newClientOrderId=o-%u", n);
            const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                                   .route = route,
                                                   .scope = scope,
                                                   .body = body,
                                                   .body_bytes = (size_t)bytes,
                                                   .deadline_ns =
                                                       weir_now_ns(w) + 20 * WEIR_NS_PER_S};
            if (weir_submit(w, &spec, &ticket[cnt]) != 0) {
                break;
            }
        }
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            if (weir_wait(w, ticket[i], weir_now_ns(w) + 25 * WEIR_NS_PER_S, &a) == 0) {
                count(r, &a);
                (void)weir_release(w, ticket[i]);
            }
        }
    }
    weir_close(w);
    return bad != 0;
}

/* Idempotent ones, which curl and a new worker send again: each time is signed anew. */
static int queries(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        char query[96];
        uint32_t n = weir_fetch_add_u32(&r->shared->order_next, 1);
        (void)snprintf(query, sizeof query, "symbol=BTCUSDT&origClientOrderId=q-%u", n);
        struct weir_response a = call(w, "sim.query", 0, query, NULL, NULL);
        if (a.result == WEIR_RESULT_DONE && a.status != 400) { /* there is no such order: -2013 */
            (void)printf("FAILED: %u\n", a.status);
            weir_fetch_add_u32(&r->shared->count[REFUSED_BY_EXCHANGE], 1);
        }
        weir_fetch_add_u32(&r->shared->count[READS], a.result == WEIR_RESULT_DONE);
        (void)weir_release(w, a.ticket);
        rig_sleep_ms(50);
    }
    weir_close(w);
    return 0;
}

/* Every signature was good, whatever happened meanwhile. */
static void signatures_check(struct rig *r, double at_least)
{
    static const char *const none[] = {"bad", "late", "missing", "unknown_key", "repeated"};
    char path[64];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(none); i++) {
        (void)snprintf(path, sizeof path, "signatures.%s", none[i]);
        double got = rig_report(r, path);
        CHECK(r, got == 0, "%s: %.0f", path, got);
    }
    double good = rig_report(r, "signatures.good");
    CHECK(r, good >= at_least, "%.0f good ones", good);
}

static void under_kills(struct rig *r)
{
    pid_t pid[5];
    for (int i = 0; i < 4; i++) {
        pid[i] = rig_fork(r, orders, i);
    }
    pid[4] = rig_fork(r, queries, 4);
    rig_sleep_ms(1500);
    for (unsigned i = 0; i < KILLS; i++) {
        rig_worker_kill(r);
        if (i ==
            2) { /* curl sends again on another connection, 20 ms later: with another instant */
            rig_fault(
                r, "{\"kind\": \"reset\", \"reused_only\": true, \"count\": 6, \"delay_ms\": 20, "
                   "\"method\": \"GET\", \"path\": \"/api/v3/order\"}");
        }
        rig_sleep_ms(300 + rig_random(r, 500));
    }
    weir_store_release_u32(&r->shared->stop, 1);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(pid); i++) {
        CHECK_INT(r, rig_wait(pid[i], 40000), 0);
    }
    const uint32_t *c = r->shared->count;
    (void)printf("%u orders done, %u unknown, %u other, %u reads; signatures good %.0f\n", c[DONE],
                 c[UNKNOWN], c[OTHER], c[READS], rig_report(r, "signatures.good"));
    CHECK(r, c[DONE] > 80, "%u", c[DONE]);
    CHECK(r, c[READS] > 20, "%u", c[READS]);
    CHECK_INT(r, c[REFUSED_BY_EXCHANGE], 0);
    PROMISE_INT(r, rig_report(r, "orders.duplicates"), 0);
    signatures_check(r, 100);
}

/* ---------------------------------------------------------------------------------------------- one by one */

static double calls_of_key(struct rig *r, const char *key)
{
    json_t *report = rig_json(r, "/sim/report");
    json_t *row;
    size_t i;
    double arrivals = 0;
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *caller = json_string_value(json_object_get(row, "caller"));
        if (caller != NULL && strcmp(caller, key) == 0) {
            arrivals += json_number_value(json_object_get(row, "arrivals"));
        }
    }
    json_decref(report);
    return arrivals;
}

/* What a client may not do, and what it does not see. */
static void refusals(struct rig *r, struct weir *w)
{
    const struct weir_header mine = {.name = "X-MBX-APIKEY", .value = "mine"};
    uint64_t spare = 0;
    CHECK_INT(r, weir_scope_find(w, "sim", "account=spare", &spare), 0);
    for (int i = 0; i < 20; i++) { /* it is no offence */
        struct weir_response a = call(w, "sim.order", spare, NULL, "a=b", NULL);
        CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
        CHECK_INT(r, a.error, WEIR_E_KEY_MISSING);
        (void)weir_release(w, a.ticket);
    }
    struct weir_response a = call(w, "sim.order", 0, NULL, "a=b", &mine);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_HEADER_FORBIDDEN);
    (void)weir_release(w, a.ticket);
    a = call(w, "sim.ping", 0, NULL, NULL, &mine); /* not signed: as ever */
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    (void)weir_release(w, a.ticket);
    a = call(w, "sim.ping", spare, NULL, NULL, NULL); /* nor does it want a key */
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    (void)weir_release(w, a.ticket);
}

/* With a body, with a query, with both, with neither; a window of the caller's own. */
static void places(struct rig *r, struct weir *w)
{
    static const struct {
        const char *route, *query, *body;
        unsigned status;
    } one[] = {
        {"sim.order", NULL, "symbol=A&newClientOrderId=p-1", 200},
        {"sim.order", "symbol=A&newClientOrderId=p-2", NULL, 200},
        {"sim.order", "symbol=A", "newClientOrderId=p-3", 200},
        {"sim.order", "symbol=A&recvWindow=2000&newClientOrderId=p-4", NULL, 200},
        {"sim.order", NULL, NULL, 200},
        {"sim.query", "symbol=A&origClientOrderId=p-1", NULL, 200},
        {"sim.cancel", "symbol=A&origClientOrderId=p%2D1", NULL, 200},
        {"sim.query", NULL, NULL, 400},
    };
    rig_faults_clear(r);
    double good = rig_report(r, "signatures.good");
    for (size_t i = 0; i < WEIR_ARRAY_CNT(one); i++) {
        struct weir_response a = call(w, one[i].route, 0, one[i].query, one[i].body, NULL);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK(r, a.status == one[i].status, "%zu: %u: %.*s", i, a.status, (int)a.body_bytes,
              (const char *)a.body);
        (void)weir_release(w, a.ticket);
    }
    CHECK_INT(r, rig_report(r, "signatures.good"), good + (double)WEIR_ARRAY_CNT(one));
    /* curl sends it a second time by itself, within one transfer: another instant, another signature. */
    rig_sleep_ms(500); /* permits for both */
    rig_fault(r, "{\"kind\": \"reset\", \"reused_only\": true, \"count\": 1, \"delay_ms\": 20}");
    struct weir_response twice =
        call(w, "sim.query", 0, "symbol=A&origClientOrderId=p-2", NULL, NULL);
    CHECK_INT(r, twice.status, 200);
    CHECK_INT(r, twice.sends, 2);
    CHECK_INT(r, rig_report(r, "signatures.good"), good + 2 + (double)WEIR_ARRAY_CNT(one));
    CHECK_INT(r, rig_report(r, "signatures.repeated"), 0);
    (void)weir_release(w, twice.ticket);
    /* An instant of the caller's own is left as it is, and is its own business. */
    struct weir_response a =
        call(w, "sim.query", 0, "symbol=A&timestamp=1700000000000", NULL, NULL);
    CHECK_INT(r, a.status, 400);
    CHECK_INT(r, rig_report(r, "signatures.late"), 1);
    (void)weir_release(w, a.ticket);
}

/* A successor with another key: calls go on, none is refused, and the new key is used. */
static void rotation(struct rig *r)
{
    double before = calls_of_key(r, "main-1");
    CHECK_INT(r, calls_of_key(r, "main-2"), 0);
    CHECK(r, before > 0, "%.0f calls with the first key", before);
    weir_store_release_u32(&r->shared->stop, 0);
    pid_t pid = rig_fork(r, orders, 0);
    rig_sleep_ms(700);
    (void)setenv("WEIR_TEST_KEY", "main-2", 1);
    (void)setenv("WEIR_TEST_SECRET", "secret two", 1);
    pid_t old = r->weird;
    pid_t new = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = new;
    CHECK(r, rig_process_next(r, "weird-worker", 0, 5000) > 0, "a worker");
    double switched = calls_of_key(r, "main-1");
    rig_sleep_ms(1000);
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(pid, 25000), 0);
    CHECK(r, calls_of_key(r, "main-2") > 10, "calls with the second key");
    CHECK_INT(r, calls_of_key(r, "main-1"), switched);
    CHECK_INT(r, r->shared->count[REFUSED_BY_EXCHANGE], 0);
    CHECK_INT(r, rig_report(r, "signatures.unknown_key"), 0);
    CHECK_INT(r, rig_report(r, "signatures.bad"), 0);
}

/* ---------------------------------------------------------------------------------------------- nonces */

/* What the server of nonces has seen, in memory of all its processes. */
struct nonces {
    uint64_t last; /* the nonce in us, and the number of its connection below it */
    uint32_t cnt, smaller, unsigned_cnt;
    /* Smaller, by a connection that was there before: what a dead worker had sent, read behind what its successor sent. */
    uint32_t late;
    uint32_t by_pair; /* calls that bear a signature of a key pair */
};
static struct nonces *nonces;

static const char kraken_secret[] =
    "bm90LWEtc2VjcmV0LW9mLWFueWJvZHk="; /* not-a-secret-of-anybody */

/* base64 of HMAC-SHA512(path + SHA256(nonce + body)). */
static bool kraken_signed(const char *head, const char *body, const char *nonce)
{
    char text[512];
    unsigned char inner[512] = "/0/private/AddOrder";
    unsigned char mac[64];
    unsigned char base64[128] = "API-Sign: ";
    size_t path = strlen((char *)inner);
    size_t bytes = 0;
    unsigned hash = 0;
    int n = snprintf(text, sizeof text, "%s%s", nonce, body);
    if (EVP_Digest(text, (size_t)n, inner + path, &hash, EVP_sha256(), NULL) != 1 ||
        EVP_Q_mac(NULL, "HMAC", NULL, "SHA512", NULL, "not-a-secret-of-anybody", 23, inner,
                  path + hash, mac, sizeof mac, &bytes) == NULL) {
        return false;
    }
    (void)EVP_EncodeBlock(base64 + 10, mac, (int)bytes);
    return strstr(head, (const char *)base64) != NULL &&
           strstr(head, "API-Key: kraken-key\r\n") != NULL;
}

#define CONNECTION_BITS 12U

static void kraken_one(const char *request, size_t head_bytes, uint64_t connection)
{
    const char *body = request + head_bytes;
    char nonce[24] = "";
    if (sscanf(body, "nonce=%23[0-9]&", nonce) != 1 || !kraken_signed(request, body, nonce)) {
        weir_fetch_add_u32(&nonces->unsigned_cnt, 1);
    }
    uint64_t value = strtoull(nonce, NULL, 10);
    uint64_t last = weir_xchg_u64(&nonces->last, value << CONNECTION_BITS | connection);
    if (value <= last >> CONNECTION_BITS) {
        bool is_late = connection < (last & ((1U << CONNECTION_BITS) - 1));
        weir_fetch_add_u32(is_late ? &nonces->late : &nonces->smaller, 1);
    }
    weir_fetch_add_u32(&nonces->cnt, 1);
}

static void serve(int fd, uint64_t connection)
{
    char request[16384];
    size_t n = 0;
    for (ssize_t got; (got = recv(fd, request + n, sizeof request - 1 - n, 0)) > 0;) {
        n += (size_t)got;
        request[n] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        const char *length = strcasestr(request, "\r\ncontent-length:");
        if (end == NULL || length == NULL) {
            continue;
        }
        size_t head = (size_t)(end - request) + 4;
        if (n < head + (size_t)atoi(length + 17)) {
            continue;
        }
        if (strstr(request, "kraken-key") != NULL) {
            kraken_one(request, head, connection);
        } else if (strstr(request, "&signature=") != NULL ||
                   strstr(request, "&Signature=") != NULL ||
                   strstr(request, "\r\nX-BAPI-SIGN: ") != NULL ||
                   strstr(request, "\r\nACCESS-SIGN: ") != NULL ||
                   strstr(request, "\r\nAuthorization: Bearer ey") != NULL) {
            weir_fetch_add_u32(&nonces->by_pair, 1);
        }
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        n = 0;
    }
}

static uint16_t nonce_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    nonces = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || nonces == MAP_FAILED || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) {
        (void)printf("could not set up: server\n");
        exit(99);
    }
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (uint64_t connection = 1;; connection++) {
            int one = accept(fd, NULL, NULL);
            if (one >= 0 && fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve(one, connection);
                _exit(0);
            }
            (void)close(one);
        }
    }
    (void)close(fd);
    return ntohs(at.sin_port);
}

static int nonce_orders(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a = call(w, "kraken.add", 0, NULL, "pair=XBTUSD&volume=1", NULL);
        (void)weir_release(w, a.ticket);
    }
    weir_close(w);
    return 0;
}

/* Keys in PEM form, with their lines, by the environment. */
static void pair_export(const char *name, EVP_PKEY *pair)
{
    char pem[4096] = "";
    BIO *out = BIO_new(BIO_s_mem());
    (void)PEM_write_bio_PrivateKey(out, pair, NULL, NULL, 0, NULL, NULL);
    (void)BIO_read(out, pem, sizeof pem - 1);
    (void)setenv(name, pem, 1);
    BIO_free(out);
    EVP_PKEY_free(pair);
}

/* Every kind of key pair signs inside the cage, in this worker and in the next. Whether well is told by tests/sign. */
static void pairs(struct rig *r, uint16_t port)
{
    static const struct {
        const char *kind, *secret, *more;
    } pair[] = {{"ed25519_query", "ED", ""},   {"rsa_query", "RSA", ""},
                {"bybit_rsa", "RSA", ""},      {"bitget_rsa", "RSA", ", passphrase: p"},
                {"htx_ed25519", "ED", ""},     {"coinbase_es256", "EC", ""},
                {"coinbase_ed25519", "ED", ""}};
    char text[4096] = "broker: {name: rig, wake: sleep}\nproviders:\n";
    pair_export("WEIR_TEST_ED", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    pair_export("WEIR_TEST_RSA", EVP_RSA_gen(4096));
    pair_export("WEIR_TEST_EC", EVP_EC_gen("P-256"));
    for (size_t i = 0; i < WEIR_ARRAY_CNT(pair); i++) {
        size_t n = strlen(text);
        (void)snprintf(text + n, sizeof text - n,
                       "  - name: p%zu\n"
                       "    auth: {kind: %s, key: k, secret: \"${WEIR_TEST_%s}\"%s}\n"
                       "    clock: {source: host}\n"
                       "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
                       "    endpoints: [{name: e, url: \"http://127.0.0.1:%u/base\"}]\n"
                       "    routes: [{name: r, method: POST, path: /x/*, cost: {l: 1}, timeout: "
                       "3s, signed: true}]\n",
                       i, pair[i].kind, pair[i].secret, pair[i].more, port);
    }
    rig_config(r, text, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    for (unsigned round = 1; round <= 2; round++) {
        for (size_t i = 0; i < WEIR_ARRAY_CNT(pair); i++) {
            char route[16];
            (void)snprintf(route, sizeof route, "p%zu.r", i);
            struct weir_response a = call(w, route, 0, "a=b", i % 2 == 0 ? "{}" : NULL, NULL);
            CHECK_INT(r, a.result, WEIR_RESULT_DONE);
            (void)weir_release(w, a.ticket);
        }
        CHECK_INT(r, weir_load_acquire_u32(&nonces->by_pair), round * WEIR_ARRAY_CNT(pair));
        rig_worker_kill(r);
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
}

static void kraken(struct rig *r, uint16_t port)
{
    char text[1024];
    (void)setenv("WEIR_TEST_SECRET", kraken_secret, 1);
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig, wake: sleep}\n"
        "providers:\n"
        "  - name: kraken\n"
        "    auth: {kind: kraken, key: kraken-key, secret: \"${WEIR_TEST_SECRET}\"}\n"
        "    clock: {source: host}\n"
        "    limits:\n"
        "      - {name: alone, kind: concurrency, quota: 1, scope: key, rest: 1ms}\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:%u\"}]\n"
        "    routes: [{name: add, method: POST, path: /0/private/AddOrder, cost: {alone: 1}, "
        "timeout: 3s, signed: true}]\n",
        port);
    rig_config(r, text, 0);
    rig_weird_start(r);
    weir_store_release_u32(&r->shared->stop, 0);
    pid_t pid[3];
    for (int i = 0; i < 3; i++) {
        pid[i] = rig_fork(r, nonce_orders, i);
    }
    for (unsigned i = 0; i < 4; i++) {
        rig_sleep_ms(300);
        rig_worker_kill(r);
    }
    pid_t old = r->weird;
    pid_t new =
        rig_weird_another(r, "--takeover"); /* the ledger goes over, and the last nonce with it */
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = new;
    rig_sleep_ms(500);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    (void)printf("%u nonces, %u late\n", weir_load_acquire_u32(&nonces->cnt),
                 weir_load_acquire_u32(&nonces->late));
    CHECK(r, nonces->cnt > 50, "%u calls", nonces->cnt);
    CHECK_INT(r, nonces->smaller, 0);
    CHECK_INT(r, nonces->unsigned_cnt, 0);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "signing", argc, argv, 110);
    (void)setenv("WEIR_TEST_KEY", "main-1", 1);
    (void)setenv("WEIR_TEST_SECRET", "secret one", 1);
    rig_sim_start(&r, sim_json);
    config(&r);
    rig_weird_start(&r);
    rig_sleep_ms(1000); /* two answers, and the clock is known */
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    refusals(&r, w);
    under_kills(&r);
    places(&r, w);
    weir_close(w);
    rotation(&r);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    rig_sim_stop(&r);
    uint16_t port = nonce_server();
    kraken(&r, port);
    pairs(&r, port);
    return rig_close(&r);
}
