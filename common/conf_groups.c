/*
 * conf_groups.c - the groups of options whose names are the user's: jobs.pools.<name>
 * and its like. They have no rows in options.c; each has a table of the fields that
 * every one of its items has, and this file goes through all of them alike.
 */
#include "common/buf.h"
#include "common/conf_internal.h"
#include "common/log.h"
#include <string.h>

/* ---- their items, one by one ---- */

static bool pool_at(const struct options *options, size_t index, struct conf_item *ret)
{
    if (index >= options->jobs.pool_count)
        return false;
    const struct pool_options *pool = &options->jobs.pools[index];
    *ret = (struct conf_item){ pool->name, pool, options->state->pools_source };
    return true;
}

static bool queue_at(const struct options *options, size_t index, struct conf_item *ret)
{
    if (index >= options->jobs.queue_count)
        return false;
    const struct queue_options *queue = &options->jobs.queues[index];
    *ret = (struct conf_item){ queue->name, queue, options->state->queues_source };
    return true;
}

static bool cron_at(const struct options *options, size_t index, struct conf_item *ret)
{
    if (index >= options->jobs.cron_count)
        return false;
    const struct cron_options *entry = &options->jobs.cron[index];
    *ret = (struct conf_item){ entry->name,
                               entry,
                               { (enum conf_origin)entry->origin, entry->where } };
    return true;
}

static bool function_at(const struct options *options, size_t index,
                        struct conf_item *ret)
{
    if (index >= options->jobs.function_count)
        return false;
    const struct function_options *function = &options->jobs.functions[index];
    *ret = (struct conf_item){ function->label,
                               function,
                               { (enum conf_origin)function->origin, function->where } };
    return true;
}

/* Alphabetical. */
static const struct conf_group groups[] = {
    { "jobs.cron", "an entry", conf_cron_fields, cron_at, conf_cron_declare,
      conf_cron_apply },
    { "jobs.functions", "a function", conf_function_fields, function_at,
      conf_function_declare, conf_function_apply },
    { "jobs.pools", "a pool", conf_pool_fields, pool_at, conf_pool_declare,
      conf_pool_apply },
    { "jobs.queues", "a queue", conf_queue_fields, queue_at, NULL, conf_queue_apply },
};

/* ---- finding them ---- */

const struct conf_group *conf_groups(size_t *ret_count)
{
    *ret_count = sizeof(groups) / sizeof(*groups);
    return groups;
}

const struct conf_group *conf_group_of(const char *path)
{
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
        size_t length = strlen(groups[i].path);

        if (strncmp(path, groups[i].path, length) == 0 && path[length] == '.')
            return &groups[i];
    }
    return NULL;
}

const struct conf_key *conf_find_field(const struct conf_key *fields, const char *name)
{
    for (; fields->path; fields++) {
        if (strcmp(fields->path, name) == 0)
            return fields;
    }
    return NULL;
}

const struct conf_key *conf_find_in_group(const char *path)
{
    const struct conf_group *group = conf_group_of(path);

    /* A queue's name may hold dots; no field's does. */
    return group ? conf_find_field(group->fields, strrchr(path, '.') + 1) : NULL;
}

const char *conf_unknown_field(struct arena *arena, const char *path)
{
    const struct conf_group *group = conf_group_of(path);
    struct buf text = BUF_IN(arena);

    buf_addf(&text, "is unknown; %s has", group->noun);
    for (const struct conf_key *field = group->fields; field->path; field++)
        buf_addf(&text, "%s `%s`",
                 field == group->fields ? "" : (field[1].path ? "," : " and"),
                 field->path);
    return buf_text(&text);
}

/* ---- looking at them ---- */

static const struct conf_group *group_named(const char *path)
{
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
        if (strcmp(groups[i].path, path) == 0)
            return &groups[i];
    }
    fatal("there is no group `%s`", path);
}

static void print_item(const struct conf_group *group, const struct conf_item *item,
                       struct buf *out)
{
    buf_adds(out, "{ ");
    for (const struct conf_key *field = group->fields; field->path; field++) {
        buf_addf(out, "%s = ", field->path);
        conf_value_print(item->base, field, out);
        buf_adds(out, "; ");
    }
    buf_addc(out, '}');
}

void options_show_group(const struct options *options, const char *path, struct buf *out)
{
    const struct conf_group *group = group_named(path);
    struct conf_item item;

    for (size_t i = 0; group->at(options, i, &item); i++) {
        buf_addf(out, "%s.%s = ", path, item.name);
        print_item(group, &item, out);
        buf_addc(out, '\n');
    }
}

void options_each_item(const struct options *options,
                       void (*call)(void *arg, const char *key, const char *value,
                                    const struct conf_source *source),
                       void *arg)
{
    struct buf key = BUF_HEAP, value = BUF_HEAP;
    struct conf_item item;

    for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
        for (size_t i = 0; groups[g].at(options, i, &item); i++) {
            buf_clear(&key);
            buf_clear(&value);
            buf_addf(&key, "%s.%s", groups[g].path, item.name);
            print_item(&groups[g], &item, &value);
            call(arg, key.data, value.data, &item.source);
        }
    }
    buf_done(&key);
    buf_done(&value);
}

/* Written, not printed: what is not shown may differ, too. */
static void write_group(const struct options *options, const struct conf_group *group,
                        struct buf *out)
{
    struct conf_item item;

    for (size_t i = 0; group->at(options, i, &item); i++) {
        buf_addf(out, "%s\n", item.name);
        for (const struct conf_key *field = group->fields; field->path; field++) {
            conf_field_write(item.base, field, out);
            buf_addc(out, '\n');
        }
    }
}

bool options_same_group(const struct options *a, const struct options *b,
                        const char *path)
{
    const struct conf_group *group = group_named(path);
    struct buf one = BUF_HEAP, other = BUF_HEAP;

    write_group(a, group, &one);
    write_group(b, group, &other);
    bool is_same = strcmp(buf_text(&one), buf_text(&other)) == 0;
    buf_done(&one);
    buf_done(&other);
    return is_same;
}
