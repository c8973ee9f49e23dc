/*
 * worker_record.c - see worker_record.h; what is written where: protocol 6.2 to 6.9.
 */
#include "jobs/rq/worker_record.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/process_id.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKER_PREFIX     "rq:worker:"
#define DEFAULT_TIMEOUT_S 180

void worker_init(struct rq_worker *worker, struct redis *redis,
                 const struct options *options, const struct conf_list *queues)
{
    *worker = (struct rq_worker){
        .redis = redis,
        .options = options,
        .queues = queues,
        .claim_from = queues,
        .interval_s = (int64_t)(options->jobs.heartbeat / 1000),
        .birth_unix_us = clock_unix_us(),
    };
    if (worker->interval_s < 1)
        worker->interval_s = 1;
    id_hex(worker->name, sizeof(worker->name) - 1);
}

static void field(struct rq_args *args, const char *name, const char *value)
{
    rq_arg(args, name);
    rq_arg(args, value);
}

/* Our end of the connection as Redis sees it: RQ shows it. "unknown" as in RQ when
 * it cannot be had (CLIENT INFO came with Redis 6.2). */
static const char *own_address(struct redis *redis)
{
    redisReply *reply = NULL;

    if (redis_call(redis, &reply, "CLIENT INFO") < 0 || !reply->str)
        return "unknown";
    const char *start = strstr(reply->str, " addr=");
    if (!start)
        return "unknown";
    start += strlen(" addr=");
    return arena_strndup(task_arena(), start, strcspn(start, " "));
}

static const char *joined_queues(const struct conf_list *queues)
{
    struct buf *text = arena_alloc(task_arena(), sizeof(*text));

    text->arena = task_arena();
    for (size_t i = 0; i < queues->count; i++)
        buf_addf(text, "%s%s", i ? "," : "", queues->items[i]);
    return buf_text(text);
}

/* What tells a later process here whether this one is dead; RQ ignores it. */
static void add_process(struct rq_args *args)
{
    char *home = arena_alloc(args->arena, PROCESS_HOME_SIZE);

    process_home(home);
    field(args, "fm_home", home);
    rq_arg(args, "fm_started");
    rq_arg(args, arena_printf(args->arena, "%llu", process_started(getpid())));
    rq_arg(args, "pid");
    rq_arg_int(args, getpid());
}

int worker_register(struct rq_worker *worker)
{
    const char *address = own_address(worker->redis);
    struct rq_args args = RQ_ARGS;
    char *birth = arena_alloc(args.arena, CLOCK_TEXT_SIZE);
    char *host = arena_alloc(args.arena, 256);

    if (gethostname(host, 255) < 0)
        snprintf(host, 256, "localhost");
    rq_arg(&args, worker->name);
    rq_arg(&args, joined_queues(worker->queues));
    field(&args, "birth", clock_iso_z(worker->birth_unix_us, birth));
    rq_arg(&args, "last_heartbeat");
    rq_arg_now(&args);
    field(&args, "hostname", host);
    field(&args, "ip_address", address);
    field(&args, "version", FORKMARK_VERSION);
    field(&args, "python_version", "forkmark " FORKMARK_VERSION);
    add_process(&args);
    return rq_run(worker->redis, RQ_BIRTH, &args, NULL);
}

int worker_heartbeat(struct rq_worker *worker, const char *state,
                     const struct rq_running *running, bool *ret_suspended)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, worker->name);
    rq_arg_now(&args);
    rq_arg(&args, state ? state : "");
    rq_arg_int(&args, worker->interval_s);
    if (running) {
        rq_arg(&args, running->id);
        rq_arg(&args, running->queue);
        rq_arg(&args, running->execution);
        rq_arg_seconds(&args, running->elapsed_s);
        rq_arg_int(&args, running->timeout_s);
    }
    int rc = rq_run(worker->redis, RQ_HEARTBEAT, &args, &reply);
    if (rc < 0)
        return rc;
    if (ret_suspended)
        *ret_suspended = rq_reply_int(reply, 1) != 0;
    return (int)rq_reply_int(reply, 0);
}

int worker_shutting_down(struct rq_worker *worker)
{
    struct rq_args args = RQ_ARGS;

    rq_arg(&args, worker->name);
    rq_arg_now(&args);
    return rq_run(worker->redis, RQ_SHUTDOWN, &args, NULL);
}

/* RQ's text for a process that is no more, whatever ended it. */
static const char died[] =
    "Work-horse terminated unexpectedly; waitpid returned 9 (signal 9); ";

int worker_bury(struct rq_worker *worker, const char *next_execution)
{
    struct rq_args args = RQ_ARGS;

    rq_arg(&args, worker->name);
    rq_arg_now(&args);
    rq_arg(&args, worker->options->jobs.redeliver ? "1" : "0");
    rq_arg_error(&args, died);
    rq_arg_int(&args, worker->options->jobs.failure_ttl);
    rq_arg(&args, next_execution);
    return rq_run(worker->redis, RQ_DEATH, &args, NULL);
}

/* ---- taking back what the dead held ---- */

const char *worker_too_many_deliveries(const struct options *options)
{
    return arena_printf(
        task_arena(),
        "forkmark.MaxDeliveriesExceeded: its worker died each of the %lld "
        "times the job was delivered (jobs.max_deliveries)",
        (long long)options->jobs.max_deliveries);
}

/* Of the job a dead worker held: the script cannot put a text together for RQ, since
 * only we can deflate it. Whatever cannot be read is RQ's default. */
static int64_t held_timeout(struct redis *redis, const char *name)
{
    redisReply *id = NULL, *timeout = NULL;

    if (redis_call(redis, &id, "HGET " WORKER_PREFIX "%s current_job", name) < 0 ||
        !id->str ||
        redis_call(redis, &timeout, "HGET rq:job:%b timeout", id->str, id->len) < 0 ||
        !timeout->str)
        return DEFAULT_TIMEOUT_S;
    return strtoll(timeout->str, NULL, 10);
}

static void add_error(struct rq_args *args, struct redis *redis, const char *name,
                      bool has_overrun)
{
    if (!has_overrun) {
        rq_arg_error(args, died);
        return;
    }
    rq_arg_error(args, arena_printf(args->arena,
                                    "The function did not yield: its process was "
                                    "killed.\nrq.timeouts.JobTimeoutException: Task "
                                    "exceeded maximum timeout value (%lld seconds)",
                                    (long long)held_timeout(redis, name)));
}

static void log_recovery(const char *name, const redisReply *reply)
{
    const char *what = rq_reply_text(reply, 0);
    const char *id = rq_reply_text(reply, 1);

    if (strcmp(what, "redelivered") == 0)
        log_warn("worker %s died; its job %s is back at the head of its queue "
                 "(delivery %s)",
                 name, id, rq_reply_text(reply, 2));
    else
        log_warn("worker %s died; its job %s %s", name, id,
                 strcmp(what, "retried") == 0 ? "will be retried" : "has failed");
}

int worker_recover(struct redis *redis, const struct options *options, const char *name,
                   bool has_overrun)
{
    struct rq_args args = RQ_ARGS;
    redisReply *reply;

    rq_arg(&args, name);
    rq_arg_now(&args);
    rq_arg(&args, options->jobs.redeliver ? "1" : "0");
    rq_arg_int(&args, options->jobs.max_deliveries);
    rq_arg_error(&args, worker_too_many_deliveries(options));
    add_error(&args, redis, name, has_overrun);
    rq_arg_int(&args, options->jobs.failure_ttl);
    rq_arg(&args, has_overrun ? "1" : "0");
    int rc = rq_run(redis, RQ_RECOVER, &args, &reply);
    if (rc < 0)
        return rc;
    if (strcmp(rq_reply_text(reply, 0), "none") == 0)
        return 0;
    log_recovery(name, reply);
    return 1;
}

enum { HOME, PID, STARTED, DEATH };

static bool is_dead_here(const redisReply *fields)
{
    return !*rq_reply_text(fields, DEATH) &&
           process_is_dead(rq_reply_text(fields, HOME), rq_reply_text(fields, PID),
                           rq_reply_text(fields, STARTED));
}

int worker_recover_host(struct redis *redis, const struct options *options)
{
    redisReply *workers;
    redisReply **records;
    size_t count;
    int recovered = 0;
    int rc = redis_call(redis, &workers, "SMEMBERS rq:workers");

    if (rc < 0 || workers->elements == 0)
        return rc;
    struct redis_batch *batch = redis_batch_new(redis);
    for (size_t i = 0; i < workers->elements; i++)
        redis_batch_add(batch, "HMGET %s fm_home pid fm_started death",
                        rq_reply_text(workers, i));
    rc = redis_batch_run(batch, &records, &count);
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        const char *key = rq_reply_text(workers, i);

        if (strncmp(key, WORKER_PREFIX, strlen(WORKER_PREFIX)) != 0 ||
            !is_dead_here(records[i]))
            continue;
        rc = worker_recover(redis, options, key + strlen(WORKER_PREFIX), false);
        recovered += rc > 0;
    }
    return rc < 0 ? rc : recovered;
}
