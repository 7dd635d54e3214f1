#include "weave.h"

#include "weir_atomic.h"
#include "weir_weave.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct weave_page *the_page;
static uint32_t the_pid; /* no system call at an instant: the worker's cage need not know of it */

extern const char *const __start_weir_weave[] __attribute__((weak));
extern const char *const __stop_weir_weave[] __attribute__((weak));

static void pid_set(void)
{
    the_pid = (uint32_t)getpid();
}

/* Is it among the first `cnt` that are known? One that is being written down is not. */
static bool is_known(const struct weave_page *page, uint32_t cnt, const char *name)
{
    for (uint32_t i = 0; i < cnt && i < WEAVE_KNOWN_MAX; i++) {
        if (strcmp(page->known[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* This program's names. Two that start at a time may write one down twice. */
static void names_put(struct weave_page *page)
{
    for (const char *const *name = __start_weir_weave; name < __stop_weir_weave; name++) {
        if (is_known(page, weir_load_acquire_u32(&page->known_cnt), *name)) { /* pair:weave A */
            continue;
        }
        uint32_t i = weir_fetch_add_u32(&page->known_cnt, 1); /* pair:weave R */
        if (i < WEAVE_KNOWN_MAX) {
            (void)strncpy(page->known[i], *name, WEAVE_NAME_BYTES - 1);
        }
    }
}

uint32_t weave_known(const struct weave_page *page, const char *names[WEAVE_NAMES_MAX])
{
    uint32_t all = weir_load_acquire_u32(&page->known_cnt); /* pair:weave A */
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < all; i++) {
        if (i >= WEAVE_KNOWN_MAX || cnt >= WEAVE_NAMES_MAX) {
            return UINT32_MAX;
        }
        if (page->known[i][0] != '\0' && !is_known(page, i, page->known[i])) {
            names[cnt++] = page->known[i];
        }
    }
    return cnt;
}

static struct weave_page *page_map(const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0) {
        return NULL;
    }
    void *at = MAP_FAILED;
    if (ftruncate(fd, sizeof(struct weave_page)) == 0) {
        at = mmap(NULL, sizeof(struct weave_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    (void)close(fd);
    if (at == MAP_FAILED) {
        return NULL;
    }
    pid_set();
    names_put(at);
    the_page = at;
    return at;
}

__attribute__((constructor)) static void weave_start(void)
{
    const char *path = getenv(WEAVE_ENV);
    (void)pthread_atfork(NULL, NULL, pid_set);
    if (path != NULL) {
        (void)page_map(path, 0);
    }
}

struct weave_page *weave_open(const char *path)
{
    struct weave_page *page =
        setenv(WEAVE_ENV, path, 1) == 0 ? page_map(path, O_CREAT | O_TRUNC) : NULL;
    if (page != NULL) {
        page->test = the_pid;
    }
    return page;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&t, NULL);
}

void weave_watch(struct weave_page *page, unsigned which, pid_t pid)
{
    struct weave_watch *watch = &page->watch[which];
    if (pid != 0) {
        watch->seen_cnt = 0;
        memset(watch->seen, 0, sizeof watch->seen);
    }
    weir_store_release_u32(&watch->pid, (uint32_t)pid); /* pair:weave R */
}

void weave_arm(struct weave_page *page, uint32_t pid, const char *name, uint32_t after)
{
    weir_store_release_u32(&page->target,
                           0); /* pair:weave R: the name is nobody's while it changes */
    page->after = after;
    page->held = 0;
    page->go = 0;
    (void)strncpy(page->name, name, sizeof page->name - 1);
    weir_store_release_u32(&page->target, pid); /* pair:weave R */
}

pid_t weave_await(struct weave_page *page, unsigned limit_ms)
{
    for (unsigned i = 0; i < limit_ms; i++) {
        uint32_t pid = weir_load_acquire_u32(&page->held); /* pair:weave A */
        if (pid != 0) {
            return (pid_t)pid;
        }
        sleep_ms(1);
    }
    weave_go(page); /* should it come there after all */
    return 0;
}

pid_t weave_hold(struct weave_page *page, pid_t pid, const char *name, uint32_t after,
                 unsigned limit_ms)
{
    weave_arm(page, (uint32_t)pid, name, after);
    return weave_await(page, limit_ms);
}

void weave_go(struct weave_page *page)
{
    weir_store_release_u32(&page->target, 0); /* pair:weave R */
    weir_store_release_u32(&page->go, 1);     /* pair:weave R */
}

static void seen_add(struct weave_watch *watch, const char *name)
{
    uint32_t i = 0;
    while (i < watch->seen_cnt && strcmp(watch->seen[i].name, name) != 0) {
        i++;
    }
    if (i < WEAVE_NAMES_MAX) {
        (void)strncpy(watch->seen[i].name, name, WEAVE_NAME_BYTES - 1);
        watch->seen[i].hits++;
        watch->seen_cnt += i == watch->seen_cnt;
    }
}

/* Is it we who shall stand still? Of those who come to a name that is anybody's, the first one only. */
static bool is_wanted(struct weave_page *page, const char *name)
{
    uint32_t target = weir_load_acquire_u32(&page->target); /* pair:weave A */
    bool ours = target == the_pid || (target == WEAVE_ANYBODY && the_pid != page->test);
    if (!ours || strcmp(page->name, name) != 0) {
        return false;
    }
    if (page->after > 0) {
        page->after--;
        return false;
    }
    uint32_t nobody = 0;
    return weir_cas_u32(&page->held, &nobody, the_pid); /* pair:weave R */
}

/* Weak: tests that interleave within one process have a hook of their own. */
__attribute__((weak)) void weir_weave_hook(const char *name)
{
    struct weave_page *page = the_page;
    if (page == NULL) {
        return;
    }
    for (unsigned i = 0; i < WEAVE_WATCHED; i++) {
        if (weir_load_acquire_u32(&page->watch[i].pid) == the_pid) { /* pair:weave A */
            seen_add(&page->watch[i], name);
        }
    }
    if (!is_wanted(page, name)) {
        return;
    }
    while (weir_load_acquire_u32(&page->go) == 0) { /* pair:weave A; until the test says so */
        weir_cpu_relax();
    }
}
