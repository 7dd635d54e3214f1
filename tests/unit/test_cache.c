/* weir_cache.h: keys, what a look returns and when, and what a lying board can do; broker/cache.h: what an answer says of itself. */
#include "broker/cache.h"
#include "shm/weir_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADS      64U
#define DATA_BYTES 65536U

static struct weir_shm_cache_head heads[HEADS] WEIR_ALIGN_LINE;
static uint64_t data[DATA_BYTES / 8];
static struct weir_cache_view view;

static int setup(void **state)
{
    (void)state;
    memset(heads, 0, sizeof heads);
    memset(data, 0, sizeof data);
    assert_true(weir_cache_view_open(&view, heads, HEADS, data, sizeof data));
    return 0;
}

static struct weir_cache_key key_of(const char *path, const char *query)
{
    struct weir_cache_key key;
    const struct weir_cache_call call = {.seed = 7,
                                         .path = path,
                                         .query = query,
                                         .path_bytes = strlen(path),
                                         .query_bytes = strlen(query)};
    assert_true(weir_cache_key_make(&call, &key));
    return key;
}

static bool same(struct weir_cache_key a, struct weir_cache_key b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

static void test_key_query(void **state)
{
    (void)state;
    assert_true(same(key_of("", "a=1&b=2"), key_of("", "b=2&a=1")));
    assert_true(same(key_of("", "symbol=BTC&limit=5"), key_of("", "limit=5&symbol=BTC")));
    assert_false(same(key_of("", "a=1"), key_of("", "a=2")));
    assert_false(
        same(key_of("", "a=1&a=2"), key_of("", "a=2&a=1"))); /* equal names: their order counts */
    assert_false(same(key_of("", "ab=1"), key_of("", "a=b1")));
    assert_false(same(key_of("x", ""), key_of("", "x")));
    assert_false(same(key_of("", ""), key_of("", "&")));
    assert_false(same(key_of("", "a"), key_of("", "a=")));
    assert_false(same(key_of("", "a%2c"), key_of("", "a%2C"))); /* two keys: safe */
}

static void test_key_rest(void **state)
{
    (void)state;
    struct weir_request_header header[2] = {{"Accept", "a", 6, 1}, {"x-key", "b", 5, 1}};
    struct weir_request_header other[2] = {{"X-KEY", "b", 5, 1}, {"accept", "a", 6, 1}};
    struct weir_cache_call call = {.seed = 1, .header = header, .header_cnt = 2};
    struct weir_cache_key a;
    struct weir_cache_key b;
    assert_true(weir_cache_key_make(&call, &a));
    call.header = other;
    assert_true(weir_cache_key_make(&call, &b));
    assert_true(same(a, b)); /* names in any order and case */
    other[0].value = "c";
    assert_true(weir_cache_key_make(&call, &b));
    assert_false(same(a, b)); /* a header is part of what is asked: Vary always holds */
    call.header_cnt = 0;
    assert_true(weir_cache_key_make(&call, &a));
    call.instrument = 1;
    assert_true(weir_cache_key_make(&call, &b));
    assert_false(same(a, b));
    call.instrument = 0;
    call.body = "{}";
    call.body_bytes = 2;
    assert_true(weir_cache_key_make(&call, &b));
    assert_false(same(a, b));
    call.body_bytes = 0;
    call.seed = 2;
    assert_true(weir_cache_key_make(&call, &b));
    assert_false(same(a, b));
    assert_int_not_equal(weir_cache_seed("p", "r", 1, "/a"), weir_cache_seed("p", "r", 1, "/b"));
    assert_int_not_equal(weir_cache_seed("p", "qr", 1, "/a"), weir_cache_seed("pq", "r", 1, "/a"));
}

static void test_key_bounds(void **state)
{
    (void)state;
    char query[4096];
    struct weir_cache_key key;
    struct weir_cache_call call = {.query = query};
    size_t n = 0;
    for (unsigned i = 0; i < WEIR_CACHE_PARAMS_MAX; i++) {
        n += (size_t)snprintf(query + n, sizeof query - n, "%sp%u=1", i > 0 ? "&" : "", i);
    }
    call.query_bytes = n;
    assert_true(weir_cache_key_make(&call, &key));
    query[n] = '&';
    query[n + 1] = 'z';
    call.query_bytes = n + 2;
    assert_false(weir_cache_key_make(&call, &key)); /* one parameter too many: no key */
    memset(query, 'a', sizeof query);
    call.query_bytes = WEIR_CACHE_TEXT_MAX_BYTES;
    assert_false(weir_cache_key_make(&call, &key));
}

static void put(uint32_t index, struct weir_cache_key key, uint32_t off, const char *head,
                const char *body, uint64_t filled, uint64_t fresh, uint64_t stale)
{
    const struct weir_shm_cache_head as = {.key = {key.word[0], key.word[1]},
                                           .filled_ns = filled,
                                           .fresh_until_ns = fresh,
                                           .stale_until_ns = stale,
                                           .data_off_bytes = off,
                                           .head_bytes = (uint16_t)strlen(head),
                                           .body_bytes = (uint32_t)strlen(body),
                                           .status = 200,
                                           .source = WEIR_SOURCE_LIVE};
    weir_cache_take_away(&heads[index]);
    weir_cache_put(&heads[index], data, &as, head, body);
}

static void test_find(void **state)
{
    (void)state;
    char to[64];
    struct weir_cache_answer a;
    struct weir_cache_key key = key_of("", "a=1");
    uint32_t set = weir_cache_set(&view, &key);
    assert_int_equal(weir_cache_find(&view, &key, 1, true, to, sizeof to, &a), WEIR_CACHE_MISS);
    put(set + 3, key, 512, "head\r\n", "the body", 100, 200, 300);
    assert_int_equal(heads[set + 3].sequence, 1);
    assert_int_equal(weir_cache_find(&view, &key, 199, false, to, sizeof to, &a), WEIR_CACHE_HIT);
    assert_memory_equal(to, "head\r\nthe body", 14);
    assert_int_equal(a.head_bytes, 6);
    assert_int_equal(a.body_bytes, 8);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.filled_ns, 100);
    assert_int_equal(a.index, set + 3);
    /* edges: the fresh end, the stale end */
    assert_int_equal(weir_cache_find(&view, &key, 200, false, to, sizeof to, &a), WEIR_CACHE_MISS);
    assert_int_equal(weir_cache_find(&view, &key, 299, true, to, sizeof to, &a), WEIR_CACHE_HIT);
    assert_int_equal(weir_cache_find(&view, &key, 300, true, to, sizeof to, &a), WEIR_CACHE_MISS);
    /* room: exactly enough, and one byte less; nothing is written behind the room */
    memset(to, '#', sizeof to);
    assert_int_equal(weir_cache_find(&view, &key, 150, false, to, 14, &a), WEIR_CACHE_HIT);
    assert_int_equal(to[14], '#');
    assert_int_equal(weir_cache_find(&view, &key, 150, false, to, 13, &a), WEIR_CACHE_SMALL);
    assert_int_equal(a.head_bytes + a.body_bytes, 14);
    struct weir_cache_key other = key;
    other.word[1] ^= UINT64_C(1) << 63;
    assert_int_equal(weir_cache_find(&view, &other, 150, false, to, 64, &a), WEIR_CACHE_MISS);
    weir_cache_take_away(&heads[set + 3]);
    assert_int_equal(heads[set + 3].sequence, 2);
    assert_int_equal(weir_cache_find(&view, &key, 150, false, to, 64, &a), WEIR_CACHE_MISS);
    weir_cache_take_away(&heads[set + 3]); /* once */
    assert_int_equal(heads[set + 3].sequence, 2);
}

/* Head and body of every length against each other, so that words are put together right. */
static void test_lengths(void **state)
{
    (void)state;
    char head[40];
    char body[40];
    char to[128];
    struct weir_cache_answer a;
    struct weir_cache_key key = key_of("", "b");
    uint32_t set = weir_cache_set(&view, &key);
    for (size_t h = 0; h < 20; h++) {
        for (size_t b = 0; b < 20; b++) {
            memset(head, 'h', sizeof head);
            memset(body, 'b', sizeof body);
            head[h] = body[b] = '\0';
            put(set, key, 256, head, body, 1, 2, 3);
            assert_int_equal(weir_cache_find(&view, &key, 1, false, to, sizeof to, &a),
                             WEIR_CACHE_HIT);
            assert_int_equal(a.head_bytes, h);
            assert_int_equal(a.body_bytes, b);
            assert_memory_equal(to, head, h);
            assert_memory_equal(to + h, body, b);
        }
    }
}

/* A board may say anything: no look leads outside the sections (ASan), and none goes on without end. */
static void test_lies(void **state)
{
    (void)state;
    static char to[DATA_BYTES];
    struct weir_cache_answer a;
    struct weir_cache_key key = key_of("", "c");
    uint32_t set = weir_cache_set(&view, &key);
    static const struct {
        uint32_t off, body;
        uint16_t head;
        enum weir_cache_found found;
    } lie[] = {{DATA_BYTES, 1, 0, WEIR_CACHE_MISS},
               {DATA_BYTES - 8, 9, 0, WEIR_CACHE_MISS},
               {DATA_BYTES - 8, 8, 0, WEIR_CACHE_HIT},
               {DATA_BYTES, 0, 0, WEIR_CACHE_HIT},
               {4, 8, 0, WEIR_CACHE_MISS},
               {0, UINT32_MAX, 0, WEIR_CACHE_MISS},
               {UINT32_MAX & ~7U, UINT32_MAX, UINT16_MAX, WEIR_CACHE_MISS},
               {0, 0, WEIR_CACHE_HEAD_MAX_BYTES + 1, WEIR_CACHE_MISS},
               {0, DATA_BYTES, 0, WEIR_CACHE_HIT}};
    for (size_t i = 0; i < sizeof lie / sizeof lie[0]; i++) {
        heads[set] = (struct weir_shm_cache_head){.sequence = 1,
                                                  .key = {key.word[0], key.word[1]},
                                                  .fresh_until_ns = 10,
                                                  .stale_until_ns = 10,
                                                  .data_off_bytes = lie[i].off,
                                                  .body_bytes = lie[i].body,
                                                  .head_bytes = lie[i].head};
        assert_int_equal(weir_cache_find(&view, &key, 5, false, to, sizeof to, &a), lie[i].found);
    }
    struct weir_cache_view v;
    assert_true(weir_cache_view_open(&v, NULL, 0, NULL, 0)); /* none */
    assert_int_equal(weir_cache_find(&v, &key, 5, false, to, sizeof to, &a), WEIR_CACHE_MISS);
    assert_false(weir_cache_view_open(&v, heads, 63, data, sizeof data));
    assert_false(weir_cache_view_open(&v, heads, 4, data, sizeof data));
    assert_false(weir_cache_view_open(&v, heads, HEADS, NULL, sizeof data));
    assert_false(weir_cache_view_open(&v, heads, HEADS, data, UINT64_C(1) << 32));
}

static bool says(const char *head, bool honour, struct cache_directives *d)
{
    return cache_directives(head, strlen(head), honour, d);
}

static void test_directives(void **state)
{
    (void)state;
    struct cache_directives d;
    assert_true(says("HTTP/1.1 200 OK\r\n\r\n", true, &d));
    assert_true(d.max_age_ns == UINT64_MAX);
    assert_true(says("H\r\nCache-Control: public, max-age=2\r\nAge: 1\r\n\r\n", true, &d));
    assert_int_equal(d.max_age_ns, 2 * WEIR_NS_PER_S);
    assert_int_equal(d.age_ns, WEIR_NS_PER_S);
    assert_true(says("H\r\ncache-control: s-maxage=9 , max-age=2,must-revalidate\r\n", true, &d));
    assert_int_equal(d.max_age_ns, 9 * WEIR_NS_PER_S); /* what is said to shared caches counts */
    assert_true(d.must_revalidate);
    assert_true(says("H\r\nCache-Control : max-age=7\r\n", true, &d)); /* wrong, and still it */
    assert_int_equal(d.max_age_ns, 7 * WEIR_NS_PER_S);
    assert_true(says("H\r\nCache-Controls: no-store\r\n", true, &d)); /* another one */
    /* A line that goes on: what stands there may forbid, or be the rest of a cookie. */
    assert_false(says("H\r\nCache-Control: max-age=5,\r\n no-store\r\n\r\n", true, &d));
    assert_false(says("H\r\nSet-Cookie: a=b;\r\n\tc=d\r\n\r\n", false, &d));
    assert_true(says("H\r\ncache-control: max-age=\"3\"\r\n", true, &d));
    assert_int_equal(d.max_age_ns, 3 * WEIR_NS_PER_S);
    assert_true(says("H\r\ncache-control: max-age=x\r\n", true, &d));
    assert_int_equal(d.max_age_ns, 0); /* garbage keeps nothing */
    assert_true(says("H\r\ncache-control: max-age=99999999999999999999\r\n", true, &d));
    assert_int_equal(d.max_age_ns, (UINT64_C(1) << 31) * WEIR_NS_PER_S);
    static const char *const forbidding[] = {
        "no-store", "No-Cache", "private", "max-age=5, private", "no-cache=\"x\"", " , ,no-store"};
    for (size_t i = 0; i < sizeof forbidding / sizeof forbidding[0]; i++) {
        char head[128];
        (void)snprintf(head, sizeof head, "H\r\nCACHE-CONTROL:%s\r\n\r\n", forbidding[i]);
        assert_false(says(head, true, &d));
        assert_true(says(head, false, &d)); /* ignored unless the route says honour */
    }
    assert_false(says("H\r\nVary: *\r\n\r\n", false, &d));
    assert_true(says("H\r\nVary: accept, x-key\r\n\r\n", false, &d)); /* they are in the key */
    assert_true(says("cache-control:", true, &d));
    assert_true(says("", true, &d));
}

static void test_head_clean(void **state)
{
    (void)state;
    static const char head[] =
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX: y\r\nSet-Cookie2: b\r\n\r\n";
    char to[sizeof head];
    size_t n = cache_head_clean(head, sizeof head - 1, to);
    to[n] = '\0';
    assert_string_equal(to, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n");
}

/* ---------------------------------------------------------------------------------------------- what goes when there is no room */

#define STORE_BYTES (16U * WEIR_CACHE_GRANULE_BYTES)

static struct worker store_worker;
static struct region store_region;
static struct weir_shm_cache store_board;

static int store_setup(void **state)
{
    static const struct weir_config config;
    (void)setup(state);
    store_board =
        (struct weir_shm_cache){.bytes = STORE_BYTES, .answer_max_bytes = STORE_BYTES / 4};
    store_region = (struct region){.cache = &store_board,
                                   .cache_head = heads,
                                   .cache_head_cnt = HEADS,
                                   .cache_data = data,
                                   .cache_bytes = STORE_BYTES};
    memset(&store_worker, 0, sizeof store_worker);
    store_worker.config = &config;
    store_worker.region = &store_region;
    store_worker.now_ns = 1000;
    assert_true(cache_open(&store_worker));
    return 0;
}

static int store_teardown(void **state)
{
    (void)state;
    free(store_worker.cache->touched);
    free(store_worker.cache->refresh_at_ns);
    free(store_worker.cache->plan);
    pool_free(&store_worker.cache->pool);
    return 0;
}

/* Key k lies in set k % 8 of 8; `body_bytes` of its number. */
static struct weir_cache_key store_key(uint32_t k)
{
    return (struct weir_cache_key){{k + 1, (uint64_t)k * WEIR_CACHE_WAYS}};
}

static bool store_put(uint32_t k, uint32_t body_bytes, uint64_t stale_until_ns)
{
    char body[STORE_BYTES];
    struct weir_cache_key key = store_key(k);
    memset(body, (int)k, sizeof body);
    const struct weir_shm_cache_head as = {.key = {key.word[0], key.word[1]},
                                           .filled_ns = 900,
                                           .fresh_until_ns = stale_until_ns,
                                           .stale_until_ns = stale_until_ns,
                                           .body_bytes = body_bytes,
                                           .status = 200};
    return cache_put(&store_worker, &as, "", body);
}

static bool store_has(uint32_t k)
{
    struct weir_cache_key key = store_key(k);
    return cache_look(&store_worker, &key) != NULL;
}

static void test_store(void **state)
{
    (void)state;
    assert_true(store_put(0, 100, 5000));
    assert_int_equal(store_board.answers, 1);
    assert_int_equal(store_board.answers_bytes, 256);
    assert_true(store_put(0, 600, 5000)); /* the same key: one answer */
    assert_int_equal(store_board.answers, 1);
    assert_int_equal(store_board.answers_bytes, 768);
    assert_true(store_put(1, STORE_BYTES / 4, 5000));
    assert_false(store_put(2, STORE_BYTES / 4 + 1, 5000)); /* above its part of the memory */
    assert_false(store_put(2, 0, 5000));
    assert_true(store_has(0) && store_has(1) && !store_has(2));
}

static void test_store_second_chance(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < 16; k++) { /* full: 16 granules */
        assert_true(store_put(k, 256, 5000 + k));
    }
    assert_int_equal(store_board.answers, 16);
    memset(store_worker.cache->touched, 0, HEADS); /* nobody took any of late, but for key 3 */
    struct weir_cache_key three = store_key(3);
    store_worker.cache->touched[cache_index(&store_worker, cache_look(&store_worker, &three))] = 1;
    for (uint32_t k = 16; k < 31; k++) {
        assert_true(store_put(k, 256, 5000 + k));
        assert_int_equal(store_board.answers, 16);
        assert_true(store_has(k));
    }
    assert_true(store_has(3)); /* it had its chance */
    assert_int_equal(store_board.evicted, 15);
    /* What is over goes without a look at who took it. */
    store_worker.now_ns = 5100;
    memset(store_worker.cache->touched, 1, HEADS);
    assert_true(store_put(40, 1024, 9000));
    assert_int_equal(store_board.evicted, 15);
    assert_in_range(store_board.expired, 4, 16);
}

static void test_store_set_full(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 9; i++) { /* nine keys of one set of eight */
        assert_true(store_put(8 * i, 10, 5000 + i));
    }
    assert_int_equal(store_board.answers, 8);
    assert_false(
        store_has(0)); /* of those that were all taken of late, the one that ends soonest */
    assert_true(store_has(64));
}

/* A worker died: its successor counts what odd heads hold, and drops what cannot be. */
static void test_store_recover(void **state)
{
    for (uint32_t k = 0; k < 6; k++) {
        assert_true(store_put(k, 256, 5000));
    }
    struct weir_cache_key key = store_key(2);
    cache_look(&store_worker, &key)->sequence++; /* it died in that one */
    key = store_key(4);
    cache_look(&store_worker, &key)->data_off_bytes = 0; /* and this one overlaps another */
    (void)store_teardown(state);
    assert_true(cache_open(&store_worker));
    assert_int_equal(store_board.answers, 4);
    assert_true(store_has(0) && !store_has(2) && !store_has(4) && store_has(5));
    for (uint32_t k = 20; k < 32; k++) { /* its granules, and no others, are free */
        assert_true(store_put(k, 256, 6000));
    }
    assert_int_equal(store_board.evicted, 0);
    assert_int_equal(store_board.answers, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_query),
        cmocka_unit_test(test_key_rest),
        cmocka_unit_test(test_key_bounds),
        cmocka_unit_test_setup(test_find, setup),
        cmocka_unit_test_setup(test_lengths, setup),
        cmocka_unit_test_setup(test_lies, setup),
        cmocka_unit_test(test_directives),
        cmocka_unit_test(test_head_clean),
        cmocka_unit_test_setup_teardown(test_store, store_setup, store_teardown),
        cmocka_unit_test_setup_teardown(test_store_second_chance, store_setup, store_teardown),
        cmocka_unit_test_setup_teardown(test_store_set_full, store_setup, store_teardown),
        cmocka_unit_test_setup_teardown(test_store_recover, store_setup, store_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
