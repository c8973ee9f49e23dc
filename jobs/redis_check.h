/*
 * redis_check.h - whether the queue's Redis is one that keeps jobs (protocol 15), and one
 * that takes us: certificate, password, the user's rights, no cluster.
 *
 * Asked at a start and a reload, which fail with a Redis that cannot serve, and by
 * `forkmark check --services`. A Redis that is only away fails none of them: it is asked
 * again in the background. Each is for a process, or a moment in one, that has no task
 * runtime yet.
 */
#ifndef FORKMARK_JOBS_REDIS_CHECK_H
#define FORKMARK_JOBS_REDIS_CHECK_H

#include "common/options.h"

struct buf;

enum redis_finding { REDIS_WARNING, REDIS_FAULT };

/* Says each thing worth knowing, from INFO's text and by how many seconds Redis' clock
 * is ahead of ours. How many. */
int redis_check_judge(const char *info, double ahead_s,
                      void (*say)(void *arg, enum redis_finding finding,
                                  const char *text),
                      void *arg);

/* Asks the queue's Redis and logs what there is to say; waits a minute for it to answer.
 * For a short-lived child: always 0. */
int redis_check_log(const struct options *options);
/* Asks it at once and prints to standard error. False: it does not answer, or will not
 * do. */
bool redis_check_print(const struct options *options);
/* False: it cannot serve, the reason in `error` ("redis.url: ..."). True as well where it
 * does not answer at once. */
bool redis_check_probe(const struct options *options, struct buf *error);

#endif
