/*
 * operate.c: the supervisor's half of `weir ctl`: who may order what. The kernel names the peer; the order goes to the worker, which alone writes the board,
 * and its answer comes back as admission_operated. What was refused here is logged here, what was done is logged by the worker.
 */
#include "broker/admission.h"
#include "broker/log.h"
#include "shm/weir_error.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_operator(const struct admission *a, uint32_t uid)
{
    const struct weir_config_numbers *list = &a->config->broker.operators;
    for (size_t i = 0; i < list->cnt; i++) {
        if (list->number[i] == uid) {
            return true;
        }
    }
    return uid == geteuid();
}

/* It goes to logs and screens. */
static void make_printable(char *text, size_t bytes)
{
    text[bytes - 1] = '\0';
    for (size_t i = 0; text[i] != '\0'; i++) {
        text[i] = (text[i] >= 0x20 && text[i] < 0x7f) ? text[i] : '_';
    }
}

static const char *operation_name(uint32_t operation)
{
    static const char *const names[] = {"?",       "pause",   "resume", "block",
                                        "unblock", "balance", "check"};
    return operation < WEIR_ARRAY_CNT(names) ? names[operation] : "?";
}

/* May it? Fills the answer where it may not. */
static int judge(const struct admission *a, const struct ucred *cred,
                 const struct weir_operate *asked, size_t bytes, struct weir_operated *answer)
{
    if (bytes < sizeof *asked || asked->version != WEIR_OPERATE_VERSION) {
        (void)snprintf(answer->text, sizeof answer->text,
                       "the order is of version %u, this broker speaks %u", asked->version,
                       WEIR_OPERATE_VERSION);
        return WEIR_E_ABI;
    }
    if (asked->operation < WEIR_OPERATION_PAUSE || asked->operation > WEIR_OPERATION_CHECK) {
        (void)snprintf(answer->text, sizeof answer->text, "this broker knows no operation %u",
                       asked->operation);
        return WEIR_E_UNSUPPORTED;
    }
    if (!is_operator(a, cred->uid)) {
        (void)snprintf(answer->text, sizeof answer->text,
                       "uid %u is no operator: name it in broker.operators", cred->uid);
        return WEIR_E_PERMISSION;
    }
    return WEIR_OK;
}

bool operate_take(struct admission *a, struct peer *p, const struct ucred *cred,
                  struct weir_operate *asked, size_t bytes, int worker)
{
    struct weir_operated answer = {
        .magic = WEIR_OPERATE_MAGIC, .version = WEIR_OPERATE_VERSION, .bytes = sizeof answer};
    make_printable(asked->target, sizeof asked->target);
    make_printable(asked->reason, sizeof asked->reason);
    answer.error = judge(a, cred, asked, bytes, &answer);
    if (answer.error == WEIR_OK) {
        const struct control_message m = {.kind = CONTROL_OPERATE,
                                          .operation = {.ticket = a->operations + 1,
                                                        .uid = cred->uid,
                                                        .pid = (uint32_t)cred->pid,
                                                        .asked = *asked}};
        if (worker >= 0 && control_send(worker, &m, sizeof m, NULL, 0) == 0) {
            a->operations++;
            p->operation = a->operations;
            return true;
        }
        answer.error = WEIR_E_NOT_READY;
        (void)snprintf(answer.text, sizeof answer.text,
                       "there is no worker to do it: it is being started, or stopped");
    }
    log_warn("operation_refused", "s:s, s:s, s:i, s:i, s:s, s:s", "operation",
             operation_name(asked->operation), "target", asked->target, "uid", (int)cred->uid,
             "client_pid", (int)cred->pid, "error", weir_error_name(answer.error), "reason",
             asked->reason);
    (void)control_send(p->socket, &answer, sizeof answer, NULL, 0);
    return false;
}
