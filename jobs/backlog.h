/*
 * backlog.h - how many jobs wait for a pool of consumers, and how long.
 *
 * The master, which has no Redis client, reads it in the scoreboard and scales pools
 * whose count is a range. Counted by the scheduler, since a pool may have no consumer.
 */
#ifndef FORKMARK_JOBS_BACKLOG_H
#define FORKMARK_JOBS_BACKLOG_H

#include "common/options.h"
#include "common/redis.h"

struct backlog {
    int64_t waiting; /* in all of its queues */
    int64_t age_ms;  /* of the longest waiting job at the head of one; 0: none waits */
};

/*
 * A queue whose unknown jobs are left to others counts with those of its first jobs that
 * consumers here would run. Yields, inside tasks. 0 or redis' error.
 */
int backlog_count(struct redis *redis, const struct options *options,
                  const struct pool_options *pool, struct backlog *ret);

#endif
