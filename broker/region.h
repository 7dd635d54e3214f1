/*
 * region.h: all shared memory of one broker, made by the supervisor and inherited by its workers.
 *
 * The pointers lead into the mapped segments. The supervisor fills a region once; each worker gets a copy by fork and with it the one
 * writable mapping of the board that can exist (weir_segment.h).
 */
#ifndef WEIR_BROKER_REGION_H
#define WEIR_BROKER_REGION_H

#include "broker/config/config.h"
#include "shm/weir_cache.h"
#include "shm/weir_health.h"
#include "shm/weir_layout_ledger.h"
#include "shm/weir_permit.h"
#include "shm/weir_ring.h"
#include "shm/weir_segment.h"
#include "shm/weir_sign_in.h"

/* How far ahead the lease is written. A broker that dies stops granting so much later, and its successor waits so long. */
#define LEASE_NS (5 * WEIR_NS_PER_S)

struct cage;
struct dry_run;
struct handover;
struct journal;
struct last_good;
struct sign_in_files;

struct region {
    uint64_t broker_id;
    uint32_t ring_order;
    uint32_t domain_cnt, provider_cnt, limit_cnt, route_cnt, endpoint_cnt, word_cnt, cell_cnt;
    uint32_t
        hold_cnt; /* lines of pauses: the providers', then those of scope values that are held apart */
    uint32_t session_cnt;
    uint32_t group_cnt; /* of routes, over all providers */
    uint32_t audit_cnt; /* records that are kept; 0: no audit */
    uint32_t cache_head_cnt;
    uint64_t cache_bytes; /* of answers; 0: no cache */
    uint64_t cache_answer_max_bytes;
    struct weir_segment board, permits, ledger, ring[WEIR_DOMAINS_MAX];
    /* board */
    struct weir_shm_gate *gate;
    struct weir_shm_supervisor *supervisor;
    struct weir_shm_worker *worker;
    struct weir_shm_clock *clock;
    struct weir_shm_need_wakeup *need_wakeup;
    struct weir_shm_block *block;
    struct weir_shm_provider *provider;
    struct weir_shm_foreign *foreign;
    struct weir_shm_limit_stats *limit_stats;
    struct weir_shm_limit_view *limit_view;
    struct weir_shm_pace *pace;
    struct weir_shm_trial *trial; /* NULL: no shadow configuration */
    struct weir_shm_trial_limit *trial_limit;
    uint32_t trial_limit_cnt;
    struct weir_shm_route_stats *route_stats;
    struct weir_shm_endpoint *endpoint;
    struct weir_shm_health *health;         /* [endpoint], then [endpoint_cnt + group] */
    struct weir_shm_sign_in *sign_in_board; /* NULL: no session is configured */
    struct weir_shm_ring_head *ring_head;   /* [domain * 5 + priority] */
    struct weir_shm_client *client;
    struct weir_shm_journal *journal_board;
    struct weir_shm_client_use *client_use; /* [client * limit_cnt + limit] */
    struct weir_shm_audit *audit;           /* NULL: none is kept */
    struct weir_shm_audit_record *audit_record;
    struct weir_shm_cache *cache; /* NULL: no route keeps answers */
    struct weir_shm_cache_route *cache_route;
    struct weir_shm_cache_head *cache_head; /* [cache_head_cnt] */
    uint64_t *cache_data;
    char *tables;
    uint32_t tables_cnt;
    uint64_t tables_stride_bytes;
    /* permits */
    struct weir_shm_limit_word *word;
    struct weir_shm_pause *pause;
    /* ring */
    char *ring_base[WEIR_DOMAINS_MAX];
    uint64_t ring_stride_bytes;
    /* ledger */
    struct weir_shm_ledger *own;
    struct weir_shm_limit_word *own_word;
    uint64_t *cell;
    uint64_t *own_cell;
    struct weir_shm_backoff *backoff;
    struct weir_shm_breaker *breaker; /* as health */
    struct dry_run
        *shadow; /* the shadow configuration's limits; NULL: none. Owned by the supervisor */
    struct weir_shm_memory *memory;         /* [word] */
    struct weir_shm_audit_ring *audit_ring; /* of what the worker takes itself */
    /* the supervisor's; a worker has its copy by fork. Never NULL once the supervisor runs */
    struct journal *journal;
    struct last_good *last_good;   /* likewise; NULL: no answers are kept on disk */
    struct sign_in_files *sign_in; /* likewise; NULL: no session is configured */
    struct handover *handover;     /* likewise: how a successor comes (handover.h) */
    /* [limit], likewise: when it was counted as spent because nobody knew what was used of it, or (reload.c) its sliding window became longer; 0: never */
    uint64_t guessed_ns[WEIR_LIMITS_MAX];
    struct weir_shm_header
        *known; /* of segments that were taken over (weir_segment_map_spec); NULL: none were */
    /* what its workers go into; NULL: none, in tests that are a worker themselves. Owned by the supervisor */
    const struct cage *cage;
};

/* The descriptors of a broker that is taken over from. The board is not among them: a successor makes its own. */
struct region_fds {
    uint64_t broker_id;
    int permits, ledger;
    int ring[WEIR_DOMAINS_MAX];
    /* its tables in force: after a reload cells lie where they lay, and a block may be larger than the configuration alone asks for (tables_follow.h) */
    const struct weir_shm_tables *tables;
    uint64_t tables_stride_bytes;
};

/*
 * Create every segment that the configuration asks for and publish the first tables. Returns WEIR_OK, or an error with `text` filled in the form
 * "what: value: why: next step". Caller: the supervisor, once.
 */
int region_create(struct region *region, const struct weir_config *config, char *text,
                  size_t text_bytes);

/* As region_create, but permits, ledger and rings are those of `fds`, which the region owns if WEIR_OK is returned. */
int region_adopt(struct region *region, const struct weir_config *config,
                 const struct region_fds *fds, char *text, size_t text_bytes);

void region_destroy(struct region *region);

/* A view for taking permits: from the shared words, or (`own`) from the worker's private account. Caller: worker, tests. */
void region_permit_view(const struct region *region, struct weir_permit_view *view, bool own);

/* One client's private pieces. */
struct arena_spec {
    uint32_t slot_cnt;
    uint32_t request_bytes;
    uint64_t response_bytes;
    uint32_t role; /* only traders write an audit */
};

/* The bytes of an arena of this spec. */
uint64_t arena_bytes(const struct region *region, const struct arena_spec *spec);

/* Create the arena and its shadow. Returns WEIR_OK or an error. Caller: the supervisor. */
int arena_create(const struct region *region, const char *name, const struct arena_spec *spec,
                 struct weir_segment *arena, struct weir_segment *shadow);

/* The bytes of the audit's rings in an arena of this spec: the broker's wish, not the client's. */
uint64_t arena_audit_bytes(const struct region *region, const struct arena_spec *spec);

/* The bytes of one thread's meter. */
uint64_t meter_stride_bytes(const struct region *region);

#endif
