/*
 * supervisor.h: small and boring, because it must never die.
 *
 * Makes the segments, lets clients in, watches everybody by pidfd, starts the worker again. It touches no request, parses nothing from the
 * network, and allocates nothing after start.
 */
#ifndef WEIR_BROKER_SUPERVISOR_H
#define WEIR_BROKER_SUPERVISOR_H

#include "broker/cage.h"
#include "broker/config/config.h"

/* How a configuration is read again. */
struct supervisor_reload {
    /* As at the start. The parser's child calls `forget` first. NULL with `text`: the first thing that is wrong. */
    struct weir_config *(*load)(void *arg, void (*forget)(void *), void *forget_arg, char *text,
                                size_t text_bytes);
    /* What `load` returned is in force, and the one before is given back; or it is not wanted. */
    void (*done)(void *arg, struct weir_config *config, bool taken);
    void *arg;
};

/* What the command line says about one run. */
struct supervisor_options {
    const char *runtime_dir; /* the base: files go to RUNTIME_DIR/NAME */
    bool fresh;              /* somebody vouches that nothing was used before this start */
    bool takeover;           /* in the place of the broker that runs there (takeover.h) */
    enum cage_mode cage;
    const struct secret_area *secrets;      /* where the configuration's secrets are */
    const struct supervisor_reload *reload; /* for SIGHUP */
};

/*
 * Run the broker until SIGTERM or SIGINT. The journal goes to broker.state_dir/NAME, which is set. A worker whose supervisor has died is taken over from in any
 * case. Returns the exit status.
 */
int supervisor_run(const struct weir_config *config, const struct supervisor_options *options);

#endif
