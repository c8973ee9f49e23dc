/* J1 against real servers: what is kept, what is told, what is queued. */
#include "tests/unit/jobs/pipeline_fixture.h"

static struct job_run job;

static enum job_outcome process(int32_t id)
{
    return run_job(JOB_PROCESS_BOOKMARK, id, false, &job);
}

static enum job_outcome process_last(int32_t id)
{
    return run_job(JOB_PROCESS_BOOKMARK, id, true, &job);
}

static void keeps_what_the_page_says(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "scrape_status"), "SUCCESS");
    assert_string_equal(COLUMN(id, "title"), "An article");
    assert_string_equal(COLUMN(id, "extracted_text"),
                        "# An article\n\nPython and PostgreSQL, café.");
    assert_string_equal(COLUMN(id, "quality_score"), "64");
    assert_string_equal(COLUMN(id, "reading_time"), "1");
    assert_string_equal(COLUMN(id, "author"), "Ada Lovelace");
    assert_string_equal(COLUMN(id, "language"), "en");
    assert_string_equal(COLUMN(id, "published_at AT TIME ZONE 'utc'"),
                        "2026-11-23 14:36:50");
    assert_string_equal(COLUMN(id, "strategy_used"), "HTTP");
    assert_string_equal(COLUMN(id, "scraped_at > now() - interval '1 minute'"), "t");
    assert_string_equal(
        COLUMN(
            id,
            "content_hash = encode(sha256(convert_to(extracted_text, 'UTF8')), 'hex')"),
        "t");
    assert_string_equal(ASK("SELECT jsonb_payload -> 'open_graph' ->> 'og:type' FROM "
                            "bookmark_metadata WHERE bookmark_id = %d",
                            id),
                        "article");
    /* Its own promise is kept; the next step's is made. */
    assert_string_equal(ASK("SELECT count(*) FROM outbox WHERE job_id NOT LIKE "
                            "'bookmark_process%%' AND bookmark_id = %d",
                            id),
                        "1");
    assert_string_equal(ASK("SELECT count(*) FROM outbox"), "1");
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed");
    assert_string_equal(RUNS(id), "1");
    assert_int_equal(queued(), 1);
}

static void tells_both_events_live(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    task_sleep(50);
    const char *started = buf_text(&heard);
    const char *completed = strchr(started, '\x1e');
    assert_non_null(completed);
    assert_true(strncmp(started, "1 id: evt_", 10) == 0);
    assert_non_null(
        strstr(started, "\nevent: bookmark.pipeline.scraping.started\ndata: {"));
    assert_non_null(strstr(started, "\"type\":\"bookmark.scraping.started\""));
    assert_non_null(
        strstr(completed,
               arena_printf(task_arena(),
                            "\"bookmark_id\":%d,\"sequence\":2,\"type\":\"bookmark."
                            "scraping.completed\",\"category\":\"success\",\"data\":{"
                            "\"title\":\"An article\",\"content_length\":42,"
                            "\"quality_score\":64,\"strategy\":\"HTTP\"},\"error\":null,",
                            id)));
}

static void leaves_the_users_title(void)
{
    int32_t id = add_bookmark("/article", "My own title");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "title"), "My own title");
    assert_int_equal(queued(), 1);
}

static void ends_quietly_when_the_bookmark_is_gone(void)
{
    assert_int_equal(process(987654), JOB_SUCCESS);
    assert_int_equal(queued(), 0);
    assert_int_equal(heard.length, 0);
}

static void delete_bookmark(void *arg)
{
    task_sleep(100);
    ASK("DELETE FROM saved_content WHERE id = %d", *(int32_t *)arg);
}

static void ends_quietly_when_it_goes_meanwhile(void)
{
    static const char *const paths[] = { "/article-later", "/slow" };

    options.fetch.timeout = 400;
    for (size_t i = 0; i < 2; i++) {
        int32_t id = add_bookmark(paths[i], "Untitled Bookmark");

        task_spawn(
            &(struct task_spec){ .name = "delete", .run = delete_bookmark, .arg = &id });
        assert_int_equal(process_last(id), JOB_SUCCESS);
        assert_int_equal(queued(), 0);
        assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "0");
    }
    options.fetch.timeout = 3000;
}

static void rename_bookmark(void *arg)
{
    task_sleep(100);
    ASK("UPDATE saved_content SET title = 'Renamed' WHERE id = %d", *(int32_t *)arg);
}

static void respects_a_title_given_meanwhile(void)
{
    int32_t id = add_bookmark("/article-later", "Untitled Bookmark");

    task_spawn(
        &(struct task_spec){ .name = "rename", .run = rename_bookmark, .arg = &id });
    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "title"), "Renamed");
    assert_string_equal(COLUMN(id, "extracted_text"), "Late text.");
}

static void does_little_for_an_unchanged_page(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    ASK("UPDATE saved_content SET author = 'kept', scraped_at = NULL WHERE id = %d", id);
    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "author"), "kept");
    assert_string_equal(COLUMN(id, "scraped_at IS NOT NULL"), "t");
    assert_int_equal(queued(), 2); /* the embedding is still missing */

    ASK("UPDATE saved_content SET embedding = '{1}', embedding_status = 'SUCCESS', "
        "analysis_status = 'SUCCESS' WHERE id = %d",
        id);
    assert_int_equal(process(id), JOB_SUCCESS);
    assert_int_equal(queued(), 2);
    assert_string_equal(RUNS(id), "3"); /* each was finished before the next began */
}

/* Redis has forgotten its end and gives it out again, whatever else has happened. */
static void shows_nobody_its_work_twice(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    ASK("UPDATE saved_content SET author = 'kept' WHERE id = %d", id);
    const char *generation = cache_generation(services.cache, 1);
    assert_int_equal(job.function->run(&job), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "author || scrape_status"), "keptSUCCESS");
    /* But what is cached may be from before it: the run before may not have come so far.
     */
    assert_string_not_equal(cache_generation(services.cache, 1), generation);
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed");
    assert_int_equal(queued(), 1);
    /* Another job is a new run, and then the first one still knows its own. */
    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(RUNS(id), "2");
    assert_int_equal(job.function->run(&job), JOB_SUCCESS);
    assert_string_equal(RUNS(id), "2");
}

static void runs_again_after_a_failure(void)
{
    int32_t id = add_bookmark("/status/404", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_FAILED_FINAL);
    assert_int_equal(job.function->run(&job), JOB_FAILED_FINAL);
    assert_string_equal(RUNS(id), "2");
}

static void keeps_title_and_text_of_a_failed_page(void)
{
    int32_t id = add_bookmark("/status/404", "Untitled Bookmark");

    ASK("UPDATE saved_content SET extracted_text = 'old' WHERE id = %d", id);
    assert_int_equal(process(id), JOB_FAILED_FINAL);
    assert_non_null(strstr(job.error, "FetchError: HTTP 404 (http://127.0.0.1:"));
    assert_string_equal(COLUMN(id, "scrape_status"), "FAILED");
    assert_string_equal(COLUMN(id, "title"), "Untitled Bookmark");
    assert_string_equal(COLUMN(id, "extracted_text"), "old");
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed");
    assert_string_equal(ASK("SELECT error || metadata_json FROM bookmark_events "
                            "WHERE bookmark_id = %d AND sequence = 2",
                            id),
                        "{\"detail\": \"HTTP 404\", \"category\": \"error\", "
                        "\"retryable\": false, \"error_code\": \"FETCH_FAILED\"}");
    assert_int_equal(queued(), 1); /* its title and notes are to be found all the same */
}

static void tells_once_whatever_the_retries(void)
{
    int32_t id = add_bookmark("/status/503", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_FAILED);
    assert_string_equal(
        job.error,
        arena_printf(task_arena(),
                     "FetchError: HTTP 503 (http://127.0.0.1:%d/status/503)", web.port));
    assert_string_equal(COLUMN(id, "scrape_status"), "RUNNING");
    assert_int_equal(process(id), JOB_FAILED);
    assert_string_equal(EVENTS(id), "1 scraping.started");
    assert_int_equal(queued(), 0);
    assert_int_equal(process_last(id), JOB_FAILED_FINAL);
    assert_string_equal(EVENTS(id), "1 scraping.started,2 scraping.completed");
    assert_string_equal(RUNS(id), "1");
    assert_int_equal(queued(), 1);
    task_sleep(50);
    assert_non_null(strstr(
        buf_text(&heard), "\"error\":{\"error_code\":\"FETCH_FAILED\",\"retryable\":true,"
                          "\"detail\":\"HTTP 503\"}"));
    int told = 0;
    for (size_t i = 0; i < heard.length; i++)
        told += heard.data[i] == '\x1e';
    assert_int_equal(told, 2);
}

static void gives_up_a_slow_page(void)
{
    int32_t id = add_bookmark("/slow", "Untitled Bookmark");

    options.fetch.timeout = 200;
    assert_int_equal(process_last(id), JOB_FAILED_FINAL);
    options.fetch.timeout = 3000;
    assert_non_null(strstr(job.error, "timeout"));
    assert_string_equal(COLUMN(id, "scrape_status"), "FAILED");
}

static void refuses_private_pages_at_once(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    options.fetch.allow_private = false;
    assert_int_equal(process(id), JOB_FAILED_FINAL);
    options.fetch.allow_private = true;
    assert_non_null(strstr(job.error, "address not allowed"));
}

static void comes_back_when_the_host_has_rested(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");
    char five[] = "5/10";

    options.fetch.per_host = five;
    for (int i = 0; i < 5; i++)
        fetch_host_delay(services.redis, &options, "http://127.0.0.1/");
    assert_int_equal(process(id), JOB_LATER);
    options.fetch.per_host = no_limit;
    assert_in_range(job.delay_s, 8, 10);
    assert_string_equal(COLUMN(id, "scrape_status"), "PENDING");
    assert_string_equal(ASK("SELECT count(*) FROM outbox"), "1");
    assert_string_equal(ASK("SELECT count(*) FROM bookmark_events"), "0");
}

static void keeps_a_file_without_text(void)
{
    int32_t id = add_bookmark("/pdf", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "scrape_status"), "SUCCESS");
    assert_string_equal(COLUMN(id, "quality_score"), "0");
    assert_string_equal(COLUMN(id, "title"), "Untitled Bookmark");
}

static void keeps_five_megabytes(void)
{
    int32_t id = add_bookmark("/endless", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    assert_string_equal(COLUMN(id, "length(extracted_text)"), "2097152");
}

static void waits_for_the_database(void)
{
    int32_t id = add_bookmark("/article", "Untitled Bookmark");

    assert_int_equal(process(id), JOB_SUCCESS);
    postgres_stop(&postgres);
    enum job_outcome outcome = job.function->run(&job);
    postgres_start(&postgres);
    assert_int_equal(outcome, JOB_LATER);
    assert_int_equal(job.delay_s, 5);
    /* The pool tries again by itself, a little later. */
    for (int i = 0; i < 100 && outcome == JOB_LATER; i++) {
        task_sleep(100);
        outcome = process(id);
    }
    assert_int_equal(outcome, JOB_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(keeps_what_the_page_says),
        CHECK(tells_both_events_live),
        CHECK(leaves_the_users_title),
        CHECK(ends_quietly_when_the_bookmark_is_gone),
        CHECK(ends_quietly_when_it_goes_meanwhile),
        CHECK(respects_a_title_given_meanwhile),
        CHECK(does_little_for_an_unchanged_page),
        CHECK(shows_nobody_its_work_twice),
        CHECK(runs_again_after_a_failure),
        CHECK(keeps_title_and_text_of_a_failed_page),
        CHECK(tells_once_whatever_the_retries),
        CHECK(gives_up_a_slow_page),
        CHECK(refuses_private_pages_at_once),
        CHECK(comes_back_when_the_host_has_rested),
        CHECK(keeps_a_file_without_text),
        CHECK(keeps_five_megabytes),
        CHECK(waits_for_the_database),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
