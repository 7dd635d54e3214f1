/* weir.c: the program: picks the command, reads its options. */
#include "command.h"
#include "show_limits.h"
#include "show_stat.h"

#include "exit_codes.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- options */

/* --watch takes its value with or without '=', or none. */
static bool watch_option(struct options *options, int argc, char *const argv[], const char *value)
{
    options->watch = true;
    options->watch_ns = WEIR_NS_PER_S;
    if (value == NULL && optind < argc && isdigit((unsigned char)argv[optind][0])) {
        value = argv[optind++];
    }
    if (value != NULL &&
        (!duration_parse(value, &options->watch_ns) || options->watch_ns < 10 * WEIR_NS_PER_MS)) {
        complain("%s: --watch %s is no interval: give seconds from 0.01 on, or '500ms'",
                 options->command, value);
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- stat, limits */

#define VIEW_HELP_OPTIONS                                                                  \
    "  --json               one JSON object (with --watch: one a line)\n"                  \
    "  --watch [SECONDS]    again and again, with rates, until interrupted (default: 1)\n" \
    "  --image FILE         look at a board saved by weir inspect --save\n"                \
    "  -n, --name NAME      the broker (default: $WEIR_NAME, or 'default')\n"              \
    "  --domain NAME        the domain whose socket is used (default: 'default')\n"        \
    "  --runtime-dir DIR    where sockets lie (default: $WEIR_RUNTIME_DIR, /run/weir)\n"   \
    "\n"                                                                                   \
    "exit: 0 ok, 1 usage, 3 broker stale, 4 no broker, 5 corrupt or another version, 6 "   \
    "permission\n"

static const char stat_help[] =
    "usage: weir stat [options]\n"
    "\n"
    "The broker's health, its endpoints, where calls spend their time, routes and clients.\n"
    "\n" VIEW_HELP_OPTIONS;

static const char limits_help[] =
    "usage: weir limits [options]\n"
    "\n"
    "Every limit: quota, used, left, reset, refused; per provider its clock and its pauses.\n"
    "\n"
    "  --priorities         what is left for each of the five priorities\n"
    "  --all                also scope values of which nothing is used\n"
    "  --by client          who took how much of each limit\n"
    "  --routes             list the routes: method, priority, costs\n"
    "  --forecast           will each limit last at the pace of the last 10 s, and when does the "
    "dearest call pass?\n"
    "  --budget             limits of an hour and longer: how fast they burn, and when they "
    "empty\n"
    "  --shadow             what the configuration of weird --shadow would have "
    "refused\n" VIEW_HELP_OPTIONS;

static int view_options(struct options *options, int argc, char *argv[], const char *help)
{
    static const struct option longs[] = {{"watch", optional_argument, NULL, 'w'},
                                          {"routes", no_argument, NULL, 'r'},
                                          {"priorities", no_argument, NULL, 'p'},
                                          {"all", no_argument, NULL, 'a'},
                                          {"by", required_argument, NULL, 'B'},
                                          {"forecast", no_argument, NULL, 'f'},
                                          {"budget", no_argument, NULL, 'b'},
                                          {"shadow", no_argument, NULL, 's'},
                                          COMMON_LONG};
    const bool limits = strcmp(options->command, "limits") == 0;
    for (int c; (c = getopt_long(argc, argv, ":" COMMON_SHORT, longs, NULL)) != -1;) {
        if (c == 'h') {
            (void)fputs(help, stdout);
            return -1;
        }
        if (c == 'w') {
            if (!watch_option(options, argc, argv, optarg)) {
                return EXIT_USAGE;
            }
        } else if (limits && c == 'B') {
            if (strcmp(optarg, "client") != 0) {
                complain("limits: --by=%s: usage is listed by client: write --by client", optarg);
                return EXIT_USAGE;
            }
            options->by_client = true;
        } else if (limits && strchr("rpafbs", c) != NULL) {
            options->routes |= c == 'r';
            options->priorities |= c == 'p';
            options->all |= c == 'a';
            options->forecast |= c == 'f';
            options->budget |= c == 'b';
            options->shadow |= c == 's';
        } else if (!common_option(options, c, optarg)) {
            return option_refused(options, argc, argv, c);
        }
    }
    if (optind < argc) {
        complain("%s: '%s' is one argument too many: see weir %s --help", options->command,
                 argv[optind], options->command);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

int stat_main(int argc, char *argv[])
{
    static const struct view view = {stat_text, stat_json};
    struct options options = {.command = "stat"};
    int code = view_options(&options, argc, argv, stat_help);
    return code < 0 ? EXIT_OK : code != EXIT_OK ? code : view_run(&view, &options);
}

int limits_main(int argc, char *argv[])
{
    static const struct view limits = {limits_text, limits_json};
    static const struct view routes = {routes_text, routes_json};
    static const struct view forecast = {forecast_text, forecast_json};
    static const struct view budget = {budget_text, forecast_json};
    static const struct view shadow = {shadow_text, shadow_json};
    static const struct view clients = {by_client_text, by_client_json};
    struct options options = {.command = "limits"};
    int code = view_options(&options, argc, argv, limits_help);
    if (code == EXIT_OK && options.routes + options.priorities + options.forecast + options.budget +
                                   options.shadow + options.by_client >
                               1) {
        complain("limits: --routes, --priorities, --forecast, --budget, --shadow and --by client "
                 "are views of their own: give one");
        return EXIT_USAGE;
    }
    return code < 0          ? EXIT_OK
           : code != EXIT_OK ? code
                             : view_run(options.by_client  ? &clients
                                        : options.routes   ? &routes
                                        : options.forecast ? &forecast
                                        : options.budget   ? &budget
                                        : options.shadow   ? &shadow
                                                           : &limits,
                                        &options);
}

/* ---------------------------------------------------------------------------------------------- main */

static const char help[] =
    "usage: weir COMMAND [options]\n"
    "\n"
    "  stat      the broker's health, endpoints, latencies, routes, clients\n"
    "  limits    every limit: used, left, reset, refused; --routes lists the routes\n"
    "  audit     who used what, record by record\n"
    "  call      make one call through the broker\n"
    "  ctl       pause, resume, block, unblock\n"
    "  replay    a recorded log against a configuration: what would it have refused?\n"
    "  inspect   the shared memory itself: layout, check, raw sections\n"
    "\n"
    "weir COMMAND --help says more; so does weir(1).\n";

static const struct {
    const char *name;
    int (*main)(int argc, char *argv[]);
} commands[] = {
    {"stat", stat_main}, {"limits", limits_main}, {"audit", audit_main},     {"call", call_main},
    {"ctl", ctl_main},   {"replay", replay_main}, {"inspect", inspect_main},
};

int main(int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : "";
    opterr = 0;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        (void)fputs(help, stdout);
        return EXIT_OK;
    }
    if (strcmp(name, "--version") == 0) {
        (void)puts("weir " WEIR_VERSION);
        return EXIT_OK;
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return commands[i].main(argc - 1, argv + 1);
        }
    }
    if (name[0] == '\0') {
        (void)fputs(help, stderr);
    } else {
        complain(
            "unknown command '%s': it is one of stat, limits, audit, call, ctl, replay, inspect",
            name);
    }
    return EXIT_USAGE;
}
