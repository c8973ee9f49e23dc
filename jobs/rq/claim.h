/*
 * claim.h - taking a job, and saying what became of it.
 *
 * Both are one script each (claim.lua, finish.lua), so a job is never outside
 * Redis' books. An execution has an id chosen by the caller: a call whose answer
 * was lost may be made again with the same ids and does nothing twice.
 *
 * Yields, inside tasks. Errors are those of redis.h.
 */
#ifndef FORKMARK_JOBS_RQ_CLAIM_H
#define FORKMARK_JOBS_RQ_CLAIM_H

#include "common/buf.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/worker_record.h"

#define EXECUTION_SIZE 33

/* A job that is ours. On the heap: it outlives the task that claimed it. */
struct claimed_job {
    char *id, *queue;
    char execution[EXECUTION_SIZE];
    struct buf data, meta;
    int64_t timeout_s; /* <= 0: unlimited */
    int retries_left;
    int64_t started_unix_us; /* by our clock */
};
void claimed_job_free(struct claimed_job *job); /* NULL is fine */

enum claim_result {
    CLAIM_JOB,
    CLAIM_EMPTY,
    CLAIM_MORE, /* so many ids without a job that it has not come to the end: ask again */
    CLAIM_SUSPENDED,
    CLAIM_UNREGISTERED,
};

/* enum claim_result, or an error; with CLAIM_JOB the caller owns *ret. */
int job_claim(struct rq_worker *worker, const char *execution, struct claimed_job **ret);

/* As finish.lua names them. */
enum job_end_kind {
    JOB_END_SUCCESS,
    JOB_END_FAILED,  /* retried while retries are left */
    JOB_END_FINAL,   /* failed, no retry */
    JOB_END_STOPPED, /* by command */
    JOB_END_LATER,   /* back after a delay, no retry used */
    JOB_END_BACK,    /* to the head of its queue at once */
};

struct job_end {
    enum job_end_kind kind;
    const struct value *result; /* success; NULL: None */
    enum payload_format format; /* of the result */
    const char *error;
    double worked_s;
    int delay_s;
};

/*
 * Ends the job, and claims the next one as `next_execution` (NULL: none). 0 or an
 * error; *ret_lost: somebody else has decided about this job, nothing was done;
 * *ret_claim is an enum claim_result, CLAIM_EMPTY when nothing was asked for.
 */
int job_finish(struct rq_worker *worker, const struct claimed_job *job,
               const struct job_end *end, const char *next_execution, bool *ret_lost,
               int *ret_claim, struct claimed_job **ret_next);

#endif
