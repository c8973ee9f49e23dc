/*
 * conf.c - loads a whole configuration: layers, origins, errors, the parsing child.
 */
#include "common/conf.h"
#include "common/buf.h"
#include "common/conf_internal.h"
#include "common/log.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A parser that does not come back is a failed reload, not a stuck master. */
#define CHILD_TIMEOUT_MS 10000

/* ---- rows and names ---- */

const struct conf_key *conf_find(const char *path)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    }
    return NULL;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance; a swap of neighbours counts as one. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][128], a_length = strlen(a), b_length = strlen(b);

    if (a_length > 127 || b_length > 127)
        return 127;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            now[j] =
                least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1, now[j]);
        }
    }
    return rows[a_length % 3][b_length];
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

const char *conf_nearest(struct arena *arena, const char *path)
{
    size_t count, best = 4;
    const struct conf_key *keys = conf_keys(&count), *nearest = NULL;

    for (size_t i = 0; i < count; i++) {
        size_t far = distance(path, keys[i].path);

        /* The right name in the wrong group is near, too. */
        if (far > 2 && strcmp(last_part(path), last_part(keys[i].path)) == 0)
            far = 2;
        if (far < best) {
            best = far;
            nearest = &keys[i];
        }
    }
    return nearest ? arena_printf(arena, "; did you mean `%s`?", nearest->path) : "";
}

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

bool conf_apply(const struct conf_context *context, const char *path, const char *text)
{
    struct conf_state *state = context->options->state;

    if (strncmp(path, "jobs.pools.", 11) == 0)
        return conf_pool_apply(context, path, text);

    const struct conf_key *key = conf_find(path);
    if (!key) {
        conf_complain(context, "unknown option `%s`%s", path,
                      conf_nearest(state->arena, path));
        return false;
    }
    const char *error = conf_value_parse(context->options, key, text);
    if (error) {
        conf_complain(context, "`%s` %s%s%s%s", path, error,
                      key->type == CONF_SECRET ? "" : " (it is \"",
                      key->type == CONF_SECRET ? "" : text,
                      key->type == CONF_SECRET ? "" : "\")");
        return false;
    }
    size_t count;
    state->entries[key - conf_keys(&count)] = (struct conf_entry){
        .text = arena_strdup(state->arena, text),
        .source = { context->origin, arena_strdup(state->arena, context->where) },
    };
    return true;
}

static struct options *make_defaults(void)
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
    struct conf_context context = { options, &errors, CONF_BUILT_IN, "built-in" };
    for (size_t i = 0; i < count; i++)
        conf_apply(&context, keys[i].path, keys[i].def);
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

static const char *lookup(char *const *environ_list, const char *name)
{
    size_t length = strlen(name);

    for (; *environ_list; environ_list++) {
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
    const char *text = lookup(environ_list, name);

    context->where = name;
    if (text && *text) {
        conf_apply(context, key->path, with_env_unit(arena, key, text));
        return;
    }
    if (key->type != CONF_SECRET)
        return;
    /* A secret may also be in a file that NAME_FILE names, as container engines do it. */
    context->where = arena_printf(arena, "%s_FILE", name);
    text = lookup(environ_list, context->where);
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
            conf_complain(context, "`%s` is no key=value", *sets);
            continue;
        }
        const char *path = arena_strndup(arena, *sets, (size_t)(equals - *sets));
        conf_apply(context, path, equals + 1);
    }
}

/* What no row can see by itself. */
static void check_together(struct conf_context *context)
{
    const struct options *options = context->options;

    context->where = "configuration";
    if (options->server.bind.count == 0)
        conf_complain(context, "`server.bind` names no address to listen on");
    if (options->database.pool_size < 1)
        conf_complain(context, "`database.pool_size` must be at least 1");
    if (options->server.connection_memory < 4096)
        conf_complain(context, "`server.connection_memory` must be at least \"4K\"");
}

struct options *options_load(const struct conf_input *input, struct buf *errors)
{
    struct options *options = make_defaults();
    struct conf_context context = { options, errors, CONF_FILE, "" };
    size_t before = errors->length;

    if (input->file)
        conf_file_read(&context, input->file);
    if (input->environ)
        apply_environment(&context, input->environ);
    apply_sets(&context, input->sets, CONF_ARGUMENT, "--set");
    apply_sets(&context, input->runtime, CONF_RUNTIME, "ctl");
    if (errors->length == before)
        check_together(&context);
    if (errors->length == before)
        return options;
    options_free(options);
    return NULL;
}

bool options_set(struct options *options, const char *path, const char *text,
                 const char *where, struct buf *error)
{
    struct conf_context context = { options, error, CONF_RUNTIME, where };

    return conf_apply(&context, path, text);
}

/* ---- the parsing child ---- */

/* A result on the pipe: 'o' and NUL-ended fields, or 'e' and the errors. */
static void put_record(struct buf *out, const char *path, const char *text,
                       const struct conf_source *source)
{
    buf_add(out, path, strlen(path) + 1);
    buf_add(out, text, strlen(text) + 1);
    buf_addc(out, (char)('0' + (int)source->origin));
    buf_add(out, source->where, strlen(source->where) + 1);
}

static void put_pools(struct buf *out, const struct options *options)
{
    for (size_t i = 0; i < options->jobs.pool_count; i++) {
        const struct pool_options *pool = &options->jobs.pools[i];
        struct buf path = BUF_HEAP, text = BUF_HEAP;

        if (pool->consumers.is_auto)
            buf_adds(&text, "auto");
        else
            buf_addf(&text, "%d%s",
                     pool->consumers.percent ? pool->consumers.percent
                                             : pool->consumers.number,
                     pool->consumers.percent ? "%" : "");
        buf_addf(&path, "jobs.pools.%s.consumers", pool->name);
        put_record(out, path.data, text.data, &options->state->pools_source);

        buf_clear(&path);
        buf_clear(&text);
        for (size_t q = 0; q < pool->queues.count; q++)
            buf_addf(&text, "%s%c", pool->queues.items[q], CONF_ITEM_END);
        buf_addf(&path, "jobs.pools.%s.queues", pool->name);
        put_record(out, path.data, text.data, &options->state->pools_source);

        buf_clear(&path);
        buf_addf(&path, "jobs.pools.%s.user", pool->name);
        put_record(out, path.data, pool->user, &options->state->pools_source);
        buf_done(&path);
        buf_done(&text);
    }
}

static void write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);

        if (written <= 0)
            return;
        data += written;
        length -= (size_t)written;
    }
}

static _Noreturn void parse_and_report(const struct conf_input *input, int fd)
{
    struct buf errors = BUF_HEAP, out = BUF_HEAP;
    struct options *options = options_load(input, &errors);
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    if (!options) {
        buf_addc(&out, 'e');
        buf_add(&out, errors.data, errors.length);
    } else {
        buf_addc(&out, 'o');
        for (size_t i = 0; i < count; i++) {
            const struct conf_entry *entry = &options->state->entries[i];

            if (entry->source.origin != CONF_BUILT_IN)
                put_record(&out, keys[i].path, entry->text, &entry->source);
        }
        if (!options->state->pools_are_built_in)
            put_pools(&out, options);
    }
    write_all(fd, out.data, out.length);
    _exit(0);
}

/* The next NUL-ended text of a report; NULL at its end. */
static const char *take_text(const char **at, const char *end)
{
    const char *text = *at;
    const char *stop = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

    if (!stop)
        return NULL;
    *at = stop + 1;
    return text;
}

static struct options *read_report(const struct buf *report, struct buf *errors)
{
    struct options *options = make_defaults();
    const char *at = report->data + 1, *end = report->data + report->length;
    size_t before = errors->length;
    const char *path, *text, *where;

    while ((path = take_text(&at, end)) && (text = take_text(&at, end)) && at < end) {
        struct conf_context context = { options, errors, (enum conf_origin)(*at++ - '0'),
                                        "" };

        where = take_text(&at, end);
        if (!where)
            break;
        context.where = arena_strdup(options->state->arena, where);
        if (strncmp(path, "jobs.pools.", 11) == 0)
            conf_pools_begin(options);
        conf_apply(&context, path, text);
    }
    if (errors->length == before)
        return options;
    options_free(options);
    return NULL;
}

/* False when the child did not finish in time. */
static bool read_until_end(int fd, struct buf *report)
{
    char chunk[4096];

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };

        if (poll(&ready, 1, CHILD_TIMEOUT_MS) <= 0)
            return false;
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got <= 0)
            return true;
        buf_add(report, chunk, (size_t)got);
    }
}

struct options *options_load_in_child(const struct conf_input *input, struct buf *errors)
{
    struct options *options = NULL;
    struct buf report = BUF_HEAP;
    int ends[2], status = 0;

    if (pipe(ends) != 0) {
        buf_addf(errors, "cannot read the configuration: %s\n", strerror(errno));
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        parse_and_report(input, ends[1]);
    }
    close(ends[1]);
    if (child < 0) {
        buf_addf(errors, "cannot read the configuration: %s\n", strerror(errno));
    } else {
        if (!read_until_end(ends[0], &report))
            kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    close(ends[0]);

    if (report.length > 0 && *report.data == 'e')
        buf_add(errors, report.data + 1, report.length - 1);
    else if (report.length > 0 && *report.data == 'o' && status == 0)
        options = read_report(&report, errors);
    else if (child >= 0)
        buf_addf(errors,
                 "%s: the parser gave up on this file (%s %d); is there an "
                 "@include of a folder, or of a file that includes itself?\n",
                 input->file ? input->file : "configuration",
                 WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    buf_done(&report);
    return options;
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

bool options_equal(const struct options *a, const struct options *b,
                   const struct conf_key *key)
{
    if (key->type == CONF_SECRET)
        return strcmp(*CONF_FIELD(a, key, char *), *CONF_FIELD(b, key, char *)) == 0;

    struct buf one = BUF_HEAP, other = BUF_HEAP;
    conf_value_print(a, key, &one);
    conf_value_print(b, key, &other);
    bool is_equal = strcmp(buf_text(&one), buf_text(&other)) == 0;
    buf_done(&one);
    buf_done(&other);
    return is_equal;
}

const char *options_missing_secret(const struct options *options)
{
    if (!*options->auth.secret_key)
        return "SECRET_KEY";
    if (!*options->auth.jwt_secret)
        return "JWT_SECRET_KEY";
    return NULL;
}
