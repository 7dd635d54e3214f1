/*
 * Sessions without a worker: records of refresh tokens through every state that a death can leave, answers of any bytes, cookies and crumbs.
 */
#include "broker/sign_in_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t identity[2] = {7, 8};
static const uint64_t seed[2] = {1, 2};

static struct sign_in_record record_of(uint64_t sequence, uint32_t state, uint32_t uses)
{
    struct sign_in_record r = {.sequence = sequence,
                               .identity = {identity[0], identity[1]},
                               .seed = {seed[0], seed[1]},
                               .state = state,
                               .uses = uses,
                               .token_bytes = 5};
    memcpy(r.token, "token", 5);
    sign_in_seal(&r);
    return r;
}

/* Two slots, the larger sequence counts, and a torn one leaves the other. */
static void test_slots(void **state)
{
    (void)state;
    static char slots[SIGN_IN_FILE_BYTES] __attribute__((aligned(64)));
    const struct sign_in_record *found;
    uint32_t slot = 9;
    assert_int_equal(sign_in_find(slots, identity, &found, &slot), SIGN_IN_FOUND_NOTHING);
    struct sign_in_record r = record_of(4, SIGN_IN_HELD, 0);
    memcpy(slots, &r, sizeof r);
    assert_int_equal(sign_in_find(slots, identity, &found, &slot), SIGN_IN_FOUND_RECORD);
    assert_int_equal(slot, 0);
    r = record_of(5, SIGN_IN_SPENDING, 1);
    memcpy(slots + SIGN_IN_RECORD_BYTES, &r, sizeof r);
    assert_int_equal(sign_in_find(slots, identity, &found, &slot), SIGN_IN_FOUND_RECORD);
    assert_int_equal(slot, 1);
    for (size_t i = 0; i < SIGN_IN_RECORD_BYTES; i++) { /* any byte of it */
        slots[SIGN_IN_RECORD_BYTES + i] ^= 1;
        assert_int_equal(sign_in_find(slots, identity, &found, &slot), SIGN_IN_FOUND_RECORD);
        assert_int_equal(found->sequence, 4);
        slots[SIGN_IN_RECORD_BYTES + i] ^= 1;
    }
    const uint64_t other[2] = {7, 9};
    assert_int_equal(sign_in_find(slots, other, &found, &slot), SIGN_IN_FOUND_DAMAGED);
    assert_null(found);
    slots[100] ^= 1;
    slots[SIGN_IN_RECORD_BYTES + 100] ^= 1;
    assert_int_equal(sign_in_find(slots, identity, &found, &slot), SIGN_IN_FOUND_DAMAGED);
}

static enum sign_in_begin judge(uint32_t state, uint32_t uses, uint64_t written, uint64_t sent,
                                uint64_t second_use_max)
{
    const struct sign_in_record r = record_of(6, state, uses);
    const struct sign_in_place place = {.written = written, .sent = sent};
    return sign_in_judge(SIGN_IN_FOUND_RECORD, &r, seed, &place, second_use_max);
}

static void test_judge(void **state)
{
    (void)state;
    const uint64_t newer[2] = {3, 4};
    const struct sign_in_place place = {0, 0};
    struct sign_in_record r = record_of(6, SIGN_IN_SPENDING, 1);
    assert_int_equal(sign_in_judge(SIGN_IN_FOUND_NOTHING, NULL, seed, &place, 0),
                     SIGN_IN_BEGIN_GIVEN);
    assert_int_equal(sign_in_judge(SIGN_IN_FOUND_DAMAGED, NULL, seed, &place, 9),
                     SIGN_IN_BEGIN_DAMAGED);
    assert_int_equal(sign_in_judge(SIGN_IN_FOUND_RECORD, &r, newer, &place, 0),
                     SIGN_IN_BEGIN_GIVEN);
    assert_int_equal(judge(SIGN_IN_HELD, 0, 0, 0, 0), SIGN_IN_BEGIN_STORED);
    assert_int_equal(judge(SIGN_IN_REFUSED, 1, 0, 0, 9), SIGN_IN_BEGIN_REFUSED);
    /* of a broker before, or of another boot: nobody knows */
    assert_int_equal(judge(SIGN_IN_SPENDING, 1, 0, 0, 0), SIGN_IN_BEGIN_LOST);
    assert_int_equal(judge(SIGN_IN_SPENDING, 1, 4, 4, 0), SIGN_IN_BEGIN_LOST);
    assert_int_equal(judge(SIGN_IN_SPENDING, 1, 0, 0, 1), SIGN_IN_BEGIN_AGAIN);
    assert_int_equal(judge(SIGN_IN_SPENDING, 2, 0, 0, 1), SIGN_IN_BEGIN_LOST);
    /* a worker of this broker, before the gate and behind it */
    assert_int_equal(judge(SIGN_IN_SPENDING, 1, 6, 4, 0), SIGN_IN_BEGIN_STORED);
    assert_int_equal(judge(SIGN_IN_SPENDING, 1, 6, 6, 0), SIGN_IN_BEGIN_LOST);
    assert_int_equal(judge(SIGN_IN_SPENDING, 2, 6, 4, 1), SIGN_IN_BEGIN_AGAIN);
    assert_int_equal(judge(SIGN_IN_SPENDING, 2, 6, 4, 0), SIGN_IN_BEGIN_LOST);
    assert_int_equal(judge(SIGN_IN_SPENDING, 2, 6, 6, 1), SIGN_IN_BEGIN_LOST);
}

/*
 * Every sequence of events between two disks' states, against a model that knows what was truly sent: where weir goes on without second_use, the token was sent by nobody.
 */
static void test_every_death(void **state)
{
    (void)state;
    for (unsigned die = 0; die < 5; die++) {
        for (unsigned machine = 0; machine < 2; machine++) { /* the shared memory goes too */
            struct sign_in_place place = {0, 0};
            struct sign_in_record disk = record_of(1, SIGN_IN_HELD, 0);
            bool sent = false;
            bool spent = false;
            /* 0: before; 1: place written; 2: on the disk; 3: behind the gate; 4: the new one is on the disk */
            if (die >= 1) {
                place.written = 2;
            }
            if (die >= 2) {
                disk = record_of(2, SIGN_IN_SPENDING, 1);
            }
            if (die >= 3) {
                place.sent = 2;
                sent = true;
            }
            if (die >= 4) {
                disk = record_of(3, SIGN_IN_HELD, 0); /* another token */
                spent = true;
            }
            if (machine != 0) {
                place = (struct sign_in_place){0, 0};
            }
            enum sign_in_begin b = sign_in_judge(SIGN_IN_FOUND_RECORD, &disk, seed, &place, 0);
            bool goes_on = b == SIGN_IN_BEGIN_STORED;
            assert_true(goes_on || b == SIGN_IN_BEGIN_LOST);
            assert_false(goes_on && sent && !spent); /* never twice */
            if (machine == 0) {
                assert_int_equal(goes_on, !sent || spent); /* and never lost for nothing */
            }
        }
    }
}

static enum sign_in_says reads(const char *body, struct sign_in_answer *a)
{
    return sign_in_read(body, strlen(body), "api_server", a);
}

static void test_answers(void **state)
{
    (void)state;
    static struct sign_in_answer a;
    assert_int_equal(reads("{\"access_token\": \"a\", \"refresh_token\": \"r\", \"expires_in\": "
                           "1800, \"token_type\": \"Bearer\", \"api_server\": "
                           "\"https:\\/\\/API01.iq.questrade.com\\/\"}",
                           &a),
                     SIGN_IN_SAYS_ALL);
    assert_string_equal(a.access, "a");
    assert_string_equal(a.refresh, "r");
    assert_string_equal(a.server, "api01.iq.questrade.com");
    assert_true(a.lasts_ns == 1800 * WEIR_NS_PER_S);
    assert_int_equal(reads("{\"access_token\": \"a\", \"expires_in\": \"60\"}", &a),
                     SIGN_IN_SAYS_ALL);
    assert_int_equal(a.refresh_bytes, 0); /* the one before stays good */
    assert_true(a.lasts_ns == 60 * WEIR_NS_PER_S);
    assert_int_equal(reads("{\"access_token\": \"a\", \"expires_in\": -1}", &a), SIGN_IN_SAYS_ALL);
    assert_true(a.lasts_ns == 0);
    assert_int_equal(reads("{\"access_token\": \"a\", \"expires_in\": 1e300}", &a),
                     SIGN_IN_SAYS_ALL);
    assert_int_equal(
        reads("{\"access_token\": \"a\", \"token_type\": \"mac\", \"refresh_token\": \"r\"}", &a),
        SIGN_IN_SAYS_TOKEN);
    assert_int_equal(reads("{\"access_token\": \"a\\nX: y\", \"refresh_token\": \"r\"}", &a),
                     SIGN_IN_SAYS_TOKEN);
    static const char *const nothing[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"access_token\": \"\"}",
        "{\"access_token\": 1}",
        "{\"access_token\": \"a b\"}",
        "{\"access_token\": \"a\", \"refresh_token\": 7}",
        "{\"access_token\": \"a\", \"refresh_token\": \"\"}",
        "{\"access_token\": \"a\", \"refresh_token\": \"r\\u0000s\"}",
        "{\"access_token\": \"a\", \"access_token\": \"b\"}",
        "Too Many Requests",
    };
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        assert_int_equal(reads(nothing[i], &a), SIGN_IN_SAYS_NOTHING);
        assert_int_equal(a.access_bytes + a.refresh_bytes, 0);
    }
    static char longer[SIGN_TOKEN_MAX_BYTES + 64];
    for (unsigned n = SIGN_TOKEN_MAX_BYTES; n <= SIGN_TOKEN_MAX_BYTES + 1; n++) {
        (void)snprintf(longer, sizeof longer, "{\"access_token\": \"%0*d\"}", (int)n, 1);
        assert_int_equal(reads(longer, &a),
                         n == SIGN_TOKEN_MAX_BYTES ? SIGN_IN_SAYS_ALL : SIGN_IN_SAYS_NOTHING);
    }
    assert_string_equal(sign_in_error("{\"error\": \"invalid_grant\"}", 26), "invalid_grant");
    assert_string_equal(sign_in_error("{\"error\": \"secret\"}", 19), "other");
    assert_string_equal(sign_in_error("x", 1), "other");
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(sign_in_end_of(false, false, false, 0), SIGN_IN_END_UNSENT);
    assert_int_equal(sign_in_end_of(true, true, true, 403), SIGN_IN_END_UNSENT);
    assert_int_equal(sign_in_end_of(true, true, false, 429), SIGN_IN_END_UNSENT);
    assert_int_equal(sign_in_end_of(true, true, false, 200), SIGN_IN_END_GOOD);
    /* A stop beside a token: it was looked at, and the token that it brings is the only one that there is. */
    assert_int_equal(sign_in_end_of(true, true, true, 200), SIGN_IN_END_GOOD);
    assert_int_equal(sign_in_end_of(true, true, false, 400), SIGN_IN_END_REFUSED);
    assert_int_equal(sign_in_end_of(true, true, false, 401), SIGN_IN_END_REFUSED);
    static const uint32_t unsure[] = {302, 404, 500, 502, 503};
    for (size_t i = 0; i < sizeof unsure / sizeof unsure[0]; i++) {
        assert_int_equal(sign_in_end_of(true, true, false, unsure[i]), SIGN_IN_END_UNSURE);
    }
    assert_int_equal(sign_in_end_of(true, false, false, 0), SIGN_IN_END_UNSURE);
    assert_int_equal(sign_in_end_of(true, false, true, 429), SIGN_IN_END_UNSURE);
}

static void test_times(void **state)
{
    (void)state;
    const uint64_t s = WEIR_NS_PER_S;
    struct sign_in_times t = sign_in_times(100 * s, 1800 * s, 60 * s);
    assert_true(t.good_until_ns == 1899 * s && t.due_ns == 1840 * s);
    t = sign_in_times(100 * s, 60 * s, 60 * s); /* half of it */
    assert_true(t.due_ns == 130 * s);
    t = sign_in_times(100 * s, s, s / 100);
    assert_true(t.due_ns <= t.good_until_ns && t.good_until_ns < 101 * s);
    t = sign_in_times(5, UINT64_MAX, 1);
    assert_true(t.due_ns > 5 && t.good_until_ns > 5);
    t = sign_in_times(5, 0, 1);
    assert_true(t.due_ns == 5 && t.good_until_ns == 5);
}

static void test_form(void **state)
{
    (void)state;
    static char to[20000];
    struct sign_in_record r = record_of(1, SIGN_IN_HELD, 0);
    memcpy(r.token, "a+/=&", 5);
    size_t bytes = sign_in_form(to, sizeof to, &r, "id", "se cret");
    assert_string_equal(to, "grant_type=refresh_token&refresh_token=a%2B%2F%3D%26&client_id=id&"
                            "client_secret=se%20cret");
    assert_int_equal(bytes, strlen(to));
    assert_true(bytes < sign_in_form_bytes("id", "se cret"));
    assert_int_equal(sign_in_form(to, 20, &r, "", ""), 0);
    memset(r.token, '+', sizeof r.token);
    r.token_bytes = sizeof r.token;
    assert_true(sign_in_form(to, sign_in_form_bytes("", ""), &r, "", "") > 0);
}

static size_t line_of(struct sign_in_jar *jar, const char *head, const char *from, const char *to,
                      bool tls, char out[SIGN_IN_LINE_MAX_BYTES])
{
    out[0] = '\0';
    return sign_in_cookies(jar, head, strlen(head), from)
               ? sign_in_cookie_line(jar, to, tls, out, SIGN_IN_LINE_MAX_BYTES)
               : 0;
}

static void test_cookies(void **state)
{
    (void)state;
    static struct sign_in_jar jar;
    static char line[SIGN_IN_LINE_MAX_BYTES];
    static const char yahoo[] =
        "HTTP/1.1 404 Not Found\r\nset-cookie: A3=d=AQ; Expires=Mon, 1 Jan 2029 00:00:00 GMT; "
        "Max-Age=31557600; Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly\r\n"
        "Set-Cookie: B=2; path=/\r\n\r\n";
    const struct {
        const char *head, *from, *to;
        bool tls;
        const char *line;
    } c[] = {
        {yahoo, "fc.yahoo.com", "query1.finance.yahoo.com", true, "Cookie: A3=d=AQ"},
        {yahoo, "fc.yahoo.com", "query1.finance.yahoo.com", false, ""},
        {yahoo, "fc.yahoo.com", "fc.yahoo.com", true, "Cookie: A3=d=AQ; B=2"},
        {yahoo, "fc.yahoo.com", "yahoo.com.evil.example", true, ""},
        {yahoo, "fc.yahoo.com", "notyahoo.com", true, ""},
        {yahoo, "evil.example", "evil.example", true, "Cookie: B=2"},
        {"H\r\nSet-Cookie: a=1; Domain=com\r\n", "x.com", "y.com", true, ""},
        {"H\r\nSet-Cookie: a=1; Domain=\r\n", "x.com", "x.com", true, "Cookie: a=1"},
        {"H\r\nSet-Cookie: a=1; Domain=.\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: a=1; Path=/api\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: a=1; Max-Age=0\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: a=1; Max-Age=-5\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: =1\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: novalue\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: a=\x01\r\n", "x.com", "x.com", true, ""},
        {"H\r\nSet-Cookie: a=1; Domain=127.0.0.1\r\n", "127.0.0.1", "127.0.0.1", true,
         "Cookie: a=1"},
        {"H\r\nSet-Cookie: a=1; Domain=0.0.1\r\n", "127.0.0.1", "127.0.0.1", true, ""},
        {"H\r\nSet-Cookie:\r\nX: y\r\n", "x.com", "x.com", true, ""},
        {"", "x.com", "x.com", true, ""},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        size_t bytes = line_of(&jar, c[i].head, c[i].from, c[i].to, c[i].tls, line);
        assert_int_equal(bytes, strlen(c[i].line));
        assert_string_equal(bytes > 0 ? line : "", c[i].line);
    }
    assert_true(line_of(&jar, yahoo, "fc.yahoo.com", "fc.yahoo.com", true, line) > 0);
    assert_true(jar.lasts_ns == UINT64_C(31557600) * WEIR_NS_PER_S);
    /* more than fits: some are taken, none is cut */
    static char many[40000];
    size_t n = 0;
    for (int i = 0; i < 60; i++) {
        n += (size_t)snprintf(many + n, sizeof many - n, "Set-Cookie: k%d=%0*d\r\n", i, 500, i);
    }
    assert_true(line_of(&jar, many, "x.com", "x.com", true, line) < SIGN_IN_LINE_MAX_BYTES);
    assert_in_range(jar.cookie_cnt, 1, SIGN_IN_COOKIES_MAX);
    assert_int_equal(sign_in_cookie_line(&jar, "x.com", true, line, 100), 0);
}

static void test_crumbs(void **state)
{
    (void)state;
    char to[SIGN_IN_CRUMB_MAX_BYTES + 1];
    char longer[SIGN_IN_CRUMB_MAX_BYTES + 2];
    assert_true(sign_in_crumb("Ab/c.1-2\n", 9, to));
    assert_string_equal(to, "Ab/c.1-2");
    static const char *const none[] = {
        "", " ", "Too Many Requests", "<html>", "{\"finance\":1}", "a\tb", "\x80"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(sign_in_crumb(none[i], strlen(none[i]), to));
    }
    memset(longer, 'a', sizeof longer);
    assert_true(sign_in_crumb(longer, SIGN_IN_CRUMB_MAX_BYTES, to));
    assert_false(sign_in_crumb(longer, SIGN_IN_CRUMB_MAX_BYTES + 1, to));
}

/* Any bytes: no access beyond them (sanitizers look), and what is believed has its form. */
static void test_any_bytes(void **state)
{
    (void)state;
    static struct sign_in_jar jar;
    static struct sign_in_answer a;
    static char line[SIGN_IN_LINE_MAX_BYTES];
    static const char alphabet[] = "{}\":,[]abSset-cookie: ;=.\r\n\\u00Domainaccess_tokenrefresh";
    unsigned random = 20240607;
    (void)printf("seed %u\n", random);
    for (int i = 0; i < 200000; i++) {
        char text[96];
        size_t bytes = 0;
        random = random * 1103515245U + 12345U;
        for (size_t n = random >> 16 & 63U; bytes < n; bytes++) {
            random = random * 1103515245U + 12345U;
            text[bytes] = alphabet[(random >> 16) % (sizeof alphabet - 1)];
        }
        char *exact = malloc(bytes + 1);
        assert_non_null(exact);
        memcpy(exact, text, bytes);
        if (sign_in_cookies(&jar, exact, bytes, "h.example")) {
            size_t n = sign_in_cookie_line(&jar, "h.example", true, line, sizeof line);
            assert_true(n == 0 || (strlen(line) == n && strpbrk(line, "\r\n") == NULL));
        }
        (void)sign_in_read(exact, bytes, "s", &a);
        (void)sign_in_crumb(exact, bytes, line);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),       cmocka_unit_test(test_judge),
        cmocka_unit_test(test_every_death), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_ends),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_form),        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_crumbs),      cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests_name("sign_in", tests, NULL, NULL);
}
