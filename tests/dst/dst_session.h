/* dst_session.h: sessions of the exchange, for those who carry a request there: what it bears, and what comes of that. */
#ifndef DST_SESSION_H
#define DST_SESSION_H

#include "dst.h"

#include "broker/http.h"

void dst_session_reset(void);
void dst_session_start(
    void); /* a person looks now and then, and gives a new token where one was lost */

/* Read what a request bears, at the wire. */
struct dst_bears dst_session_bears(const struct http_transfer *t, const char *path);
/* It leaves so. `is_signed`: its route is. */
void dst_session_leaves(unsigned provider, const char *path, bool is_signed,
                        const struct dst_bears *bears);
/* A call that signs in arrives, and would be answered `status`. Fills the body and a line of the head, and returns the status. */
unsigned dst_session_arrives(unsigned provider, const char *path, unsigned status,
                             const struct dst_bears *bears, char *head, size_t room,
                             struct dst_reply *out);
/* Does the exchange take what a signed call bears? */
bool dst_session_good(unsigned provider, const struct dst_bears *bears);
void dst_session_heard(unsigned provider, const char *path, const struct dst_bears *bears,
                       const struct dst_reply *reply);
void dst_session_renewed(const char *provider); /* weir says so */

#endif
