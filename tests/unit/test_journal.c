/* test_journal.c: the format of the journal. Oracle: the records that were put in, and the rule of two slots (shm/weir_journal.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "weir_journal.h"

#define SLOT_BYTES 4096U

static unsigned char file[2 * SLOT_BYTES] __attribute__((aligned(128)));

static const struct weir_journal_owner owner = {
    .name = "prod", .host = 7, .broker_id = 3, .boot_id = "b1", .utc_ns = 1000};

static uint64_t slot_make(unsigned char *slot, uint64_t sequence, uint32_t units)
{
    const struct weir_journal_header facts = {.sequence = sequence,
                                              .generation = 3,
                                              .broker_id = 3,
                                              .host = 7,
                                              .utc_ns = 900,
                                              .flags = WEIR_JOURNAL_CLEAN,
                                              .name = "prod",
                                              .boot_id = "b1"};
    struct weir_journal_writer w;
    weir_journal_begin(&w, slot, SLOT_BYTES, &facts);
    struct weir_journal_provider *p = weir_journal_add(&w, WEIR_JOURNAL_PROVIDER, sizeof *p);
    (void)snprintf(p->provider, sizeof p->provider, "venue");
    p->pause = 77;
    struct weir_journal_limit *l = weir_journal_add(&w, WEIR_JOURNAL_LIMIT, sizeof *l);
    l->identity = weir_journal_identity("venue", "day", WEIR_SCOPE_ACCOUNT, "main");
    l->window[2] = 6;
    l->units[2] = units;
    l->floating = 9;
    (void)snprintf(l->provider, sizeof l->provider, "venue");
    (void)snprintf(l->limit, sizeof l->limit, "day");
    (void)snprintf(l->scope, sizeof l->scope, "main");
    struct weir_journal_bucket *b = weir_journal_add(&w, WEIR_JOURNAL_BUCKET, sizeof *b);
    b->identity = weir_journal_identity("venue", "slow", WEIR_SCOPE_ACCOUNT, "main");
    b->tat_ns = 90 * WEIR_NS_PER_S;
    b->unit_ns = WEIR_NS_PER_S;
    b->ahead = 3;
    (void)snprintf(b->provider, sizeof b->provider, "venue");
    (void)snprintf(b->limit, sizeof b->limit, "slow");
    struct weir_journal_rolling *parts = weir_journal_add(&w, WEIR_JOURNAL_ROLLING, sizeof *parts);
    parts->identity = weir_journal_identity("venue", "rolls", WEIR_SCOPE_ACCOUNT, "main");
    parts->part_ns = 7 * WEIR_NS_PER_S;
    parts->extra = 4;
    parts->part[5] = UINT64_C(213) << 32 | 8;
    parts->part[6] = UINT64_C(214) << 32 | 9;
    (void)snprintf(parts->provider, sizeof parts->provider, "venue");
    (void)snprintf(parts->limit, sizeof parts->limit, "rolls");
    return weir_journal_end(&w);
}

static void both_make(void)
{
    (void)slot_make(file, 10, 100);
    (void)slot_make(file + SLOT_BYTES, 11, 105);
}

/* The units that the file says; -1 where it says nothing. */
static int units_of(struct weir_journal_view *view)
{
    if (weir_journal_find(view, file, sizeof file) != WEIR_JOURNAL_SOUND) {
        return -1;
    }
    const struct weir_journal_record *r = NULL;
    while ((r = weir_journal_next(view->header, r)) != NULL) {
        const struct weir_journal_limit *l = (const void *)r;
        if (r->kind == WEIR_JOURNAL_LIMIT) {
            return (int)l->units[2];
        }
    }
    return -1;
}

static void test_round_trip(void **state)
{
    struct weir_journal_view view;
    (void)state;
    both_make();
    assert_int_equal(units_of(&view), 105);
    assert_int_equal(view.slot, 1);
    assert_false(view.other_torn);
    assert_int_equal(view.header->record_cnt, 4);
    assert_int_equal(weir_journal_judge(view.header, &owner), WEIR_JOURNAL_SOUND);
    const struct weir_journal_record *r = weir_journal_next(view.header, NULL);
    assert_int_equal(r->kind, WEIR_JOURNAL_PROVIDER);
    assert_int_equal(((const struct weir_journal_provider *)(const void *)r)->pause, 77);
    const struct weir_journal_limit *l = (const void *)weir_journal_next(view.header, r);
    assert_int_equal(l->floating, 9);
    assert_string_equal(l->scope, "main");
    const struct weir_journal_bucket *b = (const void *)weir_journal_next(view.header, &l->head);
    assert_int_equal(b->head.kind, WEIR_JOURNAL_BUCKET);
    assert_int_equal(b->tat_ns, 90 * WEIR_NS_PER_S);
    assert_string_equal(weir_journal_names(&b->head) + WEIR_NAME_BYTES, "slow");
    const struct weir_journal_rolling *p = (const void *)weir_journal_next(view.header, &b->head);
    assert_int_equal(p->head.kind, WEIR_JOURNAL_ROLLING);
    assert_int_equal(p->part[6], UINT64_C(214) << 32 | 9);
    assert_null(weir_journal_names(r));
    assert_null(weir_journal_next(view.header, &p->head));
    /* The other one is newer now, wherever it lies. */
    (void)slot_make(file, 12, 110);
    assert_int_equal(units_of(&view), 110);
    assert_int_equal(view.slot, 0);
}

static void test_identity(void **state)
{
    (void)state;
    uint64_t id = weir_journal_identity("a", "b", WEIR_SCOPE_IP, "c");
    assert_int_equal(id, weir_journal_identity("a", "b", WEIR_SCOPE_IP, "c"));
    assert_int_not_equal(id, weir_journal_identity("a", "b", WEIR_SCOPE_KEY, "c"));
    assert_int_not_equal(id, weir_journal_identity("ab", "", WEIR_SCOPE_IP, "c"));
    assert_int_not_equal(id, weir_journal_identity("a", "bc", WEIR_SCOPE_IP, ""));
}

/* A write that stops at any byte, over any older content of its slot: the other slot counts, and it is known that there was more. */
static void test_torn_everywhere(void **state)
{
    static unsigned char older[SLOT_BYTES] __attribute__((aligned(128)));
    static unsigned char newer[SLOT_BYTES] __attribute__((aligned(128)));
    struct weir_journal_view view;
    (void)state;
    uint64_t used = slot_make(newer, 12, 110);
    (void)slot_make(older, 10, 100);
    for (int zeros = 0; zeros < 2; zeros++) {
        for (uint64_t cut = 0; cut <= used; cut++) {
            both_make();
            memcpy(file, older, SLOT_BYTES);
            if (zeros) {
                memset(file, 0, SLOT_BYTES);
            }
            memcpy(file, newer, cut);
            int units = units_of(&view);
            bool whole = memcmp(file, newer, used) == 0;
            bool before = memcmp(file, older, used) == 0;
            assert_int_equal(units, whole ? 110 : 105);
            assert_int_equal(view.other_torn,
                             !whole && !before &&
                                 weir_journal_slot_check(file, SLOT_BYTES) != WEIR_JOURNAL_ABSENT);
        }
    }
}

/* Any bit of a slot flipped: it is refused, as torn or (in the version) as newer. */
static void test_flipped_everywhere(void **state)
{
    struct weir_journal_view view;
    (void)state;
    uint64_t used = slot_make(file, 10, 100);
    for (uint64_t bit = 0; bit < used * 8; bit++) {
        memset(file, 0, sizeof file);
        (void)slot_make(file, 10, 100);
        file[bit / 8] ^= (unsigned char)(1U << bit % 8);
        enum weir_journal_verdict v = weir_journal_find(&view, file, sizeof file);
        assert_true(v == WEIR_JOURNAL_TORN || v == WEIR_JOURNAL_NEWER || v == WEIR_JOURNAL_OLDER);
        assert_null(view.header);
    }
}

static void test_sizes(void **state)
{
    struct weir_journal_view view;
    (void)state;
    both_make();
    /* A file cut at any length: never the newest slot's units from elsewhere, never a read beyond the end. */
    for (size_t bytes = 0; bytes < sizeof file; bytes++) {
        unsigned char *copy = aligned_alloc(8, (bytes + 8) / 8 * 8);
        memcpy(copy, file, bytes);
        enum weir_journal_verdict v = weir_journal_find(&view, copy, bytes);
        if (bytes < 16) {
            assert_int_equal(v, WEIR_JOURNAL_ABSENT);
        } else {
            assert_true(v == WEIR_JOURNAL_TORN || (v == WEIR_JOURNAL_SOUND && view.slot == 0));
        }
        free(copy);
    }
    memset(file, 0, sizeof file);
    assert_int_equal(weir_journal_find(&view, file, sizeof file), WEIR_JOURNAL_ABSENT);
    memset(file, 0x5a, sizeof file);
    assert_int_equal(weir_journal_find(&view, file, sizeof file), WEIR_JOURNAL_TORN);
}

static void test_versions(void **state)
{
    struct weir_journal_view view;
    struct weir_journal_header *h = (void *)file;
    (void)state;
    both_make();
    h->version = WEIR_JOURNAL_VERSION +
                 1; /* the older slot: the newer one knows nothing of what that version granted */
    assert_int_equal(weir_journal_find(&view, file, sizeof file), WEIR_JOURNAL_NEWER);
    assert_null(view.header);
    /* A version before, whole or not, in either slot: what it kept is less than what is needed. */
    for (uint32_t slot = 0; slot < WEIR_JOURNAL_SLOTS; slot++) {
        both_make();
        ((struct weir_journal_header *)(void *)(file + slot * SLOT_BYTES))->version = 1;
        assert_int_equal(weir_journal_find(&view, file, sizeof file), WEIR_JOURNAL_OLDER);
        assert_null(view.header);
    }
    both_make();
    h->version = 0;
    assert_int_equal(units_of(&view), 105);
    assert_true(view.other_torn);
}

static void test_judge(void **state)
{
    (void)state;
    struct weir_journal_header h = {
        .broker_id = 3, .host = 7, .utc_ns = 900, .name = "prod", .boot_id = "b1"};
    struct weir_journal_owner o = owner;
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_SOUND);
    o.name = "test";
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_FOREIGN_NAME);
    o = owner;
    o.host = 8;
    assert_int_equal(weir_journal_judge(&h, &o),
                     WEIR_JOURNAL_SOUND); /* the same boot: the same machine */
    o.boot_id = "b2";
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_FOREIGN_HOST);
    o.host = 0;
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_SOUND);
    o.broker_id = 4;
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_STALE);
    o.broker_id = 0;
    o.utc_ns = 900 + WEIR_JOURNAL_STALE_NS;
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_SOUND);
    o.utc_ns++;
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_STALE);
    o.boot_id = "b1";
    assert_int_equal(weir_journal_judge(&h, &o), WEIR_JOURNAL_SOUND);
}

/* Records: no room, unknown kinds, longer ones of a later minor version, and lengths that lead nowhere. */
static void test_records(void **state)
{
    static unsigned char slot[SLOT_BYTES] __attribute__((aligned(128)));
    struct weir_journal_writer w;
    (void)state;
    const struct weir_journal_header facts = {.name = "x"};
    weir_journal_begin(&w, slot, sizeof slot, &facts);
    assert_null(weir_journal_add(&w, WEIR_JOURNAL_LIMIT, SLOT_BYTES));
    assert_null(weir_journal_add(&w, WEIR_JOURNAL_LIMIT, 12));
    assert_non_null(weir_journal_add(&w, (enum weir_journal_kind)99, 24));
    assert_non_null(weir_journal_add(&w, WEIR_JOURNAL_LIMIT, 8)); /* shorter than its kind */
    struct weir_journal_limit *l =
        weir_journal_add(&w, WEIR_JOURNAL_LIMIT, sizeof(struct weir_journal_limit) + 16);
    l->identity = 5;
    struct weir_journal_record *last = weir_journal_add(&w, WEIR_JOURNAL_PROVIDER, 112);
    (void)weir_journal_end(&w);
    const struct weir_journal_header *h = (const void *)slot;
    assert_ptr_equal(weir_journal_next(h, NULL), &l->head);
    assert_ptr_equal(weir_journal_next(h, &l->head), last);
    static const uint32_t lengths[] = {0, 4, 9, 120, 4096, UINT32_MAX};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(lengths); i++) {
        last->bytes = lengths[i];
        assert_null(weir_journal_next(h, &l->head));
    }
    last->bytes = 112;
    memset((char *)last + 80, 'a', 32); /* a name without an end */
    assert_null(weir_journal_next(h, &l->head));
}

/* The kinds of limits: one that is cut short, or whose last name does not end, is skipped, and what comes behind it is found. */
static void test_limit_kinds(void **state)
{
    static const enum weir_journal_kind kinds[] = {WEIR_JOURNAL_LIMIT, WEIR_JOURNAL_BUCKET,
                                                   WEIR_JOURNAL_ROLLING};
    static unsigned char slot[SLOT_BYTES] __attribute__((aligned(128)));
    const struct weir_journal_header facts = {.name = "x"};
    struct weir_journal_writer w;
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(kinds); i++) {
        uint32_t bytes = weir_journal_record_bytes(kinds[i]);
        weir_journal_begin(&w, slot, sizeof slot, &facts);
        assert_non_null(weir_journal_add(&w, kinds[i], bytes - 8));
        struct weir_journal_record *open = weir_journal_add(&w, kinds[i], bytes);
        memset((char *)open + (weir_journal_names(open) - (const char *)open) +
                   2UL * WEIR_NAME_BYTES,
               'a', WEIR_NAME_BYTES);
        struct weir_journal_record *whole = weir_journal_add(&w, kinds[i], bytes + 8);
        (void)weir_journal_end(&w);
        const struct weir_journal_header *h = (const void *)slot;
        assert_ptr_equal(weir_journal_next(h, NULL), whole);
        assert_null(weir_journal_next(h, whole));
    }
    assert_int_equal(weir_journal_record_bytes((enum weir_journal_kind)99), 0);
}

/* What people see of it. */
static void test_print(void **state)
{
    struct weir_journal_view view;
    char text[4096] = "";
    (void)state;
    both_make();
    assert_int_equal(units_of(&view), 105);
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    journal_dump(out, &view);
    (void)fclose(out);
    assert_non_null(strstr(text, "venue.day"));
    assert_non_null(strstr(text, "6:105"));
    assert_non_null(strstr(text, "venue.slow"));
    assert_non_null(strstr(text, "+3"));
    assert_non_null(strstr(text, "full again 1 min 30 s later"));
    assert_non_null(strstr(text, "17 in parts of"));
    assert_non_null(strstr(text, "exact counts"));
    assert_non_null(strstr(text, "main"));
}

/* Each reason that log and weir stat give, word for word. */
static void test_reasons(void **state)
{
    static const struct {
        enum weir_journal_verdict verdict;
        const char *name, *text;
    } reasons[] = {
        {WEIR_JOURNAL_SOUND, "sound", "it says what was used"},
        {WEIR_JOURNAL_OFF, "off",
         "broker.state_dir is none: nothing is remembered across a reboot"},
        {WEIR_JOURNAL_ABSENT, "absent", "there is none yet: what was used before is not known"},
        {WEIR_JOURNAL_NEWER, "newer", "a later version of weird wrote it"},
        {WEIR_JOURNAL_TORN, "torn", "no slot of it is whole"},
        {WEIR_JOURNAL_FOREIGN_NAME, "foreign_name", "it is of a broker of another name"},
        {WEIR_JOURNAL_FOREIGN_HOST, "foreign_host", "it was written on another machine"},
        {WEIR_JOURNAL_STALE, "stale",
         "a broker has run without it since, or it is older than the longest window"},
        {WEIR_JOURNAL_UNREADABLE, "unreadable", "it could not be read"},
        {WEIR_JOURNAL_OLDER, "older",
         "an earlier version of weird wrote it, which kept less than is needed"},
    };
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(reasons); i++) {
        assert_string_equal(weir_journal_verdict_name(reasons[i].verdict), reasons[i].name);
        assert_string_equal(weir_journal_verdict_text(reasons[i].verdict), reasons[i].text);
    }
    assert_string_equal(weir_journal_verdict_name(99), "?");
    assert_string_equal(weir_journal_verdict_text(99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_identity),
        cmocka_unit_test(test_torn_everywhere), cmocka_unit_test(test_flipped_everywhere),
        cmocka_unit_test(test_sizes),           cmocka_unit_test(test_versions),
        cmocka_unit_test(test_judge),           cmocka_unit_test(test_records),
        cmocka_unit_test(test_limit_kinds),     cmocka_unit_test(test_print),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
