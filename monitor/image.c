#include "image.h"

#include "exit_codes.h"
#include "print.h"
#include "weir_audit.h"
#include "weir_cache.h"
#include "weir_error.h"
#include "weir_health.h"
#include "weir_ring.h"
#include "weir_sign_in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `cnt_max` 0: any count. limit words: a limit has one per scope value, and scope values have 16 bits. */
const struct image_section image_sections[] = {
    {WEIR_SECTION_GATE, "weir_shm_gate", sizeof(struct weir_shm_gate), 1, true},
    {WEIR_SECTION_SUPERVISOR, "weir_shm_supervisor", sizeof(struct weir_shm_supervisor), 1, true},
    {WEIR_SECTION_WORKER, "weir_shm_worker", sizeof(struct weir_shm_worker), 1, true},
    {WEIR_SECTION_CLOCK, "weir_shm_clock", sizeof(struct weir_shm_clock), 1, false},
    {WEIR_SECTION_NEED_WAKEUP, "weir_shm_need_wakeup", sizeof(struct weir_shm_need_wakeup), 0,
     false},
    {WEIR_SECTION_BLOCK, "weir_shm_block", sizeof(struct weir_shm_block), 1, false},
    {WEIR_SECTION_PROVIDER, "weir_shm_provider", sizeof(struct weir_shm_provider),
     WEIR_PROVIDERS_MAX, false},
    {WEIR_SECTION_FOREIGN, "weir_shm_foreign", sizeof(struct weir_shm_foreign), 0, false},
    {WEIR_SECTION_LIMIT, "weir_shm_limit_stats", sizeof(struct weir_shm_limit_stats),
     WEIR_LIMITS_MAX, false},
    {WEIR_SECTION_ROUTE, "weir_shm_route_stats", sizeof(struct weir_shm_route_stats),
     WEIR_ROUTES_MAX, false},
    {WEIR_SECTION_ENDPOINT, "weir_shm_endpoint", sizeof(struct weir_shm_endpoint),
     WEIR_ENDPOINTS_MAX, false},
    {WEIR_SECTION_HEALTH, "weir_shm_health", sizeof(struct weir_shm_health),
     WEIR_ENDPOINTS_MAX + WEIR_ROUTES_MAX, false},
    {WEIR_SECTION_SIGN_IN, "weir_shm_sign_in", sizeof(struct weir_shm_sign_in), 256, false},
    {WEIR_SECTION_RING_HEAD, "weir_shm_ring_head", sizeof(struct weir_shm_ring_head),
     WEIR_DOMAINS_MAX *WEIR_PRIORITY_CNT, false},
    {WEIR_SECTION_CLIENT, "weir_shm_client", sizeof(struct weir_shm_client), 256, false},
    {WEIR_SECTION_TABLES, "weir_shm_tables", sizeof(struct weir_shm_tables), 0, false},
    {WEIR_SECTION_CLIENT_USE, "weir_shm_client_use", sizeof(struct weir_shm_client_use), 0, false},
    {WEIR_SECTION_LIMIT_VIEW, "weir_shm_limit_view", sizeof(struct weir_shm_limit_view), 0, false},
    {WEIR_SECTION_TRIAL, "weir_shm_trial", sizeof(struct weir_shm_trial), 1, false},
    {WEIR_SECTION_TRIAL_LIMIT, "weir_shm_trial_limit", sizeof(struct weir_shm_trial_limit),
     WEIR_LIMITS_MAX, false},
    {WEIR_SECTION_PACE, "weir_shm_pace", sizeof(struct weir_shm_pace), 0, false},
    {WEIR_SECTION_JOURNAL, "weir_shm_journal", sizeof(struct weir_shm_journal), 1, false},
    {WEIR_SECTION_AUDIT, "weir_shm_audit", sizeof(struct weir_shm_audit), 1, false},
    {WEIR_SECTION_AUDIT_RECORD, "weir_shm_audit_record", sizeof(struct weir_shm_audit_record),
     1U << 20, false},
    {WEIR_SECTION_CACHE, "weir_shm_cache", sizeof(struct weir_shm_cache), 1, false},
    {WEIR_SECTION_CACHE_ROUTE, "weir_shm_cache_route", sizeof(struct weir_shm_cache_route),
     WEIR_ROUTES_MAX + WEIR_PROVIDERS_MAX, false},
    {WEIR_SECTION_CACHE_HEAD, "weir_shm_cache_head", sizeof(struct weir_shm_cache_head),
     WEIR_CACHE_HEADS_MAX, false},
};
const size_t image_section_cnt = WEIR_ARRAY_CNT(image_sections);

void finding_add(struct findings *findings, const char *format, ...)
{
    if (findings->cnt < FINDINGS_MAX) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(findings->text[findings->cnt], FINDING_TEXT_BYTES, format, args);
        va_end(args);
    }
    if (findings->cnt < UINT32_MAX) {
        findings->cnt++;
    }
}

/* ---------------------------------------------------------------------------------------------- memory and files */

int image_alloc(struct image *image, uint64_t size)
{
    if (size < sizeof(struct weir_shm_header) || size > IMAGE_BYTES_MAX) {
        return WEIR_E_ARGUMENT;
    }
    if (image->bytes == NULL || image->size != size) {
        image_free(image);
        /* rounded up: the copy goes by whole words */
        image->bytes = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(size, WEIR_LINE_BYTES));
        if (image->bytes == NULL) {
            return WEIR_E_MEMORY;
        }
    }
    unsigned char *bytes = image->bytes;
    memset(bytes, 0, weir_round_up(size, WEIR_LINE_BYTES));
    *image = (struct image){.bytes = bytes, .size = size};
    image->view = (struct weir_segment){
        .base = bytes, .bytes = size, .fd = -1, .header = (const void *)bytes};
    return WEIR_OK;
}

void image_free(struct image *image)
{
    free(image->bytes);
    *image = (struct image){.view.fd = -1};
}

static int read_all(int fd, unsigned char *to, uint64_t bytes)
{
    while (bytes > 0) {
        ssize_t n = read(fd, to, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* the file shrank while it was read */
            return WEIR_E_SYSTEM;
        }
        to += n;
        bytes -= (uint64_t)n;
    }
    return WEIR_OK;
}

int image_load(struct image *image, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return WEIR_E_SYSTEM;
    }
    struct stat st;
    int rc = WEIR_E_SYSTEM;
    if (fstat(fd, &st) == 0) {
        rc = S_ISREG(st.st_mode) && st.st_size > 0 ? image_alloc(image, (uint64_t)st.st_size)
                                                   : WEIR_E_ARGUMENT;
    }
    if (rc == WEIR_OK) {
        rc = read_all(fd, image->bytes, image->size);
    }
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return rc;
}

int image_save(const struct image *image, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return WEIR_E_SYSTEM;
    }
    uint64_t done = 0;
    while (done < image->size) {
        ssize_t n = write(fd, image->bytes + done, image->size - done);
        if (n < 0 && errno != EINTR) {
            int saved = errno;
            (void)close(fd);
            errno = saved;
            return WEIR_E_SYSTEM;
        }
        done += n > 0 ? (uint64_t)n : 0;
    }
    return close(fd) == 0 ? WEIR_OK : WEIR_E_SYSTEM;
}

/* ---------------------------------------------------------------------------------------------- elements */

uint32_t image_cnt(const struct image *image, enum weir_section_kind kind, size_t element_bytes)
{
    uint32_t cnt = 0;
    return weir_segment_section(&image->view, kind, element_bytes, &cnt, NULL) != NULL ? cnt : 0;
}

bool image_get(const struct image *image, enum weir_section_kind kind, uint64_t i, void *out,
               size_t element_bytes)
{
    uint32_t cnt;
    uint64_t stride_bytes;
    const unsigned char *base =
        weir_segment_section(&image->view, kind, element_bytes, &cnt, &stride_bytes);
    if (base == NULL || i >= cnt) {
        memset(out, 0, element_bytes);
        return false;
    }
    memcpy(out, base + i * stride_bytes, element_bytes);
    return true;
}

void image_server_clock(const struct weir_shm_provider *provider, struct weir_server_clock *out)
{
    uint64_t seen;
    uint64_t words[WEIR_SERVER_CLOCK_WORDS] = {0};
    (void)weir_latch_read(&provider->clock_seq, provider->clock, words, WEIR_SERVER_CLOCK_WORDS,
                          &seen); /* of a private copy: cannot miss */
    memcpy(out, words, sizeof *out);
}

/* ---------------------------------------------------------------------------------------------- opening */

static bool sections_known(const struct image *image, struct findings *findings)
{
    const struct weir_shm_header *h = image->view.header;
    uint32_t before = findings->cnt;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < h->section_cnt; i++) {
        const struct weir_shm_section *s = &h->section[i];
        if (s->cnt > 0 && s->stride_bytes % sizeof(uint64_t) != 0) {
            finding_add(findings, "section %s: stride %lu is not a multiple of 8",
                        weir_section_name(s->kind), (unsigned long)s->stride_bytes);
        }
        if (s->kind >= WEIR_SECTION_CNT) {
            continue; /* of a later minor version: not ours to judge */
        }
        if ((seen >> s->kind & 1) != 0) {
            finding_add(findings, "section %s: listed twice", weir_section_name(s->kind));
        }
        seen |= UINT64_C(1) << s->kind;
    }
    for (size_t k = 0; k < image_section_cnt; k++) {
        const struct image_section *want = &image_sections[k];
        uint32_t cnt = image_cnt(image, want->kind, want->element_bytes);
        if (want->required && cnt == 0) {
            finding_add(findings, "section %s: missing, or its elements are too small",
                        weir_section_name(want->kind));
        }
        if (want->cnt_max != 0 && cnt > want->cnt_max) {
            finding_add(findings, "section %s: %u elements (allowed 0..%u)",
                        weir_section_name(want->kind), cnt, want->cnt_max);
        }
    }
    return findings->cnt == before;
}

static int tables_open(struct image *image, struct findings *findings)
{
    struct weir_shm_gate gate;
    (void)image_get(image, WEIR_SECTION_GATE, 0, &gate, sizeof gate);
    if (gate.tables == 0) {
        return WEIR_OK; /* not configured yet */
    }
    const struct weir_tables_bounds bounds = {
        .provider_cnt = image_cnt(image, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider)),
        .hold_cnt = image_cnt(image, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider)),
        .limit_cnt = image_cnt(image, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats)),
        .route_cnt = image_cnt(image, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats)),
        .endpoint_cnt = image_cnt(image, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint)),
        .word_cnt = image_cnt(image, WEIR_SECTION_FOREIGN, sizeof(struct weir_shm_foreign)),
        .cell_cnt = UINT32_MAX, /* a monitor has no cells to look into */
    };
    uint32_t cnt = 0;
    uint64_t stride_bytes = 0;
    const void *base = weir_segment_section(&image->view, WEIR_SECTION_TABLES,
                                            sizeof(struct weir_shm_tables), &cnt, &stride_bytes);
    if (base == NULL || stride_bytes % WEIR_LINE_BYTES != 0 ||
        weir_tables_resolve(&image->tables, gate.tables, base, cnt, stride_bytes, &bounds) !=
            WEIR_OK) {
        finding_add(findings, "tables: block %u of %u (gate word 0x%016lx) does not hold together",
                    (uint32_t)gate.tables, cnt, (unsigned long)gate.tables);
        return WEIR_E_CORRUPT;
    }
    return WEIR_OK;
}

int image_open(struct image *image, struct findings *findings)
{
    image->tables = (struct weir_tables){0};
    int rc = weir_segment_check(image->bytes, image->size, WEIR_SEGMENT_BOARD, 0);
    if (rc != WEIR_OK) {
        const struct weir_shm_header *h = image->view.header;
        finding_add(findings,
                    "header: %s (magic 0x%016lx, abi %u.%u, layout 0x%016lx, this program has "
                    "0x%016lx; kind %u, %lu bytes of %lu)",
                    weir_error_text(rc), (unsigned long)h->magic, h->abi_major, h->abi_minor,
                    (unsigned long)h->layout_hash, (unsigned long)weir_layout_hash(),
                    h->segment_kind, (unsigned long)h->segment_bytes, (unsigned long)image->size);
        return rc;
    }
    if (!sections_known(image, findings)) {
        return WEIR_E_CORRUPT;
    }
    if (image->now_ns == 0) {
        struct weir_shm_supervisor supervisor;
        struct weir_shm_worker worker;
        (void)image_get(image, WEIR_SECTION_SUPERVISOR, 0, &supervisor, sizeof supervisor);
        (void)image_get(image, WEIR_SECTION_WORKER, 0, &worker, sizeof worker);
        image->now_ns = weir_max_u64(supervisor.heartbeat_ns, worker.heartbeat_ns);
    }
    return tables_open(image, findings);
}

/* ---------------------------------------------------------------------------------------------- health */

/* Ages are never negative: a heartbeat may be written between our clock reading and our copy. */
static uint64_t age_ns(uint64_t now_ns, uint64_t then_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

void image_health_get(const struct image *image, struct image_health *health)
{
    memset(health, 0, sizeof *health);
    (void)image_get(image, WEIR_SECTION_GATE, 0, &health->gate, sizeof health->gate);
    (void)image_get(image, WEIR_SECTION_SUPERVISOR, 0, &health->supervisor,
                    sizeof health->supervisor);
    (void)image_get(image, WEIR_SECTION_WORKER, 0, &health->worker, sizeof health->worker);
    uint64_t now_ns = image->now_ns;
    health->supervisor_age_ns = age_ns(now_ns, health->supervisor.heartbeat_ns);
    health->worker_age_ns = age_ns(now_ns, health->worker.heartbeat_ns);
    health->lease_left_ns =
        health->gate.lease_until_ns > now_ns ? health->gate.lease_until_ns - now_ns : 0;
    health->supervisor_stale = health->supervisor_age_ns > HEARTBEAT_STALE_NS;
    health->worker_stale = health->worker_age_ns > HEARTBEAT_STALE_NS;
    health->worker_down = health->supervisor.worker_died_ns > health->worker.started_ns;
    health->worker_down_ns = age_ns(now_ns, health->supervisor.worker_died_ns);
    uint64_t next_ns = health->supervisor.worker_starts_at_ns;
    health->worker_next_ns = next_ns > now_ns ? next_ns - now_ns : 0;
}

int image_health_text(const struct image_health *h, char *text, size_t bytes)
{
    char age[DURATION_BYTES];
    text[0] = '\0';
    if (h->supervisor_stale) {
        (void)snprintf(text, bytes,
                       "supervisor heartbeat %s old: pid %u is dead or stopped, nobody can attach: "
                       "start weird again",
                       print_duration(age, h->supervisor_age_ns), h->supervisor.pid);
        return EXIT_STALE;
    }
    if (h->worker_down) {
        char next[DURATION_BYTES];
        char crashes[128] = "";
        if (h->supervisor.worker_crashes > 0) {
            (void)snprintf(crashes, sizeof crashes,
                           ", crashes in a row %u, signal %u, the next start in %s",
                           h->supervisor.worker_crashes, h->supervisor.worker_signal,
                           print_duration(next, h->worker_next_ns));
        }
        (void)snprintf(text, bytes,
                       "worker is down since %s (restarts %u%s): requests wait, permits go on: see "
                       "weird's log%s",
                       print_duration(age, h->worker_down_ns), h->supervisor.worker_restarts,
                       crashes, crashes[0] != '\0' ? " and crash.N beside the sockets" : "");
        return h->worker_stale ? EXIT_STALE : EXIT_OK;
    }
    if (h->worker_stale) {
        (void)snprintf(text, bytes,
                       "worker heartbeat %s old (pid %u): it is stopped or stuck: see weird's log",
                       print_duration(age, h->worker_age_ns), h->worker.pid);
        return EXIT_STALE;
    }
    if (h->lease_left_ns == 0) {
        (void)snprintf(text, bytes, "the lease has ended: no permit is granted: see weird's log");
        return EXIT_STALE;
    }
    if (h->gate.block_all != 0) {
        (void)snprintf(text, bytes, "an operator blocks all clients: nobody is granted anything");
    }
    return EXIT_OK;
}
