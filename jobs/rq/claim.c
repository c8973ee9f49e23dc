/*
 * claim.c - see claim.h.
 */
#include "jobs/rq/claim.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/scripts.h"
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 180
#define LONGEST_TIMEOUT_S ((int64_t)100 * 365 * 86400) /* more is no limit at all */

void claimed_job_free(struct claimed_job *job)
{
    if (!job)
        return;
    free(job->id);
    free(job->queue);
    buf_done(&job->data);
    buf_done(&job->meta);
    free(job);
}

/* The order of claiming.lua's answer behind "job". */
enum { ID, QUEUE, DATA, TIMEOUT, RETRIES_LEFT, META, FIELD_COUNT };

static char *copy_text(const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        fatal("out of memory");
    return copy;
}

static void copy_bytes(struct buf *to, const redisReply *reply, size_t index)
{
    if (index < reply->elements && reply->element[index]->str)
        buf_add(to, reply->element[index]->str, reply->element[index]->len);
}

/* As claiming.lua takes it: what is no number is as good as none. */
static int64_t read_timeout(const char *text)
{
    char *end;
    long long seconds = strtoll(text, &end, 10);

    if (end == text)
        return DEFAULT_TIMEOUT_S;
    return seconds > LONGEST_TIMEOUT_S ? 0 : seconds;
}

static struct claimed_job *read_job(const redisReply *reply, size_t at,
                                    const char *execution)
{
    struct claimed_job *job = calloc(1, sizeof(*job));

    if (!job)
        fatal("out of memory");
    job->id = copy_text(rq_reply_text(reply, at + ID));
    job->queue = copy_text(rq_reply_text(reply, at + QUEUE));
    memcpy(job->execution, execution, EXECUTION_SIZE - 1);
    copy_bytes(&job->data, reply, at + DATA);
    copy_bytes(&job->meta, reply, at + META);
    job->timeout_s = read_timeout(rq_reply_text(reply, at + TIMEOUT));
    job->retries_left = (int)rq_reply_int(reply, at + RETRIES_LEFT);
    job->started_unix_us = clock_unix_us();
    return job;
}

/* claim()'s answer, which starts at item `at`. */
static int read_claim(const redisReply *reply, size_t at, const char *execution,
                      struct claimed_job **ret)
{
    const char *what = rq_reply_text(reply, at);

    if (strcmp(what, "job") == 0) {
        *ret = read_job(reply, at + 1, execution);
        return CLAIM_JOB;
    }
    if (strcmp(what, "suspended") == 0)
        return CLAIM_SUSPENDED;
    if (strcmp(what, "more") == 0)
        return CLAIM_MORE;
    return strcmp(what, "unregistered") == 0 ? CLAIM_UNREGISTERED : CLAIM_EMPTY;
}

static void add_queues(struct rq_args *args, const struct conf_list *queues)
{
    for (size_t i = 0; i < queues->count; i++)
        rq_arg(args, queues->items[i]);
}

int job_claim(struct rq_worker *worker, const char *execution, struct claimed_job **ret)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, worker->name);
    rq_arg(&args, execution);
    rq_arg_now(&args);
    rq_arg_int(&args, worker->interval_s);
    add_queues(&args, worker->claim_from);
    int rc = rq_run(worker->redis, RQ_CLAIM, &args, &reply);
    return rc < 0 ? rc : read_claim(reply, 0, execution, ret);
}

static void add_outcome_text(struct rq_args *args, const struct job_end *end)
{
    struct buf plain = BUF_IN(args->arena);
    struct buf *text = arena_alloc(args->arena, sizeof(*text));

    text->arena = args->arena;
    if (end->kind != JOB_END_SUCCESS) {
        rq_arg_error(args, end->error ? end->error : "Error: unknown");
        return;
    }
    /* None is said by no value at all. */
    if (end->result && end->result->kind != VALUE_NONE) {
        value_write(end->result, end->format, &plain);
        base64_write(text, plain.data, plain.length);
    }
    rq_arg_buf(args, text);
}

static void add_end(struct rq_args *args, const struct rq_worker *worker,
                    const struct claimed_job *job, const struct job_end *end)
{
    static const char *const names[] = {
        [JOB_END_SUCCESS] = "success", [JOB_END_FAILED] = "failed",
        [JOB_END_FINAL] = "final",     [JOB_END_STOPPED] = "stopped",
        [JOB_END_LATER] = "later",     [JOB_END_BACK] = "back",
    };

    rq_arg(args, names[end->kind]);
    rq_arg_now(args);
    rq_arg_seconds(args, end->worked_s);
    add_outcome_text(args, end);
    rq_arg_int(args, worker->options->jobs.result_ttl);
    rq_arg_int(args, worker->options->jobs.failure_ttl);
    rq_arg(args, arena_printf(args->arena, "%lld.%06lld",
                              (long long)(job->started_unix_us / 1000000),
                              (long long)(job->started_unix_us % 1000000)));
    rq_arg_int(args, end->delay_s);
}

int job_finish(struct rq_worker *worker, const struct claimed_job *job,
               const struct job_end *end, const char *next_execution, bool *ret_lost,
               int *ret_claim, struct claimed_job **ret_next)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, worker->name);
    rq_arg(&args, job->execution);
    rq_arg(&args, job->id);
    rq_arg(&args, job->queue);
    add_end(&args, worker, job, end);
    rq_arg(&args, next_execution ? next_execution : "");
    rq_arg_int(&args, worker->interval_s);
    if (next_execution)
        add_queues(&args, worker->claim_from);
    int rc = rq_run(worker->redis, RQ_FINISH, &args, &reply);
    if (rc < 0)
        return rc;
    *ret_lost = strcmp(rq_reply_text(reply, 0), "lost") == 0;
    *ret_claim = read_claim(reply, 1, next_execution ? next_execution : "", ret_next);
    return 0;
}
