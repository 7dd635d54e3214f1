/*
 * main.c: weir-bench: which rows, in which order, told how.
 */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "duel.h"
#include "stats.h"

#define ROWS_MAX          64U
#define EXIT_USAGE        1
#define EXIT_ABSENT       4    /* a row could not be measured */
#define BENCH_CLIENTS_MAX 250U /* of one broker at once, and one of ours */
#define ROUNDS            15U
#define ROW_S             3.0

const struct bench_row bench_row[] = {
#undef BENCH_ROW
#define BENCH_ROW(name, topic, unit, judge, budget, measure, what, against) \
    {name, topic, unit, judge, budget, measure, what, against},
#include "rows.def"
};
const unsigned bench_row_cnt = WEIR_ARRAY_CNT(bench_row);

static const char *const topics[] = {"permit", "ring", "http", "attach"};

static const char usage[] =
    "usage: weir-bench [permit] [ring] [http] [attach] [options]\n"
    "Measures weir against the least that the same job can cost here. Without a group: all.\n"
    "\n"
    "      --json         print one JSON object\n"
    "      --rounds N     pairs of floor and subject per row; 15 or more to be judged (15)\n"
    "      --seconds S    time for each row (3)\n"
    "      --only ROW     one row alone\n"
    "      --procs N      also the rows with N processes, each on its own core if there are "
    "enough\n"
    "      --clients N    also the row http_clients, with N processes\n"
    "      --weird PATH   the broker to start (beside this build, else in PATH)\n"
    "      --list         print all rows and budgets as a Markdown table\n"
    "  -h, --help         print this\n"
    "  -V, --version      print the version\n"
    "\n"
    "Exit code: 0 all asked for was measured (whether or not budgets hold), 1 usage, 4 some row\n"
    "could not be measured.\n";

int bench_core(const struct bench *bench, unsigned idx)
{
    const struct machine *machine = &bench->machine;
    return machine->core_cnt ? machine->core[idx % machine->core_cnt] : 0;
}

double bench_slice_s(const struct bench *bench)
{
    return bench->opts.row_s / (2.0 * (bench->opts.round_cnt + 1));
}

static _Noreturn void usage_error(const char *what, const char *value, const char *allowed)
{
    fprintf(stderr, "weir-bench: %s: value=%s: %s: see weir-bench --help\n", what, value, allowed);
    exit(EXIT_USAGE);
}

static double number_of(const char *what, const char *text, double min, double max)
{
    char allowed[64];
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= min && value <= max)) {
        snprintf(allowed, sizeof(allowed), "must be a number in %g..%g", min, max);
        usage_error(what, text, allowed);
    }
    return value;
}

static bool topic_asked[WEIR_ARRAY_CNT(topics)];

static void topics_parse(int argc, char **argv)
{
    for (int i = optind; i < argc; i++) {
        size_t k = 0;
        while (k < WEIR_ARRAY_CNT(topics) && strcmp(argv[i], topics[k]) != 0) {
            k++;
        }
        if (k == WEIR_ARRAY_CNT(topics)) {
            usage_error("group", argv[i], "must be permit, ring, http or attach");
        }
        topic_asked[k] = true;
    }
    if (optind == argc) {
        memset(topic_asked, true, sizeof(topic_asked));
    }
}

static void only_check(const char *only)
{
    for (unsigned i = 0; i < bench_row_cnt; i++) {
        if (strcmp(bench_row[i].name, only) == 0) {
            return;
        }
    }
    usage_error("--only", only, "there is no such row; weir-bench --list names them");
}

enum {
    OPT_JSON = 256,
    OPT_ROUNDS,
    OPT_SECONDS,
    OPT_ONLY,
    OPT_PROCS,
    OPT_CLIENTS,
    OPT_WEIRD,
    OPT_LIST
};

static const struct option long_opts[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"only", required_argument, NULL, OPT_ONLY},
    {"procs", required_argument, NULL, OPT_PROCS},
    {"clients", required_argument, NULL, OPT_CLIENTS},
    {"weird", required_argument, NULL, OPT_WEIRD},
    {"list", no_argument, NULL, OPT_LIST},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static void opt_take(struct bench_opts *opts, int opt)
{
    switch (opt) {
    case OPT_JSON:
        opts->json = true;
        return;
    case OPT_ROUNDS:
        opts->round_cnt = (unsigned)number_of("--rounds", optarg, 1, STATS_PAIRS_MAX);
        return;
    case OPT_SECONDS:
        opts->row_s = number_of("--seconds", optarg, 0.05, 60);
        return;
    case OPT_ONLY:
        only_check(optarg);
        opts->only = optarg;
        return;
    case OPT_PROCS:
        opts->proc_cnt = (unsigned)number_of("--procs", optarg, 1, DUEL_MEMBERS_MAX);
        return;
    case OPT_CLIENTS:
        opts->client_cnt = (unsigned)number_of("--clients", optarg, 1, BENCH_CLIENTS_MAX);
        return;
    case OPT_WEIRD:
        opts->weird = optarg;
        return;
    case OPT_LIST:
        bench_print_list();
        exit(0);
    case 'h':
        fputs(usage, stdout);
        exit(0);
    case 'V':
        puts("weir-bench " WEIR_VERSION);
        exit(0);
    default:
        fputs("weir-bench: see weir-bench --help\n", stderr);
        exit(EXIT_USAGE);
    }
}

static bool is_asked(const struct bench *bench, const struct bench_row *row)
{
    if (bench->opts.only) {
        return strcmp(row->name, bench->opts.only) == 0;
    }
    if (bench->opts.proc_cnt == 0 && strstr(row->name, "_Nproc")) {
        return false;
    }
    if (bench->opts.client_cnt == 0 && strcmp(row->name, "http_clients") == 0) {
        return false;
    }
    for (size_t k = 0; k < WEIR_ARRAY_CNT(topics); k++) {
        if (strcmp(row->topic, topics[k]) == 0) {
            return topic_asked[k];
        }
    }
    return false;
}

/* Returns how many rows could not be measured. */
static unsigned rows_run(const struct bench *bench)
{
    static const struct bench_row *rows[ROWS_MAX];
    static struct bench_result results[ROWS_MAX];
    unsigned cnt = 0;
    unsigned failed_cnt = 0;
    for (unsigned i = 0; i < bench_row_cnt && cnt < ROWS_MAX; i++) {
        if (!is_asked(bench, &bench_row[i])) {
            continue;
        }
        rows[cnt] = &bench_row[i];
        if (rows[cnt]->measure(bench, &results[cnt]) != 0) {
            failed_cnt++;
        }
        if (!bench->opts.json) {
            bench_print_row(rows[cnt], &results[cnt]);
        }
        cnt++;
    }
    if (bench->opts.json && bench_print_json(bench, rows, results, cnt) != 0) {
        fputs("weir-bench: cannot print JSON: out of memory or stdout is closed\n", stderr);
        failed_cnt++;
    }
    return failed_cnt;
}

int main(int argc, char **argv)
{
    struct bench bench = {.opts = {.round_cnt = ROUNDS, .row_s = ROW_S}};
    int opt;
    while ((opt = getopt_long(argc, argv, "hV", long_opts, NULL)) != -1) {
        opt_take(&bench.opts, opt);
    }
    topics_parse(argc, argv);
    if (bench.opts.only && strstr(bench.opts.only, "_Nproc") && bench.opts.proc_cnt == 0) {
        usage_error("--only", bench.opts.only, "needs --procs N");
    }
    if (bench.opts.only && strcmp(bench.opts.only, "http_clients") == 0 &&
        bench.opts.client_cnt == 0) {
        usage_error("--only", bench.opts.only, "needs --clients N");
    }
    signal(SIGPIPE, SIG_IGN); /* nginx or redis may go away under us */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    machine_read(&bench.machine);
    if (!bench.opts.json) {
        bench_print_head(&bench);
    }
    return rows_run(&bench) ? EXIT_ABSENT : 0;
}
