/*
 * utf8.c - see utf8.h.
 */
#include "common/utf8.h"
#include "common/buf.h"

/*
 * Well-formed lead bytes and the range of what may follow them (Unicode, table
 * 3-7): no overlong forms, no surrogates, nothing past U+10FFFF.
 */
static const struct {
    unsigned char first, last, low, high;
    int length;
} utf8_rows[] = {
    { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
    { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
    { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
    { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

size_t utf8_long_span(const unsigned char *at, size_t left)
{
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        size_t length = (size_t)utf8_rows[i].length;

        if (*at < utf8_rows[i].first || *at > utf8_rows[i].last)
            continue;
        if (left < length || at[1] < utf8_rows[i].low || at[1] > utf8_rows[i].high)
            return 0;
        for (size_t n = 2; n < length; n++)
            if ((at[n] & 0xc0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t utf8_count(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += !is_continuation(*text);
    return count;
}

size_t utf8_offset(const char *text, size_t characters)
{
    size_t at = 0;

    for (; text[at]; at++) {
        if (!is_continuation(text[at]) && characters-- == 0)
            break;
    }
    return at;
}

bool utf8_is_valid(const void *text, size_t length)
{
    const unsigned char *at = text;

    while (length > 0) {
        size_t span = utf8_span(at, length);

        if (span == 0)
            return false;
        at += span;
        length -= span;
    }
    return true;
}

size_t utf8_put(char out[UTF8_MAX], uint32_t character)
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (char)(0xc0 | character >> 6);
        out[1] = (char)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (char)(0xe0 | character >> 12);
        out[1] = (char)(0x80 | (character >> 6 & 0x3f));
        out[2] = (char)(0x80 | (character & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | character >> 18);
    out[1] = (char)(0x80 | (character >> 12 & 0x3f));
    out[2] = (char)(0x80 | (character >> 6 & 0x3f));
    out[3] = (char)(0x80 | (character & 0x3f));
    return 4;
}

void utf8_add(struct buf *out, uint32_t character)
{
    char bytes[UTF8_MAX];

    buf_add(out, bytes, utf8_put(bytes, character));
}

void utf8_add_clean(struct buf *out, const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t start = 0, at = 0;

    while (at < length) {
        size_t span = utf8_span(bytes + at, length - at);

        if (span > 0 && bytes[at] != 0) {
            at += span;
            continue;
        }
        buf_add(out, text + start, at - start);
        if (span == 0)
            buf_adds(out, UTF8_REPLACEMENT);
        start = ++at;
    }
    buf_add(out, text + start, at - start);
}
