/*
 * begun.c - see begun.h.
 */
#include "jobs/functions/begun.h"

#include "common/arena.h"
#include "common/options.h"
#include "common/redis.h"

#define KEPT_S 1800 /* no stream is older */

static const char *key_of(const struct job_run *job)
{
    return arena_printf(job->arena, "%sbegun:%s", job->services->options->redis.prefix,
                        job->id);
}

void begun_keep(const struct job_run *job, const char *run_id)
{
    redis_call(job->services->redis, NULL, "SET %s %s EX %d", key_of(job), run_id,
               KEPT_S);
}

const char *begun_find(const struct job_run *job)
{
    redisReply *reply;

    if (redis_call(job->services->redis, &reply, "GET %s", key_of(job)) != 0 ||
        reply->type != REDIS_REPLY_STRING)
        return NULL;
    return arena_strdup(job->arena, reply->str);
}

void begun_drop(const struct job_run *job)
{
    redis_call(job->services->redis, NULL, "DEL %s", key_of(job));
}
