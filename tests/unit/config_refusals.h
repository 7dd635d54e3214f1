/*
 * config_refusals.h: documents with one fault each, and the first message about it, word for word.
 *
 * People read these texts when something does not start, so they are part of the product: a change of one shows in these tests.
 */
#ifndef WEIR_TEST_CONFIG_REFUSALS_H
#define WEIR_TEST_CONFIG_REFUSALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/config/config.h"

/* A document whose parts are right unless the case says otherwise. */
#define LIMIT  "{name: l, kind: token_bucket, quota: 10, window: 1s}"
#define WINDOW "{name: l, kind: fixed_window, quota: 10, window: 1s}"
#define ROUTE  "{name: r, transport: own, cost: {l: 1}}"
#define HOST   "  endpoints: [{name: e, url: 'http://h'}]\n"
#define DOC(broker, extra, limits, routes) \
    broker "providers:\n- name: p\n" extra "  limits: [" limits "]\n  routes: [" routes "]\n"

struct refusal {
    const char *text;
    const char *message;
};

static inline void refusals_check(const struct refusal *refusal, size_t cnt)
{
    static struct weir_config_diag diag;
    for (size_t i = 0; i < cnt; i++) {
        const char *text = refusal[i].text;
        struct weir_config *config = weir_config_parse(text, strlen(text), "t", &diag);
        assert_null(config);
        assert_string_equal(diag.error[0].text, refusal[i].message);
        assert_in_range(diag.error_cnt, 1, 2);
    }
}

#endif
