/*
 * config_schema_words.h: how the rows of the schema are written. Only for the files with its tables.
 */
#ifndef WEIR_CONFIG_SCHEMA_WORDS_H
#define WEIR_CONFIG_SCHEMA_WORDS_H

#include "broker/config/config.h"
#include "broker/config/config_check.h"
#include "broker/config/config_schema.h"
#include "shm/weir_base.h"
#include "shm/weir_layout.h"

#define TYPE(name) .type = WEIR_CONFIG_TYPE_##name
#define OF(name)   TYPE(LIST), .item = WEIR_CONFIG_TYPE_##name

/* Where a value goes, and for arrays where their count goes. */
#define AT(owner, member) .offset = offsetof(struct weir_config_##owner, member)
#define ITEMS(owner, member) \
    AT(owner, member), .cnt_offset = offsetof(struct weir_config_##owner, member##_cnt)
#define NTH(type, idx)     .offset = (idx) * sizeof(type)

#define RANGE(low, high)   .min = (low), .max = (high)
#define ENTRIES(low, high) .cnt_min = (low), .cnt_max = (high)
#define CHOICES(...)                              \
    .choice = (const struct weir_config_choice[]) \
    {                                             \
        __VA_ARGS__,                              \
        {                                         \
            .text = NULL                          \
        }                                         \
    }
#define ROWS(rows) .row = (rows), .row_cnt = WEIR_ARRAY_CNT(rows)

#define US         WEIR_NS_PER_US
#define MS         WEIR_NS_PER_MS
#define SEC        WEIR_NS_PER_S
#define MINUTE     (60 * SEC)
#define HOUR       (60 * MINUTE)
#define DAY        (24 * HOUR)
#define KIB        (UINT64_C(1) << 10)
#define MIB        (UINT64_C(1) << 20)
#define GIB        (UINT64_C(1) << 30)
#define WHOLE      WEIR_CONFIG_WHOLE_PPM
#define NAME_RANGE RANGE(1, WEIR_NAME_BYTES - 1)
#define TEXT_RANGE RANGE(1, 255)
#define UNIT_RANGE RANGE(1, INT32_MAX)
#define COST_RANGE RANGE(0, INT32_MAX)
#define ID_RANGE   RANGE(0, UINT32_MAX - 1) /* (uid_t)-1 means "nobody in particular" to the kernel */

#endif
