#include "broker/hush.h"

#include "broker/log.h"

#include <poll.h>

/* It is said once a minute for each domain. */
static void tell(struct worker *w, uint32_t domain, const char *what)
{
    uint64_t *told_ns = &w->hush_told_ns[domain];
    if (*told_ns != 0 && w->now_ns - *told_ns < 60 * WEIR_NS_PER_S) {
        return;
    }
    *told_ns = w->now_ns;
    log_warn(
        "domain_hushed", "s:s, s:s, s:s", "domain", w->config->broker.domain[domain].name, "noise",
        what, "meaning",
        "a client there makes what no libweir makes; the domain's requests wait for up to 10 ms");
}

void hush_dropped(struct worker *w, uint32_t domain)
{
    if (++w->hush_entries[domain] == HUSH_ENTRIES_MAX) {
        w->hush_domains |= 1U << domain;
        tell(w, domain, "ring entries");
    }
}

void hush_rang(struct worker *w, struct client *c)
{
    if (++c->bells_for_nothing == HUSH_BELLS_MAX) {
        c->bell_hushed = true;
        loop_poll_cancel(&w->loop, LOOP_DOORBELL, w->client_life[c->info.index], c->info.index);
        tell(w, c->info.domain, "bells");
    }
}

void hush_tick(struct worker *w)
{
    w->hush_domains = 0;
    for (uint32_t d = 0; d < w->region->domain_cnt; d++) {
        w->hush_entries[d] = 0;
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct client *c = &w->client[i];
        c->bells_for_nothing = 0;
        if (c->live && c->bell_hushed) {
            c->bell_hushed = false;
            loop_poll(&w->loop, LOOP_DOORBELL, w->client_life[i], i, c->info.doorbell_fd, POLLIN,
                      true);
        }
    }
}
