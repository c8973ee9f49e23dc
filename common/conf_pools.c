/*
 * conf_pools.c - the consumer pools: jobs.pools.<name> { consumers, queues, user ... }.
 */
#include "common/buf.h"
#include "common/conf_internal.h"
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define POOL_PREFIX "jobs.pools."
#define MOST_POOLS  64

static const char *const strategy_words[] = { "default", "round_robin", "random", NULL };

#define AT(member) .field = offsetof(struct pool_options, member)

/* In the order in which they are shown. */
const struct conf_key conf_pool_fields[] = {
    { .path = "consumers", .type = CONF_COUNT, AT(consumers), .def = "1" },
    { .path = "queues", .type = CONF_LIST, AT(queues), .def = "high,default,low" },
    { .path = "strategy",
      .type = CONF_ENUM,
      AT(strategy),
      .def = "default",
      .words = strategy_words },
    { .path = "burst", .type = CONF_BOOL, AT(burst), .def = "false" },
    { .path = "max_jobs",
      .type = CONF_INT,
      AT(max_jobs),
      .def = "0",
      .min = 0,
      .max = 1000000000 },
    { .path = "max_idle_time",
      .type = CONF_SECONDS,
      AT(max_idle_time),
      .def = "0",
      .min = 0,
      .max = 31536000 },
    { .path = "user", .type = CONF_TEXT, AT(user), .def = "" },
    { .path = "group", .type = CONF_TEXT, AT(group), .def = "" },
    { .path = NULL },
};

bool conf_pool_path(const char *path, char name[32], const char **ret_field)
{
    if (strncmp(path, POOL_PREFIX, strlen(POOL_PREFIX)) != 0)
        return false;
    const char *start = path + strlen(POOL_PREFIX);
    const char *dot = strchr(start, '.');
    if (!dot || dot == start || dot - start > 31)
        return false;
    snprintf(name, 32, "%.*s", (int)(dot - start), start);
    *ret_field = dot + 1;
    return true;
}

struct pool_options *options_pool(const struct options *options, const char *name)
{
    for (size_t i = 0; options && i < options->jobs.pool_count; i++) {
        if (strcmp(options->jobs.pools[i].name, name) == 0)
            return &options->jobs.pools[i];
    }
    return NULL;
}

static struct pool_options *add_pool(struct options *options, const char *name)
{
    struct arena *arena = options->state->arena;

    if (options->jobs.pool_count == MOST_POOLS)
        return NULL;
    if (!options->jobs.pools)
        options->jobs.pools =
            arena_array(arena, MOST_POOLS, sizeof(*options->jobs.pools));
    struct pool_options *pool = &options->jobs.pools[options->jobs.pool_count++];
    *pool = (struct pool_options){ .name = arena_strdup(arena, name),
                                   .account_where = arena_strdup(arena, "") };
    for (const struct conf_key *field = conf_pool_fields; field->path; field++)
        conf_field_parse(arena, pool, field, field->def);
    return pool;
}

void conf_pools_begin(const struct conf_context *context)
{
    struct conf_state *state = context->options->state;

    state->pools_source =
        (struct conf_source){ context->origin,
                              arena_strdup(state->arena, context->where) };
    if (!state->pools_are_built_in)
        return;
    state->pools_are_built_in = false;
    context->options->jobs.pool_count = 0;
}

/* RQ writes queue names into keys and comma lists: some would be taken for others. */
static const char *queue_error(struct arena *arena, const struct conf_list *queues)
{
    static const char suffix[] = ":intermediate";

    if (queues->count == 0)
        return "names no queue";
    for (size_t i = 0; i < queues->count; i++) {
        const char *name = queues->items[i];
        size_t length = strlen(name);

        if (strchr(name, ',') || length > 128)
            return arena_printf(arena, "`%s` cannot be a queue's name", name);
        if (length >= sizeof(suffix) - 1 &&
            strcmp(name + length - (sizeof(suffix) - 1), suffix) == 0)
            return arena_printf(arena, "`%s` would collide with RQ's intermediate lists",
                                name);
    }
    return NULL;
}

static const char *set_pool_field(const struct conf_context *context,
                                  struct pool_options *pool, const char *path,
                                  const char *text)
{
    struct arena *arena = context->options->state->arena;
    const struct conf_key *field = conf_find_in_group(path);
    struct pool_options tried = *pool;

    if (!field)
        return conf_unknown_field(arena, path);
    const char *error = conf_field_parse(arena, &tried, field, text);
    if (!error && field->field == offsetof(struct pool_options, queues))
        error = queue_error(arena, &tried.queues);
    if (error)
        return error;
    bool is_account = field->field == offsetof(struct pool_options, user) ||
                      field->field == offsetof(struct pool_options, group);
    if (is_account && *text)
        tried.account_where = arena_strdup(arena, context->where);
    *pool = tried;
    return NULL;
}

/* Finds or makes it; NULL after a complaint. */
static struct pool_options *pool_named(const struct conf_context *context,
                                       const char *name)
{
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-') {
            conf_complain(context,
                          "`jobs.pools.%s`: a pool's name has letters, digits, _ and -",
                          name);
            return NULL;
        }
    }
    struct pool_options *pool = options_pool(context->options, name);
    if (!pool)
        pool = add_pool(context->options, name);
    if (!pool)
        conf_complain(context, "`jobs.pools.%s` is one pool too many: at most %d", name,
                      MOST_POOLS);
    return pool;
}

static void complain_of_name(const struct conf_context *context, const char *path)
{
    conf_complain(context, "`%s`: a pool's name has 1 to 31 characters", path);
}

bool conf_pool_declare(const struct conf_context *context, const char *path)
{
    const char *name = path + strlen(POOL_PREFIX);

    if (*name && strlen(name) <= 31)
        return pool_named(context, name) != NULL;
    complain_of_name(context, path);
    return false;
}

bool conf_pool_apply(const struct conf_context *context, const char *path,
                     const char *text)
{
    struct conf_state *state = context->options->state;
    const char *field;
    char name[32];

    if (!conf_pool_path(path, name, &field)) {
        complain_of_name(context, path);
        return false;
    }
    struct pool_options *pool = pool_named(context, name);
    const char *error = pool ? set_pool_field(context, pool, path, text) : NULL;
    if (error)
        conf_complain(context, "`%s` %s", path, error);
    if (!pool || error)
        return false;
    state->pools_source =
        (struct conf_source){ context->origin,
                              arena_strdup(state->arena, context->where) };
    return true;
}

/*
 * A range needs somebody who feels the load: a worker that is busy; the scheduler, which
 * counts the jobs that wait.
 */
void conf_pools_settle(const struct conf_context *context)
{
    const struct options *options = context->options;
    struct conf_context here = *context;

    if (options->server.workers.is_range &&
        conf_count_value(&options->server.workers) == 0) {
        here.where = options_source(options, conf_find("server.workers")).where;
        conf_complain(&here, "`server.workers` is a range: its `min` must be at least 1");
    }
    for (size_t i = 0; i < options->jobs.pool_count; i++) {
        const struct pool_options *pool = &options->jobs.pools[i];

        if (!pool->consumers.is_range || options->jobs.scheduler)
            continue;
        here.where = options->state->pools_source.where;
        conf_complain(&here,
                      "`jobs.pools.%s.consumers` is a range, but jobs.scheduler is off, "
                      "and nobody counts the jobs that wait",
                      pool->name);
    }
}

struct conf_source options_pools_source(const struct options *options)
{
    return options->state->pools_source;
}

bool options_same_pool(const struct pool_options *a, const struct pool_options *b)
{
    struct buf one = BUF_HEAP, other = BUF_HEAP;

    buf_addc(&one, '=');
    buf_addc(&other, '=');
    for (const struct conf_key *field = conf_pool_fields; field->path; field++) {
        if (field->field == offsetof(struct pool_options, consumers))
            continue;
        conf_field_write(a, field, &one);
        buf_addc(&one, '\n');
        conf_field_write(b, field, &other);
        buf_addc(&other, '\n');
    }
    bool is_same = strcmp(buf_text(&one), buf_text(&other)) == 0;
    buf_done(&one);
    buf_done(&other);
    return is_same;
}

bool options_same_pools(const struct options *a, const struct options *b)
{
    if (a->jobs.pool_count != b->jobs.pool_count)
        return false;
    for (size_t i = 0; i < a->jobs.pool_count; i++) {
        const struct pool_options *one = &a->jobs.pools[i], *other = &b->jobs.pools[i];

        if (strcmp(one->name, other->name) != 0 || !options_same_pool(one, other))
            return false;
    }
    return true;
}
