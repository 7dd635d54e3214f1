#include "print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---------------------------------------------------------------------------------------------- numbers */

/* `ns` in `unit_ns`, three digits. */
static void fraction(char buffer[DURATION_BYTES], uint64_t ns, uint64_t unit_ns, const char *unit)
{
    double v = (double)ns / (double)unit_ns;
    int digits = v < 9.995 ? 2 : v < 99.95 ? 1 : 0;
    (void)snprintf(buffer, DURATION_BYTES, "%.*f %s", digits, v, unit);
}

const char *print_duration(char buffer[DURATION_BYTES], uint64_t ns)
{
    uint64_t s = ns / WEIR_NS_PER_S;
    if (ns < WEIR_NS_PER_US) {
        (void)snprintf(buffer, DURATION_BYTES, "%" PRIu64 " ns", ns);
    } else if (ns < WEIR_NS_PER_MS - 500) {
        fraction(buffer, ns, WEIR_NS_PER_US, "us");
    } else if (ns < WEIR_NS_PER_S - 500 * WEIR_NS_PER_US) {
        fraction(buffer, ns, WEIR_NS_PER_MS, "ms");
    } else if (s < 60) {
        fraction(buffer, ns, WEIR_NS_PER_S, "s");
    } else if (s < 3600) {
        (void)snprintf(buffer, DURATION_BYTES, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    } else if (s < UINT64_C(86400)) {
        (void)snprintf(buffer, DURATION_BYTES, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
                       s % 3600 / 60);
    } else {
        (void)snprintf(buffer, DURATION_BYTES, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
                       s % 86400 / 3600);
    }
    return buffer;
}

const char *print_offset(char buffer[DURATION_BYTES], int64_t ns)
{
    char size[DURATION_BYTES];
    uint64_t magnitude = ns < 0 ? UINT64_C(0) - (uint64_t)ns : (uint64_t)ns;
    (void)snprintf(buffer, DURATION_BYTES, "%c%.30s", ns < 0 ? '-' : '+',
                   print_duration(size, magnitude));
    return buffer;
}

const char *print_window(char buffer[DURATION_BYTES], uint64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *unit;
    } units[] = {
        {86400 * WEIR_NS_PER_S, "d"},
        {3600 * WEIR_NS_PER_S, "h"},
        {60 * WEIR_NS_PER_S, "m"},
        {WEIR_NS_PER_S, "s"},
        {WEIR_NS_PER_MS, "ms"},
        {WEIR_NS_PER_US, "us"},
        {1, "ns"},
    };
    size_t u = 0;
    while (u + 1 < WEIR_ARRAY_CNT(units) && (ns == 0 || ns % units[u].ns != 0)) {
        u++;
    }
    (void)snprintf(buffer, DURATION_BYTES, "%" PRIu64 "%s", ns / units[u].ns, units[u].unit);
    return buffer;
}

const char *print_pace(char buffer[DURATION_BYTES], uint64_t pace_micro)
{
    static const struct {
        double s;
        const char *unit;
    } units[] = {{1, "s"}, {60, "min"}, {3600, "h"}, {86400, "d"}};
    double v = (double)pace_micro / 1e6;
    size_t u = 0;
    while (u + 1 < WEIR_ARRAY_CNT(units) && v * units[u].s < 0.995 && pace_micro > 0) {
        u++;
    }
    v *= units[u].s;
    (void)snprintf(buffer, DURATION_BYTES, "%.*f/%s",
                   v < 9.995   ? (v == 0 ? 0 : 2)
                   : v < 99.95 ? 1
                               : 0,
                   v, units[u].unit);
    return buffer;
}

const char *print_utc(char buffer[DURATION_BYTES], uint64_t utc_ns, uint64_t now_utc_ns)
{
    const uint64_t away_ns = utc_ns > now_utc_ns ? utc_ns - now_utc_ns : now_utc_ns - utc_ns;
    const time_t at = (time_t)(utc_ns / WEIR_NS_PER_S);
    const time_t now = (time_t)(now_utc_ns / WEIR_NS_PER_S);
    struct tm parts;
    size_t n = 0;
    if (gmtime_r(&at, &parts) == NULL) {
        n = 0;
    } else if (at / 86400 != now / 86400) {
        n = strftime(buffer, DURATION_BYTES, "%b %d %H:%M UTC", &parts);
    } else if (away_ns < 600 * WEIR_NS_PER_S) {
        n = strftime(buffer, DURATION_BYTES, "%H:%M:%S UTC", &parts);
    } else {
        n = strftime(buffer, DURATION_BYTES, "%H:%M UTC", &parts);
    }
    if (n == 0) {
        (void)snprintf(buffer, DURATION_BYTES, "?");
    }
    return buffer;
}

const char *print_text(char buffer[TEXT_BYTES], const char *field, size_t field_bytes)
{
    size_t n = strnlen(field, field_bytes < TEXT_BYTES ? field_bytes : TEXT_BYTES - 1);
    for (size_t i = 0; i < n; i++) {
        buffer[i] = (field[i] >= 0x20 && field[i] < 0x7f) ? field[i] : '?';
    }
    buffer[n] = '\0';
    return buffer;
}

/* ---------------------------------------------------------------------------------------------- tables */

void table_init(struct table *table, const struct column *column, unsigned column_cnt)
{
    *table = (struct table){.column = column,
                            .column_cnt =
                                column_cnt < TABLE_COLUMNS_MAX ? column_cnt : TABLE_COLUMNS_MAX};
}

void table_cell(struct table *table, const char *format, ...)
{
    char cell[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(cell, sizeof cell, format, args);
    va_end(args);
    size_t bytes = strlen(cell) + 1;
    if (table->capacity - table->used < bytes) {
        size_t capacity = table->capacity * 2 + 4096;
        char *text = table->short_of_memory ? NULL : realloc(table->text, capacity);
        if (text == NULL) {
            table->short_of_memory = true;
            return;
        }
        table->text = text;
        table->capacity = capacity;
    }
    memcpy(table->text + table->used, cell, bytes);
    table->used += bytes;
    table->cell_cnt++;
}

static void line_print(FILE *out, const char *indent, const struct column *column, const int *width,
                       unsigned cnt, const char *const *cell)
{
    (void)fputs(indent, out);
    for (unsigned c = 0; c < cnt; c++) {
        bool left = column[c].width < 0;
        bool last = c + 1 == cnt;
        if (left && last) {
            (void)fputs(cell[c], out); /* no blanks at the end of a line */
        } else {
            (void)fprintf(out, "%*s%s", left ? -width[c] : width[c], cell[c], last ? "" : "  ");
        }
    }
    (void)fputc('\n', out);
}

void table_print(struct table *table, FILE *out, const char *indent)
{
    const unsigned columns = table->column_cnt;
    int width[TABLE_COLUMNS_MAX] = {0};
    const char *cell[TABLE_COLUMNS_MAX] = {0};
    for (unsigned c = 0; c < columns; c++) {
        int title = (int)strlen(table->column[c].title);
        int least = abs(table->column[c].width);
        width[c] = title > least ? title : least;
        cell[c] = table->column[c].title;
    }
    const char *at = table->text;
    /* a row that memory cut short is not shown, nor does it widen anything */
    unsigned whole = columns > 0 ? table->cell_cnt / columns * columns : 0;
    for (unsigned i = 0; i < whole; i++, at += strlen(at) + 1) {
        int bytes = (int)strlen(at);
        width[i % columns] = bytes > width[i % columns] ? bytes : width[i % columns];
    }
    line_print(out, indent, table->column, width, columns, cell);
    at = table->text;
    for (unsigned i = 0; i < whole; i++, at += strlen(at) + 1) {
        cell[i % columns] = at;
        if (i % columns == columns - 1) {
            line_print(out, indent, table->column, width, columns, cell);
        }
    }
    if (table->short_of_memory) {
        (void)fprintf(out, "%s(rows left out: no memory)\n", indent);
    }
    free(table->text);
    *table = (struct table){0};
}
