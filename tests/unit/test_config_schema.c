/*
 * test_config_schema.c: every row of the schema at its edges.
 *
 * Nobody has to remember to test a new key: the test walks the table that the reader walks. For a number min - 1, min, max,
 * max + 1, junk and trailing text; for a text one byte too few and too many; for a choice each value and one more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/config/config_mem.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_scalar.h"
#include "broker/config/config_schema.h"

/* Read `text` as this row; the message, or "" if it was accepted. Holds until the next call. */
static const char *try_row(const struct weir_config_row *row, const char *text, void *field)
{
    static struct weir_config_diag diag;
    diag = (struct weir_config_diag){0};
    struct weir_config_reader reader = {.name = "t", .diag = &diag};
    struct weir_config_node node = {
        .kind = WEIR_CONFIG_NODE_SCALAR, .line = 1, .column = 1, .text = text};
    struct weir_config_place file = {0};
    struct weir_config_place place = {.up = &file, .key = row->key, .node = &node};
    place.is_secret = row->type == WEIR_CONFIG_TYPE_SECRET;
    enum weir_config_type type = row->type;
    type = type == WEIR_CONFIG_TYPE_LIST ? row->item : type;
    type = type == WEIR_CONFIG_TYPE_UNITS ? WEIR_CONFIG_TYPE_INTEGER : type;
    bool is_good = weir_config_scalar_read(&reader, row, type, &place, field);
    assert_int_equal(is_good, diag.error_cnt == 0);
    weir_config_mem_free(reader.blocks);
    return is_good ? "" : diag.error[0].text;
}

static void check_number(const struct weir_config_row *row, enum weir_config_type type)
{
    char low[WEIR_CONFIG_NUMBER_BYTES];
    char high[WEIR_CONFIG_NUMBER_BYTES];
    char text[WEIR_CONFIG_NUMBER_BYTES + 8];
    char expected[256];
    uint64_t number = 0;
    weir_config_number_write(type, row->min, low);
    weir_config_number_write(type, row->max, high);

    const uint64_t edge[] = {row->min, row->max};
    for (size_t i = 0; i < 2; i++) {
        weir_config_number_write(type, edge[i], text);
        assert_string_equal(try_row(row, text, &number), "");
        assert_true(number == edge[i]);
    }
    const uint64_t outside[] = {row->max + 1, row->min - 1};
    for (size_t i = 0; i < (row->min ? 2 : 1); i++) {
        weir_config_number_write(type, outside[i], text);
        snprintf(expected, sizeof(expected), "t:1:1: %s = \"%s\": must be %s..%s", row->key, text,
                 low, high);
        assert_string_equal(try_row(row, text, &number), expected);
    }
    snprintf(text, sizeof(text), "%s ", low);
    const char *const junk[] = {"", "x", "-1", "+1", "0x10", "1e3", "1.s", text};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(junk); i++) {
        snprintf(expected, sizeof(expected), "t:1:1: %s = \"%s\": must be %s: %s..%s", row->key,
                 junk[i], weir_config_number_form(type), low, high);
        assert_string_equal(try_row(row, junk[i], &number), expected);
    }
}

/* A text of this type that is `bytes` long, or at least one that starts like it. */
static void fill(enum weir_config_type type, char *text, size_t bytes)
{
    const char *start = type == WEIR_CONFIG_TYPE_URL ? "http://h/" : "/";
    memset(text, 'a', bytes);
    text[bytes] = '\0';
    if (type == WEIR_CONFIG_TYPE_URL || type == WEIR_CONFIG_TYPE_PATH ||
        type == WEIR_CONFIG_TYPE_FILE) {
        memcpy(text, start, weir_min_u64(strlen(start), bytes));
    }
}

static void check_text(const struct weir_config_row *row, enum weir_config_type type)
{
    char field[sizeof(struct weir_config_url)];
    char *text = malloc(row->max + 2);
    assert_non_null(text);
    fill(type, text, row->max);
    assert_string_equal(try_row(row, text, field), "");
    fill(type, text, row->max + 1);
    assert_non_null(strstr(try_row(row, text, field), "bytes long"));
    if (row->min) {
        assert_non_null(strstr(try_row(row, "", field), "bytes long"));
    }
    if (type != WEIR_CONFIG_TYPE_SECRET) {
        fill(type, text, row->max);
        text[row->max - 1] = '\n';
        assert_non_null(strstr(try_row(row, text, field), ": must be "));
    }
    free(text);
}

static void check_choices(const struct weir_config_row *row)
{
    unsigned value = 0;
    for (const struct weir_config_choice *choice = row->choice; choice->text; choice++) {
        const char *message = try_row(row, choice->text, &value);
        if (choice->refused) {
            assert_non_null(strstr(message, choice->refused));
        } else {
            assert_string_equal(message, "");
            assert_int_equal(value, choice->value);
        }
    }
    char allowed[WEIR_CONFIG_ALLOWED_BYTES];
    char expected[WEIR_CONFIG_ALLOWED_BYTES + 64];
    weir_config_row_allowed(row, allowed, sizeof(allowed));
    assert_in_range(strlen(allowed), 1, sizeof(allowed) - 2);
    snprintf(expected, sizeof(expected), "t:1:1: %s = \"junk\": must be %s", row->key, allowed);
    assert_string_equal(try_row(row, "junk", &value), expected);
}

static void check_boolean(const struct weir_config_row *row)
{
    bool value = false;
    assert_string_equal(try_row(row, "true", &value), "");
    assert_true(value);
    assert_string_equal(try_row(row, "false", &value), "");
    assert_false(value);
    static const char *const junk[] = {"", "1", "0", "yes", "True", "true ", "tru"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(junk); i++) {
        assert_non_null(strstr(try_row(row, junk[i], &value), "must be true or false"));
    }
}

static void check_row(const struct weir_config_row *row)
{
    enum weir_config_type type = row->type == WEIR_CONFIG_TYPE_LIST    ? row->item
                                 : row->type == WEIR_CONFIG_TYPE_UNITS ? WEIR_CONFIG_TYPE_INTEGER
                                                                       : row->type;
    assert_non_null(row->text);
    if (weir_config_type_is_number(type)) {
        check_number(row, type);
    } else if (type == WEIR_CONFIG_TYPE_BOOLEAN) {
        check_boolean(row);
    } else if (type == WEIR_CONFIG_TYPE_ENUM) {
        check_choices(row);
    } else if (type < WEIR_CONFIG_TYPE_LIST) {
        check_text(row, type);
    }
}

static size_t check_section(const struct weir_config_section *section)
{
    size_t row_cnt = section->row_cnt;
    assert_non_null(section->text);
    for (size_t i = 0; i < section->row_cnt; i++) {
        const struct weir_config_row *row = &section->row[i];
        assert_in_range(row->offset, 0, section->bytes - 1);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(row->key, section->row[j].key);
        }
        check_row(row);
        row_cnt += row->section ? check_section(row->section) : 0;
    }
    return row_cnt;
}

static void test_every_row(void **state)
{
    (void)state;
    assert_in_range(check_section(&weir_config_root), 80, 1000);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        enum weir_config_type type;
        const char *text;
        uint64_t number;
        const char *canonical;
    } good[] = {
        {WEIR_CONFIG_TYPE_DURATION, "100ns", 100, "100ns"},
        {WEIR_CONFIG_TYPE_DURATION, "500us", 500000, "500us"},
        {WEIR_CONFIG_TYPE_DURATION, "1000ms", 1000000000, "1s"},
        {WEIR_CONFIG_TYPE_DURATION, "60s", UINT64_C(60000000000), "1m"},
        {WEIR_CONFIG_TYPE_DURATION, "12h", UINT64_C(43200000000000), "12h"},
        {WEIR_CONFIG_TYPE_DURATION, "24h", UINT64_C(86400000000000), "1d"},
        {WEIR_CONFIG_TYPE_DURATION, "0d", 0, "0s"},
        {WEIR_CONFIG_TYPE_DURATION, "99999999d", UINT64_MAX, NULL},
        {WEIR_CONFIG_TYPE_DURATION, "99999999999999999999999s", UINT64_MAX, NULL},
        {WEIR_CONFIG_TYPE_SIZE, "0", 0, "0"},
        {WEIR_CONFIG_TYPE_SIZE, "1000", 1000, "1KB"},
        {WEIR_CONFIG_TYPE_SIZE, "64MiB", 67108864, "64MiB"},
        {WEIR_CONFIG_TYPE_SIZE, "1MB", 1000000, "1MB"},
        {WEIR_CONFIG_TYPE_SIZE, "1025", 1025, "1025"},
        {WEIR_CONFIG_TYPE_PERCENT, "10%", 100000, "10%"},
        {WEIR_CONFIG_TYPE_PERCENT, "0.0001%", 1, "0.0001%"},
        {WEIR_CONFIG_TYPE_PERCENT, "12.50%", 125000, "12.5%"},
        {WEIR_CONFIG_TYPE_PERCENT, "0%", 0, "0%"},
        {WEIR_CONFIG_TYPE_INTEGER, "007", 7, "7"},
        {WEIR_CONFIG_TYPE_INTEGER, "18446744073709551615", UINT64_MAX, NULL},
        {WEIR_CONFIG_TYPE_INTEGER, "18446744073709551616", UINT64_MAX, NULL},
    };
    char text[WEIR_CONFIG_NUMBER_BYTES];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(good); i++) {
        uint64_t number = 1;
        assert_true(weir_config_number_read(good[i].type, good[i].text, &number));
        assert_true(number == good[i].number);
        if (good[i].canonical) {
            weir_config_number_write(good[i].type, number, text);
            assert_string_equal(text, good[i].canonical);
        }
    }
    static const struct {
        enum weir_config_type type;
        const char *text;
    } bad[] = {
        {WEIR_CONFIG_TYPE_DURATION, "5"},       {WEIR_CONFIG_TYPE_DURATION, "1.5s"},
        {WEIR_CONFIG_TYPE_DURATION, "5 s"},     {WEIR_CONFIG_TYPE_DURATION, "5S"},
        {WEIR_CONFIG_TYPE_DURATION, "s"},       {WEIR_CONFIG_TYPE_SIZE, "5mb"},
        {WEIR_CONFIG_TYPE_SIZE, "5M"},          {WEIR_CONFIG_TYPE_PERCENT, "10"},
        {WEIR_CONFIG_TYPE_PERCENT, "1.%"},      {WEIR_CONFIG_TYPE_PERCENT, ".5%"},
        {WEIR_CONFIG_TYPE_PERCENT, "1.00001%"}, {WEIR_CONFIG_TYPE_INTEGER, "1_000"},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        uint64_t number = 0;
        assert_false(weir_config_number_read(bad[i].type, bad[i].text, &number));
    }
}

static void test_urls(void **state)
{
    (void)state;
    struct weir_config_url_parts parts;
    assert_null(weir_config_url_split("https://api.x-y.com", &parts));
    assert_int_equal(parts.port, 443);
    assert_true(parts.tls && !parts.ipv6 && !parts.base_path_bytes);
    assert_int_equal(parts.host_bytes, strlen("api.x-y.com"));
    assert_null(weir_config_url_split("http://127.0.0.1:8080/v1/", &parts));
    assert_int_equal(parts.port, 8080);
    assert_int_equal(parts.base_path_bytes, 3);
    assert_null(weir_config_url_split("http://[::1]:80/", &parts));
    assert_true(parts.ipv6 && parts.host_bytes == 3 && !parts.base_path_bytes);

    static const char *const bad[] = {
        "",
        "ftp://h",
        "HTTP://h",
        "http://",
        "http:///x",
        "http://u@h",
        "http://u:p@h/",
        "http://h?x",
        "http://h/#x",
        "http://h:",
        "http://h:0",
        "http://h:65536",
        "http://h:99999999999999999999",
        "http://h:80x",
        "http://h..x",
        "http://h.",
        "http://-h",
        "http://h-",
        "http://1.2.3",
        "http://1.2.3.256",
        "http://h_x",
        "http://h x",
        "http://[::1",
        "http://[]",
        "http://[::1]x",
        "http://[1.2.3.4]",
        "http://h//x",
        "http://h/../x",
        "http://h/%2e%2e/x",
        "http://h/%00",
        "http://h/%4",
        "http://h\\x",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        assert_non_null(weir_config_url_split(bad[i], &parts));
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"/",       "/a/b",         "/a.b/..c",
                                       "/%C3%A4", "/a:b@c;d=e,f", "/.../x"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(good); i++) {
        assert_null(weir_config_text_fault(WEIR_CONFIG_TYPE_PATH, good[i]));
    }
    static const char *const bad[] = {
        "",       "a",    "//",   "/a//b", "/..",   "/../a", "/a/..", "/.",
        "/a/./b", "/a?b", "/a#b", "/a b",  "/a\tb", "/%2f",  "/%2E",  "/%5c",
        "/%0a",   "/%7F", "/%",   "/%1",   "/%gg",  "/{x}",  "/a\\b", "/\xc3\xa4",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        assert_non_null(weir_config_text_fault(WEIR_CONFIG_TYPE_PATH, bad[i]));
    }
}

static void test_man_page(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    weir_config_print_schema_man(out);
    fclose(out);
    assert_non_null(strstr(text, ".Dt WEIR.YAML 5\n"));
    assert_non_null(strstr(text, ".Ss providers[].limits[]\n"));
    assert_non_null(strstr(text, ".It Cm window\n"));
    assert_non_null(strstr(text, "\nAllowed: 1ms..366d\n"));
    assert_non_null(strstr(text, "weir ctl balance changes it while weird runs."));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_urls),      cmocka_unit_test(test_paths),
        cmocka_unit_test(test_man_page),
    };
    return cmocka_run_group_tests_name("config_schema", tests, NULL, NULL);
}
