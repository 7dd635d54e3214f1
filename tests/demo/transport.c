/* Blocking HTTP on one kept connection: what a strategy with its own transport has already. */
#include "demo.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    char *at;
    size_t bytes;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct buffer *b = arg;
    char *more = realloc(b->at, b->bytes + size * n + 1);
    if (more == NULL) {
        return 0; /* curl ends the transfer with an error */
    }
    memcpy(more + b->bytes, data, size * n);
    b->at = more;
    b->bytes += size * n;
    b->at[b->bytes] = '\0';
    return size * n;
}

static CURL *curl; /* one per process: the connection stays open between calls */

void demo_http_close(void)
{
    curl_easy_cleanup(curl);
    curl = NULL;
}

struct demo_answer demo_http(const char *method, const char *url)
{
    struct demo_answer answer = {0};
    struct buffer body = {0};
    long status = 0;
    curl_off_t retry_after = 0;
    if (curl == NULL) {
        curl = curl_easy_init();
    }
    curl_easy_reset(curl); /* keeps the connections */
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
    answer.sent = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST;
    answer.status = code == CURLE_OK ? (uint32_t)status : 0;
    answer.retry_after_s = (uint32_t)retry_after;
    answer.body = body.at;
    return answer;
}
