/*
 * pipeline.c - see pipeline.h.
 */
#include "jobs/functions/pipeline.h"

#include "common/arena.h"
#include "common/cache.h"
#include "common/ids.h"
#include "common/task.h"
#include "jobs/events.h"
#include "jobs/functions/begun.h"
#include "jobs/functions/poison.h"
#include "jobs/outbox.h"
#include "queries.h"
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define RETRY_DATABASE_S 5

struct pipeline pipeline_of(struct job_run *job)
{
    return (struct pipeline){ .job = job,
                              .user_id = (int32_t)job_arg_int(job, "user_id"),
                              .bookmark_id = (int32_t)job_arg_int(job, "bookmark_id"),
                              .losses = poison_losses(job) };
}

int pipeline_run(struct pipeline *p, struct pg_tx *tx, const struct query *query,
                 const struct pg_param *more, int count, struct pg_rows *ret)
{
    struct pg_param *params =
        arena_array(p->job->arena, (size_t)count + 2, sizeof(*params));

    params[0] = pg_int(p->user_id);
    params[1] = pg_int(p->bookmark_id);
    if (count > 0)
        memcpy(params + 2, more, (size_t)count * sizeof(*params));
    return pg_tx_run(tx, query, params, count + 2, ret);
}

int pipeline_keep_promise(struct pipeline *p, struct pg_tx *tx)
{
    struct pg_rows rows;
    int rc = pg_tx_run(tx, &sql_outbox_done,
                       PG_ARGS(pg_text(p->job->id), pg_int(p->user_id)), &rows);

    if (rc == 0)
        p->is_first = rows.affected > 0;
    return rc;
}

static const char *hash_hex(struct arena *arena, const char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char *hex = arena_alloc(arena, 33);

    EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}

/*
 * The first run that a job of J1 begins is named by the job, and the job of J3 by the
 * run it goes on with: so each knows its own work again.
 */
static const char *run_of_job(const struct pipeline *p)
{
    return arena_printf(p->job->arena, "run_%s", hash_hex(p->job->arena, p->job->id));
}

static const char *embedding_job_of(const struct pipeline *p, const char *run_id)
{
    const char *hex = hash_hex(p->job->arena, run_id);

    /* A UUID, as contract 3.1 has it. */
    return arena_printf(p->job->arena, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8,
                        hex + 13, hex + 17, hex + 20);
}

int pipeline_stage_end(struct pipeline *p, struct pg_tx *tx, const char *run_id,
                       const char *type)
{
    struct pg_rows rows;
    int rc = pipeline_run(p, tx, &sql_pipeline_stage_end,
                          (const struct pg_param[]){ pg_text(run_id), pg_text(type) }, 2,
                          &rows);

    if (rc < 0)
        return rc;
    return rows.count == 0 ? -ENOENT : pg_get_bool(&rows, 0, 0);
}

static int is_done(struct pipeline *p, struct pg_tx *tx, enum pipeline_stage stage,
                   const char *last_run)
{
    if (stage == PIPELINE_SCRAPING)
        return pipeline_stage_end(p, tx, run_of_job(p),
                                  "bookmark.pipeline.scraping.completed");
    if (!last_run || strcmp(embedding_job_of(p, last_run), p->job->id) != 0)
        return -ENOENT;
    return pipeline_stage_end(p, tx, last_run, "bookmark.pipeline.analysis.completed");
}

/* A run that ended badly is over, and its end stands: it is told with the next one's
 * start. */
static void tell_end(struct pipeline *p)
{
    for (int i = 0; i < p->untold.count && i < PIPELINE_MESSAGES - 1; i++)
        p->messages[p->message_count++] = p->untold.messages[i];
}

/*
 * A retry, or a job delivered again, goes on in the run it began: the stage it is in
 * has been started and not ended. A run that is over is left alone.
 */
int pipeline_find_run(struct pipeline *p, struct pg_tx *tx, enum pipeline_stage stage)
{
    enum { RUN_ID, SCRAPED, OVER };
    struct pg_rows rows;
    char hex[33];

    if (!p->is_first)
        p->untold = untold_read(p->job);
    int rc = pipeline_run(p, tx, &sql_pipeline_last_run, NULL, 0, &rows);
    if (rc < 0)
        return rc;
    const char *last = rows.count > 0 ? pg_get_text(&rows, 0, RUN_ID) : NULL;
    if (last && !pg_get_bool(&rows, 0, stage == PIPELINE_SCRAPING ? SCRAPED : OVER)) {
        p->run_id = last;
        return 0;
    }
    rc = p->is_first ? -ENOENT : is_done(p, tx, stage, last);
    if (rc == 1 || (rc < 0 && rc != -ENOENT))
        return rc;
    if (rc == -ENOENT && stage == PIPELINE_SCRAPING) {
        p->run_id = run_of_job(p);
        return 0;
    }
    if (rc == 0)
        tell_end(p);
    id_hex(hex, sizeof(hex) - 1);
    p->run_id = arena_printf(p->job->arena, "run_%s", hex);
    return 0;
}

static struct event event_of(const struct pipeline *p, int sequence, const char *stage,
                             const char *data, const char *error)
{
    return (struct event){
        .user_id = p->user_id,
        .bookmark_id = p->bookmark_id,
        .run_id = p->run_id,
        .sequence = sequence,
        .type = arena_printf(p->job->arena, "bookmark.pipeline.%s", stage),
        .data = data,
        .error = error,
        .category = error ? "error" : NULL,
    };
}

int pipeline_event(struct pipeline *p, struct pg_tx *tx, int sequence, const char *stage,
                   const char *data, const char *error)
{
    struct event event = event_of(p, sequence, stage, data, error);
    char event_id[EVENTS_ID_SIZE];
    const char *message;

    int rc = events_store(p->job->services->pg, tx, &event, &message);
    if (rc < 0)
        return rc;
    if (!message) { /* stored by a run before, which may not have come to telling it */
        events_pipeline_id(&event, event_id);
        message = untold_find(&p->untold, event_id);
    }
    if (!message)
        return 0;
    assert(p->message_count < PIPELINE_MESSAGES);
    p->messages[p->message_count++] = message;
    return 0;
}

void pipeline_tell_gone(struct pipeline *p, int sequence, const char *stage)
{
    const struct job_services *services = p->job->services;
    struct event event =
        event_of(p, sequence, stage, "{}",
                 "{\"error_code\":\"BOOKMARK_DELETED\",\"retryable\":false}");
    const char *message;

    event.is_of_deleted = true;
    if (events_store(services->pg, NULL, &event, &message) == 0)
        events_publish(services->redis, message);
    begun_drop(p->job);
}

void pipeline_tell_gone_since(struct pipeline *p, int sequence, const char *stage)
{
    p->run_id = begun_find(p->job);
    if (p->run_id)
        pipeline_tell_gone(p, sequence, stage);
}

int pipeline_commit(struct pipeline *p, struct pg_tx *tx)
{
    const struct job_services *services = p->job->services;
    struct cache_write *write = cache_write_begin(services->cache, p->user_id);
    uint64_t position;
    int rc = pg_commit_at(tx, &position);

    /* First what is cached, so that a page that hears of it and asks gets the new. */
    cache_write_end(write, rc, position);
    if (rc < 0) {
        if (position == PG_POSITION_UNKNOWN)
            untold_keep(p->job, p->messages, p->message_count);
        return rc;
    }
    for (int i = 0; i < p->message_count; i++)
        events_publish(services->redis, p->messages[i]);
    untold_told(p->job, &p->untold, p->messages, p->message_count);
    p->message_count = 0;
    return 0;
}

void pipeline_was_done(struct pipeline *p, struct pg_tx *tx)
{
    const struct job_services *services = p->job->services;

    pg_rollback(tx);
    cache_invalidate(services->cache, p->user_id, PG_POSITION_UNKNOWN);
    for (int i = 0; i < p->untold.count; i++)
        events_publish(services->redis, p->untold.messages[i]);
    untold_told(p->job, &p->untold, p->untold.messages, p->untold.count);
    begun_drop(p->job);
}

/* It went away in the middle of this job. */
static enum job_outcome stop_lost(struct pipeline *p)
{
    int losses = poison_count(p->job);

    p->job->delay_s = poison_delay_s(losses);
    if (losses <= POISON_LOSSES + 1)
        return JOB_LATER;
    p->job->error = poison_error(p->job);
    poison_forget(p->job);
    return JOB_FAILED_FINAL;
}

enum job_outcome pipeline_stop(struct pipeline *p, struct pg_tx *tx, int rc)
{
    bool is_lost = tx && rc == -EAGAIN && pg_tx_is_lost(tx);

    p->message_count = 0;
    p->embedding_job = NULL;
    if (tx)
        pg_rollback(tx);
    p->job->error =
        arena_printf(p->job->arena, "DatabaseError: %s", strerror(rc < 0 ? -rc : rc));
    p->job->delay_s = RETRY_DATABASE_S;
    if (is_lost)
        return stop_lost(p);
    if (rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EDEADLK)
        return JOB_LATER;
    return JOB_FAILED;
}

bool pipeline_is_poison(const struct pipeline *p)
{
    if (p->losses < POISON_LOSSES)
        return false;
    p->job->error = poison_error(p->job);
    return true;
}

bool pipeline_is_hopeless(const struct pipeline *p)
{
    return p->losses > POISON_LOSSES;
}

enum job_outcome pipeline_give_up(struct pipeline *p, const struct query *mark)
{
    struct pg_tx *tx = NULL;

    int rc = pg_begin(p->job->services->pg, &tx);
    if (rc == 0)
        rc = pipeline_run(p, tx, mark, NULL, 0, NULL);
    if (rc == 0)
        rc = pipeline_keep_promise(p, tx);
    if (rc == 0)
        rc = pipeline_commit(p, tx);
    if (rc < 0)
        return pipeline_stop(p, tx, rc);
    p->job->error = poison_error(p->job);
    poison_forget(p->job);
    return JOB_FAILED_FINAL;
}

int pipeline_owe_embedding(struct pipeline *p, struct pg_tx *tx, const char *url)
{
    p->embedding_job = embedding_job_of(p, p->run_id);
    return outbox_add_bookmark(tx, p->embedding_job, p->user_id, p->bookmark_id, url,
                               "default", p->job->request_id);
}

void pipeline_push_embedding(struct pipeline *p)
{
    if (p->embedding_job)
        outbox_push_embedding(p->job->services->redis, p->embedding_job, p->user_id,
                              p->bookmark_id, p->job->request_id);
}
