/*
 * redis_call.h - the inside of struct redis, for common/redis*.c alone.
 *
 * A call is: redis_call_begin(), which waits for a connection if that makes
 * sense; commands added to redis_call_out(), without yielding in between; and
 * redis_call_wait(), which yields until their replies are there.
 */
#ifndef FORKMARK_COMMON_REDIS_CALL_H
#define FORKMARK_COMMON_REDIS_CALL_H

#include "common/redis.h"
#include "common/redis_link.h"

struct redis_pubsub;
struct redis_pending;
struct redis_waiter;

struct redis {
    struct redis_settings settings;
    uint64_t timeout_ms, breaker_ms, ping_after_ms;
    struct redis_link link;
    /*
     * The breaker: set when a reply was overdue or connecting failed, cleared by
     * the next good connection. While it is set nobody waits (if breaker_ms is).
     */
    bool is_tripped;
    struct redis_pending *first, **last; /* sent, in order; each waits for replies */
    struct redis_pending *spare;         /* recycled */
    struct redis_waiter *waiters;        /* tasks that wait for the connection */
    uint64_t heard_ms;                   /* when the last reply came */
    bool is_probing;                     /* a PING of ours is on its way */
    struct redis_pubsub *pubsub;         /* NULL until somebody subscribes */
};

/* clock_ms() at which a call of `timeout_ms` (0: never, then 0) must have ended. */
uint64_t redis_call_until(uint64_t timeout_ms);
/* Yields. 0: connected; -EAGAIN: nothing can be sent now. */
int redis_call_begin(struct redis *redis, uint64_t until_ms);
struct buf *redis_call_out(struct redis *redis);
/*
 * Yields until `count` replies have come. `ret_replies` gets them, owned by the
 * task's arena; NULL: they are thrown away. 0, -ETIMEDOUT or -ECONNRESET.
 */
int redis_call_wait(struct redis *redis, uint64_t until_ms, size_t count,
                    redisReply ***ret_replies);
/* The end of a call of one command: its reply, and -EPROTO when that is an error. */
int redis_call_wait_one(struct redis *redis, uint64_t until_ms, redisReply **ret);

/* redis_pubsub.c */
void redis_pubsub_free(struct redis_pubsub *pubsub); /* NULL is fine */

#endif
