/*
 * image.h: a private copy of the board, and the only way in which the monitor looks at one.
 *
 * The board is hostile input: whoever wrote it may have been broken, of another version, or a fuzzer. So a monitor first copies all of it into
 * memory of its own, where nothing changes between a check and its use, then checks the frame (header, sections, tables), and
 * takes elements out by copy through image_get, which knows every bound. A file saved by `weir inspect --save` is looked at in the same way.
 *
 * Nothing here prints, asserts, or trusts a count.
 */
#ifndef WEIR_MONITOR_IMAGE_H
#define WEIR_MONITOR_IMAGE_H

#include "weir_segment.h"
#include "weir_tables.h"

#include <stdio.h>

#define IMAGE_BYTES_MAX    (UINT64_C(1) << 28)
#define FINDINGS_MAX       64
#define FINDING_TEXT_BYTES 200

/* What is wrong with a board. Beyond FINDINGS_MAX only the count goes on. */
struct findings {
    uint32_t cnt;
    char text[FINDINGS_MAX][FINDING_TEXT_BYTES];
};

void finding_add(struct findings *findings, const char *format, ...) WEIR_PRINTF(2, 3);

struct image {
    unsigned char *bytes; /* line-aligned, whole lines; private */
    uint64_t size;
    struct weir_segment view;  /* of `bytes`, for the functions of shm/ */
    struct weir_tables tables; /* word 0: the board has no tables yet */
    uint64_t now_ns;           /* weir time of the copy; of a file: its newest heartbeat */
    int64_t utc_offset_ns;     /* this machine's UTC minus weir time; live only */
    bool live;
};

/* Give `image` memory for `size` bytes, zeroed. Returns WEIR_OK, WEIR_E_ARGUMENT (size), WEIR_E_MEMORY. Reuses what it has where the size is the same. */
int image_alloc(struct image *image, uint64_t size);
void image_free(struct image *image);

/* Read a saved board. Returns WEIR_OK, WEIR_E_SYSTEM (errno), WEIR_E_ARGUMENT (size), WEIR_E_MEMORY. */
int image_load(struct image *image, const char *path);

/* Write the copy to a new file. Returns WEIR_OK or WEIR_E_SYSTEM (errno). */
int image_save(const struct image *image, const char *path);

/*
 * Check the frame and resolve the tables. Only after WEIR_OK may anything below be called. Returns WEIR_E_NOT_READY, _ABI, _LAYOUT, _CORRUPT;
 * `findings` then says where. `image->now_ns` 0 is set to the newest heartbeat.
 */
int image_open(struct image *image, struct findings *findings);

/* Check the range of every value that a reader could stumble over. Adds to `findings`. */
void image_check(const struct image *image, struct findings *findings);

/* Number of elements of a section; 0 where it is absent or its elements are smaller than `element_bytes`. */
uint32_t image_cnt(const struct image *image, enum weir_section_kind kind, size_t element_bytes);

/* Copy element `i` of a section. Returns false, with `out` zeroed, where there is none. */
bool image_get(const struct image *image, enum weir_section_kind kind, uint64_t i, void *out,
               size_t element_bytes);

/* What the heartbeats say. */
struct image_health {
    struct weir_shm_gate gate;
    struct weir_shm_supervisor supervisor;
    struct weir_shm_worker worker;
    uint64_t supervisor_age_ns;
    uint64_t worker_age_ns;
    uint64_t lease_left_ns; /* 0: it has ended */
    bool supervisor_stale;
    bool worker_stale;
    bool worker_down; /* died, and no new one has started */
    uint64_t worker_down_ns;
    uint64_t worker_next_ns; /* until it is started again; 0: at once */
};

/* A heartbeat older than this is stale: both processes beat at least once a second. */
#define HEARTBEAT_STALE_NS (3 * WEIR_NS_PER_S)

void image_health_get(const struct image *image, struct image_health *health);

/*
 * One sentence about what is wrong with the broker as a whole, in `text`; "" when all is well. Returns EXIT_OK or EXIT_STALE.
 */
int image_health_text(const struct image_health *health, char *text, size_t bytes);

/* The provider's clock as its latch says it now. */
void image_server_clock(const struct weir_shm_provider *provider, struct weir_server_clock *out);

/* The board's sections: what each holds. NULL at the end of the list. */
struct image_section {
    enum weir_section_kind kind;
    const char *type; /* in weir_layout_fields; "" where elements have no single type */
    uint32_t element_bytes;
    uint32_t cnt_max;
    bool required;
};
extern const struct image_section image_sections[];
extern const size_t image_section_cnt;

#endif
