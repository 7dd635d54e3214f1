/*
 * sign_in_cookie.c: a cookie and its crumb: fetched together, renewed ahead of their end and where the exchange takes them back, by the next worker too.
 */
#include "sign_in_session.h"

void sign_in_cookies(struct rig *r)
{
    static const char sim[] =
        "{\"limits\": [{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": 100000, "
        "\"window_ms\": 1000}],"
        " \"routes\": [{\"path\": \"GET /v7/quote\", \"plays\": \"ok\"},"
        "   {\"path\": \"GET /consent\", \"plays\": \"ok\"}, {\"path\": \"GET /v1/getcrumb\", "
        "\"plays\": \"ok\"}],"
        " \"session\": {\"cookie\": \"GET /consent\", \"crumb\": \"GET /v1/getcrumb\", "
        "\"lasts_s\": "
        "4, \"paths\": [\"GET /v7/quote\"]}}";
    static const char yaml[] =
        "broker: {name: rig, wake: sleep, log: debug}\n"
        "providers:\n"
        "  - name: p\n"
        "    auth: {kind: cookie, sign_in: {route: p.consent, crumb_route: p.getcrumb, crumb: "
        "crumb, margin: 1500ms, expired: [401, 403]}}\n"
        "    limits: [{name: b, kind: token_bucket, quota: 10000, window: 1s}]\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
        "    routes:\n"
        "      - {name: consent, method: GET, path: /consent, cost: {b: 1}, timeout: 2s}\n"
        "      - {name: getcrumb, method: GET, path: /v1/getcrumb, cost: {b: 1}, timeout: 2s}\n"
        "      - {name: get, method: GET, path: /v7/quote, cost: {b: 1}, timeout: 3s, signed: "
        "true}\n";
    rig_sim_start(r, sim);
    rig_config(r, yaml, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (unsigned i = 0; i < 60; i++) {
        session_good(r, w, "p.get");
        rig_sleep_ms(80);
    }
    /* a call may be on its way with the crumb that a renewal has just replaced: it is made again, and was good */
    CHECK(r, session_report(r, "bad") <= session_report(r, "cookies"), "%.0f",
          session_report(r, "bad"));
    CHECK_INT(r, session_report(r, "crumbs_refused"), 0);
    CHECK(r, session_report(r, "cookies") >= 2, "%.0f cookies", session_report(r, "cookies"));
    double before = session_report(r, "cookies");
    (void)rig_http(r, "POST", "/sim/revoke", "{}", NULL, 0);
    session_good(r, w, "p.get");
    CHECK(r, session_report(r, "cookies") > before, "fetched once more");
    rig_worker_kill(r);
    session_good(r, w, "p.get");
    /* "Too Many Requests" in place of a crumb */
    rig_fault(r,
              "{\"kind\": \"status\", \"status\": 500, \"path\": \"/v1/getcrumb\", \"count\": 1}");
    rig_worker_kill(r);
    session_good(r, w, "p.get"); /* waits while it is tried again */
    CHECK(r, rig_log_has(r, "\"sign_in_failed\""), "said");
    session_search(r);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    rig_sim_stop(r);
}
