#include "prop_shrink.h"

#include <string.h>

/* Clear up to `chunk` kept steps from `from` on; returns the step behind them. */
static uint32_t leave_out(uint8_t *keep, uint32_t cnt, uint32_t from, uint32_t chunk)
{
    while (from < cnt && chunk > 0) {
        chunk -= keep[from];
        keep[from++] = 0;
    }
    return from;
}

uint32_t prop_shrink(uint8_t *keep, uint32_t cnt, bool (*fails)(const uint8_t *keep))
{
    uint8_t trial[4096];
    uint32_t left = 0;
    cnt = cnt < sizeof trial ? cnt : (uint32_t)sizeof trial;
    for (uint32_t i = 0; i < cnt; i++) {
        left += keep[i];
    }
    for (uint32_t chunk = (left + 1) / 2; chunk > 0; chunk = chunk > 1 ? (chunk + 1) / 2 : 0) {
        for (bool again = true; again;) {
            again = false;
            for (uint32_t from = 0; from < cnt;) {
                memcpy(trial, keep, cnt);
                uint32_t next = leave_out(trial, cnt, from, chunk);
                if (memcmp(trial, keep, cnt) != 0 && fails(trial)) {
                    memcpy(keep, trial, cnt);
                    again = true;
                }
                from = next;
            }
        }
    }
    left = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        left += keep[i];
    }
    return left;
}
