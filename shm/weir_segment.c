#include "weir_segment.h"

#include "weir_atomic.h"
#include "weir_weave.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; not in glibc 2.36 */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define PAGE_BYTES UINT64_C(4096)

uint64_t weir_segment_bytes(const struct weir_segment_part *part, size_t part_cnt)
{
    uint64_t bytes = sizeof(struct weir_shm_header);
    for (size_t i = 0; i < part_cnt; i++) {
        bytes += weir_round_up((uint64_t)part[i].cnt * part[i].stride_bytes, WEIR_LINE_BYTES);
    }
    return weir_round_up(bytes, PAGE_BYTES);
}

static int memfd_make(const char *what)
{
    char name[WEIR_NAME_BYTES + 8] = "weir:";
    (void)strncat(name, what, WEIR_NAME_BYTES);
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); /* before Linux 6.3 */
    }
    return fd;
}

static void header_fill(struct weir_shm_header *h, const struct weir_segment_spec *spec,
                        uint64_t bytes)
{
    h->abi_major = WEIR_ABI_MAJOR;
    h->abi_minor = WEIR_ABI_MINOR;
    h->layout_hash = weir_layout_hash();
    h->broker_id = spec->broker_id;
    h->segment_kind = spec->kind;
    h->section_cnt = (uint32_t)spec->part_cnt;
    h->segment_bytes = bytes;
    h->created_utc_ns = weir_clock_realtime_ns();
    (void)strncpy(h->name, spec->name, sizeof h->name - 1);
    uint64_t off = sizeof *h;
    for (size_t i = 0; i < spec->part_cnt; i++) {
        const struct weir_segment_part *p = &spec->part[i];
        h->section[i] = (struct weir_shm_section){
            .kind = p->kind, .cnt = p->cnt, .stride_bytes = p->stride_bytes, .off_bytes = off};
        off += weir_round_up((uint64_t)p->cnt * p->stride_bytes, WEIR_LINE_BYTES);
    }
    WEIR_WEAVE("segment:filled");
    weir_store_release_u64(&h->magic,
                           WEIR_MAGIC); /* pair:magic R: last, so whoever sees it sees the rest */
}

int weir_segment_create(struct weir_segment *out, const struct weir_segment_spec *spec)
{
    if (spec->part_cnt > WEIR_SECTIONS_MAX) {
        return WEIR_E_ARGUMENT;
    }
    uint64_t bytes = weir_segment_bytes(spec->part, spec->part_cnt);
    int fd = memfd_make(weir_segment_name(spec->kind));
    if (fd < 0) {
        return WEIR_E_SYSTEM;
    }
    int rc;
    do { /* sizes and allocates: nothing faults for lack of memory later */
        rc = posix_fallocate(fd, 0, (off_t)bytes);
    } while (rc == EINTR);
    if (rc != 0) {
        (void)close(fd);
        errno = rc;
        return rc == ENOSPC || rc == ENOMEM ? WEIR_E_MEMORY : WEIR_E_SYSTEM;
    }
    /* The pages exist; the maker of an arena touches only its first few, so filling the page table would be the dearest part of an attach. */
    bool whole = spec->kind != WEIR_SEGMENT_ARENA && spec->kind != WEIR_SEGMENT_SHADOW;
    void *base =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (whole ? MAP_POPULATE : 0), fd, 0);
    if (base == MAP_FAILED) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return WEIR_E_SYSTEM;
    }
    header_fill(base, spec, bytes);
    int seals =
        F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (spec->readers_only ? F_SEAL_FUTURE_WRITE : 0);
    if (fcntl(fd, F_ADD_SEALS, seals) != 0) {
        int saved = errno;
        (void)munmap(base, bytes);
        (void)close(fd);
        errno = saved;
        return WEIR_E_SYSTEM;
    }
    *out = (struct weir_segment){.base = base, .bytes = bytes, .fd = fd, .header = base};
    return WEIR_OK;
}

/* Every section inside the file, aligned, and behind the one before it. */
static bool sections_ok(const struct weir_shm_header *h, uint64_t bytes)
{
    uint64_t end = sizeof *h;
    if (h->section_cnt > WEIR_SECTIONS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < h->section_cnt; i++) {
        const struct weir_shm_section *s = &h->section[i];
        if (s->off_bytes < end || s->off_bytes % WEIR_LINE_BYTES != 0 || s->off_bytes > bytes ||
            (s->cnt > 0 &&
             (s->stride_bytes == 0 || s->stride_bytes > (bytes - s->off_bytes) / s->cnt))) {
            return false;
        }
        end = s->off_bytes + s->cnt * s->stride_bytes;
    }
    return true;
}

int weir_segment_check(const void *base, uint64_t bytes, enum weir_segment_kind kind,
                       uint64_t broker_id)
{
    const struct weir_shm_header *h = base;
    if (bytes < sizeof *h) {
        return WEIR_E_CORRUPT;
    }
    uint64_t magic = weir_load_acquire_u64(&h->magic); /* pair:magic A */
    if (magic == 0) {
        return WEIR_E_NOT_READY;
    }
    if (magic != WEIR_MAGIC) {
        return WEIR_E_CORRUPT;
    }
    if (h->abi_major != WEIR_ABI_MAJOR) {
        return WEIR_E_ABI;
    }
    if (h->layout_hash != weir_layout_hash()) {
        return WEIR_E_LAYOUT;
    }
    if (h->segment_kind != kind || h->segment_bytes != bytes ||
        (broker_id != 0 && h->broker_id != broker_id) ||
        memchr(h->name, '\0', sizeof h->name) == NULL || !sections_ok(h, bytes)) {
        return WEIR_E_CORRUPT;
    }
    return WEIR_OK;
}

int weir_segment_map(struct weir_segment *out, int fd, enum weir_segment_kind kind,
                     uint64_t broker_id, enum weir_map_access access)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) != 0) {
        return WEIR_E_SYSTEM;
    }
    if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) ||
        st.st_size <= 0) {
        return WEIR_E_CORRUPT; /* somebody could truncate it under us */
    }
    uint64_t bytes = (uint64_t)st.st_size;
    int prot = access == WEIR_MAP_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    void *base = mmap(NULL, bytes, prot, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) {
        return WEIR_E_SYSTEM;
    }
    int rc = weir_segment_check(base, bytes, kind, broker_id);
    if (rc != WEIR_OK) {
        (void)munmap(base, bytes);
        return rc;
    }
    *out = (struct weir_segment){.base = base, .bytes = bytes, .fd = fd, .header = base};
    return WEIR_OK;
}

int weir_segment_map_spec(struct weir_segment *out, int fd, const struct weir_segment_spec *spec,
                          struct weir_shm_header *header)
{
    struct stat st;
    uint64_t bytes = weir_segment_bytes(spec->part, spec->part_cnt);
    int seals = fcntl(fd, F_GET_SEALS);
    if (spec->part_cnt > WEIR_SECTIONS_MAX || seals < 0 || fstat(fd, &st) != 0) {
        return WEIR_E_SYSTEM;
    }
    if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) ||
        (uint64_t)st.st_size != bytes) {
        return WEIR_E_CORRUPT;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) {
        return WEIR_E_SYSTEM;
    }
    memset(header, 0, sizeof *header);
    header_fill(header, spec, bytes);
    *out = (struct weir_segment){.base = base, .bytes = bytes, .fd = fd, .header = header};
    return WEIR_OK;
}

void weir_segment_unmap(struct weir_segment *segment)
{
    if (segment->base != NULL) {
        (void)munmap(segment->base, segment->bytes);
    }
    if (segment->fd >= 0) {
        (void)close(segment->fd);
    }
    *segment = (struct weir_segment){.fd = -1};
}

void *weir_segment_section(const struct weir_segment *segment, enum weir_section_kind kind,
                           size_t element_bytes, uint32_t *cnt, uint64_t *stride_bytes)
{
    const struct weir_shm_header *h = segment->header;
    for (uint32_t i = 0; i < h->section_cnt && i < WEIR_SECTIONS_MAX; i++) {
        const struct weir_shm_section *s = &h->section[i];
        if (s->kind != (uint32_t)kind || s->cnt == 0 || s->stride_bytes < element_bytes) {
            continue;
        }
        if (cnt != NULL) {
            *cnt = s->cnt;
        }
        if (stride_bytes != NULL) {
            *stride_bytes = s->stride_bytes;
        }
        return (char *)segment->base + s->off_bytes;
    }
    return NULL;
}
