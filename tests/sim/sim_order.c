/* POST, GET and DELETE /api/v3/order: accepts and remembers, never trades. */
#include "sim_request.h"

#include <stdlib.h>
#include <string.h>

static json_t *order_json(const struct sim_request *request, size_t order_id, const char *status)
{
    const struct sim_order_log *orders = &request->sim->exchange.orders;
    const struct sim_order *order = &orders->list[order_id - 1];
    char symbol[32] = "";

    json_t *shown;

    sim_request_param(request, "symbol", symbol, sizeof(symbol));
    shown = json_string(symbol); /* NULL when a caller sends what is no UTF-8 */
    return json_pack("{s:o, s:I, s:i, s:s, s:I, s:s}", "symbol", shown ? shown : json_null(),
                     "orderId", (json_int_t)order_id, "orderListId", -1, "clientOrderId",
                     order->client_id, "transactTime",
                     (json_int_t)(order->first_utc_ns / SIM_NS_PER_MS), "status", status);
}

/* Binance's ^[\.A-Z\:/a-z0-9_-]{1,36}$; absent is good too. */
static bool client_id_take(const struct sim_request *request, char *out)
{
    if (!sim_request_has(request, "newClientOrderId")) {
        *out = '\0';
        return true;
    }
    return sim_request_param(request, "newClientOrderId", out, SIM_ORDER_ID_BYTES + 1) && *out &&
           strspn(out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                       "0123456789.:/_-") == strlen(out);
}

static void order_place(struct sim_request *request)
{
    struct sim_order_log *orders = &request->sim->exchange.orders;
    struct sim_instant now = sim_clock_now(&request->sim->clock);
    char client_id[SIM_ORDER_ID_BYTES + 1];
    int64_t times;
    size_t order_id;

    if (!client_id_take(request, client_id)) {
        sim_answer_error(request, 400, -1100,
                         "Illegal characters found in parameter 'newClientOrderId'; legal range is "
                         "'^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.");
        return;
    }
    order_id = sim_order_accept(orders, client_id, now.utc_ns, &times);
    if (times > 1) {
        sim_answer_error(request, 400, -2010, "Duplicate order sent.");
    } else if (order_id == 0) {
        sim_answer_error(request, 500, -1000, "The simulator keeps at most %d orders.",
                         SIM_ORDER_MAX);
    } else {
        sim_order_touch(orders, order_id, now.mono_ns);
        sim_answer_json(request, 200, order_json(request, order_id, "NEW"));
    }
}

static size_t order_named(const struct sim_request *request)
{
    const struct sim_order_log *orders = &request->sim->exchange.orders;
    char text[SIM_ORDER_ID_BYTES + 1];

    if (sim_request_param(request, "origClientOrderId", text, sizeof(text))) {
        return sim_order_find(orders, text, 0);
    }
    if (sim_request_param(request, "orderId", text, sizeof(text))) {
        return sim_order_find(orders, NULL, strtoul(text, NULL, 10));
    }
    return 0;
}

static void order_query(struct sim_request *request)
{
    size_t order_id = order_named(request);

    if (order_id == 0) {
        sim_answer_error(request, 400, -2013, "Order does not exist.");
        return;
    }
    sim_answer_json(request, 200,
                    order_json(request, order_id,
                               request->sim->exchange.orders.list[order_id - 1].cancelled
                                   ? "CANCELED"
                                   : "NEW"));
}

static void order_cancel(struct sim_request *request)
{
    size_t order_id = order_named(request);

    if (order_id == 0 || request->sim->exchange.orders.list[order_id - 1].cancelled) {
        sim_answer_error(request, 400, -2011, "Unknown order sent.");
        return;
    }
    request->sim->exchange.orders.list[order_id - 1].cancelled = true;
    sim_answer_json(request, 200, order_json(request, order_id, "CANCELED"));
}

void sim_order_answer(struct sim_request *request)
{
    switch (request->call.route) {
    case SIM_ROUTE_ORDER_PLACE:
        order_place(request);
        break;
    case SIM_ROUTE_ORDER_CANCEL:
        order_cancel(request);
        break;
    default:
        order_query(request);
        break;
    }
}
