/*
 * redis_call.h - the inside of struct redis, for common/redis*.c alone.
 *
 * A call to one server is: redis_call_begin(), which waits for a connection if that
 * makes sense; commands added to redis_call_out(), without yielding in between; and
 * redis_call_wait(), which yields until their replies are there.
 *
 * Above it, redis_execute() does all three, and in a cluster (redis_cluster.h) finds
 * the node first and follows its redirections: a node is a `struct redis` as well.
 */
#ifndef FORKMARK_COMMON_REDIS_CALL_H
#define FORKMARK_COMMON_REDIS_CALL_H

#include "common/redis.h"
#include "common/redis_link.h"

struct board_redis;
struct redis_cluster;
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
    struct redis_cluster *cluster;       /* NULL: one server */
    bool one_slot;                       /* see struct redis_options */
    /* Its connection came, was lost, or could not be made. NULL: nobody asks. */
    void (*changed)(void *arg);
    void *changed_arg;
    struct board_redis *shown; /* see redis_shown.h; NULL: nowhere, or a cluster's */
};

/* One server's client. Opens nothing yet; redis_free() ends it. */
struct redis_pace {
    uint64_t timeout_ms, breaker_ms, ping_after_ms; /* see struct redis_options */
};
struct redis *redis_single_new(const struct redis_settings *settings,
                               const struct redis_pace *pace);

/* One command, which may have to be written again, elsewhere. */
struct redis_command {
    void (*write)(struct buf *out, const void *arg); /* must not yield */
    const void *arg;
    const char *key; /* finds the node in a cluster; NULL: any will do */
    size_t key_length;
    bool may_be_stale; /* a replica's answer will do */
};
/* Yields. As redis_call(). */
int redis_execute(struct redis *redis, const struct redis_command *command,
                  uint64_t timeout_ms, redisReply **ret);

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
/* Its server is not the right one any more; the settings tell where to go. */
void redis_pubsub_move(struct redis *redis);

#endif
