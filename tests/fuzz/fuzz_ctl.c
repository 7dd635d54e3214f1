/*
 * fuzz_ctl.c: what `weir ctl` and the looking commands are told by a broker that lies (monitor/board.c), and any message with any descriptors between the broker's own
 * processes (broker/control.c).
 *
 * First byte, low 2 bits: 0 an order's answer, 1 a monitor's welcome, 2 and 3 the broker's messages. The answers are right ones with other bytes, cut, with
 * descriptors. Oracle: the sanitizers; a failure has its exit status and its text; a message comes as it was sent, with its descriptors or without; none stays open.
 */
#include "../../monitor/board.h"
#include "../../monitor/print.h"
#include "../unit/fake_broker.h"
#include "broker/control.h"
#include "stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define GIFT_CNT 4U

static struct fake_broker fake;
static struct stage_liar liar;
static int gift[GIFT_CNT];

static void gone(void)
{
    fake_broker_free(&fake);
}

static void once(void)
{
    char path[128];
    (void)stage_dir();
    fake_broker_make(&fake, WEIR_ROLE_MONITOR);
    stage_must(atexit(gone) == 0);
    (void)snprintf(path, sizeof path, "%s/fake", fake.dir);
    stage_must(mkdir(path, 0700) == 0);
    liar.listener = stage_listen(fake.path);
    const int gifts[GIFT_CNT] = {open("/dev/null", O_RDWR | O_CLOEXEC), fake.board.fd, fake.ring.fd,
                                 liar.listener};
    memcpy(gift, gifts, sizeof gift);
}

static void message_make(struct stage_input *in, const void *right, size_t bytes, int fd)
{
    struct stage_message *m = &liar.message[0];
    uint8_t how = stage_byte(in);
    memcpy(m->body, right, bytes);
    m->bytes = (how & 4) != 0 ? 1U + stage_byte(in) % sizeof(struct weir_attach_welcome) : bytes;
    m->fd_cnt = fd >= 0 ? 1 : 0;
    m->fd[0] = fd;
    stage_edit(in, m->body, bytes, 64);
    if ((how & 1) != 0) {
        m->fd_cnt = stage_byte(in) % STAGE_FDS_MAX;
        for (size_t i = 0; i < m->fd_cnt; i++) {
            m->fd[i] = gift[stage_byte(in) % GIFT_CNT];
        }
    }
    liar.cnt = (how & 8) != 0 ? 0 : 1;
}

static void order_answered(struct stage_input *in, const struct board_target *target)
{
    static const struct weir_operate order = {.magic = WEIR_OPERATE_MAGIC, .target = "p"};
    struct weir_operated answer = {.magic = WEIR_OPERATE_MAGIC,
                                   .version = WEIR_OPERATE_VERSION,
                                   .bytes = sizeof answer,
                                   .error = (int8_t)stage_byte(in),
                                   .text = "done"};
    char reason[BOARD_REASON_BYTES] = "";
    char text[sizeof answer.text * 2];
    message_make(in, &answer, sizeof answer, -1);
    stage_liar_begin(&liar);
    int code = board_operate(target, &order, &answer, reason);
    stage_must(memchr(reason, '\0', sizeof reason) != NULL);
    if (code == 0) {
        (void)PRINT_TEXT(text, answer.text); /* as ctl.c does */
        stage_must(memchr(text, '\0', sizeof text) != NULL);
    } else {
        stage_must(code > 0 && reason[0] != '\0');
    }
    stage_liar_end(&liar);
}

static void board_attached(struct stage_input *in, const struct board_target *target)
{
    struct weir_attach_welcome w = fake.welcome;
    struct board board;
    char reason[BOARD_REASON_BYTES] = "";
    w.monotonic_ns = weir_clock_monotonic_ns();
    message_make(in, &w, sizeof w, fake.board.fd);
    stage_liar_begin(&liar);
    int code = board_attach(&board, target, reason);
    if (code == 0) {
        stage_must(board.live.base != NULL);
        (void)board_connected(&board);
        board_detach(&board);
    } else {
        stage_must(code > 0 && memchr(reason, '\0', sizeof reason) != NULL && reason[0] != '\0');
    }
    stage_liar_end(&liar);
}

static void message_received(struct stage_input *in)
{
    static struct control_message got;
    static struct stage_message m;
    int pair[2];
    int fds[CONTROL_FDS];
    size_t fd_cnt = stage_byte(in) % (CONTROL_FDS + 1U);
    bool wanted = stage_byte(in) % 4 != 0;
    stage_must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    m.fd_cnt = stage_byte(in) % STAGE_FDS_MAX;
    for (size_t i = 0; i < m.fd_cnt; i++) {
        m.fd[i] = gift[stage_byte(in) % GIFT_CNT];
    }
    m.bytes = in->left < sizeof m.body ? in->left : sizeof m.body;
    memcpy(m.body, in->at, m.bytes);
    if (m.bytes > 0) {
        size_t room = wanted ? fd_cnt : 0;
        stage_send(pair[0], &m);
        ssize_t n = control_receive(pair[1], &got, sizeof got, wanted ? fds : NULL,
                                    wanted ? &fd_cnt : NULL);
        size_t whole = m.bytes < sizeof got ? m.bytes : sizeof got;
        stage_must(n == (ssize_t)whole && memcmp(&got, m.body, whole) == 0);
        stage_must(!wanted || fd_cnt == (m.fd_cnt < room ? m.fd_cnt : room));
        for (size_t i = 0; wanted && i < fd_cnt; i++) {
            stage_must(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
            (void)close(fds[i]);
        }
    }
    (void)close(pair[0]);
    (void)close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct stage_input in = {data, bytes};
    static unsigned open_cnt;
    if (fake.board.base == NULL) {
        once();
        open_cnt = stage_fds();
    }
    const struct board_target target = {
        .name = "fake", .domain = "default", .runtime_dir = fake.dir};
    switch (stage_byte(&in) & 3) {
    case 0:
        order_answered(&in, &target);
        break;
    case 1:
        board_attached(&in, &target);
        break;
    default:
        message_received(&in);
        break;
    }
    stage_fds_check(open_cnt);
    return 0;
}
