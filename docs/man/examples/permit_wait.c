#include <weir.h>

/* A cancel may wait 50 ms for its permit, and goes before all lower classes. */
int cancel_permit(struct weir *w, weir_route_id route, weir_scope_id scope,
                  struct weir_permit *permit)
{
    uint64_t deadline_ns = weir_now_ns(w) + 50 * 1000000;
    int rc;

    do {
        rc = weir_permit_wait(w, route, scope, NULL, WEIR_PRIORITY_CRITICAL, deadline_ns, permit);
    } while (rc == WEIR_CONTENDED && weir_now_ns(w) < deadline_ns);
    return rc;
}

/* A call whose cost depends on it: 20 units of the route's first limit, 1 of its second. */
int batch_permit(struct weir *w, weir_route_id route, struct weir_permit *permit)
{
    const struct weir_cost units = {.cnt = 2, .units = {20, 1}};

    return weir_permit_try(w, route, WEIR_SCOPE_DEFAULT, &units, WEIR_PRIORITY_LOW, permit);
}
