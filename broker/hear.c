#include "broker/hear.h"

#include "broker/log.h"

#include <stdlib.h>
#include <string.h>

#define BODY_ROOM_BYTES (REPLY_JSON_MAX_BYTES + 1U)

static enum hear_what max_of(enum hear_what a, enum hear_what b)
{
    return a > b ? a : b;
}

enum hear_what hear_wanted(const struct weir_config_provider *provider,
                           const struct weir_config_route *route)
{
    const struct weir_config_throttle *throttle = &provider->throttle;
    enum hear_what what = HEAR_NOTHING;
    if (route == NULL || throttle->body_cnt > 0 || throttle->text.cnt > 0 ||
        *throttle->until_text != '\0') {
        return HEAR_BODY;
    }
    if (*provider->clock.header != '\0' || *throttle->header != '\0') {
        what = HEAR_HEAD;
    }
    for (size_t i = 0; i < provider->feedback_cnt; i++) {
        what = max_of(what, *provider->feedback[i].header != '\0' ? HEAR_HEAD : HEAR_BODY);
    }
    for (size_t i = 0; i < route->settle.counted_cnt; i++) {
        const struct weir_config_counted *c = &route->settle.counted[i];
        what = max_of(what, *c->field != '\0' || *c->list != '\0' ? HEAR_BODY : HEAR_HEAD);
    }
    return *route->settle.ok.field != '\0' ? HEAR_BODY : what;
}

bool hear_reserve(struct hear *hear, enum hear_what what, size_t body_max_bytes)
{
    size_t body_bytes =
        what == HEAR_WHOLE && body_max_bytes > BODY_ROOM_BYTES ? body_max_bytes : BODY_ROOM_BYTES;
    size_t need = what == HEAR_NOTHING ? 0
                  : what == HEAR_HEAD  ? HEAR_HEAD_MAX_BYTES
                                       : HEAR_HEAD_MAX_BYTES + body_bytes;
    if (need > hear->room_bytes) {
        free(hear->at);
        hear->at = malloc(need);
        hear->room_bytes = hear->at != NULL ? need : 0;
        hear->head_bytes = 0;
        hear->body_bytes = 0;
    }
    return need <= hear->room_bytes;
}

void hear_begin(struct hear *hear)
{
    hear->head_bytes = 0;
    hear->body_bytes = 0;
}

void hear_head(struct hear *hear, const char *bytes, size_t cnt)
{
    if (hear->room_bytes >= HEAR_HEAD_MAX_BYTES && cnt <= HEAR_HEAD_MAX_BYTES - hear->head_bytes) {
        memcpy(hear->at + hear->head_bytes, bytes, cnt);
        hear->head_bytes += (uint32_t)cnt;
    }
}

void hear_body(struct hear *hear, const char *bytes, size_t cnt)
{
    size_t room = hear->room_bytes > HEAR_HEAD_MAX_BYTES
                      ? hear->room_bytes - HEAR_HEAD_MAX_BYTES - hear->body_bytes
                      : 0;
    size_t n = cnt < room ? cnt : room;
    if (n > 0) {
        memcpy(hear->at + HEAR_HEAD_MAX_BYTES + hear->body_bytes, bytes, n);
        hear->body_bytes += (uint32_t)n;
    }
}
