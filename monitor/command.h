/*
 * command.h: what the program's commands share: options, and the loop of those that look at a board.
 */
#ifndef WEIR_MONITOR_COMMAND_H
#define WEIR_MONITOR_COMMAND_H

#include "board.h"
#include "print.h"

#include <jansson.h>

struct options {
    const char *command;
    struct board_target target;
    const char *image; /* look at this saved board instead of a live one */
    bool json;
    bool routes;     /* limits */
    bool priorities; /* limits */
    bool all;        /* limits */
    bool forecast;   /* limits */
    bool budget;     /* limits */
    bool shadow;     /* limits */
    bool by_client;  /* limits */
    bool watch;
    uint64_t watch_ns;
};

/* "weir: " and the message to stderr, with a line end. */
void complain(const char *format, ...) WEIR_PRINTF(1, 2);

/*
 * The options that all commands know. Returns true when `option` (of getopt_long) was one of them. `*exit_code` is set to EXIT_USAGE where
 * its value is not valid.
 */
#define COMMON_SHORT "n:h"
#define COMMON_LONG                                                                      \
    {"name", required_argument, NULL, 'n'}, {"domain", required_argument, NULL, 'D'},    \
        {"runtime-dir", required_argument, NULL, 'R'}, {"json", no_argument, NULL, 'j'}, \
        {"image", required_argument, NULL, 'I'}, {"help", no_argument, NULL, 'h'},       \
    {                                                                                    \
        NULL, 0, NULL, 0                                                                 \
    }
bool common_option(struct options *options, int option, const char *value);

/* Say which argument getopt_long did not take. Returns EXIT_USAGE. */
int option_refused(const struct options *options, int argc, char *const argv[], int option);

/* "2s", "250ms", "1.5" (seconds) to ns. False for anything else, and for 0 or more than a day. */
bool duration_parse(const char *text, uint64_t *ns);

/* One way to show a board. `before` is the copy of the turn before, for rates; NULL in the first. */
struct view {
    void (*text)(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options);
    json_t *(*json)(const struct image *image, const struct image *before,
                    const struct options *options); /* a new reference, or NULL without memory */
};

/* Show the board once, or until SIGINT with --watch. Returns the exit code. */
int view_run(const struct view *view, const struct options *options);

/* Take one copy of a live board or of options->image. Complains by itself. Returns an exit code. */
int board_once(const struct options *options, struct image *image);

/* Print one object to stdout, with a line end. Returns EXIT_OK, or EXIT_USAGE where it cannot be made or written. */
int json_out(json_t *object, bool indent);

/* A JSON string of a fixed-size field of the board, made printable. */
json_t *json_field(const char *field, size_t field_bytes);
#define JSON_FIELD(field) json_field(field, sizeof(field))

/* An unsigned 64-bit number; JSON has no larger one than 2^63 - 1 here, so above it the value is capped. */
json_t *json_u64(uint64_t v);

/* Events per second between two copies; 0 where there is no earlier copy or a counter started again. */
double rate_per_s(uint64_t now, uint64_t before, const struct image *image,
                  const struct image *image_before);

/* The commands. */
int audit_main(int argc, char *argv[]);
int stat_main(int argc, char *argv[]);
int limits_main(int argc, char *argv[]);
int call_main(int argc, char *argv[]);
int ctl_main(int argc, char *argv[]);
int replay_main(int argc, char *argv[]);
int inspect_main(int argc, char *argv[]);

/* Say what the journal in `path` remembers. Returns the exit code: 0 sound, 4 none there, 5 not to be trusted. */
int journal_print(const char *path);

/* The same for a slot that was found sound. */
struct weir_journal_view;
void journal_dump(FILE *out, const struct weir_journal_view *view);

/* Print a section of a board, or its header where `section` is NULL. */
void inspect_dump(FILE *out, const struct image *image, const struct image_section *section);

#endif
