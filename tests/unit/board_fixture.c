#include "board_fixture.h"

#include "audit.h"
#include "board.h"
#include "show_limits.h"
#include "show_stat.h"
#include "weir_cache.h"
#include "weir_ring.h"

#include <stdlib.h>
#include <string.h>

enum {
    PROVIDERS = 1,
    LIMITS = 3,
    ROUTES = 3,
    ENDPOINTS = 2,
    SCOPES = 2,
    WORDS = 4,
    RECORDS = 8,
    HEADS = 64,
    CACHE_BYTES = 8192
};

struct block {
    struct weir_shm_tables head;
    struct weir_shm_provider_row provider[PROVIDERS];
    struct weir_shm_limit_row limit[LIMITS];
    struct weir_shm_route_row route[ROUTES];
    struct weir_shm_endpoint_row endpoint[ENDPOINTS];
    struct weir_shm_scope_row scope[SCOPES];
};

/* struct block fills whole lines, because its first member does */
#define BLOCK_BYTES sizeof(struct block)

static const struct weir_segment_part parts[] = {
    {WEIR_SECTION_GATE, 1, sizeof(struct weir_shm_gate)},
    {WEIR_SECTION_SUPERVISOR, 1, sizeof(struct weir_shm_supervisor)},
    {WEIR_SECTION_WORKER, 1, sizeof(struct weir_shm_worker)},
    {WEIR_SECTION_CLOCK, 1, sizeof(struct weir_shm_clock)},
    {WEIR_SECTION_NEED_WAKEUP, 1, sizeof(struct weir_shm_need_wakeup)},
    {WEIR_SECTION_BLOCK, 1, sizeof(struct weir_shm_block)},
    {WEIR_SECTION_PROVIDER, PROVIDERS, sizeof(struct weir_shm_provider)},
    {WEIR_SECTION_FOREIGN, WORDS, sizeof(struct weir_shm_foreign)},
    {WEIR_SECTION_LIMIT, LIMITS, sizeof(struct weir_shm_limit_stats)},
    {WEIR_SECTION_ROUTE, ROUTES, sizeof(struct weir_shm_route_stats)},
    {WEIR_SECTION_ENDPOINT, ENDPOINTS, sizeof(struct weir_shm_endpoint)},
    {WEIR_SECTION_RING_HEAD, 5, sizeof(struct weir_shm_ring_head)},
    {WEIR_SECTION_CLIENT, 8, sizeof(struct weir_shm_client)},
    {WEIR_SECTION_TABLES, 2, BLOCK_BYTES},
    {WEIR_SECTION_LIMIT_VIEW, WORDS, sizeof(struct weir_shm_limit_view)},
    {WEIR_SECTION_CLIENT_USE, 8 * LIMITS, sizeof(struct weir_shm_client_use)},
    {WEIR_SECTION_PACE, WORDS, sizeof(struct weir_shm_pace)},
    {WEIR_SECTION_TRIAL, 1, sizeof(struct weir_shm_trial)},
    {WEIR_SECTION_TRIAL_LIMIT, 1, sizeof(struct weir_shm_trial_limit)},
    {WEIR_SECTION_AUDIT, 1, sizeof(struct weir_shm_audit)},
    {WEIR_SECTION_AUDIT_RECORD, RECORDS, sizeof(struct weir_shm_audit_record)},
    {WEIR_SECTION_CACHE, 1, sizeof(struct weir_shm_cache)},
    {WEIR_SECTION_CACHE_ROUTE, ROUTES, sizeof(struct weir_shm_cache_route)},
    {WEIR_SECTION_CACHE_HEAD, HEADS, sizeof(struct weir_shm_cache_head)},
    {WEIR_SECTION_CACHE_DATA, 1, CACHE_BYTES},
};

static void *section(struct weir_segment *s, enum weir_section_kind kind)
{
    return weir_segment_section(s, kind, 1, NULL, NULL);
}

static void limit_fill(struct weir_shm_limit_row *row, const char *name, uint32_t kind,
                       uint32_t quota, uint64_t window_ns, uint32_t first, uint32_t cnt,
                       uint32_t scope_kind)
{
    *row = (struct weir_shm_limit_row){.kind = kind,
                                       .word_first = first,
                                       .word_cnt = cnt,
                                       .scope_shift = 16 * scope_kind,
                                       .quota = quota,
                                       .window_ns = window_ns,
                                       .window_inverse = weir_window_inverse(window_ns),
                                       .unit_ns = window_ns / quota,
                                       .quota_unaligned = quota / 3,
                                       .scope_kind = scope_kind,
                                       .rate_window_ns = window_ns,
                                       .rate_quota = quota};
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        row->tolerance_ns[p] = window_ns - window_ns / 20 * p;
        row->reserve_min[p] = quota / 20 * p;
        row->headroom_ppm[p] = 50000 * p;
    }
    (void)snprintf(row->name, sizeof row->name, "%s", name);
}

static void route_fill(struct weir_shm_route_row *row, const char *name, uint32_t method,
                       uint32_t priority, uint32_t weight, uint32_t orders)
{
    *row = (struct weir_shm_route_row){
        .limit_cnt = orders > 0 ? 2 : 1,
        .limit = {0, 1},
        .cost = {weight, orders},
        .flags = WEIR_ROUTE_NEEDS_CLOCK | (method == WEIR_METHOD_GET ? WEIR_ROUTE_IDEMPOTENT : 0U),
        .method = method,
        .priority = priority,
        .response_max_bytes = 1 << 20,
        .timeout_ns = 2 * WEIR_NS_PER_S};
    (void)snprintf(row->name, sizeof row->name, "%s", name);
}

static void tables_fill(struct block *b)
{
    b->head = (struct weir_shm_tables){
        .generation = 1,
        .used_bytes = sizeof *b,
        .provider_cnt = PROVIDERS,
        .provider_off_bytes = offsetof(struct block, provider),
        .limit_cnt = LIMITS,
        .limit_off_bytes = offsetof(struct block, limit),
        .route_cnt = ROUTES,
        .route_off_bytes = offsetof(struct block, route),
        .endpoint_cnt = ENDPOINTS,
        .endpoint_off_bytes = offsetof(struct block, endpoint),
        .scope_cnt = SCOPES,
        .scope_off_bytes = offsetof(struct block, scope),
        .member_off_bytes = offsetof(struct block, scope),
    };
    b->provider[0] = (struct weir_shm_provider_row){.name = "binance",
                                                    .limit_cnt = LIMITS,
                                                    .route_cnt = ROUTES,
                                                    .endpoint_cnt = ENDPOINTS,
                                                    .scope_cnt = {1, 1, 2, 1}};
    limit_fill(&b->limit[0], "weight_1m", WEIR_LIMIT_FIXED_WINDOW, 6000, 60 * WEIR_NS_PER_S, 0, 1,
               WEIR_SCOPE_IP);
    limit_fill(&b->limit[1], "orders_10s", WEIR_LIMIT_FIXED_WINDOW, 100, 10 * WEIR_NS_PER_S, 1, 2,
               WEIR_SCOPE_ACCOUNT);
    limit_fill(&b->limit[2], "burst", WEIR_LIMIT_TOKEN_BUCKET, 50, WEIR_NS_PER_S, 3, 1,
               WEIR_SCOPE_KEY);
    route_fill(&b->route[0], "depth", WEIR_METHOD_GET, WEIR_PRIORITY_MEDIUM, 5, 0);
    b->route[0].flags |= WEIR_ROUTE_CACHED;
    route_fill(&b->route[1], "order", WEIR_METHOD_POST, WEIR_PRIORITY_CRITICAL, 1, 1);
    route_fill(&b->route[2], "ticker_own", WEIR_METHOD_UNSET, WEIR_PRIORITY_LOW, 2, 0);
    b->route[2].flags |= WEIR_ROUTE_OWN_TRANSPORT;
    b->endpoint[0] = (struct weir_shm_endpoint_row){
        .name = "api", .host = "api.binance.com", .port = 443, .connections_max = 20, .tls = 1};
    b->endpoint[1] = (struct weir_shm_endpoint_row){
        .name = "api1", .host = "api1.binance.com", .port = 443, .role = 2, .connections_max = 5};
    b->scope[0] = (struct weir_shm_scope_row){.name = "main", .kind = WEIR_SCOPE_ACCOUNT};
    b->scope[1] =
        (struct weir_shm_scope_row){.name = "hedge", .kind = WEIR_SCOPE_ACCOUNT, .value = 1};
    b->head.checksum = weir_tables_checksum(&b->head);
}

static void processes_fill(struct weir_segment *s)
{
    struct weir_shm_gate *gate = section(s, WEIR_SECTION_GATE);
    struct weir_shm_supervisor *supervisor = section(s, WEIR_SECTION_SUPERVISOR);
    struct weir_shm_worker *worker = section(s, WEIR_SECTION_WORKER);
    *gate = (struct weir_shm_gate){.lease_until_ns = FIXTURE_NOW_NS + 4200 * WEIR_NS_PER_MS,
                                   .tables = UINT64_C(1) << 32 | 1U,
                                   .incarnation = 3};
    *supervisor =
        (struct weir_shm_supervisor){.heartbeat_ns = FIXTURE_NOW_NS - 200 * WEIR_NS_PER_MS,
                                     .started_ns = FIXTURE_NOW_NS - 11520 * WEIR_NS_PER_S,
                                     .pid = 4121,
                                     .worker_restarts = 2,
                                     .worker_died_ns = FIXTURE_NOW_NS - 600 * WEIR_NS_PER_S};
    *worker = (struct weir_shm_worker){.heartbeat_ns = FIXTURE_NOW_NS,
                                       .started_ns = FIXTURE_NOW_NS - 599 * WEIR_NS_PER_S,
                                       .pid = 4200,
                                       .in_flight = 3,
                                       .loop_cycle_max_ns = 1240000,
                                       .loop_cycles = 123456,
                                       .wakes = 7890,
                                       .ring_taken = 5000,
                                       .limit_view_ns = FIXTURE_NOW_NS - 4 * WEIR_NS_PER_MS};
}

static void provider_fill(struct weir_segment *s)
{
    struct weir_shm_provider *p = section(s, WEIR_SECTION_PROVIDER);
    const struct weir_server_clock clock = {.offset_ns = INT64_C(1700000000) * 1000000000,
                                            .error_ns = 1840000,
                                            .sampled_at_ns = FIXTURE_NOW_NS - 2 * WEIR_NS_PER_S,
                                            .drift_ppb = 20000,
                                            .jitter_ns = 50 * WEIR_NS_PER_MS,
                                            .state = WEIR_CLOCK_KNOWN};
    weir_latch_write(&p->clock_seq, p->clock, (const uint64_t *)&clock, WEIR_SERVER_CLOCK_WORDS);
    p->throttled = 2;
    p->paused_ns = 3 * WEIR_NS_PER_S;
    p->clock_samples = 17;
    uint64_t server_ns = FIXTURE_NOW_NS + (uint64_t)clock.offset_ns;
    struct weir_shm_limit_view *view = section(s, WEIR_SECTION_LIMIT_VIEW);
    uint32_t minute = (uint32_t)(server_ns / (60 * WEIR_NS_PER_S));
    uint32_t ten = (uint32_t)(server_ns / (10 * WEIR_NS_PER_S));
    view[0].word[minute & 1] = weir_window_word(minute, 1234);
    view[1].word[ten & 1] = weir_window_word(ten, 40);
    view[2].word[ten & 1] = weir_window_word(ten, 7);
    view[3].word[0] = FIXTURE_NOW_NS + WEIR_NS_PER_S / 2;
    struct weir_shm_foreign *foreign = section(s, WEIR_SECTION_FOREIGN);
    foreign[0].word[minute & 1] = weir_window_word(minute, 66);
    struct weir_shm_pace *pace = section(s, WEIR_SECTION_PACE);
    pace[0] = (struct weir_shm_pace){.short_micro = 95200000,
                                     .window_micro = 60000000,
                                     .since_ns = FIXTURE_NOW_NS - 500 * WEIR_NS_PER_S};
    pace[3] = (struct weir_shm_pace){.short_micro = 2500000,
                                     .since_ns = FIXTURE_NOW_NS - 4 * WEIR_NS_PER_S};
}

static void trial_fill(struct weir_segment *s)
{
    struct weir_shm_trial *head = section(s, WEIR_SECTION_TRIAL);
    struct weir_shm_trial_limit *limit = section(s, WEIR_SECTION_TRIAL_LIMIT);
    *head = (struct weir_shm_trial){.file = "/etc/weir/next.yaml",
                                    .since_ns = FIXTURE_NOW_NS - 90 * WEIR_NS_PER_S,
                                    .exact = 100,
                                    .exact_refused = 3};
    *limit = (struct weir_shm_trial_limit){.exact_refused = {0, 0, 3},
                                           .window_ns = 60 * WEIR_NS_PER_S,
                                           .provider = "binance",
                                           .name = "weight_1m",
                                           .kind = WEIR_LIMIT_FIXED_WINDOW,
                                           .rate_quota = 3000,
                                           .quota = 3000};
}

/* One record of each kind, and so many before that the first is overwritten. */
static void audit_fill(struct weir_segment *s)
{
    struct weir_shm_audit *head = section(s, WEIR_SECTION_AUDIT);
    struct weir_shm_audit_record *record = section(s, WEIR_SECTION_AUDIT_RECORD);
    *head = (struct weir_shm_audit){.begun = RECORDS + 1,
                                    .written = RECORDS + 1,
                                    .utc_offset_ns = INT64_C(1700000000000000000)};
    for (uint64_t n = 2; n <= RECORDS + 1; n++) {
        record[(n - 1) % RECORDS] = (struct weir_shm_audit_record){
            .number = n,
            .at_ns = FIXTURE_NOW_NS - (RECORDS + 1 - n) * WEIR_NS_PER_S,
            .granted_at_ns = FIXTURE_NOW_NS - 9 * WEIR_NS_PER_S,
            .scope = UINT64_C(1) << 16 * WEIR_SCOPE_ACCOUNT,
            .units = {1, -1},
            .name = "maker-btc",
            .route = 1,
            .generation = 1,
            .kind = (uint8_t)(n - 1),
            .priority = WEIR_PRIORITY_HIGH,
            .unit_cnt = 2,
            .reporter = WEIR_AUDIT_BY_TRADER,
            .uid = 1000,
            .pid = 5001,
            .life = 2,
            .count = 12,
            .detail = n - 1 == WEIR_AUDIT_REFUSED ? 1 : 200U << 16 | WEIR_RESULT_DONE};
    }
}

static void counters_fill(struct weir_segment *s)
{
    struct weir_shm_limit_stats *limit = section(s, WEIR_SECTION_LIMIT);
    struct weir_shm_route_stats *route = section(s, WEIR_SECTION_ROUTE);
    struct weir_shm_endpoint *endpoint = section(s, WEIR_SECTION_ENDPOINT);
    struct weir_shm_client *client = section(s, WEIR_SECTION_CLIENT);
    struct weir_shm_client_use *use = section(s, WEIR_SECTION_CLIENT_USE);
    use[0] = (struct weir_shm_client_use){.traded = 3200,
                                          .brokered = 800,
                                          .recent = 1234,
                                          .recent_from_ns = FIXTURE_NOW_NS - WEIR_NS_PER_S};
    limit[0].refused[WEIR_PRIORITY_LOW] = 12;
    route[0].granted[WEIR_PRIORITY_MEDIUM] = 4000;
    route[0].calls = 3900;
    route[0].results[WEIR_RESULT_DONE] = 3890;
    route[0].results[WEIR_RESULT_REFUSED] = 10;
    route[0].statuses[2] = 3888;
    route[0].statuses[4] = 2;
    endpoint[0] = (struct weir_shm_endpoint){
        .in_flight = 3, .connections = 8, .requests = 3890, .last_status = 200};
    (void)snprintf(endpoint[0].address, sizeof endpoint[0].address, "203.0.113.7");
    for (uint64_t i = 0; i < 1000; i++) {
        weir_histogram_add(&endpoint[0].stage[WEIR_STAGE_SERVER], 2 * WEIR_NS_PER_MS + i * 9000);
        weir_histogram_add(&endpoint[0].stage[WEIR_STAGE_TOTAL], 3 * WEIR_NS_PER_MS + i * 9000);
    }
    client[0] = (struct weir_shm_client){.state = WEIR_CLIENT_LIVE,
                                         .pid = 5001,
                                         .uid = 1000,
                                         .role = WEIR_ROLE_TRADER,
                                         .slot_cnt = 64,
                                         .attached_ns = FIXTURE_NOW_NS - 60 * WEIR_NS_PER_S,
                                         .submitted = 3900,
                                         .ended = 3897,
                                         .granted = 100,
                                         .in_flight = 3,
                                         .name = "maker-btc"};
}

/* Two answers of "depth"; the fuzzer's look asks for both. */
static const struct weir_cache_key cache_keys[] = {{{1, 0}}, {{2, 8}}};

static void cache_fill(struct weir_segment *s)
{
    struct weir_shm_cache *cache = section(s, WEIR_SECTION_CACHE);
    struct weir_shm_cache_route *route = section(s, WEIR_SECTION_CACHE_ROUTE);
    struct weir_shm_cache_head *head = section(s, WEIR_SECTION_CACHE_HEAD);
    *cache = (struct weir_shm_cache){.bytes = CACHE_BYTES,
                                     .answer_max_bytes = CACHE_BYTES / 4,
                                     .answers = 2,
                                     .answers_bytes = 512};
    route[0] = (struct weir_shm_cache_route){
        .hits_client = 70, .hits = 5, .stale = 3, .coalesced = 12, .misses = 10, .stored = 9};
    for (uint32_t i = 0; i < 2; i++) {
        const struct weir_shm_cache_head as = {
            .key = {cache_keys[i].word[0], cache_keys[i].word[1]},
            .filled_ns = FIXTURE_NOW_NS - WEIR_NS_PER_S,
            .fresh_until_ns = FIXTURE_NOW_NS + WEIR_NS_PER_S,
            .stale_until_ns = FIXTURE_NOW_NS + 2 * WEIR_NS_PER_S,
            .data_off_bytes = i * WEIR_CACHE_GRANULE_BYTES,
            .head_bytes = 4,
            .body_bytes = 6,
            .status = 200,
            .source = WEIR_SOURCE_LIVE};
        weir_cache_put(&head[8 * i], section(s, WEIR_SECTION_CACHE_DATA), &as, "head", "a body");
    }
}

/* What a client does with such a board. */
static void cache_look(const struct weir_segment *s)
{
    char to[CACHE_BYTES / 4];
    struct weir_cache_view view;
    struct weir_cache_answer answer;
    uint32_t head_cnt = 0;
    uint32_t data_cnt = 0;
    uint64_t stride = 0;
    uint64_t data_bytes = 0;
    const void *head = weir_segment_section(s, WEIR_SECTION_CACHE_HEAD,
                                            sizeof(struct weir_shm_cache_head), &head_cnt, &stride);
    const void *data = weir_segment_section(s, WEIR_SECTION_CACHE_DATA, 1, &data_cnt, &data_bytes);
    if (stride != sizeof(struct weir_shm_cache_head) ||
        !weir_cache_view_open(&view, head, head_cnt, data, data_cnt > 0 ? data_bytes : 0)) {
        return;
    }
    for (uint32_t i = 0; i < WEIR_ARRAY_CNT(cache_keys); i++) {
        (void)weir_cache_find(&view, &cache_keys[i], FIXTURE_NOW_NS, true, to, sizeof to, &answer);
        (void)weir_cache_find(&view, &cache_keys[i], FIXTURE_NOW_NS, false, to, 7, &answer);
    }
}

unsigned char *board_fixture_make(uint64_t *size)
{
    const struct weir_segment_spec spec = {.kind = WEIR_SEGMENT_BOARD,
                                           .name = "prod",
                                           .broker_id = 77,
                                           .part = parts,
                                           .part_cnt = WEIR_ARRAY_CNT(parts),
                                           .readers_only = true};
    struct weir_segment s;
    if (weir_segment_create(&s, &spec) != WEIR_OK) {
        return NULL;
    }
    char *tables = section(&s, WEIR_SECTION_TABLES);
    tables_fill((void *)(tables + BLOCK_BYTES));
    processes_fill(&s);
    provider_fill(&s);
    counters_fill(&s);
    trial_fill(&s);
    audit_fill(&s);
    cache_fill(&s);
    *size = s.bytes;
    unsigned char *bytes = aligned_alloc(WEIR_LINE_BYTES, s.bytes);
    if (bytes != NULL) {
        memcpy(bytes, s.base, s.bytes);
    }
    weir_segment_unmap(&s);
    return bytes;
}

void board_fixture_seal(unsigned char *bytes, uint64_t size)
{
    struct weir_segment s = {.base = bytes, .bytes = size, .fd = -1, .header = (void *)bytes};
    uint32_t cnt;
    uint64_t stride;
    if (weir_segment_check(bytes, size, WEIR_SEGMENT_BOARD, 0) != WEIR_OK) {
        return;
    }
    const struct weir_shm_gate *gate =
        weir_segment_section(&s, WEIR_SECTION_GATE, sizeof *gate, NULL, NULL);
    char *tables = weir_segment_section(&s, WEIR_SECTION_TABLES, sizeof(struct weir_shm_tables),
                                        &cnt, &stride);
    if (gate == NULL || tables == NULL || (uint32_t)gate->tables >= cnt ||
        stride % WEIR_LINE_BYTES != 0) {
        return;
    }
    struct weir_shm_tables *block = (void *)(tables + (uint32_t)gate->tables * stride);
    if (block->used_bytes >= sizeof *block && block->used_bytes <= stride) {
        block->checksum = weir_tables_checksum(block);
    }
}

static void json_look(json_t *object, FILE *out)
{
    (void)json_dumpf(object, out, JSON_COMPACT);
    json_decref(object);
}

static void audit_look(const struct image *image, FILE *out)
{
    const struct audit_filter filter = {.client = "maker-btc", .limit = "orders_10s"};
    struct audit_view view;
    audit_view_get(image, &view);
    audit_text_title(out);
    for (uint64_t k = view.first; k <= view.last; k++) { /* at most the section's elements */
        struct weir_shm_audit_record r;
        if (audit_record_get(image, &view, k, &r)) {
            (void)audit_matches(image, &filter, &view, &r);
            audit_text(out, image, &view, &r);
            json_look(audit_json(image, &view, &r), out);
        }
    }
    audit_lost_text(out, view.first - 1);
    json_look(audit_lost_json(&view, image->now_ns, view.first - 1), out);
}

/* Every form, of a board that is open; `before` is the turn before it, for the rates. */
static void forms_look(const struct image *image, const struct image *before, FILE *out)
{
    const struct options brief = {.command = "limits"};
    const struct options full = {.command = "limits", .priorities = true, .all = true};
    stat_text(out, image, NULL, &brief);
    stat_text(out, image, before, &brief);
    limits_text(out, image, NULL, &brief);
    limits_text(out, image, before, &full);
    forecast_text(out, image, before, &brief);
    budget_text(out, image, before, &full);
    json_look(forecast_json(image, before, &full), out);
    shadow_text(out, image, before, &brief);
    json_look(shadow_json(image, before, &brief), out);
    by_client_text(out, image, before, &brief);
    json_look(by_client_json(image, before, &full), out);
    audit_look(image, out);
    routes_text(out, image, before, &brief);
    json_look(stat_json(image, before, &brief), out);
    json_look(limits_json(image, before, &full), out);
    json_look(routes_json(image, before, &brief), out);
}

static void health_look(const struct image *image, FILE *out)
{
    struct image_health health;
    char text[FINDING_TEXT_BYTES];
    image_health_get(image, &health);
    (void)image_health_text(&health, text, sizeof text);
    (void)fputs(text, out);
}

int board_fixture_look(const unsigned char *bytes, uint64_t size, FILE *out)
{
    static struct findings findings;
    static struct image image[2];
    findings.cnt = 0;
    for (unsigned i = 0; i < 2; i++) { /* the second as the turn before, for the rates */
        int rc = image_alloc(&image[i], size);
        if (rc != WEIR_OK) {
            return rc;
        }
        memcpy(image[i].bytes, bytes, size);
        image[i].now_ns = FIXTURE_NOW_NS - i * WEIR_NS_PER_S;
        rc = image_open(&image[i], &findings);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    image_check(&image[0], &findings);
    forms_look(&image[0], &image[1], out);
    health_look(&image[0], out);
    cache_look(&image[0].view);
    inspect_dump(out, &image[0], NULL);
    for (size_t k = 0; k < image_section_cnt; k++) {
        inspect_dump(out, &image[0], &image_sections[k]);
    }
    return WEIR_OK;
}

int board_fixture_watch(const unsigned char *bytes, const unsigned char *before, uint64_t size,
                        FILE *out)
{
    static struct findings findings;
    static struct image image[2];
    const unsigned char *const live[2] = {bytes, before};
    for (unsigned i = 0; i < 2; i++) {
        const struct board board = {.live = {.base = (void *)(uintptr_t)live[i],
                                             .bytes = size,
                                             .header = (void *)(uintptr_t)live[i],
                                             .fd = -1},
                                    .socket = -1};
        int rc = board_copy(&board, &image[i], &findings);
        if (rc != WEIR_OK) {
            return rc;
        }
        image[i].now_ns = FIXTURE_NOW_NS - i * WEIR_NS_PER_S; /* ours says nothing here */
    }
    bool same = image[0].view.header->broker_id == image[1].view.header->broker_id;
    forms_look(&image[0], same ? &image[1] : NULL, out);
    health_look(&image[0], out);
    return WEIR_OK;
}
