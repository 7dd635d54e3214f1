/*
 * redis.c: the same limit in a server of its own, which is how limits are shared between processes today.
 *
 * GCRA in Lua, run by EVALSHA over a unix socket, one call at a time, as a strategy that needs an answer before it may send has to. Redis gets its
 * best case: no persistence, the script loaded, a connection at hand, nobody else served.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "permit.h"
#include "shm/weir_clock.h"

/* KEYS[1]; ARGV: microseconds per unit, tolerance in microseconds. Answers {granted, microseconds to wait}. */
static const char gcra_lua[] = "local t = redis.call('TIME')\n"
                               "local now = t[1] * 1000000 + t[2]\n"
                               "local tat = tonumber(redis.call('GET', KEYS[1]) or 0)\n"
                               "if tat < now then tat = now end\n"
                               "local after = tat + tonumber(ARGV[1])\n"
                               "local wait = after - now - tonumber(ARGV[2])\n"
                               "if wait > 0 then return {0, wait} end\n"
                               "redis.call('SET', KEYS[1], string.format('%.0f', after))\n"
                               "return {1, 0}\n";

#define UNIT_US      "10"
#define TOLERANCE_US "21474836470"

struct pair {
    const struct rig_weird *weird;
    const struct rig_redis *redis;
};

struct me {
    struct permit_client client;
    redisContext *redis;
    char sha[48];
};

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me;
    const struct pair *pair = arg;
    (void)member;
    me.redis = redisConnectUnix(pair->redis->path);
    if (!me.redis || me.redis->err) {
        duel_fail(why, "redis: %s", me.redis ? me.redis->errstr : "no memory");
        return NULL;
    }
    redisReply *reply = redisCommand(me.redis, "SCRIPT LOAD %s", gcra_lua);
    if (!reply || reply->type != REDIS_REPLY_STRING) {
        duel_fail(why, "redis: SCRIPT LOAD: %s", reply ? reply->str : me.redis->errstr);
        return NULL;
    }
    snprintf(me.sha, sizeof(me.sha), "%.40s", reply->str);
    freeReplyObject(reply);
    if (!permit_open(pair->weird, "bench.bucket", &me.client, why) ||
        permit_warm(&me.client, why) != 0) {
        return NULL;
    }
    return &me;
}

static int weir_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    return permit_batch(&((struct me *)self)->client, 0, cnt, hist, why);
}

/* 0, or -1 with a text. */
static int evalsha(struct me *me, struct duel_why *why)
{
    redisReply *reply =
        redisCommand(me->redis, "EVALSHA %s 1 bench " UNIT_US " " TOLERANCE_US, me->sha);
    if (!reply) {
        return duel_fail(why, "redis: %s", me->redis->errstr);
    }
    int rc = 0;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->integer != 1) {
        rc = duel_fail(why, "redis: not granted: %s",
                       reply->type == REDIS_REPLY_ERROR ? reply->str : "refused");
    }
    freeReplyObject(reply);
    return rc;
}

static int redis_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    int rc = 0;
    DUEL_LOOP(cnt, hist, rc |= evalsha(me, why));
    return rc;
}

static int measure(const struct bench *bench, int redis_core, struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_redis redis = {0};
    struct rig_dir dir = {0};
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct pair pair = {.weird = &weird, .redis = &redis};
    struct duel_spec duel = {
        .member_cnt = 1,
        .core = {bench_core(bench, 0)},
        .open = open_me,
        .batch = {weir_side, redis_side},
        .batch_cnt = {256, 16},
        .arg = &pair,
    };
    int rc = -1;
    if (rig_dir_make(&dir, result) == 0 && rig_redis_start(&redis, &dir, redis_core, result) == 0 &&
        rig_weird_start(bench, &weird, &spec, result) == 0) {
        rc = duel_run(bench, &duel, result);
        rig_weird_stop(&weird);
    }
    rig_stop(&redis.child);
    rig_dir_remove(&dir);
    return rc;
}

/* On the client's own core: no wake-up across cores, redis' best case, and so the one that is judged hardest. */
int bench_redis_evalsha(const struct bench *bench, struct bench_result *result)
{
    snprintf(result->note, sizeof(result->note), "redis-server on the client's core %d",
             bench_core(bench, 0));
    return measure(bench, bench_core(bench, 0), result);
}

int bench_redis_evalsha_across(const struct bench *bench, struct bench_result *result)
{
    snprintf(result->note, sizeof(result->note), "client on core %d, redis-server on core %d",
             bench_core(bench, 0), bench_core(bench, 1));
    return measure(bench, bench_core(bench, 1), result);
}
