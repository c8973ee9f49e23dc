/*
 * scheduler_sweeps.c - see scheduler_sweeps.h.
 */
#include "jobs/scheduler_sweeps.h"
#include "common/arena.h"
#include "common/cache.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/outbox.h"
#include "jobs/rq/maintenance.h"
#include "queries.h"
#include <errno.h>
#include <string.h>

#define UNFINISHED_BATCH 200
#define EXPIRED_BATCH    1000
#define BITE_PAUSE_MS    50
#define SWEPT_QUEUE      "low" /* late already; those who wait now go first */

enum { USER_ID, BOOKMARK_ID, URL };

/* A new promise, then the push; what fails in between is the outbox's duty. */
static int owe_again(struct pg *pg, struct redis *redis, const struct pg_rows *rows,
                     int row, const char *queue)
{
    int32_t user_id = (int32_t)pg_get_int(rows, row, USER_ID);
    int32_t bookmark_id = (int32_t)pg_get_int(rows, row, BOOKMARK_ID);
    const char *url = pg_get_text(rows, row, URL);
    const char *job_id = outbox_bookmark_job_id(bookmark_id);
    struct pg_tx *tx;
    int rc = pg_begin(pg, &tx);

    if (rc < 0)
        return rc;
    rc = outbox_add_bookmark(tx, job_id, user_id, bookmark_id, url, queue, NULL);
    if (rc == 0)
        rc = pg_commit(tx);
    else
        pg_rollback(tx);
    /* Deleted meanwhile: then nothing is owed. */
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    log_warn("bookmark %d was left unfinished: queued again as %s", bookmark_id, job_id);
    outbox_push_bookmark(redis, job_id, user_id, bookmark_id, url, queue, NULL);
    return 1;
}

static int give_up(struct pg *pg, struct cache *cache, const struct pg_rows *rows,
                   int row)
{
    int32_t user_id = (int32_t)pg_get_int(rows, row, USER_ID);
    struct cache_write *write = cache_write_begin(cache, user_id);
    uint64_t position;

    log_warn("the job of bookmark %lld failed without a word: marked as failed",
             (long long)pg_get_int(rows, row, BOOKMARK_ID));
    int rc =
        pg_write(pg, &sql_sweep_mark_failed,
                 PG_ARGS(pg_int(user_id), pg_int(pg_get_int(rows, row, BOOKMARK_ID))),
                 NULL, &position);
    cache_write_end(write, rc, position);
    return rc;
}

static const char *swept_queue(const struct conf_list *queues)
{
    for (size_t i = 0; i < queues->count; i++) {
        if (strcmp(queues->items[i], SWEPT_QUEUE) == 0)
            return SWEPT_QUEUE;
    }
    return queues->items[queues->count - 1];
}

int sweep_unfinished(struct pg *pg, struct redis *redis, struct cache *cache,
                     const struct options *options, const struct conf_list *queues)
{
    int32_t ids[UNFINISHED_BATCH];
    enum bookmark_job states[UNFINISHED_BATCH];
    struct pg_rows rows;
    int touched = 0;
    int rc = pg_run(
        pg, &sql_sweep_unfinished,
        PG_ARGS(pg_int((int64_t)options->jobs.sweep_age), pg_int(UNFINISHED_BATCH)),
        &rows);

    if (rc < 0 || rows.count == 0 || queues->count == 0)
        return rc;
    for (int i = 0; i < rows.count; i++)
        ids[i] = (int32_t)pg_get_int(&rows, i, BOOKMARK_ID);
    rc = queue_find_bookmark_jobs(redis, queues, ids, (size_t)rows.count, states);
    for (int i = 0; rc >= 0 && i < rows.count; i++) {
        if (states[i] == BOOKMARK_JOB_LIVE)
            continue;
        rc = states[i] == BOOKMARK_JOB_FAILED
                 ? give_up(pg, cache, &rows, i)
                 : owe_again(pg, redis, &rows, i, swept_queue(queues));
        touched++;
    }
    return rc < 0 ? rc : touched;
}

/* Bite by bite, so that nobody waits for a long delete. */
static int sweep_bites(struct pg *pg, const struct query *query)
{
    struct pg_rows rows;
    int total = 0;

    do {
        int rc = pg_run(pg, query, PG_ARGS(pg_int(EXPIRED_BATCH)), &rows);

        if (rc < 0)
            return rc;
        total += rows.affected;
        task_sleep(BITE_PAUSE_MS);
    } while (rows.affected == EXPIRED_BATCH);
    return total;
}

int sweep_expired(struct pg *pg)
{
    int events = sweep_bites(pg, &sql_sweep_old_events);
    int families = events < 0 ? events : sweep_bites(pg, &sql_sweep_expired_families);

    if (families < 0)
        return families;
    if (events + families > 0)
        log_info("cleaned up: %d old events, %d expired sessions", events, families);
    return events + families;
}
