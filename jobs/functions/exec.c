/*
 * exec.c - see exec.h.
 */
#include "jobs/functions/exec.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "common/utf8.h"
#include "jobs/exec/command.h"
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONGEST_LINE 300 /* of what a command said, in the last line of an error */

/* ---- the environment ---- */

/* Nothing of the server's but these: its other variables hold passwords and keys. */
static const char *const handed_on[] = { "PATH", "TZ",   "TMPDIR",  "LANG",
                                         "HOME", "USER", "LOGNAME", "SHELL" };

static bool is_handed_on(const char *variable)
{
    size_t length = strcspn(variable, "=");

    for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
        if (strlen(handed_on[i]) == length && memcmp(handed_on[i], variable, length) == 0)
            return true;
    }
    return strncmp(variable, "LC_", 3) == 0;
}

struct variables {
    struct arena *arena;
    char **items;
    size_t count, room;
};

/* A later one of the same name takes the earlier one's place. */
static void set_variable(struct variables *to, char *variable)
{
    size_t length = strcspn(variable, "=") + 1;

    for (size_t i = 0; i < to->count; i++) {
        if (strncmp(to->items[i], variable, length) == 0) {
            to->items[i] = variable;
            return;
        }
    }
    if (to->count + 1 >= to->room) { /* a NULL stands at the end */
        size_t room = to->room ? 2 * to->room : 32;

        to->items = arena_grow(to->arena, to->items, to->room * sizeof(char *),
                               room * sizeof(char *));
        to->room = room;
    }
    to->items[to->count++] = variable;
    to->items[to->count] = NULL;
}

static void set_named(struct variables *to, const char *name, const char *value)
{
    if (value && *value)
        set_variable(to, arena_printf(to->arena, "%s=%s", name, value));
}

/* A pool may run as another user than the one whose environment the server has. */
static void set_user(struct variables *to)
{
    const struct passwd *user = getpwuid(geteuid());

    if (!user)
        return;
    set_named(to, "HOME", user->pw_dir);
    set_named(to, "USER", user->pw_name);
    set_named(to, "LOGNAME", user->pw_name);
    set_named(to, "SHELL", user->pw_shell);
}

static char **environment_of(const struct job_run *job,
                             const struct function_options *function)
{
    struct variables to = { .arena = job->arena };

    for (char **variable = environ; *variable; variable++) {
        if (is_handed_on(*variable))
            set_variable(&to, *variable);
    }
    set_user(&to);
    for (size_t i = 0; i < function->environment.count; i++) {
        char *variable = function->environment.items[i];

        if (strchr(variable, '='))
            set_variable(&to, variable);
        else
            set_named(&to, variable, getenv(variable));
    }
    set_named(&to, "FORKMARK_JOB_ID", job->id);
    set_named(&to, "FORKMARK_JOB_FUNCTION", function->name);
    return to.items;
}

static const char *variable_of(char **environment, const char *name)
{
    size_t length = strlen(name);

    for (; *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    }
    return NULL;
}

/* ---- what it is given ---- */

static void write_input(const struct job_run *job, struct buf *out)
{
    buf_adds(out, "{\"id\":");
    json_quote(out, job->id, strlen(job->id));
    buf_adds(out, ",\"args\":");
    value_to_json(job->call.args, out);
    buf_adds(out, ",\"kwargs\":");
    value_to_json(job->call.kwargs, out);
    buf_adds(out, ",\"meta\":");
    if (job->meta && job->meta->kind == VALUE_DICT)
        value_to_json(job->meta, out);
    else
        buf_adds(out, "{}");
    buf_adds(out, "}\n");
}

/* ---- what became of it, in words ---- */

/* Clean text with no blanks at its end; RQ's readers fail on anything else. */
static char *clean(struct arena *arena, const char *text, size_t length)
{
    struct buf out = BUF_IN(arena);

    utf8_add_clean(&out, text, length);
    while (out.length > 0 && strchr(" \t\r\n", out.data[out.length - 1]))
        out.data[--out.length] = '\0';
    return out.data ? out.data : arena_strdup(arena, "");
}

/* Cut where a character ends. */
static const char *cut(struct arena *arena, const char *line)
{
    size_t length = strlen(line);

    if (length <= LONGEST_LINE)
        return line;
    length = LONGEST_LINE;
    while (length > 0 && ((unsigned char)line[length] & 0xc0) == 0x80)
        length--;
    return arena_printf(arena, "%.*s...", (int)length, line);
}

static const char *last_line(struct arena *arena, const char *text)
{
    const char *newline = strrchr(text, '\n');

    return cut(arena, newline ? newline + 1 : text);
}

static const char *stopped_how(const struct command *command)
{
    if (command->end == COMMAND_UNKILLABLE)
        return "it cannot be killed and still runs";
    if (!command->was_killed)
        return "it ended at SIGTERM";
    return command->spec->kill_after_ms > 0 ? "it ignored SIGTERM and was killed"
                                            : "it was killed";
}

static const char *not_started(struct arena *arena, const struct command *command)
{
    const struct command_spec *spec = command->spec;

    switch (command->stage) {
    case KEEPER_CWD:
        return arena_printf(arena, "cannot run in %s: %s", spec->cwd,
                            strerror(command->error));
    case KEEPER_EXEC:
        return arena_printf(arena, "cannot run %s: %s%s", spec->path,
                            strerror(command->error),
                            command->error == ENOENT && access(spec->path, F_OK) == 0
                                ? " (what its first line names)"
                                : "");
    default:
        return arena_printf(arena, "no process for %s: %s", spec->path,
                            strerror(command->error));
    }
}

/* "Kind: message" of a command that ended by itself, but not with 0. */
static const char *ended_badly(struct arena *arena, const struct command *command,
                               const char *tail)
{
    const char *said = last_line(arena, tail);
    const char *colon = *said ? ": " : "";

    if (WIFSIGNALED(command->status))
        return arena_printf(
            arena, "CommandError: killed by signal %d (%s)%s%s%s",
            WTERMSIG(command->status), strsignal(WTERMSIG(command->status)),
            WCOREDUMP(command->status) ? ", core dumped" : "", colon, said);
    return arena_printf(arena, "CommandError: exit status %d%s%s",
                        WEXITSTATUS(command->status), colon, said);
}

static const char *reason(struct arena *arena, const struct command *command,
                          const char *tail)
{
    const struct command_spec *spec = command->spec;

    if (command->end == COMMAND_NOT_STARTED)
        return arena_printf(arena, "CommandError: %s", not_started(arena, command));
    if (command->end == COMMAND_LOST)
        return "CommandError: somebody killed its keeper, and it with it";
    if (command->has_timed_out)
        return arena_printf(arena,
                            "rq.timeouts.JobTimeoutException: Task exceeded maximum "
                            "timeout value (%g seconds)",
                            (double)spec->timeout_ms / 1000);
    if (command->has_overflowed)
        return arena_printf(arena,
                            "CommandError: wrote more than %zu bytes to its standard "
                            "output (output_limit)",
                            spec->output_limit);
    return ended_badly(arena, command, tail);
}

/* The lines before the last one of an error: what it was, how it ended, what it said. */
static const char *account(struct arena *arena, const struct job_run *job,
                           const struct command *command, const char *tail)
{
    struct buf out = BUF_IN(arena);

    buf_addf(&out, "Command of %s: %s", job->function->name, command->spec->path);
    if (command->was_told)
        buf_addf(&out, "\nHad to stop: %s.", stopped_how(command));
    if (command->left_behind > 0)
        buf_addf(&out, "\nKilled %d process%s it left behind.", command->left_behind,
                 command->left_behind == 1 ? "" : "es");
    if (*tail)
        buf_addf(&out, "\nIts standard error%s:\n%s",
                 command->is_tail_cut ? " ended with" : "", tail);
    return out.data;
}

static enum job_outcome failed(struct job_run *job, const struct command *command,
                               const char *why)
{
    const char *tail = clean(job->arena, command->tail.data, command->tail.length);

    job->error =
        arena_printf(job->arena, "%s\n%s", account(job->arena, job, command, tail),
                     why ? why : reason(job->arena, command, tail));
    return JOB_FAILED;
}

/* ---- what it answers ---- */

static bool is_blank(const struct buf *text)
{
    for (size_t i = 0; i < text->length; i++) {
        if (!text->data[i] || !strchr(" \t\r\n", text->data[i]))
            return false;
    }
    return true;
}

static void note_success(struct job_run *job, const struct command *command)
{
    const char *tail = clean(job->arena, command->tail.data, command->tail.length);

    if (*tail)
        log_info("%s said: %s", job->function->name, last_line(job->arena, tail));
    if (command->left_behind > 0)
        log_warn("%s left %d process%s behind: killed", job->function->name,
                 command->left_behind, command->left_behind == 1 ? "" : "es");
}

static enum job_outcome answered(struct job_run *job, const struct command *command)
{
    const char *error = NULL;

    if (!is_blank(&command->output)) {
        job->result = value_from_json(job->arena, command->output.data,
                                      command->output.length, &error);
        if (!job->result) {
            const char *colon = strrchr(error, ':');
            const char *begin =
                clean(job->arena, command->output.data,
                      command->output.length < LONGEST_LINE ? command->output.length
                                                            : LONGEST_LINE);
            begin = arena_strndup(job->arena, begin, strcspn(begin, "\r\n"));
            return failed(job, command,
                          arena_printf(job->arena,
                                       "CommandError: its standard output is no JSON "
                                       "(%s); it begins: %s",
                                       colon ? colon + 2 : error, begin));
        }
    }
    note_success(job, command);
    return JOB_SUCCESS;
}

/* ---- the function ---- */

/* In the consumer's own task: after it the command does not run any more. */
static void stop(struct job_run *job)
{
    struct command *command = job->settle_with;

    command_stop(command, &job->is_hurried);
    /* The job's arena may be full: that may be why its task was ended. */
    job->note = account(task_arena(), job, command,
                        clean(task_arena(), command->tail.data, command->tail.length));
}

enum job_outcome exec_command(struct job_run *job)
{
    const struct function_options *function = job->function->command;
    struct buf input = BUF_IN(job->arena);
    char **environment = environment_of(job, function);

    write_input(job, &input);
    struct command_spec *spec = arena_alloc(job->arena, sizeof(*spec));
    *spec = (struct command_spec){
        .path = command_find(job->arena, function->command.items[0],
                             variable_of(environment, "PATH")),
        .argv = function->command.items,
        .envp = environment,
        .cwd = *function->cwd ? function->cwd : NULL,
        .input = input.data,
        .input_length = input.length,
        .output_limit = function->output_limit,
        .timeout_ms = function->timeout,
        .kill_after_ms = function->kill_after,
    };
    struct command *command = command_start(job->arena, spec);
    job->settle_with = command;
    job->settle_ms = function->kill_after;
    job->settle = stop;
    command_wait(command);
    job->settle = NULL;
    if (command->end == COMMAND_ENDED && !command->was_told &&
        WIFEXITED(command->status) && WEXITSTATUS(command->status) == 0)
        return answered(job, command);
    return failed(job, command, NULL);
}

/* ---- the configured ones as rows ---- */

static struct {
    uint64_t id; /* of the configuration they come from */
    struct job_function *items;
    size_t count;
} rows;

static struct job_function row_of(const struct options *options,
                                  const struct function_options *function)
{
    struct job_function row = {
        .name = function->name,
        .args = *function->args ? function->args : NULL,
        .run = exec_command,
        .timeout_s = function->timeout > 0 ? (int64_t)(function->timeout + 999) / 1000
                                           : options->jobs.default_timeout,
        .retries = (int)function->retries,
        .command = function,
    };
    size_t room = sizeof(row.retry_intervals) / sizeof(row.retry_intervals[0]);

    for (size_t i = 0; i < function->retry_intervals.count && i < room; i++) {
        uint64_t ms = 0;

        conf_parse_duration(function->retry_intervals.items[i], &ms);
        row.retry_intervals[i] = (int)(ms / 1000);
    }
    return row;
}

static void make_rows(const struct options *options)
{
    size_t count = options->jobs.function_count;

    free(rows.items);
    rows.items = calloc(count, sizeof(*rows.items));
    if (!rows.items)
        fatal("out of memory");
    for (size_t i = 0; i < count; i++)
        rows.items[i] = row_of(options, &options->jobs.functions[i]);
    rows.count = count;
    rows.id = options->jobs.functions_id;
}

static bool has_alias(const struct function_options *function, const char *name)
{
    for (size_t i = 0; i < function->aliases.count; i++) {
        if (strcmp(function->aliases.items[i], name) == 0)
            return true;
    }
    return false;
}

const struct job_function *exec_function_find(const struct options *options,
                                              const char *name)
{
    if (options->jobs.function_count == 0)
        return NULL;
    if (rows.id != options->jobs.functions_id ||
        rows.count != options->jobs.function_count)
        make_rows(options);
    for (size_t i = 0; i < rows.count; i++) {
        if (strcmp(rows.items[i].name, name) == 0 ||
            has_alias(rows.items[i].command, name))
            return &rows.items[i];
    }
    return NULL;
}

/* ---- what only this machine can say ---- */

static void complain(const struct options *options, size_t index, struct buf *out,
                     const char *field, const char *value, const char *why)
{
    const struct function_options *function = &options->jobs.functions[index];

    buf_addf(out, "%s: `jobs.functions.%s%s`: %s: %s\n", function->where, function->label,
             field, value, why);
}

static const char *program_error(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "it is no file";
    return access(path, X_OK) < 0 ? "it is not executable" : NULL;
}

static void check_program(const struct options *options, size_t index,
                          struct arena *arena, struct buf *out)
{
    const struct function_options *function = &options->jobs.functions[index];
    const char *path = command_find(arena, function->command.items[0], getenv("PATH"));
    bool is_below = *path != '/' && strchr(path, '/') && *function->cwd;
    const char *file =
        is_below ? arena_printf(arena, "%s/%s", function->cwd, path) : path;

    if (!strchr(path, '/'))
        complain(options, index, out, ".command", path, "no such program in PATH");
    else if (program_error(file))
        complain(options, index, out, ".command", file, program_error(file));
}

static void check_folder(const struct options *options, size_t index, struct buf *out)
{
    const char *cwd = options->jobs.functions[index].cwd;
    struct stat status;

    if (*cwd && stat(cwd, &status) < 0)
        complain(options, index, out, ".cwd", cwd, strerror(errno));
    else if (*cwd && !S_ISDIR(status.st_mode))
        complain(options, index, out, ".cwd", cwd, "it is no folder");
}

static void check_names(const struct options *options, size_t index, struct buf *out)
{
    const struct function_options *function = &options->jobs.functions[index];

    for (const struct job_function *ours = job_functions; ours->name; ours++) {
        if (strcmp(ours->name, function->name) == 0 || has_alias(function, ours->name))
            complain(options, index, out, "", ours->name,
                     "a function of forkmark has this name, and it is the one that runs");
    }
}

bool exec_functions_check(const struct options *options, struct buf *complaints)
{
    struct arena *arena = arena_new(0);
    size_t before = complaints->length;

    for (size_t i = 0; i < options->jobs.function_count; i++) {
        check_names(options, i, complaints);
        check_program(options, i, arena, complaints);
        check_folder(options, i, complaints);
    }
    arena_free(arena);
    return complaints->length == before;
}

void exec_functions_warn(const struct options *options)
{
    struct buf complaints = BUF_HEAP;

    if (!exec_functions_check(options, &complaints)) {
        for (char *save = NULL, *line = strtok_r(complaints.data, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save))
            log_warn("%s", line);
    }
    buf_done(&complaints);
}
