/*
 * consumer_parts.h - what the files of the consumer share.
 *
 * consumer.c: the role's life and its cycle; consumer_job.c: one job from claim to
 * outcome; consumer_wait.c: waiting for the next; consumer_commands.c: RQ's
 * commands to a worker.
 */
#ifndef FORKMARK_JOBS_CONSUMER_PARTS_H
#define FORKMARK_JOBS_CONSUMER_PARTS_H

#include "common/role.h"
#include "common/task.h"
#include "jobs/functions.h"
#include "jobs/rq/claim.h"
#include "jobs/rq/worker_record.h"

/* Why a running job's task was cancelled. */
enum job_cut {
    CUT_NOT,
    CUT_STOPPED, /* stop-job: failed for good */
    CUT_KILLED,  /* kill-horse: a failed attempt */
    CUT_BACK,    /* the consumer must go: back to the head of the queue */
};

/* One queue's blocking wait, on a connection of its own. */
struct queue_wait {
    struct consumer *consumer;
    const char *queue;
    struct redis *redis;
    struct task *task; /* NULL: does not wait now */
};

struct consumer {
    const struct role_context *context;
    struct rq_worker worker;
    struct job_services services;

    struct claimed_job *job; /* claimed; running when `job_task` is set */
    struct task *job_task;
    enum task_outcome job_ended; /* of job_task, once it is NULL again */
    enum job_cut cut;
    struct job_run run;
    enum job_outcome outcome; /* the function's, when it returned */
    uint64_t run_started_ms;
    char next_execution[EXECUTION_SIZE];

    struct task *cycle;   /* the task that takes and ends jobs */
    bool is_cycle_parked; /* waits to be poked, or for its job's end */
    bool is_registered, is_ready, is_complaining;
    bool is_leaving;   /* takes nothing more */
    bool is_quick;     /* and does not wait for Redis */
    const char *state; /* last shown in the worker's record; NULL: none yet */

    struct queue_wait *waits; /* one per queue */
    bool can_block;           /* the server has BLMOVE and lets us use it */
    uint64_t poll_ms;         /* without it: the next poll's delay; 0 after a job */

    uv_timer_t heartbeat, grace;
    struct task *beat_task;
    struct redis_subscription *commands;
};

/* consumer.c */
/* Parks the cycle for at most `ms`; 0: until poked. Yields. */
void consumer_nap(struct consumer *c, uint64_t ms);
void consumer_poke(struct consumer *c);
/* Take nothing more; a running job may end, within the graceful timeout. */
void consumer_leave(struct consumer *c);

/* consumer_job.c */
/* Runs c->job, which is then ended in Redis' books and replaced by the next, or NULL.
 * Yields. */
void consumer_run_job(struct consumer *c);
/* Ends the running job's task, if any. Loop's stack. */
void consumer_cut_job(struct consumer *c, enum job_cut cut);

/* consumer_wait.c */
void consumer_wait_init(struct consumer *c);
/* Until there may be a job, or about a second has passed. Yields. */
void consumer_wait(struct consumer *c);
void consumer_wait_stop(struct consumer *c);

/* consumer_commands.c */
void consumer_listen(struct consumer *c);

#endif
