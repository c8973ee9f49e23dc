/*
 * session.c - see session.h.
 */
#include "worker/handlers/session.h"
#include "worker/handlers/cookies.h"
#include "worker/reply.h"

#include <stdio.h>
#include <string.h>

int64_t session_lifetime_s(const struct request *req)
{
    return (int64_t)(req->server->options->auth.refresh_lifetime / 1000);
}

void session_renew(struct request *req, int32_t user_id, const char *family_id,
                   bool is_rotated, struct session *ret)
{
    const struct options *options = req->server->options;
    int64_t access_s = (int64_t)(options->auth.access_lifetime / 1000);

    *ret = (struct session){ .user_id = user_id };
    snprintf(ret->family_id, sizeof(ret->family_id), "%s", family_id);
    token_make(&ret->access, TOKEN_ACCESS, user_id, family_id, access_s);
    ret->access_text = token_write(req->arena, &ret->access, options->auth.jwt_secret);
    if (!is_rotated)
        return;
    token_make(&ret->refresh, TOKEN_REFRESH, user_id, family_id, session_lifetime_s(req));
    ret->refresh_text = token_write(req->arena, &ret->refresh, options->auth.jwt_secret);
}

void session_new(struct request *req, int32_t user_id, struct session *ret)
{
    char family_id[UUID_SIZE];

    id_uuid(family_id);
    session_renew(req, user_id, family_id, true, ret);
}

void session_set_cookies(struct request *req, const struct session *session)
{
    cookies_set(req, &session->access, session->access_text);
    if (session->refresh_text)
        cookies_set(req, &session->refresh, session->refresh_text);
}

enum http_status session_refuse(struct request *req, bool is_present,
                                enum token_state state)
{
    static const struct {
        const char *message, *code;
    } problems[] = {
        [TOKEN_OK] = { "Token has been revoked", "token_revoked" },
        [TOKEN_EXPIRED] = { "Token has expired", "token_expired" },
        [TOKEN_BAD] = { "Signature verification failed", "invalid_token" },
    };

    if (!is_present)
        return reply_problem(req, HTTP_UNAUTHORIZED, "Access token required",
                             "authorization_required");
    return reply_problem(req, HTTP_UNAUTHORIZED, problems[state].message,
                         problems[state].code);
}
