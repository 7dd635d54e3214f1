/*
 * tables_share.h: the shares and floors of one limit, from the configuration to rows (shm/weir_share.h).
 */
#ifndef WEIR_BROKER_TABLES_SHARE_H
#define WEIR_BROKER_TABLES_SHARE_H

#include "broker/config/config.h"
#include "shm/weir_layout.h"

/* How many rows a limit has. */
uint32_t tables_share_cnt(const struct weir_config_limit *limit);

/* What the rows of one limit are made of. */
struct tables_share {
    const struct weir_config_limit *limit;
    const uint32_t *headroom; /* [class]: units that stay free for the classes above, at most */
    uint32_t dearest;         /* cost of any route */
};

/*
 * Fill the rows at `entry`, and what `row` says of them; its kind's own fields are filled already. WEIR_E_ARGUMENT with `text` where a part is too small for
 * the calls that it is meant for.
 */
int tables_share_rows(struct weir_shm_limit_row *row, struct weir_shm_share_row *entry,
                      const struct tables_share *from, char *text, size_t text_bytes);

#endif
