/*
 * untold.h - events that may be stored, but of which nobody has been told.
 *
 * When the answer to a job's commit is lost, its events may stand: they cannot be told
 * then, and the job's next run does not store them a second time. So they are kept in
 * Redis, by job and by event id, and told by the run that finds them stored. For as long
 * as a stream may be open that has not heard of them; later ones ask PostgreSQL.
 *
 * Best effort. Everything here yields.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_UNTOLD_H
#define FORKMARK_JOBS_FUNCTIONS_UNTOLD_H

#include "jobs/functions.h"

/* In the job's arena. Zeroed: there are none. */
struct untold {
    const char *const *ids;
    const char *const *messages; /* for events_publish() */
    int count;
};

/* `messages`: as events_store() gave them. */
void untold_keep(const struct job_run *job, const char *const *messages, int count);
/* Oldest first; they stay. */
struct untold untold_read(const struct job_run *job);
/* NULL: it is not among them. Does not yield. */
const char *untold_find(const struct untold *untold, const char *event_id);
/* These are told now; whether they are among them is looked up. */
void untold_told(const struct job_run *job, const struct untold *untold,
                 const char *const *messages, int count);

#endif
