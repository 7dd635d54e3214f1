/* journal.c: `weir inspect --journal FILE`: what a broker's journal says, slot by slot. Needs no broker. */
#include "command.h"

#include "exit_codes.h"
#include "print.h"
#include "weir_journal.h"
#include "weir_pause.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *utc_text(char text[TEXT_BYTES], uint64_t utc_ns)
{
    time_t s = (time_t)(utc_ns / WEIR_NS_PER_S);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL || strftime(text, TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        (void)snprintf(text, TEXT_BYTES, "%" PRIu64 " ns", utc_ns);
    }
    return text;
}

static void providers_print(FILE *out, const struct weir_journal_header *h)
{
    char name[TEXT_BYTES], until[TEXT_BYTES], offset[DURATION_BYTES], error[DURATION_BYTES];
    const struct weir_journal_record *r = NULL;
    while ((r = weir_journal_next(h, r)) != NULL) {
        const struct weir_journal_provider *p = (const void *)r;
        if (r->kind != WEIR_JOURNAL_PROVIDER) {
            continue;
        }
        (void)fprintf(out, "  provider    %s: ", PRINT_TEXT(name, p->provider));
        if (p->clock.state == WEIR_CLOCK_KNOWN) {
            (void)fprintf(out, "its clock is %s from this machine's UTC, true within %s",
                          print_offset(offset, p->utc_offset_ns),
                          print_duration(error, p->clock.error_ns));
        } else {
            (void)fprintf(out, "its clock was not known");
        }
        if (p->pause_until_utc_ns != 0) {
            (void)fprintf(out, "; paused until %s", utc_text(until, p->pause_until_utc_ns));
        }
        (void)fprintf(out, "\n");
    }
}

static const struct column limit_columns[] = {
    {"LIMIT", -20}, {"SCOPE", -8}, {"QUOTA", 6}, {"MAY BE", 6}, {"USED", -20},
};

/* "6:105 7:20": ceilings by the exchange's windows. */
static void windows_text(char text[TEXT_BYTES], const struct weir_journal_limit *l)
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t e = 0; e < WEIR_MEMORY_WINDOWS && n < TEXT_BYTES; e++) {
        if (l->units[e] != 0) {
            n += (size_t)snprintf(text + n, TEXT_BYTES - n, "%s%u:%u", n > 0 ? " " : "",
                                  l->window[e], l->units[e]);
        }
    }
}

/* "105 in parts of 6.1s" */
static void parts_text(char text[TEXT_BYTES], const struct weir_journal_rolling *l)
{
    char span[DURATION_BYTES];
    uint64_t units = 0;
    for (uint32_t i = 0; i < WEIR_JOURNAL_PARTS; i++) {
        units += (uint32_t)l->part[i];
    }
    (void)snprintf(text, TEXT_BYTES, "%" PRIu64 " in parts of %s", units,
                   print_duration(span, l->part_ns));
}

/* What is said of one limit, and what else may be: units that float, that may have been granted since, that surcharges may have added. */
static uint32_t limit_text(char text[TEXT_BYTES], const struct weir_journal_header *h,
                           const struct weir_journal_record *r)
{
    char left[DURATION_BYTES];
    const struct weir_journal_limit *l = (const void *)r;
    const struct weir_journal_bucket *b = (const void *)r;
    const struct weir_journal_rolling *p = (const void *)r;
    if (r->kind == WEIR_JOURNAL_BUCKET) {
        uint64_t left_ns = b->tat_ns > h->monotonic_ns ? b->tat_ns - h->monotonic_ns : 0;
        (void)snprintf(text, TEXT_BYTES, "full again %s later", print_duration(left, left_ns));
        return b->ahead;
    }
    if (r->kind == WEIR_JOURNAL_ROLLING) {
        parts_text(text, p);
        return p->extra;
    }
    windows_text(text, l);
    return (uint32_t)weir_min_u64((uint64_t)l->floating + l->ahead, UINT32_MAX);
}

static void limits_print(FILE *out, const struct weir_journal_header *h)
{
    struct table table;
    char provider[TEXT_BYTES], limit[TEXT_BYTES], scope[TEXT_BYTES], used[TEXT_BYTES];
    const struct weir_journal_record *r = NULL;
    table_init(&table, limit_columns, WEIR_ARRAY_CNT(limit_columns));
    while ((r = weir_journal_next(h, r)) != NULL) {
        const struct weir_journal_named *named = (const void *)r;
        const char *name = weir_journal_names(r);
        if (name == NULL) {
            continue;
        }
        uint32_t more = limit_text(used, h, r);
        table_cell(&table, "%s.%s", PRINT_TEXT(provider, name),
                   PRINT_TEXT(limit, name + WEIR_NAME_BYTES));
        name += 2UL * WEIR_NAME_BYTES;
        table_cell(&table, "%s", name[0] != '\0' ? PRINT_TEXT(scope, name) : "-");
        table_cell(&table, "%u", named->quota);
        table_cell(&table, "+%u", more);
        table_cell(&table, "%s", used[0] != '\0' ? used : "-");
    }
    table_print(&table, out, "  ");
}

void journal_dump(FILE *out, const struct weir_journal_view *view)
{
    const struct weir_journal_header *h = view->header;
    char name[TEXT_BYTES], boot[TEXT_BYTES], utc[TEXT_BYTES];
    (void)fprintf(out, "  broker      %s, start %" PRIu64 " on this journal\n",
                  PRINT_TEXT(name, h->name), h->generation);
    (void)fprintf(out, "  written     %s, in boot %s\n", utc_text(utc, h->utc_ns),
                  PRINT_TEXT(boot, h->boot_id));
    (void)fprintf(out, "  says        %s\n",
                  (h->flags & WEIR_JOURNAL_CLEAN) != 0 ? "exact counts: the broker had stopped"
                                                       : "ceilings: no more than this was granted");
    providers_print(out, h);
    limits_print(out, h);
}

/* Read a regular file whole, aligned. Returns NULL with errno. */
static void *file_read(const char *path, uint64_t *bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at = NULL;
    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) == 0) {
        *bytes = (uint64_t)st.st_size;
        errno = EFBIG;
        if (S_ISREG(st.st_mode) && *bytes <= WEIR_JOURNAL_SLOTS * WEIR_JOURNAL_SLOT_MAX_BYTES) {
            at = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(*bytes + 1, WEIR_LINE_BYTES));
        }
    }
    for (uint64_t n = 0; at != NULL && n < *bytes;) {
        ssize_t got = read(fd, (char *)at + n, *bytes - n);
        if (got <= 0) {
            *bytes = n; /* it was cut meanwhile: what there is, is judged */
            break;
        }
        n += (uint64_t)got;
    }
    (void)close(fd);
    return at;
}

int journal_print(const char *path)
{
    uint64_t bytes = 0;
    void *file = file_read(path, &bytes);
    if (file == NULL) {
        complain("cannot read the journal: file=%s: %s", path, strerror(errno));
        return errno == ENOENT ? EXIT_ABSENT : errno == EACCES ? EXIT_PERMISSION : EXIT_USAGE;
    }
    struct weir_journal_view view;
    enum weir_journal_verdict v = weir_journal_find(&view, file, bytes);
    (void)printf("journal %s: %s: %s\n", path, weir_journal_verdict_name(v),
                 weir_journal_verdict_text(v));
    uint64_t slot_bytes = bytes / WEIR_JOURNAL_SLOTS / 8 * 8;
    for (uint32_t i = 0; i < WEIR_JOURNAL_SLOTS; i++) {
        const struct weir_journal_header *h = (const void *)((const char *)file + i * slot_bytes);
        enum weir_journal_verdict s = weir_journal_slot_check(h, slot_bytes);
        (void)printf("  slot %u      %s", i, weir_journal_verdict_name(s));
        if (s == WEIR_JOURNAL_SOUND) {
            (void)printf(", write %" PRIu64 "%s", h->sequence, h == view.header ? ": counts" : "");
        }
        (void)printf("\n");
    }
    if (v == WEIR_JOURNAL_SOUND) {
        journal_dump(stdout, &view);
    }
    free(file);
    return v == WEIR_JOURNAL_SOUND    ? EXIT_OK
           : v == WEIR_JOURNAL_ABSENT ? EXIT_ABSENT
                                      : EXIT_CORRUPT;
}
