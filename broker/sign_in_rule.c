#include "broker/sign_in_rule.h"

#include "broker/reply_value.h"
#include "broker/sign/sign_text.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#define RECORD_MAGIC   UINT64_C(0x6e695f6e67697377) /* "wsign_in" */
#define RECORD_VERSION 1U
#define LASTS_MAX_NS   (UINT64_C(366) * 86400 * WEIR_NS_PER_S)

static_assert(sizeof(struct sign_in_record) == SIGN_IN_RECORD_BYTES, "a record is one page");

/* ---------------------------------------------------------------------------------------------- the record on disk */

static void text_add(uint64_t sum[2], const char *text)
{
    /* with its end, so that no two lists of texts are one */
    sum[0] = XXH3_64bits_withSeed(text, strlen(text) + 1, sum[0]);
    sum[1] = XXH3_64bits_withSeed(text, strlen(text) + 1, sum[1]);
}

void sign_in_identity(const struct weir_config_provider *provider, size_t key, uint64_t out[2])
{
    const struct weir_config_auth *auth = &provider->auth;
    const struct weir_config_key *entry =
        auth->account_key_cnt > 0 ? &auth->account_key[key] : NULL;
    out[0] = 3;
    out[1] = 4;
    text_add(out, provider->name);
    text_add(out, entry != NULL ? entry->account : "");
    text_add(out, entry != NULL ? entry->name : "");
}

void sign_in_seed(const char *token, uint64_t out[2])
{
    out[0] = 5;
    out[1] = 6;
    text_add(out, token);
}

static uint64_t checksum_of(const struct sign_in_record *r)
{
    return XXH3_64bits(&r->magic, sizeof *r - offsetof(struct sign_in_record, magic));
}

void sign_in_seal(struct sign_in_record *r)
{
    r->magic = RECORD_MAGIC;
    r->version = RECORD_VERSION;
    r->checksum = checksum_of(r);
}

static bool is_sound(const struct sign_in_record *r, const uint64_t identity[2])
{
    return r->magic == RECORD_MAGIC && r->version == RECORD_VERSION &&
           r->checksum == checksum_of(r) && r->identity[0] == identity[0] &&
           r->identity[1] == identity[1] && r->state >= SIGN_IN_HELD &&
           r->state <= SIGN_IN_REFUSED && r->token_bytes > 0 &&
           r->token_bytes <= SIGN_TOKEN_MAX_BYTES;
}

static bool is_blank(const char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] != '\0') {
            return false;
        }
    }
    return true;
}

enum sign_in_found sign_in_find(const char *slots, const uint64_t identity[2],
                                const struct sign_in_record **record, uint32_t *slot)
{
    bool any = false;
    *record = NULL;
    for (uint32_t i = 0; i < SIGN_IN_SLOTS; i++) {
        const char *at = slots + (size_t)i * SIGN_IN_RECORD_BYTES;
        const struct sign_in_record *r = (const void *)at;
        if (is_sound(r, identity) && (*record == NULL || r->sequence > (*record)->sequence)) {
            *record = r;
            *slot = i;
        }
        any = any || !is_blank(at, SIGN_IN_RECORD_BYTES);
    }
    return *record != NULL ? SIGN_IN_FOUND_RECORD
           : any           ? SIGN_IN_FOUND_DAMAGED
                           : SIGN_IN_FOUND_NOTHING;
}

enum sign_in_begin sign_in_judge(enum sign_in_found found, const struct sign_in_record *r,
                                 const uint64_t seed[2], const struct sign_in_place *place,
                                 uint64_t second_use_max)
{
    if (found == SIGN_IN_FOUND_DAMAGED) {
        return SIGN_IN_BEGIN_DAMAGED;
    }
    if (found == SIGN_IN_FOUND_NOTHING || r->seed[0] != seed[0] || r->seed[1] != seed[1]) {
        return SIGN_IN_BEGIN_GIVEN;
    }
    if (r->state == SIGN_IN_HELD) {
        return SIGN_IN_BEGIN_STORED;
    }
    if (r->state == SIGN_IN_REFUSED) {
        return SIGN_IN_BEGIN_REFUSED;
    }
    /* It died between the two: no byte of it left. `uses` has that one in it. */
    bool unsent = place->written == r->sequence && place->sent != r->sequence;
    if (unsent && r->uses <= 1) {
        return SIGN_IN_BEGIN_STORED;
    }
    uint64_t used = unsent ? r->uses - 1 : r->uses;
    return used <= second_use_max ? SIGN_IN_BEGIN_AGAIN : SIGN_IN_BEGIN_LOST;
}

/* ---------------------------------------------------------------------------------------------- tokens */

size_t sign_in_form_bytes(const char *id, const char *secret)
{
    return 128 + 3 * ((size_t)SIGN_TOKEN_MAX_BYTES + strlen(id) + strlen(secret));
}

size_t sign_in_form(char *to, size_t cap_bytes, const struct sign_in_record *record, const char *id,
                    const char *secret)
{
    struct sign_text t = {.at = to, .cap_bytes = cap_bytes};
    sign_put_text(&t, "grant_type=refresh_token&refresh_token=");
    sign_put_percent(&t, (struct sign_slice){record->token, record->token_bytes});
    if (id[0] != '\0') {
        sign_put_text(&t, "&client_id=");
        sign_put_percent(&t, sign_slice(id));
    }
    if (secret[0] != '\0') {
        sign_put_text(&t, "&client_secret=");
        sign_put_percent(&t, sign_slice(secret));
    }
    sign_put(&t, (struct sign_slice){"", 1});
    return t.full ? 0 : t.bytes - 1;
}

/* jansson copies what it reads: none of it may stay on the heap. */
static void free_wiped(void *at)
{
    if (at != NULL) {
        explicit_bzero(at, malloc_usable_size(at));
        free(at);
    }
}

/* A token as it can stand in a header line: b64token of RFC 6750 and what others make of it. 0: it is none. */
static uint32_t token_take(const json_t *value, char to[SIGN_TOKEN_MAX_BYTES + 1])
{
    const char *text = json_string_value(value);
    size_t bytes = json_string_length(value);
    if (text == NULL || bytes == 0 || bytes > SIGN_TOKEN_MAX_BYTES) {
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return 0;
        }
    }
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    return (uint32_t)bytes;
}

static uint64_t lasts_of(const json_t *root)
{
    char buffer[40];
    struct reply_text text;
    struct reply_number n;
    if (reply_member(root, "expires_in", buffer, &text) != REPLY_VALUE ||
        reply_number(text, &n) != REPLY_VALUE) {
        return 0;
    }
    for (; n.decimals > 0; n.decimals--) {
        n.value /= 10;
    }
    return n.value >= LASTS_MAX_NS / WEIR_NS_PER_S ? LASTS_MAX_NS : n.value * WEIR_NS_PER_S;
}

/* The host of "https://api01.iq.questrade.com/", or of a text that is a host already. */
static void server_take(const json_t *root, const char *member, char to[SIGN_IN_HOST_BYTES])
{
    const char *text = json_string_value(reply_at(root, member));
    const char *at = text != NULL ? strstr(text, "://") : NULL;
    at = at != NULL ? at + 3 : text;
    size_t bytes = at != NULL ? strcspn(at, ":/?#") : 0;
    to[0] = '\0';
    for (size_t i = 0; i < bytes && bytes < SIGN_IN_HOST_BYTES; i++) {
        char c = at[i];
        bool upper = c >= 'A' && c <= 'Z';
        if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.') {
            to[0] = '\0';
            return;
        }
        to[i] = upper ? (char)(c - 'A' + 'a') : c;
        to[i + 1] = '\0';
    }
}

static enum sign_in_says tree_read(const json_t *root, const char *server,
                                   struct sign_in_answer *answer)
{
    const char *type = json_string_value(json_object_get(root, "token_type"));
    answer->refresh_bytes = token_take(json_object_get(root, "refresh_token"), answer->refresh);
    /* A refresh token that is there and is none: which one is good from here on nobody knows. */
    bool dark = answer->refresh_bytes == 0 && json_object_get(root, "refresh_token") != NULL;
    if (type == NULL ||
        strcasecmp(type, "bearer") == 0) { /* RFC 6749, 7.1: no other one is known */
        answer->access_bytes = token_take(json_object_get(root, "access_token"), answer->access);
    }
    answer->lasts_ns = lasts_of(root);
    if (server[0] != '\0') {
        server_take(root, server, answer->server);
    }
    if (dark || (answer->access_bytes == 0 && answer->refresh_bytes == 0)) {
        return SIGN_IN_SAYS_NOTHING;
    }
    return answer->access_bytes == 0 ? SIGN_IN_SAYS_TOKEN : SIGN_IN_SAYS_ALL;
}

enum sign_in_says sign_in_read(const char *body, size_t bytes, const char *server,
                               struct sign_in_answer *answer)
{
    json_malloc_t old_malloc;
    json_free_t old_free;
    enum sign_in_says says = SIGN_IN_SAYS_NOTHING;
    explicit_bzero(answer, sizeof *answer);
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(malloc, free_wiped);
    json_t *root = reply_json(body, bytes);
    if (json_is_object(root)) {
        says = tree_read(root, server, answer);
    }
    json_decref(root);
    json_set_alloc_funcs(old_malloc, old_free);
    if (says == SIGN_IN_SAYS_NOTHING) {
        explicit_bzero(answer, sizeof *answer);
    }
    return says;
}

const char *sign_in_error(const char *body, size_t bytes)
{
    static const char *const known[] = {"invalid_request",        "invalid_client",
                                        "invalid_grant",          "unauthorized_client",
                                        "unsupported_grant_type", "invalid_scope"};
    json_t *root = reply_json(body, bytes);
    const char *error = json_string_value(json_object_get(root, "error"));
    const char *found = "other";
    for (size_t i = 0; error != NULL && i < WEIR_ARRAY_CNT(known); i++) {
        found = strcmp(error, known[i]) == 0 ? known[i] : found;
    }
    json_decref(root);
    return found;
}

enum sign_in_end sign_in_end_of(bool sent, bool answered, bool throttled, uint32_t status)
{
    if (answered && status / 100 == 2) { /* first: whatever else it says, it may bear a token */
        return SIGN_IN_END_GOOD;
    }
    if (!sent || (answered && (throttled || status == 429))) {
        return SIGN_IN_END_UNSENT;
    }
    return answered && (status == 400 || status == 401 || status == 403) ? SIGN_IN_END_REFUSED
                                                                         : SIGN_IN_END_UNSURE;
}

struct sign_in_times sign_in_times(uint64_t from_ns, uint64_t lasts_ns, uint64_t margin_ns)
{
    uint64_t lasts = weir_min_u64(lasts_ns, LASTS_MAX_NS);
    uint64_t until_ns = from_ns + lasts - weir_min_u64(WEIR_NS_PER_S, lasts / 8);
    uint64_t due_ns = from_ns + lasts - weir_min_u64(margin_ns, lasts / 2);
    return (struct sign_in_times){.good_until_ns = until_ns,
                                  .due_ns = weir_min_u64(due_ns, until_ns)};
}

/* ---------------------------------------------------------------------------------------------- cookies */

static struct sign_slice trimmed(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (end > at && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }
    return (struct sign_slice){at, (size_t)(end - at)};
}

static bool is_word(struct sign_slice s, const char *word)
{
    return s.bytes == strlen(word) && strncasecmp(s.at, word, s.bytes) == 0;
}

/* Is `host` the domain, or below it? RFC 6265, 5.1.3. Addresses in digits are below nothing. */
static bool is_within(const char *host, struct sign_slice domain)
{
    size_t bytes = strlen(host);
    if (bytes == domain.bytes) {
        return strncasecmp(host, domain.at, bytes) == 0;
    }
    bool digits = strspn(host, "0123456789.") == bytes || strchr(host, ':') != NULL;
    return !digits && bytes > domain.bytes && host[bytes - domain.bytes - 1] == '.' &&
           strncasecmp(host + bytes - domain.bytes, domain.at, domain.bytes) == 0;
}

/* The attributes behind the pair. False: it is to be left out. */
static bool attributes(struct sign_in_cookie *c, struct sign_slice *domain, uint64_t *lasts_ns,
                       const char *at, const char *end, const char *host)
{
    while (at < end) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        struct sign_slice name = trimmed(at, equals != NULL ? equals : stop);
        struct sign_slice value =
            equals != NULL ? trimmed(equals + 1, stop) : (struct sign_slice){"", 0};
        at = stop < end ? stop + 1 : end;
        if (is_word(name, "secure")) {
            c->secure = true;
        } else if (is_word(name, "path") && value.bytes > 0 && !is_word(value, "/")) {
            return false;
        } else if (is_word(name, "max-age")) {
            struct reply_number n;
            if (reply_number((struct reply_text){value.at, value.bytes}, &n) != REPLY_VALUE ||
                n.value == 0) {
                return false;
            }
            *lasts_ns =
                n.value >= LASTS_MAX_NS / WEIR_NS_PER_S ? LASTS_MAX_NS : n.value * WEIR_NS_PER_S;
        } else if (is_word(name, "domain") && value.bytes > 0) {
            if (value.at[0] == '.') {
                value.at++;
                value.bytes--;
            }
            if (value.bytes == 0 || !is_within(host, value) ||
                (memchr(value.at, '.', value.bytes) == NULL && strlen(host) != value.bytes)) {
                return false;
            }
            *domain = value;
            c->host_only = false;
        }
    }
    return true;
}

static bool text_put(struct sign_in_jar *jar, struct sign_slice s, uint32_t *off, uint32_t *bytes)
{
    if (s.bytes > sizeof jar->text - jar->text_bytes) {
        return false;
    }
    memcpy(jar->text + jar->text_bytes, s.at, s.bytes);
    *off = jar->text_bytes;
    *bytes = (uint32_t)s.bytes;
    jar->text_bytes += (uint32_t)s.bytes;
    return true;
}

static void cookie_take(struct sign_in_jar *jar, const char *at, const char *end, const char *host)
{
    struct sign_in_cookie c = {.host_only = true};
    struct sign_slice domain = {host, strlen(host)};
    uint64_t lasts_ns = 0;
    const char *stop = memchr(at, ';', (size_t)(end - at));
    stop = stop != NULL ? stop : end;
    struct sign_slice pair = trimmed(at, stop);
    const char *equals = memchr(pair.at, '=', pair.bytes);
    if (jar->cookie_cnt == SIGN_IN_COOKIES_MAX || equals == NULL || equals == pair.at ||
        !attributes(&c, &domain, &lasts_ns, stop < end ? stop + 1 : end, end, host)) {
        return;
    }
    for (size_t i = 0; i < pair.bytes; i++) {
        if (pair.at[i] < ' ' || pair.at[i] > '~') {
            return;
        }
    }
    uint32_t used = jar->text_bytes;
    if (!text_put(jar, pair, &c.pair_off, &c.pair_bytes) ||
        !text_put(jar, domain, &c.domain_off, &c.domain_bytes)) {
        jar->text_bytes = used;
        return;
    }
    if (lasts_ns != 0 && (jar->lasts_ns == 0 || lasts_ns < jar->lasts_ns)) {
        jar->lasts_ns = lasts_ns;
    }
    jar->cookie[jar->cookie_cnt++] = c;
}

bool sign_in_cookies(struct sign_in_jar *jar, const char *head, size_t bytes, const char *host)
{
    static const char name[] = "set-cookie:";
    const char *end = head + bytes;
    explicit_bzero(jar, sizeof *jar);
    for (const char *at = head; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - at) >= sizeof name - 1 && strncasecmp(at, name, sizeof name - 1) == 0) {
            cookie_take(jar, at + sizeof name - 1, stop, host);
        }
        at = stop < end ? stop + 1 : end;
    }
    return jar->cookie_cnt > 0;
}

size_t sign_in_cookie_line(const struct sign_in_jar *jar, const char *host, bool tls, char *to,
                           size_t cap_bytes)
{
    struct sign_text t = {.at = to, .cap_bytes = cap_bytes};
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < jar->cookie_cnt; i++) {
        const struct sign_in_cookie *c = &jar->cookie[i];
        const struct sign_slice domain = {jar->text + c->domain_off, c->domain_bytes};
        bool here = c->host_only ? strlen(host) == domain.bytes &&
                                       strncasecmp(host, domain.at, domain.bytes) == 0
                                 : is_within(host, domain);
        if (!here || (c->secure && !tls)) {
            continue;
        }
        sign_put_text(&t, cnt++ == 0 ? "Cookie: " : "; ");
        sign_put(&t, (struct sign_slice){jar->text + c->pair_off, c->pair_bytes});
    }
    sign_put(&t, (struct sign_slice){"", 1});
    return cnt == 0 || t.full ? 0 : t.bytes - 1;
}

bool sign_in_crumb(const char *body, size_t bytes, char to[SIGN_IN_CRUMB_MAX_BYTES + 1])
{
    struct sign_slice word = trimmed(body, body + bytes);
    if (word.bytes == 0 || word.bytes > SIGN_IN_CRUMB_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < word.bytes; i++) {
        char c = word.at[i];
        if (c <= ' ' || c > '~' || strchr("<>{}\"", c) != NULL) {
            return false;
        }
    }
    memcpy(to, word.at, word.bytes);
    to[word.bytes] = '\0';
    return true;
}
