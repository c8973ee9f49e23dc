/*
 * test_pg_query.c - values there and back, errors by their meaning, transactions.
 */
#include "tests/unit/pg_testing.h"
#include <limits.h>
#include <string.h>

static void values(void *arg)
{
    static const char bytes[] = { 'a', 0, 'b' };
    struct pg_rows rows;

    (void)arg;
    int rc =
        pg_run(pg,
               STATEMENT("SELECT $1::bigint, $2::text, $3::bytea, $4::float8, "
                         "$5::bool, $6::text, $7::bigint",
                         7),
               PG_ARGS(pg_int(INT64_MIN), pg_text("it's \xc3\xa9"), pg_bytes(bytes, 3),
                       pg_double(0.1), pg_bool(true), pg_text(NULL), pg_int(INT64_MAX)),
               &rows);
    assert_int_equal(rc, 0);
    assert_int_equal(rows.count, 1);
    assert_true(pg_get_int(&rows, 0, 0) == INT64_MIN);
    assert_string_equal(pg_get_text(&rows, 0, 1), "it's \xc3\xa9");
    assert_int_equal(pg_get_length(&rows, 0, 1), 7);
    assert_string_equal(pg_get_text(&rows, 0, 2), "\\x610062");
    assert_true(pg_get_double(&rows, 0, 3) == 0.1);
    assert_true(pg_get_bool(&rows, 0, 4));
    assert_true(pg_is_null(&rows, 0, 5));
    assert_string_equal(pg_get_text(&rows, 0, 5), "");
    assert_true(pg_get_int(&rows, 0, 6) == INT64_MAX);
}

static void test_values(void **state)
{
    (void)state;
    run_task(values, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* Larger than any socket buffer, both ways. */
static void large_values(void *arg)
{
    size_t length = 8 << 20;
    char *text = arena_alloc(task_arena(), length);
    struct pg_rows rows;

    (void)arg;
    memset(text, 'x', length);
    assert_int_equal(pg_run(pg, STATEMENT("SELECT $1::text, length($1::text)", 1),
                            PG_ARGS(pg_bytes(text, length)), &rows),
                     0);
    assert_int_equal(pg_get_length(&rows, 0, 0), length);
    assert_int_equal(pg_get_int(&rows, 0, 1), length);
    assert_int_equal(run_sql("SELECT 1"), 0);
    assert_int_equal(stats_now().open, 1);
}

static void test_large_values(void **state)
{
    (void)state;
    run_task(large_values, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* The session speaks UTC and ISO, whatever the server's settings. */
static void session_settings(void *arg)
{
    struct pg_rows rows;

    (void)arg;
    assert_int_equal(
        pg_run(pg,
               STATEMENT("SELECT to_timestamp(0), current_setting('TimeZone'), "
                         "current_setting('client_encoding')",
                         0),
               PG_NO_ARGS, &rows),
        0);
    assert_string_equal(pg_get_text(&rows, 0, 0), "1970-01-01 00:00:00+00");
    assert_string_equal(pg_get_text(&rows, 0, 1), "UTC");
    assert_string_equal(pg_get_text(&rows, 0, 2), "UTF8");
}

static void test_session_settings(void **state)
{
    (void)state;
    run_task(session_settings, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static const struct {
    const char *sql;
    int error;
} failures[] = {
    { "INSERT INTO parents VALUES (1)", -EEXIST },
    { "INSERT INTO children VALUES (2)", -ENOENT },
    { "INSERT INTO children VALUES (NULL)", -EIO },
    { "SELECT * FROM nothing", -ENOSYS },
    { "SELECT nothing FROM parents", -ENOSYS },
    { "SELECT nothing()", -ENOSYS },
    { "SELECT 'abc'::varchar(2)::int", -ERANGE },
    { "UPDATE parents SET name = 'four'", -ERANGE },
    { "SELECT 2147483647::int + 1", -ERANGE },
    { "SELEC 1", -EIO },
    { "COPY parents TO STDOUT", -EIO },
    { "COPY parents FROM STDIN", -EIO },
    { "DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$", -EDEADLK },
    { "DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$", -EDEADLK },
    { "DO $$ BEGIN RAISE EXCEPTION SQLSTATE '53100'; END $$", -EAGAIN },
    { "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)", -ETIMEDOUT },
};

static void run_failures(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (run_sql(failures[i].sql) != failures[i].error)
            fail_msg("%s: not %d", failures[i].sql, failures[i].error);
        /* A refused statement leaves the connection as it was. */
        assert_int_equal(run_sql("SELECT 1"), 0);
    }
    assert_int_equal(run_sql("INSERT INTO parents VALUES (7)"), 0);
}

static void test_failures(void **state)
{
    (void)state;
    ask("SET client_min_messages = error; DROP TABLE IF EXISTS children, parents");
    ask("CREATE TABLE parents (id int PRIMARY KEY, name varchar(3))");
    ask("CREATE TABLE children (id int NOT NULL REFERENCES parents)");
    ask("INSERT INTO parents VALUES (1)");
    run_task(run_failures, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
    assert_string_equal(ask("SELECT count(*) FROM parents"), "2");
}

/* ---- prepared statements ---- */

static const struct query by_name = {
    .name = "by_name", .text = "SELECT $1::int + 1", .param_count = 1, .id = 0
};

static int count_prepared(void)
{
    struct pg_rows rows;

    assert_int_equal(pg_run(pg,
                            STATEMENT("SELECT count(*) FROM pg_prepared_statements "
                                      "WHERE name = 'by_name'",
                                      0),
                            PG_NO_ARGS, &rows),
                     0);
    return (int)pg_get_int(&rows, 0, 0);
}

static void prepare_at_first_use(void *arg)
{
    bool is_on = arg != NULL;

    for (int i = 0; i < 3; i++) {
        struct pg_rows rows;

        assert_int_equal(pg_run(pg, &by_name, PG_ARGS(pg_int(i)), &rows), 0);
        assert_int_equal(pg_get_int(&rows, 0, 0), i + 1);
    }
    assert_int_equal(count_prepared(), is_on);
    /* A pooler behind our back may have dropped it. */
    assert_int_equal(run_sql("DEALLOCATE ALL"), 0);
    assert_int_equal(pg_run(pg, &by_name, PG_ARGS(pg_int(1)), NULL), 0);
    assert_int_equal(count_prepared(), is_on);
}

static void test_prepared(void **state)
{
    (void)state;
    assert_true(query_count > 0); /* else no id is one of a file's queries */
    run_task(prepare_at_first_use, pg, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static void test_not_prepared(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    options.prepared = false;
    use_pool(&options);
    run_task(prepare_at_first_use, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* A migration changed a table under a prepared `SELECT *`. */
static void change_the_result(void *arg)
{
    static const struct query all = { .name = "all_columns",
                                      .text = "SELECT * FROM changing",
                                      .id = 0 };
    struct pg_rows rows;

    (void)arg;
    assert_int_equal(pg_run(pg, &all, PG_NO_ARGS, NULL), 0);
    assert_int_equal(run_sql("ALTER TABLE changing ADD b int"), 0);
    assert_int_equal(pg_run(pg, &all, PG_NO_ARGS, &rows), 0);
    assert_int_equal(PQnfields(rows.result), 2);
}

static void test_changed_result(void **state)
{
    (void)state;
    ask("CREATE TABLE changing (a int)");
    run_task(change_the_result, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
    ask("DROP TABLE changing");
}

/* ---- transactions ---- */

static int insert(struct pg_tx *tx, int id)
{
    return pg_tx_run(tx, STATEMENT("INSERT INTO things VALUES ($1)", 1),
                     PG_ARGS(pg_int(id)), NULL);
}

static void commit_and_roll_back(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(insert(tx, 1), 0);
    assert_string_equal(ask("SELECT count(*) FROM things"), "0");
    assert_int_equal(pg_commit(tx), 0);
    assert_string_equal(ask("SELECT count(*) FROM things"), "1");

    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(insert(tx, 2), 0);
    pg_rollback(tx);
    assert_int_equal(insert(tx, 3), -EAGAIN); /* it is over */
    assert_int_equal(pg_commit(tx), -EAGAIN);

    /* After an error the commit must not look like one. */
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(insert(tx, 4), 0);
    assert_int_equal(insert(tx, 1), -EEXIST);
    assert_int_equal(insert(tx, 5), -EIO);
    assert_int_equal(pg_commit(tx), -EIO);
    assert_string_equal(ask("SELECT count(*) FROM things"), "1");
    assert_int_equal(stats_now().open, 1);
}

static void test_transactions(void **state)
{
    (void)state;
    ask("SET client_min_messages = error; CREATE TABLE IF NOT EXISTS things (id int "
        "PRIMARY KEY)");
    ask("TRUNCATE things");
    run_task(commit_and_roll_back, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static void leave_open(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(insert(tx, 10), 0);
}

static void hang_open(void *arg)
{
    leave_open(arg);
    task_sleep(60000);
}

/* By a return, and by a deadline: the arena rolls back, the connection stays good. */
static void test_transaction_left_open(void **state)
{
    (void)state;
    ask("SET client_min_messages = error; CREATE TABLE IF NOT EXISTS things (id int "
        "PRIMARY KEY)");
    ask("TRUNCATE things");
    run_task(leave_open, NULL, 0);
    run_task(hang_open, NULL, 50);
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_int_equal(stats_now().idle, 1);
    assert_int_equal(sessions("state = 'idle'"), 1);
    assert_string_equal(ask("SELECT count(*) FROM things"), "0");
    run_task(leave_open, NULL, 0);
    assert_int_equal(stats_now().open, 1);
}

static void statement_of_tx_is_late(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(insert(tx, 20), 0);
    assert_int_equal(pg_tx_run(tx, STATEMENT("SELECT pg_sleep(60)", 0), PG_NO_ARGS, NULL),
                     -ETIMEDOUT);
    assert_int_equal(insert(tx, 21), -EAGAIN);
    assert_int_equal(pg_commit(tx), -EAGAIN);
}

static void test_late_statement_in_transaction(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    ask("SET client_min_messages = error; CREATE TABLE IF NOT EXISTS things (id int "
        "PRIMARY KEY)");
    ask("TRUNCATE things");
    options.statement_timeout_ms = 100;
    use_pool(&options);
    run_task(statement_of_tx_is_late, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
    assert_true(become_sessions("true", 0));
    assert_string_equal(ask("SELECT count(*) FROM things"), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(test_values),
        POOL_TEST(test_large_values),
        POOL_TEST(test_session_settings),
        POOL_TEST(test_failures),
        POOL_TEST(test_prepared),
        POOL_TEST(test_not_prepared),
        POOL_TEST(test_changed_result),
        POOL_TEST(test_transactions),
        POOL_TEST(test_transaction_left_open),
        POOL_TEST(test_late_statement_in_transaction),
    };

    return cmocka_run_group_tests_name("pg_query", tests, open_server, close_server);
}
