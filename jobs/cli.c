/*
 * cli.c - `forkmark jobs`: its commands and options, and the task they run in.
 */
#include "jobs/cli.h"
#include "common/arena.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/connections.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USAGE_STATUS 2

/* Alphabetical: `jobs --help` prints them in this order. */
static const struct cli_command commands[] = {
    { .name = "cancel",
      .usage = "ID",
      .summary = "take a waiting job out of its queue",
      .help = "The job stays to be seen as canceled. One that runs is not stopped: see "
              "`stop`.",
      .least_args = 1,
      .run = cli_cancel },
    { .name = "cron",
      .usage = "[--json]",
      .summary = "jobs by the clock: schedule, last and next time",
      .help =
          "The entries of this configuration's jobs.cron. `last` is the due time that "
          "was served last, by whichever server; times are those of the entry's zone.",
      .run = cli_cron },
    { .name = "empty",
      .usage = "QUEUE",
      .summary = "delete every waiting job of a queue",
      .help = "Running, scheduled and failed jobs stay.",
      .least_args = 1,
      .run = cli_empty },
    { .name = "enqueue",
      .usage = "[--queue Q] [--id ID] [--timeout S] [--retries N] [--at-front] "
               "FUNCTION [ARG ...] [KEY=ARG ...]",
      .summary = "put a job into a queue",
      .help = "Each ARG is JSON, or else a text: 7, true, '[1, 2]', hello. The job's id "
              "is printed.",
      .least_args = 1,
      .run = cli_enqueue },
    { .name = "info",
      .usage = "[--queue Q] [--json]",
      .summary = "queues, how many jobs in each state, consumers",
      .help = "`oldest` says how long the first waiting job has waited.",
      .run = cli_info },
    { .name = "list",
      .usage = "[--queue Q] [--state STATE] [--limit N]",
      .summary = "jobs in one state",
      .help = "STATE: waiting (default), started, scheduled, deferred, failed, finished "
              "or canceled.",
      .run = cli_list },
    { .name = "requeue",
      .usage = "ID | --all [--queue Q]",
      .summary = "give failed jobs another chance",
      .run = cli_requeue },
    { .name = "resume",
      .usage = "",
      .summary = "let suspended consumers work again",
      .run = cli_resume },
    { .name = "show",
      .usage = "ID",
      .summary = "everything about one job: arguments, times, outcomes, reason",
      .least_args = 1,
      .run = cli_show },
    { .name = "stop",
      .usage = "ID",
      .summary = "stop a running job; it is not retried",
      .least_args = 1,
      .run = cli_stop },
    { .name = "suspend",
      .usage = "[SECONDS]",
      .summary = "let every consumer on this Redis pause after its job",
      .help = "Python workers too. Without SECONDS until `resume`.",
      .run = cli_suspend },
    { .name = "work",
      .usage = "[--burst] [--consumers N] [--max-jobs N] [--max-idle-time TIME] "
               "[--strategy S] [QUEUE ...]",
      .summary = "run jobs in the foreground, as `rq worker` does",
      .help = "Without QUEUE: high, default, low. With --burst it ends when they are "
              "empty.\nTERM lets running jobs finish, INT puts them back. A server need "
              "not run.",
      .run = NULL }, /* the master's: see master/work.c */
    { .name = "workers",
      .usage = "[--queue Q]",
      .summary = "who works, on what, since when",
      .run = cli_workers },
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    fputs("Usage: forkmark [OPTION ...] jobs COMMAND ...\n\n"
          "Looks into, and changes, the job queues (RQ's format; Python workers may "
          "share them).\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`forkmark jobs COMMAND --help` says more.\n", out);
}

static void print_command_help(const struct cli_command *command)
{
    printf("Usage: forkmark jobs %s %s\n\n%s.\n", command->name, command->usage,
           command->summary);
    if (command->help)
        printf("%s\n", command->help);
}

int cli_usage(struct cli *cli, const char *what)
{
    fprintf(stderr, "forkmark jobs %s: %s\nUsage: forkmark jobs %s %s\n",
            cli->command->name, what, cli->command->name, cli->command->usage);
    cli->status = USAGE_STATUS;
    return 0;
}

/* ---- options ---- */

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG };

static const struct {
    const char *name;
    enum option_kind kind;
    size_t field;
} option_table[] = {
    { "--all", OPTION_FLAG, offsetof(struct cli, is_all) },
    { "--at-front", OPTION_FLAG, offsetof(struct cli, is_at_front) },
    { "--id", OPTION_TEXT, offsetof(struct cli, id) },
    { "--json", OPTION_FLAG, offsetof(struct cli, is_json) },
    { "--limit", OPTION_NUMBER, offsetof(struct cli, limit) },
    { "--queue", OPTION_TEXT, offsetof(struct cli, queue) },
    { "--retries", OPTION_NUMBER, offsetof(struct cli, retries) },
    { "--state", OPTION_TEXT, offsetof(struct cli, state) },
    { "--timeout", OPTION_NUMBER, offsetof(struct cli, timeout_s) },
};
#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

static bool set_number(long *field, const char *text)
{
    char *end;

    errno = 0;
    *field = strtol(text, &end, 10);
    return errno == 0 && *text && !*end && *field >= 0;
}

/* One option at argv[*at]. NULL, or what is wrong with it. */
static const char *take_option(struct cli *cli, int argc, char **argv, int *at)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char *field = (char *)cli + option_table[i].field;

        if (strcmp(argv[*at], option_table[i].name) != 0)
            continue;
        if (option_table[i].kind == OPTION_FLAG) {
            *(bool *)field = true;
            return NULL;
        }
        if (*at + 1 >= argc)
            return "an option's value is missing";
        ++*at;
        if (option_table[i].kind == OPTION_TEXT)
            *(const char **)field = argv[*at];
        else if (!set_number((long *)field, argv[*at]))
            return "an option wants a whole number";
        return NULL;
    }
    return "unknown option";
}

/* Takes the options out of argv. NULL, or what is wrong. */
static const char *read_arguments(struct cli *cli, int argc, char **argv)
{
    bool only_words = false;

    cli->argv = argv;
    for (int i = 0; i < argc; i++) {
        const char *wrong = NULL;

        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && strncmp(argv[i], "--", 2) == 0)
            wrong = take_option(cli, argc, argv, &i);
        else
            cli->argv[cli->argc++] = argv[i];
        if (wrong)
            return wrong;
    }
    return NULL;
}

/* ---- running a command ---- */

static void run_command(void *arg)
{
    struct cli *cli = arg;
    int rc = cli->command->run(cli);

    if (rc < 0) {
        fprintf(stderr, "forkmark jobs %s: Redis cannot be used: %s\n",
                cli->command->name, strerror(-rc));
        cli->status = EXIT_FAILURE;
    }
}

static void command_ended(void *arg, enum task_outcome outcome)
{
    struct cli *cli = arg;

    if (outcome != TASK_DONE) {
        fprintf(stderr, "forkmark jobs %s: no answer in time\n", cli->command->name);
        cli->status = EXIT_FAILURE;
    }
    redis_free(cli->redis);
    task_stop_loop();
}

static int run_in_task(struct cli *cli)
{
    task_runtime_init();
    json_init();
    cli->redis = jobs_queue_redis(cli->options, "forkmark-jobs");
    if (!cli->redis)
        return EXIT_FAILURE;
    task_spawn(&(struct task_spec){ .name = "jobs",
                                    .run = run_command,
                                    .arg = cli,
                                    .timeout_ms = 60000,
                                    .on_end = command_ended });
    task_run_loop();
    return cli->status;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int jobs_cli(const struct options *options, int argc, char **argv)
{
    struct cli cli = { .options = options, .limit = 50 };

    if (argc < 1 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 ||
        strcmp(argv[0], "help") == 0) {
        print_help(argc < 1 ? stderr : stdout);
        return argc < 1 ? USAGE_STATUS : EXIT_SUCCESS;
    }
    cli.command = find_command(argv[0]);
    if (!cli.command) {
        fprintf(stderr, "forkmark jobs: there is no command `%s`\n\n", argv[0]);
        print_help(stderr);
        return USAGE_STATUS;
    }
    if (wants_help(argc - 1, argv + 1)) {
        print_command_help(cli.command);
        return EXIT_SUCCESS;
    }
    const char *wrong = read_arguments(&cli, argc - 1, argv + 1);
    if (!wrong && cli.argc < cli.command->least_args)
        wrong = "an argument is missing";
    if (wrong) {
        cli_usage(&cli, wrong);
        return cli.status;
    }
    return run_in_task(&cli);
}
