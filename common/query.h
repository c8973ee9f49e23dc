/*
 * query.h - a named SQL statement, embedded at build time.
 *
 * sql/queries/<resource>.sql holds them; the build writes generated/queries.h
 * with one `extern const struct query sql_<name>;` each. C names a query, never
 * writes SQL. Header lines of a query in its file:
 *
 *   -- name: bookmark_list
 *   -- route: replica          (or primary)
 *   -- params: int user_id, text search, int limit
 *   -- tenant: user_id         (the column it is limited by; or `all: why`)
 *   -- index: idx_saved_content_user_saved_at   (optional: the plan must use it)
 *   -- quick: why it is        (optional: reads a few rows by index, whatever the user
 *                               has, so it may share a connection; see pg_pipe.c)
 *   SELECT ...;
 */
#ifndef FORKMARK_COMMON_QUERY_H
#define FORKMARK_COMMON_QUERY_H

#include <stdbool.h>
#include <stddef.h>

enum query_route { QUERY_PRIMARY, QUERY_REPLICA };

struct query {
    const char *name; /* also the prepared statement's name */
    const char *text;
    enum query_route route;
    int param_count;
    const char *params; /* as in the header, for tests and error messages */
    const char *tenant;
    const char *index; /* or NULL */
    bool is_quick;
    size_t id; /* 0 .. query_count - 1 */
};

extern const struct query *const query_table[];
extern const size_t query_count;

#endif
