/*
 * redis_talk.c - see redis_talk.h.
 */
#include "common/redis_talk.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/redis_reader.h"
#include "common/task.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TLS_ALERT 0x15 /* a TLS record of that type is what a plain PING provokes */

const char redis_talk_tls[] = "the server speaks TLS on this port: use rediss:// (or "
                              "redis.ssl = true)";

static void close_talk(void *arg)
{
    struct redis_talk *talk = arg;

    if (!talk->is_kept)
        redisReaderFree(talk->reader);
}

struct redis_talk *redis_talk_new(uint64_t until_ms)
{
    struct redis_talk *talk = arena_alloc(task_arena(), sizeof(*talk));

    talk->until_ms = until_ms;
    talk->reader = redis_reader_new();
    arena_defer(task_arena(), close_talk, talk);
    return talk;
}

int redis_talk_open(struct redis_talk *talk, const struct redis_address *address)
{
    talk->address = address;
    return redis_stream_open(address, talk->until_ms, &talk->stream, talk->error,
                             sizeof(talk->error));
}

void redis_talk_close(struct redis_talk *talk)
{
    if (!talk->stream)
        return;
    redis_stream_keep(talk->stream);
    redis_stream_close(talk->stream);
    talk->stream = NULL;
}

void redis_talk_keep(struct redis_talk *talk)
{
    redis_stream_keep(talk->stream);
    talk->is_kept = true;
}

/* libuv calls any trouble of a socket EBADF: reading or writing tells which it is. */
static int wait_for(const struct redis_talk *talk, int events)
{
    uint64_t now = clock_ms();

    if (now >= talk->until_ms)
        return -ETIMEDOUT;
    int rc = task_poll_fd(redis_stream_fd(talk->stream), events, talk->until_ms - now);
    return rc == -EBADF ? 0 : rc;
}

static int fail(struct redis_talk *talk, int rc)
{
    snprintf(talk->error, sizeof(talk->error), "%s",
             redis_stream_reason(talk->stream, rc));
    return rc;
}

int redis_talk_send(struct redis_talk *talk, const struct buf *out)
{
    size_t sent = 0;

    while (sent < out->length) {
        ssize_t done =
            redis_stream_write(talk->stream, out->data + sent, out->length - sent);
        if (done > 0) {
            sent += (size_t)done;
            continue;
        }
        int rc = done == -EAGAIN ? wait_for(talk, UV_WRITABLE) : (int)done;
        if (rc == -ECONNRESET || rc == -EPIPE)
            break; /* its last words, which are to be read, say more */
        if (rc < 0)
            return fail(talk, rc);
    }
    return 0;
}

static int read_more(struct redis_talk *talk, bool *ret_is_tls)
{
    char data[1024];
    ssize_t done = redis_stream_read(talk->stream, data, sizeof(data));

    if (done == -EAGAIN)
        return wait_for(talk, UV_READABLE);
    if (done < 0)
        return (int)done;
    *ret_is_tls = data[0] == TLS_ALERT;
    return redisReaderFeed(talk->reader, data, (size_t)done) == REDIS_OK ? 0 : -ENOMEM;
}

int redis_talk_reply(struct redis_talk *talk, redisReply **ret)
{
    bool is_tls = false;

    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(talk->reader, &reply) != REDIS_OK) {
            snprintf(talk->error, sizeof(talk->error), "%s",
                     is_tls ? redis_talk_tls : "this is no Redis");
            return -EPROTO;
        }
        if (reply) {
            *ret = reply;
            return 0;
        }
        int rc = read_more(talk, &is_tls);
        if (rc < 0)
            return fail(talk, rc);
    }
}
