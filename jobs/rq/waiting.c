/*
 * waiting.c - see waiting.h.
 */
#include "jobs/rq/waiting.h"
#include "common/arena.h"
#include "jobs/rq/scripts.h"

static const char *text_of(const redisReply *reply)
{
    return reply->str ? reply->str : "";
}

int waiting_ends(struct redis *redis, const char *queue, struct waiting_ends *ret)
{
    struct redis_batch *batch = redis_batch_new(redis);
    redisReply **replies;
    size_t count;

    redis_batch_add(batch, "LLEN rq:queue:%s", queue);
    redis_batch_add(batch, "LINDEX rq:queue:%s 0", queue);
    redis_batch_add(batch, "LINDEX rq:queue:%s -1", queue);
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    *ret = (struct waiting_ends){ .length = (size_t)replies[0]->integer,
                                  .first = text_of(replies[1]),
                                  .last = text_of(replies[2]) };
    return 0;
}

int waiting_ids(struct redis *redis, const char *queue, size_t at, size_t max,
                struct waiting_job *ret)
{
    redisReply *reply;
    int rc = redis_call(redis, &reply, "LRANGE rq:queue:%s %lld %lld", queue,
                        (long long)at, (long long)(at + max - 1));

    for (size_t i = 0; rc == 0 && i < reply->elements && i < max; i++)
        ret[i] = (struct waiting_job){ .id = text_of(reply->element[i]),
                                       .id_length = reply->element[i]->len };
    return rc < 0 ? rc : (int)(reply->elements < max ? reply->elements : max);
}

int waiting_peek(struct redis *redis, struct waiting_job *jobs, size_t count)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg_int(&args, WAITING_PREFIX);
    for (size_t i = 0; i < count; i++)
        rq_arg_bytes(&args, jobs[i].id, jobs[i].id_length);
    int rc = rq_run(redis, RQ_PEEK, &args, &reply);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        jobs[i].status = rq_reply_text(reply, 3 * i);
        jobs[i].data_length = (size_t)rq_reply_int(reply, 3 * i + 1);
        jobs[i].data = rq_reply_text(reply, 3 * i + 2);
    }
    return rc;
}

int waiting_data(struct redis *redis, const struct waiting_job *job, const char **ret,
                 size_t *ret_length)
{
    redisReply *reply;
    int rc =
        redis_call(redis, &reply, "HGET rq:job:%b data", job->id, (size_t)job->id_length);

    if (rc < 0)
        return rc;
    *ret = text_of(reply);
    *ret_length = reply->str ? reply->len : 0;
    return 0;
}
