/*
 * outbox.c - J1 and J3 as contract 3.1 lays them down, and the rows that promise them.
 */
#include "jobs/outbox.h"
#include "common/arena.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/functions.h"
#include "jobs/rq/queue.h"
#include "queries.h"
#include <string.h>

#define PAGE                500
#define PROCESS_PREFIX      "bookmark_process_"
#define EMBEDDING_QUEUE     "default"
#define EMBEDDING_TIMEOUT_S 120

/* Kept beside J1's row of job_functions: both come from contract 3.1. */
static const int retry_intervals[] = { 60, 300 };

const char *outbox_bookmark_job_id(int32_t bookmark_id)
{
    char hex[9];

    id_hex(hex, sizeof(hex) - 1);
    return arena_printf(task_arena(), PROCESS_PREFIX "%d_%s", bookmark_id, hex);
}

int outbox_add_bookmark(struct pg_tx *tx, const char *job_id, int32_t user_id,
                        int32_t bookmark_id, const char *url, const char *queue,
                        const char *request_id)
{
    return pg_tx_run(tx, &sql_outbox_add,
                     PG_ARGS(pg_text(job_id), pg_int(user_id), pg_int(bookmark_id),
                             pg_text(url), pg_text(queue), pg_text(request_id)),
                     NULL);
}

static struct job_spec bookmark_job(const char *job_id, int32_t user_id,
                                    int32_t bookmark_id, const char *url,
                                    const char *queue, const char *request_id)
{
    struct arena *arena = task_arena();
    struct value *args = value_container(arena, VALUE_TUPLE);

    value_add(arena, args, value_int(arena, bookmark_id));
    value_add(arena, args, value_text(arena, url, strlen(url)));
    value_add(arena, args, value_int(arena, user_id));
    return (struct job_spec){
        .id = job_id,
        .queue = queue,
        .function = JOB_PROCESS_BOOKMARK,
        .args = args,
        .timeout_s = 600,
        .result_ttl_s = JOB_TTL_DEFAULT,
        .failure_ttl_s = JOB_TTL_DEFAULT,
        .retries = 2,
        .retry_intervals = retry_intervals,
        .retry_interval_count = 2,
        .request_id = request_id,
    };
}

static struct job_spec embedding_job(const char *job_id, int32_t user_id,
                                     int32_t bookmark_id, const char *request_id)
{
    struct arena *arena = task_arena();
    struct value *kwargs = value_container(arena, VALUE_DICT);

    value_put(arena, kwargs, "bookmark_id", value_int(arena, bookmark_id));
    value_put(arena, kwargs, "user_id", value_int(arena, user_id));
    return (struct job_spec){
        .id = job_id,
        .queue = EMBEDDING_QUEUE,
        .function = JOB_EMBED_BOOKMARK,
        .kwargs = kwargs,
        .timeout_s = EMBEDDING_TIMEOUT_S,
        .result_ttl_s = JOB_TTL_DEFAULT,
        .failure_ttl_s = JOB_TTL_DEFAULT,
        .request_id = request_id,
    };
}

static void push(struct redis *redis, const struct job_spec *spec)
{
    int rc = queue_push(redis, spec, NULL);

    if (rc < 0)
        log_warn("job %s is not in Redis yet (%s); the scheduler will push it", spec->id,
                 strerror(-rc));
}

void outbox_push_bookmark(struct redis *redis, const char *job_id, int32_t user_id,
                          int32_t bookmark_id, const char *url, const char *queue,
                          const char *request_id)
{
    struct job_spec spec =
        bookmark_job(job_id, user_id, bookmark_id, url, queue, request_id);

    push(redis, &spec);
}

void outbox_push_embedding(struct redis *redis, const char *job_id, int32_t user_id,
                           int32_t bookmark_id, const char *request_id)
{
    struct job_spec spec = embedding_job(job_id, user_id, bookmark_id, request_id);

    push(redis, &spec);
}

enum { JOB_ID, USER_ID, BOOKMARK_ID, URL, QUEUE, REQUEST_ID, CREATED_AT };

static struct job_spec job_of(const struct pg_rows *rows, int row)
{
    const char *id = pg_get_text(rows, row, JOB_ID);
    int32_t user_id = (int32_t)pg_get_int(rows, row, USER_ID);
    int32_t bookmark_id = (int32_t)pg_get_int(rows, row, BOOKMARK_ID);
    const char *request_id =
        pg_is_null(rows, row, REQUEST_ID) ? NULL : pg_get_text(rows, row, REQUEST_ID);

    if (strncmp(id, PROCESS_PREFIX, strlen(PROCESS_PREFIX)) != 0)
        return embedding_job(id, user_id, bookmark_id, request_id);
    return bookmark_job(id, user_id, bookmark_id, pg_get_text(rows, row, URL),
                        pg_get_text(rows, row, QUEUE), request_id);
}

/* Those of a page whose job hash is gone. How many were pushed, or an error. */
static int push_missing(struct redis *redis, const struct pg_rows *rows)
{
    struct arena *arena = task_arena();
    struct job_spec *specs = arena_array(arena, (size_t)rows->count, sizeof(*specs));
    struct redis_batch *batch = redis_batch_new(redis);
    redisReply **replies;
    size_t reply_count;
    size_t missing = 0;

    for (int i = 0; i < rows->count; i++)
        redis_batch_add(batch, "EXISTS rq:job:%s", pg_get_text(rows, i, JOB_ID));
    int rc = redis_batch_run(batch, &replies, &reply_count);
    if (rc < 0)
        return rc;
    for (int i = 0; i < rows->count && (size_t)i < reply_count; i++) {
        if (replies[i]->type != REDIS_REPLY_INTEGER || replies[i]->integer != 0)
            continue;
        specs[missing++] = job_of(rows, i);
    }
    return missing > 0 ? queue_push_many(redis, specs, missing, NULL) : 0;
}

int outbox_flush(struct pg *pg, struct redis *redis, uint64_t age_ms)
{
    const char *after_time = "-infinity";
    const char *after_id = "";
    struct pg_rows rows;
    int pushed = 0;

    /* Rows whose job waits in a long queue stay: so all pages, not only the first. */
    do {
        int rc = pg_run(pg, &sql_outbox_due,
                        PG_ARGS(pg_int((int64_t)age_ms), pg_text(after_time),
                                pg_text(after_id), pg_int(PAGE)),
                        &rows);
        if (rc < 0)
            return rc;
        if (rows.count == 0)
            break;
        rc = push_missing(redis, &rows);
        if (rc < 0)
            return rc;
        pushed += rc;
        after_time = pg_get_text(&rows, rows.count - 1, CREATED_AT);
        after_id = pg_get_text(&rows, rows.count - 1, JOB_ID);
    } while (rows.count == PAGE);
    return pushed;
}
