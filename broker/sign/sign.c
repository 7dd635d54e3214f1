#include "broker/sign/sign.h"

#include "broker/sign/sign_schemes.h"

#include <strings.h>

#define HTX_KEY_MAX_BYTES 256U /* it stands in the query, three times as long at most */

/* How the secret is written. */
enum form { FORM_NONE, FORM_TEXT, FORM_BASE64, FORM_PAIR };

struct scheme {
    enum form form;
    enum sign_pair pair;
    bool passphrase;
    bool recv_window;
    bool nonce;
    bool post_only;
    bool session;
    /* header lines that are the same for each call of a key; a name beginning with '!' bears the passphrase, with '=' the window, else the key */
    const char *fixed[SIGN_FIXED_MAX];
    const char *header[SIGN_LINES_MAX]; /* lines that differ */
    sign_room_fn *room;
    sign_call_fn *call;
};

static const struct scheme scheme[SIGN_SCHEME_CNT] = {
    [SIGN_API_KEY] = {.room = sign_plain_room, .call = sign_plain_call},
    [SIGN_BEARER] = {.room = sign_plain_room, .call = sign_plain_call},
    [SIGN_OAUTH2] = {.session = true,
                     .header = {"Authorization"},
                     .room = sign_plain_room,
                     .call = sign_plain_call},
    [SIGN_COOKIE] = {.session = true,
                     .header = {"Cookie"},
                     .room = sign_plain_room,
                     .call = sign_plain_call},
    [SIGN_HMAC_SHA256_QUERY] = {.form = FORM_TEXT,
                                .recv_window = true,
                                .fixed = {"X-MBX-APIKEY"},
                                .room = sign_query_room,
                                .call = sign_query_call},
    [SIGN_ED25519_QUERY] = {.form = FORM_PAIR,
                            .pair = SIGN_PAIR_ED25519,
                            .recv_window = true,
                            .fixed = {"X-MBX-APIKEY"},
                            .room = sign_query_room,
                            .call = sign_query_call},
    [SIGN_RSA_QUERY] = {.form = FORM_PAIR,
                        .pair = SIGN_PAIR_RSA,
                        .recv_window = true,
                        .fixed = {"X-MBX-APIKEY"},
                        .room = sign_query_room,
                        .call = sign_query_call},
    [SIGN_BYBIT] = {.form = FORM_TEXT,
                    .recv_window = true,
                    .fixed = {"X-BAPI-API-KEY", "=X-BAPI-RECV-WINDOW"},
                    .header = {"X-BAPI-TIMESTAMP", "X-BAPI-SIGN"},
                    .room = sign_bybit_room,
                    .call = sign_bybit_call},
    [SIGN_BYBIT_RSA] = {.form = FORM_PAIR,
                        .pair = SIGN_PAIR_RSA,
                        .recv_window = true,
                        .fixed = {"X-BAPI-API-KEY", "=X-BAPI-RECV-WINDOW"},
                        .header = {"X-BAPI-TIMESTAMP", "X-BAPI-SIGN"},
                        .room = sign_bybit_room,
                        .call = sign_bybit_call},
    [SIGN_OKX] = {.form = FORM_TEXT,
                  .passphrase = true,
                  .fixed = {"OK-ACCESS-KEY", "!OK-ACCESS-PASSPHRASE"},
                  .header = {"OK-ACCESS-TIMESTAMP", "OK-ACCESS-SIGN"},
                  .room = sign_prehash_room,
                  .call = sign_prehash_call},
    [SIGN_BITGET] = {.form = FORM_TEXT,
                     .passphrase = true,
                     .fixed = {"ACCESS-KEY", "!ACCESS-PASSPHRASE"},
                     .header = {"ACCESS-TIMESTAMP", "ACCESS-SIGN"},
                     .room = sign_prehash_room,
                     .call = sign_prehash_call},
    [SIGN_BITGET_RSA] = {.form = FORM_PAIR,
                         .pair = SIGN_PAIR_RSA,
                         .passphrase = true,
                         .fixed = {"ACCESS-KEY", "!ACCESS-PASSPHRASE"},
                         .header = {"ACCESS-TIMESTAMP", "ACCESS-SIGN"},
                         .room = sign_prehash_room,
                         .call = sign_prehash_call},
    [SIGN_COINBASE_EXCHANGE] = {.form = FORM_BASE64,
                                .passphrase = true,
                                .fixed = {"CB-ACCESS-KEY", "!CB-ACCESS-PASSPHRASE"},
                                .header = {"CB-ACCESS-TIMESTAMP", "CB-ACCESS-SIGN"},
                                .room = sign_prehash_room,
                                .call = sign_prehash_call},
    [SIGN_COINBASE_ES256] = {.form = FORM_PAIR,
                             .pair = SIGN_PAIR_P256,
                             .header = {"Authorization"},
                             .room = sign_jwt_room,
                             .call = sign_jwt_call},
    [SIGN_COINBASE_ED25519] = {.form = FORM_PAIR,
                               .pair = SIGN_PAIR_ED25519,
                               .header = {"Authorization"},
                               .room = sign_jwt_room,
                               .call = sign_jwt_call},
    [SIGN_HTX] = {.form = FORM_TEXT, .room = sign_htx_room, .call = sign_htx_call},
    [SIGN_HTX_ED25519] = {.form = FORM_PAIR,
                          .pair = SIGN_PAIR_ED25519,
                          .room = sign_htx_room,
                          .call = sign_htx_call},
    [SIGN_KRAKEN] = {.form = FORM_BASE64,
                     .nonce = true,
                     .post_only = true,
                     .fixed = {"API-Key"},
                     .header = {"API-Sign"},
                     .room = sign_kraken_room,
                     .call = sign_kraken_call},
    [SIGN_KRAKEN_FUTURES] = {.form = FORM_BASE64,
                             .fixed = {"APIKey"},
                             .header = {"Authent"},
                             .room = sign_kraken_futures_room,
                             .call = sign_kraken_futures_call},
};

bool sign_has_session(enum sign_scheme s)
{
    return scheme[s].session;
}

bool sign_has_recv_window(enum sign_scheme s)
{
    return scheme[s].recv_window;
}

bool sign_has_nonce(enum sign_scheme s)
{
    return scheme[s].nonce;
}

bool sign_has_pair(enum sign_scheme s)
{
    return scheme[s].form == FORM_PAIR;
}

bool sign_wants_secret(enum sign_scheme s)
{
    return scheme[s].form != FORM_NONE;
}

bool sign_wants_passphrase(enum sign_scheme s)
{
    return scheme[s].passphrase;
}

enum sign_pair sign_pair_of(enum sign_scheme s)
{
    return scheme[s].pair;
}

bool sign_method_allowed(enum sign_scheme s, const char *method)
{
    return !scheme[s].post_only || strcmp(method, "POST") == 0;
}

static const char *fixed_name(const char *row)
{
    return row != NULL && (row[0] == '!' || row[0] == '=') ? row + 1 : row;
}

static bool is_name(const char *name, const char *at, size_t bytes)
{
    return name != NULL && strlen(name) == bytes && strncasecmp(name, at, bytes) == 0;
}

bool sign_sends_header(const struct sign_parts *parts, const char *name, size_t bytes)
{
    const struct scheme *s = &scheme[parts->scheme];
    bool found = (parts->scheme == SIGN_BEARER && is_name("authorization", name, bytes)) ||
                 (parts->scheme == SIGN_API_KEY && is_name(parts->header, name, bytes));
    for (size_t i = 0; i < SIGN_FIXED_MAX; i++) {
        found = found || is_name(fixed_name(s->fixed[i]), name, bytes);
    }
    for (size_t i = 0; i < SIGN_LINES_MAX; i++) {
        found = found || is_name(s->header[i], name, bytes);
    }
    return found;
}

/* ---------------------------------------------------------------------------------------------- keys */

/* What stands in a header line must not end it; in a token it must not end a JSON text either. */
static const char *text_fault(const char *text, bool is_json)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return "must hold no control character: is there a line end behind it?";
        }
        if (is_json && (*at == '"' || *at == '\\' || (unsigned char)*at > 0x7e)) {
            return "must be printable ASCII without '\"' and '\\': it is part of the token";
        }
    }
    return NULL;
}

/* A key pair's file that this kind cannot sign with: what it wants, and where the file is a key all the same, what it is. */
static const char *pair_fault(enum sign_pair wanted, struct sign_slice secret)
{
    static const char *const plain[] = {
        [SIGN_PAIR_ED25519] = "must be an Ed25519 private key: PEM (PKCS#8), or the base64 of its "
                              "32 bytes or of these and the public key's",
        [SIGN_PAIR_RSA] = "must be an RSA private key of 2048..4096 bits in PEM form, whole: put "
                          "it into a variable with its lines, or with \\n for each line end",
        [SIGN_PAIR_P256] = "must be a private key of curve P-256 in PEM form, whole: put it into a "
                           "variable with its lines, or with \\n for each line end",
    };
    static const char *const other[][SIGN_SORT_OTHER + 1] = {
        [SIGN_PAIR_ED25519] = {[SIGN_SORT_RSA] = "must be an Ed25519 private key: this is an RSA "
                                                 "key",
                               [SIGN_SORT_P256] = "must be an Ed25519 private key: this is a key "
                                                  "of curve P-256",
                               [SIGN_SORT_OTHER] = "must be an Ed25519 private key: this is a key "
                                                   "of another curve or algorithm"},
        [SIGN_PAIR_RSA] = {[SIGN_SORT_ED25519] = "must be an RSA private key: this is an Ed25519 "
                                                 "key",
                           [SIGN_SORT_RSA] = "must be an RSA private key of 2048..4096 bits: this "
                                             "one has fewer, or more",
                           [SIGN_SORT_P256] = "must be an RSA private key: this is a key of curve "
                                              "P-256",
                           [SIGN_SORT_OTHER] = "must be an RSA private key: this is a key of "
                                               "another algorithm"},
        [SIGN_PAIR_P256] = {[SIGN_SORT_ED25519] = "must be a private key of curve P-256: this is "
                                                  "an Ed25519 key",
                            [SIGN_SORT_RSA] = "must be a private key of curve P-256: this is an "
                                              "RSA key",
                            [SIGN_SORT_OTHER] = "must be a private key of curve P-256: this is a "
                                                "key of another curve or algorithm"},
    };
    enum sign_sort sort = sign_pair_sort(secret);
    if (sort == SIGN_SORT_PUBLIC) {
        return "is a public key, which the exchange has: write the private one that belongs to it";
    }
    if (sort == SIGN_SORT_ENCRYPTED) {
        return "is a private key under a password: write it without one (openssl pkey -in FILE)";
    }
    return other[wanted][sort] != NULL ? other[wanted][sort] : plain[wanted];
}

static const char *secret_fault(const struct sign_parts *parts)
{
    const struct scheme *s = &scheme[parts->scheme];
    struct sign_slice secret = sign_slice(parts->secret);
    if (s->form != FORM_PAIR && strstr(parts->secret, "-----BEGIN ") != NULL) {
        return "is in PEM form: kinds with rsa, ed25519 or es256 in their names sign with such a "
               "key, this one with a text";
    }
    if (s->form == FORM_BASE64) {
        unsigned char raw[512];
        long bytes = sign_base64_decode(secret, raw, sizeof raw);
        sign_wipe(raw, sizeof raw);
        return bytes > 0 ? NULL : "must be base64, as the exchange shows it: at most 512 bytes";
    }
    if (s->form == FORM_PAIR) {
        void *pair = sign_pair_read(s->pair, secret);
        sign_pair_free(pair);
        return pair != NULL ? NULL : pair_fault(s->pair, secret);
    }
    return text_fault(parts->secret, false);
}

/* A client's name and password are optional where there are tokens; with cookies there is no key at all. */
static const char *session_fault(const struct sign_parts *parts, const char *token,
                                 enum sign_part *part)
{
    static const char none[] = "has no use with this kind: remove it";
    const char *fault = NULL;
    bool has_token = parts->scheme == SIGN_OAUTH2;
    *part = SIGN_PART_TOKEN;
    if (has_token && token[0] == '\0') {
        return "missing: the refresh token that the exchange gave";
    }
    if (strlen(token) > SIGN_TOKEN_MAX_BYTES) {
        return "must be at most 4000 bytes long";
    }
    for (const char *at = token; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return "must be printable ASCII without blanks: is there a line end behind it?";
        }
    }
    *part = SIGN_PART_KEY;
    fault = !has_token && parts->key[0] != '\0' ? none : text_fault(parts->key, false);
    if (fault == NULL) {
        *part = SIGN_PART_SECRET;
        fault = !has_token && parts->secret[0] != '\0' ? none : text_fault(parts->secret, false);
    }
    if (fault == NULL && parts->passphrase[0] != '\0') {
        *part = SIGN_PART_PASSPHRASE;
        fault = none;
    }
    return fault;
}

const char *sign_key_fault(const struct sign_parts *parts, enum sign_part *part)
{
    const struct scheme *s = &scheme[parts->scheme];
    const char *token = parts->token != NULL ? parts->token : "";
    *part = SIGN_PART_TOKEN;
    if (parts->scheme != SIGN_OAUTH2 && token[0] != '\0') {
        return "has no use with this kind: remove it";
    }
    if (s->session) {
        return session_fault(parts, token, part);
    }
    *part = SIGN_PART_KEY;
    if (parts->scheme == SIGN_NONE) {
        return NULL;
    }
    if (parts->key[0] == '\0') {
        return "missing: the key's public name, as the exchange shows it";
    }
    bool is_jwt = parts->scheme == SIGN_COINBASE_ES256 || parts->scheme == SIGN_COINBASE_ED25519;
    const char *fault = text_fault(parts->key, is_jwt);
    bool is_htx = parts->scheme == SIGN_HTX || parts->scheme == SIGN_HTX_ED25519;
    if (fault == NULL && is_htx && strlen(parts->key) > HTX_KEY_MAX_BYTES) {
        fault = "must be 1..256 bytes long";
    }
    if (fault != NULL) {
        return fault;
    }
    *part = SIGN_PART_SECRET;
    if (s->form == FORM_NONE) {
        if (parts->secret[0] != '\0') {
            return "has no use with this kind, which signs nothing: remove it";
        }
    } else if (parts->secret[0] == '\0') {
        return "missing: this kind signs with it";
    } else if ((fault = secret_fault(parts)) != NULL) {
        return fault;
    }
    *part = SIGN_PART_PASSPHRASE;
    if (s->passphrase != (parts->passphrase[0] != '\0')) {
        return s->passphrase ? "missing: this kind sends it with each call"
                             : "has no use with this kind: remove it";
    }
    return text_fault(parts->passphrase, false);
}

size_t sign_key_bytes(const struct sign_parts *parts)
{
    return strlen(parts->key) + strlen(parts->passphrase) + strlen(parts->secret) + 256;
}

bool sign_open(size_t cnt)
{
    return sign_pair_memory(cnt);
}

/* "name: value" with its NUL, in memory for keys. */
static bool fixed_add(struct sign_key *key, struct sign_text *t, const char *name,
                      const char *value)
{
    size_t from = t->bytes;
    sign_put_text(t, name);
    sign_put_text(t, ": ");
    sign_put_text(t, value);
    sign_put(t, (struct sign_slice){"", 1});
    key->fixed[key->fixed_cnt++] = t->at + from;
    return !t->full;
}

static bool fixed_make(struct sign_key *key, struct sign_text *t)
{
    const struct sign_parts *p = &key->parts;
    char window[24];
    struct sign_text number = {.at = window, .cap_bytes = sizeof window - 1};
    sign_put_number(&number, p->recv_window_ms);
    window[number.bytes] = '\0';
    bool ok = true;
    for (size_t i = 0; i < SIGN_FIXED_MAX && scheme[p->scheme].fixed[i] != NULL; i++) {
        const char *row = scheme[p->scheme].fixed[i];
        const char *value = row[0] == '!' ? p->passphrase : row[0] == '=' ? window : p->key;
        ok = ok && fixed_add(key, t, fixed_name(row), value);
    }
    if (p->scheme == SIGN_API_KEY && p->header[0] != '\0') {
        ok = fixed_add(key, t, p->header, p->key);
    }
    if (p->scheme == SIGN_BEARER) {
        size_t from = t->bytes;
        sign_put_text(t, "Authorization: Bearer ");
        sign_put_text(t, p->key);
        sign_put(t, (struct sign_slice){"", 1});
        key->fixed[key->fixed_cnt++] = t->at + from;
        ok = !t->full;
    }
    return ok;
}

bool sign_key_open(struct sign_key *key, const struct sign_parts *parts, char *memory)
{
    enum sign_part part;
    const struct scheme *s = &scheme[parts->scheme];
    struct sign_text t = {.at = memory, .cap_bytes = sign_key_bytes(parts)};
    *key = (struct sign_key){.parts = *parts, .raw = sign_slice(parts->secret)};
    if (sign_key_fault(parts, &part) != NULL || !fixed_make(key, &t)) {
        return false;
    }
    if (s->form == FORM_BASE64) {
        unsigned char *raw = (unsigned char *)memory + t.bytes;
        long bytes = sign_base64_decode(key->raw, raw, t.cap_bytes - t.bytes);
        key->raw = (struct sign_slice){(const char *)raw, bytes > 0 ? (size_t)bytes : 0};
        return bytes > 0;
    }
    if (s->form == FORM_PAIR) {
        key->pair = sign_pair_read(s->pair, key->raw);
        return key->pair != NULL;
    }
    return true;
}

void sign_key_close(struct sign_key *key)
{
    sign_pair_free(key->pair);
    *key = (struct sign_key){0};
}

/* ---------------------------------------------------------------------------------------------- calls */

uint64_t sign_nonce(uint64_t last_ns, uint64_t utc_ns, uint64_t unit_ns)
{
    uint64_t now_ns = utc_ns - utc_ns % unit_ns;
    return now_ns > last_ns ? now_ns : last_ns - last_ns % unit_ns + unit_ns;
}

struct sign_room sign_room(const struct sign_key *key, const struct sign_request *request)
{
    return scheme[key->parts.scheme].room(key, request);
}

bool sign_call(const struct sign_key *key, const struct sign_request *request,
               struct sign_result *result)
{
    result->line_cnt = 0;
    result->query_bytes = request->query.bytes;
    result->body_bytes = request->body.bytes;
    return sign_instant_good(request->utc_ns) &&
           scheme[key->parts.scheme].call(key, request, result);
}

size_t sign_over_bytes(const struct sign_key *key)
{
    enum sign_pair pair = sign_pair_of(key->parts.scheme);
    return pair == SIGN_PAIR_NONE ? SIGN_SHA256_BYTES : sign_pair_bytes(pair, key->pair);
}

size_t sign_over(const struct sign_key *key, struct sign_text *t, const struct sign_slice *part,
                 size_t part_cnt, unsigned char *out)
{
    enum sign_pair pair = sign_pair_of(key->parts.scheme);
    size_t from = t->bytes;
    if (pair == SIGN_PAIR_NONE) {
        return sign_hmac(SIGN_SHA256, key->raw, part, part_cnt, out) ? SIGN_SHA256_BYTES : 0;
    }
    for (size_t i = 0; i < part_cnt; i++) {
        sign_put(t, part[i]);
    }
    size_t bytes = t->full ? 0 : sign_pair_sign(pair, key->pair, sign_written(t, from), out);
    t->bytes = from;
    return bytes;
}

struct sign_lines sign_lines_open(struct sign_result *result)
{
    return (struct sign_lines){.text = {.at = result->lines, .cap_bytes = result->lines_cap_bytes},
                               .result = result};
}

struct sign_text *sign_line(struct sign_lines *lines, const char *name)
{
    lines->result->line[lines->result->line_cnt++] = lines->text.at + lines->text.bytes;
    sign_put_text(&lines->text, name);
    sign_put_text(&lines->text, ": ");
    return &lines->text;
}

void sign_line_end(struct sign_lines *lines)
{
    sign_put(&lines->text, (struct sign_slice){"", 1});
}

bool sign_lines_close(const struct sign_lines *lines)
{
    return !lines->text.full;
}
