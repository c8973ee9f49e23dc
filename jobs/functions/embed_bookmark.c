/*
 * embed_bookmark.c - J3: the numbers of a bookmark's words, then what it is about
 * (contract 3.5).
 *
 * Three transactions: the embedding starts; it is done and the analysis starts; that
 * is done too. Each may be repeated.
 */
#include "jobs/functions.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/utf8.h"
#include "jobs/analysis.h"
#include "jobs/embedding.h"
#include "jobs/functions/begun.h"
#include "jobs/functions/pipeline.h"
#include "jobs/functions/poison.h"
#include "queries.h"
#include <errno.h>
#include <string.h>

/* Of a long text, in characters: the start, and if it is longer than both, the end. */
#define TEXT_START 5000
#define TEXT_END   1000
#define TEXT_LONG  6000

/* What a bookmark says; texts never NULL. */
struct bookmark {
    const char *url, *title, *notes, *text;
};

static void add_part(struct buf *out, const char *part, size_t length)
{
    if (length == 0)
        return;
    if (out->length > 0)
        buf_adds(out, " | ");
    buf_add(out, part, length);
}

/* The text whose words count; the address when there is nothing else. */
static void input_of(const struct bookmark *bookmark, struct buf *out)
{
    size_t characters = utf8_count(bookmark->text);

    add_part(out, bookmark->title, strlen(bookmark->title));
    add_part(out, bookmark->notes, strlen(bookmark->notes));
    add_part(out, bookmark->text, utf8_offset(bookmark->text, TEXT_START));
    if (characters > TEXT_LONG) {
        const char *end =
            bookmark->text + utf8_offset(bookmark->text, characters - TEXT_END);
        add_part(out, end, strlen(end));
    }
    if (out->length == 0)
        buf_adds(out, bookmark->url);
}

/* As PostgreSQL reads an array; NULL when the text has no words. */
static const char *embedding_text(struct arena *arena, const struct bookmark *bookmark)
{
    struct buf input = BUF_IN(arena), out = BUF_IN(arena);
    float embedding[EMBEDDING_SIZE];

    input_of(bookmark, &input);
    if (!embedding_make(buf_text(&input), input.length, embedding))
        return NULL;
    for (int i = 0; i < EMBEDDING_SIZE; i++)
        buf_addf(&out, "%c%.9g", i ? ',' : '{', (double)embedding[i]);
    buf_addc(&out, '}');
    return buf_text(&out);
}

/* Row count 0, or 1: there is nothing to do. */
static int start_embedding(struct pipeline *p, struct pg_tx *tx, struct pg_rows *ret)
{
    int rc = pipeline_run(p, tx, &sql_pipeline_start_embedding, NULL, 0, ret);

    if (rc == 0)
        rc = pipeline_keep_promise(p, tx);
    if (rc < 0 || ret->count == 0)
        return rc;
    rc = pipeline_find_run(p, tx, PIPELINE_EMBEDDING);
    if (rc == 0)
        rc = pipeline_event(p, tx, 3, "embedding.started", "{}", NULL);
    return rc;
}

static int finish_embedding(struct pipeline *p, struct pg_tx *tx, const char *embedding,
                            uint64_t duration_ms)
{
    const char *data =
        arena_printf(p->job->arena, "{\"dimensions\":%d,\"duration_ms\":%llu}",
                     EMBEDDING_SIZE, (unsigned long long)duration_ms);
    struct pg_rows rows;

    int rc = pipeline_run(p, tx, &sql_pipeline_embedding_save,
                          PG_ARGS(pg_text(embedding)), &rows);
    if (rc == 0 && rows.affected == 0)
        return -ENODATA;
    if (rc == 0)
        rc = pipeline_event(p, tx, 4, "embedding.completed", data, NULL);
    if (rc == 0)
        rc = pipeline_event(p, tx, 5, "analysis.started", "{}", NULL);
    return rc;
}

static int finish_analysis(struct pipeline *p, struct pg_tx *tx,
                           const struct analysis *analysis)
{
    struct arena *arena = p->job->arena;
    struct buf data = BUF_IN(arena);
    struct json_writer w = { .out = &data };
    struct pg_rows rows;
    const struct pg_param params[] = {
        pg_text(analysis_json(arena, analysis)),
        pg_text(analysis->key_concept),
        pg_text(analysis->content_type),
        pg_text(analysis->difficulty),
        pg_text(analysis_technologies_text(arena, analysis)),
        pg_int(analysis->relevance_score),
    };

    int rc = pipeline_run(p, tx, &sql_pipeline_analysis_done, NULL, 0, &rows);
    if (rc == 0 && rows.affected == 0)
        return -ENODATA;
    if (rc == 0)
        rc = pipeline_run(p, tx, &sql_pipeline_analysis_save, params,
                          sizeof(params) / sizeof(params[0]), NULL);
    if (rc < 0)
        return rc;
    json_begin_object(&w, NULL);
    json_put_text(&w, "content_type", analysis->content_type);
    json_put_text(&w, "difficulty", analysis->difficulty);
    json_put_raw(&w, "technologies", analysis_technologies_json(arena, analysis));
    json_end_object(&w);
    return pipeline_event(p, tx, 6, "analysis.completed", buf_text(&data), NULL);
}

/* How a stage that cannot be finished is told; a row each. */
static const struct failure {
    int sequence;
    const char *event, *error;
    const struct query *query;
} embedding_failure = { 4, "embedding.failed",
                        "{\"error_code\":\"EMBEDDING_FAILED\",\"retryable\":true}",
                        &sql_pipeline_embedding_failed },
  analysis_failure = { 6, "analysis.failed",
                       "{\"error_code\":\"ANALYSIS_FAILED\",\"retryable\":true}",
                       &sql_pipeline_analysis_failed };

/* The run's stage that has not ended; an attempt before may have come further than this.
 */
static int find_failure(struct pipeline *p, struct pg_tx *tx, const struct failure **ret)
{
    int rc =
        pipeline_stage_end(p, tx, p->run_id, "bookmark.pipeline.embedding.completed");

    *ret = rc == 1 ? &analysis_failure : &embedding_failure;
    return rc == -ENOENT || rc > 0 ? 0 : rc;
}

/* Its user sees it; job->error says why. `failure` NULL: it is looked up. */
static enum job_outcome tell_failure(struct pipeline *p, const struct failure *failure,
                                     enum job_outcome outcome)
{
    const char *error = p->job->error;
    struct pg_tx *tx = NULL;

    int rc = pg_begin(p->job->services->pg, &tx);
    if (rc == 0 && !failure)
        rc = find_failure(p, tx, &failure);
    if (rc == 0)
        rc = pipeline_run(p, tx, failure->query, NULL, 0, NULL);
    if (rc == 0)
        rc = pipeline_event(p, tx, failure->sequence, failure->event, "{}",
                            failure->error);
    if (rc == 0)
        rc = pipeline_commit(p, tx);
    if (rc < 0 && pipeline_stop(p, tx, rc) == JOB_LATER)
        return JOB_LATER;
    if (rc == 0)
        begun_drop(p->job);
    p->job->error = error;
    return outcome;
}

/* A statement of the bookmark's seems to end the server. */
static enum job_outcome give_up(struct pipeline *p)
{
    enum job_outcome outcome = tell_failure(p, NULL, JOB_FAILED_FINAL);

    if (outcome == JOB_FAILED_FINAL)
        poison_forget(p->job);
    return outcome;
}

/* The stage's transaction `tx` did not come through. */
static enum job_outcome fail(struct pipeline *p, struct pg_tx *tx, int rc,
                             const struct failure *failure)
{
    if (rc == -ENODATA) { /* deleted meanwhile: nothing to do, and nothing wrong */
        pg_rollback(tx);
        if (failure == &embedding_failure)
            pipeline_tell_gone(p, 4, "embedding.completed");
        return JOB_SUCCESS;
    }
    enum job_outcome outcome = pipeline_stop(p, tx, rc);

    return outcome == JOB_LATER ? outcome : tell_failure(p, failure, outcome);
}

static struct bookmark bookmark_of(const struct pg_rows *rows)
{
    enum { URL, TITLE, NOTES, TEXT };

    return (struct bookmark){ .url = pg_get_text(rows, 0, URL),
                              .title = pg_get_text(rows, 0, TITLE),
                              .notes = pg_get_text(rows, 0, NOTES),
                              .text = pg_get_text(rows, 0, TEXT) };
}

enum job_outcome embed_bookmark(struct job_run *job)
{
    struct pg *pg = job->services->pg;
    struct pipeline p = pipeline_of(job);
    struct pg_tx *tx = NULL;
    struct analysis analysis;
    struct pg_rows rows = { 0 };

    if (pipeline_is_hopeless(&p))
        return pipeline_give_up(&p, &sql_pipeline_embedding_failed);

    int rc = pg_begin(pg, &tx);
    if (rc == 0)
        rc = start_embedding(&p, tx, &rows);
    if (rc == 1) {
        pipeline_was_done(&p, tx);
        return JOB_SUCCESS;
    }
    if (rc == 0)
        rc = pipeline_commit(&p, tx);
    if (rc < 0)
        return pipeline_stop(&p, tx, rc);
    if (rows.count == 0) {
        pipeline_tell_gone_since(&p, 4, "embedding.completed");
        return JOB_SUCCESS;
    }
    begun_keep(job, p.run_id);
    if (pipeline_is_poison(&p))
        return give_up(&p);

    struct bookmark bookmark = bookmark_of(&rows);
    uint64_t start = clock_ms();
    const char *embedding = embedding_text(job->arena, &bookmark);
    tx = NULL;
    rc = pg_begin(pg, &tx);
    if (rc == 0)
        rc = finish_embedding(&p, tx, embedding, clock_ms() - start);
    if (rc == 0)
        rc = pipeline_commit(&p, tx);
    if (rc < 0)
        return fail(&p, tx, rc, &embedding_failure);
    begun_drop(job);

    analysis_make(job->arena, bookmark.title, bookmark.notes, bookmark.text, &analysis);
    tx = NULL;
    rc = pg_begin(pg, &tx);
    if (rc == 0)
        rc = finish_analysis(&p, tx, &analysis);
    if (rc == 0)
        rc = pipeline_commit(&p, tx);
    return rc < 0 ? fail(&p, tx, rc, &analysis_failure) : JOB_SUCCESS;
}
