/* operations.c: the worker's half of `weir ctl`. Every order is logged as an event "operated" with uid and reason, done or not. */
#include "broker/log.h"
#include "broker/pause.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void WEIR_PRINTF(3, 4) say(struct weir_operated *answer, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(answer->text, sizeof answer->text, format, args);
    va_end(args);
    answer->error = error;
}

static uint32_t provider_find(const struct worker *w, const char *name)
{
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        if (strcmp(w->provider[p].config->name, name) == 0) {
            return p;
        }
    }
    return UINT32_MAX;
}

static void balance_operate(struct worker *w, uint32_t p, const struct weir_operate *asked,
                            struct weir_operated *answer)
{
    if (asked->balance >= WEIR_BALANCE_CNT) {
        say(answer, WEIR_E_UNSUPPORTED, "this broker knows no balance %u", asked->balance);
        return;
    }
    /* relaxed: our own; kept across the worker's death, and handed over */
    weir_store_relaxed_u64(&w->region->provider[p].balance, asked->balance);
    unsigned kind = asked->balance != WEIR_BALANCE_UNSET ? asked->balance
                                                         : (unsigned)w->provider[p].config->balance;
    say(answer, WEIR_OK, "%s balances by %s%s", asked->target, weir_balance_name(kind),
        asked->balance != WEIR_BALANCE_UNSET ? "" : ", as configured");
}

static void check_operate(struct worker *w, uint32_t p, const struct weir_operate *asked,
                          struct weir_operated *answer)
{
    answer->cnt = check_now(w, p);
    if (answer->cnt == 0) {
        say(answer, WEIR_E_UNSUPPORTED,
            "%s has no health in the configuration: nothing says what to ask its endpoints for",
            asked->target);
        return;
    }
    say(answer, WEIR_OK, "%u endpoint%s of %s: asked; see weir stat", answer->cnt,
        answer->cnt == 1 ? "" : "s", asked->target);
}

static void provider_operate(struct worker *w, const struct weir_operate *asked,
                             struct weir_operated *answer)
{
    uint32_t p = provider_find(w, asked->target);
    if (p == UINT32_MAX) {
        say(answer, WEIR_E_SCOPE_UNKNOWN, "there is no provider '%s'", asked->target);
        return;
    }
    answer->cnt = 1;
    if (asked->operation == WEIR_OPERATION_BALANCE) {
        balance_operate(w, p, asked, answer);
        return;
    }
    if (asked->operation == WEIR_OPERATION_CHECK) {
        check_operate(w, p, asked, answer);
        return;
    }
    if (asked->operation == WEIR_OPERATION_RESUME) {
        pause_resume(w, p);
        say(answer, WEIR_OK, "%s goes on", asked->target);
        return;
    }
    uint64_t now_ns = worker_now(w);
    bool endless = asked->duration_ns == 0 || asked->duration_ns > WEIR_PAUSE_UNTIL_MAX_NS - now_ns;
    pause_operator(w, p, endless ? UINT64_MAX : now_ns + asked->duration_ns);
    if (endless) {
        say(answer, WEIR_OK, "%s is paused until it is resumed", asked->target);
    } else {
        uint64_t board =
            weir_load_relaxed_u64(&w->region->provider[p].pause); /* relaxed: our own */
        say(answer, WEIR_OK, "%s is paused for %.3f s", asked->target,
            (double)(weir_pause_until_ns(board) - now_ns) / 1e9);
    }
}

/* A client by its index, or every client of that name. */
static bool is_meant(const struct client *c, const char *target)
{
    char *end;
    unsigned long index = strtoul(target, &end, 10);
    bool is_index = isdigit((unsigned char)target[0]) && *end == '\0';
    return is_index ? c->info.index == index : strcmp(c->info.name, target) == 0;
}

static void client_operate(struct worker *w, const struct weir_operate *asked,
                           struct weir_operated *answer)
{
    uint32_t blocked = asked->operation == WEIR_OPERATION_BLOCK;
    const char *what = blocked ? "blocked" : "unblocked";
    if (strcmp(asked->target, "all") == 0) {
        /* relaxed: an operator's switch, here and below */
        weir_store_relaxed_u32(&w->region->gate->block_all, blocked);
        say(answer, WEIR_OK, "every client is %s%s", what,
            blocked ? "" : ", but for those that are blocked by themselves");
        return;
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct client *c = &w->client[i];
        if (c->live && !c->gone && is_meant(c, asked->target)) {
            weir_store_relaxed_u32(&w->region->block->client[i],
                                   blocked ? WEIR_BLOCK_OPERATOR : WEIR_BLOCK_NONE);
            c->offences = 0;
            answer->cnt++;
        }
    }
    if (answer->cnt == 0) {
        say(answer, WEIR_E_CLIENT_UNKNOWN, "no client '%s' is attached", asked->target);
        return;
    }
    say(answer, WEIR_OK, "%u client%s %s", answer->cnt, answer->cnt == 1 ? " is" : "s are", what);
}

void operations_event(struct worker *w, const struct control_operation *operation)
{
    static const char *const names[] = {"?",       "pause",   "resume", "block",
                                        "unblock", "balance", "check"};
    const struct weir_operate *asked = &operation->asked;
    struct control_message m = {.kind = CONTROL_OPERATED,
                                .operation = {.ticket = operation->ticket}};
    struct weir_operated *answer = &m.operation.answer;
    *answer = (struct weir_operated){
        .magic = WEIR_OPERATE_MAGIC, .version = WEIR_OPERATE_VERSION, .bytes = sizeof *answer};
    w->now_ns = worker_now(w);
    bool of_client =
        asked->operation == WEIR_OPERATION_BLOCK || asked->operation == WEIR_OPERATION_UNBLOCK;
    if (of_client) {
        client_operate(w, asked, answer);
    } else {
        provider_operate(w, asked, answer);
    }
    log_warn("operated", "s:s, s:s, s:i, s:i, s:I, s:s, s:s", "operation", names[asked->operation],
             "target", asked->target, "uid", (int)operation->uid, "client_pid", (int)operation->pid,
             "for_ms", (long long)(asked->duration_ns / WEIR_NS_PER_MS), "error",
             answer->error != 0 ? weir_error_name(answer->error) : "none", "reason", asked->reason);
    (void)control_send(w->control, &m, sizeof m, NULL, 0);
}
