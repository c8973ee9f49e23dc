/*
 * redis_wire.c - see redis_wire.h.
 *
 * Three handles: a poll on the socket, a prepare that runs when all tasks of this
 * turn have had their say (tasks run from an idle handle, which libuv serves just
 * before), and the alarm. The memory goes when the last of them is closed.
 */
#include "common/redis_wire.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE     ((size_t)64 * 1024)
#define KEEP_OUT_ROOM ((size_t)1024 * 1024) /* a larger buffer is not kept once sent */

struct redis_wire {
    struct redis_stream *stream;
    redisReader *reader;
    const struct redis_wire_events *events;
    void *arg;
    struct buf out;
    size_t sent;       /* of `out` */
    uint64_t alarm_at; /* 0: not set */
    bool is_closed;
    int handles; /* still to be closed */
    int polling; /* UV_READABLE, and UV_WRITABLE while the socket is full */
    uv_poll_t poll;
    uv_prepare_t flush;
    uv_timer_t alarm;
};

static void lose(struct redis_wire *wire, const char *reason)
{
    if (!wire->is_closed)
        wire->events->lost(wire->arg, reason);
}

/* ---- out ---- */

static void on_socket(uv_poll_t *poll, int status, int events);

static void poll_for(struct redis_wire *wire, int events)
{
    if (wire->polling == events)
        return;
    wire->polling = events;
    uv_poll_start(&wire->poll, events, on_socket);
}

static void write_out(struct redis_wire *wire)
{
    while (wire->sent < wire->out.length) {
        ssize_t done = redis_stream_write(wire->stream, wire->out.data + wire->sent,
                                          wire->out.length - wire->sent);
        if (done == -EAGAIN) {
            poll_for(wire, UV_READABLE | UV_WRITABLE);
            return;
        }
        if (done < 0) {
            lose(wire, redis_stream_reason(wire->stream, (int)done));
            return;
        }
        wire->sent += (size_t)done;
    }
    wire->sent = 0;
    if (wire->out.room > KEEP_OUT_ROOM)
        buf_done(&wire->out);
    else
        buf_clear(&wire->out);
    if (!redis_stream_wants_write(wire->stream))
        poll_for(wire, UV_READABLE);
}

static void on_flush(uv_prepare_t *flush)
{
    struct redis_wire *wire = flush->data;

    uv_prepare_stop(flush);
    write_out(wire);
}

struct buf *redis_wire_out(struct redis_wire *wire)
{
    /* While the socket is full the poll writes on; until then this turn's end does. */
    if (!(wire->polling & UV_WRITABLE))
        uv_prepare_start(&wire->flush, on_flush);
    return &wire->out;
}

/* ---- in ---- */

static void deliver_replies(struct redis_wire *wire)
{
    void *reply;

    while (!wire->is_closed) {
        if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK) {
            char reason[160];
            snprintf(reason, sizeof(reason), "not Redis' protocol: %s",
                     wire->reader->errstr);
            lose(wire, reason);
            return;
        }
        if (!reply)
            return;
        wire->events->reply(wire->arg, reply);
    }
}

static void read_in(struct redis_wire *wire)
{
    static char data[READ_SIZE]; /* one thread, and nothing in here waits */
    ssize_t done;

    do {
        done = redis_stream_read(wire->stream, data, sizeof(data));
        if (done == -EAGAIN)
            break;
        if (done < 0) {
            lose(wire, redis_stream_reason(wire->stream, (int)done));
            return;
        }
        if (redisReaderFeed(wire->reader, data, (size_t)done) != REDIS_OK) {
            lose(wire, "out of memory for a reply");
            return;
        }
        deliver_replies(wire);
    } while (!wire->is_closed &&
             (done == (ssize_t)sizeof(data) || redis_stream_has_more(wire->stream)));
    if (!wire->is_closed && redis_stream_wants_write(wire->stream))
        poll_for(wire, UV_READABLE | UV_WRITABLE);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct redis_wire *wire = poll->data;

    /* An error of the socket is told by reading from it. */
    if (status < 0 || (events & UV_READABLE) || redis_stream_wants_write(wire->stream))
        read_in(wire);
    if (!wire->is_closed && (events & UV_WRITABLE))
        write_out(wire);
}

/* ---- the alarm ---- */

static void on_alarm(uv_timer_t *timer)
{
    struct redis_wire *wire = timer->data;

    wire->alarm_at = 0;
    /* A process that was stopped or busy finds its timers due before it has read
     * what came meanwhile: read first, judge then. */
    read_in(wire);
    if (!wire->is_closed)
        wire->events->due(wire->arg);
}

void redis_wire_alarm(struct redis_wire *wire, uint64_t at_ms)
{
    uint64_t now;

    if (wire->alarm_at != 0 && wire->alarm_at <= at_ms)
        return;
    wire->alarm_at = at_ms;
    now = clock_ms();
    uv_timer_start(&wire->alarm, on_alarm, at_ms > now ? at_ms - now : 0, 0);
}

/* ---- birth and end ---- */

struct redis_wire *redis_wire_new(struct redis_stream *stream, redisReader *reader,
                                  const struct redis_wire_events *events, void *arg)
{
    struct redis_wire *wire = calloc(1, sizeof(*wire));

    if (!wire)
        fatal("out of memory");
    wire->stream = stream;
    wire->reader = reader;
    wire->events = events;
    wire->arg = arg;
    wire->poll.data = wire->flush.data = wire->alarm.data = wire;
    wire->handles = 3;
    if (uv_poll_init(task_loop(), &wire->poll, redis_stream_fd(stream)) != 0)
        fatal("cannot watch a socket");
    uv_prepare_init(task_loop(), &wire->flush);
    uv_timer_init(task_loop(), &wire->alarm);
    poll_for(wire, UV_READABLE);
    return wire;
}

static void handle_closed(uv_handle_t *handle)
{
    struct redis_wire *wire = handle->data;

    if (--wire->handles > 0)
        return;
    redisReaderFree(wire->reader);
    buf_done(&wire->out);
    free(wire);
}

void redis_wire_close(struct redis_wire *wire)
{
    if (!wire || wire->is_closed)
        return;
    wire->is_closed = true;
    uv_close((uv_handle_t *)&wire->poll, handle_closed);
    uv_close((uv_handle_t *)&wire->flush, handle_closed);
    uv_close((uv_handle_t *)&wire->alarm, handle_closed);
    /* The descriptor goes at once (the poll has let go of it), the reader later: we
     * may be inside one of its replies. */
    redis_stream_close(wire->stream);
    wire->stream = NULL;
}
