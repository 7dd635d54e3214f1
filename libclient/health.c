/* health.c: how well endpoints are, read from the board. */
#include "handle.h"

#include "shm/weir_error.h"
#include "shm/weir_health.h"

#include <string.h>

static int ready(struct weir *w)
{
    if (w == NULL) {
        return WEIR_E_ARGUMENT;
    }
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    return weir_permit_refresh(&w->view);
}

/* The names were written before the board was handed out, or by the worker at its start: a copy that is ended is all that is compared. */
static bool is_named(const struct weir *w, uint32_t index, uint32_t provider, const char *name)
{
    char text[WEIR_NAME_BYTES];
    const struct weir_shm_health *h = &w->board->health[index];
    memcpy(text, h->name, sizeof text);
    text[sizeof text - 1] = '\0';
    return weir_load_relaxed_u32(&h->provider) == provider && /* relaxed: written once */
           strcmp(text, name) == 0;
}

int weir_endpoint_find(struct weir *w, const char *name, uint32_t *out)
{
    int rc = name != NULL && out != NULL ? ready(w) : WEIR_E_ARGUMENT;
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_tables *t = &w->view.tables;
    const char *dot = strchr(name, '.');
    for (uint32_t p = 0; dot != NULL && p < t->provider_cnt; p++) {
        size_t bytes = (size_t)(dot - name);
        if (strlen(t->provider[p].name) != bytes || memcmp(t->provider[p].name, name, bytes) != 0) {
            continue;
        }
        for (uint32_t i = 0; i < w->board->health_cnt; i++) {
            if (is_named(w, i, p, dot + 1)) {
                *out = i;
                return WEIR_OK;
            }
        }
    }
    return WEIR_E_SCOPE_UNKNOWN;
}

int weir_health_get(struct weir *w, uint32_t index, struct weir_endpoint_health *out)
{
    if (w == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (weir_board_left(w)) {
        (void)weir_board_follow(w);
    }
    if (index >= w->board->health_cnt) {
        return WEIR_E_SCOPE_UNKNOWN;
    }
    const struct weir_shm_health *h = &w->board->health[index];
    /* relaxed, all of them: one writer, whole words, nothing else is read by what they say */
    uint64_t breaker = weir_load_relaxed_u64(&h->breaker);
    *out = (struct weir_endpoint_health){
        .score = weir_load_relaxed_u32(&h->score),
        .breaker = (enum weir_breaker_state)weir_breaker_state_of(breaker),
        .cause = (enum weir_call_class)weir_breaker_cause_of(breaker),
        .ejected = (weir_load_relaxed_u32(&h->flags) & WEIR_HEALTH_EJECTED) != 0,
        .breaker_until_ns = weir_breaker_until_ns(breaker),
        .latency_ns = weir_load_relaxed_u64(&h->latency_ns),
        .height = weir_load_relaxed_u64(&h->height),
        .checked_ns = weir_load_relaxed_u64(&h->checked_ns)};
    return WEIR_OK;
}
