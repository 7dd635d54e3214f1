#include "broker/rlimits.h"

#include "broker/admission.h"
#include "broker/sign_in_file.h"

#include <stdio.h>
#include <sys/resource.h>

#define BASE_FILES \
    64U /* segments, rings, journal, log, signals, the ring, and what libraries open for a moment */
#define CLIENT_FILES (CONTROL_FDS + 1U) /* its connection too */

uint64_t rlimits_files_needed(const struct weir_config *config)
{
    uint64_t clients = 0;
    uint64_t others = 0;
    uint64_t connections = 0;
    for (size_t i = 0; i < config->broker.domain_cnt; i++) {
        const struct weir_config_domain *d = &config->broker.domain[i];
        clients += d->client_max;
        others += 1 + d->quota.monitor_max + WAITING_MAX;
    }
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t e = 0; e < config->provider[p].endpoint_cnt; e++) {
            connections += config->provider[p].endpoint[e].connection_max *
                           weir_max_u64(1, config->provider[p].egress_cnt);
        }
    }
    connections += sign_in_cnt(config); /* files of tokens; the supervisor has them too */
    others += sign_in_cnt(config);
    uint64_t supervisor = clients * CLIENT_FILES + others;
    uint64_t worker = clients * CONTROL_FDS + connections;
    return BASE_FILES + weir_max_u64(supervisor, worker);
}

int rlimits_check(const struct weir_config *config, char *text, size_t text_bytes)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 0;
    }
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    uint64_t need = rlimits_files_needed(config);
    if (files.rlim_max < need) {
        (void)snprintf(
            text, text_bytes,
            "the limit of open files is %llu (ulimit -Hn), and the clients, monitors and "
            "connections of this configuration can need %llu: raise it (LimitNOFILE=), or "
            "lower clients, quota.monitors or connections",
            (unsigned long long)files.rlim_max, (unsigned long long)need);
        return -1;
    }
    return 0;
}
