/*
 * cache_check.c - see cache_check.h.
 */
#include "jobs/cache_check.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/connect.h"
#include "common/task.h"
#include "jobs/connections.h"
#include <errno.h>
#include <string.h>

#define PATIENCE_MS 1000
#define LOOK_MS     100

static bool answers(struct redis *redis)
{
    uint64_t until_ms = clock_ms() + PATIENCE_MS;

    int rc;

    while ((rc = redis_call(redis, NULL, "PING")) < 0 && rc != -EPROTO) {
        if (clock_ms() >= until_ms)
            return false;
        task_sleep(LOOK_MS);
    }
    return true;
}

/* Its words, "" when it may not be asked. */
static const char *text_of(struct redis *redis, const char *question)
{
    redisReply *reply = NULL;

    return redis_call(redis, &reply, question) == 0 && reply->type == REDIS_REPLY_STRING
               ? reply->str
               : "";
}

static const char *judge(struct redis *redis, bool is_cluster)
{
    if (!answers(redis))
        return arena_printf(task_arena(),
                            "the cache's Redis does not answer (%s): nothing is cached, "
                            "and no rate limit holds, until it does",
                            *redis_trouble(redis) ? redis_trouble(redis) : "no answer");
    if (!is_cluster && strstr(text_of(redis, "INFO server"), "redis_mode:cluster"))
        return "redis.cache_url names one node of a cluster, which has a part of the "
               "keys "
               "only: name some of its nodes in redis.cache.cluster instead";
    if (is_cluster && strstr(text_of(redis, "CLUSTER INFO"), "cluster_state:fail"))
        return "the cache's cluster says of itself that it is not whole "
               "(cluster_state:fail): users whose slots are away do without cache and "
               "rate limits";
    return NULL;
}

static void free_redis(void *arg)
{
    redis_free(arg);
}

const char *cache_check(const struct options *options)
{
    if (!connect_has_own_cache(options))
        return NULL;

    struct redis *redis = jobs_cache_redis(options, "forkmark-check", NULL);
    if (!redis) /* said already */
        return NULL;
    arena_defer(task_arena(), free_redis, redis);
    return judge(redis, options->redis.cache.cluster.count > 0);
}
