#include "holdings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

unsigned holdings_clients(const struct weir *w)
{
    unsigned cnt = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        cnt += rig_board_client(w, i)->state != WEIR_CLIENT_FREE;
    }
    return cnt;
}

struct holdings holdings_of(pid_t pid)
{
    struct holdings h = {0};
    char path[64];
    char line[512];
    for (int fd = 0; fd < 1024; fd++) {
        char link[64];
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        h.fds += n > 0;
        h.memory += strstr(link, "memfd:weir") != NULL;
        h.processes += strstr(link, "[pidfd]") != NULL;
    }
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        h.mappings += strstr(line, "memfd:weir") != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return h;
}

static bool fits(const struct holdings *is, const struct holdings *was, unsigned connections)
{
    return is->fds <= was->fds + connections && is->memory <= was->memory &&
           is->processes <= was->processes && is->mappings <= was->mappings;
}

void holdings_check(struct rig *r, const char *who, const struct holdings *was, pid_t pid,
                    unsigned connections)
{
    struct holdings is = holdings_of(pid);
    /* It hears of a death from the kernel, and lets go in its next turn: that takes a machine that is late a while. What is held behind this is held for ever. */
    for (unsigned i = 0; i < 500 && !fits(&is, was, connections); i++) {
        rig_sleep_ms(10);
        is = holdings_of(pid);
    }
    (void)printf(
        "%s: %u descriptors (before: %u), of memory %u (%u), of processes %u (%u), %u (%u) "
        "mappings\n",
        who, is.fds, was->fds, is.memory, was->memory, is.processes, was->processes, is.mappings,
        was->mappings);
    PROMISE(r, is.fds <= was->fds + connections, "%s: no descriptor is left", who);
    PROMISE(r, is.memory <= was->memory && is.processes <= was->processes, "%s: none of clients",
            who);
    PROMISE(r, is.mappings <= was->mappings, "%s: no arena is left", who);
}
