/*
 * connections.c - see connections.h.
 */
#include "jobs/connections.h"
#include "common/connect.h"

/* A request gives up on Redis soon; a job's bookkeeping rather waits a little. */
#define LEAST_TIMEOUT_MS 5000

struct redis *jobs_queue_redis(const struct options *options, const char *client_name,
                               struct board_slot *slot)
{
    uint64_t timeout = options->redis.timeout;

    return connect_queue(options,
                         &(struct connect_redis){ .name = client_name,
                                                  .timeout_ms = timeout < LEAST_TIMEOUT_MS
                                                                    ? LEAST_TIMEOUT_MS
                                                                    : timeout,
                                                  .slot = slot });
}

/* Jobs do not wait for the cache: it is best effort. */
struct redis *jobs_cache_redis(const struct options *options, const char *client_name,
                               struct board_slot *slot)
{
    return connect_cache(options,
                         &(struct connect_redis){ .name = client_name,
                                                  .timeout_ms = options->redis.timeout,
                                                  .breaker_ms = options->redis.breaker,
                                                  .slot = slot });
}

struct pg *jobs_pg(const struct options *options, int size, int overflow,
                   const char *application_name, const struct role_context *role)
{
    return connect_pg(options, &(struct connect_pool){ .size = size,
                                                       .overflow = overflow,
                                                       .name = application_name,
                                                       .slot = role->slot,
                                                       .board = role->board });
}
