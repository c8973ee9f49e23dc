/*
 * maintenance.h - upkeep of one queue's registries, as any RQ worker does it too.
 *
 * Yields, inside tasks. Errors are those of redis.h.
 */
#ifndef FORKMARK_JOBS_RQ_MAINTENANCE_H
#define FORKMARK_JOBS_RQ_MAINTENANCE_H

#include "common/options.h"
#include "common/redis.h"

/*
 * Jobs whose time has come go into their queue (protocol 9.2). How many. `leader`: only
 * while the queue's lock has this value (of rq_scheduler), since who holds it meanwhile
 * may be RQ, which reads, enqueues and removes in several steps; NULL: whoever leads.
 */
int queue_enqueue_due(struct redis *redis, const char *queue, const char *leader);

/*
 * Expired entries, dead workers, abandoned jobs (7.16), the intermediate list
 * (section 8), what waits in vain (waiting.lua), under RQ's lock for the queue.
 * 1 done, 0 somebody else is at it.
 */
int queue_maintain(struct redis *redis, const struct options *options, const char *queue);

/* What may grow for long: canceled ids whose job is gone. 0 or an error. */
int queue_tidy(struct redis *redis, const char *queue);
/* Vanished jobs leave their groups, empty groups the books. 0 or an error. */
int groups_maintain(struct redis *redis);

enum bookmark_job { BOOKMARK_JOB_NONE, BOOKMARK_JOB_LIVE, BOOKMARK_JOB_FAILED };
/* Whether J1 of these bookmarks waits, runs or failed; one state for each. */
int queue_find_bookmark_jobs(struct redis *redis, const struct conf_list *queues,
                             const int32_t *bookmark_ids, size_t count,
                             enum bookmark_job *ret_states);

#endif
