/*
 * dst_wrap.c: the C library as the code under test sees it. Linked by --wrap: each call of these names comes here.
 *
 * Memory that a process takes is its own, so that its death takes it back; the same with mappings and descriptors. Descriptors from DST_FD_FIRST on
 * exist only here.
 */
#include "dst.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define HEAP_BYTES  (UINT64_C(1) << 30)
#define CLASS_CNT   24U
#define CLASS_FIRST 8U /* 256 bytes, of which 128 are the block's own */
#define OWN_BYTES   128U

struct dst_block {
    struct dst_block *next, *prev;
    struct dst_process *process;
    uint32_t class;
    size_t bytes;
};

struct dst_map {
    void *at;
    size_t bytes;
};

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off);

static char *heap_base;
static size_t heap_used;
static struct dst_block *heap_free[CLASS_CNT];

uint64_t dst_boot_at, dst_boot_number;
int64_t dst_utc_offset;

/* ---------------------------------------------------------------------------------------------- memory */

static bool ours(const void *p)
{
    return heap_base != NULL && (const char *)p >= heap_base &&
           (const char *)p < heap_base + HEAP_BYTES;
}

static void *block_take(size_t bytes)
{
    uint32_t class = CLASS_FIRST;
    while (((size_t)1 << class) < bytes + OWN_BYTES) {
        class ++;
    }
    if (heap_base == NULL) {
        heap_base = __real_mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (class - CLASS_FIRST >= CLASS_CNT || heap_base == MAP_FAILED) {
        return NULL;
    }
    struct dst_block *b = heap_free[class - CLASS_FIRST];
    if (b != NULL) {
        heap_free[class - CLASS_FIRST] = b->next;
    } else {
        if (heap_used + ((size_t)1 << class) > HEAP_BYTES) {
            return NULL;
        }
        b = (void *)(heap_base + heap_used);
        heap_used += (size_t)1 << class;
    }
    *b = (struct dst_block){
        .next = dst_cur->blocks, .process = dst_cur, .class = class, .bytes = bytes};
    if (b->next != NULL) {
        b->next->prev = b;
    }
    dst_cur->blocks = b;
    char *at = (char *)b + OWN_BYTES;
    memset(at, 0xa5, bytes < 512 ? bytes : 512); /* what is not written is not relied upon */
    return at;
}

static void block_give(void *p)
{
    struct dst_block *b = (void *)((char *)p - OWN_BYTES);
    if (b->prev != NULL) {
        b->prev->next = b->next;
    } else {
        b->process->blocks = b->next;
    }
    if (b->next != NULL) {
        b->next->prev = b->prev;
    }
    memset(p, 0xdd, b->bytes < 512 ? b->bytes : 512);
    b->next = heap_free[b->class - CLASS_FIRST];
    b->process = NULL;
    heap_free[b->class - CLASS_FIRST] = b;
}

void dst_heap_reset(void)
{
    heap_used = 0;
    memset(heap_free, 0, sizeof heap_free);
}

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
size_t __real_malloc_usable_size(void *p);
size_t __wrap_malloc_usable_size(void *p);
void __wrap_free(void *p);

void *__wrap_malloc(size_t bytes)
{
    return dst_cur != NULL ? block_take(bytes) : __real_malloc(bytes);
}

size_t __wrap_malloc_usable_size(void *p)
{
    return ours(p) ? ((struct dst_block *)(void *)((char *)p - OWN_BYTES))->bytes
                   : __real_malloc_usable_size(p);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes) /* blocks are aligned to 128 */
{
    return dst_cur != NULL ? block_take(bytes) : __real_aligned_alloc(align, bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    if (dst_cur == NULL) {
        return __real_calloc(n, bytes);
    }
    void *p = block_take(n * bytes);
    return p != NULL ? memset(p, 0, n * bytes) : NULL;
}

void __wrap_free(void *p)
{
    if (ours(p)) {
        block_give(p);
    } else {
        __real_free(p);
    }
}

void *__wrap_realloc(void *p, size_t bytes)
{
    if (dst_cur == NULL && !ours(p)) {
        return __real_realloc(p, bytes);
    }
    void *q = block_take(bytes);
    if (p != NULL && q != NULL) {
        size_t had = ((struct dst_block *)(void *)((char *)p - OWN_BYTES))->bytes;
        memcpy(q, p, had < bytes ? had : bytes);
        block_give(p);
    }
    return q;
}

/* ---------------------------------------------------------------------------------------------- mappings and descriptors */

int __real_munmap(void *at, size_t bytes);
int __real_close(int fd);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_close(int fd);

static void map_note(struct dst_process *p, void *at, size_t bytes)
{
    if (p->map_cnt == p->map_room) {
        p->map_room = p->map_room * 2 + 16;
        p->map = __real_realloc(p->map, p->map_room * sizeof *p->map);
    }
    p->map[p->map_cnt++] = (struct dst_map){at, bytes};
}

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
    void *p = __real_mmap(at, bytes, prot, flags, fd, off);
    if (dst_cur != NULL && p != MAP_FAILED) {
        map_note(dst_cur, p, bytes);
    }
    return p;
}

int __wrap_munmap(void *at, size_t bytes)
{
    struct dst_process *o = dst_cur;
    for (size_t i = 0; o != NULL && i < o->map_cnt; i++) {
        if (o->map[i].at == at) {
            o->map[i] = o->map[--o->map_cnt];
            break;
        }
    }
    return __real_munmap(at, bytes);
}

void dst_process_fd(struct dst_process *p, int fd)
{
    if (fd >= DST_FD_FIRST) {
        return;
    }
    if (p->fd_cnt == p->fd_room) {
        p->fd_room = p->fd_room * 2 + 16;
        p->fd = __real_realloc(p->fd, p->fd_room * sizeof *p->fd);
    }
    p->fd[p->fd_cnt++] = fd;
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

int __wrap_memfd_create(const char *name, unsigned flags)
{
    int fd = __real_memfd_create(name, flags);
    if (fd >= 0 && dst_cur != NULL) {
        dst_process_fd(dst_cur, fd);
    }
    return fd;
}

int __wrap_close(int fd)
{
    if (fd >= DST_FD_FILE && fd < DST_FD_DOORBELL) {
        dst_disk_close(fd);
        return 0;
    }
    if (dst_handover_close(fd)) {
        return 0;
    }
    if (fd == DST_FD_REJOIN) {
        dst_broker_knocked();
    }
    if (fd >= DST_FD_FIRST) {
        return 0;
    }
    struct dst_process *o = dst_cur;
    for (size_t i = 0; o != NULL && i < o->fd_cnt; i++) {
        if (o->fd[i] == fd) {
            o->fd[i] = o->fd[--o->fd_cnt];
            break;
        }
    }
    return __real_close(fd);
}

void dst_process_release(struct dst_process *p)
{
    while (p->blocks != NULL) {
        block_give((char *)p->blocks + OWN_BYTES);
    }
    if (p->heir != NULL && p->heir->live) {
        for (size_t i = 0; i < p->map_cnt; i++) {
            map_note(p->heir, p->map[i].at, p->map[i].bytes);
        }
        for (size_t i = 0; i < p->fd_cnt; i++) {
            dst_process_fd(p->heir, p->fd[i]);
        }
        p->map_cnt = 0;
        p->fd_cnt = 0;
    }
    for (size_t i = 0; i < p->map_cnt; i++) {
        (void)__real_munmap(p->map[i].at, p->map[i].bytes);
    }
    for (size_t i = 0; i < p->fd_cnt; i++) {
        (void)__real_close(p->fd[i]);
    }
    p->map_cnt = 0;
    p->fd_cnt = 0;
}

/* ---------------------------------------------------------------------------------------------- time */

uint64_t dst_monotonic(void)
{
    return dst_now - dst_boot_at + 1000 * DST_S * dst_boot_number;
}

uint64_t dst_utc(void)
{
    return dst_now + (uint64_t)dst_utc_offset;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
time_t __wrap_time(time_t *out);
int __wrap_nanosleep(const struct timespec *ts, struct timespec *left);
int __wrap_usleep(useconds_t us);
bool __wrap_weir_clock_tsc_usable(void);
int __wrap_adjtimex(struct timex *t);

/* A signal comes. */
static bool interrupted(void)
{
    errno = EINTR;
    return dst_fault(DST_INTERRUPTED, dst_world.mix.interrupted);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    if (dst_cur != NULL) {
        dst_passed(20 + dst_below(60));
    }
    uint64_t ns = id == CLOCK_REALTIME ? dst_utc() : dst_monotonic();
    ts->tv_sec = (time_t)(ns / DST_S);
    ts->tv_nsec = (long)(ns % DST_S);
    return 0;
}

/* A clock that is stepped is kept right by nobody. */
int __wrap_adjtimex(struct timex *t)
{
    t->status = dst_world.utc_kept ? 0 : STA_UNSYNC;
    t->maxerror = 10000;
    return dst_world.utc_kept ? TIME_OK : TIME_ERROR;
}

time_t __wrap_time(time_t *out)
{
    time_t t = (time_t)(dst_utc() / DST_S);
    if (out != NULL) {
        *out = t;
    }
    return t;
}

int __wrap_nanosleep(const struct timespec *ts, struct timespec *left)
{
    uint64_t ns = (uint64_t)ts->tv_sec * DST_S + (uint64_t)ts->tv_nsec;
    uint64_t end = dst_now + ns;
    if (dst_cur != NULL && interrupted()) {
        uint64_t from = dst_now;
        dst_block(dst_now + dst_below(ns + 1), NULL);
        uint64_t rest = dst_now - from < ns ? ns - (dst_now - from) : 0;
        if (left != NULL) {
            *left = (struct timespec){.tv_sec = (time_t)(rest / DST_S),
                                      .tv_nsec = (long)(rest % DST_S)};
        }
        return -1;
    }
    while (dst_cur != NULL && dst_now < end) {
        dst_block(end, NULL);
    }
    return 0;
}

int __wrap_usleep(useconds_t us)
{
    uint64_t end = dst_now + us * DST_US;
    while (dst_cur != NULL && dst_now < end) {
        dst_block(end, NULL);
    }
    return 0;
}

bool __wrap_weir_clock_tsc_usable(void) /* the processor's counter is not virtual */
{
    return false;
}

/* ---------------------------------------------------------------------------------------------- futex, bells, randomness, signals */

long __wrap_syscall(long number, ...);
int __wrap_poll(struct pollfd *at, nfds_t cnt, int timeout_ms);
ssize_t __wrap_send(int fd, const void *at, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *at, size_t bytes, int flags);
ssize_t __wrap_getrandom(void *at, size_t bytes, unsigned flags);
void (*__wrap_signal(int number, void (*handler)(int)))(int);
int __wrap_prctl(int option, ...);
int __wrap_unsetenv(const char *name);

long __wrap_syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    const uint32_t *word = va_arg(args, const uint32_t *);
    int op = va_arg(args, int);
    uint32_t value = va_arg(args, uint32_t);
    const struct timespec *ts = va_arg(args, const struct timespec *);
    va_end(args);
    if (number != SYS_futex || dst_cur == NULL) {
        dst_broken("simulator", "system call %ld is not simulated", number);
    }
    if (op == FUTEX_WAKE) {
        dst_wake_word(word, (int)value);
        return 0;
    }
    if (*(const volatile uint32_t *)word != value) {
        errno = EAGAIN;
        return -1;
    }
    if (interrupted()) {
        return -1;
    }
    uint64_t until = (uint64_t)ts->tv_sec * DST_S + (uint64_t)ts->tv_nsec; /* monotonic */
    uint64_t now = dst_monotonic();
    dst_block(until > now ? dst_now + (until - now) : dst_now, word);
    return 0;
}

ssize_t __wrap_send(int fd, const void *at, size_t bytes, int flags)
{
    (void)flags;
    if (fd == DST_FD_REJOIN) {
        dst_broker_knocks(at);
    }
    return (ssize_t)bytes;
}

ssize_t __wrap_recv(int fd, void *at, size_t bytes, int flags)
{
    (void)fd;
    (void)at;
    (void)bytes;
    (void)flags;
    errno = EAGAIN;
    return -1;
}

int __wrap_poll(struct pollfd *at, nfds_t cnt, int timeout_ms)
{
    int ready = 0;
    if (cnt == 1 && (at->fd == DST_FD_GIVER || at->fd == DST_FD_TAKER)) {
        uint64_t end = dst_now + (uint64_t)timeout_ms * DST_MS;
        while (!dst_handover_ready(at->fd) && dst_now < end) {
            dst_block(end, NULL);
        }
        at->revents = dst_handover_ready(at->fd) ? POLLIN : 0;
        return at->revents != 0;
    }
    for (nfds_t i = 0; i < cnt; i++) {
        bool bell = at[i].fd >= DST_FD_BELL && at[i].fd < DST_FD_PID;
        at[i].revents = bell && dst_broker_bell_closed(at[i].fd) ? POLLHUP : 0;
        ready += at[i].revents != 0;
    }
    return ready;
}

ssize_t __wrap_getrandom(void *at, size_t bytes, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < bytes; i++) {
        ((unsigned char *)at)[i] = (unsigned char)dst_random();
    }
    return (ssize_t)bytes;
}

void (*__wrap_signal(int number, void (*handler)(int)))(int)
{
    (void)number;
    (void)handler;
    return NULL;
}

int __wrap_prctl(int option, ...)
{
    (void)option;
    return 0;
}

int __wrap_unsetenv(const char *name)
{
    (void)name;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- files */

int __real_open(const char *path, int flags, ...);
ssize_t __real_read(int fd, void *at, size_t bytes);
ssize_t __real_write(int fd, const void *at, size_t bytes);
int __real_fstat(int fd, struct stat *st);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_read(int fd, void *at, size_t bytes);
ssize_t __wrap_write(int fd, const void *at, size_t bytes);
ssize_t __wrap_pwrite(int fd, const void *at, size_t bytes, off_t off);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_access(const char *path, int mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_flock(int fd, int operation);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_ftruncate(int fd, off_t bytes);
ssize_t __wrap_pread(int fd, void *at, size_t bytes, off_t off);
int __wrap_fchmod(int fd, mode_t mode);

int __wrap_open(const char *path, int flags, ...)
{
    return dst_cur != NULL || dst_disk_path(path) ? dst_disk_open(path, flags)
                                                  : __real_open(path, flags, 0600);
}

ssize_t __wrap_read(int fd, void *at, size_t bytes)
{
    return fd >= DST_FD_FILE && fd < DST_FD_DOORBELL ? dst_disk_read(fd, at, bytes)
                                                     : __real_read(fd, at, bytes);
}

ssize_t __wrap_write(int fd, const void *at, size_t bytes)
{
    if (fd >= DST_FD_DOORBELL && fd < DST_FD_BELL) {
        dst_broker_doorbell(fd);
        return (ssize_t)bytes;
    }
    if (fd >= DST_FD_FILE && fd < DST_FD_DOORBELL && interrupted()) {
        return -1;
    }
    return fd >= DST_FD_FILE && fd < DST_FD_DOORBELL ? dst_disk_write(fd, at, bytes, -1)
                                                     : __real_write(fd, at, bytes);
}

ssize_t __wrap_pwrite(int fd, const void *at, size_t bytes, off_t off)
{
    return dst_disk_write(fd, at, bytes, off);
}

int __wrap_fsync(int fd)
{
    return dst_disk_sync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    return dst_disk_rename(from, to);
}

int __wrap_unlink(const char *path)
{
    return dst_disk_unlink(path);
}

int __wrap_access(const char *path, int mode)
{
    (void)mode;
    return dst_disk_exists(path) ? 0 : -1;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return 0;
}

int __wrap_flock(int fd, int operation)
{
    (void)fd;
    (void)operation;
    return 0; /* dst_broker.c starts no second broker beside a living worker */
}

int __wrap_fstat(int fd, struct stat *st)
{
    if (fd < DST_FD_FILE) {
        return __real_fstat(fd, st);
    }
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0600;
    st->st_size = dst_disk_size(fd);
    st->st_ino = (ino_t)dst_disk_inode_fd(fd) + 1;
    return 0;
}

int __wrap_ftruncate(int fd, off_t bytes)
{
    dst_disk_truncate(fd, (size_t)bytes);
    return 0;
}

ssize_t __wrap_pread(int fd, void *at, size_t bytes, off_t off)
{
    return dst_disk_read_at(fd, at, bytes, (size_t)off);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    (void)fd;
    (void)mode;
    return 0;
}

/* The names that these calls have with _FILE_OFFSET_BITS=64; the arguments are the same. */
__asm__(".globl __wrap_open64\n.set __wrap_open64, __wrap_open\n"
        ".globl __wrap_mmap64\n.set __wrap_mmap64, __wrap_mmap\n"
        ".globl __wrap_pwrite64\n.set __wrap_pwrite64, __wrap_pwrite\n"
        ".globl __wrap_fstat64\n.set __wrap_fstat64, __wrap_fstat\n"
        ".globl __wrap_pread64\n.set __wrap_pread64, __wrap_pread\n"
        ".globl __wrap_ftruncate64\n.set __wrap_ftruncate64, __wrap_ftruncate\n");
