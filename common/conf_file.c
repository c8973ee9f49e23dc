/*
 * conf_file.c - a libconfig file, walked setting by setting into the options.
 */
#include "common/buf.h"
#include "common/conf_internal.h"
#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST_PATH 256
#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"

/* `start` is behind "${", `end` its "}". False after a complaint. */
static bool add_variable(const struct conf_context *context, struct buf *out,
                         const char *start, const char *end)
{
    char *name = arena_strndup(out->arena, start, (size_t)(end - start));
    char *fallback = strstr(name, ":-");
    const char *value;

    if (fallback) {
        *fallback = '\0';
        fallback += 2;
    }
    if (!*name || name[strspn(name, NAME_LETTERS)]) {
        conf_complain(context, "`${%s}` is no variable's name (write $${ for a plain ${)",
                      name);
        return false;
    }
    value = conf_variable(context->environ, name);
    if (!value && !fallback) {
        conf_complain(context,
                      "the variable %s is not set; set it, or write ${%s:-default}", name,
                      name);
        return false;
    }
    buf_adds(out, value && (*value || !fallback) ? value : fallback);
    return true;
}

char *conf_expand(const struct conf_context *context, const char *text)
{
    struct buf out = BUF_IN(context->options->state->arena);

    buf_reserve(&out, strlen(text));
    while (*text) {
        if (strncmp(text, "$${", 3) == 0) {
            buf_adds(&out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            const char *end = strchr(text, '}');

            if (!end) {
                conf_complain(context, "a ${ without its } (write $${ for a plain ${)");
                return NULL;
            }
            if (!add_variable(context, &out, text + 2, end))
                return NULL;
            text = end + 1;
        } else {
            buf_addc(&out, *text++);
        }
    }
    return out.data;
}

/* A scalar as the text that conf_apply() takes; NULL for groups and after complaints. */
static char *scalar_text(const struct conf_context *context,
                         const config_setting_t *setting)
{
    struct arena *arena = context->options->state->arena;

    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        return arena_printf(arena, "%d", config_setting_get_int(setting));
    case CONFIG_TYPE_INT64:
        return arena_printf(arena, "%lld", config_setting_get_int64(setting));
    case CONFIG_TYPE_FLOAT:
        return arena_printf(arena, "%.15g", config_setting_get_float(setting));
    case CONFIG_TYPE_BOOL:
        return arena_strdup(arena, config_setting_get_bool(setting) ? "true" : "false");
    case CONFIG_TYPE_STRING:
        return conf_expand(context, config_setting_get_string(setting));
    default:
        return NULL;
    }
}

static char *list_text(const struct conf_context *context, config_setting_t *setting,
                       const char *path)
{
    struct buf out = BUF_IN(context->options->state->arena);
    int count = config_setting_length(setting);

    buf_reserve(&out, 0);
    for (int i = 0; i < count; i++) {
        const config_setting_t *element = config_setting_get_elem(setting, (unsigned)i);

        if (config_setting_is_aggregate(element)) {
            conf_complain(context, "the items of `%s` must be texts", path);
            return NULL;
        }
        char *item = scalar_text(context, element);
        if (!item)
            return NULL;
        buf_addf(&out, "%s%c", item, CONF_ITEM_END);
    }
    return out.data;
}

/* { min = 2; max = 8; } as "2..8"; NULL after a complaint. */
static char *range_text(const struct conf_context *context, config_setting_t *group,
                        const char *path)
{
    static const char *const names[] = { "min", "max" };
    char *texts[2] = { NULL };

    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        int at = strcmp(name, names[0]) == 0 ? 0 : strcmp(name, names[1]) == 0 ? 1 : -1;

        if (at < 0 || config_setting_is_aggregate(setting)) {
            conf_complain(context,
                          at < 0 ? "`%s` has a `min` and a `max`, no `%s`"
                                 : "`%s`: `%s` takes one value",
                          path, name);
            return NULL;
        }
        texts[at] = scalar_text(context, setting);
    }
    if (texts[0] && texts[1])
        return arena_printf(context->options->state->arena, "%s..%s", texts[0], texts[1]);
    conf_complain(context, "`%s` is a range without its `%s`", path,
                  names[texts[0] ? 1 : 0]);
    return NULL;
}

static void walk(struct conf_context *context, const char *file, config_setting_t *group,
                 const char *prefix);

static void take_group(struct conf_context *context, const char *file,
                       config_setting_t *setting, const char *path)
{
    const struct conf_group *of = conf_group_of(path);
    const struct conf_key *key = conf_find(path);

    if (!key)
        key = conf_find_in_group(path);
    if (key && key->type == CONF_COUNT) {
        const char *range = range_text(context, setting, path);

        if (range)
            conf_apply(context, path, range);
        return;
    }
    if (!conf_is_group(path)) {
        if (conf_find(path))
            conf_complain(context, "`%s` is an option and takes a value, not a group",
                          path);
        else
            conf_complain(context, "unknown group `%s`%s", path,
                          conf_nearest_group(context->options->state->arena, path));
        return;
    }
    if (strcmp(path, "jobs.pools") == 0)
        conf_pools_begin(context);
    else if (of && of->declare && !of->declare(context, path))
        return;
    walk(context, file, setting, path);
}

/* A value in a form that its option cannot mean, whatever the value. */
static const char *shape_error(const struct conf_key *key,
                               const config_setting_t *setting)
{
    bool is_many = config_setting_is_aggregate(setting);
    bool is_text = config_setting_type(setting) == CONFIG_TYPE_STRING;

    if (is_many && !conf_is_list(key))
        return "takes one value, not a list";
    if (!is_many && !is_text && (key->type == CONF_TEXT || key->type == CONF_SECRET))
        return "is a text: write it in double quotes";
    return NULL;
}

static void take_setting(struct conf_context *context, const char *file,
                         config_setting_t *setting, const char *path)
{
    const char *source = config_setting_source_file(setting);

    context->where =
        arena_printf(context->options->state->arena, "%s:%u", source ? source : file,
                     config_setting_source_line(setting));
    if (config_setting_is_group(setting)) {
        take_group(context, file, setting, path);
        return;
    }
    if (conf_is_group(path)) {
        conf_complain(context, "`%s` is a group of options: write %s: { ... };", path,
                      config_setting_name(setting));
        return;
    }
    const struct conf_key *key = conf_find(path);
    if (!key)
        key = conf_find_in_group(path);
    const char *error = key ? shape_error(key, setting) : NULL;
    if (error) {
        conf_complain(context, "`%s` %s", path, error);
        return;
    }
    char *text = config_setting_is_aggregate(setting) ? list_text(context, setting, path)
                                                      : scalar_text(context, setting);
    if (text)
        conf_apply(context, path, text);
}

static void walk(struct conf_context *context, const char *file, config_setting_t *group,
                 const char *prefix)
{
    int count = config_setting_length(group);

    for (int i = 0; i < count; i++) {
        config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        char path[LONGEST_PATH];

        snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "",
                 config_setting_name(setting));
        take_setting(context, file, setting, path);
    }
}

/* One line of a file, without its blanks; "" when there is none. */
static char *line_of(struct arena *arena, const char *path, int number)
{
    char text[200] = "";
    FILE *file = fopen(path, "r");

    if (!file)
        return arena_strdup(arena, "");
    for (int at = 1; at <= number && fgets(text, sizeof(text), file);)
        at += strchr(text, '\n') != NULL;
    fclose(file);
    size_t length = strcspn(text, "\r\n");
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    return arena_strdup(arena, text + strspn(text, " \t"));
}

/* The parser notices a missing sign only at what follows it, so the line is shown. */
static void complain_of_syntax(struct conf_context *context, const char *path,
                               const config_t *config)
{
    struct arena *arena = context->options->state->arena;
    const char *file = config_error_file(config) ? config_error_file(config) : path;
    int line = config_error_line(config);
    const char *text = line_of(arena, file, line);

    context->where = arena_printf(arena, "%s:%d", file, line);
    conf_complain(context, "%s%s%s%s", config_error_text(config),
                  *text ? " in or just before `" : "", text, *text ? "`" : "");
}

/* libconfig calls a missing file a "file I/O error", and a folder ends the process. */
static const char *file_error(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        return strerror(errno);
    return S_ISDIR(status.st_mode) ? "it is a folder" : NULL;
}

bool conf_file_read(struct conf_context *context, const char *path)
{
    const char *error = file_error(path);
    config_t config;
    bool is_read;

    if (error) {
        context->where = path;
        conf_complain(context, "cannot read the configuration file: %s", error);
        return false;
    }
    config_init(&config);
    is_read = config_read_file(&config, path);
    if (is_read)
        walk(context, path, config_root_setting(&config), "");
    else
        complain_of_syntax(context, path, &config);
    config_destroy(&config);
    return is_read;
}
