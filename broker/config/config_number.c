/*
 * config_number.c: numbers with units.
 *
 * Nothing is guessed: a duration without a unit, a fraction of a second, trailing text and signs are refused.
 */
#include <stdio.h>
#include <string.h>

#include "broker/config/config_value.h"
#include "shm/weir_base.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* From the smallest up, so that writing takes the last that divides. */
static const struct unit duration_unit[] = {
    {"ns", 1},
    {"us", WEIR_NS_PER_US},
    {"ms", WEIR_NS_PER_MS},
    {"s", WEIR_NS_PER_S},
    {"m", 60 * WEIR_NS_PER_S},
    {"h", 3600 * WEIR_NS_PER_S},
    {"d", 86400 * WEIR_NS_PER_S},
};

static const struct unit size_unit[] = {
    {"", 1},
    {"KB", UINT64_C(1000)},
    {"KiB", UINT64_C(1) << 10},
    {"MB", UINT64_C(1000) * 1000},
    {"MiB", UINT64_C(1) << 20},
    {"GB", UINT64_C(1000) * 1000 * 1000},
    {"GiB", UINT64_C(1) << 30},
};

static const struct unit no_unit[] = {{"", 1}};

static size_t units_of(enum weir_config_type type, const struct unit **unit)
{
    switch (type) {
    case WEIR_CONFIG_TYPE_DURATION:
        *unit = duration_unit;
        return WEIR_ARRAY_CNT(duration_unit);
    case WEIR_CONFIG_TYPE_SIZE:
        *unit = size_unit;
        return WEIR_ARRAY_CNT(size_unit);
    default:
        *unit = no_unit;
        return WEIR_ARRAY_CNT(no_unit);
    }
}

bool weir_config_type_is_number(enum weir_config_type type)
{
    return type >= WEIR_CONFIG_TYPE_INTEGER && type <= WEIR_CONFIG_TYPE_PERCENT;
}

const char *weir_config_number_form(enum weir_config_type type)
{
    switch (type) {
    case WEIR_CONFIG_TYPE_DURATION:
        return "a whole number with a unit (ns, us, ms, s, m, h, d)";
    case WEIR_CONFIG_TYPE_SIZE:
        return "a whole number of bytes, or with a unit (KiB, MiB, GiB, KB, MB, GB)";
    case WEIR_CONFIG_TYPE_PERCENT:
        return "a number with '%' and at most 4 decimals";
    default:
        return "a whole number";
    }
}

/* The digits at `*text`, which moves behind them; false if there are none. Saturates. */
static bool read_digits(const char **text, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, digit, number)) {
            *number = UINT64_MAX;
            at += strspn(at, "0123456789");
            break;
        }
    }
    bool is_read = at != *text;
    *text = at;
    return is_read;
}

static bool read_percent(const char *text, uint64_t *ppm)
{
    uint64_t whole = 0;
    if (!read_digits(&text, &whole)) {
        return false;
    }
    uint64_t part_ppm = 0;
    if (*text == '.') {
        uint64_t digit_ppm = WEIR_CONFIG_WHOLE_PPM / 1000;
        for (text++; *text >= '0' && *text <= '9' && digit_ppm; text++, digit_ppm /= 10) {
            part_ppm += (uint64_t)(*text - '0') * digit_ppm;
        }
        if (text[-1] == '.') {
            return false;
        }
    }
    uint64_t percent_ppm = WEIR_CONFIG_WHOLE_PPM / 100;
    if (__builtin_mul_overflow(whole, percent_ppm, ppm) ||
        __builtin_add_overflow(*ppm, part_ppm, ppm)) {
        *ppm = UINT64_MAX;
    }
    return strcmp(text, "%") == 0;
}

bool weir_config_number_read(enum weir_config_type type, const char *text, uint64_t *number)
{
    if (type == WEIR_CONFIG_TYPE_PERCENT) {
        return read_percent(text, number);
    }
    uint64_t digits = 0;
    if (!read_digits(&text, &digits)) {
        return false;
    }
    const struct unit *unit = NULL;
    size_t unit_cnt = units_of(type, &unit);
    for (size_t i = 0; i < unit_cnt; i++) {
        if (strcmp(text, unit[i].name) == 0) {
            if (__builtin_mul_overflow(digits, unit[i].factor, number)) {
                *number = UINT64_MAX;
            }
            return true;
        }
    }
    return false;
}

static void write_percent(uint64_t ppm, char *out)
{
    uint64_t percent_ppm = WEIR_CONFIG_WHOLE_PPM / 100;
    int bytes =
        snprintf(out, WEIR_CONFIG_NUMBER_BYTES, "%llu.%04llu",
                 (unsigned long long)(ppm / percent_ppm), (unsigned long long)(ppm % percent_ppm));
    while (out[bytes - 1] == '0') {
        bytes--;
    }
    if (out[bytes - 1] == '.') {
        bytes--;
    }
    snprintf(out + bytes, WEIR_CONFIG_NUMBER_BYTES - (size_t)bytes, "%%");
}

void weir_config_number_write(enum weir_config_type type, uint64_t number, char *out)
{
    if (type == WEIR_CONFIG_TYPE_PERCENT) {
        write_percent(number, out);
        return;
    }
    if (!number) { /* a multiple of every unit: "0s", not "0d" */
        strcpy(out, type == WEIR_CONFIG_TYPE_DURATION ? "0s" : "0");
        return;
    }
    const struct unit *unit = NULL;
    size_t unit_cnt = units_of(type, &unit);
    const struct unit *best = &unit[0];
    for (size_t i = 1; i < unit_cnt; i++) {
        if (number % unit[i].factor == 0 && unit[i].factor > best->factor) {
            best = &unit[i];
        }
    }
    snprintf(out, WEIR_CONFIG_NUMBER_BYTES, "%llu%s", (unsigned long long)(number / best->factor),
             best->name);
}
