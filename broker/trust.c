#include "broker/trust.h"

#include "broker/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct trust {
    const char *ca_file; /* of the configuration; "": the system's */
    X509_STORE *store;
    struct trust *next;
};

static struct trust *first;

const struct trust *trust_find(const char *ca_file)
{
    const struct trust *t = first;
    while (t != NULL && strcmp(t->ca_file, ca_file) != 0) {
        t = t->next;
    }
    return t;
}

void trust_apply(const struct trust *trust, void *ssl_ctx)
{
    SSL_CTX_set1_cert_store(ssl_ctx, trust->store); /* takes a reference: the store is ours too */
}

/* The bundle that libcurl was built with. */
static const char *system_file(void)
{
    const char *file = curl_version_info(CURLVERSION_NOW)->cainfo;
    return file != NULL ? file : "/etc/ssl/certs/ca-certificates.crt";
}

static void fill(struct trust *t)
{
    const char *path = t->ca_file[0] != '\0' ? t->ca_file : system_file();
    ERR_clear_error();
    if (X509_STORE_load_file(t->store, path) == 1) {
        return;
    }
    log_error("certificates_not_read", "s:s, s:s, s:s", "path", path, "reason",
              access(path, R_OK) != 0 ? strerror(errno) : "it holds no certificate in PEM form",
              "meaning",
              "no connection to its endpoints is believed, so none of their calls is made");
    ERR_clear_error();
}

static bool add(const char *ca_file)
{
    if (trust_find(ca_file) != NULL) {
        return true;
    }
    struct trust *t = calloc(1, sizeof *t);
    X509_STORE *store = X509_STORE_new();
    if (t == NULL || store == NULL) {
        free(t);
        X509_STORE_free(store);
        return false;
    }
    *t = (struct trust){.ca_file = ca_file, .store = store, .next = first};
    first = t;
    fill(t);
    return true;
}

bool trust_open(const struct weir_config *config)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *provider = &config->provider[p];
        for (size_t e = 0; e < provider->endpoint_cnt; e++) {
            const struct weir_config_endpoint *endpoint = &provider->endpoint[e];
            if (endpoint->url.tls && !add(endpoint->ca_file)) {
                return false;
            }
        }
    }
    return true;
}

const char *trust_reason(long verdict)
{
    /* curl looks at the name first, and says "unspecified" where that ended it. */
    return verdict == X509_V_OK || verdict == X509_V_ERR_UNSPECIFIED
               ? "it is for another host"
               : X509_verify_cert_error_string(verdict);
}
