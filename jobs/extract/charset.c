/*
 * charset.c - which charset a page is in, and the way from there to UTF-8.
 *
 * Labels mean what browsers take them for (WHATWG Encoding): a page that says
 * iso-8859-1 is read as windows-1252, gb2312 as gb18030, and so on.
 */
#include "jobs/extract/charset.h"

#include "common/buf.h"
#include "common/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Browsers look at 1024 bytes; real pages put long comments before their <meta>. */
#define META_REACH 4096
#define UTF8       "utf-8"
#define LATIN      "windows-1252"

/* What browsers (and so pages) mean by a label; iconv knows the right side. */
static const struct {
    const char *label, *charset;
} labels[] = {
    { "ansi_x3.4-1968", LATIN },
    { "ascii", LATIN },
    { "big5", "BIG5-HKSCS" },
    { "cp1252", LATIN },
    { "euc-kr", "CP949" },
    { "gb2312", "GB18030" },
    { "gb_2312-80", "GB18030" },
    { "gbk", "GB18030" },
    { "iso-8859-1", LATIN },
    { "iso-8859-11", "CP874" },
    { "iso-8859-9", "CP1254" },
    { "iso8859-1", LATIN },
    { "iso_8859-1", LATIN },
    { "ks_c_5601-1987", "CP949" },
    { "l1", LATIN },
    { "latin1", LATIN },
    { "shift-jis", "CP932" },
    { "shift_jis", "CP932" },
    { "sjis", "CP932" },
    { "tis-620", "CP874" },
    { "us-ascii", LATIN },
    { "utf-16", "UTF-16LE" },
    { "utf-8", UTF8 },
    { "utf8", UTF8 },
    { "windows-949", "CP949" },
    { "x-gbk", "GB18030" },
    { "x-sjis", "CP932" },
    { "x-user-defined", LATIN },
};

/* windows-1252 where it differs from Latin-1: 0x80 to 0x9F. */
static const uint16_t windows_1252[32] = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
    0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D, 0x017D, 0x008F,
    0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
    0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
};

/* The value after "charset", at `at`: = or :, quotes or none. False when there is none.
 */
static bool read_charset_value(const char *at, const char *end,
                               char ret[CHARSET_NAME_SIZE])
{
    size_t length = 0;

    while (at < end && isspace((unsigned char)*at))
        at++;
    if (at == end || *at != '=')
        return false;
    at++;
    while (at < end && (isspace((unsigned char)*at) || *at == '"' || *at == '\''))
        at++;
    while (at < end && length + 1 < CHARSET_NAME_SIZE &&
           (isalnum((unsigned char)*at) || (*at && strchr("-_.:+", *at))))
        ret[length++] = (char)tolower((unsigned char)*at++);
    ret[length] = '\0';
    return length > 0;
}

/* The first "charset = value" between `at` and `end`. */
static bool find_charset(const char *at, const char *end, char ret[CHARSET_NAME_SIZE])
{
    static const char word[] = "charset";
    const size_t size = sizeof(word) - 1;

    for (; at + size < end; at++) {
        if (strncasecmp(at, word, size) == 0 && read_charset_value(at + size, end, ret))
            return true;
    }
    return false;
}

void charset_of_header(const char *content_type, char ret[CHARSET_NAME_SIZE])
{
    const char *semicolon = content_type ? strchr(content_type, ';') : NULL;

    ret[0] = '\0';
    if (semicolon && !find_charset(semicolon, semicolon + strlen(semicolon), ret))
        ret[0] = '\0';
}

void charset_of_meta(const char *body, size_t length, char ret[CHARSET_NAME_SIZE])
{
    const char *end = body + (length < META_REACH ? length : META_REACH);

    ret[0] = '\0';
    for (const char *at = body; end - at > 6; at++) {
        if (*at != '<')
            continue;
        if (end - at > 4 && memcmp(at, "<!--", 4) == 0) {
            const char *close = memmem(at, (size_t)(end - at), "-->", 3);
            if (!close)
                return;
            at = close + 2;
        } else if (strncasecmp(at, "<meta", 5) == 0) {
            const char *close = memchr(at, '>', (size_t)(end - at));
            if (find_charset(at, close ? close : end, ret))
                return;
            ret[0] = '\0';
        }
    }
}

static void add_windows_1252(struct buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        unsigned c = byte >= 0x80 && byte < 0xA0 ? windows_1252[byte - 0x80] : byte;

        if (c != 0)
            utf8_add(out, c);
    }
}

/* A charset nobody here has heard of: one of the two it probably is. */
static void add_unknown(struct buf *out, const char *text, size_t length)
{
    if (utf8_is_valid(text, length))
        utf8_add_clean(out, text, length);
    else
        add_windows_1252(out, text, length);
}

/* Through iconv; false when it does not know the charset. */
static bool add_converted(struct buf *out, const char *charset, const char *text,
                          size_t length)
{
    iconv_t converter = iconv_open("UTF-8", charset);
    char chunk[4096];
    char *in;
    size_t left = length;

    memcpy(&in, &text, sizeof(in)); /* iconv() only reads, but takes no const */
    if ((intptr_t)converter == -1)
        return false;
    while (left > 0) {
        char *to = chunk;
        size_t room = sizeof(chunk);
        size_t done = iconv(converter, &in, &left, &to, &room);

        utf8_add_clean(out, chunk, sizeof(chunk) - room);
        if (done != (size_t)-1 || errno == E2BIG)
            continue;
        buf_adds(out, UTF8_REPLACEMENT);
        if (errno == EINVAL) /* the text ends inside a character */
            break;
        in++;
        left--;
    }
    iconv_close(converter);
    return true;
}

static const char *charset_of_label(const char *label)
{
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        if (strcmp(label, labels[i].label) == 0)
            return labels[i].charset;
    }
    return label;
}

/* A byte order mark speaks first (WHATWG Encoding, 6.1); its size, 0 without one. */
static size_t byte_order_mark(const char *body, size_t length,
                              char ret[CHARSET_NAME_SIZE])
{
    static const struct {
        const char *mark;
        size_t size;
        const char *charset;
    } marks[] = {
        { "\xEF\xBB\xBF", 3, UTF8 },
        { "\xFF\xFE", 2, "UTF-16LE" },
        { "\xFE\xFF", 2, "UTF-16BE" },
    };

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (length >= marks[i].size && memcmp(body, marks[i].mark, marks[i].size) == 0) {
            snprintf(ret, CHARSET_NAME_SIZE, "%s", marks[i].charset);
            return marks[i].size;
        }
    }
    return 0;
}

/* Puts what the page is in into `name`; how many bytes of mark to skip. */
static size_t find_out(const char *body, size_t length, const char *content_type,
                       bool is_html, char name[CHARSET_NAME_SIZE])
{
    size_t skip = byte_order_mark(body, length, name);

    if (skip > 0)
        return skip;
    charset_of_header(content_type, name);
    if (name[0] == '\0' && is_html) {
        charset_of_meta(body, length, name);
        /* A <meta> that could be read as ASCII is not in UTF-16, whatever it says. */
        if (strncmp(name, "utf-16", 6) == 0)
            snprintf(name, CHARSET_NAME_SIZE, UTF8);
    }
    if (name[0] == '\0')
        snprintf(name, CHARSET_NAME_SIZE, "%s",
                 utf8_is_valid(body, length) ? UTF8 : LATIN);
    return 0;
}

char *charset_to_utf8(const char *body, size_t length, const char *content_type,
                      bool is_html, size_t *ret_length)
{
    struct buf out = BUF_HEAP;
    char name[CHARSET_NAME_SIZE];
    size_t skip = find_out(body, length, content_type, is_html, name);
    const char *charset = charset_of_label(name);

    body += skip;
    length -= skip;
    buf_reserve(&out, length + 1);
    if (strcmp(charset, UTF8) == 0)
        utf8_add_clean(&out, body, length);
    else if (strcmp(charset, LATIN) == 0)
        add_windows_1252(&out, body, length);
    else if (!add_converted(&out, charset, body, length))
        add_unknown(&out, body, length);
    buf_add(&out, "", 1); /* the NUL is the caller's to rely on */
    *ret_length = out.length - 1;
    return out.data;
}
