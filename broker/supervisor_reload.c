/*
 * supervisor_reload.c: SIGHUP. The file is read again and judged; the worker comes to rest as for a successor; the tables are changed; a new worker begins with the new configuration.
 *
 * Until the worker has left nothing has changed, and whatever is wrong with the file ends here with its reason. Who dies: the worker at any time, then it is as quiet as it will be; the
 * supervisor, then the worker goes on alone by the tables in force (quiesce_end), or, once it has left, nobody is granted anything (reload.h).
 */
#include "broker/supervisor_inside.h"

#include "broker/dry_run.h"
#include "broker/log.h"
#include "broker/reload.h"
#include "broker/tables_build.h"
#include "broker/tables_follow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refused(const char *why)
{
    log_error("reload_refused", "s:s, s:s", "why", why, "meaning",
              "nothing has changed: the configuration before stays in force");
}

/* ---------------------------------------------------------------------------------------------- what the file says */

/* What a new worker takes over by itself is left out, the rest is compared as it would be printed. NULL: no memory. */
static char *broker_print(const struct weir_config *config, const struct weir_config *in_force)
{
    struct weir_config copy = {.broker = config->broker};
    char *text = NULL;
    size_t bytes = 0;
    copy.broker.wake = in_force->broker.wake;
    copy.broker.log = in_force->broker.log;
    copy.broker.spin_ns = in_force->broker.spin_ns;
    copy.broker.drain_ns = in_force->broker.drain_ns;
    copy.broker.operators = in_force->broker.operators;
    FILE *out = open_memstream(&text, &bytes);
    if (out != NULL) {
        weir_config_print(out, &copy);
        (void)fclose(out);
    }
    return text;
}

/* The first line that differs, without the spaces before it. */
static void line_differs(const char *was, const char *is, char out[2][80])
{
    while (*was != '\0' || *is != '\0') {
        size_t old = strcspn(was, "\n");
        size_t new = strcspn(is, "\n");
        if (old != new || memcmp(was, is, old) != 0) {
            was += strspn(was, " -");
            is += strspn(is, " -");
            (void)snprintf(out[0], 80, "%.*s", (int)strcspn(was, "\n"), was);
            (void)snprintf(out[1], 80, "%.*s", (int)strcspn(is, "\n"), is);
            return;
        }
        was += old + (was[old] != '\0');
        is += new + (is[new] != '\0');
    }
}

/* The broker itself: sockets, sizes, users, directories are made at the start. */
static bool broker_same(const struct weir_config *was, const struct weir_config *is, char *text,
                        size_t text_bytes)
{
    char line[2][80] = {"", ""};
    char *old = broker_print(was, was);
    char *new = broker_print(is, was);
    bool same = old != NULL && new != NULL &&strcmp(old, new) == 0;
    if (!same && old != NULL && new != NULL) {
        line_differs(old, new, line);
        (void)snprintf(text, text_bytes,
                       "broker: `%s` was `%s`: of broker only wake, spin, log, drain and operators "
                       "change by a reload: stop weird and start it",
                       line[1], line[0]);
    } else if (!same) {
        (void)snprintf(text, text_bytes, "the system gave no memory: free some and try again");
    }
    free(old);
    free(new);
    return same;
}

/* Which answers go to disk, and where they come from: the files that are open say so of all that is in them. */
static bool last_good_same(const struct weir_config_provider *was,
                           const struct weir_config_provider *is, char *text, size_t text_bytes)
{
    for (size_t i = 0; i < is->route_cnt; i++) {
        uint64_t old[2] = {0, 0};
        uint64_t new[2] = {0, 0};
        if (is->route[i].last_good_ns != 0) {
            last_good_identity(was, &was->route[i], old);
            last_good_identity(is, &is->route[i], new);
        }
        if (was->route[i].last_good_ns != is->route[i].last_good_ns ||
            memcmp(old, new, sizeof old) != 0) {
            (void)snprintf(text, text_bytes,
                           "route %s.%s: last_good, and where such a route leads, stays as it is "
                           "while its files are open: stop weird and start it to change that",
                           is->name, is->route[i].name);
            return false;
        }
    }
    return true;
}

/* What has a size or a place beside the tables. */
static bool board_same(const struct region *r, const struct weir_config *was,
                       const struct weir_config *is, char *text, size_t text_bytes)
{
    uint64_t answer_max_bytes = 0;
    uint64_t bytes = weir_config_cache_bytes(is, &answer_max_bytes);
    if (weir_round_up(bytes, WEIR_CACHE_GRANULE_BYTES) != r->cache_bytes ||
        answer_max_bytes != r->cache_answer_max_bytes) {
        (void)snprintf(text, text_bytes,
                       "the room for kept answers is made at the start, for the largest "
                       "response_max of a route with share: public: stop weird and start it to "
                       "change that");
        return false;
    }
    if (sign_in_cnt(is) != r->session_cnt) {
        (void)snprintf(text, text_bytes,
                       "there are %u keys with a session, there were %u: each has its place: stop "
                       "weird and start it to change that",
                       sign_in_cnt(is), r->session_cnt);
        return false;
    }
    for (size_t p = 0; p < is->provider_cnt; p++) {
        if (is->provider[p].group_cnt != was->provider[p].group_cnt) {
            (void)snprintf(text, text_bytes,
                           "provider %s has %zu groups of routes, it had %zu: each has its place: "
                           "stop weird and start it to change that",
                           is->provider[p].name, is->provider[p].group_cnt,
                           was->provider[p].group_cnt);
            return false;
        }
        if (!last_good_same(&was->provider[p], &is->provider[p], text, text_bytes)) {
            return false;
        }
    }
    return true;
}

/* The tables of `config`, judged against those in force. NULL with `text`. */
static struct weir_shm_tables *tables_make(const struct region *r, const struct weir_config *config,
                                           char *text, size_t text_bytes)
{
    struct tables_size size;
    tables_measure(config, &size);
    struct weir_shm_tables *block = aligned_alloc(WEIR_LINE_BYTES, size.bytes);
    if (block == NULL) {
        (void)snprintf(text, text_bytes, "the system gave no memory: free some and try again");
        return NULL;
    }
    memset(block, 0, size.bytes);
    bool ok = tables_build(config, &size, 1, block, text, text_bytes) == WEIR_OK &&
              tables_follow(reload_tables(r), block, text, text_bytes) == WEIR_OK;
    if (ok && size.bytes > r->tables_stride_bytes) {
        (void)snprintf(text, text_bytes,
                       "the tables take %u bytes, %llu were set aside: fewer shares or calendars, "
                       "or stop weird and start it",
                       size.bytes, (unsigned long long)r->tables_stride_bytes);
        ok = false;
    }
    if (!ok) {
        free(block);
        return NULL;
    }
    return block;
}

/* ---------------------------------------------------------------------------------------------- the steps */

static void forget(struct supervisor *s)
{
    free(s->reload.tables);
    s->reload.tables = NULL;
    s->reload.config = NULL;
}

/* The parser's child: what it must not have of us. Descriptors it closes itself. */
static void parser_forget(void *arg)
{
    struct supervisor *s = arg;
    if (s->region.shadow != NULL) {
        dry_run_close(s->region.shadow);
    }
    last_good_forget(&s->last_good);
    sign_in_files_forget(&s->sign_in);
    region_destroy(&s->region);
}

static void drop(struct supervisor *s, const char *why)
{
    const struct control_message go_on = {.kind = CONTROL_GO_ON};
    refused(why);
    s->reloading->done(s->reloading->arg, s->reload.config, false);
    forget(s);
    if (s->quiesce_told && s->worker_control >= 0) {
        (void)control_send(s->worker_control, &go_on, sizeof go_on, NULL, 0);
    }
    s->quiesce_told = false;
}

void reload_ask(struct supervisor *s)
{
    char text[WEIR_CONFIG_TEXT_BYTES] = "";
    if (s->stopping || s->reloading == NULL) {
        return;
    }
    if (handover_is_on(&s->handover)) {
        refused("somebody takes over from this broker: ask the one that comes");
        return;
    }
    if (reload_is_on(s)) {
        s->reload.again = true; /* the file may have changed since it was read */
        return;
    }
    log_info("reloading", "");
    struct weir_config *config =
        s->reloading->load(s->reloading->arg, parser_forget, s, text, sizeof text);
    if (config == NULL) {
        refused(text);
        return;
    }
    s->reload.config = config;
    s->reload.asked_ns = weir_clock_monotonic_ns();
    if (!broker_same(s->config, config, text, sizeof text) ||
        (s->reload.tables = tables_make(&s->region, config, text, sizeof text)) == NULL ||
        !board_same(&s->region, s->config, config, text, sizeof text)) {
        drop(s, text);
        return;
    }
    s->quiesce_told = false;
    if (s->worker_control < 0) {
        reload_end(s); /* no worker lives: there is nothing to wait for */
    } else {
        supervisor_tell(s);
    }
}

void reload_end(struct supervisor *s)
{
    uint64_t pause_ns = reload_switch(&s->region, s->reload.tables);
    uint64_t now_ns = weir_clock_monotonic_ns();
    s->reload.settled_at_ns = now_ns + reload_settled_ns(&s->region, now_ns);
    s->config = s->reload.config;
    last_good_follow(&s->region, s->config);
    sign_in_files_open(&s->sign_in, s->config, &s->journal, &s->region);
    s->admission.config = s->reload.config;
    s->reloading->done(s->reloading->arg, s->reload.config, true);
    log_open(s->config->broker.log, "supervisor");
    log_info("tables_changed", "s:i, s:I, s:I", "generation", (int)s->reload.tables->generation,
             "pause_us", (long long)(pause_ns / WEIR_NS_PER_US), "quiet_after_ms",
             (long long)((now_ns - s->reload.asked_ns) / WEIR_NS_PER_MS));
    forget(s);
    s->quiesce_told = false;
    supervisor_worker_start(s);
    s->reload.slow = false;
}

void reload_lost(struct supervisor *s)
{
    if (reload_is_on(s)) {
        drop(s, "weird stops, or gives way to a successor");
    }
    s->reload.again = false;
}

static void make_way_beat(struct supervisor *s, uint64_t now_ns)
{
    switch (quiet_judge(s, s->reload.asked_ns, now_ns)) {
    case QUIET_KILL:
        log_warn("worker_hangs", "s:s", "meaning", "it is killed, and the reload goes on");
        s->reload.slow = true;
        (void)kill(s->worker_pid, SIGKILL);
        break;
    case QUIET_GIVE_UP:
        drop(s, "the worker has a refresh token that no disk takes: look for sign_in_not_kept");
        break;
    case QUIET_WAIT:
        break;
    }
}

void reload_beat(struct supervisor *s, uint64_t now_ns)
{
    if (s->reload.settled_at_ns != 0 && now_ns >= s->reload.settled_at_ns) {
        s->reload.settled_at_ns = 0;
        log_info("reloaded", "s:s", "meaning",
                 "all that was permitted by the configuration before has arrived");
    }
    if (reload_is_on(s) && s->worker_pid > 0 && !s->reload.slow) {
        make_way_beat(s, now_ns);
    }
    if (s->reload.again && !reload_is_on(s)) {
        s->reload.again = false;
        reload_ask(s);
    }
}
