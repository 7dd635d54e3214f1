/* ctl.c: `weir ctl`: an operator's orders to a broker. What was done goes to stdout, what was not to stderr. */
#include "command.h"

#include "exit_codes.h"
#include "weir_error.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct order {
    struct options options;
    const char *verb;
    struct weir_operate operate;
};

static const char help[] =
    "usage: weir ctl pause PROVIDER [DURATION|until-resume] [options]\n"
    "       weir ctl resume PROVIDER [options]\n"
    "       weir ctl block CLIENT|all [options]\n"
    "       weir ctl unblock CLIENT|all [options]\n"
    "       weir ctl balance PROVIDER KIND [options]\n"
    "       weir ctl check PROVIDER [options]\n"
    "\n"
    "pause: nobody calls this provider for so long (30s, 10m, 2h, 1d), or until it is resumed, "
    "which "
    "is\nthe default. resume: ends whatever pause there is, one that the exchange asked for too. "
    "block: this\n"
    "client, by its index or name in weir stat, or every client, gets no permit and no call.\n"
    "balance: calls are spread over the provider's endpoints by KIND from now on: failover, "
    "round_robin,\nweighted_round_robin, least_latency, least_connections, two_choices, or "
    "configured. check: its\nendpoints are asked how they are, now.\n"
    "\n"
    "  --reason TEXT        for the broker's log, at most 95 characters\n"
    "  --json               what was done, as one JSON object\n"
    "  -n, --name NAME      the broker (default: $WEIR_NAME, or 'default')\n"
    "  --domain NAME        the domain whose socket is used (default: 'default')\n"
    "  --runtime-dir DIR    where sockets lie (default: $WEIR_RUNTIME_DIR, /run/weir)\n"
    "\n"
    "exit: 0 done, 1 usage, no such provider or client, 3 broker stale, 4 no broker, 5 another "
    "version,\n      6 permission: the broker's own uid and those of broker.operators may\n";

/* "30s", "2h", "1d": whole numbers with a unit, for spans that people think in. */
static bool span_parse(const char *text, uint64_t *ns)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"ms", WEIR_NS_PER_MS},
                 {"s", WEIR_NS_PER_S},
                 {"m", 60 * WEIR_NS_PER_S},
                 {"h", 3600 * WEIR_NS_PER_S},
                 {"d", 86400 * WEIR_NS_PER_S}};
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    unsigned long long n = strtoull(text, &end, 10);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            uint64_t most = 366 * 86400 * WEIR_NS_PER_S;
            *ns = n <= most / units[i].ns ? n * units[i].ns : 0;
            return *ns > 0;
        }
    }
    return false;
}

static int usage(const char *what, const char *value, const char *next)
{
    complain("ctl: %s%s%s: %s: see weir ctl --help", what, value[0] != '\0' ? " " : "", value,
             next);
    return EXIT_USAGE;
}

/* The kind behind "balance PROVIDER". */
static int balance_take(struct order *o, const char *kind)
{
    if (strcmp(kind, "configured") == 0) {
        o->operate.balance = WEIR_BALANCE_UNSET;
        return EXIT_OK;
    }
    for (uint32_t i = 1; i < WEIR_BALANCE_CNT; i++) {
        if (strcmp(kind, weir_balance_name(i)) == 0) {
            o->operate.balance = i;
            return EXIT_OK;
        }
    }
    return usage("no such balance", kind,
                 "it is one of failover, round_robin, weighted_round_robin, least_latency, "
                 "least_connections, two_choices, configured");
}

/* The words behind "ctl". */
static int words_take(struct order *o, int argc, char *const argv[])
{
    static const char *const verbs[] = {"?",       "pause",   "resume", "block",
                                        "unblock", "balance", "check"};
    const char *verb = argc > 0 ? argv[0] : "";
    for (uint32_t i = 1; i < WEIR_ARRAY_CNT(verbs); i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            o->operate.operation = i;
        }
    }
    o->verb = verb;
    if (o->operate.operation == 0) {
        return usage("no such order", verb,
                     "it is one of pause, resume, block, unblock, balance, check");
    }
    bool of_provider = o->operate.operation != WEIR_OPERATION_BLOCK &&
                       o->operate.operation != WEIR_OPERATION_UNBLOCK;
    const char *target = argc > 1 ? argv[1] : "";
    if (!board_name_ok(target)) {
        return usage(target[0] == '\0' ? verb : "no name", target,
                     of_provider ? "name a provider" : "name a client, or all");
    }
    (void)snprintf(o->operate.target, sizeof o->operate.target, "%s", target);
    int most = o->operate.operation == WEIR_OPERATION_PAUSE ||
                       o->operate.operation == WEIR_OPERATION_BALANCE
                   ? 3
                   : 2;
    if (argc > most) {
        return usage("one word too many", argv[most], "remove it");
    }
    if (o->operate.operation == WEIR_OPERATION_BALANCE) {
        return balance_take(o, argc > 2 ? argv[2] : "");
    }
    if (argc == 3 && strcmp(argv[2], "until-resume") != 0 &&
        !span_parse(argv[2], &o->operate.duration_ns)) {
        return usage("no duration", argv[2],
                     "give 500ms, 30s, 10m, 2h, 1d (at most 366d) or until-resume");
    }
    return EXIT_OK;
}

static int order_run(const struct order *o)
{
    struct weir_operated answer = {0};
    char reason[BOARD_REASON_BYTES];
    char text[TEXT_BYTES * 2];
    int code = board_operate(&o->options.target, &o->operate, &answer, reason);
    if (code != EXIT_OK) {
        complain("cannot %s: target=%s %s", o->verb, o->operate.target, reason);
        return code;
    }
    (void)PRINT_TEXT(text, answer.text);
    if (!o->options.json) {
        (void)printf("%s\n", text);
        return EXIT_OK;
    }
    json_t *out = json_object();
    (void)json_object_set_new(out, "order", json_string(o->verb));
    (void)json_object_set_new(out, "target", json_string(o->operate.target));
    (void)json_object_set_new(out, "reached", json_integer(answer.cnt));
    (void)json_object_set_new(out, "text", json_string(text));
    return json_out(out, true);
}

static int order_option(struct order *o, int argc, char *argv[], int option, const char *value)
{
    if (option == 'e') {
        int n = snprintf(o->operate.reason, sizeof o->operate.reason, "%s", value);
        if (n < 0 || (size_t)n >= sizeof o->operate.reason) {
            return usage("--reason is too long", "", "at most 95 characters");
        }
        return EXIT_OK;
    }
    if (option != 'I' && common_option(&o->options, option, value)) {
        return EXIT_OK;
    }
    return option_refused(&o->options, argc, argv, option);
}

int ctl_main(int argc, char *argv[])
{
    static const struct option longs[] = {{"reason", required_argument, NULL, 'e'}, COMMON_LONG};
    struct order o = {.options.command = "ctl",
                      .operate = {.magic = WEIR_OPERATE_MAGIC,
                                  .version = WEIR_OPERATE_VERSION,
                                  .bytes = sizeof o.operate}};
    int code = EXIT_OK;
    for (int c;
         code == EXIT_OK && (c = getopt_long(argc, argv, ":" COMMON_SHORT, longs, NULL)) != -1;) {
        if (c == 'h') {
            (void)fputs(help, stdout);
            return EXIT_OK;
        }
        code = order_option(&o, argc, argv, c, optarg);
    }
    if (code == EXIT_OK) {
        code = words_take(&o, argc - optind, argv + optind);
    }
    return code == EXIT_OK ? order_run(&o) : code;
}
