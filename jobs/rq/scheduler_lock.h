/*
 * scheduler_lock.h - who schedules for a queue: RQ's election by lock (protocol 9.1).
 *
 * Yields, inside tasks. Errors are those of redis.h.
 */
#ifndef FORKMARK_JOBS_RQ_SCHEDULER_LOCK_H
#define FORKMARK_JOBS_RQ_SCHEDULER_LOCK_H

#include "common/options.h"
#include "common/redis.h"

struct rq_scheduler {
    struct redis *redis;
    /* Its name, and the locks' value: RQ to 2.9 reads a number there, RQ from 2.10 a
     * name. A random one, since pids are the same in every container. */
    char value[16];
    int64_t created_unix_us;
};

void scheduler_init(struct rq_scheduler *scheduler, struct redis *redis);
/* The record rq:scheduler:<value>, which lives 61 s. 0 or an error. */
int scheduler_record(const struct rq_scheduler *scheduler,
                     const struct conf_list *queues);

/* RQ's own schedulers enqueue due jobs, and leave a queue's upkeep to its workers. */
enum scheduler_leader { LED_BY_FORKMARK, LED_BY_US, LED_BY_RQ };
/* Takes or renews a queue's lock, also from a scheduler of this host that died.
 * enum scheduler_leader, or an error. */
int scheduler_lead(const struct rq_scheduler *scheduler, const char *queue);
/* Gives it back, if it is ours. */
int scheduler_drop(const struct rq_scheduler *scheduler, const char *queue);
/* The same with a lock that RQ does not know. */
int scheduler_lead_key(const struct rq_scheduler *scheduler, const char *key);
int scheduler_drop_key(const struct rq_scheduler *scheduler, const char *key);
/* The record goes. */
int scheduler_forget(const struct rq_scheduler *scheduler);

#endif
