/*
 * audit.h: the records of the audit on a copy of the board (weir_audit.h), one by one, for people and as JSON lines.
 *
 * A record that may have been overwritten while the board was copied is not there: the copy's `begun`, which was read last, says so. How many are not there any
 * more is always known, so that a gap is never silent.
 */
#ifndef WEIR_MONITOR_AUDIT_H
#define WEIR_MONITOR_AUDIT_H

#include "image.h"
#include "weir_audit.h"

#include <jansson.h>

struct audit_view {
    bool kept; /* false: the broker keeps no audit */
    struct weir_shm_audit head;
    uint32_t cnt;
    uint64_t first, last; /* numbers of the records that are there; first = last + 1: none */
};

void audit_view_get(const struct image *image, struct audit_view *view);

/* Record `number`, whole. False: it is not there, or the board is damaged. */
bool audit_record_get(const struct image *image, const struct audit_view *view, uint64_t number,
                      struct weir_shm_audit_record *out);

/* Which records are shown. Those that say that others are missing always are. */
struct audit_filter {
    const char *client; /* NULL: all */
    const char *limit;  /* "provider.limit" or "limit"; NULL: all */
    uint64_t since_utc_ns;
};

bool audit_matches(const struct image *image, const struct audit_filter *filter,
                   const struct audit_view *view, const struct weir_shm_audit_record *record);

/* This machine's UTC at `at_ns` of weir time, by the audit's own notion of it. */
uint64_t audit_utc_ns(const struct audit_view *view, uint64_t at_ns);

/* One record, on one line. */
void audit_text_title(FILE *out);
void audit_text(FILE *out, const struct image *image, const struct audit_view *view,
                const struct weir_shm_audit_record *record);
json_t *audit_json(const struct image *image, const struct audit_view *view,
                   const struct weir_shm_audit_record *record);

/* `cnt` records were overwritten before they could be read. */
void audit_lost_text(FILE *out, uint64_t cnt);
json_t *audit_lost_json(const struct audit_view *view, uint64_t now_ns, uint64_t cnt);

#endif
