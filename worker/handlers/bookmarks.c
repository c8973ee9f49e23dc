/*
 * bookmarks.c - the list of a user's bookmarks, a page at a time.
 *
 * The most read answer of all: written straight into a buffer, and kept in the cache
 * until the user's next write.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/cache.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/handlers/bookmark_form.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/rows.h"

#include <string.h>

#define PER_PAGE_DEFAULT 10
#define PER_PAGE_ODD     20 /* for a number below 1 */
#define PER_PAGE_MAX     1000
#define SEARCH_MAX       200 /* characters */
#define CACHE_S          300
#define CACHE_SEARCH_S   60
#define CACHE_BYTES_MAX  (512 * 1024) /* a page of a thousand is cheaper to ask for */

struct list_query {
    int64_t page, per_page;
    const char *search;   /* NULL: everything */
    const char *category; /* NULL: every one */
    bool or_none;         /* those without a category, too */
};

/* In the order of the columns of bookmark_list and bookmark_list_filtered. */
enum list_column {
    COLUMN_TOTAL,
    COLUMN_ID,
    COLUMN_URL,
    COLUMN_TITLE,
    COLUMN_NOTES,
    COLUMN_SAVED_AT,
    COLUMN_CATEGORY,
    COLUMN_HAS_CONTENT,
    COLUMN_SCRAPE_STATUS,
    COLUMN_QUALITY_SCORE,
    COLUMN_READING_TIME,
    COLUMN_TAGS,
};

static void read_list_query(struct request *req, struct list_query *ret)
{
    const char *search = request_query(req, "search");
    const char *category = request_query(req, "category");

    *ret = (struct list_query){
        .page = request_query_int(req, "page", 1),
        .per_page = request_query_int(req, "per_page", PER_PAGE_DEFAULT),
    };
    if (ret->page < 1)
        ret->page = 1;
    if (ret->page > INT32_MAX)
        ret->page = INT32_MAX;
    if (ret->per_page < 1)
        ret->per_page = PER_PAGE_ODD;
    if (ret->per_page > PER_PAGE_MAX)
        ret->per_page = PER_PAGE_MAX;

    search = search ? form_trim(req->arena, search) : "";
    if (search[0] != '\0')
        ret->search = form_cut(req->arena, search, SEARCH_MAX);
    if (category && category[0] != '\0' && strcmp(category, "all") != 0)
        ret->category = category;
    ret->or_none = ret->category && (strcmp(ret->category, "other") == 0 ||
                                     strcmp(ret->category, "none") == 0);
}

/* The entry's name in the cache; what the user typed goes in as a digest. */
static const char *list_cache_name(struct request *req, const struct list_query *query)
{
    char digest[SHA256_HEX_SIZE] = "";

    if (query->search || query->category) {
        const char *search = query->search ? query->search : "";
        const char *text = arena_printf(req->arena, "%zu:%s%s", strlen(search), search,
                                        query->category ? query->category : "");
        sha256_hex(text, strlen(text), digest);
    }
    return arena_printf(req->arena, "bookmarks:%lld:%lld:%s", (long long)query->page,
                        (long long)query->per_page, digest);
}

/* A page of the whole list. Yields. 0 or an error. */
static int run_whole_list(struct request *req, const struct list_query *query,
                          struct pg_rows *ret, int64_t *ret_total)
{
    int64_t offset = (query->page - 1) * query->per_page;
    struct pg *pg = req->server->pg;
    struct pg_rows total;
    int rc = pg_read(
        pg, &req->reader, &sql_bookmark_list,
        PG_ARGS(pg_int(req->user_id), pg_int(query->per_page), pg_int(offset)), ret);

    if (rc < 0)
        return rc;
    if (ret->count > 0) {
        *ret_total = pg_get_int(ret, 0, COLUMN_TOTAL);
        return 0;
    }
    rc = pg_read(pg, &req->reader, &sql_bookmark_total, PG_ARGS(pg_int(req->user_id)),
                 &total);
    if (rc == 0)
        *ret_total = pg_get_int(&total, 0, 0);
    return rc;
}

/* Yields. 0 or an error. */
static int run_list(struct request *req, const struct list_query *query,
                    struct pg_rows *ret, int64_t *ret_total)
{
    if (!query->search && !query->category)
        return run_whole_list(req, query, ret, ret_total);

    int64_t offset = (query->page - 1) * query->per_page;
    const char *pattern = query->search ? form_like(req->arena, query->search) : NULL;
    int rc = pg_read(req->server->pg, &req->reader, &sql_bookmark_list_filtered,
                     PG_ARGS(pg_int(req->user_id), pg_int(query->per_page),
                             pg_int(offset), pg_text(pattern), pg_text(query->category),
                             pg_bool(query->or_none)),
                     ret);
    if (rc == 0)
        *ret_total = pg_get_int(ret, 0, COLUMN_TOTAL);
    return rc;
}

static void put_bookmark(struct json_writer *w, const struct pg_rows *rows, int row)
{
    json_begin_object(w, NULL);
    row_put_int(w, "id", rows, row, COLUMN_ID);
    row_put_text(w, "url", rows, row, COLUMN_URL);
    row_put_text(w, "title", rows, row, COLUMN_TITLE);
    json_put_text(w, "description", pg_get_text(rows, row, COLUMN_NOTES));
    row_put_time(w, "saved_at", rows, row, COLUMN_SAVED_AT);
    row_put_text(w, "category", rows, row, COLUMN_CATEGORY);
    json_put_bool(w, "has_content", pg_get_bool(rows, row, COLUMN_HAS_CONTENT));
    row_put_text(w, "scrape_status", rows, row, COLUMN_SCRAPE_STATUS);
    row_put_int(w, "quality_score", rows, row, COLUMN_QUALITY_SCORE);
    row_put_int(w, "reading_time", rows, row, COLUMN_READING_TIME);
    bookmark_tags_put(w, "tags", pg_get_text(rows, row, COLUMN_TAGS));
    json_end_object(w);
}

static void put_list(struct json_writer *w, const struct list_query *query,
                     const struct pg_rows *rows, int64_t total)
{
    json_begin_object(w, NULL);
    json_begin_array(w, "bookmarks");
    for (int i = 0; i < rows->count; i++) {
        if (!pg_is_null(rows, i, COLUMN_ID)) /* null: a page past the end */
            put_bookmark(w, rows, i);
    }
    json_end_array(w);
    json_put_int(w, "total", total);
    json_put_int(w, "page", query->page);
    json_put_int(w, "per_page", query->per_page);
    json_put_int(w, "pages", (total + query->per_page - 1) / query->per_page);
    json_end_object(w);
}

/* GET /api/bookmarks */
enum http_status bookmark_list(struct request *req)
{
    struct cache *cache = req->server->cache;
    struct list_query query;
    struct pg_rows rows;
    size_t length;

    read_list_query(req, &query);
    const char *name = list_cache_name(req, &query);
    const char *cached = cache_get(cache, req->user_id, req->generation, name, &length);
    if (cached)
        return reply_text(req, HTTP_OK, cached, length);

    int64_t total = 0;
    int rc = run_list(req, &query, &rows, &total);
    if (rc < 0)
        return reply_failure(req, rc);

    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };
    buf_reserve(&body, 256 + 512 * (size_t)rows.count);
    put_list(&w, &query, &rows, total);
    if (body.length <= CACHE_BYTES_MAX && !req->reader.was_behind)
        cache_put(cache, req->user_id, req->generation, name, body.data, body.length,
                  query.search ? CACHE_SEARCH_S : CACHE_S);
    return reply_text(req, HTTP_OK, body.data, body.length);
}
