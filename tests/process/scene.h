/*
 * scene.h: a scene of a process test in which only time decides, and which is played again when the machine was late.
 *
 * Tests wait for what they can see: a counter of the board, a slot, the simulator's report. What is left is a process that has to act before another one's timer ends. No margin is
 * safe on a machine that others use too, and a longer one makes each run longer. So such a scene is played again, a few times at most, if it failed and the kernel says that the processes of this rig
 * stood in line for a CPU for longer than the scene can bear (/proc/PID/schedstat, "run_delay"; without that file it is never played again). A failure on a machine that was not late counts at once,
 * and so does a broken promise.
 *
 *     RIG_SCENE(r, 40) // ms that all of them together may be late
 *     {
 *         ...; CHECK_INT(r, ...);
 *     }
 *
 * The scene must be one that can be played again: it begins by putting things in order, and compares counters with those before it. No `break` and no `return` in it.
 */
#ifndef WEIR_TESTS_PROCESS_SCENE_H
#define WEIR_TESTS_PROCESS_SCENE_H

#include "rig.h"

struct rig_scene {
    const char *name;
    unsigned line;
    unsigned played;
    unsigned late_max_ms;
    unsigned failures; /* of the test, before the scene */
    uint64_t late_ns;  /* rig_late_ns at its beginning */
};

/* How long this process and all below it have been ready and not running, since each of them began, and those that were kept. */
uint64_t rig_late_ns(void);
/* Who is about to be reaped, or ended: what it waited, and those below it. The rig does it for whom it ends (rig_wait, rig_weird_stop, rig_worker_kill). */
void rig_late_keep(pid_t pid);
void rig_late_keep_below(pid_t pid);

/* True: play it (again). */
bool rig_scene_next(struct rig *r, struct rig_scene *s);

#define RIG_SCENE(r, ms)                                                                      \
    for (struct rig_scene scene_ = {.name = __func__, .line = __LINE__, .late_max_ms = (ms)}; \
         rig_scene_next((r), &scene_);)

#endif
