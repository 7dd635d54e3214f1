/*
 * audit.c: `weir audit`: who used what, record by record.
 *
 * Records lie on the board in the order in which the worker took them, a few ms off the order in which they happened. They are shown in the order of their
 * instants: all at once, or, following, each a moment late, so that what the worker has yet to take can come before it.
 */
#include "audit.h"

#include "command.h"
#include "exit_codes.h"
#include "weir_error.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_MS 100
/* Ten of the worker's looks at the rings. */
#define HOLD_NS (100 * WEIR_NS_PER_MS)

static const char help[] =
    "usage: weir audit [options]\n"
    "\n"
    "Who used what: permits, what was given back or charged besides, refusals, calls and how they\n"
    "ended, in order of time. The broker keeps the last ones where its configuration has\n"
    "broker.audit; what is missing is said.\n"
    "\n"
    "  --follow             go on with what happens from now on, until interrupted\n"
    "  --since WHEN         nothing older: '10m' ago, or 2026-11-22T06:41:35Z\n"
    "  --client NAME        only clients of this name\n"
    "  --limit LIMIT        only what touches this limit: binance.weight_1m, or weight_1m\n"
    "  --json               one JSON object a line, as weir replay reads it\n"
    "  --image FILE         look at a board saved by weir inspect --save\n"
    "  -n, --name NAME      the broker (default: $WEIR_NAME, or 'default')\n"
    "  --domain NAME        the domain whose socket is used (default: 'default')\n"
    "  --runtime-dir DIR    where sockets lie (default: $WEIR_RUNTIME_DIR, /run/weir)\n"
    "\n"
    "exit: 0 ok, 1 usage or no audit is kept, 3 broker stale, 4 no broker, 5 corrupt or another\n"
    "version, 6 permission\n";

/* ---------------------------------------------------------------------------------------------- options */

/* Exactly 2026-11-22T06:41:35Z; false for anything else, and for a day that does not exist. */
static bool utc_parse(const char *text, uint64_t *utc_ns)
{
    struct tm parts = {0};
    struct tm back;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end == NULL || *end != '\0') {
        return false;
    }
    int day = parts.tm_mday;
    time_t s = timegm(&parts); /* makes March 2 of February 30, in `parts` too */
    bool ok = s > 0 && gmtime_r(&s, &back) != NULL && back.tm_mday == day;
    *utc_ns = ok ? (uint64_t)s * WEIR_NS_PER_S : 0;
    return ok;
}

static uint64_t utc_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * WEIR_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* A duration of at most a day is before now; anything else must be an instant. */
static bool since_parse(const char *text, uint64_t *utc_ns)
{
    uint64_t ago_ns;
    if (duration_parse(text, &ago_ns)) {
        *utc_ns = utc_now_ns() - ago_ns;
        return true;
    }
    return utc_parse(text, utc_ns);
}

/* ---------------------------------------------------------------------------------------------- a batch */

struct audit_run {
    const struct options *options;
    struct audit_filter filter;
    bool follow;
    bool begun;    /* the first look is done */
    uint64_t next; /* number of the first record not yet seen */
    struct weir_shm_audit_record *record;
    size_t cnt, capacity;
    uint64_t broker_id;
    char reason[BOARD_REASON_BYTES]; /* why the last attach failed: said once */
};

static bool keep(struct audit_run *run, const struct weir_shm_audit_record *r)
{
    if (run->cnt == run->capacity) {
        size_t capacity = run->capacity * 2 + 256;
        struct weir_shm_audit_record *more =
            reallocarray(run->record, capacity, sizeof *run->record);
        if (more == NULL) {
            return false;
        }
        run->record = more;
        run->capacity = capacity;
    }
    run->record[run->cnt++] = *r;
    return true;
}

static int by_time(const void *a, const void *b)
{
    const struct weir_shm_audit_record *x = a;
    const struct weir_shm_audit_record *y = b;
    return x->at_ns != y->at_ns     ? (x->at_ns < y->at_ns ? -1 : 1)
           : x->number != y->number ? (x->number < y->number ? -1 : 1)
                                    : 0;
}

static bool line_out(json_t *o)
{
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_COMPACT) == 0 && fputc('\n', stdout) != EOF;
    json_decref(o);
    return ok;
}

static bool lost_out(const struct audit_run *run, const struct image *image,
                     const struct audit_view *view, uint64_t cnt)
{
    if (run->options->json) {
        return line_out(audit_lost_json(view, image->now_ns, cnt));
    }
    audit_lost_text(stdout, cnt);
    return true;
}

/* Print what happened before `until_ns`, in its order, and keep the rest. */
static bool flush(struct audit_run *run, const struct image *image, const struct audit_view *view,
                  uint64_t until_ns)
{
    size_t n = 0;
    bool ok = true;
    if (run->cnt > 0) {
        qsort(run->record, run->cnt, sizeof *run->record, by_time);
    }
    for (; ok && n < run->cnt && run->record[n].at_ns < until_ns; n++) {
        if (run->options->json) {
            ok = line_out(audit_json(image, view, &run->record[n]));
        } else {
            audit_text(stdout, image, view, &run->record[n]);
        }
    }
    if (n > 0) {
        memmove(run->record, run->record + n, (run->cnt - n) * sizeof *run->record);
        run->cnt -= n;
    }
    return ok && fflush(stdout) == 0 && ferror(stdout) == 0;
}

/* Are records of the time that was asked for missing before the first that is there? */
static uint64_t missing(const struct audit_run *run, const struct image *image,
                        const struct audit_view *view)
{
    struct weir_shm_audit_record r;
    if (view->first <= run->next) {
        return 0;
    }
    bool early = !run->begun && run->filter.since_utc_ns > 0 &&
                 audit_record_get(image, view, view->first, &r) &&
                 audit_utc_ns(view, r.at_ns) < run->filter.since_utc_ns;
    return early ? 0 : view->first - run->next;
}

/* Take what is new on the board. Returns EXIT_OK or EXIT_USAGE (said). */
static int batch(struct audit_run *run, const struct image *image)
{
    struct audit_view view;
    audit_view_get(image, &view);
    if (!view.kept) {
        complain("audit: this broker keeps no audit: set broker.audit in its configuration");
        return EXIT_USAGE;
    }
    uint64_t lost = missing(run, image, &view);
    bool ok = true;
    for (uint64_t k = weir_max_u64(run->next, view.first); ok && k <= view.last; k++) {
        struct weir_shm_audit_record r;
        if (!audit_record_get(image, &view, k, &r)) {
            lost++; /* a damaged board */
        } else if (audit_matches(image, &run->filter, &view, &r)) {
            ok = keep(run, &r);
        }
    }
    if (!ok) {
        complain("audit: no memory for %zu records: narrow it with --since, --client or --limit",
                 run->cnt);
        return EXIT_USAGE;
    }
    run->next = weir_max_u64(run->next, view.last + 1);
    if (!run->begun && !run->options->json) {
        audit_text_title(stdout);
    }
    run->begun = true;
    uint64_t until_ns =
        run->follow && image->now_ns > HOLD_NS ? image->now_ns - HOLD_NS : UINT64_MAX;
    ok = lost == 0 || lost_out(run, image, &view, lost);
    if (!ok || !flush(run, image, &view, until_ns)) {
        complain("cannot write: stdout: %s", strerror(errno));
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

/* ---------------------------------------------------------------------------------------------- follow */

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static bool attach(struct audit_run *run, struct board *board)
{
    char reason[BOARD_REASON_BYTES];
    if (board_attach(board, &run->options->target, reason) != EXIT_OK) {
        if (strcmp(reason, run->reason) != 0) {
            complain("cannot attach: %s (trying again)", reason);
            memcpy(run->reason, reason, sizeof reason);
        }
        return false;
    }
    run->reason[0] = '\0';
    if (board->broker_id != run->broker_id) {
        run->broker_id = board->broker_id;
        run->next = 1; /* another broker numbers anew */
    }
    return true;
}

/* One look. Returns EXIT_OK to go on. */
static int follow_turn(struct audit_run *run, const struct board *board, struct image *image)
{
    struct findings findings;
    int rc = board_copy(board, image, &findings);
    if (rc != WEIR_OK) {
        complain("cannot read the board: name=%s: %s: look closer with weir inspect --check",
                 board_name(&run->options->target), weir_error_text(rc));
        return EXIT_CORRUPT;
    }
    return batch(run, image);
}

/* Print what is held back. */
static int follow_end(struct audit_run *run, const struct image *image)
{
    struct audit_view view;
    if (image->bytes == NULL || run->cnt == 0) {
        return EXIT_OK;
    }
    audit_view_get(image, &view);
    return flush(run, image, &view, UINT64_MAX) ? EXIT_OK : EXIT_USAGE;
}

static int follow(struct audit_run *run)
{
    struct board board = {.live.fd = -1, .socket = -1};
    struct image image = {.view.fd = -1};
    struct sigaction action = {.sa_handler = stop}; /* no SA_RESTART: the pause ends */
    bool attached = false;
    int code = EXIT_OK;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    while (!stopped && code == EXIT_OK) {
        attached = attached || attach(run, &board);
        if (attached) {
            /* before the look: what a broker wrote before it ended is still there */
            bool connected = board_connected(&board);
            code = follow_turn(run, &board, &image);
            if (code == EXIT_OK && !connected) {
                complain("name=%s: the broker has ended: trying again",
                         board_name(&run->options->target));
                code = follow_end(run, &image);
                board_detach(&board);
                attached = false;
            }
        }
        (void)poll(NULL, 0, stopped ? 0 : POLL_MS); /* SIGINT ends it early */
    }
    code = code == EXIT_OK ? follow_end(run, &image) : code;
    board_detach(&board);
    image_free(&image);
    return code;
}

/* ---------------------------------------------------------------------------------------------- once */

static int once(struct audit_run *run)
{
    struct image image = {.view.fd = -1};
    struct image_health health;
    char text[FINDING_TEXT_BYTES];
    int code = board_once(run->options, &image);
    if (code == EXIT_OK) {
        code = batch(run, &image);
    }
    if (code == EXIT_OK) {
        image_health_get(&image, &health);
        code = image_health_text(&health, text, sizeof text);
        if (text[0] != '\0') {
            complain("name=%s: %s", board_name(&run->options->target), text);
        }
    }
    image_free(&image);
    return code;
}

/* Returns EXIT_OK, -1 for help, or EXIT_USAGE. */
static int audit_options(struct audit_run *run, struct options *options, int argc, char *argv[])
{
    static const struct option longs[] = {{"follow", no_argument, NULL, 'f'},
                                          {"since", required_argument, NULL, 's'},
                                          {"client", required_argument, NULL, 'c'},
                                          {"limit", required_argument, NULL, 'l'},
                                          COMMON_LONG};
    for (int c; (c = getopt_long(argc, argv, ":" COMMON_SHORT, longs, NULL)) != -1;) {
        if (c == 'h') {
            (void)fputs(help, stdout);
            return -1;
        }
        if (c == 's' && !since_parse(optarg, &run->filter.since_utc_ns)) {
            complain("audit: --since=%s: is neither a duration up to a day (10m, 90s) nor an "
                     "instant such as 2026-11-22T06:41:35Z",
                     optarg);
            return EXIT_USAGE;
        }
        run->follow |= c == 'f';
        run->filter.client = c == 'c' ? optarg : run->filter.client;
        run->filter.limit = c == 'l' ? optarg : run->filter.limit;
        if (strchr("fscl", c) == NULL && !common_option(options, c, optarg)) {
            return option_refused(options, argc, argv, c);
        }
    }
    if (optind < argc) {
        complain("audit: '%s' is one argument too many: see weir audit --help", argv[optind]);
        return EXIT_USAGE;
    }
    if (run->follow && options->image != NULL) {
        complain("audit: --follow and --image exclude each other: a saved board does not change");
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

int audit_main(int argc, char *argv[])
{
    struct options options = {.command = "audit"};
    struct audit_run run = {.options = &options, .next = 1};
    int code = audit_options(&run, &options, argc, argv);
    if (code == EXIT_OK) {
        code = run.follow ? follow(&run) : once(&run);
    }
    free(run.record);
    return code < 0 ? EXIT_OK : code;
}
