/*
 * weir_weave.h: named places inside the lock-free algorithms.
 *
 * WEIR_WEAVE("ring:publish") marks an instant between two accesses to shared memory, just before a CAS or just after a
 * publication. In production it is nothing at all. A test compiled with -DWEIR_WEAVE_HOOKS gives the function
 * weir_weave_hook() and may then yield, stop, count, or die at exactly that place. The names are also how documents speak of
 * these instants.
 */
#ifndef WEIR_WEAVE_H
#define WEIR_WEAVE_H

#if defined(WEIR_WEAVE_HOOKS)

/* Given by the test. Called by any thread, often: it must not take a lock that the test's threads hold. */
void weir_weave_hook(const char *name);

#define WEIR_WEAVE(name) weir_weave_hook(name)

#else

#define WEIR_WEAVE(name) ((void)0)

#endif

#endif
