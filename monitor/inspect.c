/* inspect.c: `weir inspect`: the layout, the check, the raw sections. */
#include "command.h"

#include "exit_codes.h"
#include "weir_error.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

/* One line per field, as pinned by tests/abi: TYPE FIELD OFF BYTES; "-" names the whole type. */
static int layout_print(void)
{
    for (size_t i = 0; i < weir_layout_field_cnt; i++) {
        const struct weir_layout_field *f = &weir_layout_fields[i];
        (void)printf("%s %s %u %u\n", f->type, f->field[0] != '\0' ? f->field : "-", f->off_bytes,
                     f->bytes);
    }
    return EXIT_OK;
}

/* ---------------------------------------------------------------------------------------------- check */

static int load(const struct options *options, struct image *image, struct findings *findings)
{
    if (options->image == NULL) {
        return board_once(options, image);
    }
    int rc = image_load(image, options->image);
    if (rc == WEIR_E_SYSTEM) {
        complain("cannot read the board: file=%s: %s", options->image, strerror(errno));
        return errno == ENOENT ? EXIT_ABSENT : errno == EACCES ? EXIT_PERMISSION : EXIT_USAGE;
    }
    if (rc != WEIR_OK) {
        finding_add(findings, "file: %s of a board",
                    rc == WEIR_E_MEMORY ? "no memory for the size" : "not the size");
        return EXIT_CORRUPT;
    }
    return image_open(image, findings) == WEIR_OK ? EXIT_OK : EXIT_CORRUPT;
}

static int check_print(const struct options *options)
{
    static struct findings findings; /* 13 KB: not on the stack */
    struct image image = {.view.fd = -1};
    int code = load(options, &image, &findings);
    if (code != EXIT_OK && findings.cnt == 0) {
        image_free(&image);
        return code; /* said already */
    }
    if (code == EXIT_OK) {
        image_check(&image, &findings);
        char name[TEXT_BYTES];
        (void)printf("board of %s: %" PRIu64 " bytes, ABI %u.%u, %u sections, %u providers, %u "
                     "limits, %u routes, %u endpoints\n",
                     PRINT_TEXT(name, image.view.header->name), image.size,
                     image.view.header->abi_major, image.view.header->abi_minor,
                     image.view.header->section_cnt, image.tables.provider_cnt,
                     image.tables.limit_cnt, image.tables.route_cnt, image.tables.endpoint_cnt);
    }
    uint32_t shown = findings.cnt < FINDINGS_MAX ? findings.cnt : FINDINGS_MAX;
    for (uint32_t i = 0; i < shown; i++) {
        (void)printf("%s\n", findings.text[i]);
    }
    if (findings.cnt > shown) {
        (void)printf("and %u more\n", findings.cnt - shown);
    }
    (void)printf("%u findings\n", findings.cnt);
    image_free(&image);
    return findings.cnt > 0 ? EXIT_CORRUPT : EXIT_OK;
}

/* ---------------------------------------------------------------------------------------------- dump */

static bool all_zero(const unsigned char *bytes, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool field_is_text(const char *field)
{
    return strcmp(field, "name") == 0 || strcmp(field, "host") == 0 ||
           strcmp(field, "address") == 0;
}

/* Arrays are shown up to here; their tail counts and zeros do not help anybody. */
#define WORDS_SHOWN 12U

static void field_print(FILE *out, const struct weir_layout_field *f, const unsigned char *element)
{
    const unsigned char *at = element + f->off_bytes;
    char text[TEXT_BYTES];
    uint64_t word;
    uint32_t half;
    uint16_t small = 0;
    if (field_is_text(f->field)) {
        (void)fprintf(out, "\"%s\"", print_text(text, (const char *)at, f->bytes));
    } else if (f->bytes == sizeof half) {
        memcpy(&half, at, sizeof half);
        (void)fprintf(out, "%u", half);
    } else if (f->bytes < sizeof half) {
        memcpy(&small, at, f->bytes < sizeof small ? f->bytes : sizeof small);
        (void)fprintf(out, "%u", small);
    } else if (all_zero(at, f->bytes)) {
        (void)fprintf(out, "0");
    } else {
        for (uint32_t w = 0; w < f->bytes / sizeof word && w < WORDS_SHOWN; w++) {
            memcpy(&word, at + w * sizeof word, sizeof word);
            (void)fprintf(out, "%s0x%" PRIx64, w > 0 ? " " : "", word);
        }
        (void)fprintf(out, "%s", f->bytes / sizeof word > WORDS_SHOWN ? " ..." : "");
    }
    (void)fprintf(out, "\n");
}

/* The fields of one element of `type`, `bytes` long. */
static void element_print(FILE *out, const char *label, const char *type,
                          const unsigned char *element, size_t bytes)
{
    for (size_t i = 0; i < weir_layout_field_cnt; i++) {
        const struct weir_layout_field *f = &weir_layout_fields[i];
        if (strcmp(f->type, type) == 0 && f->field[0] != '\0' &&
            (uint64_t)f->off_bytes + f->bytes <= bytes) {
            (void)fprintf(out, "%s.%s ", label, f->field);
            field_print(out, f, element);
        }
    }
}

static void rows_print(FILE *out, const char *what, const char *type, const void *rows,
                       uint32_t cnt, size_t bytes)
{
    char label[TEXT_BYTES];
    for (uint32_t i = 0; i < cnt; i++) {
        (void)snprintf(label, sizeof label, "%s[%u]", what, i);
        element_print(out, label, type, (const unsigned char *)rows + i * bytes, bytes);
    }
}

static void tables_print(FILE *out, const struct weir_tables *t)
{
    rows_print(out, "provider_row", "weir_shm_provider_row", t->provider, t->provider_cnt,
               sizeof *t->provider);
    rows_print(out, "limit_row", "weir_shm_limit_row", t->limit, t->limit_cnt, sizeof *t->limit);
    rows_print(out, "route_row", "weir_shm_route_row", t->route, t->route_cnt, sizeof *t->route);
    rows_print(out, "endpoint_row", "weir_shm_endpoint_row", t->endpoint, t->endpoint_cnt,
               sizeof *t->endpoint);
    rows_print(out, "scope_row", "weir_shm_scope_row", t->scope, t->scope_cnt, sizeof *t->scope);
}

static void header_print(FILE *out, const struct image *image)
{
    const struct weir_shm_header *h = image->view.header;
    element_print(out, "header", "weir_shm_header", image->bytes, sizeof *h);
    for (uint32_t i = 0; i < h->section_cnt; i++) {
        const struct weir_shm_section *s = &h->section[i];
        (void)fprintf(out, "section %s: at %" PRIu64 ", %u x %" PRIu64 " bytes\n",
                      weir_section_name(s->kind), s->off_bytes, s->cnt, s->stride_bytes);
    }
}

static void section_print(FILE *out, const struct image *image, const struct image_section *section)
{
    static unsigned char element[sizeof(struct weir_shm_endpoint) * 2];
    char label[TEXT_BYTES];
    uint32_t cnt = image_cnt(image, section->kind, section->element_bytes);
    uint32_t empty = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        (void)image_get(image, section->kind, i, element, section->element_bytes);
        if (all_zero(element, section->element_bytes)) {
            empty++;
            continue;
        }
        (void)snprintf(label, sizeof label, "%s[%u]", weir_section_name(section->kind), i);
        element_print(out, label, section->type, element, section->element_bytes);
    }
    (void)fprintf(out, "%s: %u elements, %u of them all zero\n", weir_section_name(section->kind),
                  cnt, empty);
}

void inspect_dump(FILE *out, const struct image *image, const struct image_section *section)
{
    if (section == NULL) {
        header_print(out, image);
        return;
    }
    section_print(out, image, section);
    if (section->kind == WEIR_SECTION_TABLES) {
        tables_print(out, &image->tables);
    }
}

static int dump_print(const struct options *options, const char *name)
{
    const struct image_section *section = NULL;
    for (size_t i = 0; i < image_section_cnt; i++) {
        if (strcmp(name, weir_section_name(image_sections[i].kind)) == 0) {
            section = &image_sections[i];
        }
    }
    if (section == NULL && strcmp(name, "header") != 0) {
        complain("inspect: the board has no section '%s': name header, or one that --dump header "
                 "lists",
                 name);
        return EXIT_USAGE;
    }
    struct image image = {.view.fd = -1};
    int code = board_once(options, &image);
    if (code == EXIT_OK) {
        inspect_dump(stdout, &image, section);
    }
    image_free(&image);
    return code;
}

static int save(const struct options *options, const char *path)
{
    struct image image = {.view.fd = -1};
    int code = board_once(options, &image);
    if (code == EXIT_OK && image_save(&image, path) != WEIR_OK) {
        complain("cannot save the board: file=%s: %s: name a new file in a folder of yours", path,
                 strerror(errno));
        code = EXIT_USAGE;
    }
    image_free(&image);
    return code;
}

/* ---------------------------------------------------------------------------------------------- command */

static const char inspect_help[] =
    "usage: weir inspect --layout\n"
    "       weir inspect --journal FILE\n"
    "       weir inspect --check | --dump SECTION | --save FILE [options]\n"
    "\n"
    "Look at shared memory itself.\n"
    "\n"
    "  --layout             every shared field: TYPE FIELD OFFSET BYTES; needs no broker\n"
    "  --journal FILE       what a broker's journal remembers; needs no broker\n"
    "  --check              check header, sections, tables and the range of every value\n"
    "  --dump SECTION       the fields of a section of the board; 'header' lists the sections\n"
    "  --save FILE          copy the board to a new file\n"
    "  --image FILE         look at a saved board instead of a broker's\n"
    "  -n, --name NAME      the broker (default: $WEIR_NAME, or 'default')\n"
    "  --domain NAME        the domain whose socket is used (default: 'default')\n"
    "  --runtime-dir DIR    where sockets lie (default: $WEIR_RUNTIME_DIR, /run/weir)\n"
    "\n"
    "exit: 0 in order, 1 usage, 3 broker dead, 4 no broker or journal, 5 corrupt, 6 permission\n";

int inspect_main(int argc, char *argv[])
{
    static const struct option longs[] = {
        {"layout", no_argument, NULL, 'l'},        {"check", no_argument, NULL, 'c'},
        {"dump", required_argument, NULL, 'd'},    {"save", required_argument, NULL, 's'},
        {"journal", required_argument, NULL, 'J'}, COMMON_LONG};
    struct options options = {.command = "inspect"};
    int what = 0;
    int chosen = 0;
    const char *value = NULL;
    for (int c; (c = getopt_long(argc, argv, ":" COMMON_SHORT, longs, NULL)) != -1;) {
        if (c == 'l' || c == 'c' || c == 'd' || c == 's' || c == 'J') {
            what = c;
            value = optarg;
            chosen++;
        } else if (c == 'h') {
            (void)fputs(inspect_help, stdout);
            return EXIT_OK;
        } else if (c == 'j' || !common_option(&options, c, optarg)) { /* there is no JSON of it */
            return option_refused(&options, argc, argv, c);
        }
    }
    if (optind < argc || chosen != 1) {
        complain("inspect: name one of --layout, --journal FILE, --check, --dump SECTION, --save "
                 "FILE: see weir "
                 "inspect --help");
        return EXIT_USAGE;
    }
    return what == 'l'   ? layout_print()
           : what == 'J' ? journal_print(value)
           : what == 'c' ? check_print(&options)
           : what == 'd' ? dump_print(&options, value)
                         : save(&options, value);
}
