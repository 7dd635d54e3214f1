/* view.c: from a board to the screen: once, or again and again across restarts of the broker. */
#include "command.h"

#include "exit_codes.h"
#include "print.h"
#include "weir_error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("weir: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

/* ---------------------------------------------------------------------------------------------- json */

int json_out(json_t *object, bool indent)
{
    int rc = object == NULL
                 ? -1
                 : json_dumpf(object, stdout,
                              (indent ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(9));
    json_decref(object);
    (void)fputc('\n', stdout);
    if (rc != 0 || fflush(stdout) != 0) {
        complain("cannot write: stdout: %s", object == NULL ? "no memory" : strerror(errno));
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

json_t *json_field(const char *field, size_t field_bytes)
{
    char text[TEXT_BYTES];
    return json_string(print_text(text, field, field_bytes));
}

json_t *json_u64(uint64_t v)
{
    return json_integer((json_int_t)weir_min_u64(v, INT64_MAX));
}

double rate_per_s(uint64_t now, uint64_t before, const struct image *image,
                  const struct image *image_before)
{
    if (image_before == NULL || now < before || image->now_ns <= image_before->now_ns) {
        return 0;
    }
    return (double)(now - before) * 1e9 / (double)(image->now_ns - image_before->now_ns);
}

/* ---------------------------------------------------------------------------------------------- one copy */

static int findings_complain(const char *what, int rc, const struct findings *findings)
{
    complain("cannot read the board: %s: %s%s%s: %s", what, weir_error_text(rc),
             findings->cnt > 0 ? ": " : "", findings->cnt > 0 ? findings->text[0] : "",
             rc == WEIR_E_CORRUPT ? "look closer with weir inspect --check" : weir_error_hint(rc));
    return rc == WEIR_E_NOT_READY ? EXIT_ABSENT : EXIT_CORRUPT;
}

static int image_once(const struct options *options, struct image *image)
{
    struct findings findings = {0};
    int rc = image_load(image, options->image);
    if (rc == WEIR_E_SYSTEM) {
        complain("cannot read the board: file=%s: %s", options->image, strerror(errno));
        return errno == ENOENT ? EXIT_ABSENT : errno == EACCES ? EXIT_PERMISSION : EXIT_USAGE;
    }
    if (rc == WEIR_E_MEMORY) {
        complain("cannot read the board: file=%s: %s", options->image, weir_error_text(rc));
        return EXIT_USAGE;
    }
    if (rc != WEIR_OK) {
        complain("cannot read the board: file=%s: it is no saved board: make one with weir inspect "
                 "--save",
                 options->image);
        return EXIT_CORRUPT;
    }
    rc = image_open(image, &findings);
    return rc == WEIR_OK ? EXIT_OK : findings_complain(options->image, rc, &findings);
}

static int copy_once(const struct options *options, const struct board *board, struct image *image)
{
    struct findings findings = {0};
    int rc = board_copy(board, image, &findings);
    char what[TEXT_BYTES];
    (void)snprintf(what, sizeof what, "name=%.64s", board_name(&options->target));
    return rc == WEIR_OK ? EXIT_OK : findings_complain(what, rc, &findings);
}

int board_once(const struct options *options, struct image *image)
{
    if (options->image != NULL) {
        return image_once(options, image);
    }
    struct board board;
    char reason[BOARD_REASON_BYTES];
    int code = board_attach(&board, &options->target, reason);
    if (code != EXIT_OK) {
        complain("cannot attach: %s", reason);
        return code;
    }
    code = copy_once(options, &board, image);
    board_detach(&board);
    return code;
}

/* ---------------------------------------------------------------------------------------------- show */

/* One frame. Returns the exit code that a single look would have. */
static int show(const struct view *view, const struct options *options, const struct image *image,
                const struct image *before)
{
    struct image_health health;
    char text[FINDING_TEXT_BYTES];
    image_health_get(image, &health);
    int code = image_health_text(&health, text, sizeof text);
    if (options->json) {
        int rc = json_out(view->json(image, before, options), !options->watch);
        code = rc != EXIT_OK ? rc : code;
    } else {
        view->text(stdout, image, before, options);
        if (fflush(stdout) != 0) {
            complain("cannot write: stdout: %s", strerror(errno));
            code = EXIT_USAGE;
        }
    }
    if (text[0] != '\0') {
        complain("name=%s: %s", board_name(&options->target), text);
    }
    return code;
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* What has changed since the last turn that a reader of numbers must know. */
static void changes_say(const struct options *options, const struct image *image,
                        const struct image *before)
{
    struct image_health now, then;
    image_health_get(image, &now);
    image_health_get(before, &then);
    if (image->view.header->broker_id != before->view.header->broker_id) {
        complain("name=%s: another broker answers now (pid %u): all counters start again",
                 board_name(&options->target), now.supervisor.pid);
    } else if (now.gate.incarnation != then.gate.incarnation) {
        complain("name=%s: the worker was restarted: incarnation %u -> %u, pid %u",
                 board_name(&options->target), then.gate.incarnation, now.gate.incarnation,
                 now.worker.pid);
    }
}

static void pause_until_next(const struct options *options)
{
    (void)poll(NULL, 0, (int)(options->watch_ns / WEIR_NS_PER_MS)); /* SIGINT ends it early */
}

struct watch {
    struct board board;
    struct image image[2]; /* this turn's and the one before */
    unsigned turn;
    bool attached;
    char reason[BOARD_REASON_BYTES]; /* why the last attach failed: said once, not every turn */
};

static bool watch_attach(struct watch *watch, const struct options *options)
{
    char reason[BOARD_REASON_BYTES];
    if (board_attach(&watch->board, &options->target, reason) != EXIT_OK) {
        if (strcmp(reason, watch->reason) != 0) {
            complain("cannot attach: %s (trying again)", reason);
            memcpy(watch->reason, reason, sizeof reason);
        }
        return false;
    }
    watch->reason[0] = '\0';
    watch->attached = true;
    return true;
}

static int watch_turn(struct watch *watch, const struct view *view, const struct options *options)
{
    struct image *image = &watch->image[watch->turn % 2];
    struct image *before = &watch->image[(watch->turn + 1) % 2];
    int code = copy_once(options, &watch->board, image);
    if (code != EXIT_OK) {
        image_free(image);
        image_free(before);
        return code;
    }
    bool first = before->bytes == NULL;
    bool same = !first && image->view.header->broker_id == before->view.header->broker_id;
    if (!options->json && isatty(STDOUT_FILENO)) {
        (void)fputs("\033[H\033[2J", stdout);
    }
    code = show(view, options, image, same ? before : NULL);
    if (!first) {
        changes_say(options, image, before);
    }
    watch->turn++;
    return code;
}

static int watch_run(const struct view *view, const struct options *options)
{
    struct watch watch = {.board = {.live.fd = -1, .socket = -1}};
    struct sigaction action = {.sa_handler = stop}; /* no SA_RESTART: the pause ends */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    while (!stopped) {
        if (watch.attached || watch_attach(&watch, options)) {
            int code = watch_turn(&watch, view, options);
            if (code == EXIT_USAGE) {
                break; /* nobody reads what is written */
            }
            if (!board_connected(&watch.board)) {
                complain(
                    "name=%s: the broker has ended: permits go on until the lease ends: trying "
                    "again",
                    board_name(&options->target));
                board_detach(&watch.board);
                watch.attached = false;
            }
        }
        pause_until_next(options);
    }
    board_detach(&watch.board);
    image_free(&watch.image[0]);
    image_free(&watch.image[1]);
    return stopped ? EXIT_OK : EXIT_USAGE;
}

int view_run(const struct view *view, const struct options *options)
{
    if (options->watch && options->image != NULL) {
        complain("%s: --watch and --image exclude each other: a saved board does not change",
                 options->command);
        return EXIT_USAGE;
    }
    if (options->watch) {
        return watch_run(view, options);
    }
    struct image image = {.view.fd = -1};
    int code = board_once(options, &image);
    if (code == EXIT_OK) {
        code = show(view, options, &image, NULL);
    }
    image_free(&image);
    return code;
}
