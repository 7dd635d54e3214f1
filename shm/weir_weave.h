/*
 * weir_weave.h: named places inside the lock-free algorithms.
 *
 * WEIR_WEAVE("ring:publish") marks an instant between two accesses to shared memory, just before a CAS or just after a
 * publication. In production it is nothing at all. A test compiled with -DWEIR_WEAVE_HOOKS gives the function
 * weir_weave_hook() and may then yield, stop, count, or die at exactly that place. The names are also how documents speak of
 * these instants. A build with -Dweave=true has the hooks in all programs, and tests/support/weave.c behind them: there
 * one process holds another one at a name, and kills, stops or delays it (tests/process/weave_campaign.c).
 */
#ifndef WEIR_WEAVE_H
#define WEIR_WEAVE_H

#if defined(WEIR_WEAVE_HOOKS)

/* Given by the test. Called by any thread, often: it must not take a lock that the test's threads hold. */
void weir_weave_hook(const char *name);

/* The names that a program has stand in a section of it, so that a campaign knows which ones it has not reached. */
#define WEIR_WEAVE(name)                                                                          \
    do {                                                                                          \
        static const char *const weave_name_ __attribute__((section("weir_weave"), used)) = name; \
        weir_weave_hook(weave_name_);                                                             \
    } while (0)

#else

#define WEIR_WEAVE(name) ((void)0)

#endif

#endif
