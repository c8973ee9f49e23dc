/*
 * maintenance.c - see maintenance.h.
 */
#include "jobs/rq/maintenance.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/process_id.h"
#include "jobs/rq/scripts.h"
#include "jobs/rq/worker_record.h"
#include <string.h>

#define DUE_BATCH       1000
#define ABANDONED_BATCH 100
/* RQ's own is 899 s; ours is short, as a scheduler that dies here leaves it behind. */
#define LOCK_SECONDS "120"

int queue_enqueue_due(struct redis *redis, const char *queue, const char *leader)
{
    int total = 0;

    for (;;) {
        struct rq_args args = RQ_ARGS;
        redisReply *reply;

        rq_arg(&args, queue);
        rq_arg_now(&args);
        rq_arg_int(&args, DUE_BATCH);
        rq_arg(&args, leader ? leader : "");
        int rc = rq_run(redis, RQ_DUE, &args, &reply);
        if (rc < 0)
            return rc;
        total += (int)reply->integer;
        if (reply->integer < DUE_BATCH)
            return total;
    }
}

/* As Python prints a time with a zone: RQ's text for abandoned jobs has one. */
static const char *clock_with_space(char text[CLOCK_TEXT_SIZE])
{
    clock_iso_z(clock_unix_us(), text);
    text[strcspn(text, "T")] = ' ';
    text[strcspn(text, "Z")] = '\0';
    return text;
}

/* One batch. How many entries there were, or an error. */
static int clean_abandoned(struct redis *redis, const struct options *options,
                           const char *queue)
{
    struct rq_args args = RQ_ARGS;
    char now[CLOCK_TEXT_SIZE];
    char home[PROCESS_HOME_SIZE];
    redisReply *reply;

    rq_arg(&args, queue);
    rq_arg_now(&args);
    rq_arg_error(&args, arena_printf(args.arena,
                                     "Moved to FailedJobRegistry, due to "
                                     "AbandonedJobError, at %s+00:00",
                                     clock_with_space(now)));
    rq_arg_int(&args, ABANDONED_BATCH);
    rq_arg_int(&args, options->jobs.failure_ttl);
    process_home(home);
    rq_arg(&args, options->jobs.redeliver ? home : "");
    rq_arg_int(&args, options->jobs.max_deliveries);
    rq_arg_error(&args, worker_too_many_deliveries(options));
    int rc = rq_run(redis, RQ_ABANDONED, &args, &reply);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        log_warn("job %s of queue %s was abandoned by its worker: %s",
                 rq_reply_text(reply, i + 1), queue, rq_reply_text(reply, i));
    return (int)(reply->elements / 2);
}

static int upkeep(struct redis *redis, const char *queue)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, queue);
    int rc = rq_run(redis, RQ_UPKEEP, &args, &reply);
    if (rc == 0 && reply->integer > 0)
        log_warn("%lld jobs were stuck in the intermediate list of %s: queued again",
                 reply->integer, queue);
    return rc;
}

/* A scan of a registry or group by a script that takes a cursor and answers with the
 * next one. `note` is shown each page. */
static int scan(struct redis *redis, enum rq_script script, const char *const *before,
                size_t before_count, void (*note)(const char *what, const redisReply *),
                const char *what)
{
    const char *cursor = "0";

    do {
        struct rq_args args = RQ_ARGS;
        redisReply *reply;

        for (size_t i = 0; i < before_count; i++)
            rq_arg(&args, before[i]);
        rq_arg(&args, cursor);
        rq_arg_now(&args);
        int rc = rq_run(redis, script, &args, &reply);
        if (rc < 0)
            return rc;
        if (note)
            note(what, reply);
        cursor = rq_reply_text(reply, 0);
    } while (strcmp(cursor, "0") != 0);
    return 0;
}

static void say_released(const char *queue, const redisReply *reply)
{
    int64_t released = rq_reply_int(reply, 2);

    if (released > 0)
        log_info("%lld deferred jobs of %s waited for nothing any more: queued",
                 (long long)released, queue);
}

static int clean_deferred(struct redis *redis, const char *queue)
{
    const char *const deferred[] = { queue, "deferred" };

    return scan(redis, RQ_WAITING, deferred, 2, say_released, queue);
}

int queue_tidy(struct redis *redis, const char *queue)
{
    const char *const canceled[] = { queue, "canceled" };

    return scan(redis, RQ_WAITING, canceled, 2, NULL, queue);
}

int groups_maintain(struct redis *redis)
{
    redisReply *groups;
    int rc = redis_call(redis, &groups, "SMEMBERS rq:groups");

    for (size_t i = 0; rc >= 0 && i < groups->elements; i++) {
        const char *const group[] = { rq_reply_text(groups, i) };

        rc = scan(redis, RQ_GROUPS, group, 1, NULL, NULL);
    }
    return rc;
}

int queue_maintain(struct redis *redis, const struct options *options, const char *queue)
{
    redisReply *reply;
    int rc = redis_call(redis, &reply, "SET rq:clean_registries:%s 1 NX EX " LOCK_SECONDS,
                        queue);

    if (rc < 0)
        return rc;
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    do {
        rc = clean_abandoned(redis, options, queue);
    } while (rc == ABANDONED_BATCH);
    if (rc >= 0)
        rc = upkeep(redis, queue);
    if (rc >= 0)
        rc = clean_deferred(redis, queue);
    if (rc >= 0)
        rc = redis_call(redis, NULL, "DEL rq:clean_registries:%s", queue);
    return rc < 0 ? rc : 1;
}

int queue_find_bookmark_jobs(struct redis *redis, const struct conf_list *queues,
                             const int32_t *bookmark_ids, size_t count,
                             enum bookmark_job *ret_states)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg_int(&args, (int64_t)queues->count);
    for (size_t i = 0; i < queues->count; i++)
        rq_arg(&args, queues->items[i]);
    for (size_t i = 0; i < count; i++)
        rq_arg_int(&args, bookmark_ids[i]);
    int rc = rq_run(redis, RQ_LIVE, &args, &reply);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        const char *state = rq_reply_text(reply, i);

        ret_states[i] = strcmp(state, "live") == 0     ? BOOKMARK_JOB_LIVE
                        : strcmp(state, "failed") == 0 ? BOOKMARK_JOB_FAILED
                                                       : BOOKMARK_JOB_NONE;
    }
    return 0;
}
