/*
 * config_read.c: the tree, row by row of the schema, into structs.
 *
 * The walk goes down the schema, not the tree, so its depth is the schema's. A value that is wrong is complained about and
 * stays unset; what depends on it is then not checked, because a second message about the same mistake helps nobody.
 */
#include "broker/config/config_read.h"

#include <stdio.h>
#include <string.h>

#include "broker/config/config_nearest.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_scalar.h"
#include "broker/config/config_schema.h"

static bool is_kind(struct weir_config_reader *reader, const struct weir_config_row *row,
                    const struct weir_config_place *place, enum weir_config_node_kind kind)
{
    if (place->node->kind == kind) {
        return true;
    }
    char allowed[WEIR_CONFIG_ALLOWED_BYTES];
    weir_config_row_allowed(row, allowed, sizeof(allowed));
    weir_config_error(reader, place, "must be %s", allowed);
    return false;
}

static bool is_count(struct weir_config_reader *reader, const struct weir_config_row *row,
                     const struct weir_config_place *place)
{
    size_t cnt = place->node->child_cnt;
    if (cnt >= row->cnt_min && cnt <= row->cnt_max) {
        return true;
    }
    weir_config_error(reader, place, "has %zu entries: must have %llu..%llu", cnt,
                      (unsigned long long)row->cnt_min, (unsigned long long)row->cnt_max);
    return false;
}

/* A place whose node is known already: looking it up again would make long lists slow. */
static struct weir_config_place child_of(const struct weir_config_place *up,
                                         const struct weir_config_node *node, size_t idx)
{
    return (struct weir_config_place){.up = up, .key = node->key, .idx = idx, .node = node};
}

static void read_list(struct weir_config_reader *reader, const struct weir_config_row *row,
                      void *field, const struct weir_config_place *place)
{
    if (!is_kind(reader, row, place, WEIR_CONFIG_NODE_LIST) || !is_count(reader, row, place)) {
        return;
    }
    bool is_number = weir_config_type_is_number(row->item);
    size_t entry_bytes = is_number ? sizeof(uint64_t) : sizeof(const char *);
    char *entry = weir_config_keep(reader, place->node->child_cnt * entry_bytes);
    if (!entry) {
        return;
    }
    size_t cnt = 0;
    for (const struct weir_config_node *node = place->node->child; node; node = node->next) {
        struct weir_config_place item = child_of(place, node, cnt);
        if (node->is_broken) {
            reader->fault_cnt++;
        } else {
            weir_config_scalar_read(reader, row, row->item, &item, entry + cnt * entry_bytes);
        }
        cnt++;
    }
    if (is_number) {
        *(struct weir_config_numbers *)field = (struct weir_config_numbers){(void *)entry, cnt};
    } else {
        *(struct weir_config_strings *)field = (struct weir_config_strings){(void *)entry, cnt};
    }
}

static void read_units(struct weir_config_reader *reader, const struct weir_config_row *row,
                       void *base, const struct weir_config_place *place)
{
    if (!is_kind(reader, row, place, WEIR_CONFIG_NODE_MAP) || !is_count(reader, row, place)) {
        return;
    }
    struct weir_config_cost *cost =
        weir_config_keep(reader, place->node->child_cnt * sizeof(*cost));
    size_t cnt = 0;
    for (const struct weir_config_node *node = place->node->child; node && cost;
         node = node->next) {
        struct weir_config_place item = child_of(place, node, cnt);
        const char *rule = weir_config_text_fault(WEIR_CONFIG_TYPE_NAME, node->key);
        if (rule || strlen(node->key) >= WEIR_NAME_BYTES) {
            weir_config_error(reader, &item, "a limit's name must be 1..%d %s", WEIR_NAME_BYTES - 1,
                              weir_config_text_form(WEIR_CONFIG_TYPE_NAME));
        } else if (node->is_broken) {
            reader->fault_cnt++;
        } else {
            strcpy(cost[cnt].limit, node->key);
            weir_config_scalar_read(reader, row, WEIR_CONFIG_TYPE_INTEGER, &item, &cost[cnt].units);
        }
        cnt++;
    }
    *(struct weir_config_cost **)((char *)base + row->offset) = cost;
    *(size_t *)((char *)base + row->cnt_offset) = cost ? cnt : 0;
}

static void read_sections(struct weir_config_reader *reader, const struct weir_config_row *row,
                          void *base, const struct weir_config_place *place)
{
    if (!is_kind(reader, row, place, WEIR_CONFIG_NODE_LIST) || !is_count(reader, row, place)) {
        return;
    }
    char *entry = weir_config_keep(reader, place->node->child_cnt * row->section->bytes);
    size_t cnt = 0;
    for (const struct weir_config_node *node = place->node->child; node && entry;
         node = node->next) {
        struct weir_config_place item = child_of(place, node, cnt);
        weir_config_read_section(reader, row->section, entry + cnt * row->section->bytes, &item);
        cnt++;
    }
    *(void **)((char *)base + row->offset) = entry;
    *(size_t *)((char *)base + row->cnt_offset) = cnt;
}

/* Strings are never NULL, also in a section that nobody wrote. */
static void set_nothing(const struct weir_config_row *row, void *base)
{
    void *field = (char *)base + row->offset;
    switch (row->type) {
    case WEIR_CONFIG_TYPE_STRING:
    case WEIR_CONFIG_TYPE_SECRET:
    case WEIR_CONFIG_TYPE_SCOPE:
    case WEIR_CONFIG_TYPE_HEADER:
    case WEIR_CONFIG_TYPE_PATH:
    case WEIR_CONFIG_TYPE_FILE:
        *(const char **)field = "";
        return;
    case WEIR_CONFIG_TYPE_SECTION:
        for (size_t i = 0; i < row->section->row_cnt; i++) {
            set_nothing(&row->section->row[i], field);
        }
        return;
    default: /* zero it is already */
        return;
    }
}

/* A default is read as if it had been written, so it obeys the same bounds. */
static void set_default(struct weir_config_reader *reader, const struct weir_config_row *row,
                        void *base, const struct weir_config_place *place)
{
    struct weir_config_node scalar = {.kind = WEIR_CONFIG_NODE_SCALAR, .text = row->def};
    struct weir_config_place written = {.up = place->up, .key = row->key, .node = &scalar};
    if (row->type != WEIR_CONFIG_TYPE_LIST) {
        weir_config_scalar_read(reader, row, row->type, &written, (char *)base + row->offset);
        return;
    }
    struct weir_config_node list = {.kind = WEIR_CONFIG_NODE_LIST};
    for (const char *at = row->def; at;) {
        size_t bytes = strcspn(at, ",");
        struct weir_config_node *entry = weir_config_scratch(reader, sizeof(*entry));
        if (!entry) {
            return;
        }
        entry->kind = WEIR_CONFIG_NODE_SCALAR;
        entry->text = weir_config_scratch_text(reader, at, bytes);
        *(list.last ? &list.last->next : &list.child) = entry;
        list.last = entry;
        list.child_cnt++;
        at = at[bytes] ? at + bytes + strlen(", ") : NULL;
    }
    written.node = &list;
    read_list(reader, row, (char *)base + row->offset, &written);
}

static void set_default_entry(struct weir_config_reader *reader, const struct weir_config_row *row,
                              void *base, const struct weir_config_place *place)
{
    struct weir_config_place item = {.up = place};
    void *entry = weir_config_keep(reader, row->section->bytes);
    if (entry) {
        weir_config_read_section(reader, row->section, entry, &item);
        *(void **)((char *)base + row->offset) = entry;
        *(size_t *)((char *)base + row->cnt_offset) = 1;
    }
}

static void read_absent(struct weir_config_reader *reader, const struct weir_config_row *row,
                        void *base, const struct weir_config_place *place)
{
    if (!row->def) {
        char allowed[WEIR_CONFIG_ALLOWED_BYTES];
        weir_config_row_allowed(row, allowed, sizeof(allowed));
        weir_config_error(reader, place, "missing: must be %s", allowed);
    } else if (row->def[0] == '\0') {
        set_nothing(row, base);
    } else if (row->type == WEIR_CONFIG_TYPE_SECTION) {
        weir_config_read_section(reader, row->section, (char *)base + row->offset, place);
    } else if (row->type == WEIR_CONFIG_TYPE_SECTIONS) {
        set_default_entry(reader, row, base, place);
    } else {
        set_default(reader, row, base, place);
    }
}

static void warn_of_later(struct weir_config_reader *reader, const struct weir_config_row *row,
                          const struct weir_config_place *place)
{
    const struct weir_config_node *node = place->node;
    bool is_default =
        node->kind == WEIR_CONFIG_NODE_SCALAR && row->def && strcmp(node->text, row->def) == 0;
    if (row->later && !is_default) {
        weir_config_warn_once(reader, place, row->later);
    }
}

static void read_row(struct weir_config_reader *reader, const struct weir_config_row *row,
                     void *base, const struct weir_config_place *place)
{
    void *field = (char *)base + row->offset;
    if (!place->node) {
        read_absent(reader, row, base, place);
        return;
    }
    set_nothing(row, base);
    if (place->node->is_broken) {
        reader->fault_cnt++;
        return;
    }
    warn_of_later(reader, row, place);
    switch (row->type) {
    case WEIR_CONFIG_TYPE_LIST:
        read_list(reader, row, field, place);
        return;
    case WEIR_CONFIG_TYPE_UNITS:
        read_units(reader, row, base, place);
        return;
    case WEIR_CONFIG_TYPE_SECTION:
        weir_config_read_section(reader, row->section, field, place);
        return;
    case WEIR_CONFIG_TYPE_SECTIONS:
        read_sections(reader, row, base, place);
        return;
    default:
        weir_config_scalar_read(reader, row, row->type, place, field);
    }
}

static void refuse_unknown_keys(struct weir_config_reader *reader,
                                const struct weir_config_section *section,
                                const struct weir_config_place *place)
{
    for (const struct weir_config_node *node = place->node->child; node; node = node->next) {
        size_t i = 0;
        while (i < section->row_cnt && strcmp(section->row[i].key, node->key) != 0) {
            i++;
        }
        if (i < section->row_cnt) {
            continue;
        }
        char meant[WEIR_CONFIG_ALLOWED_BYTES];
        weir_config_nearest_key(section, node->key, meant, sizeof(meant));
        /* The key is at fault, not its value, which may be a secret under a misspelt name. */
        struct weir_config_node key = {.line = node->key_line, .column = node->key_column};
        struct weir_config_place unknown = {
            .up = place, .key = node->key, .node = &key, .is_secret = true};
        weir_config_error(reader, &unknown, "unknown key: %s", meant);
    }
}

void weir_config_read_section(struct weir_config_reader *reader,
                              const struct weir_config_section *section, void *base,
                              const struct weir_config_place *place)
{
    size_t fault_cnt = reader->fault_cnt;
    if (place->node && place->node->is_broken) {
        reader->fault_cnt++;
        return;
    }
    if (place->node && place->node->kind != WEIR_CONFIG_NODE_MAP) {
        weir_config_error(reader, place, "must be a map of keys, such as %s: ...",
                          section->row[0].key);
        return;
    }
    if (place->node) {
        refuse_unknown_keys(reader, section, place);
    }
    for (size_t i = 0; i < section->row_cnt; i++) {
        struct weir_config_place key = weir_config_place_key(place, section->row[i].key);
        key.is_secret = section->row[i].type == WEIR_CONFIG_TYPE_SECRET;
        read_row(reader, &section->row[i], base, &key);
    }
    if (section->finish && reader->fault_cnt == fault_cnt) {
        section->finish(reader, base, place);
    }
}
