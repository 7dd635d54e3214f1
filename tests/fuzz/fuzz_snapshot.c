/*
 * fuzz_snapshot.c: any file as a snapshot of kept answers.
 *
 * First byte: bit 0 = the rest is the file as it is; else it edits a right one (offset 2 bytes, value 1 byte), and bit 1 makes the sum right again afterwards, for random
 * bytes never get past it. Oracle: the sanitizers; and that each record, with its answer, ends inside the snapshot.
 */
#include "broker/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FILE_BYTES 1024U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint64_t file_make(unsigned char *file)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n{\"price\":1}";
    const struct snapshot_header facts = {
        .sequence = 4, .name = "prod", .boot_id = "boot", .utc_ns = 5, .boottime_ns = 3};
    struct snapshot_writer w;
    snapshot_begin(&w, file, FILE_BYTES, &facts);
    for (uint32_t i = 1; i < 4; i++) {
        const struct snapshot_record r = {
            .head_bytes = 19, .body_bytes = 8 + i, .status = 200, .key = {i, i}, .age_ns = i};
        (void)snapshot_add(&w, &r, answer);
    }
    return snapshot_end(&w);
}

/* The sum of what the header now claims, where it claims something possible. */
static void seal(unsigned char *file)
{
    struct snapshot_header *h = (void *)file;
    uint64_t at = sizeof *h;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < h->record_cnt; i++) {
        const struct snapshot_record *r = (const void *)(file + at);
        if (FILE_BYTES - at < sizeof *r || r->bytes > FILE_BYTES - at || r->bytes == 0 ||
            r->bytes % 8 != 0) {
            return;
        }
        sum = XXH3_64bits_withSeed(r, r->bytes, sum);
        at += r->bytes;
    }
    h->sum = 0;
    h->sum = XXH3_64bits_withSeed(h, sizeof *h, sum);
}

static void look(const void *file, size_t bytes)
{
    const struct snapshot_header *h = file;
    const struct snapshot_reader reader = {
        .name = "prod", .boot_id = "boot", .boottime_ns = 9, .utc_ns = 9, .longest_ns = 100};
    uint64_t passed_ns = 0;
    if (snapshot_look(file, bytes) != SNAPSHOT_SOUND) {
        return;
    }
    (void)snapshot_judge(h, &reader, &passed_ns);
    const char *end = (const char *)file + h->used_bytes;
    uint64_t sum = 0;
    for (const struct snapshot_record *r = snapshot_next(h, NULL); r != NULL;
         r = snapshot_next(h, r)) {
        const char *answer = (const char *)(r + 1);
        if ((const char *)r + r->bytes > end ||
            answer + r->head_bytes + r->body_bytes > (const char *)r + r->bytes) {
            abort();
        }
        for (uint64_t i = 0; i < (uint64_t)r->head_bytes + r->body_bytes; i++) {
            sum += (unsigned char)answer[i];
        }
    }
    if (sum == UINT64_MAX) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    if ((data[0] & 1) != 0) {
        unsigned char *file = aligned_alloc(8, (bytes + 7) / 8 * 8);
        memcpy(file, data + 1, bytes - 1);
        look(file, bytes - 1);
        free(file);
        return 0;
    }
    unsigned char *file = aligned_alloc(8, FILE_BYTES);
    memset(file, 0, FILE_BYTES);
    uint64_t used = file_make(file);
    for (size_t i = 1; i + 3 <= bytes; i += 3) {
        file[((size_t)data[i] << 8 | data[i + 1]) % FILE_BYTES] = data[i + 2];
    }
    if ((data[0] & 2) != 0) {
        seal(file);
    }
    look(file, (data[0] & 4) != 0 ? used : FILE_BYTES);
    free(file);
    return 0;
}
