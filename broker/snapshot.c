#include "broker/snapshot.h"

#include <string.h>
#include <xxhash.h>

/* ---------------------------------------------------------------------------------------------- writing */

void snapshot_begin(struct snapshot_writer *w, void *image, uint64_t image_bytes,
                    const struct snapshot_header *facts)
{
    struct snapshot_header *h = image;
    *w = (struct snapshot_writer){
        .image = image, .image_bytes = image_bytes, .used_bytes = sizeof *h};
    memcpy(h, facts, sizeof *h);
    h->magic = SNAPSHOT_MAGIC;
    h->version = SNAPSHOT_VERSION;
    h->record_cnt = 0;
    h->used_bytes = 0;
    h->sum = 0;
    memset(h->reserved, 0, sizeof h->reserved);
}

bool snapshot_add(struct snapshot_writer *w, const struct snapshot_record *as, const void *answer)
{
    uint64_t answer_bytes = (uint64_t)as->head_bytes + as->body_bytes;
    uint64_t bytes = snapshot_record_bytes(answer_bytes);
    if (bytes > w->image_bytes - w->used_bytes || bytes > UINT32_MAX) {
        return false;
    }
    unsigned char *at = w->image + w->used_bytes;
    memset(at + bytes - sizeof(uint64_t), 0, sizeof(uint64_t)); /* what fills up goes to disk */
    memcpy(at, as, sizeof *as);
    ((struct snapshot_record *)(void *)at)->bytes = (uint32_t)bytes;
    memcpy(at + sizeof *as, answer, answer_bytes);
    w->sum = XXH3_64bits_withSeed(at, bytes, w->sum);
    w->used_bytes += bytes;
    w->record_cnt++;
    return true;
}

/* The header's part of the sum. */
static uint64_t header_sum(const struct snapshot_header *header, uint64_t records_sum)
{
    struct snapshot_header copy;
    memcpy(&copy, header, sizeof copy);
    copy.sum = 0;
    return XXH3_64bits_withSeed(&copy, sizeof copy, records_sum);
}

uint64_t snapshot_end(struct snapshot_writer *w)
{
    struct snapshot_header *h = (void *)w->image;
    h->record_cnt = w->record_cnt;
    h->used_bytes = w->used_bytes;
    h->sum = header_sum(h, w->sum);
    return w->used_bytes;
}

/* ---------------------------------------------------------------------------------------------- reading */

/* Does a record at `at` end inside the snapshot, and its answer inside the record? */
static bool record_ok(const struct snapshot_record *r, uint64_t left_bytes)
{
    return left_bytes >= sizeof *r && r->bytes <= left_bytes && r->bytes % sizeof(uint64_t) == 0 &&
           r->bytes == snapshot_record_bytes((uint64_t)r->head_bytes + r->body_bytes);
}

enum snapshot_verdict snapshot_look(const void *image, uint64_t bytes)
{
    const struct snapshot_header *h = image;
    if (bytes == 0) {
        return SNAPSHOT_ABSENT;
    }
    if (bytes < sizeof *h || h->magic != SNAPSHOT_MAGIC) {
        return SNAPSHOT_TORN;
    }
    if (h->version != SNAPSHOT_VERSION) {
        return h->version > SNAPSHOT_VERSION ? SNAPSHOT_NEWER : SNAPSHOT_OLDER;
    }
    if (h->used_bytes < sizeof *h || h->used_bytes > bytes ||
        memchr(h->name, 0, sizeof h->name) == NULL ||
        memchr(h->boot_id, 0, sizeof h->boot_id) == NULL) {
        return SNAPSHOT_TORN;
    }
    uint64_t sum = 0;
    uint64_t at = sizeof *h;
    for (uint32_t i = 0; i < h->record_cnt; i++) { /* ends: each is longer than nothing */
        const struct snapshot_record *r = (const void *)((const char *)image + at);
        if (!record_ok(r, h->used_bytes - at)) {
            return SNAPSHOT_TORN;
        }
        sum = XXH3_64bits_withSeed(r, r->bytes, sum);
        at += r->bytes;
    }
    return at == h->used_bytes && h->sum == header_sum(h, sum) ? SNAPSHOT_SOUND : SNAPSHOT_TORN;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What has passed since it was written, at most; false: the verdict says why nobody knows. */
static bool passed(const struct snapshot_header *h, const struct snapshot_reader *r,
                   uint64_t *passed_ns, enum snapshot_verdict *why)
{
    bool same_boot = h->boot_id[0] != '\0' && strcmp(h->boot_id, r->boot_id) == 0;
    if (same_boot) {
        *why = SNAPSHOT_FUTURE;
        uint64_t utc_ns = r->utc_ns > h->utc_ns ? r->utc_ns - h->utc_ns : 0;
        *passed_ns = weir_max_u64(r->boottime_ns - h->boottime_ns, utc_ns);
        return r->boottime_ns >= h->boottime_ns;
    }
    *why = r->utc_ns < h->utc_ns ? SNAPSHOT_FUTURE : SNAPSHOT_UNPROVEN;
    *passed_ns = add(r->utc_ns - h->utc_ns, add(r->utc_error_ns, h->utc_error_ns));
    return r->utc_ns >= h->utc_ns && r->utc_error_ns != UINT64_MAX && h->utc_error_ns != UINT64_MAX;
}

enum snapshot_verdict snapshot_judge(const struct snapshot_header *header,
                                     const struct snapshot_reader *reader, uint64_t *passed_ns)
{
    enum snapshot_verdict why;
    if (strcmp(header->name, reader->name) != 0) {
        return SNAPSHOT_FOREIGN_NAME;
    }
    if (strcmp(header->boot_id, reader->boot_id) != 0 && header->host != 0 && reader->host != 0 &&
        header->host != reader->host) {
        return SNAPSHOT_FOREIGN_HOST;
    }
    if (!passed(header, reader, passed_ns, &why)) {
        return why;
    }
    return *passed_ns > reader->longest_ns ? SNAPSHOT_STALE : SNAPSHOT_SOUND;
}

const struct snapshot_record *snapshot_next(const struct snapshot_header *header,
                                            const struct snapshot_record *record)
{
    const char *first = (const char *)(header + 1);
    const char *end = (const char *)header + header->used_bytes;
    const char *at = record != NULL ? (const char *)record + record->bytes : first;
    return at < end ? (const void *)at : NULL;
}

/* ---------------------------------------------------------------------------------------------- for people */

static const struct {
    const char *name, *text;
} verdicts[] = {
    [SNAPSHOT_SOUND] = {"sound", "it is whole, of this broker, and not too old"},
    [SNAPSHOT_ABSENT] = {"absent", "nothing was written to it yet"},
    [SNAPSHOT_UNREADABLE] = {"unreadable", "it cannot be read, or is no file"},
    [SNAPSHOT_OVERSIZED] = {"oversized", "it is larger than any cache"},
    [SNAPSHOT_TORN] = {"torn", "its checksum is wrong: a write was cut off, or it was altered"},
    [SNAPSHOT_NEWER] = {"newer", "a later version of weird wrote it"},
    [SNAPSHOT_OLDER] = {"older", "an earlier version of weird wrote it"},
    [SNAPSHOT_FOREIGN_NAME] = {"foreign_name", "a broker of another name wrote it"},
    [SNAPSHOT_FOREIGN_HOST] = {"foreign_host", "another machine wrote it"},
    [SNAPSHOT_FUTURE] = {"future", "it was written later than now: a clock was set back, and "
                                   "nobody knows how old its answers are"},
    [SNAPSHOT_UNPROVEN] = {"unproven", "the machine was started anew, and this machine's UTC is "
                                       "not, or was not, synchronised: nobody knows how old its "
                                       "answers are"},
    [SNAPSHOT_STALE] = {"stale", "it is older than any route wants"},
};

const char *snapshot_verdict_name(enum snapshot_verdict v)
{
    return (size_t)v < WEIR_ARRAY_CNT(verdicts) ? verdicts[v].name : "?";
}

const char *snapshot_verdict_text(enum snapshot_verdict v)
{
    return (size_t)v < WEIR_ARRAY_CNT(verdicts) ? verdicts[v].text : "?";
}
