/*
 * json_write.c - JSON straight into a buffer: see struct json_writer in json.h.
 */
#include "common/buf.h"
#include "common/json.h"
#include "common/utf8.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static void put_escaped(struct buf *out, unsigned char c)
{
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
        ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'
    };

    if (c < sizeof(letters) && letters[c])
        buf_addf(out, "\\%c", letters[c]);
    else
        buf_addf(out, "\\u%04x", c);
}

/* ASCII that stands for itself; most of all text is, so it is asked by table. */
static const bool is_plain[256] = {
    [0x20 ... 0x21] = true,
    [0x23 ... 0x5b] = true,
    [0x5d ... 0x7e] = true,
};

/* Whether one of eight bytes is not plain. A borrow reaches a byte only from one below
 * it that is found anyway. */
static bool has_odd_byte(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t control = eight - ones * 0x20, deleted = eight + ones;
    uint64_t quote = (eight ^ ones * '"') - ones, slash = (eight ^ ones * '\\') - ones;

    return ((eight | control | deleted | quote | slash) & ones * 0x80) != 0;
}

static const unsigned char *skip_plain(const unsigned char *c, const unsigned char *end)
{
    uint64_t eight;

    for (; end - c >= 8; c += 8) {
        memcpy(&eight, c, sizeof(eight));
        if (has_odd_byte(eight))
            break;
    }
    while (c < end && is_plain[*c])
        c++;
    return c;
}

/* Copies plain bytes to `at`, which has room for all; where they end in `c`. */
static const unsigned char *copy_plain(char *at, const unsigned char *c,
                                       const unsigned char *end)
{
    uint64_t eight;

    for (; end - c >= 8; c += 8, at += 8) {
        memcpy(&eight, c, sizeof(eight));
        if (has_odd_byte(eight))
            break;
        memcpy(at, &eight, sizeof(eight));
    }
    while (c < end && is_plain[*c])
        *at++ = (char)*c++;
    return c;
}

/* From the first byte that does not stand for itself. */
static void quote_odd(struct buf *out, const unsigned char *c, const unsigned char *end)
{
    while (c < end) {
        const unsigned char *run = c;

        for (size_t span = 1; span > 0; c += span) {
            c = skip_plain(c, end);
            span = c < end && *c >= 0x80 ? utf8_span(c, (size_t)(end - c)) : 0;
        }
        buf_add(out, run, (size_t)(c - run));
        if (c == end)
            break;
        if (*c >= 0x80)
            buf_adds(out, UTF8_REPLACEMENT);
        else
            put_escaped(out, *c);
        c++;
    }
    buf_addc(out, '"');
}

/* Nearly all texts stand for themselves, and are looked at and copied in one go. */
void json_quote(struct buf *out, const char *text, size_t length)
{
    const unsigned char *c = (const unsigned char *)text, *end = c + length;

    if (out->room - out->length < length + sizeof("\"\""))
        buf_reserve(out, length + 2);
    char *at = out->data + out->length;
    *at++ = '"';
    const unsigned char *stop = copy_plain(at, c, end);
    at += stop - c;
    if (stop == end)
        *at++ = '"';
    *at = '\0';
    out->length = (size_t)(at - out->data);
    if (stop < end)
        quote_odd(out, stop, end);
}

/* What stands before any value: a comma, and the key. */
static void lead_in(struct json_writer *w, const char *key)
{
    struct buf *out = w->out;
    size_t length = key ? strlen(key) : 0;

    assert(!key ||
           skip_plain((const unsigned char *)key, (const unsigned char *)key + length) ==
               (const unsigned char *)key + length);
    if (out->room - out->length < length + sizeof(",\"\":"))
        buf_reserve(out, length + sizeof(",\"\":"));
    char *at = out->data + out->length;
    if (w->comma)
        *at++ = ',';
    w->comma = true;
    if (key) {
        *at++ = '"';
        memcpy(at, key, length);
        at += length;
        *at++ = '"';
        *at++ = ':';
    }
    *at = '\0';
    out->length = (size_t)(at - out->data);
}

static void begin(struct json_writer *w, const char *key, char bracket)
{
    lead_in(w, key);
    buf_addc(w->out, bracket);
    w->comma = false;
}

static void end(struct json_writer *w, char bracket)
{
    buf_addc(w->out, bracket);
    w->comma = true;
}

void json_begin_object(struct json_writer *w, const char *key)
{
    begin(w, key, '{');
}

void json_end_object(struct json_writer *w)
{
    end(w, '}');
}

void json_begin_array(struct json_writer *w, const char *key)
{
    begin(w, key, '[');
}

void json_end_array(struct json_writer *w)
{
    end(w, ']');
}

void json_put_raw(struct json_writer *w, const char *key, const char *json)
{
    lead_in(w, key);
    buf_adds(w->out, json);
}

void json_put_text(struct json_writer *w, const char *key, const char *text)
{
    if (text)
        json_put_textn(w, key, text, strlen(text));
    else
        json_put_null(w, key);
}

void json_put_textn(struct json_writer *w, const char *key, const char *text,
                    size_t length)
{
    lead_in(w, key);
    json_quote(w->out, text, length);
}

void json_put_int(struct json_writer *w, const char *key, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[24], *end = digits + sizeof(digits), *at = end;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    lead_in(w, key);
    buf_add(w->out, at, (size_t)(end - at));
}

/* JSON has no word for what is not finite. */
void json_put_double(struct json_writer *w, const char *key, double value, int decimals)
{
    if (!isfinite(value)) {
        json_put_null(w, key);
        return;
    }
    lead_in(w, key);
    buf_addf(w->out, "%.*f", decimals, value);
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    json_put_raw(w, key, value ? "true" : "false");
}

void json_put_null(struct json_writer *w, const char *key)
{
    json_put_raw(w, key, "null");
}
