/*
 * sign_in_session.h: what tests of sessions share: calls that want one, the exchange's count of what it gave, and a search for it. Tokens, cookies and crumbs of the simulator hold the text "sim-token",
 * which must be nowhere but in memory for keys and in the files that keep tokens.
 */
#ifndef WEIR_TESTS_PROCESS_SIGN_IN_SESSION_H
#define WEIR_TESTS_PROCESS_SIGN_IN_SESSION_H

#include "rig.h"

/* A number of the simulator's report of its session: "given", "reused", "cookies". */
double session_report(struct rig *r, const char *what);

/* p.get, or p.order, which has a body. A call that could not be made ends as UNSET, with its error. */
struct weir_response session_call_for(struct weir *w, const char *route, unsigned limit_ms);
struct weir_response session_call(struct weir *w, const char *route);
/* It ends with status 200. */
void session_good(struct rig *r, struct weir *w, const char *route);

/* The log, and where it can be looked at: memory of the worker that others have too; what libcurl copied lies on its heap. */
void session_search(struct rig *r);
/* ... and all that the others have, and descriptors of all: the one file that keeps a token is only its user's to read. */
void session_search_all(struct rig *r);

/* The scenes of cookies and crumbs (sign_in_cookie.c); those of tokens are in sign_in.c. */
void sign_in_cookies(struct rig *r);

#endif
