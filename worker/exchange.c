/*
 * exchange.c - see exchange.h.
 */
#include "worker/exchange.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/access.h"
#include "worker/access_log.h"
#include "worker/client_ip.h"
#include "worker/cors.h"
#include "worker/handlers/page.h"
#include "worker/reply.h"
#include "worker/request_id.h"
#include "worker/router.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Most memory one request may take. The largest honest ones (a list of 1000
 * bookmarks, a body of 20,000 values) stay below half of it.
 */
#define REQUEST_MEMORY ((size_t)32 * 1024 * 1024)

/*
 * A body nobody wants is read off up to this size before the answer is sent. A
 * client that is still sending when its connection closes gets a reset, and with
 * it loses an answer that was already under way.
 */
#define DISCARD_LIMIT ((uint64_t)4 * 1024 * 1024)

/* ---- birth: the request line ---- */

/* A proxy's form of the target, http://host/path, names the same path (RFC 9112, 3.2.2).
 * The host ends at a query as well, as it does for whoever has checked the path before.
 */
static const char *skip_authority(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
        return uri;
    uri = strchr(uri, ':') + 3;
    return uri + strcspn(uri, "/?#");
}

struct exchange *exchange_new(struct connection *connection, const char *uri)
{
    struct arena *arena = arena_new(REQUEST_MEMORY);
    struct exchange *exchange = arena_alloc(arena, sizeof(*exchange));
    struct request *req = &exchange->req;

    size_t target_length = strlen(uri);
    uri = skip_authority(uri);
    size_t path_length = strcspn(uri, "?");

    exchange->connection = connection;
    exchange->target_length = target_length;
    exchange->reply.file = -1;
    exchange->reply.headers_end = &exchange->reply.headers;
    req->server = http_server(connection->http);
    req->arena = arena;
    req->connection = connection->mhd;
    req->reply = &exchange->reply;
    req->started_us = clock_us();
    req->path = path_length > 0 ? arena_strndup(arena, uri, path_length) : "/";
    req->query_string =
        uri[path_length] == '?' ? arena_strdup(arena, uri + path_length + 1) : "";
    return exchange;
}

/* ---- the head ---- */

static const struct {
    const char *name;
    enum http_method method;
    bool is_head;
} methods[] = {
    { "GET", METHOD_GET, false },         { "POST", METHOD_POST, false },
    { "HEAD", METHOD_GET, true },         { "PUT", METHOD_PUT, false },
    { "DELETE", METHOD_DELETE, false },   { "PATCH", METHOD_PATCH, false },
    { "OPTIONS", METHOD_OPTIONS, false },
};

static void read_method(struct request *req, const char *name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(methods[i].name, name) == 0) {
            req->method = methods[i].method;
            req->is_head = methods[i].is_head;
            return;
        }
}

static bool is_good_id(const char *id)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._:-";
    size_t length = strspn(id, allowed);

    return length >= 1 && length <= 128 && id[length] == '\0';
}

static void read_id(struct request *req)
{
    const char *sent = request_header(req, "X-Request-ID");

    if (sent && is_good_id(sent))
        memcpy(req->id, sent, strlen(sent) + 1);
    else
        request_id_new(req->id);
}

static void read_body_length(struct exchange *exchange)
{
    const char *length = request_header(&exchange->req, "Content-Length");

    if (request_header(&exchange->req, "Transfer-Encoding")) {
        exchange->has_body = true;
    } else if (length) {
        /* libmicrohttpd refused anything that is no number. */
        exchange->body_length = strtoull(length, NULL, 10);
        exchange->has_body = exchange->body_length > 0;
    }
}

struct measure {
    size_t fields, longest;
};

static enum MHD_Result measure_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct measure *measure = arg;
    size_t length = strlen(name) + (value ? strlen(value) : 0) + 2;

    (void)kind;
    measure->fields++;
    if (length > measure->longest)
        measure->longest = length;
    return MHD_YES;
}

static bool is_past(int64_t limit, size_t size)
{
    return limit > 0 && size > (size_t)limit;
}

/* True: it was answered. The connection ends with it: who sends too much is not worth
 * the wait for the rest. */
static bool refuse_large_head(struct exchange *exchange, const char *method)
{
    const struct options *options = exchange->req.server->options;
    struct request *req = &exchange->req;
    struct measure measure = { 0, 0 };
    size_t line = strlen(method) + 1 + exchange->target_length + strlen(" HTTP/1.1");

    if (is_past(options->server.limit_request_line, line)) {
        reply_problem(req, HTTP_URI_TOO_LONG, "Request line too long",
                      "request_line_too_long");
    } else {
        MHD_get_connection_values(req->connection, MHD_HEADER_KIND, measure_field,
                                  &measure);
        if (!is_past(options->server.limit_request_fields, measure.fields) &&
            !is_past(options->server.limit_request_field_size, measure.longest))
            return false;
        reply_problem(req, HTTP_HEADERS_TOO_LARGE, "Request header fields too large",
                      "header_fields_too_large");
    }
    exchange->reply.close = true;
    return true;
}

static void read_head(struct exchange *exchange, const char *method, const char *protocol)
{
    struct request *req = &exchange->req;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (info && info->client_addr && info->client_addr->sa_family != AF_UNIX)
        req->peer = info->client_addr;
    exchange->method = arena_strdup(req->arena, method);
    exchange->protocol = arena_strdup(req->arena, protocol);
    read_method(req, method);
    read_id(req);
    req->origin = request_header(req, "Origin");
    client_ip_find(req, exchange->connection);
    read_body_length(exchange);
    exchange->head_read = true;
}

/* ---- the tasks ---- */

static const char task_kind[] = "request";

/* A handler that has no answer is a mistake of ours, but the client gets one. */
static void call_handler(struct exchange *exchange)
{
    struct request *req = &exchange->req;

    req->route->handle(req);
    if (exchange->reply.status == 0) {
        log_error("%s made no answer", req->route->pattern);
        reply_internal_error(req);
    }
}

static const struct exchange *inline_now; /* on the loop's own stack */

static void copy_text(char *to, size_t room, const char *text)
{
    size_t length = strnlen(text, room - 1);

    memcpy(to, text, length);
    to[length] = '\0';
}

void exchange_report(struct board_doing *ret)
{
    const struct task *task = task_self();
    const struct exchange *exchange = inline_now;

    if (task && strcmp(task_name(task), task_kind) == 0)
        exchange = task_arg(task);
    if (!exchange)
        return;
    copy_text(ret->id, sizeof(ret->id), exchange->req.id);
    copy_text(ret->what, sizeof(ret->what),
              exchange->req.route ? exchange->req.route->pattern : exchange->req.path);
    ret->since_ms = exchange->req.started_us / 1000;
}

static void run_exchange(void *arg)
{
    struct exchange *exchange = arg;
    struct request *req = &exchange->req;

    task_set_id(req->id);
    if (exchange->phase == EXCHANGE_ACCESS) {
        if (access_check(req) != HTTP_OK)
            return;
        if (exchange->has_body)
            return;
    }
    call_handler(exchange);
}

/* What the client is told when a task did not get to its own answer. */
static void answer_outcome(struct exchange *exchange, enum task_outcome outcome)
{
    struct request *req = &exchange->req;

    if (outcome == TASK_DONE)
        return;
    reply_reset(req);
    if (outcome == TASK_ARENA_FULL) {
        log_error("request %s: more than %zu bytes of memory for %s", req->id,
                  REQUEST_MEMORY, req->route->pattern);
        if (req->body.length > 0)
            reply_too_large(req);
        else
            reply_internal_error(req);
        return;
    }
    log_warn("request %s: %s for %s", req->id,
             outcome == TASK_DEADLINE ? "out of time" : "ended by the drain",
             req->route->pattern);
    reply_unavailable(req);
}

/* Where an exchange goes once its answer stands. */
static enum exchange_phase phase_of_answer(const struct exchange *exchange,
                                           bool body_read)
{
    return exchange->has_body && !body_read ? EXCHANGE_DISCARD : EXCHANGE_ANSWER;
}

static void task_ended(void *arg, enum task_outcome outcome)
{
    struct exchange *exchange = arg;
    struct http *http = exchange->connection->http;
    bool body_read = exchange->phase == EXCHANGE_HANDLER;

    exchange->task = NULL;
    answer_outcome(exchange, outcome);
    if (exchange->reply.status == 0)
        exchange->phase = EXCHANGE_BODY;
    else
        exchange->phase = phase_of_answer(exchange, body_read);
    http_resume(http, exchange->req.connection);
}

static void start_task(struct exchange *exchange, enum exchange_phase phase)
{
    struct request *req = &exchange->req;

    exchange->phase = phase;
    connection_set_phase(exchange->connection, CONNECTION_BUSY);
    MHD_suspend_connection(req->connection);
    exchange->task = task_spawn(&(struct task_spec){
        .name = task_kind,
        .run = run_exchange,
        .arg = exchange,
        .arena = req->arena,
        .timeout_ms = req->server->options->server.request_timeout,
        .on_end = task_ended,
    });
}

void exchange_cancel(struct exchange *exchange)
{
    if (exchange->task)
        task_cancel(exchange->task);
}

/* ---- beginning and end, as the scoreboard sees them ---- */

/* Requests with a head, of this process. */
static size_t in_flight;

static void count_begin(struct exchange *exchange)
{
    const struct request *req = &exchange->req;

    in_flight++;
    board_begin(req->server->slot, req->id, req->path, 0);
}

/* server.max_requests, spread so that workers do not go all at once. */
static void wear(struct server *server)
{
    static uint64_t limit;
    const struct options *options = server->options;
    uint64_t jitter = (uint64_t)options->server.max_requests_jitter;

    if (options->server.max_requests == 0)
        return;
    if (limit == 0)
        limit = (uint64_t)options->server.max_requests +
                (jitter ? (uint64_t)random() % (jitter + 1) : 0);
    if (atomic_load_explicit(&server->slot->count.requests, memory_order_relaxed) >=
        limit)
        role_worn(server->role);
}

static void count_end(struct exchange *exchange)
{
    const struct request *req = &exchange->req;
    struct board_slot *slot = req->server->slot;

    if (--in_flight == 0)
        board_end(slot);
    if (exchange->phase != EXCHANGE_SENT)
        return;
    atomic_fetch_add_explicit(&slot->count.requests, 1, memory_order_relaxed);
    size_t class = (size_t)exchange->reply.status / 100 - 1;
    if (class < BOARD_CLASSES)
        atomic_fetch_add_explicit(&slot->count.responses[class], 1, memory_order_relaxed);
    wear(req->server);
    if (exchange->reply.status >= 500)
        atomic_fetch_add_explicit(&slot->count.errors_5xx, 1, memory_order_relaxed);
    board_observe(slot, clock_us() - req->started_us);
}

void exchange_end(struct exchange *exchange)
{
    if (exchange->head_read) {
        count_end(exchange);
        access_log_write(exchange);
    }
    access_log_forget(exchange);
    arena_free(exchange->req.arena);
}

/* ---- steps, as libmicrohttpd calls for them ---- */

static enum MHD_Result send_answer(struct exchange *exchange)
{
    struct connection *connection = exchange->connection;
    bool is_stream = exchange->reply.stream != NULL;

    connection_set_phase(connection, CONNECTION_BUSY);
    exchange->phase = EXCHANGE_SENT;
    enum MHD_Result result = reply_queue(exchange);

    /* A stream stays for half an hour and needs nothing of its request. */
    if (is_stream) {
        connection->exchange = NULL;
        exchange_end(exchange);
    }
    return result;
}

static enum MHD_Result let_body_come(struct exchange *exchange)
{
    exchange->body_length = 0;
    exchange->body_may_come = true;
    connection_set_phase(exchange->connection, CONNECTION_BODY);
    return MHD_YES;
}

/*
 * An answer that stands before the body was read. A client that asked first
 * (Expect: 100-continue) has sent none of it, and one that announced too much is
 * not worth the wait: both get the answer now and lose the connection.
 */
static enum MHD_Result answer_before_body(struct exchange *exchange)
{
    if (!exchange->has_body)
        return send_answer(exchange);
    if (exchange->body_length > DISCARD_LIMIT ||
        request_header(&exchange->req, "Expect")) {
        exchange->reply.close = true;
        return send_answer(exchange);
    }
    exchange->phase = EXCHANGE_DISCARD;
    return let_body_come(exchange);
}

/* Answers that need neither access nor handler. True: there is one. */
static bool answer_without_route(struct exchange *exchange)
{
    struct request *req = &exchange->req;
    const char *allow = NULL;

    if (req->method == METHOD_OPTIONS) {
        cors_preflight(req);
        return true;
    }
    switch (router_find(req, &allow)) {
    case HTTP_OK:
        return false;
    case HTTP_METHOD_NOT_ALLOWED:
        reply_header(req, "Allow", allow);
        reply_problem(req, HTTP_METHOD_NOT_ALLOWED, "Method not allowed",
                      "method_not_allowed");
        return true;
    default:
        req->route = page_route(req);
        if (req->route)
            return false;
        reply_not_found(req);
        return true;
    }
}

static enum MHD_Result step_head(struct exchange *exchange, const char *method,
                                 const char *protocol)
{
    struct request *req = &exchange->req;

    if (!exchange->head_read) {
        read_head(exchange, method, protocol);
        count_begin(exchange);
        /* libmicrohttpd closes a connection that is answered at its head. Without a body
         * the next call, for the body's end, comes at once. */
        if (!exchange->has_body)
            return MHD_YES;
    }
    if (refuse_large_head(exchange, method) || answer_without_route(exchange))
        return answer_before_body(exchange);
    exchange->body_limit = req->route->body_limit
                               ? req->route->body_limit
                               : req->server->options->server.body_limit;
    if (req->route->is_inline) {
        inline_now = exchange;
        call_handler(exchange);
        inline_now = NULL;
        return answer_before_body(exchange);
    }
    start_task(exchange, EXCHANGE_ACCESS);
    return MHD_YES;
}

static void free_body(void *arg)
{
    buf_done(arg);
}

/* Access was granted: is the announced body small enough? Then it may come. */
static enum MHD_Result step_before_body(struct exchange *exchange)
{
    if (exchange->body_length > exchange->body_limit) {
        reply_too_large(&exchange->req);
        return answer_before_body(exchange);
    }
    arena_defer(exchange->req.arena, free_body, &exchange->req.body);
    return let_body_come(exchange);
}

/* A piece of the body. One that outgrows its limit (chunked) is no longer kept. */
static enum MHD_Result step_body(struct exchange *exchange, const char *body,
                                 size_t *body_size)
{
    exchange->body_length += *body_size;
    if (exchange->phase == EXCHANGE_BODY) {
        if (exchange->body_length <= exchange->body_limit) {
            buf_add(&exchange->req.body, body, *body_size);
        } else {
            reply_too_large(&exchange->req);
            buf_done(&exchange->req.body);
            exchange->phase = EXCHANGE_DISCARD;
            exchange->body_length = 0;
        }
    }
    if (exchange->phase == EXCHANGE_DISCARD && exchange->body_length > DISCARD_LIMIT)
        return MHD_NO;
    *body_size = 0;
    return MHD_YES;
}

static enum MHD_Result step_after_body(struct exchange *exchange)
{
    if (exchange->phase == EXCHANGE_DISCARD)
        return send_answer(exchange);
    start_task(exchange, EXCHANGE_HANDLER);
    return MHD_YES;
}

/*
 * libmicrohttpd calls with the head, then for each piece of body, once more when the
 * body is complete, and again at the same place after each resume.
 */
enum MHD_Result exchange_step(struct exchange *exchange, const char *method,
                              const char *protocol, const char *body, size_t *body_size)
{
    switch (exchange->phase) {
    case EXCHANGE_HEAD:
        return step_head(exchange, method, protocol);
    case EXCHANGE_BODY:
    case EXCHANGE_DISCARD:
        if (*body_size > 0)
            return step_body(exchange, body, body_size);
        if (!exchange->body_may_come)
            return exchange->phase == EXCHANGE_BODY ? step_before_body(exchange)
                                                    : answer_before_body(exchange);
        return step_after_body(exchange);
    case EXCHANGE_ANSWER:
        return send_answer(exchange);
    default:
        return MHD_NO;
    }
}
