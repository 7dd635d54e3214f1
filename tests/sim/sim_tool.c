/* /echo, /bytes/N and /chunked/N: for tests of HTTP clients. */
#include "sim_request.h"

#include <stdlib.h>
#include <string.h>

static const long long generated_max_bytes = 1LL << 30;

static void echo_answer(struct sim_request *request)
{
    /* NULL when the body is no UTF-8: JSON cannot carry it. */
    json_t *body = json_stringn(request->body ? request->body : "", request->body_bytes);

    sim_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:o, s:o, s:o, s:I}", "method", request->method, "path",
                              request->path, "query", sim_request_query_json(request), "headers",
                              sim_request_headers_json(request), "body", body ? body : json_null(),
                              "body_bytes", (json_int_t)request->body_bytes));
}

static void generated_answer(struct sim_request *request)
{
    const char *text = sim_route_rest(request->call.route, request->path);
    char *end;
    long long bytes = strtoll(text, &end, 10);

    if (!*text || *end || bytes < 0 || bytes > generated_max_bytes) {
        sim_answer_error(request, 400, -1100, "%.40s: must be a number of bytes from 0 to %lld.",
                         text, generated_max_bytes);
        return;
    }
    sim_answer_text(request, 200, "application/octet-stream", NULL, (size_t)bytes);
    request->answer.chunked = request->call.route == SIM_ROUTE_CHUNKED;
}

void sim_tool_answer(struct sim_request *request)
{
    if (request->call.route == SIM_ROUTE_ECHO) {
        echo_answer(request);
    } else {
        generated_answer(request);
    }
}
