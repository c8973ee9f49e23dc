/*
 * session.h - a login session: its token family, its tokens, its cookies.
 *
 * Handlers of auth*.c share these; what a session is stands in contract 1.2 to 1.6.
 */
#ifndef FORKMARK_WORKER_HANDLERS_SESSION_H
#define FORKMARK_WORKER_HANDLERS_SESSION_H

#include "common/json.h"
#include "common/token.h"
#include "worker/request.h"

struct session {
    int32_t user_id;
    char family_id[UUID_SIZE]; /* "": a token of an older server, without a family */
    struct token access, refresh;
    const char *access_text, *refresh_text; /* signed; refresh NULL: none was made */
};

/* Tokens for a new family. Nothing is stored. */
void session_new(struct request *req, int32_t user_id, struct session *ret);
/* A new access token, and with `is_rotated` a new refresh token, in the family. */
void session_renew(struct request *req, int32_t user_id, const char *family_id,
                   bool is_rotated, struct session *ret);
/* The cookies of the tokens that were made. */
void session_set_cookies(struct request *req, const struct session *session);

/* Lifetime of refresh tokens and so of families. */
int64_t session_lifetime_s(const struct request *req);

/* The 401 of contract 1.3 for a token that is absent (`is_present` false), expired, bad,
 * or good and yet refused: revoked. */
enum http_status session_refuse(struct request *req, bool is_present,
                                enum token_state state);

#endif
