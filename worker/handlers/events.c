/*
 * events.c - the live stream of a user's bookmarks (contract 1.15 A, 2.11).
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "worker/handlers/handlers.h"
#include "worker/replay.h"
#include "worker/stream.h"
#include <inttypes.h>
#include <string.h>

#define REPLAY_LIMIT 50

static void send_connected(struct request *req, struct stream *stream)
{
    int64_t now = clock_unix_us();
    const char *frame =
        arena_printf(req->arena,
                     "event: system.connected\n"
                     "data: {\"status\":\"connected\",\"user_id\":%" PRId32
                     ",\"time\":%" PRId64 ".%03" PRId64 "}\n\n",
                     req->user_id, now / 1000000, now % 1000000 / 1000);

    stream_send(stream, frame, strlen(frame));
}

/* By query, because the web client opens a new EventSource on each reconnect. */
static const char *last_event_id(struct request *req)
{
    const char *id = request_query(req, "last_event_id");

    if (!id || !*id)
        id = request_header(req, "Last-Event-ID");
    /* A header holds any bytes; ours are ASCII. */
    return id && *id && utf8_is_valid(id, strlen(id)) ? id : NULL;
}

/* The stream already listens: what happens during the replay follows it. */
static int replay(struct request *req, struct stream *stream, const char *event_id)
{
    struct replay missed;
    int rc =
        replay_read(req->server->pg, req->user_id, event_id, 0, REPLAY_LIMIT, &missed);

    if (rc < 0)
        return rc;
    for (int i = 0; i < missed.rows.count; i++) {
        struct buf frame = BUF_IN(req->arena);

        replay_frame(&missed, i, &frame);
        stream_send(stream, frame.data, frame.length);
    }
    return 0;
}

/* GET /api/realtime/stream. In a worker that drains it ends after its first words, and
 * the client comes back to another: an EventSource takes any status but 200 for good.
 */
enum http_status events_stream(struct request *req)
{
    struct stream *stream = stream_new(req);
    const char *event_id = last_event_id(req);

    send_connected(req, stream);
    if (event_id) {
        int rc = replay(req, stream, event_id);

        /* Without its replay a stream would hide what it missed: better come again. */
        if (rc < 0)
            return reply_failure(req, rc);
    }
    return reply_stream(req, stream);
}
