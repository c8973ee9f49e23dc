/*
 * reply.h - the answer to a request: status, headers, body.
 *
 * Each reply_*() sets the answer and returns its status, so that a handler's
 * last line is `return reply_json(...)`. The common headers (request id,
 * security, CORS, rate limit, Cache-Control) are added when it is sent.
 */
#ifndef FORKMARK_WORKER_REPLY_H
#define FORKMARK_WORKER_REPLY_H

#include "common/json.h"
#include "worker/request.h"

/* A cJSON tree (of the request's arena). */
enum http_status reply_json(struct request *req, enum http_status status,
                            const cJSON *body);
/* JSON text already built; borrowed from the arena or static. */
enum http_status reply_text(struct request *req, enum http_status status,
                            const char *json, size_t length);
/* {"message": text} and {"error": text}: the two shapes of contract 1.10. */
enum http_status reply_message(struct request *req, enum http_status status,
                               const char *text);
enum http_status reply_error(struct request *req, enum http_status status,
                             const char *text);
/* {"message": text, "error": code} */
enum http_status reply_problem(struct request *req, enum http_status status,
                               const char *message, const char *code);
/*
 * A negative errno of pg, redis or password calls as the contract's answer:
 * -EAGAIN, -ETIMEDOUT, -EBUSY: 503 with Retry-After; anything else 500, logged.
 */
enum http_status reply_failure(struct request *req, int error);
/* Any other body: files, metrics. `type` and data are borrowed (arena or static). */
enum http_status reply_data(struct request *req, enum http_status status,
                            const char *type, const void *data, size_t length);

/* No body: 204, 304. */
enum http_status reply_empty(struct request *req, enum http_status status);
/* An open file of that size; closed when the request ends. */
enum http_status reply_file(struct request *req, enum http_status status,
                            const char *type, int fd, size_t size);
/* The fixed bodies of contract 1.10. They take no memory, so that they can be sent
 * when there is none left. */
enum http_status reply_not_found(struct request *req);
enum http_status reply_too_large(struct request *req);
enum http_status reply_invalid_json(struct request *req);
enum http_status reply_internal_error(struct request *req);
/* 503 with Retry-After. */
enum http_status reply_unavailable(struct request *req);
/* Forgets an answer begun. */
void reply_reset(struct request *req);

/* Adds a header; call any time before the handler returns. Texts are copied. */
void reply_header(struct request *req, const char *name, const char *value);
/* Overrides Cache-Control (default for API answers: no-store). */
void reply_cache_control(struct request *req, const char *value);

/*
 * Turns the answer into an event stream: 200, chunked, kept open by the hub
 * (stream.h), no task held while idle.
 */
struct stream;
enum http_status reply_stream(struct request *req, struct stream *stream);

#endif
