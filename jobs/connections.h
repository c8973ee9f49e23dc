/*
 * connections.h - how job processes reach Redis and PostgreSQL, from the options.
 */
#ifndef FORKMARK_JOBS_CONNECTIONS_H
#define FORKMARK_JOBS_CONNECTIONS_H

#include "common/options.h"
#include "common/pg.h"
#include "common/redis.h"
#include "common/role.h"

/* The queue's Redis, or the cache's. Without a breaker: a job process has nothing
 * better to do than to wait. The caller owns it; NULL: the URL cannot be used
 * (logged). `client_name` is shown by CLIENT LIST; `slot` shows the server to operators
 * (NULL: nothing does). */
struct redis *jobs_queue_redis(const struct options *options, const char *client_name,
                               struct board_slot *slot);
struct redis *jobs_cache_redis(const struct options *options, const char *client_name,
                               struct board_slot *slot);
struct pg *jobs_pg(const struct options *options, int size, int overflow,
                   const char *application_name, const struct role_context *role);

#endif
