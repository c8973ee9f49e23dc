/*
 * queue.c - new jobs in RQ's form, and what may become of a job that does not run.
 */
#include "jobs/rq/queue.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scripts.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 180
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

/* Fields and values of a job's hash, gathered to be counted before they are sent. */
static void field(struct rq_args *fields, const char *name, const char *value)
{
    rq_arg(fields, name);
    rq_arg(fields, value);
}

static void field_int(struct rq_args *fields, const char *name, int64_t value)
{
    rq_arg(fields, name);
    rq_arg_int(fields, value);
}

static void field_buf(struct rq_args *fields, const char *name, const struct buf *value)
{
    rq_arg(fields, name);
    rq_arg_buf(fields, value);
}

static void add_call(struct rq_args *fields, const struct job_spec *spec)
{
    const struct call call = { .name = spec->function,
                               .args = spec->args,
                               .kwargs = spec->kwargs,
                               .format = payload_format() };
    struct buf *data = new_buf(fields->arena);
    struct buf *description = new_buf(fields->arena);

    payload_write(fields->arena, &call, data);
    if (spec->description)
        buf_adds(description, spec->description);
    else
        describe(description, spec);
    field_buf(fields, "data", data);
    field_buf(fields, "description", description);
}

static void add_retries(struct rq_args *fields, const struct job_spec *spec)
{
    struct buf *intervals = new_buf(fields->arena);

    if (spec->retries <= 0)
        return;
    field_int(fields, "retries_left", spec->retries);
    if (spec->retry_interval_count == 0)
        return;
    for (int i = 0; i < spec->retry_interval_count; i++)
        buf_addf(intervals, "%s%d", i ? ", " : "[", spec->retry_intervals[i]);
    buf_addc(intervals, ']');
    field_buf(fields, "retry_intervals", intervals);
}

static void add_dependencies(struct rq_args *fields, const struct job_spec *spec)
{
    struct buf *ids = new_buf(fields->arena);

    if (spec->depends_on_count == 0)
        return;
    for (size_t i = 0; i < spec->depends_on_count; i++) {
        buf_adds(ids, i ? ", " : "[");
        json_quote(ids, spec->depends_on[i], strlen(spec->depends_on[i]));
    }
    buf_addc(ids, ']');
    field(fields, "dependency_id", spec->depends_on[0]);
    field_buf(fields, "dependency_ids", ids);
    field(fields, "allow_dependency_failures", spec->may_depend_on_failed ? "1" : "0");
}

static void add_meta(struct rq_args *fields, const char *request_id)
{
    struct value *meta = value_container(fields->arena, VALUE_DICT);
    struct buf *text = new_buf(fields->arena);

    if (!request_id)
        return;
    value_put(fields->arena, meta, "request_id",
              value_text(fields->arena, request_id, strlen(request_id)));
    value_write(meta, payload_format(), text);
    field_buf(fields, "meta", text);
}

/* What differs from job to job; push.lua adds what is the same in each. */
static void add_fields(struct rq_args *fields, const struct job_spec *spec)
{
    field_int(fields, "timeout", spec->timeout_s ? spec->timeout_s : DEFAULT_TIMEOUT_S);
    if (spec->result_ttl_s != JOB_TTL_DEFAULT)
        field_int(fields, "result_ttl", spec->result_ttl_s);
    if (spec->failure_ttl_s != JOB_TTL_DEFAULT)
        field_int(fields, "failure_ttl", spec->failure_ttl_s);
    if (spec->waiting_ttl_s > 0)
        field_int(fields, "ttl", spec->waiting_ttl_s);
    add_call(fields, spec);
    add_retries(fields, spec);
    add_dependencies(fields, spec);
    add_meta(fields, spec->request_id);
}

static void add_list(struct rq_args *args, const char *const *items,
                     const size_t *lengths, size_t count)
{
    rq_arg_int(args, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        rq_arg_bytes(args, items[i], lengths ? lengths[i] : strlen(items[i]));
}

static const char *id_of(struct arena *arena, const struct job_spec *spec)
{
    if (spec->id)
        return spec->id;
    char *uuid = arena_alloc(arena, UUID_SIZE);
    id_uuid(uuid);
    return uuid;
}

/* One job as push.lua expects it. */
static void add_job(struct rq_args *args, const struct job_spec *spec, const char *id)
{
    struct rq_args fields = { .arena = args->arena };

    assert(spec->delay_s >= 0 && (spec->delay_s == 0 || spec->depends_on_count == 0));
    assert(spec->depends_on_count <= QUEUE_DEPENDENCIES_MOST);
    rq_arg(args, id);
    rq_arg(args, spec->queue);
    rq_arg(args, arena_printf(args->arena, "%s%s%s", spec->at_front ? "f" : "",
                              spec->unique_while_running ? "r" : "",
                              spec->may_depend_on_failed ? "a" : ""));
    rq_arg_int(args, spec->delay_s);
    rq_arg(args, spec->unique_key ? spec->unique_key : "");
    add_list(args, spec->depends_on, NULL, spec->depends_on_count);
    add_fields(&fields, spec);
    add_list(args, fields.items, fields.lengths, fields.count);
}

/* At most QUEUE_PUSH_MOST: one script, so all or none. ret[] comes with their ids. */
static int push_some(struct redis *redis, const struct job_spec *specs, size_t count,
                     struct job_pushed *ret)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;
    int pushed = 0;

    rq_arg_now(&args);
    for (size_t i = 0; i < count; i++)
        add_job(&args, &specs[i], ret[i].id);
    int rc = rq_run(redis, RQ_PUSH, &args, &reply);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        ret[i].is_new = strcmp(rq_reply_text(reply, 2 * i), "pushed") == 0;
        if (!ret[i].is_new)
            ret[i].id = rq_reply_text(reply, 2 * i + 1);
        pushed += ret[i].is_new;
    }
    return pushed;
}

int queue_push(struct redis *redis, const struct job_spec *spec, const char **ret_id)
{
    struct job_pushed job = { .id = id_of(task_arena(), spec) };
    int rc = push_some(redis, spec, 1, &job);

    if (ret_id)
        *ret_id = job.id;
    return rc;
}

int queue_push_many(struct redis *redis, const struct job_spec *specs, size_t count,
                    struct job_pushed *ret)
{
    int pushed = 0;

    if (!ret)
        ret = arena_array(task_arena(), count, sizeof(*ret));
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct job_pushed){ .id = id_of(task_arena(), &specs[i]) };
    for (size_t at = 0; at < count; at += QUEUE_PUSH_MOST) {
        size_t some = count - at < QUEUE_PUSH_MOST ? count - at : QUEUE_PUSH_MOST;
        int rc = push_some(redis, specs + at, some, ret + at);

        if (rc < 0)
            return rc;
        pushed += rc;
    }
    return pushed;
}

int queue_push_cron(struct redis *redis, const struct job_spec *spec,
                    struct cron_push *cron)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg_now(&args);
    rq_arg(&args, cron->key);
    rq_arg_int(&args, cron->due);
    rq_arg_int(&args, cron->grace_s);
    rq_arg_int(&args, cron->since);
    if (spec)
        add_job(&args, spec, spec->id);
    int rc = rq_run(redis, RQ_CRON, &args, &reply);
    if (rc < 0)
        return rc;
    const char *what = rq_reply_text(reply, 0);
    cron->now = rq_reply_int(reply, 1);
    cron->last_due = rq_reply_int(reply, 2);
    return strcmp(what, "pushed") == 0  ? CRON_PUSHED
           : strcmp(what, "early") == 0 ? CRON_EARLY
           : strcmp(what, "late") == 0  ? CRON_LATE
                                        : CRON_SERVED;
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

int queue_requeue(struct redis *redis, const char *queue, const char *const *ids,
                  size_t count)
{
    int queued = 0;

    for (size_t at = 0; at < count; at += QUEUE_PUSH_MOST) {
        struct rq_args args = RQ_ARGS;
        redisReply *reply;

        rq_arg(&args, queue);
        rq_arg_now(&args);
        for (size_t i = at; i < count && i < at + QUEUE_PUSH_MOST; i++)
            rq_arg(&args, ids[i]);
        int rc = rq_run(redis, RQ_REQUEUE, &args, &reply);
        if (rc < 0)
            return rc;
        queued += (int)reply->integer;
    }
    return queued;
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
