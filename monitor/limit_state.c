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

bool limit_state(const struct image *image, uint32_t limit, uint32_t value,
                 struct weir_limit_state *state)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    struct weir_shm_limit_view view;
    struct weir_shm_foreign foreign;
    struct weir_shm_provider provider;
    const uint64_t word = (uint64_t)row->word_first + value;
    if (!limit_row_usable(row) ||
        !image_get(image, WEIR_SECTION_LIMIT_VIEW, word, &view, sizeof view) ||
        !image_get(image, WEIR_SECTION_PROVIDER, row->provider, &provider, sizeof provider)) {
        memset(state, 0, sizeof *state);
        return false;
    }
    (void)image_get(image, WEIR_SECTION_FOREIGN, word, &foreign, sizeof foreign);
    struct weir_server_clock clock;
    image_server_clock(&provider, &clock);
    struct weir_limit_time time = {.now_ns = image->now_ns,
                                   .error_ns = weir_server_clock_error_ns(&clock, image->now_ns),
                                   .server = &clock};
    struct weir_shm_limit_word copy = {.word = {view.word[0], view.word[1]}};
    const struct weir_limit_place at = {.row = row, .word = &copy}; /* no cells: a view */
    weir_limit_state_get(state, &at, &foreign, &time);
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
