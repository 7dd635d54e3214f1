/* exit_codes.h: how the program `weir` ends. Scripts rely on these; weir(1) lists them. */
#ifndef WEIR_MONITOR_EXIT_CODES_H
#define WEIR_MONITOR_EXIT_CODES_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_USAGE = 1, /* also a failure that has no code of its own */
    EXIT_CONFIG = 2,
    EXIT_STALE = 3,
    EXIT_ABSENT = 4,
    EXIT_CORRUPT = 5, /* or written by another version */
    EXIT_PERMISSION = 6,
    /* weir call only: how the request ended */
    EXIT_HTTP_ERROR = 7,      /* answered, with a status of 400 or above */
    EXIT_NOT_SENT = 8,        /* certainly not sent */
    EXIT_NO_ANSWER = 9,       /* sent, idempotent, and no whole answer came */
    EXIT_OUTCOME_UNKNOWN = 10 /* sent, not idempotent, and no whole answer came */
};

#endif
