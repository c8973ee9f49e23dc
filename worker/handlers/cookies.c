/*
 * cookies.c - see cookies.h.
 */
#include "worker/handlers/cookies.h"
#include "common/arena.h"
#include "worker/reply.h"

#define COOKIE_END "Expires=Thu, 01 Jan 1970 00:00:00 GMT; "

/* By token type: the token's cookie, then its csrf value's. */
static const struct cookie_spec cookies[][2] = {
    [TOKEN_ACCESS] = { { .name = "access_token_cookie", .is_http_only = true },
                       { .name = "csrf_access_token", .is_http_only = false } },
    [TOKEN_REFRESH] = { { .name = "refresh_token_cookie", .is_http_only = true },
                        { .name = "csrf_refresh_token", .is_http_only = false } },
};

const char *cookie_line(struct arena *arena, const struct cookie_spec *cookie,
                        const char *value, bool is_secure)
{
    return arena_printf(arena, "%s=%s; %s%s%sPath=/; SameSite=Lax", cookie->name,
                        value ? value : "", value ? "" : COOKIE_END,
                        is_secure ? "Secure; " : "",
                        cookie->is_http_only ? "HttpOnly; " : "");
}

static void set_pair(struct request *req, enum token_type type, const char *text,
                     const char *csrf)
{
    bool is_secure = !options_is_development(req->server->options);

    reply_header(req, "Set-Cookie",
                 cookie_line(req->arena, &cookies[type][0], text, is_secure));
    reply_header(req, "Set-Cookie",
                 cookie_line(req->arena, &cookies[type][1], csrf, is_secure));
}

void cookies_set(struct request *req, const struct token *token, const char *text)
{
    set_pair(req, token->type, text, token->csrf);
}

void cookies_clear(struct request *req)
{
    set_pair(req, TOKEN_ACCESS, NULL, NULL);
    set_pair(req, TOKEN_REFRESH, NULL, NULL);
}
