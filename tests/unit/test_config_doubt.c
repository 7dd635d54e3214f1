/*
 * test_config_doubt.c: `doubt` of a route: what is refused, word for word with line and column, and what comes of what is taken. Oracle: the texts, written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/config/config.h"
#include "shm/weir_base.h"

/* Line 10 holds what a case is about. */
#define HEAD                                                             \
    "providers:\n"                                                       \
    "- name: p\n"                                                        \
    "  clock: {source: host}\n"                                          \
    "  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n" \
    "  endpoints: [{name: e, url: 'https://h'}]\n"                       \
    "  routes:\n"                                                        \
    "  - {name: ask, method: GET, path: /o, cost: {l: 1}}\n"             \
    "  - {name: rest, method: GET, path: /o/*, cost: {l: 1}}\n"          \
    "  - {name: own, transport: own, cost: {l: 1}}\n"
#define ORDER "  - {name: r, method: POST, path: /o, cost: {l: 1}, doubt: "
#define GOOD  "id: c, in: form, found: i, route: ask, query: 'c={id}'"

static const struct {
    const char *text, *message;
} refusal[] = {
    {HEAD ORDER "{in: form, found: i, route: ask, query: 'c={id}'}}\n",
     "t:10:60: providers[0].routes[3].doubt.id: missing: must be printable ASCII; 1..63 bytes"},
    {HEAD ORDER "{id: c, in: body, found: i, route: ask}}\n",
     "t:10:72: providers[0].routes[3].doubt.in = \"body\": must be one of query, form, parameters, "
     "json, header"},
    {HEAD ORDER "{id: c, in: form, found: i, route: none, query: 'c={id}'}}\n",
     "t:10:95: providers[0].routes[3].doubt.route = \"none\": no such route of this provider: "
     "write "
     "it below routes"},
    {HEAD ORDER "{id: c, in: form, found: i, route: own, query: 'c={id}'}}\n",
     "t:10:95: providers[0].routes[3].doubt.route = \"own\": has transport: own, so weir cannot "
     "ask "
     "by it"},
    {HEAD ORDER "{id: c, in: form, found: i, route: r, query: 'c={id}'}}\n",
     "t:10:95: providers[0].routes[3].doubt.route = \"r\": must be a GET, or a POST with "
     "idempotent: true: it may be asked more than once"},
    {HEAD ORDER "{id: c, in: form, found: i, route: rest, query: 'c={id}'}}\n",
     "t:10:60: providers[0].routes[3].doubt.path: missing: the route's path ends in /*"},
    {HEAD ORDER "{" GOOD ", path: 'x/{id}'}}\n",
     "t:10:123: providers[0].routes[3].doubt.path = \"x/{id}\": has no use: the route's path does "
     "not end in /*"},
    {HEAD ORDER "{id: c, in: form, found: i, route: rest, path: '/{id}'}}\n",
     "t:10:107: providers[0].routes[3].doubt.path = \"/{id}\": must not begin with / and not hold "
     "// or .."},
    {HEAD ORDER "{id: c, in: form, found: i, route: rest, path: '../{id}'}}\n",
     "t:10:107: providers[0].routes[3].doubt.path = \"../{id}\": must not begin with / and not "
     "hold // or .."},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c=1'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c=1\": missing: {id} must stand in path, "
     "query or body"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask}}\n",
     "t:10:60: providers[0].routes[3].doubt.query: missing: {id} must stand in path, query or "
     "body"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c={id'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c={id\": a brace without its partner, or "
     "with nothing between: write {id}"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c={}'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c={}\": a brace without its partner, or "
     "with nothing between: write {id}"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c={id}}'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c={id}}\": a brace without its partner, or "
     "with nothing between: write {id}"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c={id}#x'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c={id}#x\": must be letters, digits, - . _ "
     "~ = & : / , and names in braces"},
    {HEAD ORDER "{id: c, in: form, found: i, route: ask, query: 'c={id}%20'}}\n",
     "t:10:107: providers[0].routes[3].doubt.query = \"c={id}%20\": must be letters, digits, - . "
     "_ ~ = & : / , and names in braces"},
    {HEAD ORDER "{" GOOD ", body: 'c={id}'}}\n",
     "t:10:123: providers[0].routes[3].doubt.body = \"c={id}\": has no use: the route is a GET"},
    {HEAD ORDER "{id: accept, in: header, found: i, route: ask, query: 's={symbol}&c={id}'}}\n",
     "t:10:114: providers[0].routes[3].doubt.query = \"s={symbol}&c={id}\": with in: header only "
     "{id} is known"},
    {HEAD ORDER "{id: x-id, in: header, found: i, route: ask, query: 'c={id}'}}\n",
     "t:10:65: providers[0].routes[3].doubt.id = \"x-id\": no call can bear this header: write it "
     "below the route's headers"},
    {HEAD ORDER "{" GOOD ", settled_after: 5s}}\n",
     "t:10:132: providers[0].routes[3].doubt.settled_after = \"5s\": has no use without absent, "
     "the answer that it makes sure: write both"},
    {HEAD ORDER "{" GOOD ", resend: true}}\n",
     "t:10:125: providers[0].routes[3].doubt.resend = \"true\": has no use without absent and "
     "settled_after"},
    {HEAD ORDER "{" GOOD ", resend: yes}}\n",
     "t:10:125: providers[0].routes[3].doubt.resend = \"yes\": must be one of false, true"},
    {HEAD ORDER "{" GOOD ", absent: {status: [404]}}}\n",
     "t:10:60: providers[0].routes[3].doubt.settled_after: missing: an order may be on its way "
     "when the exchange says that it has none: write after how long it can no longer come"},
    {HEAD ORDER "{" GOOD ", settled_after: 5s, absent: {status: [404], field: code}}}\n",
     "t:10:144: providers[0].routes[3].doubt.absent.equals: missing: field and equals are given "
     "together"},
    {HEAD ORDER "{" GOOD ", settled_after: 5s, absent: {status: [404], equals: x}}}\n",
     "t:10:144: providers[0].routes[3].doubt.absent.field: missing: field and equals are given "
     "together"},
    {HEAD ORDER "{" GOOD ", settled_after: 5s, absent: {status: [404, 200]}}}\n",
     "t:10:153: providers[0].routes[3].doubt.absent.status: a status of 2xx alone does not say "
     "that there is none: write field and equals, or empty"},
    {HEAD ORDER "{" GOOD ", settled_after: 10s, absent: {status: [404]}}}\n",
     "t:10:60: providers[0].routes[3].doubt.patience: must be above settled_after = 10s: else a "
     "call that its deadline cut off is never surely absent"},
    {HEAD "  - {name: r, method: PUT, path: /o, cost: {l: 1}, doubt: {" GOOD "}}\n",
     "t:10:59: providers[0].routes[3].doubt: has no use where idempotent is true, for such a call "
     "is made again: remove it, or write idempotent: false"},
    {HEAD "  - {name: r, transport: own, cost: {l: 1}, doubt: {" GOOD "}}\n",
     "t:10:52: providers[0].routes[3].doubt: has no use with transport: own, where weir makes no "
     "call: remove it"},
    {HEAD "  - {name: r, method: GET, path: /o, cost: {l: 1}, idempotent: false, doubt: {" GOOD
          "}}\n",
     "t:10:90: providers[0].routes[3].doubt.in = \"form\": a GET or HEAD has no body to look "
     "into"},
    {HEAD "  - {name: r, method: POST, path: /o, cost: {l: 1}, max_response: 1KiB, doubt: {" GOOD
          "}}\n",
     "t:10:115: providers[0].routes[3].doubt.route = \"ask\": has a larger max_response than the "
     "order, whose room its answer must fit"},
};

#define SIGNED                                                           \
    "providers:\n- name: p\n  clock: {source: host}\n"                   \
    "  auth: {kind: bybit, key: k, secret: s, recv_window: 5s}\n"        \
    "  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n" \
    "  endpoints: [{name: e, url: 'https://h'}]\n  routes:\n"

static const struct {
    const char *text, *message;
} signed_refusal[] = {
    {SIGNED "  - {name: ask, method: GET, path: /o, cost: {l: 1}, signed: true}\n"
            "  - {name: r, method: POST, path: /o, cost: {l: 1}, signed: true, doubt: {" GOOD
            ", settled_after: 4s, absent: {status: [404]}}}\n",
     "t:9:146: providers[0].routes[1].doubt.settled_after = \"4s\": must be at least "
     "auth.recv_window = 5s: until then the exchange takes an order that was late on its way"},
    {SIGNED "  - {name: ask, method: GET, path: /o, cost: {l: 1}}\n"
            "  - {name: r, method: POST, path: /o, cost: {l: 1}, signed: true, doubt: {" GOOD
            "}}\n",
     "t:9:109: providers[0].routes[1].doubt.route = \"ask\": must have signed: true like the "
     "order, whose account is asked"},
};

static struct weir_config_diag diag;

static void refused(const char *text, const char *message)
{
    struct weir_config *config = weir_config_parse(text, strlen(text), "t", &diag);
    assert_null(config);
    assert_string_equal(diag.error[0].text, message);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(refusal); i++) {
        refused(refusal[i].text, refusal[i].message);
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(signed_refusal); i++) {
        refused(signed_refusal[i].text, signed_refusal[i].message);
    }
}

static void test_taken(void **state)
{
    (void)state;
    static const char text[] =
        HEAD ORDER "{" GOOD ", absent: {status: [404, 400], field: code, equals: '-2013'}, "
                   "settled_after: 5s, unsure: [503], resend: true}}\n"
                   "  - {name: plain, method: POST, path: /o, cost: {l: 1}}\n";
    struct weir_config *config = weir_config_parse(text, strlen(text), "t", &diag);
    assert_non_null(config);
    const struct weir_config_doubt *d = &config->provider[0].route[3].doubt;
    assert_string_equal(d->id, "c");
    assert_int_equal(d->in, WEIR_CONFIG_DOUBT_FORM);
    assert_int_equal(d->route_idx, 0);
    assert_string_equal(d->path, "");
    assert_string_equal(d->query, "c={id}");
    assert_int_equal(d->absent.status.cnt, 2);
    assert_string_equal(d->absent.equals, "-2013");
    assert_string_equal(d->absent.empty, "");
    assert_int_equal(d->settled_after_ns, 5 * WEIR_NS_PER_S);
    assert_int_equal(d->patience_ns, 10 * WEIR_NS_PER_S);
    assert_int_equal(d->resend, WEIR_CONFIG_DOUBT_RESEND);
    assert_string_equal(config->provider[0].route[4].doubt.id, "");
    /* Printed, it loads to the same. */
    char printed[8192] = "";
    FILE *out = fmemopen(printed, sizeof printed, "w");
    weir_config_print(out, config);
    (void)fclose(out);
    weir_config_free(config);
    config = weir_config_parse(printed, strlen(printed), "t", &diag);
    assert_non_null(config);
    assert_string_equal(config->provider[0].route[3].doubt.query, "c={id}");
    assert_int_equal(config->provider[0].route[3].doubt.resend, WEIR_CONFIG_DOUBT_RESEND);
    assert_string_equal(config->provider[0].route[4].doubt.id, "");
    weir_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
