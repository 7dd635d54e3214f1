/*
 * prop_shrink.h: the fewest steps of a schedule that still show a failure.
 *
 * Delta debugging (Zeller & Hildebrandt 2002): leave out halves, quarters, ... single steps, as long as the rest still fails. The steps must not depend
 * on each other's random numbers, so each step of a schedule draws from a seed of its own.
 */
#ifndef WEIR_TESTS_PROP_SHRINK_H
#define WEIR_TESTS_PROP_SHRINK_H

#include <stdbool.h>
#include <stdint.h>

/* Leave out of `keep[0..cnt)` (1 = kept) what is not needed for `fails(keep)`. Returns how many steps are left. */
uint32_t prop_shrink(uint8_t *keep, uint32_t cnt, bool (*fails)(const uint8_t *keep));

#endif
