/*
 * test_member.c: who of a pool makes a call, on limits that a configuration was compiled to; and what such a configuration may not say, word for word.
 *
 * Oracle of the walk: a count of the test's own of what each member was granted. Whoever is chosen has the most left, nobody is refused while somebody has room, and in the
 * end each has its whole quota and no more.
 */
#include "broker/config/config.h"
#include "broker/dry_run.h"
#include "fixture.h"
#include "shm/weir_hold.h"
#include "shm/weir_member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUOTA 20U

static const char *const pool =
    "broker: {state_dir: none}\n"
    "providers:\n"
    "  - name: p\n"
    "    clock: {source: none}\n"
    "    scopes: {ip: [a, b, c, d], key: [x, y], account: [one, two, three]}\n"
    "    egress:\n"
    "      - {ip: a, address: 127.0.0.2}\n"
    "      - {ip: b, address: 127.0.0.3}\n"
    "      - {ip: c, address: 127.0.0.4}\n"
    "      - {ip: d, address: 127.0.0.5, pool: false}\n"
    "    auth:\n"
    "      kind: api_key\n"
    "      header: k\n"
    "      keys:\n"
    "        - {account: one, name: x, key: k1, pool: true}\n"
    "        - {account: one, name: y, key: k2, pool: true}\n"
    "        - {account: two, name: x, key: k3, pool: true}\n"
    "        - {account: three, key: k4}\n"
    "    limits:\n"
    "      - {name: w, kind: sliding_window, quota: 20, window: 60s, scope: ip}\n"
    "      - {name: k, kind: token_bucket, quota: 20, window: 60s, scope: key}\n"
    "      - {name: o, kind: sliding_window, quota: 60, window: 60s, scope: account}\n"
    "    throttle: {scope: ip}\n"
    "    endpoints: [{name: e, url: 'https://h'}]\n"
    "    routes:\n"
    "      - {name: open, method: GET, path: /a, cost: {w: 1}}\n"
    "      - {name: any, method: GET, path: /b, cost: {w: 1, k: 1, o: 1}, signed: true, any_key: "
    "true}\n"
    "      - {name: mine, method: GET, path: /c, cost: {w: 1, k: 1, o: 1}, signed: true}\n";

struct run {
    struct weir_config *config;
    struct dry_run dry;
    struct weir_permit_view *view;
};

static void run_open(struct run *r)
{
    static struct weir_config_diag diag;
    char text[256];
    r->config = weir_config_parse(pool, strlen(pool), "t", &diag);
    if (r->config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    assert_int_equal(dry_run_open(&r->dry, r->config, text, sizeof text), WEIR_OK);
    r->view = &r->dry.view;
    assert_int_equal(weir_permit_refresh(r->view), WEIR_OK);
}

static void run_close(struct run *r)
{
    dry_run_close(&r->dry);
    weir_config_free(r->config);
}

static weir_scope_id scope_of(struct run *r, const char *text)
{
    weir_scope_id scope = 0;
    assert_int_equal(weir_tables_scope_find(&r->view->tables, "p", text, &scope), WEIR_OK);
    return scope;
}

static weir_route_id route_of(struct run *r, const char *name)
{
    weir_route_id route = 0;
    assert_int_equal(weir_tables_route_find(&r->view->tables, name, &route), WEIR_OK);
    return route;
}

/* Take a permit wherever the pool has room; `*scope` says where. */
static int take(struct run *r, weir_route_id route, weir_scope_id asked, bool any_key,
                weir_scope_id *scope, uint32_t turn)
{
    struct weir_member_choice c;
    struct weir_permit permit;
    int rc;
    weir_member_begin(&c, r->view, route, asked, any_key);
    do {
        if (!weir_member_next(&c, r->view, NULL, WEIR_PRIORITY_MEDIUM, turn)) {
            return WEIR_DENIED;
        }
        *scope = c.scope;
        rc = weir_permit_take(r->view, route, c.scope, NULL, WEIR_PRIORITY_MEDIUM, &permit);
    } while (rc == WEIR_DENIED && weir_member_refused(&c, r->view, &permit.denial));
    return rc;
}

static const char *text_of(struct run *r, weir_scope_id scope)
{
    static char text[128];
    return weir_member_text(&r->view->tables, 0, scope, text, sizeof text);
}

/* An address by its value; those of the pool are 1, 2 and 3. */
static uint32_t address_of(weir_scope_id scope)
{
    return (uint32_t)scope & 0xffffU;
}

/* Value 0 is nobody: no limit has it, for nobody, on no way. */
static void test_nobody(void **state)
{
    struct run r;
    struct weir_permit p;
    (void)state;
    run_open(&r);
    weir_route_id open = route_of(&r, "p.open");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_permit_take(r.view, open, 0, NULL, WEIR_PRIORITY_MEDIUM, &p),
                         WEIR_E_SCOPE_UNKNOWN);
        assert_int_equal(weir_permit_look(r.view, open, 0, NULL, WEIR_PRIORITY_MEDIUM, &p),
                         WEIR_E_SCOPE_UNKNOWN);
        assert_int_equal(
            weir_permit_take(r.view, open, scope_of(&r, "ip=a"), NULL, WEIR_PRIORITY_MEDIUM, &p),
            WEIR_OK); /* now it is a kind of call that is known */
    }
    assert_string_equal(text_of(&r, 0), "");
    run_close(&r);
}

/* The whole pool is used, each member its own quota, the one with most left first. */
static void test_sum(void **state)
{
    struct run r;
    uint64_t random = 7;
    unsigned granted[5] = {0};
    (void)state;
    run_open(&r);
    weir_route_id open = route_of(&r, "p.open");
    weir_scope_id scope = 0;
    for (unsigned i = 0; i < 3 * QUOTA; i++) {
        assert_int_equal(take(&r, open, 0, false, &scope, (uint32_t)fixture_random(&random)),
                         WEIR_OK);
        uint32_t who = address_of(scope);
        assert_in_range(who, 1, 3);
        for (unsigned other = 1; other <= 3; other++) {
            assert_true(granted[who] <= granted[other]); /* equal ones in any order */
        }
        granted[who]++;
    }
    assert_int_equal(take(&r, open, 0, false, &scope, 0), WEIR_DENIED);
    for (unsigned who = 1; who <= 3; who++) {
        assert_int_equal(granted[who], QUOTA);
    }
    /* The one beside the pool is nobody's but who names it. */
    assert_int_equal(take(&r, open, scope_of(&r, "ip=d"), false, &scope, 0), WEIR_OK);
    assert_string_equal(text_of(&r, scope), "ip=d");
    run_close(&r);
}

/* Ties are decided by the turn: nobody is always the first. */
static void test_ties(void **state)
{
    struct run r;
    bool seen[5] = {false};
    (void)state;
    run_open(&r);
    for (uint32_t turn = 0; turn < 3; turn++) {
        struct weir_member_choice c;
        weir_member_begin(&c, r.view, route_of(&r, "p.open"), 0, false);
        assert_true(weir_member_next(&c, r.view, NULL, WEIR_PRIORITY_MEDIUM, turn));
        seen[address_of(c.scope)] = true;
    }
    assert_true(seen[1] && seen[2] && seen[3]);
    run_close(&r);
}

/* What a call names is never changed; what depends on a key is only moved where any key will do. */
static void test_keys(void **state)
{
    struct run r;
    struct weir_member_choice c;
    (void)state;
    run_open(&r);
    weir_route_id mine = route_of(&r, "p.mine");
    weir_route_id any = route_of(&r, "p.any");
    weir_scope_id scope = 0;
    unsigned by_key[3] = {0};
    /* mine, without a name: an address, but no key */
    weir_member_begin(&c, r.view, mine, 0, false);
    assert_true(c.chooses[WEIR_MEMBER_ADDRESS]);
    assert_false(c.chooses[WEIR_MEMBER_KEY]);
    assert_int_equal(c.scope >> 16, 0);
    /* an account with two keys in the pool is not enough, one with one is */
    weir_member_begin(&c, r.view, mine, scope_of(&r, "account=one"), false);
    assert_int_equal(weir_member_of(c.pair, WEIR_MEMBER_KEY), 0);
    weir_member_begin(&c, r.view, mine, scope_of(&r, "account=two"), false);
    assert_string_equal(text_of(&r, c.scope), "ip=a,key=x,account=two");
    weir_member_begin(&c, r.view, mine, scope_of(&r, "account=one,key=y"), false);
    assert_string_equal(text_of(&r, c.scope), "ip=a,key=y,account=one");
    /* one that is no member stays as it is */
    weir_member_begin(&c, r.view, any, scope_of(&r, "account=three"), true);
    assert_int_equal(weir_member_of(c.pair, WEIR_MEMBER_KEY), 0);
    /* any key, by the fullest of both its limits. Key x stands with two accounts, and counts once */
    while (take(&r, any, 0, true, &scope, 0) == WEIR_OK) {
        by_key[scope >> 16 & 0xffffU]++;
        assert_true(((scope >> 32) & 0xffffU) == 1 || ((scope >> 32) & 0xffffU) == 2);
    }
    assert_int_equal(by_key[1], QUOTA - 1); /* a bucket less its jitter */
    assert_int_equal(by_key[2], QUOTA - 1);
    run_close(&r);
}

/* A stop told to one address holds that one. */
static void test_held(void **state)
{
    struct run r;
    struct weir_permit p;
    (void)state;
    run_open(&r);
    weir_route_id open = route_of(&r, "p.open");
    weir_scope_id scope = 0;
    assert_int_equal(
        weir_permit_take(r.view, open, scope_of(&r, "ip=b"), NULL, WEIR_PRIORITY_MEDIUM, &p),
        WEIR_OK);
    uint64_t now_ns = weir_clock_now(&r.view->time);
    (void)weir_hold_throttled(r.view, 0, &p, now_ns + 50 * WEIR_NS_PER_S, WEIR_PAUSE_THROTTLED);
    for (unsigned i = 0; i < 2 * QUOTA; i++) {
        assert_int_equal(take(&r, open, 0, false, &scope, i), WEIR_OK);
        assert_string_not_equal(text_of(&r, scope), "ip=b");
    }
    assert_int_equal(take(&r, open, 0, false, &scope, 0), WEIR_DENIED);
    assert_int_equal(
        weir_permit_take(r.view, open, scope_of(&r, "ip=b"), NULL, WEIR_PRIORITY_MEDIUM, &p),
        WEIR_DENIED);
    assert_int_equal(p.denial.reason, WEIR_REASON_PAUSED);
    assert_false(
        weir_hold_open(weir_load_relaxed_u64(
                           &r.view->pause[weir_hold_line(&r.view->tables.provider[0], 0, 2)].word),
                       0));
    run_close(&r);
}

/* Members that are not there change nothing. */
static void test_pairs(void **state)
{
    struct run r;
    (void)state;
    run_open(&r);
    const struct weir_tables *t = &r.view->tables;
    assert_int_equal(weir_member_scope(t, 0, 0, 0), 0);
    assert_int_equal(weir_member_scope(t, 0, 0, UINT32_MAX), 0);
    assert_int_equal(weir_member_scope(t, 0, 0, 7), 0);
    assert_int_equal(weir_member_scope(t, 0, 3, 1), 3); /* named: stays */
    assert_string_equal(text_of(&r, weir_member_scope(t, 0, 0, 6U << 16 | 2)),
                        "ip=b,key=x,account=two");
    char small[6];
    assert_string_equal(weir_member_text(t, 0, scope_of(&r, "ip=b,key=x"), small, sizeof small),
                        "ip=b,");
    run_close(&r);
}

/* ---------------------------------------------------------------------------------------------- refusals */

#define IP     "{name: l, kind: token_bucket, quota: 10, window: 1s}"
#define KEY    "{name: l, kind: token_bucket, quota: 10, window: 1s, scope: key}"
#define ROUTE  "{name: r, method: GET, path: /p, cost: {l: 1}}"
#define SIGNED "{name: r, method: GET, path: /p, cost: {l: 1}, signed: true}"
#define HOST   "  endpoints: [{name: e, url: 'https://h'}]\n"
#define TWO    "{ip: a, address: 127.0.0.2}, {ip: b, address: 127.0.0.3}"
#define SCOPES "  scopes: {ip: [a, b]}\n"
#define KEYS   "  scopes: {key: [x, y]}\n"
#define DOC(extra, limit, route) \
    "providers:\n- name: p\n" extra "  limits: [" limit "]\n  routes: [" route "]\n"

static const struct {
    const char *text, *message;
} refusals[] = {
    {DOC(SCOPES "  egress: [{ip: a, address: h.example}]\n" HOST, IP, ROUTE),
     "t:4:29: providers[0].egress[0].address = \"h.example\": must be an address of this host, in "
     "digits: 203.0.113.7, 2001:db8::7"},
    {DOC(SCOPES "  egress: [{ip: a, address: 0.0.0.0}]\n" HOST, IP, ROUTE),
     "t:4:29: providers[0].egress[0].address = \"0.0.0.0\": must be an address of this host, in "
     "digits: 203.0.113.7, 2001:db8::7"},
    {DOC(SCOPES "  egress: [" TWO ", {ip: c, address: 127.0.0.4}]\n" HOST, IP, ROUTE),
     "t:4:75: providers[0].egress[2].ip = \"c\": scopes.ip has no such value: add it there"},
    {DOC(SCOPES "  egress: [{ip: a, address: 127.0.0.2}, {ip: b, address: 127.0.0.2}]\n" HOST, IP,
         ROUTE),
     "t:4:58: providers[0].egress[1].address = \"127.0.0.2\": egress[0] has the same: remove one"},
    {DOC(SCOPES "  egress: [{ip: a, address: 127.0.0.2}, {ip: a, address: 127.0.0.3}]\n" HOST, IP,
         ROUTE),
     "t:4:46: providers[0].egress[1].ip = \"a\": egress[0] has the same: remove one"},
    {DOC(SCOPES "  egress: [{ip: a, address: '::2'}, {ip: b, address: 127.0.0.2}]\n" HOST, IP,
         ROUTE),
     "t:4:54: providers[0].egress[1].address = \"127.0.0.2\": is of another family than "
     "egress[0].address = \"::2\": a host is reached by one of them"},
    {DOC(SCOPES "  egress: [" TWO "]\n  endpoints: [{name: e, url: 'https://[::1]'}]\n", IP, ROUTE),
     "t:5:30: providers[0].endpoints[0].url = \"https://[::1]\": is of another family than "
     "egress[0].address = \"127.0.0.2\", from which it cannot be reached"},
    {DOC("  scopes: {ip: [a, b, c]}\n  egress: [" TWO "]\n" HOST, IP, ROUTE),
     "t:4:11: providers[0].egress: scopes.ip has \"c\", and no address is for it"},
    {DOC("  scopes: {ip: [a]}\n  egress: [{ip: a, address: 127.0.0.2}]\n" HOST, IP, ROUTE),
     "t:4:11: providers[0].egress: has one address in the pool: add another one, or write pool: "
     "false"},
    {DOC("  scopes: {ip: [a, b], key: [x]}\n  egress: [" TWO "]\n" HOST, KEY, ROUTE),
     "t:4:11: providers[0].egress: no limit has scope: ip, so nothing counts them apart: give the "
     "limits their scope, or remove this"},
    {DOC(KEYS HOST
         "  auth: {kind: bearer, keys: [{name: x, key: k, pool: true}, {name: y, key: j}]}\n",
         KEY, SIGNED),
     "t:5:30: providers[0].auth.keys: has one key in the pool: add another one, or write pool: "
     "false"},
    {DOC(KEYS HOST "  auth: {kind: bearer, keys: [{name: x, key: k, pool: true}, {name: y, key: j, "
                   "pool: true}]}\n",
         IP, SIGNED),
     "t:5:30: providers[0].auth.keys: no limit has scope: key, so nothing counts the keys of the "
     "pool apart: give the limits their scope, or write pool: false"},
    {DOC("  scopes: {key: [x], account: [a]}\n" HOST
         "  auth: {kind: bearer, keys: [{name: x, account: a, key: k, pool: true}, {key: j, pool: "
         "true}]}\n",
         KEY, SIGNED),
     "t:5:74: providers[0].auth.keys[1]: keys[0] is for the same calls: give each an account or a "
     "name of its own"},
    {DOC(KEYS HOST "  auth: {kind: bearer, keys: [{name: x, key: k}, {name: y, key: j}]}\n", KEY,
         "{name: r, method: GET, path: /p, cost: {l: 1}, signed: true, any_key: true}"),
     "t:7:82: providers[0].routes[0].any_key = \"true\": no key of auth.keys has pool: true: write "
     "it there, or remove this"},
    {DOC(KEYS HOST "  auth: {kind: bearer, keys: [{name: x, key: k, pool: true}, {name: y, key: j, "
                   "pool: true}]}\n",
         KEY, "{name: r, method: GET, path: /p, cost: {l: 1}, any_key: true}"),
     "t:7:68: providers[0].routes[0].any_key = \"true\": has no use without signed: true: write "
     "it, or remove this"},
    {DOC(KEYS HOST "  health: {path: /p}\n  auth: {kind: bearer, keys: [{name: x, key: k, pool: "
                   "true}, {name: y, key: j, pool: true}]}\n",
         KEY, ROUTE),
     "t:8:51: providers[0].routes[0].cost: clock and health ask for this path without a key, so it "
     "cannot take from a limit of scope key: use another path, or another scope"},
    {DOC("  throttle: {scope: ip}\n" HOST, IP, ROUTE),
     "t:3:21: providers[0].throttle.scope = \"ip\": has no use where scopes.ip has not two values "
     "at least"},
    {DOC(SCOPES "  throttle: {scope: ip}\n  egress: [" TWO "]\n" HOST,
         IP ", {name: m, kind: token_bucket, quota: 10, window: 1s, scope: account}",
         "{name: r, method: GET, path: /p, cost: {m: 1}}"),
     "t:8:51: providers[0].routes[0].cost: takes from no limit of scope ip, so nobody knows whom a "
     "stop is about (throttle.scope): name one, be it with 0"},
    {DOC(SCOPES "  egress: [" TWO "]\n" HOST, IP, ROUTE) "- name: q\n" HOST "  limits: [" IP
                                                         "]\n  routes: [" ROUTE "]\n",
     "t:9:30: providers[1].endpoints[0].url = \"https://h\": is the server of provider p, and only "
     "one of the two has egress: connections are shared, so write it for both"},
};

static void test_refusals(void **state)
{
    static struct weir_config_diag diag;
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(refusals); i++) {
        const char *text = refusals[i].text;
        assert_null(weir_config_parse(text, strlen(text), "t", &diag));
        assert_string_equal(diag.error[0].text, refusals[i].message);
    }
}

/* What is printed loads to the same: nobody sees the value that stands for the pool. */
static void test_print(void **state)
{
    static struct weir_config_diag diag;
    struct weir_config *config = weir_config_parse(pool, strlen(pool), "t", &diag);
    char *first = NULL;
    char *second = NULL;
    size_t bytes;
    (void)state;
    assert_non_null(config);
    FILE *out = open_memstream(&first, &bytes);
    weir_config_print(out, config);
    (void)fclose(out);
    weir_config_free(config);
    assert_non_null(strstr(first, "ip: [\"a\", \"b\", \"c\", \"d\"]"));
    config = weir_config_parse(first, strlen(first), "t", &diag);
    if (config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    out = open_memstream(&second, &bytes);
    weir_config_print(out, config);
    (void)fclose(out);
    assert_string_equal(second, first);
    weir_config_free(config);
    free(first);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody), cmocka_unit_test(test_sum),
        cmocka_unit_test(test_ties),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_held),   cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_print),  cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("member", tests, NULL, NULL);
}
