/*
 * server.h - what one HTTP worker has: options, pools, cache, hub, counters.
 *
 * One per process, made in worker.c before the first request and read by every
 * handler through `req->server`.
 */
#ifndef FORKMARK_WORKER_SERVER_H
#define FORKMARK_WORKER_SERVER_H

#include "common/cache.h"
#include "common/options.h"
#include "common/pg.h"
#include "common/redis.h"
#include "common/role.h"
#include "common/scoreboard.h"

struct http;
struct hub;

struct server {
    const struct options *options;
    const struct role_context *role;
    struct scoreboard *board;
    struct board_slot *slot;
    struct pg *pg;
    struct redis *redis;       /* the queue's: jobs, events, pub/sub */
    struct redis *cache_redis; /* limits, revocation, cache; may be the same object */
    struct cache *cache;
    struct http *http; /* libmicrohttpd and its connections */
    struct hub *hub;   /* open event streams by user */
    bool draining;     /* this worker; a successor may serve already */
};

/* Whether the whole server is about to end: what readiness says no for. */
static inline bool server_is_leaving(const struct server *server)
{
    return board_shared(server->board)->is_leaving;
}

#endif
