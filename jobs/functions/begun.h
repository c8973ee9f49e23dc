/*
 * begun.h - stages that began and are to be tried again.
 *
 * The bookmark may be deleted until then, and its events with it; but pages that are
 * open have heard that the stage began, and count it. So its run is kept in Redis, by
 * job, for as long as a stream may be open that has heard of it.
 *
 * Best effort. Everything here yields.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_BEGUN_H
#define FORKMARK_JOBS_FUNCTIONS_BEGUN_H

#include "jobs/functions.h"

void begun_keep(const struct job_run *job, const char *run_id);
/* Once; NULL: none. In the job's arena. */
const char *begun_take(const struct job_run *job);

#endif
