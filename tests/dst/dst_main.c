/*
 * weir-dst: a whole weir in one thread, by a seed.
 *
 *   weir-dst [--seed N] [--runs N] [--hours H] [--faults a,b,...|none] [--trace]
 *
 * Exit: 0 all promises held, 1 one was broken (the last lines say which, and the command that repeats it), 2 usage.
 */
#include "dst.h"
#include "dst_session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t id, struct timespec *ts);
void dst_exchange_print(void);
uint64_t dst_call_cnt(void);

static uint64_t seed_now;
static double hours = 1.0 / 60;
static const char *faults_text;
static const char *program;
static uint64_t runs_done, calls_done, arrivals_done, workers_done;
static double hours_done;

static double wall(void)
{
    struct timespec ts;
    (void)__real_clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void dst_broken(const char *promise, const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    (void)fprintf(stderr, "BROKEN: %s: ", promise);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr,
                  "\n  seed %llu, %.6f s of virtual time, trace %016llx\n  again: %s --seed %llu "
                  "--hours %.6g%s%s --trace\n",
                  (unsigned long long)seed_now, (double)dst_now / 1e9,
                  (unsigned long long)dst_hash(), program, (unsigned long long)seed_now, hours,
                  faults_text != NULL ? " --faults " : "", faults_text != NULL ? faults_text : "");
    (void)fflush(stderr);
    _exit(1);
}

static void reset(uint64_t seed)
{
    dst_faults_stop();
    for (unsigned i = 0; i < DST_CLIENTS_MAX; i++) {
        dst_client_process[i].died = NULL;
        dst_kill(&dst_client_process[i]);
        dst_client_process[i].life = 0;
    }
    dst_worker_process.died = NULL;
    dst_supervisors[0].died = dst_supervisors[1].died = NULL;
    dst_kill(&dst_worker_process);
    dst_kill(&dst_supervisors[0]);
    dst_kill(&dst_supervisors[1]);
    dst_worker_process.life = dst_supervisors[0].life = dst_supervisors[1].life = 0;
    dst_heap_reset();
    dst_run_reset(seed);
    dst_world_make(seed);
    dst_disk_reset();
    dst_loop_reset();
    dst_http_reset();
    dst_exchange_reset();
    dst_session_reset();
    dst_broker_reset();
    dst_clients_reset();
    dst_check_reset();
}

/* One seed: trade with faults, then let all end, then look at what is left. */
static uint64_t run(uint64_t seed)
{
    seed_now = seed;
    reset(seed);
    dst_broker_start();
    dst_clients_start();
    dst_check_start();
    dst_faults_start();
    dst_exchange_others_start();
    dst_session_start();
    uint64_t end = (uint64_t)(hours * 3600e9);
    dst_run_until(end);
    dst_faults_stop();
    dst_run_until(dst_now + 20 * DST_S);
    dst_clients_quiet(true);
    for (unsigned i = 0; i < 120 && !(dst_clients_idle() && dst_broker_attached() == 0 &&
                                      dst_broker_up() && dst_worker_up());
         i++) {
        dst_run_until(dst_now + DST_S);
    }
    dst_run_until(dst_now + 2 * DST_S);
    dst_check_quiet();
    runs_done++;
    calls_done += dst_call_cnt();
    arrivals_done += dst_exchange_arrivals();
    workers_done += dst_broker_worker_lives();
    hours_done += (double)dst_now / 3600e9;
    return dst_hash();
}

static int faults_parse(const char *text)
{
    memset(dst_allowed, 0, sizeof dst_allowed);
    char copy[1024];
    (void)snprintf(copy, sizeof copy, "%s", text);
    for (char *save = NULL, *word = strtok_r(copy, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        bool known = strcmp(word, "none") == 0;
        for (unsigned f = 0; f < DST_FAULT_CNT; f++) {
            if (strcmp(word, dst_fault_names[f]) == 0) {
                dst_allowed[f] = known = true;
            }
        }
        if (!known) {
            (void)fprintf(stderr, "weir-dst: --faults %s: no such fault; they are: none", word);
            for (unsigned f = 0; f < DST_FAULT_CNT; f++) {
                (void)fprintf(stderr, ",%s", dst_fault_names[f]);
            }
            (void)fputc('\n', stderr);
            return -1;
        }
    }
    return 0;
}

static void report(double took)
{
    (void)printf("%llu runs, %.2f virtual hours in %.1f s; %llu calls, %llu arrivals, %llu lives "
                 "of the worker\n",
                 (unsigned long long)runs_done, hours_done, took, (unsigned long long)calls_done,
                 (unsigned long long)arrivals_done, (unsigned long long)workers_done);
    (void)printf("faults:");
    for (unsigned f = 0; f < DST_FAULT_CNT; f++) {
        if (dst_faults[f] > 0) {
            (void)printf(" %s %llu", dst_fault_names[f], (unsigned long long)dst_faults[f]);
        }
    }
    (void)printf("\norders in doubt: %llu found, %llu absent, %llu sent again, %llu unknown",
                 (unsigned long long)dst_doubts[WEIR_DOUBT_FOUND],
                 (unsigned long long)dst_doubts[WEIR_DOUBT_ABSENT],
                 (unsigned long long)dst_doubts[WEIR_DOUBT_RESENT],
                 (unsigned long long)dst_doubts[WEIR_DOUBT_UNKNOWN]);
    (void)printf("\npromises:");
    for (unsigned c = 0; c < DST_CHECK_CNT; c++) {
        (void)printf(" %s %llu", dst_check_names[c], (unsigned long long)dst_checks[c]);
    }
    (void)printf("\n");
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: weir-dst [--seed N] [--runs N] [--hours H] [--faults LIST] "
                          "[--twice] [--usage] [--trace]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct timespec ts;
    (void)__real_clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t seed = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
    uint64_t runs = 1;
    bool twice = false;
    bool used = false;
    program = argv[0];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    memset(dst_allowed, 1, sizeof dst_allowed);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            dst_tracing = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            twice = true;
        } else if (strcmp(argv[i], "--usage") == 0) {
            used = true;
        } else if (value != NULL && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (value != NULL && strcmp(argv[i], "--runs") == 0) {
            runs = strtoull(argv[++i], NULL, 10);
        } else if (value != NULL && strcmp(argv[i], "--hours") == 0) {
            hours = strtod(argv[++i], NULL);
        } else if (value != NULL && strcmp(argv[i], "--faults") == 0) {
            faults_text = argv[++i];
            if (faults_parse(faults_text) != 0) {
                return 2;
            }
        } else {
            return usage();
        }
    }
    double began = wall();
    (void)printf("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t hash = run(seed + i);
        if (used) {
            (void)printf("seed %llu: trace %016llx\n", (unsigned long long)(seed + i),
                         (unsigned long long)hash);
            dst_exchange_print();
        }
        if (twice && run(seed + i) != hash) {
            dst_broken("one seed is one run", "the second run has another trace than %016llx",
                       (unsigned long long)hash);
        }
    }
    report(wall() - began);
    return 0;
}
