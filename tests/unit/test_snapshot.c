/* broker/snapshot.h, last_good.h: what goes to disk comes back whole or not at all, and never younger than it is. Oracle: the answers that were put in. */
#include "broker/journal.h"
#include "broker/last_good.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADS      64U
#define DATA_BYTES 65536U
#define S          WEIR_NS_PER_S
#define KEPT_NS    (3600 * S)

/* A cache as two brokers have it, one after the other. */
struct side {
    struct weir_shm_cache cache;
    struct weir_shm_cache_head head[HEADS] WEIR_ALIGN_LINE;
    uint64_t data[DATA_BYTES / 8];
    struct region region;
};

static struct side was, is;
static struct last_good good;
static struct last_good_place place;
static struct journal journal;
static struct weir_config_route config;
static unsigned char image[2 * DATA_BYTES] WEIR_ALIGN_LINE;
static unsigned char copy[2 * DATA_BYTES] WEIR_ALIGN_LINE;

static void side_open(struct side *s)
{
    memset(s, 0, sizeof *s);
    s->region = (struct region){.cache = &s->cache,
                                .cache_head = s->head,
                                .cache_head_cnt = HEADS,
                                .cache_data = s->data,
                                .cache_bytes = DATA_BYTES,
                                .cache_answer_max_bytes = 16384,
                                .route_cnt = 2};
}

static int setup(void **state)
{
    (void)state;
    side_open(&was);
    side_open(&is);
    memset(&good, 0, sizeof good);
    memset(&config, 0, sizeof config);
    place = (struct last_good_place){.file = 1, .sequence = 6};
    journal = (struct journal){.host = 77, .name = "prod", .boot_id = "boot-1"};
    good.journal = &journal;
    good.place = &place;
    good.image = image;
    good.image_bytes = sizeof image;
    good.longest_ns = KEPT_NS;
    good.kept_ns[1] = KEPT_NS; /* route 0 is not kept on disk */
    good.identity[1][0] = 11;
    good.identity[1][1] = 12;
    good.route[0] = &config;
    good.route[1] = &config;
    return 0;
}

/* Keep an answer in head `i`, filled `age_ns` before `now_ns`. */
static void put(struct side *s, uint32_t i, uint16_t route, uint16_t status, uint64_t filled_ns,
                const char *head, const char *body)
{
    const struct weir_shm_cache_head as = {.key = {i + 1, i},
                                           .filled_ns = filled_ns,
                                           .fresh_until_ns = filled_ns + S,
                                           .stale_until_ns = filled_ns + 2 * S,
                                           .data_off_bytes = i * 512,
                                           .body_bytes = (uint32_t)strlen(body),
                                           .head_bytes = (uint16_t)strlen(head),
                                           .status = status,
                                           .route = route,
                                           .source = WEIR_SOURCE_LIVE};
    weir_cache_put(&s->head[i], s->data, &as, head, body);
}

static enum weir_cache_found find(struct side *s, uint32_t i, uint64_t now_ns, bool stale, char *to,
                                  struct weir_cache_answer *a)
{
    struct weir_cache_view view;
    const struct weir_cache_key key = {{i + 1, i}};
    assert_true(weir_cache_view_open(&view, s->head, HEADS, s->data, DATA_BYTES));
    memset(to, 0, 256);
    return weir_cache_find(&view, &key, now_ns, stale, to, 255, a);
}

/* Compose in steps of `budget`; the bytes. */
static uint64_t compose(uint64_t now_ns, uint64_t budget)
{
    struct last_good_walk walk;
    last_good_begin(&good, &walk, now_ns);
    while (!last_good_go_on(&good, &was.region, &walk, budget)) {
    }
    return walk.writer.used_bytes;
}

static const struct snapshot_header *header(void)
{
    return (const void *)image;
}

static void test_there_and_back(void **state)
{
    (void)state;
    char to[256];
    struct weir_cache_answer a;
    put(&was, 0, 1, 200, 100 * S, "HTTP/1.1 200\r\n\r\n", "first");
    put(&was, 8, 0, 200, 100 * S, "HTTP/1.1 200\r\n\r\n", "of a route that is not kept");
    put(&was, 16, 1, 404, 100 * S, "HTTP/1.1 404\r\n\r\n", "negative");
    put(&was, 24, 1, 200, 150 * S, "HTTP/1.1 200\r\n\r\n", "");
    put(&was, 32, 1, 200, 150 * S - KEPT_NS, "HTTP/1.1 200\r\n\r\n", "too old");
    uint64_t bytes = compose(200 * S, 64);
    assert_int_equal(snapshot_look(image, bytes), SNAPSHOT_SOUND);
    assert_int_equal(header()->record_cnt, 2);
    assert_int_equal(header()->sequence, 7);
    /* 20 s later, in another boot: weir time 5 s */
    assert_int_equal(last_good_restore(&good, &is.region, header(), 20 * S, 5 * S), 2);
    assert_int_equal(find(&is, 0, 5 * S, false, to, &a), WEIR_CACHE_MISS); /* never fresh */
    assert_int_equal(find(&is, 0, 5 * S, true, to, &a), WEIR_CACHE_HIT);
    assert_string_equal(to, "HTTP/1.1 200\r\n\r\nfirst");
    assert_int_equal(a.source, WEIR_SOURCE_DISK);
    assert_int_equal(a.route, 1);
    assert_int_equal(weir_cache_age_ns(a.filled_ns, 5 * S), 120 * S); /* older than the boot */
    assert_int_equal(weir_cache_age_ns(a.filled_ns, 6 * S), 121 * S);
    assert_int_equal(a.stale_until_ns, 5 * S + KEPT_NS - 120 * S);
    assert_int_equal(find(&is, 24, 5 * S, true, to, &a), WEIR_CACHE_HIT);
    assert_string_equal(to, "HTTP/1.1 200\r\n\r\n");
    assert_int_equal(find(&is, 16, 5 * S, true, to, &a), WEIR_CACHE_MISS);
    assert_int_equal(find(&is, 32, 5 * S, true, to, &a), WEIR_CACHE_MISS);
    /* and once more: an earlier broker's answer goes on, as old as it is */
    was = is;
    was.region.cache_head = was.head;
    was.region.cache_data = was.data;
    side_open(&is);
    (void)compose(25 * S, UINT64_MAX / 2);
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 1000 * S), 2);
    assert_int_equal(find(&is, 0, 1000 * S, true, to, &a), WEIR_CACHE_HIT);
    assert_int_equal(weir_cache_age_ns(a.filled_ns, 1000 * S), 140 * S);
}

static void test_age_ends(void **state)
{
    (void)state;
    put(&was, 0, 1, 200, 100 * S, "h", "b");
    (void)compose(200 * S, 64);
    assert_int_equal(last_good_restore(&good, &is.region, header(), KEPT_NS - 100 * S, S), 0);
    assert_int_equal(last_good_restore(&good, &is.region, header(), UINT64_MAX, S), 0);
    assert_int_equal(last_good_restore(&good, &is.region, header(), KEPT_NS - 100 * S - 1, S), 1);
}

/* Kept behind the beginning of the image: as old as that at least. */
static void test_kept_meanwhile(void **state)
{
    (void)state;
    char to[256];
    struct weir_cache_answer a;
    put(&was, 0, 1, 200, 300 * S, "h", "b");
    (void)compose(200 * S, 64);
    assert_int_equal(last_good_restore(&good, &is.region, header(), 101 * S, 301 * S), 1);
    assert_int_equal(find(&is, 0, 301 * S, true, to, &a), WEIR_CACHE_HIT);
    assert_int_equal(weir_cache_age_ns(a.filled_ns, 301 * S), 101 * S); /* it is 1 s */
}

static void test_must_revalidate(void **state)
{
    (void)state;
    put(&was, 0, 1, 200, 100 * S, "HTTP/1.1 200\r\nCache-Control: must-revalidate\r\n\r\n", "b");
    (void)compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 1);
    config.cache_control = WEIR_CONFIG_CACHE_CONTROL_HONOUR;
    (void)compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 0);
}

/* What a worker that went wrong may have left on the board is read within its bounds. */
static void test_lying_board(void **state)
{
    (void)state;
    put(&was, 0, 1, 200, 100 * S, "h", "b");
    was.head[0].data_off_bytes = UINT32_MAX;
    (void)compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 0);
    was.head[0].data_off_bytes = 0;
    was.head[0].body_bytes = DATA_BYTES;
    (void)compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 0);
    was.head[0].body_bytes = 1;
    was.head[0].route = 60000;
    (void)compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 0);
}

static void test_another_route(void **state)
{
    (void)state;
    put(&was, 0, 1, 200, 100 * S, "h", "b");
    (void)compose(200 * S, 64);
    good.identity[1][1]++;
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 200 * S), 0);
    good.identity[1][1]--;
    good.kept_ns[1] = 0;
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 200 * S), 0);
}

static void test_less_room(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        put(&was, i, 1, 200, 100 * S, "h", "b");
    }
    (void)compose(200 * S, 64);
    is.region.cache_bytes = 3UL * WEIR_CACHE_GRANULE_BYTES;
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 200 * S), 3);
    side_open(&is);
    is.region.cache_answer_max_bytes = 1;
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 200 * S), 0);
    side_open(&is);
    for (uint32_t i = 0; i < 8; i++) {
        put(&is, i, 1, 200, 100 * S, "h", "live");
        is.head[i].key[0] = 900 + i; /* the set is full */
    }
    assert_int_equal(last_good_restore(&good, &is.region, header(), 0, 200 * S), 0);
}

/* Every byte that is missing, and every byte that is another one. */
static void test_torn(void **state)
{
    (void)state;
    put(&was, 0, 1, 200, 100 * S, "head", "body of the first");
    put(&was, 1, 1, 200, 100 * S, "head", "body of the second");
    uint64_t bytes = compose(200 * S, 64);
    for (uint64_t n = 0; n < bytes; n++) {
        assert_int_equal(snapshot_look(image, n), n == 0 ? SNAPSHOT_ABSENT : SNAPSHOT_TORN);
    }
    for (uint64_t n = 0; n < bytes; n++) {
        memcpy(copy, image, bytes);
        copy[n] ^= 0x10;
        enum snapshot_verdict v = snapshot_look(copy, bytes);
        assert_true(v == SNAPSHOT_TORN || v == SNAPSHOT_NEWER || v == SNAPSHOT_OLDER);
    }
    /* what an earlier, longer write left behind it is nothing */
    assert_int_equal(snapshot_look(image, bytes + 4096), SNAPSHOT_SOUND);
    /* the beginning of a later write over the former one */
    memcpy(copy, image, bytes);
    put(&was, 2, 1, 200, 100 * S, "head", "body of the third, which is longer than the others");
    uint64_t longer = compose(200 * S, 64);
    for (uint64_t n = 8; n < longer; n += 8) {
        unsigned char mixed[4096];
        memset(mixed, 0, sizeof mixed);
        memcpy(mixed, copy, bytes);
        memcpy(mixed, image, n);
        enum snapshot_verdict v = snapshot_look(mixed, longer);
        assert_true(v == SNAPSHOT_TORN || memcmp(mixed, copy, bytes) == 0);
    }
}

static void test_full(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        put(&was, i, 1, 200, 100 * S, "h", "b");
    }
    good.image_bytes = sizeof(struct snapshot_header) + 3 * snapshot_record_bytes(2);
    uint64_t bytes = compose(200 * S, 64);
    assert_int_equal(header()->record_cnt, 3);
    assert_int_equal(snapshot_look(image, bytes), SNAPSHOT_SOUND);
}

/* Who may believe it, and how old it is then. */
static void test_judge(void **state)
{
    (void)state;
    static const struct {
        const char *name, *boot;
        uint64_t host;
        uint64_t utc_s, error_s, boot_s; /* of the reader */
        uint64_t own_error_s;            /* of the writer */
        uint64_t passed_s;
        enum snapshot_verdict want;
    } row[] = {
        {"prod", "boot-1", 77, 1010, 0, 510, 0, 10, SNAPSHOT_SOUND},
        {"prod", "boot-1", 0, 1010, 0, 510, 0, 10, SNAPSHOT_SOUND},
        /* the clock was set back, or forward, in one boot */
        {"prod", "boot-1", 77, 3, 0, 510, 0, 10, SNAPSHOT_SOUND},
        {"prod", "boot-1", 77, 1025, 0, 510, 0, 25, SNAPSHOT_SOUND},
        {"prod", "boot-1", 77, 1010, UINT64_MAX, 510, UINT64_MAX, 10, SNAPSHOT_SOUND},
        {"prod", "boot-1", 77, 1010, 0, 499, 0, 0, SNAPSHOT_FUTURE},
        /* another boot: by UTC, with what it may be wrong by */
        {"prod", "boot-2", 77, 1010, 2, 5, 3, 15, SNAPSHOT_SOUND},
        {"prod", "boot-2", 77, 1000, 0, 5, 0, 0, SNAPSHOT_SOUND},
        {"prod", "boot-2", 77, 999, 0, 5, 0, 0, SNAPSHOT_FUTURE},
        {"prod", "boot-2", 77, 999, 5, 5, 5, 0, SNAPSHOT_FUTURE},
        {"prod", "boot-2", 77, 1010, UINT64_MAX, 5, 3, 0, SNAPSHOT_UNPROVEN},
        {"prod", "boot-2", 77, 1010, 2, 5, UINT64_MAX, 0, SNAPSHOT_UNPROVEN},
        {"prod", "", 77, 1010, UINT64_MAX, 5, 3, 0, SNAPSHOT_UNPROVEN},
        {"prod", "boot-2", 77, 4601, 0, 5, 0, 0, SNAPSHOT_STALE},
        {"prod", "boot-1", 77, 1010, 0, 4101, 0, 0, SNAPSHOT_STALE},
        {"prod", "boot-2", 78, 1010, 2, 5, 3, 0, SNAPSHOT_FOREIGN_HOST},
        {"prod", "boot-2", 0, 1010, 2, 5, 3, 15, SNAPSHOT_SOUND},
        {"test", "boot-1", 77, 1010, 0, 510, 0, 0, SNAPSHOT_FOREIGN_NAME},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(row); i++) {
        const struct snapshot_header h = {
            .name = "prod",
            .boot_id = "boot-1",
            .host = 77,
            .utc_ns = 1000 * S,
            .utc_error_ns = row[i].own_error_s == UINT64_MAX ? UINT64_MAX : row[i].own_error_s * S,
            .boottime_ns = 500 * S};
        const struct snapshot_reader reader = {
            .name = row[i].name,
            .boot_id = row[i].boot,
            .host = row[i].host,
            .utc_ns = row[i].utc_s * S,
            .utc_error_ns = row[i].error_s == UINT64_MAX ? UINT64_MAX : row[i].error_s * S,
            .boottime_ns = row[i].boot_s * S,
            .longest_ns = 3600 * S};
        uint64_t passed_ns = 0;
        enum snapshot_verdict v = snapshot_judge(&h, &reader, &passed_ns);
        if (v != row[i].want || (v == SNAPSHOT_SOUND && passed_ns != row[i].passed_s * S)) {
            fail_msg("row %zu: %s, %llu ns", i, snapshot_verdict_name(v),
                     (unsigned long long)passed_ns);
        }
    }
}

static void test_identity(void **state)
{
    (void)state;
    struct weir_config_endpoint endpoint = {
        .url = {.host = "api.example.com", .base_path = "", .port = 443, .tls = true}};
    const char *instrument[] = {"", "BTC", "ETH"};
    struct weir_config_provider provider = {
        .name = "x",
        .endpoint = &endpoint,
        .endpoint_cnt = 1,
        .scope[WEIR_SCOPE_INSTRUMENT] = {.text = instrument, .cnt = 3}};
    struct weir_config_route route = {.name = "r", .path = "/a", .method = WEIR_METHOD_GET};
    uint64_t first[2];
    uint64_t next[2];
    last_good_identity(&provider, &route, first);
    route.cache_ns = 5; /* how long it is kept is no part of what it is */
    last_good_identity(&provider, &route, next);
    assert_memory_equal(first, next, sizeof first);
#define DIFFERS(change, back)                          \
    do {                                               \
        change;                                        \
        last_good_identity(&provider, &route, next);   \
        assert_memory_not_equal(first, next, 16);      \
        back;                                          \
        last_good_identity(&provider, &route, next);   \
        assert_memory_equal(first, next, sizeof next); \
    } while (0)
    DIFFERS(route.path = "/b", route.path = "/a");
    DIFFERS(route.method = WEIR_METHOD_POST, route.method = WEIR_METHOD_GET);
    DIFFERS(endpoint.url.host = "api.example.org", endpoint.url.host = "api.example.com");
    DIFFERS(endpoint.url.port = 444, endpoint.url.port = 443);
    DIFFERS(endpoint.url.tls = false, endpoint.url.tls = true);
    DIFFERS(endpoint.url.base_path = "/v2", endpoint.url.base_path = "");
    DIFFERS(instrument[1] = "SOL", instrument[1] = "BTC");
    DIFFERS(provider.scope[WEIR_SCOPE_INSTRUMENT].cnt = 2,
            provider.scope[WEIR_SCOPE_INSTRUMENT].cnt = 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_there_and_back, setup),
        cmocka_unit_test_setup(test_age_ends, setup),
        cmocka_unit_test_setup(test_kept_meanwhile, setup),
        cmocka_unit_test_setup(test_must_revalidate, setup),
        cmocka_unit_test_setup(test_lying_board, setup),
        cmocka_unit_test_setup(test_another_route, setup),
        cmocka_unit_test_setup(test_less_room, setup),
        cmocka_unit_test_setup(test_torn, setup),
        cmocka_unit_test_setup(test_full, setup),
        cmocka_unit_test_setup(test_judge, setup),
        cmocka_unit_test_setup(test_identity, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
