/*
 * test_queries.c - every named query fits the schema, is limited to one user or says
 * why not, and is planned over the index that was made for it.
 */
#include "common/buf.h"
#include "common/log.h"
#include "common/query.h"
#include "sql/migrate.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/testing.h"
#include <stdbool.h>
#include <strings.h>

static struct private_postgres server;
static PGconn *connection;

/* 50,000 bookmarks of 100 users, and what hangs on them. */
static const char *const seeds[] = {
    /* Filling a GIN index row by row takes most of the time: make them afterwards. */
    "CREATE TEMP TABLE gin AS SELECT indexname, indexdef FROM pg_indexes "
    "WHERE indexdef LIKE '%USING gin%' AND schemaname = 'public'",
    "DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM gin LOOP "
    "EXECUTE format('DROP INDEX %I', i.indexname); END LOOP; END $$",

    "INSERT INTO users (username, email, password_hash) "
    "SELECT 'user' || i, 'user' || i || '@example.com', 'x' FROM generate_series(1, 100) "
    "i",

    "INSERT INTO saved_content (user_id, url, url_norm, page_key, title, notes, "
    "category, "
    "    tags, saved_at, extracted_text, scrape_status, quality_score) "
    "SELECT i % 100 + 1, u, u, u, 'Title of page ' || i, 'note ' || i, 'cat' || i % 7, "
    "    'a,b', timestamp '2026-01-01' + i * interval '1 minute', "
    "    CASE WHEN i % 3 > 0 THEN 'some words of text number ' || i END, "
    "    CASE WHEN i % 500 = 0 THEN 'PENDING' ELSE 'SUCCESS' END, i % 100 "
    "FROM generate_series(1, 50000) i, LATERAL "
    "    (SELECT 'https://example.org/section/' || i % 50 || '/page/' || i AS u) x",

    "INSERT INTO bookmark_metadata (user_id, bookmark_id, jsonb_payload) "
    "SELECT user_id, id, '{}' FROM saved_content WHERE id % 2 = 0",

    "INSERT INTO content_analysis (user_id, content_id, analysis_data) "
    "SELECT user_id, id, '{}' FROM saved_content WHERE id % 2 = 0",

    "INSERT INTO bookmark_events (user_id, bookmark_id, event_id, pipeline_run_id, "
    "    sequence, type, created_at) "
    "SELECT user_id, id, 'evt_' || id, 'run_' || id, 1, 'bookmark.domain.created', "
    "    now() - id * interval '1 minute' FROM saved_content",

    "INSERT INTO token_families (user_id, family_id, current_jti, expires_at) "
    "SELECT i % 100 + 1, 'family' || i, 'jti', "
    "    (now() AT TIME ZONE 'utc') + (i - 50) * interval '1 hour' "
    "FROM generate_series(1, 5000) i",

    "INSERT INTO outbox (job_id, user_id, bookmark_id, url, queue, created_at) "
    "SELECT 'job' || id, user_id, id, url, 'default', now() - id * interval '1 second' "
    "FROM saved_content WHERE id % 10 = 0",

    "DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM gin LOOP "
    "EXECUTE i.indexdef; END LOOP; END $$",
    "ANALYZE",
};

/* A plausible value for a parameter, by its name, else by its type. */
static const struct {
    const char *word, *value;
} samples[] = {
    { "limit", "20" },
    { "offset", "0" },
    { "user_id", "7" },
    { "id", "106" },
    { "bookmark_id", "106" },
    { "data", "{}" },
    { "error", "{}" },
    { "metadata", "{}" },
    { "payload", "{}" },
    { "analysis", "{}" },
    { "embedding", "{1}" },
    { "created_at", "2026-01-01" },
    { "published_at", "2026-01-01" },
    { "after_created_at", "2026-01-01" },
    { "pattern", "%page 106%" },
    { "words", "page" },
    { "url", "https://example.org/section/6/page/106" },
    { "login", "user7" },
    { "age_ms", "60000" },
    { "event_id", "evt_106" },
    { "family_id", "family106" },
    { "int", "1" },
    { "bool", "t" },
    { "double", "0.5" },
    { "text", "x" },
};

static const char *sample(const char *word)
{
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        if (strcmp(samples[i].word, word) == 0)
            return samples[i].value;
    }
    return NULL;
}

/* "int user_id, text search" -> "('7', 'x')". */
static void add_arguments(struct buf *sql, const struct query *query)
{
    char type[32], name[64];
    const char *at = query->params;

    for (int i = 0; i < query->param_count; i++) {
        int used = 0;

        if (sscanf(at, " %31[a-z] %63[a-z0-9_]%n", type, name, &used) != 2)
            fail_msg("%s: cannot read parameter %d of `%s`", query->name, i + 1,
                     query->params);
        at += used;
        at += *at == ',';
        const char *value = sample(name) ? sample(name) : sample(type);
        if (!value)
            fail_msg("%s: type %s of %s is unknown here", query->name, type, name);
        buf_addf(sql, "%s'%s'", i ? ", " : "(", value);
    }
    if (query->param_count > 0)
        buf_addc(sql, ')');
}

static PGresult *run(const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s\n%s", sql, PQerrorMessage(connection));
    return result;
}

/* ---- the checks ---- */

static void test_prepare(void **state)
{
    (void)state;
    assert_true(query_count > 0);
    for (size_t i = 0; i < query_count; i++) {
        const struct query *query = query_table[i];
        PGresult *result = PQprepare(connection, query->name, query->text, 0, NULL);

        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            fail_msg("%s: %s", query->name, PQresultErrorMessage(result));
        PQclear(result);
        result = PQdescribePrepared(connection, query->name);
        if (PQnparams(result) != query->param_count)
            fail_msg("%s has %d parameters, its header says `%s`", query->name,
                     PQnparams(result), query->params);
        PQclear(result);
    }
}

/* Whether a word stands in a text as a word. */
static bool has_word(const char *text, const char *word)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t length = strlen(word);

    for (const char *at = text; (at = strcasestr(at, word)) != NULL; at++) {
        if ((at == text || !strchr(letters, at[-1])) &&
            (at[length] == '\0' || !strchr(letters, at[length])))
            return true;
    }
    return false;
}

static const char *const tenant_tables[] = {
    "saved_content", "bookmark_metadata", "content_analysis", "projects",
    "tasks",         "subtasks",          "feedback",         "user_feedback",
    "outbox",        "token_families",    "bookmark_events",
};

static bool is_on_tenant_table(const struct query *query)
{
    for (size_t i = 0; i < sizeof(tenant_tables) / sizeof(tenant_tables[0]); i++) {
        if (has_word(query->text, tenant_tables[i]))
            return true;
    }
    return false;
}

/* Limited to a user by `user_id = $n` (or its insert's column), or `all: <why>`. */
static void test_tenant(void **state)
{
    (void)state;
    for (size_t i = 0; i < query_count; i++) {
        const struct query *query = query_table[i];

        if (!is_on_tenant_table(query))
            continue;
        if (strncmp(query->tenant, "all:", 4) == 0) {
            assert_true(strlen(query->tenant) > strlen("all: because"));
            continue;
        }
        if (strcmp(query->tenant, "user_id") != 0 || !has_word(query->text, "user_id"))
            fail_msg("%s is not limited to one user", query->name);
        if (!strstr(query->params, "int user_id"))
            fail_msg("%s is not told which user", query->name);
    }
}

static const struct query *find_index_user(const char *index)
{
    for (size_t i = 0; i < query_count; i++) {
        if (query_table[i]->index && strcmp(query_table[i]->index, index) == 0)
            return query_table[i];
    }
    return NULL;
}

/* The plan's lines, one buffer. */
static void explain(const struct query *query, struct buf *plan)
{
    struct buf sql = BUF_HEAP;

    buf_addf(&sql, "EXPLAIN EXECUTE %s", query->name);
    add_arguments(&sql, query);
    PGresult *result = run(buf_text(&sql));
    for (int row = 0; row < PQntuples(result); row++)
        buf_addf(plan, "%s\n", PQgetvalue(result, row, 0));
    PQclear(result);
    buf_done(&sql);
}

static void test_plans(void **state)
{
    int checked = 0, wrong = 0;

    (void)state;
    for (size_t i = 0; i < query_count; i++) {
        const struct query *query = query_table[i];
        struct buf plan = BUF_HEAP;

        explain(query, &plan); /* every query can be planned, with an index or without */
        if (query->index) {
            checked++;
            if (!has_word(buf_text(&plan), query->index)) {
                wrong++;
                print_error("%s does not use %s:\n%s\n", query->name, query->index,
                            buf_text(&plan));
            }
        }
        /* No query of one user reads a whole tenant table of all users. */
        if (strncmp(query->tenant, "all:", 4) != 0 &&
            strstr(buf_text(&plan), "Seq Scan on saved_content")) {
            wrong++;
            print_error("%s reads all users' bookmarks:\n%s\n", query->name,
                        buf_text(&plan));
        }
        buf_done(&plan);
    }
    assert_int_equal(wrong, 0);
    assert_true(checked > 0);
    assert_non_null(find_index_user("idx_saved_content_user_saved_at"));
}

static int setup(void **state)
{
    char url[256];
    struct buf error = BUF_HEAP;

    (void)state;
    log_set_level(LOGL_ERROR);
    postgres_open(&server);
    snprintf(url, sizeof(url), "%s", server.url);
    if (migrate_run(url, &error) < 0) {
        print_error("%s\n", buf_text(&error));
        return -1;
    }
    connection = PQconnectdb(url);
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        PGresult *result = PQexec(connection, seeds[i]);

        if (*PQresultErrorMessage(result)) {
            print_error("%s\n%s", seeds[i], PQresultErrorMessage(result));
            return -1;
        }
        PQclear(result);
    }
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
        cmocka_unit_test(test_prepare),
        cmocka_unit_test(test_tenant),
        cmocka_unit_test(test_plans),
    };

    return cmocka_run_group_tests_name("queries", tests, setup, teardown);
}
