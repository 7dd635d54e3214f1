/*
 * dst_disk.c: files as a kernel and a disk keep them.
 *
 * Each file has what was written and what is on disk, by sectors of 512 bytes. fsync brings the dirty ones over; an fsync that fails drops them, as
 * Linux does: the next one succeeds and has not written them. A crash of the host keeps any subset of the dirty sectors. Names live in a
 * directory of their own: a rename is on disk only once the directory was synced. What lies under /run is gone after a crash.
 */
#include "dst.h"

#include "broker/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define INODES_MAX   64U
#define NAMES_MAX    32U
#define OPEN_MAX     64U
#define FILE_BYTES   (512UL << 10)
#define SECTOR_BYTES 512U

struct inode {
    bool used;
    size_t bytes, bytes_on_disk;
    unsigned char *at, *on_disk;
    bool dirty[FILE_BYTES / SECTOR_BYTES];
};

struct name {
    char path[128];
    int now, on_disk; /* inode; -1: none */
};

struct open_file {
    bool used;
    int inode;   /* -1: a directory, or text */
    bool shared; /* by all who ever open it: closed by nobody */
    char text[64];
    size_t text_bytes, off;
};

static struct inode inode[INODES_MAX];
static struct name name[NAMES_MAX];
static struct open_file opened[OPEN_MAX];

static bool inode_named(int i)
{
    for (unsigned k = 0; k < NAMES_MAX; k++) {
        if (name[k].path[0] != '\0' && (name[k].now == i || name[k].on_disk == i)) {
            return true;
        }
    }
    for (unsigned k = 0; k < OPEN_MAX; k++) {
        if (opened[k].used && opened[k].inode == i) {
            return true;
        }
    }
    return false;
}

static int inode_new(void)
{
    for (int i = 0; i < (int)INODES_MAX; i++) {
        if (!inode[i].used || !inode_named(i)) {
            struct inode *f = &inode[i];
            if (f->at == NULL) {
                f->at = __real_malloc(FILE_BYTES);
                f->on_disk = __real_malloc(FILE_BYTES);
            }
            memset(f->at, 0, FILE_BYTES);
            memset(f->on_disk, 0, FILE_BYTES);
            memset(f->dirty, 0, sizeof f->dirty);
            f->bytes = 0;
            f->bytes_on_disk = 0;
            f->used = true;
            return i;
        }
    }
    dst_broken("simulator", "too many files");
}

static struct name *name_find(const char *path, bool make)
{
    for (unsigned k = 0; k < NAMES_MAX; k++) {
        if (strcmp(name[k].path, path) == 0) {
            return &name[k];
        }
    }
    for (unsigned k = 0; make && k < NAMES_MAX; k++) {
        if (name[k].path[0] == '\0') {
            (void)snprintf(name[k].path, sizeof name[k].path, "%s", path);
            name[k].now = name[k].on_disk = -1;
            return &name[k];
        }
    }
    if (make) {
        dst_broken("simulator", "too many names");
    }
    return NULL;
}

bool dst_disk_path(const char *path)
{
    return strncmp(path, "/run/dst", 8) == 0 || strncmp(path, "/state", 6) == 0;
}

static struct open_file *file_of(int fd)
{
    struct open_file *o = &opened[(unsigned)(fd - DST_FD_FILE) % OPEN_MAX];
    if (fd < DST_FD_FILE || fd >= DST_FD_FILE + (int)OPEN_MAX || !o->used) {
        dst_broken("simulator", "a file that is not open: %d", fd);
    }
    return o;
}

static int slot_open(int i, const char *text)
{
    for (unsigned k = 0; k < OPEN_MAX; k++) {
        if (!opened[k].used) {
            opened[k] = (struct open_file){.used = true, .inode = i};
            opened[k].text_bytes =
                (size_t)snprintf(opened[k].text, sizeof opened[k].text, "%s", text);
            return DST_FD_FILE + (int)k;
        }
    }
    dst_broken("simulator", "too many open files");
}

/* The files of kept answers, and of tokens, stay open in whoever of supervisors and workers lives: one number for all of them. */
static int answers_open(const char *path, int i)
{
    if (strstr(path, "/last_good.") == NULL && strstr(path, "/token.") == NULL) {
        return -1;
    }
    for (unsigned k = 0; k < OPEN_MAX; k++) {
        if (opened[k].used && opened[k].shared && opened[k].inode == i) {
            opened[k].off = 0;
            return DST_FD_FILE + (int)k;
        }
    }
    int fd = slot_open(i, "");
    file_of(fd)->shared = true;
    return fd;
}

int dst_disk_open(const char *path, int flags)
{
    char text[64];
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) {
        (void)snprintf(text, sizeof text, "%08x-0000-4000-8000-%012x\n", (unsigned)dst_boot_number,
                       (unsigned)dst_world.seed);
        return slot_open(-1, text);
    }
    if (strcmp(path, "/etc/machine-id") == 0) {
        return slot_open(-1, "0123456789abcdef0123456789abcdef\n");
    }
    if ((flags & O_DIRECTORY) != 0) {
        return slot_open(-1, "");
    }
    struct name *n = name_find(path, (flags & O_CREAT) != 0);
    if (n == NULL || (n->now < 0 && (flags & O_CREAT) == 0)) {
        errno = ENOENT;
        return -1;
    }
    if (n->now >= 0 && (flags & O_EXCL) != 0) {
        errno = EEXIST;
        return -1;
    }
    if (n->now < 0) {
        n->now = inode_new();
    }
    int fd = answers_open(path, n->now);
    fd = fd >= 0 ? fd : slot_open(n->now, "");
    if ((flags & O_TRUNC) != 0) {
        dst_disk_truncate(fd, 0);
    }
    return fd;
}

void dst_disk_close(int fd)
{
    struct open_file *o = file_of(fd);
    o->used = o->shared;
}

long dst_disk_read(int fd, void *at, size_t bytes)
{
    struct open_file *o = file_of(fd);
    const unsigned char *from = o->inode < 0 ? (const unsigned char *)o->text : inode[o->inode].at;
    size_t all = o->inode < 0 ? o->text_bytes : inode[o->inode].bytes;
    size_t n = o->off < all ? all - o->off : 0;
    n = n < bytes ? n : bytes;
    if (o->inode >= 0 && n > 1 && dst_fault(DST_READ_SHORT, dst_world.mix.interrupted)) {
        n = 1 + dst_below(n - 1);
    }
    memcpy(at, from + o->off, n);
    o->off += n;
    return (long)n;
}

static void sectors_write(struct inode *f, const unsigned char *at, size_t bytes, size_t off)
{
    if (off + bytes > FILE_BYTES) {
        dst_broken("simulator", "a file of %zu bytes", off + bytes);
    }
    memcpy(f->at + off, at, bytes);
    for (size_t s = off / SECTOR_BYTES; bytes > 0 && s <= (off + bytes - 1) / SECTOR_BYTES; s++) {
        f->dirty[s] = true;
    }
    f->bytes = off + bytes > f->bytes ? off + bytes : f->bytes;
}

long dst_disk_write(int fd, const void *at, size_t bytes, int64_t off)
{
    struct open_file *o = file_of(fd);
    size_t to = off < 0 ? o->off : (size_t)off;
    sectors_write(&inode[o->inode], at, bytes, to);
    o->off = off < 0 ? to + bytes : o->off;
    return (long)bytes;
}

static void file_sync(struct inode *f, bool good)
{
    for (size_t s = 0; s < FILE_BYTES / SECTOR_BYTES; s++) {
        if (f->dirty[s] && good) {
            memcpy(f->on_disk + s * SECTOR_BYTES, f->at + s * SECTOR_BYTES, SECTOR_BYTES);
        }
        f->dirty[s] = false;
    }
    f->bytes_on_disk = good ? f->bytes : f->bytes_on_disk;
}

int dst_disk_sync(int fd)
{
    struct open_file *o = file_of(fd);
    if (o->inode >= 0 && dst_fault(DST_DISK_SYNC_FAILED, dst_world.mix.disk_fail / 4)) {
        file_sync(&inode[o->inode], false);
        errno = EIO;
        return -1;
    }
    if (o->inode >= 0) {
        file_sync(&inode[o->inode], true);
        return 0;
    }
    for (unsigned k = 0; k < NAMES_MAX; k++) {
        name[k].on_disk = name[k].now;
    }
    return 0;
}

int dst_disk_rename(const char *from, const char *to)
{
    struct name *a = name_find(from, false);
    if (a == NULL || a->now < 0) {
        errno = ENOENT;
        return -1;
    }
    struct name *b = name_find(to, true);
    b->now = a->now;
    a->now = -1;
    return 0;
}

int dst_disk_unlink(const char *path)
{
    struct name *n = name_find(path, false);
    if (n == NULL || n->now < 0) {
        errno = ENOENT;
        return -1;
    }
    n->now = -1;
    return 0;
}

bool dst_disk_exists(const char *path)
{
    const struct name *n = name_find(path, false);
    return n != NULL && n->now >= 0;
}

int64_t dst_disk_size(int fd)
{
    const struct open_file *o = file_of(fd);
    return o->inode < 0 ? 0 : (int64_t)inode[o->inode].bytes;
}

void dst_disk_truncate(int fd, size_t bytes)
{
    struct inode *f = &inode[file_of(fd)->inode];
    if (bytes < f->bytes) {
        memset(f->at + bytes, 0, f->bytes - bytes);
    }
    f->bytes = bytes;
}

long dst_disk_read_at(int fd, void *at, size_t bytes, size_t off)
{
    const struct inode *f = &inode[file_of(fd)->inode];
    size_t n = off < f->bytes ? f->bytes - off : 0;
    n = n < bytes ? n : bytes;
    memcpy(at, f->at + off, n);
    return (long)n;
}

/* ---------------------------------------------------------------------------------------------- the journal's writes */

struct write_job {
    bool used;
    int inode;
    uint64_t worker_life;
    uint32_t generation, index; /* of its events */
    unsigned char *at;
    size_t bytes, off;
    bool failed;
    enum loop_kind kind;
    bool sync;
    uint64_t serial;
};

#define JOBS_MAX 32U

static struct write_job job[JOBS_MAX];
static uint64_t serials;

static void job_synced(void *arg, uint64_t a, uint64_t b)
{
    struct write_job *j = arg;
    (void)b;
    int result = 0;
    if (!j->used || j->serial != a) {
        return;
    }
    if (j->failed) {
        result = -ECANCELED;
    } else if (dst_fault(DST_DISK_SYNC_FAILED, dst_world.mix.disk_fail)) {
        file_sync(&inode[j->inode], false);
        result = -EIO;
    } else {
        file_sync(&inode[j->inode], true);
    }
    dst_trace("synced", j->off, (uint64_t)-result, 0);
    if (dst_worker_process.live && dst_worker_process.life == j->worker_life) {
        dst_loop_post((int)j->kind, j->generation, j->index + 1, result, false);
    }
    __real_free(j->at);
    j->used = false;
}

static void job_written(void *arg, uint64_t a, uint64_t b)
{
    struct write_job *j = arg;
    (void)b;
    long result = (long)j->bytes;
    if (!j->used || j->serial != a) {
        return;
    }
    if (dst_fault(DST_DISK_WRITE_FAILED, dst_world.mix.disk_fail)) {
        result = dst_chance(0.5) ? -ENOSPC : -EIO;
    } else if (dst_fault(DST_DISK_WRITE_SHORT, dst_world.mix.disk_fail)) {
        result = (long)dst_below(j->bytes);
    }
    if (result > 0) {
        sectors_write(&inode[j->inode], j->at, (size_t)result, j->off);
    }
    j->failed = result != (long)j->bytes;
    if (dst_worker_process.live && dst_worker_process.life == j->worker_life) {
        dst_loop_post((int)j->kind, j->generation, j->index, (int)result, false);
    }
    if (!j->sync) {
        __real_free(j->at);
        j->used = false;
        return;
    }
    uint64_t most = dst_fault(DST_DISK_SLOW, dst_world.mix.disk_slow) ? 3 * DST_S : 8 * DST_MS;
    dst_at(dst_now + dst_log_uniform(100 * DST_US, most), job_synced, j, j->serial, 0);
}

static void job_begin(enum loop_kind kind, uint32_t generation, uint32_t index, int fd,
                      const void *at, uint32_t bytes, uint64_t off, bool sync)
{
    for (unsigned k = 0; k < JOBS_MAX; k++) {
        struct write_job *j = &job[k];
        if (!j->used) {
            *j = (struct write_job){.used = true,
                                    .inode = file_of(fd)->inode,
                                    .worker_life = dst_worker_process.life,
                                    .generation = generation,
                                    .index = index,
                                    .at = __real_malloc(bytes),
                                    .bytes = bytes,
                                    .off = off,
                                    .kind = kind,
                                    .sync = sync,
                                    .serial = ++serials};
            memcpy(j->at, at, bytes);
            dst_at(dst_now + dst_log_uniform(10 * DST_US, 500 * DST_US), job_written, j, j->serial,
                   0);
            return;
        }
    }
    dst_broken("simulator", "too many writes under way");
}

/* The kernel ends what a process had asked before the process is gone (broker/last_good.h and sign_in_file.h rely on it; the journal does not). */
void dst_disk_worker_died(void)
{
    for (unsigned k = 0; k < JOBS_MAX; k++) {
        struct write_job *j = &job[k];
        if (j->used && j->kind != LOOP_JOURNAL) {
            if (j->kind == LOOP_LAST_GOOD ||
                dst_chance(0.5)) { /* a write may be taken back whole */
                sectors_write(&inode[j->inode], j->at, j->bytes, j->off);
            }
            __real_free(j->at);
            j->used = false;
        }
    }
}

void loop_write_sync(struct loop *loop, uint32_t generation, int fd, const void *at, uint32_t bytes,
                     uint64_t off)
{
    (void)loop;
    job_begin(LOOP_JOURNAL, generation, 0, fd, at, bytes, off, true);
}

void loop_write_answers(struct loop *loop, uint32_t generation, int fd, const void *at,
                        uint32_t bytes, uint64_t off, bool sync)
{
    (void)loop;
    job_begin(LOOP_LAST_GOOD, generation, 0, fd, at, bytes, off, sync);
}

void loop_write_token(struct loop *loop, uint32_t generation, uint32_t session, int fd,
                      const void *at, uint32_t bytes, uint64_t off)
{
    (void)loop;
    job_begin(LOOP_SIGN_IN, generation, 2 * session, fd, at, bytes, off, true);
}

/* ---------------------------------------------------------------------------------------------- the host dies */

static void sectors_crash(struct inode *f)
{
    bool any = false;
    for (size_t s = 0; s < FILE_BYTES / SECTOR_BYTES; s++) {
        if (f->dirty[s] && dst_chance(0.5)) {
            memcpy(f->on_disk + s * SECTOR_BYTES, f->at + s * SECTOR_BYTES, SECTOR_BYTES);
            any = true;
        } else if (f->dirty[s]) {
            any = true;
        }
        f->dirty[s] = false;
    }
    if (any) {
        (void)dst_fault(DST_DISK_TORN, 1);
        f->bytes_on_disk =
            dst_chance(0.5) && f->bytes > f->bytes_on_disk ? f->bytes : f->bytes_on_disk;
    }
    memcpy(f->at, f->on_disk, FILE_BYTES);
    f->bytes = f->bytes_on_disk;
}

void dst_disk_host_crashed(void)
{
    for (unsigned k = 0; k < JOBS_MAX; k++) {
        struct write_job *j = &job[k];
        if (j->used && !j->failed && dst_chance(0.5)) { /* on its way to the platter */
            sectors_write(&inode[j->inode], j->at, j->bytes, j->off);
        }
        if (j->used) {
            __real_free(j->at);
            j->used = false;
        }
    }
    for (unsigned k = 0; k < INODES_MAX; k++) {
        if (inode[k].used) {
            sectors_crash(&inode[k]);
        }
    }
    bool renamed = dst_chance(0.5); /* names that were not synced: all or none */
    for (unsigned k = 0; k < NAMES_MAX; k++) {
        if (strncmp(name[k].path, "/run/", 5) == 0) {
            name[k].now = name[k].on_disk = -1;
        } else {
            name[k].now = renamed ? name[k].now : name[k].on_disk;
            name[k].on_disk = name[k].now;
        }
    }
    memset(opened, 0, sizeof opened);
}

int dst_disk_inode(const char *path)
{
    const struct name *n = name_find(path, false);
    return n != NULL ? n->now : -1;
}

int dst_disk_inode_fd(int fd)
{
    return file_of(fd)->inode;
}

const void *dst_disk_durable_prefix(const char *path, size_t *bytes)
{
    for (unsigned k = 0; k < NAMES_MAX; k++) {
        if (strncmp(name[k].path, path, strlen(path)) == 0) {
            return dst_disk_durable(name[k].path, bytes);
        }
    }
    return NULL;
}

const void *dst_disk_durable(const char *path, size_t *bytes)
{
    const struct name *n = name_find(path, false);
    if (n == NULL || n->on_disk < 0) {
        return NULL;
    }
    *bytes = inode[n->on_disk].bytes_on_disk;
    return inode[n->on_disk].on_disk;
}

void dst_disk_reset(void)
{
    for (unsigned k = 0; k < JOBS_MAX; k++) {
        if (job[k].used) {
            __real_free(job[k].at);
        }
    }
    memset(job, 0, sizeof job);
    memset(opened, 0, sizeof opened);
    memset(name, 0, sizeof name);
    for (unsigned k = 0; k < INODES_MAX; k++) {
        inode[k].used = false;
    }
}
