/*
 * h2_end.h: where an answer over HTTP/2, or TLS, ended.
 *
 * An answer is whole when its server said so: END_STREAM on a frame of its stream (RFC 9113, 8.1). libcurl 7.88 does not always ask. It calls an answer whole that tells no length and whose stream
 * was reset with NO_ERROR, whose connection broke HTTP/2 in the middle of the body, or was closed right behind a reset (curl's 48cd032623 and 544a7f804d, of later versions, tell of them). And
 * it keeps a connection whose stream was cut, less the window that the stream took along (a9b7f72bc9). No function of it says which end it saw.
 *
 * So the frames are read along, in passing: this file defines SSL_read, which libcurl calls and which hands on to OpenSSL's own (the first definition in the order of the dynamic linker counts).
 * Only connections that on_tls marked are looked at, 9 bytes of each frame and nothing else. What is not seen was not said: a whole answer is one whose END_STREAM came, with as many bytes of
 * body as curl has handed over.
 *
 * A connection whose answer was not ended is closed: http.c forbids it to be used again when a request is written to it, and allows it at the end.
 *
 * And libcurl reads on for as long as frames come that bring nothing (empty ones, padding alone, pings, settings): a server that writes them fast enough had the worker for itself. Whoever writes more than
 * H2_IDLE_FRAMES_MAX of them during one call is not read any more.
 *
 * All of TLS: libcurl 7.88 takes a connection that is closed without close_notify for one that ended, so whoever stands between could cut an answer of HTTP/1.1 that only the end of its connection ends
 * (RFC 9112, 9.8). Here that is an error.
 *
 * A reader is one connection's; the transfers on it, one at a time, borrow it. Both hold it: whoever is last frees it. One thread.
 */
#ifndef WEIR_BROKER_H2_END_H
#define WEIR_BROKER_H2_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_IDLE_FRAMES_MAX 1000U

struct h2_reader;

/* Does libcurl read through this file? If not, HTTP/2 is not to be spoken. Caller: the worker, once, before its cage closes. */
bool h2_end_open(void);

/* Read along on connections of this SSL_CTX: their end, and with `http2` their frames. Caller: curl's callback for it. False without memory. */
bool h2_end_watch(void *ssl_ctx, bool http2);

/*
 * A request will be written to this connection (SSL) now. Returns its reader, to be dropped; NULL: it is not watched. `ended` is called once where its answer is ended, from inside of
 * curl, until the reader is dropped.
 */
struct h2_reader *h2_end_begin(void *ssl, void (*ended)(void *arg), void *arg);
/* Did the server end the answer to the request that began last, with so many bytes of body? */
bool h2_end_is_whole(const struct h2_reader *reader, uint64_t body_bytes);
/* The transfer is over. */
void h2_end_drop(struct h2_reader *reader);

/* Bytes that a server wrote, in pieces of any length. SSL_read's, and tests'. */
struct h2_reader *h2_reader_make(void);
void h2_reader_free(struct h2_reader *reader);
void h2_reader_begin(struct h2_reader *reader);
/* False: it is a flood. */
bool h2_reader_take(struct h2_reader *reader, const uint8_t *at, size_t bytes);

#endif
