/* Events: their shape on the stream, their rows, and that they are told once. */
#include "tests/unit/jobs/pipeline_fixture.h"

static struct event example(int32_t bookmark_id)
{
    return (struct event){ .user_id = 1,
                           .bookmark_id = bookmark_id,
                           .run_id = "run_bc125ba9393a41ac878e786931524141",
                           .sequence = 1,
                           .type = "bookmark.pipeline.scraping.started",
                           .data = "{\"url\":\"http://example.org/a\"}" };
}

/* The contract's example, byte for byte; blanks and breaks of jsonb are left out. */
static void writes_the_contracts_frame(void)
{
    static const char *const data[] = { "{\"url\":\"http://example.org/a\"}",
                                        "{\"url\": \"http://example.org/a\"}",
                                        "{\n  \"url\" :\t\"http://example.org/a\"\r\n}" };

    for (size_t i = 0; i < 3; i++) {
        struct buf out = BUF_IN(task_arena());

        events_frame(&out, "evt_b71d55b2affd48a8ae2f21fcdf45c839",
                     "bookmark.pipeline.scraping.started", 1,
                     "run_bc125ba9393a41ac878e786931524141", 1, NULL, data[i], NULL,
                     "2026-11-23T14:36:50.861975");
        assert_string_equal(
            buf_text(&out),
            "id: evt_b71d55b2affd48a8ae2f21fcdf45c839\n"
            "event: bookmark.pipeline.scraping.started\n"
            "data: {\"event_id\":\"evt_b71d55b2affd48a8ae2f21fcdf45c839\","
            "\"schema_version\":1,\"pipeline_run_id\":\"run_"
            "bc125ba9393a41ac878e786931524141\","
            "\"bookmark_id\":1,\"sequence\":1,\"type\":\"bookmark.scraping.started\","
            "\"category\":\"progress\",\"data\":{\"url\":\"http://example.org/a\"},"
            "\"error\":null,\"timestamp\":\"2026-11-23T14:36:50.861975\"}\n\n");
    }
}

static void keeps_blanks_inside_texts(void)
{
    struct buf out = BUF_IN(task_arena());

    events_frame(&out, "e", "bookmark.domain.created", 0, "r", 7, NULL,
                 "{\"title\": \"a \\\" b\\\\\", \"n\": [1, 2]}", "{\"e\": \" x\"}", "t");
    assert_non_null(strstr(
        buf_text(&out),
        "\"data\":{\"title\":\"a \\\" b\\\\\",\"n\":[1,2]},\"error\":{\"e\":\" x\"}"));
}

static void knows_names_and_categories(void)
{
    static const struct {
        const char *type, *short_type, *category;
    } types[] = {
        { "bookmark.pipeline.scraping.started", "bookmark.scraping.started", "progress" },
        { "bookmark.pipeline.embedding.completed", "bookmark.embedding.completed",
          "success" },
        { "bookmark.pipeline.analysis.failed", "bookmark.analysis.failed", "error" },
        { "bookmark.domain.created", "bookmark.domain.created", "info" },
        { "system.connected", "system.connected", "info" },
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_string_equal(events_short_type(task_arena(), types[i].type),
                            types[i].short_type);
        assert_string_equal(events_category(types[i].type), types[i].category);
    }
}

static void stores_a_stage_once(void)
{
    int32_t id = add_bookmark("http://example.org/a", "t");
    struct event event = example(id);
    const char *message = NULL;

    assert_int_equal(events_store(services.pg, NULL, &event, &message), 0);
    assert_non_null(message);
    assert_true(strncmp(message, "1 id: evt_", 10) == 0);
    assert_string_equal(
        ASK("SELECT event_id = '%.36s' AND created_at BETWEEN now() - interval '5 s' AND "
            "now() AND data ->> 'url' = 'http://example.org/a' AND error IS NULL "
            "FROM bookmark_events",
            message + 6),
        "t");
    assert_int_equal(events_store(services.pg, NULL, &event, &message), 0);
    assert_null(message); /* told before */
    events_publish(services.redis, message);
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "1");

    event.run_id = "run_00000000000000000000000000000000";
    assert_int_equal(events_store(services.pg, NULL, &event, &message), 0);
    assert_non_null(message);
}

static void goes_with_its_transaction(void)
{
    struct event event = example(add_bookmark("http://example.org/a", "t"));
    const char *message = NULL;
    struct pg_tx *tx;

    assert_int_equal(pg_begin(services.pg, &tx), 0);
    assert_int_equal(events_store(services.pg, tx, &event, &message), 0);
    pg_rollback(tx);
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "0");
    assert_int_equal(pg_begin(services.pg, &tx), 0);
    assert_int_equal(events_store(services.pg, tx, &event, &message), 0);
    assert_int_equal(pg_commit(tx), 0);
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "1");
}

static void tells_a_deletion_without_a_row(void)
{
    struct event event = example(4711);
    const char *message = NULL;

    event.type = "bookmark.domain.deleted";
    event.is_of_deleted = true;
    assert_int_equal(events_store(services.pg, NULL, &event, &message), 0);
    assert_non_null(message);
    event.is_of_deleted = false;
    assert_int_equal(events_store(services.pg, NULL, &event, &message), -ENOENT);
}

static void reaches_who_listens(void)
{
    struct event event =
        example(add_bookmark("http://example.org/a", "100 %s of \"it\""));
    const char *message = NULL;

    event.data = "{\"url\":\"http://example.org/%s%n?a b\"}";
    assert_int_equal(events_store(services.pg, NULL, &event, &message), 0);
    events_publish(services.redis, message);
    task_sleep(50);
    assert_int_equal(heard.length, strlen(message) + 1);
    assert_memory_equal(heard.data, message, strlen(message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(writes_the_contracts_frame), CHECK(keeps_blanks_inside_texts),
        CHECK(knows_names_and_categories), CHECK(stores_a_stage_once),
        CHECK(goes_with_its_transaction),  CHECK(tells_a_deletion_without_a_row),
        CHECK(reaches_who_listens),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
