#include "broker/last_good.h"

#include "broker/cache.h"
#include "broker/journal.h"
#include "broker/log.h"
#include "shm/weir_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define PLACE_BYTES 4096U /* the image begins behind it */

/* Time since the boot, which nobody can set, and which goes on while the machine sleeps. */
static uint64_t boottime_ns(void)
{
    struct timespec at;
    return clock_gettime(CLOCK_BOOTTIME, &at) == 0
               ? (uint64_t)at.tv_sec * WEIR_NS_PER_S + (uint64_t)at.tv_nsec
               : 0;
}

/* ---------------------------------------------------------------------------------------------- which answers */

static void text_add(uint64_t sum[2], const char *text)
{
    /* with its end, so that no two lists of texts are one */
    sum[0] = XXH3_64bits_withSeed(text, strlen(text) + 1, sum[0]);
    sum[1] = XXH3_64bits_withSeed(text, strlen(text) + 1, sum[1]);
}

static void number_add(uint64_t sum[2], uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    text_add(sum, text);
}

void last_good_identity(const struct weir_config_provider *provider,
                        const struct weir_config_route *route, uint64_t out[2])
{
    out[0] = 1;
    out[1] = 2;
    text_add(out, provider->name);
    text_add(out, route->name);
    number_add(out, route->method);
    text_add(out, route->path);
    number_add(out, provider->endpoint_cnt);
    for (size_t i = 0; i < provider->endpoint_cnt; i++) {
        const struct weir_config_url *url = &provider->endpoint[i].url;
        text_add(out, url->host);
        number_add(out, (uint64_t)url->port << 1 | (url->tls ? 1U : 0U));
        text_add(out, url->base_path);
    }
    /* A key knows its instrument by its number. */
    const struct weir_config_strings *instrument = &provider->scope[WEIR_SCOPE_INSTRUMENT];
    for (size_t i = 0; i < instrument->cnt; i++) {
        text_add(out, instrument->text[i]);
    }
    number_add(out, provider->header_cnt); /* their values may be keys, and stay out of files */
    for (size_t i = 0; i < provider->header_cnt; i++) {
        text_add(out, provider->header[i].name);
    }
}

/* Which routes want it. Returns whether any does. */
static bool routes_find(struct last_good *g, const struct region *region)
{
    static struct weir_permit_view view;
    region_permit_view(region, &view, false);
    if (weir_permit_refresh(&view) != WEIR_OK) {
        return false;
    }
    for (uint32_t p = 0; p < region->provider_cnt; p++) {
        const struct weir_config_provider *provider = &g->config->provider[p];
        uint32_t first = view.tables.provider[p].route_first;
        for (uint32_t i = 0; i < provider->route_cnt && first + i < region->route_cnt; i++) {
            g->route[first + i] = &provider->route[i];
            g->kept_ns[first + i] = provider->route[i].last_good_ns;
            g->longest_ns = weir_max_u64(g->longest_ns, provider->route[i].last_good_ns);
            last_good_identity(provider, &provider->route[i], g->identity[first + i]);
        }
    }
    return g->longest_ns != 0;
}

void last_good_follow(struct region *region, const struct weir_config *config)
{
    if (region->last_good != NULL) {
        region->last_good->config = config;
        (void)routes_find(region->last_good, region); /* as before: a reload changes none of it */
    }
}

/* ---------------------------------------------------------------------------------------------- composing */

static struct snapshot_header facts_now(const struct last_good *g)
{
    struct snapshot_header h;
    memset(&h, 0, sizeof h);
    h.sequence = g->place->sequence + 1;
    h.utc_ns = journal_utc_ns(&h.utc_error_ns);
    h.boottime_ns = boottime_ns();
    h.host = g->journal->host;
    (void)snprintf(h.name, sizeof h.name, "%s", g->journal->name);
    (void)snprintf(h.boot_id, sizeof h.boot_id, "%s", g->journal->boot_id);
    return h;
}

void last_good_begin(const struct last_good *g, struct last_good_walk *walk, uint64_t now_ns)
{
    const struct snapshot_header facts = facts_now(g);
    *walk = (struct last_good_walk){.began_ns = now_ns != 0 ? now_ns : weir_clock_monotonic_ns()};
    snapshot_begin(&walk->writer, g->image, g->image_bytes, &facts);
}

/* May the answer of this head be given by a later broker? A worker that went wrong may have written anything. */
static bool is_wanted(const struct last_good *g, const struct region *region,
                      const struct weir_shm_cache_head *h, uint64_t age_ns)
{
    uint64_t bytes = (uint64_t)h->head_bytes + h->body_bytes;
    struct cache_directives say;
    if (h->route >= region->route_cnt || g->kept_ns[h->route] == 0 || h->status != 200 ||
        age_ns >= g->kept_ns[h->route] || h->data_off_bytes > region->cache_bytes ||
        bytes > region->cache_bytes - h->data_off_bytes) {
        return false;
    }
    /* What must not be given stale must not be given so. */
    const char *head = (const char *)region->cache_data + h->data_off_bytes;
    bool honour = g->route[h->route]->cache_control == WEIR_CONFIG_CACHE_CONTROL_HONOUR;
    return cache_directives(head, h->head_bytes, honour, &say) && !say.must_revalidate;
}

bool last_good_go_on(const struct last_good *g, const struct region *region,
                     struct last_good_walk *walk, uint64_t budget_bytes)
{
    uint64_t until_bytes = walk->writer.used_bytes + budget_bytes;
    for (uint32_t n = 0; walk->next < region->cache_head_cnt; n++) {
        if (walk->writer.used_bytes >= until_bytes || n > budget_bytes / 64) {
            return false;
        }
        const struct weir_shm_cache_head *h = &region->cache_head[walk->next++];
        /* Kept since the image was begun: as old as the image, at the most. */
        uint64_t age_ns = weir_cache_age_ns(h->filled_ns, walk->began_ns);
        if ((weir_load_relaxed_u64(&h->sequence) & 1U) == 0 || /* relaxed: no other writer lives */
            !is_wanted(g, region, h, age_ns)) {
            continue;
        }
        const struct snapshot_record r = {
            .body_bytes = h->body_bytes,
            .head_bytes = h->head_bytes,
            .status = h->status,
            .route = {g->identity[h->route][0], g->identity[h->route][1]},
            .key = {h->key[0], h->key[1]},
            .age_ns = age_ns};
        (void)snapshot_add(&walk->writer, &r, (const char *)region->cache_data + h->data_off_bytes);
    }
    (void)snapshot_end(&walk->writer);
    return true;
}

void last_good_written(const struct last_good *g, uint64_t file)
{
    g->place->file = file;
    g->place->sequence++;
}

/* ---------------------------------------------------------------------------------------------- restoring */

static uint32_t route_of(const struct last_good *g, const struct region *region,
                         const struct snapshot_record *r)
{
    for (uint32_t i = 0; i < region->route_cnt; i++) {
        if (g->kept_ns[i] != 0 && g->identity[i][0] == r->route[0] &&
            g->identity[i][1] == r->route[1]) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* A head that stands for nothing in the key's set; NULL: none, or it is there already. */
static struct weir_shm_cache_head *head_free(const struct region *region,
                                             const struct weir_cache_view *view,
                                             const struct snapshot_record *r)
{
    const struct weir_cache_key key = {{r->key[0], r->key[1]}};
    struct weir_shm_cache_head *best = NULL;
    for (uint32_t i = weir_cache_set(view, &key), end = i + WEIR_CACHE_WAYS; i < end; i++) {
        struct weir_shm_cache_head *h = &region->cache_head[i];
        bool whole =
            (weir_load_relaxed_u64(&h->sequence) & 1U) != 0; /* relaxed: only we are here */
        if (whole && h->key[0] == r->key[0] && h->key[1] == r->key[1]) {
            return NULL;
        }
        best = best == NULL && !whole ? h : best;
    }
    return best;
}

uint32_t last_good_restore(const struct last_good *g, struct region *region,
                           const struct snapshot_header *header, uint64_t passed_ns,
                           uint64_t now_ns)
{
    struct weir_cache_view view;
    uint64_t off_bytes = 0;
    uint32_t cnt = 0;
    if (!weir_cache_view_open(&view, region->cache_head, region->cache_head_cnt, region->cache_data,
                              region->cache_bytes) ||
        view.head == NULL) {
        return 0;
    }
    for (const struct snapshot_record *r = snapshot_next(header, NULL); r != NULL;
         r = snapshot_next(header, r)) {
        uint64_t bytes = (uint64_t)r->head_bytes + r->body_bytes;
        uint32_t route = route_of(g, region, r);
        if (route == UINT32_MAX || r->status != 200 || r->head_bytes == 0 ||
            r->head_bytes > WEIR_CACHE_HEAD_MAX_BYTES || r->key[0] == 0 ||
            bytes > region->cache_answer_max_bytes || bytes > region->cache_bytes - off_bytes ||
            r->age_ns >= g->kept_ns[route] || passed_ns >= g->kept_ns[route] - r->age_ns) {
            continue;
        }
        struct weir_shm_cache_head *h = head_free(region, &view, r);
        if (h == NULL) {
            continue;
        }
        uint64_t age_ns = r->age_ns + passed_ns;
        const struct weir_shm_cache_head as = {.key = {r->key[0], r->key[1]},
                                               .filled_ns = now_ns - age_ns, /* may wrap */
                                               .fresh_until_ns = 0,
                                               .stale_until_ns =
                                                   now_ns + (g->kept_ns[route] - age_ns),
                                               .data_off_bytes = (uint32_t)off_bytes,
                                               .body_bytes = r->body_bytes,
                                               .head_bytes = r->head_bytes,
                                               .status = r->status,
                                               .route = (uint16_t)route,
                                               .source = WEIR_SOURCE_DISK};
        const char *answer = (const char *)(r + 1);
        weir_cache_put(h, region->cache_data, &as, answer, answer + r->head_bytes);
        off_bytes += weir_round_up(bytes, WEIR_CACHE_GRANULE_BYTES);
        cnt++;
    }
    return cnt;
}

/* ---------------------------------------------------------------------------------------------- the files */

static void path_of(const struct last_good *g, unsigned file, const char *end, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/last_good.%u%s", g->journal->dir, file, end);
}

/* Read a file from its start: at most `bytes`. Returns how many, -1 with errno. */
static ssize_t read_all(int fd, void *to, size_t bytes)
{
    size_t have = 0;
    while (have < bytes) {
        ssize_t n = read(fd, (char *)to + have, bytes - have);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* What one file holds. */
struct found {
    void *image; /* NULL: nothing of use */
    enum snapshot_verdict verdict;
    uint64_t passed_ns; /* since it was written ... */
    uint64_t judged_ns; /* ... as of this instant */
};

static uint64_t sequence_of(const struct found *f)
{
    return f->image != NULL ? ((const struct snapshot_header *)f->image)->sequence : 0;
}

static void file_read(const struct last_good *g, int fd, struct found *f)
{
    struct stat st;
    *f = (struct found){.verdict = SNAPSHOT_UNREADABLE};
    if (fstat(fd, &st) != 0) {
        return;
    }
    if ((uint64_t)st.st_size > SNAPSHOT_MAX_BYTES) {
        f->verdict = SNAPSHOT_OVERSIZED;
        return;
    }
    size_t bytes = (size_t)st.st_size;
    void *image = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(bytes + 1, WEIR_LINE_BYTES));
    if (image == NULL || read_all(fd, image, bytes) != (ssize_t)bytes) {
        free(image);
        return;
    }
    f->verdict = snapshot_look(image, bytes);
    if (f->verdict == SNAPSHOT_SOUND) {
        f->judged_ns =
            weir_clock_monotonic_ns(); /* first: what passes from here on makes it older */
        struct snapshot_reader reader = {.name = g->journal->name,
                                         .boot_id = g->journal->boot_id,
                                         .host = g->journal->host,
                                         .boottime_ns = boottime_ns(),
                                         .longest_ns = g->longest_ns};
        reader.utc_ns = journal_utc_ns(&reader.utc_error_ns);
        f->verdict = snapshot_judge(image, &reader, &f->passed_ns);
        f->image = image;
        return;
    }
    free(image);
}

/* Open one of the files, new where there is none. False: logged. */
static bool file_open(struct last_good *g, unsigned file)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(g, file, "", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        (void)close(fd);
        fd = -1;
        errno = EINVAL;
    }
    g->fd[file] = fd;
    if (fd < 0) {
        log_warn("last_good_off", "s:s, s:s, s:s", "path", path, "reason", strerror(errno),
                 "meaning", "no answers are kept on disk, and none come from there");
    }
    return fd >= 0;
}

/* A file of somebody else's is kept, for people; a new one takes its place. */
static bool file_put_aside(struct last_good *g, unsigned file, enum snapshot_verdict v)
{
    char path[PATH_MAX];
    char aside[PATH_MAX];
    if (v != SNAPSHOT_NEWER && v != SNAPSHOT_OLDER && v != SNAPSHOT_FOREIGN_NAME &&
        v != SNAPSHOT_FOREIGN_HOST) {
        return true;
    }
    path_of(g, file, "", path);
    path_of(g, file, ".refused", aside);
    (void)rename(path, aside);
    (void)close(g->fd[file]);
    return file_open(g, file);
}

static void refused_say(const struct last_good *g, unsigned file, enum snapshot_verdict v)
{
    char path[PATH_MAX];
    path_of(g, file, "", path);
    if (v != SNAPSHOT_SOUND && v != SNAPSHOT_ABSENT) {
        log_warn("last_good_refused", "s:s, s:s, s:s", "path", path, "reason",
                 snapshot_verdict_name(v), "why", snapshot_verdict_text(v));
    }
}

/* Read both, and go on behind the newer one of those that are sound. */
static bool files_take(struct last_good *g, struct region *region, bool restore)
{
    struct found f[2];
    bool ok = true;
    int best = -1;
    for (unsigned i = 0; i < 2; i++) {
        file_read(g, g->fd[i], &f[i]);
        g->place->sequence = weir_max_u64(g->place->sequence, sequence_of(&f[i]));
        if (f[i].verdict == SNAPSHOT_SOUND &&
            (best < 0 || sequence_of(&f[i]) > sequence_of(&f[best]))) {
            best = (int)i;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        if (restore) {
            refused_say(g, i, f[i].verdict);
        }
        ok = ok && file_put_aside(g, i, f[i].verdict);
    }
    g->place->file = best >= 0 ? (uint64_t)best : 0;
    if (best >= 0 && restore) {
        uint32_t cnt =
            last_good_restore(g, region, f[best].image, f[best].passed_ns, f[best].judged_ns);
        const struct snapshot_header *h = f[best].image;
        log_info("last_good_restored", "s:i, s:i, s:I", "answers", (int)cnt, "of",
                 (int)h->record_cnt, "written_ms_ago",
                 (long long)(f[best].passed_ns / WEIR_NS_PER_MS));
    }
    free(f[0].image);
    free(f[1].image);
    return ok;
}

static bool memory_open(struct last_good *g, const struct region *region)
{
    /* Each answer with its record: whatever the cache holds has room. */
    g->image_bytes = sizeof(struct snapshot_header) + region->cache_bytes +
                     region->cache_head_cnt * snapshot_record_bytes(sizeof(uint64_t));
    void *at = mmap(NULL, PLACE_BYTES + g->image_bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return false;
    }
    g->place = at;
    g->image = (unsigned char *)at + PLACE_BYTES;
    return true;
}

void last_good_forget(struct last_good *g)
{
    if (g->place != NULL) {
        (void)munmap(g->place, PLACE_BYTES + g->image_bytes);
        g->place = NULL;
        g->image = NULL;
    }
}

static void close_all(struct last_good *g)
{
    for (unsigned i = 0; i < 2; i++) {
        if (g->fd[i] >= 0) {
            (void)close(g->fd[i]);
        }
        g->fd[i] = -1;
    }
}

void last_good_open(struct last_good *g, const struct weir_config *config,
                    const struct journal *journal, struct region *region, bool restore)
{
    memset(g, 0, sizeof *g);
    g->config = config;
    g->journal = journal;
    g->fd[0] = -1;
    g->fd[1] = -1;
    region->last_good = NULL;
    if (region->cache == NULL || !routes_find(g, region)) {
        return;
    }
    if (journal->lock_fd < 0) {
        log_warn("last_good_off", "s:s, s:s, s:s", "path", "none", "reason",
                 "broker.state_dir is none", "meaning",
                 "no answers are kept on disk, and none come from there");
        return;
    }
    if (!memory_open(g, region)) {
        log_warn("last_good_off", "s:s, s:s, s:s", "path", journal->dir, "reason", strerror(errno),
                 "meaning", "no answers are kept on disk, and none come from there");
        return;
    }
    if (!file_open(g, 0) || !file_open(g, 1) || !files_take(g, region, restore)) {
        close_all(g);
        return;
    }
    region->last_good = g;
}

/* ---------------------------------------------------------------------------------------------- the clean stop */

static bool write_all(int fd, const unsigned char *at, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = pwrite(fd, at + done, bytes - done, (off_t)done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        done += (uint64_t)n;
    }
    int rc;
    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc == 0;
}

void last_good_leave(struct last_good *g, const struct region *region)
{
    struct last_good_walk walk;
    if (region->last_good == NULL) {
        return;
    }
    uint64_t file = last_good_next(g);
    last_good_begin(g, &walk, 0);
    (void)last_good_go_on(g, region, &walk, UINT64_MAX / 2);
    if (write_all(g->fd[file], g->image, walk.writer.used_bytes)) {
        last_good_written(g, file);
        return;
    }
    log_error("last_good_not_written", "s:s, s:s, s:s, s:s", "path", g->journal->dir, "reason",
              strerror(errno), "meaning", "the next broker has what was written before",
              "next_step", "make room or repair the disk");
}
