/*
 * work.h - `forkmark jobs work`: a pool of consumers in the foreground, as `rq worker`
 * and `rq worker-pool` are.
 */
#ifndef FORKMARK_MASTER_WORK_H
#define FORKMARK_MASTER_WORK_H

#include "master/cli.h"

/* `arguments->words` start with "work". The exit status. */
int work(const struct arguments *arguments);

#endif
