/*
 * promise.h: how a test says that a promise of weir was broken, and not that something came late.
 *
 * More was let through than a limit allows; a call was made twice, lost, or answered twice; what was held is held for ever; bytes are another one's, or nobody's; a sanitizer spoke. No machine is so
 * slow that this may happen, so scripts/test.sh does not hear such a test a second time. It knows them by the exit status or by the words, whichever it finds, and reads both here
 * (scripts/hearing.py). Not for "in time", "so often", "at least".
 */
#ifndef WEIR_TESTS_SUPPORT_PROMISE_H
#define WEIR_TESTS_SUPPORT_PROMISE_H

#define WEIR_PROMISE_EXIT 98 /* of the test; 77 and 99 are meson's, lower ones anybody's */
#define WEIR_PROMISE_MARK "BROKEN PROMISE" /* begins the line that says which */

#endif
