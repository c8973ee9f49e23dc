/*
 * test_sharding.c - the schema and the queries as a PostgreSQL that distributes tables
 * by user_id (Citus) needs them.
 *
 * What its documentation asks of a distributed table: the distribution column, of one
 * type everywhere, in the primary key, in every unique index and in every foreign key to
 * another distributed table, paired with itself there; and in the conditions of every
 * query that is to reach one shard. Read from pg_catalog and from the plans, so that a
 * new table, index or query is judged without being named here.
 */
#include "common/buf.h"
#include "common/log.h"
#include "common/query.h"
#include "sql/migrate.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/testing.h"
#include <stdbool.h>

static struct private_postgres server;
static PGconn *connection;

/* Tables without user_id: every node would have a copy of them. */
static const struct {
    const char *name, *why;
} shared[] = {
    { "users", "its id is the user id; names and emails are unique over all accounts" },
    { "schema_migrations", "the schema's own" },
    { "deployment", "about servers" },
};

static bool is_shared(const char *table)
{
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (strcmp(shared[i].name, table) == 0)
            return true;
    return false;
}

static PGresult *ask(const char *sql)
{
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s\n%s", sql, PQerrorMessage(connection));
    return result;
}

/* Each row of the answer is a mistake: table, and what of it. */
static void expect_none(const char *sql, const char *mistake)
{
    PGresult *rows = ask(sql);
    int wrong = PQntuples(rows);

    for (int row = 0; row < wrong; row++)
        print_error("%s: %s %s\n", PQgetvalue(rows, row, 0), PQgetvalue(rows, row, 1),
                    mistake);
    PQclear(rows);
    assert_int_equal(wrong, 0);
}

/* ---- the schema ---- */

#define TENANTS                                                                     \
    "WITH tenants AS (SELECT c.oid, c.relname, a.attnum, a.atttypid, a.attnotnull " \
    "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = "    \
    "'user_id' WHERE c.relkind IN ('r', 'p') AND c.relnamespace = "                 \
    "'public'::regnamespace "                                                       \
    "AND NOT a.attisdropped) "

static void test_every_table_has_the_user_or_a_reason(void **state)
{
    PGresult *rows = ask("SELECT c.relname, EXISTS (SELECT 1 FROM pg_attribute a WHERE "
                         "a.attrelid = c.oid AND a.attname = 'user_id') FROM pg_class c "
                         "WHERE c.relkind IN ('r', 'p') AND c.relnamespace = "
                         "'public'::regnamespace");
    size_t without = 0;

    (void)state;
    for (int row = 0; row < PQntuples(rows); row++) {
        const char *table = PQgetvalue(rows, row, 0);
        bool has_user = strcmp(PQgetvalue(rows, row, 1), "t") == 0;

        if (has_user == is_shared(table))
            fail_msg("%s: %s", table,
                     has_user ? "has user_id, but is listed as shared"
                              : "has no user_id, and no reason is given here");
        without += !has_user;
    }
    assert_true(PQntuples(rows) >= 14);
    assert_int_equal(without, sizeof(shared) / sizeof(shared[0]));
    PQclear(rows);
}

static void test_the_user_is_always_there_and_of_one_type(void **state)
{
    (void)state;
    expect_none(TENANTS "SELECT relname, 'user_id' FROM tenants WHERE NOT attnotnull",
                "may be null");
    expect_none(TENANTS "SELECT relname, 'user_id ' || format_type(atttypid, NULL) FROM "
                        "tenants WHERE atttypid <> (SELECT atttypid FROM pg_attribute "
                        "WHERE attrelid = 'users'::regclass AND attname = 'id')",
                "is not of the type of users.id");
}

static void test_keys_and_unique_indexes_hold_the_user(void **state)
{
    (void)state;
    expect_none(TENANTS "SELECT t.relname, i.indexrelid::regclass FROM tenants t "
                        "JOIN pg_index i ON i.indrelid = t.oid AND (i.indisunique OR "
                        "i.indisexclusion) WHERE NOT t.attnum = ANY (i.indkey)",
                "is unique over all users");
    expect_none(TENANTS "SELECT relname, 'it' FROM tenants t WHERE NOT EXISTS "
                        "(SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND "
                        "i.indisprimary)",
                "has no primary key");
}

/* Two tables of tenants are joined by user and user; to a shared one anything goes. */
static void test_foreign_keys_hold_the_user(void **state)
{
    (void)state;
    expect_none(
        TENANTS
        "SELECT t.relname, f.conname FROM tenants t JOIN pg_constraint f ON "
        "f.conrelid = t.oid AND f.contype = 'f' JOIN tenants r ON r.oid = "
        "f.confrelid WHERE NOT EXISTS (SELECT 1 FROM generate_subscripts(f.conkey, "
        "1) s WHERE f.conkey[s] = t.attnum AND f.confkey[s] = r.attnum)",
        "does not pair user_id with user_id");
    expect_none(TENANTS
                "SELECT c.conrelid::regclass, c.conname FROM pg_constraint c JOIN "
                "tenants r ON r.oid = c.confrelid WHERE c.contype = 'f' AND "
                "c.conrelid NOT IN (SELECT oid FROM tenants)",
                "refers from a shared table to a distributed one");
}

/* ---- the queries ---- */

/* Which values is no matter for the shape, as long as they are of their kind. */
static const char *sample(const char *type, const char *name)
{
    static const char *const objects[] = { "data", "error", "metadata", "payload",
                                           "analysis" };

    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
        if (strcmp(name, objects[i]) == 0)
            return "{}";
    if (strcmp(type, "text") == 0 && strstr(name, "_at"))
        return "2026-01-01";
    return strcmp(name, "embedding") == 0 ? "{1}" : "1";
}

/* "int user_id, text search" -> "('1', '1')". */
static void add_arguments(struct buf *sql, const struct query *query)
{
    char type[32], name[64];
    const char *at = query->params;

    for (int i = 0; i < query->param_count; i++) {
        int used = 0;

        assert_int_equal(sscanf(at, " %31[a-z] %63[a-z0-9_]%n", type, name, &used), 2);
        at += used;
        at += *at == ',';
        const char *value = sample(type, name);

        buf_addf(sql, "%s'%s'", i ? ", " : "(", value);
    }
    if (query->param_count > 0)
        buf_addc(sql, ')');
}

/* "  ->  Index Scan using x on saved_content s  (cost..." -> its table, or "". */
static void scanned_table(const char *line, char ret[64])
{
    const char *on = strstr(line, "Scan") ? strstr(line, " on ") : NULL;

    ret[0] = '\0';
    if (on && !strstr(line, "Bitmap Index Scan"))
        sscanf(on + 4, "%63[a-z_.]", ret);
}

static bool is_tenant_table(const char *table)
{
    static const char sql[] = "SELECT 1 FROM pg_attribute WHERE attname = 'user_id' AND "
                              "attrelid = to_regclass($1)";
    const char *const values[] = { table };
    PGresult *rows = PQexecParams(connection, sql, 1, NULL, values, NULL, NULL, 0);
    bool is_one = PQntuples(rows) == 1;

    PQclear(rows);
    return is_one;
}

/* How many scans of tenants' tables there are; -1: one of them does not name the user. */
static int check_plan(const PGresult *plan)
{
    int count = 0;

    for (int row = 0; row < PQntuples(plan); row++) {
        bool names_the_user = false;
        char table[64];

        scanned_table(PQgetvalue(plan, row, 0), table);
        if (!*table || !is_tenant_table(table))
            continue;
        count++;
        for (int next = row + 1; next < PQntuples(plan); next++) {
            const char *line = PQgetvalue(plan, next, 0);
            char other[64];

            scanned_table(line, other);
            if (*other)
                break; /* the next scan; a Bitmap Index Scan belongs to this one */
            names_the_user |= strstr(line, "Cond:") && strstr(line, "user_id = ");
            names_the_user |= strstr(line, "Filter:") && strstr(line, "user_id = ");
        }
        if (!names_the_user)
            return -1;
    }
    return count;
}

static void test_queries_of_a_user_reach_one_shard(void **state)
{
    int scans = 0, queries = 0;

    (void)state;
    for (size_t i = 0; i < query_count; i++) {
        const struct query *query = query_table[i];
        struct buf sql = BUF_HEAP;
        PGresult *result;

        if (strncmp(query->tenant, "all:", 4) == 0)
            continue;
        result = PQprepare(connection, query->name, query->text, 0, NULL);
        assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
        PQclear(result);
        buf_addf(&sql, "EXPLAIN (COSTS OFF) EXECUTE %s", query->name);
        add_arguments(&sql, query);
        result = ask(buf_text(&sql));
        int found = check_plan(result);
        for (int row = 0; found < 0 && row < PQntuples(result); row++)
            print_error("%s\n", PQgetvalue(result, row, 0));
        if (found < 0)
            fail_msg("%s reads rows of all users; see its plan above", query->name);
        scans += found;
        queries++;
        PQclear(result);
        buf_done(&sql);
    }
    assert_true(queries > 30 && scans > 30);
}

/* What a header calls a matter of all users is no query of one in disguise, and a table
 * that a query of one user writes to gets that user's id from its arguments. */
static void test_headers_say_what_is_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < query_count; i++) {
        const struct query *query = query_table[i];

        if (strncmp(query->tenant, "all:", 4) == 0) {
            if (strlen(query->tenant) < strlen("all: because") ||
                strstr(query->params, "int user_id"))
                fail_msg("%s: `tenant: %s`, but its params are `%s`", query->name,
                         query->tenant, query->params);
        } else if (strcmp(query->tenant, "user_id") == 0) {
            if (!strstr(query->params, "int user_id"))
                fail_msg("%s is not told which user", query->name);
        } else if (strcmp(query->tenant, "id") != 0 || !strstr(query->text, "users")) {
            fail_msg("%s: `tenant: %s` is neither user_id, nor the id of users",
                     query->name, query->tenant);
        }
    }
}

/* The checks see what they are for. */
static void test_mistakes_are_found(void **state)
{
    PGresult *plan;

    (void)state;
    PQclear(PQexec(connection, "CREATE TABLE careless (user_id integer PRIMARY KEY)"));
    assert_true(is_tenant_table("careless"));
    assert_false(is_shared("careless"));
    PQclear(PQexec(connection, "DROP TABLE careless"));
    plan = ask(
        "EXPLAIN (COSTS OFF) SELECT 1 FROM saved_content WHERE user_id = 7 AND id = 1");
    assert_int_equal(check_plan(plan), 1);
    PQclear(plan);
    plan =
        ask("EXPLAIN (COSTS OFF) SELECT 1 FROM saved_content s JOIN content_analysis a "
            "ON a.user_id = s.user_id AND a.content_id = s.id WHERE s.user_id = 7");
    assert_int_equal(check_plan(plan), 2);
    PQclear(plan);
    plan = ask("EXPLAIN (COSTS OFF) SELECT 1 FROM saved_content WHERE id = 1");
    assert_int_equal(check_plan(plan), -1);
    PQclear(plan);
    plan = ask("EXPLAIN (COSTS OFF) SELECT 1 FROM saved_content s, content_analysis a "
               "WHERE a.content_id = s.id AND s.user_id = 7");
    assert_int_equal(check_plan(plan), -1);
    PQclear(plan);
}

static int setup(void **state)
{
    struct buf error = BUF_HEAP;

    (void)state;
    log_set_level(LOGL_ERROR);
    postgres_open(&server);
    if (migrate_run(server.url, &error) < 0) {
        print_error("%s\n", buf_text(&error));
        return -1;
    }
    connection = PQconnectdb(server.url);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    PQfinish(connection);
    postgres_close(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_table_has_the_user_or_a_reason),
        cmocka_unit_test(test_the_user_is_always_there_and_of_one_type),
        cmocka_unit_test(test_keys_and_unique_indexes_hold_the_user),
        cmocka_unit_test(test_foreign_keys_hold_the_user),
        cmocka_unit_test(test_queries_of_a_user_reach_one_shard),
        cmocka_unit_test(test_headers_say_what_is_so),
        cmocka_unit_test(test_mistakes_are_found),
    };

    return cmocka_run_group_tests_name("sharding", tests, setup, teardown);
}
