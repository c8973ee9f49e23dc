/* J3 against real servers: the numbers, the analysis, the events. */
#include "jobs/embedding.h"
#include "tests/unit/jobs/pipeline_fixture.h"

static struct job_run job;

static enum job_outcome embed(int32_t id)
{
    return run_job(JOB_EMBED_BOOKMARK, id, true, &job);
}

static enum job_outcome process(int32_t id)
{
    return run_job(JOB_PROCESS_BOOKMARK, id, true, &job);
}

/* The number at a place of the stored vector (PostgreSQL counts from 1). */
static double stored_at(int32_t id, int place)
{
    return atof(
        ASK("SELECT embedding[%d] FROM saved_content WHERE id = %d", place + 1, id));
}

static void goes_on_with_the_run_of_the_page(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "embedding_status || analysis_status"),
                        "SUCCESSSUCCESS");
    assert_string_equal(COLUMN(id, "embedded_at IS NOT NULL AND analyzed_at IS NOT NULL"),
                        "t");
    assert_string_equal(COLUMN(id, "array_length(embedding, 1)"), "384");
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed,"
                                    "3 embedding.started,4 embedding.completed,"
                                    "5 analysis.started,6 analysis.completed");
    assert_string_equal(RUNS(id), "1");
    task_sleep(50);
    assert_non_null(
        strstr(buf_text(&heard), "\"data\":{\"dimensions\":384,\"duration_ms\":"));
    assert_non_null(
        strstr(buf_text(&heard),
               "\"type\":\"bookmark.analysis.completed\",\"category\":\"success\","
               "\"data\":{\"content_type\":\"article\",\"difficulty\":"
               "\"intermediate\",\"technologies\":[\"python\",\"postgresql\"]}"));
}

static void shows_nobody_its_work_twice(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(ASK("SELECT count(*) FROM outbox"), "0");
    ASK("UPDATE saved_content SET analyzed_at = NULL WHERE id = %d", id);
    assert_int_equal(job.function->run(&job), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "embedding_status || coalesce(analyzed_at::text, '')"),
                        "SUCCESS");
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "6");
    /* Whom nobody owes is somebody's wish. */
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "analyzed_at IS NOT NULL"), "t");
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "10");
}

static void stores_the_contracts_values(void)
{
    int32_t id = add_bookmark("http://example.org/", "prefork");

    ASK("UPDATE saved_content SET notes = 'server' WHERE id = %d", id);
    assert_int_equal(embed(id), JOB_SUCCESS);
    static const struct {
        int place;
        double value;
    } known[] = {
        { 59, 0.316228 }, { 134, 0.632456 }, { 194, 0.632456 }, { 366, 0.316228 }
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_in_range((int)(stored_at(id, known[i].place) * 1e6 + 0.5),
                        (int)(known[i].value * 1e6) - 1, (int)(known[i].value * 1e6) + 1);
}

static void reads_start_and_end_of_a_long_text(void)
{
    float expected[EMBEDDING_SIZE];
    struct buf text = BUF_IN(task_arena());
    int32_t id = add_bookmark("http://example.org/", "t");

    /* 5000 characters, then 1500 nobody reads, then 1000. */
    ASK("UPDATE saved_content SET extracted_text = "
        "repeat('aaaa ', 1000) || repeat('x', 1500) || ' ' || repeat('bbbb ', 199) || "
        "'cccc' "
        "WHERE id = %d",
        id);
    assert_int_equal(embed(id), JOB_SUCCESS);
    buf_adds(&text, "t");
    for (int i = 0; i < 1000; i++)
        buf_adds(&text, " aaaa");
    for (int i = 0; i < 199; i++)
        buf_adds(&text, " bbbb");
    buf_adds(&text, " cccc");
    assert_true(embedding_make(text.data, text.length, expected));
    for (int i = 0; i < EMBEDDING_SIZE; i++) {
        if (expected[i] > 0) {
            double difference = stored_at(id, i) - (double)expected[i];
            assert_true(difference < 1e-6 && difference > -1e-6);
        }
    }
}

static void uses_the_address_when_there_is_no_word(void)
{
    int32_t id = add_bookmark("http://server/", "");

    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_true(stored_at(id, 134) > 0.5); /* "http" and "server" */
}

static void stores_null_without_words(void)
{
    int32_t id = add_bookmark("http://example.org/", "!!!");

    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "embedding IS NULL"), "t");
    assert_string_equal(COLUMN(id, "embedding_status"), "SUCCESS");
}

static void stores_one_analysis(void)
{
    int32_t id =
        add_bookmark("http://example.org/", "A title about Rust and Docker, long");

    assert_int_equal(embed(id), JOB_SUCCESS);
    ASK("UPDATE saved_content SET title = 'other' WHERE id = %d", id);
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(
        ASK("SELECT concat_ws('|', count(*), min(technology_tags), min(content_type), "
            "min(difficulty_level), min(relevance_score), min(key_concepts), "
            "min(analysis_data::text)) FROM content_analysis WHERE content_id = %d",
            id),
        "1|rust,docker|article|intermediate|75|A title about Rust and Docker,|"
        "{\"technologies\":[\"rust\",\"docker\"],\"content_type\":\"article\","
        "\"difficulty\":\"intermediate\",\"intent\":\"learning\","
        "\"key_concepts\":[\"A title about Rust and Docker,\"],\"relevance_score\":75,"
        "\"summary\":\"A title about Rust and Docker, long\","
        "\"basic_summary\":\"A title about Rust and Docker, long\"}");
}

static void repeats_without_harm(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_int_equal(embed(id), JOB_SUCCESS);
    /* Each run has as many ends as starts. */
    assert_string_equal(
        ASK("SELECT bool_and(starts = ends) FROM (SELECT count(*) FILTER "
            "(WHERE type LIKE '%%.started') AS starts, count(*) FILTER "
            "(WHERE type LIKE '%%.completed') AS ends FROM bookmark_events "
            "GROUP BY pipeline_run_id) AS runs"),
        "t");
    assert_string_equal(RUNS(id), "2");
}

/* Killed between its transactions, delivered again: the same run goes on. */
static void goes_on_where_it_was_killed(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_int_equal(embed(id), JOB_SUCCESS);
    ASK("DELETE FROM bookmark_events WHERE sequence > 4 AND bookmark_id = %d", id);
    assert_int_equal(embed(id), JOB_SUCCESS);
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed,"
                                    "3 embedding.started,4 embedding.completed,"
                                    "5 analysis.started,6 analysis.completed");
    assert_string_equal(RUNS(id), "1");
}

static void ends_quietly_when_the_bookmark_is_gone(void)
{
    assert_int_equal(embed(987654), JOB_SUCCESS);
    assert_int_equal(heard.length, 0);
}

static void says_when_it_cannot_be_kept(void)
{
    int32_t id = add_bookmark("/article", "words");

    ASK("ALTER TABLE saved_content ADD CONSTRAINT no_numbers CHECK (embedding IS NULL)");
    assert_int_equal(embed(id), JOB_FAILED);
    ASK("ALTER TABLE saved_content DROP CONSTRAINT no_numbers");
    assert_non_null(strstr(job.error, "DatabaseError"));
    assert_string_equal(COLUMN(id, "embedding_status"), "FAILED");
    assert_string_equal(EVENTS(id), "3 embedding.started,4 embedding.failed");

    ASK("ALTER TABLE content_analysis ADD CONSTRAINT no_rows CHECK (false)");
    assert_int_equal(embed(id), JOB_FAILED);
    ASK("ALTER TABLE content_analysis DROP CONSTRAINT no_rows");
    assert_string_equal(COLUMN(id, "embedding_status || analysis_status"),
                        "SUCCESSFAILED");
    task_sleep(50);
    assert_non_null(strstr(buf_text(&heard),
                           "\"type\":\"bookmark.analysis.failed\",\"category\":\"error\","
                           "\"data\":{},\"error\":{\"error_code\":\"ANALYSIS_FAILED\","
                           "\"retryable\":true}"));
}

static void waits_for_the_database(void)
{
    int32_t id = add_bookmark("/article", "words");

    assert_int_equal(embed(id), JOB_SUCCESS);
    postgres_stop(&postgres);
    enum job_outcome outcome = job.function->run(&job);
    postgres_start(&postgres);
    assert_int_equal(outcome, JOB_LATER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(goes_on_with_the_run_of_the_page),
        CHECK(shows_nobody_its_work_twice),
        CHECK(stores_the_contracts_values),
        CHECK(reads_start_and_end_of_a_long_text),
        CHECK(uses_the_address_when_there_is_no_word),
        CHECK(stores_null_without_words),
        CHECK(stores_one_analysis),
        CHECK(repeats_without_harm),
        CHECK(goes_on_where_it_was_killed),
        CHECK(ends_quietly_when_the_bookmark_is_gone),
        CHECK(says_when_it_cannot_be_kept),
        CHECK(waits_for_the_database),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
