/*
 * print.h: numbers, texts and tables for people.
 *
 * Every text that comes from the board goes through print_text first: an escape sequence in a client's name must not reach a terminal.
 */
#ifndef WEIR_MONITOR_PRINT_H
#define WEIR_MONITOR_PRINT_H

#include "weir_base.h"

#include <stdio.h>

#define DURATION_BYTES 32
#define TEXT_BYTES     96

/* "853 ns", "12.4 us", "3.21 ms", "1.25 s", "2 min 5 s", "3 h 12 min", "2 d 4 h". Three digits of meaning. Returns `buffer`. */
const char *print_duration(char buffer[DURATION_BYTES], uint64_t ns);

/* The same with a sign. */
const char *print_offset(char buffer[DURATION_BYTES], int64_t ns);

/* The window of a limit as it is configured: "1m", "10s", "250ms". Exact. */
const char *print_window(char buffer[DURATION_BYTES], uint64_t ns);

/* "95.2/s", "12/min", "3.5/h": millionths of a unit per second in a unit of time that leaves something before the point. */
const char *print_pace(char buffer[DURATION_BYTES], uint64_t pace_micro);

/* "17:32 UTC" on the day of `now_utc_ns`, "Nov 23 00:00 UTC" on another; with seconds where it is less than ten minutes away. */
const char *print_utc(char buffer[DURATION_BYTES], uint64_t utc_ns, uint64_t now_utc_ns);

/* Copy a fixed-size field of the board: up to its end or its NUL, anything but printable ASCII as '?'. Returns `buffer`. */
const char *print_text(char buffer[TEXT_BYTES], const char *field, size_t field_bytes);

/* print_text of an array member. */
#define PRINT_TEXT(buffer, field) print_text(buffer, field, sizeof(field))

/* ---------------------------------------------------------------------------------------------- tables */

#define TABLE_COLUMNS_MAX 16

struct column {
    const char *title;
    int width; /* at least; negative: text, to the left. A longer cell widens the column: nothing is cut */
};

/* Rows are kept until table_print, so that columns are as wide as their widest cell. Without memory, rows are left out and it says so. */
struct table {
    const struct column *column;
    unsigned column_cnt;
    unsigned cell_cnt;
    char *text; /* cells, each ended by NUL */
    size_t used, capacity;
    bool short_of_memory;
};

void table_init(struct table *table, const struct column *column, unsigned column_cnt);

/* Add the next cell, left to right, row after row. */
void table_cell(struct table *table, const char *format, ...) WEIR_PRINTF(2, 3);

/* Print titles and rows, each line behind `indent`, and free the table. */
void table_print(struct table *table, FILE *out, const char *indent);

#endif
