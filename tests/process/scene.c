#include "scene.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLAYED_MAX 4U
#define MORE_S     30U /* that the test may take for each time more */

/* Of the one thread, or of the process's first one. */
static uint64_t late_of(const char *path)
{
    unsigned long long ran_ns;
    unsigned long long late_ns = 0;
    FILE *f = fopen(path, "re");
    if (f != NULL && fscanf(f, "%llu %llu", &ran_ns, &late_ns) != 2) {
        late_ns = 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return late_ns;
}

static uint64_t gone_ns; /* of those that ended */

static void late_add(pid_t pid, void *sum_ns)
{
    char path[64];
    const struct dirent *e;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        char of[384];
        if (e->d_name[0] != '.') {
            (void)snprintf(of, sizeof of, "%s/%s/schedstat", path, e->d_name);
            *(uint64_t *)sum_ns += late_of(of);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    rig_children_each(pid, late_add, sum_ns);
}

uint64_t rig_late_ns(void)
{
    uint64_t sum_ns = gone_ns;
    late_add(getpid(), &sum_ns);
    return sum_ns;
}

void rig_late_keep(pid_t pid)
{
    late_add(pid, &gone_ns);
}

void rig_late_keep_below(pid_t pid)
{
    rig_children_each(pid, late_add, &gone_ns);
}

bool rig_scene_next(struct rig *r, struct rig_scene *s)
{
    uint64_t now_ns = rig_late_ns();
    if (s->played > 0) {
        /* Less than before: somebody ended in between whom nobody kept. */
        uint64_t late_ns = now_ns > s->late_ns ? now_ns - s->late_ns : 0;
        bool broken = weir_load_acquire_u32(&r->shared->broken) > 0; /* no lateness explains that */
        if (r->failures == s->failures || broken || s->played >= PLAYED_MAX ||
            late_ns <= s->late_max_ms * WEIR_NS_PER_MS) {
            return false;
        }
        (void)printf(
            "%s:%u: played again: processes stood in line for a CPU for %llu ms, and it bears %u\n",
            s->name, s->line, (unsigned long long)(late_ns / WEIR_NS_PER_MS), s->late_max_ms);
        r->failures = s->failures;
        (void)alarm(alarm(0) + MORE_S);
    }
    s->played++;
    s->failures = r->failures;
    s->late_ns = now_ns;
    return true;
}
