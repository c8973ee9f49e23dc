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

/* After an error: whether the server may have done it all the same. */
static bool may_stand(const struct pg_connection *connection)
{
    return (connection->is_lost || connection->is_shut) && !connection->was_unsent;
}

/* See pg.h; `is_marked`: the server was asked for the position. */
static uint64_t position_of(const struct pg_connection *connection, int rc,
                            bool is_marked)
{
    if (rc < 0)
        return may_stand(connection) ? PG_POSITION_UNKNOWN : PG_POSITION_NONE;
    return is_marked ? connection->position : PG_POSITION_NONE;
}

/* One statement, or nothing but a reason, on a connection of the task's own. */
static int run_alone(struct pg *pg, const struct query *query,
                     const struct pg_param *params, int count, struct pg_rows *ret,
                     uint64_t *ret_position, bool *ret_may_repeat)
{
    bool is_marked = ret_position && pg->options.keeps_positions;
    struct pg_lease *lease;
    int rc = pg_acquire(pg, pg->options.acquire_timeout_ms, &lease);

    *ret_may_repeat = false;
    if (ret_position)
        *ret_position = PG_POSITION_NONE;
    if (rc < 0)
        return rc;
    struct pg_connection *connection = lease->connection;
    rc = pg_statement_run(connection, query, params, count, is_marked,
                          statement_deadline(pg));
    if (rc == 0)
        give_rows(connection, ret);
    if (ret_position)
        *ret_position = position_of(connection, rc, is_marked);
    /* Once more on another one, if doing it twice is impossible or harmless. */
    *ret_may_repeat =
        connection->is_lost && (connection->was_unsent || query->route == QUERY_REPLICA);
    if (connection->is_lost)
        pg->reconnects++;
    pg_release(lease);
    return rc;
}

int pg_run_here(struct pg *pg, const struct query *query, const struct pg_param *params,
                int count, struct pg_rows *ret, bool *ret_may_repeat)
{
    pg_board_count(pg, PG_COUNT_QUERIES);
    if (query->is_quick && pg->pipes) {
        int rc = pg_pipe_run(pg, query, params, count, ret);

        *ret_may_repeat = false;
        if (rc != PG_NOT_HERE)
            return rc;
    }
    return run_alone(pg, query, params, count, ret, NULL, ret_may_repeat);
}

int pg_run(struct pg *pg, const struct query *query, const struct pg_param *params,
           int count, struct pg_rows *ret)
{
    bool may_repeat;
    int rc = pg_run_here(pg, query, params, count, ret, &may_repeat);

    if (may_repeat)
        rc = run_alone(pg, query, params, count, ret, NULL, &may_repeat);
    return rc;
}

int pg_write(struct pg *pg, const struct query *query, const struct pg_param *params,
             int count, struct pg_rows *ret, uint64_t *ret_position)
{
    bool may_repeat;

    pg_board_count(pg, PG_COUNT_QUERIES);
    int rc = run_alone(pg, query, params, count, ret, ret_position, &may_repeat);
    if (may_repeat)
        rc = run_alone(pg, query, params, count, ret, ret_position, &may_repeat);
    return rc;
}

/* ---- transactions ---- */

struct pg_tx {
    struct pg *pg;
    struct pg_lease *lease; /* NULL: over */
    bool is_lost;           /* see pg_tx_is_lost() */
};

int pg_begin(struct pg *pg, struct pg_tx **ret)
{
    pg_board_count(pg, PG_COUNT_QUERIES);
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
    const struct pg_connection *connection = tx->lease->connection;

    tx->is_lost = connection->is_lost && !connection->is_shut && !connection->was_unsent;
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
    int rc = pg_statement_run(tx->lease->connection, query, params, count, false,
                              statement_deadline(tx->pg));
    if (rc == 0)
        give_rows(tx->lease->connection, ret);
    else if (tx_is_gone(tx))
        tx_end(tx);
    return rc;
}

static int commit(struct pg_tx *tx, uint64_t *ret_position)
{
    bool is_marked = ret_position && tx->pg->options.keeps_positions;

    if (ret_position)
        *ret_position = PG_POSITION_NONE;
    if (!tx->lease)
        return -EAGAIN;
    struct pg_connection *connection = tx->lease->connection;
    uint64_t deadline = statement_deadline(tx->pg);
    int rc = is_marked
                 ? pg_statement_commit_marked(connection, deadline)
                 : pg_statement_command(connection, "pg:commit", "COMMIT", deadline);

    /* COMMIT of a transaction that has failed before is answered by ROLLBACK. */
    if (rc == 0 && strcmp(PQcmdStatus(connection->result), "COMMIT") != 0)
        rc = -EIO;
    if (rc < 0 && may_stand(connection)) {
        log_error("the answer to a COMMIT was lost: it may or may not have happened");
        rc = -EAGAIN;
    }
    if (ret_position)
        *ret_position = position_of(connection, rc, is_marked);
    tx_end(tx);
    return rc;
}

int pg_commit(struct pg_tx *tx)
{
    return commit(tx, NULL);
}

int pg_commit_at(struct pg_tx *tx, uint64_t *ret_position)
{
    return commit(tx, ret_position);
}

void pg_rollback(struct pg_tx *tx)
{
    if (!tx->lease)
        return;
    pg_statement_command(tx->lease->connection, "pg:rollback", "ROLLBACK",
                         statement_deadline(tx->pg));
    tx_end(tx);
}

bool pg_tx_is_lost(const struct pg_tx *tx)
{
    return tx->is_lost;
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
