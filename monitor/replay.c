/*
 * replay.c: `weir replay`: a recorded log against a configuration.
 *
 * The configuration is read, and the permits are judged, by the same code that runs the broker, and that code is weird's: monitors do not link it. So this
 * command becomes `weird --replay`, from beside this program or from PATH.
 */
#include "command.h"

#include "exit_codes.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: weir replay CONFIG LOG [options]\n"
    "\n"
    "What would this configuration have refused? Runs the calls of a log against it, offline, in "
    "the\n"
    "log's own time. LOG is '-', JSON lines or an access log: weird(8), Replay, has the forms.\n"
    "\n"
    "  --as-sent            count all calls as made: where is a quota exceeded?\n"
    "  --keep-time          access logs: keep whole seconds instead of spreading calls over them\n"
    "  --provider NAME      access logs: only routes of this provider\n"
    "  --json               one JSON object\n"
    "\n"
    "exit: 0 replayed, 1 usage or no call in the log, 2 configuration\n";

/* Try one place. Returns only where it could not be run. */
static void try_at(const char *self, const char *beside, char *const argv[])
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s%s", self, beside);
    (void)execv(path, argv);
}

static int weird_become(char *const argv[])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        try_at(self, "/../sbin/weird", argv); /* as installed */
        try_at(self, "/weird", argv);
    }
    (void)execvp("weird", argv);
    complain("replay: cannot run weird: %s: install it beside weir, or put its folder into PATH",
             strerror(errno));
    return EXIT_USAGE;
}

int replay_main(int argc, char *argv[])
{
    static const struct option longs[] = {
        {"as-sent", no_argument, NULL, 'a'},        {"keep-time", no_argument, NULL, 't'},
        {"provider", required_argument, NULL, 'P'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    struct options options = {.command = "replay"};
    bool as_sent = false, keep_time = false, json = false;
    char *provider = NULL;
    /* execv wants them writable */
    static char name[] = "weird", as_sent_text[] = "--as-sent", keep_text[] = "--keep-time",
                json_text[] = "--json", provider_text[] = "--provider", config_text[] = "--config",
                replay_text[] = "--replay";
    char *to[12] = {name}; /* and at most 9 more, and NULL */
    unsigned n = 1;
    for (int c; (c = getopt_long(argc, argv, ":h", longs, NULL)) != -1;) {
        if (c == 'h') {
            (void)fputs(help, stdout);
            return EXIT_OK;
        }
        if (c != 'a' && c != 't' && c != 'P' && c != 'j') {
            return option_refused(&options, argc, argv, c);
        }
        as_sent |= c == 'a';
        keep_time |= c == 't';
        json |= c == 'j';
        provider = c == 'P' ? optarg : provider;
    }
    if (argc - optind != 2) {
        complain("replay: wants a configuration and a log: see weir replay --help");
        return EXIT_USAGE;
    }
    if (as_sent) {
        to[n++] = as_sent_text;
    }
    if (keep_time) {
        to[n++] = keep_text;
    }
    if (json) {
        to[n++] = json_text;
    }
    if (provider != NULL) {
        to[n++] = provider_text;
        to[n++] = provider;
    }
    to[n++] = config_text;
    to[n++] = argv[optind];
    to[n++] = replay_text;
    to[n] = argv[optind + 1];
    return weird_become(to);
}
