/*
 * poison.h - jobs whose statements end their database server.
 *
 * A connection that breaks in the middle of a job's transaction is nobody's fault, most
 * of the time: the server or the net failed, and the job is put off. But a statement may
 * be what ends the server (a bug that its data meets), with every connection there is;
 * given out again and again, that job would take the database away for good. So losses
 * without a word of the server's are counted in the queue's Redis, by job, and the waits
 * between them grow by chance: a job that only stood beside it is soon elsewhere in time.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_POISON_H
#define FORKMARK_JOBS_FUNCTIONS_POISON_H

#include "jobs/functions.h"

/* So many, each within an hour of the last, and the job only tells its failure; once
 * more, and it only marks its bookmark; once more, and it ends without. */
#define POISON_LOSSES 5

/* One more; how many there are, 1 when Redis does not say. Yields. */
int poison_count(const struct job_run *job);
/* Without one more; 0 when Redis does not say. Yields. */
int poison_losses(const struct job_run *job);
/* The job has ended, or given up: when it is tried again by hand, it begins anew. Yields.
 */
void poison_forget(const struct job_run *job);
/* Seconds to wait after that many: 2 to 4, then 4 to 8, then 8 to 16. */
int poison_delay_s(int losses);
/* In the job's arena. */
const char *poison_error(const struct job_run *job);

#endif
