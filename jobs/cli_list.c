/*
 * cli_list.c - `forkmark jobs list`: the jobs of one state, with what one asks about
 * jobs of that state: how long they wait or run, when they are due, why they failed.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/job_state.h"
#include "jobs/rq/scripts.h"
#include <stdlib.h>
#include <string.h>

#define CALL_COLUMNS 48 /* where something else comes behind the call */

struct listed {
    const char *id, *queue;
    double score; /* of its registry; waiting: its place in the queue, from 0 */
    struct job_state state;
};

struct listing {
    struct listed *jobs;
    size_t count, room;
    long long total; /* in the registry, shown or not */
};

/* ---- what each state shows ---- */

static const char *waited(const struct listed *job)
{
    return cli_age(job->state.enqueued_us);
}

static const char *runs_for(const struct listed *job)
{
    return cli_age(job->state.started_us);
}

static const char *may_run(const struct listed *job)
{
    return job->state.timeout_s > 0 ? cli_span((double)job->state.timeout_s) : "-";
}

/* Its heartbeats have stopped: whoever looks next gives it back, or fails it. */
static const char *worker_of(const struct listed *job)
{
    return job->score * 1e6 < (double)clock_unix_us()
               ? arena_printf(task_arena(), "%s (silent)", job->state.worker)
               : job->state.worker;
}

static const char *due(const struct listed *job)
{
    double seconds = job->score - (double)clock_unix_us() / 1e6;

    return seconds > 0 ? arena_printf(task_arena(), "in %s", cli_span(seconds)) : "now";
}

static const char *retries(const struct listed *job)
{
    return arena_printf(task_arena(), "%lld", (long long)job->state.retries_left);
}

static const char *age(const struct listed *job)
{
    return cli_age(job->state.created_us);
}

static const char *ended(const struct listed *job)
{
    return cli_age(job->state.ended_us ? job->state.ended_us : job->state.newest.at_us);
}

static const char *took(const struct listed *job)
{
    const struct job_state *state = &job->state;

    if (state->newest.took_s >= 0)
        return cli_span(state->newest.took_s);
    return state->started_us && state->ended_us >= state->started_us
               ? cli_span((double)(state->ended_us - state->started_us) / 1e6)
               : "-";
}

static const char *canceled(const struct listed *job)
{
    return cli_age((int64_t)(job->score * 1e6));
}

static const char *call(const struct listed *job)
{
    return job->state.exists ? job->state.description : "(its data is gone)";
}

static const char *short_call(const struct listed *job)
{
    return cli_cut(cli_clean(call(job)), CALL_COLUMNS);
}

static const char *reason(const struct listed *job)
{
    if (strcmp(job->state.status, "stopped") == 0)
        return "stopped by command";
    const char *line = job_error_line(job->state.newest.error);
    return *line ? line : "-";
}

#define MOST_COLUMNS 4 /* besides the id and the queue */
static const struct {
    bool newest_first;
    struct {
        const char *title;
        bool is_number;
        const char *(*text)(const struct listed *job);
    } columns[MOST_COLUMNS];
} shown[CLI_REGISTRY_COUNT] = {
    [CLI_WAITING] = { .columns = { { "waited", true, waited },
                                   { "call", false, call } } },
    [CLI_STARTED] = { .columns = { { "runs for", true, runs_for },
                                   { "of", true, may_run },
                                   { "worker", false, worker_of },
                                   { "call", false, call } } },
    [CLI_SCHEDULED] = { .columns = { { "due", true, due },
                                     { "retries left", true, retries },
                                     { "call", false, call } } },
    [CLI_DEFERRED] = { .columns = { { "age", true, age }, { "call", false, call } } },
    [CLI_FAILED] = { .newest_first = true,
                     .columns = { { "ago", true, ended },
                                  { "call", false, short_call },
                                  { "reason", false, reason } } },
    [CLI_FINISHED] = { .newest_first = true,
                       .columns = { { "ago", true, ended },
                                    { "took", true, took },
                                    { "call", false, call } } },
    [CLI_CANCELED] = { .newest_first = true,
                       .columns = { { "ago", true, canceled },
                                    { "call", false, call } } },
};

/* ---- reading ---- */

static void add(struct listing *list, const char *id, const char *queue, double score)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? list->room * 2 : 64;

        list->jobs =
            arena_grow(task_arena(), list->jobs, list->room * sizeof(*list->jobs),
                       room * sizeof(*list->jobs));
        list->room = room;
    }
    list->jobs[list->count++] =
        (struct listed){ .id = id, .queue = queue, .score = score };
}

static const char *order_of(enum cli_registry registry)
{
    if (registry == CLI_WAITING)
        return "LRANGE %s 0 %lld";
    return shown[registry].newest_first ? "ZREVRANGE %s 0 %lld WITHSCORES"
                                        : "ZRANGE %s 0 %lld WITHSCORES";
}

static int read_queue(struct cli *cli, enum cli_registry registry, const char *queue,
                      struct listing *list)
{
    struct redis_batch *batch = redis_batch_new(cli->redis);
    const char *key = cli_registry_key(registry, queue);
    bool has_scores = registry != CLI_WAITING;
    redisReply **replies;
    size_t count;

    redis_batch_add(batch, order_of(registry), key, (long long)cli->limit - 1);
    redis_batch_add(batch, has_scores ? "ZCARD %s" : "LLEN %s", key);
    int rc = redis_batch_run(batch, &replies, &count);
    if (rc < 0)
        return rc;
    list->total += replies[1]->integer;
    for (size_t i = 0; i < replies[0]->elements; i += has_scores ? 2 : 1) {
        const char *id = rq_reply_text(replies[0], i);

        add(list, registry == CLI_STARTED ? cli_job_of(id) : id, queue,
            has_scores ? strtod(rq_reply_text(replies[0], i + 1), NULL) : (double)i);
    }
    return 0;
}

static int read_states(struct cli *cli, struct listing *list, bool with_newest)
{
    const char **ids = arena_array(task_arena(), list->count, sizeof(*ids));
    struct job_state *states = arena_array(task_arena(), list->count, sizeof(*states));

    for (size_t i = 0; i < list->count; i++)
        ids[i] = list->jobs[i].id;
    int rc = job_states(cli->redis, ids, list->count, with_newest, states);
    for (size_t i = 0; rc >= 0 && i < list->count; i++)
        list->jobs[i].state = states[i];
    return rc;
}

static int64_t end_of(const struct listed *job)
{
    return job->state.ended_us ? job->state.ended_us : job->state.created_us;
}

static int by_end(const void *a, const void *b)
{
    int64_t left = end_of(a);
    int64_t right = end_of(b);

    return (left < right) - (left > right);
}

static int by_score(const void *a, const void *b)
{
    double left = ((const struct listed *)a)->score;
    double right = ((const struct listed *)b)->score;

    return (left > right) - (left < right);
}

/* Waiting jobs stay in their queues' order; of the rest, all queues' are mixed. A
 * score of the finished and failed is when they are forgotten, which is no order. */
static void sort(struct listing *list, enum cli_registry registry)
{
    if (list->count == 0 || registry == CLI_WAITING)
        return;
    qsort(list->jobs, list->count, sizeof(*list->jobs),
          registry == CLI_FAILED || registry == CLI_FINISHED ? by_end : by_score);
    if (registry != CLI_CANCELED)
        return;
    for (size_t i = 0; i < list->count / 2; i++) {
        struct listed other = list->jobs[i];
        list->jobs[i] = list->jobs[list->count - 1 - i];
        list->jobs[list->count - 1 - i] = other;
    }
}

/* ---- writing ---- */

static void write_table(struct cli *cli, const struct listing *list,
                        enum cli_registry registry)
{
    struct cli_column columns[MOST_COLUMNS + 2] = { { "id", false }, { "queue", false } };
    struct cli_table table = { .columns = columns, .column_count = 2 };

    for (int i = 0; i < MOST_COLUMNS && shown[registry].columns[i].title; i++)
        columns[table.column_count++] =
            (struct cli_column){ shown[registry].columns[i].title,
                                 shown[registry].columns[i].is_number };
    for (size_t i = 0; i < list->count; i++) {
        cli_cell(&table, list->jobs[i].id, CLI_PLAIN);
        cli_cell(&table, list->jobs[i].queue, CLI_PLAIN);
        for (size_t k = 0; k + 2 < table.column_count; k++)
            cli_cell(&table, shown[registry].columns[k].text(&list->jobs[i]), CLI_PLAIN);
    }
    cli_table_write(&table, &cli->paper);
}

static void write_listing(struct cli *cli, const struct listing *list,
                          enum cli_registry registry)
{
    if (list->count == 0) {
        cli_write(&cli->paper, CLI_PLAIN, "No %s jobs%s%s.\n",
                  cli_registry_names[registry], cli->queue ? " in " : "",
                  cli->queue ? cli_clean(cli->queue) : "");
        return;
    }
    write_table(cli, list, registry);
    if (list->total > (long long)list->count)
        cli_write(&cli->paper, CLI_DIM, "\n%zu of %lld; --limit shows more.\n",
                  list->count, list->total);
}

static void put_moment(struct json_writer *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    json_put_text(w, key, us ? clock_iso_z(us, text) : NULL);
}

static void put_job(struct json_writer *w, const struct listed *job,
                    enum cli_registry registry)
{
    const struct job_state *state = &job->state;
    const char *line = job_error_line(state->newest.error);

    json_begin_object(w, NULL);
    json_put_text(w, "id", job->id);
    json_put_text(w, "queue", job->queue);
    json_put_text(w, "status", *state->status ? state->status : NULL);
    json_put_text(w, "description", state->exists ? state->description : NULL);
    json_put_text(w, "worker", *state->worker ? state->worker : NULL);
    put_moment(w, "created_at", state->created_us);
    put_moment(w, "enqueued_at", state->enqueued_us);
    put_moment(w, "started_at", state->started_us);
    put_moment(w, "ended_at", state->ended_us);
    if (registry == CLI_SCHEDULED)
        put_moment(w, "due_at", (int64_t)(job->score * 1e6));
    json_put_int(w, "timeout", state->timeout_s);
    json_put_int(w, "retries_left", state->retries_left);
    json_put_text(w, "reason", *line ? line : NULL);
    json_end_object(w);
}

static void put_listing(struct cli *cli, const struct listing *list,
                        enum cli_registry registry)
{
    struct json_writer w = { .out = cli->paper.out };

    json_begin_object(&w, NULL);
    json_put_text(&w, "state", cli_registry_names[registry]);
    json_put_int(&w, "total", list->total);
    json_begin_array(&w, "jobs");
    for (size_t i = 0; i < list->count; i++)
        put_job(&w, &list->jobs[i], registry);
    json_end_array(&w);
    json_end_object(&w);
    buf_addc(cli->paper.out, '\n');
}

/* RQ's own words are understood, too. */
static int find_state(const char *name)
{
    int registry = 0;

    if (!name || strcmp(name, "queued") == 0)
        return CLI_WAITING;
    while (registry < CLI_REGISTRY_COUNT &&
           strcmp(name, cli_registry_names[registry]) != 0)
        registry++;
    return registry;
}

int cli_list(struct cli *cli)
{
    enum cli_registry registry = (enum cli_registry)find_state(cli->state);
    struct listing list = { 0 };
    struct conf_list queues;

    if (registry == CLI_REGISTRY_COUNT)
        return cli_usage(cli, "there is no such state");
    if (cli->limit == 0)
        return cli_usage(cli, "--limit wants 1 or more");
    int rc = cli->queue ? cli_is_queue(cli, cli->queue) : 1;
    if (rc <= 0)
        return rc;
    rc = cli_queues(cli, &queues);
    for (size_t i = 0; rc >= 0 && i < queues.count; i++)
        rc = read_queue(cli, registry, queues.items[i], &list);
    if (rc >= 0)
        rc = read_states(cli, &list, registry == CLI_FAILED);
    if (rc < 0)
        return rc;
    sort(&list, registry);
    if (list.count > (size_t)cli->limit)
        list.count = (size_t)cli->limit;
    if (cli->is_json)
        put_listing(cli, &list, registry);
    else
        write_listing(cli, &list, registry);
    return 0;
}
