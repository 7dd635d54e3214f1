#include "broker/reply_value.h"

#include "shm/weir_base.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NUMBER_MAX_BYTES 32U

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct reply_text trim(struct reply_text t)
{
    while (t.bytes > 0 && is_blank(t.at[0])) {
        t.at++;
        t.bytes--;
    }
    while (t.bytes > 0 && (is_blank(t.at[t.bytes - 1]) || t.at[t.bytes - 1] == '\r')) {
        t.bytes--;
    }
    return t;
}

enum reply_verdict reply_header(const char *head, size_t bytes, const char *name,
                                struct reply_text *value)
{
    size_t name_bytes = strlen(name);
    const char *at = head;
    const char *end = head + bytes;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((stop != NULL ? stop : end) - at);
        if (line > name_bytes && at[name_bytes] == ':' && strncasecmp(at, name, name_bytes) == 0) {
            *value = trim((struct reply_text){at + name_bytes + 1, line - name_bytes - 1});
            return REPLY_VALUE;
        }
        at += line + 1;
    }
    return REPLY_ABSENT;
}

enum reply_verdict reply_number(struct reply_text text, struct reply_number *number)
{
    text = trim(text);
    if (text.bytes == 0 || text.bytes > NUMBER_MAX_BYTES) {
        return REPLY_GARBAGE;
    }
    bool negative = text.at[0] == '-';
    uint64_t value = 0;
    uint32_t decimals = 0;
    bool point = false;
    bool any = false;
    for (size_t i = negative; i < text.bytes; i++) {
        if (text.at[i] == '.' && !point && any) {
            point = true;
            continue;
        }
        if (!is_digit(text.at[i]) || __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.at[i] - '0'), &value)) {
            return REPLY_GARBAGE;
        }
        any = true;
        decimals += point;
    }
    if (!any || (point && decimals == 0)) {
        return REPLY_GARBAGE;
    }
    if (negative) {
        return REPLY_NEGATIVE;
    }
    *number = (struct reply_number){value, decimals};
    return REPLY_VALUE;
}

static uint64_t power_of_ten(uint32_t n)
{
    uint64_t p = 1;
    for (uint32_t i = 0; i < n; i++) {
        p *= 10; /* n is at most 19: one more digit would not have fitted the value */
    }
    return p;
}

enum reply_verdict reply_units(struct reply_text text, uint32_t *units, bool round_up)
{
    struct reply_number n;
    enum reply_verdict v = reply_number(text, &n);
    if (v != REPLY_VALUE) {
        return v;
    }
    if (n.decimals > 19) {
        return REPLY_GARBAGE; /* "0.00...": zeros that a 64-bit divisor cannot follow */
    }
    uint64_t one = power_of_ten(n.decimals);
    uint64_t whole = n.value / one + (round_up && n.value % one != 0);
    if (whole > UINT32_MAX) {
        return REPLY_GARBAGE;
    }
    *units = (uint32_t)whole;
    return REPLY_VALUE;
}

/* Seconds, milliseconds, microseconds or nanoseconds? Their magnitudes do not overlap before the year 5138. */
static enum reply_unit unit_of(uint64_t stamp)
{
    if (stamp < UINT64_C(100000000000)) {
        return REPLY_UNIT_S;
    }
    if (stamp < UINT64_C(100000000000000)) {
        return REPLY_UNIT_MS;
    }
    return stamp < UINT64_C(100000000000000000) ? REPLY_UNIT_US : REPLY_UNIT_NS;
}

static uint64_t unit_ns(enum reply_unit unit)
{
    static const uint64_t ns[] = {WEIR_NS_PER_S, WEIR_NS_PER_S, WEIR_NS_PER_MS, WEIR_NS_PER_US, 1};
    return ns[unit];
}

/* `n` units of `one_ns`, cut to whole ns. */
static enum reply_verdict scale(struct reply_number n, uint64_t one_ns, struct reply_instant *out)
{
    if (n.decimals > 19) {
        return REPLY_GARBAGE;
    }
    uint64_t parts = power_of_ten(n.decimals);
    unsigned __int128 ns = (unsigned __int128)n.value * one_ns / parts;
    if (ns >= (unsigned __int128)1 << 62) {
        return REPLY_GARBAGE;
    }
    out->ns = (uint64_t)ns;
    out->granularity_ns = one_ns / parts + 1; /* digits beyond ns are cut: one ns covers them */
    return REPLY_VALUE;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar; `year` from 1970 on. */
static uint64_t days_of(unsigned year, unsigned month, unsigned day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t y = year - 1970;
    uint64_t leaps = (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return y * 365 + leaps + before[month - 1] + (leap && month > 2) + day - 1;
}

static bool digits(const char *at, unsigned cnt, unsigned low, unsigned high, unsigned *out)
{
    *out = 0;
    for (unsigned i = 0; i < cnt; i++) {
        if (!is_digit(at[i])) {
            return false;
        }
        *out = *out * 10 + (unsigned)(at[i] - '0');
    }
    return *out >= low && *out <= high;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT": 29 bytes, always. The day's name is not compared with the date. */
static enum reply_verdict date_read(struct reply_text t, struct reply_instant *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    unsigned day, year, hour, minute, second, month = 0;
    if (t.bytes != 29 || memcmp(t.at + 3, ", ", 2) != 0 || memcmp(t.at + 25, " GMT", 4) != 0 ||
        t.at[7] != ' ' || t.at[11] != ' ' || t.at[16] != ' ' || t.at[19] != ':' ||
        t.at[22] != ':') {
        return REPLY_GARBAGE;
    }
    while (month < 12 && memcmp(t.at + 8, months + 3 * (size_t)month, 3) != 0) {
        month++;
    }
    if (month == 12 || !digits(t.at + 5, 2, 1, 31, &day) ||
        !digits(t.at + 12, 4, 1970, 2115, &year) || !digits(t.at + 17, 2, 0, 23, &hour) ||
        !digits(t.at + 20, 2, 0, 59, &minute) || !digits(t.at + 23, 2, 0, 60, &second)) {
        return REPLY_GARBAGE;
    }
    uint64_t s = days_of(year, month + 1, day) * 86400 + hour * 3600U + minute * 60U + second;
    *out = (struct reply_instant){s * WEIR_NS_PER_S, WEIR_NS_PER_S};
    return REPLY_VALUE;
}

enum reply_verdict reply_instant(struct reply_text text, enum reply_unit unit,
                                 struct reply_instant *instant)
{
    text = trim(text);
    if (text.bytes > 0 && unit == REPLY_UNIT_AUTO && text.at[0] >= 'A' && text.at[0] <= 'Z') {
        return date_read(text, instant);
    }
    struct reply_number n;
    enum reply_verdict v = reply_number(text, &n);
    if (v != REPLY_VALUE) {
        return v;
    }
    if (unit == REPLY_UNIT_AUTO) {
        unit = unit_of(n.decimals <= 19 ? n.value / power_of_ten(n.decimals) : 0);
    }
    return scale(n, unit_ns(unit), instant);
}

enum reply_verdict reply_span(struct reply_text text, enum reply_unit unit,
                              struct reply_instant *span)
{
    struct reply_number n;
    enum reply_verdict v = reply_number(text, &n);
    return v != REPLY_VALUE ? v : scale(n, unit_ns(unit), span);
}

json_t *reply_json(const char *body, size_t bytes)
{
    json_error_t error;
    return bytes <= REPLY_JSON_MAX_BYTES ? json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error)
                                         : NULL;
}

/* One step of a path: a member of an object, or an entry of a list. */
static const json_t *step(const json_t *at, const char *part)
{
    unsigned index = 0;
    if (json_is_array(at) && digits(part, (unsigned)strlen(part), 0, 9999, &index)) {
        return json_array_get(at, index);
    }
    return json_object_get(at, part);
}

const json_t *reply_at(const json_t *root, const char *path)
{
    const json_t *at = root;
    char part[64];
    while (at != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        if (n >= sizeof part || n == 0) {
            return NULL;
        }
        memcpy(part, path, n);
        part[n] = '\0';
        at = step(at, part);
        path += n + (path[n] == '.');
    }
    return at;
}

enum reply_verdict reply_member(const json_t *root, const char *path, char buffer[40],
                                struct reply_text *value)
{
    const json_t *at = reply_at(root, path);
    if (at == NULL) {
        return REPLY_ABSENT;
    }
    if (json_is_string(at)) {
        *value = (struct reply_text){json_string_value(at), json_string_length(at)};
        return REPLY_VALUE;
    }
    if (!json_is_number(at)) {
        return REPLY_GARBAGE;
    }
    int n = json_is_integer(at)
                ? snprintf(buffer, 40, "%" JSON_INTEGER_FORMAT, json_integer_value(at))
                : snprintf(buffer, 40, "%.9f", json_real_value(at));
    if (n < 0 || n >= 40) {
        return REPLY_GARBAGE;
    }
    *value = (struct reply_text){buffer, (size_t)n};
    return REPLY_VALUE;
}

const char *reply_find(const char *body, size_t bytes, const char *text, size_t text_bytes)
{
    size_t window = bytes < REPLY_TEXT_MAX_BYTES ? bytes : REPLY_TEXT_MAX_BYTES;
    return text_bytes > 0 ? memmem(body, window, text, text_bytes) : NULL;
}
