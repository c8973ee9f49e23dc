/*
 * exec.h - a job function that is a command: jobs.functions of the configuration.
 *
 * The command gets {"id", "args", "kwargs", "meta"} as one line of JSON on its standard
 * input and answers with JSON on its standard output; nothing at all means None. What
 * JSON cannot express is written as value_to_json() of jobs/rq/value.h writes it.
 *
 * A failure's reason is the end of its standard error, and as the last line what became
 * of the command, in RQ's form "Kind: message".
 */
#ifndef FORKMARK_JOBS_FUNCTIONS_EXEC_H
#define FORKMARK_JOBS_FUNCTIONS_EXEC_H

#include "jobs/functions.h"

enum job_outcome exec_command(struct job_run *job);

/* The configured function of that name or alias as a row of the table; NULL: none.
 * Lives until another configuration is asked. */
const struct job_function *exec_function_find(const struct options *options,
                                              const char *name);

/*
 * What is wrong with the configured functions on this machine, one line each, with file
 * and line: a program that is not there or not executable, a folder that is none, a
 * name of our own. Whether all is well.
 */
bool exec_functions_check(const struct options *options, struct buf *complaints);
/* The same as warnings in the log. */
void exec_functions_warn(const struct options *options);

#endif
