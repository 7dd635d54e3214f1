/*
 * Every order that the exchange accepted, by client order id: the oracle for
 * "each order exactly once". An order refused by a limit was not accepted and
 * may come again.
 */
#ifndef SIM_ORDER_LOG_H
#define SIM_ORDER_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_ORDER_ID_BYTES = 36, SIM_ORDER_MAX = 1000000, SIM_DUPLICATE_SHOWN_MAX = 100 };

struct sim_order {
    char client_id[SIM_ORDER_ID_BYTES + 1];
    bool cancelled;
    int64_t first_utc_ns;
    int64_t touched_mono_ns; /* placed, or amended last: its age runs from there */
    int64_t times;           /* accepted; more than 1 is a duplicate */
};

struct sim_order_log {
    struct sim_order *list; /* order id = index + 1 */
    size_t cnt;
    size_t max;
    json_t *index_of; /* client order id → index: jansson's hash table */
    json_t *duplicates;
    int64_t accepted_cnt;
    int64_t duplicate_cnt;
};

void sim_order_log_open(struct sim_order_log *log);
void sim_order_log_close(struct sim_order_log *log);

/* Accepts an order; returns its id, or 0 when SIM_ORDER_MAX are kept already
   (it is still counted in accepted_cnt). *TIMES: how often this client id has
   been accepted now. An empty client id stands for a new one made here. */
size_t sim_order_accept(struct sim_order_log *log, const char *client_id, int64_t utc_ns,
                        int64_t *times);

/* Its age runs from NOW. */
void sim_order_touch(struct sim_order_log *log, size_t order_id, int64_t now_mono_ns);

/* In whole milliseconds; -1 when there is no such order, or it is cancelled. */
int64_t sim_order_age_ms(const struct sim_order_log *log, size_t order_id, int64_t now_mono_ns);

/* By client id, or by the exchange's order id when that is NULL; 0 = none. */
size_t sim_order_find(const struct sim_order_log *log, const char *client_id, size_t order_id);

json_t *sim_order_log_json(const struct sim_order_log *log);

#endif
