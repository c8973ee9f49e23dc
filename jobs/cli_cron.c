/*
 * cli_cron.c - `forkmark jobs cron`: the entries of the configuration, when each was
 * served last, and when it is due next.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/calendar.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/cron.h"
#include <stdlib.h>
#include <string.h>

struct cron_row {
    const struct cron_options *options;
    const char *last_job;
    int64_t last, missed; /* due times; 0: none */
    int64_t next;         /* CRON_NEVER: none */
    struct zone *zone;
};

static void free_zone(void *arg)
{
    zone_free(arg);
}

/* The job's id ends with the due time it is of. */
static int64_t due_of(const char *job_id)
{
    const char *last = strrchr(job_id, '_');

    return last ? strtoll(last + 1, NULL, 10) : 0;
}

/* Of the fields asked for below. */
static const char *item(const redisReply *reply, size_t index)
{
    return reply->type == REDIS_REPLY_ARRAY && index < reply->elements &&
                   reply->element[index]->str
               ? reply->element[index]->str
               : "";
}

static int read_row(struct cli *cli, const struct cron_options *options,
                    struct cron_row *ret)
{
    const char *zone_error;
    char error[CRON_ERROR_SIZE];
    struct cron cron;
    redisReply *reply;
    int rc = redis_call(cli->redis, &reply, "HMGET %s last_job last_missed",
                        cron_entry_key(cli->options, options));

    if (rc < 0)
        return rc;
    *ret = (struct cron_row){ .options = options,
                              .last_job = item(reply, 0),
                              .last = due_of(item(reply, 0)),
                              .missed = strtoll(item(reply, 1), NULL, 10),
                              .next = CRON_NEVER,
                              .zone = zone_open(options->zone, &zone_error) };
    if (!ret->zone)
        return 0;
    arena_defer(task_arena(), free_zone, ret->zone);
    if (options->enabled && cron_parse(options->schedule, &cron, error))
        ret->next = cron_next(&cron, ret->zone, clock_unix());
    return 0;
}

/* "2026-11-26 03:30 CET", as the clocks there show it. */
static const char *local_time(const struct cron_row *row, int64_t at)
{
    if (at == CRON_NEVER || at == 0 || !row->zone)
        return "-";
    int64_t wall = at + zone_offset(row->zone, at);
    int64_t days = calendar_day_of(wall);
    struct date date = calendar_date(days);
    int minute = (int)((wall - days * DAY_SECONDS) / 60);

    return arena_printf(task_arena(), "%04lld-%02d-%02d %02d:%02d %s",
                        (long long)date.year, date.month, date.day, minute / 60,
                        minute % 60, zone_abbreviation(row->zone, at));
}

static const char *from_now(int64_t at)
{
    if (at == CRON_NEVER)
        return "disabled";
    int64_t left = at - clock_unix();
    return arena_printf(task_arena(), "in %s", cli_span((double)(left > 0 ? left : 0)));
}

static void write_rows(struct cli *cli, const struct cron_row *rows, size_t count)
{
    static const struct cli_column columns[] = {
        { "name", false }, { "schedule", false }, { "zone", false },  { "last", false },
        { "next", false }, { "due", true },       { "queue", false }, { "job", false },
    };
    struct cli_table table = { .columns = columns,
                               .column_count = sizeof(columns) / sizeof(columns[0]) };

    for (size_t i = 0; i < count; i++) {
        const struct cron_options *o = rows[i].options;

        cli_cell(&table, o->name, CLI_PLAIN);
        cli_cell(&table, o->schedule, CLI_PLAIN);
        cli_cell(&table, o->zone, CLI_PLAIN);
        cli_cell(&table, local_time(&rows[i], rows[i].last), CLI_PLAIN);
        cli_cell(&table, local_time(&rows[i], rows[i].next), CLI_PLAIN);
        cli_cell(&table, from_now(rows[i].next),
                 rows[i].next == CRON_NEVER ? CLI_DIM : CLI_PLAIN);
        cli_cell(&table, o->queue, CLI_PLAIN);
        cli_cell(&table, cli_clean(o->function), CLI_PLAIN);
    }
    cli_table_write(&table, &cli->paper);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].missed > rows[i].last)
            cli_write(&cli->paper, CLI_YELLOW,
                      "%s: what was due at %s was passed over (catch_up)\n",
                      rows[i].options->name, local_time(&rows[i], rows[i].missed));
    }
}

/* Times as in the API; null where there is none. */
static void put_time(struct json_writer *w, const char *key, int64_t at)
{
    char text[CLOCK_TEXT_SIZE];

    if (at == 0 || at == CRON_NEVER)
        json_put_null(w, key);
    else
        json_put_text(w, key, clock_iso_z(at * 1000000, text));
}

static void put_row(struct json_writer *w, const struct cron_row *row)
{
    const struct cron_options *o = row->options;

    json_begin_object(w, NULL);
    json_put_text(w, "name", o->name);
    json_put_text(w, "schedule", o->schedule);
    json_put_text(w, "zone", o->zone);
    json_put_text(w, "function", o->function);
    json_put_raw(w, "args", o->args);
    json_put_raw(w, "kwargs", o->kwargs);
    json_put_text(w, "queue", o->queue);
    json_put_bool(w, "enabled", o->enabled);
    put_time(w, "last_run", row->last);
    json_put_text(w, "last_job", *row->last_job ? row->last_job : NULL);
    put_time(w, "last_missed", row->missed);
    put_time(w, "next_run", row->next);
    json_end_object(w);
}

int cli_cron(struct cli *cli)
{
    size_t count = cli->options->jobs.cron_count;
    struct cron_row *rows = arena_array(task_arena(), count + 1, sizeof(*rows));
    struct json_writer w = { .out = cli->paper.out };

    for (size_t i = 0; i < count; i++) {
        int rc = read_row(cli, &cli->options->jobs.cron[i], &rows[i]);
        if (rc < 0)
            return rc;
    }
    if (cli->is_json) {
        json_begin_array(&w, NULL);
        for (size_t i = 0; i < count; i++)
            put_row(&w, &rows[i]);
        json_end_array(&w);
        buf_addc(cli->paper.out, '\n');
    } else if (count == 0) {
        cli_write(&cli->paper, CLI_YELLOW, "No entries: jobs.cron names none.\n");
    } else {
        write_rows(cli, rows, count);
    }
    return 0;
}
