#include "broker/settle.h"

#include "broker/reply_value.h"

#include <string.h>

bool settle_success(const struct weir_config_settle *config, const struct settle_answer *answer)
{
    if (answer->status / 100 != 2) {
        return false;
    }
    if (*config->ok.field == '\0') {
        return true;
    }
    char buffer[40];
    struct reply_text value;
    json_t *root = reply_json(answer->body, answer->body_bytes);
    bool ok = root != NULL && reply_member(root, config->ok.field, buffer, &value) == REPLY_VALUE &&
              value.bytes == strlen(config->ok.equals) &&
              memcmp(value.at, config->ok.equals, value.bytes) == 0;
    json_decref(root);
    return ok;
}

/* How many entries of the list have a member `item` that equals `equals`. False: there is no such list. */
static bool list_count(const json_t *root, const struct weir_config_counted *c, uint32_t *units)
{
    const json_t *list = reply_at(root, c->list);
    if (!json_is_array(list)) {
        return false;
    }
    size_t cnt = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char buffer[40];
        struct reply_text value;
        cnt += reply_member(json_array_get(list, i), c->item, buffer, &value) == REPLY_VALUE &&
               value.bytes == strlen(c->equals) && memcmp(value.at, c->equals, value.bytes) == 0;
    }
    *units = (uint32_t)(cnt < UINT32_MAX ? cnt : UINT32_MAX);
    return true;
}

/* One number out of the answer. False: it does not say. */
static bool count_one(const struct weir_config_counted *c, const struct settle_answer *answer,
                      const json_t *root, uint32_t *units)
{
    char buffer[40];
    struct reply_text value;
    if (c->per_bytes != 0) {
        uint64_t n = (answer->answer_bytes + c->per_bytes - 1) / c->per_bytes;
        *units = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
        return true;
    }
    if (*c->header != '\0') {
        return reply_header(answer->head, answer->head_bytes, c->header, &value) == REPLY_VALUE &&
               reply_units(value, units, true) == REPLY_VALUE;
    }
    if (*c->list != '\0') {
        return root != NULL && list_count(root, c, units);
    }
    return root != NULL && reply_member(root, c->field, buffer, &value) == REPLY_VALUE &&
           reply_units(value, units, true) == REPLY_VALUE;
}

void settle_counted(const struct weir_config_route *route, const struct settle_answer *answer,
                    struct weir_cost *units)
{
    json_t *root = NULL;
    for (size_t i = 0; i < route->settle.counted_cnt; i++) {
        const struct weir_config_counted *c = &route->settle.counted[i];
        if (root == NULL && (*c->field != '\0' || *c->list != '\0')) {
            root = reply_json(answer->body, answer->body_bytes);
        }
        uint32_t n;
        for (uint32_t slot = 0; slot < route->cost_cnt && slot < units->cnt; slot++) {
            if (route->cost[slot].limit_idx == c->limit_idx && count_one(c, answer, root, &n)) {
                units->units[slot] = n;
            }
        }
    }
    json_decref(root);
}
