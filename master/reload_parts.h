/*
 * reload_parts.h - what the files of a reload share. Nothing else includes this.
 *
 *   reload.c          how one begins, and its stages from turn to turn
 *   reload_diff.c     what changes between two configurations
 *   reload_proof.c    what is tried out before anything changes: probe and proof
 *   reload_trial.c    from the commit on: roll, trial, the way back
 *   reload_outcome.c  one that failed, or is given up
 *
 * What the rest of the master calls stands in master.h.
 */
#ifndef FORKMARK_MASTER_RELOAD_PARTS_H
#define FORKMARK_MASTER_RELOAD_PARTS_H

#include "common/log.h"
#include "master/master.h"
#include <stdbool.h>

/* reload_diff.c. Adds to the report what r->next changes, a line each, and notes what
 * has to be done; r->next keeps the old values of what has to wait for a restart. */
void reload_compare(struct reload *r, const struct options *old);
/* Whether the option `path` has another value. */
bool reload_is_changed(const struct options *old, const struct options *new,
                       const char *path);

/* reload_proof.c. Starts the child that looks at the database: RELOAD_PROBE, or the
 * reload has failed. */
void reload_probe(struct master *m);
/* Starts the new generation's first child: RELOAD_PROOF, or the reload has failed.
 * Where no child has to prove anything, commits at once. */
void reload_start_proof(struct master *m);

/* reload_trial.c. The new options are the master's: RELOAD_ROLL. */
void reload_commit(struct master *m);
/* Whether only the new generation is left, and as many of it are ready as are wanted. */
bool reload_is_rolled(const struct master *m);
/* The reload is told as complete: RELOAD_ON_TRIAL. A rollback ends here. */
void reload_finish_roll(struct master *m);

/* reload_outcome.c. Ends one before its commit: the old generation has not noticed
 * anything. */
void reload_fail(struct master *m, const char *reason);
/* The same, with the place the option `path` was read from ("forkmark.conf:12: ...").
 * NULL: no option is at fault. */
void reload_fail_at(struct master *m, const char *path, const char *reason);
/* The option a reason begins with ("redis.url: ..."), or NULL; in a static buffer. */
const char *reload_option_of(const char *reason);
/* For `ctl status`, the events and the count of failures. Copies `reason`. */
void reload_remember_failure(struct master *m, const char *reason);
/* The reload is over, and nothing of it is left but the last one's outcome. */
void reload_clear(struct master *m);
/* Logs each line of `text`, `before` in front. */
void reload_log_lines(const char *text, enum log_level level, const char *before);

#endif
