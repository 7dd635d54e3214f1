/* weir-demo: the exchange simulator, four strategies each for itself, then the same four through weir. scripts/demo.sh runs it. */
#include "demo.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

struct demo_options {
    const char *sim, *weird; /* programs */
    const char *config;      /* folder of sim.json and weir.yaml */
    const char *work;        /* folder for sockets and logs */
    unsigned seconds;
    bool keep;
};

static pid_t sim_pid, weird_pid;
static char url[64];
static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void stop(pid_t *pid)
{
    if (*pid > 0) {
        (void)kill(*pid, SIGTERM);
        (void)waitpid(*pid, NULL, 0);
        *pid = 0;
    }
}

static void __attribute__((noreturn)) die(const char *what)
{
    (void)fprintf(stderr, "weir-demo: %s\n", what);
    stop(&weird_pid);
    stop(&sim_pid);
    exit(1);
}

/* Start a program with its output in WORK/NAME.log. */
static pid_t start(const struct demo_options *o, const char *name, const char *const argv[])
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.log", o->work, name);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* they end with us, however we end */
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)execv(argv[0], (char *const *)(uintptr_t)argv); /* execv writes nothing */
        (void)fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

/* A fresh exchange on a port of the system's choice. */
static void sim_start(const struct demo_options *o)
{
    char config[512];
    char log[512];
    unsigned port = 0;
    (void)snprintf(config, sizeof config, "%s/sim.json", o->config);
    (void)snprintf(log, sizeof log, "%s/weir-sim.log", o->work);
    (void)unlink(log);
    const char *const argv[] = {o->sim, "--config", config, "--listen", "127.0.0.1:0", NULL};
    sim_pid = start(o, "weir-sim", argv);
    for (unsigned i = 0; i < 100 && port == 0; i++) {
        demo_sleep_until(demo_now_ns() + NS_PER_S / 20);
        FILE *f = fopen(log, "r");
        if (f != NULL) {
            if (fscanf(f, "weir-sim listening on 127.0.0.1:%u", &port) != 1) {
                port = 0;
            }
            (void)fclose(f);
        }
    }
    if (port == 0) {
        die("weir-sim did not start: see weir-sim.log in the work folder");
    }
    char text[16];
    (void)snprintf(text, sizeof text, "%u", port);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    (void)setenv("DEMO_SIM_PORT", text, 1);
}

/* The broker, and wait until it knows the exchange's clock: until then it would grant only a part of the quota. */
static void weird_start(const struct demo_options *o)
{
    char config[512];
    struct weir *w = NULL;
    struct weir_diag diag;
    struct weir_open_opts opts = {.struct_bytes = sizeof opts, .patience_ns = 10 * NS_PER_S};
    (void)snprintf(config, sizeof config, "%s/weir.yaml", o->config);
    const char *const argv[] = {o->weird, "--config", config, "--state-dir", "none", NULL};
    weird_pid = start(o, "weird", argv);
    if (weir_open(&w, "demo", &opts, &diag) != 0) {
        (void)fprintf(stderr, "weir-demo: %s\n", diag.text);
        die("weird did not start: see weird.log in the work folder");
    }
    uint64_t utc_ns;
    uint64_t error_ns;
    uint64_t until_ns = demo_now_ns() + 10 * NS_PER_S;
    while (weir_server_time(w, "binance", &utc_ns, &error_ns) != 0) {
        if (demo_now_ns() > until_ns) {
            die("weird did not learn the exchange's time: see weird.log in the work folder");
        }
        demo_sleep_until(demo_now_ns() + NS_PER_S / 100);
    }
    weir_close(w);
}

static void sim_reset(void)
{
    char at[128];
    (void)snprintf(at, sizeof at, "%s/sim/reset", url);
    free(demo_http("POST", at).body);
}

/* Fork the four and wait for them. */
static void strategies_run(const struct demo_options *o, struct demo_result *results)
{
    static struct demo_strategy strategy; /* large */
    pid_t pid[DEMO_STRATEGIES];
    uint64_t end_ns = demo_now_ns() + o->seconds * NS_PER_S;
    demo_http_close();
    (void)fflush(stdout);
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            strategy = (struct demo_strategy){
                .result = &results[i], .url = url, .index = i, .end_ns = end_ns};
            demo_strategy_run(&strategy);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        int status;
        while (waitpid(pid[i], &status, 0) < 0 && errno == EINTR) {
            for (unsigned k = 0; k < DEMO_STRATEGIES; k++) {
                (void)kill(pid[k], SIGKILL); /* Ctrl-C: nothing to wait for */
            }
        }
    }
    if (interrupted) {
        die("interrupted");
    }
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        if (!results[i].finished) {
            (void)fprintf(stderr, "weir-demo: %s failed: %s\n", results[i].name,
                          results[i].failure[0] != '\0' ? results[i].failure : "it died");
            die("see the logs in the work folder");
        }
    }
}

static void phase(const struct demo_options *o, const char *title, struct demo_result *results,
                  struct demo_exchange *exchange)
{
    strategies_run(o, results);
    if (!demo_exchange_read(url, exchange)) {
        die("weir-sim gave no report");
    }
    demo_table(title, results, exchange);
    (void)fflush(stdout);
}

static struct demo_result *results_make(const char *const names[DEMO_STRATEGIES],
                                        const enum demo_mode modes[DEMO_STRATEGIES])
{
    struct demo_result *r = mmap(NULL, DEMO_STRATEGIES * sizeof *r, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED) {
        die("no memory");
    }
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        r[i].name = names[i];
        r[i].mode = modes[i];
    }
    return r;
}

static int options_read(struct demo_options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"sim", required_argument, NULL, 's'},
        {"weird", required_argument, NULL, 'w'},
        {"config", required_argument, NULL, 'c'},
        {"work", required_argument, NULL, 'd'},
        {"seconds", required_argument, NULL, 't'},
        {"keep", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            o->sim = optarg;
            break;
        case 'w':
            o->weird = optarg;
            break;
        case 'c':
            o->config = optarg;
            break;
        case 'd':
            o->work = optarg;
            break;
        case 't':
            o->seconds = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'k':
            o->keep = true;
            break;
        default:
            return -1;
        }
    }
    bool whole = o->sim && o->weird && o->config && o->work;
    return whole && o->seconds >= 8 && o->seconds <= 300 && optind == argc ? 0 : -1;
}

static void intro(const struct demo_options *o)
{
    (void)printf("Four strategies share one address and one account of an exchange with Binance's "
                 "spot rules: 6000\n"
                 "of weight a minute, 100 orders in 10 s, a ban for who goes on after ten times "
                 "429. So that %u s show\n"
                 "it, a window lasts 2 s here: 200 of weight and 20 orders in each, the first ban "
                 "4 s. Together the\n"
                 "strategies want nearly twice that: books, prices, orders and cancels, the same "
                 "in both runs.\n",
                 o->seconds);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const alone_names[] = {"bot-1", "bot-2", "bot-3", "bot-4"};
    static const char *const weir_names[] = {"permit-1", "permit-2", "call-3", "call-4"};
    static const enum demo_mode alone_modes[] = {DEMO_ALONE, DEMO_ALONE, DEMO_ALONE, DEMO_ALONE};
    static const enum demo_mode weir_modes[] = {DEMO_PERMIT, DEMO_PERMIT, DEMO_CALL, DEMO_CALL};
    struct demo_options o = {.seconds = 20};
    struct demo_exchange exchange;
    if (options_read(&o, argc, argv) != 0) {
        (void)fputs("usage: weir-demo --sim PROGRAM --weird PROGRAM --config FOLDER --work FOLDER "
                    "[--seconds 8..300] [--keep]\n"
                    "scripts/demo.sh calls it with all of them\n",
                    stderr);
        return 1;
    }
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: it ends the wait */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setenv("WEIR_RUNTIME_DIR", o.work, 1);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);

    intro(&o);
    sim_start(&o);
    phase(&o, "(a) Each bot limits itself, as if it were alone on the address",
          results_make(alone_names, alone_modes), &exchange);
    stop(&sim_pid);

    sim_start(&o);
    weird_start(&o);
    sim_reset(); /* the broker's questions for the time are not part of the run */
    struct demo_result *results = results_make(weir_names, weir_modes);
    phase(&o, "(b) The same four through weir", results, &exchange);
    int broken = demo_verdict(results, &exchange);
    if (o.keep) {
        (void)printf("\nExchange and broker stay until Ctrl-C. From another shell:\n"
                     "  export WEIR_RUNTIME_DIR=%s WEIR_NAME=demo\n"
                     "  weir limits --watch; weir stat; weir call binance.depth symbol=BTCUSDT\n",
                     o.work);
        (void)fflush(stdout);
        while (!interrupted) {
            (void)pause();
        }
    }
    stop(&weird_pid);
    stop(&sim_pid);
    return broken == 0 ? 0 : 1;
}
