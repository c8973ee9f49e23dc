/*
 * stream.h - event streams (SSE) and the hub that feeds them.
 *
 * A stream holds no task while idle: libmicrohttpd's content reader suspends
 * the connection, the hub resumes it when there is a frame, a heartbeat is due
 * (15 s), the token expired, the stream is 30 minutes old, or the worker drains.
 */
#ifndef FORKMARK_WORKER_STREAM_H
#define FORKMARK_WORKER_STREAM_H

#include "worker/request.h"
#include <stddef.h>
#include <stdint.h>

struct hub;
struct stream;

/* Subscribes to the event channel of jobs/events.h. */
struct hub *hub_new(struct server *server);
/* Ends every stream by its final chunk; new ones are refused (drain). */
void hub_close_all(struct hub *hub);
size_t hub_count(const struct hub *hub);

/* A stream of this request's user; hand it to reply_stream(). */
struct stream *stream_new(struct request *req);
/* A frame at the stream's end; copied. Any time, also before reply_stream(). */
void stream_send(struct stream *stream, const char *frame, size_t length);
/* Ends after what was sent. */
void stream_end(struct stream *stream);

/* To every open stream of a user, in this worker. The frame is shared, not copied for
 * each. */
void hub_send(struct hub *hub, int32_t user_id, const char *frame, size_t length);

#endif
