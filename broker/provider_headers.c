/*
 * provider_headers.c: the headers that the configuration sends with every call, such as an API key.
 *
 * Each is one line "name: value" in memory for keys (secret.h), made once by each worker; the nodes of curl's list that lead to it are made here too, because curl's own
 * would copy it. curl reads the list while it writes a request, and keeps nothing of it.
 */
#include "broker/secret.h"
#include "broker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct curl_slist *list[WEIR_CONFIG_PROVIDER_MAX];

struct curl_slist *provider_headers(uint32_t provider)
{
    return list[provider];
}

static size_t line_bytes(const struct weir_config_header *h)
{
    return strlen(h->name) + strlen(": ") + strlen(h->value) + 1;
}

static char *line_make(struct secret_area *lines, const struct weir_config_header *h)
{
    size_t name_bytes = strlen(h->name);
    char *line = secret_take(lines, line_bytes(h));
    if (line != NULL) {
        memcpy(line, h->name, name_bytes);
        memcpy(line + name_bytes, ": ", 2);
        memcpy(line + name_bytes + 2, h->value, strlen(h->value) + 1);
    }
    return line;
}

static struct curl_slist *list_make(const struct weir_config_provider *config,
                                    struct secret_area *lines)
{
    struct curl_slist *node = calloc(config->header_cnt, sizeof *node);
    for (size_t i = 0; node != NULL && i < config->header_cnt; i++) {
        node[i].data = line_make(lines, &config->header[i]);
        node[i].next = i + 1 < config->header_cnt ? &node[i + 1] : NULL;
        if (node[i].data == NULL) {
            free(node);
            node = NULL;
        }
    }
    return node;
}

bool provider_headers_open(const struct weir_config *config, char *text, size_t text_bytes)
{
    static struct secret_area lines; /* as long as the process */
    size_t bytes = 0;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *provider = &config->provider[p];
        for (size_t i = 0; i < provider->header_cnt; i++) {
            bytes += line_bytes(&provider->header[i]);
        }
    }
    if (secret_open(&lines, bytes, text, text_bytes) != 0) {
        return false;
    }
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *provider = &config->provider[p];
        list[p] = provider->header_cnt > 0 ? list_make(provider, &lines) : NULL;
        if (provider->header_cnt > 0 && list[p] == NULL) {
            return false;
        }
    }
    return true;
}

bool provider_headers_has(const struct provider *p, const char *name, size_t bytes)
{
    for (size_t i = 0; i < p->config->header_cnt; i++) {
        const char *own = p->config->header[i].name;
        if (strlen(own) == bytes && strncasecmp(own, name, bytes) == 0) {
            return true;
        }
    }
    return false;
}
