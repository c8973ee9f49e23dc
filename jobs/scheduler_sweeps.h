/*
 * scheduler_sweeps.h - what is left behind in PostgreSQL, put right by the scheduler.
 *
 * Yields, inside tasks. 0 or more: rows touched; or pg's or redis' error.
 */
#ifndef FORKMARK_JOBS_SCHEDULER_SWEEPS_H
#define FORKMARK_JOBS_SCHEDULER_SWEEPS_H

#include "common/options.h"
#include "common/pg.h"
#include "common/redis.h"

struct cache;

/*
 * Bookmarks unfinished for jobs.sweep_age that are owed no job and have none on its
 * way get a new one; those whose job failed without being able to say so (its worker
 * died too often) become FAILED, and are shown so at once.
 */
int sweep_unfinished(struct pg *pg, struct redis *redis, struct cache *cache,
                     const struct options *options, const struct conf_list *queues);
/* Events older than 30 days and sessions past their expiry, in small bites. */
int sweep_expired(struct pg *pg);

#endif
