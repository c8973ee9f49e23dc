/*
 * poison.h - jobs whose statements end their database server.
 *
 * A connection that breaks in the middle of a job's transaction is nobody's fault, most
 * of the time: the server was restarted, and the job is put off. But a statement may be
 * what ends the server (a bug that its data meets), with every connection there is; given
 * out again and again, that job would take the database away for good. So the losses are
 * counted in the queue's Redis, by job, and the waits between them grow by chance: a job
 * that only stood beside it is soon elsewhere in time.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_POISON_H
#define FORKMARK_JOBS_FUNCTIONS_POISON_H

#include "jobs/functions.h"

/* So many, within an hour of each other, and the job only says that it failed; once more,
 * and it does not even do that. */
#define POISON_LOSSES 5

/* One more; how many there are, 1 when Redis does not say. Yields. */
int poison_count(const struct job_run *job);
/* Without one more; 0 when Redis does not say. Yields. */
int poison_losses(const struct job_run *job);
/* Seconds to wait after that many: 2 to 4, then 4 to 8, then 8 to 16. */
int poison_delay_s(int losses);
/* In the job's arena. */
const char *poison_error(const struct job_run *job);

#endif
