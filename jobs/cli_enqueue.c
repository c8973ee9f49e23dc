/*
 * cli_enqueue.c - `forkmark jobs enqueue`: one job from the command line, or many from
 * the standard input.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/functions.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/queue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_QUEUE "default"

/* A comma splits a worker's list of queues; the ending is another queue's list. */
static const char *wrong_queue(const char *name)
{
    static const char ending[] = ":intermediate";
    size_t length = strlen(name);

    if (!*name || strchr(name, ','))
        return "a queue's name is not empty and has no comma";
    if (length >= strlen(ending) && strcmp(name + length - strlen(ending), ending) == 0)
        return "a queue's name does not end in `:intermediate`";
    return NULL;
}

/* As the options say: what the command line and every line start from. */
static const char *read_options(struct cli *cli, struct job_spec *spec)
{
    struct arena *arena = task_arena();

    *spec = (struct job_spec){
        .id = cli->id,
        .queue = cli->queue ? cli->queue : DEFAULT_QUEUE,
        .description = cli->description,
        .timeout_s = cli->timeout_s,
        .retries = (int)cli->retries,
        .result_ttl_s = cli->has_result_ttl ? cli->result_ttl_s : JOB_TTL_DEFAULT,
        .failure_ttl_s = cli->has_failure_ttl ? cli->failure_ttl_s : JOB_TTL_DEFAULT,
        .at_front = cli->is_at_front,
        .delay_s = cli->delay_s,
        .unique_key = cli->unique,
        .unique_while_running = cli->is_while_running,
    };
    if (cli->after) {
        char *rest = arena_strdup(arena, cli->after);
        const char **ids = arena_array(arena, QUEUE_DEPENDENCIES_MOST, sizeof(*ids));

        for (char *id; (id = strsep(&rest, ",")) != NULL;) {
            if (!*id || spec->depends_on_count == QUEUE_DEPENDENCIES_MOST)
                return "--after wants ids with commas between them";
            ids[spec->depends_on_count++] = id;
        }
        spec->depends_on = ids;
    }
    if (spec->delay_s > 0 && spec->depends_on_count > 0)
        return "--in and --after do not go together";
    if (cli->is_while_running && !cli->unique)
        return "--while-running goes with --unique";
    return wrong_queue(spec->queue);
}

/* What the function's own producers would give it. False: no function of ours. */
static bool add_defaults(const struct cli *cli, struct job_spec *spec)
{
    const struct job_function *function = job_function_find(cli->options, spec->function);

    if (function)
        job_function_complete(function, spec);
    return function != NULL;
}

/* ---- one ---- */

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

    spec->function = cli->argv[0];
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

static void put_pushed(struct cli *cli, const struct job_pushed *job)
{
    struct json_writer w = { .out = cli->paper.out };

    json_begin_object(&w, NULL);
    json_put_text(&w, "id", job->id);
    json_put_bool(&w, "new", job->is_new);
    json_end_object(&w);
    buf_addc(cli->paper.out, '\n');
}

/* A key that is taken is what --unique asks for; an id that is taken is a failure. */
static void say_pushed(struct cli *cli, const struct job_spec *spec,
                       const struct job_pushed *job)
{
    bool is_held =
        !job->is_new && spec->unique_key && !(spec->id && strcmp(spec->id, job->id) == 0);

    if (!job->is_new && !is_held)
        cli->status = EXIT_FAILURE;
    if (cli->is_json)
        put_pushed(cli, job);
    else if (job->is_new)
        cli_write(&cli->paper, CLI_PLAIN, "%s: %s\n", cli_clean(job->id),
                  spec->delay_s > 0 ? "scheduled" : "queued");
    else if (is_held)
        cli_write(&cli->paper, CLI_PLAIN, "%s: has this key already\n",
                  cli_clean(job->id));
    else
        cli_fail(cli, "%s: a job of this id exists already", job->id);
}

static int enqueue_one(struct cli *cli, struct job_spec *spec)
{
    struct job_pushed job;

    read_call(cli, spec);
    if (!add_defaults(cli, spec))
        fprintf(stderr, "note: no function of forkmark; a Python worker may know it\n");
    int rc = queue_push_many(cli->redis, spec, 1, &job);
    if (rc >= 0)
        say_pushed(cli, spec, &job);
    return rc;
}

/* ---- many, a line each ---- */

struct line_field {
    const char *name;
    enum { FIELD_TEXT, FIELD_INT, FIELD_BOOL } kind;
    size_t field;
};
static const struct line_field line_fields[] = {
    { "at_front", FIELD_BOOL, offsetof(struct job_spec, at_front) },
    { "description", FIELD_TEXT, offsetof(struct job_spec, description) },
    { "function", FIELD_TEXT, offsetof(struct job_spec, function) },
    { "id", FIELD_TEXT, offsetof(struct job_spec, id) },
    { "in", FIELD_INT, offsetof(struct job_spec, delay_s) },
    { "queue", FIELD_TEXT, offsetof(struct job_spec, queue) },
    { "unique", FIELD_TEXT, offsetof(struct job_spec, unique_key) },
};

static bool set_field(struct job_spec *spec, const struct line_field *field,
                      const struct value *value)
{
    char *at = (char *)spec + field->field;

    switch (field->kind) {
    case FIELD_TEXT:
        if (value->kind != VALUE_TEXT || value->bytes.length == 0 ||
            memchr(value->bytes.data, '\0', value->bytes.length))
            return false;
        *(const char **)at = value->bytes.data;
        return true;
    case FIELD_INT:
        if (value->kind != VALUE_INT || value->integer < 0 || value->integer > INT32_MAX)
            return false;
        *(int64_t *)at = value->integer;
        return true;
    case FIELD_BOOL:
        if (value->kind != VALUE_BOOL)
            return false;
        *(bool *)at = value->boolean;
        return true;
    }
    return false;
}

/* The call's own parts, and what is no plain field. False: not one of these, or wrong. */
static bool set_part(struct job_spec *spec, const char *name, const struct value *value)
{
    if (strcmp(name, "args") == 0 && value->kind == VALUE_LIST)
        spec->args = value;
    else if (strcmp(name, "kwargs") == 0 && value->kind == VALUE_DICT)
        spec->kwargs = value;
    else if (strcmp(name, "retries") == 0 && value->kind == VALUE_INT &&
             value->integer >= 0 && value->integer <= INT32_MAX)
        spec->retries = (int)value->integer;
    else if (strcmp(name, "timeout") == 0 && value->kind == VALUE_INT &&
             value->integer >= -1 && value->integer != 0 && value->integer <= INT32_MAX)
        spec->timeout_s = value->integer;
    else
        return false;
    return true;
}

/* NULL, or what is wrong with the line. */
static const char *read_line(const char *line, size_t length, struct job_spec *spec)
{
    struct arena *arena = task_arena();
    const char *error = "";
    const struct value *object = value_from_json(arena, line, length, &error);

    if (!object || object->kind != VALUE_DICT)
        return object ? "no JSON object" : error;
    for (size_t i = 0; i + 1 < object->list.count; i += 2) {
        const char *name = object->list.items[i]->bytes.data;
        const struct value *value = object->list.items[i + 1];
        bool is_set = set_part(spec, name, value);

        for (size_t k = 0; !is_set && k < sizeof(line_fields) / sizeof(line_fields[0]);
             k++)
            is_set = strcmp(name, line_fields[k].name) == 0 &&
                     set_field(spec, &line_fields[k], value);
        if (!is_set)
            return arena_printf(arena, "\"%s\" is unknown, or not of its type", name);
    }
    if (!spec->function)
        return "\"function\" is missing";
    if (spec->delay_s > 0 && spec->depends_on_count > 0)
        return "\"in\" and --after do not go together";
    return wrong_queue(spec->queue);
}

/* All lines are read before the first job is queued: a wrong one means none. */
static bool read_lines(struct cli *cli, const struct job_spec *options,
                       struct job_spec **ret, size_t *ret_count)
{
    size_t room = 0;
    size_t count = 0;
    char *line = NULL;
    size_t line_room = 0;
    ssize_t length;
    const char *wrong = NULL;
    size_t number = 0;

    *ret = NULL;
    while (!wrong && (length = getline(&line, &line_room, stdin)) >= 0) {
        number++;
        if (strspn(line, " \t\r\n") == (size_t)length)
            continue;
        if (count == room) {
            size_t more = room > 0 ? room * 2 : 256;

            *ret = arena_grow(task_arena(), *ret, room * sizeof(**ret),
                              more * sizeof(**ret));
            room = more;
        }
        (*ret)[count] = *options;
        wrong = read_line(line, (size_t)length, &(*ret)[count]);
        if (!wrong)
            add_defaults(cli, &(*ret)[count++]);
    }
    free(line);
    if (wrong)
        cli_fail(cli, "line %zu: %s; nothing was queued", number, wrong);
    *ret_count = count;
    return !wrong;
}

static int enqueue_lines(struct cli *cli, const struct job_spec *options)
{
    struct job_spec *specs;
    size_t count;

    if (!read_lines(cli, options, &specs, &count))
        return 0;
    task_set_timeout(60000); /* however long the lines took to come */
    struct job_pushed *jobs = arena_array(task_arena(), count, sizeof(*jobs));
    int rc = queue_push_many(cli->redis, specs, count, jobs);
    if (rc < 0)
        return rc;
    for (size_t i = 0; cli->is_json && i < count; i++)
        put_pushed(cli, &jobs[i]);
    if (!cli->is_json)
        cli_write(&cli->paper, CLI_PLAIN, "%d of %zu jobs queued%s\n", rc, count,
                  (size_t)rc < count ? "; the others' ids or keys are taken" : "");
    return 0;
}

int cli_enqueue(struct cli *cli)
{
    struct job_spec spec;
    const char *wrong = read_options(cli, &spec);

    if (!wrong && cli->is_lines == (cli->argc > 0))
        wrong = "what? A function, or --lines";
    if (!wrong && cli->is_lines && cli->id)
        wrong = "--id is one job's";
    if (wrong)
        return cli_usage(cli, wrong);
    return cli->is_lines ? enqueue_lines(cli, &spec) : enqueue_one(cli, &spec);
}
