#include "sign_in_session.h"

#include "search.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "sim-token"

double session_report(struct rig *r, const char *what)
{
    char path[64];
    (void)snprintf(path, sizeof path, "session.%s", what);
    return rig_report(r, path);
}

struct weir_response session_call_for(struct weir *w, const char *route, unsigned limit_ms)
{
    bool order = strcmp(route, "p.order") == 0;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .body = order ? "a=1" : NULL,
                                           .body_bytes = order ? 3 : 0};
    struct weir_response a = {0};
    int rc = weir_call(w, &spec, weir_now_ns(w) + limit_ms * WEIR_NS_PER_MS, &a);
    if (rc != 0) {
        a.result = WEIR_RESULT_UNSET;
        a.error = rc;
    }
    (void)weir_release(w, a.ticket);
    return a;
}

struct weir_response session_call(struct weir *w, const char *route)
{
    return session_call_for(w, route, 3000);
}

void session_good(struct rig *r, struct weir *w, const char *route)
{
    struct weir_response a = session_call(w, route);
    CHECK(r, a.result == WEIR_RESULT_DONE && a.status == 200, "%s: %s, status %u, reason %u", route,
          weir_result_text(a.result), a.status, a.denial.reason);
}

/* ---------------------------------------------------------------------------------------------- where secrets are */

struct searched {
    struct rig *rig;
    pid_t pid;
    bool all;       /* also what nobody shares */
    unsigned files; /* that keep a token */
};

static void mapping_check(const struct search_mapping *m, void *arg)
{
    struct searched *s = arg;
    if ((m->shared || s->all) && strstr(m->name, "/token.") == NULL) {
        CHECK(s->rig, !m->holds, "%d: %s", (int)s->pid, m->name);
    }
}

static void memory_check(struct rig *r, pid_t pid, bool all)
{
    struct searched s = {.rig = r, .pid = pid, .all = all};
    search_memory(pid, SECRET, mapping_check, &s);
}

static void descriptor_check(const char *path, const char *target, void *arg)
{
    struct searched *s = arg;
    struct stat st;
    if (strstr(target, "/token.") == NULL) {
        CHECK(s->rig, !search_file(path, SECRET), "%s", target);
    } else if (stat(path, &st) == 0) {
        s->files++;
        CHECK_INT(s->rig, st.st_mode & 0777, 0600);
    }
}

static void descriptors_check(struct rig *r, pid_t pid)
{
    struct searched s = {.rig = r, .pid = pid};
    search_descriptors(pid, descriptor_check, &s);
    CHECK_INT(r, s.files, 1);
}

/* Who cannot be dumped can be read by root only. */
static bool can_look(void)
{
    return geteuid() == 0 && !rig_sanitized();
}

void session_search(struct rig *r)
{
    CHECK(r, !search_file(r->log, SECRET), "the log");
    if (can_look()) {
        memory_check(r, rig_process(r, "weird-worker"), false);
    }
}

void session_search_all(struct rig *r)
{
    session_search(r);
    if (can_look()) {
        descriptors_check(r, r->weird);
        descriptors_check(r, rig_process(r, "weird-worker"));
        memory_check(r, r->weird, false);
        memory_check(r, rig_process_next(r, "weird-resolver", 0, 5000), true);
    }
}
