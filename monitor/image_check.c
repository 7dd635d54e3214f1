/* image_check.c: the range of every value on a board. What breaks a range is a finding, never a reason to stop. */
#include "show_limits.h"

#include "audit.h"
#include "print.h"
#include "weir_error.h"
#include "weir_health.h"
#include "weir_pause.h"
#include "weir_sign_in.h"

#include <inttypes.h>
#include <string.h>

/* Two processes read clocks on two cores, and an image is not one instant. */
#define SLACK_NS (WEIR_NS_PER_S)

/* Nothing weir writes lies further ahead than this but pauses. */
#define LEASE_MAX_NS (60 * WEIR_NS_PER_S)
#define PAUSE_MAX_NS (31 * 86400 * WEIR_NS_PER_S)

static bool ended(const char *field, size_t bytes)
{
    return memchr(field, '\0', bytes) != NULL;
}

static void past_check(const struct image *image, struct findings *f, const char *what,
                       uint64_t then_ns)
{
    if (then_ns > image->now_ns + SLACK_NS) {
        finding_add(f, "%s = %" PRIu64 " ns lies in the future (now %" PRIu64 ")", what, then_ns,
                    image->now_ns);
    }
}

static void processes_check(const struct image *image, struct findings *f)
{
    struct image_health h;
    image_health_get(image, &h);
    past_check(image, f, "supervisor.heartbeat_ns", h.supervisor.heartbeat_ns);
    past_check(image, f, "supervisor.started_ns", h.supervisor.started_ns);
    past_check(image, f, "supervisor.worker_died_ns", h.supervisor.worker_died_ns);
    past_check(image, f, "worker.heartbeat_ns", h.worker.heartbeat_ns);
    past_check(image, f, "worker.started_ns", h.worker.started_ns);
    past_check(image, f, "worker.limit_view_ns", h.worker.limit_view_ns);
    struct weir_shm_journal j;
    if (image_get(image, WEIR_SECTION_JOURNAL, 0, &j, sizeof j)) {
        past_check(image, f, "journal.written_at_ns", j.written_at_ns);
        if (j.state > WEIR_JOURNAL_STATE_FAILING) {
            finding_add(f, "journal.state = %u (allowed 0..%u)", j.state,
                        WEIR_JOURNAL_STATE_FAILING);
        }
    }
    if (h.gate.lease_until_ns > image->now_ns &&
        h.gate.lease_until_ns - image->now_ns > LEASE_MAX_NS) {
        finding_add(
            f, "gate.lease_until_ns = %" PRIu64 " is further ahead than a lease (now %" PRIu64 ")",
            h.gate.lease_until_ns, image->now_ns);
    }
    if (h.worker.in_flight > WEIR_CLIENTS_MAX * WEIR_SLOTS_MAX) {
        finding_add(f, "worker.in_flight = %u (allowed 0..%u)", h.worker.in_flight,
                    WEIR_CLIENTS_MAX * WEIR_SLOTS_MAX);
    }
}

static void pause_check(const struct image *image, struct findings *f, uint32_t p, const char *what,
                        uint64_t word, uint64_t max_ns)
{
    uint64_t until_ns = weir_pause_until_ns(word);
    if (weir_pause_cause(word) > WEIR_PAUSE_OPERATOR) {
        finding_add(f, "provider[%u].%s: cause %u (allowed 0..%u)", p, what, weir_pause_cause(word),
                    WEIR_PAUSE_OPERATOR);
    }
    bool endless =
        weir_pause_cause(word) == WEIR_PAUSE_OPERATOR && until_ns >= WEIR_PAUSE_UNTIL_MAX_NS;
    if (!endless && until_ns > image->now_ns && until_ns - image->now_ns > max_ns) {
        char far[DURATION_BYTES], most[DURATION_BYTES];
        finding_add(f, "provider[%u].%s: holds %s more (allowed up to %s)", p, what,
                    print_duration(far, until_ns - image->now_ns), print_duration(most, max_ns));
    }
}

static void providers_check(const struct image *image, struct findings *f)
{
    for (uint32_t p = 0; p < image->tables.provider_cnt; p++) {
        struct weir_shm_provider provider;
        struct weir_server_clock clock;
        (void)image_get(image, WEIR_SECTION_PROVIDER, p, &provider, sizeof provider);
        image_server_clock(&provider, &clock);
        if (clock.state > WEIR_CLOCK_CLOSED) {
            finding_add(f, "provider[%u].clock.state = %" PRIu64 " (allowed 0..%u)", p, clock.state,
                        WEIR_CLOCK_CLOSED);
        }
        if (clock.sampled_at_ns > image->now_ns + SLACK_NS) {
            finding_add(f, "provider[%u].clock.sampled_at_ns = %" PRIu64 " lies in the future", p,
                        clock.sampled_at_ns);
        }
        pause_check(image, f, p, "pause", provider.pause, PAUSE_MAX_NS);
        pause_check(image, f, p, "traders_pause", provider.traders_pause, PAUSE_MAX_NS);
    }
}

static void audit_check(const struct image *image, struct findings *f)
{
    struct audit_view v;
    audit_view_get(image, &v);
    if (v.kept && v.head.begun < v.head.written) {
        finding_add(f, "audit.begun = %" PRIu64 " does not go with written = %" PRIu64,
                    v.head.begun, v.head.written);
        return;
    }
    for (uint64_t k = v.first; v.kept && k <= v.last && f->cnt <= FINDINGS_MAX; k++) {
        struct weir_shm_audit_record r;
        if (!audit_record_get(image, &v, k, &r)) {
            finding_add(f, "audit_record[%" PRIu64 "]: bears another number than %" PRIu64,
                        (k - 1) % v.cnt, k);
        } else if (r.kind < WEIR_AUDIT_GRANTED || r.kind > WEIR_AUDIT_WORKER ||
                   r.priority >= WEIR_PRIORITY_CNT || r.unit_cnt > WEIR_PERMIT_LIMITS_MAX) {
            finding_add(f,
                        "audit_record[%" PRIu64 "]: kind %u, priority %u, %u units (allowed "
                        "1..%u, 0..%u, 0..%u)",
                        (k - 1) % v.cnt, r.kind, r.priority, r.unit_cnt, WEIR_AUDIT_WORKER,
                        WEIR_PRIORITY_CNT - 1, WEIR_PERMIT_LIMITS_MAX);
        } else {
            past_check(image, f, "audit_record.at_ns", r.at_ns);
        }
    }
}

static void limit_row_check(const struct image *image, struct findings *f, uint32_t l)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[l];
    char name[TEXT_BYTES];
    (void)PRINT_TEXT(name, row->name);
    if (!limit_row_usable(row)) {
        finding_add(f, "limit[%u] %s: window_inverse is not that of its window (%" PRIu64 " ns)", l,
                    name, row->window_ns);
    }
    if (row->scope_kind != row->scope_shift / 16) {
        finding_add(f, "limit[%u] %s: scope_kind %u but scope_shift %u", l, name, row->scope_kind,
                    row->scope_shift);
    }
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        if (row->headroom_ppm[p] > 1000000U || row->reserve_min[p] > row->quota) {
            finding_add(f, "limit[%u] %s: headroom for %s is above the quota", l, name,
                        weir_priority_name(p));
        }
    }
    if (row->quota_unaligned > row->quota) {
        finding_add(f, "limit[%u] %s: quota_unaligned %u is above the quota %u", l, name,
                    row->quota_unaligned, row->quota);
    }
}

static void limits_check(const struct image *image, struct findings *f)
{
    const struct weir_tables *t = &image->tables;
    uint32_t views = image_cnt(image, WEIR_SECTION_LIMIT_VIEW, sizeof(struct weir_shm_limit_view));
    for (uint32_t l = 0; l < t->limit_cnt; l++) {
        const struct weir_shm_limit_row *row = &t->limit[l];
        limit_row_check(image, f, l);
        for (uint32_t m = 0; m < l; m++) {
            if (row->word_first < t->limit[m].word_first + t->limit[m].word_cnt &&
                t->limit[m].word_first < row->word_first + row->word_cnt) {
                finding_add(f, "limit[%u] and limit[%u] share limit words", m, l);
            }
        }
        if (row->word_cnt > views || row->word_first > views - row->word_cnt) {
            finding_add(f, "limit[%u]: words %u..%u lie outside limit_view (%u)", l,
                        row->word_first, row->word_first + row->word_cnt - 1, views);
            continue;
        }
        for (uint32_t v = 0; v < row->word_cnt && f->cnt <= FINDINGS_MAX; v++) {
            struct weir_limit_state state;
            char scope[TEXT_BYTES];
            if (limit_state(image, l, v, &state) && state.damaged) {
                finding_add(f, "limit[%u] %s: its word is outside the legal range", l,
                            limit_scope(image, l, v, scope));
            }
        }
    }
}

static void routes_check(const struct image *image, struct findings *f)
{
    const struct weir_tables *t = &image->tables;
    const uint32_t flags = WEIR_ROUTE_OWN_TRANSPORT | WEIR_ROUTE_IDEMPOTENT | WEIR_ROUTE_SIGNED |
                           WEIR_ROUTE_NEEDS_CLOCK | WEIR_ROUTE_PATH_REST | WEIR_ROUTE_IN_CELLS |
                           WEIR_ROUTE_SHARED | WEIR_ROUTE_CACHED;
    for (uint32_t r = 0; r < t->route_cnt; r++) {
        const struct weir_shm_route_row *row = &t->route[r];
        if (row->method > WEIR_METHOD_PATCH) {
            finding_add(f, "route[%u]: method %u (allowed 0..%u)", r, row->method,
                        WEIR_METHOD_PATCH);
        }
        if ((row->flags & ~flags) != 0) {
            finding_add(f, "route[%u]: flags 0x%x (known 0x%x)", r, row->flags, flags);
        }
        for (uint32_t i = 0; i < row->limit_cnt; i++) {
            if (row->cost[i] > t->limit[row->limit[i]].quota) {
                finding_add(f, "route[%u]: cost %u is above the quota of limit[%u]", r,
                            row->cost[i], row->limit[i]);
            }
        }
    }
}

static void endpoints_check(const struct image *image, struct findings *f)
{
    for (uint32_t e = 0; e < image->tables.endpoint_cnt; e++) {
        const struct weir_shm_endpoint_row *row = &image->tables.endpoint[e];
        struct weir_shm_endpoint endpoint;
        (void)image_get(image, WEIR_SECTION_ENDPOINT, e, &endpoint, sizeof endpoint);
        if (row->port > UINT16_MAX || row->role > 2) {
            finding_add(f, "endpoint[%u]: port %u, role %u (allowed 0..65535, 0..2)", e, row->port,
                        row->role);
        }
        if (!ended(endpoint.address, sizeof endpoint.address)) {
            finding_add(f, "endpoint[%u].address is not ended", e);
        }
        struct weir_shm_health h = {0};
        (void)image_get(image, WEIR_SECTION_HEALTH, e, &h, sizeof h);
        if (h.score > 1000 || weir_breaker_state_of(h.breaker) > WEIR_BREAKER_HALF_OPEN ||
            !ended(h.name, sizeof h.name)) {
            finding_add(f, "health[%u]: score %u, breaker %u (allowed 0..1000, 0..3)", e, h.score,
                        weir_breaker_state_of(h.breaker));
        }
        if (endpoint.last_status > 999) {
            finding_add(f, "endpoint[%u].last_status = %" PRIu64 " (allowed 0..999)", e,
                        endpoint.last_status);
        }
        for (unsigned s = 0; s < WEIR_STAGE_CNT; s++) {
            const uint32_t *pad = &endpoint.stage[s].count[WEIR_HISTOGRAM_BUCKETS];
            if (pad[0] != 0 || pad[1] != 0) {
                finding_add(f, "endpoint[%u].stage[%u]: counts behind the last bucket", e, s);
            }
        }
    }
}

static void sessions_check(const struct image *image, struct findings *f)
{
    uint32_t cnt = image_cnt(image, WEIR_SECTION_SIGN_IN, sizeof(struct weir_shm_sign_in));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_sign_in s;
        (void)image_get(image, WEIR_SECTION_SIGN_IN, i, &s, sizeof s);
        if (s.state >= WEIR_SIGN_IN_STATE_CNT || s.why >= WEIR_SIGN_IN_WHY_CNT ||
            s.provider >= image->tables.provider_cnt || !ended(s.account, sizeof s.account) ||
            !ended(s.key, sizeof s.key)) {
            finding_add(f,
                        "sign_in[%u]: state %u, why %u, provider %u (allowed 0..%d, 0..%d, 0..%u)",
                        i, s.state, s.why, s.provider, WEIR_SIGN_IN_STATE_CNT - 1,
                        WEIR_SIGN_IN_WHY_CNT - 1, image->tables.provider_cnt - 1);
        }
    }
}

static void clients_check(const struct image *image, struct findings *f)
{
    uint32_t cnt = image_cnt(image, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_shm_client c;
        (void)image_get(image, WEIR_SECTION_CLIENT, i, &c, sizeof c);
        if (c.state > WEIR_CLIENT_GONE) {
            finding_add(f, "client[%u].state = %u (allowed 0..%u)", i, c.state, WEIR_CLIENT_GONE);
        }
        if (c.state == WEIR_CLIENT_FREE) {
            continue;
        }
        if (c.role < WEIR_ROLE_MONITOR || c.role > WEIR_ROLE_TRADER) {
            finding_add(f, "client[%u].role = %u (allowed 1..%u)", i, c.role, WEIR_ROLE_TRADER);
        }
        if (c.domain >= WEIR_DOMAINS_MAX || c.slot_cnt > WEIR_SLOTS_MAX) {
            finding_add(f, "client[%u]: domain %u, slots %u (allowed below %u, up to %u)", i,
                        c.domain, c.slot_cnt, WEIR_DOMAINS_MAX, WEIR_SLOTS_MAX);
        }
        if (!ended(c.name, sizeof c.name)) {
            finding_add(f, "client[%u].name is not ended", i);
        }
        if (c.in_flight > WEIR_SLOTS_MAX) {
            finding_add(f, "client[%u].in_flight = %" PRIu64 " (allowed 0..%u)", i, c.in_flight,
                        WEIR_SLOTS_MAX);
        }
        if (c.attached_ns > image->now_ns + SLACK_NS) {
            finding_add(f, "client[%u].attached_ns = %" PRIu64 " lies in the future", i,
                        c.attached_ns);
        }
    }
}

void image_check(const struct image *image, struct findings *findings)
{
    processes_check(image, findings);
    providers_check(image, findings);
    limits_check(image, findings);
    audit_check(image, findings);
    routes_check(image, findings);
    endpoints_check(image, findings);
    sessions_check(image, findings);
    sessions_check(image, findings);
    clients_check(image, findings);
}
