/*
 * cookies.h - the four cookies of a session (contract 1.4).
 *
 * Each token travels in a cookie scripts cannot read, and its csrf value in one they
 * can: what the page sends back in X-CSRF-TOKEN proves that it is our page.
 */
#ifndef FORKMARK_WORKER_HANDLERS_COOKIES_H
#define FORKMARK_WORKER_HANDLERS_COOKIES_H

#include "common/token.h"
#include "worker/request.h"

/* Adds the token's two Set-Cookie headers. `text` is the signed token. */
void cookies_set(struct request *req, const struct token *token, const char *text);
/* Adds four Set-Cookie headers that end the cookies. */
void cookies_clear(struct request *req);

/* One header's value, for cookies_*() and the tests. `value` NULL: the cookie's end. */
struct cookie_spec {
    const char *name;
    bool is_http_only;
};
const char *cookie_line(struct arena *arena, const struct cookie_spec *cookie,
                        const char *value, bool is_secure);

#endif
