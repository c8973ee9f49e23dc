/*
 * url.c - see url.h.
 *
 * Nothing here is stricter than a browser's address bar: what people save is what
 * browsers opened. Whether an address may be *fetched* is jobs/fetch's question.
 */
#include "common/url.h"
#include "common/arena.h"
#include "common/buf.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* They say where a visitor came from, not which page it is (contract 2.2). */
static const char *const tracking_parameters[] = {
    "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
    "fbclid",     "gclid",      "ref",          "source",   "campaign",
};

/* White space that pages and chat programs put around a copied address. */
static const char *const wide_spaces[] = {
    "\xc2\xa0",     "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x89",
    "\xe2\x80\x8a", "\xe2\x80\x8b", "\xe2\x80\xa8", "\xe2\x80\xa9",
    "\xe2\x80\xaf", "\xe3\x80\x80", "\xef\xbb\xbf",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Bytes before the first of `stops`, or all `length`. */
static size_t span_until(const char *text, size_t length, const char *stops)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] != '\0' && strchr(stops, text[i]))
            return i;
    return length;
}

static size_t scheme_span(const char *text, size_t length)
{
    size_t i = 0;

    if (length == 0 || !isalpha((unsigned char)text[0]))
        return 0;
    while (i < length && (isalnum((unsigned char)text[i]) || strchr("+-.", text[i])) &&
           text[i] != '\0')
        i++;
    return i + 2 < length && memcmp(text + i, "://", 3) == 0 ? i : 0;
}

static bool parse_port(const char *digits, size_t length, int *ret)
{
    int port = 0;

    if (length == 0) {
        *ret = -1; /* "host:" is the same as "host" (RFC 3986, 3.2.3) */
        return true;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)digits[i]))
            return false;
        port = port * 10 + (digits[i] - '0');
        if (port > 65535)
            return false;
    }
    *ret = port;
    return true;
}

/* Names may be raw UTF-8; what no resolver or browser takes is refused. */
static bool is_host(const char *host, size_t length)
{
    bool is_bracketed = host[0] == '[';

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)host[i];

        if (c <= ' ' || c == 0x7f || strchr("<>\"\\^`{|}", c))
            return false;
        if (strchr("[]:", c) && !is_bracketed)
            return false;
    }
    return length > 0;
}

/* [user@]host[:port], where host may be an IPv6 address in brackets. */
static bool parse_authority(const char *text, size_t length, struct url *ret)
{
    const char *at = memrchr(text, '@', length);
    const char *end = text + length;
    const char *host = at ? at + 1 : text;
    const char *after;

    ret->port = -1;
    if (host < end && *host == '[') {
        const char *close = memchr(host, ']', (size_t)(end - host));
        if (!close || close == host + 1)
            return false;
        after = close + 1;
        if (after < end && *after != ':')
            return false;
    } else {
        after = host + span_until(host, (size_t)(end - host), ":");
    }
    if (after == host || !is_host(host, (size_t)(after - host)))
        return false;
    if (after < end && !parse_port(after + 1, (size_t)(end - after - 1), &ret->port))
        return false;
    ret->host = host;
    ret->host_length = (size_t)(after - host);
    return true;
}

bool url_parse(const char *text, size_t length, struct url *ret)
{
    struct url url = { .text = text, .length = length };
    const char *end = text + length;

    url.scheme = text;
    url.scheme_length = scheme_span(text, length);
    if (url.scheme_length == 0)
        return false;

    const char *at = text + url.scheme_length + 3;
    /* Browsers read "\" as "/" here; reading it as part of the host instead would
     * let one address mean two hosts. */
    size_t authority = span_until(at, (size_t)(end - at), "/?#\\");
    if (!parse_authority(at, authority, &url))
        return false;
    at += authority;
    url.path = at;
    url.path_length = span_until(at, (size_t)(end - at), "?#");
    at += url.path_length;
    url.query = url.fragment = at;
    if (at < end && *at == '?') {
        url.query = ++at;
        url.query_length = span_until(at, (size_t)(end - at), "#");
        at += url.query_length;
        url.fragment = at;
    }
    if (at < end) { /* only "#" is left */
        url.fragment = at + 1;
        url.fragment_length = (size_t)(end - url.fragment);
    }
    *ret = url;
    return true;
}

static size_t space_at_start(const char *text, size_t length)
{
    if (length > 0 && is_space(text[0]))
        return 1;
    for (size_t i = 0; i < COUNT(wide_spaces); i++) {
        size_t n = strlen(wide_spaces[i]);
        if (length >= n && memcmp(text, wide_spaces[i], n) == 0)
            return n;
    }
    return 0;
}

static size_t space_at_end(const char *text, size_t length)
{
    if (length > 0 && is_space(text[length - 1]))
        return 1;
    for (size_t i = 0; i < COUNT(wide_spaces); i++) {
        size_t n = strlen(wide_spaces[i]);
        if (length >= n && memcmp(text + length - n, wide_spaces[i], n) == 0)
            return n;
    }
    return 0;
}

char *url_clean(struct arena *arena, const char *text, size_t length)
{
    char *clean = arena_alloc(arena, length + 1);
    size_t kept = 0, n;

    for (size_t i = 0; i < length; i++)
        if (text[i] != '\0')
            clean[kept++] = text[i];
    while ((n = space_at_end(clean, kept)) > 0)
        kept -= n;
    clean[kept] = '\0';
    while ((n = space_at_start(clean, kept)) > 0) {
        clean += n;
        kept -= n;
    }
    return clean;
}

bool url_is_saveable(const char *text)
{
    size_t length = strlen(text);
    struct url url;

    if (length > URL_MAX || !url_parse(text, length, &url))
        return false;
    return (url.scheme_length == 4 && strncasecmp(url.scheme, "http", 4) == 0) ||
           (url.scheme_length == 5 && strncasecmp(url.scheme, "https", 5) == 0);
}

static size_t without_trailing_slashes(const char *text, size_t length)
{
    while (length > 0 && text[length - 1] == '/')
        length--;
    return length;
}

static bool is_tracking(const char *parameter, size_t length)
{
    size_t name = span_until(parameter, length, "=");

    for (size_t i = 0; i < COUNT(tracking_parameters); i++)
        if (strlen(tracking_parameters[i]) == name &&
            strncasecmp(parameter, tracking_parameters[i], name) == 0)
            return true;
    return false;
}

/* "?" and the parameters that tell pages apart, in their order; nothing without any. */
static void add_query(struct buf *out, const struct url *url)
{
    const char *at = url->query, *end = url->query + url->query_length;
    char separator = '?';

    while (at < end) {
        size_t length = span_until(at, (size_t)(end - at), "&");

        if (length > 0 && !is_tracking(at, length)) {
            buf_addc(out, separator);
            buf_add(out, at, length);
            separator = '&';
        }
        at += length + 1;
    }
}

/* scheme://[user@]host[:port]; only scheme and host ignore case. */
static void add_origin(struct buf *out, const struct url *url)
{
    for (const char *c = url->scheme; c < url->scheme + url->scheme_length; c++)
        buf_addc(out, lower(*c));

    const char *rest = url->scheme + url->scheme_length;
    buf_add(out, rest, (size_t)(url->host - rest));
    for (const char *c = url->host; c < url->host + url->host_length; c++)
        buf_addc(out, lower(*c));

    rest = url->host + url->host_length;
    buf_add(out, rest, (size_t)(url->path - rest));
}

static char *finish(struct arena *arena, const struct buf *out)
{
    size_t length = without_trailing_slashes(buf_text(out), out->length);

    return arena_strndup(arena, buf_text(out), length);
}

static char *normalise_once(struct arena *arena, const char *text)
{
    size_t length = without_trailing_slashes(text, strlen(text));
    struct buf out = BUF_IN(arena);
    struct url url;

    if (!url_parse(text, length, &url))
        return arena_strndup(arena, text, length);
    add_origin(&out, &url);
    buf_add(&out, url.path, url.path_length);
    add_query(&out, &url);
    /* Again: "/a/#top" and "/a/?ref=x" end in a slash only now. */
    return finish(arena, &out);
}

/* A slash gone from the end may leave what is to go, too ("?x&/#top", "?ref/#top"):
 * until nothing gets shorter. */
char *url_normalise(struct arena *arena, const char *text)
{
    char *normal = normalise_once(arena, text);

    for (size_t before = strlen(text); strlen(normal) < before;) {
        before = strlen(normal);
        normal = normalise_once(arena, normal);
    }
    return normal;
}

char *url_page_key(struct arena *arena, const char *text)
{
    size_t length = strlen(text);
    struct buf out = BUF_IN(arena);
    struct url url;

    if (!url_parse(text, length, &url))
        return arena_strndup(arena, text, without_trailing_slashes(text, length));
    add_origin(&out, &url);
    buf_add(&out, url.path, url.path_length);
    return finish(arena, &out);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (lower(c) >= 'a' && lower(c) <= 'f')
        return lower(c) - 'a' + 10;
    return -1;
}

char *url_decode(struct arena *arena, const char *text, size_t length)
{
    char *decoded = arena_alloc(arena, length + 1);
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        int high = i + 2 < length && text[i] == '%' ? hex_value(text[i + 1]) : -1;
        int byte = high < 0 || hex_value(text[i + 2]) < 0
                       ? -1
                       : high * 16 + hex_value(text[i + 2]);

        if (byte > 0) {
            decoded[n++] = (char)byte;
            i += 2;
        } else {
            decoded[n++] = text[i];
        }
    }
    return decoded;
}

char *url_encode(struct arena *arena, const char *text)
{
    struct buf out = BUF_IN(arena);

    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x80 && (isalnum(*c) || strchr("-._~", *c)))
            buf_addc(&out, (char)*c);
        else
            buf_addf(&out, "%%%02X", *c);
    }
    return arena_strdup(arena, buf_text(&out));
}
