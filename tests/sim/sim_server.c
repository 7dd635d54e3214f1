#include "sim_server.h"
#include "sim_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

bool sim_listen_parse(const char *text, struct sockaddr_in *out, struct sim_error *error)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN] = "";
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;

    *out = (struct sockaddr_in){.sin_family = AF_INET};
    if (colon && (size_t)(colon - text) < sizeof(host)) {
        memcpy(host, text, (size_t)(colon - text));
    }
    if (port < 0 || port > 65535 || end == colon + 1 || *end ||
        inet_pton(AF_INET, host, &out->sin_addr) != 1) {
        return sim_error_set(error,
                             "--listen %s: must be IPV4-ADDRESS:PORT, such as 127.0.0.1:0 (port 0 "
                             "takes a free one)",
                             text);
    }
    out->sin_port = htons((uint16_t)port);
    return true;
}

/* -1: ERROR says why. */
static int listen_open(const struct sockaddr_in *address, struct sim_error *error)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    char host[INET_ADDRSTRLEN];

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
            listen(fd, SOMAXCONN) == 0) {
            return fd;
        }
    }
    sim_error_set(error, "cannot listen on %s:%u: %s",
                  inet_ntop(AF_INET, &address->sin_addr, host, sizeof(host)),
                  ntohs(address->sin_port), strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static void address_print(int listen_fd)
{
    struct sockaddr_in bound;
    socklen_t bound_bytes = sizeof(bound);
    char host[INET_ADDRSTRLEN];

    getsockname(listen_fd, (struct sockaddr *)&bound, &bound_bytes);
    printf("weir-sim listening on %s:%u\n", inet_ntop(AF_INET, &bound.sin_addr, host, sizeof(host)),
           ntohs(bound.sin_port));
    fflush(stdout);
}

/* Hundreds of clients need more files than the usual soft limit of 1024. */
static void files_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int signals_open(void)
{
    sigset_t ends;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return signalfd(-1, &ends, SFD_CLOEXEC);
}

/* Until the next waiting call is due, or libmicrohttpd wants to run. */
static int64_t wait_ns(struct sim *sim, struct MHD_Daemon *daemon)
{
    int64_t next_ns = sim_timer_next_mono_ns(&sim->timers);
    int64_t left_ns = 60 * SIM_NS_PER_S;
    MHD_UNSIGNED_LONG_LONG http_ms;

    if (next_ns != INT64_MAX) {
        next_ns -= sim_clock_now(&sim->clock).mono_ns;
        left_ns = next_ns > 0 ? next_ns : 0;
    }
    if (MHD_get_timeout(daemon, &http_ms) == MHD_YES &&
        http_ms < (MHD_UNSIGNED_LONG_LONG)(left_ns / SIM_NS_PER_MS)) {
        left_ns = (int64_t)http_ms * SIM_NS_PER_MS;
    }
    return left_ns;
}

static void loop_run(struct sim *sim, struct MHD_Daemon *daemon, int signal_fd)
{
    struct pollfd waits[] = {
        {.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
    };

    while (!waits[1].revents) {
        int64_t left_ns = wait_ns(sim, daemon);
        struct timespec left = {left_ns / SIM_NS_PER_S, left_ns % SIM_NS_PER_S};

        if (ppoll(waits, 2, &left, NULL) < 0 && errno != EINTR) {
            break;
        }
        sim_http_resume_due(sim, sim_clock_now(&sim->clock).mono_ns);
        MHD_run(daemon);
    }
}

bool sim_serve(const struct sim_config *config, const struct sockaddr_in *address,
               struct sim_error *error)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    struct MHD_Daemon *daemon;
    int signal_fd = signals_open();
    int listen_fd = listen_open(address, error);

    if (!sim || signal_fd < 0 || listen_fd < 0) {
        free(sim);
        return false;
    }
    files_raise();
    sim->config = *config;
    sim->faults = config->faults;
    sim->random_state = (uint64_t)config->seed * 2 + 1; /* xorshift never leaves zero */
    sim_clock_start(&sim->clock, config->clock_offset_ms, config->clock_drift_ppm,
                    config->clock_drift_spans);
    sim_exchange_open(&sim->exchange, &sim->config, sim_clock_now(&sim->clock));
    daemon = sim_http_start(sim, listen_fd);
    if (daemon) {
        address_print(listen_fd);
        loop_run(sim, daemon, signal_fd);
        sim_http_cut_all(sim);
        MHD_run(daemon);
        MHD_stop_daemon(daemon); /* closes listen_fd too */
    } else {
        sim_error_set(error, "libmicrohttpd cannot start: %s", strerror(errno));
        close(listen_fd);
    }
    close(signal_fd);
    sim_exchange_close(&sim->exchange);
    sim_timers_close(&sim->timers);
    free(sim);
    return daemon != NULL;
}
