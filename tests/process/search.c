#include "search.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool search_bytes(const char *at, size_t bytes, const char *text)
{
    return memmem(at, bytes, text, strlen(text)) != NULL;
}

bool search_file(const char *path, const char *text)
{
    static char chunk[1 << 20];
    size_t keep = 0;
    bool found = false;
    off_t off = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    for (ssize_t n;
         fd >= 0 && !found && (n = pread(fd, chunk + keep, sizeof chunk - keep, off)) > 0;
         off += n) {
        size_t bytes = keep + (size_t)n;
        found = search_bytes(chunk, bytes, text);
        keep = bytes < SEARCH_TEXT_MAX ? bytes : SEARCH_TEXT_MAX; /* it may lie across two chunks */
        memmove(chunk, chunk + bytes - keep, keep);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return found;
}

/* Could any of it be read? */
static bool mapping_search(int mem, uint64_t from, uint64_t to, const char *text, bool *holds)
{
    static char chunk[1 << 20];
    bool looked = false;
    *holds = false;
    if (to - from > (UINT64_C(1) << 32)) {
        return false; /* a sanitizer's shadow: terabytes of nothing */
    }
    for (uint64_t at = from; at < to && !*holds; at += sizeof chunk - SEARCH_TEXT_MAX) {
        uint64_t want = to - at < sizeof chunk ? to - at : sizeof chunk;
        ssize_t n = pread(mem, chunk, want, (off_t)at);
        looked |= n > 0;
        *holds = n > 0 && search_bytes(chunk, (size_t)n, text);
    }
    return looked;
}

void search_memory(pid_t pid, const char *text,
                   void (*look)(const struct search_mapping *m, void *arg), void *arg)
{
    char path[64];
    char line[512];
    char rights[8] = "";
    unsigned long long from = 0;
    unsigned long long to = 0;
    struct search_mapping m = {.name = ""};
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (mem >= 0 && maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long long low;
        unsigned long long high;
        char mode[8];
        if (sscanf(line, "%llx-%llx %7s", &low, &high, mode) == 3) {
            from = low;
            to = high;
            memcpy(rights, mode, sizeof rights);
            (void)snprintf(m.name, sizeof m.name, "%.*s", (int)strcspn(line, "\n"), line);
        }
        if (strncmp(line, "VmFlags:", 8) == 0 && rights[0] == 'r') {
            m.shared = rights[3] == 's';
            m.kept = strstr(line, " dd") != NULL && strstr(line, " lo") != NULL;
            if (mapping_search(mem, from, to, text, &m.holds)) {
                look(&m, arg);
            }
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    if (mem >= 0) {
        (void)close(mem);
    }
}

void search_descriptors(pid_t pid, void (*look)(const char *path, const char *target, void *arg),
                        void *arg)
{
    char path[64];
    char target[256];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char inner[512];
        struct stat st;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        ssize_t n = readlink(inner, target, sizeof target - 1);
        if (n > 0 && stat(inner, &st) == 0 && S_ISREG(st.st_mode)) {
            target[n] = '\0';
            look(inner, target, arg);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}
