/*
 * stream.h - event streams (SSE) and the hub that feeds them.
 *
 * A stream holds no task while idle: libmicrohttpd's content reader suspends
 * the connection, the hub resumes it when there is a frame, a heartbeat is due
 * (15 s), the token expired, the stream is 30 minutes old, or the worker drains.
 *
 * A new stream already hears its user's events; until reply_stream() they are held
 * back, so that what the handler replays comes before them and none is lost between.
 */
#ifndef FORKMARK_WORKER_STREAM_H
#define FORKMARK_WORKER_STREAM_H

#include "worker/request.h"
#include <stddef.h>
#include <stdint.h>

struct hub;
struct stream;
struct MHD_Response;

/* Subscribes to the event channel of jobs/events.h. */
struct hub *hub_new(struct server *server);
/* Every stream must have ended. */
void hub_free(struct hub *hub);
/* Ends every stream by its final chunk; new ones end at once (drain). */
void hub_close_all(struct hub *hub);
size_t hub_count(const struct hub *hub);

/*
 * To every open stream of a user, in this worker. The frame is shared, not copied
 * for each. A stream whose client takes nothing for long is ended: it comes back
 * with the last id it saw.
 */
void hub_send(struct hub *hub, int32_t user_id, const char *frame, size_t length);

/* A stream of this request's user; hand it to reply_stream(). It goes with the request
 * when that does not happen. */
struct stream *stream_new(struct request *req);
/* A frame at the stream's end; copied. Any time, also before reply_stream(). */
void stream_send(struct stream *stream, const char *frame, size_t length);
/* Ends after what was sent. */
void stream_end(struct stream *stream);

/* reply.c: the response that reads from it, and owns it from then on. */
struct MHD_Response *stream_response(struct stream *stream);

#endif
