/*
 * http_peers.c: the same calls by what people use today: through a sidecar proxy, or each process with a libcurl of its own.
 *
 * sidecar_1 and sidecar_64: HAProxy on the worker's core, kept connections on both sides, asked by the bare loop of http_floor.c: the least that a client of it can
 * cost. client_curl: four processes, one call at a time each, by a kept easy handle and through weir.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "duel.h"
#include "http_stand.h"
#include "shm/weir_clock.h"

#define CURL_CLIENTS 4U
#define CALL_NS      (5 * WEIR_NS_PER_S)

/* ---------------------------------------------------------------------------------------------- sidecar */

static int sidecar_rounds(struct http_stand *stand, struct http_floor *loop, unsigned in_flight,
                          struct stats_pairs *pairs, bool rate, struct bench_result *result)
{
    const struct bench *bench = stand->bench;
    for (unsigned i = 0; i <= bench->opts.round_cnt; i++) {
        struct http_count peer;
        struct http_count weir;
        if (duel_pin(stand->client_core) != 0 ||
            http_floor_run(loop, bench_slice_s(bench), &peer, result) != 0 ||
            http_weir_run(stand, in_flight, bench_slice_s(bench), &weir, result) != 0) {
            return -1;
        }
        double peer_ns = peer.wall_ns / (double)peer.request_cnt;
        double weir_ns = weir.wall_ns / (double)weir.request_cnt;
        if (i > 0) { /* connections are made in the first */
            stats_pairs_add(pairs, rate ? 1e9 / peer_ns : peer_ns, rate ? 1e9 / weir_ns : weir_ns);
        }
    }
    return 0;
}

static int sidecar(const struct bench *bench, unsigned in_flight, struct bench_result *result)
{
    static struct stats_pairs pairs;
    struct http_stand stand;
    struct rig_haproxy haproxy = {0};
    char url[64];
    memset(&pairs, 0, sizeof(pairs));
    if (http_stand_make(bench, &stand, "adaptive", 0, true, result) != 0) {
        return -1;
    }
    int rc =
        rig_haproxy_start(&haproxy, &stand.dir, bench_core(bench, 0), stand.nginx.port, result);
    if (rc == 0) {
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", haproxy.port);
        struct http_floor *loop = http_floor_open(url, in_flight, RIG_BODY_BYTES, result);
        rc = loop ? sidecar_rounds(&stand, loop, in_flight, &pairs, in_flight > 1, result) : -1;
        if (loop) {
            http_floor_close(loop);
        }
    }
    rig_stop(&haproxy.child);
    http_stand_end(&stand);
    if (rc == 0) {
        result->measured = true;
        result->value = stats_pairs_subject(&pairs);
        result->has_floor = true;
        result->floor = stats_pairs_floor(&pairs);
        result->ratio = stats_pairs_ratio(&pairs);
        result->pair_cnt = (unsigned)pairs.cnt;
        snprintf(result->note, sizeof(result->note),
                 "worker and HAProxy on core %d, nginx on %d, client on %d; worker adaptive",
                 bench_core(bench, 0), bench_core(bench, 1), stand.client_core);
    }
    return rc;
}

int bench_sidecar_1(const struct bench *bench, struct bench_result *result)
{
    return sidecar(bench, 1, result);
}

int bench_sidecar_64(const struct bench *bench, struct bench_result *result)
{
    return sidecar(bench, HTTP_IN_FLIGHT, result);
}

/* ---------------------------------------------------------------------------------------------- each its own libcurl */

struct me {
    CURL *curl;
    size_t got_bytes;
    struct weir *weir;
    struct weir_request_spec spec;
};

static size_t on_data(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)one;
    ((struct me *)arg)->got_bytes += bytes;
    return bytes;
}

static bool own_open(struct me *me, const struct http_stand *stand)
{
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", stand->nginx.port);
    me->curl = curl_easy_init();
    return me->curl != NULL && curl_easy_setopt(me->curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(me->curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(me->curl, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
           curl_easy_setopt(me->curl, CURLOPT_WRITEDATA, me) == CURLE_OK;
}

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me;
    const struct http_stand *stand = arg;
    struct weir_diag diag = {0};
    struct weir_open_opts opts = rig_weird_opts(&stand->weird);
    (void)member;
    me.spec = (struct weir_request_spec){.struct_bytes = sizeof(me.spec)};
    if (!own_open(&me, stand)) {
        duel_fail(why, "libcurl: no memory");
    } else if (weir_open(&me.weir, "bench", &opts, &diag) != 0 ||
               weir_route_find(me.weir, "bench.file", &me.spec.route) != 0) {
        duel_fail(why, "cannot attach: %s", diag.text);
    } else {
        return &me;
    }
    return NULL;
}

static int own_call(struct me *me, struct duel_why *why)
{
    me->got_bytes = 0;
    CURLcode code = curl_easy_perform(me->curl);
    return code == CURLE_OK && me->got_bytes == RIG_BODY_BYTES
               ? 0
               : duel_fail(why, "libcurl: %s, %zu bytes", curl_easy_strerror(code), me->got_bytes);
}

static int weir_one(struct me *me, struct duel_why *why)
{
    struct weir_response response;
    int rc = weir_call(me->weir, &me->spec, weir_now_ns(me->weir) + CALL_NS, &response);
    bool good =
        rc == 0 && response.result == WEIR_RESULT_DONE && response.body_bytes == RIG_BODY_BYTES;
    if (rc == 0) {
        weir_release(me->weir, response.ticket);
    }
    return good ? 0 : duel_fail(why, "weir_call: %d", rc);
}

static int own_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    int rc = 0;
    DUEL_LOOP(cnt, hist, rc |= own_call(self, why));
    return rc;
}

static int weir_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    int rc = 0;
    DUEL_LOOP(cnt, hist, rc |= weir_one(self, why));
    return rc;
}

int bench_client_curl(const struct bench *bench, struct bench_result *result)
{
    struct http_stand stand;
    if (http_stand_make(bench, &stand, "adaptive", 0, true, result) != 0) {
        return -1;
    }
    struct duel_spec duel = {
        .member_cnt = CURL_CLIENTS,
        .open = open_me,
        .batch = {weir_side, own_side},
        .batch_cnt = {8, 8},
        .arg = &stand,
    };
    for (unsigned i = 0; i < CURL_CLIENTS; i++) {
        unsigned others = bench->machine.core_cnt > 2 ? 2 : 0; /* not beside worker and nginx */
        duel.core[i] = bench_core(bench, others + i % (bench->machine.core_cnt - others));
    }
    int rc = duel_run(bench, &duel, result);
    http_stand_end(&stand);
    snprintf(result->note, sizeof(result->note), "%u processes, one call at a time each",
             CURL_CLIENTS);
    return rc;
}
