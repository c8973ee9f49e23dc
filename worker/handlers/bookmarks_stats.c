/*
 * bookmarks_stats.c - four numbers beside the save form, and how they move (contract
 * 2.2, 2.9).
 */
#include "common/buf.h"
#include "common/cache.h"
#include "common/json.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/handlers/handlers.h"

#include <stdio.h>

#define CACHE_NAME "stats"
#define CACHE_S    120

/* In the order of bookmark_stats' columns. */
struct stats {
    int64_t total, total_before, this_week, last_week, good, projects, projects_before;
};

static double percent_change(int64_t now, int64_t before)
{
    if (before == 0)
        return now > 0 ? 100 : 0;
    return (double)(now - before) * 100 / (double)before;
}

/* {"value":6,"change":"+100.0%","change_value":100.0} */
static void put_stat(struct json_writer *w, const char *key, double value, int decimals,
                     double change)
{
    char text[48];

    snprintf(text, sizeof(text), "%+.1f%%", change);
    json_begin_object(w, key);
    json_put_double(w, "value", value, decimals);
    json_put_text(w, "change", text);
    json_put_double(w, "change_value", change, 1);
    json_end_object(w);
}

static void put_stats(struct json_writer *w, const struct stats *s)
{
    double success = s->total > 0 ? (double)s->good * 100 / (double)s->total : 0;

    json_begin_object(w, NULL);
    put_stat(w, "total_bookmarks", (double)s->total, 0,
             percent_change(s->total, s->total_before));
    put_stat(w, "active_projects", (double)s->projects, 0,
             percent_change(s->projects, s->projects_before));
    put_stat(w, "weekly_saves", (double)s->this_week, 0,
             percent_change(s->this_week, s->last_week));
    put_stat(w, "success_rate", success, 1, 0);
    json_end_object(w);
}

/* GET /api/bookmarks/dashboard/stats */
enum http_status bookmark_stats(struct request *req)
{
    struct cache *cache = req->server->cache;
    struct pg_rows rows;
    size_t length;

    const char *cached =
        cache_get(cache, req->user_id, req->generation, CACHE_NAME, &length);
    if (cached)
        return reply_text(req, HTTP_OK, cached, length);

    int rc = pg_read(req->server->pg, &req->reader, &sql_bookmark_stats,
                     PG_ARGS(pg_int(req->user_id)), &rows);
    if (rc < 0)
        return reply_failure(req, rc);

    struct stats stats = {
        .total = pg_get_int(&rows, 0, 0),
        .total_before = pg_get_int(&rows, 0, 1),
        .this_week = pg_get_int(&rows, 0, 2),
        .last_week = pg_get_int(&rows, 0, 3),
        .good = pg_get_int(&rows, 0, 4),
        .projects = pg_get_int(&rows, 0, 5),
        .projects_before = pg_get_int(&rows, 0, 6),
    };
    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };
    put_stats(&w, &stats);
    if (!req->reader.was_behind)
        cache_put(cache, req->user_id, req->generation, CACHE_NAME, body.data,
                  body.length, CACHE_S);
    return reply_text(req, HTTP_OK, body.data, body.length);
}
