/*
 * test_monitor_attach.c: every way in which an attach can fail has its own text and exit code.
 *
 * Oracle: the texts. A child plays the supervisor: it listens, answers once as told, and dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board.h"
#include "board_fixture.h"
#include "exit_codes.h"
#include "weir_attach.h"

static char dir[64];
static struct board_target target;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/weir-attach-%d", (int)getpid());
    char folder[96];
    (void)snprintf(folder, sizeof folder, "%s/prod", dir);
    target = (struct board_target){.name = "prod", .runtime_dir = dir};
    return mkdir(dir, 0700) != 0 || mkdir(folder, 0700) != 0;
}

static void socket_path(struct sockaddr_un *address, const char *domain)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "%s/prod/%s.sock", dir, domain);
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* What the child answers. */
struct script {
    struct weir_attach_welcome welcome;
    size_t bytes;
    int fd;      /* sent along if not -1 */
    bool silent; /* take the hello and say nothing */
    bool leave;  /* do not even listen: leave the socket behind */
};

static void welcome_send(int to, const struct script *script)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct weir_attach_welcome welcome = script->welcome;
    struct iovec iov = {.iov_base = &welcome, .iov_len = script->bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (script->fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &script->fd, sizeof(int));
    }
    (void)sendmsg(to, &message, MSG_NOSIGNAL);
}

/* Start the child; it lives until the parent kills it. */
static pid_t play(const struct script *script)
{
    struct sockaddr_un address;
    socket_path(&address, "default");
    (void)unlink(address.sun_path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    if (script->leave) {
        (void)close(listener);
        return -1;
    }
    assert_int_equal(listen(listener, 4), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct weir_attach_hello hello;
        int peer = accept(listener, NULL, NULL);
        (void)recv(peer, &hello, sizeof hello, 0);
        if (!script->silent) {
            welcome_send(peer, script);
        }
        (void)pause();
        _exit(0);
    }
    (void)close(listener);
    return pid;
}

static void expect(const struct script *script, int code, const char *text)
{
    struct board board;
    char reason[BOARD_REASON_BYTES] = "";
    pid_t pid = play(script);
    int got = board_attach(&board, &target, reason);
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    assert_int_equal(got, code);
    char whole[BOARD_REASON_BYTES + 128];
    (void)snprintf(whole, sizeof whole, "name=prod path=%s/prod/default.sock: %s", dir, text);
    assert_string_equal(reason, whole);
    assert_int_equal(board.socket, -1);
}

static struct script right_script(void)
{
    return (struct script){.welcome = {.magic = WEIR_ATTACH_MAGIC,
                                       .version = WEIR_ATTACH_VERSION,
                                       .bytes = sizeof(struct weir_attach_welcome),
                                       .abi_major = WEIR_ABI_MAJOR,
                                       .layout_hash = weir_layout_hash(),
                                       .broker_id = 77,
                                       .client = UINT32_MAX,
                                       .fd_cnt = 1},
                           .bytes = sizeof(struct weir_attach_welcome),
                           .fd = -1};
}

static void absent_and_dead(void **state)
{
    (void)state;
    struct board board;
    char reason[BOARD_REASON_BYTES];
    struct board_target other = {.name = "none", .runtime_dir = dir};
    assert_int_equal(board_attach(&board, &other, reason), EXIT_ABSENT);
    assert_non_null(strstr(reason, "/none/default.sock: no broker runs under this name: start it "
                                   "(weird --config FILE), or give --name or --runtime-dir"));
    other = (struct board_target){.name = "prod", .domain = "ext", .runtime_dir = dir};
    assert_int_equal(board_attach(&board, &other, reason), EXIT_ABSENT);
    assert_non_null(strstr(reason, "the broker has no domain 'ext': name one of its sockets in "));

    struct script s = {.leave = true};
    expect(&s, EXIT_STALE,
           "the broker is dead: its socket is left and nobody listens: start weird again");
}

static void refused(void **state)
{
    (void)state;
    struct script s = right_script();
    s.welcome.error = WEIR_E_PERMISSION;
    (void)snprintf(s.welcome.text, sizeof s.welcome.text, "uid 1000 is on no list\n\033[2J");
    expect(&s, EXIT_PERMISSION,
           "uid 1000 is on no list??[2J: add the uid or gid to the domain's list in the broker's "
           "configuration");
    s = right_script();
    s.welcome.error = WEIR_E_NOT_READY;
    expect(&s, EXIT_ABSENT, "the broker is still starting: try again in a moment");
    s = right_script();
    s.welcome.error = WEIR_E_LAYOUT;
    expect(&s, EXIT_CORRUPT,
           "the broker's memory has another layout: rebuild this program and the broker from the "
           "same version");
}

static void wrong_answers(void **state)
{
    (void)state;
    struct script s = right_script();
    s.welcome.magic = 0x48545450;
    expect(
        &s, EXIT_CORRUPT,
        "who answers on this socket is no weir broker (224 bytes, magic 0x48545450): name another "
        "--runtime-dir");
    s = right_script();
    s.welcome.abi_major = 2;
    expect(&s, EXIT_CORRUPT,
           "ABI 2.0 in the broker, this program speaks 1.x: use the libweir of the broker's "
           "version, or restart the broker with this one");
    s = right_script();
    expect(&s, EXIT_CORRUPT, "the broker's welcome came without the board: report it");
    s = right_script();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s.fd = null;
    struct board board;
    char reason[BOARD_REASON_BYTES];
    pid_t pid = play(&s);
    assert_int_equal(board_attach(&board, &target, reason), EXIT_CORRUPT);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    (void)close(null);
}

static void silent(void **state)
{
    (void)state;
    struct script s = right_script();
    s.silent = true;
    expect(&s, EXIT_STALE,
           "the broker did not answer within 2 s: it is stopped or stuck: see its log");
}

/* The right board, sealed as the supervisor does it. */
static int board_fd(void)
{
    uint64_t size;
    unsigned char *bytes = board_fixture_make(&size);
    assert_non_null(bytes);
    int fd = memfd_create("board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    free(bytes);
    return fd;
}

static void attached(void **state)
{
    (void)state;
    struct script s = right_script();
    s.fd = board_fd();
    struct board board;
    struct image image = {.view.fd = -1};
    static struct findings findings;
    char reason[BOARD_REASON_BYTES] = "";
    pid_t pid = play(&s);
    assert_int_equal(board_attach(&board, &target, reason), EXIT_OK);
    assert_true(board_connected(&board));
    assert_int_equal(board_copy(&board, &image, &findings), WEIR_OK);
    assert_string_equal(image.view.header->name, "prod");
    assert_true(image.live);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_false(board_connected(&board));
    image_free(&image);
    board_detach(&board);

    s.welcome.broker_id = 78; /* the welcome and the board are of two brokers */
    expect(&s, EXIT_CORRUPT,
           "the shared memory is not what its header says: restart the broker; if it comes again, "
           "report it");
    (void)close(s.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_and_dead), cmocka_unit_test(refused),
        cmocka_unit_test(wrong_answers),   cmocka_unit_test(silent),
        cmocka_unit_test(attached),
    };
    return cmocka_run_group_tests_name("monitor_attach", tests, setup, teardown);
}
