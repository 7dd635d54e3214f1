/* options.c: what all commands understand on the command line. */
#include "command.h"

#include "exit_codes.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

bool common_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case 'n':
        options->target.name = value;
        return true;
    case 'D':
        options->target.domain = value;
        return true;
    case 'R':
        options->target.runtime_dir = value;
        return true;
    case 'I':
        options->image = value;
        return true;
    case 'j':
        options->json = true;
        return true;
    default:
        return false;
    }
}

int option_refused(const struct options *options, int argc, char *const argv[], int option)
{
    const char *given = optind > 0 && optind <= argc ? argv[optind - 1] : "?";
    if (option == ':') {
        complain("%s: option '%s' wants a value: see weir %s --help", options->command, given,
                 options->command);
    } else {
        complain("%s: unknown option '%s': see weir %s --help", options->command, given,
                 options->command);
    }
    return EXIT_USAGE;
}

bool duration_parse(const char *text, uint64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}, {"m", 60e9}};
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false; /* strtod would also take "inf", "-1" and blanks */
    }
    double v = strtod(text, &end);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            v *= units[i].ns;
            *ns = v >= 1 && v <= 86400e9 ? (uint64_t)v : 0;
            return *ns > 0;
        }
    }
    return false;
}
