/*
 * cli_change.c - the commands of `forkmark jobs` that change something.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/functions.h"
#include "jobs/rq/queue.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_QUEUE "default"

/* The queue a job belongs to; NULL when there is no such job. Yields. */
static int origin_of(struct cli *cli, const char *id, const char **ret)
{
    redisReply *reply;
    int rc = redis_call(cli->redis, &reply, "HGET rq:job:%s origin", id);

    if (rc < 0)
        return rc;
    *ret = reply->type == REDIS_REPLY_STRING && reply->len > 0 ? reply->str : NULL;
    if (!*ret) {
        fprintf(stderr, "forkmark jobs: there is no job %s\n", id);
        cli->status = EXIT_FAILURE;
    }
    return 0;
}

static void say(struct cli *cli, bool is_done, const char *id, const char *done,
                const char *not_done)
{
    if (is_done) {
        printf("%s: %s\n", id, done);
        return;
    }
    fprintf(stderr, "%s: %s\n", id, not_done);
    cli->status = EXIT_FAILURE;
}

int cli_cancel(struct cli *cli)
{
    const char *id = cli->argv[0];
    const char *queue;
    int rc = origin_of(cli, id, &queue);

    if (rc < 0 || !queue)
        return rc;
    rc = queue_mark_canceled(cli->redis, queue, id);
    if (rc >= 0)
        say(cli, rc == 1, id, "canceled", "does not wait, so it cannot be canceled");
    return rc;
}

int cli_empty(struct cli *cli)
{
    int count = queue_empty(cli->redis, cli->argv[0]);

    if (count >= 0)
        printf("%d jobs deleted\n", count);
    return count;
}

/* JSON when it is; otherwise the text itself. */
static struct value *read_value(const char *text)
{
    const char *ignored;
    struct value *value = value_from_json(task_arena(), text, strlen(text), &ignored);

    return value ? value : value_text(task_arena(), text, strlen(text));
}

/* "key=value" with a Python name before the sign. */
static const char *keyword_end(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789_");

    return length > 0 && text[length] == '=' && (text[0] < '0' || text[0] > '9')
               ? text + length
               : NULL;
}

static void read_call(struct cli *cli, struct job_spec *spec)
{
    struct arena *arena = task_arena();
    struct value *args = value_container(arena, VALUE_TUPLE);
    struct value *kwargs = value_container(arena, VALUE_DICT);

    for (int i = 1; i < cli->argc; i++) {
        const char *end = keyword_end(cli->argv[i]);

        if (!end) {
            value_add(arena, args, read_value(cli->argv[i]));
            continue;
        }
        value_put(arena, kwargs,
                  arena_strndup(arena, cli->argv[i], (size_t)(end - cli->argv[i])),
                  read_value(end + 1));
    }
    spec->args = args;
    spec->kwargs = kwargs;
}

int cli_enqueue(struct cli *cli)
{
    const struct job_function *function = job_function_find(cli->options, cli->argv[0]);
    const char *id = "";
    struct job_spec spec = {
        .id = cli->id,
        .queue = cli->queue ? cli->queue : DEFAULT_QUEUE,
        .function = cli->argv[0],
        .timeout_s = cli->timeout_s,
        .retries = (int)cli->retries,
        .result_ttl_s = JOB_TTL_DEFAULT,
        .failure_ttl_s = JOB_TTL_DEFAULT,
        .at_front = cli->is_at_front,
    };

    /* What the function's own producers would give it. */
    if (function && spec.timeout_s == 0)
        spec.timeout_s = function->timeout_s;
    if (!function)
        fprintf(stderr, "note: no function of forkmark; a Python worker may know it\n");
    read_call(cli, &spec);
    int rc = queue_push(cli->redis, &spec, &id);
    if (rc >= 0)
        say(cli, rc == 1, id, "queued", "a job of this id exists already");
    return rc;
}

static int requeue_queue(struct cli *cli, const char *queue, int *count)
{
    redisReply *ids;
    int rc = redis_call(cli->redis, &ids, "ZRANGE rq:failed:%s 0 -1", queue);

    for (size_t i = 0; rc >= 0 && i < ids->elements; i++) {
        rc = queue_requeue(cli->redis, queue, rq_reply_text(ids, i));
        *count += rc > 0;
    }
    return rc;
}

static int requeue_all(struct cli *cli)
{
    struct conf_list queues;
    int count = 0;
    int rc = cli_queues(cli, &queues);

    for (size_t i = 0; rc >= 0 && i < queues.count; i++)
        rc = requeue_queue(cli, queues.items[i], &count);
    if (rc >= 0)
        printf("%d jobs queued again\n", count);
    return rc;
}

int cli_requeue(struct cli *cli)
{
    const char *queue;

    if (cli->is_all)
        return requeue_all(cli);
    if (cli->argc < 1)
        return cli_usage(cli, "which job? An id, or --all");
    int rc = origin_of(cli, cli->argv[0], &queue);
    if (rc < 0 || !queue)
        return rc;
    rc = queue_requeue(cli->redis, queue, cli->argv[0]);
    if (rc >= 0)
        say(cli, rc == 1, cli->argv[0], "queued again", "is not among the failed");
    return rc;
}

int cli_stop(struct cli *cli)
{
    const char *id = cli->argv[0];
    redisReply *job;
    redisReply *heard;
    int rc = redis_call(cli->redis, &job, "HMGET rq:job:%s status worker_name", id);

    if (rc < 0)
        return rc;
    if (strcmp(rq_reply_text(job, 0), "started") != 0) {
        say(cli, false, id, "", "does not run");
        return 0;
    }
    struct value *message = value_container(task_arena(), VALUE_DICT);
    struct buf text = BUF_IN(task_arena());
    value_put(task_arena(), message, "command", value_text(task_arena(), "stop-job", 8));
    value_put(task_arena(), message, "job_id", value_text(task_arena(), id, strlen(id)));
    value_to_json(message, &text);
    rc = redis_call(cli->redis, &heard, "PUBLISH rq:pubsub:%s %s", rq_reply_text(job, 1),
                    buf_text(&text));
    if (rc >= 0)
        say(cli, heard->integer > 0, id, "told to stop", "its worker does not listen");
    return rc;
}

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
        puts("suspended: running jobs end, no new one starts");
    return rc;
}

int cli_resume(struct cli *cli)
{
    redisReply *reply;
    int rc = redis_call(cli->redis, &reply, "DEL rq:suspended");

    if (rc >= 0)
        puts(reply->integer > 0 ? "resumed" : "was not suspended");
    return rc;
}
