/*
 * test_segment.c: sealed memory, its header, and the layout that both sides must share.
 *
 * The golden file pins every field: `test_segment --layout > tests/abi/layout_v1.txt` writes it anew, and a change to a line that was
 * already there is a change of the ABI.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "weir_histogram.h"
#include "weir_segment.h"
#include "weir_slot.h"

#define BROKER UINT64_C(0x77)

static const struct weir_segment_part parts[] = {
    {WEIR_SECTION_LIMIT_WORD, 3, sizeof(struct weir_shm_limit_word)},
    {WEIR_SECTION_PAUSE, 1, sizeof(struct weir_shm_pause)},
    {WEIR_SECTION_FOREIGN, 5, 8},
    {WEIR_SECTION_METER, 0, 0},
};

static const struct weir_segment_spec spec = {.kind = WEIR_SEGMENT_PERMITS,
                                              .name = "test",
                                              .broker_id = BROKER,
                                              .part = parts,
                                              .part_cnt = WEIR_ARRAY_CNT(parts)};

static void test_create_and_map(void **state)
{
    (void)state;
    struct weir_segment made;
    struct weir_segment seen;
    uint32_t cnt;
    uint64_t stride;
    assert_int_equal(weir_segment_create(&made, &spec), WEIR_OK);
    assert_int_equal(
        weir_segment_map(&seen, dup(made.fd), WEIR_SEGMENT_PERMITS, BROKER, WEIR_MAP_WRITE),
        WEIR_OK);
    uint64_t *word = weir_segment_section(&made, WEIR_SECTION_FOREIGN, 8, &cnt, &stride);
    assert_non_null(word);
    assert_int_equal(cnt, 5);
    assert_int_equal(stride, 8);
    word[4] = 99;
    word = weir_segment_section(&seen, WEIR_SECTION_FOREIGN, 8, NULL, NULL);
    assert_int_equal(word[4], 99);
    assert_null(weir_segment_section(&seen, WEIR_SECTION_FOREIGN, 16, NULL, NULL)); /* too small */
    assert_null(weir_segment_section(&seen, WEIR_SECTION_METER, 1, NULL, NULL));    /* absent */
    assert_null(weir_segment_section(&seen, WEIR_SECTION_RING, 1, NULL, NULL));
    assert_int_equal(ftruncate(made.fd, 64), -1); /* sealed */
    assert_int_equal(ftruncate(made.fd, 1 << 20), -1);
    weir_segment_unmap(&seen);
    weir_segment_unmap(&made);
}

static void test_board_is_read_only(void **state)
{
    (void)state;
    struct weir_segment_spec board = spec;
    struct weir_segment made;
    struct weir_segment seen;
    board.kind = WEIR_SEGMENT_BOARD;
    board.readers_only = true;
    assert_int_equal(weir_segment_create(&made, &board), WEIR_OK);
    assert_int_equal(weir_segment_map(&seen, made.fd, WEIR_SEGMENT_BOARD, 0, WEIR_MAP_WRITE),
                     WEIR_E_SYSTEM);
    assert_int_equal(errno, EPERM);
    assert_int_equal(weir_segment_map(&seen, dup(made.fd), WEIR_SEGMENT_BOARD, 0, WEIR_MAP_READ),
                     WEIR_OK);
    *(uint64_t *)weir_segment_section(&made, WEIR_SECTION_FOREIGN, 8, NULL, NULL) = 5;
    assert_int_equal(*(uint64_t *)weir_segment_section(&seen, WEIR_SECTION_FOREIGN, 8, NULL, NULL),
                     5); /* its maker still writes */
    weir_segment_unmap(&seen);
    weir_segment_unmap(&made);
}

static void test_refuses_each_lie(void **state)
{
    (void)state;
    struct weir_segment made;
    assert_int_equal(weir_segment_create(&made, &spec), WEIR_OK);
    struct weir_shm_header *h = made.base;
    const struct weir_shm_header honest = *h;
#define LIE(field, value, error)                                                                  \
    do {                                                                                          \
        h->field = (__typeof__(h->field))(value);                                                 \
        assert_int_equal(weir_segment_check(h, made.bytes, WEIR_SEGMENT_PERMITS, BROKER), error); \
        *h = honest;                                                                              \
    } while (0)
    LIE(magic, WEIR_MAGIC, WEIR_OK);
    LIE(magic, 0, WEIR_E_NOT_READY);
    LIE(magic, WEIR_MAGIC + 1, WEIR_E_CORRUPT);
    LIE(abi_major, WEIR_ABI_MAJOR + 1, WEIR_E_ABI);
    LIE(layout_hash, 1, WEIR_E_LAYOUT);
    LIE(broker_id, BROKER + 1, WEIR_E_CORRUPT);
    LIE(segment_kind, WEIR_SEGMENT_RING, WEIR_E_CORRUPT);
    LIE(segment_bytes, made.bytes - 1, WEIR_E_CORRUPT);
    LIE(section_cnt, WEIR_SECTIONS_MAX + 1, WEIR_E_CORRUPT);
    LIE(section[0].off_bytes, 0, WEIR_E_CORRUPT);
    LIE(section[0].off_bytes, honest.section[0].off_bytes + 8, WEIR_E_CORRUPT);
    LIE(section[1].off_bytes, honest.section[0].off_bytes, WEIR_E_CORRUPT); /* over another */
    LIE(section[2].cnt, UINT32_MAX, WEIR_E_CORRUPT);
    LIE(section[2].stride_bytes, UINT64_MAX, WEIR_E_CORRUPT);
    LIE(section[2].stride_bytes, 0, WEIR_E_CORRUPT);
    LIE(section[2].off_bytes, UINT64_MAX & ~UINT64_C(127), WEIR_E_CORRUPT);
#undef LIE
    memset(h->name, 'x', sizeof h->name);
    assert_int_equal(weir_segment_check(h, made.bytes, WEIR_SEGMENT_PERMITS, BROKER),
                     WEIR_E_CORRUPT);
    *h = honest;
    assert_int_equal(weir_segment_check(h, 64, WEIR_SEGMENT_PERMITS, BROKER), WEIR_E_CORRUPT);
    weir_segment_unmap(&made);

    struct weir_segment out;
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_int_equal(weir_segment_map(&out, fd, WEIR_SEGMENT_PERMITS, 0, WEIR_MAP_READ),
                     WEIR_E_CORRUPT); /* somebody could truncate it under us */
    (void)close(fd);
    assert_int_equal(weir_segment_map(&out, fd, WEIR_SEGMENT_PERMITS, 0, WEIR_MAP_READ),
                     WEIR_E_SYSTEM);
    struct weir_segment_spec many = spec;
    many.part_cnt = WEIR_SECTIONS_MAX + 1;
    assert_int_equal(weir_segment_create(&out, &many), WEIR_E_ARGUMENT);
}

static void layout_print(FILE *out)
{
    for (size_t i = 0; i < weir_layout_field_cnt; i++) {
        const struct weir_layout_field *f = &weir_layout_fields[i];
        fprintf(out, "%s %s %u %u\n", f->type, f->field[0] != '\0' ? f->field : "-", f->off_bytes,
                f->bytes);
    }
}

static void test_layout_is_golden(void **state)
{
    (void)state;
    const char *path = getenv("WEIR_GOLDEN_LAYOUT");
    if (path == NULL) {
        skip();
    }
    FILE *golden = fopen(path, "re");
    assert_non_null(golden);
    char *now = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&now, &bytes);
    layout_print(memory);
    (void)fclose(memory);
    char line[256];
    const char *at = now;
    while (fgets(line, sizeof line, golden) != NULL) {
        size_t n = strlen(line);
        if (strncmp(at, line, n) != 0) {
            print_error("the layout changed: %s says \"%.*s\", the code says \"%.*s\"\n"
                        "If that is meant, raise WEIR_ABI_MAJOR, note it in CHANGELOG.md, and "
                        "write the file anew:\n"
                        "  build/tests/unit/test_segment --layout > tests/abi/layout_v1.txt\n",
                        path, (int)n - 1, line, (int)strcspn(at, "\n"), at);
            fail();
        }
        at += n;
    }
    (void)fclose(golden);
    if (*at != '\0') {
        print_error("new fields, the first is \"%.*s\": build/tests/unit/test_segment --layout > "
                    "tests/abi/layout_v1.txt\n",
                    (int)strcspn(at, "\n"), at);
        fail();
    }
    free(now);
}

static void test_histogram(void **state)
{
    (void)state;
    static struct weir_shm_histogram h;
    uint64_t last = 0;
    for (uint64_t ns = 1; ns < (UINT64_C(1) << 39); ns += ns / 16 + 1) {
        uint32_t b = weir_histogram_bucket(ns);
        assert_true(b >= last && b < WEIR_HISTOGRAM_BUCKETS);
        last = b;
        if (b < WEIR_HISTOGRAM_BUCKETS - 1) {
            assert_true(ns < weir_histogram_edge_ns(b));
            assert_true(ns < 1024 || weir_histogram_edge_ns(b) - ns <= ns / 8);
        }
    }
    uint64_t total;
    assert_int_equal(weir_histogram_percentile_ns(&h, 500000, &total), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        weir_histogram_add(&h, i * 10000);
    }
    uint64_t p50 = weir_histogram_percentile_ns(&h, 500000, &total);
    assert_int_equal(total, 1000);
    assert_in_range(p50, 5000000, 5625000);
    assert_in_range(weir_histogram_percentile_ns(&h, 1000000, NULL), 10000000, 11250000);
    assert_in_range(weir_histogram_percentile_ns(&h, 0, NULL), 10000, 11250);
}

static void test_slot_words(void **state)
{
    (void)state;
    uint64_t w = weir_slot_word(UINT32_MAX, WEIR_SLOT_DONE, 255);
    assert_int_equal(weir_slot_gen(w), UINT32_MAX);
    assert_int_equal(weir_slot_state(w), WEIR_SLOT_DONE);
    assert_int_equal(weir_slot_thread(w), 255);
    w = weir_slot_with(w, WEIR_SLOT_FREE);
    assert_int_equal(weir_slot_gen(w), UINT32_MAX);
    assert_int_equal(weir_slot_state(w), WEIR_SLOT_FREE);
    assert_int_equal(weir_slot_thread(w), 255);
    uint32_t h = weir_handle_make(254, 4095, UINT32_C(0xabcdef));
    assert_int_equal(weir_handle_client(h), 254);
    assert_int_equal(weir_handle_slot(h), 4095);
    assert_int_equal(weir_handle_tag(h), 0xdef);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--layout") == 0) {
        layout_print(stdout);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_map),   cmocka_unit_test(test_board_is_read_only),
        cmocka_unit_test(test_refuses_each_lie), cmocka_unit_test(test_layout_is_golden),
        cmocka_unit_test(test_histogram),        cmocka_unit_test(test_slot_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
