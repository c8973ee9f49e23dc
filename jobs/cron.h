/*
 * cron.h - the entries of jobs.cron: their jobs are enqueued when they are due.
 *
 * Every server's scheduler tries each due time; Redis lets one of them (cron.lua), so no
 * leader is needed and none is missed. A time at which nobody ran is made up for once,
 * for the latest of those that were missed, within the entry's `catch_up`.
 */
#ifndef FORKMARK_JOBS_CRON_H
#define FORKMARK_JOBS_CRON_H

#include "common/cron.h"
#include "common/options.h"
#include "common/redis.h"

struct cron_table;

/* The options must outlive it. */
struct cron_table *cron_table_new(const struct options *options);
void cron_table_free(struct cron_table *table); /* NULL is fine */
/* Enqueues what is due. How many jobs, or an error of redis.h. Yields. */
int cron_table_run(struct cron_table *table, struct redis *redis);

/* Where Redis keeps what was served of an entry: a hash with last_due (seconds since
 * 1970), last_run and last_job, last_missed. In the task's arena. */
const char *cron_entry_key(const struct options *options,
                           const struct cron_options *entry);

#endif
