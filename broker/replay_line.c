#include "broker/replay_line.h"

#include "shm/weir_base.h"
#include "shm/weir_error.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* Instants that a log may bear: an integer below is no count of ns, one above is beyond any exchange. */
#define UTC_MIN_NS (UINT64_C(100000000) * WEIR_NS_PER_S)  /* 1973 */
#define UTC_MAX_NS (UINT64_C(7258118400) * WEIR_NS_PER_S) /* 2200 */

struct reason {
    char *text;
    size_t bytes;
};

static enum replay_verdict WEIR_PRINTF(3, 4)
    refuse(const struct reason *why, enum replay_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why->text, why->bytes, format, args);
    va_end(args);
    for (char *c = why->text; *c != '\0'; c++) {
        *c = *c >= 0x20 && *c < 0x7f ? *c : '?'; /* it goes to a terminal */
    }
    return verdict;
}

/* ---------------------------------------------------------------------------------------------- time */

/* Exactly `digits` digits; -1 for anything else. Moves `*at` behind them. */
static int number(const char **at, int digits)
{
    int v = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)**at)) {
            return -1;
        }
        v = v * 10 + (*(*at)++ - '0');
    }
    return v;
}

/* "+hh:mm", "+hhmm" or "Z" as seconds; false for anything else. */
static bool zone(const char **at, int *offset_s)
{
    *offset_s = 0;
    if (**at == 'Z' || **at == 'z') {
        (*at)++;
        return true;
    }
    int sign = **at == '-' ? -1 : 1;
    if (**at != '+' && **at != '-') {
        return false;
    }
    (*at)++;
    int hours = number(at, 2);
    *at += **at == ':' ? 1 : 0;
    int minutes = hours >= 0 ? number(at, 2) : -1;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

/* Seconds since 1970 of parts that are in range; false otherwise. February 30 becomes March 2, as timegm has it: refused. */
static bool seconds_of(struct tm *parts, int offset_s, uint64_t *utc_ns)
{
    int day = parts->tm_mday;
    if (parts->tm_year < 73 || parts->tm_year >= 300 || parts->tm_mon < 0 || parts->tm_mon > 11 ||
        day < 1 || parts->tm_hour < 0 || parts->tm_hour > 23 || parts->tm_min < 0 ||
        parts->tm_min > 59 || parts->tm_sec < 0 || parts->tm_sec > 60) {
        return false;
    }
    time_t s = timegm(parts);
    bool leap = parts->tm_sec == 0; /* 60 has become the next minute's 0 */
    if ((parts->tm_mday != day && !leap) || s <= 0) {
        return false;
    }
    *utc_ns = (uint64_t)((int64_t)s - offset_s) * WEIR_NS_PER_S;
    return *utc_ns >= UTC_MIN_NS && *utc_ns < UTC_MAX_NS;
}

/* RFC 3339; digits of the fraction beyond ns are dropped. */
static bool rfc3339(const char *at, uint64_t *utc_ns)
{
    struct tm parts = {0};
    int offset_s;
    uint64_t fraction_ns = 0;
    uint64_t digit_ns = WEIR_NS_PER_S / 10;
    parts.tm_year = number(&at, 4) - 1900;
    bool ok = *at++ == '-';
    parts.tm_mon = ok ? number(&at, 2) - 1 : -1;
    ok = ok && *at++ == '-';
    parts.tm_mday = ok ? number(&at, 2) : -1;
    ok = ok && (*at == 'T' || *at == 't' || *at == ' ');
    at += ok;
    parts.tm_hour = ok ? number(&at, 2) : -1;
    ok = ok && *at++ == ':';
    parts.tm_min = ok ? number(&at, 2) : -1;
    ok = ok && *at++ == ':';
    parts.tm_sec = ok ? number(&at, 2) : -1;
    if (ok && *at == '.') {
        at++;
        ok = isdigit((unsigned char)*at) != 0;
        for (; isdigit((unsigned char)*at); at++, digit_ns /= 10) {
            fraction_ns += (uint64_t)(*at - '0') * digit_ns;
        }
    }
    if (!ok || !zone(&at, &offset_s) || *at != '\0' || !seconds_of(&parts, offset_s, utc_ns)) {
        return false;
    }
    *utc_ns += fraction_ns;
    return true;
}

/* "22/Nov/2026:06:41:35 +0000" */
static bool access_time(const char *at, uint64_t *utc_ns)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm parts = {.tm_mon = -1};
    int offset_s;
    parts.tm_mday = number(&at, 2);
    bool ok = *at++ == '/';
    for (int m = 0; ok && m < 12; m++) {
        if (strncmp(at, months + 3 * m, 3) == 0) {
            parts.tm_mon = m;
        }
    }
    ok = ok && parts.tm_mon >= 0 && at[3] == '/';
    at += ok ? 4 : 0;
    parts.tm_year = ok ? number(&at, 4) - 1900 : -1;
    ok = ok && *at++ == ':';
    parts.tm_hour = ok ? number(&at, 2) : -1;
    ok = ok && *at++ == ':';
    parts.tm_min = ok ? number(&at, 2) : -1;
    ok = ok && *at++ == ':';
    parts.tm_sec = ok ? number(&at, 2) : -1;
    ok = ok && *at++ == ' ';
    return ok && zone(&at, &offset_s) && *at == '\0' && seconds_of(&parts, offset_s, utc_ns);
}

/* ---------------------------------------------------------------------------------------------- JSON lines */

static enum replay_verdict at_read(const json_t *at, struct replay_call *call,
                                   const struct reason *why)
{
    if (json_is_string(at)) {
        return rfc3339(json_string_value(at), &call->utc_ns)
                   ? REPLAY_CALL
                   : refuse(why, REPLAY_UNREADABLE,
                            "at = \"%.60s\": is no time of RFC 3339 (2026-11-22T06:41:35.5Z)",
                            json_string_value(at));
    }
    if (!json_is_integer(at)) {
        return refuse(why, REPLAY_UNREADABLE, "at: missing, or neither a text nor an integer");
    }
    json_int_t ns = json_integer_value(at);
    if (ns < (json_int_t)UTC_MIN_NS || ns >= (json_int_t)UTC_MAX_NS) {
        return refuse(why, REPLAY_UNREADABLE, "at = %lld: is no count of ns since 1970",
                      (long long)ns);
    }
    call->utc_ns = (uint64_t)ns;
    return REPLAY_CALL;
}

static enum replay_verdict priority_read(const json_t *priority, struct replay_call *call,
                                         const struct reason *why)
{
    if (priority == NULL) {
        return REPLAY_CALL;
    }
    const char *name = json_string_value(priority);
    for (uint32_t p = 0; p < WEIR_PRIORITY_CNT && name != NULL; p++) {
        if (strcmp(name, weir_priority_name(p)) == 0) {
            call->priority = p;
            return REPLAY_CALL;
        }
    }
    return refuse(why, REPLAY_UNREADABLE,
                  "priority = \"%.40s\": is one of critical, high, medium, low, background",
                  name != NULL ? name : "?");
}

/* The place of limit `name` in the route's costs; the number of costs where it is not there. */
static uint32_t cost_of(const struct weir_tables *t, const struct weir_shm_route_row *route,
                        const char *name)
{
    uint32_t i = 0;
    while (i < route->limit_cnt && strcmp(t->limit[route->limit[i]].name, name) != 0) {
        i++;
    }
    return i;
}

static enum replay_verdict units_read(const struct replay_names *names, json_t *units,
                                      struct replay_call *call, const struct reason *why)
{
    const struct weir_shm_route_row *route = &names->tables->route[call->route];
    const char *limit;
    json_t *n;
    if (units == NULL) {
        return REPLAY_CALL;
    }
    if (!json_is_object(units)) {
        return refuse(why, REPLAY_UNREADABLE, "units: is {limit: number}");
    }
    call->has_units = true;
    call->units.cnt = route->limit_cnt;
    memcpy(call->units.units, route->cost, sizeof call->units.units);
    json_object_foreach(units, limit, n)
    {
        uint32_t i = cost_of(names->tables, route, limit);
        if (i == route->limit_cnt) {
            return refuse(why, REPLAY_UNREADABLE, "units.%.40s: route %s takes nothing from it",
                          limit, route->name);
        }
        if (!json_is_integer(n) || json_integer_value(n) < 0 || json_integer_value(n) > INT32_MAX) {
            return refuse(why, REPLAY_UNREADABLE, "units.%.40s: must be 0..%d", limit, INT32_MAX);
        }
        call->units.units[i] = (uint32_t)json_integer_value(n);
    }
    return REPLAY_CALL;
}

static enum replay_verdict object_read(const struct replay_names *names, json_t *root,
                                       struct replay_call *call, const struct reason *why)
{
    const char *name = json_string_value(json_object_get(root, "route"));
    const char *scope = json_string_value(json_object_get(root, "scope"));
    const struct weir_tables *t = names->tables;
    if (name == NULL) {
        return refuse(why, REPLAY_UNREADABLE, "route: missing, or no text");
    }
    enum replay_verdict v = at_read(json_object_get(root, "at"), call, why);
    if (v != REPLAY_CALL) {
        return v;
    }
    if (weir_tables_route_find(t, name, &call->route) != WEIR_OK || call->route >= t->route_cnt) {
        return refuse(why, REPLAY_UNKNOWN_ROUTE, "route = \"%.63s\": the configuration has none",
                      name);
    }
    const struct weir_shm_route_row *route = &t->route[call->route];
    call->priority = route->priority;
    if (scope != NULL && weir_tables_scope_find(t, t->provider[route->provider].name, scope,
                                                &call->scope) != WEIR_OK) {
        return refuse(why, REPLAY_UNREADABLE, "scope = \"%.60s\": the provider has no such value",
                      scope);
    }
    json_int_t status = json_integer_value(json_object_get(root, "status"));
    call->status = status >= 100 && status <= 599 ? (uint32_t)status : 0;
    v = priority_read(json_object_get(root, "priority"), call, why);
    return v != REPLAY_CALL ? v : units_read(names, json_object_get(root, "units"), call, why);
}

/* A record of weir audit that is no permit. What was given back or charged besides is not looked at: as if each call had cost what its permit did. */
static bool other_record(const json_t *root, struct replay_call *call)
{
    const char *audit = json_string_value(json_object_get(root, "audit"));
    if (audit == NULL || strcmp(audit, "granted") == 0) {
        return false;
    }
    json_int_t cnt = json_integer_value(json_object_get(root, "count"));
    bool gap = strcmp(audit, "lost") == 0 || strcmp(audit, "dropped") == 0 ||
               strcmp(audit, "damaged") == 0;
    call->missing = gap && cnt > 0 ? (uint64_t)cnt : 0;
    return true;
}

static enum replay_verdict json_read(const struct replay_names *names, const char *line,
                                     size_t bytes, struct replay_call *call,
                                     const struct reason *why)
{
    json_error_t error;
    json_t *root = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return refuse(why, REPLAY_UNREADABLE, "no JSON object: %.80s", error.text);
    }
    enum replay_verdict v =
        other_record(root, call) ? REPLAY_NO_CALL : object_read(names, root, call, why);
    json_decref(root);
    return v;
}

/* ---------------------------------------------------------------------------------------------- access logs */

static enum weir_method method_of(const char *name)
{
    for (uint32_t m = WEIR_METHOD_GET; m <= WEIR_METHOD_PATCH; m++) {
        if (strcmp(name, weir_method_name(m)) == 0) {
            return (enum weir_method)m;
        }
    }
    return WEIR_METHOD_UNSET;
}

/* How many bytes of `path` the route's own path fits, 0 for not at all; a slash and a star at its end fit any rest. */
static size_t path_fits(const char *own, const char *path)
{
    size_t n = strlen(own);
    if (n >= 2 && strcmp(own + n - 2, "/*") == 0) {
        return strncmp(own, path, n - 1) == 0 ? n - 1 : 0;
    }
    return strcmp(own, path) == 0 ? n + 1
                                  : 0; /* the whole path is one better than a prefix of it */
}

/* The same, with or without the base path of one of the provider's endpoints in front. */
static size_t provider_fits(const struct weir_config_provider *p, const char *own, const char *path)
{
    size_t best = path_fits(own, path);
    for (size_t e = 0; e < p->endpoint_cnt; e++) {
        const char *base = p->endpoint[e].url.base_path;
        size_t n = strlen(base);
        if (n > 0 && strncmp(base, path, n) == 0) {
            size_t fit = path_fits(own, path + n);
            best = fit > 0 && fit + n > best ? fit + n : best;
        }
    }
    return best;
}

static bool route_match(const struct replay_names *names, enum weir_method method, const char *path,
                        struct replay_call *call)
{
    size_t best = 0;
    for (uint32_t i = 0; i < names->config->provider_cnt; i++) {
        const struct weir_config_provider *p = &names->config->provider[i];
        if (names->provider != NULL && strcmp(names->provider, p->name) != 0) {
            continue;
        }
        for (uint32_t r = 0; r < p->route_cnt; r++) {
            size_t fit = p->route[r].method == method && p->route[r].path[0] != '\0'
                             ? provider_fits(p, p->route[r].path, path)
                             : 0;
            call->several = fit > best ? false : call->several || (fit > 0 && fit == best);
            if (fit > best) {
                best = fit;
                call->route = names->tables->provider[i].route_first + r;
                call->priority = p->route[r].priority;
            }
        }
    }
    return best > 0;
}

/* `from` points behind "METHOD ": cut the target down to its path. */
static char *path_of(char *target)
{
    char *scheme = strstr(target, "://"); /* as forward proxies log it */
    target[strcspn(target, " ?#")] = '\0';
    if (scheme != NULL && scheme < target + strlen(target)) {
        char *slash = strchr(scheme + 3, '/');
        return slash != NULL ? slash : scheme + strlen(scheme);
    }
    return target;
}

static enum replay_verdict access_read(const struct replay_names *names, char *line,
                                       struct replay_call *call, const struct reason *why)
{
    char *open = strchr(line, '[');
    char *close = open != NULL ? strchr(open, ']') : NULL;
    char *quote = close != NULL ? strchr(close, '"') : NULL;
    char *end = quote != NULL ? strchr(quote + 1, '"') : NULL;
    if (end == NULL) {
        return refuse(why, REPLAY_UNREADABLE,
                      "neither a JSON object nor an access log line ([time] \"METHOD path\")");
    }
    *close = '\0';
    *end = '\0';
    const char *status = end + 1 + strspn(end + 1, " ");
    int n = number(&status, 3);
    call->status = n >= 100 && n <= 599 && (*status == ' ' || *status == '\0') ? (uint32_t)n : 0;
    if (!access_time(open + 1, &call->utc_ns)) {
        return refuse(why, REPLAY_UNREADABLE,
                      "time = [%.40s]: is not of the form 22/Nov/2026:06:41:35 +0000", open + 1);
    }
    char *target = strchr(quote, ' ');
    if (target == NULL) {
        return refuse(why, REPLAY_UNREADABLE, "request = \"%.40s\": is no METHOD and path",
                      quote + 1);
    }
    *target++ = '\0';
    const char *path = path_of(target);
    call->whole_second = true;
    return route_match(names, method_of(quote + 1), path, call)
               ? REPLAY_CALL
               : refuse(why, REPLAY_UNKNOWN_ROUTE, "request = %.8s %.80s: no route has this path",
                        quote + 1, path);
}

enum replay_verdict replay_line_read(const struct replay_names *names, char *line, size_t bytes,
                                     struct replay_call *call, char *text, size_t text_bytes)
{
    const struct reason why = {.text = text, .bytes = text_bytes};
    *call = (struct replay_call){0};
    if (memchr(line, '\0', bytes) != NULL) {
        return refuse(&why, REPLAY_UNREADABLE, "holds a NUL byte");
    }
    size_t blank = strspn(line, " \t");
    return line[blank] == '{' ? json_read(names, line, bytes, call, &why)
                              : access_read(names, line, call, &why);
}
