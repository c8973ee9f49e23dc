/*
 * pg_query.c - the calls handlers and jobs make: statements, transactions, rows.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

bool pg_is_null(const struct pg_rows *rows, int row, int column)
{
    return PQgetisnull(rows->result, row, column);
}

const char *pg_get_text(const struct pg_rows *rows, int row, int column)
{
    return PQgetvalue(rows->result, row, column);
}

size_t pg_get_length(const struct pg_rows *rows, int row, int column)
{
    return (size_t)PQgetlength(rows->result, row, column);
}

int64_t pg_get_int(const struct pg_rows *rows, int row, int column)
{
    return strtoll(PQgetvalue(rows->result, row, column), NULL, 10);
}

double pg_get_double(const struct pg_rows *rows, int row, int column)
{
    return strtod(PQgetvalue(rows->result, row, column), NULL);
}

bool pg_get_bool(const struct pg_rows *rows, int row, int column)
{
    return PQgetvalue(rows->result, row, column)[0] == 't';
}

static void clear_result(void *arg)
{
    PQclear(arg);
}

void pg_rows_of(PGresult *result, struct pg_rows *ret)
{
    *ret = (struct pg_rows){ .result = result,
                             .count = PQntuples(result),
                             .affected = (int)strtol(PQcmdTuples(result), NULL, 10) };
}

/* The result moves from the connection to the task's arena. */
static void give_rows(struct pg_connection *connection, struct pg_rows *ret)
{
    PGresult *result = connection->result;

    if (!ret)
        return;
    /* In this order: the arena may be full, and ends the task then. */
    arena_defer(task_arena(), clear_result, result);
    connection->result = NULL;
    pg_rows_of(result, ret);
}

/* ---- one statement ---- */

static uint64_t statement_deadline(const struct pg *pg)
{
    return clock_ms() + pg->options.statement_timeout_ms;
}

int pg_run(struct pg *pg, const struct query *query, const struct pg_param *params,
           int count, struct pg_rows *ret)
{
    if (query->is_quick && pg->pipes) {
        int rc = pg_pipe_run(pg, query, params, count, ret);

        if (rc != PG_NOT_HERE)
            return rc;
    }
    for (bool is_again = false;; is_again = true) {
        struct pg_lease *lease;
        int rc = pg_acquire(pg, pg->options.acquire_timeout_ms, &lease);

        if (rc < 0)
            return rc;
        struct pg_connection *connection = lease->connection;
        rc = pg_statement_run(connection, query, params, count, statement_deadline(pg));
        if (rc == 0)
            give_rows(connection, ret);
        /* Once more on another connection, if doing it twice is impossible or harmless.
         */
        bool may_repeat = connection->is_lost && !is_again &&
                          (connection->was_unsent || query->route == QUERY_REPLICA);
        if (connection->is_lost)
            pg->reconnects++;
        pg_release(lease);
        if (!may_repeat)
            return rc;
    }
}

/* ---- transactions ---- */

struct pg_tx {
    struct pg *pg;
    struct pg_lease *lease; /* NULL: over */
};

int pg_begin(struct pg *pg, struct pg_tx **ret)
{
    for (bool is_again = false;; is_again = true) {
        struct pg_lease *lease;
        int rc = pg_acquire(pg, pg->options.acquire_timeout_ms, &lease);

        if (rc < 0)
            return rc;
        rc = pg_statement_command(lease->connection, "pg:begin", "BEGIN",
                                  statement_deadline(pg));
        if (rc == 0) {
            struct pg_tx *tx = arena_alloc(task_arena(), sizeof(*tx));

            *tx = (struct pg_tx){ .pg = pg, .lease = lease };
            *ret = tx;
            return 0;
        }
        bool may_repeat = lease->connection->is_lost && !is_again;
        pg_release(lease);
        if (!may_repeat)
            return rc;
        pg->reconnects++;
    }
}

static void tx_end(struct pg_tx *tx)
{
    pg_release(tx->lease);
    tx->lease = NULL;
}

/* A connection that broke is given back at once: nothing more can come of it. */
static bool tx_is_gone(const struct pg_tx *tx)
{
    return tx->lease->connection->is_shut || tx->lease->connection->is_lost;
}

int pg_tx_run(struct pg_tx *tx, const struct query *query, const struct pg_param *params,
              int count, struct pg_rows *ret)
{
    if (!tx->lease)
        return -EAGAIN;
    int rc = pg_statement_run(tx->lease->connection, query, params, count,
                              statement_deadline(tx->pg));
    if (rc == 0)
        give_rows(tx->lease->connection, ret);
    else if (tx_is_gone(tx))
        tx_end(tx);
    return rc;
}

int pg_commit(struct pg_tx *tx)
{
    if (!tx->lease)
        return -EAGAIN;
    struct pg_connection *connection = tx->lease->connection;
    int rc = pg_statement_command(connection, "pg:commit", "COMMIT",
                                  statement_deadline(tx->pg));

    /* COMMIT of a transaction that has failed before is answered by ROLLBACK. */
    if (rc == 0 && strcmp(PQcmdStatus(connection->result), "COMMIT") != 0)
        rc = -EIO;
    if (rc < 0 && tx_is_gone(tx) && !connection->was_unsent) {
        log_error("the answer to a COMMIT was lost: it may or may not have happened");
        rc = -EAGAIN;
    }
    tx_end(tx);
    return rc;
}

void pg_rollback(struct pg_tx *tx)
{
    if (!tx->lease)
        return;
    pg_statement_command(tx->lease->connection, "pg:rollback", "ROLLBACK",
                         statement_deadline(tx->pg));
    tx_end(tx);
}

int pg_ping(struct pg *pg, uint64_t timeout_ms)
{
    uint64_t deadline = clock_ms() + timeout_ms;

    for (bool is_again = false;; is_again = true) {
        struct pg_lease *lease;
        int rc = pg_acquire(pg, timeout_ms, &lease);

        if (rc < 0)
            return rc;
        rc = pg_statement_command(lease->connection, "pg:ping", "SELECT 1", deadline);
        bool may_repeat = lease->connection->is_lost && !is_again;
        pg_release(lease);
        if (!may_repeat)
            return rc;
    }
}
