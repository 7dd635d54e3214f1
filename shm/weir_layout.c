#include "weir_layout.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

/* A line has one writer, so whatever starts a line must stay at one. The offsets of single fields are pinned by the golden file. */
#define WHOLE_LINES(type) \
    static_assert(sizeof(struct type) % WEIR_LINE_BYTES == 0, #type " fills whole lines")
WHOLE_LINES(weir_shm_header);
WHOLE_LINES(weir_shm_gate);
WHOLE_LINES(weir_shm_supervisor);
WHOLE_LINES(weir_shm_worker);
WHOLE_LINES(weir_shm_clock);
WHOLE_LINES(weir_shm_need_wakeup);
WHOLE_LINES(weir_shm_block);
WHOLE_LINES(weir_shm_provider);
WHOLE_LINES(weir_shm_limit_stats);
WHOLE_LINES(weir_shm_route_stats);
WHOLE_LINES(weir_shm_endpoint);
WHOLE_LINES(weir_shm_client);
WHOLE_LINES(weir_shm_tables);
WHOLE_LINES(weir_shm_provider_row);
WHOLE_LINES(weir_shm_limit_row);
WHOLE_LINES(weir_shm_route_row);
WHOLE_LINES(weir_shm_endpoint_row);
WHOLE_LINES(weir_shm_limit_word);
WHOLE_LINES(weir_shm_pause);
WHOLE_LINES(weir_shm_wake);
WHOLE_LINES(weir_shm_meter_head);
WHOLE_LINES(weir_shm_slot);
WHOLE_LINES(weir_shm_ledger);
WHOLE_LINES(weir_shm_backoff);
static_assert(sizeof(struct weir_shm_request) == WEIR_LINE_BYTES, "a request is one line");
static_assert(sizeof(struct weir_shm_response) == WEIR_LINE_BYTES, "a response is one line");
static_assert(offsetof(struct weir_shm_provider, throttled) == WEIR_LINE_BYTES,
              "line 0 is the permit's");
static_assert(offsetof(struct weir_shm_wake, submitted) % WEIR_LINE_BYTES == 0,
              "a line of its own");
static_assert(offsetof(struct weir_shm_slot, request) == WEIR_LINE_BYTES, "line 1 is the client's");
static_assert(offsetof(struct weir_shm_slot, response) == 2 * WEIR_LINE_BYTES,
              "line 2 is the worker's");
static_assert(offsetof(struct weir_shm_limit_row, name) == 2 * WEIR_LINE_BYTES,
              "lines 0 and 1 are the permit's");
static_assert(offsetof(struct weir_shm_route_row, name) == WEIR_LINE_BYTES,
              "line 0 is the permit's");
static_assert(sizeof(struct weir_server_clock) == WEIR_SERVER_CLOCK_WORDS * 8,
              "the latch copies whole words");
static_assert(sizeof(struct weir_clock_anchor) == WEIR_CLOCK_ANCHOR_WORDS * 8,
              "the latch copies whole words");

#define T(type)                           \
    {                                     \
#type, "", 0, sizeof(struct type) \
    }
#define F(type, field)                                                                 \
    {                                                                                  \
#type, #field, offsetof(struct type, field), sizeof(((struct type *)0)->field) \
    }

const struct weir_layout_field weir_layout_fields[] = {
    T(weir_shm_section),
    F(weir_shm_section, kind),
    F(weir_shm_section, cnt),
    F(weir_shm_section, stride_bytes),
    F(weir_shm_section, off_bytes),
    T(weir_shm_header),
    F(weir_shm_header, magic),
    F(weir_shm_header, abi_major),
    F(weir_shm_header, abi_minor),
    F(weir_shm_header, layout_hash),
    F(weir_shm_header, broker_id),
    F(weir_shm_header, segment_kind),
    F(weir_shm_header, section_cnt),
    F(weir_shm_header, segment_bytes),
    F(weir_shm_header, created_utc_ns),
    F(weir_shm_header, name),
    F(weir_shm_header, reserved),
    F(weir_shm_header, section),
    T(weir_shm_gate),
    F(weir_shm_gate, lease_until_ns),
    F(weir_shm_gate, tables),
    F(weir_shm_gate, block_all),
    F(weir_shm_gate, incarnation),
    F(weir_shm_gate, reserved),
    T(weir_shm_supervisor),
    F(weir_shm_supervisor, heartbeat_ns),
    F(weir_shm_supervisor, started_ns),
    F(weir_shm_supervisor, pid),
    F(weir_shm_supervisor, worker_restarts),
    F(weir_shm_supervisor, worker_died_ns),
    F(weir_shm_supervisor, reserved),
    T(weir_shm_worker),
    F(weir_shm_worker, heartbeat_ns),
    F(weir_shm_worker, started_ns),
    F(weir_shm_worker, pid),
    F(weir_shm_worker, in_flight),
    F(weir_shm_worker, loop_cycle_max_ns),
    F(weir_shm_worker, loop_cycles),
    F(weir_shm_worker, wakes),
    F(weir_shm_worker, ring_taken),
    F(weir_shm_worker, ring_dropped),
    F(weir_shm_worker, ring_repaired),
    F(weir_shm_worker, swept),
    F(weir_shm_worker, limit_damaged),
    F(weir_shm_worker, client_reaped),
    F(weir_shm_worker, slot_reaped),
    F(weir_shm_worker, permit_reports),
    F(weir_shm_worker, limit_view_ns),
    F(weir_shm_worker, reserved),
    T(weir_shm_need_wakeup),
    F(weir_shm_need_wakeup, word),
    F(weir_shm_need_wakeup, reserved),
    T(weir_shm_block),
    F(weir_shm_block, client),
    T(weir_shm_provider),
    F(weir_shm_provider, clock_seq),
    F(weir_shm_provider, clock),
    F(weir_shm_provider, pause),
    F(weir_shm_provider, clock_epoch),
    F(weir_shm_provider, reserved),
    F(weir_shm_provider, throttled),
    F(weir_shm_provider, paused_ns),
    F(weir_shm_provider, clock_samples),
    F(weir_shm_provider, clock_realigned),
    F(weir_shm_provider, traders_pause),
    F(weir_shm_provider, reopen),
    F(weir_shm_provider, backoff_until_ns),
    F(weir_shm_provider, backoff_last_ns),
    F(weir_shm_provider, backoff_steps),
    F(weir_shm_provider, backoff_level),
    F(weir_shm_provider, backoff_cause),
    F(weir_shm_provider, reserved2),
    T(weir_shm_foreign),
    F(weir_shm_foreign, word),
    T(weir_shm_limit_view),
    F(weir_shm_limit_view, word),
    F(weir_shm_limit_view, reserved),
    T(weir_shm_limit_stats),
    F(weir_shm_limit_stats, refused),
    F(weir_shm_limit_stats, damaged),
    F(weir_shm_limit_stats, units_reaped),
    F(weir_shm_limit_stats, reserved),
    T(weir_shm_route_stats),
    F(weir_shm_route_stats, granted),
    F(weir_shm_route_stats, calls),
    F(weir_shm_route_stats, results),
    F(weir_shm_route_stats, statuses),
    F(weir_shm_route_stats, bytes_in),
    F(weir_shm_route_stats, reserved),
    T(weir_shm_endpoint),
    F(weir_shm_endpoint, in_flight),
    F(weir_shm_endpoint, connections),
    F(weir_shm_endpoint, connects),
    F(weir_shm_endpoint, requests),
    F(weir_shm_endpoint, failures),
    F(weir_shm_endpoint, resends_stopped),
    F(weir_shm_endpoint, resolved_at_ns),
    F(weir_shm_endpoint, last_status),
    F(weir_shm_endpoint, address_family),
    F(weir_shm_endpoint, address),
    F(weir_shm_endpoint, reserved),
    F(weir_shm_endpoint, stage),
    T(weir_shm_client),
    F(weir_shm_client, state),
    F(weir_shm_client, pid),
    F(weir_shm_client, uid),
    F(weir_shm_client, role),
    F(weir_shm_client, domain),
    F(weir_shm_client, slot_cnt),
    F(weir_shm_client, arena_bytes),
    F(weir_shm_client, attached_ns),
    F(weir_shm_client, submitted),
    F(weir_shm_client, ended),
    F(weir_shm_client, rejected),
    F(weir_shm_client, forged),
    F(weir_shm_client, granted),
    F(weir_shm_client, in_flight),
    F(weir_shm_client, name),
    F(weir_shm_client, reserved),
    T(weir_shm_tables),
    F(weir_shm_tables, checksum),
    F(weir_shm_tables, generation),
    F(weir_shm_tables, used_bytes),
    F(weir_shm_tables, provider_cnt),
    F(weir_shm_tables, provider_off_bytes),
    F(weir_shm_tables, limit_cnt),
    F(weir_shm_tables, limit_off_bytes),
    F(weir_shm_tables, route_cnt),
    F(weir_shm_tables, route_off_bytes),
    F(weir_shm_tables, endpoint_cnt),
    F(weir_shm_tables, endpoint_off_bytes),
    F(weir_shm_tables, scope_cnt),
    F(weir_shm_tables, scope_off_bytes),
    F(weir_shm_tables, reserved),
    T(weir_shm_provider_row),
    F(weir_shm_provider_row, name),
    F(weir_shm_provider_row, limit_first),
    F(weir_shm_provider_row, limit_cnt),
    F(weir_shm_provider_row, route_first),
    F(weir_shm_provider_row, route_cnt),
    F(weir_shm_provider_row, endpoint_first),
    F(weir_shm_provider_row, endpoint_cnt),
    F(weir_shm_provider_row, jitter_ns),
    F(weir_shm_provider_row, slack_ns),
    F(weir_shm_provider_row, scope_cnt),
    F(weir_shm_provider_row, reopen_lease_ns),
    F(weir_shm_provider_row, reopen_step_ns),
    F(weir_shm_provider_row, reserved),
    T(weir_shm_limit_row),
    F(weir_shm_limit_row, kind),
    F(weir_shm_limit_row, provider),
    F(weir_shm_limit_row, word_first),
    F(weir_shm_limit_row, word_cnt),
    F(weir_shm_limit_row, scope_shift),
    F(weir_shm_limit_row, quota),
    F(weir_shm_limit_row, window_ns),
    F(weir_shm_limit_row, window_inverse),
    F(weir_shm_limit_row, unit_ns),
    F(weir_shm_limit_row, tolerance_ns),
    F(weir_shm_limit_row, release_q64),
    F(weir_shm_limit_row, reserve_min),
    F(weir_shm_limit_row, quota_unaligned),
    F(weir_shm_limit_row, cell_first),
    F(weir_shm_limit_row, cell_stride),
    F(weir_shm_limit_row, cell_cnt),
    F(weir_shm_limit_row, form),
    F(weir_shm_limit_row, span_ns),
    F(weir_shm_limit_row, part_ns),
    F(weir_shm_limit_row, part_inverse),
    F(weir_shm_limit_row, calendar_off_bytes),
    F(weir_shm_limit_row, calendar_cnt),
    F(weir_shm_limit_row, calendar_id),
    F(weir_shm_limit_row, reserved),
    F(weir_shm_limit_row, name),
    F(weir_shm_limit_row, headroom_ppm),
    F(weir_shm_limit_row, scope_kind),
    F(weir_shm_limit_row, rate_window_ns),
    F(weir_shm_limit_row, rate_quota),
    F(weir_shm_limit_row, reserved2),
    F(weir_shm_limit_row, reserved3),
    T(weir_shm_route_row),
    F(weir_shm_route_row, provider),
    F(weir_shm_route_row, limit_cnt),
    F(weir_shm_route_row, limit),
    F(weir_shm_route_row, cost),
    F(weir_shm_route_row, flags),
    F(weir_shm_route_row, method),
    F(weir_shm_route_row, priority),
    F(weir_shm_route_row, response_max_bytes),
    F(weir_shm_route_row, timeout_ns),
    F(weir_shm_route_row, reserved),
    F(weir_shm_route_row, name),
    F(weir_shm_route_row, settle_success),
    F(weir_shm_route_row, settle_failure),
    F(weir_shm_route_row, reserved2),
    F(weir_shm_route_row, age_below_ns),
    F(weir_shm_route_row, age_units),
    F(weir_shm_route_row, age_cnt),
    F(weir_shm_route_row, age_slot),
    F(weir_shm_route_row, reserved3),
    T(weir_shm_endpoint_row),
    F(weir_shm_endpoint_row, name),
    F(weir_shm_endpoint_row, host),
    F(weir_shm_endpoint_row, provider),
    F(weir_shm_endpoint_row, port),
    F(weir_shm_endpoint_row, role),
    F(weir_shm_endpoint_row, connections_max),
    F(weir_shm_endpoint_row, tls),
    F(weir_shm_endpoint_row, weight),
    F(weir_shm_endpoint_row, reserved),
    T(weir_shm_scope_row),
    F(weir_shm_scope_row, name),
    F(weir_shm_scope_row, provider),
    F(weir_shm_scope_row, kind),
    F(weir_shm_scope_row, value),
    F(weir_shm_scope_row, reserved),
    T(weir_shm_limit_word),
    F(weir_shm_limit_word, word),
    F(weir_shm_limit_word, reserved),
    T(weir_shm_pause),
    F(weir_shm_pause, word),
    F(weir_shm_pause, changed),
    F(weir_shm_pause, waiters),
    F(weir_shm_pause, reopen),
    F(weir_shm_pause, reserved),
    T(weir_shm_wake),
    F(weir_shm_wake, done),
    F(weir_shm_wake, completed),
    F(weir_shm_wake, waiters),
    F(weir_shm_wake, fd_armed),
    F(weir_shm_wake, reserved0),
    F(weir_shm_wake, reserved1),
    F(weir_shm_wake, submitted),
    F(weir_shm_wake, reserved2),
    F(weir_shm_wake, reserved3),
    T(weir_shm_meter_head),
    F(weir_shm_meter_head, route_cnt),
    F(weir_shm_meter_head, limit_cnt),
    F(weir_shm_meter_head, settled),
    F(weir_shm_meter_head, contended),
    F(weir_shm_meter_head, rolled_back),
    F(weir_shm_meter_head, reserved),
    T(weir_shm_request),
    F(weir_shm_request, route),
    F(weir_shm_request, priority),
    F(weir_shm_request, method),
    F(weir_shm_request, header_cnt),
    F(weir_shm_request, scope),
    F(weir_shm_request, deadline_ns),
    F(weir_shm_request, submitted_ns),
    F(weir_shm_request, correlation),
    F(weir_shm_request, path_bytes),
    F(weir_shm_request, query_bytes),
    F(weir_shm_request, headers_bytes),
    F(weir_shm_request, body_bytes),
    F(weir_shm_request, unit_cnt),
    F(weir_shm_request, units),
    F(weir_shm_request, reserved),
    T(weir_shm_response),
    F(weir_shm_response, result),
    F(weir_shm_response, status),
    F(weir_shm_response, error),
    F(weir_shm_response, endpoint),
    F(weir_shm_response, denial_reason),
    F(weir_shm_response, denial_limit),
    F(weir_shm_response, denial_earliest_ns),
    F(weir_shm_response, headers_off_bytes),
    F(weir_shm_response, headers_bytes),
    F(weir_shm_response, body_off_bytes),
    F(weir_shm_response, body_bytes),
    F(weir_shm_response, submitted_ns),
    F(weir_shm_response, taken_ns),
    F(weir_shm_response, permitted_ns),
    F(weir_shm_response, sent_ns),
    F(weir_shm_response, first_byte_ns),
    F(weir_shm_response, done_ns),
    F(weir_shm_response, delivered_ns),
    F(weir_shm_response, sends),
    F(weir_shm_response, connects),
    F(weir_shm_response, reserved),
    T(weir_shm_slot),
    F(weir_shm_slot, state),
    F(weir_shm_slot, waiter),
    F(weir_shm_slot, cancel),
    F(weir_shm_slot, reserved),
    F(weir_shm_slot, request),
    F(weir_shm_slot, response),
    T(weir_shm_shadow),
    F(weir_shm_shadow, generation),
    F(weir_shm_shadow, state),
    F(weir_shm_shadow, pool_off_bytes),
    F(weir_shm_shadow, pool_bytes),
    F(weir_shm_shadow, route),
    F(weir_shm_shadow, sends),
    F(weir_shm_shadow, deadline_ns),
    F(weir_shm_shadow, taken_ns),
    F(weir_shm_shadow, sent_ns),
    F(weir_shm_shadow, correlation),
    F(weir_shm_shadow, idempotent),
    F(weir_shm_shadow, reserved),
    T(weir_shm_ledger),
    F(weir_shm_ledger, correlation_next),
    F(weir_shm_ledger, reserved),
    T(weir_shm_backoff),
    F(weir_shm_backoff, until_ns),
    F(weir_shm_backoff, last_ns),
    F(weir_shm_backoff, resumed_ns),
    F(weir_shm_backoff, operator_until_ns),
    F(weir_shm_backoff, steps),
    F(weir_shm_backoff, level),
    F(weir_shm_backoff, cause),
    F(weir_shm_backoff, generation),
    F(weir_shm_backoff, traders_generation),
    F(weir_shm_backoff, reserved),
    T(weir_shm_clock),
    F(weir_shm_clock, seq),
    F(weir_shm_clock, anchor),
    F(weir_shm_clock, reserved),
    T(weir_shm_histogram),
    F(weir_shm_histogram, count),
    T(weir_server_clock),
    F(weir_server_clock, offset_ns),
    F(weir_server_clock, error_ns),
    F(weir_server_clock, sampled_at_ns),
    F(weir_server_clock, drift_ppb),
    F(weir_server_clock, jitter_ns),
    F(weir_server_clock, state),
};

const size_t weir_layout_field_cnt = WEIR_ARRAY_CNT(weir_layout_fields);

uint64_t weir_layout_hash(void)
{
    uint64_t hash = WEIR_ABI_MAJOR;
    for (size_t i = 0; i < weir_layout_field_cnt; i++) {
        const struct weir_layout_field *f = &weir_layout_fields[i];
        const uint32_t where[2] = {f->off_bytes, f->bytes};
        hash = XXH3_64bits_withSeed(f->type, strlen(f->type), hash);
        hash = XXH3_64bits_withSeed(f->field, strlen(f->field), hash);
        hash = XXH3_64bits_withSeed(where, sizeof where, hash);
    }
    return hash;
}

const char *weir_segment_name(uint32_t kind)
{
    static const char *const names[] = {"?",     "board",  "permits", "ring",
                                        "arena", "ledger", "shadow"};
    return kind < WEIR_ARRAY_CNT(names) ? names[kind] : "?";
}

const char *weir_section_name(uint32_t kind)
{
    static const char *const names[] = {
        "-",        "gate",       "supervisor", "worker",     "clock",    "need_wakeup", "block",
        "provider", "foreign",    "limit",      "route",      "endpoint", "ring_head",   "client",
        "tables",   "limit_word", "pause",      "ring",       "wake",     "meter",       "slot",
        "request",  "response",   "shadow",     "limit_view", "ledger",   "cell",
        "backoff"};
    static_assert(WEIR_ARRAY_CNT(names) == WEIR_SECTION_CNT, "one text per kind");
    return kind < WEIR_ARRAY_CNT(names) ? names[kind] : "?";
}
