/*
 * conf_functions.c - commands as job functions: jobs.functions.<label> { command ... }.
 *
 * A function's fields are rows as those of options.c, of struct function_options; so
 * they are parsed, checked, shown and explained by the same code. The label is only
 * the group's name in the file, since RQ's names hold dots and libconfig's cannot.
 */
#include "common/conf_internal.h"
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MOST_FUNCTIONS 256
#define LONGEST_LABEL  63
#define MOST_INTERVALS 4   /* as in jobs/functions.h */
#define LONGEST_NAME   512 /* of a job function, see jobs/rq/payload.c */
#define AT(member)     .field = offsetof(struct function_options, member)

static const char *check_name(const char *text)
{
    if (!*text || strlen(text) > LONGEST_NAME)
        return "must have 1 to 512 characters";
    for (; *text; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return "may hold no blanks and no control characters";
    }
    return NULL;
}

static const char *check_folder(const char *text)
{
    return !*text || *text == '/' ? NULL : "must be a full path, such as \"/srv/work\"";
}

static const char *check_interval(const char *text)
{
    uint64_t ms;

    if (conf_parse_duration(text, &ms) && ms >= 1000 && ms <= (uint64_t)31536000 * 1000)
        return NULL;
    return "must hold times from 1s to 365d, such as [ \"10s\", \"5m\" ]";
}

static const char *check_variable(const char *text)
{
    size_t length = strcspn(text, "=");

    if (length == 0 || isdigit((unsigned char)*text))
        return "must hold \"NAME=value\", or \"NAME\" to hand the server's on";
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return "must hold \"NAME=value\", or \"NAME\" to hand the server's on";
    }
    return NULL;
}

/* "int width, text? url": what job_args_check() of jobs/functions.c reads. */
static const char *check_args(const char *text)
{
    static const char wrong[] =
        "must be written as \"int width, text? url\", with the types int, number, text "
        "and any";
    static const char *const types[] = { "int", "number", "text", "any" };

    while (*text) {
        char type[16], name[48];
        int used = 0;
        bool is_known = false;

        if (sscanf(text, " %15[a-z]%n", type, &used) != 1)
            return wrong;
        text += used;
        text += *text == '?';
        if (sscanf(text, " %47[a-z_0-9]%n", name, &used) != 1 || *text != ' ')
            return wrong;
        text += used;
        for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
            is_known |= strcmp(types[i], type) == 0;
        if (!is_known || (*text && *text != ',') || (*text == ',' && !text[1]))
            return wrong;
        text += *text == ',';
    }
    return NULL;
}

/* In the order of struct function_options. */
const struct conf_key conf_function_fields[] = {
    { .path = "name",
      .type = CONF_TEXT,
      AT(name),
      .def = "",
      .check = check_name,
      .help = "what jobs call it: \"team.resize\"; without one, the group's own name" },
    { .path = "aliases",
      .type = CONF_LIST,
      AT(aliases),
      .def = "",
      .check = check_name,
      .help = "further names of it" },
    { .path = "command",
      .type = CONF_WORDS,
      AT(command),
      .def = "",
      .help =
          "program and arguments, [ \"/usr/bin/resize\", \"--json\" ]; no shell reads "
          "them; required" },
    { .path = "args",
      .type = CONF_TEXT,
      AT(args),
      .def = "",
      .check = check_args,
      .help =
          "arguments checked before it starts: \"int width, text? url\"; empty: any" },
    { .path = "timeout",
      .type = CONF_SECONDS,
      AT(timeout),
      .def = "0",
      .min = 0,
      .max = 31536000,
      .help = "time limit of the command besides the job's own; 0: only that" },
    { .path = "retries",
      .type = CONF_INT,
      AT(retries),
      .def = "0",
      .min = 0,
      .max = 1000,
      .help = "retries of jobs that forkmark itself enqueues" },
    { .path = "retry_intervals",
      .type = CONF_LIST,
      AT(retry_intervals),
      .def = "",
      .check = check_interval,
      .help = "how long before each of them" },
    { .path = "kill_after",
      .type = CONF_SECONDS,
      AT(kill_after),
      .def = "5",
      .min = 0,
      .max = 30,
      .help = "from SIGTERM to SIGKILL when it must stop; 0: SIGKILL at once" },
    { .path = "output_limit",
      .type = CONF_BYTES,
      AT(output_limit),
      .def = "1M",
      .min = 1,
      .max = 67108864,
      .help = "longest standard output; past it the command is stopped" },
    { .path = "cwd",
      .type = CONF_TEXT,
      AT(cwd),
      .def = "",
      .check = check_folder,
      .help = "folder it runs in; empty: the server's" },
    { .path = "environment",
      .type = CONF_VARIABLES,
      AT(environment),
      .def = "",
      .check = check_variable,
      .help = "variables besides PATH, HOME, LANG and the like: \"NAME=value\", or "
              "\"NAME\" to hand the server's on" },
    { .path = NULL },
};

static bool is_label(const char *label, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)label[i]) && label[i] != '_' && label[i] != '-')
            return false;
    }
    return length > 0 && length <= LONGEST_LABEL;
}

/* Everybody's first: room for all, since others hold pointers to them. */
static void make_room(struct options *options)
{
    static uint64_t last_id;

    options->jobs.functions_id = ++last_id;
    options->jobs.functions = arena_array(options->state->arena, MOST_FUNCTIONS,
                                          sizeof(*options->jobs.functions));
}

static struct function_options *add_function(const struct conf_context *context,
                                             const char *label, size_t length)
{
    struct options *options = context->options;
    struct arena *arena = options->state->arena;

    if (!options->jobs.functions)
        make_room(options);
    struct function_options *function =
        &options->jobs.functions[options->jobs.function_count++];
    *function = (struct function_options){ .label = arena_strndup(arena, label, length),
                                           .where = arena_strdup(arena, context->where),
                                           .origin = (int)context->origin };
    for (const struct conf_key *field = conf_function_fields; field->path; field++)
        conf_field_parse(arena, function, field, field->def);
    function->name = function->label; /* whose default is no name yet */
    return function;
}

/* Finds or makes the one of that path; NULL after a complaint. */
static struct function_options *function_of(const struct conf_context *context,
                                            const char *path)
{
    const struct options *options = context->options;
    const char *label = path + strlen(CONF_FUNCTION_PREFIX);
    size_t length = strcspn(label, ".");

    if (!is_label(label, length)) {
        conf_complain(context,
                      "`%s`: a function's group is named by 1 to %d letters, digits, _ "
                      "and -; what jobs call it stands in its `name`",
                      path, LONGEST_LABEL);
        return NULL;
    }
    for (size_t i = 0; i < options->jobs.function_count; i++) {
        const char *known = options->jobs.functions[i].label;

        if (strlen(known) == length && strncmp(known, label, length) == 0)
            return &options->jobs.functions[i];
    }
    if (options->jobs.function_count == MOST_FUNCTIONS) {
        conf_complain(context, "`%s` is one function too many: at most %d", path,
                      MOST_FUNCTIONS);
        return NULL;
    }
    return add_function(context, label, length);
}

bool conf_function_declare(const struct conf_context *context, const char *path)
{
    return function_of(context, path) != NULL;
}

bool conf_function_apply(const struct conf_context *context, const char *path,
                         const char *text)
{
    struct arena *arena = context->options->state->arena;
    const char *dot = strchr(path + strlen(CONF_FUNCTION_PREFIX), '.');

    if (!dot) {
        conf_complain(context, "`%s` needs a function's group and one of its options",
                      path);
        return false;
    }
    struct function_options *function = function_of(context, path);
    if (!function)
        return false;
    const struct conf_key *field = conf_find_field(conf_function_fields, dot + 1);
    const char *error = field ? conf_field_parse(arena, function, field, text)
                              : conf_unknown_field(arena, path);
    if (!error)
        return true;
    /* Variables may be secrets, which are not repeated in errors. */
    if (!field || field->type == CONF_VARIABLES)
        conf_complain(context, "`%s` %s", path, error);
    else
        conf_complain_of_value(context, path, text, error);
    return false;
}

/* ---- the whole ---- */

static bool has_name(const struct function_options *function, const char *name)
{
    if (strcmp(function->name, name) == 0)
        return true;
    for (size_t i = 0; i < function->aliases.count; i++) {
        if (strcmp(function->aliases.items[i], name) == 0)
            return true;
    }
    return false;
}

static void refuse_second(const struct conf_context *context, size_t index,
                          const char *name)
{
    const struct options *options = context->options;

    for (size_t i = 0; i < index; i++) {
        if (has_name(&options->jobs.functions[i], name))
            conf_complain(context,
                          "`" CONF_FUNCTION_PREFIX "%s`: the name `%s` is that of "
                          "`" CONF_FUNCTION_PREFIX "%s` already",
                          options->jobs.functions[index].label, name,
                          options->jobs.functions[i].label);
    }
}

void conf_functions_settle(const struct conf_context *context)
{
    const struct options *options = context->options;

    for (size_t i = 0; i < options->jobs.function_count; i++) {
        const struct function_options *function = &options->jobs.functions[i];
        struct conf_context here = *context;

        here.where = function->where;
        if (function->command.count == 0 || !*function->command.items[0])
            conf_complain(&here, "`" CONF_FUNCTION_PREFIX "%s` names no command",
                          function->label);
        if (function->retry_intervals.count > MOST_INTERVALS)
            conf_complain(&here,
                          "`" CONF_FUNCTION_PREFIX "%s` has more than %d retry_intervals",
                          function->label, MOST_INTERVALS);
        refuse_second(&here, i, function->name);
        for (size_t a = 0; a < function->aliases.count; a++)
            refuse_second(&here, i, function->aliases.items[a]);
    }
}
