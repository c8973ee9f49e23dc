/*
 * conf.c - loads a whole configuration: layers, origins, errors.
 */
#include "common/conf.h"
#include "common/buf.h"
#include "common/conf_internal.h"
#include "common/log.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A parser that does not come back is a failed reload, not a stuck master. */
#define CHILD_TIMEOUT_MS 10000

void conf_complain(const struct conf_context *context, const char *format, ...)
{
    va_list args;

    buf_addf(context->errors, "%s: ", context->where);
    va_start(args, format);
    buf_addv(context->errors, format, args);
    va_end(args);
    buf_addc(context->errors, '\n');
}

/* ---- applying one value ---- */

void conf_complain_of_value(const struct conf_context *context, const char *path,
                            const char *text, const char *error)
{
    struct buf value = BUF_IN(context->options->state->arena);

    for (const char *c = text; *c; c++) {
        if (*c != CONF_ITEM_END)
            buf_addc(&value, *c);
        else if (c[1])
            buf_adds(&value, ", ");
    }
    conf_complain(context, "`%s` %s; it is \"%s\"", path, error, buf_text(&value));
}

/* Secrets are not repeated in errors, which end up in logs. */
static void complain_of_value(const struct conf_context *context,
                              const struct conf_key *key, const char *text,
                              const char *error)
{
    if (key->type == CONF_SECRET || key->type == CONF_SECRETS)
        conf_complain(context, "`%s` %s", key->path, error);
    else
        conf_complain_of_value(context, key->path, text, error);
}

static bool apply_to_row(const struct conf_context *context, const struct conf_key *key,
                         const char *text)
{
    struct conf_state *state = context->options->state;
    const char *error = conf_value_parse(context->options, key, text);
    size_t count;

    if (error) {
        complain_of_value(context, key, text, error);
        return false;
    }
    state->entries[key - conf_keys(&count)] = (struct conf_entry){
        .text = arena_strdup(state->arena, text),
        .source = { context->origin, arena_strdup(state->arena, context->where) },
    };
    return true;
}

/* By its two names; twice by one name is for libconfig to notice. */
static bool is_set_twice(const struct conf_context *context, const struct conf_key *key)
{
    struct conf_source source = options_source(context->options, key);

    if (context->origin != CONF_FILE || source.origin != CONF_FILE)
        return false;
    conf_complain(context, "`%s` is set already at %s, perhaps by its other name",
                  key->path, source.where);
    return true;
}

bool conf_apply(const struct conf_context *context, const char *path, const char *text)
{
    const struct conf_key *key = conf_find(path);
    const struct conf_group *group = conf_group_of(path);

    if (key)
        return !is_set_twice(context, key) && apply_to_row(context, key, text);
    if (group)
        return group->apply(context, path, text);
    if (conf_is_group(path))
        conf_complain(context, "`%s` is a group of options, not an option", path);
    else
        conf_complain(context, "unknown option `%s`%s", path,
                      conf_nearest(context->options->state->arena, path));
    return false;
}

struct options *conf_defaults(void)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    struct options *options = calloc(1, sizeof(*options));
    struct conf_state *state = calloc(1, sizeof(*state));
    struct buf errors = BUF_HEAP;

    if (!options || !state)
        fatal("out of memory");
    options->state = state;
    state->arena = arena_new(0);
    state->entries = arena_array(state->arena, count, sizeof(*state->entries));
    struct conf_context context = { options, &errors, CONF_BUILT_IN, "built-in", NULL };
    for (size_t i = 0; i < count; i++)
        apply_to_row(&context, &keys[i], keys[i].def);
    conf_apply(&context, "jobs.pools.default.consumers", "2");
    conf_apply(&context, "jobs.pools.default.queues", "high,default,low");
    state->pools_are_built_in = true;
    if (errors.length > 0)
        fatal("a built-in default is wrong: %s", errors.data);
    buf_done(&errors);
    return options;
}

void options_free(struct options *options)
{
    if (!options)
        return;
    arena_free(options->state->arena);
    free(options->state);
    free(options);
}

/* ---- the environment ---- */

const char *conf_variable(char *const *environ_list, const char *name)
{
    size_t length = strlen(name);

    for (; environ_list && *environ_list; environ_list++) {
        if (strncmp(*environ_list, name, length) == 0 && (*environ_list)[length] == '=')
            return *environ_list + length + 1;
    }
    return NULL;
}

/* JWT_ACCESS_TOKEN_EXPIRES_HOURS=2 means "2h". */
static const char *with_env_unit(struct arena *arena, const struct conf_key *key,
                                 const char *text)
{
    bool is_bare = *text && strspn(text, "0123456789.") == strlen(text);

    return key->env_unit && is_bare ? arena_printf(arena, "%s%s", text, key->env_unit)
                                    : text;
}

/* An empty variable counts as none: compose files set those for "unset". */
static void apply_variable(struct conf_context *context, char *const *environ_list,
                           const struct conf_key *key, const char *name)
{
    struct arena *arena = context->options->state->arena;
    const char *text = conf_variable(environ_list, name);

    context->where = name;
    if (text && *text) {
        conf_apply(context, key->path, with_env_unit(arena, key, text));
        return;
    }
    if (key->type != CONF_SECRET && key->type != CONF_SECRETS)
        return;
    /* A secret may also be in a file that NAME_FILE names, as container engines do it. */
    context->where = arena_printf(arena, "%s_FILE", name);
    text = conf_variable(environ_list, context->where);
    if (text && *text)
        conf_apply(context, key->path, arena_printf(arena, "file:%s", text));
}

static void apply_environment(struct conf_context *context, char *const *environ_list)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    context->origin = CONF_ENV;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].env_alt)
            apply_variable(context, environ_list, &keys[i], keys[i].env_alt);
        if (keys[i].env)
            apply_variable(context, environ_list, &keys[i], keys[i].env);
    }
}

/* ---- loading ---- */

static void apply_sets(struct conf_context *context, const char *const *sets,
                       enum conf_origin origin, const char *where)
{
    context->origin = origin;
    context->where = where;
    for (; sets && *sets; sets++) {
        const char *equals = strchr(*sets, '=');
        struct arena *arena = context->options->state->arena;

        if (!equals) {
            conf_complain(context,
                          "`%s` must be written option=value, such as server.workers=4",
                          *sets);
            continue;
        }
        const char *path = arena_strndup(arena, *sets, (size_t)(equals - *sets));
        conf_apply(context, path, equals + 1);
    }
}

/*
 * Behind a transaction pooler a statement prepared on one server connection is
 * executed on another. Only who says `prepared = true` knows a pooler that copes.
 */
void conf_settle(struct options *options)
{
    struct conf_source source = options_source(options, conf_find("database.prepared"));

    if (source.origin == CONF_BUILT_IN &&
        strcmp(options->database.pool_mode, "transaction") == 0)
        options->database.prepared = false;
}

struct options *options_load(const struct conf_input *input, struct buf *errors)
{
    struct options *options = conf_defaults();
    struct conf_context context = { options, errors, CONF_FILE, "", input->environ };
    size_t before = errors->length;

    if (input->file)
        conf_file_read(&context, input->file);
    if (input->environ)
        apply_environment(&context, input->environ);
    apply_sets(&context, input->sets, CONF_ARGUMENT, "--set");
    apply_sets(&context, input->runtime, CONF_RUNTIME, "ctl");
    conf_cache_settle(&context);
    conf_cron_settle(&context);
    conf_functions_settle(&context);
    conf_pools_settle(&context);
    conf_redis_settle(&context);
    if (errors->length == before) {
        conf_settle(options);
        return options;
    }
    options_free(options);
    return NULL;
}

bool options_set(struct options *options, const char *path, const char *text,
                 const char *where, struct buf *error)
{
    struct conf_context context = { options, error, CONF_RUNTIME, where, NULL };

    return conf_apply(&context, path, text);
}

char *options_keep_text(struct options *options, const char *text, size_t length)
{
    return arena_strndup(options->state->arena, text, length);
}

/* ---- looking at a configuration ---- */

static const struct conf_entry *entry_of(const struct options *options,
                                         const struct conf_key *key)
{
    size_t count;

    return &options->state->entries[key - conf_keys(&count)];
}

struct conf_source options_source(const struct options *options,
                                  const struct conf_key *key)
{
    return entry_of(options, key)->source;
}

void options_show(const struct options *options, const struct conf_key *key,
                  struct buf *out)
{
    conf_value_print(options, key, out);
}

static bool is_same_list(const struct conf_list *a, const struct conf_list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return a->count == b->count;
}

bool options_equal(const struct options *a, const struct options *b,
                   const struct conf_key *key)
{
    if (key->type == CONF_SECRET)
        return strcmp(*CONF_FIELD(a, key, char *), *CONF_FIELD(b, key, char *)) == 0;
    if (key->type == CONF_SECRETS)
        return is_same_list(CONF_FIELD(a, key, struct conf_list),
                            CONF_FIELD(b, key, struct conf_list));

    struct buf one = BUF_HEAP, other = BUF_HEAP;
    conf_value_print(a, key, &one);
    conf_value_print(b, key, &other);
    bool is_equal = strcmp(buf_text(&one), buf_text(&other)) == 0;
    buf_done(&one);
    buf_done(&other);
    return is_equal;
}

void options_keep(struct options *options, const struct options *from,
                  const struct conf_key *key)
{
    size_t count;
    size_t index = (size_t)(key - conf_keys(&count));
    struct arena *arena = options->state->arena;
    const struct conf_entry *entry = &from->state->entries[index];
    struct buf error = BUF_HEAP;
    struct conf_context context = { .options = options,
                                    .errors = &error,
                                    .origin = entry->source.origin,
                                    .where = arena_strdup(arena, entry->source.where) };

    conf_apply(&context, key->path, entry->text);
    /* A secret's text may name a file that has changed since. */
    if (key->type == CONF_SECRET)
        *CONF_FIELD(options, key, char *) =
            arena_strdup(arena, *CONF_FIELD(from, key, char *));
    buf_done(&error);
}

const char *options_missing_secret(const struct options *options)
{
    if (!*options->auth.secret_key)
        return "SECRET_KEY";
    if (!*options->auth.jwt_secret)
        return "JWT_SECRET_KEY";
    return NULL;
}
