/*
 * conf_queues.c - what is said of single queues: jobs.queues.<name> { unknown }.
 *
 * A queue's name is any text, so behind --set it may hold dots; the last one ends it.
 */
#include "common/conf_internal.h"
#include <stddef.h>
#include <string.h>

#define MOST_QUEUES 256

static const char *const unknown_words[] = { "fail", "leave", NULL };

#define AT(member) .field = offsetof(struct queue_options, member)

const struct conf_key conf_queue_fields[] = {
    { .path = "unknown",
      .type = CONF_ENUM,
      AT(unknown),
      .def = "fail",
      .words = unknown_words },
    { .path = NULL },
};

static struct queue_options *find_queue(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->jobs.queue_count; i++) {
        if (strcmp(options->jobs.queues[i].name, name) == 0)
            return &options->jobs.queues[i];
    }
    return NULL;
}

const struct queue_options *options_queue(const struct options *options, const char *name)
{
    static const struct queue_options defaults = { .unknown = UNKNOWN_FAIL };
    const struct queue_options *queue = find_queue(options, name);

    return queue ? queue : &defaults;
}

static struct queue_options *queue_named(struct options *options, const char *name)
{
    struct arena *arena = options->state->arena;
    struct queue_options *queue = find_queue(options, name);

    if (queue || options->jobs.queue_count == MOST_QUEUES)
        return queue;
    if (!options->jobs.queues)
        options->jobs.queues =
            arena_array(arena, MOST_QUEUES, sizeof(*options->jobs.queues));
    queue = &options->jobs.queues[options->jobs.queue_count++];
    *queue = (struct queue_options){ .name = arena_strdup(arena, name) };
    return queue;
}

bool conf_queue_apply(const struct conf_context *context, const char *path,
                      const char *text)
{
    struct options *options = context->options;
    struct arena *arena = options->state->arena;
    const char *start = path + strlen(CONF_QUEUE_PREFIX);
    const char *dot = strrchr(start, '.');
    const struct conf_key *field = dot ? conf_find_in_group(path) : NULL;
    const char *error = NULL;

    if (!dot || dot == start)
        error = "needs a queue's name and one of its options";
    else if (!field)
        error = conf_unknown_field(arena, path);
    if (!error) {
        struct queue_options *queue =
            queue_named(options, arena_strndup(arena, start, (size_t)(dot - start)));

        error = queue ? conf_field_parse(arena, queue, field, text)
                      : "is one queue too many: at most 256";
    }
    if (error)
        conf_complain(context, "`%s` %s", path, error);
    else
        options->state->queues_source =
            (struct conf_source){ context->origin, arena_strdup(arena, context->where) };
    return !error;
}
