/*
 * functions.c - what consumers can run, and the check of what they are called with.
 */
#include "jobs/functions.h"
#include "common/arena.h"
#include "common/task.h"
#include "jobs/functions/exec.h"
#include "jobs/functions/test_functions.h"
#include "jobs/rq/queue.h"
#include "jobs/rq/value_access.h"
#include <stdio.h>
#include <string.h>

/* In the order of contract 3.1; those for tests last. */
const struct job_function job_functions[] = {
    { .name = JOB_PROCESS_BOOKMARK,
      .args = "int bookmark_id, text url, int user_id",
      .run = process_bookmark,
      .timeout_s = 600,
      .retries = 2,
      .retry_intervals = { 60, 300 } },
    { .name = JOB_EMBED_BOOKMARK,
      .args = "int bookmark_id, int user_id",
      .run = embed_bookmark,
      .timeout_s = 120 },
    { .name = "forkmark.test.echo",
      .args = "any? x",
      .run = test_echo,
      .timeout_s = 180,
      .for_tests = true },
    { .name = "forkmark.test.fail",
      .args = "text? msg",
      .run = test_fail,
      .timeout_s = 180,
      .for_tests = true },
    { .name = "forkmark.test.sleep",
      .args = "number seconds",
      .run = test_sleep,
      .timeout_s = 180,
      .for_tests = true },
    { .name = "forkmark.test.spin",
      .args = "number seconds",
      .run = test_spin,
      .timeout_s = 180,
      .for_tests = true },
    { .name = NULL },
};

static bool has_name(const struct job_function *function, const char *name)
{
    if (strcmp(function->name, name) == 0)
        return true;
    for (size_t i = 0; i < sizeof(function->aliases) / sizeof(function->aliases[0]);
         i++) {
        if (function->aliases[i] && strcmp(function->aliases[i], name) == 0)
            return true;
    }
    return false;
}

const struct job_function *job_function_find(const struct options *options,
                                             const char *name)
{
    for (const struct job_function *function = job_functions; function->name;
         function++) {
        if (function->for_tests && !options->jobs.test_functions)
            continue;
        if (has_name(function, name))
            return function;
    }
    return exec_function_find(options, name);
}

void job_function_complete(const struct job_function *function, struct job_spec *spec)
{
    int count = 0;

    if (spec->timeout_s == 0)
        spec->timeout_s = function->timeout_s;
    if (spec->retries != JOB_RETRIES_OPEN)
        return;
    spec->retries = function->retries;
    if (spec->retry_interval_count > 0)
        return;
    while (count < JOB_INTERVALS_MAX && function->retry_intervals[count] > 0)
        count++;
    spec->retry_intervals = function->retry_intervals;
    spec->retry_interval_count = count;
}

/* ---- argument specs: "int bookmark_id, text? url" ---- */

struct spec_arg {
    char type[16];
    char name[48];
    bool may_be_absent;
};

/* The next argument of a spec; NULL at its end. */
static const char *next_arg(const char *spec, struct spec_arg *ret)
{
    int used = 0;

    if (!spec || sscanf(spec, " %15[a-z]%n", ret->type, &used) != 1)
        return NULL;
    spec += used;
    ret->may_be_absent = *spec == '?';
    spec += ret->may_be_absent;
    if (sscanf(spec, " %47[a-z_0-9]%n", ret->name, &used) != 1)
        return NULL;
    spec += used;
    return *spec == ',' ? spec + 1 : spec;
}

static bool fits(const struct value *value, const char *type)
{
    int64_t integer;
    double number;
    const char *text;

    if (strcmp(type, "int") == 0)
        return value_as_int(value, &integer);
    if (strcmp(type, "number") == 0)
        return value_as_number(value, &number);
    if (strcmp(type, "text") == 0)
        return value_as_text(value, &text);
    return true; /* any */
}

/* Of a value that does not fit: where its type would, what else is wrong. */
static const char *misfit(const struct value *value, const char *type)
{
    if (value->kind == VALUE_BIGINT)
        return "int beyond 64 bits";
    if (value->kind == VALUE_TEXT && strcmp(type, "text") == 0)
        return "text with a NUL";
    return value_type_name(value);
}

/* By position or keyword; both at once is the caller's mistake, as in Python. */
static const struct value *given(const struct call *call, size_t position,
                                 const char *name)
{
    const struct value *by_name = value_find(call->kwargs, name);

    if (by_name)
        return by_name;
    return position < call->args->list.count ? call->args->list.items[position] : NULL;
}

static bool wrong(struct job_run *job, const char *format, const char *name,
                  const char *type)
{
    char text[160];

    snprintf(text, sizeof(text), format, name, type);
    job->error = arena_printf(job->arena, "TypeError: %s() %s", job->call.name, text);
    return false;
}

static bool check_arg(struct job_run *job, const struct spec_arg *arg, size_t position)
{
    const struct value *value = given(&job->call, position, arg->name);

    if (!value)
        return arg->may_be_absent ||
               wrong(job, "misses the argument '%s' (%s)", arg->name, arg->type);
    if (position < job->call.args->list.count && value_find(job->call.kwargs, arg->name))
        return wrong(job, "got the argument '%s' (%s) twice", arg->name, arg->type);
    if (value->kind == VALUE_NONE && arg->may_be_absent)
        return true;
    if (fits(value, arg->type))
        return true;
    job->error =
        arena_printf(job->arena, "TypeError: %s() wants the argument '%s' as %s, not %s",
                     job->call.name, arg->name, arg->type, misfit(value, arg->type));
    return false;
}

static bool is_known(const char *spec, const struct value *key)
{
    struct spec_arg arg;

    while ((spec = next_arg(spec, &arg)) != NULL) {
        if (strcmp(arg.name, key->bytes.data) == 0)
            return true;
    }
    return false;
}

bool job_args_check(struct job_run *job, const struct job_function *function)
{
    const char *spec = function->args;
    const struct value *kwargs = job->call.kwargs;
    struct spec_arg arg;
    size_t position = 0;

    if (!spec)
        return true;
    while ((spec = next_arg(spec, &arg)) != NULL) {
        if (!check_arg(job, &arg, position++))
            return false;
    }
    if (job->call.args->list.count > position)
        return wrong(job, "got more positional arguments than it takes%s%s", "", "");
    for (size_t i = 0; i < kwargs->list.count; i += 2) {
        if (!is_known(function->args, kwargs->list.items[i]))
            return wrong(job, "got an unexpected keyword argument '%.60s'%s",
                         kwargs->list.items[i]->bytes.data, "");
    }
    return true;
}

/* ---- access, for the functions ---- */

const struct value *job_arg(const struct job_run *job, const char *name)
{
    const char *spec = job->function->args;
    struct spec_arg arg;

    for (size_t i = 0; (spec = next_arg(spec, &arg)) != NULL; i++) {
        if (strcmp(arg.name, name) == 0)
            return given(&job->call, i, name);
    }
    return NULL;
}

int64_t job_arg_int(const struct job_run *job, const char *name)
{
    const struct value *value = job_arg(job, name);
    int64_t integer = 0;

    if (value)
        value_as_int(value, &integer);
    return integer;
}

const char *job_arg_text(const struct job_run *job, const char *name)
{
    const struct value *value = job_arg(job, name);
    const char *text = NULL;

    if (value)
        value_as_text(value, &text);
    return text;
}
