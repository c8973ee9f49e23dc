/*
 * begun.h - stages that have begun and not ended.
 *
 * Whatever cuts a job off, it is tried again; but its bookmark may be deleted until then,
 * and its events with it. Pages that are open have heard that the stage began, and count
 * it. So its run is kept in Redis, by job, for as long as a stream may be open that has
 * heard of it.
 *
 * Best effort. Everything here yields.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_BEGUN_H
#define FORKMARK_JOBS_FUNCTIONS_BEGUN_H

#include "jobs/functions.h"

void begun_keep(const struct job_run *job, const char *run_id);
/* NULL: none. In the job's arena. */
const char *begun_find(const struct job_run *job);
void begun_drop(const struct job_run *job);

#endif
