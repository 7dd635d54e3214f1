/* board_fixture.h: a small, right board to look at, and the means to look at all of it. For unit tests and the fuzz target. */
#ifndef BOARD_FIXTURE_H
#define BOARD_FIXTURE_H

#include "image.h"

#include <stdio.h>

/* The instant of the fixture's board. */
#define FIXTURE_NOW_NS (UINT64_C(1000025) * WEIR_NS_PER_S)

/* Make the board through weir_segment_create and give back a copy of its bytes, line-aligned, for free(). NULL without memory. */
unsigned char *board_fixture_make(uint64_t *size);

/* Make the checksum of the current tables block right again, where there is such a block: damage behind it is then looked at. */
void board_fixture_seal(unsigned char *bytes, uint64_t size);

/* Open, check, print in every form to `out`. Returns what image_open said. */
int board_fixture_look(const unsigned char *bytes, uint64_t size, FILE *out);

/* The same for one turn of --watch: both are copied as from live boards, and shown where they are of one broker. Returns what image_open said of one of them. */
int board_fixture_watch(const unsigned char *bytes, const unsigned char *before, uint64_t size,
                        FILE *out);

#endif
