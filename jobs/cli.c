/*
 * cli.c - `forkmark jobs`: its commands and options, and the task they run in.
 */
#include "jobs/cli.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/connections.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/queue.h"
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USAGE_STATUS 2

/* Alphabetical: `jobs --help` prints them in this order. */
static const struct cli_command commands[] = {
    { .name = "cancel",
      .usage = "[--json] ID ...",
      .summary = "take waiting jobs out of their queues",
      .help = "They stay to be seen as canceled. One that runs is not stopped: see "
              "`stop`.",
      .least_args = 1,
      .most_args = CLI_MANY,
      .run = cli_cancel },
    { .name = "cron",
      .usage = "[--json]",
      .summary = "jobs by the clock: schedule, last and next time",
      .help =
          "The entries of this configuration's jobs.cron. `last` is the due time that "
          "was served last, by whichever server; times are those of the entry's zone.",
      .run = cli_cron },
    { .name = "empty",
      .usage = "[--json] QUEUE ... | --all",
      .summary = "delete every waiting job of a queue",
      .help = "Running, scheduled, deferred and failed jobs stay.",
      .most_args = CLI_MANY,
      .run = cli_empty },
    { .name = "enqueue",
      .usage = "[--queue Q] [--at-front] [--in SECONDS] [--after ID,...]\n"
               "         [--unique KEY [--while-running]] [--id ID] [--timeout S] "
               "[--retries N]\n         [--result-ttl S] [--failure-ttl S] "
               "[--description TEXT] [--json]\n         FUNCTION [ARG ...] "
               "[KEY=ARG ...] | --lines",
      .summary = "put a job into a queue",
      .help =
          "Each ARG is JSON, or else a text: 7, true, '[1, 2]', hello. The job's id is "
          "printed.\n\n"
          "--retries  how often it is tried again when it fails; 0: never. Without it, "
          "and\n"
          "           without --timeout, as its function's entry says\n"
          "--in       in so many seconds (a scheduler must run for the queue)\n"
          "--after    when these jobs are finished\n"
          "--unique   not if a job of this KEY waits already: its id is printed then;\n"
          "           with --while-running, nor while it runs\n"
          "--lines    reads jobs from the standard input, one JSON object a line:\n"
          "           {\"function\": ..., \"args\": [...], \"kwargs\": {...}, "
          "\"id\": ..., \"queue\": ...,\n"
          "           \"unique\": ..., \"description\": ..., \"in\": ..., "
          "\"timeout\": ..., \"retries\": ...,\n           \"at_front\": ...}; "
          "what is absent is as the options say. All of up to\n"
          "           1000 are queued in one step, or none.",
      .most_args = CLI_MANY,
      .run = cli_enqueue },
    { .name = "info",
      .usage = "[--queue Q] [--watch [SECONDS]] [--json]",
      .summary = "queues, how many jobs in each state, consumers, rates",
      .help =
          "`oldest` is how long the job that waits longest has waited.\n"
          "--watch looks again every 2 seconds, in place on a terminal; with --json a "
          "line a look.",
      .run = cli_info },
    { .name = "list",
      .usage = "[--queue Q] [--state STATE] [--limit N] [--json]",
      .summary = "jobs in one state",
      .help =
          "STATE: waiting (default), started, scheduled, deferred, failed, finished "
          "or canceled.\nThose that failed, finished or were canceled last come first; "
          "50 unless --limit says more.",
      .run = cli_list },
    { .name = "requeue",
      .usage = "[--json] ID ... | --all [--queue Q]",
      .summary = "give failed jobs another chance",
      .most_args = CLI_MANY,
      .run = cli_requeue },
    { .name = "resume",
      .usage = "",
      .summary = "let suspended consumers work again",
      .run = cli_resume },
    { .name = "show",
      .usage = "[--json] ID",
      .summary = "everything about one job: arguments, times, outcomes, reason",
      .least_args = 1,
      .most_args = 1,
      .run = cli_show },
    { .name = "stop",
      .usage = "[--json] ID ...",
      .summary = "stop running jobs; they are not retried",
      .help = "Waits up to 10 seconds for the word of their workers.",
      .least_args = 1,
      .most_args = CLI_MANY,
      .run = cli_stop },
    { .name = "suspend",
      .usage = "[SECONDS]",
      .summary = "let every consumer on this Redis pause after its job",
      .help = "Python workers too. Without SECONDS until `resume`.",
      .most_args = 1,
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
      .usage = "[--queue Q] [--json]",
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
    fputs("\n`forkmark jobs COMMAND --help` says more. The exit status is 0, 1 when "
          "something\ncould not be done, 2 when the call was wrong.\n",
          out);
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

void cli_fail(struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "forkmark jobs %s: %s\n", cli->command->name,
            cli_clean(arena_vprintf(task_arena(), format, args)));
    va_end(args);
    cli->status = EXIT_FAILURE;
}

/* ---- options ---- */

enum option_kind {
    OPTION_TEXT,
    OPTION_NUMBER,
    OPTION_TIMEOUT, /* -1: none */
    OPTION_TTL,     /* -1 is a value, and so is 0: a flag tells that it was given */
    OPTION_FLAG,
    OPTION_WATCH /* its value may be left out */
};

#define DEFAULT_WATCH_S 2
#define LEAST_WATCH_S   0.1

/* Alphabetical. */
static const struct option {
    const char *name;
    enum option_kind kind;
    size_t field;
    size_t given; /* of OPTION_TTL */
} option_table[] = {
    { "--after", OPTION_TEXT, offsetof(struct cli, after), 0 },
    { "--all", OPTION_FLAG, offsetof(struct cli, is_all), 0 },
    { "--at-front", OPTION_FLAG, offsetof(struct cli, is_at_front), 0 },
    { "--description", OPTION_TEXT, offsetof(struct cli, description), 0 },
    { "--failure-ttl", OPTION_TTL, offsetof(struct cli, failure_ttl_s),
      offsetof(struct cli, has_failure_ttl) },
    { "--id", OPTION_TEXT, offsetof(struct cli, id), 0 },
    { "--in", OPTION_NUMBER, offsetof(struct cli, delay_s), 0 },
    { "--json", OPTION_FLAG, offsetof(struct cli, is_json), 0 },
    { "--limit", OPTION_NUMBER, offsetof(struct cli, limit), 0 },
    { "--lines", OPTION_FLAG, offsetof(struct cli, is_lines), 0 },
    { "--queue", OPTION_TEXT, offsetof(struct cli, queue), 0 },
    { "--result-ttl", OPTION_TTL, offsetof(struct cli, result_ttl_s),
      offsetof(struct cli, has_result_ttl) },
    { "--retries", OPTION_NUMBER, offsetof(struct cli, retries), 0 },
    { "--state", OPTION_TEXT, offsetof(struct cli, state), 0 },
    { "--timeout", OPTION_TIMEOUT, offsetof(struct cli, timeout_s), 0 },
    { "--unique", OPTION_TEXT, offsetof(struct cli, unique), 0 },
    { "--watch", OPTION_WATCH, offsetof(struct cli, watch_s), 0 },
    { "--while-running", OPTION_FLAG, offsetof(struct cli, is_while_running), 0 },
};
#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

static bool set_number(long *field, const char *text, long least)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end || value < least || value > INT32_MAX)
        return false;
    *field = value;
    return true;
}

static bool set_seconds(double *field, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= LEAST_WATCH_S && value <= 86400))
        return false;
    *field = value;
    return true;
}

/* NULL, or what is wrong with the value. */
static const char *set_option(struct cli *cli, const struct option *option,
                              const char *value)
{
    char *field = (char *)cli + option->field;

    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)field = value;
        return *value ? NULL : "an option's value is empty";
    case OPTION_NUMBER:
        return set_number((long *)field, value, 0) ? NULL
                                                   : "an option wants a whole number";
    case OPTION_TTL:
        *((bool *)cli + option->given) = true;
        return set_number((long *)field, value, -1)
                   ? NULL
                   : "a TTL is whole seconds; 0 is not at all, -1 for ever";
    case OPTION_TIMEOUT:
        return set_number((long *)field, value, -1) && *(long *)field != 0
                   ? NULL
                   : "a timeout is whole seconds, 1 or more; -1 is no limit";
    case OPTION_WATCH:
        return set_seconds((double *)field, value) ? NULL
                                                   : "--watch wants seconds, 0.1 or more";
    case OPTION_FLAG:
        break;
    }
    return "an option takes no value";
}

/* A row whose name is the word's, up to its end or "=", and that the command has. */
static const struct option *find_option(const struct cli *cli, const char *word)
{
    size_t length = strcspn(word, "=");

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];

        if (strlen(option->name) == length && strncmp(word, option->name, length) == 0)
            return strstr(cli->command->usage, option->name) ? option : NULL;
    }
    return NULL;
}

/* One option at argv[*at]. NULL, or what is wrong with it. */
static const char *take_option(struct cli *cli, int argc, char **argv, int *at)
{
    const struct option *option = find_option(cli, argv[*at]);
    const char *value = strchr(argv[*at], '=');

    if (!option) {
        snprintf(cli->wrong, sizeof(cli->wrong), "there is no option %s here", argv[*at]);
        return cli->wrong;
    }
    if (value)
        return set_option(cli, option, value + 1);
    if (option->kind == OPTION_FLAG) {
        *((bool *)cli + option->field) = true;
        return NULL;
    }
    if (option->kind == OPTION_WATCH &&
        (*at + 1 >= argc || !strchr("0123456789.", argv[*at + 1][0]))) {
        cli->watch_s = DEFAULT_WATCH_S;
        return NULL;
    }
    if (*at + 1 >= argc)
        return "an option's value is missing";
    return set_option(cli, option, argv[++*at]);
}

/* Takes the options out of argv. NULL, or what is wrong. */
static const char *read_arguments(struct cli *cli, int argc, char **argv)
{
    const struct cli_command *command = cli->command;
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
    if (cli->argc < command->least_args)
        return "an argument is missing";
    if (cli->argc > command->most_args)
        return "an argument too many";
    return NULL;
}

/* ---- running a command ---- */

static void print(const struct cli *cli)
{
    const struct buf *out = cli->paper.out;

    fwrite(buf_text(out), 1, out->length, stdout);
    fflush(stdout);
}

/* What the client logs beside it says more. */
static void say_redis_is_away(struct cli *cli, int rc)
{
    const char *why = rc == -EAGAIN      ? "there is no connection"
                      : rc == -ETIMEDOUT ? "it does not answer"
                      : rc == -EPROTO    ? "it refuses a command"
                                         : strerror(-rc);

    fprintf(stderr, "forkmark jobs %s: Redis cannot be used: %s%s\n", cli->command->name,
            why, cli->watch_s > 0 ? "; trying on" : "");
    cli->status = EXIT_FAILURE;
}

/* One look; with --watch there is a task for each, so that no memory piles up. */
static void run_command(void *arg)
{
    struct cli *cli = arg;
    struct buf *out = arena_alloc(task_arena(), sizeof(*out));

    out->arena = task_arena();
    cli_paper_init(&cli->paper, out);
    int rc = cli->command->run(cli);
    if (rc < 0)
        say_redis_is_away(cli, rc);
    else
        print(cli);
    if (cli->watch_s > 0 && cli->status != USAGE_STATUS) {
        cli->status = EXIT_SUCCESS;
        task_sleep((uint64_t)(cli->watch_s * 1000));
    }
}

static void command_ended(void *arg, enum task_outcome outcome);

static void start_command(struct cli *cli)
{
    uint64_t pause = (uint64_t)(cli->watch_s * 1000);

    task_spawn(&(struct task_spec){ .name = "jobs",
                                    .run = run_command,
                                    .arg = cli,
                                    .timeout_ms = 60000 + pause,
                                    .on_end = command_ended });
}

static void command_ended(void *arg, enum task_outcome outcome)
{
    struct cli *cli = arg;

    if (outcome != TASK_DONE) {
        fprintf(stderr, "forkmark jobs %s: no answer in time\n", cli->command->name);
        cli->status = EXIT_FAILURE;
    }
    if (cli->watch_s > 0 && cli->status != USAGE_STATUS && !ferror(stdout)) {
        start_command(cli);
        return;
    }
    redis_free(cli->redis);
    task_stop_loop();
}

static int run_in_task(struct cli *cli)
{
    task_runtime_init();
    json_init();
    payload_configure(cli->options->jobs.serializer, cli->options->jobs.payload_limit);
    cli->redis = jobs_queue_redis(cli->options, "forkmark-jobs", NULL);
    if (!cli->redis)
        return EXIT_FAILURE;
    start_command(cli);
    task_run_loop();
    cli_forget_looks(cli);
    return cli->status;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
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
    struct cli cli = { .options = options, .limit = 50, .retries = JOB_RETRIES_OPEN };

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
    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of characters */
    const char *wrong = read_arguments(&cli, argc - 1, argv + 1);
    if (wrong) {
        cli_usage(&cli, wrong);
        return cli.status;
    }
    return run_in_task(&cli);
}
