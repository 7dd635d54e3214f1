/*
 * config_check_doubt.c: how routes find out what became of an order. What is refused here could settle nothing, or would settle it wrongly.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "broker/config/config_check.h"
#include "broker/config/config_doubt.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

/* The route that asks. */
static const struct weir_config_route *find_route(struct weir_config_reader *reader,
                                                  const struct weir_config_provider *provider,
                                                  struct weir_config_route *route,
                                                  const struct weir_config_place *place)
{
    for (size_t i = 0; i < provider->route_cnt; i++) {
        if (strcmp(provider->route[i].name, route->doubt.route) == 0) {
            route->doubt.route_idx = i;
            return &provider->route[i];
        }
    }
    complain(reader, place, "route", "no such route of this provider: write it below routes");
    return NULL;
}

static bool ends_in_star(const char *path)
{
    size_t bytes = strlen(path);
    return bytes >= 2 && strcmp(path + bytes - 2, "/*") == 0;
}

/* NULL: a question may go there. */
static const char *route_fault(const struct weir_config_route *order,
                               const struct weir_config_route *ask)
{
    bool get = ask->method == WEIR_METHOD_GET;
    if (ask->transport != WEIR_CONFIG_TRANSPORT_WEIR) {
        return "has transport: own, so weir cannot ask by it";
    }
    if ((!get && ask->method != WEIR_METHOD_POST) || !ask->is_idempotent) {
        return "must be a GET, or a POST with idempotent: true: it may be asked more than once";
    }
    if (ask->cache_ns != 0) {
        return "has cache: what was kept says nothing of what came since";
    }
    if (order->is_signed && !ask->is_signed) {
        return "must have signed: true like the order, whose account is asked";
    }
    return ask->response_max_bytes > order->response_max_bytes
               ? "has a larger max_response than the order, whose room its answer must fit"
               : NULL;
}

static bool is_plain(const struct weir_config_piece *piece)
{
    for (size_t i = 0; i < piece->bytes; i++) {
        unsigned char c = (unsigned char)piece->at[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 32U) >= 'a' && (c | 32U) <= 'z');
        if (!alnum && (c == '\0' || strchr("-._~=&:/,", c) == NULL)) {
            return false;
        }
    }
    return true;
}

/* NULL: it is one. Counts the places of the id. */
static const char *text_fault(const char *text, enum weir_config_doubt_in in, size_t *id_cnt)
{
    struct weir_config_piece piece;
    while (weir_config_piece_next(&text, &piece)) {
        bool is_id = weir_config_piece_is_id(&piece);
        *id_cnt += is_id;
        if (piece.is_name && !is_id && in == WEIR_CONFIG_DOUBT_HEADER) {
            return "with in: header only {id} is known";
        }
        if (!piece.is_name && !is_plain(&piece)) {
            return "must be letters, digits, - . _ ~ = & : / , and names in braces";
        }
    }
    return *text != '\0' ? "a brace without its partner, or with nothing between: write {id}"
                         : NULL;
}

static void check_texts(struct weir_config_reader *reader, const struct weir_config_doubt *doubt,
                        const struct weir_config_route *ask, const struct weir_config_place *place)
{
    const struct {
        const char *key, *text;
    } part[] = {{"path", doubt->path}, {"query", doubt->query}, {"body", doubt->body}};
    size_t id_cnt = 0;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(part); i++) {
        const char *fault = text_fault(part[i].text, doubt->in, &id_cnt);
        if (fault != NULL) {
            complain(reader, place, part[i].key, fault);
            return;
        }
    }
    if (!doubt->path[0] == ends_in_star(ask->path)) {
        complain(reader, place, "path",
                 doubt->path[0] ? "has no use: the route's path does not end in /*"
                                : "missing: the route's path ends in /*");
    } else if (doubt->path[0] == '/' || strstr(doubt->path, "//") || strstr(doubt->path, "..")) {
        complain(reader, place, "path", "must not begin with / and not hold // or ..");
    }
    if (doubt->body[0] && ask->method != WEIR_METHOD_POST) {
        complain(reader, place, "body", "has no use: the route is a GET");
    }
    if (id_cnt == 0) {
        complain(reader, place, "query", "missing: {id} must stand in path, query or body");
    }
}

/* By kinds of auth whose instant goes with a window, the exchange itself refuses what comes later. */
static bool has_window(enum sign_scheme kind)
{
    return kind == SIGN_HMAC_SHA256_QUERY || kind == SIGN_ED25519_QUERY || kind == SIGN_RSA_QUERY ||
           kind == SIGN_BYBIT || kind == SIGN_BYBIT_RSA;
}

static void check_absent(struct weir_config_reader *reader,
                         const struct weir_config_provider *provider,
                         const struct weir_config_route *route,
                         const struct weir_config_place *place)
{
    const struct weir_config_doubt *doubt = &route->doubt;
    const struct weir_config_doubt_absent *absent = &doubt->absent;
    struct weir_config_place at = weir_config_place_key(place, "absent");
    char text[WEIR_CONFIG_NUMBER_BYTES];
    if (absent->status.cnt == 0) {
        if (doubt->settled_after_ns != 0) {
            complain(reader, place, "settled_after",
                     "has no use without absent, the answer that it makes sure: write both");
        }
        if (doubt->resend == WEIR_CONFIG_DOUBT_RESEND) {
            complain(reader, place, "resend", "has no use without absent and settled_after");
        }
        return;
    }
    if (!absent->field[0] != !absent->equals[0]) {
        complain(reader, &at, absent->field[0] ? "equals" : "field",
                 "missing: field and equals are given together");
    }
    for (size_t i = 0; i < absent->status.cnt; i++) {
        if (absent->status.number[i] / 100 == 2 && !absent->field[0] && !absent->empty[0]) {
            complain(reader, &at, "status",
                     "a status of 2xx alone does not say that there is none: write field and "
                     "equals, or empty");
            break;
        }
    }
    if (doubt->settled_after_ns == 0) {
        complain(reader, place, "settled_after",
                 "missing: an order may be on its way when the exchange says that it has none: "
                 "write after how long it can no longer come");
        return;
    }
    if (doubt->patience_ns <= doubt->settled_after_ns) {
        weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, doubt->settled_after_ns, text);
        struct weir_config_place patience = weir_config_place_key(place, "patience");
        weir_config_error(reader, &patience,
                          "must be above settled_after = %s: else a call that its deadline cut "
                          "off is never surely absent",
                          text);
    }
    if (route->is_signed && has_window(provider->auth.kind) &&
        doubt->settled_after_ns < provider->auth.recv_window_ns) {
        weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, provider->auth.recv_window_ns, text);
        struct weir_config_place after = weir_config_place_key(place, "settled_after");
        weir_config_error(reader, &after,
                          "must be at least auth.recv_window = %s: until then the exchange takes "
                          "an order that was late on its way",
                          text);
    }
}

static bool is_header_allowed(const struct weir_config_route *route)
{
    for (size_t i = 0; i < route->headers.cnt; i++) {
        if (strcasecmp(route->headers.text[i], route->doubt.id) == 0) {
            return true;
        }
    }
    return false;
}

static void check_order(struct weir_config_reader *reader, const struct weir_config_route *route,
                        const struct weir_config_place *place)
{
    struct weir_config_place doubt = weir_config_place_key(place, "doubt");
    if (route->transport == WEIR_CONFIG_TRANSPORT_OWN) {
        weir_config_error(reader, &doubt,
                          "has no use with transport: own, where weir makes no call: remove it");
    } else if (route->is_idempotent) {
        weir_config_error(reader, &doubt,
                          "has no use where idempotent is true, for such a call is made again: "
                          "remove it, or write idempotent: false");
    }
    bool in_body =
        route->doubt.in == WEIR_CONFIG_DOUBT_FORM || route->doubt.in == WEIR_CONFIG_DOUBT_JSON;
    if (in_body && (route->method == WEIR_METHOD_GET || route->method == WEIR_METHOD_HEAD)) {
        complain(reader, &doubt, "in", "a GET or HEAD has no body to look into");
    }
    if (route->doubt.in == WEIR_CONFIG_DOUBT_HEADER && !is_header_allowed(route)) {
        complain(reader, &doubt, "id",
                 "no call can bear this header: write it below the route's headers");
    }
}

void weir_config_check_doubt(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place)
{
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_route *route = &provider->route[i];
        if (!route->doubt.id || !route->doubt.id[0]) {
            continue;
        }
        struct weir_config_place item = weir_config_place_item(&routes, i);
        struct weir_config_place doubt = weir_config_place_key(&item, "doubt");
        size_t fault_cnt = reader->fault_cnt;
        check_order(reader, route, &item);
        const struct weir_config_route *ask = find_route(reader, provider, route, &doubt);
        const char *fault = ask != NULL ? route_fault(route, ask) : NULL;
        if (fault != NULL) {
            complain(reader, &doubt, "route", fault);
        }
        if (reader->fault_cnt == fault_cnt) {
            check_texts(reader, &route->doubt, ask, &doubt);
            check_absent(reader, provider, route, &doubt);
        }
    }
}
