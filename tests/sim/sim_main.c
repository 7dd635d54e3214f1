/* weir-sim: the command line. */
#include "sim_server.h"

#include <getopt.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_CONFIG = 2 };

static const char usage[] =
    "usage: weir-sim [--config FILE.json] [--listen ADDRESS:PORT]\n"
    "\n"
    "An exchange simulator: it counts and refuses calls as Binance spot does, and\n"
    "reports what it saw at GET /sim/report.\n"
    "\n"
    "  -c, --config FILE.json     limits, bans, weights, latency, faults (default: Binance spot)\n"
    "  -l, --listen ADDRESS:PORT  where to serve (default 127.0.0.1:0; port 0 takes a free one)\n"
    "  -h, --help                 print this\n"
    "  -V, --version              print the version\n"
    "\n"
    "The first line on stdout says the address. Exit: 0 ended by SIGTERM or SIGINT,\n"
    "1 usage, 2 configuration. See weir-sim(1).\n";

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

int main(int argc, char **argv)
{
    const char *config_path = NULL;
    const char *listen_text = "127.0.0.1:0";
    struct sockaddr_in address;
    static struct sim_config config;
    struct sim_error error = {"out of memory"};
    int option;

    while ((option = getopt_long(argc, argv, "c:l:hV", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'l':
            listen_text = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        case 'V':
            puts("weir-sim " WEIR_VERSION);
            return EXIT_OK;
        default:
            fputs("Try 'weir-sim --help'.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "weir-sim: %s: takes no arguments: try 'weir-sim --help'\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!sim_listen_parse(listen_text, &address, &error)) {
        fprintf(stderr, "weir-sim: %s\n", error.text);
        return EXIT_USAGE;
    }
    sim_config_default(&config);
    if (config_path && !sim_config_load(config_path, &config, &error)) {
        fprintf(stderr, "weir-sim: bad configuration: %s: %s\n", config_path, error.text);
        return EXIT_CONFIG;
    }
    if (!sim_serve(&config, &address, &error)) {
        fprintf(stderr, "weir-sim: %s\n", error.text);
        return EXIT_CONFIG;
    }
    return EXIT_OK;
}
