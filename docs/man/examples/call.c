#include <stdio.h>
#include <weir.h>

int main(void)
{
    struct weir_open_opts opts = {.struct_bytes = sizeof opts, .role = WEIR_ROLE_CALLER};
    struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                     .query = "symbol=BTCUSDT&limit=5"};
    struct weir_diag diag;
    struct weir_response r;
    struct weir *w;

    if (weir_open(&w, NULL, &opts, &diag) != 0) {
        fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    int rc = weir_route_find(w, "binance.depth", &spec.route);
    if (rc == 0) {
        rc = weir_call(w, &spec, weir_now_ns(w) + 2000000000, &r);
    }
    if (rc == WEIR_PENDING) {
        /* It was asked to stop: its outcome comes, and then it is released. */
        rc = weir_wait(w, r.ticket, UINT64_MAX, &r);
    }
    if (rc == 0) {
        printf("%s, status %u\n%.*s\n", weir_result_text(r.result), r.status, (int)r.body_bytes,
               r.body_bytes > 0 ? (const char *)r.body : "");
        weir_release(w, r.ticket);
    } else {
        fprintf(stderr, "%s: %s\n", weir_strerror(rc), weir_hint(rc));
    }
    weir_close(w);
    return rc == 0 ? 0 : 1;
}
