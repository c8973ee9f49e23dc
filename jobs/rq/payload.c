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
#include <string.h>
#define ZLIB_CONST /* zlib does not change its input */
#include <zlib.h>

#define NAME_MAX_LENGTH 512
#define INFLATE_STEP    ((size_t)64 * 1024)

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

        buf_reserve(out, room);
        stream->next_out = (Bytef *)out->data + out->length;
        stream->avail_out = (uInt)room;
        rc = inflate(stream, Z_NO_FLUSH);
        out->length += room - stream->avail_out;
        if (out->length > PAYLOAD_MAX_INFLATED)
            return TOO_LARGE;
    } while (rc == Z_OK);
    return rc == Z_STREAM_END ? INFLATED : NOT_ZLIB;
}

/* `*data` and `*length` become what was inflated; its memory goes with the arena. */
static enum inflated inflate_data(struct arena *arena, const void **data, size_t *length)
{
    z_stream stream = { .next_in = *data, .avail_in = (uInt)*length };
    struct buf *out = arena_alloc(arena, sizeof(*out));

    if (inflateInit(&stream) != Z_OK)
        return NOT_ZLIB;
    enum inflated done = inflate_all(&stream, out);
    inflateEnd(&stream);
    if (done != INFLATED) {
        buf_done(out);
        return done;
    }
    arena_defer(arena, free_buf, out);
    *data = buf_text(out);
    *length = out->length;
    return INFLATED;
}

bool payload_inflate(struct arena *arena, const void **data, size_t *length)
{
    return inflate_data(arena, data, length) == INFLATED;
}

static const char *shape_error(const struct value *value)
{
    if ((value->kind != VALUE_TUPLE && value->kind != VALUE_LIST) ||
        value->list.count != 4)
        return "not a call of four items";

    struct value *const *items = value->list.items;
    if (items[0]->kind != VALUE_TEXT)
        return "function name is not a text";
    if (items[0]->bytes.length == 0 || items[0]->bytes.length > NAME_MAX_LENGTH)
        return "function name is empty or too long";
    if (memchr(items[0]->bytes.data, '\0', items[0]->bytes.length))
        return "function name holds a NUL";
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

bool payload_read(struct arena *arena, const void *data, size_t length, struct call *ret,
                  const char **ret_error)
{
    if (length == 0) {
        *ret_error = "DeserializationError: empty data";
        return false;
    }
    if (length > PAYLOAD_MAX_INFLATED ||
        inflate_data(arena, &data, &length) == TOO_LARGE) {
        *ret_error = "DeserializationError: inflated data too large";
        return false;
    }

    const char *text = data;
    bool is_json = length > 0 && text[0] && strchr("[ \t\r\n", text[0]);
    const struct value *value = is_json ? value_from_json(arena, data, length, ret_error)
                                        : pickle_read(arena, data, length, ret_error);
    if (!value)
        return false;

    const char *why = shape_error(value);
    if (why) {
        *ret_error = arena_printf(arena, "DeserializationError: %s", why);
        return false;
    }
    *ret = (struct call){
        .name = value->list.items[0]->bytes.data,
        .args = value->list.items[2],
        .kwargs = value->list.items[3],
        .format = is_json ? PAYLOAD_JSON : PAYLOAD_PICKLE,
    };
    return true;
}

void value_write(const struct value *value, enum payload_format format, struct buf *out)
{
    if (format == PAYLOAD_JSON)
        value_to_json(value, out);
    else
        pickle_write(value, out);
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
    value_write(tuple, call->format, &plain);
    payload_deflate(buf_text(&plain), plain.length, out);
}
