/*
 * bookmarks_save.c - keeping a link: create, quick-save, and is it there already?
 *
 * One transaction holds the row, the outbox row that owes it a job, and the event. What
 * follows the commit (cache, event, push) is best effort: a save never fails, and never
 * waits long, because Redis is away.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/cache.h"
#include "common/json.h"
#include "common/pg.h"
#include "jobs/events.h"
#include "jobs/outbox.h"
#include "queries.h"
#include "worker/handlers/account.h"
#include "worker/handlers/bookmark_event.h"
#include "worker/handlers/bookmark_form.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/rows.h"

#include <errno.h>
#include <string.h>

#define SAVE_QUEUE "default"

/* The row that stands in the way may go before we look at it; then the insert is tried
 * again. So often it does not happen by chance. */
#define SAVE_ATTEMPTS 3

struct saved {
    int32_t id;
    const char *url, *title; /* as stored */
    const char *duplicate;   /* "exact", "normalized"; NULL: a new row */
    const char *job_id;      /* to be pushed; NULL: none is wanted */
    const char *queue;
    const char *message; /* the event, to be published */
};

/* 1: inserted; 0: the same page is there already; or pg's error. */
static int insert_bookmark(struct request *req, struct pg_tx *tx,
                           const struct bookmark_form *form, struct saved *ret)
{
    const char *title = form->title ? form->title : BOOKMARK_UNTITLED;
    struct pg_rows rows;

    int rc = pg_tx_run(tx, &sql_bookmark_insert,
                       PG_ARGS(pg_int(req->user_id), pg_text(form->url),
                               pg_text(form->url_norm), pg_text(form->page_key),
                               pg_text(title), pg_text(form->notes ? form->notes : ""),
                               pg_text(form->category), pg_text(form->tags)),
                       &rows);
    if (rc < 0)
        return rc;
    if (rows.count == 0)
        return 0;
    *ret = (struct saved){ .id = (int32_t)pg_get_int(&rows, 0, 0),
                           .url = form->url,
                           .title = title };
    return 1;
}

/* 1: found, and what was sent is written into it; 0: it is gone; or pg's error. */
static int update_duplicate(struct request *req, struct pg_tx *tx,
                            const struct bookmark_form *form, struct saved *ret)
{
    struct pg_rows same, updated;

    int rc = pg_tx_run(
        tx, &sql_bookmark_find_same,
        PG_ARGS(pg_int(req->user_id), pg_text(form->url), pg_text(form->url_norm)),
        &same);
    if (rc < 0)
        return rc;
    if (same.count == 0)
        return 0;
    int32_t id = (int32_t)pg_get_int(&same, 0, 0);
    rc = pg_tx_run(tx, &sql_bookmark_update_saved,
                   PG_ARGS(pg_int(req->user_id), pg_int(id), pg_text(form->title),
                           pg_text(form->notes), pg_bool(form->has_tags),
                           pg_text(form->tags)),
                   &updated);
    if (rc < 0)
        return rc;
    if (updated.count == 0)
        return 0;
    *ret = (struct saved){ .id = id,
                           .url = pg_get_text(&same, 0, 1),
                           .title = pg_get_text(&updated, 0, 0),
                           .duplicate = pg_get_text(&same, 0, 2) };
    return 1;
}

/* A job for it, unless one waits already: that one is pushed again, which does nothing
 * when it is in its queue. */
static int owe_job(struct request *req, struct pg_tx *tx, struct saved *saved)
{
    struct pg_rows rows = { 0 };
    int rc = 0;

    if (saved->duplicate)
        rc = pg_tx_run(tx, &sql_bookmark_waiting_job,
                       PG_ARGS(pg_int(req->user_id), pg_int(saved->id)), &rows);
    if (rc < 0)
        return rc;
    if (rows.count > 0) {
        saved->job_id = pg_get_text(&rows, 0, 0);
        saved->queue = pg_get_text(&rows, 0, 1);
        return 0;
    }

    saved->job_id = outbox_bookmark_job_id(saved->id);
    saved->queue = SAVE_QUEUE;
    if (saved->duplicate)
        rc = pg_tx_run(tx, &sql_bookmark_set_pending,
                       PG_ARGS(pg_int(req->user_id), pg_int(saved->id)), NULL);
    if (rc < 0)
        return rc;
    return outbox_add_bookmark(tx, saved->job_id, req->user_id, saved->id, saved->url,
                               saved->queue, req->id);
}

/* All that one transaction changes. 1, 0 (try again), or pg's error. */
static int save_in(struct request *req, struct pg_tx *tx,
                   const struct bookmark_form *form, bool always_queued,
                   struct saved *ret)
{
    int rc = insert_bookmark(req, tx, form, ret);
    if (rc == 0)
        rc = update_duplicate(req, tx, form, ret);
    if (rc <= 0)
        return rc;

    rc = 0;
    if (!ret->duplicate || always_queued)
        rc = owe_job(req, tx, ret);
    if (rc == 0)
        rc = bookmark_event(req, tx, ret->duplicate ? "updated" : "created", ret->id,
                            ret->url, ret->title, &ret->message);
    return rc < 0 ? rc : 1;
}

/* The cache first, since the client reads its list next. */
static int commit(struct request *req, struct pg_tx *tx)
{
    struct cache_write *write = cache_write_begin(req->server->cache, req->user_id);
    uint64_t position;
    int rc = pg_commit_at(tx, &position);

    cache_write_end(write, rc, position);
    return rc;
}

static int save(struct request *req, const struct bookmark_form *form, bool always_queued,
                struct saved *ret)
{
    for (int i = 0; i < SAVE_ATTEMPTS; i++) {
        struct pg_tx *tx;

        int rc = pg_begin(req->server->pg, &tx);
        if (rc < 0)
            return rc;
        rc = save_in(req, tx, form, always_queued, ret);
        if (rc > 0)
            return commit(req, tx);
        pg_rollback(tx);
        if (rc < 0 && rc != -EDEADLK)
            return rc;
    }
    return -EAGAIN;
}

/* After the commit. */
static void announce(struct request *req, const struct saved *saved)
{
    struct server *server = req->server;

    if (saved->message)
        events_publish(server->redis, saved->message);
    if (saved->job_id)
        outbox_push_bookmark(server->redis, saved->job_id, req->user_id, saved->id,
                             saved->url, saved->queue, req->id);
}

static enum http_status reply_saved(struct request *req, const struct saved *saved)
{
    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };

    json_begin_object(&w, NULL);
    json_put_text(&w, "message",
                  saved->duplicate ? "Bookmark updated" : "Bookmark saved");
    json_begin_object(&w, "bookmark");
    json_put_int(&w, "id", saved->id);
    json_put_text(&w, "url", saved->url);
    json_end_object(&w);
    if (saved->job_id)
        json_put_text(&w, "processing", "background");
    json_put_bool(&w, "wasDuplicate", saved->duplicate != NULL);
    if (saved->duplicate)
        json_put_text(&w, "duplicateType", saved->duplicate);
    json_end_object(&w);
    return reply_text(req, saved->duplicate ? HTTP_OK : HTTP_CREATED, body.data,
                      body.length);
}

static enum http_status save_bookmark(struct request *req, bool always_queued)
{
    const cJSON *body = request_json(req);
    struct bookmark_form form;
    struct saved saved = { 0 };

    if (!body)
        return request_json_failed(req);
    if (!bookmark_form_read(req->arena, body, &form))
        return reply_text(req, HTTP_BAD_REQUEST, form.problem, strlen(form.problem));

    int rc = save(req, &form, always_queued, &saved);
    if (rc == -ENOENT)
        return reply_message(req, HTTP_NOT_FOUND, ACCOUNT_GONE);
    if (rc < 0)
        return reply_failure(req, rc);
    announce(req, &saved);
    return reply_saved(req, &saved);
}

/* POST /api/bookmarks */
enum http_status bookmark_create(struct request *req)
{
    return save_bookmark(req, false);
}

/* POST /api/bookmarks/quick-save: a page saved again is read again. */
enum http_status bookmark_quick_save(struct request *req)
{
    return save_bookmark(req, true);
}

static void put_existing(struct json_writer *w, const struct pg_rows *rows)
{
    json_begin_object(w, "existingBookmark");
    json_put_int(w, "id", pg_get_int(rows, 0, 0));
    row_put_text(w, "title", rows, 0, 1);
    row_put_text(w, "url", rows, 0, 2);
    json_put_text(w, "notes", pg_get_text(rows, 0, 3));
    row_put_time(w, "saved_at", rows, 0, 4);
    json_end_object(w);
}

/* POST /api/bookmarks/check-duplicate: called while the user types, so any text will do.
 */
enum http_status bookmark_check_duplicate(struct request *req)
{
    const cJSON *json = request_json(req);
    struct bookmark_form form = { 0 };
    struct pg_rows rows;

    if (!json)
        return request_json_failed(req);
    if (!bookmark_form_read_url(req->arena, json, &form))
        return reply_text(req, HTTP_BAD_REQUEST, form.problem, strlen(form.problem));

    int rc = pg_read(req->server->pg, &req->reader, &sql_bookmark_find_similar,
                     PG_ARGS(pg_int(req->user_id), pg_text(form.url),
                             pg_text(form.url_norm), pg_text(form.page_key)),
                     &rows);
    if (rc < 0)
        return reply_failure(req, rc);

    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };
    json_begin_object(&w, NULL);
    json_put_bool(&w, "isDuplicate", rows.count > 0);
    if (rows.count > 0) {
        row_put_text(&w, "duplicateType", &rows, 0, 5);
        put_existing(&w, &rows);
    } else {
        json_put_null(&w, "duplicateType");
        json_put_null(&w, "existingBookmark");
    }
    json_end_object(&w);
    return reply_text(req, HTTP_OK, body.data, body.length);
}
