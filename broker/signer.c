#include "broker/signer.h"

#include "broker/log.h"
#include "broker/secret.h"
#include "broker/sign/sign.h"
#include "broker/sign_in.h"
#include "broker/sign_in_rule.h"
#include "shm/weir_clock.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A key of a provider, with the lines that each of its calls bears. */
struct signer_key {
    struct sign_key sign; /* parts.scheme SIGN_NONE: the configuration leaves it empty */
    struct curl_slist *first;
    struct session *session; /* NULL: it signs by itself */
};

struct signer_provider {
    const struct weir_config_auth *auth;
    struct signer_key *key; /* NULL: no auth */
};

static struct signer_provider provider[WEIR_CONFIG_PROVIDER_MAX];

/* The signed form of one call. */
struct call_sign {
    const struct signer_key *key;           /* NULL: a call that signs in */
    uint64_t generation;                    /* of the session that it was sent with */
    struct curl_slist line[SIGN_LINES_MAX]; /* an empty text is no line to curl */
    struct sign_result result;
    struct sign_slice path; /* whole, as it is sent */
    char *target;           /* path and query; NULL: the query stays as it is */
    bool has_body;
    size_t bytes;
    char memory[];
};

/* ---------------------------------------------------------------------------------------------- keys */

static bool is_set(const struct sign_parts *p)
{
    return p->key[0] != '\0' || p->secret[0] != '\0' || p->passphrase[0] != '\0' ||
           p->token[0] != '\0' || p->scheme == SIGN_COOKIE;
}

/* The lines of a key, and behind them those of the provider that it has not itself. */
static bool lines_make(struct signer_key *key, uint32_t p)
{
    size_t cnt = key->sign.fixed_cnt;
    for (struct curl_slist *h = provider_headers(p); h != NULL; h = h->next) {
        cnt++;
    }
    struct curl_slist *node = cnt > 0 ? calloc(cnt, sizeof *node) : NULL;
    size_t n = 0;
    if (cnt > 0 && node == NULL) {
        return false;
    }
    for (; n < key->sign.fixed_cnt; n++) {
        node[n].data = (char *)(uintptr_t)key->sign.fixed[n];
    }
    for (struct curl_slist *h = provider_headers(p); h != NULL; h = h->next) {
        if (!sign_sends_header(&key->sign.parts, h->data, strcspn(h->data, ":"))) {
            node[n++].data = h->data;
        }
    }
    for (size_t i = 1; i < n; i++) {
        node[i - 1].next = &node[i];
    }
    key->first = n > 0 ? node : NULL;
    return true;
}

/* What a session adds: a Cookie line, which depends on the endpoint, and the crumb. */
static struct sign_room room_of(const struct signer_key *key, const struct sign_request *r)
{
    const struct sign_parts *p = &key->sign.parts;
    if (p->scheme != SIGN_COOKIE) {
        return sign_room(&key->sign, r);
    }
    return (struct sign_room){.line_bytes = SIGN_IN_LINE_MAX_BYTES,
                              .query_bytes = p->param[0] != '\0'
                                                 ? r->query.bytes + strlen(p->param) +
                                                       3 * SIGN_IN_CRUMB_MAX_BYTES + 3
                                                 : 0};
}

static struct call_sign *form_make(const struct signer_key *key, const struct sign_request *r)
{
    const struct sign_room room = room_of(key, r);
    size_t target = room.query_bytes > 0 ? r->path.bytes + 1 + room.query_bytes : 0;
    size_t bytes = room.line_bytes + target + room.body_bytes;
    struct call_sign *form = calloc(1, sizeof *form + bytes);
    if (form == NULL) {
        return NULL;
    }
    form->key = key;
    form->bytes = bytes;
    form->result.lines = form->memory;
    form->result.lines_cap_bytes = room.line_bytes;
    if (target > 0) {
        form->target = form->memory + room.line_bytes;
        memcpy(form->target, r->path.at, r->path.bytes);
        form->target[r->path.bytes] = '?';
        form->result.query = form->target + r->path.bytes + 1;
        form->result.query_cap_bytes = room.query_bytes;
    }
    form->has_body = room.body_bytes > 0;
    form->result.body = form->memory + room.line_bytes + target;
    form->result.body_cap_bytes = room.body_bytes;
    for (size_t i = 0; i < SIGN_LINES_MAX; i++) {
        static char nothing[1];
        form->line[i].data = nothing;
        form->line[i].next = i + 1 < SIGN_LINES_MAX ? &form->line[i + 1] : key->first;
    }
    return form;
}

static void form_free(struct call_sign *form)
{
    if (form != NULL) {
        explicit_bzero(form->memory, form->bytes); /* a key may stand in a query */
        free(form);
    }
}

/* Sign once, so that what OpenSSL loads is there before the cage closes, and a key that cannot sign is found now. */
static bool key_try(const struct signer_key *key)
{
    static const unsigned char random[SIGN_RANDOM_BYTES];
    const struct sign_request r = {.method = "POST",
                                   .host = {"h", 1},
                                   .path = {"/", 1},
                                   .query = {"", 0},
                                   .body = {"", 0},
                                   .utc_ns = 1700000000 * WEIR_NS_PER_S,
                                   .nonce_ns = 1700000000 * WEIR_NS_PER_S,
                                   .random = random};
    struct call_sign *form = form_make(key, &r);
    bool ok = form != NULL && sign_call(&key->sign, &r, &form->result);
    form_free(form);
    return ok;
}

static bool provider_open(const struct weir_config *config, uint32_t p, struct secret_area *area)
{
    const struct weir_config_auth *auth = &config->provider[p].auth;
    size_t cnt = weir_config_key_cnt(auth);
    provider[p].auth = auth;
    if (cnt == 0) {
        return true;
    }
    provider[p].key = calloc(cnt, sizeof *provider[p].key);
    for (size_t i = 0; provider[p].key != NULL && i < cnt; i++) {
        struct signer_key *key = &provider[p].key[i];
        const struct sign_parts parts = weir_config_key_parts(auth, i);
        if (!is_set(&parts)) {
            continue;
        }
        if (sign_has_session(parts.scheme)) {
            key->sign.parts = parts;
            key->session = sign_in_of(p, i);
            if (key->session == NULL || !lines_make(key, p)) {
                return false;
            }
            continue;
        }
        char *memory = secret_take(area, sign_key_bytes(&parts));
        if (memory == NULL || !sign_key_open(&key->sign, &parts, memory) || !lines_make(key, p) ||
            !key_try(key)) {
            return false;
        }
    }
    return provider[p].key != NULL;
}

bool signer_open(const struct weir_config *config, char *text, size_t text_bytes)
{
    static struct secret_area area; /* as long as the process */
    size_t bytes = 0;
    size_t pair_cnt = 0;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_auth *auth = &config->provider[p].auth;
        for (size_t i = 0; i < weir_config_key_cnt(auth); i++) {
            const struct sign_parts parts = weir_config_key_parts(auth, i);
            bytes += is_set(&parts) ? sign_key_bytes(&parts) : 0;
            pair_cnt += is_set(&parts) && sign_has_pair(auth->kind);
        }
    }
    if (secret_open(&area, bytes, text, text_bytes) != 0) {
        return false;
    }
    if (!sign_open(pair_cnt)) {
        (void)snprintf(text, text_bytes,
                       "cannot lock OpenSSL's memory for %zu private keys: raise ulimit -l "
                       "(LimitMEMLOCK=)",
                       pair_cnt);
        return false;
    }
    for (uint32_t p = 0; p < config->provider_cnt; p++) {
        if (!provider_open(config, p, &area)) {
            (void)snprintf(text, text_bytes, "cannot read the keys of provider %s: no memory",
                           config->provider[p].name);
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- calls */

static bool is_signed(const struct worker *w, uint32_t route)
{
    return (w->shared.tables.route[route].flags & WEIR_ROUTE_SIGNED) != 0;
}

static const struct signer_key *key_of(const struct worker *w, uint32_t route, uint64_t scope)
{
    const struct signer_provider *p = &provider[w->route[route].provider];
    size_t i = p->key != NULL
                   ? weir_config_key_find(p->auth, scope >> (16 * WEIR_SCOPE_ACCOUNT) & 0xffffU,
                                          scope >> (16 * WEIR_SCOPE_KEY) & 0xffffU)
                   : SIZE_MAX;
    return i != SIZE_MAX && p->key[i].sign.parts.scheme != SIGN_NONE ? &p->key[i] : NULL;
}

struct session *signer_session(const struct worker *w, uint32_t route, uint64_t scope)
{
    const struct signer_key *key = is_signed(w, route) ? key_of(w, route, scope) : NULL;
    return key != NULL ? key->session : NULL;
}

uint64_t signer_generation(const struct call *c)
{
    return c->sign->generation;
}

int signer_admit(const struct worker *w, uint32_t route, uint64_t scope)
{
    return !is_signed(w, route) || key_of(w, route, scope) != NULL ? WEIR_OK : WEIR_E_KEY_MISSING;
}

bool signer_sends(const struct worker *w, uint32_t route, const char *name, size_t bytes)
{
    const struct signer_provider *p = &provider[w->route[route].provider];
    if (!is_signed(w, route) || p->key == NULL) {
        return false;
    }
    const struct sign_parts parts = weir_config_key_parts(p->auth, 0); /* names are the kind's */
    return sign_sends_header(&parts, name, bytes);
}

/* What is about to be sent; the path behind the endpoint's own is in `path`. */
static struct sign_request request_of(const struct worker *w, const struct call *c,
                                      struct sign_slice path)
{
    const struct weir_config_url *u = &c->endpoint->config->url;
    return (struct sign_request){
        .method = weir_method_name(w->shared.tables.route[c->route].method),
        .host = {u->host, strlen(u->host)},
        .path = path,
        .query = {c->parts.query, c->parts.query_bytes},
        .body = {c->parts.body, c->parts.body_bytes},
    };
}

/* The endpoint's base, the route's path without its star, the client's rest. */
static char *path_whole(const struct worker *w, const struct call *c, size_t *bytes)
{
    const char *base = c->endpoint->config->url.base_path;
    const char *fixed = w->route[c->route].config->path;
    size_t base_bytes = strlen(base);
    size_t fixed_bytes =
        strlen(fixed) -
        ((w->shared.tables.route[c->route].flags & WEIR_ROUTE_PATH_REST) != 0 ? 1U : 0U);
    *bytes = base_bytes + fixed_bytes + c->parts.path_bytes;
    char *path = malloc(*bytes + 1);
    if (path != NULL) {
        memcpy(path, base, base_bytes);
        memcpy(path + base_bytes, fixed, fixed_bytes);
        memcpy(path + base_bytes + fixed_bytes, c->parts.path, c->parts.path_bytes);
    }
    return path;
}

/* The form of a call that signs in: its texts are there already, and the same until it ends. */
static bool session_start(struct worker *w, struct call *c)
{
    const struct sign_in_request r = sign_in_request(c);
    size_t line_bytes = r.line != NULL ? strlen(r.line) + 1 : 0;
    size_t query_bytes = r.query != NULL ? strlen(r.query) + 1 : 0;
    struct sign_slice path = {NULL, 0};
    char *text = path_whole(w, c, &path.bytes);
    size_t bytes = line_bytes + (query_bytes > 0 ? path.bytes + 1 + query_bytes : 0);
    struct call_sign *form = text != NULL ? calloc(1, sizeof *form + bytes + 1) : NULL;
    if (form == NULL) {
        free(text);
        return false;
    }
    form->bytes = bytes + 1;
    form->line[0].data = form->memory + bytes; /* nothing */
    form->line[0].next = w->provider[w->route[c->route].provider].headers;
    if (r.line != NULL) {
        form->line[0].data = memcpy(form->memory, r.line, line_bytes);
    }
    if (r.query != NULL) {
        form->target = form->memory + line_bytes;
        memcpy(form->target, text, path.bytes);
        form->target[path.bytes] = '?';
        memcpy(form->target + path.bytes + 1, r.query, query_bytes);
    }
    form->path = (struct sign_slice){text, path.bytes};
    c->sign = form;
    return true;
}

bool signer_start(struct worker *w, struct call *c)
{
    signer_end(c);                                         /* of an attempt at another endpoint */
    bool own = c->client == NULL && c->doubt.asks == NULL; /* of no account */
    if (c->session != NULL) {
        return session_start(w, c);
    }
    if (own || !is_signed(w, c->route)) {
        return true;
    }
    const struct signer_key *key = key_of(w, c->route, c->scope);
    struct sign_slice path;
    char *text = path_whole(w, c, &path.bytes);
    path.at = text;
    if (text == NULL || key == NULL) {
        free(text);
        return false;
    }
    const struct sign_request r = request_of(w, c, path);
    c->sign = form_make(key, &r);
    if (c->sign == NULL) {
        free(text);
        return false;
    }
    c->sign->path = path;
    return true;
}

struct curl_slist *signer_headers(const struct call *c)
{
    return &c->sign->line[0];
}

void signer_body(const struct call *c, struct http_transfer *t)
{
    if (c->sign->has_body) {
        t->body = c->sign->result.body;
        t->body_bytes = c->sign->result.body_cap_bytes;
    }
}

static bool chance(const struct sign_key *key, unsigned char *random)
{
    bool wants =
        key->parts.scheme == SIGN_COINBASE_ES256 || key->parts.scheme == SIGN_COINBASE_ED25519;
    return !wants || getrandom(random, SIGN_RANDOM_BYTES, 0) == (ssize_t)SIGN_RANDOM_BYTES;
}

/* What is in force of its session. */
static bool session_sign(struct worker *w, struct call *c, bool *waits)
{
    struct call_sign *form = c->sign;
    const struct signer_key *key = form->key;
    struct sign_in_proof proof;
    *waits = !sign_in_proof(w, key->session, &proof);
    if (*waits) {
        return false;
    }
    form->generation = proof.generation;
    form->line[0].data = (char *)(uintptr_t)proof.line;
    if (proof.line == NULL) { /* its end was fixed before: form_make */
        form->line[0].data = form->memory;
        if (sign_in_cookies_for(key->session, c->endpoint, form->memory, SIGN_IN_LINE_MAX_BYTES) ==
            0) {
            return false;
        }
    }
    if (form->target == NULL) {
        return true;
    }
    const struct sign_key plain = {.parts = {.scheme = SIGN_API_KEY,
                                             .key = proof.crumb,
                                             .secret = "",
                                             .passphrase = "",
                                             .param = key->sign.parts.param}};
    struct sign_request r = request_of(w, c, form->path);
    r.utc_ns = weir_clock_realtime_ns(); /* no part of it, but asked for */
    return sign_call(&plain, &r, &form->result);
}

bool signer_sign(struct worker *w, struct call *c, uint64_t nonce_utc_ns, bool *waits)
{
    struct call_sign *form = c->sign;
    *waits = false;
    if (form->key == NULL) { /* it signs in: all of it is there */
        c->transfer.request_target = form->target;
        return true;
    }
    if (form->key->session != NULL) {
        bool ok = session_sign(w, c, waits);
        c->transfer.request_target = form->target;
        if (!ok && !*waits) {
            log_error("not_signed", "s:s, s:i", "route", w->shared.tables.route[c->route].name,
                      "correlation", (int)c->request.correlation);
        }
        return ok;
    }
    unsigned char random[SIGN_RANDOM_BYTES] = {0};
    const struct sign_key *key = &form->key->sign;
    struct sign_request r = request_of(w, c, form->path);
    r.utc_ns = clock_server_utc_ns(w, w->route[c->route].provider);
    r.random = random;
    if (sign_has_nonce(key->parts.scheme)) {
        struct weir_shm_ledger *own = w->region->own;
        /* In the ledger before it is used: a worker that dies here leaves a gap, never the same nonce twice. */
        r.nonce_ns = own->nonce_ns =
            sign_nonce(own->nonce_ns, nonce_utc_ns, key->parts.nonce_unit_ns);
        WEIR_WEAVE("sign:nonce");
    }
    if (!chance(key, random) || !sign_call(key, &r, &form->result) ||
        (form->has_body && form->result.body_bytes != form->result.body_cap_bytes)) {
        log_error("not_signed", "s:s, s:i", "route", w->shared.tables.route[c->route].name,
                  "correlation", (int)c->request.correlation);
        return false;
    }
    for (uint32_t i = 0; i < form->result.line_cnt; i++) {
        form->line[i].data = (char *)(uintptr_t)form->result.line[i];
    }
    c->transfer.request_target = form->target;
    return true;
}

void signer_end(struct call *c)
{
    if (c->sign != NULL) {
        free((char *)(uintptr_t)c->sign->path.at);
        form_free(c->sign);
        c->sign = NULL;
    }
}
