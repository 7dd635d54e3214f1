/*
 * The life of a call, on libmicrohttpd's callbacks:
 *
 *   arrive → count → (body complete) → answer made → wait → sent, or spoiled
 *
 * Waiting calls are suspended and stand in sim->timers; the loop in
 * sim_server.c resumes them. So a slow answer holds up nobody else.
 */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include "sim_request.h"

struct MHD_Daemon;

/* Serves on LISTEN_FD, driven by the caller's loop. NULL: it cannot. */
struct MHD_Daemon *sim_http_start(struct sim *sim, int listen_fd);

/* Lets the calls go on that are due at NOW. */
void sim_http_resume_due(struct sim *sim, int64_t now_mono_ns);

/* Lets all waiting calls end without an answer. */
void sim_http_cut_all(struct sim *sim);

#endif
