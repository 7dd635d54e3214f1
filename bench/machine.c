#include "machine.h"

#include <curl/curl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench_revision.h"
#include "shm/weir_clock.h"

#define TSC_SAMPLE_NS (50 * WEIR_NS_PER_MS)

static void read_line(const char *path, char *out, size_t bytes)
{
    snprintf(out, bytes, "unknown");
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    if (fgets(out, (int)bytes, file)) {
        out[strcspn(out, "\n")] = '\0';
    }
    fclose(file);
}

static void read_cpuinfo(struct machine *machine)
{
    char line[4096];
    snprintf(machine->cpu, sizeof(machine->cpu), "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) {
        return;
    }
    bool is_constant = false;
    bool is_nonstop = false;
    while (fgets(line, sizeof(line), file)) {
        char *colon = strchr(line, ':');
        if (!colon) {
            break; /* the first core tells enough */
        }
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "model name", 10) == 0) {
            snprintf(machine->cpu, sizeof(machine->cpu), "%.90s", colon + 2);
        } else if (strncmp(line, "flags", 5) == 0) {
            is_constant = strstr(line, " constant_tsc") != NULL;
            is_nonstop = strstr(line, " nonstop_tsc") != NULL;
            machine->is_guest = strstr(line, " hypervisor") != NULL;
        }
    }
    machine->tsc_invariant = is_constant && is_nonstop;
    fclose(file);
}

static void read_cores(struct machine *machine)
{
    cpu_set_t set;
    machine->cores_online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return;
    }
    for (int core = 0; core < CPU_SETSIZE && machine->core_cnt < MACHINE_CORES_MAX; core++) {
        if (CPU_ISSET((size_t)core, &set)) {
            machine->core[machine->core_cnt++] = core;
        }
    }
}

static void read_tsc(struct machine *machine)
{
    uint64_t start_ns = weir_clock_monotonic_ns();
    uint64_t start_ticks = weir_clock_ticks();
    uint64_t now_ns = start_ns;
    while (now_ns - start_ns < TSC_SAMPLE_NS) {
        now_ns = weir_clock_monotonic_ns();
    }
    uint64_t ticks = weir_clock_ticks() - start_ticks;
    machine->ns_per_tick = (double)(now_ns - start_ns) / (double)ticks;
    machine->tsc_mhz = 1e3 / machine->ns_per_tick;
}

void machine_read(struct machine *machine)
{
    struct utsname os;
    memset(machine, 0, sizeof(*machine));
    read_cpuinfo(machine);
    read_cores(machine);
    snprintf(machine->kernel, sizeof(machine->kernel), "unknown");
    if (uname(&os) == 0) {
        snprintf(machine->kernel, sizeof(machine->kernel), "%.20s %.70s", os.sysname, os.release);
    }
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", machine->governor,
              sizeof(machine->governor));
    read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
              machine->clocksource, sizeof(machine->clocksource));
    if (getloadavg(&machine->load, 1) != 1) {
        machine->load = -1;
    }
    read_tsc(machine);
}

void machine_print(const struct machine *machine, FILE *out)
{
    fprintf(out, "cpu       %s%s, %u cores online, %u usable\n", machine->cpu,
            machine->is_guest ? " (guest)" : "", machine->cores_online, machine->core_cnt);
    fprintf(out, "kernel    %s, governor %s, clocksource %s, load %.2f\n", machine->kernel,
            machine->governor, machine->clocksource, machine->load);
    fprintf(out, "tsc       %.1f MHz, %s\n", machine->tsc_mhz,
            machine->tsc_invariant ? "invariant" : "not invariant: figures in ns are doubtful");
    fprintf(out, "build     %s, gcc %s, %s, revision %s\n", WEIR_VERSION, __VERSION__,
            BENCH_BUILD_TYPE, BENCH_REVISION);
    fprintf(out, "libraries %s\n", curl_version());
}

json_t *machine_json(const struct machine *machine)
{
    return json_pack("{s:s, s:i, s:i, s:b, s:s, s:s, s:s, s:f, s:b, s:f, s:s, s:s, s:s, s:s, s:s}",
                     "cpu", machine->cpu, "cores_online", (int)machine->cores_online,
                     "cores_usable", (int)machine->core_cnt, "guest", machine->is_guest, "kernel",
                     machine->kernel, "governor", machine->governor, "clocksource",
                     machine->clocksource, "tsc_mhz", machine->tsc_mhz, "tsc_invariant",
                     machine->tsc_invariant, "load_1m", machine->load, "version", WEIR_VERSION,
                     "compiler", "gcc " __VERSION__, "build_type", BENCH_BUILD_TYPE, "revision",
                     BENCH_REVISION, "libraries", curl_version());
}
