/*
 * migrate.h - brings a database to this binary's schema.
 *
 * Migrations are sql/migrations/NNNN_name.sql, each run once in its own
 * transaction, in order, under one advisory lock, so that many servers may
 * start at once. What ran is kept in schema_migrations (number, name, SHA-256 of
 * the text, when). Blocking libpq: for a sub-command or a short-lived child.
 */
#ifndef FORKMARK_SQL_MIGRATE_H
#define FORKMARK_SQL_MIGRATE_H

#include <stddef.h>

struct buf;

/*
 * How many were applied now, or -1 with the reason in `error`: cannot connect, a
 * statement failed (with its file and line), the database is newer than this
 * binary, or an applied migration's text has changed since. Each step is logged.
 */
int migrate_run(const char *url, struct buf *error);

/* Number of migrations known, and of those applied in the database; -1 and `error`. */
int migrate_status(const char *url, int *ret_known, struct buf *error);

#endif
