/*
 * conf_file.c - a libconfig file, walked setting by setting into the options.
 */
#include "common/buf.h"
#include "common/conf_internal.h"
#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONGEST_PATH 256

char *conf_expand(const struct conf_context *context, const char *text)
{
    struct buf out = BUF_IN(context->options->state->arena);

    while (*text) {
        const char *end = strncmp(text, "${", 2) == 0 ? strchr(text, '}') : NULL;

        if (!end) {
            buf_addc(&out, *text++);
            continue;
        }
        char *name = arena_strndup(out.arena, text + 2, (size_t)(end - text - 2));
        char *fallback = strstr(name, ":-");
        if (fallback)
            *fallback = '\0';
        const char *value = getenv(name);
        if (!value && !fallback) {
            conf_complain(
                context,
                "${%s}: this variable is not set (${%s:-default} would allow it)", name,
                name);
            return NULL;
        }
        buf_adds(&out, value && *value ? value : fallback ? fallback + 2 : "");
        text = end + 1;
    }
    buf_reserve(&out, 0);
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

static char *list_text(const struct conf_context *context, config_setting_t *setting)
{
    struct buf out = BUF_IN(context->options->state->arena);
    int count = config_setting_length(setting);

    for (int i = 0; i < count; i++) {
        char *item = scalar_text(context, config_setting_get_elem(setting, (unsigned)i));

        if (!item)
            return NULL;
        buf_addf(&out, "%s%c", item, CONF_ITEM_END);
    }
    buf_reserve(&out, 0);
    return out.data;
}

/* "server" for "server.workers": may a group of this path hold options? */
static bool is_group(const char *path)
{
    size_t count, length = strlen(path);
    const struct conf_key *keys = conf_keys(&count);

    if (strcmp(path, "jobs.pools") == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(keys[i].path, path, length) == 0 && keys[i].path[length] == '.')
            return true;
    }
    return strncmp(path, "jobs.pools.", 11) == 0 && !strchr(path + 11, '.');
}

static void walk(struct conf_context *context, const char *file, config_setting_t *group,
                 const char *prefix);

static void take_setting(struct conf_context *context, const char *file,
                         config_setting_t *setting, const char *path)
{
    const char *source = config_setting_source_file(setting);

    context->where =
        arena_printf(context->options->state->arena, "%s:%u", source ? source : file,
                     config_setting_source_line(setting));
    if (config_setting_is_group(setting)) {
        if (strcmp(path, "jobs.pools") == 0)
            conf_pools_begin(context->options);
        if (is_group(path))
            walk(context, file, setting, path);
        else
            conf_complain(context,
                          conf_find(path) ? "option `%s` takes a value, not a group%s"
                                          : "unknown group `%s`%s",
                          path,
                          conf_find(path)
                              ? ""
                              : conf_nearest(context->options->state->arena, path));
        return;
    }
    if (is_group(path)) {
        conf_complain(context, "`%s` is a group: write %s: { ... };", path, path);
        return;
    }
    char *text = config_setting_is_aggregate(setting) ? list_text(context, setting)
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

bool conf_file_read(struct conf_context *context, const char *path)
{
    config_t config;
    bool is_read = false;

    /* libconfig calls a missing file "file I/O error": say it better. */
    if (access(path, R_OK) != 0) {
        context->where = path;
        conf_complain(context, "cannot read the configuration file: %s", strerror(errno));
        return false;
    }
    config_init(&config);
    if (!config_read_file(&config, path)) {
        const char *file = config_error_file(&config);

        context->where = arena_printf(context->options->state->arena, "%s:%d",
                                      file ? file : path, config_error_line(&config));
        conf_complain(context, "%s", config_error_text(&config));
    } else {
        walk(context, path, config_root_setting(&config), "");
        is_read = true;
    }
    config_destroy(&config);
    return is_read;
}
