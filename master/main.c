/*
 * main.c - forkmark's table of contents: its sub-commands.
 *
 *   serve    the server itself                          serve.c, arbiter.c
 *   check    reads a configuration and judges it        here, common/conf.c
 *   migrate  brings a database to this schema           here, sql/migrate.c
 *   ctl      speaks to the running server               ctl.c, control.c
 *   jobs     looks into the queues, works them off      jobs/cli.c, work.c
 *   version  which program this is                      here
 */
#include "common/buf.h"
#include "common/connect.h"
#include "common/log.h"
#include "jobs/cli.h"
#include "jobs/functions/exec.h"
#include "jobs/redis_check.h"
#include "master/cli.h"
#include "master/control.h"
#include "master/ctl.h"
#include "master/health.h"
#include "master/serve.h"
#include "master/title.h"
#include "master/tls_files.h"
#include "master/upgrade.h"
#include "master/work.h"
#include "sql/migrate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int run_serve(const struct arguments *arguments)
{
    return serve(&arguments->input);
}

static void print_item(void *arg, const char *key, const char *value,
                       const struct conf_source *source)
{
    (void)arg;
    printf("%s = %s  # %s\n", key, value, source->where);
}

/* "key = value  # where it comes from", one line an option. */
static void print_values(const struct options *options)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    for (size_t i = 0; i < count; i++) {
        struct buf value = BUF_HEAP;

        options_show(options, &keys[i], &value);
        printf("%s = %s  # %s\n", keys[i].path, buf_text(&value),
               options_source(options, &keys[i]).where);
        buf_done(&value);
    }
    options_each_item(options, print_item, NULL);
}

/* An embedded one is as we make it. */
static bool check_services(const struct setup *setup)
{
    return setup->embedded[SERVICE_REDIS] || redis_check_print(setup->options);
}

/* The control socket's path. Somebody's shell may lack what the server's environment has:
 * then no service is embedded, as far as is known. */
static char *find_control(struct setup *setup)
{
    struct buf error = BUF_HEAP;

    if (!services_choose(setup->options, &setup->data, setup->embedded, &error))
        memset(setup->embedded, 0, sizeof(setup->embedded));
    buf_done(&error);
    return control_path(setup->options, &setup->data, setup_is_embedded(setup));
}

static int check_running(struct setup *setup)
{
    struct buf answer = BUF_HEAP;
    char *control = find_control(setup);
    bool is_healthy = health_ask(setup->options, control, &answer);

    fprintf(is_healthy ? stdout : stderr, "%s\n", buf_text(&answer));
    free(control);
    buf_done(&answer);
    options_free(setup->options);
    return is_healthy ? 0 : 1;
}

static bool check_tls(struct options *options)
{
    struct buf error = BUF_HEAP;
    bool is_fine = tls_files_read(options, &error);

    if (is_fine && !tls_files_check(options, &error)) {
        buf_addc(&error, '\n');
        is_fine = false;
    }
    fputs(buf_text(&error), stderr);
    buf_done(&error);
    return is_fine;
}

static int run_check(const struct arguments *arguments)
{
    struct buf text = BUF_HEAP;
    struct setup setup;

    if (arguments->reference || arguments->markdown) {
        if (arguments->reference)
            conf_write_reference(&text);
        else
            conf_write_markdown(&text);
        fputs(buf_text(&text), stdout);
        buf_done(&text);
        return 0;
    }
    setup_load(&arguments->input, &setup); /* ends with status 1 and the errors */
    if (arguments->running)
        return check_running(&setup);
    setup_choose(&setup);
    setup_check_pools(&setup);
    bool is_fine = exec_functions_check(setup.options, &text);
    fputs(buf_text(&text), stderr);
    is_fine &= check_tls(setup.options);
    is_fine &= !arguments->services || check_services(&setup);
    if (arguments->show)
        print_values(setup.options);
    else if (is_fine)
        puts("ok");
    buf_done(&text);
    options_free(setup.options);
    return is_fine ? 0 : 1;
}

static int run_migrate(const struct arguments *arguments)
{
    struct buf error = BUF_HEAP;
    struct setup setup;

    setup_load(&arguments->input, &setup);
    setup_choose(&setup);
    setup_complete(&setup);
    const struct options *options = setup.options;
    connect_pg_defaults(options);
    const char *url = *options->database.migrate_url ? options->database.migrate_url
                                                     : options->database.url;
    int count =
        arguments->contract ? migrate_contract(url, &error) : migrate_run(url, &error);
    if (count < 0)
        fprintf(stderr, "forkmark migrate: %s\n", buf_text(&error));
    else
        printf("%d migration%s applied\n", count, count == 1 ? "" : "s");
    buf_done(&error);
    options_free(setup.options);
    return count < 0 ? 1 : 0;
}

static int run_ctl(const struct arguments *arguments)
{
    struct setup setup;

    if (arguments->word_count == 0) {
        cli_help(arguments->command);
        return 2;
    }
    if (arguments->socket)
        return ctl_run(arguments->socket, (const char *const *)arguments->words,
                       arguments->json);
    setup_load(&arguments->input, &setup);
    char *path = find_control(&setup);
    int status = ctl_run(path, (const char *const *)arguments->words, arguments->json);
    free(path);
    options_free(setup.options);
    return status;
}

static bool wants_help(const struct arguments *arguments)
{
    for (size_t i = 1; i < arguments->word_count; i++) {
        if (strcmp(arguments->words[i], "--help") == 0 ||
            strcmp(arguments->words[i], "-h") == 0)
            return true;
    }
    return false;
}

static int run_jobs(const struct arguments *arguments)
{
    struct setup setup;

    if (arguments->word_count == 0) {
        cli_help(arguments->command);
        return 2;
    }
    if (strcmp(arguments->words[0], "work") == 0 && !wants_help(arguments))
        return work(arguments);
    setup_load(&arguments->input, &setup);
    setup_choose(&setup);
    setup_complete(&setup);
    int status =
        jobs_cli(setup.options, (int)arguments->word_count, (char **)arguments->words);
    options_free(setup.options);
    return status;
}

static int run_version(const struct arguments *arguments)
{
    (void)arguments;
    puts("forkmark " FORKMARK_VERSION);
    return 0;
}

static void take_show(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->show = true;
}

static void take_services(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->services = true;
}

static void take_running(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->running = true;
}

static void take_reference(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->reference = true;
}

static void take_markdown(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->markdown = true;
}

static void take_json(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->json = true;
}

static void take_socket(struct arguments *arguments, const char *text)
{
    arguments->socket = text;
}

static void take_contract(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->contract = true;
}

static const struct cli_option migrate_options[] = {
    { 0, "contract", NULL,
      "also take away what older programs use: none of them runs any more",
      take_contract },
    { 0 },
};

static const struct cli_option check_options[] = {
    { 0, "show", NULL, "print every value and where it comes from", take_show },
    { 0, "services", NULL, "ask the queue's Redis, too, whether it suits",
      take_services },
    { 0, "running", NULL, "ask the running server whether it serves (health checks)",
      take_running },
    { 0, "reference", NULL, "print a file with every option, its default and its help",
      take_reference },
    { 0, "markdown", NULL, "the same as a table for README", take_markdown },
    { 0 },
};

static const struct cli_option ctl_options[] = {
    { 0, "json", NULL, "print the answer's data as JSON", take_json },
    { 0, "socket", "PATH", "the server's control socket, without reading a configuration",
      take_socket },
    { 0 },
};

/* In the order a newcomer meets them. */
static const struct command commands[] = {
    { .name = "serve",
      .summary = "start the server",
      .usage = "",
      .about =
          "Starts workers, job consumers and the scheduler, and supervises them until\n"
          "it is told to stop. Without DATABASE_URL and REDIS_URL it also starts a "
          "private\n"
          "PostgreSQL and Redis in its data folder (FORKMARK_DATA, default ./data).\n"
          "Started as root, everything but the master runs as server.user, or else as\n"
          "the data folder's owner, the user `forkmark` if there is one, or `nobody`.\n\n"
          "Signals: HUP reads the configuration again, TTIN and TTOU are one worker "
          "more\n"
          "and less, USR1 reopens the logs, USR2 starts a new program on the same\n"
          "sockets, WINCH drains the workers, TERM stops gracefully, INT and QUIT "
          "quickly.",
      .details = "Examples:\n"
                 "  forkmark\n"
                 "  forkmark serve --set server.workers=4 --set server.port=8080\n"
                 "  DATABASE_URL=postgresql://db/fm REDIS_URL=redis://cache forkmark\n\n"
                 "Exit status: 0 stopped as told, 1 the start could not work, 2 usage.\n",
      .run = run_serve },
    { .name = "check",
      .summary = "read the configuration and say whether it is good",
      .usage = "",
      .about =
          "Reads file, environment and --set exactly as `serve` does, and prints `ok`, "
          "or\none line for each mistake, with file and line.",
      .details = "Examples:\n"
                 "  forkmark check -c forkmark.conf\n"
                 "  forkmark check --show | grep workers\n"
                 "  forkmark check --reference > forkmark.conf\n"
                 "  forkmark check --running\n\n"
                 "Exit status: 0 good, 1 mistakes, 2 usage.\n",
      .options = check_options,
      .run = run_check },
    { .name = "migrate",
      .summary = "bring the database to this program's schema",
      .usage = "",
      .about = "Applies the migrations the database does not have yet, each in its own\n"
               "transaction. `serve` does the same at its start; any number of them may\n"
               "run at once. Those that take away what older programs use wait for\n"
               "--contract, to be said once every server runs this version.",
      .details = "Example:\n"
                 "  DATABASE_URL=postgresql://db/fm forkmark migrate\n\n"
                 "Exit status: 0 up to date, 1 it failed and says why, 2 usage.\n",
      .options = migrate_options,
      .run = run_migrate },
    { .name = "ctl",
      .summary = "look at and steer the running server",
      .usage = "COMMAND",
      .about =
          "Speaks to the server that was started with the same configuration.\n\n"
          "Commands:\n"
          "  status [--watch [TIME]] the process tree and what each process does;\n"
          "                          --watch: a table, drawn anew until Ctrl-C\n"
          "  reload [--wait]         as HUP; says what changes, or why nothing does;\n"
          "                          --wait: answers when all of it has been done\n"
          "  restart --rolling [--wait]  every process anew, one in, one out\n"
          "  scale POOL N|+N|-N [--for TIME]\n"
          "                          POOL is `web` or `jobs.NAME`; `config` for N takes\n"
          "                          the configured count again, as the end of --for "
          "does\n"
          "  drain PID               that process finishes what it has, another one\n"
          "                          takes its place\n"
          "  kill PID                the same without mercy; its stack is in the log\n"
          "  log-level LEVEL         of all processes, until the next reload\n"
          "  stop [--quick]          as TERM; --quick as QUIT\n"
          "  upgrade [--wait]        as USR2: the program as it is on the disk now, "
          "beside\n"
          "                          this one or in its place\n"
          "  upgrade --complete      beside: this one ends when the new one serves; "
          "waits\n"
          "  show config             each value and where it comes from\n"
          "  show events             starts, deaths, reloads, scalings, and why\n"
          "  show listeners          addresses, and the connections that wait there\n"
          "  show pools              the names that `scale` knows",
      .details = "Examples:\n"
                 "  forkmark ctl status\n"
                 "  forkmark ctl scale web 4 --for 30m\n"
                 "  forkmark ctl scale jobs.default +1\n\n"
                 "Exit status: 0 done, 1 refused, 2 no server answers, or usage.\n",
      .options = ctl_options,
      .takes_unknown = true,
      .run = run_ctl },
    { .name = "jobs",
      .summary = "look into the queues and change them",
      .usage = "COMMAND ...",
      .about = "Queues are in RQ's format: `rq info` and other RQ tools see the same.\n"
               "`forkmark jobs help` lists the commands.",
      .details = "Examples:\n"
                 "  forkmark jobs help\n"
                 "  forkmark jobs info\n"
                 "  forkmark jobs work --burst high default\n\n"
                 "Exit status: 0 done, 1 it failed and says why, 2 usage.\n",
      .takes_rest = true,
      .run = run_jobs },
    { .name = "version",
      .summary = "print the version",
      .usage = "",
      .about = "Prints the name and version of this program.",
      .details = "Exit status: 0.\n",
      .run = run_version },
};

int main(int argc, char **argv)
{
    static struct arguments arguments; /* a reload reads them again */

    argv = title_init(argc, argv);
    upgrade_init(argv);
    cli_parse(commands, sizeof(commands) / sizeof(commands[0]), argc, argv, &arguments);
    return arguments.command->run(&arguments);
}
