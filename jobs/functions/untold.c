/*
 * untold.c - see untold.h.
 */
#include "jobs/functions/untold.h"

#include "common/arena.h"
#include "common/options.h"
#include "common/redis.h"
#include <string.h>

#define KEPT_S 1800 /* no stream is older */

static const char *key_of(const struct job_run *job)
{
    return arena_printf(job->arena, "%suntold:%s", job->services->options->redis.prefix,
                        job->id);
}

/* Of "<user_id> id: <event id>\n..." */
static const char *id_of(const struct job_run *job, const char *message)
{
    const char *id = strstr(message, "id: ") + strlen("id: ");

    return arena_strndup(job->arena, id, strcspn(id, "\n"));
}

void untold_keep(const struct job_run *job, const char *const *messages, int count)
{
    struct redis *redis = job->services->redis;
    const char *key = key_of(job);

    for (int i = 0; i < count; i++)
        redis_call(redis, NULL, "HSET %s %s %s", key, id_of(job, messages[i]),
                   messages[i]);
    if (count > 0)
        redis_call(redis, NULL, "EXPIRE %s %d", key, KEPT_S);
}

struct untold untold_read(const struct job_run *job)
{
    redisReply *reply;

    if (redis_call(job->services->redis, &reply, "HGETALL %s", key_of(job)) != 0 ||
        reply->elements == 0)
        return (struct untold){ 0 };
    size_t count = reply->elements / 2;
    const char **ids = arena_array(job->arena, count, sizeof(*ids));
    const char **messages = arena_array(job->arena, count, sizeof(*messages));
    for (size_t i = 0; i < count; i++) {
        ids[i] = reply->element[2 * i]->str;
        messages[i] = reply->element[2 * i + 1]->str;
    }
    return (struct untold){ .ids = ids, .messages = messages, .count = (int)count };
}

const char *untold_find(const struct untold *untold, const char *event_id)
{
    for (int i = 0; i < untold->count; i++) {
        if (strcmp(untold->ids[i], event_id) == 0)
            return untold->messages[i];
    }
    return NULL;
}

void untold_told(const struct job_run *job, const struct untold *untold,
                 const char *const *messages, int count)
{
    for (int i = 0; i < count && untold->count > 0; i++) {
        const char *id = id_of(job, messages[i]);

        if (untold_find(untold, id))
            redis_call(job->services->redis, NULL, "HDEL %s %s", key_of(job), id);
    }
}
