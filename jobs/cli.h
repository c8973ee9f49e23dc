/*
 * cli.h - `forkmark jobs ...`: look into and change the queues.
 */
#ifndef FORKMARK_JOBS_CLI_H
#define FORKMARK_JOBS_CLI_H

#include "common/options.h"

/* argv[0] is the command after `jobs`. The exit status. */
int jobs_cli(const struct options *options, int argc, char **argv);

#endif
