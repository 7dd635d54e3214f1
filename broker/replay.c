#include "broker/replay.h"

#include "broker/config/config_calendar.h"
#include "broker/dry_run.h"
#include "broker/replay_count.h"
#include "broker/replay_line.h"
#include "broker/server_clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 65536U
/* What is wrong with lines is said so often; then only counted. */
#define COMPLAINTS_MAX 10U
/* Calls of one second of an access log that are held to be spread over it. More are spread in batches. */
#define SECOND_MAX (1U << 20)
/* The log's first call stands here on weir's timeline: far from 0, so that everything before it is over. */
#define START_NS (1000000 * WEIR_NS_PER_S)

struct replay {
    struct weir_config *config;
    const struct replay_options *options;
    struct dry_run run;
    struct replay_names names;
    struct replay_report report;
    uint64_t line;          /* that is being read */
    uint64_t seen_utc_ns;   /* latest time of a line */
    uint64_t judged_utc_ns; /* time of the last call judged: never goes back */
    struct replay_call *second;
    size_t second_cnt, second_capacity;
    uint32_t complaints;
};

static void complain(struct replay *r, const char *text)
{
    if (r->complaints < COMPLAINTS_MAX) {
        (void)fprintf(stderr, "weird: %s:%llu: %s\n", r->options->log, (unsigned long long)r->line,
                      text);
    }
    r->complaints++;
}

/* ---------------------------------------------------------------------------------------------- one call */

/* Point the report at the run's tables. */
static void rows_find(struct replay *r)
{
    const struct weir_tables *t = &r->run.view.tables;
    for (uint32_t i = 0; i < r->report.limit_cnt; i++) {
        r->report.limit[i].row = &t->limit[i];
    }
    r->report.provider = t->provider;
    r->report.scope = t->scope;
    r->report.scope_cnt = t->scope_cnt;
}

/* The edges of calendars were filled around today: the log has its own days. False where that fails. */
static bool calendars_move(struct replay *r, uint64_t utc_ns)
{
    char text[256];
    bool moved = false;
    for (size_t p = 0; p < r->config->provider_cnt; p++) {
        for (size_t i = 0; i < r->config->provider[p].limit_cnt; i++) {
            struct weir_config_limit *l = &r->config->provider[p].limit[i];
            if (l->calendar.cnt > 0) {
                moved = true;
                if (!weir_config_calendar_fill(&l->calendar, l->calendar_unit, l->time_zone,
                                               (int64_t)(utc_ns / WEIR_NS_PER_S),
                                               &r->config->blocks)) {
                    return false;
                }
                l->window_ns = l->calendar.shortest_ns;
            }
        }
    }
    if (!moved) {
        return true;
    }
    dry_run_close(&r->run);
    r->run = (struct dry_run){0};
    if (dry_run_open(&r->run, r->config, text, sizeof text) != WEIR_OK) {
        return false;
    }
    rows_find(r);
    return true;
}

/* The log's first time: from here on weir time and UTC go side by side. */
static bool timeline_start(struct replay *r, uint64_t utc_ns)
{
    if (!calendars_move(r, utc_ns)) {
        return false;
    }
    r->report.first_utc_ns = utc_ns;
    r->seen_utc_ns = utc_ns;
    for (uint32_t p = 0; p < r->config->provider_cnt; p++) {
        const struct weir_config_clock *c = &r->config->provider[p].clock;
        struct weir_server_clock clock =
            c->source == WEIR_CONFIG_CLOCK_NONE
                ? server_clock_unknown(START_NS, utc_ns, c->max_jitter_ns)
                : server_clock_host(START_NS, utc_ns,
                                    c->source == WEIR_CONFIG_CLOCK_HOST ? c->error_ns : 0,
                                    c->max_jitter_ns);
        if (c->source == WEIR_CONFIG_CLOCK_SERVER) {
            clock.drift_ppb = 0; /* as if it were asked all the time */
        }
        dry_run_clock_set(&r->run, p, &clock, START_NS);
    }
    return true;
}

static uint32_t scope_value(const struct weir_shm_limit_row *row, weir_scope_id scope)
{
    return (uint32_t)(scope >> row->scope_shift) &
           0xffffU; /* inside word_cnt: the names were resolved */
}

static bool asked(struct replay *r, const struct replay_call *c,
                  const struct weir_shm_route_row *route, const uint32_t *units)
{
    bool ok = true;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        struct replay_limit *l = &r->report.limit[route->limit[i]];
        ok = replay_asked(l, scope_value(l->row, c->scope), r->judged_utc_ns, units[i]) && ok;
    }
    return ok;
}

static bool counted(struct replay *r, const struct replay_call *c,
                    const struct weir_shm_route_row *route, const uint32_t *units)
{
    bool ok = true;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        struct replay_limit *l = &r->report.limit[route->limit[i]];
        ok = replay_counted(l, scope_value(l->row, c->scope), r->judged_utc_ns, units[i],
                            c->priority) &&
             ok;
    }
    return ok;
}

/* What the exchange counts in the end of a call with this answer, by the route's `settle`; an unknown answer changes nothing. */
static void settled(const struct replay_call *c, const struct weir_shm_route_row *route,
                    const uint32_t *asked_units, uint32_t units[WEIR_PERMIT_LIMITS_MAX])
{
    const uint32_t *rule = c->status / 100 == 2 ? route->settle_success : route->settle_failure;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        bool as_charged = c->status == 0 || rule[i] == WEIR_SETTLE_AS_CHARGED;
        units[i] = as_charged ? asked_units[i] : rule[i];
    }
}

/* Would weir have let it pass? Its permit is settled at once: a log does not say when a call ended. */
static bool permitted(struct replay *r, const struct replay_call *c)
{
    struct weir_permit permit;
    dry_run_time_set(&r->run, START_NS + (r->judged_utc_ns - r->report.first_utc_ns));
    int rc = weir_permit_take(&r->run.view, c->route, c->scope, c->has_units ? &c->units : NULL,
                              c->priority, &permit);
    if (rc == WEIR_OK) {
        dry_run_let_go(&r->run, &permit);
        if (c->status != 0) {
            (void)weir_permit_answered(&r->run.view, &permit, c->status / 100 == 2, NULL);
        }
        return true;
    }
    if ((rc == WEIR_DENIED || rc == WEIR_E_COST) && permit.denial.limit < r->report.limit_cnt) {
        struct replay_limit *l = &r->report.limit[permit.denial.limit];
        replay_refused(l, scope_value(l->row, c->scope), c->priority, rc == WEIR_E_COST);
        r->report.refused++;
    } else {
        r->report.unjudged++;
    }
    return false;
}

static bool judge(struct replay *r, const struct replay_call *c)
{
    const struct weir_shm_route_row *route = &r->run.view.tables.route[c->route];
    const uint32_t *units = c->has_units ? c->units.units : route->cost;
    uint32_t final[WEIR_PERMIT_LIMITS_MAX];
    r->judged_utc_ns = weir_max_u64(r->judged_utc_ns, c->utc_ns);
    r->report.calls++;
    if (!asked(r, c, route, units)) {
        return false;
    }
    if (!r->options->as_sent && !permitted(r, c)) {
        return true;
    }
    r->report.granted++;
    settled(c, route, units, final);
    return counted(r, c, route, final);
}

/* ---------------------------------------------------------------------------------------------- order */

/* Judge what is held of one second, evenly over it. */
static bool second_flush(struct replay *r)
{
    bool ok = true;
    for (size_t i = 0; ok && i < r->second_cnt; i++) {
        struct replay_call *c = &r->second[i];
        c->utc_ns += i * WEIR_NS_PER_S / r->second_cnt;
        ok = judge(r, c);
    }
    r->second_cnt = 0;
    return ok;
}

static bool second_hold(struct replay *r, const struct replay_call *c)
{
    if (r->second_cnt == r->second_capacity) {
        size_t capacity = r->second_capacity * 2 + 256;
        struct replay_call *more = realloc(r->second, capacity * sizeof *more);
        if (more == NULL) {
            return false;
        }
        r->second = more;
        r->second_capacity = capacity;
    }
    r->second[r->second_cnt++] = *c;
    return r->second_cnt < SECOND_MAX || second_flush(r);
}

static bool enter(struct replay *r, const struct replay_call *c)
{
    if (r->report.first_utc_ns == 0 && !timeline_start(r, c->utc_ns)) {
        return false;
    }
    if (c->utc_ns < r->seen_utc_ns) {
        char text[96];
        (void)snprintf(text, sizeof text,
                       "is %llu ms older than a line before it: judged at the latest time so far",
                       (unsigned long long)((r->seen_utc_ns - c->utc_ns) / WEIR_NS_PER_MS));
        complain(r, text);
        r->report.unordered++;
    }
    r->seen_utc_ns = weir_max_u64(r->seen_utc_ns, c->utc_ns);
    r->report.several += c->several;
    bool hold = c->whole_second && !r->options->keep_time;
    if (r->second_cnt > 0 && (!hold || r->second[0].utc_ns != r->seen_utc_ns)) {
        if (!second_flush(r)) {
            return false;
        }
    }
    struct replay_call at = *c;
    at.utc_ns = r->seen_utc_ns;
    return hold ? second_hold(r, &at) : judge(r, &at);
}

/* ---------------------------------------------------------------------------------------------- lines */

static bool line_take(struct replay *r, char *line, size_t bytes)
{
    struct replay_call call;
    char text[240];
    while (bytes > 0 && (line[bytes - 1] == '\r' || line[bytes - 1] == '\n')) {
        bytes--;
    }
    line[bytes] = '\0';
    if (bytes == 0 || (line[0] != '\0' && strspn(line, " \t") == bytes)) {
        return true; /* blank */
    }
    r->report.lines++;
    switch (replay_line_read(&r->names, line, bytes, &call, text, sizeof text)) {
    case REPLAY_CALL:
        return enter(r, &call);
    case REPLAY_NO_CALL:
        r->report.missing += call.missing;
        return true;
    case REPLAY_UNREADABLE:
        r->report.unreadable++;
        break;
    case REPLAY_UNKNOWN_ROUTE:
        r->report.unknown_route++;
        break;
    }
    complain(r, text);
    return true;
}

/* Read to the end of the line; one that is longer than the buffer is cut off and said. False at the end of the file. */
static bool line_read(struct replay *r, FILE *in, char *line, size_t *bytes, bool *too_long)
{
    int c = 0;
    *bytes = 0;
    *too_long = false;
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        if (*bytes < LINE_MAX_BYTES) {
            line[(*bytes)++] = (char)c;
        } else {
            *too_long = true;
        }
    }
    r->line++;
    return c != EOF || *bytes > 0;
}

/* All lines. Returns NULL, or what stopped it. */
static const char *log_read(struct replay *r, FILE *in)
{
    static char line[LINE_MAX_BYTES + 1];
    size_t bytes;
    bool too_long;
    while (line_read(r, in, line, &bytes, &too_long)) {
        if (too_long) {
            r->report.lines++;
            r->report.unreadable++;
            complain(r, "longer than 65536 bytes");
        } else if (!line_take(r, line, bytes)) {
            return "no memory";
        }
    }
    if (ferror(in)) {
        return strerror(errno);
    }
    bool ok = second_flush(r);
    for (uint32_t i = 0; i < r->report.limit_cnt; i++) {
        ok = replay_closed(&r->report.limit[i]) && ok;
    }
    return ok ? NULL : "no memory";
}

/* ---------------------------------------------------------------------------------------------- the whole */

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "weird: cannot replay: %s: %s\n", what, why);
    return 1;
}

static bool limits_make(struct replay *r)
{
    const struct weir_tables *t = &r->run.view.tables;
    r->report.limit = calloc(t->limit_cnt + 1U, sizeof *r->report.limit);
    r->report.limit_cnt = r->report.limit != NULL ? t->limit_cnt : 0;
    bool ok = r->report.limit != NULL;
    for (uint32_t i = 0; i < r->report.limit_cnt; i++) {
        struct replay_limit *l = &r->report.limit[i];
        l->word = calloc(t->limit[i].word_cnt, sizeof *l->word);
        ok = ok && l->word != NULL;
    }
    rows_find(r);
    return ok;
}

static int report(struct replay *r)
{
    r->report.last_utc_ns = r->judged_utc_ns;
    if (r->complaints > COMPLAINTS_MAX) {
        (void)fprintf(stderr, "weird: %s: %u more lines like these\n", r->options->log,
                      r->complaints - COMPLAINTS_MAX);
    }
    if (r->report.calls == 0) {
        return fail(r->options->log,
                    "no line is a call of this configuration: see weird(8), Replay, for the forms");
    }
    if (!r->options->json) {
        replay_text(stdout, &r->report);
    } else if (!replay_json(stdout, &r->report)) {
        return fail(r->options->log, "no memory for the report");
    }
    return fflush(stdout) == 0 ? 0 : fail("standard output", strerror(errno));
}

static bool provider_known(const struct weir_config *config, const char *name)
{
    for (size_t i = 0; name != NULL && i < config->provider_cnt; i++) {
        if (strcmp(config->provider[i].name, name) == 0) {
            return true;
        }
    }
    return name == NULL;
}

static int with_log(struct replay *r, FILE *in)
{
    char text[256] = "";
    if (dry_run_open(&r->run, r->config, text, sizeof text) != WEIR_OK) {
        return fail(r->options->config_path, text);
    }
    r->names.tables = &r->run.view.tables;
    const char *stopped = limits_make(r) ? log_read(r, in) : "no memory";
    int rc = stopped == NULL ? report(r) : fail(r->options->log, stopped);
    for (uint32_t i = 0; i < r->report.limit_cnt; i++) {
        replay_limit_free(&r->report.limit[i]);
    }
    free(r->report.limit);
    free(r->second);
    dry_run_close(&r->run);
    return rc;
}

int replay_run(struct weir_config *config, const struct replay_options *options)
{
    static struct replay replay; /* large; zeroed */
    struct replay *r = &replay;
    r->config = config;
    r->options = options;
    r->names = (struct replay_names){.config = config, .provider = options->provider};
    r->report = (struct replay_report){
        .log = options->log, .config = options->config_path, .as_sent = options->as_sent};
    if (!provider_known(config, options->provider)) {
        return fail(options->provider, "the configuration has no such provider");
    }
    bool standard = strcmp(options->log, "-") == 0;
    FILE *in = standard ? stdin : fopen(options->log, "re");
    if (in == NULL) {
        return fail(options->log, strerror(errno));
    }
    int rc = with_log(r, in);
    if (!standard) {
        (void)fclose(in);
    }
    return rc;
}
