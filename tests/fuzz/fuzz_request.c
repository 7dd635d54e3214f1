/*
 * fuzz_request.c: any bytes as a request. Oracle: ASan and UBSan, and what is accepted is what weir_request.h promises: every part lies
 * in the payload, no part can end a header or a line, and no path climbs.
 *
 * Input: the lengths of path, query, headers and body (u16 each), the header count (u8), then the payload.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void no_line_end(const char *at, size_t bytes)
{
    if (bytes > 0 && (memchr(at, '\r', bytes) != NULL || memchr(at, '\n', bytes) != NULL ||
                      memchr(at, '\0', bytes) != NULL)) {
        abort();
    }
}

static void inside(const char *at, size_t bytes, const char *payload, size_t payload_bytes)
{
    if (at < payload || at + bytes > payload + payload_bytes) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint16_t lengths[4];
    if (bytes < sizeof lengths + 1) {
        return 0;
    }
    memcpy(lengths, data, sizeof lengths);
    struct weir_shm_request r = {.path_bytes = lengths[0],
                                 .query_bytes = lengths[1],
                                 .headers_bytes = lengths[2],
                                 .body_bytes = lengths[3],
                                 .header_cnt = data[8]};
    const char *payload = (const char *)data + 9;
    size_t payload_bytes = bytes - 9;
    struct weir_request_parts parts;
    if (weir_request_parse(&r, payload, payload_bytes, &parts) != WEIR_OK) {
        return 0;
    }
    inside(parts.path, parts.path_bytes, payload, payload_bytes);
    inside(parts.query, parts.query_bytes, payload, payload_bytes);
    inside(parts.body, parts.body_bytes, payload, payload_bytes);
    no_line_end(parts.path, parts.path_bytes);
    no_line_end(parts.query, parts.query_bytes);
    if (parts.path_bytes > 0 &&
        (parts.path[0] == '/' || memmem(parts.path, parts.path_bytes, "/../", 4) != NULL ||
         memmem(parts.path, parts.path_bytes, "//", 2) != NULL)) {
        abort();
    }
    for (uint32_t i = 0; i < parts.header_cnt; i++) {
        inside(parts.header[i].name, parts.header[i].name_bytes, payload, payload_bytes);
        inside(parts.header[i].value, parts.header[i].value_bytes, payload, payload_bytes);
        no_line_end(parts.header[i].name, parts.header[i].name_bytes);
        no_line_end(parts.header[i].value, parts.header[i].value_bytes);
    }
    return 0;
}
