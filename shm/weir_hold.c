#include "weir_hold.h"

#include "weir_permit.h"
#include "weir_weave.h"

/* Both pause words, and what they mean together. */
struct words {
    uint64_t traders;
    uint64_t until_ns; /* of the longer one; 0: open */
    bool guessed;      /* an exchange asked for one of them: whether it is over has to be tried */
};

static bool is_guess(uint64_t word)
{
    return weir_pause_until_ns(word) != 0 && weir_pause_cause(word) != WEIR_PAUSE_OPERATOR;
}

static struct words words_read(const struct weir_permit_view *view, uint32_t place)
{
    uint64_t traders = weir_load_acquire_u64(&view->pause[place].word);   /* pair:pause A */
    uint64_t board = weir_load_acquire_u64(&view->provider[place].pause); /* pair:pause A */
    return (struct words){
        .traders = traders,
        .until_ns = weir_max_u64(weir_pause_until_ns(traders), weir_pause_until_ns(board)),
        .guessed = is_guess(traders) || is_guess(board)};
}

static struct weir_reopen_rule rule_of(const struct weir_permit_view *view, uint32_t provider)
{
    const struct weir_shm_provider_row *row = &view->tables.provider[provider];
    return (struct weir_reopen_rule){.lease_ns = row->reopen_lease_ns,
                                     .step_ns = row->reopen_step_ns};
}

uint32_t weir_hold_of_permit(const struct weir_permit_view *view, uint32_t provider,
                             const struct weir_permit *permit)
{
    const struct weir_shm_provider_row *row = &view->tables.provider[provider];
    for (uint32_t i = 0; row->hold_kind != 0 && i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        if (i < WEIR_PERMIT_LIMITS_MAX && c->limit < view->tables.limit_cnt &&
            view->tables.limit[c->limit].scope_kind == row->hold_kind - 1) {
            /* a trader's own memory: whatever stands there names a line of this provider */
            return weir_hold_line(row, provider, c->word - view->tables.limit[c->limit].word_first);
        }
    }
    return provider;
}

/* What the words say now. `*seen` and `*next` are the reopening word and what a claim makes of it. */
static enum weir_hold judge(struct weir_permit_view *view, uint32_t provider, uint32_t place,
                            const struct words *words, uint64_t *seen, uint64_t *next,
                            uint64_t *earliest_ns)
{
    *seen = weir_load_acquire_u64(&view->pause[place].reopen); /* pair:reopen A */
    uint64_t now_ns = weir_clock_now(&view->time); /* after the word: see weir_reopen_ask */
    if (now_ns < words->until_ns) {
        *earliest_ns = words->until_ns < WEIR_PAUSE_UNTIL_MAX_NS ? words->until_ns : UINT64_MAX;
        return WEIR_HOLD_PAUSED;
    }
    if (!words->guessed || view->account_only) {
        return WEIR_HOLD_NONE;
    }
    struct weir_reopen_rule rule = rule_of(view, provider);
    switch (weir_reopen_ask(&rule, *seen, words->until_ns, now_ns, next, earliest_ns)) {
    case WEIR_REOPEN_OPEN:
        return WEIR_HOLD_NONE;
    case WEIR_REOPEN_WAIT:
        return WEIR_HOLD_REOPENING;
    default:
        return WEIR_HOLD_CLAIM;
    }
}

enum weir_hold weir_hold_look(struct weir_permit_view *view, uint32_t provider, uint32_t place,
                              uint64_t *earliest_ns)
{
    uint64_t seen;
    uint64_t next;
    const struct words words = words_read(view, place);
    return judge(view, provider, place, &words, &seen, &next, earliest_ns);
}

enum weir_hold weir_hold_claim(struct weir_permit_view *view, uint32_t provider, uint32_t place,
                               uint32_t *generation, uint64_t *earliest_ns)
{
    for (int n = 0; n < WEIR_PERMIT_ATTEMPTS; n++) {
        uint64_t seen;
        uint64_t next = 0;
        const struct words words = words_read(view, place);
        enum weir_hold h = judge(view, provider, place, &words, &seen, &next, earliest_ns);
        *generation = weir_pause_generation(words.traders);
        if (h != WEIR_HOLD_CLAIM) {
            return h;
        }
        WEIR_WEAVE("reopen:judged");
        if (weir_cas_u64(&view->pause[place].reopen, &seen, next)) { /* pair:reopen R */
            WEIR_WEAVE("reopen:claimed");
            if ((next & 3U) == WEIR_REOPEN_PROBING) {
                *generation |= WEIR_HOLD_PROBE | weir_reopen_ticket(next) << WEIR_HOLD_TICKET_SHIFT;
            }
            return WEIR_HOLD_CLAIM;
        }
    }
    return WEIR_HOLD_CONTENDED;
}

void weir_hold_answered(struct weir_permit_view *view, uint32_t provider,
                        const struct weir_permit *permit)
{
    uint32_t place = weir_hold_of_permit(view, provider, permit);
    struct weir_shm_pause *pause = &view->pause[place];
    const struct words words = words_read(view, place);
    if (WEIR_LIKELY(words.until_ns == 0) || !words.guessed ||
        permit->granted_at_ns < words.until_ns) {
        return; /* open; or the answer to a call that left before the pause says nothing about what comes behind it */
    }
    for (;;) { /* bounded: each failed CAS means that another one claimed, gave back or told */
        uint64_t next;
        uint64_t seen = weir_load_acquire_u64(&pause->reopen); /* pair:reopen A */
        if (!weir_reopen_begins(seen, words.until_ns, weir_clock_now(&view->time), &next)) {
            return;
        }
        WEIR_WEAVE("reopen:answered");
        if (weir_cas_u64(&pause->reopen, &seen, next)) { /* pair:reopen R */
            weir_permit_bell(&view->pause[provider]);
            return;
        }
    }
}

void weir_hold_unanswered(struct weir_permit_view *view, uint32_t provider,
                          const struct weir_permit *permit)
{
    struct weir_shm_pause *pause = &view->pause[weir_hold_of_permit(view, provider, permit)];
    if (WEIR_UNLIKELY((permit->pause_generation & WEIR_HOLD_PROBE) != 0) &&
        weir_reopen_give(&pause->reopen,
                         permit->pause_generation >> WEIR_HOLD_TICKET_SHIFT & 0x7ffU)) {
        weir_permit_bell(&view->pause[provider]);
    }
}

enum weir_pause_told weir_hold_throttled(struct weir_permit_view *view, uint32_t provider,
                                         const struct weir_permit *permit, uint64_t until_ns,
                                         enum weir_pause_cause cause)
{
    struct weir_shm_pause *pause = &view->pause[weir_hold_of_permit(view, provider, permit)];
    return weir_pause_tell(&pause->word, until_ns, cause, permit->pause_generation,
                           weir_clock_now(&view->time));
}

bool weir_hold_before(struct weir_permit_view *view, uint32_t provider,
                      const struct weir_permit *permit)
{
    return permit->granted_at_ns <
           words_read(view, weir_hold_of_permit(view, provider, permit)).until_ns;
}
