/*
 * pg_statement.c - one statement on one connection: send it, wait, read it.
 *
 * A statement is prepared at its first use on a connection, under its query's
 * name, and executed from then on. Parameters and results are text; PG_BYTES
 * alone goes as binary, since it may hold NUL bytes.
 *
 * When a connection fails, `was_unsent` says whether the statement had no effect
 * for certain: it never left, or the server said good-bye (57P01) without an
 * answer to it, which it cannot do once it has committed.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARAMS  64
#define NUMBER_SIZE 32

/* The arguments as libpq wants them. */
struct arguments {
    const char *values[MAX_PARAMS];
    int lengths[MAX_PARAMS], formats[MAX_PARAMS];
    char numbers[MAX_PARAMS][NUMBER_SIZE];
};

static char *put_digits(int64_t number, char text[NUMBER_SIZE])
{
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char *at = text + NUMBER_SIZE - 1;

    *at = '\0';
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        *--at = '-';
    return at;
}

static void put_argument(struct arguments *to, int i, const struct pg_param *param)
{
    to->formats[i] = 0;
    switch (param->kind) {
    case PG_NULL:
        to->values[i] = NULL;
        break;
    case PG_INT:
        to->values[i] = put_digits(param->number, to->numbers[i]);
        break;
    case PG_BOOL:
        to->values[i] = param->number ? "t" : "f";
        break;
    case PG_DOUBLE:
        snprintf(to->numbers[i], NUMBER_SIZE, "%.17g", param->real);
        to->values[i] = to->numbers[i];
        break;
    case PG_TEXT:
        to->values[i] = param->data;
        break;
    case PG_BYTES:
        to->values[i] = param->data ? param->data : "";
        to->lengths[i] = (int)param->length;
        to->formats[i] = 1;
        break;
    }
}

/* ---- waiting for the answer ---- */

/* The first result is the statement's; what follows a failure only repeats it, and what
 * follows a success is the position that was asked for behind it. */
static void keep_result(struct pg_connection *connection, PGresult *result)
{
    if (!connection->result) {
        connection->result = result;
        return;
    }
    uint64_t position = 0;

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
        position = pg_position_of(PQgetvalue(result, 0, 0));
    if (position > 0)
        connection->position = position;
    PQclear(result);
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
           status == PGRES_COPY_BOTH;
}

/*
 * What there is, without waiting for more: libpq would wait for the socket by itself, and
 * all tasks with it. From a socket that is gone it has the server's last words.
 */
static PGresult *next_result(PGconn *libpq)
{
    return PQsocket(libpq) >= 0 && PQisBusy(libpq) ? NULL : PQgetResult(libpq);
}

/* Yields. 0: connection->result is set; or -ETIMEDOUT, and the connection is shut. */
static int await_result(struct pg_connection *connection, const char *label,
                        uint64_t deadline)
{
    PGresult *result;

    do {
        while (!connection->is_lost && PQisBusy(connection->libpq)) {
            int rc = pg_connection_wait(connection, label, deadline);
            if (rc < 0)
                return rc;
        }
        pg_connection_check_socket(connection);
        result = next_result(connection->libpq);
        if (is_copy(result)) { /* has no end that is worth waiting for */
            connection->in_flight = false;
            connection->is_lost = true;
        }
        if (result)
            keep_result(connection, result);
    } while (result && !connection->is_lost);
    pg_connection_check_socket(connection);
    if (!connection->is_lost)
        connection->in_flight = false;
    return 0;
}

/* The server's good-bye, and it has not done what it was asked. */
static bool is_good_bye(const PGresult *result)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    return state && (strcmp(state, "57P01") == 0 || strcmp(state, "57P02") == 0);
}

bool pg_statement_is_stale(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *where = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return state &&
           (strcmp(state, "26000") == 0 || (strcmp(state, "0A000") == 0 && where &&
                                            strcmp(where, "RevalidateCachedQuery") == 0));
}

static int judge(struct pg_connection *connection, const char *what)
{
    /* Without the server's "ready" at the end not even a good result is one: outside
     * a transaction it commits only after sending it. */
    if (connection->in_flight) {
        connection->was_unsent = is_good_bye(connection->result);
        connection->is_lost = true;
        return -EAGAIN;
    }
    if (pg_statement_is_stale(connection->result)) {
        connection->is_lost = connection->was_unsent = true;
        return -EAGAIN;
    }
    /* The primary is another one now; whatever is open leads to the former. */
    if (pg_error_is_read_only(connection->result))
        pg_retire_connections(connection->pg);
    return pg_error_of(connection->result, what);
}

static void begin_statement(struct pg_connection *connection)
{
    PQclear(connection->result);
    connection->result = NULL;
    connection->was_unsent = false;
    connection->in_flight = true;
    connection->position = PG_POSITION_UNKNOWN;
}

/* Lost while nobody asked anything of it. */
static bool is_gone(struct pg_connection *connection)
{
    connection->was_unsent = connection->is_lost;
    return connection->is_lost;
}

static int not_sent(struct pg_connection *connection)
{
    connection->is_lost = connection->was_unsent = true;
    pg_connection_check_socket(connection);
    return -EAGAIN;
}

/* `sent`: what PQsend...() returned. Yields. 0 or an error. */
static int finish_statement(struct pg_connection *connection, int sent, const char *label,
                            const char *what, uint64_t deadline)
{
    if (!sent)
        return not_sent(connection);
    int rc = await_result(connection, label, deadline);
    return rc < 0 ? rc : judge(connection, what);
}

/* ---- statements ---- */

const char *pg_statement_label(struct pg *pg, const struct query *query)
{
    if (query->id >= query_count)
        return query->name;
    const char **label = &pg->labels[query->id];
    if (!*label) {
        char *text = NULL;

        if (asprintf(&text, "pg:%s", query->name) < 0)
            fatal("out of memory");
        *label = text;
    }
    return *label;
}

/* Yields. 0 or an error. */
static int prepare(struct pg_connection *connection, const struct query *query,
                   const char *label, uint64_t deadline)
{
    begin_statement(connection);
    int sent = PQsendPrepare(connection->libpq, query->name, query->text, 0, NULL);
    int rc = finish_statement(connection, sent, label, query->name, deadline);

    if (rc == 0)
        pg_connection_set_prepared(connection, query, true);
    else if (connection->is_lost)
        connection->was_unsent = true; /* preparing does nothing by itself */
    return rc;
}

/* Copies nothing but numbers; libpq has taken all of it when this returns. */
bool pg_statement_send(struct pg_connection *connection, const struct query *query,
                       const struct pg_param *params, int count, bool by_name)
{
    struct arguments arguments;

    for (int i = 0; i < count; i++)
        put_argument(&arguments, i, &params[i]);
    if (by_name)
        return PQsendQueryPrepared(connection->libpq, query->name, count,
                                   arguments.values, arguments.lengths, arguments.formats,
                                   0);
    return PQsendQueryParams(connection->libpq, query->text, count, NULL,
                             arguments.values, arguments.lengths, arguments.formats, 0);
}

/* Up to where the statement itself can be sent. Yields. 0 or an error. */
static int begin_query(struct pg_connection *connection, const struct query *query,
                       const char *label, uint64_t deadline, bool *ret_by_name)
{
    *ret_by_name = connection->pg->options.prepared && query->id < query_count;
    if (is_gone(connection))
        return -EAGAIN;
    if (*ret_by_name && !pg_connection_has_prepared(connection, query)) {
        int rc = prepare(connection, query, label, deadline);
        if (rc < 0)
            return rc;
    }
    begin_statement(connection);
    return 0;
}

/* ---- a write, and where the log is behind it ---- */

#define POSITION "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"

/* Yields. 0: both answers are in, or the connection is lost; or -ETIMEDOUT. */
static int await_marked(struct pg_connection *connection, const char *label,
                        uint64_t deadline)
{
    int ends = 0;

    do {
        while (!connection->is_lost && PQisBusy(connection->libpq)) {
            int rc = pg_connection_wait(connection, label, deadline);
            if (rc < 0)
                return rc;
        }
        pg_connection_check_socket(connection);
        PGresult *result = next_result(connection->libpq);
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            ends++;
            PQclear(result);
        } else if (result) {
            keep_result(connection, result);
        }
        pg_connection_check_socket(connection);
    } while (ends < 2 && !connection->is_lost);
    /* After the first end the write stands, whatever became of the question behind it. */
    connection->in_flight = ends == 0;
    if (!connection->is_lost && !PQexitPipelineMode(connection->libpq))
        connection->is_lost = true;
    return 0;
}

/* Two batches in one write: the first Sync commits, the second statement sees it. */
static bool send_marked(struct pg_connection *connection, const struct query *query,
                        const struct pg_param *params, int count, bool by_name)
{
    PGconn *libpq = connection->libpq;

    return PQenterPipelineMode(libpq) &&
           pg_statement_send(connection, query, params, count, by_name) &&
           PQpipelineSync(libpq) &&
           PQsendQueryParams(libpq, POSITION, 0, NULL, NULL, NULL, NULL, 0) &&
           PQpipelineSync(libpq);
}

int pg_statement_run(struct pg_connection *connection, const struct query *query,
                     const struct pg_param *params, int count, bool is_marked,
                     uint64_t deadline)
{
    const char *label = pg_statement_label(connection->pg, query);
    bool by_name;

    assert(count == query->param_count && count <= MAX_PARAMS);
    int rc = begin_query(connection, query, label, deadline, &by_name);
    if (rc < 0)
        return rc;
    bool sent = is_marked ? send_marked(connection, query, params, count, by_name)
                          : pg_statement_send(connection, query, params, count, by_name);
    if (!sent)
        return not_sent(connection);
    rc = is_marked ? await_marked(connection, label, deadline)
                   : await_result(connection, label, deadline);
    return rc < 0 ? rc : judge(connection, query->name);
}

/* A COMMIT ends the transaction, also within a message of two statements. */
int pg_statement_commit_marked(struct pg_connection *connection, uint64_t deadline)
{
    return pg_statement_command(connection, "pg:commit", "COMMIT; " POSITION, deadline);
}

int pg_statement_command(struct pg_connection *connection, const char *label,
                         const char *command, uint64_t deadline)
{
    if (is_gone(connection))
        return -EAGAIN;
    begin_statement(connection);
    int sent = PQsendQuery(connection->libpq, command);
    return finish_statement(connection, sent, label, command, deadline);
}
