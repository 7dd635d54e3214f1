/*
 * weir_segment.h: sealed memfds with a header and a table of sections.
 *
 * The supervisor plans a segment (sections in order, sizes computed), creates it, fills the header, maps it, seals it, and only then
 * hands it out. Whoever receives one maps it through weir_segment_map, which checks everything that the header says against the
 * descriptor's real size before any section is used.
 *
 * Seals: SHRINK and GROW on all (no SIGBUS by truncation), SEAL on top; the board also FUTURE_WRITE: the mapping that the supervisor made
 * before stays writable, in it and in every worker forked from it, and no other can ever be made. Memory is allocated at creation.
 * Source: memfd_create(2), fcntl(2) "File sealing"; research/queues_curl_shm.md C2.
 */
#ifndef WEIR_SEGMENT_H
#define WEIR_SEGMENT_H

#include "weir_layout.h"

/* A mapped segment. Plain data; copying it copies only the view. */
struct weir_segment {
    void *base;
    uint64_t bytes;
    int fd; /* -1 where the descriptor was closed after mapping */
    const struct weir_shm_header *header;
};

/* One section to come. */
struct weir_segment_part {
    enum weir_section_kind kind;
    uint32_t cnt;
    uint64_t stride_bytes;
};

struct weir_segment_spec {
    enum weir_segment_kind kind;
    const char *name; /* the broker's */
    uint64_t broker_id;
    const struct weir_segment_part *part;
    size_t part_cnt;
    bool readers_only; /* the board: nobody maps it writable later */
};

/* The bytes that a segment of these parts takes, whole pages. */
uint64_t weir_segment_bytes(const struct weir_segment_part *part, size_t part_cnt);

/*
 * Create, allocate, map, format and seal. Returns WEIR_OK, WEIR_E_MEMORY, WEIR_E_ARGUMENT, or WEIR_E_SYSTEM with errno set. Caller: the
 * supervisor (and tests). Cost: system calls; touches every page.
 */
int weir_segment_create(struct weir_segment *out, const struct weir_segment_spec *spec);

enum weir_map_access { WEIR_MAP_READ = 0, WEIR_MAP_WRITE = 1 };

/*
 * Map a received segment and check it: size, seals, magic, ABI, layout hash, kind, broker, sections inside the file and apart from each
 * other. Returns WEIR_OK, WEIR_E_SYSTEM (errno), WEIR_E_NOT_READY (magic not stored yet), WEIR_E_ABI, WEIR_E_LAYOUT, WEIR_E_CORRUPT. `broker_id`
 * 0 = any. Keeps `fd`. Caller: client, monitor, worker.
 */
int weir_segment_map(struct weir_segment *out, int fd, enum weir_segment_kind kind,
                     uint64_t broker_id, enum weir_map_access access);

/*
 * Map, writable, a segment that was created by `spec` and that others may have written on since: what its own header says is not looked at. `header` is room for a
 * private one, which must outlive `out`. Returns WEIR_OK, WEIR_E_SYSTEM (errno), WEIR_E_CORRUPT (another size, or not sealed). Keeps `fd`. Caller: a broker
 * that takes over.
 */
int weir_segment_map_spec(struct weir_segment *out, int fd, const struct weir_segment_spec *spec,
                          struct weir_shm_header *header);

/* Check a header and its table against `bytes` of memory at `base`: the part of weir_segment_map without system calls; also for images. */
int weir_segment_check(const void *base, uint64_t bytes, enum weir_segment_kind kind,
                       uint64_t broker_id);

/* Unmap; closes `fd` if it is not -1. */
void weir_segment_unmap(struct weir_segment *segment);

/*
 * The start of a section, or NULL when it is absent. `cnt` and `stride_bytes` may be NULL. `element_bytes` is what the caller will use of each
 * element: a section whose stride is smaller counts as absent.
 */
void *weir_segment_section(const struct weir_segment *segment, enum weir_section_kind kind,
                           size_t element_bytes, uint32_t *cnt, uint64_t *stride_bytes);

#endif
