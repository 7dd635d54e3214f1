/*
 * make_calls.c: a strategy that hands its calls to the broker, which keeps the limits and the connections.
 *
 *   make_calls [BROKER [ROUTE [QUERY]]]           default: default binance.depth symbol=BTCUSDT
 *   cc make_calls.c $(pkg-config --cflags --libs weir)
 */
#include <stdio.h>
#include <weir.h>

#define SECOND UINT64_C(1000000000)

/* What came back. Each ending has its own name, so that an order is repeated only where that is safe. */
static void show(const struct weir_response *r)
{
    switch (r->result) {
    case WEIR_RESULT_DONE:
        (void)printf(
            "status %u, %zu bytes, %.3f ms from submit to answer, %.3f ms of it waiting for a "
            "permit\n",
            r->status, r->body_bytes, (double)(r->delivered_ns - r->submitted_ns) / 1e6,
            (double)(r->permitted_ns - r->taken_ns) / 1e6);
        /* The answer lies in shared memory and may be read in place until weir_release. */
        (void)printf("  %.*s\n", (int)(r->body_bytes < 70 ? r->body_bytes : 70),
                     (const char *)r->body);
        break;
    case WEIR_RESULT_REFUSED:
        (void)printf("refused: %s; nothing was sent\n", weir_reason_text(r->denial.reason));
        break;
    case WEIR_RESULT_OUTCOME_UNKNOWN:
        (void)printf("sent, and no answer came: ask the exchange before you repeat it\n");
        break;
    default:
        (void)printf("%s\n", weir_result_text(r->result));
        break;
    }
}

static int call_once(struct weir *w, weir_route_id route, const char *query)
{
    struct weir_response response;
    struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = route, .query = query};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 2 * SECOND, &response);
    if (rc == WEIR_PENDING) {
        /* The worker was asked to stop it, and may have been too late: it ends soon, and only its end tells which. */
        rc = weir_wait(w, response.ticket, weir_now_ns(w) + SECOND, &response);
    }
    if (rc != 0) {
        (void)fprintf(stderr, "call: %s: %s\n", weir_strerror(rc), weir_hint(rc));
        return rc == WEIR_E_DEADLINE ? 0 : 1; /* that one was certainly not sent */
    }
    show(&response);
    (void)weir_release(w, response.ticket);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "binance.depth";
    const char *query = argc > 3 ? argv[3] : "symbol=BTCUSDT";
    struct weir *w;
    struct weir_diag diag;
    /* A caller cannot touch a limit, only ask: the smallest role that this program needs. */
    struct weir_open_opts opts = {.struct_bytes = sizeof opts, .role = WEIR_ROLE_CALLER};
    weir_route_id route;
    if (weir_open(&w, argc > 1 ? argv[1] : NULL, &opts, &diag) != 0) {
        (void)fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    int rc = weir_route_find(w, name, &route);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s: %s\n", name, weir_strerror(rc), weir_hint(rc));
    }
    for (int i = 0; rc == 0 && i < 5; i++) {
        rc = call_once(w, route, query);
    }
    weir_close(w);
    return rc != 0;
}
