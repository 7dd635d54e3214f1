/* show_limits.h: the state of limits as a monitor can know it: from the copies of the limit words on the board. */
#ifndef WEIR_MONITOR_SHOW_LIMITS_H
#define WEIR_MONITOR_SHOW_LIMITS_H

#include "command.h"
#include "weir_forecast.h"
#include "weir_share.h"

/*
 * A row whose arithmetic ends: a forged window_inverse would make the division of weir_window.h loop for ever. weir_tables_resolve checks
 * what the permit path needs; the inverse is the broker's word for its own window.
 */
bool limit_row_usable(const struct weir_shm_limit_row *row);

/*
 * The state of limit `limit` for its scope value `value`, at image->now_ns. `limit` and `value` lie inside the tables. False where the board has no copy of that
 * word or the row is not usable.
 */
bool limit_state(const struct image *image, uint32_t limit, uint32_t value,
                 struct weir_limit_state *state);

/* "account=main", or "ip" where the value has no name. */
const char *limit_scope(const struct image *image, uint32_t limit, uint32_t value,
                        char buffer[TEXT_BYTES]);

/* What a forecast is about when nobody says: the dearest route, in that route's own class; one unit in class medium where no route takes from the limit. */
struct limit_dearest {
    uint32_t units;
    uint32_t priority;
    uint32_t route; /* UINT32_MAX: none */
};

/* The forecast of one limit word for its dearest route, by the pace of the last ten seconds. Returns as limit_state. `window_micro` is the other pace. */
bool limit_forecast(const struct image *image, uint32_t limit, uint32_t value,
                    struct limit_dearest *dearest, struct weir_forecast *out,
                    uint64_t *window_micro);

/* A budget is a limit whose window is an hour or longer. */
bool limit_is_budget(const struct weir_shm_limit_row *row);

/* weir limits --forecast and --budget */
void forecast_text(FILE *out, const struct image *image, const struct image *before,
                   const struct options *options);
json_t *forecast_json(const struct image *image, const struct image *before,
                      const struct options *options);
void budget_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options);

/* weir limits --shadow */
void shadow_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options);
json_t *shadow_json(const struct image *image, const struct image *before,
                    const struct options *options);

void limits_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options);
json_t *limits_json(const struct image *image, const struct image *before,
                    const struct options *options);
void routes_text(FILE *out, const struct image *image, const struct image *before,
                 const struct options *options);
json_t *routes_json(const struct image *image, const struct image *before,
                    const struct options *options);

/* limits_client.c: what each attached client took. */
void by_client_text(FILE *out, const struct image *image, const struct image *before,
                    const struct options *options);
json_t *by_client_json(const struct image *image, const struct image *before,
                       const struct options *options);

/* The way back from a pause, as the copies on the board show it. */
struct hold_state {
    bool paused;       /* a pause holds */
    bool reopening;    /* it is over, and calls come back in steps */
    bool probing;      /* ... one tries */
    uint32_t step;     /* ... else the step of the ramp, from 1 */
    uint64_t until_ns; /* end of the longest pause; 0 = open */
    uint32_t cause;    /* of that */
    bool traders;      /* that was set by them */
};
void hold_state_get(struct hold_state *state, const struct weir_shm_provider *provider,
                    uint64_t now_ns);

/* The same in words. Returns false where nothing holds the provider back. */
#define HOLD_BYTES 160
/* "ip=a": the scope value `value` that provider `p` is held apart by; "no ip" for calls that count by none. Only where it is (hold_kind). */
const char *hold_name(const struct image *image, uint32_t p, uint32_t value, char name[TEXT_BYTES]);

bool hold_text(char text[HOLD_BYTES], const struct weir_shm_provider *provider, uint64_t now_ns);

#endif
