/*
 * conf_redis.c - what the rows of `redis` cannot see one by one.
 */
#include "common/conf_internal.h"
#include <stdio.h>

/* At the line of the option that is one too many. */
static void complain(const struct conf_context *context, const char *path,
                     const char *error)
{
    struct conf_context at = *context;

    at.where = options_source(context->options, conf_find(path)).where;
    conf_complain(&at, "`%s` %s", path, error);
}

void conf_redis_settle(const struct conf_context *context)
{
    const struct options *options = context->options;

    if (options->redis.queue.sentinels.count > 0 && *options->redis.url)
        complain(context, "redis.queue.sentinels",
                 "and `redis.url` both name the queue's Redis: keep one of them");
    if (options->redis.queue.sentinels.count > 0 && !*options->redis.queue.master)
        complain(context, "redis.queue.master", "must name the sentinels' master");
    if (*options->redis.ssl_key && !*options->redis.ssl_certificate)
        complain(context, "redis.ssl_key", "has no `redis.ssl_certificate` beside it");
}
