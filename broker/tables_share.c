#include "broker/tables_share.h"

#include "shm/weir_share.h"

#include <stdio.h>
#include <string.h>

#define WHOLE_PPM 1000000U

uint32_t tables_share_cnt(const struct weir_config_limit *limit)
{
    uint32_t cnt = (uint32_t)limit->share_cnt;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        cnt += limit->floor_ppm[c] > 0 ? 1U : 0U;
    }
    return cnt;
}

/* Units that class `c` may use, at the worst moment. */
static uint64_t units_of(const struct weir_shm_limit_row *row, const struct tables_share *from,
                         unsigned c)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        return row->tolerance_ns[c] / row->unit_ns;
    }
    return row->quota > from->headroom[c] ? row->quota - from->headroom[c] : 0;
}

static int refuse(const struct weir_shm_limit_row *row, const char *what, uint64_t units,
                  const struct tables_share *from, char *text, size_t text_bytes)
{
    (void)snprintf(text, text_bytes,
                   "limit %s: %s holds %llu units once headroom and max_jitter are taken off, and "
                   "a call costs up to %u: make it larger",
                   row->name, what, (unsigned long long)units, from->dearest);
    return WEIR_E_ARGUMENT;
}

static int floors_fill(struct weir_shm_limit_row *row, struct weir_shm_share_row *entry,
                       const struct tables_share *from, char *text, size_t text_bytes)
{
    static const char *const names[WEIR_PRIORITY_CNT] = {"critical", "high", "medium", "low",
                                                         "background"};
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t ppm = from->limit->floor_ppm[c];
        uint64_t units = units_of(row, from, WEIR_PRIORITY_HIGH) * ppm / WHOLE_PPM;
        char what[64];
        if (ppm == 0) {
            continue;
        }
        if (units < from->dearest) {
            (void)snprintf(what, sizeof what, "the floor of class %s", names[c]);
            return refuse(row, what, units, from, text, text_bytes);
        }
        entry[row->share_cnt++] = (struct weir_shm_share_row){
            .kind = WEIR_SHARE_CLASS, .part_ppm = (uint32_t)ppm, .priority = c};
    }
    return WEIR_OK;
}

static int clients_fill(struct weir_shm_limit_row *row, struct weir_shm_share_row *entry,
                        const struct tables_share *from, char *text, size_t text_bytes)
{
    for (size_t i = 0; i < from->limit->share_cnt; i++) {
        const struct weir_config_share *s = &from->limit->share[i];
        uint64_t units = units_of(row, from, WEIR_PRIORITY_BACKGROUND) * s->part_ppm / WHOLE_PPM;
        struct weir_shm_share_row *e = &entry[row->share_cnt];
        char what[96];
        if (units < from->dearest) {
            if (*s->client != '\0') {
                (void)snprintf(what, sizeof what, "the share of client %s", s->client);
            } else {
                (void)snprintf(what, sizeof what, "the share of uid %u", (unsigned)s->uid);
            }
            return refuse(row, what, units, from, text, text_bytes);
        }
        *e = (struct weir_shm_share_row){.kind = *s->client != '\0' ? WEIR_SHARE_CLIENT
                                                                    : WEIR_SHARE_UID,
                                         .part_ppm = (uint32_t)s->part_ppm,
                                         .uid = (uint32_t)s->uid};
        (void)snprintf(e->name, sizeof e->name, "%.31s", s->client);
        row->share_cnt++;
    }
    return WEIR_OK;
}

int tables_share_rows(struct weir_shm_limit_row *row, struct weir_shm_share_row *entry,
                      const struct tables_share *from, char *text, size_t text_bytes)
{
    uint32_t cnt = tables_share_cnt(from->limit);
    uint64_t lowest = units_of(row, from, WEIR_PRIORITY_BACKGROUND);
    if (cnt == 0) {
        return WEIR_OK;
    }
    row->share_off_bytes = (uint32_t)((const char *)entry - (const char *)row);
    row->share_min = from->dearest;
    int rc = floors_fill(row, entry, from, text, text_bytes);
    rc = rc == WEIR_OK ? clients_fill(row, entry, from, text, text_bytes) : rc;
    if (rc != WEIR_OK) {
        return rc;
    }
    /* An idle share of a bucket keeps one call; what others may borrow is what is left then. */
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET && lowest < ((uint64_t)cnt + 1) * from->dearest) {
        (void)snprintf(text, text_bytes,
                       "limit %s: burst %u leaves %llu units to the lowest class, and each of its "
                       "%u shares and floors keeps one call of up to %u: raise burst",
                       row->name, row->quota, (unsigned long long)lowest, cnt, from->dearest);
        return WEIR_E_ARGUMENT;
    }
    return WEIR_OK;
}
