#include "sim_order_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_order_log_open(struct sim_order_log *log)
{
    *log = (struct sim_order_log){.index_of = json_object(), .duplicates = json_array()};
}

void sim_order_log_close(struct sim_order_log *log)
{
    free(log->list);
    json_decref(log->index_of);
    json_decref(log->duplicates);
}

static bool room_make(struct sim_order_log *log)
{
    size_t max = log->max ? log->max * 2 : 1024;
    struct sim_order *list;

    if (log->cnt < log->max) {
        return true;
    }
    if (log->cnt >= SIM_ORDER_MAX) {
        return false;
    }
    list = realloc(log->list, max * sizeof(*list));
    if (!list) {
        return false;
    }
    log->list = list;
    log->max = max;
    return true;
}

static void duplicate_note(struct sim_order_log *log, const char *client_id)
{
    log->duplicate_cnt++;
    if (json_array_size(log->duplicates) < SIM_DUPLICATE_SHOWN_MAX) {
        json_array_append_new(log->duplicates, json_string(client_id));
    }
}

size_t sim_order_accept(struct sim_order_log *log, const char *client_id, int64_t utc_ns,
                        int64_t *times)
{
    size_t order_id = *client_id ? sim_order_find(log, client_id, 0) : 0;
    struct sim_order *order;

    log->accepted_cnt++;
    *times = 1;
    if (order_id) {
        *times = ++log->list[order_id - 1].times;
        duplicate_note(log, client_id);
        return order_id;
    }
    if (!room_make(log)) {
        return 0;
    }
    order = &log->list[log->cnt++];
    *order = (struct sim_order){.first_utc_ns = utc_ns, .times = 1};
    if (*client_id) {
        snprintf(order->client_id, sizeof(order->client_id), "%s", client_id);
    } else {
        snprintf(order->client_id, sizeof(order->client_id), "sim-%zu", log->cnt);
    }
    json_object_set_new(log->index_of, order->client_id, json_integer((json_int_t)log->cnt));
    return log->cnt;
}

size_t sim_order_find(const struct sim_order_log *log, const char *client_id, size_t order_id)
{
    if (client_id) {
        return (size_t)json_integer_value(json_object_get(log->index_of, client_id));
    }
    return order_id <= log->cnt ? order_id : 0;
}

void sim_order_touch(struct sim_order_log *log, size_t order_id, int64_t now_mono_ns)
{
    log->list[order_id - 1].touched_mono_ns = now_mono_ns;
}

int64_t sim_order_age_ms(const struct sim_order_log *log, size_t order_id, int64_t now_mono_ns)
{
    if (order_id == 0 || log->list[order_id - 1].cancelled) {
        return -1;
    }
    return (now_mono_ns - log->list[order_id - 1].touched_mono_ns) / 1000000;
}

json_t *sim_order_log_json(const struct sim_order_log *log)
{
    json_t *list = json_array();

    for (size_t i = 0; i < log->cnt; i++) {
        const struct sim_order *order = &log->list[i];

        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "client_order_id",
                                              order->client_id, "order_id", (json_int_t)(i + 1),
                                              "first_us", (json_int_t)(order->first_utc_ns / 1000),
                                              "times", (json_int_t)order->times));
    }
    return list;
}
