#include "broker/pair.h"

#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

static void keep(struct worker *w, uint32_t *cnt, uint32_t word)
{
    struct weir_shm_ledger *l = w->region->own;
    if (*cnt < WEIR_PERMIT_LIMITS_MAX && word < w->region->word_cnt) {
        l->undo_word[*cnt] = word;
        l->undo[*cnt][0] = w->region->own_word[word].word[0]; /* plain: this thread is the writer */
        l->undo[*cnt][1] = w->region->own_word[word].word[1];
        (*cnt)++;
    }
}

void pair_open_route(struct worker *w, uint32_t route, uint64_t scope)
{
    const struct weir_shm_route_row *row = &w->shared.tables.route[route];
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        uint32_t word;
        if (weir_permit_word(&w->shared, row->limit[i], scope, &word) != NULL) {
            keep(w, &cnt, word);
        }
    }
    WEIR_WEAVE("pair:open");
    weir_store_release_u32(&w->region->own->undo_cnt, cnt); /* pair:undo R */
}

void pair_open_permit(struct worker *w, const struct weir_permit *permit,
                      const struct weir_cost *counted)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < permit->charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        if (counted == NULL || counted->units[i] > permit->charge[i].units) {
            keep(w, &cnt, permit->charge[i].word);
        }
    }
    WEIR_WEAVE("pair:open");
    weir_store_release_u32(&w->region->own->undo_cnt, cnt); /* pair:undo R */
}

void pair_open_word(struct worker *w, uint32_t word)
{
    uint32_t cnt = 0;
    keep(w, &cnt, word);
    WEIR_WEAVE("pair:open");
    weir_store_release_u32(&w->region->own->undo_cnt, cnt); /* pair:undo R */
}

void pair_close(struct worker *w)
{
    WEIR_WEAVE("pair:close");
    weir_store_release_u32(&w->region->own->undo_cnt, 0); /* pair:undo R */
}

/* Put back what the ledger says. Returns how many words. */
static uint32_t restore(struct worker *w)
{
    const struct weir_shm_ledger *l = w->region->own;
    uint32_t cnt = weir_load_acquire_u32(&l->undo_cnt); /* pair:undo A */
    for (uint32_t i = 0; i < cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        struct weir_shm_limit_word *word = &w->region->own_word[l->undo_word[i]];
        for (unsigned k = 0; k < 2; k++) {
            weir_store_relaxed_u64(&word->word[k],
                                   l->undo[i][k]); /* relaxed: nobody else reads it */
        }
    }
    pair_close(w);
    return cnt;
}

void pair_back(struct worker *w)
{
    (void)restore(w);
}

void pair_undo(struct worker *w)
{
    uint32_t cnt = restore(w);
    if (cnt > 0) {
        log_info("charge_undone", "s:i", "limits", (int)cnt);
    }
}
