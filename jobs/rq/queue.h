/*
 * queue.h - the producer's side: putting jobs into RQ's queues.
 *
 * Used by HTTP workers, job functions, the scheduler and `forkmark jobs`.
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
    int64_t timeout_s;                   /* 0: the default */
    int64_t result_ttl_s, failure_ttl_s; /* INT64_MIN: RQ's defaults (absent) */
    int retries;                         /* 0: none */
    const int *retry_intervals;          /* seconds, `retry_interval_count` of them */
    int retry_interval_count;
    bool at_front;
    const char *request_id; /* kept in meta; NULL: none */
};
#define JOB_TTL_DEFAULT INT64_MIN

/*
 * Pushes unless `rq:job:<id>` exists (then nothing happens and it returns 0).
 * 1: pushed. A negative error: unknown whether it was. The id is in *ret_id.
 */
int queue_push(struct redis *redis, const struct job_spec *spec, const char **ret_id);
/* The same for many, one round trip for each 500. How many were pushed, or an error. */
int queue_push_many(struct redis *redis, const struct job_spec *specs, size_t count);

/* Takes a waiting job out and deletes it (bookmark deleted). 1 removed, 0 not waiting,
 * or an error. */
int queue_cancel(struct redis *redis, const char *queue, const char *job_id);
/* The same by hand: as RQ's cancel, it stays to be seen in the canceled registry. */
int queue_mark_canceled(struct redis *redis, const char *queue, const char *job_id);
/* A failed job once more. 1 queued, 0 not in the failed registry, or an error. */
int queue_requeue(struct redis *redis, const char *queue, const char *job_id);
/* Deletes every waiting job. How many, or an error. */
int queue_empty(struct redis *redis, const char *queue);

#endif
