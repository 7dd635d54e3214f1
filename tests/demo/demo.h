/*
 * demo.h: four strategies on one exchange, first each for itself, then through weir.
 *
 * A strategy has wishes: every so often it wants a book, a price, an order, a cancel. The wishes are the same in every mode, and the four
 * together want nearly twice what the exchange allows. What a wish meets on its way is counted here.
 *
 *   demo.c       starts the exchange and the broker, forks the strategies
 *   strategy.c   wishes, and what all modes share
 *   modes.c      the three ways of getting a wish through
 *   transport.c  blocking HTTP by libcurl: a strategy's own transport
 *   report.c     the tables and the verdict
 */
#ifndef WEIR_DEMO_H
#define WEIR_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir.h>

/* As in sim.json and weir.yaml. */
#define DEMO_QUOTA       200
#define DEMO_WINDOW_NS   UINT64_C(2000000000)
#define DEMO_STRATEGIES  4
#define DEMO_SAMPLES_MAX 16384
#define DEMO_PENDING_MAX 256

enum demo_mode {
    DEMO_ALONE,  /* its own limiter in its own process, as bots do it */
    DEMO_PERMIT, /* permits of weir, its own transport */
    DEMO_CALL,   /* hands its calls to the broker */
};

/* In order of priority. */
enum demo_kind { DEMO_CANCEL, DEMO_ORDER, DEMO_TICKER, DEMO_DEPTH };
#define DEMO_KIND_CNT 4

struct demo_kind_row {
    const char *route; /* weir's name */
    const char *method;
    const char *path;
    uint32_t weight;
    uint64_t period_ns;   /* a wish every so often */
    uint64_t patience_ns; /* after that it is of no use */
};
extern const struct demo_kind_row demo_kind_row[DEMO_KIND_CNT];

/* Durations of one sort, in nanoseconds. */
struct demo_samples {
    uint32_t cnt;
    uint64_t ns[DEMO_SAMPLES_MAX];
};
void demo_sample(struct demo_samples *s, uint64_t ns);

/* A permit that was granted, or the span in which a cancel was refused. Weir time. */
struct demo_event {
    uint64_t from_ns, to_ns; /* a grant: both the same */
    uint8_t kind;
    bool refused;
};

/* What one strategy saw; lies in memory that it shares with the driver. */
struct demo_result {
    const char *name;
    enum demo_mode mode;
    bool finished; /* it reached its end by itself */
    char failure[256];
    uint32_t wished, granted, refused, answered, broken;
    uint32_t status_429, status_418;
    uint32_t orders;
    int64_t utc_offset_ns;      /* the exchange's UTC less weir time */
    struct demo_samples permit; /* asking for one, granted or not */
    struct demo_samples call;   /* permit to answer in hand */
    struct demo_samples cancel; /* wish to answer in hand */
    uint32_t event_cnt;
    struct demo_event event[DEMO_SAMPLES_MAX];
};

/* One thing that the strategy wants done. */
struct demo_wish {
    uint8_t kind;
    uint32_t order; /* number of the order to place or to cancel */
    uint64_t due_ns, expires_ns;
    uint64_t refused_ns; /* when it was refused first; 0: never */
    weir_ticket ticket;  /* DEMO_CALL, once it is handed over */
    bool taken_back;     /* DEMO_CALL, after weir_cancel */
};

struct demo_strategy {
    struct demo_result *result;
    const char *url; /* http://host:port */
    unsigned index;
    uint64_t end_ns;                 /* CLOCK_MONOTONIC, which is also weir's timeline */
    uint64_t next_ns[DEMO_KIND_CNT]; /* the next wish of each kind */
    struct demo_wish pending[DEMO_PENDING_MAX];
    uint32_t pending_cnt;
    uint32_t order_last; /* number of the last order made */
    uint32_t live_first; /* orders accepted and not yet cancelled: a queue of numbers */
    uint32_t live_cnt;
    uint32_t live[DEMO_PENDING_MAX];
    struct weir *weir;
    weir_route_id route[DEMO_KIND_CNT];
};

uint64_t demo_now_ns(void);
/* Run until end_ns; the process' whole work. */
void demo_strategy_run(struct demo_strategy *s);

/* For the modes: move wishes that are due into `pending`, drop those that expired. Returns the next instant at which that changes. */
uint64_t demo_wishes(struct demo_strategy *s);
/* The most urgent wish not yet handed over, or NULL. */
struct demo_wish *demo_wish_first(struct demo_strategy *s);
void demo_wish_end(struct demo_strategy *s, struct demo_wish *wish);
void demo_wish_query(struct demo_strategy *s, const struct demo_wish *wish, char *out,
                     size_t bytes);
/* Count an answer; it ends the wish, unless the exchange refused an order or a cancel, which is to be tried again. */
void demo_answered(struct demo_strategy *s, struct demo_wish *wish, uint32_t status);
void demo_event(struct demo_strategy *s, const struct demo_wish *wish, uint64_t from_ns,
                uint64_t to_ns, bool refused);
void demo_sleep_until(uint64_t ns);
void demo_fail(struct demo_strategy *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void demo_mode_alone(struct demo_strategy *s);
void demo_mode_permit(struct demo_strategy *s);
void demo_mode_call(struct demo_strategy *s);

/* transport.c. `body` may be NULL; it is to be freed. Returns the status, 0 when no answer came. */
struct demo_answer {
    uint32_t status;
    uint32_t retry_after_s;
    bool sent; /* false: no connection, so surely nothing reached the exchange */
    char *body;
};
struct demo_answer demo_http(const char *method, const char *url);
/* Before a fork: two processes on one connection would read each other's answers. */
void demo_http_close(void);

/* report.c */
struct demo_exchange {
    double weight_share, orders_share;
    uint32_t weight_highest, orders_highest, windows;
    uint32_t violations, bans, orders_accepted, orders_duplicate;
    double banned_s;
};
bool demo_exchange_read(const char *url, struct demo_exchange *out);
void demo_table(const char *title, struct demo_result *results,
                const struct demo_exchange *exchange);
/* Say whether weir kept its word; returns the number of promises broken. */
int demo_verdict(const struct demo_result *results, const struct demo_exchange *exchange);

#endif
