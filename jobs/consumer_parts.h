/*
 * consumer_parts.h - what the files of the consumer share.
 *
 * consumer.c: the role's life and its cycle; consumer_job.c: one job from claim to
 * outcome; consumer_queues.c: which queue's turn it is, and jobs left to others;
 * consumer_wait.c: waiting for the next; consumer_commands.c: RQ's commands to a
 * worker.
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

/* A queue as this consumer goes through it. All but the first two are for queues in
 * which jobs are left. */
struct queue_view {
    char *name;
    bool leaves;          /* jobs that nobody here can run stay in it */
    char **found;         /* entries of claims, ours alone, in the queue's order */
    size_t found_count;   /* the look stops at a few */
    bool has_more;        /* and goes on at `at` */
    size_t at;            /* index in the list */
    size_t length;        /* as it was before the last look ... */
    uint64_t first, last; /* ... and hashes of the ids at its ends */
    bool must_look;       /* even if these are the same */
    uint64_t looked_ms, asked_ms, found_ms;
    uint64_t reach_ms; /* how long this pass took to the first of ours; 0: none yet */
};

/* Seeded hashes of ids; `room` is a power of two. */
struct foreign_ids {
    uint64_t *hashes, seed, since_ms;
    size_t room, count;
};

struct consumer {
    const struct role_context *context;
    struct rq_worker worker;
    struct job_services services;

    struct claimed_job *job; /* claimed; running when `job_task` is set */
    struct task *job_task;
    enum task_outcome job_ended; /* of job_task, once it is NULL again */
    enum job_cut cut;
    bool is_settling; /* job_task has ended, what it started not yet */
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

    struct queue_view *queues, **order; /* as configured; whose turn it is */
    size_t queue_count;
    struct conf_list claim_from; /* the order as the claim script takes it */
    bool has_foreign;            /* jobs are left to others in at least one queue */
    struct foreign_ids foreign;
    uint64_t suspect; /* judged just now; set after a task that ended of it */
    struct arena *check_arena;
    uint64_t look_took_ms;

    /* Told to stop a job that we do not have: its claim's answer may be on its way. */
    char *stop_id, *stop_execution; /* NULL: none; NULL: whichever */
    uint64_t stop_told_ms;

    int64_t jobs_run;         /* executions, for max_jobs */
    uint64_t idle_since_ms;   /* 0: not idle */
    bool is_done;             /* leaves for good: burst or idle time, see role.h */
    bool has_enqueued_due;    /* a burst starts with what is due */
    struct queue_wait *waits; /* one per queue */
    bool can_block;           /* the server has BLMOVE and lets us use it */
    uint64_t poll_ms;         /* without it: the next poll's delay; 0 after a job */

    uv_timer_t heartbeat, grace;
    struct task *beat_task, *shutdown_task;
    struct redis_subscription *commands;
    bool is_listening; /* the server has confirmed the channel once */
};

/* consumer.c */
/* Parks the cycle for at most `ms`; 0: until poked. Yields. */
void consumer_nap(struct consumer *c, uint64_t ms);
void consumer_poke(struct consumer *c);
/* Leaves for good: nobody is to take this place (a burst is over). */
void consumer_done(struct consumer *c, const char *why);
/* Take nothing more; a running job may end: within the graceful timeout, where the whole
 * server stops. */
void consumer_leave(struct consumer *c);
/* RQ shows since when a worker with a job is asked to leave. */
void consumer_show_leaving(struct consumer *c);

/* consumer_job.c */
/* Runs c->job, which is then ended in Redis' books and replaced by the next, or NULL.
 * Yields. */
void consumer_run_job(struct consumer *c);
/* Ends the running job's task, if any. Loop's stack. */
void consumer_cut_job(struct consumer *c, enum job_cut cut);

/* consumer_burst.c */
/* Enqueues what is due, when this is a burst's start. Yields. 0 or an error. */
int consumer_start_burst(struct consumer *c);

/* consumer_queues.c */
void consumer_queues_init(struct consumer *c);
void consumer_queues_free(struct consumer *c);
/* Before a claim: looks through the queues whose foreign jobs are left. Yields. 0 or an
 * error. */
int consumer_look(struct consumer *c);
/* Whether a claim may be made without another look. */
bool consumer_may_claim(struct consumer *c);
/* What a claim brought; NULL: nothing. Moves the queues' turns on. */
void consumer_claimed(struct consumer *c, const struct claimed_job *job);
/* Every queue was looked through to its end. */
bool consumer_has_looked(const struct consumer *c);
/* There are jobs in that queue (by the configured order) that nobody here can run. */
bool consumer_leaves_jobs(const struct consumer *c, size_t queue);

/* consumer_wait.c */
void consumer_wait_init(struct consumer *c);
/* Until there may be a job, or about a second has passed. Yields. */
void consumer_wait(struct consumer *c);
void consumer_wait_stop(struct consumer *c);

/* consumer_commands.c */
void consumer_listen(struct consumer *c);
/* Whether c->job was told to stop before we knew that it is ours. Asked once. */
bool consumer_was_stopped(struct consumer *c);

#endif
