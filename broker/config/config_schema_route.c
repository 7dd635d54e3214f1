/*
 * config_schema_route.c: the keys of a route, and of what is said of its calls.
 */
#include "broker/config/config_schema_words.h"

/* A table reads best as one. */
/* clang-format off */

static const struct weir_config_row counted_row[] = {
    {.key = "limit", TYPE(NAME), AT(counted, limit), NAME_RANGE, .def = NULL, .text = "One that the route's cost names."},
    {.key = "header", TYPE(HEADER), AT(counted, header), RANGE(1, 63), .def = "", .text = "The header that says how many units the call cost."},
    {.key = "field", TYPE(STRING), AT(counted, field), TEXT_RANGE, .def = "",
     .text = "The member of the JSON answer that says it: a.b looks inside a, list.0 at the first of a list."},
    {.key = "list", TYPE(STRING), AT(counted, list), TEXT_RANGE, .def = "",
     .text = "A list in the JSON answer: as many units as entries whose member item equals equals. For batches that are done in part."},
    {.key = "item", TYPE(STRING), AT(counted, item), TEXT_RANGE, .def = "", .text = "With list: the member of each entry."},
    {.key = "equals", TYPE(STRING), AT(counted, equals), TEXT_RANGE, .def = "", .text = "With list: its value as text, of an entry that counts."},
    {.key = "per_bytes", TYPE(SIZE), AT(counted, per_bytes), RANGE(1, GIB), .def = "",
     .text = "One unit for each so many bytes of the answer, rounded up. For limits of bytes, which are known only afterwards."},
};

static const struct weir_config_section counted_section = {
    .title = "providers[].routes[].settle.counted[]", .bytes = sizeof(struct weir_config_counted), ROWS(counted_row),
    .text = "Numbers of the answer that say what was counted; exactly one of header, field, list and per_bytes. An answer that does not say, or says "
            "nonsense, corrects nothing. Bodies of up to 64 KiB are looked into.",
};

static const struct weir_config_row settle_ok_row[] = {
    {.key = "field", TYPE(STRING), AT(settle_ok, field), TEXT_RANGE, .def = NULL,
     .text = "The member of the JSON answer: a.b looks inside a, list.0 at the first of a list."},
    {.key = "equals", TYPE(STRING), AT(settle_ok, equals), TEXT_RANGE, .def = NULL, .text = "Its value as text where the call succeeded: 0 is also \"0\"."},
};

static const struct weir_config_section settle_ok_section = {
    .title = "providers[].routes[].settle.ok", .bytes = sizeof(struct weir_config_settle_ok), ROWS(settle_ok_row),
    .text = "What tells success from failure where the status is 200 in both cases.",
};

static const struct weir_config_row settle_row[] = {
    {.key = "success", TYPE(UNITS), ITEMS(settle, success), COST_RANGE, ENTRIES(0, WEIR_PERMIT_LIMITS_MAX), .def = "",
     .text = "{limit: units} of a call that succeeded (status 2xx). Binance orders: {weight_1m: 0}. Limits not named stay charged."},
    {.key = "failure", TYPE(UNITS), ITEMS(settle, failure), COST_RANGE, ENTRIES(0, WEIR_PERMIT_LIMITS_MAX), .def = "",
     .text = "The same of a call that was answered otherwise. A call without an answer stays charged."},
    {.key = "ok", TYPE(SECTION), AT(settle, ok), .def = "", .section = &settle_ok_section,
     .text = "Calls that the broker makes: a status of 2xx is a success only if this member of the answer says so."},
    {.key = "counted", TYPE(SECTIONS), ITEMS(settle, counted), ENTRIES(0, WEIR_PERMIT_LIMITS_MAX), .def = "", .section = &counted_section,
     .text = "Calls that the broker makes: numbers of the answer that go before success and failure."},
};

static const struct weir_config_section settle_section = {
    .title = "providers[].routes[].settle", .bytes = sizeof(struct weir_config_settle), ROWS(settle_row),
    .text = "Corrections once the outcome is known: less than the cost is given back, more is charged whether it fits or not. A refund is safe only if the "
            "provider gives it too.",
};

static const struct weir_config_row age_row[] = {
    {.key = "limit", TYPE(NAME), AT(age, limit), NAME_RANGE, .def = NULL, .text = "One that the route's cost names."},
    {.key = "below", TYPE(DURATION), AT(age, below_ns), RANGE(1 * MS, 30 * DAY), .def = NULL,
     .text = "The bracket ends at this age. An age that may lie in two brackets, by max_jitter, costs the dearer one."},
    {.key = "units", TYPE(INTEGER), AT(age, units), COST_RANGE, .def = NULL, .text = "What the call costs then."},
};

static const struct weir_config_section age_section = {
    .title = "providers[].routes[].age_cost[]", .bytes = sizeof(struct weir_config_age), ROWS(age_row),
    .text = "Brackets of a cost that depends on the age of the order (Kraken).",
};

static const struct weir_config_row batch_row[] = {
    {.key = "route", TYPE(NAME), AT(batch, route), NAME_RANGE, .def = NULL,
     .text = "The route that makes the call for many: a GET of this provider, unsigned, with room in max_response for the whole answer. Its cost is what a batch costs."},
    {.key = "param", TYPE(STRING), AT(batch, param), RANGE(1, 63), .def = "",
     .text = "The query parameter of a single call that holds its name. If unset: the rest of its path does, and path ends in /*."},
    {.key = "with", OF(STRING), AT(batch, with), RANGE(1, 63), ENTRIES(0, 8), .def = "",
     .text = "Query parameters that a single call may have besides, such as category: they are passed on, and only calls that agree in them share a batch. A call with any "
             "other parameter is made by itself."},
    {.key = "names", TYPE(ENUM), AT(batch, names), .def = "all",
     CHOICES({"all", WEIR_CONFIG_BATCH_ALL}, {"json", WEIR_CONFIG_BATCH_JSON}, {"comma", WEIR_CONFIG_BATCH_COMMA}),
     .text = "How the batch says what it wants. all: it has everything. json: names_param=[\"A\",\"B\"]. comma: names_param=A,B."},
    {.key = "names_param", TYPE(STRING), AT(batch, names_param), RANGE(1, 63), .def = "",
     .text = "The query parameter of the batch for that. Required for json and comma."},
    {.key = "max", TYPE(INTEGER), AT(batch, name_max), RANGE(2, 1000), .def = "100",
     .text = "How many names one batch may have, with json and comma: as many as its cost covers, and as its URL may be long (each takes its length and some 9 bytes)."},
    {.key = "list", TYPE(STRING), AT(batch, list), TEXT_RANGE, .def = "",
     .text = "Where the elements are in the JSON answer: a.b looks inside a. If unset: the answer is the list."},
    {.key = "item", TYPE(STRING), AT(batch, item), TEXT_RANGE, .def = "",
     .text = "The member of an element that holds its name: a string or an integer. If unset: the elements are members of an object, and named by it."},
    {.key = "as", TYPE(ENUM), AT(batch, as), .def = "element",
     CHOICES({"element", WEIR_CONFIG_BATCH_AS_ELEMENT}, {"list", WEIR_CONFIG_BATCH_AS_LIST}),
     .text = "What a single call is given. element: its element, byte for byte. list: the answer as it came, with nothing but that element in its list."},
    {.key = "gather", TYPE(DURATION), AT(batch, gather_ns), RANGE(100 * US, 1 * SEC), .def = "",
     .text = "How long the first call that misses waits for others. If unset: only those that come in the same round of the worker, and nobody waits."},
    {.key = "when", TYPE(ENUM), AT(batch, when), .def = "cheaper",
     CHOICES({"cheaper", WEIR_CONFIG_BATCH_CHEAPER}, {"always", WEIR_CONFIG_BATCH_ALWAYS}),
     .text = "cheaper: only where a batch takes less of some limit, and more of none, than the single calls that wait. always: for one call too."},
};

static const struct weir_config_section batch_section = {
    .title = "providers[].routes[].batch", .bytes = sizeof(struct weir_config_batch), ROWS(batch_row),
    .text = "Another route of which one call answers many of this one: all tickers for one ticker. What a batch does not answer is asked by itself. Needs cache.",
};

static const struct weir_config_row doubt_absent_row[] = {
    {.key = "status", OF(INTEGER), AT(doubt_absent, status), RANGE(200, 599), ENTRIES(1, 8), .def = NULL,
     .text = "HTTP status of such an answer."},
    {.key = "field", TYPE(STRING), AT(doubt_absent, field), TEXT_RANGE, .def = "",
     .text = "A member of the JSON answer that says it: a.b looks inside a. Binance: code."},
    {.key = "equals", TYPE(STRING), AT(doubt_absent, equals), TEXT_RANGE, .def = "", .text = "With field: its value as text. Binance: \"-2013\"."},
    {.key = "empty", TYPE(STRING), AT(doubt_absent, empty), TEXT_RANGE, .def = "",
     .text = "A list or map in the JSON answer that has no entries then."},
};

static const struct weir_config_section doubt_absent_section = {
    .title = "providers[].routes[].doubt.absent", .bytes = sizeof(struct weir_config_doubt_absent), ROWS(doubt_absent_row),
    .text = "The answer to the question by which the exchange has no such order. All that is written must hold.",
};

static const struct weir_config_row doubt_row[] = {
    {.key = "id", TYPE(STRING), AT(doubt, id), RANGE(1, 63), .def = NULL,
     .text = "What the exchange calls the client order id: newClientOrderId, orderLinkId, clOrdId, cl_ord_id, client_oid. A call without it, with two, or "
             "with one that is longer than 64 bytes or not plain ASCII, ends as if the route had no doubt."},
    {.key = "in", TYPE(ENUM), AT(doubt, in), .def = NULL,
     CHOICES({"query", WEIR_CONFIG_DOUBT_QUERY}, {"form", WEIR_CONFIG_DOUBT_FORM}, {"parameters", WEIR_CONFIG_DOUBT_PARAMETERS},
             {"json", WEIR_CONFIG_DOUBT_JSON}, {"header", WEIR_CONFIG_DOUBT_HEADER}),
     .text = "Where it stands in the call. form: a body of a=b&c=d; parameters: query or form; json: a member of the body, a.b looks inside a."},
    {.key = "route", TYPE(STRING), AT(doubt, route), NAME_RANGE, .def = NULL,
     .text = "The route by which the exchange is asked: of the same provider, a GET, or a POST with idempotent: true."},
    {.key = "path", TYPE(STRING), AT(doubt, path), RANGE(1, 191), .def = "",
     .text = "The rest of its path, where that ends in /*. {id} stands for the id, {NAME} for what else the call has at the same place under that name."},
    {.key = "query", TYPE(STRING), AT(doubt, query), RANGE(1, 191), .def = "",
     .text = "Its query, alike. Binance: \"symbol={symbol}&origClientOrderId={id}\"."},
    {.key = "body", TYPE(STRING), AT(doubt, body), RANGE(1, 191), .def = "",
     .text = "The form that a POST has as its body, alike."},
    {.key = "found", TYPE(STRING), AT(doubt, found), TEXT_RANGE, .def = NULL,
     .text = "The member of the answer (status 2xx) that bears the id again: a.b looks inside a, * at each entry. Only an answer that bears the same id says that the order is there."},
    {.key = "absent", TYPE(SECTION), AT(doubt, absent), .def = "", .section = &doubt_absent_section,
     .text = "The answer that says that there is none. If unset no answer does, and what is not found stays unknown."},
    {.key = "settled_after", TYPE(DURATION), AT(doubt, settled_after_ns), RANGE(1 * MS, 1 * HOUR), .def = "",
     .text = "How long after a call was cut off it can no longer reach the exchange's book. Only a question sent later than that proves absence. Needs absent, which needs it."},
    {.key = "patience", TYPE(DURATION), AT(doubt, patience_ns), RANGE(1 * MS, 1 * HOUR), .def = "10s",
     .text = "How long beyond the call's deadline the exchange is asked. Longer than settled_after."},
    {.key = "interval", TYPE(DURATION), AT(doubt, interval_ns), RANGE(1 * MS, 1 * MINUTE), .def = "250ms",
     .text = "The wait before the second question; each is twice the one before, up to 2 s or this."},
    {.key = "unsure", OF(INTEGER), AT(doubt, unsure), RANGE(400, 599), ENTRIES(0, 16), .def = "",
     .text = "Statuses of an answer to the order that leave it open what became of it. Binance: [500, 502, 503, 504]. If the doubt stays, that answer is delivered."},
    {.key = "resend", TYPE(ENUM), AT(doubt, resend), .def = "false",
     CHOICES({"false", WEIR_CONFIG_DOUBT_NEVER_RESEND}, {"true", WEIR_CONFIG_DOUBT_RESEND}),
     .text = "Whether an order that is surely absent is sent again: once, within its deadline, with the same id. Only where the exchange refuses an id twice: docs/http.md says which do. Needs absent."},
};

static const struct weir_config_section doubt_section = {
    .title = "providers[].routes[].doubt", .bytes = sizeof(struct weir_config_doubt), ROWS(doubt_row),
    .text = "How it is found out what became of an order that was written and got no answer: by its client order id, by a question of the broker's own. Without it, or for a call "
            "without an id, the order ends as outcome_unknown.",
};

static const struct weir_config_row route_row[] = {
    {.key = "name", TYPE(NAME), AT(route, name), NAME_RANGE, .def = NULL,
     .text = "Clients ask for \"provider.route\"."},
    {.key = "transport", TYPE(ENUM), AT(route, transport), .def = "weir",
     CHOICES({"weir", WEIR_CONFIG_TRANSPORT_WEIR}, {"own", WEIR_CONFIG_TRANSPORT_OWN}),
     .text = "weir: the broker can make the call. own: clients take permits and make it themselves (WebSocket, FIX); such "
             "a route has no method and no path."},
    {.key = "method", TYPE(ENUM), AT(route, method), .def = "",
     CHOICES({"GET", WEIR_METHOD_GET}, {"HEAD", WEIR_METHOD_HEAD}, {"POST", WEIR_METHOD_POST},
             {"PUT", WEIR_METHOD_PUT}, {"DELETE", WEIR_METHOD_DELETE}, {"PATCH", WEIR_METHOD_PATCH}),
     .text = "The HTTP method. Required for transport: weir."},
    {.key = "path", TYPE(PATH), AT(route, path), TEXT_RANGE, .def = "",
     .text = "The path without query. Required for transport: weir."},
    {.key = "cost", TYPE(UNITS), ITEMS(route, cost), COST_RANGE, ENTRIES(1, WEIR_PERMIT_LIMITS_MAX), .def = NULL,
     .text = "What a call takes from which limits: {limit: units}. All or nothing. 0: nothing, unless the call says more, or its age does."},
    {.key = "settle", TYPE(SECTION), AT(route, settle), .def = "{}", .section = &settle_section,
     .text = "What the provider counts in the end, where that is not the cost."},
    {.key = "age_cost", TYPE(SECTIONS), ITEMS(route, age), ENTRIES(0, WEIR_AGE_BRACKETS_MAX), .def = "", .section = &age_section,
     .text = "What a call costs on a young order, by weir_cost_at_age(): brackets of one limit, ascending. Older ones cost what cost says."},
    {.key = "timeout", TYPE(DURATION), AT(route, timeout_ns), RANGE(1 * MS, 1 * HOUR), .def = "10s",
     .text = "How long a call may take, where the request's own deadline is not earlier."},
    {.key = "priority", TYPE(ENUM), AT(route, priority), .def = "medium",
     CHOICES({"critical", WEIR_PRIORITY_CRITICAL}, {"high", WEIR_PRIORITY_HIGH}, {"medium", WEIR_PRIORITY_MEDIUM},
             {"low", WEIR_PRIORITY_LOW}, {"background", WEIR_PRIORITY_BACKGROUND}),
     .text = "Where the request names none."},
    {.key = "signed", TYPE(BOOLEAN), AT(route, is_signed), .def = "false",
     .text = "Whether auth signs the call, at the instant at which it is sent. For transport: weir."},
    {.key = "any_key", TYPE(BOOLEAN), AT(route, any_key), .def = "false",
     .text = "Whether any key of the pool may make it: its answer must not depend on whose key it is. Without it a call names its account or key."},
    {.key = "idempotent", TYPE(BOOLEAN), AT(route, is_idempotent), .def = "",
     .text = "Whether the call may be sent again after its connection died. Default: true for GET, HEAD, PUT and DELETE, "
             "false for POST and PATCH and for transport: own."},
    {.key = "hedge", TYPE(BOOLEAN), AT(route, is_hedged), .def = "",
     .text = "Whether a late call is sent a second time, as hedge of the provider says. Default: true for GET and HEAD that are not signed, where the provider has hedge. Only "
             "where the call is idempotent. A signed call whose key bears nonces may overtake its second self: the exchange then refuses one of them."},
    {.key = "max_response", TYPE(SIZE), AT(route, response_max_bytes), RANGE(256, 1 * GIB), .def = "64KiB",
     .text = "The largest answer; what is longer ends as too large. Room for it is set aside before the call is sent."},
    {.key = "headers", OF(HEADER), AT(route, headers), RANGE(1, 63), ENTRIES(0, 32),
     .def = "content-type, x-mbx-apikey, accept",
     .text = "The request headers that a client may set. Those of the connection belong to the broker."},
    {.key = "share", TYPE(ENUM), AT(route, share), .def = "private",
     CHOICES({"private", WEIR_CONFIG_SHARE_PRIVATE}, {"public", WEIR_CONFIG_SHARE_PUBLIC}),
     .text = "Who may be given an answer. public: everybody who can attach to the broker, of every domain; only such answers are kept. private: who asked."},
    {.key = "group", TYPE(STRING), AT(route, group), NAME_RANGE, .def = "",
     .text = "Routes of one group share a breaker beside those of the endpoints: what part of the API they use may fail while the rest works. Needs breaker."},
    {.key = "cache", TYPE(DURATION), AT(route, cache_ns), RANGE(1 * MS, 30 * DAY), .def = "",
     .text = "How long an answer of status 200 is fresh, counted from when its request was sent: equal calls are given it, without a call and without a "
             "permit. Calls that are equal and in flight at once become one. Needs share: public, and GET, HEAD, or a POST that is idempotent."},
    {.key = "stale", TYPE(DURATION), AT(route, stale_ns), RANGE(1 * MS, 30 * DAY), .def = "",
     .text = "How long after that it may still be given where nothing better can be had: no permit now, no connection, no answer in time, a status of 5xx, or one that says stop."},
    {.key = "revalidate", TYPE(DURATION), AT(route, revalidate_ns), RANGE(1 * MS, 30 * DAY), .def = "",
     .text = "How long after cache it is given at once, while the broker fetches a new one (stale-while-revalidate). At most stale."},
    {.key = "negative", TYPE(DURATION), AT(route, negative_ns), RANGE(1 * MS, 30 * DAY), .def = "",
     .text = "How long an answer of status 400, 404, 405, 410 or 422 is fresh. It is never given stale. If unset: such answers are not kept."},
    {.key = "cache_control", TYPE(ENUM), AT(route, cache_control), .def = "ignore",
     CHOICES({"ignore", WEIR_CONFIG_CACHE_CONTROL_IGNORE}, {"honour", WEIR_CONFIG_CACHE_CONTROL_HONOUR}),
     .text = "Whether Cache-Control and Age of an answer shorten what cache and stale say, and forbid to keep it (no-store, no-cache, private). Many exchanges forbid "
             "everything by habit. Vary: * is always heeded."},
    {.key = "batch", TYPE(SECTION), AT(route, batch), .def = "", .section = &batch_section,
     .text = "Calls of this route that one call of another route can answer together."},
    {.key = "last_good", TYPE(DURATION), AT(route, last_good_ns), RANGE(1 * MS, 30 * DAY), .def = "",
     .text = "How old an answer of an earlier broker may be that is given where nothing better can be had, as with stale. The last answers of status 200 are "
             "kept in state_dir for that, and read by the next broker. If unset: none. Needs cache."},
    {.key = "doubt", TYPE(SECTION), AT(route, doubt), .def = "", .section = &doubt_section,
     .text = "How it is found out what became of an order that got no answer. If unset it ends as outcome_unknown."},
};

const struct weir_config_section weir_config_route_section = {
    .title = "providers[].routes[]", .bytes = sizeof(struct weir_config_route), ROWS(route_row),
    .finish = weir_config_finish_route,
    .text = "The calls that clients may make, and what each costs.",
};
