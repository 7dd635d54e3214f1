#include "sim_signature.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEN_MAX = 1 << 20,
    MAC_BYTES = 32,
    AHEAD_MS = 1000,
    WINDOW_MS = 5000,
    WINDOW_MAX_MS = 60000
};

static bool text_take(char out[SIM_SIGNATURE_BYTES + 1], const char *text)
{
    return text && *text &&
           snprintf(out, SIM_SIGNATURE_BYTES + 1, "%s", text) <= SIM_SIGNATURE_BYTES;
}

bool sim_signature_read(const json_t *object, struct sim_signature_rule *rule,
                        struct sim_error *error)
{
    const json_t *secrets = json_object_get(object, "secrets");
    const json_t *paths = json_object_get(object, "paths");
    const char *key;
    json_t *secret;

    if (!json_is_object(secrets) || !json_is_array(paths) || json_object_size(object) != 2 ||
        json_object_size(secrets) > SIM_SIGNATURE_KEY_MAX ||
        json_array_size(paths) > SIM_SIGNATURE_PATH_MAX) {
        return sim_error_set(
            error,
            "signature: must be {\"secrets\": {\"key\": \"secret\"}, \"paths\": [\"POST "
            "/api/v3/order\"]} of at most %d keys and %d paths",
            SIM_SIGNATURE_KEY_MAX, SIM_SIGNATURE_PATH_MAX);
    }
    json_object_foreach((json_t *)(uintptr_t)secrets, key, secret)
    {
        struct sim_signature_key *row = &rule->keys[rule->key_cnt++];

        if (!text_take(row->key, key) || !text_take(row->secret, json_string_value(secret))) {
            return sim_error_set(error,
                                 "signature.secrets: keys and secrets must be texts of at most %d "
                                 "bytes",
                                 SIM_SIGNATURE_BYTES);
        }
    }
    for (size_t i = 0; i < json_array_size(paths); i++) {
        if (!text_take(rule->paths[rule->path_cnt++],
                       json_string_value(json_array_get(paths, i)))) {
            return sim_error_set(error, "signature.paths[%zu]: must be a text of at most %d bytes",
                                 i, SIM_SIGNATURE_BYTES);
        }
    }
    return true;
}

bool sim_signature_wanted(const struct sim_signature_rule *rule, const char *method,
                          const char *path)
{
    size_t method_bytes = strlen(method);

    for (size_t i = 0; i < rule->path_cnt; i++) {
        const char *wanted = rule->paths[i];

        if (strncmp(wanted, method, method_bytes) == 0 && wanted[method_bytes] == ' ' &&
            strcmp(wanted + method_bytes + 1, path) == 0) {
            return true;
        }
    }
    return false;
}

struct piece {
    const char *at;
    size_t bytes;
};

/* The value of a parameter as it came; NULL. */
static const char *param_find(struct piece from, const char *name, size_t *bytes)
{
    size_t name_bytes = strlen(name);
    const char *end = from.at + from.bytes;

    for (const char *at = from.at; at && at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));

        stop = stop ? stop : end;
        if ((size_t)(stop - at) > name_bytes && at[name_bytes] == '=' &&
            memcmp(at, name, name_bytes) == 0) {
            *bytes = (size_t)(stop - at) - name_bytes - 1;
            return at + name_bytes + 1;
        }
        at = stop + 1;
    }
    return NULL;
}

/* A number of either place, the query first; -1: none. */
static int64_t number_find(const struct piece place[2], const char *name)
{
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        const char *value = param_find(place[i], name, &bytes);

        if (value) {
            return bytes < 18 ? strtoll(value, NULL, 10) : -1;
        }
    }
    return -1;
}

/* Takes the signature out of its place, with the '&' before it. It has to be last there. */
static bool signature_take(struct piece place[2], char hex[2 * MAC_BYTES + 1])
{
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        const char *value = param_find(place[i], "signature", &bytes);

        if (!value) {
            continue;
        }
        if (bytes != 2 * MAC_BYTES || value + bytes != place[i].at + place[i].bytes) {
            return false;
        }
        memcpy(hex, value, bytes);
        hex[bytes] = '\0';
        place[i].bytes = (size_t)(value - place[i].at) - strlen("signature=");
        place[i].bytes -= place[i].bytes > 0; /* '&' */
        return true;
    }
    return false;
}

static bool hmac_hex(const char *secret, const struct piece place[2], char hex[2 * MAC_BYTES + 1])
{
    size_t bytes = place[0].bytes + place[1].bytes;
    char *text = malloc(bytes + 1);
    unsigned char mac[MAC_BYTES];
    size_t mac_bytes = 0;
    bool good = false;

    if (text) {
        memcpy(text, place[0].at ? place[0].at : "", place[0].bytes);
        memcpy(text + place[0].bytes, place[1].at ? place[1].at : "", place[1].bytes);
        good = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, strlen(secret),
                         (const unsigned char *)text, bytes, mac, sizeof(mac), &mac_bytes) != NULL;
    }
    free(text);
    for (size_t i = 0; good && i < MAC_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    }
    return good;
}

/* Was this signature seen before? Half of a MAC is enough to tell. */
static bool seen_before(struct sim_signatures *signatures, const char *hex)
{
    char half[17];
    uint64_t value;

    if (!signatures->seen) {
        signatures->seen = calloc(SEEN_MAX, sizeof(*signatures->seen));
    }
    snprintf(half, sizeof(half), "%.16s", hex);
    value = strtoull(half, NULL, 16) | 1;
    if (!signatures->seen || signatures->seen_cnt > SEEN_MAX / 2) {
        return false;
    }
    for (size_t i = value / 2 % SEEN_MAX;; i = (i + 1) % SEEN_MAX) {
        if (signatures->seen[i] == value) {
            return true;
        }
        if (signatures->seen[i] == 0) {
            signatures->seen[i] = value;
            signatures->seen_cnt++;
            return false;
        }
    }
}

static enum sim_signature_verdict judge(struct sim_signatures *signatures,
                                        const struct sim_signature_rule *rule, const char *key,
                                        struct piece place[2], int64_t now_utc_ms)
{
    char got[2 * MAC_BYTES + 1];
    char want[2 * MAC_BYTES + 1];
    int64_t at_ms = number_find(place, "timestamp");
    int64_t window_ms = number_find(place, "recvWindow");
    size_t i = 0;

    while (i < rule->key_cnt && strcmp(rule->keys[i].key, key) != 0) {
        i++;
    }
    if (i == rule->key_cnt) {
        return SIM_SIGNATURE_UNKNOWN;
    }
    if (at_ms < 0 || !signature_take(place, got)) {
        return SIM_SIGNATURE_MISSING;
    }
    window_ms = window_ms < 0 ? WINDOW_MS : window_ms;
    if (at_ms >= now_utc_ms + AHEAD_MS || now_utc_ms - at_ms > window_ms ||
        window_ms > WINDOW_MAX_MS) {
        return SIM_SIGNATURE_LATE;
    }
    if (!hmac_hex(rule->keys[i].secret, place, want) || strcmp(got, want) != 0) {
        return SIM_SIGNATURE_BAD;
    }
    signatures->repeated_cnt += seen_before(signatures, got);
    return SIM_SIGNATURE_GOOD;
}

enum sim_signature_verdict sim_signature_check(struct sim_signatures *signatures,
                                               const struct sim_signature_rule *rule,
                                               const char *key, const char *query, const char *body,
                                               size_t body_bytes, int64_t now_utc_ms)
{
    struct piece place[2] = {{query, query ? strlen(query) : 0}, {body, body ? body_bytes : 0}};
    enum sim_signature_verdict verdict = judge(signatures, rule, key, place, now_utc_ms);

    signatures->verdict_cnt[verdict]++;
    return verdict;
}

void sim_signatures_clear(struct sim_signatures *signatures)
{
    free(signatures->seen);
    *signatures = (struct sim_signatures){0};
}

json_t *sim_signatures_report(const struct sim_signatures *signatures)
{
    static const char *const name[SIM_SIGNATURE_VERDICT_CNT] = {"good", "unknown_key", "missing",
                                                                "late", "bad"};
    json_t *object = json_object();

    for (int i = 0; i < SIM_SIGNATURE_VERDICT_CNT; i++) {
        json_object_set_new(object, name[i], json_integer(signatures->verdict_cnt[i]));
    }
    json_object_set_new(object, "repeated", json_integer(signatures->repeated_cnt));
    return object;
}
