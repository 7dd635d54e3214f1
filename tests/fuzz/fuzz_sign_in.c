/*
 * fuzz_sign_in.c: any bytes as what a sign-in gets: the JSON of a token endpoint, Set-Cookie lines, a crumb, and a file of tokens as it lies on the disk. The first byte says which.
 *
 * Oracle: ASan and UBSan, memory of exactly the size that was given, and what sign_in_rule.h promises: a token is one that can stand in a header line, and came from the answer; a host is
 * one in lower case; a cookie goes only where its domain lets it; a line can hold no other line; a record is believed only with its checksum, and what follows from it is the same twice. What
 * libFuzzer makes of a file is sealed as well, so that the fields behind the checksum are reached.
 */
#include "broker/sign_in_rule.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void must(bool good)
{
    if (!good) {
        abort();
    }
}

/* A copy that ends where the memory does. */
static char *exact(const uint8_t *data, size_t bytes)
{
    char *at = malloc(bytes > 0 ? bytes : 1);
    must(at != NULL);
    memcpy(at, data, bytes);
    return at;
}

static bool is_printable(const char *at, size_t bytes, char least)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] < least || at[i] > '~') {
            return false;
        }
    }
    return true;
}

static void token_check(const char *token, uint32_t bytes)
{
    must(bytes <= SIGN_TOKEN_MAX_BYTES && strlen(token) == bytes);
    must(is_printable(token, bytes, '!'));
}

/* What becomes of a refresh token next: a record, and the form that bears it. */
static void form_check(const struct sign_in_answer *a)
{
    static const char text[] = "grant_type=refresh_token&refresh_token=";
    static struct sign_in_record record;
    size_t cap = sign_in_form_bytes("id", "a secret");
    char *form = malloc(cap);
    must(form != NULL);
    record.token_bytes = a->refresh_bytes;
    memcpy(record.token, a->refresh, a->refresh_bytes);
    size_t n = sign_in_form(form, cap, &record, "id", "a secret");
    must(n > sizeof text && n < cap && strlen(form) == n);
    must(memcmp(form, text, sizeof text - 1) == 0 && is_printable(form, n, '!'));
    must(strchr(form + sizeof text - 1, '&') == strstr(form, "&client_id=id&client_secret=a%20"));
    for (size_t cut = 0; cut < n; cut += 1 + n / 8) {
        must(sign_in_form(form, cut, &record, "id", "a secret") == 0);
    }
    free(form);
}

static void answer_take(const char *body, size_t bytes)
{
    static const char *const servers[] = {"", "api_server", "a.b"};
    static struct sign_in_answer a;
    static struct sign_in_answer again;
    const char *error = sign_in_error(body, bytes);
    must(is_printable(error, strlen(error), 'a' - 2));
    for (size_t i = 0; i < WEIR_ARRAY_CNT(servers); i++) {
        enum sign_in_says says = sign_in_read(body, bytes, servers[i], &a);
        must(sign_in_read(body, bytes, servers[i], &again) == says);
        must(memcmp(&a, &again, sizeof a) == 0);
        token_check(a.access, a.access_bytes);
        token_check(a.refresh, a.refresh_bytes);
        must((says == SIGN_IN_SAYS_ALL) == (a.access_bytes > 0));
        must(says != SIGN_IN_SAYS_TOKEN || a.refresh_bytes > 0);
        must(says != SIGN_IN_SAYS_NOTHING || (a.refresh_bytes == 0 && a.lasts_ns == 0));
        must(strspn(a.server, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(a.server));
        must(strlen(a.server) < SIGN_IN_HOST_BYTES && (i > 0 || a.server[0] == '\0'));
        if (a.refresh_bytes > 0) {
            form_check(&a);
        }
        const uint64_t now_ns = UINT64_C(1700000000) * WEIR_NS_PER_S;
        struct sign_in_times t = sign_in_times(now_ns, a.lasts_ns, 60 * WEIR_NS_PER_S);
        must(t.due_ns >= now_ns && t.due_ns <= t.good_until_ns);
        must(t.good_until_ns - now_ns <= a.lasts_ns);
    }
}

/* Each pair of a line is one of the jar's, and may go there. */
static void line_check(const struct sign_in_jar *jar, const char *host, bool tls)
{
    static char line[SIGN_IN_LINE_MAX_BYTES];
    size_t n = sign_in_cookie_line(jar, host, tls, line, sizeof line);
    if (n == 0) {
        return;
    }
    must(n < sizeof line && strlen(line) == n && strncmp(line, "Cookie: ", 8) == 0);
    must(is_printable(line, n, ' '));
    const char *at = line + 8;
    for (uint32_t i = 0; i < jar->cookie_cnt; i++) {
        const struct sign_in_cookie *c = &jar->cookie[i];
        const char *pair = jar->text + c->pair_off;
        const char *domain = jar->text + c->domain_off;
        size_t tail = strlen(host) - weir_min_u64(strlen(host), c->domain_bytes);
        bool may = strlen(host) >= c->domain_bytes &&
                   strncasecmp(host + tail, domain, c->domain_bytes) == 0 &&
                   (tail == 0 || (!c->host_only && host[tail - 1] == '.')) && (!c->secure || tls);
        if (strncmp(at, pair, c->pair_bytes) == 0 && may) {
            at += c->pair_bytes;
            at += strncmp(at, "; ", 2) == 0 ? 2 : 0;
        }
    }
    must(*at == '\0');
    char *small = malloc(n);
    must(small != NULL && sign_in_cookie_line(jar, host, tls, small, n) == 0);
    free(small);
}

static void cookies_take(const char *head, size_t bytes)
{
    static const char *const hosts[] = {"query1.finance.example.com",
                                        "fc.example.com",
                                        "example.com",
                                        "example.com.net",
                                        "127.0.0.1",
                                        "localhost",
                                        "xexample.com"};
    static struct sign_in_jar jar;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(hosts); i++) {
        bool any = sign_in_cookies(&jar, head, bytes, hosts[i]);
        must(any == (jar.cookie_cnt > 0) && jar.cookie_cnt <= SIGN_IN_COOKIES_MAX);
        must(jar.text_bytes <= sizeof jar.text);
        for (uint32_t k = 0; k < jar.cookie_cnt; k++) {
            const struct sign_in_cookie *c = &jar.cookie[k];
            must(c->pair_bytes >= 2 && c->pair_off + c->pair_bytes <= jar.text_bytes);
            must(c->domain_bytes > 0 && c->domain_off + c->domain_bytes <= jar.text_bytes);
            must(is_printable(jar.text + c->pair_off, c->pair_bytes, ' '));
            must(memchr(jar.text + c->pair_off, ';', c->pair_bytes) == NULL);
        }
        for (size_t k = 0; k < 2 * WEIR_ARRAY_CNT(hosts); k++) {
            line_check(&jar, hosts[k / 2], k % 2 == 1);
        }
    }
}

static void crumb_take(const char *body, size_t bytes)
{
    char crumb[SIGN_IN_CRUMB_MAX_BYTES + 1];
    if (sign_in_crumb(body, bytes, crumb)) {
        size_t n = strlen(crumb);
        must(n > 0 && n <= SIGN_IN_CRUMB_MAX_BYTES && is_printable(crumb, n, '!'));
        must(strpbrk(crumb, "<>{}\"") == NULL && memmem(body, bytes, crumb, n) != NULL);
    }
}

/* A file of tokens. `sealed`: with checksums that are right. */
static void file_take(const char *data, size_t bytes, bool sealed)
{
    static const uint64_t identity[2] = {3, 4};
    static const struct sign_in_place nowhere = {0, 0};
    const struct sign_in_record *record = NULL;
    uint32_t slot = 0;
    char *file = calloc(1, SIGN_IN_FILE_BYTES);
    must(file != NULL);
    memcpy(file, data, weir_min_u64(bytes, SIGN_IN_FILE_BYTES));
    for (uint32_t i = 0; sealed && i < SIGN_IN_SLOTS; i++) {
        struct sign_in_record *r = (void *)(file + (size_t)i * SIGN_IN_RECORD_BYTES);
        memcpy(r->identity, identity, sizeof identity);
        sign_in_seal(r);
    }
    enum sign_in_found found = sign_in_find(file, identity, &record, &slot);
    must((found == SIGN_IN_FOUND_RECORD) == (record != NULL));
    if (record != NULL) {
        must(slot < SIGN_IN_SLOTS &&
             record == (const void *)(file + (size_t)slot * SIGN_IN_RECORD_BYTES));
        must(record->token_bytes > 0 && record->token_bytes <= SIGN_TOKEN_MAX_BYTES);
        enum sign_in_begin own = sign_in_judge(found, record, record->seed, &nowhere, 0);
        must(own == (record->state == SIGN_IN_HELD      ? SIGN_IN_BEGIN_STORED
                     : record->state == SIGN_IN_REFUSED ? SIGN_IN_BEGIN_REFUSED
                     : record->uses == 0                ? SIGN_IN_BEGIN_AGAIN
                                                        : SIGN_IN_BEGIN_LOST));
        const uint64_t other[2] = {record->seed[0] + 1, record->seed[1]};
        must(sign_in_judge(found, record, other, &nowhere, 0) == SIGN_IN_BEGIN_GIVEN);
    }
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    char *at = exact(data + 1, bytes - 1);
    switch (data[0]) {
    case 'j':
        answer_take(at, bytes - 1);
        break;
    case 'c':
        cookies_take(at, bytes - 1);
        break;
    case 'w':
        crumb_take(at, bytes - 1);
        break;
    case 'f':
    case 's':
        file_take(at, bytes - 1, data[0] == 's');
        break;
    default:
        break;
    }
    free(at);
    return 0;
}
