/*
 * cli.h - the command line: sub-commands and options as tables, help from the rows.
 */
#ifndef FORKMARK_MASTER_CLI_H
#define FORKMARK_MASTER_CLI_H

#include "common/conf.h"
#include <stdbool.h>
#include <stddef.h>

#define CLI_SETS_MAX  64
#define CLI_WORDS_MAX 64

/* What stands on the command line, read. */
struct arguments {
    const struct command *command;
    const char *sets[CLI_SETS_MAX + 1];
    size_t set_count;
    char *words[CLI_WORDS_MAX + 1]; /* what is no option; the command is not among them */
    size_t word_count;
    bool show, services, running, reference, markdown, json,
        contract;       /* the commands' own switches */
    const char *socket; /* ctl's */
    bool wants_help;
    struct conf_input input; /* file, environment and sets, ready for options_load() */
};

struct cli_option {
    char letter; /* 0: none */
    const char *name;
    const char *argument; /* "FILE"; NULL: a switch */
    const char *help;
    void (*take)(struct arguments *arguments, const char *text);
};

struct command {
    const char *name;
    const char *summary;              /* one line, in the list of commands */
    const char *usage;                /* what follows the name */
    const char *about;                /* a paragraph */
    const char *details;              /* examples and exit status */
    const struct cli_option *options; /* its own, ended by a row without name; or NULL */
    /* The first word ends the options: what follows belongs to the command. */
    bool takes_rest;
    /* Options it does not know are words of its own language. */
    bool takes_unknown;
    int (*run)(const struct arguments *arguments);
};

/* The options every command has. */
extern const struct cli_option cli_common_options[];

/* Without a command word it is commands[0]. Ends the process on a mistake (2). */
void cli_parse(const struct command *commands, size_t count, int argc, char **argv,
               struct arguments *ret);
void cli_help(const struct command *command);
void cli_overview(const struct command *commands, size_t count);

#endif
