/*
 * waiting.h - looking at a queue's jobs without taking any.
 *
 * Yields, inside tasks. Errors are those of redis.h; texts are in the task's arena.
 */
#ifndef FORKMARK_JOBS_RQ_WAITING_H
#define FORKMARK_JOBS_RQ_WAITING_H

#include "common/redis.h"
#include <stdint.h>

#define WAITING_PREFIX 2048 /* holds any function's name, however deflated */

struct waiting_job {
    const char *id;
    size_t id_length;
    const char *status; /* "" when there is no hash */
    size_t data_length; /* 0: there is no such job */
    const char *data;   /* its first WAITING_PREFIX bytes */
};

/* What tells whether a queue has changed: its length and the ids at both ends. */
struct waiting_ends {
    size_t length;
    const char *first, *last; /* "" when empty */
};
int waiting_ends(struct redis *redis, const char *queue, struct waiting_ends *ret);

/* Ids from `at` on, at most `max`, as they stand now. How many, or an error. */
int waiting_ids(struct redis *redis, const char *queue, size_t at, size_t max,
                struct waiting_job *ret);
/* Fills in the rest of `count` jobs whose ids are set. 0 or an error. */
int waiting_peek(struct redis *redis, struct waiting_job *jobs, size_t count);
/* All of one job's data. 0 or an error; "" and 0 bytes when it is gone. */
int waiting_data(struct redis *redis, const struct waiting_job *job, const char **ret,
                 size_t *ret_length);

#endif
