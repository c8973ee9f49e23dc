/*
 * connect.c - see connect.h.
 */
#include "common/connect.h"
#include <stdio.h>

struct pg *connect_pg(const struct options *options, const struct connect_pool *pool)
{
    const char *pooler = options->database.pooler_url;

    return pg_new(&(struct pg_options){
        .url = *pooler ? pooler : options->database.url,
        .ssl_mode = options->database.ssl_mode,
        .size = pool->size,
        .overflow = pool->overflow,
        .pipelines = pool->pipelines,
        .prepared = options->database.prepared,
        .acquire_timeout_ms = options->database.pool_timeout,
        .recycle_ms = options->database.pool_recycle,
        .connect_timeout_ms = options->database.connect_timeout,
        .statement_timeout_ms = options->database.statement_timeout,
        .ping_after_ms = options->database.ping_after,
        .application_name = pool->name,
        .slot = pool->slot,
    });
}

static struct redis *open_redis(const struct options *options, const char *url,
                                const struct connect_redis *how)
{
    char composed[512];

    if (!*url) {
        snprintf(composed, sizeof(composed), "redis%s://%s:%lld/%lld",
                 options->redis.ssl ? "s" : "", options->redis.host,
                 (long long)options->redis.port, (long long)options->redis.db);
        url = composed;
    }
    return redis_new(&(struct redis_options){
        .url = url,
        .password = options->redis.password,
        .allow_unverified_tls = options->redis.allow_unverified_ssl,
        .connect_timeout_ms = options->redis.connect_timeout,
        .timeout_ms = how->timeout_ms,
        .breaker_ms = how->breaker_ms,
        .client_name = how->name,
    });
}

struct redis *connect_queue(const struct options *options,
                            const struct connect_redis *how)
{
    return open_redis(options, options->redis.url, how);
}

struct redis *connect_cache(const struct options *options,
                            const struct connect_redis *how)
{
    return open_redis(
        options,
        *options->redis.cache_url ? options->redis.cache_url : options->redis.url, how);
}
