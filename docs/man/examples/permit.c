#include <stdio.h>
#include <weir.h>

/* Your transport: returns the HTTP status, 0 if no answer came, -1 if no byte was written. */
static int send_it(void)
{
    return 200;
}

static void depth(struct weir *w, weir_route_id route)
{
    struct weir_permit permit;
    struct weir_outcome outcome = {.kind = WEIR_OUTCOME_NOT_SENT};
    int rc = weir_permit_try(w, route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM, &permit);

    if (rc == WEIR_DENIED) {
        printf("not now: %s\n", weir_reason_text(permit.denial.reason));
        return;
    }
    if (rc != 0) {
        printf("%s: %s\n", weir_strerror(rc), weir_hint(rc));
        return;
    }
    if (weir_now_ns(w) < permit.use_by_ns) {
        int status = send_it();
        if (status >= 0) {
            outcome.kind = status > 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER;
            outcome.status = status > 0 ? (uint32_t)status : 0;
        }
    }
    weir_permit_settle(w, &permit, &outcome);
}

int main(void)
{
    struct weir_diag diag;
    struct weir *w;
    weir_route_id route;

    if (weir_open(&w, NULL, NULL, &diag) != 0) {
        fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    if (weir_route_find(w, "binance.depth", &route) == 0) {
        depth(w, route);
    }
    weir_close(w);
    return 0;
}
