/*
 * connections.c - see connections.h.
 */
#include "jobs/connections.h"
#include <stdio.h>

/* A request gives up on Redis soon; a job's bookkeeping rather waits a little. */
#define LEAST_TIMEOUT_MS 5000

static struct redis *open_redis(const struct options *options, const char *url,
                                const char *client_name, uint64_t breaker_ms)
{
    char composed[512];
    uint64_t timeout = options->redis.timeout;

    if (!*url) {
        snprintf(composed, sizeof(composed), "redis%s://%s:%lld/%lld",
                 options->redis.ssl ? "s" : "", options->redis.host,
                 (long long)options->redis.port, (long long)options->redis.db);
        url = composed;
    }
    if (breaker_ms == 0 && timeout < LEAST_TIMEOUT_MS)
        timeout = LEAST_TIMEOUT_MS;
    return redis_new(&(struct redis_options){
        .url = url,
        .password = options->redis.password,
        .allow_unverified_tls = options->redis.allow_unverified_ssl,
        .connect_timeout_ms = options->redis.connect_timeout,
        .timeout_ms = timeout,
        .breaker_ms = breaker_ms,
        .client_name = client_name,
    });
}

struct redis *jobs_queue_redis(const struct options *options, const char *client_name)
{
    return open_redis(options, options->redis.url, client_name, 0);
}

/* Jobs do not wait for the cache: it is best effort. */
struct redis *jobs_cache_redis(const struct options *options, const char *client_name)
{
    const char *url =
        *options->redis.cache_url ? options->redis.cache_url : options->redis.url;

    return open_redis(options, url, client_name, options->redis.breaker);
}

struct pg *jobs_pg(const struct options *options, int size, int overflow,
                   const char *application_name, struct board_slot *slot)
{
    return pg_new(&(struct pg_options){
        .url = options->database.url,
        .ssl_mode = options->database.ssl_mode,
        .size = size,
        .overflow = overflow,
        .prepared = options->database.prepared,
        .acquire_timeout_ms = options->database.pool_timeout,
        .recycle_ms = options->database.pool_recycle,
        .connect_timeout_ms = options->database.connect_timeout,
        .statement_timeout_ms = options->database.statement_timeout,
        .ping_after_ms = options->database.ping_after,
        .application_name = application_name,
        .slot = slot,
    });
}
