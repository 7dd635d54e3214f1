/*
 * search.h: where does a text lie that is nobody's business? In files, and in the memory of processes.
 */
#ifndef WEIR_TESTS_PROCESS_SEARCH_H
#define WEIR_TESTS_PROCESS_SEARCH_H

#include "rig.h"

#define SEARCH_TEXT_MAX 64U

bool search_bytes(const char *at, size_t bytes, const char *text);
/* Also of one that grows, a descriptor of another process (/proc/PID/fd/N), its environment. */
bool search_file(const char *path, const char *text);

/* A mapping of a process that can be read, and whether the text lies there. */
struct search_mapping {
    char name[256];
    bool shared; /* others map it too */
    bool kept;   /* locked, and left out of cores */
    bool holds;
};
/* `look` is called for each. Who cannot be dumped can be looked at by root only: then nothing is. */
void search_memory(pid_t pid, const char *text,
                   void (*look)(const struct search_mapping *m, void *arg), void *arg);

/* Each descriptor of a process that can be read without changing anything: segments, the log, the journal. `target` is what the link says. */
void search_descriptors(pid_t pid, void (*look)(const char *path, const char *target, void *arg),
                        void *arg);

#endif
