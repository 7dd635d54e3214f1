/* What a trader wants to know afterwards. */
#include "demo.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

bool demo_exchange_read(const char *url, struct demo_exchange *out)
{
    char at[256];
    size_t i;
    const json_t *row;
    (void)snprintf(at, sizeof at, "%s/sim/report", url);
    struct demo_answer answer = demo_http("GET", at);
    json_t *root = answer.body == NULL ? NULL : json_loads(answer.body, 0, NULL);
    free(answer.body);
    if (root == NULL) {
        return false;
    }
    *out = (struct demo_exchange){.violations = (uint32_t)number(root, "violations"),
                                  .banned_s = number(root, "banned_s")};
    json_array_foreach(json_object_get(root, "limits"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name != NULL && strcmp(name, "weight_1m") == 0) {
            out->weight_share = number(row, "share");
            out->weight_highest = (uint32_t)number(row, "highest");
            out->windows = (uint32_t)number(row, "windows_complete");
        } else if (name != NULL) {
            out->orders_share = number(row, "share");
            out->orders_highest = (uint32_t)number(row, "highest");
        }
    }
    json_array_foreach(json_object_get(root, "bans"), i, row)
    {
        out->bans += (uint32_t)number(row, "bans");
    }
    row = json_object_get(root, "orders");
    out->orders_accepted = (uint32_t)number(row, "accepted");
    out->orders_duplicate = (uint32_t)number(row, "duplicates");
    json_decref(root);
    return true;
}

/* ---------------------------------------------------------------------------------------------- table */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts them. 0 when there are none. */
static uint64_t percentile(struct demo_samples *s, unsigned percent)
{
    if (s->cnt == 0) {
        return 0;
    }
    qsort(s->ns, s->cnt, sizeof s->ns[0], by_value);
    return s->ns[(uint64_t)(s->cnt - 1) * percent / 100];
}

/* "123 / 456" in units of `unit_ns`, or "-". */
static void print_pair(struct demo_samples *s, double unit_ns, int decimals, int width)
{
    char text[64] = "-";
    if (s->cnt != 0) {
        (void)snprintf(text, sizeof text, "%.*f / %.*f", decimals,
                       (double)percentile(s, 50) / unit_ns, decimals,
                       (double)percentile(s, 99) / unit_ns);
    }
    (void)printf(" %*s", width, text);
}

static void print_row(struct demo_result *r)
{
    (void)printf("%-14s %5u %7u %7u %8u %4u %4u %6u", r->name, r->wished, r->granted, r->refused,
                 r->answered, r->status_429, r->status_418, r->orders);
    print_pair(&r->permit, 1, 0, 11);
    print_pair(&r->call, 1e6, 1, 11);
    print_pair(&r->cancel, 1e6, 0, 11);
    (void)printf("\n");
}

static void samples_join(struct demo_samples *all, const struct demo_samples *part)
{
    for (uint32_t i = 0; i < part->cnt; i++) {
        demo_sample(all, part->ns[i]);
    }
}

static void rule(void)
{
    for (unsigned i = 0; i < 97; i++) {
        (void)putchar('-');
    }
    (void)putchar('\n');
}

void demo_table(const char *title, struct demo_result *results, const struct demo_exchange *e)
{
    static struct demo_result all;
    memset(&all, 0, sizeof all);
    all.name = "together";
    (void)printf("\n%s\n\n", title);
    (void)printf("%-14s %5s %7s %7s %8s %4s %4s %6s %11s %11s %11s\n", "", "", "", "", "", "", "",
                 "", "permit ns", "call ms", "cancel ms");
    (void)printf("%-14s %5s %7s %7s %8s %4s %4s %6s %11s %11s %11s\n", "strategy", "calls",
                 "granted", "refused", "answered", "429", "418", "orders", "p50 / p99", "p50 / p99",
                 "p50 / p99");
    rule();
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        struct demo_result *r = &results[i];
        all.wished += r->wished;
        all.granted += r->granted;
        all.refused += r->refused;
        all.answered += r->answered;
        all.status_429 += r->status_429;
        all.status_418 += r->status_418;
        all.orders += r->orders;
        samples_join(&all.permit, &r->permit);
        samples_join(&all.call, &r->call);
        samples_join(&all.cancel, &r->cancel);
        print_row(r);
    }
    rule();
    print_row(&all);
    (void)printf(
        "\nquota used      %5.1f %% of the weight, %.1f %% of the orders, in %u whole windows of "
        "2 s\n",
        e->weight_share * 100, e->orders_share * 100, e->windows);
    (void)printf("fullest window  %u of %u weight%s, %u of 20 orders\n", e->weight_highest,
                 DEMO_QUOTA, e->weight_highest > DEMO_QUOTA ? " (refused calls count too)" : "",
                 e->orders_highest);
    (void)printf("banned          %u times, %.1f s in all\n", e->bans, e->banned_s);
    (void)printf("orders placed   %u, of them %u twice\n", e->orders_accepted, e->orders_duplicate);
}

/* ---------------------------------------------------------------------------------------------- verdict */

static uint64_t window_of(const struct demo_result *r, uint64_t weir_ns)
{
    return (weir_ns + (uint64_t)r->utc_offset_ns) / DEMO_WINDOW_NS;
}

/* Less urgent calls that got a permit while this cancel was refused, in the same window. */
static uint32_t overtakers(const struct demo_result *results, const struct demo_result *r,
                           const struct demo_event *cancel)
{
    uint32_t cnt = 0;
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        for (uint32_t k = 0; k < results[i].event_cnt; k++) {
            const struct demo_event *e = &results[i].event[k];
            cnt += !e->refused && e->kind != DEMO_CANCEL && e->from_ns > cancel->from_ns &&
                   e->from_ns < cancel->to_ns &&
                   window_of(r, e->from_ns) == window_of(r, cancel->from_ns);
        }
    }
    return cnt;
}

static int promise(bool kept, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int promise(bool kept, const char *format, ...)
{
    va_list args;
    (void)printf("  %-7s ", kept ? "kept" : "BROKEN");
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
    return kept ? 0 : 1;
}

int demo_verdict(const struct demo_result *results, const struct demo_exchange *e)
{
    uint32_t s429 = 0;
    uint32_t s418 = 0;
    uint32_t broken = 0;
    uint32_t cancels = 0;
    uint32_t waited = 0;
    uint32_t overtaken = 0;
    for (unsigned i = 0; i < DEMO_STRATEGIES; i++) {
        const struct demo_result *r = &results[i];
        s429 += r->status_429;
        s418 += r->status_418;
        broken += r->broken;
        cancels += r->cancel.cnt;
        for (uint32_t k = 0; k < r->event_cnt; k++) {
            if (r->event[k].refused) {
                waited++;
                overtaken += overtakers(results, r, &r->event[k]);
            }
        }
    }
    (void)printf("\nWhat weir promises, checked on these numbers:\n");
    int rc = promise(s429 == 0 && e->violations == 0,
                     "no 429: %u, and the exchange counted %u calls beyond a limit", s429,
                     e->violations);
    rc += promise(s418 == 0 && e->bans == 0, "no 418: %u, and no ban", s418);
    rc += promise(e->weight_share >= 0.95 && e->windows >= 3,
                  "at least 95 %% of the quota is used: %.1f %%", e->weight_share * 100);
    rc += promise(
        cancels > 0 && overtaken == 0,
        "no cancel is refused while less urgent calls pass: %u cancels, %u had to wait for the "
        "next\n          window, %u less urgent calls passed them meanwhile",
        cancels, waited, overtaken);
    rc += promise(e->orders_duplicate == 0 && broken == 0,
                  "every call ends once: %u orders sent twice, %u calls without an outcome",
                  e->orders_duplicate, broken);
    return rc;
}
