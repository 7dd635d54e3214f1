/* weir_error.h: texts of errors.def for the broker and the tools; libweir exports them as weir_strerror and weir_hint. */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include "weir_types.h"

/* What failed, one clause without a full stop. Never NULL; an unknown code says so. */
const char *weir_error_text(int error);

/* What to do next, one clause. Never NULL; "" for codes that are no failure. */
const char *weir_error_hint(int error);

/* "STALE" for WEIR_E_STALE; "?" for an unknown code. */
const char *weir_error_name(int error);

/* Texts of the other public enums; "?" for unknown values. */
const char *weir_reason_name(unsigned reason);
const char *weir_result_name(unsigned result);
const char *weir_doubt_name(unsigned doubt);
const char *weir_breaker_name(unsigned state);
const char *weir_class_name(unsigned class);
const char *weir_balance_name(unsigned balance);
const char *weir_priority_name(unsigned priority);
const char *weir_role_name(unsigned role);
const char *weir_limit_kind_name(unsigned kind);
const char *weir_method_name(unsigned method);
const char *weir_sign_in_state_name(unsigned state);
const char *weir_sign_in_why_name(unsigned why);

#endif
