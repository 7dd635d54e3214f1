#include "broker/sign/sign_text.h"

#include "shm/weir_base.h"

#include <stdio.h>
#include <time.h>

static const char base64_digit[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digit[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void sign_put(struct sign_text *t, struct sign_slice s)
{
    if (t->full || s.bytes > t->cap_bytes - t->bytes) {
        t->full = true;
    } else if (s.bytes > 0) {
        memcpy(t->at + t->bytes, s.at, s.bytes);
        t->bytes += s.bytes;
    }
}

static void put_char(struct sign_text *t, char c)
{
    sign_put(t, (struct sign_slice){&c, 1});
}

void sign_put_text(struct sign_text *t, const char *text)
{
    sign_put(t, sign_slice(text));
}

void sign_put_number(struct sign_text *t, uint64_t number)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    sign_put(t, (struct sign_slice){text, (size_t)n});
}

void sign_put_hex(struct sign_text *t, const unsigned char *at, size_t bytes)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        put_char(t, digit[at[i] >> 4]);
        put_char(t, digit[at[i] & 15]);
    }
}

static void put_base64(struct sign_text *t, const unsigned char *at, size_t bytes,
                       const char *digit, bool padded)
{
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        unsigned word = (unsigned)at[i] << 16 | (left > 1 ? (unsigned)at[i + 1] << 8 : 0U) |
                        (left > 2 ? (unsigned)at[i + 2] : 0U);
        put_char(t, digit[word >> 18]);
        put_char(t, digit[word >> 12 & 63]);
        if (left > 1 || padded) {
            put_char(t, left > 1 ? digit[word >> 6 & 63] : '=');
        }
        if (left > 2 || padded) {
            put_char(t, left > 2 ? digit[word & 63] : '=');
        }
    }
}

void sign_put_base64(struct sign_text *t, const unsigned char *at, size_t bytes)
{
    put_base64(t, at, bytes, base64_digit, true);
}

void sign_put_base64url(struct sign_text *t, const unsigned char *at, size_t bytes)
{
    put_base64(t, at, bytes, base64url_digit, false);
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void sign_put_percent(struct sign_text *t, struct sign_slice s)
{
    static const char digit[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.bytes; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (is_unreserved((char)c)) {
            put_char(t, (char)c);
        } else {
            put_char(t, '%');
            put_char(t, digit[c >> 4]);
            put_char(t, digit[c & 15]);
        }
    }
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

void sign_put_unpercent(struct sign_text *t, struct sign_slice s)
{
    for (size_t i = 0; i < s.bytes; i++) {
        bool whole = s.at[i] == '%' && i + 2 < s.bytes;
        int high = whole ? hex_value(s.at[i + 1]) : -1;
        int low = whole ? hex_value(s.at[i + 2]) : -1;
        if (high >= 0 && low >= 0) {
            put_char(t, (char)(high << 4 | low));
            i += 2;
        } else {
            put_char(t, s.at[i]);
        }
    }
}

void sign_put_instant(struct sign_text *t, uint64_t utc_ns, bool with_ms)
{
    time_t s = (time_t)(utc_ns / WEIR_NS_PER_S);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&s, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) != strlen("2020-12-08T09:08:57")) {
        t->full = true;
        return;
    }
    sign_put_text(t, text);
    if (with_ms) {
        int n = snprintf(text, sizeof text, ".%03uZ",
                         (unsigned)(utc_ns % WEIR_NS_PER_S / WEIR_NS_PER_MS));
        sign_put(t, (struct sign_slice){text, (size_t)n});
    }
}

long sign_base64_decode(struct sign_slice text, unsigned char *out, size_t cap_bytes)
{
    uint32_t word = 0;
    unsigned bits = 0;
    size_t n = 0;
    size_t end = text.bytes;
    while (end > 0 && strchr("=\r\n ", text.at[end - 1]) != NULL) {
        end--;
    }
    for (size_t i = 0; i < end; i++) {
        if (text.at[i] == '\n' || text.at[i] == '\r') {
            continue;
        }
        const char *digit = text.at[i] != '\0' ? strchr(base64_digit, text.at[i]) : NULL;
        if (digit == NULL) {
            return -1;
        }
        word = word << 6 | (uint32_t)(digit - base64_digit);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (n == cap_bytes) {
                return -1;
            }
            out[n++] = (unsigned char)(word >> bits);
        }
    }
    /* What is left over are zeros, and no lone digit. */
    return bits < 6 && (word & ((1U << bits) - 1)) == 0 ? (long)n : -1;
}

bool sign_next_pair(struct sign_slice *rest, struct sign_slice *pair)
{
    if (rest->bytes == 0) {
        return false;
    }
    const char *stop = memchr(rest->at, '&', rest->bytes);
    pair->at = rest->at;
    pair->bytes = stop != NULL ? (size_t)(stop - rest->at) : rest->bytes;
    size_t taken = pair->bytes + (stop != NULL ? 1U : 0U);
    rest->at += taken;
    rest->bytes -= taken;
    return true;
}

bool sign_has_parameter(struct sign_slice query, const char *name)
{
    size_t bytes = strlen(name);
    struct sign_slice pair;
    while (sign_next_pair(&query, &pair)) {
        if (pair.bytes >= bytes && memcmp(pair.at, name, bytes) == 0 &&
            (pair.bytes == bytes || pair.at[bytes] == '=')) {
            return true;
        }
    }
    return false;
}
