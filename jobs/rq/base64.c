/*
 * base64.c - RFC 4648, section 4.
 */
#include "jobs/rq/base64.h"
#include "common/buf.h"
#include <stdint.h>
#include <string.h>

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(struct buf *out, const void *data, size_t length)
{
    const uint8_t *bytes = data;

    buf_reserve(out, (length + 2) / 3 * 4);
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)bytes[i] << 16;

        if (left > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (left > 2)
            group |= bytes[i + 2];
        buf_addc(out, alphabet[group >> 18]);
        buf_addc(out, alphabet[group >> 12 & 63]);
        buf_addc(out, left > 1 ? alphabet[group >> 6 & 63] : '=');
        buf_addc(out, left > 2 ? alphabet[group & 63] : '=');
    }
}

static int digit_of(char c)
{
    const char *found = c ? strchr(alphabet, c) : NULL;

    return found ? (int)(found - alphabet) : -1;
}

bool base64_read(struct buf *out, const char *text, size_t length)
{
    uint32_t group = 0;
    size_t digits = 0;

    if (length % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && length > 0 && text[length - 1] == '='; padding++)
        length--;
    for (size_t i = 0; i < length; i++) {
        int digit = digit_of(text[i]);

        if (digit < 0)
            return false;
        group = group << 6 | (uint32_t)digit;
        if (++digits % 4 == 0) {
            buf_addc(out, (char)(group >> 16));
            buf_addc(out, (char)(group >> 8));
            buf_addc(out, (char)group);
        }
    }
    if (digits % 4 == 3) {
        buf_addc(out, (char)(group >> 10));
        buf_addc(out, (char)(group >> 2));
    } else if (digits % 4 == 2) {
        buf_addc(out, (char)(group >> 4));
    }
    return digits % 4 != 1;
}
