/* hold_state.c: what the board says of a provider's pauses and of the way back from them. */
#include "show_limits.h"

#include "image.h"
#include "print.h"
#include "weir_hold.h"

static const char *cause_text(uint32_t cause)
{
    static const char *const names[] = {"no cause given", "throttled by the server",
                                        "banned by the server", "by an operator"};
    return cause < WEIR_ARRAY_CNT(names) ? names[cause] : "unknown cause";
}

void hold_state_get(struct hold_state *state, const struct weir_shm_provider *provider,
                    uint64_t now_ns)
{
    uint64_t board_ns = weir_pause_until_ns(provider->pause);
    uint64_t traders_ns = weir_pause_until_ns(provider->traders_pause);
    *state = (struct hold_state){.traders = traders_ns > board_ns,
                                 .until_ns = weir_max_u64(board_ns, traders_ns)};
    state->cause = weir_pause_cause(state->traders ? provider->traders_pause : provider->pause);
    state->paused = now_ns < state->until_ns;
    /* An operator's pause that is over is cleared within 10 ms, and nothing comes behind it. */
    state->reopening =
        !state->paused && state->until_ns != 0 && state->cause != WEIR_PAUSE_OPERATOR;
    if (state->reopening) {
        enum weir_reopen_phase phase = weir_reopen_phase(provider->reopen, state->until_ns, now_ns);
        state->probing = phase != WEIR_REOPEN_RAMPING;
        state->step = state->probing ? 0 : weir_reopen_step(provider->reopen) + 1;
    }
}

bool hold_text(char text[HOLD_BYTES], const struct weir_shm_provider *provider, uint64_t now_ns)
{
    char a[DURATION_BYTES];
    struct hold_state s;
    hold_state_get(&s, provider, now_ns);
    if (s.paused && s.until_ns >= WEIR_PAUSE_UNTIL_MAX_NS) {
        (void)snprintf(text, HOLD_BYTES, "until it is resumed: %s (set by %s)", cause_text(s.cause),
                       s.traders ? "traders" : "broker");
    } else if (s.paused) {
        (void)snprintf(text, HOLD_BYTES, "%s more: %s (set by %s)",
                       print_duration(a, s.until_ns - now_ns), cause_text(s.cause),
                       s.traders ? "traders" : "broker");
    } else if (s.reopening && s.probing) {
        (void)snprintf(text, HOLD_BYTES, "over for %s: one call tries, the others wait for it",
                       print_duration(a, now_ns - s.until_ns));
    } else if (s.reopening) {
        (void)snprintf(text, HOLD_BYTES, "over for %s: calls come back, step %u of %u",
                       print_duration(a, now_ns - s.until_ns), s.step, WEIR_REOPEN_STEPS);
    }
    return s.paused || s.reopening;
}

const char *hold_name(const struct image *image, uint32_t p, uint32_t value, char name[TEXT_BYTES])
{
    const struct weir_tables *t = &image->tables;
    const uint32_t kind = t->provider[p].hold_kind - 1;
    char text[TEXT_BYTES];
    (void)snprintf(name, TEXT_BYTES, "no %s", weir_scope_kind_name(kind));
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        if (t->scope[i].provider == p && t->scope[i].kind == kind && t->scope[i].value == value &&
            t->scope[i].name[0] != '\0') {
            (void)snprintf(name, TEXT_BYTES, "%s=%.60s", weir_scope_kind_name(kind),
                           PRINT_TEXT(text, t->scope[i].name));
        }
    }
    return name;
}
