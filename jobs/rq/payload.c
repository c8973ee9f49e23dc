/*
 * payload.c - the `data` field: zlib around a serialized call of four items.
 *
 * Old producers stored the call uncompressed; so, as in RQ, what does not
 * inflate is taken as it is (and then rarely parses).
 */
#include "jobs/rq/payload.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/log.h"
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* zlib does not change its input */
#include <zlib.h>

#define INFLATE_STEP   ((size_t)64 * 1024)
#define UNSERIALIZABLE "Unserializable return value" /* as RQ from 1.14 on writes it */

static struct {
    enum payload_format format;
    size_t max_inflated;
} settings = { .max_inflated = PAYLOAD_MAX_INFLATED };

void payload_configure(int format, uint64_t max_inflated)
{
    settings.format = format == PAYLOAD_JSON ? PAYLOAD_JSON : PAYLOAD_PICKLE;
    settings.max_inflated = max_inflated;
}

enum payload_format payload_format(void)
{
    return settings.format;
}

enum inflated { INFLATED, NOT_ZLIB, TOO_LARGE };

static void free_buf(void *arg)
{
    buf_done(arg);
}

/* Stops at the cap; a stream that ends early or fails its checksum is no zlib. */
static enum inflated inflate_all(z_stream *stream, struct buf *out)
{
    int rc;

    do {
        size_t room = out->length < INFLATE_STEP ? INFLATE_STEP : out->length;

        if (room > settings.max_inflated - out->length)
            room = settings.max_inflated - out->length + 1;
        buf_reserve(out, room);
        stream->next_out = (Bytef *)out->data + out->length;
        stream->avail_out = (uInt)room;
        rc = inflate(stream, Z_NO_FLUSH);
        out->length += room - stream->avail_out;
        if (out->length > settings.max_inflated)
            return TOO_LARGE;
    } while (rc == Z_OK);
    return rc == Z_STREAM_END ? INFLATED : NOT_ZLIB;
}

/* Gives back what the last doubling was too much, and ends in NUL. */
static void trim(struct buf *buf)
{
    char *data = buf->data ? realloc(buf->data, buf->length + 1) : NULL;

    if (data) {
        buf->data = data;
        buf->room = buf->length + 1;
    }
    if (buf->data)
        buf->data[buf->length] = '\0';
}

/* Into *ret, a buffer whose memory goes with the arena. */
static enum inflated inflate_data(struct arena *arena, const void *data, size_t length,
                                  struct buf **ret)
{
    z_stream stream = { .next_in = data, .avail_in = (uInt)length };
    struct buf *out = arena_alloc(arena, sizeof(*out));

    if (length > settings.max_inflated)
        return TOO_LARGE;
    if (inflateInit(&stream) != Z_OK)
        return NOT_ZLIB;
    enum inflated done = inflate_all(&stream, out);
    inflateEnd(&stream);
    if (done != INFLATED) {
        buf_done(out);
        return done;
    }
    trim(out);
    arena_defer(arena, free_buf, out);
    *ret = out;
    return INFLATED;
}

bool payload_inflate(struct arena *arena, const void **data, size_t *length)
{
    struct buf *out;

    if (inflate_data(arena, *data, *length, &out) != INFLATED)
        return false;
    *data = buf_text(out);
    *length = out->length;
    return true;
}

static const char *shape_error(const struct value *value)
{
    if ((value->kind != VALUE_TUPLE && value->kind != VALUE_LIST) ||
        value->list.count != 4)
        return "not a call of four items";

    struct value *const *items = value->list.items;
    if (items[0]->kind != VALUE_TEXT)
        return "function name is not a text";
    if (items[0]->bytes.length == 0)
        return "function name is empty";
    if (items[1]->kind != VALUE_NONE)
        return "bound to an object";
    if (items[2]->kind != VALUE_TUPLE && items[2]->kind != VALUE_LIST)
        return "arguments are no sequence";
    if (items[3]->kind != VALUE_DICT)
        return "keyword arguments are no mapping";
    for (size_t i = 0; i < items[3]->list.count; i += 2) {
        if (items[3]->list.items[i]->kind != VALUE_TEXT)
            return "keyword is not a text";
    }
    return NULL;
}

/* As a C string: no NUL may cut a name down to one that is known. */
static const char *name_of(struct arena *arena, const struct value *name)
{
    char *copy;

    if (strlen(name->bytes.data) == name->bytes.length)
        return name->bytes.data;
    copy = arena_strndup(arena, name->bytes.data, name->bytes.length);
    for (size_t i = 0; i < name->bytes.length; i++) {
        if (copy[i] == '\0')
            copy[i] = '?';
    }
    return copy;
}

static bool begins_with(const char *text, size_t length, const char *word)
{
    return length >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

/* By how it begins. Real picklers begin with 0x80; of what protocols 0 and 1 may begin
 * with, only N and I are also the first letters of a JSON value. */
static bool is_json(const char *text, size_t length)
{
    return length > 0 &&
           ((text[0] && strchr("[{\" \t\r\n-0123456789tfn", text[0])) ||
            begins_with(text, length, "NaN") || begins_with(text, length, "Infinity"));
}

static struct value *read_any(struct arena *arena, char *data, size_t length,
                              enum payload_format *ret_format, const char **ret_error)
{
    *ret_format = is_json(data, length) ? PAYLOAD_JSON : PAYLOAD_PICKLE;
    return *ret_format == PAYLOAD_JSON
               ? value_from_json_in_place(arena, data, length, ret_error)
               : pickle_read_in_place(arena, data, length, ret_error);
}

struct value *value_read(struct arena *arena, const void *data, size_t length,
                         const char **ret_error)
{
    enum payload_format ignored;

    return read_any(arena, arena_strndup(arena, data, length), length, &ignored,
                    ret_error);
}

bool payload_read(struct arena *arena, const void *data, size_t length, struct call *ret,
                  const char **ret_error)
{
    struct buf *inflated = NULL;
    char *plain;

    if (length == 0) {
        *ret_error = "DeserializationError: empty data";
        return false;
    }
    switch (inflate_data(arena, data, length, &inflated)) {
    case TOO_LARGE:
        *ret_error = "DeserializationError: inflated data too large";
        return false;
    case INFLATED:
        plain = inflated->data;
        length = inflated->length;
        break;
    default:
        plain = arena_strndup(arena, data, length);
        break;
    }

    enum payload_format format;
    const struct value *value = read_any(arena, plain, length, &format, ret_error);
    if (!value)
        return false;

    const char *why = shape_error(value);
    if (why) {
        *ret_error = arena_printf(arena, "DeserializationError: %s", why);
        return false;
    }
    *ret = (struct call){
        .name = name_of(arena, value->list.items[0]),
        .args = value->list.items[2],
        .kwargs = value->list.items[3],
        .format = format,
    };
    return true;
}

void value_write(const struct value *value, enum payload_format format, struct buf *out)
{
    if (format == PAYLOAD_PICKLE)
        pickle_write(value, out);
    else if (value_is_json(value))
        value_to_json(value, out);
    else
        buf_adds(out, "\"" UNSERIALIZABLE "\"");
}

void payload_deflate(const void *data, size_t length, struct buf *out)
{
    uLongf room = compressBound(length);

    buf_reserve(out, room);
    /* compressBound() is enough by its contract, so only memory can fail. */
    if (compress2((Bytef *)out->data + out->length, &room, data, length,
                  Z_DEFAULT_COMPRESSION) != Z_OK)
        fatal("out of memory");
    out->length += room;
    out->data[out->length] = '\0';
}

void payload_write(struct arena *arena, const struct call *call, struct buf *out)
{
    struct value *items[] = {
        value_text(arena, call->name, strlen(call->name)),
        value_none(arena),
        call->args ? value_borrow(call->args) : value_container(arena, VALUE_TUPLE),
        call->kwargs ? value_borrow(call->kwargs) : value_container(arena, VALUE_DICT),
    };
    struct value *tuple = value_container(arena, VALUE_TUPLE);
    struct buf plain = BUF_IN(arena);

    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
        value_add(arena, tuple, items[i]);
    if (call->format == PAYLOAD_JSON)
        value_to_json(tuple, &plain);
    else
        pickle_write(tuple, &plain);
    payload_deflate(buf_text(&plain), plain.length, out);
}
