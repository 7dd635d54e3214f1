#include "weir_error.h"

#include "weir_base.h"

struct row {
    int value;
    const char *name;
    const char *text;
    const char *hint;
};

static const struct row rows[] = {
#define X(name, value, text, hint) {-(value), #name, text, hint},
#include "errors.def"
#undef X
};

#define X(name, value, text, hint) \
    _Static_assert(WEIR_E_##name == -(value), "errors.def and weir_types.h agree on " #name);
#include "errors.def"
#undef X

static const struct row *row_of(int error)
{
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        if (rows[i].value == error) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *weir_error_text(int error)
{
    static const char *const answers[] = {"done", "denied", "contended", "pending", "empty"};
    if (error >= 0) {
        return (size_t)error < WEIR_ARRAY_CNT(answers) ? answers[error] : "an unknown answer";
    }
    const struct row *r = row_of(error);
    return r != NULL ? r->text : "an unknown error";
}

const char *weir_error_hint(int error)
{
    const struct row *r = row_of(error);
    return r != NULL ? r->hint : "";
}

const char *weir_error_name(int error)
{
    const struct row *r = row_of(error);
    return r != NULL ? r->name : "?";
}

#define NAME_OF(value, ...)                           \
    static const char *const names[] = {__VA_ARGS__}; \
    return (value) < WEIR_ARRAY_CNT(names) ? names[value] : "?"

const char *weir_reason_name(unsigned reason)
{
    NAME_OF(reason, "none", "limit_full", "paused", "lease_ended", "blocked", "limit_damaged",
            "clock_moving", "reopening", "journal", "share", "breaker", "sign_in");
}

const char *weir_result_name(unsigned result)
{
    NAME_OF(result, "unset", "done", "refused", "expired", "cancelled", "rejected", "not_sent",
            "failed", "outcome_unknown", "too_large", "no_room", "timeout", "absent");
}

const char *weir_doubt_name(unsigned doubt)
{
    NAME_OF(doubt, "none", "unknown", "found", "absent", "resent");
}

const char *weir_breaker_name(unsigned state)
{
    NAME_OF(state, "none", "closed", "open", "half_open");
}

const char *weir_class_name(unsigned class)
{
    NAME_OF(class, "none", "ok", "business", "transport", "server", "timeout", "throttle", "ban");
}

const char *weir_balance_name(unsigned balance)
{
    NAME_OF(balance, "unset", "failover", "round_robin", "weighted_round_robin", "least_latency",
            "least_connections", "two_choices");
}

const char *weir_priority_name(unsigned priority)
{
    NAME_OF(priority, "critical", "high", "medium", "low", "background");
}

const char *weir_role_name(unsigned role)
{
    NAME_OF(role, "none", "monitor", "caller", "trader");
}

const char *weir_limit_kind_name(unsigned kind)
{
    NAME_OF(kind, "unset", "token_bucket", "fixed_window", "sliding_window", "concurrency");
}

const char *weir_method_name(unsigned method)
{
    NAME_OF(method, "", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH");
}

const char *weir_sign_in_state_name(unsigned state)
{
    NAME_OF(state, "none", "starting", "ready", "waiting", "lost", "refused", "off", "unkept",
            "astray");
}

const char *weir_sign_in_why_name(unsigned why)
{
    NAME_OF(why, "-", "unsent", "stopped", "silent", "status", "answer", "disk", "died");
}
