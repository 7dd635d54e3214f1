#include <stdio.h>
#include <weir.h>

/* What a call costs, and how much of each of its limits is left to it. */
int show(struct weir *w, const char *name)
{
    struct weir_route_info route;
    struct weir_limit_info limit;
    weir_route_id id;
    int rc = weir_route_find(w, name, &id);

    rc = rc == 0 ? weir_route_get(w, id, &route) : rc;
    for (uint32_t i = 0; rc == 0 && i < route.limit_cnt; i++) {
        do {
            rc = weir_limit_get(w, route.limit[i], WEIR_SCOPE_DEFAULT, &limit);
        } while (rc == WEIR_CONTENDED);
        if (rc == 0) {
            printf("%s.%s: costs %u of %s, %u left\n", route.provider, route.name, route.cost[i],
                   limit.name, limit.left_units[route.priority]);
        }
    }
    return rc;
}
