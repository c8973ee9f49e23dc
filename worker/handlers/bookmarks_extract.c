/*
 * bookmarks_extract.c - a look at a page before it is saved.
 *
 * The page is fetched under the same rules as a job's, but now: whatever goes wrong is an
 * answer the form can show, so it is a 200 (contract 2.2).
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "common/url.h"
#include "common/utf8.h"
#include "jobs/extract/extract.h"
#include "jobs/fetch/fetch.h"
#include "worker/handlers/bookmark_form.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"

#include <string.h>

#define EXTRACT_MS      10000 /* fetching and reading together */
#define DESCRIPTION_MAX 1000
#define UNTITLED        "Untitled"
#define SLOW_HOST       "This site has been asked too often just now. Please try again later."
#define UNREADABLE      "The page could not be read in time"

/* Made by the first request that needs it: most workers fetch nothing. */
static struct fetcher *fetcher;

/* One page's way through the thread pool. */
struct extraction {
    const struct fetch_result *page;
    const char *url;
    struct extract *result;
};

static void extract_in_thread(void *arg)
{
    struct extraction *work = arg;

    work->result = extract_page(work->page->body, work->page->length,
                                work->page->content_type, work->url);
}

static void free_extraction(void *arg)
{
    struct extraction *work = arg;

    if (work->result)
        extract_free(work->result);
}

static enum http_status reply_not_extracted(struct request *req, const char *url,
                                            const char *why)
{
    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };

    json_begin_object(&w, NULL);
    json_put_text(&w, "title", UNTITLED);
    json_put_text(&w, "description", "");
    json_put_text(&w, "url", url);
    json_put_bool(&w, "success", false);
    json_put_text(&w, "message", why);
    json_end_object(&w);
    return reply_text(req, HTTP_OK, body.data, body.length);
}

static enum http_status reply_extracted(struct request *req, const char *url,
                                        const struct extract *page)
{
    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };
    const char *title = page->title[0] != '\0' ? page->title : UNTITLED;

    json_begin_object(&w, NULL);
    json_put_text(&w, "title", title);
    json_put_text(&w, "description", form_cut(req->arena, page->text, DESCRIPTION_MAX));
    json_put_text(&w, "url", url);
    json_put_bool(&w, "success", true);
    json_put_double(&w, "quality_score", page->quality_score / 100.0, 2);
    json_begin_object(&w, "scraped");
    json_put_text(&w, "title", page->title);
    json_begin_array(&w, "headings");
    for (char **heading = page->headings; *heading; heading++)
        json_put_text(&w, NULL, *heading);
    json_end_array(&w);
    json_put_text(&w, "meta_description", page->description);
    json_put_int(&w, "content_length", (int64_t)utf8_count(page->text));
    json_end_object(&w);
    json_end_object(&w);
    return reply_text(req, HTTP_OK, body.data, body.length);
}

/* The page behind `url`, or NULL and why not. */
static const struct fetch_result *fetch(struct request *req, const char *url,
                                        const char **ret_why)
{
    const struct options *options = req->server->options;
    struct fetch_result *page = arena_alloc(req->arena, sizeof(*page));

    if (fetch_host_delay(req->server->redis, options, url) > 0) {
        *ret_why = SLOW_HOST;
        return NULL;
    }
    if (!fetcher)
        fetcher = fetcher_new(options);
    uint64_t timeout_ms =
        options->fetch.timeout < EXTRACT_MS ? options->fetch.timeout : EXTRACT_MS;
    fetch_page(fetcher, url, timeout_ms, page);
    fetch_host_report(req->server->redis, options, url, page->is_retryable);
    if (page->outcome == FETCH_OK)
        return page;
    *ret_why = page->detail;
    return NULL;
}

/* POST /api/bookmarks/extract-url */
enum http_status bookmark_extract_url(struct request *req)
{
    const cJSON *json = request_json(req);
    struct bookmark_form form = { 0 };
    uint64_t began = clock_ms();
    const char *why = NULL;

    if (!json)
        return request_json_failed(req);
    if (!bookmark_form_read_url(req->arena, json, &form))
        return reply_text(req, HTTP_BAD_REQUEST, form.problem, strlen(form.problem));
    if (!url_is_saveable(form.url))
        return reply_not_extracted(req, form.url, BOOKMARK_BAD_URL);

    const struct fetch_result *page = fetch(req, form.url, &why);
    if (!page)
        return reply_not_extracted(req, form.url, why);

    struct extraction *work = arena_alloc(req->arena, sizeof(*work));
    *work = (struct extraction){ .page = page, .url = form.url };
    arena_defer(req->arena, free_extraction, work);
    uint64_t spent = clock_ms() - began;
    if (spent >= EXTRACT_MS ||
        task_work("extract", extract_in_thread, work, EXTRACT_MS - spent) < 0)
        return reply_not_extracted(req, form.url, UNREADABLE);
    return reply_extracted(req, form.url, work->result);
}
