/*
 * fixture.h: a broker's memory without a broker, for tests of the permit path.
 *
 * One shared anonymous mapping holds what board, permits and ledger would hold, so it also serves tests that fork. Time stands still
 * until fixture_time_set moves it: the view's clock is given an anchor of rate 0, so weir_clock_now runs as in production.
 */
#ifndef WEIR_TESTS_FIXTURE_H
#define WEIR_TESTS_FIXTURE_H

#include "weir_limit_repair.h"
#include "weir_permit.h"

#define FIXTURE_LIMITS 8U
#define FIXTURE_ROUTES 8U
#define FIXTURE_WORDS  16U
#define FIXTURE_CELLS  1024U
#define FIXTURE_SHARES 6U

struct fixture_limit {
    uint32_t kind; /* enum weir_limit_kind */
    uint32_t quota;
    uint64_t window_ns;
    uint32_t headroom_ppm[WEIR_PRIORITY_CNT]; /* what each class keeps from those below it */
    uint32_t dearest;                         /* of critical calls; 0 = 1 */
    uint32_t scopes;                          /* instrument values; 0 = 1 */
    uint32_t form;         /* of a sliding window: enum weir_limit_form; 0 = cells */
    uint64_t rest_ns;      /* concurrency */
    uint64_t orphan_ns;    /* ... of dead owners; 0: as any */
    uint64_t step_ns;      /* token_bucket: the server decays in steps */
    uint32_t ceiling_step; /* 0: no journal */
    uint32_t ceiling_ahead;
    uint32_t share_cnt;
    struct weir_shm_share_row share[FIXTURE_SHARES];
};

struct fixture_route {
    uint32_t limit_cnt;
    uint32_t limit[WEIR_PERMIT_LIMITS_MAX];
    uint32_t cost[WEIR_PERMIT_LIMITS_MAX];
};

struct fixture_spec {
    uint64_t jitter_ns;
    uint64_t slack_ns;
    uint64_t reopen_lease_ns;
    uint64_t reopen_step_ns;
    uint32_t limit_cnt;
    uint32_t route_cnt;
    struct fixture_limit limit[FIXTURE_LIMITS];
    struct fixture_route route[FIXTURE_ROUTES];
};

/* The shared memory. */
struct fixture_memory {
    struct weir_shm_gate gate;
    struct weir_shm_block block;
    struct weir_shm_provider provider;
    struct weir_shm_foreign foreign[FIXTURE_WORDS];
    struct weir_shm_clock clock;
    struct weir_shm_limit_word word[FIXTURE_WORDS] WEIR_ALIGN_LINE;
    struct weir_shm_limit_word own[FIXTURE_WORDS]; /* the ledger's */
    uint64_t cell[FIXTURE_CELLS] WEIR_ALIGN_LINE;
    uint64_t own_cell[FIXTURE_CELLS] WEIR_ALIGN_LINE;
    struct weir_shm_pause pause;
    struct weir_shm_pause own_pause;
    uint8_t tables[16384] WEIR_ALIGN_LINE;
};

struct fixture {
    struct fixture_memory *memory;
    struct fixture_spec spec;
};

/* Fill a limit row's derived fields from what a configuration says. The broker's own policy is broker/tables_build.c. */
void fixture_limit_row(struct weir_shm_limit_row *row, const struct fixture_limit *limit,
                       uint64_t jitter_ns);

/* Map and fill; the server clock is KNOWN, offset 0, error 0; the lease never ends. Aborts where there is no memory. */
void fixture_open(struct fixture *f, const struct fixture_spec *spec);
void fixture_close(struct fixture *f);

/* Write the tables block and name it with `generation`. */
void fixture_tables_publish(struct fixture *f, uint32_t generation);

/* The words of limit `limit`, first scope value: the shared ones, or the ledger's. */
struct weir_limit_place fixture_place(const struct fixture *f, const struct weir_permit_view *view,
                                      uint32_t limit, bool own);

/* A thread's view; time stands at `now_ns`. */
void fixture_view(const struct fixture *f, struct weir_permit_view *view, uint64_t now_ns);
void fixture_time_set(struct weir_permit_view *view, uint64_t now_ns);

/* The view is that of a client of this name and user, which may have shares. */
void fixture_self(struct weir_permit_view *view, const char *name, uint32_t uid);

/* Publish the provider's clock. */
void fixture_server_clock(const struct fixture *f, const struct weir_server_clock *clock);

/* splitmix64: small, seedable, good enough for schedules. */
uint64_t fixture_random(uint64_t *state);
uint64_t fixture_random_below(uint64_t *state, uint64_t n);

#endif
