/* show_call.c: the outcome of `weir call`. */
#include "show_call.h"

#include "command.h"
#include "exit_codes.h"
#include "weir_error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int call_exit_code(const struct weir_response *response)
{
    switch (response->result) {
    case WEIR_RESULT_DONE:
        return response->status >= 400 ? EXIT_HTTP_ERROR : EXIT_OK;
    case WEIR_RESULT_FAILED:
    case WEIR_RESULT_TOO_LARGE:
    case WEIR_RESULT_TIMEOUT:
        return EXIT_NO_ANSWER;
    case WEIR_RESULT_REFUSED:
    case WEIR_RESULT_EXPIRED:
    case WEIR_RESULT_REJECTED:
    case WEIR_RESULT_NOT_SENT:
    case WEIR_RESULT_NO_ROOM:
    case WEIR_RESULT_ABSENT: /* sent, but as good as not: nobody has it */
        return EXIT_NOT_SENT;
    case WEIR_RESULT_CANCELLED:
        return response->sends > 0 ? EXIT_NO_ANSWER : EXIT_NOT_SENT;
    default:
        return EXIT_OUTCOME_UNKNOWN; /* also a result that this program does not know */
    }
}

/* ---------------------------------------------------------------------------------------------- the timeline */

struct stage {
    const char *name;
    uint64_t from_ns, to_ns;
};

#define STAGE_CNT 6

/* A stage that was not reached has to_ns 0. */
static void stages_of(struct stage stage[STAGE_CNT], const struct weir_response *r)
{
    const struct stage all[STAGE_CNT] = {
        {"queue", r->submitted_ns, r->taken_ns},    {"permit", r->taken_ns, r->permitted_ns},
        {"connect", r->permitted_ns, r->sent_ns},   {"server", r->sent_ns, r->first_byte_ns},
        {"transfer", r->first_byte_ns, r->done_ns}, {"deliver", r->done_ns, r->delivered_ns},
    };
    memcpy(stage, all, sizeof all);
}

static bool reached(const struct stage *s)
{
    return s->from_ns != 0 && s->to_ns >= s->from_ns;
}

static const char *source_name(uint32_t source)
{
    static const char *const names[] = {"none", "live", "cache", "stale", "disk"};
    return source < WEIR_ARRAY_CNT(names) ? names[source] : "?";
}

static void timeline_text(FILE *out, const struct weir_response *r)
{
    struct stage stage[STAGE_CNT];
    char a[DURATION_BYTES];
    stages_of(stage, r);
    if (r->source > WEIR_SOURCE_LIVE) {
        (void)fprintf(out, "weir: source: %s, %s old\n", source_name(r->source),
                      print_duration(a, r->age_ns));
    }
    if (r->taken_ns == 0) { /* no worker has seen it */
        return;
    }
    const char *between = "weir: time: ";
    for (unsigned i = 0; i < STAGE_CNT; i++) {
        if (reached(&stage[i])) {
            (void)fprintf(out, "%s%s %s", between, stage[i].name,
                          print_duration(a, stage[i].to_ns - stage[i].from_ns));
            between = ", ";
        }
    }
    if (r->delivered_ns > r->submitted_ns) {
        (void)fprintf(out, "; total %s", print_duration(a, r->delivered_ns - r->submitted_ns));
    }
    (void)fputc('\n', out);
}

/* ---------------------------------------------------------------------------------------------- the outcome */

static void cause_text(FILE *out, const struct weir_response *r)
{
    char a[DURATION_BYTES];
    if (r->result == WEIR_RESULT_REFUSED) {
        (void)fprintf(out, ": %s", weir_reason_name(r->denial.reason));
        if (r->denial.limit != UINT32_MAX) {
            (void)fprintf(out, " (limit %u)", r->denial.limit);
        }
        if (r->denial.earliest_ns != UINT64_MAX && r->denial.earliest_ns > r->done_ns) {
            (void)fprintf(out, ", could pass %s later",
                          print_duration(a, r->denial.earliest_ns - r->done_ns));
        }
    } else if (r->result == WEIR_RESULT_REJECTED) {
        (void)fprintf(out, ": %s: %s", weir_error_text(r->error), weir_error_hint(r->error));
    } else if (r->error != 0) {
        (void)fprintf(out, ": libcurl error %d", r->error);
    }
    if (r->result == WEIR_RESULT_OUTCOME_UNKNOWN) {
        (void)fprintf(out, ": ask the exchange before repeating");
    }
    if (r->doubt != WEIR_DOUBT_NONE) {
        (void)fprintf(out, ", doubt: %s", weir_doubt_name(r->doubt));
    }
}

static void outcome_text(FILE *out, const char *route, const struct weir_response *r)
{
    (void)fprintf(out, "weir: %s: %s", route, weir_result_name(r->result));
    if (r->status != 0) {
        (void)fprintf(out, ", status %u, %zu bytes", r->status, r->body_bytes);
    }
    cause_text(out, r);
    (void)fputc('\n', out);
}

static json_t *response_json(const char *route, const struct weir_response *r, const char *member)
{
    struct stage stage[STAGE_CNT];
    stages_of(stage, r);
    json_t *o = json_object();
    (void)json_object_set_new(o, "route", json_string(route));
    (void)json_object_set_new(o, "result", json_string(weir_result_name(r->result)));
    (void)json_object_set_new(o, "status", json_u64(r->status));
    (void)json_object_set_new(o, "error", json_integer(r->error));
    (void)json_object_set_new(o, "denial_reason", json_string(weir_reason_name(r->denial.reason)));
    (void)json_object_set_new(o, "sends", json_u64(r->sends));
    (void)json_object_set_new(o, "member", *member != '\0' ? json_string(member) : json_null());
    (void)json_object_set_new(o, "source", json_string(source_name(r->source)));
    (void)json_object_set_new(o, "age_ns", json_u64(r->age_ns));
    (void)json_object_set_new(o, "doubt", json_string(weir_doubt_name(r->doubt)));
    json_t *times = json_object();
    for (unsigned i = 0; i < STAGE_CNT; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s_ns", stage[i].name);
        (void)json_object_set_new(times, key,
                                  reached(&stage[i]) ? json_u64(stage[i].to_ns - stage[i].from_ns)
                                                     : json_null());
    }
    (void)json_object_set_new(o, "times", times);
    (void)json_object_set_new(o, "body_bytes", json_u64(r->body_bytes));
    /* a body that is no UTF-8 has no place in JSON: null, and the plain form prints it */
    json_t *body = r->body != NULL ? json_stringn(r->body, r->body_bytes) : NULL;
    (void)json_object_set_new(o, "body", body != NULL ? body : json_null());
    return o;
}

int call_show(const char *route, const struct weir_response *response, const char *member, int json)
{
    int code = call_exit_code(response);
    if (json) {
        int rc = json_out(response_json(route, response, member), true);
        return rc != EXIT_OK ? rc : code;
    }
    size_t bytes = response->body != NULL ? response->body_bytes : 0;
    if (fwrite(response->body != NULL ? response->body : "", 1, bytes, stdout) != bytes ||
        fflush(stdout) != 0) {
        complain("cannot write: stdout: %s", strerror(errno));
        code = EXIT_USAGE;
    }
    outcome_text(stderr, route, response);
    if (*member != '\0') {
        (void)fprintf(stderr, "weir: made by: %s\n", member);
    }
    timeline_text(stderr, response);
    return code;
}
