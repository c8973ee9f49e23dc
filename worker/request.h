/*
 * request.h - one HTTP request as a handler sees it.
 *
 * It lives in its own arena (req->arena, also task_arena() inside the handler)
 * from the head's arrival until libmicrohttpd reports completion. The handler
 * runs in a task and writes straight lines: read, act, reply.
 */
#ifndef FORKMARK_WORKER_REQUEST_H
#define FORKMARK_WORKER_REQUEST_H

#include "common/buf.h"
#include "common/token.h"
#include "worker/server.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct route;
struct MHD_Connection;
struct sockaddr;

enum http_status {
    HTTP_OK = 200,
    HTTP_CREATED = 201,
    HTTP_NO_CONTENT = 204,
    HTTP_NOT_MODIFIED = 304,
    HTTP_BAD_REQUEST = 400,
    HTTP_UNAUTHORIZED = 401,
    HTTP_FORBIDDEN = 403,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_CONFLICT = 409,
    HTTP_GONE = 410,
    HTTP_TOO_LARGE = 413,
    HTTP_URI_TOO_LONG = 414,
    HTTP_TOO_MANY = 429,
    HTTP_HEADERS_TOO_LARGE = 431,
    HTTP_INTERNAL = 500,
    HTTP_UNAVAILABLE = 503,
};

enum http_method {
    METHOD_GET = 1,
    METHOD_POST = 2,
    METHOD_PUT = 4,
    METHOD_PATCH = 8,
    METHOD_DELETE = 16,
    METHOD_OPTIONS = 32 /* HEAD is GET without a body */
};

#define REQUEST_PARAMS 4

struct request {
    struct server *server;
    struct arena *arena;
    struct MHD_Connection *connection;
    char id[129]; /* X-Request-ID */
    enum http_method method;
    bool is_head;
    const char *path;                   /* raw, as sent, without the query */
    const char *query_string;           /* raw; never logged whole: it may hold a token */
    const struct route *route;          /* NULL: no such path */
    const char *params[REQUEST_PARAMS]; /* the route's <parts>, decoded once */
    int64_t int_params[REQUEST_PARAMS]; /* of <int:x> */
    const struct sockaddr *peer;        /* as accepted; NULL: a Unix socket */
    const char *client_ip;              /* behind trusted hops (contract 1.11) */
    bool is_secure; /* the client speaks TLS, to us or to a trusted hop that says so */
    const char *origin; /* of CORS; NULL: none sent */
    struct buf body;    /* on the heap; freed with the arena */

    /* Set by access.c before the handler runs, if the route asks for a token. */
    struct token token;
    int32_t user_id;         /* 0: nobody */
    const char *generation;  /* the user's cache generation, read in the same round trip;
                                NULL: no Redis */
    struct pg_reader reader; /* for pg_read(): where this user's own writes are */

    /* Set by limits.c; the reply's X-RateLimit headers. */
    int64_t limit, limit_remaining, limit_reset; /* limit 0: unlimited route */

    uint64_t started_us;
    /* The answer, under construction; see reply.h. */
    struct reply *reply;
};

/* Query parameters and headers, decoded; NULL when absent. Texts in the arena. */
const char *request_query(struct request *req, const char *name);
/* `fallback` for what is no whole number; one too large is the largest. */
int64_t request_query_int(struct request *req, const char *name, int64_t fallback);
const char *request_header(struct request *req, const char *name);
const char *request_cookie(struct request *req, const char *name);

/*
 * The body as a JSON object. An absent or empty body is an empty object. NULL:
 * not JSON, no object, or past the limits of contract 1.12; the 400 (or 413)
 * has then been written to the reply and the handler returns req->reply's
 * status by `return request_json_failed(req)`.
 */
const cJSON *request_json(struct request *req);
enum http_status request_json_failed(struct request *req);

#endif
