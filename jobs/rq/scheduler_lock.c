/*
 * scheduler_lock.c - see scheduler_lock.h.
 */
#include "jobs/rq/scheduler_lock.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/process_id.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void scheduler_init(struct rq_scheduler *scheduler, struct redis *redis)
{
    uint32_t random;

    id_random(&random, sizeof(random));
    *scheduler =
        (struct rq_scheduler){ .redis = redis, .created_unix_us = clock_unix_us() };
    snprintf(scheduler->value, sizeof(scheduler->value), "%u", (random >> 1) | 1U);
}

int scheduler_record(const struct rq_scheduler *scheduler, const struct conf_list *queues)
{
    struct buf names = BUF_IN(task_arena());
    struct redis_batch *batch = redis_batch_new(scheduler->redis);
    char host[256] = "localhost";
    char home[PROCESS_HOME_SIZE];
    char created[CLOCK_TEXT_SIZE];
    char now[CLOCK_TEXT_SIZE];

    gethostname(host, sizeof(host) - 1);
    process_home(home);
    for (size_t i = 0; i < queues->count; i++)
        buf_addf(&names, "%s%s", i ? "," : "", queues->items[i]);
    redis_batch_add(batch,
                    "HSET rq:scheduler:%s name %s hostname %s pid %d queues %s "
                    "created_at %s last_heartbeat %s fm_home %s fm_started %llu",
                    scheduler->value, scheduler->value, host, (int)getpid(),
                    buf_text(&names), clock_iso_z(scheduler->created_unix_us, created),
                    clock_iso_z(clock_unix_us(), now), home, process_started(getpid()));
    redis_batch_add(batch, "EXPIRE rq:scheduler:%s 61", scheduler->value);
    return redis_batch_run(batch, NULL, NULL);
}

static const char *queue_key(const char *queue)
{
    return arena_printf(task_arena(), "rq:scheduler-lock:%s", queue);
}

/* 1 held; 0 and the holder's value in *ret_holder; or an error. */
static int take(const struct rq_scheduler *scheduler, const char *key, const char *from,
                const char **ret_holder)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, "take");
    rq_arg(&args, scheduler->value);
    rq_arg(&args, key);
    rq_arg(&args, from);
    int rc = rq_run(scheduler->redis, RQ_LOCK, &args, &reply);
    if (rc < 0)
        return rc;
    if (reply->type == REDIS_REPLY_INTEGER)
        return 1;
    *ret_holder = reply->str;
    return 0;
}

/* What is known of whoever holds a lock. */
enum holder { HOLDER_LIVES, HOLDER_IS_DEAD, HOLDER_IS_FOREIGN };

/* Dead: a forkmark scheduler of this host that is no more. */
static enum holder look_at(const struct rq_scheduler *scheduler, const char *holder)
{
    redisReply *reply;

    if (redis_call(scheduler->redis, &reply,
                   "HMGET rq:scheduler:%s fm_home pid fm_started", holder) < 0)
        return HOLDER_LIVES;
    if (!*rq_reply_text(reply, 0))
        return HOLDER_IS_FOREIGN;
    return process_is_dead(rq_reply_text(reply, 0), rq_reply_text(reply, 1),
                           rq_reply_text(reply, 2))
               ? HOLDER_IS_DEAD
               : HOLDER_LIVES;
}

static int lead(const struct rq_scheduler *scheduler, const char *key, const char *what)
{
    const char *holder = "";
    int rc = take(scheduler, key, "", &holder);

    if (rc != 0)
        return rc < 0 ? rc : LED_BY_US;
    switch (look_at(scheduler, holder)) {
    case HOLDER_LIVES:
        return LED_BY_FORKMARK;
    case HOLDER_IS_FOREIGN:
        return LED_BY_RQ;
    case HOLDER_IS_DEAD:
        break;
    }
    log_info("the scheduler %s of this host is gone: taking over %s", holder, what);
    rc = take(scheduler, key, holder, &holder);
    return rc == 0 ? LED_BY_FORKMARK : rc < 0 ? rc : LED_BY_US;
}

static int drop(const struct rq_scheduler *scheduler, const char *key)
{
    struct rq_args args = RQ_ARGS;

    rq_arg(&args, "drop");
    rq_arg(&args, scheduler->value);
    rq_arg(&args, key);
    rq_arg(&args, "");
    return rq_run(scheduler->redis, RQ_LOCK, &args, NULL);
}

int scheduler_lead(const struct rq_scheduler *scheduler, const char *queue)
{
    return lead(scheduler, queue_key(queue),
                arena_printf(task_arena(), "queue %s", queue));
}

int scheduler_drop(const struct rq_scheduler *scheduler, const char *queue)
{
    return drop(scheduler, queue_key(queue));
}

int scheduler_lead_key(const struct rq_scheduler *scheduler, const char *key)
{
    return lead(scheduler, key, arena_printf(task_arena(), "the lock %s", key));
}

int scheduler_drop_key(const struct rq_scheduler *scheduler, const char *key)
{
    return drop(scheduler, key);
}

int scheduler_forget(const struct rq_scheduler *scheduler)
{
    return redis_call(scheduler->redis, NULL, "DEL rq:scheduler:%s", scheduler->value);
}
