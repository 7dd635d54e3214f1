/*
 * sign_in_file.h: where refresh tokens lie: STATE_DIR/NAME/token.PROVIDER.ID, one file for each key of kind oauth2, mode 0600.
 *
 * A token of single use has to be on a disk: it is the only proof that there is, and the next one is only ever told once. So whoever can read these files can sign in; no
 * checksum or mode keeps root out, and a copy of one is worth nothing once the next token was fetched.
 *
 *   who opens    the supervisor, before there is a worker; ID is made of the names of provider, account and key, so a key that leaves the configuration and comes back
 *                finds its token
 *   who reads    each worker at its start, before the cage, into memory for keys: the supervisor never sees a token that weir fetched
 *   who writes   that worker, through its io_uring (sign_in.c): a slot of one page, then fsync. The file has its whole length from the beginning
 *   one writer   the journal's lock is theirs too; a worker is dead only when what it had asked the kernel to write is over
 *
 * Beside the descriptors lies what is shared by the workers of one supervisor, one after the other: struct sign_in_place.
 */
#ifndef WEIR_BROKER_SIGN_IN_FILE_H
#define WEIR_BROKER_SIGN_IN_FILE_H

#include "broker/region.h"
#include "broker/sign_in_rule.h"

/* All keys with a session, of all providers. */
#define SIGN_IN_SESSIONS_MAX 256U

struct sign_in_files {
    uint32_t cnt;                 /* of sessions, in the order of the configuration */
    int fd[SIGN_IN_SESSIONS_MAX]; /* -1: no token, or it could not be opened: why[] */
    int why[SIGN_IN_SESSIONS_MAX];
    uint64_t identity[SIGN_IN_SESSIONS_MAX][2]; /* whose the place is */
    bool durable[SIGN_IN_SESSIONS_MAX];         /* we saw the disk take its name and length */
    struct sign_in_place *place;                /* [session] */
    size_t place_bytes;
};

/* Sessions of a configuration: keys of providers whose auth has one, in its order. */
uint32_t sign_in_cnt(const struct weir_config *config);

/*
 * Open what the configuration needs, in the journal's directory. Never fails a start: what does not work is logged, and calls that need such a token are refused by name.
 * Sets region->sign_in. Again after a reload: descriptors of before are closed. Caller: the supervisor, the journal open, no worker alive.
 */
void sign_in_files_open(struct sign_in_files *files, const struct weir_config *config,
                        const struct journal *journal, struct region *region);

/*
 * Would a sign-in be lost with the worker that runs? A token of it was sent, and its answer is awaited, or on its way to the disk. A look, without waiting; false where no
 * worker has one. Caller: the supervisor, before it ends a worker that is to make way.
 */
bool sign_in_at_stake(const struct region *region);
/* The longest that a call with a token may take, by its route; 0: there is none. */
uint64_t sign_in_longest_ns(const struct weir_config *config);

/* A process that has no business with it lets the memory go; the descriptors it closes itself. */
void sign_in_files_forget(struct sign_in_files *files);

#endif
