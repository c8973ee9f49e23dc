/*
 * search.c - finding bookmarks by their text (contract 2.4).
 */
#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/utf8.h"
#include "queries.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/rows.h"

#define QUERY_MAX     1000
#define LIMIT_DEFAULT 10
#define LIMIT_MAX     100

static void put_hit(struct json_writer *w, const struct pg_rows *rows, int row)
{
    json_begin_object(w, NULL);
    json_put_int(w, "id", pg_get_int(rows, row, 0));
    row_put_text(w, "title", rows, row, 1);
    row_put_text(w, "url", rows, row, 2);
    json_put_text(w, "description", pg_get_text(rows, row, 3));
    row_put_time(w, "saved_at", rows, row, 4);
    json_put_bool(w, "has_content", pg_get_bool(rows, row, 5));
    json_end_object(w);
}

static enum http_status reply_hits(struct request *req, const char *query,
                                   const struct pg_rows *rows)
{
    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };

    json_begin_object(&w, NULL);
    json_put_text(&w, "query", query);
    json_begin_array(&w, "results");
    for (int i = 0; i < rows->count; i++)
        put_hit(&w, rows, i);
    json_end_array(&w);
    json_put_int(&w, "total", rows->count);
    json_end_object(&w);
    return reply_text(req, HTTP_OK, body.data, body.length);
}

static int64_t read_limit(struct request *req)
{
    int64_t limit = request_query_int(req, "limit", LIMIT_DEFAULT);

    return limit < 1 ? 1 : limit > LIMIT_MAX ? LIMIT_MAX : limit;
}

/* GET /api/search/text */
enum http_status search_text(struct request *req)
{
    const char *query = request_query(req, "q");
    struct pg_rows rows = { 0 };

    query = form_trim(req->arena, query ? query : "");
    if (utf8_count(query) > QUERY_MAX)
        return reply_message(req, HTTP_BAD_REQUEST,
                             "Query exceeds maximum length of 1000 characters");
    if (query[0] == '\0')
        return reply_hits(req, query, &rows);

    int rc =
        pg_read(req->server->pg, &req->reader, &sql_search_text,
                PG_ARGS(pg_int(req->user_id), pg_text(query),
                        pg_text(form_like(req->arena, query)), pg_int(read_limit(req))),
                &rows);
    if (rc < 0) {
        log_warn("search failed: error %d", rc);
        reply_header(req, "Retry-After", "5");
        return reply_message(req, HTTP_UNAVAILABLE, "Search temporarily unavailable");
    }
    return reply_hits(req, query, &rows);
}
