/*
 * config_doubt.h: the text of a question in `doubt`: literal pieces, and names in braces that stand for what the call bears.
 *
 *   symbol={symbol}&origClientOrderId={id}
 *
 * Literals are plain: letters, digits and -._~=&:/, so that nothing in them is encoded or ends the query. What stands for a name is percent-encoded by
 * whoever fills it in (broker/doubt_rule.c), so that no value is ever taken for two.
 */
#ifndef WEIR_CONFIG_DOUBT_H
#define WEIR_CONFIG_DOUBT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct weir_config_piece {
    const char *at;
    size_t bytes;
    bool is_name; /* stood in braces, which are not in it */
};

/* The piece at `*text`, and `*text` behind it. False: the end, or (**text is not 0) a brace that has no partner, or a name that is empty. */
static inline bool weir_config_piece_next(const char **text, struct weir_config_piece *piece)
{
    const char *at = *text;
    if (*at == '{') {
        size_t bytes = strcspn(at + 1, "{}");
        *piece = (struct weir_config_piece){.at = at + 1, .bytes = bytes, .is_name = true};
        if (bytes == 0 || at[1 + bytes] != '}') {
            return false;
        }
        *text = at + bytes + 2;
        return true;
    }
    *piece = (struct weir_config_piece){.at = at, .bytes = strcspn(at, "{}")};
    *text = at + piece->bytes;
    return piece->bytes > 0;
}

static inline bool weir_config_piece_is_id(const struct weir_config_piece *piece)
{
    return piece->is_name && piece->bytes == 2 && memcmp(piece->at, "id", 2) == 0;
}

#endif
