/*
 * outbox.h - the promise in PostgreSQL that a job will reach Redis.
 *
 * Whoever makes work for a job adds an outbox row in the same transaction, under a
 * job id fixed there; after the commit it pushes (best effort). The job's first
 * transaction deletes the row. Whatever Redis (a fail-over to a replica that had not
 * heard of the job), or a process, loses in between, the scheduler pushes rows older
 * than jobs.outbox_age whose job is gone.
 *
 * Both steps of a bookmark's way are owed like that: reading its page (J1), by whoever
 * saves it, and its embedding (J3), by J1.
 */
#ifndef FORKMARK_JOBS_OUTBOX_H
#define FORKMARK_JOBS_OUTBOX_H

#include "common/pg.h"
#include "common/redis.h"
#include <stdint.h>

/* "bookmark_process_<id>_<8 hex>" (contract 3.1), in the task's arena. */
const char *outbox_bookmark_job_id(int32_t bookmark_id);

/* J1, or by any other id (a UUID) J3, for a bookmark, owed from now on. In the caller's
 * transaction. Yields. 0 or pg's error. */
int outbox_add_bookmark(struct pg_tx *tx, const char *job_id, int32_t user_id,
                        int32_t bookmark_id, const char *url, const char *queue,
                        const char *request_id);
/* After the commit. Best effort: errors are logged, the scheduler tries again. Yields. */
void outbox_push_bookmark(struct redis *redis, const char *job_id, int32_t user_id,
                          int32_t bookmark_id, const char *url, const char *queue,
                          const char *request_id);
/* The same for J3, by its job's id. */
void outbox_push_embedding(struct redis *redis, const char *job_id, int32_t user_id,
                           int32_t bookmark_id, const char *request_id);
/* One round of the scheduler's duty: rows older than `age_ms` whose job hash is
 * gone are pushed again. Yields. How many, or an error. */
int outbox_flush(struct pg *pg, struct redis *redis, uint64_t age_ms);

#endif
