/*
 * errors_man.c: writes weir_errors(7) to standard output while weir is built, from the rows of shm/errors.def.
 */
#include "shm/weir_base.h"
#include "shm/weir_error.h"

#include <stdio.h>

struct row {
    const char *name, *text, *hint;
    int value;
};

static const struct row rows[] = {
#define X(name_, value_, text_, hint_) \
    {.name = #name_, .text = text_, .hint = hint_, .value = -(value_)},
#include "shm/errors.def"
#undef X
};

static const char intro[] =
    ".\\\" Made from shm/errors.def by docs/man/errors_man.c.\n"
    ".Dd November 22, 2026\n"
    ".Dt WEIR_ERRORS 7\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm weir_errors\n"
    ".Nd every failure and every other answer of libweir\n"
    ".Sh DESCRIPTION\n"
    "A function of libweir returns 0 for done, a positive value for a normal other answer, and\n"
    "a negative value for a failure.\n"
    ".Xr weir_strerror 3\n"
    "gives the text of a value, and\n"
    ".Xr weir_hint 3\n"
    "the next step; both are printed below.\n"
    "Values are part of the ABI: they are never reused.\n"
    ".Pp\n"
    "When\n"
    ".Xr weir_open 3\n"
    "fails, its\n"
    ".Vt struct weir_diag\n"
    "says more: the name, the path, the cause and a hint for this case.\n"
    ".Sh FAILURES\n"
    ".Bl -tag -width Ds\n";

static const char answers[] = ".El\n"
                              ".Sh OTHER ANSWERS\n"
                              "These are no failures.\n"
                              ".Bl -tag -width Ds\n"
                              ".It Dv WEIR_DENIED Pq 1\n"
                              "Not now: the permit's denial says why, and when to ask again.\n"
                              "From\n"
                              ".Xr weir_server_time 3 :\n"
                              "the provider's clock is not known.\n"
                              ".It Dv WEIR_CONTENDED Pq 2\n"
                              "Others were faster four times in a row: ask again at once.\n"
                              ".It Dv WEIR_PENDING Pq 3\n"
                              "The request has not ended.\n"
                              ".It Dv WEIR_EMPTY Pq 4\n"
                              "Nothing has ended since the last poll.\n"
                              ".El\n"
                              ".Sh SEE ALSO\n"
                              ".Xr weir_open 3 ,\n"
                              ".Xr weir_permit_try 3 ,\n"
                              ".Xr weir_strerror 3 ,\n"
                              ".Xr weir_submit 3 ,\n"
                              ".Xr weir 7\n";

/* One line of running text: its first letter large, a full stop at its end, neither a macro nor an escape. */
static void line_print(const char *text)
{
    char first = text[0];
    (void)putchar(first >= 'a' && first <= 'z' ? first - 'a' + 'A' : first);
    for (const char *at = text + 1; *at != '\0'; at++) {
        if (*at == '\\') {
            (void)fputs("\\e", stdout);
        } else {
            (void)putchar(*at);
        }
    }
    (void)fputs(".\n", stdout);
}

int main(void)
{
    (void)fputs(intro, stdout);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        (void)printf(".It Er WEIR_E_%s Pq %d\n", rows[i].name, rows[i].value);
        line_print(rows[i].text);
        (void)fputs(".br\nNext: ", stdout);
        line_print(rows[i].hint);
    }
    (void)fputs(answers, stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
