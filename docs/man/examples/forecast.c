#include <stdio.h>
#include <weir.h>

/* How long may we go on like this? Call it now and then, with the forecast of the last time. */
void plan(struct weir *w, uint32_t limit, struct weir_forecast *kept)
{
    struct weir_forecast now;
    struct weir_forecast_ask ask = {
        .struct_bytes = sizeof ask,
        .priority = WEIR_PRIORITY_MEDIUM,
        .units = 5,
        .before = kept->now_ns != 0 ? kept : NULL,
    };
    if (weir_limit_forecast(w, limit, WEIR_SCOPE_DEFAULT, &ask, &now) != 0) {
        return;
    }
    if (now.earliest_ns > now.now_ns && now.earliest_ns != UINT64_MAX) {
        printf("5 units: in %.1f ms\n", (double)(now.earliest_ns - now.now_ns) / 1e6);
    } else if (now.empty_ns != UINT64_MAX) {
        printf("%.1f a second: nothing left in %.1f s\n", (double)now.pace_micro / 1e6,
               (double)(now.empty_ns - now.now_ns) / 1e9);
    }
    *kept = now;
}
