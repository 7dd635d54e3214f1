#include "broker/journal.h"

#include "broker/lock.h"
#include "broker/memory.h"
#include "shm/weir_clock.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>
#include <xxhash.h>

/* The start of a text file, at most `bytes - 1` of it; "" where it cannot be read. */
static void file_text(const char *path, char *out, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, bytes - 1) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

void journal_boot_id(char out[WEIR_JOURNAL_BOOT_ID_BYTES])
{
    memset(out, 0, WEIR_JOURNAL_BOOT_ID_BYTES);
    file_text("/proc/sys/kernel/random/boot_id", out, WEIR_JOURNAL_BOOT_ID_BYTES);
}

uint64_t journal_utc_ns(uint64_t *error_ns)
{
    struct timex t = {.modes = 0};
    int state = adjtimex(&t);
    bool kept =
        state >= 0 && state != TIME_ERROR && (t.status & STA_UNSYNC) == 0 && t.maxerror >= 0;
    *error_ns = kept ? (uint64_t)t.maxerror * 1000 : UINT64_MAX;
    return weir_clock_realtime_ns();
}

/* The machine's id, hashed, as machine-id(5) asks. Containers often have none. */
static uint64_t host_id(void)
{
    char text[64];
    file_text("/etc/machine-id", text, sizeof text);
    return text[0] != '\0' ? XXH3_64bits_withSeed(text, strlen(text), WEIR_JOURNAL_MAGIC) | 1 : 0;
}

static void path_in(const struct journal *j, const char *name, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s", j->dir, name);
}

/* Make `path` and what is missing above it. */
static int directories_make(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    for (size_t i = 1; i <= n && n < sizeof part; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            if (mkdir(part, 0700) != 0 && errno != EEXIST) {
                return -1;
            }
        }
    }
    return 0;
}

static int refuse(const char *what, const char *path, char *text, size_t text_bytes)
{
    (void)snprintf(text, text_bytes,
                   "cannot %s: path=%.300s: %s: set broker.state_dir or --state-dir to a directory "
                   "that this user can write, or to \"none\" (a reboot then forgets what was used)",
                   what, path, strerror(errno));
    return -1;
}

static int lock_take(struct journal *j, char *text, size_t text_bytes)
{
    char path[PATH_MAX];
    path_in(j, "lock", path);
    j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0) {
        return refuse("lock the journal", path, text, text_bytes);
    }
    if (lock_soon(j->lock_fd) == 0) {
        return 0;
    }
    if (errno != EWOULDBLOCK) {
        return refuse("lock the journal", path, text, text_bytes);
    }
    (void)snprintf(
        text, text_bytes,
        "cannot start: another broker, or the worker of one, writes this journal: path=%.300s: "
        "stop it first, or choose another broker.name or broker.state_dir",
        path);
    (void)close(j->lock_fd);
    j->lock_fd = -1;
    return -1;
}

int journal_open(struct journal *j, const char *state_dir, const char *name, char *text,
                 size_t text_bytes)
{
    *j = (struct journal){.fd = -1, .lock_fd = -1};
    journal_boot_id(j->boot_id);
    j->host = host_id();
    (void)snprintf(j->name, sizeof j->name, "%s", name);
    if (strcmp(state_dir, JOURNAL_NONE) == 0) {
        return 0;
    }
    int n = snprintf(j->dir, sizeof j->dir, "%s/%s", state_dir, name);
    if (n < 0 || (size_t)n >= sizeof j->dir) {
        errno = ENAMETOOLONG;
        return refuse("make the state directory", state_dir, text, text_bytes);
    }
    if (directories_make(j->dir) != 0) {
        return refuse("make the state directory", j->dir, text, text_bytes);
    }
    return lock_take(j, text, text_bytes);
}

void journal_adopt(struct journal *j, const char *state_dir, const char *name, int fd, int lock_fd)
{
    *j = (struct journal){.fd = fd, .lock_fd = lock_fd};
    journal_boot_id(j->boot_id);
    j->host = host_id();
    (void)snprintf(j->name, sizeof j->name, "%s", name);
    if (fd >= 0) {
        (void)snprintf(j->dir, sizeof j->dir, "%s/%s", state_dir, name);
    }
}

void journal_close(struct journal *j)
{
    journal_forget(j);
    if (j->fd >= 0) {
        (void)close(j->fd);
    }
    if (j->lock_fd >= 0) {
        (void)close(j->lock_fd);
    }
    j->fd = -1;
    j->lock_fd = -1;
}

/* ---------------------------------------------------------------------------------------------- read */

static bool read_all(int fd, void *at, size_t bytes)
{
    char *p = at;
    while (bytes > 0) {
        ssize_t n = read(fd, p, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        p += n;
        bytes -= (size_t)n;
    }
    return true;
}

enum weir_journal_verdict journal_read(struct journal *j, uint64_t broker_id,
                                       struct weir_journal_view *view)
{
    char path[PATH_MAX];
    struct stat st;
    *view = (struct weir_journal_view){0};
    if (j->lock_fd < 0) {
        return WEIR_JOURNAL_OFF;
    }
    path_in(j, "journal", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? WEIR_JOURNAL_ABSENT : WEIR_JOURNAL_UNREADABLE;
    }
    enum weir_journal_verdict v = WEIR_JOURNAL_UNREADABLE;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_size <= WEIR_JOURNAL_SLOTS * WEIR_JOURNAL_SLOT_MAX_BYTES) {
        size_t bytes = (size_t)st.st_size;
        j->copy = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(bytes + 1, WEIR_LINE_BYTES));
        if (j->copy != NULL && read_all(fd, j->copy, bytes)) {
            v = weir_journal_find(view, j->copy, bytes);
        }
    }
    (void)close(fd);
    const struct weir_journal_owner owner = {.name = j->name,
                                             .host = j->host,
                                             .broker_id = broker_id,
                                             .boot_id = j->boot_id,
                                             .utc_ns = weir_clock_realtime_ns()};
    return v == WEIR_JOURNAL_SOUND ? weir_journal_judge(view->header, &owner) : v;
}

void journal_forget(struct journal *j)
{
    free(j->copy);
    j->copy = NULL;
}

/* ---------------------------------------------------------------------------------------------- write */

void journal_facts(const struct journal *j, const struct region *region, uint64_t sequence,
                   uint32_t flags, struct weir_journal_header *out)
{
    uint64_t utc_error_ns;
    uint64_t utc_ns = journal_utc_ns(&utc_error_ns);
    *out = (struct weir_journal_header){
        .sequence = sequence,
        .generation = j->generation,
        .broker_id = region->broker_id,
        .host = j->host,
        .utc_ns = utc_ns,
        .utc_error_ns = utc_error_ns,
        .monotonic_ns = weir_clock_monotonic_ns(),
        .flags = flags,
    };
    memcpy(out->name, j->name, sizeof out->name);
    memcpy(out->boot_id, j->boot_id, sizeof out->boot_id);
}

static bool write_all(int fd, const void *at, size_t bytes, off_t off)
{
    const char *p = at;
    while (bytes > 0) {
        ssize_t n = pwrite(fd, p, bytes, off);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        p += n;
        bytes -= (size_t)n;
        off += n;
    }
    return true;
}

/* fsync(2) that a signal does not end. */
static int sync_all(int fd)
{
    int rc;
    do {
        rc = fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/* One slot, whole, to its place. */
static int slot_write(const struct journal *j, const struct region *region, uint64_t slot,
                      uint64_t sequence, uint32_t flags)
{
    static struct weir_permit_view view;
    struct weir_journal_header facts;
    region_permit_view(region, &view, false);
    void *image = aligned_alloc(WEIR_LINE_BYTES, j->slot_bytes);
    if (image == NULL || weir_permit_refresh(&view) != WEIR_OK) {
        free(image);
        errno = ENOMEM;
        return -1;
    }
    journal_facts(j, region, sequence, flags, &facts);
    uint64_t used = memory_compose(region, &view.tables, NULL, &facts, image, j->slot_bytes);
    bool ok = used != 0 && write_all(j->fd, image, j->slot_bytes, (off_t)(slot * j->slot_bytes));
    free(image);
    return ok ? 0 : -1;
}

static void works(const struct region *region, uint64_t slot, uint64_t sequence)
{
    region->own->journal_slot = slot; /* no worker lives */
    region->own->journal_sequence = sequence;
    region->journal_board->sequence = sequence;
    region->journal_board->written_at_ns = weir_clock_monotonic_ns();
}

int journal_write(struct journal *j, struct region *region, uint32_t flags)
{
    uint64_t slot = 1 - region->own->journal_slot;
    uint64_t sequence = region->own->journal_sequence + 1;
    WEIR_WEAVE("journal:leave");
    if (slot_write(j, region, slot, sequence, flags) != 0 || sync_all(j->fd) != 0) {
        return -1;
    }
    WEIR_WEAVE("journal:left");
    works(region, slot, sequence);
    return 0;
}

static int directory_sync(const struct journal *j)
{
    int fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 ? sync_all(fd) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

int journal_create(struct journal *j, struct region *region, enum weir_journal_verdict found,
                   char *text, size_t text_bytes)
{
    static struct weir_permit_view view;
    char path[PATH_MAX];
    char temp[PATH_MAX];
    char refused[PATH_MAX];
    if (j->lock_fd < 0) {
        return 0;
    }
    path_in(j, "journal", path);
    path_in(j, "journal.new", temp);
    region_permit_view(region, &view, false);
    if (weir_permit_refresh(&view) != WEIR_OK) {
        errno = EINVAL;
        return refuse("write the journal", path, text, text_bytes);
    }
    j->slot_bytes = memory_slot_bytes(&view.tables);
    (void)unlink(temp);
    j->fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint64_t sequence = region->own->journal_sequence;
    bool ok = j->fd >= 0;
    for (uint64_t slot = 0; ok && slot < WEIR_JOURNAL_SLOTS; slot++) {
        ok = slot_write(j, region, slot, ++sequence, 0) == 0;
        WEIR_WEAVE("journal:slot");
    }
    ok = ok && sync_all(j->fd) == 0;
    WEIR_WEAVE("journal:made");
    path_in(j, "journal.refused", refused);
    if (ok && found != WEIR_JOURNAL_SOUND && found != WEIR_JOURNAL_ABSENT) {
        (void)rename(path, refused);
    }
    if (!ok || rename(temp, path) != 0 || directory_sync(j) != 0) {
        return refuse("write the journal", path, text, text_bytes);
    }
    WEIR_WEAVE("journal:renamed");
    works(region, 1, sequence);
    region->journal_board->state = WEIR_JOURNAL_STATE_WORKS;
    region->journal_board->generation = j->generation;
    return 0;
}
