/*
 * worker.h - the HTTP worker: boot, serve, drain.
 */
#ifndef FORKMARK_WORKER_WORKER_H
#define FORKMARK_WORKER_WORKER_H

#include "common/role.h"

/* The role's run(): see role.h. */
int worker_run(const struct role_context *context);

#endif
