#include "member_pool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const pool_address[POOL_ADDRESSES] = {"127.0.0.2", "127.0.0.3", "127.0.0.4"};
const char *const pool_address_name[POOL_ADDRESSES] = {"ip=a", "ip=b", "ip=c"};
const char *const pool_key[POOL_KEYS] = {"key-1", "key-2"};
const char *const pool_key_name[POOL_KEYS] = {"key=k1", "key=k2"};

long long pool_counted(struct rig *r, const char *limit, const char *caller)
{
    long long n = -1;
    size_t i;
    json_t *row;
    json_t *report = rig_json(r, "/sim/report");
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), limit) == 0 &&
            strcmp(json_string_value(json_object_get(row, "caller")), caller) == 0) {
            n = json_integer_value(json_object_get(row, "counted"));
        }
    }
    json_decref(report);
    return n;
}

const char *pool_member(struct rig *r, struct weir *w, const struct weir_response *a, char text[64])
{
    CHECK_INT(r, weir_member_name(w, rig_route(w, "sim.ping"), a->member, text, 64), 0);
    return text;
}

void pool_forget(struct rig *r)
{
    char state[128];
    CHECK_INT(r, rig_weird_stop(r, 10000), 0);
    (void)snprintf(state, sizeof state, "%s/rig/state", r->dir);
    CHECK_INT(r, unlink(state), 0);
}
