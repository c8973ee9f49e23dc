/*
 * test_functions.h - what the interoperability checks call; only under
 * jobs.test_functions.
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_TEST_FUNCTIONS_H
#define FORKMARK_JOBS_FUNCTIONS_TEST_FUNCTIONS_H

#include "jobs/functions.h"

enum job_outcome test_echo(struct job_run *job);  /* returns its argument */
enum job_outcome test_fail(struct job_run *job);  /* fails with its message */
enum job_outcome test_sleep(struct job_run *job); /* takes that many seconds */
enum job_outcome test_spin(struct job_run *job);  /* the same, without ever yielding */

#endif
