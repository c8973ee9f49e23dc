/*
 * job_state.h - what Redis' books say about jobs: for producers who ask what became of
 * theirs, and for `forkmark jobs`.
 *
 *     struct job_state state;
 *     int rc = job_state(redis, id, &state);
 *     if (rc == 1 && strcmp(state.status, "failed") == 0)
 *         ... state.newest.error ...
 *
 * Yields, inside tasks. What is read lives in the task's arena.
 */
#ifndef FORKMARK_JOBS_RQ_JOB_STATE_H
#define FORKMARK_JOBS_RQ_JOB_STATE_H

#include "common/redis.h"
#include "jobs/rq/value.h"
#include <stdbool.h>
#include <stdint.h>

/* One entry of a job's results. Attempts that are retried leave none. */
struct rq_result {
    const char *what;          /* "finished", "failed", ...; "" : there is none */
    int64_t at_us;             /* when it was written, by Redis' clock */
    const char *worker;        /* "": not told (RQ before 2.5) */
    double took_s;             /* < 0: not told (RQ before 2.8) */
    const char *error;         /* the whole text; NULL: none */
    const struct value *value; /* what it returned; NULL: None, or unreadable */
    const char *unreadable;    /* why the value is; NULL: it is not */
};

/* Texts are never NULL, "" when absent; times are microseconds, 0 when absent. */
struct job_state {
    const char *id;
    bool exists;
    const char *status; /* queued, started, finished, failed, deferred, scheduled, ... */
    const char *queue;
    const char *description;
    const char *worker;
    int64_t created_us, enqueued_us, started_us, ended_us;
    int64_t timeout_s; /* <= 0: unlimited */
    int64_t retries_left;
    struct rq_result newest;
};

/* One job. 1: it exists, 0: it does not, or an error of redis.h. One round trip. */
int job_state(struct redis *redis, const char *id, struct job_state *ret);

/* Many, in one round trip; `with_newest`: also their newest results, which may be
 * large. How many exist, or an error. */
int job_states(struct redis *redis, const char *const *ids, size_t count,
               bool with_newest, struct job_state *ret);

/* The last `max` results of a job, newest first. How many, or an error. */
int rq_results(struct redis *redis, const char *id, size_t max, struct rq_result **ret);

/* The last line of an error's text: its kind and message. "" when there is none. */
const char *job_error_line(const char *error);

#endif
