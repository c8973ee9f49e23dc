/*
 * connect.h - how a process reaches PostgreSQL and Redis, as the options say.
 *
 * Every role opens its pools and clients here, so that an option means the same for all
 * of them. Nothing is connected yet when these return, and nothing yields. The caller
 * owns what it gets.
 */
#ifndef FORKMARK_COMMON_CONNECT_H
#define FORKMARK_COMMON_CONNECT_H

#include "common/options.h"
#include "common/pg.h"
#include "common/redis.h"
#include "common/scoreboard.h"

/* What a pool of one role is like; the rest stands in the options. */
struct connect_pool {
    int size, overflow, pipelines; /* see pg.h */
    const char *name;              /* application_name */
    struct board_slot *slot;
    struct scoreboard *board; /* NULL is fine */
    bool reads_replicas;      /* it has use for pg_read() */
};
/* Through database.pooler_url if there is one, else to database.url. */
struct pg *connect_pg(const struct options *options, const struct connect_pool *pool);

/* For libpq's blocking calls of short-lived processes: what connect_pg() gives besides
 * the URL (TLS, which of several hosts) as libpq's defaults in the environment. */
void connect_pg_defaults(const struct options *options);

/*
 * The queue's Redis, by URL, by redis.queue.sentinels or by redis.host, and the cache's:
 * redis.cache.cluster, redis.cache_url, or the same. Commands take at most `timeout_ms`;
 * with `breaker_ms` (0: none) the client gives up at once for that long after one was
 * overdue. NULL: no address of a Redis (logged). `name` is shown by CLIENT LIST.
 */
struct connect_redis {
    const char *name;
    uint64_t timeout_ms, breaker_ms;
    struct board_slot *slot; /* shows the servers; NULL: nothing does */
};
struct redis *connect_queue(const struct options *options,
                            const struct connect_redis *how);
struct redis *connect_cache(const struct options *options,
                            const struct connect_redis *how);
/* The option that says where the queue is, for messages. */
const char *connect_queue_option(const struct options *options);
/* False: none does, and there is the embedded one. */
bool connect_names_redis(const struct options *options);
/* The cache is not in the queue's Redis. */
bool connect_has_own_cache(const struct options *options);

#endif
