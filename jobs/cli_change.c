/*
 * cli_change.c - the commands of `forkmark jobs` that change what is there.
 *
 * A line for each job says what became of it; with --json an object.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/job_state.h"
#include "jobs/rq/queue.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_WAIT_MS 10000
#define STOP_LOOK_MS 50

/* What became of one job, or was not done to it. */
static void say(struct cli *cli, bool is_done, const char *id, const char *what)
{
    struct json_writer w = { .out = cli->paper.out };

    if (!is_done)
        cli->status = EXIT_FAILURE;
    if (cli->is_json) {
        json_begin_object(&w, NULL);
        json_put_text(&w, "id", id);
        json_put_bool(&w, "done", is_done);
        json_put_text(&w, "what", what);
        json_end_object(&w);
        buf_addc(cli->paper.out, '\n');
    } else if (is_done) {
        cli_write(&cli->paper, CLI_PLAIN, "%s: %s\n", cli_clean(id), cli_clean(what));
    } else {
        cli_fail(cli, "%s: %s", id, what);
    }
}

/* Each id with its job, one after the other; those that are no job's are told. */
static int each_job(struct cli *cli, int (*act)(struct cli *cli, struct job_state *job))
{
    int rc = 0;

    for (int i = 0; rc >= 0 && i < cli->argc; i++) {
        struct job_state job;

        rc = job_state(cli->redis, cli->argv[i], &job);
        if (rc == 0)
            say(cli, false, cli->argv[i], "there is no such job");
        else if (rc > 0)
            rc = act(cli, &job);
    }
    return rc < 0 ? rc : 0;
}

/* ---- cancel ---- */

static int cancel(struct cli *cli, struct job_state *job)
{
    int rc = queue_mark_canceled(cli->redis, job->queue, job->id);

    if (rc == 1)
        say(cli, true, job->id, "canceled");
    else if (rc == 0 && strcmp(job->status, "started") == 0)
        say(cli, false, job->id, "runs; `stop` ends it");
    else if (rc == 0)
        say(cli, false, job->id,
            arena_printf(task_arena(), "does not wait, it is %s", job->status));
    return rc;
}

int cli_cancel(struct cli *cli)
{
    return each_job(cli, cancel);
}

/* ---- empty ---- */

static int empty(struct cli *cli, const char *queue)
{
    struct json_writer w = { .out = cli->paper.out };
    int count = queue_empty(cli->redis, queue);

    if (count < 0)
        return count;
    if (cli->is_json) {
        json_begin_object(&w, NULL);
        json_put_text(&w, "queue", queue);
        json_put_int(&w, "deleted", count);
        json_end_object(&w);
        buf_addc(cli->paper.out, '\n');
        return 0;
    }
    cli_write(&cli->paper, CLI_PLAIN, "%s: %d job%s deleted\n", cli_clean(queue), count,
              count == 1 ? "" : "s");
    return 0;
}

int cli_empty(struct cli *cli)
{
    struct conf_list queues = { .items = cli->argv, .count = (size_t)cli->argc };
    int rc = 0;

    if (cli->is_all == (cli->argc > 0))
        return cli_usage(cli, "which queue? Names, or --all");
    if (cli->is_all)
        rc = cli_queues(cli, &queues);
    for (size_t i = 0; rc >= 0 && i < queues.count; i++) {
        rc = cli->is_all ? 1 : cli_is_queue(cli, queues.items[i]);
        if (rc == 1)
            rc = empty(cli, queues.items[i]);
    }
    if (rc >= 0 && queues.count == 0 && !cli->is_json)
        cli_write(&cli->paper, CLI_PLAIN, "No queues yet.\n");
    return rc;
}

/* ---- requeue ---- */

static int requeue(struct cli *cli, struct job_state *job)
{
    int rc = queue_requeue(cli->redis, job->queue, &job->id, 1);

    if (rc >= 0)
        say(cli, rc == 1, job->id,
            rc == 1 ? arena_printf(task_arena(), "queued again in %s", job->queue)
                    : arena_printf(task_arena(), "is not among the failed, it is %s",
                                   job->status));
    return rc;
}

/* Those that are there now: one that fails again is not queued for ever. */
static int requeue_queue(struct cli *cli, const char *queue, int *count)
{
    redisReply *reply;
    int rc = redis_call(cli->redis, &reply, "ZRANGE rq:failed:%s 0 -1", queue);

    if (rc < 0)
        return rc;
    const char **ids = arena_array(task_arena(), reply->elements, sizeof(*ids));
    for (size_t i = 0; i < reply->elements; i++)
        ids[i] = rq_reply_text(reply, i);
    rc = queue_requeue(cli->redis, queue, ids, reply->elements);
    if (rc > 0)
        *count += rc;
    return rc;
}

static int requeue_all(struct cli *cli)
{
    struct conf_list queues;
    int count = 0;
    int rc = cli->queue ? cli_is_queue(cli, cli->queue) : 1;

    if (rc <= 0)
        return rc;
    rc = cli_queues(cli, &queues);
    for (size_t i = 0; rc >= 0 && i < queues.count; i++)
        rc = requeue_queue(cli, queues.items[i], &count);
    if (rc < 0)
        return rc;
    if (cli->is_json)
        cli_write(&cli->paper, CLI_PLAIN, "{\"requeued\":%d}\n", count);
    else
        cli_write(&cli->paper, CLI_PLAIN, "%d job%s queued again\n", count,
                  count == 1 ? "" : "s");
    return 0;
}

int cli_requeue(struct cli *cli)
{
    if (cli->is_all == (cli->argc > 0))
        return cli_usage(cli, "which job? Ids, or --all");
    if (cli->queue && !cli->is_all)
        return cli_usage(cli, "--queue goes with --all");
    return cli->is_all ? requeue_all(cli) : each_job(cli, requeue);
}

/* ---- stop ---- */

static int wait_for_the_end(struct cli *cli, const struct job_state *job)
{
    uint64_t end = clock_ms() + STOP_WAIT_MS;

    for (;;) {
        redisReply *status;
        int rc = redis_call(cli->redis, &status, "HGET rq:job:%s status", job->id);

        if (rc < 0)
            return rc;
        if (!status->str || strcmp(status->str, "started") != 0) {
            say(cli, true, job->id, status->str ? status->str : "gone");
            return 0;
        }
        if (clock_ms() > end)
            break;
        task_sleep(STOP_LOOK_MS);
    }
    say(cli, false, job->id, "its worker was told, but the job still runs");
    return 0;
}

static int stop(struct cli *cli, struct job_state *job)
{
    struct buf text = BUF_IN(task_arena());
    struct json_writer w = { .out = &text };
    redisReply *heard;

    if (strcmp(job->status, "started") != 0) {
        say(cli, false, job->id,
            arena_printf(task_arena(), "does not run, it is %s", job->status));
        return 0;
    }
    json_begin_object(&w, NULL);
    json_put_text(&w, "command", "stop-job");
    json_put_text(&w, "job_id", job->id);
    json_end_object(&w);
    int rc = redis_call(cli->redis, &heard, "PUBLISH rq:pubsub:%s %s", job->worker,
                        buf_text(&text));
    if (rc < 0)
        return rc;
    if (heard->integer > 0)
        return wait_for_the_end(cli, job);
    say(cli, false, job->id,
        arena_printf(task_arena(), "its worker %s does not listen", job->worker));
    return 0;
}

int cli_stop(struct cli *cli)
{
    return each_job(cli, stop);
}

/* ---- suspend, resume ---- */

int cli_suspend(struct cli *cli)
{
    char *end = NULL;
    long seconds = cli->argc > 0 ? strtol(cli->argv[0], &end, 10) : 0;
    int rc;

    if (cli->argc > 0 && (seconds <= 0 || *end))
        return cli_usage(cli, "SECONDS is a whole number of 1 or more");
    if (seconds > 0)
        rc = redis_call(cli->redis, NULL, "SET rq:suspended 1 EX %lld",
                        (long long)seconds);
    else
        rc = redis_call(cli->redis, NULL, "SET rq:suspended 1");
    if (rc >= 0)
        cli_write(&cli->paper, CLI_PLAIN,
                  "suspended%s%s: running jobs end, no new one starts\n",
                  seconds > 0 ? " for " : "",
                  seconds > 0 ? cli_span((double)seconds) : "");
    return rc;
}

int cli_resume(struct cli *cli)
{
    redisReply *reply;
    int rc = redis_call(cli->redis, &reply, "DEL rq:suspended");

    if (rc >= 0)
        cli_write(&cli->paper, CLI_PLAIN,
                  reply->integer > 0 ? "resumed\n" : "was not suspended\n");
    return rc;
}
