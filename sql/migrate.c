/*
 * migrate.c - applies the embedded migrations that a database lacks.
 *
 * Each migration is one transaction that first takes the lock and then looks
 * whether another server was quicker. The lock belongs to the transaction, not to
 * the session, so it works through poolers and cannot be left behind.
 *
 * What a row keeps besides: which migration a program has to know to work with the
 * database from then on (`needs`; 0: any). So a program can tell whether what is newer
 * than itself has only added to the schema, or has taken away what it uses.
 */
#include "sql/migrate.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrations.h"
#include "sql/split.h"
#include <libpq-fe.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE (2 * SHA256_DIGEST_LENGTH + 1)

/* "forkmark" in ASCII: the same for every version, unlike any other program's. */
static const char take_lock[] =
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
    "SELECT pg_advisory_xact_lock(x'666f726b6d61726b'::bigint)";

static const char make_table[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                 "    number integer PRIMARY KEY,"
                                 "    name text NOT NULL,"
                                 "    sha256 varchar(64) NOT NULL,"
                                 "    applied_at timestamptz NOT NULL DEFAULT now(),"
                                 "    needs integer NOT NULL DEFAULT 0)";

struct run {
    PGconn *connection;
    bool contracts; /* those are applied as well */
    bool is_first_look;
    const struct embedded_file *waits; /* a contract that was left for later, or NULL */
};

static int number_of(const struct embedded_file *file)
{
    return (int)strtol(file->name, NULL, 10);
}

static size_t known_count(void)
{
    size_t count = 0;

    while (migrations[count].name)
        count++;
    return count;
}

/* "-- contract: 0007" in a line of its own: 7. 0: it only adds. */
static int contract_of(const struct embedded_file *file)
{
    static const char mark[] = "\n-- contract: ";
    const char *at = strstr(file->data, mark);

    if (strncmp(file->data, mark + 1, sizeof(mark) - 2) == 0)
        at = file->data - 1;
    return at ? (int)strtol(at + sizeof(mark) - 1, NULL, 10) : 0;
}

static int last_known(void)
{
    return known_count() ? number_of(&migrations[known_count() - 1]) : 0;
}

static void hash_of(const struct embedded_file *file, char ret[HASH_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)file->data, file->length, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    ret[HASH_SIZE - 1] = '\0';
}

/* ---- the database ---- */

static void log_notice(void *arg, const PGresult *result)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    (void)arg;
    /* "already exists, skipping" is what IF NOT EXISTS is for. */
    if (message && state && strncmp(state, "42", 2) != 0)
        log_info("migrate: %s", message);
}

static PGconn *connect_to(const char *url, struct buf *error)
{
    /* What stands before the URL is a default; what stands after it is not. */
    const char *const keywords[] = { "connect_timeout", "dbname", "application_name",
                                     "client_encoding", NULL };
    const char *const values[] = { "10", url, "forkmark migrate", "UTF8", NULL };
    PGconn *connection = PQconnectdbParams(keywords, values, 1);

    if (PQstatus(connection) == CONNECTION_OK) {
        PQsetNoticeReceiver(connection, log_notice, NULL);
        return connection;
    }
    const char *why = PQerrorMessage(connection);
    buf_addf(error, "cannot connect to the database: %.*s", (int)strcspn(why, "\n"), why);
    PQfinish(connection);
    return NULL;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static void add_server_error(struct buf *error, PGconn *connection,
                             const PGresult *result)
{
    static const struct {
        int field;
        const char *before;
    } parts[] = {
        { PG_DIAG_MESSAGE_PRIMARY, "" },
        { PG_DIAG_MESSAGE_DETAIL, "\n  detail: " },
        { PG_DIAG_MESSAGE_HINT, "\n  hint: " },
        { PG_DIAG_CONTEXT, "\n  where: " },
    };

    if (!PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)) {
        buf_adds(error, PQerrorMessage(connection));
        return;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const char *text = PQresultErrorField(result, parts[i].field);
        if (text)
            buf_addf(error, "%s%s", parts[i].before, text);
    }
}

/* A statement of ours. NULL and `error`. */
static PGresult *ask(PGconn *connection, const char *sql, struct buf *error)
{
    PGresult *result = PQexec(connection, sql);

    if (is_good(result))
        return result;
    add_server_error(error, connection, result);
    PQclear(result);
    return NULL;
}

static bool tell(PGconn *connection, const char *sql, struct buf *error)
{
    PGresult *result = ask(connection, sql, error);

    PQclear(result);
    return result != NULL;
}

/* ---- what has been applied ---- */

static const struct embedded_file *find_known(int number)
{
    for (const struct embedded_file *file = migrations; file->name; file++) {
        if (number_of(file) == number)
            return file;
    }
    return NULL;
}

/* Whether one row of schema_migrations agrees with this binary. */
static bool check_row(const PGresult *rows, int row, struct buf *error)
{
    int number = (int)strtol(PQgetvalue(rows, row, 0), NULL, 10);
    const char *name = PQgetvalue(rows, row, 1);
    const struct embedded_file *file = find_known(number);
    char hash[HASH_SIZE];

    if (!file) {
        int needs = (int)strtol(PQgetvalue(rows, row, 4), NULL, 10);

        if (number > last_known() && needs <= last_known())
            return true; /* it has only added */
        buf_addf(error,
                 "the database is newer than this program: it has migration %s, after "
                 "which a program has to know migration %04d; the last one known here "
                 "is %s",
                 name, needs ? needs : number,
                 known_count() ? migrations[known_count() - 1].name : "none");
        return false;
    }
    hash_of(file, hash);
    if (strcmp(hash, PQgetvalue(rows, row, 2)) == 0)
        return true;
    buf_addf(error,
             "migration %s has changed since it was applied to this database on %s "
             "(SHA-256 %.12s there, %.12s here): changes belong into a new migration",
             file->name, PQgetvalue(rows, row, 3), PQgetvalue(rows, row, 2), hash);
    return false;
}

/* The rows applied, checked, by number; NULL and `error`. */
static PGresult *read_applied(PGconn *connection, struct buf *error)
{
    PGresult *rows = ask(connection,
                         "SELECT number, name, sha256, applied_at::date, needs "
                         "FROM schema_migrations ORDER BY number",
                         error);

    for (int row = 0; rows && row < PQntuples(rows); row++) {
        if (!check_row(rows, row, error)) {
            PQclear(rows);
            return NULL;
        }
    }
    return rows;
}

/* `rows` NULL: none. */
static bool is_applied(const PGresult *rows, int number)
{
    for (int row = 0; rows && row < PQntuples(rows); row++) {
        if ((int)strtol(PQgetvalue(rows, row, 0), NULL, 10) == number)
            return true;
    }
    return false;
}

/* The first to be applied now; run->waits is set when one is left for later. */
static const struct embedded_file *first_missing(struct run *run, const PGresult *rows)
{
    for (const struct embedded_file *file = migrations; file->name; file++) {
        if (is_applied(rows, number_of(file)))
            continue;
        if (run->contracts || contract_of(file) == 0)
            return file;
        run->waits = file;
    }
    return NULL;
}

/* ---- applying ---- */

static int line_of_error(const struct statement *statement, const PGresult *result)
{
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);

    if (!position)
        return statement->line;
    return statement->line - 1 +
           split_line_of(statement->text, statement->length, strtol(position, NULL, 10));
}

static bool run_statement(PGconn *connection, const struct embedded_file *file,
                          const struct statement *statement, struct buf *error)
{
    struct buf text = BUF_HEAP;

    buf_add(&text, statement->text, statement->length);
    PGresult *result = PQexec(connection, buf_text(&text));
    bool is_ok = is_good(result);
    if (!is_ok) {
        buf_addf(error, "%s:%d: ", file->name, line_of_error(statement, result));
        add_server_error(error, connection, result);
    }
    PQclear(result);
    buf_done(&text);
    return is_ok;
}

static bool run_script(PGconn *connection, const struct embedded_file *file,
                       struct buf *error)
{
    struct split split = { .at = file->data, .line = 1 };
    struct statement statement;

    while (split_next(&split, &statement)) {
        if (!run_statement(connection, file, &statement, error))
            return false;
    }
    return true;
}

static bool note_applied(PGconn *connection, const struct embedded_file *file,
                         struct buf *error)
{
    char number[16], needs[16], hash[HASH_SIZE];
    const char *const values[] = { number, file->name, hash, needs };

    snprintf(number, sizeof(number), "%d", number_of(file));
    snprintf(needs, sizeof(needs), "%d", contract_of(file));
    hash_of(file, hash);
    PGresult *result =
        PQexecParams(connection,
                     "INSERT INTO schema_migrations (number, name, sha256, needs) "
                     "VALUES ($1, $2, $3, $4)",
                     4, NULL, values, NULL, NULL, 0);
    bool is_ok = is_good(result);
    if (!is_ok)
        add_server_error(error, connection, result);
    PQclear(result);
    return is_ok;
}

/* What a program meets that is older than the database. */
static void note_newer(const PGresult *rows)
{
    int last = PQntuples(rows) - 1;

    if (last >= 0 && !find_known((int)strtol(PQgetvalue(rows, last, 0), NULL, 10)))
        log_info("the database is newer than this program (it has migration %s), but "
                 "what is new there only adds: this program works with it",
                 PQgetvalue(rows, last, 1));
}

/* Inside the locked transaction: 1 applied, 0 nothing left to do, -1 and `error`. */
static int apply_next(struct run *run, struct buf *error)
{
    if (!tell(run->connection, make_table, error))
        return -1;
    PGresult *rows = read_applied(run->connection, error);
    if (!rows)
        return -1;
    /* Nobody works with an empty database yet, whose programs could be older. */
    if (run->is_first_look && PQntuples(rows) == 0)
        run->contracts = true;
    if (run->is_first_look)
        note_newer(rows);
    run->is_first_look = false;
    const struct embedded_file *file = first_missing(run, rows);
    PQclear(rows);
    if (!file)
        return 0;

    uint64_t began = clock_ms();
    log_info("migrate: applying %s", file->name);
    if (!run_script(run->connection, file, error) ||
        !note_applied(run->connection, file, error))
        return -1;
    log_info("migrate: %s took %.1f s", file->name, (double)(clock_ms() - began) / 1000);
    return 1;
}

/* One transaction: as apply_next(). */
static int step(struct run *run, struct buf *error)
{
    if (!tell(run->connection, take_lock, error))
        return -1;
    int rc = apply_next(run, error);
    if (rc >= 0 && !tell(run->connection, "COMMIT", error))
        rc = -1;
    return rc; /* closing the connection rolls back */
}

static int run_steps(const char *url, bool contracts, struct buf *error)
{
    struct run run = { .contracts = contracts, .is_first_look = true };
    int count = 0, rc;

    run.connection = connect_to(url, error);
    if (!run.connection)
        return -1;
    while ((rc = step(&run, error)) > 0)
        count++;
    PQfinish(run.connection);
    if (rc == 0 && run.waits)
        log_info("migrate: %s takes away what older programs use: it waits for `forkmark "
                 "migrate --contract`, once no server runs one of them any more",
                 run.waits->name);
    return rc < 0 ? -1 : count;
}

int migrate_run(const char *url, struct buf *error)
{
    return run_steps(url, false, error);
}

int migrate_contract(const char *url, struct buf *error)
{
    return run_steps(url, true, error);
}

int migrate_status(const char *url, int *ret_missing, struct buf *error)
{
    PGconn *connection = connect_to(url, error);
    PGresult *rows = NULL;
    int count = -1;

    if (!connection)
        return -1;
    PGresult *found =
        ask(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL", error);
    bool is_new = found && strcmp(PQgetvalue(found, 0, 0), "t") != 0;
    if (found && !is_new)
        rows = read_applied(connection, error);
    if (is_new || rows) {
        count = rows ? PQntuples(rows) : 0;
        *ret_missing = 0;
        for (const struct embedded_file *file = migrations; file->name; file++)
            *ret_missing += contract_of(file) == 0 && !is_applied(rows, number_of(file));
    }
    PQclear(rows);
    PQclear(found);
    PQfinish(connection);
    return count;
}
