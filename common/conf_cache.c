/*
 * conf_cache.c - where the cache is, is said once.
 *
 * A cluster is a list of places beside `redis.cache_url` and not another form of URL:
 * several nodes share one user, password and database, and a list can be taken apart in
 * a file, in an environment variable and in `ctl show config`, where a URL with a
 * password could not be shown.
 */
#include "common/conf_internal.h"

static void complain_at(const struct conf_context *context, const char *path,
                        const char *what)
{
    struct conf_context here = *context;

    here.where = options_source(context->options, conf_find(path)).where;
    conf_complain(&here, "`%s` %s", path, what);
}

void conf_cache_settle(const struct conf_context *context)
{
    const struct options *options = context->options;
    static const char lonely[] =
        "is for the nodes of redis.cache.cluster, and there are none; redis.cache_url "
        "holds its own";

    if (options->redis.cache.cluster.count == 0) {
        if (*options->redis.cache.user)
            complain_at(context, "redis.cache.user", lonely);
        if (*options->redis.cache.password)
            complain_at(context, "redis.cache.password", lonely);
        if (options->redis.cache.ssl)
            complain_at(context, "redis.cache.ssl", lonely);
        if (options->redis.cache.read_replicas)
            complain_at(context, "redis.cache.read_replicas",
                        "needs redis.cache.cluster: one Redis has no slots to share out");
        return;
    }
    if (*options->redis.cache_url)
        complain_at(context, "redis.cache.cluster",
                    "and redis.cache_url both say where the cache is: give one of them");
    if (*options->redis.cache.user && !*options->redis.cache.password)
        complain_at(context, "redis.cache.user",
                    "needs a password: set redis.cache.password");
}
