/*
 * consumer_burst.c - what a burst does first, as `rq worker --burst --with-scheduler`:
 * jobs whose time has come go into their queues, once.
 */
#include "jobs/consumer_parts.h"
#include "jobs/rq/maintenance.h"
#include "jobs/rq/scheduler_lock.h"

/*
 * A queue that a Python worker schedules for is left to it: it reads, enqueues and
 * removes in several steps. A forkmark does it in one, so that two do no harm.
 */
static int is_ours_to_schedule(struct redis *redis, const struct rq_scheduler *lock,
                               const char *queue)
{
    redisReply *reply;
    int rc = scheduler_lead(lock, queue);

    if (rc != 0)
        return rc;
    rc = redis_call(redis, &reply, "GET rq:scheduler-lock:%s", queue);
    if (rc < 0 || !reply->str)
        return rc < 0 ? rc : 0;
    rc = redis_call(redis, &reply, "HEXISTS rq:scheduler:%s fm_home", reply->str);
    return rc < 0 ? rc : (int)reply->integer;
}

int consumer_start_burst(struct consumer *c)
{
    struct redis *redis = c->worker.redis;
    struct rq_scheduler lock;
    int rc = 0;

    if (c->has_enqueued_due || !c->context->pool->burst ||
        !c->context->options->jobs.scheduler)
        return 0;
    scheduler_init(&lock, redis);
    for (size_t i = 0; rc >= 0 && i < c->queue_count; i++) {
        const char *queue = c->queues[i].name;

        rc = is_ours_to_schedule(redis, &lock, queue);
        if (rc == 1)
            rc = queue_enqueue_due(redis, queue, NULL);
        scheduler_drop(&lock, queue);
    }
    c->has_enqueued_due = rc >= 0;
    return rc;
}
