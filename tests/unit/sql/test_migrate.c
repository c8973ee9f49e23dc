/*
 * test_migrate.c - the migrator against a real server: order, refusals, a crowd.
 */
#include "common/buf.h"
#include "common/log.h"
#include "migrations.h"
#include "sql/migrate.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/testing.h"

static struct private_postgres server;
static struct buf error;
static char url[256], database[16];

/* An empty database of its own for each test. */
static int setup(void **state)
{
    static int number;
    char sql[64];

    (void)state;
    snprintf(database, sizeof(database), "d%d", ++number);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", database);
    postgres_ask(&server, "postgres", sql);
    snprintf(url, sizeof(url), "postgresql://forkmark@/%s?host=%s", database,
             server.folder);
    buf_clear(&error);
    return 0;
}

static const char *in_database(const char *sql)
{
    return postgres_ask(&server, database, sql);
}

static int known(void)
{
    int count = 0;

    while (migrations[count].name)
        count++;
    return count;
}

static void test_once(void **state)
{
    int missing = -1;

    (void)state;
    assert_int_equal(migrate_status(url, &missing, &error), 0);
    assert_int_equal(missing, known());
    assert_int_equal(migrate_run(url, &error), known());
    assert_int_equal(migrate_run(url, &error), 0);
    assert_int_equal(migrate_status(url, &missing, &error), known());
    assert_int_equal(missing, 0);
    assert_string_equal(buf_text(&error), "");
    assert_int_equal(
        atoi(in_database("SELECT count(*) FROM schema_migrations WHERE "
                         "length(sha256) = 64 AND name ~ '^[0-9]{4}_.*sql$'")),
        known());
}

static void test_newer_database(void **state)
{
    (void)state;
    assert_int_equal(migrate_run(url, &error), known());
    /* What has only added stands in nobody's way. */
    in_database("INSERT INTO schema_migrations (number, name, sha256) "
                "VALUES (9998, '9998_later.sql', 'x')");
    assert_int_equal(migrate_run(url, &error), 0);
    /* What has taken away does, unless it was not needed here any more. */
    in_database("INSERT INTO schema_migrations (number, name, sha256, needs) "
                "VALUES (9999, '9999_contract.sql', 'x', 1)");
    assert_int_equal(migrate_run(url, &error), 0);
    in_database("UPDATE schema_migrations SET needs = 9998 WHERE number = 9999");
    assert_int_equal(migrate_run(url, &error), -1);
    assert_non_null(strstr(buf_text(&error), "newer than this program"));
    assert_non_null(strstr(buf_text(&error), "9999_contract.sql"));
    assert_non_null(strstr(buf_text(&error), "has to know migration 9998"));
    buf_clear(&error);
    assert_int_equal(migrate_contract(url, &error), -1);
}

/* A number that is unknown among those that are known is another program's. */
static void test_strange_database(void **state)
{
    (void)state;
    assert_int_equal(migrate_run(url, &error), known());
    in_database("INSERT INTO schema_migrations (number, name, sha256) "
                "VALUES (0, '0000_strange.sql', 'x')");
    assert_int_equal(migrate_run(url, &error), -1);
    assert_non_null(strstr(buf_text(&error), "0000_strange.sql"));
}

static void test_changed_migration(void **state)
{
    (void)state;
    assert_int_equal(migrate_run(url, &error), known());
    in_database("UPDATE schema_migrations SET sha256 = repeat('0', 64) WHERE number = 1");
    assert_int_equal(migrate_run(url, &error), -1);
    assert_non_null(strstr(buf_text(&error), "0001_schema.sql has changed"));
}

/* What stands in the way is named with file and line, and nothing is left behind. */
static void test_failing_statement(void **state)
{
    char expected[64];
    int line = 1;
    const char *at = migrations[0].data;
    const char *found = strstr(at, "CREATE TABLE projects");

    (void)state;
    for (; at < found; at++)
        line += *at == '\n';
    in_database("CREATE TABLE projects (id int)");
    assert_int_equal(migrate_run(url, &error), -1);
    snprintf(expected, sizeof(expected), "0001_schema.sql:%d: ", line);
    assert_memory_equal(buf_text(&error), expected, strlen(expected));
    assert_non_null(strstr(buf_text(&error), "already exists"));
    assert_string_equal(in_database("SELECT to_regclass('users') IS NULL AND "
                                    "to_regclass('schema_migrations') IS NULL"),
                        "t");
}

static void test_no_server(void **state)
{
    int missing;

    (void)state;
    assert_int_equal(migrate_run("host=/nowhere dbname=x", &error), -1);
    assert_non_null(strstr(buf_text(&error), "cannot connect"));
    assert_int_equal(migrate_status("host=/nowhere dbname=x", &missing, &error), -1);
}

/* Eight servers start at once: each migration runs once, everyone is content. */
static void test_crowd(void **state)
{
    int applied = 0;
    pid_t children[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            int count = migrate_run(url, &error);
            _exit(count < 0 ? 99 : count);
        }
    }
    for (int i = 0; i < 8; i++) {
        int status;

        waitpid(children[i], &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 99);
        applied += WEXITSTATUS(status);
    }
    assert_int_equal(applied, known());
}

static int open_server(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    postgres_open(&server);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    postgres_close(&server);
    buf_done(&error);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_once, setup),
        cmocka_unit_test_setup(test_newer_database, setup),
        cmocka_unit_test_setup(test_strange_database, setup),
        cmocka_unit_test_setup(test_changed_migration, setup),
        cmocka_unit_test_setup(test_failing_statement, setup),
        cmocka_unit_test_setup(test_no_server, setup),
        cmocka_unit_test_setup(test_crowd, setup),
    };

    return cmocka_run_group_tests_name("migrate", tests, open_server, close_server);
}
