#include <inttypes.h>
#include <stdio.h>
#include <weir.h>

/* The timestamp of a signed call, in the exchange's milliseconds. */
int stamp(struct weir *w, char *out, size_t bytes)
{
    uint64_t utc_ns, error_ns;
    int rc = weir_server_time(w, "binance", &utc_ns, &error_ns);

    if (rc == 0) {
        snprintf(out, bytes, "timestamp=%" PRIu64, utc_ns / 1000000);
    }
    return rc;
}
