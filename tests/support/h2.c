#include "h2.h"

#include <string.h>

static void u32_put(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

size_t h2_frame(uint8_t *at, unsigned type, unsigned flags, uint32_t stream, const void *payload,
                size_t bytes)
{
    at[0] = (uint8_t)(bytes >> 16);
    at[1] = (uint8_t)(bytes >> 8);
    at[2] = (uint8_t)bytes;
    at[3] = (uint8_t)type;
    at[4] = (uint8_t)flags;
    u32_put(at + 5, stream);
    if (bytes > 0) {
        memmove(at + H2_HEAD_BYTES, payload, bytes);
    }
    return H2_HEAD_BYTES + bytes;
}

size_t h2_number(uint8_t *at, unsigned type, uint32_t stream, uint32_t number)
{
    uint8_t payload[4];
    u32_put(payload, number);
    return h2_frame(at, type, 0, stream, payload, sizeof payload);
}

size_t h2_goaway(uint8_t *at, uint32_t last, uint32_t error)
{
    uint8_t payload[8];
    u32_put(payload, last);
    u32_put(payload + 4, error);
    return h2_frame(at, H2_GOAWAY, 0, 0, payload, sizeof payload);
}

size_t h2_setting(uint8_t *at, uint16_t setting, uint32_t value)
{
    uint8_t payload[6] = {(uint8_t)(setting >> 8), (uint8_t)setting};
    u32_put(payload + 2, value);
    return h2_frame(at, H2_SETTINGS, 0, 0, payload, sizeof payload);
}

/* A text with its length in a prefix of 7 bits (RFC 7541, 5.1 and 5.2). */
static size_t text_put(uint8_t *at, const char *text)
{
    size_t n = strlen(text);
    size_t to = 0;
    if (n < 127) {
        at[to++] = (uint8_t)n;
    } else {
        at[to++] = 127;
        size_t rest = n - 127;
        for (; rest >= 128; rest >>= 7) {
            at[to++] = (uint8_t)(0x80U | (rest & 0x7fU));
        }
        at[to++] = (uint8_t)rest;
    }
    memcpy(at + to, text, n);
    return to + n;
}

size_t h2_field(uint8_t *at, const char *name, const char *value)
{
    at[0] = 0; /* literal without indexing, a new name: 6.2.2 */
    size_t n = 1 + text_put(at + 1, name);
    return n + text_put(at + n, value);
}

size_t h2_read(const uint8_t *at, size_t bytes, struct h2_frame *f)
{
    if (bytes < H2_HEAD_BYTES) {
        return 0;
    }
    f->bytes = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    f->type = at[3];
    f->flags = at[4];
    f->stream = ((uint32_t)at[5] << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8]) &
                0x7fffffffU;
    return bytes >= H2_HEAD_BYTES + f->bytes ? H2_HEAD_BYTES + f->bytes : 0;
}

void h2_judge(struct h2_said *said, const uint8_t *at, size_t bytes)
{
    struct h2_frame f;
    for (size_t n; !said->ended && !said->reset && (n = h2_read(at, bytes, &f)) > 0;
         at += n, bytes -= n) {
        if (f.stream != said->stream) {
            continue;
        }
        if (f.type == H2_RST_STREAM) {
            said->reset = true;
        } else if (f.type == H2_DATA) {
            uint32_t padding =
                (f.flags & H2_PADDED) != 0 && f.bytes > 0 ? 1U + at[H2_HEAD_BYTES] : 0;
            said->data_bytes += f.bytes > padding ? f.bytes - padding : 0;
        }
        said->ended = (f.type == H2_DATA || f.type == H2_HEADERS) && (f.flags & H2_END_STREAM) != 0;
    }
}
