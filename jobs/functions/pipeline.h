/*
 * pipeline.h - what the stages of a bookmark's processing share.
 *
 * A stage is one or more transactions. Each changes the bookmark and stores the
 * event that says so; what was stored is told to the user's pages once it is
 * committed, not before.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_PIPELINE_H
#define FORKMARK_JOBS_FUNCTIONS_PIPELINE_H

#include "common/pg.h"
#include "jobs/functions.h"
#include "jobs/functions/untold.h"
#include <stdint.h>

#define PIPELINE_MESSAGES 4

struct pipeline {
    struct job_run *job;
    int32_t user_id, bookmark_id;
    const char *run_id;        /* of all stages' events */
    const char *embedding_job; /* owed by this one; NULL: none */
    bool is_first;             /* this job has not been here before */
    bool is_gone;              /* the bookmark was deleted since the stage started */
    int losses;                /* of the connection, in runs before: see poison.h */
    /* Events of the open transaction, to be told after its commit. */
    const char *messages[PIPELINE_MESSAGES];
    int message_count;
    struct untold untold; /* of this job's runs before; read once the run is found */
};

/* From the job's arguments; no run yet. Yields. */
struct pipeline pipeline_of(struct job_run *job);

/* The outbox no longer owes this job. In `tx`. Yields. */
int pipeline_keep_promise(struct pipeline *p, struct pg_tx *tx);
/*
 * Behind it, the run of this bookmark: the one it is in, or a new one. In `tx`. Yields.
 * 0, a negative error, or 1: this very job has ended this stage well before. That comes
 * of a Redis that has forgotten the job's end, or never heard of it (a fail-over, a
 * consumer killed in that moment): nobody is to see the work a second time.
 */
enum pipeline_stage { PIPELINE_SCRAPING, PIPELINE_EMBEDDING };
int pipeline_find_run(struct pipeline *p, struct pg_tx *tx, enum pipeline_stage stage);

/* How the run's stage ended: 1 well, 0 badly, -ENOENT not yet; or pg's error. Yields. */
int pipeline_stage_end(struct pipeline *p, struct pg_tx *tx, const char *run_id,
                       const char *type);

/* Then: what was not heard of it is told, and the cache forgets what was before. Yields.
 */
void pipeline_was_done(struct pipeline *p, struct pg_tx *tx);

/* Stores "bookmark.pipeline.<stage>", in `tx`. Yields. 0 or pg's error. */
int pipeline_event(struct pipeline *p, struct pg_tx *tx, int sequence, const char *stage,
                   const char *data, const char *error);

/* The end of a stage that had started, when the bookmark is gone: its user's pages, which
 * count what is under way, are told of it as an error. Yields. */
void pipeline_tell_gone(struct pipeline *p, int sequence, const char *stage);
/* The same when an attempt before had started the stage (begun.h), if one had. Yields. */
void pipeline_tell_gone_since(struct pipeline *p, int sequence, const char *stage);

/* Runs a statement on the bookmark: user and id, then what `more` holds. Yields. */
int pipeline_run(struct pipeline *p, struct pg_tx *tx, const struct query *query,
                 const struct pg_param *more, int count, struct pg_rows *ret);

/*
 * Commits, drops what was cached of this user, then tells the events. When the answer is
 * lost the next run tells them, if they stand. Yields. 0 or pg's error.
 */
int pipeline_commit(struct pipeline *p, struct pg_tx *tx);

/*
 * The database did not do it: later when it is away or busy, which costs no retry; for
 * good when it went away in the middle of this job too often (poison.h); else failed.
 * `tx` (or NULL) is rolled back. Yields.
 */
enum job_outcome pipeline_stop(struct pipeline *p, struct pg_tx *tx, int rc);
/*
 * It did so often enough: all that is left to do is to tell the failure; job->error is
 * set. Where not even a run can be started, pipeline_give_up() does no more than `mark`
 * the bookmark, and returns the job's outcome. Yields.
 */
bool pipeline_is_poison(const struct pipeline *p);
bool pipeline_is_hopeless(const struct pipeline *p);
enum job_outcome pipeline_give_up(struct pipeline *p, const struct query *mark);

/* J3 is owed from the commit of `tx` on; and pushed behind it. Both yield. */
int pipeline_owe_embedding(struct pipeline *p, struct pg_tx *tx, const char *url);
void pipeline_push_embedding(struct pipeline *p);

#endif
