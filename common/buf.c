/*
 * buf.c - see buf.h.
 */
#include "common/buf.h"
#include "common/arena.h"
#include "common/log.h"
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE ((size_t)1024 * 1024)

void buf_done(struct buf *buf)
{
    if (!buf->arena)
        free(buf->data);
    buf->data = NULL;
    buf->length = buf->room = 0;
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void buf_reserve(struct buf *buf, size_t more)
{
    if (more >= SIZE_MAX / 4 || buf->length >= SIZE_MAX / 4)
        fatal("a buffer grows past every bound (%zu + %zu bytes)", buf->length, more);
    size_t need = buf->length + more + 1;
    if (need <= buf->room)
        return;

    /* Large ones by less, so that an arena's cap is met late. */
    size_t room = buf->room < LARGE ? buf->room * 2 : buf->room + buf->room / 4;
    if (room < 64)
        room = 64;
    if (room < need)
        room = need;
    if (buf->arena) {
        buf->data = arena_extend(buf->arena, buf->data, buf->room, room);
    } else {
        char *data = realloc(buf->data, room);
        if (!data)
            fatal("out of memory for a buffer of %zu bytes", room);
        buf->data = data;
    }
    buf->room = room;
    buf->data[buf->length] = '\0';
}

void buf_adds(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_addv(struct buf *buf, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    buf_reserve(buf, 80);
    size_t room = buf->room - buf->length;
    int length = vsnprintf(buf->data + buf->length, room, format, args);
    assert(length >= 0);
    if ((size_t)length >= room) {
        buf_reserve(buf, (size_t)length);
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
    }
    va_end(again);
    buf->length += (size_t)length;
}

void buf_addf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_addv(buf, format, args);
    va_end(args);
}

void buf_consume(struct buf *buf, size_t count)
{
    assert(count <= buf->length);
    if (count == 0)
        return;
    memmove(buf->data, buf->data + count, buf->length - count + 1);
    buf->length -= count;
}

const char *buf_text(const struct buf *buf)
{
    return buf->data ? buf->data : "";
}
