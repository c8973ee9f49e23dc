/*
 * cli_show.c - the commands of `forkmark jobs` that look: readable at 3 a.m.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scripts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        ret->items = arena_array(task_arena(), 2, sizeof(char *));
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

/* "3 s", "12 min", "5 h", "2 d" since a time of a hash; "-" when there is none. */
static const char *age_of(const char *time)
{
    int64_t then;

    if (!*time || clock_parse(time, strlen(time), &then) < 0)
        return "-";
    long long seconds = (long long)((clock_unix_us() - then) / 1000000);
    if (seconds < 120)
        return arena_printf(task_arena(), "%lld s", seconds);
    if (seconds < 7200)
        return arena_printf(task_arena(), "%lld min", seconds / 60);
    if (seconds < 172800)
        return arena_printf(task_arena(), "%lld h", seconds / 3600);
    return arena_printf(task_arena(), "%lld d", seconds / 86400);
}

/* ---- info ---- */

struct queue_row {
    const char *name;
    long long counts[CLI_REGISTRY_COUNT];
    const char *oldest; /* enqueued_at of the first waiting job, or "" */
};

static int read_queue(struct cli *cli, const char *name, struct queue_row *ret)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply **replies;
    redisReply *time;
    size_t count;

    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        redis_batch_add(batch, i == CLI_WAITING ? "LLEN %s" : "ZCARD %s",
                        cli_registry_key((enum cli_registry)i, name));
    redis_batch_add(batch, "LINDEX %s 0", cli_registry_key(CLI_WAITING, name));
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    *ret = (struct queue_row){ .name = name, .oldest = "" };
    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        ret->counts[i] = replies[i]->integer;
    if (replies[CLI_REGISTRY_COUNT]->type != REDIS_REPLY_STRING)
        return 0;
    rc = redis_call(cli->redis, &time, "HGET rq:job:%s enqueued_at",
                    replies[CLI_REGISTRY_COUNT]->str);
    if (rc == 0 && time->str)
        ret->oldest = time->str;
    return rc;
}

static void print_queues(const struct queue_row *rows, size_t count)
{
    printf("%-20s", "queue");
    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        printf(" %9s", cli_registry_names[i]);
    printf(" %9s\n", "oldest");
    for (size_t i = 0; i < count; i++) {
        printf("%-20s", rows[i].name);
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            printf(" %9lld", rows[i].counts[k]);
        printf(" %9s\n", age_of(rows[i].oldest));
    }
    if (count == 0)
        puts("(no queues yet)");
}

struct worker_row {
    const char *name, *queues, *state, *job, *pid, *host, *version, *heartbeat;
    long long done, failed;
};

enum { QUEUES, STATE, JOB, PID, HOST, VERSION, HEARTBEAT, DONE, FAILED, BIRTH };

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

/* Those of --queue, or all; in the arena. Records that expired are passed over. */
static int read_workers(struct cli *cli, struct worker_row **ret, size_t *ret_count)
{
    redisReply *keys;
    redisReply **records;
    size_t count;
    int rc = redis_call(cli->redis, &keys, "SORT rq:workers ALPHA");

    *ret = NULL;
    *ret_count = 0;
    if (rc < 0 || keys->elements == 0)
        return rc;
    struct redis_batch *batch = redis_batch_new(cli->redis);
    for (size_t i = 0; i < keys->elements; i++)
        redis_batch_add(batch,
                        "HMGET %s queues state current_job pid hostname python_version "
                        "last_heartbeat successful_job_count failed_job_count birth",
                        rq_reply_text(keys, i));
    rc = redis_batch_run(batch, &records, &count);
    if (rc < 0)
        return rc;
    *ret = arena_array(task_arena(), count, sizeof(**ret));
    for (size_t i = 0; i < count; i++) {
        const redisReply *record = records[i];

        if (!*rq_reply_text(record, BIRTH) ||
            !serves(rq_reply_text(record, QUEUES), cli->queue))
            continue;
        (*ret)[(*ret_count)++] = (struct worker_row){
            .name = rq_reply_text(keys, i) + strlen("rq:worker:"),
            .queues = rq_reply_text(record, QUEUES),
            .state = rq_reply_text(record, STATE),
            .job = rq_reply_text(record, JOB),
            .pid = rq_reply_text(record, PID),
            .host = rq_reply_text(record, HOST),
            .version = rq_reply_text(record, VERSION),
            .heartbeat = rq_reply_text(record, HEARTBEAT),
            .done = rq_reply_int(record, DONE),
            .failed = rq_reply_int(record, FAILED),
        };
    }
    return 0;
}

static void print_workers(const struct worker_row *rows, size_t count)
{
    printf("%-32s %-9s %-22s %8s %8s %8s  %s\n", "worker", "state", "queues", "done",
           "failed", "seen", "job");
    for (size_t i = 0; i < count; i++)
        printf("%-32s %-9s %-22s %8lld %8lld %8s  %s\n", rows[i].name, rows[i].state,
               rows[i].queues, rows[i].done, rows[i].failed, age_of(rows[i].heartbeat),
               *rows[i].job ? rows[i].job : "-");
    if (count == 0)
        puts("(nobody works)");
}

static void print_info_json(const struct queue_row *queues, size_t queue_count,
                            const struct worker_row *workers, size_t worker_count)
{
    struct buf out = BUF_IN(task_arena());
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    json_begin_array(&w, "queues");
    for (size_t i = 0; i < queue_count; i++) {
        json_begin_object(&w, NULL);
        json_put_text(&w, "name", queues[i].name);
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            json_put_int(&w, cli_registry_names[k], queues[i].counts[k]);
        json_put_text(&w, "oldest", *queues[i].oldest ? queues[i].oldest : NULL);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_begin_array(&w, "workers");
    for (size_t i = 0; i < worker_count; i++) {
        json_begin_object(&w, NULL);
        json_put_text(&w, "name", workers[i].name);
        json_put_text(&w, "state", workers[i].state);
        json_put_text(&w, "queues", workers[i].queues);
        json_put_text(&w, "job", *workers[i].job ? workers[i].job : NULL);
        json_put_int(&w, "done", workers[i].done);
        json_put_int(&w, "failed", workers[i].failed);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    puts(buf_text(&out));
}

int cli_info(struct cli *cli)
{
    struct conf_list names;
    struct worker_row *workers;
    size_t worker_count;
    redisReply *suspended;
    int rc = cli_queues(cli, &names);

    if (rc < 0)
        return rc;
    struct queue_row *rows = arena_array(task_arena(), names.count, sizeof(*rows));
    for (size_t i = 0; rc >= 0 && i < names.count; i++)
        rc = read_queue(cli, names.items[i], &rows[i]);
    if (rc >= 0)
        rc = read_workers(cli, &workers, &worker_count);
    if (rc >= 0)
        rc = redis_call(cli->redis, &suspended, "EXISTS rq:suspended");
    if (rc < 0)
        return rc;
    if (cli->is_json) {
        print_info_json(rows, names.count, workers, worker_count);
        return 0;
    }
    print_queues(rows, names.count);
    putchar('\n');
    print_workers(workers, worker_count);
    if (suspended->integer)
        puts("\nSUSPENDED: nobody starts a job until `forkmark jobs resume`.");
    return 0;
}

int cli_workers(struct cli *cli)
{
    struct worker_row *rows;
    size_t count;
    int rc = read_workers(cli, &rows, &count);

    if (rc < 0)
        return rc;
    print_workers(rows, count);
    for (size_t i = 0; i < count; i++)
        printf("  %s: pid %s on %s, %s\n", rows[i].name, rows[i].pid, rows[i].host,
               rows[i].version);
    return 0;
}

/* ---- list ---- */

static int list_queue(struct cli *cli, enum cli_registry registry, const char *queue)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    redisReply *ids;
    redisReply **jobs;
    size_t count;
    int rc = redis_call(cli->redis, &ids,
                        registry == CLI_WAITING ? "LRANGE %s 0 %lld" : "ZRANGE %s 0 %lld",
                        cli_registry_key(registry, queue), (long long)cli->limit - 1);

    if (rc < 0 || ids->elements == 0)
        return rc;
    for (size_t i = 0; i < ids->elements; i++)
        redis_batch_add(batch, "HMGET rq:job:%s description created_at",
                        rq_reply_text(ids, i));
    rc = redis_batch_run(batch, &jobs, &count);
    for (size_t i = 0; rc >= 0 && i < count; i++)
        printf("%-40s %-12s %8s  %s\n", rq_reply_text(ids, i), queue,
               age_of(rq_reply_text(jobs[i], 1)), rq_reply_text(jobs[i], 0));
    return rc;
}

int cli_list(struct cli *cli)
{
    struct conf_list queues;
    int registry = CLI_WAITING;

    while (cli->state && registry < CLI_REGISTRY_COUNT &&
           strcmp(cli->state, cli_registry_names[registry]) != 0)
        registry++;
    if (registry == CLI_REGISTRY_COUNT)
        return cli_usage(cli, "there is no such state");
    if (cli->limit == 0)
        return cli_usage(cli, "--limit wants 1 or more");
    int rc = cli_queues(cli, &queues);
    for (size_t i = 0; rc >= 0 && i < queues.count; i++)
        rc = list_queue(cli, (enum cli_registry)registry, queues.items[i]);
    return rc;
}

/* ---- show ---- */

static const char *field_of(const redisReply *hash, const char *name, size_t *ret_length)
{
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        if (strcmp(rq_reply_text(hash, i), name) != 0)
            continue;
        if (ret_length)
            *ret_length = hash->element[i + 1]->len;
        return rq_reply_text(hash, i + 1);
    }
    return NULL;
}

/* Those an operator asks about, in the order of a job's life. */
static const char *const shown_fields[] = {
    "status",     "origin",      "created_at",    "enqueued_at",    "started_at",
    "ended_at",   "worker_name", "timeout",       "retries_left",   "retry_intervals",
    "result_ttl", "failure_ttl", "fm_deliveries", "dependency_ids", "repeats_left",
};

static void print_value(const char *label, const struct value *value)
{
    struct buf text = BUF_IN(task_arena());

    value_repr(value, &text, 2000);
    printf("%-16s %s\n", label, buf_text(&text));
}

static void print_call(const redisReply *hash)
{
    const char *error;
    struct call call;
    size_t length = 0;
    const char *data = field_of(hash, "data", &length);

    if (!data || !payload_read(task_arena(), data, length, &call, &error)) {
        printf("%-16s %s\n", "call", data ? error : "(no data)");
        return;
    }
    printf("%-16s %s%s\n", "function", call.name,
           call.format == PAYLOAD_JSON ? " (JSON)" : "");
    print_value("args", call.args);
    print_value("kwargs", call.kwargs);
    const char *meta = field_of(hash, "meta", &length);
    const struct value *value = meta && length > 0 && meta[0] != '{'
                                    ? pickle_read(task_arena(), meta, length, &error)
                                : meta && length > 0
                                    ? value_from_json(task_arena(), meta, length, &error)
                                    : NULL;
    if (value)
        print_value("meta", value);
}

/* Base64 of the reason (zlib) or of the returned value. */
static void print_result_text(const char *name, const char *text)
{
    struct buf bytes = BUF_IN(task_arena());
    const void *data;
    size_t length;
    const char *error;

    if (!base64_read(&bytes, text, strlen(text)))
        return;
    data = buf_text(&bytes);
    length = bytes.length;
    if (strcmp(name, "exc_string") == 0) {
        if (payload_inflate(task_arena(), &data, &length))
            printf("  reason: %.*s\n", (int)length, (const char *)data);
        return;
    }
    const struct value *value = length > 0 && ((const char *)data)[0] == '\x80'
                                    ? pickle_read(task_arena(), data, length, &error)
                                    : value_from_json(task_arena(), data, length, &error);
    if (value)
        print_value("  returned:", value);
}

static void print_result(const redisReply *entry)
{
    static const char *const types[] = { "?",       "finished", "failed",
                                         "stopped", "retried",  "retries exceeded" };
    const redisReply *fields = entry->elements > 1 ? entry->element[1] : NULL;
    const char *id = rq_reply_text(entry, 0);
    char when[CLOCK_TEXT_SIZE];
    int64_t type = fields && field_of(fields, "type", NULL)
                       ? strtoll(field_of(fields, "type", NULL), NULL, 10)
                       : 0;

    printf("outcome          %s at %s\n", types[type > 0 && type < 6 ? type : 0],
           clock_iso_z(strtoll(id, NULL, 10) * 1000, when));
    for (size_t i = 0; fields && i + 1 < fields->elements; i += 2) {
        const char *name = rq_reply_text(fields, i);

        if (strcmp(name, "exc_string") == 0 || strcmp(name, "return_value") == 0)
            print_result_text(name, rq_reply_text(fields, i + 1));
    }
}

int cli_show(struct cli *cli)
{
    redisReply *hash;
    redisReply *results;
    int rc = redis_call(cli->redis, &hash, "HGETALL rq:job:%s", cli->argv[0]);

    if (rc < 0)
        return rc;
    if (hash->elements == 0) {
        fprintf(stderr, "forkmark jobs: there is no job %s\n", cli->argv[0]);
        cli->status = EXIT_FAILURE;
        return 0;
    }
    printf("%-16s %s\n", "id", cli->argv[0]);
    print_call(hash);
    for (size_t i = 0; i < sizeof(shown_fields) / sizeof(shown_fields[0]); i++) {
        const char *value = field_of(hash, shown_fields[i], NULL);

        if (value && *value)
            printf("%-16s %s\n", shown_fields[i], value);
    }
    rc = redis_call(cli->redis, &results, "XREVRANGE rq:results:%s + - COUNT 10",
                    cli->argv[0]);
    for (size_t i = 0; rc >= 0 && i < results->elements; i++)
        print_result(results->element[i]);
    return rc;
}
