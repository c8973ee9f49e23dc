/*
 * utf8.c - checking and writing UTF-8.
 */
#include "jobs/rq/utf8.h"
#include "common/buf.h"

/* The length of the character that starts with `lead`; 0: it cannot start one. */
static size_t sequence_length(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* RFC 3629's table: the second byte excludes overlong forms and surrogates. */
static bool is_second_byte(uint8_t lead, uint8_t second)
{
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

    return second >= low && second <= high;
}

bool utf8_is_valid(const void *text, size_t length)
{
    const uint8_t *bytes = text;
    size_t i = 0;

    while (i < length) {
        size_t size = sequence_length(bytes[i]);

        if (size == 0 || size > length - i)
            return false;
        if (size > 1 && !is_second_byte(bytes[i], bytes[i + 1]))
            return false;
        for (size_t k = 2; k < size; k++) {
            if ((bytes[i + k] & 0xc0) != 0x80)
                return false;
        }
        i += size;
    }
    return true;
}

void utf8_add(struct buf *out, uint32_t character)
{
    if (character < 0x80) {
        buf_addc(out, (char)character);
    } else if (character < 0x800) {
        buf_addc(out, (char)(0xc0 | character >> 6));
        buf_addc(out, (char)(0x80 | (character & 0x3f)));
    } else if (character < 0x10000) {
        buf_addc(out, (char)(0xe0 | character >> 12));
        buf_addc(out, (char)(0x80 | (character >> 6 & 0x3f)));
        buf_addc(out, (char)(0x80 | (character & 0x3f)));
    } else {
        buf_addc(out, (char)(0xf0 | character >> 18));
        buf_addc(out, (char)(0x80 | (character >> 12 & 0x3f)));
        buf_addc(out, (char)(0x80 | (character >> 6 & 0x3f)));
        buf_addc(out, (char)(0x80 | (character & 0x3f)));
    }
}
