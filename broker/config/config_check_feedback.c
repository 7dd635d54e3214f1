/*
 * config_check_feedback.c: what may be read from answers, and for which limits it is sound.
 *
 * A report is a count at one instant. In a fixed window the count only grows, so what was used stays used. In a sliding window and in a bucket it falls all
 * the time; what a report proves there, and for how long, is worked out from when its call was sent and answered (broker/rolling.h). But where the count has no
 * end that all share, none can be reported. How many calls are in flight is over before an answer could tell it, and no provider does.
 */
#include <string.h>

#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

void weir_config_finish_feedback(struct weir_config_reader *reader, void *section,
                                 const struct weir_config_place *place)
{
    const struct weir_config_feedback *f = section;
    bool is_reset = f->reports == WEIR_CONFIG_REPORTS_RESET;
    if (!f->header[0] && !f->field[0]) {
        complain(reader, place, "header",
                 "missing: write header, or field for a member of the body");
    }
    if (f->header[0] && f->field[0]) {
        complain(reader, place, "field", "has no use beside header: write one entry for each");
    }
    if (!is_reset && f->unit != WEIR_CONFIG_UNIT_AUTO) {
        complain(reader, place, "unit", "has a use only with reports: reset");
    }
    if (!is_reset && f->form != WEIR_CONFIG_FORM_EPOCH) {
        complain(reader, place, "form", "has a use only with reports: reset");
    }
    if (f->reports != WEIR_CONFIG_REPORTS_REMAINING && f->of_units) {
        complain(reader, place, "of", "has a use only with reports: remaining");
    }
}

static void check_until(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        const struct weir_config_place *place)
{
    const char *text = provider->throttle.until_text;
    const char *mark = strstr(text, "{time}");
    if (text[0] && (!mark || mark == text)) {
        struct weir_config_place throttle = weir_config_place_key(place, "throttle");
        complain(
            reader, &throttle, "until_text",
            "must have {time} behind the text that it is found by, as in \"banned until {time}\"");
    }
}

/* One entry, whose limit is known. */
static void check_entry(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider, struct weir_config_feedback *f,
                        const struct weir_config_place *place)
{
    const struct weir_config_limit *limit = &provider->limit[f->limit_idx];
    bool bucket = limit->kind == WEIR_LIMIT_TOKEN_BUCKET;
    uint64_t quota = bucket && limit->burst_units ? limit->burst_units : limit->quota_units;
    if (limit->kind == WEIR_LIMIT_CONCURRENCY) {
        complain(reader, place, "limit",
                 "is of kind concurrency: how many calls are in flight has changed by the time an "
                 "answer is here; remove the entry");
        return;
    }
    if (f->reports == WEIR_CONFIG_REPORTS_RESET && limit->kind != WEIR_LIMIT_FIXED_WINDOW) {
        complain(reader, place, "reports",
                 "must be used or remaining: only the window of a fixed_window ends at an instant "
                 "that tells about the clock");
        return;
    }
    if (f->rolls && limit->kind != WEIR_LIMIT_SLIDING_WINDOW) {
        complain(reader, place, "rolls", "has a use only for a limit of kind sliding_window");
    }
    if (f->reports == WEIR_CONFIG_REPORTS_RESET && limit->calendar.cnt) {
        complain(reader, place, "reports",
                 "must be used or remaining: the ends of a calendar's windows are known");
    }
    if (f->reports == WEIR_CONFIG_REPORTS_REMAINING && !f->of_units) {
        f->of_units = quota;
    }
    if (f->of_units && f->of_units < quota) {
        struct weir_config_place of = weir_config_place_key(place, "of");
        weir_config_error(reader, &of, "must not be below the limit's %s = %llu",
                          bucket ? "burst" : "quota", (unsigned long long)quota);
    }
}

static bool has_count(const struct weir_config_provider *provider, size_t limit_idx)
{
    for (size_t i = 0; i < provider->feedback_cnt; i++) {
        if (provider->feedback[i].limit_idx == limit_idx &&
            provider->feedback[i].reports != WEIR_CONFIG_REPORTS_RESET) {
            return true;
        }
    }
    return false;
}

void weir_config_check_feedback(struct weir_config_reader *reader,
                                struct weir_config_provider *provider,
                                const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "feedback");
    for (size_t i = 0; i < provider->feedback_cnt; i++) {
        struct weir_config_feedback *f = &provider->feedback[i];
        struct weir_config_place item = weir_config_place_item(&list, i);
        struct weir_config_place name = weir_config_place_key(&item, "limit");
        if (weir_config_find_limit(reader, provider, f->limit, &name, &f->limit_idx)) {
            check_entry(reader, provider, f, &item);
        }
    }
    check_until(reader, provider, place);
    struct weir_config_place limits = weir_config_place_key(place, "limits");
    for (size_t i = 0; i < provider->limit_cnt; i++) {
        if (provider->limit[i].foreign.expect == WEIR_CONFIG_EXPECT_ADAPTIVE &&
            !has_count(provider, i)) {
            struct weir_config_place item = weir_config_place_item(&limits, i);
            struct weir_config_place foreign = weir_config_place_key(&item, "foreign");
            complain(reader, &foreign, "expect",
                     "needs feedback that reports used or remaining of this limit: without it "
                     "nothing is "
                     "ever seen of others");
        }
    }
}
