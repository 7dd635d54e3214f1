/*
 * fuzz_journal.c: any file as a journal.
 *
 * First byte: bit 0 = the rest is the file as it is; else it edits a right one of two slots (offset 2 bytes, value 1 byte), and bit 1 makes the
 * checksums right again afterwards, for random bytes never get past them. Oracle: the sanitizers, and that whatever is read ends inside its record.
 */
#include "weir_journal.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_BYTES 2048U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void slot_make(unsigned char *slot, uint64_t sequence)
{
    const struct weir_journal_header facts = {
        .sequence = sequence, .name = "prod", .boot_id = "boot", .generation = 3};
    struct weir_journal_writer w;
    weir_journal_begin(&w, slot, SLOT_BYTES, &facts);
    struct weir_journal_provider *p = weir_journal_add(&w, WEIR_JOURNAL_PROVIDER, sizeof *p);
    memcpy(p->provider, "venue", 6);
    for (int i = 0; i < 2; i++) {
        struct weir_journal_limit *l = weir_journal_add(&w, WEIR_JOURNAL_LIMIT, sizeof *l);
        memcpy(l->provider, "venue", 6);
        memcpy(l->limit, "day", 4);
        l->units[1] = 7;
    }
    struct weir_journal_bucket *b = weir_journal_add(&w, WEIR_JOURNAL_BUCKET, sizeof *b);
    memcpy(b->limit, "slow", 5);
    b->tat_ns = 77;
    struct weir_journal_rolling *roll = weir_journal_add(&w, WEIR_JOURNAL_ROLLING, sizeof *roll);
    memcpy(roll->limit, "rolls", 6);
    roll->part[103] = 1;
    (void)weir_journal_end(&w);
}

/* The checksum of what the header now claims, where it claims something possible. */
static void seal(unsigned char *slot)
{
    const struct weir_journal_header *h = (const void *)slot;
    struct weir_journal_writer w = {.slot = slot,
                                    .slot_bytes = SLOT_BYTES,
                                    .used_bytes = h->used_bytes,
                                    .record_cnt = h->record_cnt};
    if (h->used_bytes >= sizeof *h && h->used_bytes <= SLOT_BYTES) {
        (void)weir_journal_end(&w);
    }
}

static void look(const void *file, size_t bytes)
{
    struct weir_journal_view view;
    const struct weir_journal_owner owner = {.name = "prod", .boot_id = "boot"};
    if (weir_journal_find(&view, file, bytes) != WEIR_JOURNAL_SOUND) {
        return;
    }
    (void)weir_journal_judge(view.header, &owner);
    const struct weir_journal_record *r = NULL;
    const unsigned char *end = (const unsigned char *)view.header + view.header->used_bytes;
    while ((r = weir_journal_next(view.header, r)) != NULL) {
        const char *names = weir_journal_names(r);
        if ((const unsigned char *)r + r->bytes > end ||
            r->bytes < weir_journal_record_bytes((enum weir_journal_kind)r->kind)) {
            abort();
        }
        for (uint32_t i = 0; names != NULL && i < 3; i++) {
            if (strlen(names + (size_t)i * WEIR_NAME_BYTES) >= WEIR_NAME_BYTES) {
                abort();
            }
        }
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
    unsigned char *file = aligned_alloc(8, 2UL * SLOT_BYTES);
    slot_make(file, 4);
    slot_make(file + SLOT_BYTES, 5);
    for (size_t i = 1; i + 3 <= bytes; i += 3) {
        file[((size_t)data[i] << 8 | data[i + 1]) % (2UL * SLOT_BYTES)] = data[i + 2];
    }
    if ((data[0] & 2) != 0) {
        seal(file);
        seal(file + SLOT_BYTES);
    }
    look(file, 2UL * SLOT_BYTES);
    free(file);
    return 0;
}
