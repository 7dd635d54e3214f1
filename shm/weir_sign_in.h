/*
 * weir_sign_in.h: sessions on the board: how far weir is signed in, for each key whose calls bear what weir has fetched (broker/sign_in.h). No secret is here, and
 * nothing that one could be made of.
 */
#ifndef WEIR_SIGN_IN_H
#define WEIR_SIGN_IN_H

#include "weir_layout.h"

enum weir_sign_in_state {
    WEIR_SIGN_IN_NONE = 0,     /* no key is configured */
    WEIR_SIGN_IN_STARTING = 1, /* being signed in, for the first time since the worker's start */
    WEIR_SIGN_IN_READY = 2,
    WEIR_SIGN_IN_WAITING = 3, /* it did not work, and is tried again at an instant */
    WEIR_SIGN_IN_LOST =
        4, /* the refresh token may be spent, and its answer never came: a person has to give a new one */
    WEIR_SIGN_IN_REFUSED = 5, /* the exchange said no to it: likewise */
    WEIR_SIGN_IN_OFF = 6,     /* no file can keep the tokens */
    WEIR_SIGN_IN_UNKEPT =
        7, /* a token has come that the disk does not take: tried again and again */
    WEIR_SIGN_IN_ASTRAY = 8, /* the exchange names a server that is no endpoint */
    WEIR_SIGN_IN_STATE_CNT
};

/* What the last attempt came to. */
enum weir_sign_in_why {
    WEIR_SIGN_IN_WHY_NONE = 0,
    WEIR_SIGN_IN_WHY_UNSENT = 1,  /* no permit, or no connection, in time */
    WEIR_SIGN_IN_WHY_STOPPED = 2, /* the exchange said "too many" */
    WEIR_SIGN_IN_WHY_SILENT = 3,  /* sent, and no whole answer came */
    WEIR_SIGN_IN_WHY_STATUS = 4,  /* an answer of another status */
    WEIR_SIGN_IN_WHY_ANSWER = 5,  /* an answer that says nothing of use */
    WEIR_SIGN_IN_WHY_DISK = 6,
    WEIR_SIGN_IN_WHY_DIED = 7, /* a worker, or the machine, between the sending and the answer */
    WEIR_SIGN_IN_WHY_CNT
};

/* One for each key, in the order of the configuration. Writer: worker, relaxed. A dead worker leaves an old picture. */
struct weir_shm_sign_in {
    uint32_t provider;
    uint32_t state;         /* enum weir_sign_in_state */
    uint32_t why;           /* enum weir_sign_in_why */
    uint32_t busy;          /* a sign-in is under way */
    uint64_t good_until_ns; /* 0: nothing is in force */
    uint64_t next_ns;       /* of the next sign-in; UINT64_MAX: none */
    uint64_t done;          /* that worked */
    uint64_t failed;
    uint64_t second_uses; /* of a token that may have been spent */
    uint64_t renewed; /* before their time, because an answer said that the token was not taken */
    uint64_t refused; /* calls that found no session: they waited, or were refused */
    uint64_t reserved[7];
    char account[WEIR_NAME_BYTES]; /* "": any; written at the worker's start */
    char key[WEIR_NAME_BYTES];
} WEIR_ALIGN_LINE;

#endif
