#include "weir_journal.h"

#include "weir_sliding.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

static_assert(sizeof(struct weir_journal_header) % 8 == 0 &&
                  sizeof(struct weir_journal_limit) % 8 == 0 &&
                  sizeof(struct weir_journal_provider) % 8 == 0,
              "records stay aligned");
static_assert(WEIR_JOURNAL_PARTS == WEIR_SLIDING_WORDS, "a change is a new version");
static_assert(
    offsetof(struct weir_journal_named, quota) == offsetof(struct weir_journal_limit, quota) &&
        offsetof(struct weir_journal_named, quota) == offsetof(struct weir_journal_bucket, quota) &&
        offsetof(struct weir_journal_named, quota) == offsetof(struct weir_journal_rolling, quota),
    "records of limits begin alike");
static_assert(
    sizeof(struct weir_journal_header) == 224 && sizeof(struct weir_journal_limit) == 168 &&
        sizeof(struct weir_journal_provider) == 112 && sizeof(struct weir_journal_backoff) == 80 &&
        sizeof(struct weir_journal_bucket) == 144 && sizeof(struct weir_journal_rolling) == 968,
    "the format of version 2: another fact gets a kind of its own, a change a new version");

uint64_t weir_journal_identity(const char *provider, const char *limit, uint32_t scope_kind,
                               const char *scope)
{
    const char *const text[] = {provider, limit, scope};
    uint64_t hash = XXH3_64bits_withSeed(&scope_kind, sizeof scope_kind, 0);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(text); i++) {
        hash = XXH3_64bits_withSeed(text[i], strnlen(text[i], WEIR_NAME_BYTES), hash);
    }
    return hash;
}

/* ---------------------------------------------------------------------------------------------- write */

void weir_journal_begin(struct weir_journal_writer *w, void *slot, uint64_t slot_bytes,
                        const struct weir_journal_header *facts)
{
    struct weir_journal_header *h = slot;
    *w = (struct weir_journal_writer){
        .slot = slot, .slot_bytes = slot_bytes, .used_bytes = sizeof *h};
    memset(slot, 0, slot_bytes);
    *h = *facts;
    h->magic = WEIR_JOURNAL_MAGIC;
    h->version = WEIR_JOURNAL_VERSION;
    h->header_bytes = sizeof *h;
}

void *weir_journal_add(struct weir_journal_writer *w, enum weir_journal_kind kind, uint32_t bytes)
{
    if (bytes % 8 != 0 || bytes > w->slot_bytes - w->used_bytes) {
        return NULL;
    }
    struct weir_journal_record *r = (void *)(w->slot + w->used_bytes);
    r->kind = (uint16_t)kind;
    r->bytes = bytes;
    w->used_bytes += bytes;
    w->record_cnt++;
    return r;
}

/* The header once more, with the checksum's own field taken as 0, then what follows it. */
static uint64_t checksum(const void *slot, uint64_t used_bytes)
{
    struct weir_journal_header h;
    memcpy(&h, slot, sizeof h);
    h.checksum = 0;
    uint64_t seed = XXH3_64bits(&h, sizeof h);
    return XXH3_64bits_withSeed((const unsigned char *)slot + sizeof h, used_bytes - sizeof h,
                                seed);
}

uint64_t weir_journal_end(struct weir_journal_writer *w)
{
    struct weir_journal_header *h = (void *)w->slot;
    h->used_bytes = w->used_bytes;
    h->record_cnt = w->record_cnt;
    h->checksum = checksum(w->slot, w->used_bytes);
    return w->used_bytes;
}

uint32_t weir_journal_record_bytes(enum weir_journal_kind kind)
{
    switch (kind) {
    case WEIR_JOURNAL_LIMIT:
        return sizeof(struct weir_journal_limit);
    case WEIR_JOURNAL_PROVIDER:
        return sizeof(struct weir_journal_provider);
    case WEIR_JOURNAL_BACKOFF:
        return sizeof(struct weir_journal_backoff);
    case WEIR_JOURNAL_BUCKET:
        return sizeof(struct weir_journal_bucket);
    case WEIR_JOURNAL_ROLLING:
        return sizeof(struct weir_journal_rolling);
    }
    return 0;
}

uint64_t weir_journal_slot_bytes(uint64_t record_bytes)
{
    uint64_t bytes = sizeof(struct weir_journal_header) + record_bytes;
    return weir_max_u64(weir_round_up(bytes, 4096), WEIR_JOURNAL_SLOT_MIN_BYTES);
}

/* ---------------------------------------------------------------------------------------------- read */

enum weir_journal_verdict weir_journal_slot_check(const void *slot, uint64_t slot_bytes)
{
    const struct weir_journal_header *h = slot;
    const unsigned char *bytes = slot;
    if (slot_bytes < sizeof *h) {
        return slot_bytes == 0 ? WEIR_JOURNAL_ABSENT : WEIR_JOURNAL_TORN;
    }
    if (h->magic != WEIR_JOURNAL_MAGIC) {
        for (uint64_t i = 0; i < slot_bytes; i++) {
            if (bytes[i] != 0) {
                return WEIR_JOURNAL_TORN;
            }
        }
        return WEIR_JOURNAL_ABSENT;
    }
    if (h->version > WEIR_JOURNAL_VERSION) {
        return WEIR_JOURNAL_NEWER; /* its checksum may be another one: nothing else of it is looked at */
    }
    if (h->version != 0 && h->version < WEIR_JOURNAL_VERSION) {
        return WEIR_JOURNAL_OLDER; /* the same */
    }
    if (h->version != WEIR_JOURNAL_VERSION || h->header_bytes != sizeof *h ||
        h->used_bytes < sizeof *h || h->used_bytes > slot_bytes ||
        h->checksum != checksum(slot, h->used_bytes)) {
        return WEIR_JOURNAL_TORN;
    }
    bool texts = memchr(h->name, 0, sizeof h->name) != NULL &&
                 memchr(h->boot_id, 0, sizeof h->boot_id) != NULL;
    return texts ? WEIR_JOURNAL_SOUND : WEIR_JOURNAL_TORN;
}

enum weir_journal_verdict weir_journal_find(struct weir_journal_view *view, const void *file,
                                            uint64_t file_bytes)
{
    uint64_t slot_bytes = file_bytes / WEIR_JOURNAL_SLOTS / 8 * 8;
    enum weir_journal_verdict verdict[WEIR_JOURNAL_SLOTS];
    *view = (struct weir_journal_view){0};
    for (uint32_t i = 0; i < WEIR_JOURNAL_SLOTS; i++) {
        const void *slot = (const unsigned char *)file + i * slot_bytes;
        verdict[i] = weir_journal_slot_check(slot, slot_bytes);
        const struct weir_journal_header *h = slot;
        if (verdict[i] == WEIR_JOURNAL_NEWER || verdict[i] == WEIR_JOURNAL_OLDER) {
            *view = (struct weir_journal_view){0};
            return verdict[i];
        }
        if (verdict[i] == WEIR_JOURNAL_SOUND &&
            (view->header == NULL || h->sequence > view->header->sequence)) {
            view->header = h;
            view->slot = i;
        }
    }
    if (view->header != NULL) {
        view->other_torn = verdict[1 - view->slot] == WEIR_JOURNAL_TORN;
        return WEIR_JOURNAL_SOUND;
    }
    return verdict[0] == WEIR_JOURNAL_ABSENT && verdict[1] == WEIR_JOURNAL_ABSENT
               ? WEIR_JOURNAL_ABSENT
               : WEIR_JOURNAL_TORN;
}

enum weir_journal_verdict weir_journal_judge(const struct weir_journal_header *header,
                                             const struct weir_journal_owner *owner)
{
    if (strcmp(header->name, owner->name) != 0) {
        return WEIR_JOURNAL_FOREIGN_NAME;
    }
    bool same_boot = strcmp(header->boot_id, owner->boot_id) == 0;
    if (!same_boot && header->host != 0 && owner->host != 0 && header->host != owner->host) {
        return WEIR_JOURNAL_FOREIGN_HOST;
    }
    bool old = !same_boot && owner->utc_ns > header->utc_ns &&
               owner->utc_ns - header->utc_ns > WEIR_JOURNAL_STALE_NS;
    bool other = owner->broker_id != 0 && header->broker_id != owner->broker_id;
    if (other || old) {
        return WEIR_JOURNAL_STALE;
    }
    return WEIR_JOURNAL_SOUND;
}

/* Do `cnt` names that lie one behind the other end? */
static bool names_end(const char *first, unsigned cnt)
{
    bool end = true;
    for (unsigned i = 0; i < cnt; i++) {
        end = end && memchr(first + (size_t)i * WEIR_NAME_BYTES, 0, WEIR_NAME_BYTES) != NULL;
    }
    return end;
}

const char *weir_journal_names(const struct weir_journal_record *r)
{
    const char *at = (const char *)r;
    switch ((enum weir_journal_kind)r->kind) {
    case WEIR_JOURNAL_LIMIT:
        return at + offsetof(struct weir_journal_limit, provider);
    case WEIR_JOURNAL_BUCKET:
        return at + offsetof(struct weir_journal_bucket, provider);
    case WEIR_JOURNAL_ROLLING:
        return at + offsetof(struct weir_journal_rolling, provider);
    case WEIR_JOURNAL_PROVIDER:
    case WEIR_JOURNAL_BACKOFF:
        break;
    }
    return NULL;
}

/* Texts end, and it is as long as what it will be read as. */
static bool is_whole(const struct weir_journal_record *r)
{
    uint32_t bytes = weir_journal_record_bytes((enum weir_journal_kind)r->kind);
    if (bytes == 0 || r->bytes < bytes) {
        return false;
    }
    const char *at = (const char *)r;
    switch ((enum weir_journal_kind)r->kind) {
    case WEIR_JOURNAL_LIMIT:
    case WEIR_JOURNAL_BUCKET:
    case WEIR_JOURNAL_ROLLING:
        return names_end(weir_journal_names(r), 3);
    case WEIR_JOURNAL_PROVIDER:
        return names_end(at + offsetof(struct weir_journal_provider, provider), 1);
    case WEIR_JOURNAL_BACKOFF:
        return names_end(at + offsetof(struct weir_journal_backoff, provider), 1);
    }
    return false;
}

const struct weir_journal_record *weir_journal_next(const struct weir_journal_header *header,
                                                    const struct weir_journal_record *at)
{
    const unsigned char *base = (const unsigned char *)header;
    uint64_t off = at == NULL ? header->header_bytes
                              : (uint64_t)((const unsigned char *)at - base) + at->bytes;
    while (off + sizeof *at <= header->used_bytes) {
        const struct weir_journal_record *r = (const void *)(base + off);
        if (r->bytes < sizeof *r || r->bytes % 8 != 0 || r->bytes > header->used_bytes - off) {
            return NULL; /* where the next one begins is not known */
        }
        if (is_whole(r)) {
            return r;
        }
        off += r->bytes;
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- words */

const char *weir_journal_verdict_name(unsigned verdict)
{
    static const char *const names[] = {"sound",      "off",          "absent",       "newer",
                                        "torn",       "foreign_name", "foreign_host", "stale",
                                        "unreadable", "older"};
    return verdict < WEIR_ARRAY_CNT(names) ? names[verdict] : "?";
}

const char *weir_journal_verdict_text(unsigned verdict)
{
    static const char *const texts[] = {
        "it says what was used",
        "broker.state_dir is none: nothing is remembered across a reboot",
        "there is none yet: what was used before is not known",
        "a later version of weird wrote it",
        "no slot of it is whole",
        "it is of a broker of another name",
        "it was written on another machine",
        "a broker has run without it since, or it is older than the longest window",
        "it could not be read",
        "an earlier version of weird wrote it, which kept less than is needed",
    };
    return verdict < WEIR_ARRAY_CNT(texts) ? texts[verdict] : "?";
}
