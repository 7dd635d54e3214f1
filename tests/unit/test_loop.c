/* The worker's wait point against the kernel: a completion queue that is full, and one that has lost something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/loop.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ENTRIES 8U /* the completion queue holds 4 times that */
#define BELLS   200U

static struct loop loop;
static int bell[BELLS];

static int set_up(void **state)
{
    char text[256];
    (void)state;
    for (unsigned i = 0; i < BELLS; i++) {
        bell[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* readable from the start */
        if (bell[i] < 0) {
            return -1;
        }
    }
    if (loop_open(&loop, ENTRIES, text, sizeof text) != 0) {
        print_message("no io_uring: %s\n", text);
        loop.ring.ring_fd = -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BELLS; i++) {
        (void)close(bell[i]);
    }
    if (loop.ring.ring_fd >= 0) {
        loop_close(&loop);
    }
    return 0;
}

/* Everything that has come, by index. */
static unsigned take_all(unsigned cnt[BELLS], unsigned more[BELLS])
{
    struct loop_event e[16];
    unsigned taken = 0;
    for (unsigned idle = 0; idle < 3;) {
        unsigned n = loop_take(&loop, e, 16);
        idle = n == 0 ? idle + 1 : 0;
        taken += n;
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(e[i].kind, LOOP_DOORBELL);
            assert_true(e[i].index < BELLS);
            cnt[e[i].index]++;
            more[e[i].index] = e[i].more;
        }
        loop_pump(&loop);
    }
    return taken;
}

/* Six times as many events as the queue holds: the kernel keeps the rest, and each comes once. */
static void overflow(bool multishot)
{
    unsigned cnt[BELLS] = {0};
    unsigned more[BELLS] = {0};
    if (loop.ring.ring_fd < 0) {
        skip();
    }
    for (unsigned i = 0; i < BELLS; i++) {
        loop_poll(&loop, LOOP_DOORBELL, 1, i, bell[i], POLLIN, multishot);
    }
    loop_wait(&loop, WEIR_NS_PER_S);
    assert_true(take_all(cnt, more) >= BELLS);
    for (unsigned i = 0; i < BELLS; i++) {
        assert_true(cnt[i] >= 1);
        if (!multishot) {
            assert_int_equal(cnt[i], 1);
        }
    }
    assert_int_equal(loop_lost(&loop), 0);
    /* A poll that says `more` is still armed; one that does not is armed by whoever sees that. Then each bell is heard again. */
    const uint64_t one = 1;
    for (unsigned i = 0; i < BELLS; i++) {
        if (!more[i]) {
            loop_poll(&loop, LOOP_DOORBELL, 1, i, bell[i], POLLIN, multishot);
        }
        assert_int_equal(write(bell[i], &one, sizeof one), sizeof one);
    }
    memset(cnt, 0, sizeof cnt);
    loop_wait(&loop, WEIR_NS_PER_S);
    (void)take_all(cnt, more);
    for (unsigned i = 0; i < BELLS; i++) {
        assert_true(cnt[i] >= 1);
    }
    assert_int_equal(loop_lost(&loop), 0);
}

static void test_overflow(void **state)
{
    (void)state;
    overflow(false);
}

static void test_overflow_of_bells(void **state)
{
    (void)state;
    overflow(true);
}

/* A bell rings in the instant in which it is taken back: it stays silent from then on. (IORING_OP_POLL_REMOVE fails here, and whoever rings without end could not be silenced.) */
static void test_cancel_while_it_rings(void **state)
{
    const uint64_t one = 1;
    unsigned cnt[BELLS] = {0};
    unsigned more[BELLS] = {0};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)state;
    assert_true(fd >= 0);
    if (loop.ring.ring_fd < 0) {
        (void)close(fd);
        skip();
    }
    loop_poll(&loop, LOOP_DOORBELL, 1, 0, fd, POLLIN, true);
    assert_int_equal(take_all(cnt, more), 0);
    assert_int_equal(write(fd, &one, sizeof one), sizeof one);
    loop_poll_cancel(&loop, LOOP_DOORBELL, 1, 0);
    loop_pump(&loop);
    struct loop_event e[16];
    (void)loop_take(&loop, e, 16); /* it may have been heard once more, and of its end */
    assert_int_equal(write(fd, &one, sizeof one), sizeof one);
    loop_pump(&loop);
    assert_int_equal(loop_take(&loop, e, 16), 0);
    (void)close(fd);
}

/* Only a kernel without memory loses any, which no test can bring about: the word by which it says so is written here. */
static void test_lost(void **state)
{
    (void)state;
    if (loop.ring.ring_fd < 0) {
        skip();
    }
    *loop.ring.cq.koverflow = 3;
    assert_int_equal(loop_lost(&loop), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overflow_of_bells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel_while_it_rings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
