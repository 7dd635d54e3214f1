/*
 * h2.h: frames of HTTP/2 and fields of its heads (RFC 9113, RFC 7541), written by hand: a server of a test must be able to get them wrong.
 *
 * Pure; no state. Fields are literals without Huffman and without the table, so a head means the same whatever was said before.
 */
#ifndef WEIR_TESTS_H2_H
#define WEIR_TESTS_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum h2_type {
    H2_DATA = 0,
    H2_HEADERS = 1,
    H2_PRIORITY = 2,
    H2_RST_STREAM = 3,
    H2_SETTINGS = 4,
    H2_PUSH_PROMISE = 5,
    H2_PING = 6,
    H2_GOAWAY = 7,
    H2_WINDOW_UPDATE = 8,
    H2_CONTINUATION = 9,
};
#define H2_ACK           1U
#define H2_END_STREAM    1U
#define H2_END_HEADERS   4U
#define H2_PADDED        8U

#define H2_HEAD_BYTES    9U
#define H2_PREFACE_BYTES 24U /* what a client begins with, "PRI * HTTP/2.0..." */

enum { H2_NO_ERROR = 0, H2_INTERNAL_ERROR = 2, H2_REFUSED_STREAM = 7, H2_CANCEL = 8 };
enum { H2_MAX_STREAMS = 3, H2_WINDOW = 4 }; /* settings */

struct h2_frame {
    uint32_t bytes; /* of the payload */
    uint32_t stream;
    uint8_t type, flags;
};

/* Write a frame to `at`, which has room for H2_HEAD_BYTES more than the payload. Returns its length. */
size_t h2_frame(uint8_t *at, unsigned type, unsigned flags, uint32_t stream, const void *payload,
                size_t bytes);
/* A frame whose payload is one number of 32 bits: RST_STREAM, WINDOW_UPDATE. */
size_t h2_number(uint8_t *at, unsigned type, uint32_t stream, uint32_t number);
size_t h2_goaway(uint8_t *at, uint32_t last, uint32_t error);
size_t h2_setting(uint8_t *at, uint16_t setting, uint32_t value);

/* Write one field of a head. Returns its length: that of both texts, and 8 at most. */
size_t h2_field(uint8_t *at, const char *name, const char *value);

/* What is at the head of `at`: the length of the frame, 0 where it is not there yet. */
size_t h2_read(const uint8_t *at, size_t bytes, struct h2_frame *f);

/* What a server has written on one connection, as far as it went. */
struct h2_said {
    uint32_t stream;     /* of whom it is asked */
    bool ended;          /* its END_STREAM is there, and nothing took it back before */
    bool reset;          /* RST_STREAM */
    uint64_t data_bytes; /* of its body, up to the end */
};

/* Read `bytes` that a server wrote behind the handshake: frames, as far as they are whole. */
void h2_judge(struct h2_said *said, const uint8_t *at, size_t bytes);

#endif
