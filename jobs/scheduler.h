/*
 * scheduler.h - the role with the clock: due jobs, cron, upkeep, outbox, sweeps.
 *
 * One per server; across servers one leads per queue, by RQ's own lock.
 */
#ifndef FORKMARK_JOBS_SCHEDULER_H
#define FORKMARK_JOBS_SCHEDULER_H

#include "common/role.h"

/* The role's run(): see role.h. */
int scheduler_run(const struct role_context *context);

#endif
