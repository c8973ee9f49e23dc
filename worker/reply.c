/*
 * reply.c - see reply.h.
 */
#include "worker/reply.h"
#include "common/arena.h"
#include "common/log.h"
#include "worker/access_log.h"
#include "worker/exchange.h"
#include "worker/headers.h"
#include "worker/router.h"
#include "worker/stream.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define JSON_TYPE "application/json"

static enum http_status set(struct request *req, enum http_status status,
                            const char *type, const char *data, size_t length)
{
    struct reply *reply = req->reply;

    reply->status = status;
    reply->type = type;
    reply->data = data;
    reply->length = length;
    return status;
}

/* ---- bodies ---- */

enum http_status reply_text(struct request *req, enum http_status status,
                            const char *json, size_t length)
{
    return set(req, status, JSON_TYPE, json, length);
}

enum http_status reply_json(struct request *req, enum http_status status,
                            const cJSON *body)
{
    char *text = cJSON_PrintUnformatted(body);

    if (!text)
        return reply_internal_error(req);
    return set(req, status, JSON_TYPE, text, strlen(text));
}

enum http_status reply_data(struct request *req, enum http_status status,
                            const char *type, const void *data, size_t length)
{
    return set(req, status, type, data, length);
}

enum http_status reply_empty(struct request *req, enum http_status status)
{
    return set(req, status, NULL, "", 0);
}

static void close_file(void *arg)
{
    close(*(int *)arg);
}

enum http_status reply_file(struct request *req, enum http_status status,
                            const char *type, int fd, size_t size)
{
    int *kept = arena_alloc(req->arena, sizeof(*kept));

    *kept = fd;
    arena_defer(req->arena, close_file, kept);
    req->reply->file = fd;
    return set(req, status, type, NULL, size);
}

enum http_status reply_stream(struct request *req, struct stream *stream)
{
    req->reply->stream = stream;
    req->reply->close = true; /* nothing follows it; a drain need not wait for more */
    reply_cache_control(req, "no-cache, no-transform");
    reply_header(req, "X-Accel-Buffering", "no");
    return set(req, HTTP_OK, "text/event-stream; charset=utf-8", NULL, 0);
}

/* {"first_key": first} or {"first_key": first, "second_key": second} */
static enum http_status set_texts(struct request *req, enum http_status status,
                                  const char *first_key, const char *first,
                                  const char *second_key, const char *second)
{
    struct buf out = BUF_IN(req->arena);
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    json_put_text(&w, first_key, first);
    if (second_key)
        json_put_text(&w, second_key, second);
    json_end_object(&w);
    return set(req, status, JSON_TYPE, out.data, out.length);
}

enum http_status reply_message(struct request *req, enum http_status status,
                               const char *text)
{
    return set_texts(req, status, "message", text, NULL, NULL);
}

enum http_status reply_error(struct request *req, enum http_status status,
                             const char *text)
{
    return set_texts(req, status, "error", text, NULL, NULL);
}

enum http_status reply_problem(struct request *req, enum http_status status,
                               const char *message, const char *code)
{
    return set_texts(req, status, "message", message, "error", code);
}

/* ---- fixed bodies ---- */

static enum http_status set_fixed(struct request *req, enum http_status status,
                                  const char *json)
{
    return set(req, status, JSON_TYPE, json, strlen(json));
}

enum http_status reply_not_found(struct request *req)
{
    return set_fixed(req, HTTP_NOT_FOUND,
                     "{\"message\":\"Not found\",\"error\":\"not_found\"}");
}

enum http_status reply_too_large(struct request *req)
{
    req->reply->close = true;
    return set_fixed(
        req, HTTP_TOO_LARGE,
        "{\"message\":\"Request body too large\",\"error\":\"payload_too_large\"}");
}

enum http_status reply_invalid_json(struct request *req)
{
    return set_fixed(req, HTTP_BAD_REQUEST,
                     "{\"message\":\"Bad request\",\"error\":\"invalid_json\"}");
}

enum http_status reply_internal_error(struct request *req)
{
    return set_fixed(req, HTTP_INTERNAL,
                     "{\"error\":\"Internal server error\","
                     "\"message\":\"An unexpected error occurred\"}");
}

enum http_status reply_unavailable(struct request *req)
{
    req->reply->retry_after = 1;
    return set_fixed(req, HTTP_UNAVAILABLE,
                     "{\"message\":\"Service temporarily unavailable\","
                     "\"error\":\"service_unavailable\"}");
}

enum http_status reply_failure(struct request *req, int error)
{
    if (error == -EAGAIN || error == -ETIMEDOUT || error == -EBUSY ||
        error == -ECONNRESET)
        return reply_unavailable(req);
    log_error("%s failed: %s", req->route ? req->route->pattern : req->path,
              strerror(-error));
    return reply_internal_error(req);
}

void reply_reset(struct request *req)
{
    struct reply *reply = req->reply;

    *reply = (struct reply){ .file = -1 };
    reply->headers_end = &reply->headers;
}

/* ---- headers ---- */

void reply_header(struct request *req, const char *name, const char *value)
{
    struct reply_header *header = arena_alloc(req->arena, sizeof(*header));

    header->name = arena_strdup(req->arena, name);
    header->value = arena_strdup(req->arena, value);
    *req->reply->headers_end = header;
    req->reply->headers_end = &header->next;
}

void reply_cache_control(struct request *req, const char *value)
{
    req->reply->cache_control = arena_strdup(req->arena, value);
}

/* ---- to libmicrohttpd ---- */

static struct MHD_Response *make_response(struct exchange *exchange)
{
    const struct reply *reply = &exchange->reply;

    if (reply->stream)
        return stream_response(reply->stream);
    if (reply->file >= 0) {
        /* libmicrohttpd closes the descriptor it is given. */
        int fd = dup(reply->file);
        struct MHD_Response *response =
            fd >= 0 ? MHD_create_response_from_fd64(reply->length, fd) : NULL;

        if (!response && fd >= 0)
            close(fd);
        return response;
    }
    /* The arena outlives the response: the data need not be copied. */
    return MHD_create_response_from_buffer(reply->length, (void *)reply->data,
                                           MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result reply_queue(struct exchange *exchange)
{
    const struct reply *reply = &exchange->reply;
    struct MHD_Response *response = make_response(exchange);

    if (!response)
        return MHD_NO;
    if (reply->type)
        MHD_add_response_header(response, "Content-Type", reply->type);
    headers_add(exchange, response);
    access_log_note(exchange, response);
    enum MHD_Result result =
        MHD_queue_response(exchange->req.connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}
