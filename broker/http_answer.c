/*
 * http_answer.c: what passes between a handle and its server: the gate before a request is written, where the answer's head and body end, and whether the connection may be used behind it.
 */
#include "broker/http_inside.h"

#include <string.h>
#include <strings.h>

/*
 * curl takes a kept connection that the server has reset for a good one (7.88: its look at it knows only the orderly end), fails to write, and begins anew with another one. Where it
 * passed the gate and no byte went out, say so. Curl counts what the socket took, over all its attempts; HTTP/2's framing is not in that count.
 */
void http_unsent_look(struct http_easy *e)
{
    long written_bytes = -1;
    bool passed = e->passed;
    e->passed = false;
    if (passed && !e->transfer->target->http2 && e->transfer->unsent != NULL &&
        curl_easy_getinfo(e->curl, CURLINFO_REQUEST_SIZE, &written_bytes) == CURLE_OK &&
        written_bytes == 0) {
        e->transfer->unsent(e->transfer);
    }
}

/* May the connection be used again behind this answer? */
void http_reuse_set(struct http_easy *e, bool may)
{
    e->forbids = !may;
    (void)curl_easy_setopt(e->curl, CURLOPT_FORBID_REUSE, may ? 0L : 1L);
}

/* The value of the header `name`, which has its colon; NULL: this line is another one. */
static const char *value_of(const char *line, size_t bytes, const char *name, const char **end)
{
    size_t n = strlen(name);
    if (bytes < n || strncasecmp(line, name, n) != 0) {
        return NULL;
    }
    const char *at = line + n;
    *end = line + bytes;
    while (at < *end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (*end > at && strchr(" \t\r\n", (*end)[-1]) != NULL) {
        (*end)--;
    }
    return at;
}

/*
 * What curl 7.88 lets pass of a head that does not say where its answer ends (RFC 9112, 6.3): several lengths, of which it takes the last, and one that no number holds, with which it
 * reads to the end of the connection. And a length beside chunks: curl goes by the chunks, as it should, but keeps the connection. Returns false: nobody can tell what is the answer.
 */
static bool framing_look(struct http_easy *e, const char *line, size_t bytes)
{
    const char *end;
    const char *at = value_of(line, bytes, "content-length:", &end);
    if (bytes > 5 && memcmp(line, "HTTP/", 5) == 0) {
        e->has_length = e->chunked =
            false; /* another head: the one before was an interim answer's */
    }
    if (at != NULL) {
        uint64_t n = 0;
        bool good = end > at && end - at < 19; /* so long a number fits */
        for (; good && at < end; at++) {
            good = *at >= '0' && *at <= '9';
            n = 10 * n + (uint64_t)(*at - '0');
        }
        e->broken = !good || (e->has_length && n != e->length_bytes);
        e->has_length = true;
        e->length_bytes = n;
        return !e->broken;
    }
    e->chunked = e->chunked || value_of(line, bytes, "transfer-encoding:", &end) != NULL;
    if (e->has_length &&
        e->chunked) { /* whoever stands between may see another end: RFC 9112, 6.1 */
        http_reuse_set(e, false);
    }
    return true;
}

/* The empty line behind a head: is it the head of the answer, or an interim one with another behind it? curl goes on behind each 1xx but 101, which nobody asked for. */
static bool head_ends(const struct http_easy *e, const char *line)
{
    long status = 0;
    (void)curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
    return (line[0] == '\r' || line[0] == '\n') && (status / 100 != 1 || status == 101);
}

size_t http_on_head(char *at, size_t one, size_t bytes, void *arg)
{
    (void)one;
    struct http_easy *e = arg;
    struct http_transfer *t = e->transfer;
    e->in_line = false;
    if (e->in_head && bytes > 0) {
        e->in_head = !head_ends(e, at);
    }
    if (t->target->http2 && bytes > 7 && memcmp(at, "HTTP/1.", 7) == 0) { /* it did not agree */
        http_reuse_set(e, true);
    }
    return framing_look(e, at, bytes) && t->head(t, at, bytes) ? bytes : 0;
}

/*
 * A piece of a line of the head, before curl keeps it (CURLOPT_HEADER); http_on_head gets the line behind that. A line that goes on with the one before (obs-fold, which RFC 9112, 5.2 forbids servers)
 * must not come so far: curl 7.88 joins it to the last header that it kept (data->state.prevhead), and where the line is a head's first that header was the last answer's of this handle, and is
 * freed. Later versions clear the pointer.
 */
static bool line_look(struct http_easy *e, const char *piece)
{
    if (!e->in_line && (piece[0] == ' ' || piece[0] == '\t')) {
        e->broken = true;
    }
    e->in_line = true;
    return !e->broken;
}

size_t http_on_data(char *at, size_t one, size_t bytes, void *arg)
{
    (void)one;
    struct http_easy *e = arg;
    if (e->in_head && bytes > 0) {
        return line_look(e, at) ? bytes : 0;
    }
    return e->transfer->data(e->transfer, at, bytes);
}

/* The answer was ended by its server: its stream took nothing along. */
static void on_ended(void *arg)
{
    http_reuse_set(arg, true);
}

/* A request is about to be written to a connection that may speak HTTP/2: it is closed behind it, unless the answer is ended. */
static void end_watch(struct http_easy *e)
{
    struct curl_tlssessioninfo *tls = NULL;
    h2_end_drop(e->reader);
    e->reader = NULL;
    if (curl_easy_getinfo(e->curl, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls != NULL &&
        tls->backend == CURLSSLBACKEND_OPENSSL) {
        e->reader = h2_end_begin(tls->internals, on_ended, e);
    }
    http_reuse_set(e, false);
}

int http_on_gate(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)ip;
    (void)port;
    (void)local_port;
    struct http_easy *e = arg;
    struct http_transfer *t = e->transfer;
    e->in_head = true; /* of this sending, should curl send again */
    e->in_line = false;
    if (t->source != NULL && strcmp(local_ip, t->source + sizeof HTTP_SOURCE_PREFIX - 1) != 0) {
        return CURL_PREREQFUNC_ABORT; /* another member's connection: its count is not ours to use */
    }
    http_unsent_look(e);
    if (!t->gate(t)) {
        return CURL_PREREQFUNC_ABORT;
    }
    e->passed = true;
    if (t->target->http2) {
        end_watch(e);
    }
    if (t->request_target != NULL) { /* read behind this, where curl writes the request line */
        e->has_request_target = true;
        return curl_easy_setopt(e->curl, CURLOPT_REQUEST_TARGET, t->request_target) == CURLE_OK
                   ? CURL_PREREQFUNC_OK
                   : CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

/* What curl 7.88 may call success over HTTP/2: a stream that ended before its body was whole (h2_end.h). */
bool http_is_cut_short(const struct http_easy *e)
{
    long version = 0;
    curl_off_t got = 0;
    (void)curl_easy_getinfo(e->curl, CURLINFO_HTTP_VERSION, &version);
    (void)curl_easy_getinfo(e->curl, CURLINFO_SIZE_DOWNLOAD_T, &got);
    return version == CURL_HTTP_VERSION_2_0 && !h2_end_is_whole(e->reader, (uint64_t)got);
}
