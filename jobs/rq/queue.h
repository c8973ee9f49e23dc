/*
 * queue.h - the producer's side: putting jobs into RQ's queues.
 *
 * Used by HTTP workers, job functions, the scheduler and `forkmark jobs`. What is
 * pushed here is a job like any other to RQ: Python can look at it, run it, cancel it.
 *
 *     struct job_spec spec = {
 *         .queue = "default",
 *         .function = JOB_EMBED_BOOKMARK,
 *         .kwargs = kwargs,
 *         .result_ttl_s = JOB_TTL_DEFAULT,
 *         .failure_ttl_s = JOB_TTL_DEFAULT,
 *     };
 *     int rc = queue_push(redis, &spec, &id);
 *
 * Yields, inside tasks. Errors are those of redis.h.
 */
#ifndef FORKMARK_JOBS_RQ_QUEUE_H
#define FORKMARK_JOBS_RQ_QUEUE_H

#include "common/redis.h"
#include "jobs/rq/value.h"
#include <stdbool.h>
#include <stdint.h>

struct job_spec {
    const char *id; /* NULL: a random UUID */
    const char *queue;
    const char *function;
    const struct value *args;            /* NULL: () */
    const struct value *kwargs;          /* NULL: {} */
    const char *description;             /* NULL: the call as Python would write it */
    int64_t timeout_s;                   /* 0: the default */
    int64_t result_ttl_s, failure_ttl_s; /* JOB_TTL_DEFAULT: RQ's defaults (absent) */
    int64_t waiting_ttl_s;               /* forgotten if it waits longer; 0: never */
    int retries;                         /* 0: none; JOB_RETRIES_OPEN: see below */
    const int *retry_intervals;          /* seconds, `retry_interval_count` of them */
    int retry_interval_count;
    bool at_front;

    /*
     * Scheduled: into its queue so many seconds from now, by Redis' clock, by whichever
     * scheduler (ours or Python's) holds the queue's lock. 0: at once.
     */
    int64_t delay_s;

    /*
     * Deferred: into its queue once all of these are finished, or gone. Not together
     * with a delay. `may_depend_on_failed`: a failed one counts as well.
     */
    const char *const *depends_on;
    size_t depends_on_count; /* at most QUEUE_DEPENDENCIES_MOST */
    bool may_depend_on_failed;

    /*
     * At most one job of a key waits (queued, scheduled, deferred or between two
     * attempts), in whichever queue: while one does, a second is not pushed and the
     * caller gets the first one's id. The key is free again the moment the job starts,
     * so that what changes while it runs is not missed; with `unique_while_running`
     * only when it has ended. Its end, however it comes (finished, failed, canceled,
     * deleted, expired, emptied), needs no call to free the key. NULL: not unique.
     *
     * Two limits. A Python worker of RQ before 2 that has popped the job, but not yet
     * started it, holds it where nobody can see it: a job pushed in these milliseconds
     * is a second one. And a key that was not asked for in a week is forgotten.
     */
    const char *unique_key;
    bool unique_while_running;

    const char *request_id; /* kept in meta; NULL: none */
};
#define JOB_TTL_DEFAULT         INT64_MIN
#define JOB_RETRIES_OPEN        (-1) /* its function's (job_function_complete()), else none */
#define QUEUE_DEPENDENCIES_MOST 1000
#define QUEUE_PUSH_MOST         1000

/*
 * One job. 1: pushed. 0: nothing was done, because `rq:job:<id>` exists, or because its
 * key is taken. *ret_id (NULL: not asked for) is the id of the job there is now: the new
 * one's, that very one's, or the key's holder's. In the task's arena.
 *
 * A negative error: it may have been pushed or not. *ret_id is the id it would have;
 * pushing again under that id is safe, whatever had happened.
 */
int queue_push(struct redis *redis, const struct job_spec *spec, const char **ret_id);

struct job_pushed {
    const char *id; /* as *ret_id above */
    bool is_new;
};

/*
 * The same for many. How many were pushed; what became of each is in ret[] (NULL: not
 * asked for), in the order of the specs, which is the order they come to stand in; with
 * an error, the ids they have or would have.
 *
 * Up to QUEUE_PUSH_MOST jobs are one script, so one round trip and one step: nobody ever
 * sees some of them. It is all or nothing: an error of Redis means that none was pushed,
 * a lost connection that either all were or none. More jobs are so many steps, one after
 * the other, that end with the first error. Jobs whose ids exist, or whose keys are
 * taken (also by an earlier one of the same call), are passed over, not an error.
 */
int queue_push_many(struct redis *redis, const struct job_spec *specs, size_t count,
                    struct job_pushed *ret);

/*
 * The job of a cron entry for one due time (cron.lua): of all servers that try, one
 * pushes it. `spec` has an id; NULL: only a look, so that the entry is known from now on.
 */
struct cron_push {
    const char *key;       /* where Redis keeps what was served */
    int64_t due, grace_s;  /* not after so many seconds more */
    int64_t since;         /* since when the caller knows the entry, by Redis' clock */
    int64_t now, last_due; /* out: Redis' time, and the last time that was served */
};
enum cron_outcome {
    CRON_SERVED, /* by somebody else (or looked at) */
    CRON_PUSHED,
    CRON_EARLY, /* by Redis' clock it is not due yet */
    CRON_LATE,  /* passed over */
};
/* enum cron_outcome, or an error. */
int queue_push_cron(struct redis *redis, const struct job_spec *spec,
                    struct cron_push *cron);

/* Takes a waiting job out and deletes it (bookmark deleted). 1 removed, 0 not waiting,
 * or an error. */
int queue_cancel(struct redis *redis, const char *queue, const char *job_id);
/* The same by hand: as RQ's cancel, it stays to be seen in the canceled registry. */
int queue_mark_canceled(struct redis *redis, const char *queue, const char *job_id);
/* Failed jobs of a queue once more. How many are queued again (not those that are not in
 * its failed registry), or an error. */
int queue_requeue(struct redis *redis, const char *queue, const char *const *ids,
                  size_t count);
/* Deletes every waiting job. How many, or an error. */
int queue_empty(struct redis *redis, const char *queue);

#endif
