/*
 * consumer.h - the role that runs jobs: one at a time, one process each.
 */
#ifndef FORKMARK_JOBS_CONSUMER_H
#define FORKMARK_JOBS_CONSUMER_H

#include "common/role.h"

/* The role's run(): see role.h. Recovers context->predecessor's job first. */
int consumer_run(const struct role_context *context);

#endif
