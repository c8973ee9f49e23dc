/*
 * cli_workers.c - `forkmark jobs workers`, and the same rows for `info`.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include <string.h>

/* Heartbeats come every 30 seconds or so; idle Python workers are silent for minutes. */
#define SILENT_S 480

static enum cli_colour colour_of(const char *state)
{
    if (strcmp(state, "busy") == 0)
        return CLI_GREEN;
    return strcmp(state, "suspended") == 0 ? CLI_YELLOW : CLI_PLAIN;
}

static const char *job_cell(const struct cli_worker *worker)
{
    if (!*worker->job)
        return "-";
    return *worker->call ? arena_printf(task_arena(), "%s  %s", worker->job, worker->call)
                         : worker->job;
}

/* `wide`: also where it runs, and its version. */
void cli_write_workers(struct cli *cli, const struct cli_worker *workers, size_t count,
                       bool wide)
{
    static const struct cli_column narrow_columns[] = {
        { "worker", false }, { "state", false }, { "queues", false }, { "done", true },
        { "failed", true },  { "seen", true },   { "for", true },     { "job", false },
    };
    static const struct cli_column wide_columns[] = {
        { "worker", false }, { "state", false }, { "queues", false },  { "done", true },
        { "failed", true },  { "worked", true }, { "up", true },       { "seen", true },
        { "pid", true },     { "host", false },  { "version", false }, { "for", true },
        { "job", false },
    };
    struct cli_table table = { .columns = wide ? wide_columns : narrow_columns,
                               .column_count = wide ? 13 : 8 };

    for (size_t i = 0; i < count; i++) {
        const struct cli_worker *worker = &workers[i];
        bool is_silent = cli_seconds_since(worker->heartbeat_us) > SILENT_S;

        cli_cell(&table, worker->name, CLI_PLAIN);
        cli_cell(&table, worker->state, colour_of(worker->state));
        cli_cell(&table, worker->queues, CLI_PLAIN);
        cli_cell_number(&table, worker->done, CLI_PLAIN);
        cli_cell_number(&table, worker->failed, CLI_RED);
        if (wide) {
            cli_cell(&table, cli_span(worker->worked_s), CLI_PLAIN);
            cli_cell(&table, cli_age(worker->birth_us), CLI_PLAIN);
        }
        cli_cell(&table, cli_age(worker->heartbeat_us), is_silent ? CLI_RED : CLI_PLAIN);
        if (wide) {
            cli_cell(&table, arena_printf(task_arena(), "%lld", worker->pid), CLI_PLAIN);
            cli_cell(&table, worker->host, CLI_PLAIN);
            cli_cell(&table, worker->version, CLI_PLAIN);
        }
        cli_cell(&table, cli_age(worker->job_since_us), CLI_PLAIN);
        cli_cell(&table, job_cell(worker), CLI_PLAIN);
    }
    if (count > 0)
        cli_table_write(&table, &cli->paper);
    else
        cli_write(&cli->paper, CLI_YELLOW, "Nobody works%s%s.\n",
                  cli->queue ? " on " : "", cli->queue ? cli_clean(cli->queue) : "");
}

static void put_moment(struct json_writer *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    json_put_text(w, key, us ? clock_iso_z(us, text) : NULL);
}

static void put_queues(struct json_writer *w, const char *queues)
{
    json_begin_array(w, "queues");
    for (;; queues++) {
        size_t length = strcspn(queues, ",");

        if (length > 0)
            json_put_textn(w, NULL, queues, length);
        queues += length;
        if (!*queues)
            break;
    }
    json_end_array(w);
}

void cli_workers_json(struct json_writer *w, const struct cli_worker *workers,
                      size_t count)
{
    json_begin_array(w, "workers");
    for (size_t i = 0; i < count; i++) {
        const struct cli_worker *worker = &workers[i];

        json_begin_object(w, NULL);
        json_put_text(w, "name", worker->name);
        json_put_text(w, "state", worker->state);
        put_queues(w, worker->queues);
        json_put_text(w, "job", *worker->job ? worker->job : NULL);
        json_put_text(w, "call", *worker->call ? worker->call : NULL);
        put_moment(w, "job_started_at", worker->job_since_us);
        json_put_int(w, "done", worker->done);
        json_put_int(w, "failed", worker->failed);
        json_put_double(w, "worked_seconds", worker->worked_s, 3);
        put_moment(w, "born_at", worker->birth_us);
        put_moment(w, "last_heartbeat", worker->heartbeat_us);
        json_put_int(w, "pid", worker->pid);
        json_put_text(w, "host", worker->host);
        json_put_text(w, "version", worker->version);
        json_end_object(w);
    }
    json_end_array(w);
}

int cli_workers(struct cli *cli)
{
    struct json_writer w = { .out = cli->paper.out };
    struct cli_worker *workers;
    size_t count;
    int rc = cli_read_workers(cli, &workers, &count);

    if (rc < 0)
        return rc;
    if (!cli->is_json) {
        cli_write_workers(cli, workers, count, true);
        return 0;
    }
    json_begin_object(&w, NULL);
    cli_workers_json(&w, workers, count);
    json_end_object(&w);
    buf_addc(cli->paper.out, '\n');
    return 0;
}
