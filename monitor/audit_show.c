/* audit_show.c: records of the audit, from a copy of the board to a line of text or JSON. A record is hostile like all of the board. */
#include "audit.h"

#include "command.h"
#include "print.h"
#include "weir_error.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

void audit_view_get(const struct image *image, struct audit_view *view)
{
    *view = (struct audit_view){0};
    view->cnt = image_cnt(image, WEIR_SECTION_AUDIT_RECORD, sizeof(struct weir_shm_audit_record));
    view->kept =
        view->cnt > 0 && image_get(image, WEIR_SECTION_AUDIT, 0, &view->head, sizeof view->head);
    uint64_t begun = weir_max_u64(view->head.begun, view->head.written);
    view->last = view->kept ? weir_min_u64(view->head.written, UINT64_MAX - 1) : 0;
    view->first = begun > view->cnt ? begun - view->cnt + 1 : 1;
    if (view->first > view->last) {
        view->first = view->last + 1;
    }
}

bool audit_record_get(const struct image *image, const struct audit_view *view, uint64_t number,
                      struct weir_shm_audit_record *out)
{
    return view->kept && number >= view->first && number <= view->last &&
           image_get(image, WEIR_SECTION_AUDIT_RECORD, (number - 1) % view->cnt, out,
                     sizeof *out) &&
           out->number == number;
}

uint64_t audit_utc_ns(const struct audit_view *view, uint64_t at_ns)
{
    return at_ns + (uint64_t)view->head.utc_offset_ns;
}

/* ---------------------------------------------------------------------------------------------- names */

#define NAME_BYTES (2 * TEXT_BYTES)

/* The route that a record's units belong to; NULL where its tables are not those on the board, or it names none. */
static const struct weir_shm_route_row *route_of(const struct image *image,
                                                 const struct weir_shm_audit_record *r)
{
    const struct weir_tables *t = &image->tables;
    bool same = r->generation == (uint16_t)(t->word >> 32);
    return same && r->route < t->route_cnt ? &t->route[r->route] : NULL;
}

static const char *limit_name(char text[NAME_BYTES], const struct image *image, uint32_t limit)
{
    char provider[TEXT_BYTES];
    char name[TEXT_BYTES];
    const struct weir_tables *t = &image->tables;
    if (limit >= t->limit_cnt) {
        (void)snprintf(text, NAME_BYTES, "#%u", limit);
        return text;
    }
    const struct weir_shm_limit_row *row = &t->limit[limit];
    (void)snprintf(text, NAME_BYTES, "%s.%s", PRINT_TEXT(provider, t->provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
    return text;
}

static const char *route_name(char text[NAME_BYTES], const struct image *image,
                              const struct weir_shm_audit_record *r)
{
    char provider[TEXT_BYTES];
    char name[TEXT_BYTES];
    const struct weir_shm_route_row *row = route_of(image, r);
    if (row == NULL) {
        (void)snprintf(text, NAME_BYTES, "#%u", r->route);
        return text;
    }
    (void)snprintf(text, NAME_BYTES, "%s.%s",
                   PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
    return text;
}

/* "account=hedge,instrument=BTC"; "" for the first value of each kind. Returns `text`. */
static const char *scope_name(char text[NAME_BYTES], const struct image *image,
                              const struct weir_shm_route_row *route, uint64_t scope)
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        uint32_t value = (uint32_t)(scope >> 16 * k) & 0xffffU;
        char name[TEXT_BYTES];
        (void)snprintf(name, sizeof name, "#%u", value);
        for (uint32_t i = 0; i < image->tables.scope_cnt; i++) {
            const struct weir_shm_scope_row *s = &image->tables.scope[i];
            if (s->provider == route->provider && s->kind == k && s->value == value) {
                (void)PRINT_TEXT(name, s->name);
            }
        }
        if (value != 0 && n < NAME_BYTES) {
            n += (size_t)snprintf(text + n, NAME_BYTES - n, "%s%s=%s", n > 0 ? "," : "",
                                  weir_scope_kind_name(k), name);
        }
    }
    return text;
}

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"?",       "granted", "given_back", "settled", "ended",
                                        "refused", "dropped", "damaged",    "worker"};
    return names[kind < WEIR_ARRAY_CNT(names) ? kind : 0];
}

static const char *reporter_name(uint32_t reporter)
{
    return reporter == WEIR_AUDIT_BY_TRADER ? "trader" : "broker";
}

static bool has_units(const struct weir_shm_audit_record *r)
{
    return r->kind >= WEIR_AUDIT_GRANTED && r->kind <= WEIR_AUDIT_SETTLED;
}

/* Does it say that others are missing, or that a worker began? */
static bool is_notice(const struct weir_shm_audit_record *r)
{
    return r->kind == WEIR_AUDIT_DROPPED || r->kind == WEIR_AUDIT_DAMAGED ||
           r->kind == WEIR_AUDIT_WORKER;
}

/* ---------------------------------------------------------------------------------------------- filter */

static bool limit_is(const struct image *image, uint32_t limit, const char *name)
{
    char full[NAME_BYTES];
    const char *dot = strchr(limit_name(full, image, limit), '.');
    return strcmp(full, name) == 0 || (dot != NULL && strcmp(dot + 1, name) == 0);
}

static bool limit_matches(const struct image *image, const char *limit,
                          const struct weir_shm_audit_record *r)
{
    const struct weir_shm_route_row *route = route_of(image, r);
    if (r->kind == WEIR_AUDIT_REFUSED) {
        return limit_is(image, r->detail, limit);
    }
    for (uint32_t i = 0; route != NULL && i < route->limit_cnt; i++) {
        if (limit_is(image, route->limit[i], limit)) {
            return !has_units(r) || r->units[i] != 0;
        }
    }
    return false;
}

bool audit_matches(const struct image *image, const struct audit_filter *filter,
                   const struct audit_view *view, const struct weir_shm_audit_record *r)
{
    char name[TEXT_BYTES];
    if (audit_utc_ns(view, r->at_ns) < filter->since_utc_ns) {
        return false;
    }
    bool broker = r->kind == WEIR_AUDIT_WORKER;
    if (filter->client != NULL && !broker &&
        strcmp(PRINT_TEXT(name, r->name), filter->client) != 0) {
        return false;
    }
    return filter->limit == NULL || is_notice(r) || limit_matches(image, filter->limit, r);
}

/* ---------------------------------------------------------------------------------------------- text */

static void utc_print(FILE *out, uint64_t utc_ns)
{
    time_t s = (time_t)(utc_ns / WEIR_NS_PER_S);
    struct tm parts;
    char text[40];
    bool ok = gmtime_r(&s, &parts) != NULL &&
              strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) > 0;
    (void)fprintf(out, "%s.%09uZ", ok ? text : "?", (unsigned)(utc_ns % WEIR_NS_PER_S));
}

static void units_print(FILE *out, const struct image *image, const struct weir_shm_audit_record *r)
{
    const struct weir_shm_route_row *route = route_of(image, r);
    uint32_t cnt = (uint32_t)weir_min_u64(r->unit_cnt, WEIR_PERMIT_LIMITS_MAX);
    bool granted = r->kind == WEIR_AUDIT_GRANTED;
    for (uint32_t i = 0; i < cnt; i++) {
        char name[TEXT_BYTES];
        (void)snprintf(name, sizeof name, "#%u", i);
        if (route != NULL && i < route->limit_cnt) {
            (void)PRINT_TEXT(name, image->tables.limit[route->limit[i]].name);
        }
        if (granted || r->units[i] != 0) {
            (void)fprintf(out, granted ? "  %s %" PRId32 : "  %s %+" PRId32, name, r->units[i]);
        }
    }
}

static void end_print(FILE *out, const struct weir_shm_audit_record *r)
{
    uint32_t status = r->detail >> 16;
    (void)fprintf(out, "  %s", weir_result_name(r->detail & 0xffffU));
    if (status != 0) {
        (void)fprintf(out, " %u", status);
    }
}

void audit_text_title(FILE *out)
{
    (void)fprintf(out, "%-30s  %-16s %5s %4s %7s %6s  %-6s  %-10s  %-10s  WHAT\n", "AT", "CLIENT",
                  "INDEX", "LIFE", "PID", "UID", "SAYS", "EVENT", "PRIORITY");
}

void audit_text(FILE *out, const struct image *image, const struct audit_view *view,
                const struct weir_shm_audit_record *r)
{
    char text[NAME_BYTES];
    char name[TEXT_BYTES];
    char index[8] = "-";
    if (r->client != WEIR_AUDIT_NOBODY) {
        (void)snprintf(index, sizeof index, "%u", r->client);
    }
    utc_print(out, audit_utc_ns(view, r->at_ns));
    (void)fprintf(out, "  %-16s %5s %4u %7u %6u  %-6s  %-10s  %-10s", PRINT_TEXT(name, r->name),
                  index, r->life, r->pid, r->uid, reporter_name(r->reporter), kind_name(r->kind),
                  is_notice(r) ? "-" : weir_priority_name(r->priority));
    if (is_notice(r)) {
        (void)fprintf(out, r->kind == WEIR_AUDIT_WORKER ? "  incarnation %u" : "  %u missing",
                      r->count);
    } else if (r->kind == WEIR_AUDIT_REFUSED) {
        (void)fprintf(out, "  %s  %u times", limit_name(text, image, r->detail), r->count);
    } else {
        const struct weir_shm_route_row *route = route_of(image, r);
        (void)fprintf(out, "  %s", route_name(text, image, r));
        if (route != NULL && *scope_name(text, image, route, r->scope) != '\0') {
            (void)fprintf(out, "  %s", text);
        }
        if (has_units(r)) {
            units_print(out, image, r);
        } else {
            end_print(out, r);
        }
    }
    (void)fputc('\n', out);
}

void audit_lost_text(FILE *out, uint64_t cnt)
{
    (void)fprintf(out, "-- %" PRIu64 " records were overwritten before they were read here\n", cnt);
}

/* ---------------------------------------------------------------------------------------------- JSON */

/* `charged` is what the record says; `units`, which weir replay reads, stands only where that is not what the route costs anyway. */
static void units_json(json_t *o, const struct image *image, const struct weir_shm_audit_record *r)
{
    const struct weir_shm_route_row *route = route_of(image, r);
    uint32_t cnt = (uint32_t)weir_min_u64(r->unit_cnt, WEIR_PERMIT_LIMITS_MAX);
    json_t *charged = json_object();
    bool as_configured = true;
    for (uint32_t i = 0; i < cnt; i++) {
        char name[TEXT_BYTES];
        (void)snprintf(name, sizeof name, "#%u", i);
        if (route != NULL && i < route->limit_cnt) {
            (void)PRINT_TEXT(name, image->tables.limit[route->limit[i]].name);
            as_configured &= r->units[i] == (int64_t)route->cost[i];
        }
        (void)json_object_set_new(charged, name, json_integer(r->units[i]));
    }
    if (r->kind == WEIR_AUDIT_GRANTED && route != NULL && !as_configured) {
        (void)json_object_set(o, "units", charged);
    }
    (void)json_object_set_new(o, "charged", charged);
    if (r->kind != WEIR_AUDIT_GRANTED) {
        (void)json_object_set_new(o, "granted_weir_ns", json_u64(r->granted_at_ns));
    }
}

static void call_json(json_t *o, const struct image *image, const struct weir_shm_audit_record *r)
{
    char text[NAME_BYTES];
    const struct weir_shm_route_row *route = route_of(image, r);
    (void)json_object_set_new(o, "route", json_string(route_name(text, image, r)));
    if (route != NULL && *scope_name(text, image, route, r->scope) != '\0') {
        (void)json_object_set_new(o, "scope", json_string(text));
    }
    if (has_units(r)) {
        units_json(o, image, r);
        return;
    }
    (void)json_object_set_new(o, "result", json_string(weir_result_name(r->detail & 0xffffU)));
    if (r->detail >> 16 != 0) {
        (void)json_object_set_new(o, "status", json_integer(r->detail >> 16));
    }
    if (r->granted_at_ns != 0) {
        (void)json_object_set_new(o, "granted_weir_ns", json_u64(r->granted_at_ns));
    }
}

json_t *audit_json(const struct image *image, const struct audit_view *view,
                   const struct weir_shm_audit_record *r)
{
    char text[NAME_BYTES];
    json_t *o = json_object();
    (void)json_object_set_new(o, "at", json_u64(audit_utc_ns(view, r->at_ns)));
    (void)json_object_set_new(o, "audit", json_string(kind_name(r->kind)));
    (void)json_object_set_new(o, "number", json_u64(r->number));
    (void)json_object_set_new(o, "weir_ns", json_u64(r->at_ns));
    (void)json_object_set_new(o, "client", JSON_FIELD(r->name));
    if (r->client != WEIR_AUDIT_NOBODY) {
        (void)json_object_set_new(o, "index", json_integer(r->client));
        (void)json_object_set_new(o, "life", json_integer(r->life));
        (void)json_object_set_new(o, "thread", json_integer(r->thread));
    }
    (void)json_object_set_new(o, "pid", json_integer(r->pid));
    (void)json_object_set_new(o, "uid", json_integer(r->uid));
    (void)json_object_set_new(o, "reported", json_string(reporter_name(r->reporter)));
    if (is_notice(r)) {
        (void)json_object_set_new(o, "count", json_integer(r->count));
        return o;
    }
    (void)json_object_set_new(o, "priority", json_string(weir_priority_name(r->priority)));
    if (r->kind == WEIR_AUDIT_REFUSED) {
        (void)json_object_set_new(o, "limit", json_string(limit_name(text, image, r->detail)));
        (void)json_object_set_new(o, "count", json_integer(r->count));
    } else {
        call_json(o, image, r);
    }
    return o;
}

json_t *audit_lost_json(const struct audit_view *view, uint64_t now_ns, uint64_t cnt)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "at", json_u64(audit_utc_ns(view, now_ns)));
    (void)json_object_set_new(o, "audit", json_string("lost"));
    (void)json_object_set_new(o, "count", json_u64(cnt));
    return o;
}
