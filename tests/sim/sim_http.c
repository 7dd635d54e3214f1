#include "sim_http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CONNECTIONS_MAX = 8192, CONNECTION_MEMORY_BYTES = 64 * 1024, BACKLOG = 1024 };

static int64_t delay_draw_ns(struct sim *sim, int64_t delay_ms, int64_t jitter_ms)
{
    double jitter_ns = sim_random_draw(sim) * (double)(jitter_ms * SIM_NS_PER_MS);

    return delay_ms * SIM_NS_PER_MS + (int64_t)jitter_ns;
}

static int connection_fd(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* What is known of a connection. */
struct connection {
    unsigned long ended_cnt;    /* calls that it has seen to their end */
    bool counted;               /* a call on it was counted */
    struct sim_verdict holding; /* charges of the first one: held while it is open */
};

static struct connection *connection_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The report is JSON, which cannot carry a name of arbitrary bytes. */
static void name_take(char *out, const char *name)
{
    bool plain = *name && strlen(name) < SIM_CALLER_BYTES;

    for (const char *c = name; *c; c++) {
        plain = plain && *c > ' ' && *c < 127;
    }
    snprintf(out, SIM_CALLER_BYTES, "%s", plain ? name : "(unprintable)");
}

static void caller_fill(struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    struct sim_caller *caller = &request->call.caller;
    const char *played = sim_request_header(request, "X-Sim-Ip");
    const char *key = sim_request_header(request, config->key_header);
    const struct sockaddr *peer =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
            ->client_addr;

    if (!key && *config->key_param) {
        key = sim_request_query(request, config->key_param);
    }
    if (config->trust_sim_ip && played) {
        name_take(caller->ip, played);
    } else {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, caller->ip,
                  sizeof(caller->ip));
    }
    name_take(caller->key, key ? key : "(none)");
}

static void call_charge(struct sim_request *request, struct sim_instant now)
{
    struct connection *connection = connection_of(request->connection);

    sim_call_ask(request);
    request->verdict = sim_exchange_count(&request->sim->exchange, &request->call, now);
    if (!connection->counted) {
        connection->counted = true;
        connection->holding = request->verdict;
    }
}

static void call_count(struct sim_request *request)
{
    struct sim *sim = request->sim;
    struct sim_instant now = sim_clock_now(&sim->clock);

    request->counted = true;
    request->answer_at_mono_ns = now.mono_ns + request->latency_ns;
    if (request->has_fault) {
        request->answer_at_mono_ns += request->fault.delay_ms * SIM_NS_PER_MS;
        if (request->fault.kind == SIM_FAULT_RESET_BEFORE_COUNT) {
            return;
        }
    }
    call_charge(request, now);
}

/* A route of the configuration may find order ids and items in the body, and a
   split limit its parameter. */
static bool body_asked(const struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    bool split = false;

    for (size_t i = 0; i < config->limit_cnt; i++) {
        split = split || config->limits[i].split == SIM_SPLIT_PARAM;
    }
    return split || request->call.path;
}

/* The headers are here: decide what will happen to the call, and count it at
   once unless counting is to be late. */
static void call_arrive(struct sim_request *request)
{
    struct sim *sim = request->sim;
    const struct sim_config *config = &sim->config;
    const struct connection *connection = connection_of(request->connection);

    request->control = strncmp(request->path, "/sim/", 5) == 0;
    if (request->control) {
        return;
    }
    request->call.route = sim_route_find(request->method, request->path);
    request->call.path =
        sim_path_find(config->paths, config->path_cnt, request->method, request->path);
    request->call.opens = !connection->counted;
    request->counts_body = body_asked(request);
    caller_fill(request);
    request->latency_ns = delay_draw_ns(sim, config->latency_ms, config->jitter_ms);
    request->has_fault =
        sim_fault_take(&sim->faults, request->method, request->path, connection->ended_cnt > 0,
                       sim_random_draw(sim), &request->fault);
    if (config->count_delay_ms > 0 || config->count_jitter_ms > 0) {
        request->count_at_mono_ns =
            sim_clock_now(&sim->clock).mono_ns +
            delay_draw_ns(sim, config->count_delay_ms, config->count_jitter_ms);
    } else if (!request->counts_body) {
        call_count(request);
    }
}

void sim_built_in_answer(struct sim_request *request)
{
    if (request->call.route <= SIM_ROUTE_TICKER_24HR) {
        sim_market_answer(request);
    } else if (request->call.route <= SIM_ROUTE_ORDER_QUERY) {
        sim_order_answer(request);
    } else if (request->call.route != SIM_ROUTE_OTHER) {
        sim_tool_answer(request);
    } else {
        sim_answer_error(request, 404, -1121, "Unknown path.");
    }
}

/* As Binance words it. True: the call is answered. */
static bool signature_refused(struct sim_request *request)
{
    struct sim *sim = request->sim;
    const struct sim_signature_rule *rule = &sim->config.signature;

    if (!sim_signature_wanted(rule, request->method, request->path)) {
        return false;
    }
    switch (sim_signature_check(&sim->exchange.signatures, rule, request->call.caller.key,
                                request->raw_query, request->body, request->body_bytes,
                                sim_clock_now(&sim->clock).utc_ns / SIM_NS_PER_MS)) {
    case SIM_SIGNATURE_GOOD:
        return false;
    case SIM_SIGNATURE_UNKNOWN:
        sim_answer_error(request, 401, -2015, "Invalid API-key, IP, or permissions for action.");
        return true;
    case SIM_SIGNATURE_MISSING:
        sim_answer_error(request, 400, -1102,
                         "Mandatory parameter 'timestamp' or 'signature' was not sent.");
        return true;
    case SIM_SIGNATURE_LATE:
        sim_answer_error(request, 400, -1021,
                         "Timestamp for this request is outside of the recvWindow.");
        return true;
    default:
        sim_answer_error(request, 400, -1022, "Signature for this request is not valid.");
        return true;
    }
}

static void call_answer(struct sim_request *request)
{
    request->answered = true;
    if (request->has_fault && request->fault.kind == SIM_FAULT_RESET_BEFORE_COUNT) {
        return;
    }
    if (request->body_too_long) {
        sim_answer_error(request, 413, -1, "The body is longer than %d bytes.", SIM_BODY_MAX_BYTES);
    } else if (request->control) {
        sim_control_answer(request);
    } else if (request->verdict.status != 200) {
        sim_call_refuse(request);
    } else if (signature_refused(request)) {
        request->failed = true;
    } else if (sim_login_answer(request)) {
        request->failed = request->answer.status != 200;
    } else if (request->call.path) {
        sim_path_answer(request);
    } else {
        sim_built_in_answer(request);
    }
    if (!request->control) {
        sim_call_settle(request);
        sim_decorate_body(request);
    }
    if (request->has_fault && request->fault.kind == SIM_FAULT_STATUS) {
        sim_answer_error(request, (int)request->fault.status, -1000,
                         "An unknown error occurred while processing the request.");
    }
}

/* Feeds a body to libmicrohttpd, and breaks off at `stop`. */
struct body_source {
    char *body; /* NULL = letters */
    uint64_t stop;
    bool broken; /* stop is not the end */
};

static ssize_t body_read(void *context, uint64_t at, char *out, size_t out_max)
{
    const struct body_source *source = context;
    uint64_t left = source->stop - at;
    size_t bytes = left < out_max ? (size_t)left : out_max;

    if (left == 0) {
        return source->broken ? MHD_CONTENT_READER_END_WITH_ERROR
                              : MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (source->body) {
        memcpy(out, source->body + at, bytes);
    } else {
        for (size_t i = 0; i < bytes; i++) {
            out[i] = (char)('a' + (at + i) % 26);
        }
    }
    return (ssize_t)bytes;
}

static void body_free(void *context)
{
    struct body_source *source = context;

    free(source->body);
    free(source);
}

/* Takes over answer->body. */
static struct MHD_Response *response_make(struct sim_answer *answer, bool half)
{
    enum { BLOCK_BYTES = 16384 };
    struct MHD_Response *response;
    struct body_source *source;
    char *body = answer->body;

    answer->body = NULL;
    if (!half && !answer->chunked && (body || answer->body_bytes == 0)) {
        return MHD_create_response_from_buffer((size_t)answer->body_bytes, body,
                                               MHD_RESPMEM_MUST_FREE);
    }
    source = malloc(sizeof(*source));
    if (!source) {
        free(body);
        return NULL;
    }
    *source = (struct body_source){
        .body = body, .stop = half ? answer->body_bytes / 2 : answer->body_bytes, .broken = half};
    response =
        MHD_create_response_from_callback(answer->chunked ? MHD_SIZE_UNKNOWN : answer->body_bytes,
                                          BLOCK_BYTES, body_read, source, body_free);
    if (!response) {
        body_free(source);
    }
    return response;
}

static void header_number(void *response, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    MHD_add_response_header(response, name, text);
}

/* An absent Retry-After is a way of refusing, too. */
static int64_t retry_after_s(const struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    const struct sim_verdict *verdict = &request->verdict;
    const struct sim_refusal *refuse =
        verdict->status == 429 ? &config->limits[verdict->refused_by].refuse : &config->ban_refuse;

    if (request->has_fault && request->fault.kind == SIM_FAULT_STATUS) {
        return request->fault.retry_after_s;
    }
    if (verdict->status == 200 || (refuse->status && !refuse->retry_after)) {
        return 0;
    }
    return verdict->retry_after_s;
}

static void headers_add(struct sim_request *request, struct MHD_Response *response)
{
    const struct sim_config *config = &request->sim->config;
    time_t utc_s = (time_t)(sim_clock_now(&request->sim->clock).utc_ns / SIM_NS_PER_S);
    struct tm tm;
    char date[64];

    /* The exchange's own date, not the host's: clients read offsets from it. */
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&utc_s, &tm));
    MHD_add_response_header(response, "Date", date);
    if (request->answer.type) {
        MHD_add_response_header(response, "Content-Type", request->answer.type);
    }
    if (request->answer.cookie) {
        MHD_add_response_header(response, "Set-Cookie", request->answer.cookie);
    }
    if (request->control) {
        return;
    }
    for (size_t i = 0; i < config->limit_cnt; i++) {
        if (config->limits[i].header[0] && request->verdict.used[i] != SIM_NOT_COUNTED) {
            header_number(response, config->limits[i].header, request->verdict.used[i]);
        }
    }
    sim_decorate_headers(request, header_number, response);
    if (retry_after_s(request) > 0) {
        header_number(response, "Retry-After", retry_after_s(request));
    }
}

/* Dissolving the association makes the kernel send RST now; a plain close would
   say an orderly FIN first. */
static void connection_reset(struct sim_request *request)
{
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    connect(connection_fd(request->connection), &nobody, sizeof(nobody));
}

/* Ends the connection without an answer. */
static enum MHD_Result call_cut(struct sim_request *request, bool rst)
{
    if (rst) {
        connection_reset(request);
    }
    if (!request->cut) {
        sim_exchange_answered(&request->sim->exchange, 0);
    }
    return MHD_NO;
}

static enum MHD_Result call_send(struct sim_request *request)
{
    bool half = request->has_fault && request->fault.kind == SIM_FAULT_HALF_BODY;
    struct MHD_Response *response;
    enum MHD_Result result;
    int status = request->answer.status;

    if (request->cut) {
        return call_cut(request, false);
    }
    if (request->has_fault) {
        switch (request->fault.kind) {
        case SIM_FAULT_RESET:
        case SIM_FAULT_RESET_BEFORE_COUNT:
            return call_cut(request, true);
        case SIM_FAULT_STALL:
            return call_cut(request, false);
        case SIM_FAULT_ACCEPT_LATE:
            return MHD_NO; /* it has ended already */
        default:
            break;
        }
    }
    response = response_make(&request->answer, half);
    if (!response) {
        return MHD_NO;
    }
    headers_add(request, response);
    if (!request->control) {
        uint64_t sent_bytes = half ? request->answer.body_bytes / 2 : request->answer.body_bytes;

        sim_exchange_sent(&request->sim->exchange, &request->verdict, (int64_t)sent_bytes,
                          sim_clock_now(&request->sim->clock));
    }
    result = MHD_queue_response(request->connection, (unsigned int)status, response);
    MHD_destroy_response(response);
    if (!request->control) {
        sim_exchange_answered(&request->sim->exchange, status);
    }
    return result;
}

/* Sets the call aside until AT; libmicrohttpd calls the handler again then. */
static enum MHD_Result call_wait(struct sim_request *request, int64_t at_mono_ns)
{
    if (!sim_timer_add(&request->sim->timers, at_mono_ns, request)) {
        return MHD_NO;
    }
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

/* The caller loses its connection now, and the call goes on without it: it was
   on its way, in a queue in front of the book. Once per call. */
static bool leaves_first(struct sim_request *request)
{
    bool first =
        !request->left && request->has_fault && request->fault.kind == SIM_FAULT_ACCEPT_LATE;

    request->left = true;
    return first;
}

/* Headers and body are complete: count if that is still to do, make the
   answer, send it when its time has come. Entered again after each wait. */
static enum MHD_Result call_go_on(struct sim_request *request)
{
    int64_t now_mono_ns = sim_clock_now(&request->sim->clock).mono_ns;
    bool early = !request->cut && !request->control;

    if (early && leaves_first(request)) {
        connection_reset(request);
        return call_wait(request, now_mono_ns + request->fault.delay_ms * SIM_NS_PER_MS);
    }
    if (!request->control && !request->counted) {
        if (early && now_mono_ns < request->count_at_mono_ns) {
            return call_wait(request, request->count_at_mono_ns);
        }
        call_count(request);
    }
    if (!request->answered) {
        call_answer(request);
    }
    if (early && now_mono_ns < request->answer_at_mono_ns) {
        return call_wait(request, request->answer_at_mono_ns);
    }
    return call_send(request);
}

/* The request line, before anything of it is decoded: signatures are over what was sent. What this returns is the request's slot. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    const struct sim *sim = context;
    struct sim_request *request = calloc(1, sizeof(*request));
    const char *query = strchr(uri, '?');

    (void)connection;
    if (request && query && sim->config.signature.path_cnt > 0) {
        request->raw_query = strdup(query + 1);
    }
    return request;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *body, size_t *body_bytes, void **slot)
{
    struct sim_request *request = *slot;

    (void)version;
    if (!request) {
        return MHD_NO; /* out of memory */
    }
    if (!request->connection) { /* the first time */
        request->sim = context;
        request->connection = connection;
        request->path = path;
        request->method = method;
        call_arrive(request);
        return MHD_YES;
    }
    if (*body_bytes > 0) {
        sim_request_body_add(request, body, *body_bytes);
        *body_bytes = 0;
        return MHD_YES;
    }
    return call_go_on(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    struct sim_request *request = *slot;

    struct sim *sim = context;

    if (!request) {
        return;
    }
    if (!request->connection) { /* it ended before it was understood */
        free(request->raw_query);
        free(request);
        *slot = NULL;
        return;
    }
    connection_of(connection)->ended_cnt++;
    sim_exchange_end(&sim->exchange, &request->verdict, false, sim_clock_now(&sim->clock));
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && request->has_fault &&
        request->fault.kind == SIM_FAULT_CLOSE_IDLE) {
        shutdown(connection_fd(connection), SHUT_RDWR);
    }
    json_decref(request->json);
    free(request->answer.body);
    free(request->raw_query);
    free(request->body);
    free(request);
    *slot = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct sim *sim = context;

    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = calloc(1, sizeof(struct connection));
        if (!*slot) {
            abort();
        }
    } else {
        struct connection *closed = *slot;

        sim_exchange_end(&sim->exchange, &closed->holding, true, sim_clock_now(&sim->clock));
        free(closed);
    }
}

struct MHD_Daemon *sim_http_start(struct sim *sim, int listen_fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL, NULL,
        on_request, sim, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned int)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned int)BACKLOG,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, sim, MHD_OPTION_NOTIFY_COMPLETED, on_completed, sim,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, sim, MHD_OPTION_END);
}

/* Here, for libmicrohttpd does not ask again once it finds the connection gone. */
static void late_take(struct sim_request *request)
{
    if (request->cut || request->answered || !request->left || !request->has_fault ||
        request->fault.kind != SIM_FAULT_ACCEPT_LATE) {
        return;
    }
    if (!request->counted) {
        call_count(request);
    }
    call_answer(request);
    sim_exchange_answered(&request->sim->exchange, 0);
}

void sim_http_resume_due(struct sim *sim, int64_t now_mono_ns)
{
    struct sim_request *request;

    while ((request = sim_timer_take(&sim->timers, now_mono_ns))) {
        late_take(request);
        MHD_resume_connection(request->connection);
    }
}

void sim_http_cut_all(struct sim *sim)
{
    for (size_t i = 0; i < sim->timers.cnt; i++) {
        ((struct sim_request *)sim->timers.heap[i].what)->cut = true;
    }
    sim_http_resume_due(sim, INT64_MAX);
}
