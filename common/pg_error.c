/*
 * pg_error.c - what a SQLSTATE means to those who asked.
 */
#include "common/log.h"
#include "common/pg_internal.h"
#include <errno.h>
#include <string.h>

/* A prefix matches a whole class; the first row that fits counts. */
static const struct {
    const char *state;
    int error;
} meanings[] = {
    { "08", -EAGAIN },       /* connection exceptions */
    { "22", -ERANGE },       /* too long, out of range, not a valid text */
    { "23503", -ENOENT },    /* foreign key violation */
    { "23505", -EEXIST },    /* unique violation */
    { "25006", -EAGAIN },    /* a primary that has become a replica */
    { "40001", -EDEADLK },   /* serialisation failure */
    { "40P01", -EDEADLK },   /* deadlock */
    { "42P01", -ENOSYS },    /* undefined table */
    { "42703", -ENOSYS },    /* undefined column */
    { "42883", -ENOSYS },    /* undefined function */
    { "3F000", -ENOSYS },    /* undefined schema */
    { "53", -EAGAIN },       /* out of connections, memory, disk */
    { "54000", -ERANGE },    /* an index entry beyond 2704 bytes */
    { "55P03", -ETIMEDOUT }, /* lock not available */
    { "57014", -ETIMEDOUT }, /* cancelled */
    { "57P", -EAGAIN },      /* shutting down, crashed, starting up */
};

int pg_error_of_state(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strncmp(sqlstate, meanings[i].state, strlen(meanings[i].state)) == 0)
            return meanings[i].error;
    }
    return -EIO;
}

bool pg_error_is_read_only(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && strcmp(state, "25006") == 0;
}

static void log_error_of(const PGresult *result, const char *what, const char *state)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    /* The detail stays out of the log: it may show a whole row. */
    log_error("PostgreSQL refuses %s: %s (SQLSTATE %s)", what, message ? message : "",
              state);
}

int pg_error_of(const PGresult *result, const char *what)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return 0;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        log_error("%s: COPY is not for this pool", what);
        return -EIO;
    default:
        break;
    }

    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state) /* libpq's own: the connection is gone */
        return -EAGAIN;
    int error = pg_error_of_state(state);
    if (error == -EIO || error == -ENOSYS || (error == -EAGAIN && state[0] != '0'))
        log_error_of(result, what, state);
    return error;
}
