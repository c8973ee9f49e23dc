/*
 * conf_cron.c - jobs enqueued by the clock: jobs.cron.<name> { schedule, function ... }.
 */
#include "common/conf_internal.h"
#include "common/cron.h"
#include "common/json.h"
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define MOST_ENTRIES 1000
#define LONGEST_NAME 64
#define MAX_ITEMS    32 /* of retry_intervals */

static const char *check_schedule(const char *text);
static const char *check_zone(const char *text);
static const char *check_queue(const char *text);
static const char *check_args(const char *text);
static const char *check_kwargs(const char *text);
static const char *check_interval(const char *text);

#define AT(member) .field = offsetof(struct cron_options, member)

/* In the order in which they are shown. */
const struct conf_key conf_cron_fields[] = {
    { .path = "schedule",
      .type = CONF_TEXT,
      AT(schedule),
      .def = "",
      .check = check_schedule },
    { .path = "zone", .type = CONF_TEXT, AT(zone), .def = "UTC", .check = check_zone },
    { .path = "function", .type = CONF_TEXT, AT(function), .def = "" },
    { .path = "args", .type = CONF_TEXT, AT(args), .def = "[]", .check = check_args },
    { .path = "kwargs",
      .type = CONF_TEXT,
      AT(kwargs),
      .def = "{}",
      .check = check_kwargs },
    { .path = "queue",
      .type = CONF_TEXT,
      AT(queue),
      .def = "default",
      .check = check_queue },
    { .path = "at_front", .type = CONF_BOOL, AT(at_front), .def = "false" },
    { .path = "timeout",
      .type = CONF_INT,
      AT(timeout),
      .def = "0",
      .min = -1,
      .max = 31536000 },
    { .path = "result_ttl",
      .type = CONF_INT,
      AT(result_ttl),
      .def = "-2",
      .min = -2,
      .max = 31536000 },
    { .path = "failure_ttl",
      .type = CONF_INT,
      AT(failure_ttl),
      .def = "-2",
      .min = -2,
      .max = 315360000 },
    { .path = "retries",
      .type = CONF_INT,
      AT(retries),
      .def = "-1",
      .min = -1,
      .max = 1000 },
    { .path = "retry_intervals",
      .type = CONF_LIST,
      AT(retry_intervals),
      .def = "",
      .check = check_interval },
    { .path = "catch_up",
      .type = CONF_SECONDS,
      AT(catch_up),
      .def = "1h",
      .min = 10,
      .max = 31536000 },
    { .path = "enabled", .type = CONF_BOOL, AT(enabled), .def = "true" },
    { .path = NULL },
};

/* ---- what the fields may hold ---- */

static const char *check_schedule(const char *text)
{
    static const char begin[] = "is no schedule: ";
    static char error[sizeof(begin) + CRON_ERROR_SIZE];
    struct cron cron;

    memcpy(error, begin, sizeof(begin));
    return cron_parse(text, &cron, error + sizeof(begin) - 1) ? NULL : error;
}

static const char *check_zone(const char *text)
{
    const char *error = NULL;
    struct zone *zone = zone_open(text, &error);

    zone_free(zone);
    return error;
}

static const char *check_queue(const char *text)
{
    return *text && !strchr(text, ',') && strlen(text) <= 128
               ? NULL
               : "is no queue's name: 1 to 128 characters without a comma";
}

static bool is_json(const char *text, cJSON_bool (*is_kind)(const cJSON *))
{
    cJSON *json = NULL;

    if (json_check(text, strlen(text), JSON_MAX_DEPTH, JSON_MAX_VALUES) == 0)
        json = cJSON_ParseWithOpts(text, NULL, true);
    bool is_right = json && is_kind(json);
    cJSON_Delete(json);
    return is_right;
}

static const char *check_args(const char *text)
{
    return is_json(text, cJSON_IsArray) ? NULL
                                        : "must be a JSON array, such as \"[1, true]\"";
}

static const char *check_kwargs(const char *text)
{
    return is_json(text, cJSON_IsObject)
               ? NULL
               : "must be a JSON object, such as \"{\\\"a\\\": 1}\"";
}

static const char *check_interval(const char *text)
{
    return *text && strlen(text) <= 8 && strspn(text, "0123456789") == strlen(text)
               ? NULL
               : "must be whole seconds";
}

/* ---- entries ---- */

static struct cron_options *find_entry(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->jobs.cron_count; i++) {
        if (strcmp(options->jobs.cron[i].name, name) == 0)
            return &options->jobs.cron[i];
    }
    return NULL;
}

static struct cron_options *add_entry(const struct conf_context *context,
                                      const char *name)
{
    struct options *options = context->options;
    struct arena *arena = options->state->arena;
    size_t count = options->jobs.cron_count;

    options->jobs.cron =
        arena_grow(arena, options->jobs.cron, count * sizeof(*options->jobs.cron),
                   (count + 1) * sizeof(*options->jobs.cron));
    struct cron_options *entry = &options->jobs.cron[options->jobs.cron_count++];
    *entry = (struct cron_options){ .name = arena_strdup(arena, name),
                                    .where = arena_strdup(arena, context->where),
                                    .origin = (int)context->origin };
    for (const struct conf_key *field = conf_cron_fields; field->path; field++) {
        struct conf_key unchecked = *field;

        unchecked.check = NULL;
        conf_field_parse(arena, entry, &unchecked, field->def);
    }
    return entry;
}

/* Found or made; NULL after a complaint. */
static struct cron_options *entry_named(const struct conf_context *context,
                                        const char *name)
{
    struct cron_options *entry = find_entry(context->options, name);
    size_t length = strlen(name);

    if (entry)
        return entry;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            length = 0;
    }
    if (length == 0 || length > LONGEST_NAME) {
        conf_complain(context,
                      "`" CONF_CRON_PREFIX "%s`: an entry's name has 1 to %d letters, "
                      "digits, _ and -",
                      name, LONGEST_NAME);
        return NULL;
    }
    if (context->options->jobs.cron_count == MOST_ENTRIES) {
        conf_complain(context, "`" CONF_CRON_PREFIX "%s` is one too many: at most %d",
                      name, MOST_ENTRIES);
        return NULL;
    }
    return add_entry(context, name);
}

bool conf_cron_declare(const struct conf_context *context, const char *path)
{
    return entry_named(context, path + strlen(CONF_CRON_PREFIX)) != NULL;
}

bool conf_cron_apply(const struct conf_context *context, const char *path,
                     const char *text)
{
    struct arena *arena = context->options->state->arena;
    const char *start = path + strlen(CONF_CRON_PREFIX);
    const char *dot = strchr(start, '.');

    if (!dot) {
        conf_complain(context, "`%s` needs an entry's name and one of its options", path);
        return false;
    }
    struct cron_options *entry =
        entry_named(context, arena_strndup(arena, start, (size_t)(dot - start)));
    if (!entry)
        return false;
    const struct conf_key *field = conf_find_field(conf_cron_fields, dot + 1);
    const char *error = field ? conf_field_parse(arena, entry, field, text) : NULL;
    if (!error && entry->retry_intervals.count > MAX_ITEMS)
        error = "has too many items: at most 32";
    if (!field)
        conf_complain(context, "`%s` %s", path, conf_unknown_field(arena, path));
    else if (error)
        conf_complain_of_value(context, path, text, error);
    entry->is_wrong |= !field || error;
    return !entry->is_wrong;
}

void conf_cron_settle(const struct conf_context *context)
{
    for (size_t i = 0; i < context->options->jobs.cron_count; i++) {
        const struct cron_options *entry = &context->options->jobs.cron[i];
        struct conf_context here = *context;

        here.where = entry->where;
        if (!*entry->schedule && !entry->is_wrong)
            conf_complain(&here,
                          "`" CONF_CRON_PREFIX "%s` has no schedule, such as \"30 3 * * "
                          "*\" or \"@daily\"",
                          entry->name);
        if (!*entry->function && !entry->is_wrong)
            conf_complain(&here,
                          "`" CONF_CRON_PREFIX "%s` has no function: what is to run?",
                          entry->name);
    }
}
