#include "board.h"

#include "exit_codes.h"
#include "print.h"
#include "weir_attach.h"
#include "weir_audit.h"
#include "weir_error.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A supervisor answers at once; one that does not is stopped. */
#define ANSWER_PATIENCE_S 2

/* What an attach knows when it has to say why it failed. */
struct attempt {
    const char *name;
    const char *domain;
    char path[BOARD_PATH_BYTES];
    char *reason;
};

static int WEIR_PRINTF(3, 4)
    fail(const struct attempt *attempt, int exit_code, const char *format, ...)
{
    int n = snprintf(attempt->reason, BOARD_REASON_BYTES, "name=%.64s path=%s: ", attempt->name,
                     attempt->path);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(attempt->reason + n, BOARD_REASON_BYTES - (size_t)n, format, args);
    va_end(args);
    return exit_code;
}

bool board_name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return n > 0 && n < WEIR_NAME_BYTES && name[n] == '\0' && name[0] != '.';
}

const char *board_name(const struct board_target *target)
{
    const char *env = getenv("WEIR_NAME");
    return target->name != NULL ? target->name : env != NULL && env[0] != '\0' ? env : "default";
}

const char *board_runtime_dir(const struct board_target *target, char *buffer, size_t bytes)
{
    struct stat st;
    const char *env = getenv("WEIR_RUNTIME_DIR");
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    if (target->runtime_dir != NULL) {
        return target->runtime_dir;
    }
    if (env != NULL && env[0] != '\0') {
        return env;
    }
    /* as libweir: the system's broker if it has one of this name, else the user's own */
    (void)snprintf(buffer, bytes, "/run/weir/%s", board_name(target));
    if (xdg == NULL || xdg[0] == '\0' || stat(buffer, &st) == 0) {
        return "/run/weir";
    }
    (void)snprintf(buffer, bytes, "%s/weir", xdg);
    return buffer;
}

/* ---------------------------------------------------------------------------------------------- connect */

static int connect_failed(const struct attempt *a, int error)
{
    char folder[BOARD_PATH_BYTES];
    (void)snprintf(folder, sizeof folder, "%s", a->path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        if (access(folder, F_OK) == 0) {
            return fail(a, EXIT_ABSENT,
                        "the broker has no domain '%.31s': name one of its sockets in %s with "
                        "--domain",
                        a->domain, folder);
        }
        return fail(a, EXIT_ABSENT,
                    "no broker runs under this name: start it (weird --config FILE), or give "
                    "--name or --runtime-dir");
    case ECONNREFUSED:
        return fail(a, EXIT_STALE,
                    "the broker is dead: its socket is left and nobody listens: start weird again");
    case EACCES:
    case EPERM:
        return fail(a, EXIT_PERMISSION,
                    "permission denied for uid %u: let this user's uid or gid into the domain in "
                    "the broker's configuration",
                    (unsigned)geteuid());
    case EAGAIN:
        return fail(a, EXIT_STALE,
                    "the broker does not take connections: it is stopped or overloaded: see its "
                    "log");
    default:
        return fail(a, EXIT_USAGE, "%s: see the broker's log", strerror(error));
    }
}

static int socket_open(const struct attempt *a, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, a->path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail(a, EXIT_USAGE, "no socket: %s: free descriptors of this process",
                    strerror(errno));
    }
    const struct timeval patience = {.tv_sec = ANSWER_PATIENCE_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        (void)close(fd);
        return connect_failed(a, error);
    }
    *out = fd;
    return EXIT_OK;
}

/* ---------------------------------------------------------------------------------------------- hello and welcome */

/* Keep the first descriptor that came along; close what nobody asked for. */
static int descriptor_of(struct msghdr *message)
{
    int kept = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < cnt; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (kept < 0) {
                kept = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return kept;
}

static ssize_t welcome_receive(int socket, struct weir_attach_welcome *welcome, int *fd)
{
    union {
        char bytes[CMSG_SPACE(WEIR_ATTACH_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = welcome, .iov_len = sizeof *welcome};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    *fd = n >= 0 ? descriptor_of(&message) : -1;
    return n;
}

/* The supervisor said no. */
static int refused(const struct attempt *a, const struct weir_attach_welcome *welcome)
{
    char text[TEXT_BYTES * 2];
    char part[TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%s", PRINT_TEXT(part, welcome->text));
    if (text[0] == '\0') {
        (void)snprintf(text, sizeof text, "%s", weir_error_text(welcome->error));
    }
    int code = EXIT_USAGE;
    switch (welcome->error) {
    case WEIR_E_PERMISSION:
    case WEIR_E_ROLE:
        code = EXIT_PERMISSION;
        break;
    case WEIR_E_NOT_READY:
        code = EXIT_ABSENT;
        break;
    case WEIR_E_ABI:
    case WEIR_E_LAYOUT:
    case WEIR_E_CORRUPT:
        code = EXIT_CORRUPT;
        break;
    default:
        break;
    }
    return fail(a, code, "%s: %s", text, weir_error_hint(welcome->error));
}

static int welcome_check(const struct attempt *a, const struct weir_attach_welcome *welcome,
                         ssize_t bytes, int fd)
{
    if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return fail(a, EXIT_STALE,
                    "the broker did not answer within %d s: it is stopped or stuck: see its log",
                    ANSWER_PATIENCE_S);
    }
    if (bytes <= 0) {
        return fail(a, EXIT_STALE, "the broker closed the connection: it is ending: try again");
    }
    if ((size_t)bytes < offsetof(struct weir_attach_welcome, text) ||
        welcome->magic != WEIR_ATTACH_MAGIC) {
        return fail(a, EXIT_CORRUPT,
                    "who answers on this socket is no weir broker (%zd bytes, magic 0x%08x): name "
                    "another --runtime-dir",
                    bytes, welcome->magic);
    }
    if (welcome->error != 0) {
        return refused(a, welcome);
    }
    if (welcome->abi_major != WEIR_ABI_MAJOR) {
        return fail(a, EXIT_CORRUPT, "ABI %u.%u in the broker, this program speaks %u.x: %s",
                    welcome->abi_major, welcome->abi_minor, WEIR_ABI_MAJOR,
                    weir_error_hint(WEIR_E_ABI));
    }
    if (fd < 0) {
        return fail(a, EXIT_CORRUPT, "the broker's welcome came without the board: report it");
    }
    return EXIT_OK;
}

static int board_map(const struct attempt *a, struct board *board,
                     const struct weir_attach_welcome *welcome, int fd)
{
    int rc =
        weir_segment_map(&board->live, fd, WEIR_SEGMENT_BOARD, welcome->broker_id, WEIR_MAP_READ);
    if (rc == WEIR_OK) {
        return EXIT_OK;
    }
    int error = errno;
    (void)close(fd);
    board->live = (struct weir_segment){.fd = -1};
    if (rc == WEIR_E_SYSTEM && error == EINVAL) {
        rc = WEIR_E_CORRUPT; /* no memfd at all: nothing that could be sealed */
    }
    if (rc == WEIR_E_SYSTEM) {
        return fail(a, EXIT_USAGE, "the board cannot be mapped: %s: free memory", strerror(error));
    }
    return fail(a, rc == WEIR_E_NOT_READY ? EXIT_ABSENT : EXIT_CORRUPT, "%s: %s",
                weir_error_text(rc), weir_error_hint(rc));
}

/* How far the broker's CLOCK_MONOTONIC is from ours: 0 unless one of us lives in a time namespace. */
static int64_t namespace_offset(uint64_t before_ns, uint64_t theirs_ns, uint64_t after_ns)
{
    if (theirs_ns >= before_ns && theirs_ns <= after_ns) {
        return 0;
    }
    return (int64_t)(theirs_ns - (before_ns + (after_ns - before_ns) / 2));
}

static int greet(const struct attempt *a, struct board *board)
{
    struct weir_attach_hello hello = {.magic = WEIR_ATTACH_MAGIC,
                                      .version = WEIR_ATTACH_VERSION,
                                      .bytes = sizeof hello,
                                      .abi_major = WEIR_ABI_MAJOR,
                                      .layout_hash = weir_layout_hash(),
                                      .role = WEIR_ROLE_MONITOR,
                                      .client_name = "weir"};
    struct weir_attach_welcome welcome = {0};
    int fd;
    uint64_t before_ns = weir_clock_monotonic_ns();
    if (send(board->socket, &hello, sizeof hello, MSG_NOSIGNAL) < 0) {
        return fail(a, EXIT_STALE, "the broker closed the connection: it is ending: try again");
    }
    ssize_t bytes = welcome_receive(board->socket, &welcome, &fd);
    int code = welcome_check(a, &welcome, bytes, fd);
    if (code != EXIT_OK) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return code;
    }
    board->broker_id = welcome.broker_id;
    board->namespace_offset_ns =
        namespace_offset(before_ns, welcome.monotonic_ns, weir_clock_monotonic_ns());
    return board_map(a, board, &welcome, fd);
}

/* Fill `a` and connect. */
static int target_connect(struct attempt *a, const struct board_target *target,
                          char reason[BOARD_REASON_BYTES], int *out)
{
    *a = (struct attempt){.name = board_name(target),
                          .domain = target->domain != NULL ? target->domain : "default",
                          .reason = reason};
    char folder[BOARD_PATH_BYTES];
    const char *dir = board_runtime_dir(target, folder, sizeof folder);
    if (!board_name_ok(a->name) || !board_name_ok(a->domain)) {
        return fail(a, EXIT_USAGE, "'%.64s' is no name: %s",
                    board_name_ok(a->name) ? a->domain : a->name, weir_error_hint(WEIR_E_NAME));
    }
    int n = snprintf(a->path, sizeof a->path, "%s/%s/%s.sock", dir, a->name, a->domain);
    if (n < 0 || (size_t)n >= sizeof a->path) {
        return fail(a, EXIT_USAGE,
                    "the path is longer than %zu bytes: give a shorter --runtime-dir",
                    sizeof a->path - 1);
    }
    return socket_open(a, out);
}

int board_attach(struct board *board, const struct board_target *target,
                 char reason[BOARD_REASON_BYTES])
{
    *board = (struct board){.live.fd = -1, .socket = -1};
    struct attempt a;
    int code = target_connect(&a, target, reason, &board->socket);
    if (code == EXIT_OK) {
        code = greet(&a, board);
    }
    if (code != EXIT_OK) {
        board_detach(board);
    }
    return code;
}

/* ---------------------------------------------------------------------------------------------- operate */

static int operated_check(const struct attempt *a, const struct weir_operated *answer,
                          ssize_t bytes)
{
    char text[TEXT_BYTES * 2];
    if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return fail(a, EXIT_STALE,
                    "the broker did not answer within %d s: it is stopped or stuck; whether it was "
                    "done is unknown: see its log",
                    ANSWER_PATIENCE_S);
    }
    if (bytes <= 0) {
        return fail(
            a, EXIT_STALE,
            "the broker closed the connection; whether it was done is unknown: see its log");
    }
    if ((size_t)bytes < sizeof *answer || answer->magic != WEIR_OPERATE_MAGIC) {
        return fail(
            a, EXIT_CORRUPT,
            "the broker does not know this order (%zd bytes, magic 0x%08x): use the weir of "
            "its version",
            bytes, answer->magic);
    }
    (void)PRINT_TEXT(text, answer->text);
    switch (answer->error) {
    case WEIR_OK:
        return EXIT_OK;
    case WEIR_E_PERMISSION:
        return fail(a, EXIT_PERMISSION, "%s", text);
    case WEIR_E_NOT_READY:
        return fail(a, EXIT_ABSENT, "%s: %s", text, weir_error_hint(answer->error));
    case WEIR_E_ABI:
    case WEIR_E_UNSUPPORTED:
        return fail(a, EXIT_CORRUPT, "%s: use the weir of the broker's version", text);
    case WEIR_E_SCOPE_UNKNOWN:
        return fail(a, EXIT_USAGE, "%s: list them: weir limits", text);
    default:
        return fail(a, EXIT_USAGE, "%s: %s", text, weir_error_hint(answer->error));
    }
}

int board_operate(const struct board_target *target, const struct weir_operate *order,
                  struct weir_operated *answer, char reason[BOARD_REASON_BYTES])
{
    struct attempt a;
    int fd = -1;
    int code = target_connect(&a, target, reason, &fd);
    if (code != EXIT_OK) {
        return code;
    }
    ssize_t n;
    do {
        n = send(fd, order, sizeof *order, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    do {
        n = recv(fd, answer, sizeof *answer,
                 0); /* a broker that refuses may have answered and closed already */
    } while (n < 0 && errno == EINTR);
    code = operated_check(&a, answer, n);
    (void)close(fd);
    return code;
}

void board_detach(struct board *board)
{
    weir_segment_unmap(&board->live);
    if (board->socket >= 0) {
        (void)close(board->socket);
    }
    board->socket = -1;
}

bool board_connected(const struct board *board)
{
    struct pollfd p = {.fd = board->socket, .events = POLLIN};
    return poll(&p, 1, 0) == 0; /* the supervisor sends nothing after the welcome */
}

/* ---------------------------------------------------------------------------------------------- copy */

/* Latches: a copy taken word by word may mix two publications, so they are read again by their own rule. */
static void latches_copy(const struct board *board, struct image *image)
{
    uint32_t cnt;
    uint64_t stride_bytes;
    char *copy = weir_segment_section(&image->view, WEIR_SECTION_PROVIDER,
                                      sizeof(struct weir_shm_provider), &cnt, &stride_bytes);
    for (uint32_t i = 0; copy != NULL && i < cnt; i++) {
        uint64_t at = (uint64_t)(copy - (char *)image->view.base) + i * stride_bytes;
        if (at % WEIR_LINE_BYTES != 0) {
            return; /* not a board of ours; image_open says so */
        }
        const struct weir_shm_provider *live = (const void *)((const char *)board->live.base + at);
        struct weir_shm_provider *own = (void *)((char *)image->view.base + at);
        uint64_t value[WEIR_SERVER_CLOCK_WORDS];
        uint64_t seq;
        if (weir_latch_read(&live->clock_seq, live->clock, value, WEIR_SERVER_CLOCK_WORDS, &seq)) {
            own->clock_seq = seq;
            memcpy(own->clock + (seq & 1) * WEIR_SERVER_CLOCK_WORDS, value, sizeof value);
        }
    }
}

/* How far the audit has been overwritten: read behind all of its records, it says which of them may be torn. */
static void audit_copy(const struct board *board, struct image *image)
{
    struct weir_shm_audit *own = weir_segment_section(&image->view, WEIR_SECTION_AUDIT,
                                                      sizeof(struct weir_shm_audit), NULL, NULL);
    uint64_t at = own != NULL ? (uint64_t)((char *)own - (char *)image->view.base) : 0;
    if (own != NULL && at % WEIR_LINE_BYTES == 0) {
        const struct weir_shm_audit *live = (const void *)((const char *)board->live.base + at);
        own->begun = weir_audit_begun(live);
    }
}

int board_copy(const struct board *board, struct image *image, struct findings *findings)
{
    int rc = WEIR_E_CORRUPT;
    for (int i = 0; i < 8; i++) {
        findings->cnt = 0;
        rc = image_alloc(image, board->live.bytes);
        if (rc != WEIR_OK) {
            return rc;
        }
        const uint64_t *from = board->live.base;
        uint64_t *to = (void *)image->bytes;
        for (uint64_t w = 0; w < board->live.bytes / sizeof *to; w++) {
            to[w] = weir_audit_word(&from[w]); /* statistics, each word whole */
        }
        image->now_ns = weir_clock_monotonic_ns() + (uint64_t)board->namespace_offset_ns;
        image->utc_offset_ns = (int64_t)(weir_clock_realtime_ns() - image->now_ns);
        image->live = true;
        if (weir_segment_check(image->bytes, image->size, WEIR_SEGMENT_BOARD, 0) == WEIR_OK) {
            latches_copy(board, image);
            audit_copy(board, image);
        }
        rc = image_open(image, findings);
        if (rc != WEIR_E_CORRUPT) {
            break;
        }
    }
    return rc;
}
