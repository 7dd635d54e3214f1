/* limits_client.c: `weir limits --by client`: who took how much of which limit, for people and as JSON. */
#include "show_limits.h"

#include "print.h"
#include "weir_error.h"

#include <inttypes.h>

/* What client `c` took of a limit. False: nothing, or the board does not say. */
static bool use_get(const struct image *image, uint32_t client, uint32_t limit,
                    struct weir_shm_client_use *use)
{
    uint64_t limits = image_cnt(image, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats));
    return limit < limits &&
           image_get(image, WEIR_SECTION_CLIENT_USE, client * limits + limit, use, sizeof *use) &&
           (use->traded | use->brokered) != 0;
}

/* Nothing is added while nobody takes anything: what is older than its window is over. */
static uint64_t recent_of(const struct image *image, const struct weir_shm_limit_row *row,
                          const struct weir_shm_client_use *use)
{
    bool windows = row->kind == WEIR_LIMIT_FIXED_WINDOW && row->window_ns >= WEIR_NS_PER_S;
    uint64_t length_ns = windows ? row->window_ns : 60 * WEIR_NS_PER_S;
    uint64_t age_ns = image->now_ns > use->recent_from_ns ? image->now_ns - use->recent_from_ns : 0;
    return row->calendar_cnt == 0 && age_ns > length_ns + WEIR_NS_PER_S ? 0 : use->recent;
}

/* Its share of the limit in ppm, 0: none. */
static uint32_t share_of(const struct weir_shm_limit_row *row, const struct weir_shm_client *client)
{
    char name[WEIR_NAME_BYTES];
    (void)snprintf(name, sizeof name, "%.31s", client->name);
    uint32_t member = weir_share_member(row, name, client->uid);
    return member > 0 ? weir_share_rows(row)[member - 1].part_ppm : 0;
}

static const struct column columns[] = {
    {"LIMIT", -20}, {"CLIENT", -16}, {"INDEX", 5},    {"SHARE", 6},
    {"RECENT", 8},  {"TOTAL", 10},   {"BROKERED", 9}, {"OWN PERMITS", 11},
};

void by_client_text(FILE *out, const struct image *image, const struct image *before,
                    const struct options *options)
{
    struct table table;
    char provider[TEXT_BYTES];
    char name[TEXT_BYTES];
    uint32_t rows = 0;
    (void)before;
    (void)options;
    table_init(&table, columns, WEIR_ARRAY_CNT(columns));
    uint32_t cnt = image_cnt(image, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    for (uint32_t l = 0; l < image->tables.limit_cnt; l++) {
        const struct weir_shm_limit_row *row = &image->tables.limit[l];
        for (uint32_t c = 0; c < cnt; c++) {
            struct weir_shm_client client;
            struct weir_shm_client_use use;
            if (!image_get(image, WEIR_SECTION_CLIENT, c, &client, sizeof client) ||
                client.state == WEIR_CLIENT_FREE || !use_get(image, c, l, &use)) {
                continue;
            }
            uint32_t ppm = share_of(row, &client);
            table_cell(&table, "%s.%s",
                       PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                       PRINT_TEXT(name, row->name));
            table_cell(&table, "%s", PRINT_TEXT(name, client.name));
            table_cell(&table, "%u", c);
            if (ppm > 0) {
                table_cell(&table, "%u.%u%%", ppm / 10000, ppm / 1000 % 10);
            } else {
                table_cell(&table, "-");
            }
            table_cell(&table, "%" PRIu64, recent_of(image, row, &use));
            table_cell(&table, "%" PRIu64, use.traded + use.brokered);
            table_cell(&table, "%" PRIu64, use.brokered);
            table_cell(&table, "%" PRIu64, use.traded);
            rows++;
        }
    }
    if (rows == 0) {
        (void)fprintf(out, "no client that is attached has taken anything yet\n");
        return;
    }
    table_print(&table, out, "");
    (void)fprintf(
        out, "\nunits; recent: in this window, or this minute; own permits: by the client's own "
             "word, brokered: by the broker's\n");
}

static json_t *use_json(const struct image *image, uint32_t limit, uint32_t index,
                        const struct weir_shm_client *client, const struct weir_shm_client_use *use)
{
    const struct weir_shm_limit_row *row = &image->tables.limit[limit];
    char provider[TEXT_BYTES];
    char name[TEXT_BYTES];
    json_t *o = json_object();
    (void)json_object_set_new(
        o, "limit",
        json_sprintf("%s.%s", PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                     PRINT_TEXT(name, row->name)));
    (void)json_object_set_new(o, "client", JSON_FIELD(client->name));
    (void)json_object_set_new(o, "index", json_u64(index));
    (void)json_object_set_new(o, "pid", json_u64(client->pid));
    (void)json_object_set_new(o, "uid", json_u64(client->uid));
    (void)json_object_set_new(o, "share_ppm", json_u64(share_of(row, client)));
    (void)json_object_set_new(o, "recent_units", json_u64(recent_of(image, row, use)));
    (void)json_object_set_new(o, "brokered_units", json_u64(use->brokered));
    (void)json_object_set_new(o, "traded_units", json_u64(use->traded));
    return o;
}

json_t *by_client_json(const struct image *image, const struct image *before,
                       const struct options *options)
{
    json_t *o = json_object();
    json_t *uses = json_array();
    (void)before;
    (void)options;
    uint32_t cnt = image_cnt(image, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    for (uint32_t l = 0; l < image->tables.limit_cnt; l++) {
        for (uint32_t c = 0; c < cnt; c++) {
            struct weir_shm_client client;
            struct weir_shm_client_use use;
            if (image_get(image, WEIR_SECTION_CLIENT, c, &client, sizeof client) &&
                client.state != WEIR_CLIENT_FREE && use_get(image, c, l, &use)) {
                (void)json_array_append_new(uses, use_json(image, l, c, &client, &use));
            }
        }
    }
    (void)json_object_set_new(o, "name", JSON_FIELD(image->view.header->name));
    (void)json_object_set_new(o, "now_ns", json_u64(image->now_ns));
    (void)json_object_set_new(o, "uses", uses);
    return o;
}
