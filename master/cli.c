/*
 * cli.c - see cli.h.
 */
#include "master/cli.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_CONFIG "/etc/forkmark/forkmark.conf"

_Noreturn __attribute__((format(printf, 1, 2))) static void
usage_error(const char *format, ...)
{
    va_list args;

    fputs("forkmark: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see forkmark --help\n", stderr);
    exit(2);
}

static void take_config(struct arguments *arguments, const char *text)
{
    arguments->input.file = text;
}

static void take_set(struct arguments *arguments, const char *text)
{
    if (arguments->set_count == CLI_SETS_MAX)
        usage_error("more than %d times --set; use a configuration file", CLI_SETS_MAX);
    if (!strchr(text, '='))
        usage_error("--set %s: write key=value", text);
    arguments->sets[arguments->set_count++] = text;
}

static void take_help(struct arguments *arguments, const char *text)
{
    (void)text;
    arguments->wants_help = true;
}

const struct cli_option cli_common_options[] = {
    { 'c', "config", "FILE",
      "read this configuration (default: $FORKMARK_CONFIG, " SYSTEM_CONFIG
      " if it is there)",
      take_config },
    { 0, "set", "KEY=VALUE", "set one option, over file and environment; may be repeated",
      take_set },
    { 'h', "help", NULL, "show this help", take_help },
    { 0 },
};

static const struct cli_option *find_option(const struct cli_option *options,
                                            const char *text, size_t length)
{
    for (; options && options->name; options++) {
        if (text[0] == '-' && text[1] == '-' && strlen(options->name) == length - 2 &&
            strncmp(options->name, text + 2, length - 2) == 0)
            return options;
        if (length == 2 && options->letter && text[1] == options->letter)
            return options;
    }
    return NULL;
}

/* How many arguments it was (1 or 2), or 0 when nobody knows that option. */
static int parse_option(struct arguments *arguments, char **at)
{
    const char *equals = strchr(at[0], '=');
    size_t length = equals && at[0][1] == '-' ? (size_t)(equals - at[0]) : strlen(at[0]);
    const struct cli_option *option = find_option(cli_common_options, at[0], length);

    if (!option)
        option = find_option(arguments->command->options, at[0], length);
    if (!option)
        return 0;
    if (!option->argument) {
        option->take(arguments, NULL);
        return 1;
    }
    if (at[0][length] == '=') {
        option->take(arguments, equals + 1);
        return 1;
    }
    if (!at[1])
        usage_error("%s needs %s", at[0], option->argument);
    option->take(arguments, at[1]);
    return 2;
}

static void add_word(struct arguments *arguments, char *word)
{
    if (arguments->word_count == CLI_WORDS_MAX)
        usage_error("too many arguments");
    arguments->words[arguments->word_count++] = word;
}

static const struct command *find_command(const struct command *commands, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    usage_error("unknown command `%s`", name);
}

static void choose_file(struct arguments *arguments)
{
    const char *named = getenv("FORKMARK_CONFIG");

    if (arguments->input.file)
        return;
    if (named && *named)
        arguments->input.file = named;
    else if (access(SYSTEM_CONFIG, F_OK) == 0)
        arguments->input.file = SYSTEM_CONFIG;
}

void cli_parse(const struct command *commands, size_t count, int argc, char **argv,
               struct arguments *ret)
{
    bool has_command = false;

    *ret = (struct arguments){ .command = &commands[0] };
    for (int i = 1; i < argc;) {
        int taken = argv[i][0] == '-' && argv[i][1] ? parse_option(ret, &argv[i]) : 0;

        if (taken > 0) {
            i += taken;
            continue;
        }
        if (argv[i][0] == '-' && !has_command && strcmp(argv[i], "--version") != 0)
            usage_error("unknown option %s", argv[i]);
        if (!has_command) {
            ret->command =
                find_command(commands, count, argv[i][0] == '-' ? "version" : argv[i]);
            has_command = true;
        } else if (argv[i][0] == '-' && !ret->command->takes_unknown &&
                   !ret->command->takes_rest) {
            usage_error("%s does not know the option %s", ret->command->name, argv[i]);
        } else if (!ret->command->takes_unknown && !ret->command->takes_rest) {
            /* A file without -c, as a rule: not one to go on without. */
            usage_error("%s takes no `%s`; a configuration is named by -c",
                        ret->command->name, argv[i]);
        } else {
            add_word(ret, argv[i]);
        }
        i++;
        if (ret->command->takes_rest && ret->word_count > 0)
            while (i < argc)
                add_word(ret, argv[i++]);
    }
    if (ret->wants_help) {
        if (has_command)
            cli_help(ret->command);
        else
            cli_overview(commands, count);
        exit(0);
    }
    choose_file(ret);
    ret->input.environ = environ;
    ret->input.sets = ret->sets;
}

/* Help ---------------------------------------------------------------------- */

static void print_options(const struct cli_option *options)
{
    for (; options && options->name; options++) {
        char left[48];

        snprintf(left, sizeof(left), "%c%c%s --%s%s%s", options->letter ? '-' : ' ',
                 options->letter ? options->letter : ' ', options->letter ? "," : " ",
                 options->name, options->argument ? " " : "",
                 options->argument ? options->argument : "");
        printf("  %-26s %s\n", left, options->help);
    }
}

void cli_help(const struct command *command)
{
    printf("Usage: forkmark %s [OPTIONS]%s%s\n\n%s\n\nOptions:\n", command->name,
           *command->usage ? " " : "", command->usage, command->about);
    print_options(command->options);
    print_options(cli_common_options);
    printf("\n%s", command->details);
}

void cli_overview(const struct command *commands, size_t count)
{
    printf("Usage: forkmark [COMMAND] [OPTIONS]\n\n"
           "A bookmark server whose whole stack is one process tree.\n\nCommands:\n");
    for (size_t i = 0; i < count; i++)
        printf("  %-10s %s%s\n", commands[i].name, commands[i].summary,
               i == 0 ? " (the default)" : "");
    printf("\nOptions:\n");
    print_options(cli_common_options);
    printf("      --version              same as the command\n\n"
           "`forkmark COMMAND --help` tells more about each. Every option of the server\n"
           "is in `forkmark check --reference`; it can stand in a file, in the "
           "environment,\nor behind --set.\n");
}
