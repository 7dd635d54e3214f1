/*
 * One call on its way through the simulator, and what its handler may ask of
 * it and answer to it. Only sim_request.c and sim_http.c touch libmicrohttpd.
 */
#ifndef SIM_REQUEST_H
#define SIM_REQUEST_H

#include "sim_exchange.h"
#include "sim_timer.h"

#include <stddef.h>
#include <stdint.h>

struct MHD_Connection;

/* All of the simulator's state. One thread owns it: no locks anywhere. */
struct sim {
    struct sim_config config;
    struct sim_clock clock;
    struct sim_exchange exchange;
    struct sim_faults faults;
    struct sim_timers timers;
    uint64_t random_state;
};

enum { SIM_BODY_MAX_BYTES = 1 << 20 };

struct sim_answer {
    int status;
    const char *type;
    char *body; /* malloc'd; NULL with body_bytes > 0: generated letters */
    uint64_t body_bytes;
    bool chunked;       /* sent without a length */
    const char *cookie; /* of Set-Cookie; NULL: none */
};

struct sim_request {
    struct sim *sim;
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    char *raw_query;  /* as it came, still encoded; NULL where nobody asks */
    bool control;     /* under /sim/: never counted, delayed or spoiled */
    bool counts_body; /* the body says what it costs: counted once that is complete */
    bool counted;
    bool answered; /* `answer` is filled */
    bool cut;      /* ends without an answer: the simulator is stopping */
    bool left;     /* accept_late: its connection is reset already */
    bool failed;   /* whatever the status: the exchange did not do what was asked */
    struct sim_call call;
    struct sim_verdict verdict;
    int64_t report_ago_ns[SIM_LIMIT_MAX]; /* late reports: one instant per limit and answer */
    bool has_fault;
    struct sim_fault fault;
    int64_t count_at_mono_ns;
    int64_t latency_ns;
    int64_t answer_at_mono_ns;
    char *body;
    size_t body_bytes;
    bool body_too_long;
    json_t *json; /* the body, where it is JSON and somebody asked */
    struct sim_answer answer;
};

const char *sim_request_query(const struct sim_request *request, const char *name);
const char *sim_request_header(const struct sim_request *request, const char *name);

/* From the query, else from a form or a JSON object in the body. False: absent,
   or too long for OUT. */
bool sim_request_param(const struct sim_request *request, const char *name, char *out,
                       size_t out_bytes);
bool sim_request_has(const struct sim_request *request, const char *name);

/* Query or headers as an object; a name that comes twice keeps its last value. */
json_t *sim_request_query_json(const struct sim_request *request);
json_t *sim_request_headers_json(const struct sim_request *request);

/* Appends to the body; past SIM_BODY_MAX_BYTES it only notes that. */
void sim_request_body_add(struct sim_request *request, const char *data, size_t data_bytes);

/* Answers. The first takes over BODY, the second the reference to ROOT. */
void sim_answer_text(struct sim_request *request, int status, const char *type, char *body,
                     size_t body_bytes);
void sim_answer_json(struct sim_request *request, int status, json_t *root);

/* An error in Binance's form: {"code": …, "msg": …}. */
void sim_answer_error(struct sim_request *request, int status, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Uniform in [0, 1), seeded. */
double sim_random_draw(struct sim *sim);

/* Fills request->call.asks and splits from what the call says. sim_call.c */
void sim_call_ask(struct sim_request *request);

/* The refusal that the verdict asks for, as the limit's configuration words it. */
void sim_call_refuse(struct sim_request *request);

/* The outcome, once the answer is made: corrects what the call cost. */
void sim_call_settle(struct sim_request *request);

/* Numbers that the exchange puts into its answers: the body first, whose call
   draws which instant late reports quote. sim_decorate.c */
void sim_decorate_body(struct sim_request *request);
void sim_decorate_headers(struct sim_request *request,
                          void (*add)(void *context, const char *name, int64_t value),
                          void *context);

/* The list of a batch; NULL when the body has none. */
const json_t *sim_request_items(const struct sim_request *request);

/* The client's order id of an item, or NULL. */
const char *sim_request_item_id(const struct sim_request *request, const json_t *item);

/* The handlers, each in the file of its subject; each fills request->answer. */
void sim_market_answer(struct sim_request *request); /* sim_market.c: GET /api/v3/… */
void sim_order_answer(struct sim_request *request);  /* sim_order.c: /api/v3/order */
void sim_path_answer(struct sim_request *request);   /* sim_batch.c: configured routes */
void sim_quotes_answer(struct sim_request *request); /* sim_quotes.c: many symbols at once */
bool sim_login_answer(
    struct sim_request *request); /* sim_login.c: tokens, cookies; false: another call */
void sim_tool_answer(struct sim_request *request);     /* sim_tool.c: /echo, /bytes, /chunked */
void sim_built_in_answer(struct sim_request *request); /* sim_http.c: by call.route */
void sim_control_answer(struct sim_request *request);  /* sim_control.c: /sim/… */

#endif
