/*
 * process_bookmark.c - J1: fetch the page behind a bookmark and keep what it says
 * (contract 3.3).
 *
 * It may run any number of times for the same bookmark, from the start, after having
 * been killed anywhere: what it does is the same each time, and events are told once.
 */
#include "jobs/functions.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "common/utf8.h"
#include "jobs/extract/extract.h"
#include "jobs/fetch/fetch.h"
#include "jobs/functions/begun.h"
#include "jobs/functions/pipeline.h"
#include "jobs/functions/poison.h"
#include "queries.h"
#include <string.h>

#define STRATEGY "HTTP"

/* ---- the start: one transaction ---- */

/* `ret_url` NULL: the bookmark is gone. 1: all is done. */
static int start(struct pipeline *p, struct pg_tx *tx, const char **ret_url)
{
    struct buf data = BUF_IN(p->job->arena);
    struct json_writer w = { .out = &data };
    struct pg_rows rows;

    *ret_url = NULL;
    int rc = pipeline_run(p, tx, &sql_pipeline_start_scrape, NULL, 0, &rows);
    if (rc < 0 || rows.count == 0)
        return rc;
    rc = pipeline_keep_promise(p, tx);
    if (rc == 0)
        rc = pipeline_find_run(p, tx, PIPELINE_SCRAPING);
    if (rc != 0)
        return rc;
    json_begin_object(&w, NULL);
    json_put_text(&w, "url", pg_get_text(&rows, 0, 0));
    json_end_object(&w);
    *ret_url = pg_get_text(&rows, 0, 0);
    return pipeline_event(p, tx, 1, "scraping.started", buf_text(&data), NULL);
}

/* ---- reading the page: in a thread ---- */

struct reading {
    const struct fetch_result *page;
    struct extract *extract;
};

static void read_in_thread(void *arg)
{
    struct reading *reading = arg;
    const struct fetch_result *page = reading->page;

    reading->extract =
        extract_page(page->body, page->length, page->content_type, page->final_url);
}

static void free_reading(void *arg)
{
    extract_free(((struct reading *)arg)->extract);
}

static const struct extract *read_page(struct pipeline *p,
                                       const struct fetch_result *page)
{
    struct reading *reading = arena_alloc(p->job->arena, sizeof(*reading));

    reading->page = page;
    arena_defer(p->job->arena, free_reading, reading);
    task_work("extract", read_in_thread, reading, 0);
    return reading->extract;
}

/* ---- the end, good or bad: one transaction ---- */

static int tell_completed(struct pipeline *p, struct pg_tx *tx,
                          const struct pg_rows *saved, int64_t content_length,
                          const char *error)
{
    enum { TITLE, QUALITY_SCORE };
    struct buf data = BUF_IN(p->job->arena);
    struct json_writer w = { .out = &data };

    json_begin_object(&w, NULL);
    json_put_text(&w, "title", pg_get_text(saved, 0, TITLE));
    json_put_int(&w, "content_length", content_length);
    json_put_int(&w, "quality_score", pg_get_int(saved, 0, QUALITY_SCORE));
    json_put_text(&w, "strategy", STRATEGY);
    json_end_object(&w);
    return pipeline_event(p, tx, 2, "scraping.completed", buf_text(&data), error);
}

static int save_text(struct pipeline *p, struct pg_tx *tx, const struct extract *extract,
                     struct pg_rows *ret)
{
    const struct pg_param params[] = {
        pg_text(extract->title),        pg_text(extract->text),
        pg_int(extract->quality_score), pg_text(extract->author),
        pg_int(extract->reading_time),  pg_text(extract->language),
        pg_text(extract->published_at), pg_text(extract->content_hash),
        pg_text(FORKMARK_VERSION),
    };

    int rc = pipeline_run(p, tx, &sql_pipeline_scrape_save, params,
                          sizeof(params) / sizeof(params[0]), ret);
    if (rc == 0)
        rc = pipeline_run(p, tx, &sql_pipeline_metadata_save,
                          PG_ARGS(pg_text(extract->metadata)), NULL);
    return rc;
}

static int save(struct pipeline *p, struct pg_tx *tx, const struct extract *extract,
                bool *ret_needs_embedding)
{
    enum { TITLE, CONTENT_HASH, NEEDS_EMBEDDING };
    struct pg_rows before, saved;

    int rc = pipeline_run(p, tx, &sql_pipeline_lock_bookmark, NULL, 0, &before);
    p->is_gone = rc == 0 && before.count == 0;
    if (rc < 0 || p->is_gone)
        return rc;
    bool is_same =
        extract->text_length > 0 &&
        strcmp(pg_get_text(&before, 0, CONTENT_HASH), extract->content_hash) == 0;
    if (is_same)
        rc = pipeline_run(p, tx, &sql_pipeline_scrape_unchanged, NULL, 0, &saved);
    else
        rc = save_text(p, tx, extract, &saved);
    if (rc == 0)
        rc = tell_completed(p, tx, &saved, (int64_t)utf8_count(extract->text), NULL);
    if (rc == 0)
        *ret_needs_embedding = !is_same || pg_get_bool(&before, 0, NEEDS_EMBEDDING);
    return rc;
}

/* Why a bookmark has no text, as its user's pages read it. */
struct failure {
    const char *code, *detail;
    bool is_retryable;
};

static int save_failure(struct pipeline *p, struct pg_tx *tx,
                        const struct failure *failure, bool *ret_needs_embedding)
{
    struct buf error = BUF_IN(p->job->arena);
    struct json_writer w = { .out = &error };
    struct pg_rows saved;

    int rc = pipeline_run(p, tx, &sql_pipeline_scrape_failed, NULL, 0, &saved);
    p->is_gone = rc == 0 && saved.count == 0;
    if (rc < 0 || p->is_gone)
        return rc;
    json_begin_object(&w, NULL);
    json_put_text(&w, "error_code", failure->code);
    json_put_bool(&w, "retryable", failure->is_retryable);
    json_put_text(&w, "detail", failure->detail);
    json_end_object(&w);
    *ret_needs_embedding = true;
    return tell_completed(p, tx, &saved, 0, buf_text(&error));
}

/* Saves the failure if there is one, else `extract`, and sends the bookmark on.
 * JOB_SUCCESS when that is done, whichever it was. */
static enum job_outcome save_end(struct pipeline *p, const char *url,
                                 const struct extract *extract,
                                 const struct failure *failure)
{
    bool needs_embedding = false;
    struct pg_tx *tx = NULL;

    int rc = pg_begin(p->job->services->pg, &tx);
    if (rc == 0)
        rc = failure ? save_failure(p, tx, failure, &needs_embedding)
                     : save(p, tx, extract, &needs_embedding);
    if (rc == 0 && needs_embedding)
        rc = pipeline_owe_embedding(p, tx, url);
    if (rc == 0)
        rc = pipeline_commit(p, tx);
    if (rc < 0)
        return pipeline_stop(p, tx, rc);
    pipeline_push_embedding(p);
    if (p->is_gone) /* nothing to save, and no failure */
        pipeline_tell_gone(p, 2, "scraping.completed");
    else
        begun_drop(p->job);
    return JOB_SUCCESS;
}

static enum job_outcome finish_failed(struct pipeline *p, const char *url,
                                      const struct failure *failure)
{
    const char *error = p->job->error;
    enum job_outcome outcome = save_end(p, url, NULL, failure);

    if (outcome != JOB_SUCCESS || p->is_gone)
        return outcome;
    p->job->error = error;
    return JOB_FAILED_FINAL;
}

static const struct failure not_saved = { .code = "SAVE_FAILED",
                                          .detail = "the page could not be saved" };

static enum job_outcome finish(struct pipeline *p, const char *url,
                               const struct extract *extract)
{
    enum job_outcome outcome = save_end(p, url, extract, NULL);

    /* Nobody will try it again: its user sees a failure, not something under way. */
    if (outcome == JOB_FAILED && p->job->is_last_attempt)
        return finish_failed(p, url, &not_saved);
    return outcome;
}

/* A statement of the bookmark's seems to end the server. */
static enum job_outcome give_up(struct pipeline *p, const char *url)
{
    enum job_outcome outcome = finish_failed(p, url, &not_saved);

    if (outcome == JOB_FAILED_FINAL)
        poison_forget(p->job);
    return outcome;
}

enum job_outcome process_bookmark(struct job_run *job)
{
    const struct job_services *services = job->services;
    struct pipeline p = pipeline_of(job);
    struct fetch_result page;
    struct pg_tx *tx = NULL;
    const char *url = NULL;

    job->delay_s =
        fetch_host_delay(services->redis, services->options, job_arg_text(job, "url"));
    if (job->delay_s > 0)
        return JOB_LATER;

    if (pipeline_is_hopeless(&p))
        return pipeline_give_up(&p, &sql_pipeline_scrape_failed);

    int rc = pg_begin(services->pg, &tx);
    if (rc == 0)
        rc = start(&p, tx, &url);
    if (rc == 1) {
        pipeline_was_done(&p, tx);
        return JOB_SUCCESS;
    }
    if (rc == 0)
        rc = pipeline_commit(&p, tx);
    if (rc < 0)
        return pipeline_stop(&p, tx, rc);
    if (!url) { /* deleted meanwhile: nothing to do, and nothing wrong */
        pipeline_tell_gone_since(&p, 2, "scraping.completed");
        return JOB_SUCCESS;
    }
    begun_keep(job, p.run_id);
    if (pipeline_is_poison(&p))
        return give_up(&p, url);

    fetch_page(services->fetcher, url, services->options->fetch.timeout, &page);
    fetch_host_report(services->redis, services->options, url, page.is_retryable);
    if (page.outcome == FETCH_OK)
        return finish(&p, url, read_page(&p, &page));

    job->error = arena_printf(job->arena, "FetchError: %s (%.200s)", page.detail, url);
    if (page.is_retryable && !job->is_last_attempt)
        return JOB_FAILED;
    return finish_failed(&p, url,
                         &(struct failure){ .code = "FETCH_FAILED",
                                            .detail = page.detail,
                                            .is_retryable = page.is_retryable });
}
