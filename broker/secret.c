#include "broker/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE_BYTES ((size_t)4096)

static size_t pages_of(const struct secret_area *area)
{
    return (size_t)weir_round_up(area->bytes, PAGE_BYTES);
}

int secret_lock(const struct secret_area *area, char *text, size_t text_bytes)
{
    if (area->base == NULL || mlock(area->base, pages_of(area)) == 0) {
        return 0;
    }
    int error = errno;
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)snprintf(
        text, text_bytes,
        "cannot lock the memory of the keys: %zu KiB: %s: ulimit -l is %llu KiB: raise it "
        "(LimitMEMLOCK=)",
        pages_of(area) / 1024, strerror(error), (unsigned long long)limit.rlim_cur / 1024);
    errno = error;
    return -1;
}

int secret_open(struct secret_area *area, size_t bytes, char *text, size_t text_bytes)
{
    *area = (struct secret_area){.bytes = bytes};
    if (bytes == 0) {
        return 0;
    }
    size_t pages = pages_of(area);
    char *all = mmap(NULL, pages + 2 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + PAGE_BYTES, pages, PROT_READ | PROT_WRITE) != 0 ||
        madvise(all + PAGE_BYTES, pages, MADV_DONTDUMP) != 0) {
        (void)snprintf(text, text_bytes, "cannot get memory for the keys: %s", strerror(errno));
        return -1;
    }
    area->base = all + PAGE_BYTES;
    return secret_lock(area, text, text_bytes);
}

char *secret_take(struct secret_area *area, size_t bytes)
{
    if (bytes > area->bytes - area->used_bytes) {
        return NULL;
    }
    char *at = area->base + area->used_bytes;
    area->used_bytes += bytes;
    return at;
}

void secret_forget(const struct secret_area *area)
{
    if (area->base != NULL) {
        (void)munmap(area->base - PAGE_BYTES, pages_of(area) + 2 * PAGE_BYTES);
    }
}

void secret_close(struct secret_area *area)
{
    if (area->base != NULL) {
        explicit_bzero(area->base, area->bytes);
        secret_forget(area);
    }
    *area = (struct secret_area){0};
}
