/*
 * cache_check.h - whether the cache is what redis.cache_url or redis.cache.cluster say.
 *
 * A part of redis_check.h's questions, asked where the cache is not in the queue's Redis.
 */
#ifndef FORKMARK_JOBS_CACHE_CHECK_H
#define FORKMARK_JOBS_CACHE_CHECK_H

#include "common/options.h"

/* What is worth a warning, in the task's arena; NULL: nothing. Yields, inside a task, for
 * two seconds at most. */
const char *cache_check(const struct options *options);

#endif
