#include "broker/cage_make.h"

#include "broker/log.h"

int cage_make(struct cage *cage, enum cage_mode mode, const struct weir_config_broker *broker,
              const struct secret_area *secrets, char *text, size_t text_bytes)
{
    *cage = (struct cage){.mode = mode,
                          .hide = secrets->base != NULL,
                          .core = broker->core_max_bytes != 0,
                          .memory_max_bytes = broker->worker_memory_bytes,
                          .secrets = secrets};
    if (cage->hide || mode == CAGE_ENFORCE) {
        cage_hide(); /* the supervisor too: it holds the secrets and maps every segment */
    }
    if (cage_identity_find(&cage->identity, broker->user, text, text_bytes) != 0 ||
        cage_open(cage, text, text_bytes) != 0) {
        return -1;
    }
    return 0;
}

void cage_made_log(const struct cage *cage)
{
    if (cage->mode != CAGE_ENFORCE) {
        log_warn("cage_not_enforced", "s:s, s:s", "cage", cage_mode_name(cage->mode), "meaning",
                 "a worker that is broken into can make any system call: for diagnosis only");
    }
    log_info("cage_made", "s:s, s:s, s:i", "cage", cage_mode_name(cage->mode), "user",
             cage->identity.name, "uid", (int)cage->identity.uid);
}

void cage_report_log(struct cage *cage)
{
    char name[32];
    uint64_t at = 0;
    if (cage_report_take(cage, name, sizeof name, &at) != NULL) {
        log_error("worker_call_forbidden", "s:s, s:I, s:s", "call", name, "instruction",
                  (long long)at, "meaning",
                  "the worker made a system call that it never needs, and was ended before it was "
                  "done: somebody broke into it, or this is a bug of weir: report it. "
                  "--cage=off runs without the filter");
    }
}
