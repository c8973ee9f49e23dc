/*
 * cors.c - see cors.h.
 */
#include "worker/cors.h"
#include "worker/exchange.h"
#include "worker/reply.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/*
 * Classic wildcard match with one point to go back to: linear for one *, and at
 * worst entry times origin for several. Schemes and hosts know no case.
 */
static bool is_like(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (strncasecmp(pattern, text, 1) == 0) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

enum cors_match cors_match_entry(const char *entry, const char *origin)
{
    if (!is_like(entry, origin))
        return CORS_NO;
    return strchr(entry, '*') ? CORS_PATTERN : CORS_EXACT;
}

enum cors_match cors_match(const struct conf_list *origins, const char *origin)
{
    enum cors_match best = CORS_NO;

    for (size_t i = 0; i < origins->count && best != CORS_EXACT; i++) {
        enum cors_match match = cors_match_entry(origins->items[i], origin);

        if (match > best)
            best = match;
    }
    return best;
}

static enum cors_match match_request(const struct request *req)
{
    if (!req->origin || strlen(req->origin) > 255)
        return CORS_NO;
    return cors_match(&req->server->options->cors.origins, req->origin);
}

enum http_status cors_preflight(struct request *req)
{
    if (match_request(req) != CORS_NO) {
        char age[24];

        snprintf(age, sizeof(age), "%" PRIu64, req->server->options->cors.max_age / 1000);
        reply_header(req, "Access-Control-Allow-Methods",
                     "GET, POST, PUT, PATCH, DELETE, OPTIONS");
        reply_header(req, "Access-Control-Allow-Headers",
                     "Content-Type, Authorization, X-CSRF-TOKEN, X-Request-ID, "
                     "X-Requested-With, Accept, Cache-Control, Last-Event-ID");
        reply_header(req, "Access-Control-Max-Age", age);
    }
    return reply_empty(req, HTTP_NO_CONTENT);
}

void cors_add(struct request *req, struct MHD_Response *response)
{
    enum cors_match match = match_request(req);

    if (match == CORS_NO) {
        /* A shared cache must not hand this answer to an origin that may read it. */
        if (req->origin)
            MHD_add_response_header(response, "Vary", "Origin");
        return;
    }
    MHD_add_response_header(response, "Access-Control-Allow-Origin", req->origin);
    MHD_add_response_header(response, "Vary", "Origin");
    if (match == CORS_EXACT)
        MHD_add_response_header(response, "Access-Control-Allow-Credentials", "true");
    if (req->method != METHOD_OPTIONS)
        MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, "
                                "X-RateLimit-Reset, Retry-After");
}
