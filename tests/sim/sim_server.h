/* The socket and the loop: one thread, one wait point. */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include "sim_config.h"

#include <netinet/in.h>

/* "127.0.0.1:8080" → address. */
bool sim_listen_parse(const char *text, struct sockaddr_in *out, struct sim_error *error);

/* Serves until SIGTERM or SIGINT. Prints the address first on stdout. */
bool sim_serve(const struct sim_config *config, const struct sockaddr_in *address,
               struct sim_error *error);

#endif
