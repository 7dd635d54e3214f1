/* show_call.h: how a call ended, in words, in JSON, and as an exit code. */
#ifndef WEIR_MONITOR_SHOW_CALL_H
#define WEIR_MONITOR_SHOW_CALL_H

#include "weir.h"

/* The exit code of a response. */
int call_exit_code(const struct weir_response *response);

/* Print body and outcome; returns call_exit_code, or EXIT_USAGE where stdout cannot be written. */
int call_show(const char *route, const struct weir_response *response, const char *member,
              int json);

/* Percent-encode `bytes` bytes of `text` into `out`, which has room for 3 times as many. Returns the bytes written. Not NUL-terminated. */
size_t query_encode(char *out, const char *text, size_t bytes);

#endif
