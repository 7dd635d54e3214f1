#include "show_limits.h"

#include "print.h"

#include <string.h>

bool limit_row_usable(const struct weir_shm_limit_row *row)
{
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return row->unit_ns > 0;
    case WEIR_LIMIT_FIXED_WINDOW:
        return row->window_ns > 1 && row->window_inverse == weir_window_inverse(row->window_ns);
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        return true;
    case WEIR_LIMIT_UNSET:
        break;
    }
    return false;
}

/* What weir_limit_state_get and its like want to see of one limit word. */
struct sight {
    struct weir_shm_limit_word word;
    struct weir_shm_foreign foreign;
    struct weir_server_clock clock;
    struct weir_limit_time time;
};

static bool sight_get(const struct image *image, const struct weir_shm_limit_row *row,
                      uint32_t value, struct sight *s)
{
    struct weir_shm_limit_view view;
    struct weir_shm_provider provider;
    const uint64_t word = (uint64_t)row->word_first + value;
    if (!limit_row_usable(row) ||
        !image_get(image, WEIR_SECTION_LIMIT_VIEW, word, &view, sizeof view) ||
        !image_get(image, WEIR_SECTION_PROVIDER, row->provider, &provider, sizeof provider)) {
        return false;
    }
    (void)image_get(image, WEIR_SECTION_FOREIGN, word, &s->foreign, sizeof s->foreign);
    image_server_clock(&provider, &s->clock);
    s->time =
        (struct weir_limit_time){.now_ns = image->now_ns,
                                 .error_ns = weir_server_clock_error_ns(&s->clock, image->now_ns),
                                 .server = &s->clock};
    s->word = (struct weir_shm_limit_word){.word = {view.word[0], view.word[1]}};
    return true;
}

bool limit_state(const struct image *image, uint32_t limit, uint32_t value,
                 struct weir_limit_state *state)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    struct sight s;
    if (!sight_get(image, row, value, &s)) {
        memset(state, 0, sizeof *state);
        return false;
    }
    const struct weir_limit_place at = {.row = row, .word = &s.word}; /* no cells: a view */
    weir_limit_state_get(state, &at, &s.foreign, &s.time);
    return true;
}

bool limit_is_budget(const struct weir_shm_limit_row *row)
{
    return row->kind != WEIR_LIMIT_CONCURRENCY && row->rate_window_ns >= 3600 * WEIR_NS_PER_S;
}

bool limit_forecast(const struct image *image, uint32_t limit, uint32_t value,
                    struct limit_dearest *dearest, struct weir_forecast *out,
                    uint64_t *window_micro)
{
    const struct weir_tables *t = &image->tables;
    const struct weir_shm_limit_row *row = &t->limit[limit];
    struct weir_shm_pace pace;
    struct weir_limit_state state;
    struct sight s;
    *dearest = (struct limit_dearest){.priority = WEIR_PRIORITY_MEDIUM};
    dearest->units = weir_forecast_dearest(t->route, t->route_cnt, limit, &dearest->route);
    if (dearest->route != UINT32_MAX) {
        dearest->priority = t->route[dearest->route].priority;
    } else {
        dearest->units = 1;
    }
    *window_micro = 0;
    if (!sight_get(image, row, value, &s)) {
        memset(out, 0, sizeof *out);
        return false;
    }
    (void)image_get(image, WEIR_SECTION_PACE, (uint64_t)row->word_first + value, &pace,
                    sizeof pace);
    const struct weir_limit_place at = {.row = row, .word = &s.word}; /* no cells: a view */
    const struct weir_forecast_for about = {
        .at = &at,
        .foreign = &s.foreign,
        .time = &s.time,
        .units = dearest->units,
        .priority = dearest->priority,
        .pace_micro = pace.short_micro,
        .pace_over_ns = pace.since_ns != 0 && pace.since_ns < image->now_ns
                            ? weir_min_u64(image->now_ns - pace.since_ns, WEIR_PACE_SHORT_NS)
                            : 0,
    };
    *window_micro = pace.window_micro;
    weir_limit_state_get(&state, &at, &s.foreign, &s.time);
    weir_forecast_make(out, &about, &state);
    return true;
}

const char *limit_scope(const struct image *image, uint32_t limit, uint32_t value,
                        char buffer[TEXT_BYTES])
{
    const struct weir_tables *t = &image->tables;
    const struct weir_shm_limit_row *row = &t->limit[limit];
    const uint32_t kind = row->scope_shift / 16;
    char name[TEXT_BYTES];
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        if (t->scope[i].provider == row->provider && t->scope[i].kind == kind &&
            t->scope[i].value == value && t->scope[i].name[0] != '\0') {
            (void)snprintf(buffer, TEXT_BYTES, "%s=%.60s", weir_scope_kind_name(kind),
                           PRINT_TEXT(name, t->scope[i].name));
            return buffer;
        }
    }
    if (row->word_cnt == 1) {
        (void)snprintf(buffer, TEXT_BYTES, "%s", weir_scope_kind_name(kind));
    } else {
        (void)snprintf(buffer, TEXT_BYTES, "%s#%u", weir_scope_kind_name(kind), value);
    }
    return buffer;
}
