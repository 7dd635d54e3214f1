/* Routes of the configuration: single orders and batches of other exchanges. */
#include "sim_request.h"

#include <string.h>

/* Bybit's codes, the only published form of an answer that grants in part. */
enum { ITEM_OK = 0, ITEM_TOO_MANY = 10006, ITEM_UNKNOWN = 110001, ITEM_DUPLICATE = 110072 };

static const char *item_text(int code)
{
    switch (code) {
    case ITEM_OK:
        return "OK";
    case ITEM_TOO_MANY:
        return "Too many visits!";
    case ITEM_DUPLICATE:
        return "OrderLinkedID is duplicate";
    default:
        return "Order does not exist";
    }
}

static bool id_plain(const char *client_id)
{
    for (const char *c = client_id; *c; c++) {
        if (*c <= ' ' || *c >= 127) {
            return false;
        }
    }
    return strlen(client_id) <= SIM_ORDER_ID_BYTES;
}

/* Does to one order what the route plays; *ORDER_ID is 0 where there is none. */
static int order_do(struct sim_request *request, int plays, const char *client_id, size_t *order_id)
{
    struct sim_order_log *orders = &request->sim->exchange.orders;
    struct sim_instant now = sim_clock_now(&request->sim->clock);
    int64_t times;

    if (!id_plain(client_id)) {
        *order_id = 0;
        return ITEM_UNKNOWN;
    }
    if (plays == SIM_PLAYS_PLACE) {
        *order_id = sim_order_accept(orders, client_id, now.utc_ns, &times);
        if (*order_id && times == 1) {
            sim_order_touch(orders, *order_id, now.mono_ns);
        }
        return *order_id && times == 1 ? ITEM_OK : ITEM_DUPLICATE;
    }
    *order_id = sim_order_find(orders, client_id, 0);
    if (*order_id == 0 || orders->list[*order_id - 1].cancelled) {
        return ITEM_UNKNOWN;
    }
    if (plays == SIM_PLAYS_AMEND) {
        sim_order_touch(orders, *order_id, now.mono_ns);
    } else if (plays == SIM_PLAYS_CANCEL) {
        orders->list[*order_id - 1].cancelled = true;
    }
    return ITEM_OK;
}

static void single_answer(struct sim_request *request)
{
    const struct sim_path *path = request->call.path;
    char client_id[SIM_ORDER_ID_BYTES + 2] = "";
    size_t order_id;
    int code;

    /* Absent is good for a new order: the exchange makes an id. */
    if (!sim_request_param(request, path->id, client_id, sizeof(client_id)) &&
        sim_request_has(request, path->id)) {
        memset(client_id, 'x', sizeof(client_id) - 1); /* too long to be one */
    }
    code = order_do(request, path->plays, client_id, &order_id);
    request->failed = code != ITEM_OK;
    if (request->failed) {
        sim_answer_error(request, (int)path->fail_status, code, "%s", item_text(code));
        return;
    }
    sim_answer_json(request, 200,
                    json_pack("{s:I, s:s}", "orderId", (json_int_t)order_id, path->id,
                              request->sim->exchange.orders.list[order_id - 1].client_id));
}

static int item_do(struct sim_request *request, const json_t *item, size_t at, size_t *order_id)
{
    int plays =
        request->call.path->plays == SIM_PLAYS_BATCH_PLACE ? SIM_PLAYS_PLACE : SIM_PLAYS_CANCEL;
    const char *client_id = sim_request_item_id(request, item);

    *order_id = 0;
    if ((int64_t)at >= request->verdict.piece_cnt) {
        return ITEM_TOO_MANY; /* the first ones fitted, the rest did not */
    }
    return order_do(request, plays, client_id ? client_id : "", order_id);
}

static void batch_answer(struct sim_request *request)
{
    const struct sim_path *path = request->call.path;
    const json_t *items = sim_request_items(request);
    json_t *orders = json_array();
    json_t *codes = json_array();

    request->failed = json_array_size(items) == 0;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *client_id = sim_request_item_id(request, item);
        size_t order_id;
        int code = item_do(request, item, i, &order_id);

        request->failed = request->failed || code != ITEM_OK;
        json_array_append_new(orders, json_pack("{s:I, s:s}", "orderId",
                                                (json_int_t)(code == ITEM_OK ? order_id : 0),
                                                path->id, client_id ? client_id : ""));
        json_array_append_new(codes, json_pack("{s:i, s:s}", "code", code, "msg", item_text(code)));
    }
    sim_answer_json(request, 200,
                    json_pack("{s:i, s:s, s:{s:o}, s:{s:o}}", "retCode", 0, "retMsg", "OK",
                              "result", "list", orders, "retExtInfo", "list", codes));
}

static void ok_answer(struct sim_request *request)
{
    const char *body = request->call.path->body;

    sim_answer_json(request, 200, *body ? json_loads(body, JSON_DECODE_ANY, NULL) : json_object());
}

void sim_path_answer(struct sim_request *request)
{
    switch (request->call.path->plays) {
    case SIM_PLAYS_BUILT_IN:
        if (request->call.route == SIM_ROUTE_OTHER) {
            ok_answer(request);
        } else {
            sim_built_in_answer(request);
        }
        break;
    case SIM_PLAYS_OK:
        ok_answer(request);
        break;
    case SIM_PLAYS_BATCH_PLACE:
    case SIM_PLAYS_BATCH_CANCEL:
        batch_answer(request);
        break;
    case SIM_PLAYS_QUOTES:
        sim_quotes_answer(request);
        break;
    default:
        single_answer(request);
        break;
    }
}
