/*
 * migrate.h - brings a database to this binary's schema.
 *
 * Migrations are sql/migrations/NNNN_name.sql, each run once in its own
 * transaction, in order, under one advisory lock, so that many servers may
 * start at once. What ran is kept in schema_migrations (number, name, SHA-256 of
 * the text, when). Blocking libpq: for a sub-command or a short-lived child.
 *
 * Servers of two versions work on one database while they are upgraded one by one. So a
 * migration only adds (a table, a column that may be null or has a default, an index)
 * unless a line of its own says
 *
 *     -- contract: 0007
 *
 * which means: takes away what programs use that do not know migration 0007. Such a one
 * waits until an operator says that none of those runs any more; the program that brings
 * it works before and after, and so must the migrations behind it. An older program works
 * with a newer database until a contract that it does not meet is applied.
 */
#ifndef FORKMARK_SQL_MIGRATE_H
#define FORKMARK_SQL_MIGRATE_H

#include <stddef.h>

struct buf;

/*
 * Those that only add, and in an empty database all of them.
 * How many were applied now, or -1 with the reason in `error`: cannot connect, a
 * statement failed (with its file and line), the database is too new for this
 * binary, or an applied migration's text has changed since. Each step is logged.
 */
int migrate_run(const char *url, struct buf *error);
/* The same with those that take away: no older program may run any more. */
int migrate_contract(const char *url, struct buf *error);

/*
 * How many were applied, and how many of those that only add are missing: with 0 this
 * program can work there. -1 and `error`. Also of a replica.
 */
int migrate_status(const char *url, int *ret_missing, struct buf *error);

#endif
