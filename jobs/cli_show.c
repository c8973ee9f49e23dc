/*
 * cli_show.c - `forkmark jobs show`: everything that Redis' books say about one job.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/job_state.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scripts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RESULTS 10 /* RQ keeps about so many */
#define REPR_LENGTH  4000
#define LABEL        "%-14s"

struct shown {
    bool exists;
    const char *id;
    const redisReply *hash;
    struct job_state state;
    struct call call;
    const char *unreadable; /* why the call is; NULL: it is not */
    const struct value *meta;
    struct rq_result *results;
    int result_count;
    long long ttl;     /* of the hash; -1: kept */
    long long place;   /* in its queue, from 1; 0: not there */
    long long waiting; /* jobs in its queue */
    double due;        /* 0: not scheduled */
    long long executions;
    struct job_state *dependencies;
    size_t dependency_count;
    const redisReply *dependents;
};

/* ---- reading ---- */

static const redisReply *field_of(const struct shown *job, const char *name)
{
    for (size_t i = 0; i + 1 < job->hash->elements; i += 2) {
        if (strcmp(rq_reply_text(job->hash, i), name) == 0)
            return job->hash->element[i + 1];
    }
    return NULL;
}

static const char *text_of(const struct shown *job, const char *name)
{
    const redisReply *field = field_of(job, name);

    return field && field->str ? field->str : "";
}

static void read_call(struct shown *job)
{
    const redisReply *data = field_of(job, "data");
    const redisReply *meta = field_of(job, "meta");
    const char *error;

    if (!data)
        job->unreadable = "there is no data";
    else if (!payload_read(task_arena(), data->str, data->len, &job->call, &error))
        job->unreadable = error;
    if (meta && meta->len > 0)
        job->meta = value_read(task_arena(), meta->str, meta->len, &error);
}

static int read_dependencies(struct cli *cli, struct shown *job)
{
    const char *ignored;
    const char *text = text_of(job, "dependency_ids");
    const struct value *ids =
        *text ? value_from_json(task_arena(), text, strlen(text), &ignored) : NULL;
    size_t count = ids && ids->kind == VALUE_LIST ? ids->list.count : 0;
    const char **names = arena_array(task_arena(), count + 1, sizeof(*names));

    for (size_t i = 0; i < count; i++) {
        if (ids->list.items[i]->kind == VALUE_TEXT)
            names[job->dependency_count++] = ids->list.items[i]->bytes.data;
    }
    job->dependencies =
        arena_array(task_arena(), job->dependency_count, sizeof(*job->dependencies));
    return job_states(cli->redis, names, job->dependency_count, false, job->dependencies);
}

/* Redis before 6.0.6 has no LPOS: then the place is not told. */
static int read_places(struct cli *cli, struct shown *job)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    const char *queue = job->state.queue;
    redisReply **replies;
    size_t count;

    redis_batch_add(batch, "TTL rq:job:%s", job->id);
    redis_batch_add(batch, "LPOS rq:queue:%s %s", queue, job->id);
    redis_batch_add(batch, "LLEN rq:queue:%s", queue);
    redis_batch_add(batch, "ZSCORE rq:scheduled:%s %s", queue, job->id);
    redis_batch_add(batch, "ZCARD rq:executions:%s", job->id);
    redis_batch_add(batch, "SMEMBERS rq:job:%s:dependents", job->id);
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    job->ttl = replies[0]->integer;
    job->place = replies[1]->type == REDIS_REPLY_INTEGER ? replies[1]->integer + 1 : 0;
    job->waiting = replies[2]->integer;
    job->due = replies[3]->str ? strtod(replies[3]->str, NULL) : 0;
    job->executions = replies[4]->integer;
    job->dependents = replies[5];
    return 0;
}

static int read_job(struct cli *cli, struct shown *job)
{
    redisReply *hash = NULL;
    int rc = redis_call(cli->redis, &hash, "HGETALL rq:job:%s", job->id);

    /* Something else has that key: as good as no job. */
    if (rc == -EPROTO && hash && strncmp(hash->str, "WRONGTYPE", 9) == 0)
        return 0;
    if (rc < 0)
        return rc;
    job->hash = hash;
    job->exists = hash->elements > 0;
    rc = job_state(cli->redis, job->id, &job->state);
    if (rc >= 0)
        rc = job->result_count =
            rq_results(cli->redis, job->id, MOST_RESULTS, &job->results);
    if (rc >= 0)
        rc = read_places(cli, job);
    if (rc >= 0)
        rc = read_dependencies(cli, job);
    read_call(job);
    return rc;
}

/* ---- as text ---- */

/* One line a fact; facts that are not there are left out. */
static void fact(struct cli *cli, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fact(struct cli *cli, const char *label, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    cli_write(&cli->paper, CLI_DIM, LABEL, label);
    cli_write(&cli->paper, CLI_PLAIN, " %s\n",
              cli_clean(arena_vprintf(task_arena(), format, args)));
    va_end(args);
}

static void value_fact(struct cli *cli, const char *label, const struct value *value)
{
    struct buf text = BUF_IN(task_arena());

    value_repr(value, &text, REPR_LENGTH);
    fact(cli, label, "%s", buf_text(&text));
}

static void time_fact(struct cli *cli, const char *label, int64_t us)
{
    if (us)
        fact(cli, label, "%s, %s ago", cli_moment(us), cli_age(us));
}

static void text_fact(struct cli *cli, const struct shown *job, const char *label,
                      const char *field)
{
    const char *text = text_of(job, field);

    if (*text)
        fact(cli, label, "%s", text);
}

static enum cli_colour colour_of(const char *status)
{
    if (strcmp(status, "failed") == 0 || strcmp(status, "stopped") == 0)
        return CLI_RED;
    return strcmp(status, "started") == 0 || strcmp(status, "finished") == 0 ? CLI_GREEN
                                                                             : CLI_PLAIN;
}

/* What the status means just now. */
static const char *more_of_status(const struct shown *job)
{
    const char *status = job->state.status;
    struct arena *arena = task_arena();

    if (job->due > 0) {
        double seconds = job->due - (double)clock_unix_us() / 1e6;
        return seconds > 0 ? arena_printf(arena, ", due in %s", cli_span(seconds))
                           : ", due now";
    }
    if (job->place > 0)
        return arena_printf(arena, ", number %lld of %lld in its queue", job->place,
                            job->waiting);
    if (strcmp(status, "started") == 0)
        return job->executions > 0
                   ? arena_printf(arena, ", for %s now", cli_age(job->state.started_us))
                   : ", but nobody says that it runs";
    if (strcmp(status, "queued") == 0)
        return ", but it is not in its queue";
    return "";
}

static void write_call(struct cli *cli, const struct shown *job)
{
    if (job->unreadable) {
        fact(cli, "call", "unreadable: %s", job->unreadable);
        return;
    }
    fact(cli, "function", "%s%s", job->call.name,
         job->call.format == PAYLOAD_JSON ? " (JSON)" : "");
    value_fact(cli, "args", job->call.args);
    value_fact(cli, "kwargs", job->call.kwargs);
    if (job->meta)
        value_fact(cli, "meta", job->meta);
}

static void write_lifetime(struct cli *cli, const struct shown *job)
{
    if (job->state.timeout_s > 0)
        fact(cli, "timeout", "%s", cli_span((double)job->state.timeout_s));
    else
        fact(cli, "timeout", "none");
    text_fact(cli, job, "retries left", "retries_left");
    text_fact(cli, job, "  after (s)", "retry_intervals");
    text_fact(cli, job, "repeats left", "repeats_left");
    text_fact(cli, job, "deliveries", "fm_deliveries");
    text_fact(cli, job, "result TTL", "result_ttl");
    text_fact(cli, job, "failure TTL", "failure_ttl");
    if (job->ttl >= 0)
        fact(cli, "forgotten in", "%s", cli_span((double)job->ttl));
}

static void write_relatives(struct cli *cli, const struct shown *job)
{
    for (size_t i = 0; i < job->dependency_count; i++)
        fact(cli, i == 0 ? "depends on" : "", "%s (%s)", job->dependencies[i].id,
             job->dependencies[i].exists ? job->dependencies[i].status : "gone");
    for (size_t i = 0; i < job->dependents->elements; i++)
        fact(cli, i == 0 ? "waited for by" : "", "%s", rq_reply_text(job->dependents, i));
    text_fact(cli, job, "group", "group_id");
}

static void write_lines(struct cli *cli, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        cli_write(&cli->paper, CLI_PLAIN, "    %s\n", cli_clean_bytes(text, length));
        text += length + (text[length] == '\n');
    }
}

static void write_result(struct cli *cli, const struct rq_result *result)
{
    struct cli_paper *paper = &cli->paper;
    struct buf value = BUF_IN(task_arena());

    cli_write(paper, colour_of(result->what), "\n%s", result->what);
    cli_write(paper, CLI_PLAIN, " %s, %s ago", cli_moment(result->at_us),
              cli_age(result->at_us));
    if (result->took_s >= 0)
        cli_write(paper, CLI_PLAIN, ", after %s", cli_span(result->took_s));
    if (*result->worker)
        cli_write(paper, CLI_PLAIN, ", by %s", cli_clean(result->worker));
    buf_addc(paper->out, '\n');
    if (result->error) {
        write_lines(cli, result->error);
        return;
    }
    if (result->unreadable) {
        cli_write(paper, CLI_PLAIN, "    returned what cannot be read: %s\n",
                  cli_clean(result->unreadable));
        return;
    }
    if (strcmp(result->what, "finished") != 0)
        return;
    if (result->value)
        value_repr(result->value, &value, REPR_LENGTH);
    cli_write(paper, CLI_PLAIN, "    returned %s\n",
              result->value ? cli_clean(buf_text(&value)) : "None");
}

static void write_job(struct cli *cli, const struct shown *job)
{
    const struct job_state *state = &job->state;

    fact(cli, "id", "%s", job->id);
    cli_write(&cli->paper, CLI_DIM, LABEL, "status");
    cli_write(&cli->paper, colour_of(state->status), " %s", cli_clean(state->status));
    cli_write(&cli->paper, CLI_PLAIN, "%s\n", more_of_status(job));
    fact(cli, "queue", "%s", state->queue);
    write_call(cli, job);
    text_fact(cli, job, "description", "description");
    time_fact(cli, "created", state->created_us);
    time_fact(cli, "enqueued", state->enqueued_us);
    time_fact(cli, "started", state->started_us);
    time_fact(cli, "ended", state->ended_us);
    if (*state->worker)
        fact(cli, "worker", "%s", state->worker);
    write_lifetime(cli, job);
    write_relatives(cli, job);
    for (int i = 0; i < job->result_count; i++)
        write_result(cli, &job->results[i]);
}

/* ---- as JSON ---- */

static void put_moment(struct json_writer *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    json_put_text(w, key, us ? clock_iso_z(us, text) : NULL);
}

static void put_value(struct json_writer *w, const char *key, const struct value *value)
{
    struct buf text = BUF_IN(task_arena());

    if (value)
        value_to_json(value, &text);
    json_put_raw(w, key, value ? buf_text(&text) : "null");
}

static void put_result(struct json_writer *w, const struct rq_result *result)
{
    json_begin_object(w, NULL);
    json_put_text(w, "what", result->what);
    put_moment(w, "at", result->at_us);
    json_put_text(w, "worker", *result->worker ? result->worker : NULL);
    if (result->took_s >= 0)
        json_put_double(w, "seconds", result->took_s, 6);
    else
        json_put_null(w, "seconds");
    put_value(w, "returned", result->value);
    json_put_text(w, "error", result->error);
    json_end_object(w);
}

static void put_call(struct json_writer *w, const struct shown *job)
{
    json_put_text(w, "function", job->unreadable ? NULL : job->call.name);
    put_value(w, "args", job->unreadable ? NULL : job->call.args);
    put_value(w, "kwargs", job->unreadable ? NULL : job->call.kwargs);
    put_value(w, "meta", job->meta);
    json_put_text(w, "unreadable", job->unreadable);
}

static void put_relatives(struct json_writer *w, const struct shown *job)
{
    json_begin_array(w, "depends_on");
    for (size_t i = 0; i < job->dependency_count; i++)
        json_put_text(w, NULL, job->dependencies[i].id);
    json_end_array(w);
    json_begin_array(w, "dependents");
    for (size_t i = 0; i < job->dependents->elements; i++)
        json_put_text(w, NULL, rq_reply_text(job->dependents, i));
    json_end_array(w);
}

static void put_job(struct cli *cli, const struct shown *job)
{
    struct json_writer w = { .out = cli->paper.out };
    const struct job_state *state = &job->state;

    json_begin_object(&w, NULL);
    json_put_text(&w, "id", job->id);
    json_put_text(&w, "status", state->status);
    json_put_text(&w, "queue", state->queue);
    put_call(&w, job);
    json_put_text(&w, "description", state->description);
    put_moment(&w, "created_at", state->created_us);
    put_moment(&w, "enqueued_at", state->enqueued_us);
    put_moment(&w, "started_at", state->started_us);
    put_moment(&w, "ended_at", state->ended_us);
    put_moment(&w, "due_at", (int64_t)(job->due * 1e6));
    json_put_text(&w, "worker", *state->worker ? state->worker : NULL);
    json_put_int(&w, "timeout", state->timeout_s);
    json_put_int(&w, "retries_left", state->retries_left);
    json_put_int(&w, "deliveries", strtoll(text_of(job, "fm_deliveries"), NULL, 10));
    if (job->ttl >= 0)
        json_put_int(&w, "forgotten_in_seconds", job->ttl);
    else
        json_put_null(&w, "forgotten_in_seconds");
    put_relatives(&w, job);
    json_begin_array(&w, "results");
    for (int i = 0; i < job->result_count; i++)
        put_result(&w, &job->results[i]);
    json_end_array(&w);
    json_end_object(&w);
    buf_addc(cli->paper.out, '\n');
}

int cli_show(struct cli *cli)
{
    struct shown job = { .id = cli->argv[0] };
    int rc = read_job(cli, &job);

    if (rc < 0)
        return rc;
    if (!job.exists)
        cli_fail(cli, "there is no job %s", job.id);
    else if (cli->is_json)
        put_job(cli, &job);
    else
        write_job(cli, &job);
    return 0;
}
