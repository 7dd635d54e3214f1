/*
 * own_transport.c: a strategy that makes its calls itself and takes only the permits from weir.
 *
 *   own_transport [BROKER [ROUTE [URL]]]          default: default binance.depth, and Binance's order book
 *   cc own_transport.c $(pkg-config --cflags --libs weir libcurl)
 *
 * The rules, in order: take a permit; write the request before use_by_ns; say what became of it.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <weir.h>

#define SECOND UINT64_C(1000000000)

static size_t body_ignore(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    (void)arg;
    return size * n;
}

/* One call on a kept connection; a permit is worth most when the request leaves at once. */
static struct weir_outcome get(CURL *curl, const char *url)
{
    struct weir_outcome outcome = {.kind = WEIR_OUTCOME_NO_ANSWER}; /* sent, and nothing known */
    curl_off_t retry_after_s = 0;
    curl_off_t total_us = 0;
    long status = 0;
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_ignore);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 2000L);
    CURLcode rc = curl_easy_perform(curl);
    if (rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_CONNECT ||
        rc == CURLE_SSL_CONNECT_ERROR) {
        outcome.kind = WEIR_OUTCOME_NOT_SENT; /* surely: weir gives the permit back */
    } else if (rc == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s);
        (void)curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME_T, &total_us);
        outcome.kind = WEIR_OUTCOME_ANSWERED;
        outcome.status = (uint32_t)status; /* a 429 or 418 stops every strategy until Retry-After */
        outcome.retry_after_ns = (uint64_t)retry_after_s * SECOND;
        outcome.latency_ns = (uint64_t)total_us * 1000;
    }
    return outcome;
}

static int call_once(struct weir *w, weir_route_id route, CURL *curl, const char *url)
{
    struct weir_permit permit;
    struct weir_route_info info;
    struct weir_outcome outcome = {.kind = WEIR_OUTCOME_NOT_SENT};
    int rc = weir_route_get(w, route, &info);
    if (rc == 0) {
        /* weir_permit_try answers at once; this one waits where the limit is full, here for a second. */
        rc = weir_permit_wait(w, route, WEIR_SCOPE_DEFAULT, NULL, info.priority,
                              weir_now_ns(w) + SECOND, &permit);
    }
    if (rc == WEIR_DENIED) {
        (void)printf("refused: %s\n", weir_reason_text(permit.denial.reason));
        return 0;
    }
    if (rc != 0) {
        (void)fprintf(stderr, "permit: %s: %s\n", weir_strerror(rc), weir_hint(rc));
        return 1;
    }
    /* Held up since the grant? Then it may fall into a window that it was not charged to: give it back, and ask again. */
    if (weir_now_ns(w) < permit.use_by_ns) {
        outcome = get(curl, url);
    }
    (void)weir_permit_settle(w, &permit, &outcome);
    (void)printf("%s, status %u\n", outcome.kind == WEIR_OUTCOME_NOT_SENT ? "not sent" : "sent",
                 outcome.status);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "binance.depth";
    const char *url = argc > 3 ? argv[3] : "https://api.binance.com/api/v3/depth?symbol=BTCUSDT";
    struct weir *w;
    struct weir_diag diag;
    weir_route_id route;
    if (weir_open(&w, argc > 1 ? argv[1] : NULL, NULL, &diag) != 0) {
        (void)fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    CURL *curl = curl_easy_init();
    int rc = weir_route_find(w, name, &route); /* once: a name is looked up, a number is not */
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s: %s\n", name, weir_strerror(rc), weir_hint(rc));
    }
    for (int i = 0; rc == 0 && i < 10; i++) {
        rc = call_once(w, route, curl, url);
    }
    curl_easy_cleanup(curl);
    weir_close(w);
    return rc != 0;
}
