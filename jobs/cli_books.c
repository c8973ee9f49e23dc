/*
 * cli_books.c - what several commands of `forkmark jobs` read: queues and workers.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/scripts.h"
#include <stdlib.h>
#include <string.h>

#define EXECUTION_LENGTH 32

const char *const cli_registry_names[CLI_REGISTRY_COUNT] = {
    [CLI_WAITING] = "waiting",   [CLI_STARTED] = "started", [CLI_SCHEDULED] = "scheduled",
    [CLI_DEFERRED] = "deferred", [CLI_FAILED] = "failed",   [CLI_FINISHED] = "finished",
    [CLI_CANCELED] = "canceled",
};

const char *cli_registry_key(enum cli_registry registry, const char *queue)
{
    static const char *const names[CLI_REGISTRY_COUNT] = {
        [CLI_WAITING] = "queue",       [CLI_STARTED] = "wip",
        [CLI_SCHEDULED] = "scheduled", [CLI_DEFERRED] = "deferred",
        [CLI_FAILED] = "failed",       [CLI_FINISHED] = "finished",
        [CLI_CANCELED] = "canceled",
    };

    return arena_printf(task_arena(), "rq:%s:%s", names[registry], queue);
}

const char *cli_job_of(const char *member)
{
    size_t length = strlen(member);

    if (length <= EXECUTION_LENGTH + 1)
        return member;
    const char *execution = member + length - EXECUTION_LENGTH;
    return execution[-1] == ':' &&
                   strspn(execution, "0123456789abcdef") == EXECUTION_LENGTH
               ? arena_strndup(task_arena(), member, length - EXECUTION_LENGTH - 1)
               : member;
}

static int64_t time_of(const char *text)
{
    int64_t us = 0;

    return *text && clock_parse(text, strlen(text), &us) == 0 ? us : 0;
}

/* ---- queues ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int cli_queues(struct cli *cli, struct conf_list *ret)
{
    static const char prefix[] = "rq:queue:";
    redisReply *reply;

    *ret = (struct conf_list){ 0 };
    if (cli->queue) {
        ret->items = arena_array(task_arena(), 1, sizeof(char *));
        ret->items[ret->count++] = arena_strdup(task_arena(), cli->queue);
        return 0;
    }
    int rc = redis_call(cli->redis, &reply, "SMEMBERS rq:queues");
    if (rc < 0)
        return rc;
    ret->items = arena_array(task_arena(), reply->elements + 1, sizeof(char *));
    for (size_t i = 0; i < reply->elements; i++) {
        const char *key = rq_reply_text(reply, i);

        if (strncmp(key, prefix, strlen(prefix)) == 0)
            ret->items[ret->count++] = reply->element[i]->str + strlen(prefix);
    }
    qsort(ret->items, ret->count, sizeof(char *), by_name);
    return 0;
}

/* In a registry there may be jobs of a queue that nobody has put into the set. */
int cli_is_queue(struct cli *cli, const char *name)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply **replies;
    size_t count;
    bool is_there = false;

    redis_batch_add(batch, "SISMEMBER rq:queues rq:queue:%s", name);
    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        redis_batch_add(batch, "EXISTS %s", cli_registry_key((enum cli_registry)i, name));
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        is_there |= replies[i]->integer == 1;
    if (!is_there)
        cli_fail(cli, "there is no queue %s", name);
    return is_there;
}

/* So many at a queue's head are asked since when they wait: what was put at the front
 * is younger than what it overtook. */
#define HEAD 20

static int read_counts(struct cli *cli, const struct conf_list *names,
                       struct cli_queue *queues, redisReply **heads)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply **replies;
    size_t count;

    for (size_t i = 0; i < names->count; i++) {
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            redis_batch_add(batch, k == CLI_WAITING ? "LLEN %s" : "ZCARD %s",
                            cli_registry_key((enum cli_registry)k, names->items[i]));
        redis_batch_add(batch, "LRANGE %s 0 %d",
                        cli_registry_key(CLI_WAITING, names->items[i]), HEAD - 1);
    }
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < names->count; i++) {
        queues[i] = (struct cli_queue){ .name = names->items[i] };
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            queues[i].counts[k] = (*replies++)->integer;
        heads[i] = *replies++;
    }
    return 0;
}

static int read_oldest(struct cli *cli, struct cli_queue *queues, redisReply **heads,
                       size_t count)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply **replies;
    size_t asked = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < heads[i]->elements; k++, asked++)
            redis_batch_add(batch, "HGET rq:job:%s enqueued_at",
                            rq_reply_text(heads[i], k));
    }
    int rc = asked > 0 ? redis_batch_run(batch, &replies, &asked) : 0;
    if (rc < 0 || asked == 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < heads[i]->elements; k++, replies++) {
            int64_t since = time_of((*replies)->str ? (*replies)->str : "");

            if (since && (!queues[i].oldest_us || since < queues[i].oldest_us))
                queues[i].oldest_us = since;
        }
    }
    return 0;
}

int cli_read_queues(struct cli *cli, struct cli_queue **ret, size_t *ret_count)
{
    struct conf_list names;
    int rc = cli_queues(cli, &names);

    *ret_count = 0;
    if (rc < 0 || names.count == 0)
        return rc;
    redisReply **heads = arena_array(task_arena(), names.count, sizeof(redisReply *));
    *ret = arena_array(task_arena(), names.count, sizeof(**ret));
    rc = read_counts(cli, &names, *ret, heads);
    if (rc == 0)
        rc = read_oldest(cli, *ret, heads, names.count);
    *ret_count = rc == 0 ? names.count : 0;
    return rc;
}

/* ---- workers ---- */

/* The order of WORKER_FIELDS. */
enum { QUEUES, STATE, JOB, PID, HOST, VERSION, HEARTBEAT, DONE, FAILED, WORKED, BIRTH };
#define WORKER_FIELDS                                                               \
    "HMGET %s queues state current_job pid hostname python_version last_heartbeat " \
    "successful_job_count failed_job_count total_working_time birth"

static bool serves(const char *queues, const char *queue)
{
    size_t length = queue ? strlen(queue) : 0;

    if (!queue)
        return true;
    for (const char *at = queues; (at = strstr(at, queue)) != NULL; at += length) {
        if ((at == queues || at[-1] == ',') && (at[length] == ',' || !at[length]))
            return true;
    }
    return false;
}

static struct cli_worker worker_of(const char *key, const redisReply *record)
{
    static const char prefix[] = "rq:worker:";

    return (struct cli_worker){
        .name = strncmp(key, prefix, strlen(prefix)) == 0 ? key + strlen(prefix) : key,
        .queues = rq_reply_text(record, QUEUES),
        .state = *rq_reply_text(record, STATE) ? rq_reply_text(record, STATE) : "?",
        .job = rq_reply_text(record, JOB),
        .call = "",
        .pid = rq_reply_int(record, PID),
        .host = rq_reply_text(record, HOST),
        .version = rq_reply_text(record, VERSION),
        .heartbeat_us = time_of(rq_reply_text(record, HEARTBEAT)),
        .done = rq_reply_int(record, DONE),
        .failed = rq_reply_int(record, FAILED),
        .worked_s = strtod(rq_reply_text(record, WORKED), NULL),
        .birth_us = time_of(rq_reply_text(record, BIRTH)),
    };
}

/* What those who are busy run. */
static int read_running(struct cli *cli, struct cli_worker *workers, size_t count)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply **replies;
    size_t asked = 0;

    for (size_t i = 0; i < count; i++) {
        if (*workers[i].job && ++asked)
            redis_batch_add(batch, "HMGET rq:job:%s description started_at",
                            workers[i].job);
    }
    int rc = asked > 0 ? redis_batch_run(batch, &replies, &asked) : 0;
    for (size_t i = 0; rc == 0 && asked > 0 && i < count; i++) {
        if (!*workers[i].job)
            continue;
        workers[i].call = rq_reply_text(*replies, 0);
        workers[i].job_since_us = time_of(rq_reply_text(*replies, 1));
        replies++;
    }
    return rc;
}

static int by_worker_name(const void *a, const void *b)
{
    return strcmp(((const struct cli_worker *)a)->name,
                  ((const struct cli_worker *)b)->name);
}

int cli_read_workers(struct cli *cli, struct cli_worker **ret, size_t *ret_count)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply *keys;
    redisReply **records;
    size_t count;
    int rc = redis_call(cli->redis, &keys, "SMEMBERS rq:workers");

    *ret = NULL;
    *ret_count = 0;
    if (rc < 0 || keys->elements == 0)
        return rc;
    for (size_t i = 0; i < keys->elements; i++)
        redis_batch_add(batch, WORKER_FIELDS, rq_reply_text(keys, i));
    rc = redis_batch_run(batch, &records, &count);
    if (rc < 0)
        return rc;
    *ret = arena_array(task_arena(), count, sizeof(**ret));
    for (size_t i = 0; i < count; i++) {
        struct cli_worker worker = worker_of(rq_reply_text(keys, i), records[i]);

        if (worker.birth_us && serves(worker.queues, cli->queue))
            (*ret)[(*ret_count)++] = worker;
    }
    qsort(*ret, *ret_count, sizeof(**ret), by_worker_name);
    return read_running(cli, *ret, *ret_count);
}
