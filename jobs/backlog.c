/*
 * backlog.c - see backlog.h.
 */
#include "jobs/backlog.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "jobs/functions.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/waiting.h"
#include <string.h>

/* So many are looked at where jobs of others stand between ours. */
#define LOOKED_AT 64

/* RQ notes when a job came into its queue; one that is gone has no age. */
static int age_of(struct redis *redis, const char *id, size_t length, int64_t *ret_ms)
{
    redisReply *reply;
    int64_t since_us;
    int rc = redis_call(redis, &reply, "HGET rq:job:%b enqueued_at", id, length);

    if (rc < 0)
        return rc;
    *ret_ms = 0;
    if (reply->str && clock_parse(reply->str, reply->len, &since_us) == 0 &&
        clock_unix_us() > since_us)
        *ret_ms = (clock_unix_us() - since_us) / 1000;
    return 0;
}

static int count_all(struct redis *redis, const char *queue, struct backlog *ret)
{
    struct waiting_ends ends;
    int rc = waiting_ends(redis, queue, &ends);

    if (rc < 0 || ends.length == 0)
        return rc;
    ret->waiting = (int64_t)ends.length;
    return age_of(redis, ends.first, strlen(ends.first), &ret->age_ms);
}

static bool is_ours(const struct options *options, const struct waiting_job *job)
{
    size_t prefix = job->data_length < WAITING_PREFIX ? job->data_length : WAITING_PREFIX;
    const char *name = payload_peek_name(task_arena(), job->data, prefix);

    return name && job_function_find(options, name);
}

static int count_ours(struct redis *redis, const struct options *options,
                      const char *queue, struct backlog *ret)
{
    struct waiting_job *jobs = arena_array(task_arena(), LOOKED_AT, sizeof(*jobs));
    int count = waiting_ids(redis, queue, 0, LOOKED_AT, jobs);
    const struct waiting_job *first = NULL;
    int rc = count > 0 ? waiting_peek(redis, jobs, (size_t)count) : count;

    for (int i = 0; rc >= 0 && i < count; i++) {
        if (!is_ours(options, &jobs[i]))
            continue;
        ret->waiting++;
        first = first ? first : &jobs[i];
    }
    return first ? age_of(redis, first->id, first->id_length, &ret->age_ms) : rc;
}

int backlog_count(struct redis *redis, const struct options *options,
                  const struct pool_options *pool, struct backlog *ret)
{
    struct backlog sum = { 0 };

    for (size_t i = 0; i < pool->queues.count; i++) {
        const char *queue = pool->queues.items[i];
        bool leaves = options_queue(options, queue)->unknown == UNKNOWN_LEAVE;
        struct backlog one = { 0 };
        int rc = leaves ? count_ours(redis, options, queue, &one)
                        : count_all(redis, queue, &one);

        if (rc < 0)
            return rc;
        sum.waiting += one.waiting;
        if (one.age_ms > sum.age_ms)
            sum.age_ms = one.age_ms;
    }
    *ret = sum;
    return 0;
}
