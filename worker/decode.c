/*
 * decode.c - see decode.h.
 */
#include "worker/decode.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/utf8.h"
#include <stdbool.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Bytes that are no UTF-8 would be an error of the database, not of the request. */
static char *cleaned(struct arena *arena, const char *text, size_t *length)
{
    struct buf out = BUF_IN(arena);

    utf8_add_clean(&out, text, *length);
    *length = out.length;
    return out.data;
}

static char *decode(struct arena *arena, const char *text, size_t length,
                    size_t *ret_length, bool plus_is_space)
{
    char *out = arena_alloc(arena, length + 1);
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        int value = (unsigned char)text[i];

        if (value == '+' && plus_is_space) {
            value = ' ';
        } else if (value == '%' && i + 2 < length && hex_value(text[i + 1]) >= 0 &&
                   hex_value(text[i + 2]) >= 0) {
            value = hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]);
            i += 2;
        }
        if (value != 0)
            out[used++] = (char)value;
    }
    out[used] = '\0';
    if (!utf8_is_valid(out, used))
        out = cleaned(arena, out, &used);
    if (ret_length)
        *ret_length = used;
    return out;
}

char *decode_path(struct arena *arena, const char *text, size_t length,
                  size_t *ret_length)
{
    return decode(arena, text, length, ret_length, false);
}

char *decode_form(struct arena *arena, const char *text, size_t length,
                  size_t *ret_length)
{
    return decode(arena, text, length, ret_length, true);
}
