/*
 * config_man.c: weir.yaml(5), made from the schema, as mdoc.
 */
#include <stdio.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_schema.h"

/* Running text, each sentence on a line of its own as mdoc wants it; neither a macro nor an escape. */
static void print_line(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'') {
        fputs("\\&", out);
    }
    for (; *text; text++) {
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (text[0] == '.' && text[1] == ' ') {
            fputs(".\n", out);
            text++;
        } else {
            putc(*text, out);
        }
    }
    putc('\n', out);
}

static void print_default(FILE *out, const struct weir_config_row *row)
{
    bool is_section =
        row->type == WEIR_CONFIG_TYPE_SECTION || row->type == WEIR_CONFIG_TYPE_SECTIONS;
    if (!row->def) {
        fputs(".br\nRequired.\n", out);
    } else if (row->def[0] && !is_section) {
        fputs(".br\nDefault: ", out);
        print_line(out, row->def);
    }
}

static void print_row(FILE *out, const struct weir_config_row *row)
{
    char allowed[WEIR_CONFIG_ALLOWED_BYTES];
    weir_config_row_allowed(row, allowed, sizeof(allowed));
    fprintf(out, ".It Cm %s\n", row->key);
    print_line(out, row->text);
    fputs(".br\n", out);
    fputs("Allowed: ", out);
    print_line(out, allowed);
    print_default(out, row);
    if (row->later) {
        fputs(".br\nNote: ", out);
        print_line(out, row->later);
    }
}

static void print_section(FILE *out, const struct weir_config_section *section)
{
    fprintf(out, ".Ss %s\n", section->title[0] ? section->title : "The file");
    print_line(out, section->text);
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < section->row_cnt; i++) {
        print_row(out, &section->row[i]);
    }
    fputs(".El\n", out);
    for (size_t i = 0; i < section->row_cnt; i++) {
        if (section->row[i].section) {
            print_section(out, section->row[i].section);
        }
    }
}

static const char intro[] =
    ".\\\" Made from the schema in broker/config/config_schema.c.\n"
    ".Dd $Mdocdate$\n"
    ".Dt WEIR.YAML 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm weir.yaml\n"
    ".Nd configuration of weird\n"
    ".Sh DESCRIPTION\n"
    "One YAML document, read once at the start and checked as a whole:\n"
    ".Dl weird --check --config weir.yaml\n"
    "reads and checks it and does nothing else.\n"
    "An unknown key, a key written twice and a value that is not allowed are refused, with line\n"
    "and column; nothing is guessed.\n"
    "Anchors, aliases and tags are not used.\n"
    ".Pp\n"
    "Inside a value,\n"
    ".Ql ${VAR}\n"
    "is replaced by the environment variable, and\n"
    ".Ql ${VAR:default}\n"
    "by the default where the variable is not set.\n"
    "Write\n"
    ".Ql $$\n"
    "for a dollar sign.\n"
    "Such a value holds braces, so it needs quotes inside a flow map.\n"
    ".Bl -tag -width Ds\n"
    ".It Durations\n"
    "A whole number with a unit: ns, us, ms, s, m, h or d.\n"
    ".It Sizes\n"
    "A whole number of bytes, or with a unit: KiB, MiB, GiB, KB, MB or GB.\n"
    ".It Percentages\n"
    "A number with % and at most 4 decimals.\n"
    ".It Names\n"
    "1 to 31 letters, digits, '-', '_' and '.', the first a letter or a digit.\n"
    ".El\n"
    ".Sh KEYS\n";

static const char outro[] = ".Sh EXIT STATUS\n"
                            ".Nm weird\n"
                            "exits with 2 where it refuses a configuration.\n"
                            ".Sh SEE ALSO\n"
                            ".Xr weir 1 ,\n"
                            ".Xr weird 8\n";

void weir_config_print_schema_man(FILE *out)
{
    fputs(intro, out);
    print_section(out, &weir_config_root);
    fputs(outro, out);
}
