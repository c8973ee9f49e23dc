/*
 * auth_session.c - a session goes on (refresh), ends (logout), is asked about (verify).
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/access.h"
#include "worker/handlers/account.h"
#include "worker/handlers/cookies.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/rows.h"
#include "worker/handlers/session.h"

#include <string.h>

/* Two tabs may refresh at once: so long the token before the current one still serves. */
#define GRACE_S 30

#define SESSION_EXPIRED     "Session expired. Please log in again."
#define SESSION_COMPROMISED "Session compromised. Please log in again."

/*
 * The refresh token: the cookie when there is one, and then whatever Authorization says
 * is ignored (D2: the web client always sends its expired access token there); else
 * Bearer. HTTP_OK, or the reply's status.
 */
static enum http_status read_refresh_token(struct request *req, struct token *ret)
{
    const char *cookie = request_cookie(req, "refresh_token_cookie");
    enum token_state state;
    bool is_present;

    if (!cookie) {
        state = access_bearer(req, ret, &is_present);
        if (is_present && state == TOKEN_OK && ret->type != TOKEN_REFRESH)
            state = TOKEN_BAD;
    } else {
        const char *csrf = request_header(req, "X-CSRF-TOKEN");

        state = token_read(cookie, strlen(cookie), req->server->options->auth.jwt_secret,
                           ret);
        if (state == TOKEN_OK && ret->type != TOKEN_REFRESH)
            state = TOKEN_BAD;
        is_present =
            state != TOKEN_OK ||
            (csrf && secret_equals(csrf, strlen(csrf), ret->csrf, strlen(ret->csrf)));
    }
    if (is_present && state == TOKEN_OK)
        return HTTP_OK;
    return session_refuse(req, is_present, state);
}

enum verdict {
    VERDICT_ROTATE, /* the current token */
    VERDICT_GRACE,  /* the one before, replaced a moment ago */
    VERDICT_REUSED, /* an older one: somebody has a copy */
    VERDICT_ENDED,  /* no such family any more */
};

/* Locks the family until the transaction ends, so that of two refreshes one rotates. */
static int judge(struct pg_tx *tx, const struct token *token, enum verdict *ret)
{
    struct pg_rows rows;

    int rc = pg_tx_run(
        tx, &sql_family_lock,
        PG_ARGS(pg_int(token->user_id), pg_text(token->family_id), pg_int(GRACE_S)),
        &rows);
    if (rc < 0)
        return rc;
    if (rows.count == 0 || pg_get_bool(&rows, 0, 2))
        *ret = VERDICT_ENDED;
    else if (strcmp(pg_get_text(&rows, 0, 0), token->jti) == 0)
        *ret = VERDICT_ROTATE;
    else if (strcmp(pg_get_text(&rows, 0, 1), token->jti) == 0 &&
             pg_get_bool(&rows, 0, 3))
        *ret = VERDICT_GRACE;
    else
        *ret = VERDICT_REUSED;
    return 0;
}

/* What the verdict changes in the database. */
static int carry_out(struct request *req, struct pg_tx *tx, const struct token *token,
                     enum verdict verdict, const struct session *session)
{
    if (verdict == VERDICT_ROTATE)
        return pg_tx_run(tx, &sql_family_rotate,
                         PG_ARGS(pg_int(token->user_id), pg_text(token->family_id),
                                 pg_text(session->refresh.jti),
                                 pg_int(session_lifetime_s(req))),
                         NULL);
    if (verdict == VERDICT_REUSED)
        return pg_tx_run(tx, &sql_family_revoke,
                         PG_ARGS(pg_int(token->user_id), pg_text(token->family_id),
                                 pg_text("reuse_detected")),
                         NULL);
    return 0;
}

static int refresh_family(struct request *req, const struct token *token,
                          enum verdict *ret_verdict, struct session *ret_session)
{
    struct pg_tx *tx;

    int rc = pg_begin(req->server->pg, &tx);
    if (rc < 0)
        return rc;
    rc = judge(tx, token, ret_verdict);
    if (rc == 0) {
        session_renew(req, token->user_id, token->family_id,
                      *ret_verdict == VERDICT_ROTATE, ret_session);
        rc = carry_out(req, tx, token, *ret_verdict, ret_session);
    }
    if (rc < 0) {
        pg_rollback(tx);
        return rc;
    }
    return pg_commit(tx);
}

/* `rc`: whether the database has it. */
static void refuse_reused(struct request *req, const struct token *token, int rc)
{
    log_warn("an old refresh token of user %d came back: session %s is %s",
             token->user_id, token->family_id,
             rc < 0 ? "suspended for a minute: the database gave no answer" : "revoked");
    if (rc < 0)
        access_suspend_family(req->server, token->user_id, token->family_id);
    else
        access_revoke_family(req->server, token->user_id, token->family_id);
}

static enum http_status reply_refreshed(struct request *req,
                                        const struct session *session)
{
    cJSON *answer = cJSON_CreateObject();

    cJSON_AddStringToObject(answer, "access_token", session->access_text);
    session_set_cookies(req, session);
    return reply_json(req, HTTP_OK, answer);
}

/* A token of an older server belongs to no family: nothing to rotate, but its owner must
 * still be there. */
static enum http_status refresh_without_family(struct request *req,
                                               const struct token *token)
{
    struct session session;
    struct pg_rows rows;

    int rc = pg_run(req->server->pg, &sql_user_profile, PG_ARGS(pg_int(token->user_id)),
                    &rows);
    if (rc < 0)
        return reply_failure(req, rc);
    if (rows.count == 0)
        return reply_message(req, HTTP_UNAUTHORIZED, SESSION_EXPIRED);
    session_renew(req, token->user_id, "", false, &session);
    return reply_refreshed(req, &session);
}

/* POST /api/auth/refresh */
enum http_status auth_refresh(struct request *req)
{
    struct token token;
    struct session session;
    enum verdict verdict = VERDICT_ENDED;

    enum http_status status = read_refresh_token(req, &token);
    if (status != HTTP_OK)
        return status;
    if (token.family_id[0] == '\0')
        return refresh_without_family(req, &token);

    int rc = refresh_family(req, &token, &verdict, &session);
    if (verdict == VERDICT_REUSED)
        refuse_reused(req, &token, rc);
    if (rc < 0)
        return reply_failure(req, rc);
    if (verdict == VERDICT_ENDED)
        return reply_message(req, HTTP_UNAUTHORIZED, SESSION_EXPIRED);
    if (verdict == VERDICT_REUSED)
        return reply_message(req, HTTP_UNAUTHORIZED, SESSION_COMPROMISED);
    return reply_refreshed(req, &session);
}

/* Without a usable token: the 401 of its kind, and the cookies go all the same (D23). */
static enum http_status refuse_logout(struct request *req)
{
    struct token token;
    bool is_present;

    enum token_state state = access_bearer(req, &token, &is_present);
    if (state == TOKEN_OK && token.type != TOKEN_ACCESS)
        state = TOKEN_BAD;
    return session_refuse(req, is_present, state);
}

/* POST /api/auth/logout */
enum http_status auth_logout(struct request *req)
{
    const struct token *token = &req->token;

    cookies_clear(req);
    if (req->user_id == 0)
        return refuse_logout(req);

    /* First where every process sees it at once, then where it is kept. */
    access_revoke_token(req->server, token);
    if (token->family_id[0] != '\0') {
        access_revoke_family(req->server, req->user_id, token->family_id);
        int rc = pg_run(
            req->server->pg, &sql_family_revoke,
            PG_ARGS(pg_int(req->user_id), pg_text(token->family_id), pg_text("logout")),
            NULL);
        if (rc < 0)
            return reply_failure(req, rc);
    }
    return reply_message(req, HTTP_OK, "Logout successful");
}

/* GET /api/auth/verify */
enum http_status auth_verify(struct request *req)
{
    struct pg_rows rows;

    int rc = pg_read(req->server->pg, &req->reader, &sql_user_profile,
                     PG_ARGS(pg_int(req->user_id)), &rows);
    if (rc < 0)
        return reply_failure(req, rc);
    if (rows.count == 0)
        return reply_message(req, HTTP_NOT_FOUND, ACCOUNT_GONE);

    struct buf body = BUF_IN(req->arena);
    struct json_writer w = { .out = &body };
    json_begin_object(&w, NULL);
    json_put_bool(&w, "valid", true);
    json_put_text(&w, "message", "Token is valid");
    json_begin_object(&w, "user");
    json_put_int(&w, "id", pg_get_int(&rows, 0, 0));
    json_put_text(&w, "username", pg_get_text(&rows, 0, 1));
    json_put_text(&w, "email", pg_get_text(&rows, 0, 2));
    row_put_text(&w, "technology_interests", &rows, 0, 3);
    row_put_text(&w, "provider_name", &rows, 0, 4);
    row_put_time(&w, "created_at", &rows, 0, 5);
    json_end_object(&w);
    json_end_object(&w);
    return reply_text(req, HTTP_OK, body.data, body.length);
}
