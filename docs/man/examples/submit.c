#include <stdio.h>
#include <weir.h>

/* Ask for three order books at once; take the answers as they come. */
int books(struct weir *w, weir_route_id depth)
{
    static const char *const query[] = {"symbol=BTCUSDT", "symbol=ETHUSDT", "symbol=SOLUSDT"};
    struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = depth};
    struct weir_response r;
    weir_ticket ticket[3];
    int sent = 0;

    for (int i = 0; i < 3; i++) {
        spec.query = query[i]; /* copied: the spec may be used again at once */
        if (weir_submit(w, &spec, &ticket[sent]) == 0) {
            sent++;
        }
    }
    for (int i = 0; i < sent; i++) {
        int rc = weir_wait(w, ticket[i], UINT64_MAX, &r);
        if (rc != 0) {
            return rc;
        }
        printf("%s, %zu bytes\n", weir_result_text(r.result), r.body_bytes);
        weir_release(w, r.ticket);
    }
    return 0;
}
