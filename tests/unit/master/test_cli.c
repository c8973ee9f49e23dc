/*
 * test_cli.c - command lines as people type them.
 */
#include "tests/unit/testing.h"

#include "master/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void take_json(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->json = true;
}

static const struct cli_option own_options[] = { { 0, "json", NULL, "", take_json },
                                                 { 0 } };

static int run(const struct arguments *arguments)
{
    (void)arguments;
    return 0;
}

static const struct command commands[] = {
    { "serve", "", "", "", "", NULL, false, false, run },
    { "ctl", "", "", "", "", own_options, false, true, run },
    { "jobs", "", "", "", "", NULL, true, false, run },
    { "version", "", "", "", "", NULL, false, false, run },
};

#define MOST_WORDS 8

static int parse(const char *const *words, struct arguments *ret)
{
    static char copies[MOST_WORDS + 1][64];
    char *argv[MOST_WORDS + 2] = { copies[0] };
    int argc = 1;

    snprintf(copies[0], sizeof(copies[0]), "forkmark");
    for (; words[argc - 1]; argc++) {
        snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc - 1]);
        argv[argc] = copies[argc];
    }
    cli_parse(commands, sizeof(commands) / sizeof(commands[0]), argc, argv, ret);
    return argc;
}

static void lines_are_read(void **state)
{
    static const struct {
        const char *line[MOST_WORDS];
        const char *command, *file, *set, *words; /* the words, joined by spaces */
        bool json;
    } cases[] = {
        { { NULL }, "serve", "default.conf", NULL, "", false },
        { { "-c", "a.conf" }, "serve", "a.conf", NULL, "", false },
        { { "--config=a.conf", "serve" }, "serve", "a.conf", NULL, "", false },
        { { "serve", "--config", "a.conf", "--set", "a=b=c" },
          "serve",
          "a.conf",
          "a=b=c",
          "",
          false },
        { { "--set=a=b", "serve" }, "serve", "default.conf", "a=b", "", false },
        { { "--version" }, "version", "default.conf", NULL, "", false },
        { { "ctl", "--json", "status" }, "ctl", "default.conf", NULL, "status", true },
        { { "ctl", "stop", "--quick" },
          "ctl",
          "default.conf",
          NULL,
          "stop --quick",
          false },
        { { "ctl", "scale", "web", "-1" },
          "ctl",
          "default.conf",
          NULL,
          "scale web -1",
          false },
        { { "jobs", "-c", "x", "list", "-c", "--json" },
          "jobs",
          "x",
          NULL,
          "list -c --json",
          false },
    };
    (void)state;

    setenv("FORKMARK_CONFIG", "default.conf", 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct arguments arguments;
        char words[256] = "";

        parse(cases[i].line, &arguments);
        assert_string_equal(arguments.command->name, cases[i].command);
        assert_string_equal(arguments.input.file, cases[i].file);
        if (cases[i].set)
            assert_string_equal(arguments.input.sets[0], cases[i].set);
        else
            assert_null(arguments.input.sets[0]);
        for (size_t w = 0; w < arguments.word_count; w++) {
            size_t at = strlen(words);

            snprintf(words + at, sizeof(words) - at, "%s%s", w ? " " : "",
                     arguments.words[w]);
        }
        assert_string_equal(words, cases[i].words);
        assert_int_equal(arguments.json, cases[i].json);
    }
}

/* What the process says and how it ends. */
static int status_of(const char *const *line, char *said, size_t room)
{
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static struct arguments arguments;

        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        parse(line, &arguments);
        _exit(99);
    }
    close(ends[1]);
    /* In pieces: standard error is not buffered. */
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], said + length, room - 1 - length)) > 0)
        length += (size_t)got;
    said[length] = '\0';
    waitpid(pid, &status, 0);
    close(ends[0]);
    return WEXITSTATUS(status);
}

static void mistakes_and_help_end_the_process(void **state)
{
    static const struct {
        const char *line[MOST_WORDS];
        int status;
        const char *said;
    } cases[] = {
        { { "server" }, 2, "unknown command `server`" },
        { { "--quick" }, 2, "unknown option --quick" },
        { { "serve", "--quick" }, 2, "serve does not know the option --quick" },
        { { "serve", "--config" }, 2, "--config needs FILE" },
        { { "serve", "forkmark.conf" }, 2, "serve takes no `forkmark.conf`" },
        { { "--set", "workers" }, 2, "write key=value" },
        { { "--help" }, 0, "Usage: forkmark [COMMAND]" },
        { { "ctl", "--help" }, 0, "Usage: forkmark ctl" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char said[4096];

        assert_int_equal(status_of(cases[i].line, said, sizeof(said)), cases[i].status);
        if (!strstr(said, cases[i].said))
            fail_msg("%s", said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(mistakes_and_help_end_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
