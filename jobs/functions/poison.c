/*
 * poison.c - see poison.h.
 */
#include "jobs/functions/poison.h"

#include "common/arena.h"
#include "common/ids.h"
#include "common/options.h"
#include "common/redis.h"
#include <stdlib.h>

#define KEPT_S  3600
#define FIRST_S 2
#define LONGEST 3 /* from that loss on the wait is the same */

static const char *key_of(const struct job_run *job)
{
    return arena_printf(job->arena, "%slosses:%s", job->services->options->redis.prefix,
                        job->id);
}

int poison_count(const struct job_run *job)
{
    struct redis *redis = job->services->redis;
    redisReply *reply;

    if (redis_call(redis, &reply, "INCR %s", key_of(job)) != 0)
        return 1;
    redis_call(redis, NULL, "EXPIRE %s %d", key_of(job), KEPT_S);
    return (int)reply->integer;
}

int poison_losses(const struct job_run *job)
{
    redisReply *reply;

    if (redis_call(job->services->redis, &reply, "GET %s", key_of(job)) != 0 ||
        reply->type != REDIS_REPLY_STRING)
        return 0;
    return (int)strtol(reply->str, NULL, 10);
}

void poison_forget(const struct job_run *job)
{
    redis_call(job->services->redis, NULL, "DEL %s", key_of(job));
}

int poison_delay_s(int losses)
{
    int least = FIRST_S << (losses < LONGEST ? losses - 1 : LONGEST - 1);
    unsigned char chance;

    id_random(&chance, sizeof(chance));
    return least + least * chance / 256;
}

const char *poison_error(const struct job_run *job)
{
    return arena_printf(job->arena,
                        "DatabaseError: the connection broke %d times in the middle of "
                        "this job: it may be what ends the server",
                        POISON_LOSSES);
}
