/*
 * redis_check.h - whether the queue's Redis is one that keeps jobs (protocol 15).
 *
 * Said once a start, and by `forkmark check --services`. Each is for a process, or
 * a moment in one, that has no task runtime yet.
 */
#ifndef FORKMARK_JOBS_REDIS_CHECK_H
#define FORKMARK_JOBS_REDIS_CHECK_H

#include "common/options.h"

/* Says each thing worth knowing, from INFO's text and by how many seconds Redis' clock
 * is ahead of ours. How many. */
int redis_check_judge(const char *info, double ahead_s,
                      void (*say)(void *arg, const char *text), void *arg);

/* Asks the queue's Redis and logs warnings; waits a minute for it to answer. For a
 * short-lived child: always 0. */
int redis_check_log(const struct options *options);
/* Asks it at once and prints to standard error. False: it does not answer. */
bool redis_check_print(const struct options *options);

#endif
