/* The endpoints that a call has tried (broker/tried.h): each of as many as a configuration may have is one of its own. Oracle: a plain array. */
#include "broker/tried.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_each_is_its_own(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WEIR_CONFIG_ENDPOINT_MAX; i++) {
        struct tried t = tried_none();
        assert_false(tried_any(&t));
        tried_add(&t, i);
        assert_true(tried_any(&t));
        for (uint32_t k = 0; k < WEIR_CONFIG_ENDPOINT_MAX; k++) {
            assert_int_equal(tried_has(&t, k), k == i);
        }
    }
}

static void test_all_of_them(void **state)
{
    (void)state;
    bool there[WEIR_CONFIG_ENDPOINT_MAX] = {false};
    struct tried t = tried_none();
    for (uint32_t n = 0; n < WEIR_CONFIG_ENDPOINT_MAX; n++) {
        uint32_t i = n * 37 % WEIR_CONFIG_ENDPOINT_MAX; /* odd: every one once */
        assert_false(tried_has(&t, i));
        tried_add(&t, i);
        tried_add(&t, i);
        there[i] = true;
        for (uint32_t k = 0; k < WEIR_CONFIG_ENDPOINT_MAX; k++) {
            assert_int_equal(tried_has(&t, k), there[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_is_its_own),
                                       cmocka_unit_test(test_all_of_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
