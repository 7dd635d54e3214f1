/* test_config_address.c: addresses and networks of endpoints[].addresses. Oracle: RFC 4632 and RFC 4291, by hand. */
#include "broker/config/config_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CNT(a) (sizeof(a) / sizeof(a)[0])

static void test_ok(void **state)
{
    (void)state;
    static const char *const good[] = {
        "10.0.0.1",      "10.0.0.0/8", "0.0.0.0/0",   "255.255.255.255/32", "::1",
        "2001:db8::/32", "::/0",       "fe80::1/128", "10.0.0.128/25"};
    static const char *const bad[] = {"",
                                      "/",
                                      "10.0.0.1/",
                                      "10.0.0.1/8",
                                      "10.0.0.0/33",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/08",
                                      "10.0.0/8",
                                      "host",
                                      "::1/129",
                                      "2001:db8::1/32",
                                      "10.0.0.0/8 ",
                                      " 10.0.0.1",
                                      "10.0.0.0/8/8",
                                      "10.0.0.129/25",
                                      "1:2:3:4:5:6:7:8:9",
                                      "10.0.0.0/0x8"};
    for (size_t i = 0; i < CNT(good); i++) {
        assert_true(weir_config_address_ok(good[i]));
    }
    for (size_t i = 0; i < CNT(bad); i++) {
        assert_false(weir_config_address_ok(bad[i]));
    }
}

static void test_in(void **state)
{
    (void)state;
    assert_true(weir_config_address_in("10.1.2.3", "10.0.0.0/8"));
    assert_false(weir_config_address_in("11.1.2.3", "10.0.0.0/8"));
    assert_true(weir_config_address_in("10.0.0.255", "10.0.0.128/25"));
    assert_false(weir_config_address_in("10.0.0.127", "10.0.0.128/25"));
    assert_true(weir_config_address_in("10.0.0.1", "10.0.0.1"));
    assert_false(weir_config_address_in("10.0.0.2", "10.0.0.1"));
    assert_true(weir_config_address_in("255.1.2.3", "0.0.0.0/0"));
    assert_true(weir_config_address_in("2001:db8:1::5", "2001:db8::/32"));
    assert_true(weir_config_address_in("2001:db8:0:0:0:0:0:5", "2001:db8::5"));
    assert_false(weir_config_address_in("2001:db9::5", "2001:db8::/32"));
    assert_false(weir_config_address_in("10.0.0.1", "::/0")); /* another family */
    assert_false(weir_config_address_in("::ffff:10.0.0.1", "10.0.0.0/8"));
    assert_false(weir_config_address_in("10.0.0.0/8", "10.0.0.0/8"));
    assert_false(weir_config_address_in("host", "0.0.0.0/0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ok), cmocka_unit_test(test_in)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
