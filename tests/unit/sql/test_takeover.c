/*
 * test_takeover.c - a database that Fuze made keeps its rows under forkmark's schema.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/url.h"
#include "sql/migrate.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/testing.h"

static struct private_postgres server;
static struct buf error;
static char url[256], database[16];

/* Fuze's schema as its migrations leave it, shortened to what may go wrong. */
static const char fuze_schema[] =
    "CREATE TABLE users (id serial PRIMARY KEY, username varchar(80) NOT NULL UNIQUE,"
    "  email varchar(120) NOT NULL UNIQUE, password_hash varchar(256) NOT NULL,"
    "  technology_interests text, user_metadata json, provider_name varchar(50),"
    "  provider_user_id varchar(200), created_at timestamp,"
    "  failed_login_count int NOT NULL DEFAULT 0, last_failed_login timestamp,"
    "  account_locked_until timestamp);"
    "CREATE TABLE projects (id serial PRIMARY KEY,"
    "  user_id int NOT NULL REFERENCES users ON DELETE CASCADE,"
    "  title varchar(100) NOT NULL, description text, technologies text,"
    "  created_at timestamp, embedding double precision[]);"
    "CREATE TABLE saved_content (id serial PRIMARY KEY,"
    "  user_id int NOT NULL REFERENCES users ON DELETE CASCADE, url text NOT NULL,"
    "  title varchar(200) NOT NULL, saved_at timestamp, extracted_text text,"
    "  embedding double precision[], tags text, category varchar(100), notes text,"
    "  quality_score int DEFAULT 10, old_column int, UNIQUE (user_id, url));"
    "CREATE TABLE bookmark_metadata (bookmark_id bigint PRIMARY KEY REFERENCES"
    "  saved_content ON DELETE CASCADE, jsonb_payload jsonb NOT NULL);"
    "CREATE TABLE content_analysis (id serial PRIMARY KEY,"
    "  content_id int NOT NULL UNIQUE REFERENCES saved_content ON DELETE CASCADE,"
    "  analysis_data json NOT NULL, key_concepts text);"
    "CREATE TABLE tasks (id serial PRIMARY KEY,"
    "  project_id int NOT NULL REFERENCES projects ON DELETE CASCADE,"
    "  title varchar(100) NOT NULL, description text, created_at timestamp);"
    "CREATE TABLE subtasks (id serial PRIMARY KEY,"
    "  task_id int NOT NULL REFERENCES tasks ON DELETE CASCADE,"
    "  title varchar(200) NOT NULL, completed int DEFAULT 0);"
    "CREATE TABLE feedback (id serial PRIMARY KEY, user_id int REFERENCES users,"
    "  project_id int REFERENCES projects, content_id int REFERENCES saved_content,"
    "  feedback_type varchar(20) NOT NULL, timestamp timestamp,"
    "  UNIQUE (user_id, content_id));"
    "CREATE TABLE user_feedback (id serial PRIMARY KEY, user_id int REFERENCES users,"
    "  content_id int REFERENCES saved_content, recommendation_id int,"
    "  feedback_type varchar(20) NOT NULL, context_data json, timestamp timestamp);"
    "CREATE TABLE token_families (id serial PRIMARY KEY,"
    "  user_id int NOT NULL REFERENCES users, family_id varchar(36) NOT NULL UNIQUE,"
    "  current_jti varchar(36) NOT NULL, created_at timestamp, last_used_at timestamp,"
    "  revoked bool NOT NULL DEFAULT false, revoked_reason varchar(50));"
    "CREATE TABLE bookmark_events (id bigserial PRIMARY KEY,"
    "  event_id varchar(64) NOT NULL UNIQUE,"
    "  bookmark_id bigint REFERENCES saved_content ON DELETE CASCADE,"
    "  user_id bigint REFERENCES users, pipeline_run_id varchar(64) NOT NULL,"
    "  sequence int NOT NULL DEFAULT 1, type varchar(100) NOT NULL, data jsonb,"
    "  created_at timestamptz)";

static const char fuze_rows[] =
    "INSERT INTO users (id, username, email, password_hash) VALUES"
    "  (3, 'ann', 'ann@example.com', 'h'), (7, 'bob', 'bob@example.com', 'h');"
    "INSERT INTO projects (id, user_id, title, embedding) VALUES"
    "  (5, 3, 'p', '{0.5,0.25}'), (6, 7, 'q', NULL);"
    "INSERT INTO saved_content (id, user_id, url, title, notes, extracted_text, "
    "embedding,"
    "  old_column) VALUES"
    "  (11, 3, 'HTTPS://Example.org/A/?utm_source=x&b=1&REF=2&c#top', 'Title', 'n',"
    "   'findable body', '{1,2}', 1),"
    "  (12, 7, 'not a url/', 'Other', NULL, NULL, NULL, NULL);"
    "INSERT INTO bookmark_metadata VALUES (11, '{\"a\":1}');"
    "INSERT INTO content_analysis (id, content_id, analysis_data) VALUES (21, 12, '{}');"
    "INSERT INTO tasks (id, project_id, title) VALUES (31, 5, 't');"
    "INSERT INTO subtasks (id, task_id, title) VALUES (41, 31, 's');"
    "INSERT INTO feedback (user_id, project_id, content_id, feedback_type) VALUES"
    "  (3, 5, 11, 'relevant'), (3, 6, NULL, 'x'), (7, 5, 12, 'foreign project');"
    "INSERT INTO user_feedback (user_id, content_id, feedback_type) VALUES"
    "  (7, 12, 'x'), (7, 11, 'foreign'), (NULL, 12, 'nobody');"
    "INSERT INTO token_families (user_id, family_id, current_jti, last_used_at) VALUES"
    "  (3, 'f', 'j', '2026-01-01');"
    "INSERT INTO bookmark_events (id, event_id, bookmark_id, user_id, pipeline_run_id,"
    "  type) VALUES (51, 'evt_1', 11, NULL, 'run', 't'), (52, 'evt_2', NULL, 3, 'run', "
    "'t')";

static const char *in_database(const char *sql)
{
    return postgres_ask(&server, database, sql);
}

static int setup(void **state)
{
    static int number;
    char sql[64];

    (void)state;
    snprintf(database, sizeof(database), "d%d", ++number);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", database);
    postgres_ask(&server, "postgres", sql);
    snprintf(url, sizeof(url), "host=%s user=forkmark dbname=%s", server.folder,
             database);
    buf_clear(&error);
    return 0;
}

static void migrate(void)
{
    if (migrate_run(url, &error) <= 0)
        fail_msg("%s", buf_text(&error));
}

static const struct {
    const char *sql, *answer;
} expected[] = {
    { "SELECT string_agg(id || username, ',' ORDER BY id) FROM users", "3ann,7bob" },
    { "SELECT embedding::text || user_id FROM projects WHERE id = 5", "{0.5,0.25}3" },
    { "SELECT embedding::text || pg_typeof(embedding) FROM saved_content WHERE id = 11",
      "{1,2}real[]" },
    { "SELECT id FROM saved_content WHERE search_vector @@ 'findabl:D'", "11" },
    { "SELECT quality_score FROM saved_content WHERE id = 12", "10" },
    { "SELECT user_id || ' ' || jsonb_payload FROM bookmark_metadata", "3 {\"a\": 1}" },
    { "SELECT user_id FROM content_analysis WHERE id = 21 AND content_id = 12", "7" },
    { "SELECT user_id FROM tasks WHERE id = 31", "3" },
    { "SELECT user_id FROM subtasks WHERE id = 41", "3" },
    { "SELECT string_agg(feedback_type, ',') FROM feedback", "relevant" },
    { "SELECT string_agg(feedback_type, ',') FROM user_feedback", "x" },
    { "SELECT expires_at FROM token_families WHERE family_id = 'f'",
      "2026-01-31 00:00:00" },
    { "SELECT string_agg(event_id || user_id, ',') FROM bookmark_events", "evt_13" },
    /* New ids begin behind the old ones. */
    { "INSERT INTO users (username, email, password_hash) VALUES ('c', 'c', 'h') "
      "RETURNING id",
      "8" },
    { "SELECT nextval('saved_content_id_seq')", "13" },
    { "SELECT nextval('bookmark_events_id_seq')", "53" },
    /* The way back is as it was. */
    { "SELECT old_column FROM fuze.saved_content WHERE id = 11", "1" },
    { "SELECT count(*) FROM fuze.user_feedback", "3" },
};

static void check_keys(void)
{
    struct arena *arena = arena_new(0);
    static const char *const saved[] = {
        "HTTPS://Example.org/A/?utm_source=x&b=1&REF=2&c#top", "not a url/"
    };

    for (int i = 0; i < 2; i++) {
        char sql[128];

        snprintf(sql, sizeof(sql), "SELECT url_norm FROM saved_content WHERE id = %d",
                 11 + i);
        assert_string_equal(in_database(sql), url_normalise(arena, saved[i]));
        snprintf(sql, sizeof(sql), "SELECT page_key FROM saved_content WHERE id = %d",
                 11 + i);
        assert_string_equal(in_database(sql), url_page_key(arena, saved[i]));
    }
    arena_free(arena);
}

static void test_takeover(void **state)
{
    (void)state;
    in_database(fuze_schema);
    in_database(fuze_rows);
    migrate();
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_string_equal(in_database(expected[i].sql), expected[i].answer);
    check_keys();
    assert_int_equal(migrate_run(url, &error), 0);
}

/* The one-time SQL must agree with common/url.c, whose values are kept from then on. */
static void test_keys(void **state)
{
    static const char *const urls[] = {
        "http://a.example",
        "http://a.example/",
        "http://a.example//",
        "http://A.Example:80/P/?x=1&UTM_Source=y",
        "http://u:P@H.example/Q#",
        "https://a.example/x?",
        "https://a.example/x?&&",
        "https://a.example/x?ref=1",
        "https://a.example/?a#b",
        "https://a.example?Source=1&A=2&b",
        "https://a.example/a b",
        "https://a.example/\xc3\x89?q=\xc3\xa9",
        "https://a.example/x/?ref=1",
        "https://a.example/x?refx=1&xref=2&gclid",
        "ftp://a.example/x",
        "mailto:a@b.example",
        "a/b/",
        "https://a.example/x?a=1/",
        "https://[::1]:8/x?y#z?",
        "https://a.example/#/route/",
    };
    struct arena *arena = arena_new(0);
    int pairs = 0;

    (void)state;
    in_database(fuze_schema);
    in_database("INSERT INTO users (id, username, email, password_hash) "
                "VALUES (1, 'a', 'a', 'h')");
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        char sql[256];

        snprintf(sql, sizeof(sql),
                 "INSERT INTO saved_content (id, user_id, url, title) "
                 "VALUES (%zu, 1, '%s', 't')",
                 i + 1, urls[i]);
        in_database(sql);
    }
    migrate();
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        char sql[128];

        /* The oldest of one address keeps its form, the others get a number behind it. */
        char *form = url_normalise(arena, urls[i]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(url_normalise(arena, urls[j]), url_normalise(arena, urls[i])) ==
                0) {
                form =
                    arena_printf(arena, "%s %zu", url_normalise(arena, urls[i]), i + 1);
                pairs++;
                break;
            }
        snprintf(sql, sizeof(sql), "SELECT url_norm FROM saved_content WHERE id = %zu",
                 i + 1);
        if (strcmp(in_database(sql), form) != 0)
            fail_msg("%s: %s there, %s here", urls[i], in_database(sql), form);
        snprintf(sql, sizeof(sql), "SELECT page_key FROM saved_content WHERE id = %zu",
                 i + 1);
        if (strcmp(in_database(sql), url_page_key(arena, urls[i])) != 0)
            fail_msg("%s: %s there, %s here", urls[i], in_database(sql),
                     url_page_key(arena, urls[i]));
    }
    assert_true(pairs > 0);
    arena_free(arena);
}

/* What cannot be taken over stops before anything is changed. */
static void test_refusals(void **state)
{
    (void)state;
    in_database(fuze_schema);
    in_database("INSERT INTO users (username, email, password_hash) "
                "VALUES ('ann', 'a', 'h'), ('Ann', 'b', 'h')");
    assert_int_equal(migrate_run(url, &error), -1);
    assert_non_null(strstr(buf_text(&error), "(lower(username::text))=(ann)"));
    assert_string_equal(in_database("SELECT count(*) FROM users"), "2");
    assert_string_equal(in_database("SELECT to_regnamespace('fuze') IS NULL"), "t");
}

static void test_foreign_tables(void **state)
{
    (void)state;
    in_database("CREATE TABLE users (id int, login text)");
    assert_int_equal(migrate_run(url, &error), -1);
    assert_non_null(strstr(buf_text(&error), "not Fuze's"));
    assert_string_equal(in_database("SELECT count(*) FROM users"), "0");
}

/* ---- the search column ---- */

static const struct {
    const char *body, *what;
} bodies[] = {
    { "repeat('word ', 400000)", "2 MB of one word" },
    { "(SELECT string_agg('word' || i, ' ') FROM generate_series(1, 300000) i)",
      "3 MB of different words" },
    { "repeat('x', 3000000)", "one word of 3 MB" },
    { "repeat(chr(20013), 300000)", "wide characters" },
    { "repeat(chr(128512), 300000)", "very wide characters" },
    { "(SELECT string_agg(chr(19968 + i % 20000) || chr(19968 + i / 7), ' ') "
      "FROM generate_series(1, 200000) i)",
      "different wide words" },
};

/* No text makes saving fail, and the title is always found. */
static void test_any_text_is_saved(void **state)
{
    (void)state;
    migrate();
    in_database("INSERT INTO users (id, username, email, password_hash) "
                "VALUES (1, 'a', 'a', 'h')");
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        char sql[512];

        snprintf(sql, sizeof(sql),
                 "INSERT INTO saved_content (user_id, url, url_norm, page_key, title, "
                 "notes, extracted_text) VALUES (1, 'u%zu', 'u%zu', 'u', 'Findable', "
                 "left(%s, 100000), %s) RETURNING search_vector @@ 'findabl:A'",
                 i, i, bodies[i].body, bodies[i].body);
        if (strcmp(in_database(sql), "t") != 0)
            fail_msg("%s", bodies[i].what);
    }
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
        cmocka_unit_test_setup(test_takeover, setup),
        cmocka_unit_test_setup(test_keys, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_foreign_tables, setup),
        cmocka_unit_test_setup(test_any_text_is_saved, setup),
    };

    return cmocka_run_group_tests_name("takeover", tests, open_server, close_server);
}
