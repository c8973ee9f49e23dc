/*
 * queue.c - new jobs in RQ's form: hash, queue list and set of queues in one step.
 */
#include "jobs/rq/queue.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/task.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 180
#define PUSH_BATCH        500
#define REPR_LENGTH       75 /* RQ cuts each argument in a description here */

static void add_repr(struct buf *out, const struct value *value)
{
    value_repr(value, out, REPR_LENGTH);
}

/* "mod.func(1, 'a', k=2)", as RQ and its dashboards show a job. */
static void describe(struct buf *out, const struct job_spec *spec)
{
    const char *comma = "";

    buf_addf(out, "%s(", spec->function);
    for (size_t i = 0; spec->args && i < spec->args->list.count; i++) {
        buf_adds(out, comma);
        add_repr(out, spec->args->list.items[i]);
        comma = ", ";
    }
    for (size_t i = 0; spec->kwargs && i < spec->kwargs->list.count; i += 2) {
        const struct value *key = spec->kwargs->list.items[i];

        buf_addf(out, "%s%s=", comma, key->bytes.data);
        add_repr(out, spec->kwargs->list.items[i + 1]);
        comma = ", ";
    }
    buf_addc(out, ')');
}

static struct buf *new_buf(struct arena *arena)
{
    struct buf *buf = arena_alloc(arena, sizeof(*buf));

    buf->arena = arena;
    return buf;
}

static void field(struct rq_args *args, const char *name, const char *value)
{
    rq_arg(args, name);
    rq_arg(args, value);
}

static void field_int(struct rq_args *args, const char *name, int64_t value)
{
    rq_arg(args, name);
    rq_arg_int(args, value);
}

static void field_buf(struct rq_args *args, const char *name, const struct buf *value)
{
    rq_arg(args, name);
    rq_arg_buf(args, value);
}

static void add_call(struct rq_args *args, const struct job_spec *spec)
{
    const struct call call = { .name = spec->function,
                               .args = spec->args,
                               .kwargs = spec->kwargs };
    struct buf *data = new_buf(args->arena);
    struct buf *description = new_buf(args->arena);

    payload_write(args->arena, &call, data);
    describe(description, spec);
    field_buf(args, "data", data);
    field_buf(args, "description", description);
}

static void add_retries(struct rq_args *args, const struct job_spec *spec)
{
    struct buf *intervals = new_buf(args->arena);

    if (spec->retries <= 0)
        return;
    field_int(args, "retries_left", spec->retries);
    if (spec->retry_interval_count == 0)
        return;
    for (int i = 0; i < spec->retry_interval_count; i++)
        buf_addf(intervals, "%s%d", i ? ", " : "[", spec->retry_intervals[i]);
    buf_addc(intervals, ']');
    field_buf(args, "retry_intervals", intervals);
}

static void add_meta(struct rq_args *args, const char *request_id)
{
    struct value *meta = value_container(args->arena, VALUE_DICT);
    struct buf *pickle = new_buf(args->arena);

    if (!request_id)
        return;
    value_put(args->arena, meta, "request_id",
              value_text(args->arena, request_id, strlen(request_id)));
    pickle_write(meta, pickle);
    field_buf(args, "meta", pickle);
}

/* Which fields are empty and which absent when unset matters to RQ's readers. */
static void add_fields(struct rq_args *args, const struct job_spec *spec)
{
    static const char *const empty[] = { "started_at",
                                         "ended_at",
                                         "last_heartbeat",
                                         "worker_name",
                                         "success_callback_name",
                                         "failure_callback_name",
                                         "stopped_callback_name",
                                         "group_id" };

    field(args, "status", "queued");
    rq_arg(args, "created_at");
    rq_arg_now(args);
    rq_arg(args, "enqueued_at");
    rq_arg_now(args);
    field(args, "origin", spec->queue);
    field_int(args, "timeout", spec->timeout_s ? spec->timeout_s : DEFAULT_TIMEOUT_S);
    if (spec->result_ttl_s != JOB_TTL_DEFAULT)
        field_int(args, "result_ttl", spec->result_ttl_s);
    if (spec->failure_ttl_s != JOB_TTL_DEFAULT)
        field_int(args, "failure_ttl", spec->failure_ttl_s);
    add_call(args, spec);
    add_retries(args, spec);
    add_meta(args, spec->request_id);
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        field(args, empty[i], "");
}

/* One job as push.lua expects it. The id it gets. */
static const char *add_job(struct rq_args *args, const struct job_spec *spec)
{
    const char *id = spec->id;

    if (!id) {
        char *uuid = arena_alloc(args->arena, UUID_SIZE);
        id_uuid(uuid);
        id = uuid;
    }
    rq_arg(args, id);
    rq_arg(args, spec->queue);
    rq_arg(args, spec->at_front ? "1" : "0");
    size_t count_at = args->count;
    rq_arg(args, "");
    add_fields(args, spec);
    args->items[count_at] = arena_printf(args->arena, "%zu", args->count - count_at - 1);
    args->lengths[count_at] = strlen(args->items[count_at]);
    return id;
}

int queue_push(struct redis *redis, const struct job_spec *spec, const char **ret_id)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;
    const char *id = add_job(&args, spec);
    int rc = rq_run(redis, RQ_PUSH, &args, &reply);

    if (rc < 0)
        return rc;
    if (ret_id)
        *ret_id = id;
    return (int)reply->integer;
}

int queue_push_many(struct redis *redis, const struct job_spec *specs, size_t count)
{
    int pushed = 0;

    for (size_t at = 0; at < count; at += PUSH_BATCH) {
        struct rq_args args = RQ_ARGS;
        redisReply *reply;

        for (size_t i = at; i < count && i < at + PUSH_BATCH; i++)
            add_job(&args, &specs[i]);
        int rc = rq_run(redis, RQ_PUSH, &args, &reply);
        if (rc < 0)
            return rc;
        pushed += (int)reply->integer;
    }
    return pushed;
}

static int cancel(struct redis *redis, const char *queue, const char *job_id, bool wholly)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, queue);
    rq_arg(&args, job_id);
    rq_arg(&args, wholly ? "1" : "0");
    int rc = rq_run(redis, RQ_CANCEL, &args, &reply);
    return rc < 0 ? rc : (int)reply->integer;
}

int queue_cancel(struct redis *redis, const char *queue, const char *job_id)
{
    return cancel(redis, queue, job_id, true);
}

int queue_mark_canceled(struct redis *redis, const char *queue, const char *job_id)
{
    return cancel(redis, queue, job_id, false);
}

int queue_requeue(struct redis *redis, const char *queue, const char *job_id)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, queue);
    rq_arg(&args, job_id);
    rq_arg_now(&args);
    int rc = rq_run(redis, RQ_REQUEUE, &args, &reply);
    return rc < 0 ? rc : (int)reply->integer;
}

int queue_empty(struct redis *redis, const char *queue)
{
    int total = 0;

    /* The script takes a bounded bite, so that Redis serves others in between. */
    for (;;) {
        struct rq_args args = RQ_ARGS;
        redisReply *reply;

        rq_arg(&args, queue);
        int rc = rq_run(redis, RQ_EMPTY, &args, &reply);
        if (rc < 0)
            return rc;
        if (reply->integer == 0)
            return total;
        total += (int)reply->integer;
    }
}
