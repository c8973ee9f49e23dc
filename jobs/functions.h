/*
 * functions.h - the table of what consumers can run.
 *
 * A function runs in the job's task, one job per consumer process at a time. It
 * reads its arguments, works, and returns a job_outcome. It never writes RQ's
 * keys; the consumer does that, in one script with the next claim.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_H
#define FORKMARK_JOBS_FUNCTIONS_H

#include "common/options.h"
#include "common/pg.h"
#include "common/redis.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/value.h"
#include <stdint.h>

struct cache;
struct fetcher;

/* What a consumer process has; one per process. */
struct job_services {
    const struct options *options;
    struct pg *pg;
    struct redis *redis; /* the queue's */
    struct redis *cache_redis;
    struct cache *cache;
    struct fetcher *fetcher;
};

enum job_outcome {
    JOB_SUCCESS,
    JOB_FAILED,       /* retried while retries are left */
    JOB_FAILED_FINAL, /* no retry makes sense (HTTP 404) */
    JOB_LATER,        /* put back for `delay_s`; costs no retry */
};

struct job_run {
    const struct job_services *services;
    const struct job_function *function;
    struct arena *arena; /* the job's; also task_arena() */
    const char *id;
    const char *request_id;   /* of the request that caused it; NULL: none */
    const struct value *meta; /* NULL: none, or not to be read */
    struct call call;
    int retries_left;
    bool is_last_attempt; /* no retry will follow a failure */
    /* Set by the function: */
    struct value *result; /* NULL: None */
    const char *error;    /* last line "Kind: message" */
    int delay_s;          /* JOB_LATER */
    /*
     * What must have ended before the job's outcome is told. Called in a task that is
     * not cut off, when the job's own was; yields, for `settle_ms` and little more.
     * `is_hurried` may become true meanwhile: the consumer has to go.
     */
    void (*settle)(struct job_run *job);
    void *settle_with;
    uint64_t settle_ms;
    bool is_hurried;
    const char *note; /* stands before the reason when the task was cut off */
};

#define JOB_INTERVALS_MAX 4

struct job_function {
    const char *name; /* RQ's dotted name */
    const char *aliases[3];
    /* Checked before the call: "int bookmark_id, text url, int user_id". Types are
     * int, number, text and any; given by position or keyword; a `?` after the type
     * means it may be absent or None. NULL: whatever it is, it is not checked. */
    const char *args;
    enum job_outcome (*run)(struct job_run *job);
    int64_t timeout_s;
    int retries;
    int retry_intervals[JOB_INTERVALS_MAX]; /* seconds; up to the first 0 */
    bool for_tests;                         /* only under jobs.test_functions */
    /* One of the configuration's, see functions/exec.h; NULL: ours. */
    const struct function_options *command;
};

/* Ends with a NULL name. */
extern const struct job_function job_functions[];
/* By name or alias, ours and then the configuration's; NULL when unknown (or a test
 * function that is off). */
const struct job_function *job_function_find(const struct options *options,
                                             const char *name);

/* Gives a job what its caller left open: the function's timeout (0), its retries
 * (JOB_RETRIES_OPEN) and, where none are named, their intervals. */
struct job_spec;
void job_function_complete(const struct job_function *function, struct job_spec *spec);

/* An argument by its name in the spec; the consumer has checked types before. */
const struct value *job_arg(const struct job_run *job, const char *name);
int64_t job_arg_int(const struct job_run *job, const char *name);
const char *job_arg_text(const struct job_run *job, const char *name); /* NULL: absent */
/* False and job->error when the arguments do not fit the spec. */
bool job_args_check(struct job_run *job, const struct job_function *function);

/* J1 (functions/process_bookmark.c) and J3 (functions/embed_bookmark.c). */
enum job_outcome process_bookmark(struct job_run *job);
enum job_outcome embed_bookmark(struct job_run *job);

#define JOB_PROCESS_BOOKMARK \
    "services.bookmark_processing_service.process_bookmark_content_task"
#define JOB_EMBED_BOOKMARK "services.bookmark_processing_service.generate_embedding_task"

#endif
