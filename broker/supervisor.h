/*
 * supervisor.h: small and boring, because it must never die.
 *
 * Makes the segments, lets clients in, watches everybody by pidfd, starts the worker again. It touches no request, parses nothing from the
 * network, and allocates nothing after start.
 */
#ifndef WEIR_BROKER_SUPERVISOR_H
#define WEIR_BROKER_SUPERVISOR_H

#include "broker/config/config.h"

/*
 * Run the broker until SIGTERM or SIGINT. `runtime_dir` is the base; files go to RUNTIME_DIR/NAME, and the journal to broker.state_dir/NAME, which is set. `fresh`:
 * somebody vouches that nothing was used before this start. `takeover`: in the place of the broker that runs there (takeover.h). A worker whose supervisor has died is taken
 * over from in any case. Returns the exit status.
 */
int supervisor_run(const struct weir_config *config, const char *runtime_dir, bool fresh,
                   bool takeover);

#endif
