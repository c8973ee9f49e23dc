/*
 * redis_url.c - see redis_url.h.
 */
#include "common/redis_url.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LAST_DB                                                             \
    99999 /* Redis has 16 by default; more is a matter of its configuration \
           */

/* A run of characters inside the URL. */
struct span {
    const char *start;
    size_t length;
};

static bool fail(char *error, size_t size, const char *reason)
{
    snprintf(error, size, "%s", reason);
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes into `ret`; false when it does not fit or decodes to NUL. */
static bool decode(struct span in, char *ret, size_t size)
{
    size_t out = 0;

    for (size_t i = 0; i < in.length; i++) {
        char c = in.start[i];

        if (c == '%' && i + 2 < in.length && hex_digit(in.start[i + 1]) >= 0 &&
            hex_digit(in.start[i + 2]) >= 0) {
            c = (char)(hex_digit(in.start[i + 1]) * 16 + hex_digit(in.start[i + 2]));
            i += 2;
        }
        if (c == '\0' || out + 1 >= size)
            return false;
        ret[out++] = c;
    }
    ret[out] = '\0';
    return true;
}

static bool read_number(struct span in, long most, long *ret)
{
    char text[12];
    char *end;

    if (in.length == 0 || in.length >= sizeof(text) ||
        !isdigit((unsigned char)in.start[0]))
        return false;
    memcpy(text, in.start, in.length);
    text[in.length] = '\0';
    *ret = strtol(text, &end, 10);
    return *end == '\0' && *ret <= most;
}

static bool read_db(struct span in, struct redis_address *ret)
{
    long db;

    if (!read_number(in, LAST_DB, &db))
        return false;
    ret->db = (int)db;
    return true;
}

static bool read_user_info(struct span in, struct redis_address *ret)
{
    const char *colon = memchr(in.start, ':', in.length);
    struct span user = in, password = { "", 0 };

    if (colon) {
        user.length = (size_t)(colon - in.start);
        password =
            (struct span){ colon + 1, (size_t)(in.start + in.length - (colon + 1)) };
    }
    return decode(user, ret->user, sizeof(ret->user)) &&
           decode(password, ret->password, sizeof(ret->password));
}

static bool is_word(struct span span, const char *word)
{
    return span.length == strlen(word) && strncasecmp(span.start, word, span.length) == 0;
}

static bool read_parameter(struct span key, struct span value, struct redis_address *ret)
{
    if (is_word(key, "db"))
        return read_db(value, ret);
    if (is_word(key, "user") || is_word(key, "username"))
        return decode(value, ret->user, sizeof(ret->user));
    if (is_word(key, "password"))
        return decode(value, ret->password, sizeof(ret->password));
    if (is_word(key, "ssl_ca_certs"))
        return decode(value, ret->ca_file, sizeof(ret->ca_file));
    if (is_word(key, "ssl_certfile"))
        return decode(value, ret->certificate, sizeof(ret->certificate));
    if (is_word(key, "ssl_keyfile"))
        return decode(value, ret->key, sizeof(ret->key));
    if (is_word(key, "ssl_cert_reqs")) {
        ret->allow_unverified = is_word(value, "none") || is_word(value, "CERT_NONE");
        return ret->allow_unverified || is_word(value, "required") ||
               is_word(value, "CERT_REQUIRED");
    }
    return false;
}

static bool read_query(const char *query, struct redis_address *ret)
{
    while (*query) {
        size_t length = strcspn(query, "&");
        const char *equals = memchr(query, '=', length);

        if (!equals)
            return false;
        struct span key = { query, (size_t)(equals - query) };
        struct span value = { equals + 1, length - key.length - 1 };
        if (!read_parameter(key, value, ret))
            return false;
        query += length;
        query += *query == '&';
    }
    return true;
}

/* host, host:port, [v6], [v6]:port */
static bool read_host(struct span in, const char *usual_port, struct redis_address *ret)
{
    struct span host = in, port = { usual_port, strlen(usual_port) };
    const char *end = in.start + in.length, *after;
    long number;

    if (in.length > 0 && in.start[0] == '[') {
        const char *close = memchr(in.start, ']', in.length);
        if (!close)
            return false;
        host = (struct span){ in.start + 1, (size_t)(close - in.start - 1) };
        after = close + 1;
    } else {
        const char *colon = memchr(in.start, ':', in.length);
        host.length = colon ? (size_t)(colon - in.start) : in.length;
        after = in.start + host.length;
    }
    if (after < end && *after == ':')
        port = (struct span){ after + 1, (size_t)(end - after - 1) };
    else if (after < end)
        return false;
    if (host.length == 0 || !decode(host, ret->host, sizeof(ret->host)) ||
        !read_number(port, 65535, &number) || number == 0)
        return false;
    snprintf(ret->port, sizeof(ret->port), "%hu", (unsigned short)number);
    return true;
}

static const struct scheme {
    const char *prefix;
    bool is_unix, tls;
} schemes[] = {
    { .prefix = "redis://" },
    { .prefix = "rediss://", .tls = true },
    { .prefix = "unix://", .is_unix = true },
};

static const struct scheme *find_scheme(const char *url)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
            return &schemes[i];
    }
    return NULL;
}

bool redis_url_parse(const char *url, struct redis_address *ret, char *error,
                     size_t error_size)
{
    const struct scheme *scheme = find_scheme(url);

    if (!scheme)
        return fail(error, error_size,
                    "it must begin with redis://, rediss:// or unix://");
    *ret = (struct redis_address){ .is_unix = scheme->is_unix, .tls = scheme->tls };

    const char *rest = url + strlen(scheme->prefix);
    struct span place = { rest, strcspn(rest, "?") };
    const char *query = rest[place.length] == '?' ? rest + place.length + 1 : "";
    struct span authority = { rest, strcspn(rest, "/?") };

    /* A password may hold an `@` as it is: the last one ends it. */
    for (const char *at = authority.start + authority.length; at-- > authority.start;) {
        if (*at != '@')
            continue;
        struct span info = { authority.start, (size_t)(at - authority.start) };
        if (!read_user_info(info, ret))
            return fail(error, error_size, "user or password is too long");
        authority.start += info.length + 1;
        authority.length -= info.length + 1;
        break;
    }
    struct span path = { authority.start + authority.length, 0 };
    path.length = (size_t)(place.start + place.length - path.start);

    if (scheme->is_unix) {
        if (authority.length > 0 || path.length < 2)
            return fail(error, error_size,
                        "unix:// needs an absolute path: unix:///path");
        if (!decode(path, ret->host, sizeof(ret->host)))
            return fail(error, error_size, "the socket's path is too long");
    } else {
        if (!read_host(authority, "6379", ret))
            return fail(error, error_size, "no such host and port");
        if (path.length > 1 &&
            !read_db((struct span){ path.start + 1, path.length - 1 }, ret))
            return fail(error, error_size, "the database after the / must be a number");
    }
    if (!read_query(query, ret))
        return fail(error, error_size,
                    "after the ? only db, user, password, ssl_cert_reqs, ssl_ca_certs, "
                    "ssl_certfile and ssl_keyfile are known");
    return true;
}

bool redis_address_parse(const char *text, const char *port, struct redis_address *ret)
{
    return read_host((struct span){ text, strlen(text) }, port, ret);
}

void redis_address_show(const struct redis_address *address, char *ret, size_t size)
{
    char place[300];

    if (address->is_unix)
        snprintf(place, sizeof(place), "%s", address->host);
    else if (strchr(address->host, ':'))
        snprintf(place, sizeof(place), "[%s]:%s", address->host, address->port);
    else
        snprintf(place, sizeof(place), "%s:%s", address->host, address->port);
    if (address->db > 0)
        snprintf(ret, size, "%s, database %d", place, address->db);
    else
        snprintf(ret, size, "%s", place);
}
