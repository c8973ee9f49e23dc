/*
 * url.h - web addresses: what may be saved, and when two are the same page.
 *
 * Rules of contract 2.2. Nothing here resolves names or touches the network.
 */
#ifndef FORKMARK_COMMON_URL_H
#define FORKMARK_COMMON_URL_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

#define URL_MAX 2048 /* bytes; a b-tree entry holds at most 2704 */

/* Where the parts of a URL lie in the text; absent parts have length 0. */
struct url {
    const char *text;
    size_t length;
    const char *scheme, *host, *path, *query, *fragment;
    size_t scheme_length, host_length, path_length, query_length, fragment_length;
    int port; /* -1: none given */
};

/*
 * Splits `text` (RFC 3986, as lenient as browsers are: spaces and raw UTF-8 are
 * kept). False when it has no scheme or no host. The parts point into `text`.
 */
bool url_parse(const char *text, size_t length, struct url *ret);

/* Trims white space and drops NUL bytes. The caller's arena owns the result. */
char *url_clean(struct arena *arena, const char *text, size_t length);

/* http or https, with a host, at most URL_MAX bytes. */
bool url_is_saveable(const char *text);

/*
 * The form that is compared, never stored as the URL: trailing slashes off,
 * scheme and host lower-cased, fragment gone, tracking parameters gone.
 * Any text is accepted (a URL still being typed): what cannot be parsed is
 * returned with its trailing slashes off.
 */
char *url_normalise(struct arena *arena, const char *text);
/* scheme://host/path in lower-cased scheme and host: the key of "similar". */
char *url_page_key(struct arena *arena, const char *text);

/* %XX decoded once; `+` stays. NUL bytes and broken escapes are kept as text. */
char *url_decode(struct arena *arena, const char *text, size_t length);
/* Everything but unreserved characters (RFC 3986, 2.3) as %XX. */
char *url_encode(struct arena *arena, const char *text);

#endif
