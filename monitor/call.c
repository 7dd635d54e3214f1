/* call.c: `weir call`: one request through the broker, from a shell. The body goes to stdout, everything about it to stderr. */
#include "command.h"

#include "exit_codes.h"
#include "show_call.h"
#include "weir.h"
#include "weir_error.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX    32
#define BODY_BYTES_MAX (UINT64_C(16) << 20)
/* Beside query, headers and body a request holds its path and lengths. */
#define REQUEST_EXTRA_BYTES 1024U

struct call {
    struct options options;
    const char *route;
    const char *scope;
    const char *path_rest;
    struct weir_header header[HEADERS_MAX];
    size_t header_cnt;
    char *query;
    char *body; /* allocated where it was read from a file */
    const char *body_text;
    size_t body_bytes;
    int priority; /* -1: the route's */
    uint64_t timeout_ns;
};

/* ---------------------------------------------------------------------------------------------- what is sent */

size_t query_encode(char *out, const char *text, size_t bytes)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    return n;
}

/* Each key=value becomes a part of the query, in the order given. */
static int query_make(struct call *call, char *const pair[], int cnt)
{
    size_t room = 1;
    for (int i = 0; i < cnt; i++) {
        room += strlen(pair[i]) * 3 + 2;
    }
    call->query = malloc(room);
    if (call->query == NULL) {
        complain("call: no memory for the query");
        return EXIT_USAGE;
    }
    size_t n = 0;
    for (int i = 0; i < cnt; i++) {
        const char *eq = strchr(pair[i], '=');
        if (eq == NULL || eq == pair[i]) {
            complain("call: '%s' is no key=value: name parameters as symbol=BTCUSDT", pair[i]);
            return EXIT_USAGE;
        }
        if (i > 0) {
            call->query[n++] = '&';
        }
        n += query_encode(call->query + n, pair[i], (size_t)(eq - pair[i]));
        call->query[n++] = '=';
        n += query_encode(call->query + n, eq + 1, strlen(eq + 1));
    }
    call->query[n] = '\0';
    return EXIT_OK;
}

/* "Name: value"; splits in place. */
static bool header_add(struct call *call, char *text)
{
    char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || call->header_cnt == HEADERS_MAX) {
        complain("call: --header '%s' is not 'Name: value', or is one of more than %d", text,
                 HEADERS_MAX);
        return false;
    }
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    call->header[call->header_cnt++] = (struct weir_header){.name = text, .value = value};
    return true;
}

static bool body_read(struct call *call, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    if (file == NULL) {
        complain("call: cannot read the body: file=%s: %s", path, strerror(errno));
        return false;
    }
    size_t capacity = 0;
    bool ok = true;
    for (size_t n = 1; n > 0 && ok;) {
        if (call->body_bytes == capacity) {
            capacity = capacity * 2 + 65536;
            char *more = capacity <= 2 * BODY_BYTES_MAX ? realloc(call->body, capacity) : NULL;
            ok = more != NULL;
            call->body = ok ? more : call->body;
        }
        n = ok ? fread(call->body + call->body_bytes, 1, capacity - call->body_bytes, file) : 0;
        call->body_bytes += n;
    }
    ok = ok && !ferror(file) && call->body_bytes <= BODY_BYTES_MAX;
    if (file != stdin) {
        (void)fclose(file);
    }
    if (!ok) {
        complain("call: cannot read the body: file=%s: unreadable, or above %" PRIu64 " bytes",
                 path, BODY_BYTES_MAX);
    }
    call->body_text = call->body;
    return ok;
}

static bool body_take(struct call *call, const char *value)
{
    if (value[0] == '@') {
        return body_read(call, value + 1);
    }
    call->body_text = value;
    call->body_bytes = strlen(value);
    return true;
}

static bool priority_parse(struct call *call, const char *value)
{
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        if (strcmp(value, weir_priority_name(p)) == 0) {
            call->priority = (int)p;
            return true;
        }
    }
    complain(
        "call: there is no priority '%s': it is one of critical, high, medium, low, background",
        value);
    return false;
}

/* ---------------------------------------------------------------------------------------------- the call */

/* libweir's own answer, before or instead of a result. */
static int exit_code_of(int error)
{
    switch (error) {
    case WEIR_E_STALE:
    case WEIR_E_LEASE:
        return EXIT_STALE;
    case WEIR_E_NO_BROKER:
    case WEIR_E_NOT_READY:
        return EXIT_ABSENT;
    case WEIR_E_ABI:
    case WEIR_E_LAYOUT:
    case WEIR_E_CORRUPT:
        return EXIT_CORRUPT;
    case WEIR_E_PERMISSION:
    case WEIR_E_ROLE:
    case WEIR_E_NOT_CALLER:
    case WEIR_E_BLOCKED:
        return EXIT_PERMISSION;
    default:
        return EXIT_USAGE;
    }
}

static int failed(const struct call *call, int error)
{
    complain("cannot call: route=%s: %s: %s", call->route, weir_strerror(error), weir_hint(error));
    return exit_code_of(error);
}

/* Names to ids. Returns 0 or the error. */
static int spec_fill(const struct call *call, struct weir *w, struct weir_request_spec *spec)
{
    *spec = (struct weir_request_spec){.struct_bytes = sizeof *spec,
                                       .priority_set = call->priority >= 0,
                                       .path_rest = call->path_rest,
                                       .query = call->query[0] != '\0' ? call->query : NULL,
                                       .headers = call->header,
                                       .header_cnt = call->header_cnt,
                                       .body = call->body_text,
                                       .body_bytes = call->body_bytes};
    spec->priority =
        call->priority >= 0 ? (enum weir_priority)call->priority : WEIR_PRIORITY_MEDIUM;
    int rc = weir_route_find(w, call->route, &spec->route);
    if (rc == WEIR_OK && call->scope != NULL) {
        char provider[WEIR_NAME_BYTES];
        (void)snprintf(provider, sizeof provider, "%.*s", (int)strcspn(call->route, "."),
                       call->route);
        rc = weir_scope_find(w, provider, call->scope, &spec->scope);
    }
    return rc;
}

static int call_make(const struct call *call, struct weir *w)
{
    struct weir_request_spec spec;
    struct weir_response response;
    int rc = spec_fill(call, w, &spec);
    if (rc != WEIR_OK) {
        return failed(call, rc);
    }
    uint64_t deadline_ns = call->timeout_ns > 0 ? weir_now_ns(w) + call->timeout_ns : UINT64_MAX;
    rc = weir_call(w, &spec, deadline_ns, &response);
    if (rc < 0) {
        return failed(call, rc);
    }
    if (rc == WEIR_PENDING) {
        complain(
            "cannot call: route=%s: no end within --timeout: whether it was sent is unknown: ask "
            "the exchange before repeating",
            call->route);
        return EXIT_OUTCOME_UNKNOWN;
    }
    char member[2 * WEIR_NAME_BYTES + 32];
    (void)weir_member_name(w, spec.route, response.member, member, sizeof member);
    int code = call_show(call->route, &response, member, call->options.json);
    (void)weir_release(w, response.ticket);
    return code;
}

/* libweir has one error for a broker that never was and for one that died; scripts want to tell them apart as with the other commands. */
static int absent_or_dead(const struct call *call)
{
    struct board board;
    char reason[BOARD_REASON_BYTES];
    int code = board_attach(&board, &call->options.target, reason);
    board_detach(&board);
    return code == EXIT_STALE ? EXIT_STALE : EXIT_ABSENT;
}

static int call_run(const struct call *call)
{
    size_t bytes = REQUEST_EXTRA_BYTES + strlen(call->query) + call->body_bytes;
    for (size_t i = 0; i < call->header_cnt; i++) {
        bytes += strlen(call->header[i].name) + strlen(call->header[i].value) + 8;
    }
    struct weir_open_opts opts = {.struct_bytes = sizeof opts,
                                  .role = WEIR_ROLE_CALLER,
                                  .domain = call->options.target.domain,
                                  .runtime_dir = call->options.target.runtime_dir,
                                  .client_name = "weir call",
                                  .slots = 1,
                                  .request_bytes = bytes > 2048 ? (uint32_t)bytes : 0};
    struct weir *w;
    struct weir_diag diag = {0};
    int rc = weir_open(&w, board_name(&call->options.target), &opts, &diag);
    if (rc != WEIR_OK) {
        complain("%s", diag.text);
        return rc == WEIR_E_NO_BROKER ? absent_or_dead(call) : exit_code_of(rc);
    }
    int code = call_make(call, w);
    weir_close(w);
    return code;
}

/* ---------------------------------------------------------------------------------------------- command */

static const char help[] =
    "usage: weir call ROUTE [key=value...] [options]\n"
    "\n"
    "Make one call. key=value become the query. The body is printed to stdout, the outcome and "
    "where\n"
    "the time went to stderr.\n"
    "\n"
    "  --header 'N: v'      add a header; may be repeated\n"
    "  --body TEXT|@FILE    send a body; @- reads stdin\n"
    "  --path REST          the rest of the path, on routes that end in /*\n"
    "  --priority P         critical, high, medium, low or background (default: the route's)\n"
    "  --scope S            account=a,instrument=BTC-USDT (default: the first of each)\n"
    "  --timeout TIME       2s, 500ms (default: the route's)\n"
    "  --json               outcome, timeline and body as one JSON object on stdout\n"
    "  -n, --name NAME      the broker (default: $WEIR_NAME, or 'default')\n"
    "  --domain NAME        the domain whose socket is used (default: 'default')\n"
    "  --runtime-dir DIR    where sockets lie (default: $WEIR_RUNTIME_DIR, /run/weir)\n"
    "\n"
    "exit: 0 answered below 400, 1 usage, 3 broker stale, 4 no broker, 5 corrupt, 6 permission,\n"
    "      7 answered with 400 or above, 8 not sent, 9 sent and no answer, 10 outcome unknown\n";

/* One option of `weir call`. Returns EXIT_OK, or EXIT_USAGE after complaining. */
static int call_option(struct call *call, int argc, char *argv[], int option, char *value)
{
    switch (option) {
    case 'H':
        return header_add(call, value) ? EXIT_OK : EXIT_USAGE;
    case 'b':
        return body_take(call, value) ? EXIT_OK : EXIT_USAGE;
    case 'P':
        call->path_rest = value;
        return EXIT_OK;
    case 'p':
        return priority_parse(call, value) ? EXIT_OK : EXIT_USAGE;
    case 's':
        call->scope = value;
        return EXIT_OK;
    case 't':
        if (!duration_parse(value, &call->timeout_ns)) {
            complain("call: --timeout %s is no duration: give '2s' or '500ms'", value);
            return EXIT_USAGE;
        }
        return EXIT_OK;
    default:
        if (option != 'I' && common_option(&call->options, option, value)) {
            return EXIT_OK;
        }
        return option_refused(&call->options, argc, argv, option);
    }
}

int call_main(int argc, char *argv[])
{
    static const struct option longs[] = {{"header", required_argument, NULL, 'H'},
                                          {"body", required_argument, NULL, 'b'},
                                          {"path", required_argument, NULL, 'P'},
                                          {"priority", required_argument, NULL, 'p'},
                                          {"scope", required_argument, NULL, 's'},
                                          {"timeout", required_argument, NULL, 't'},
                                          COMMON_LONG};
    struct call call = {.options.command = "call", .priority = -1};
    int code = EXIT_OK;
    for (int c;
         code == EXIT_OK && (c = getopt_long(argc, argv, ":" COMMON_SHORT, longs, NULL)) != -1;) {
        if (c == 'h') {
            (void)fputs(help, stdout);
            free(call.body);
            return EXIT_OK;
        }
        code = call_option(&call, argc, argv, c, optarg);
    }
    if (code == EXIT_OK && optind >= argc) {
        complain("call: name a route: list them with weir limits --routes");
        code = EXIT_USAGE;
    }
    if (code == EXIT_OK) {
        call.route = argv[optind];
        code = query_make(&call, argv + optind + 1, argc - optind - 1);
    }
    if (code == EXIT_OK) {
        code = call_run(&call);
    }
    free(call.query);
    free(call.body);
    return code;
}
