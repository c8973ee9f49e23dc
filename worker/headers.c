/*
 * headers.c - see headers.h.
 */
#include "worker/headers.h"
#include "worker/accept.h"
#include "worker/cors.h"
#include "worker/exchange.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const struct {
    const char *name, *value;
} security[] = {
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "strict-origin-when-cross-origin" },
    { "X-XSS-Protection", "1; mode=block" },
};

static struct {
    char keep_alive[32]; /* "timeout=5"; "": none */
    bool strict_transport;
    char date[32];
    time_t date_of; /* the second it was written for */
} always;

void headers_init(const struct options *options)
{
    uint64_t seconds = options->server.keepalive / 1000;

    always.keep_alive[0] = '\0';
    if (seconds > 0)
        snprintf(always.keep_alive, sizeof(always.keep_alive), "timeout=%" PRIu64,
                 seconds);
    always.strict_transport = !options_is_development(options);
}

/* libmicrohttpd would write it anew for each answer. */
static const char *date_now(void)
{
    time_t now = time(NULL);

    if (now != always.date_of) {
        struct tm tm;

        gmtime_r(&now, &tm);
        strftime(always.date, sizeof(always.date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        always.date_of = now;
    }
    return always.date;
}

static void add_number(struct MHD_Response *response, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    MHD_add_response_header(response, name, text);
}

static void add_limit(const struct request *req, struct MHD_Response *response)
{
    if (req->limit == 0)
        return;
    add_number(response, "X-RateLimit-Limit", req->limit);
    add_number(response, "X-RateLimit-Remaining", req->limit_remaining);
    add_number(response, "X-RateLimit-Reset", req->limit_reset);
}

void headers_add(struct exchange *exchange, struct MHD_Response *response)
{
    struct request *req = &exchange->req;
    const struct reply *reply = &exchange->reply;

    MHD_add_response_header(response, "Date", date_now());
    MHD_add_response_header(response, "X-Request-ID", req->id);
    for (size_t i = 0; i < sizeof(security) / sizeof(security[0]); i++)
        MHD_add_response_header(response, security[i].name, security[i].value);
    if (always.strict_transport)
        MHD_add_response_header(response, "Strict-Transport-Security",
                                "max-age=31536000; includeSubDomains");
    MHD_add_response_header(response, "Cache-Control",
                            reply->cache_control ? reply->cache_control : "no-store");
    cors_add(req, response);
    add_limit(req, response);
    if (reply->retry_after > 0)
        add_number(response, "Retry-After", reply->retry_after);
    if (reply->close || (exchange->connection->flags & HTTP_CHECK) ||
        req->server->draining || accept_lets_go(req->server))
        MHD_add_response_header(response, "Connection", "close");
    else if (always.keep_alive[0])
        MHD_add_response_header(response, "Keep-Alive", always.keep_alive);
    for (const struct reply_header *h = reply->headers; h; h = h->next)
        MHD_add_response_header(response, h->name, h->value);
}
