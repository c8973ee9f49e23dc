/*
 * payload_peek.c - a payload's function name from its first bytes alone.
 *
 * Enough to tell whose job it is without moving megabytes of arguments: every
 * producer's pickle and JSON starts with the name. What looks otherwise is not
 * judged here.
 */
#include "common/arena.h"
#include "jobs/rq/payload.h"
#include <string.h>
#define ZLIB_CONST /* zlib does not change its input */
#include <zlib.h>

#define NAME_MAX_LENGTH 512
#define PLAIN_ENOUGH    (NAME_MAX_LENGTH + 64)

/* As much as there is, up to `room`; 0: not zlib. */
static size_t inflate_start(const void *data, size_t length, uint8_t *out, size_t room)
{
    z_stream stream = { .next_in = data,
                        .avail_in = (uInt)length,
                        .next_out = out,
                        .avail_out = (uInt)room };

    if (inflateInit(&stream) != Z_OK)
        return 0;
    int rc = inflate(&stream, Z_SYNC_FLUSH);
    size_t got = room - stream.avail_out;
    inflateEnd(&stream);
    return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? got : 0;
}

struct span {
    const uint8_t *at, *end;
};

static bool has(const struct span *span, size_t count)
{
    return (size_t)(span->end - span->at) >= count;
}

static bool pass(struct span *span, uint8_t byte, size_t with)
{
    if (!has(span, with) || *span->at != byte)
        return false;
    span->at += with;
    return true;
}

/* Nobody's function has control characters; a NUL would cut it to one that is known. */
static const char *clean_name(struct arena *arena, const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] == 0x7f)
            return NULL;
    return arena_strndup(arena, (const char *)name, length);
}

/* PROTO, FRAME and MARK, then the tuple's first item: a text. */
static const char *pickle_name(struct arena *arena, struct span span)
{
    size_t length = 0;

    pass(&span, 0x80, 2);
    pass(&span, 0x95, 9);
    pass(&span, '(', 1);
    if (has(&span, 2) && *span.at == 0x8c) {
        length = span.at[1];
        span.at += 2;
    } else if (has(&span, 5) && *span.at == 'X') {
        length = (size_t)span.at[1] | (size_t)span.at[2] << 8 | (size_t)span.at[3] << 16 |
                 (size_t)span.at[4] << 24;
        span.at += 5;
    }
    if (length == 0 || length > NAME_MAX_LENGTH || !has(&span, length))
        return NULL;
    return clean_name(arena, span.at, length);
}

/* ["name", ...; one with escapes is none that anybody would give a function. */
static const char *json_name(struct arena *arena, struct span span)
{
    static const uint8_t blanks[] = " \t\r\n";

    while (has(&span, 1) && memchr(blanks, *span.at, sizeof(blanks) - 1))
        span.at++;
    if (!pass(&span, '[', 1))
        return NULL;
    while (has(&span, 1) && memchr(blanks, *span.at, sizeof(blanks) - 1))
        span.at++;
    if (!pass(&span, '"', 1))
        return NULL;
    size_t room = (size_t)(span.end - span.at);
    const uint8_t *quote = memchr(span.at, '"', room);
    size_t length = quote ? (size_t)(quote - span.at) : 0;
    if (length == 0 || length > NAME_MAX_LENGTH || memchr(span.at, '\\', length))
        return NULL;
    return clean_name(arena, span.at, length);
}

const char *payload_peek_name(struct arena *arena, const void *data, size_t length)
{
    uint8_t plain[PLAIN_ENOUGH];
    size_t got = inflate_start(data, length, plain, sizeof(plain));
    struct span span = { plain, plain + got };

    if (got == 0) /* an old producer's, stored as it is */
        span = (struct span){ data, (const uint8_t *)data + length };
    const char *name = pickle_name(arena, span);
    return name ? name : json_name(arena, span);
}
