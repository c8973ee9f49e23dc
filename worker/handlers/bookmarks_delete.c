/*
 * bookmarks_delete.c - letting go: one by number, one by its URL, all of them.
 */
#include "common/arena.h"
#include "common/cache.h"
#include "common/pg.h"
#include "jobs/events.h"
#include "jobs/rq/queue.h"
#include "queries.h"
#include "worker/handlers/bookmark_event.h"
#include "worker/handlers/handlers.h"

#include <string.h>

/* Takes back the jobs that still wait for it; one that runs finds the bookmark gone and
 * ends quietly. Rows: url, title, job id or NULL, queue. */
static void cancel_jobs(struct request *req, const struct pg_rows *gone)
{
    for (int i = 0; i < gone->count; i++) {
        if (!pg_is_null(gone, i, 2))
            queue_cancel(req->server->redis, pg_get_text(gone, i, 3),
                         pg_get_text(gone, i, 2));
    }
}

/* 1: deleted, and everybody told; 0: the user has no such bookmark; or pg's error. */
static int delete_bookmark(struct request *req, int32_t id)
{
    const char *message = NULL;
    struct cache_write *write = cache_write_begin(req->server->cache, req->user_id);
    uint64_t position;
    struct pg_rows gone;

    int rc = pg_write(req->server->pg, &sql_bookmark_delete,
                      PG_ARGS(pg_int(req->user_id), pg_int(id)), &gone, &position);
    /* Also when there was none: who asks for that looks at an old list. */
    cache_write_end(write, rc, position);
    if (rc < 0 || gone.count == 0)
        return rc;

    rc = bookmark_event(req, NULL, "deleted", id, pg_get_text(&gone, 0, 0),
                        pg_get_text(&gone, 0, 1), &message);
    if (rc == 0 && message)
        events_publish(req->server->redis, message);
    cancel_jobs(req, &gone);
    return 1;
}

static enum http_status reply_deleted(struct request *req, int rc, const char *not_found)
{
    if (rc < 0)
        return reply_failure(req, rc);
    if (rc == 0)
        return reply_message(req, HTTP_NOT_FOUND, not_found);
    return reply_message(req, HTTP_OK, "Bookmark deleted");
}

/* DELETE /api/bookmarks/<int:id> */
enum http_status bookmark_delete(struct request *req)
{
    int rc = delete_bookmark(req, (int32_t)req->int_params[0]);

    return reply_deleted(req, rc, "Bookmark not found or unauthorized");
}

/* The path's rest, and, of a URL sent unencoded, what the query took from it. */
static const char *read_path_url(struct request *req)
{
    const char *url = req->params[0];

    if (req->query_string && req->query_string[0] != '\0')
        url = arena_printf(req->arena, "%s?%s", url, req->query_string);
    return url;
}

/* DELETE /api/bookmarks/url/<path:url> (D16) */
enum http_status bookmark_delete_by_url(struct request *req)
{
    const char *url = read_path_url(req);
    size_t length = strlen(url);
    struct pg_rows rows;

    size_t bare_length = length > 0 && url[length - 1] == '/' ? length - 1 : length;
    int rc = pg_run(req->server->pg, &sql_bookmark_find_by_url,
                    PG_ARGS(pg_int(req->user_id), pg_text(url),
                            pg_text(arena_strndup(req->arena, url, bare_length))),
                    &rows);
    if (rc == 0 && rows.count > 0)
        rc = delete_bookmark(req, (int32_t)pg_get_int(&rows, 0, 0));
    return reply_deleted(req, rc, "Bookmark not found");
}

/* DELETE /api/bookmarks/all */
enum http_status bookmark_delete_all(struct request *req)
{
    struct cache_write *write = cache_write_begin(req->server->cache, req->user_id);
    uint64_t position;
    struct pg_rows rows;

    int rc = pg_write(req->server->pg, &sql_bookmark_delete_all,
                      PG_ARGS(pg_int(req->user_id)), &rows, &position);
    cache_write_end(write, rc, position);
    if (rc < 0)
        return reply_failure(req, rc);
    return reply_message(req, HTTP_OK,
                         arena_printf(req->arena, "Deleted %d bookmarks", rows.affected));
}
