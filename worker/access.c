/*
 * access.c - see access.h.
 *
 * The order: find a token and check its signature; ask the gate once about
 * revocation, generation and limit; ask PostgreSQL only when the gate does not
 * know. A request without a usable token counts against its address, and is then
 * refused.
 */
#include "worker/access.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "worker/families.h"
#include "worker/gate.h"
#include "worker/limits.h"
#include "worker/reply.h"
#include "worker/router.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* How long "this family is good" is believed without asking PostgreSQL again: the
 * longest a revocation can stay unseen that could not be told to Redis. */
#define GOOD_S          60
#define RETRY_S         "2"
#define SCRIPT_LOG_MS   10000
#define STREAM_NO_TOKEN "Authentication required for SSE stream"

bool access_init(struct server *server)
{
    gate_init(server->options->redis.prefix, pg_settled_ms(server->pg),
              redis_is_cluster(server->cache_redis));
    return limits_init(server->options);
}

/* ---- refusals ---- */

enum refusal {
    REFUSE_NOT,
    REFUSE_ABSENT,
    REFUSE_EXPIRED,
    REFUSE_BAD,
    REFUSE_REVOKED,
    REFUSE_NO_BACKEND,
    REFUSE_NO_STREAM,
};

static const struct {
    enum http_status status;
    const char *message, *code;
} refusals[] = {
    [REFUSE_ABSENT] = { HTTP_UNAUTHORIZED, "Access token required",
                        "authorization_required" },
    [REFUSE_EXPIRED] = { HTTP_UNAUTHORIZED, "Token has expired", "token_expired" },
    [REFUSE_BAD] = { HTTP_UNAUTHORIZED, "Signature verification failed",
                     "invalid_token" },
    [REFUSE_REVOKED] = { HTTP_UNAUTHORIZED, "Token has been revoked", "token_revoked" },
    [REFUSE_NO_BACKEND] = { HTTP_UNAVAILABLE, "Service temporarily unavailable",
                            "auth_backend_unavailable" },
};

static enum http_status refuse(struct request *req, enum refusal refusal)
{
    if (refusal == REFUSE_NO_STREAM)
        return reply_message(req, HTTP_UNAUTHORIZED, STREAM_NO_TOKEN);
    if (refusal == REFUSE_NO_BACKEND)
        reply_header(req, "Retry-After", RETRY_S);
    return reply_problem(req, refusals[refusal].status, refusals[refusal].message,
                         refusals[refusal].code);
}

static enum http_status refuse_too_many(struct request *req,
                                        const struct gate_answer *answer)
{
    char seconds[24], limit[64];

    snprintf(seconds, sizeof(seconds), "%lld", (long long)answer->wait);
    reply_header(req, "Retry-After", seconds);
    limit_window_show(answer->window, limit, sizeof(limit));
    const char *body = arena_printf(
        req->arena,
        "{\"error\":\"rate_limit_exceeded\",\"message\":\"Too many requests. Please "
        "slow down and try again later.\",\"retry_after\":\"%s\"}",
        limit);
    return reply_text(req, HTTP_TOO_MANY, body, strlen(body));
}

/* ---- the token ---- */

static enum refusal refusal_of(enum token_state state, const struct token *token)
{
    if (state == TOKEN_BAD || token->type != TOKEN_ACCESS)
        return REFUSE_BAD;
    return state == TOKEN_EXPIRED ? REFUSE_EXPIRED : REFUSE_NOT;
}

static enum token_state read_token(struct request *req, const char *text,
                                   struct token *ret)
{
    return token_read(text, strlen(text), req->server->options->auth.jwt_secret, ret);
}

/* What follows "Bearer " in Authorization; NULL: no such header, or another scheme. */
static const char *bearer_text(struct request *req)
{
    const char *value = request_header(req, "Authorization");

    if (!value || strncasecmp(value, "Bearer", 6) != 0 ||
        (value[6] != ' ' && value[6] != '\0'))
        return NULL;
    return value + 6 + strspn(value + 6, " ");
}

static bool needs_csrf(const struct request *req)
{
    return req->method != METHOD_GET;
}

/*
 * The cookie; with a method that changes something it counts only beside the token's
 * csrf value in a header, which a foreign page cannot read. False: as if there were
 * none.
 */
static bool read_cookie(struct request *req, struct token *ret,
                        enum token_state *ret_state)
{
    const char *text = request_cookie(req, "access_token_cookie");
    const char *csrf = needs_csrf(req) ? request_header(req, "X-CSRF-TOKEN") : "";

    if (!text || !*text || !csrf)
        return false;
    *ret_state = read_token(req, text, ret);
    if (*ret_state == TOKEN_BAD || !needs_csrf(req))
        return true;
    return secret_equals(csrf, strlen(csrf), ret->csrf, strlen(ret->csrf));
}

enum token_state access_bearer(struct request *req, struct token *ret, bool *ret_present)
{
    const char *text = bearer_text(req);
    enum token_state state = TOKEN_BAD;

    *ret_present = true;
    if (text)
        return read_token(req, text, ret);
    *ret_present = read_cookie(req, ret, &state);
    return state;
}

/* EventSource cannot set headers: ?token= serves where header and cookie do not. */
static enum refusal find_stream_token(struct request *req, struct token *ret)
{
    const char *text = request_query(req, "token");

    if (!text || refusal_of(read_token(req, text, ret), ret) != REFUSE_NOT)
        return REFUSE_NO_STREAM;
    return REFUSE_NOT;
}

static enum refusal find_token(struct request *req, struct token *ret)
{
    bool is_present;
    enum token_state state = access_bearer(req, ret, &is_present);
    enum refusal refusal = is_present ? refusal_of(state, ret) : REFUSE_ABSENT;

    if (refusal == REFUSE_NOT || req->route->access != ACCESS_STREAM || bearer_text(req))
        return refusal;
    return find_stream_token(req, ret);
}

/* ---- the gate's answer ---- */

static void note_limit(struct request *req, const struct gate_answer *answer)
{
    if (!answer->window)
        return;
    req->limit = answer->window->most;
    req->limit_remaining = answer->left;
    req->limit_reset = answer->reset;
}

/* An error reply is our mistake or a server in trouble (full, read-only): limits fail
 * open, but somebody should know. */
static void note_failure(int rc)
{
    static uint64_t logged_ms;
    uint64_t now = clock_ms();

    if (rc != -EPROTO || (logged_ms != 0 && now - logged_ms < SCRIPT_LOG_MS))
        return;
    logged_ms = now;
    log_warn("the Redis server refuses the access script: no rate limits for now");
}

/* Counts a request against its address. HTTP_OK: it passes. */
static enum http_status check_address(struct request *req)
{
    const struct limit *limit = limits_of(req->route->limit);
    struct gate_answer answer;

    if (limit->count == 0)
        return HTTP_OK;
    int rc = gate_ask_address(req->server->cache_redis, req->client_ip, limit, req->route,
                              &answer);
    if (rc < 0) {
        note_failure(rc);
        return HTTP_OK;
    }
    note_limit(req, &answer);
    return answer.wait > 0 ? refuse_too_many(req, &answer) : HTTP_OK;
}

/* A token of an older server belongs to no family: the revocation list is all. */
static enum refusal check_family(struct request *req, bool has_redis)
{
    const struct token *token = &req->token;
    struct server *server = req->server;

    if (token->family_id[0] == '\0')
        return REFUSE_NOT;
    int rc = family_check(server->pg, &req->reader, token->user_id, token->family_id,
                          !has_redis);
    if (rc < 0)
        return REFUSE_NO_BACKEND;
    if (has_redis)
        gate_put_family(server->cache_redis, token->user_id, token->family_id, rc > 0,
                        GOOD_S);
    return rc > 0 ? REFUSE_NOT : REFUSE_REVOKED;
}

/* A replica that has taken its primary's place may call a family good that had been
 * revoked: as long as such a word counts, PostgreSQL is asked. */
static bool may_be_wrong(const struct request *req)
{
    struct redis *redis = req->server->cache_redis;
    int64_t lost_us = redis_lost_until_us(redis, NULL, 0);
    char tag[16];

    if (lost_us == 0 || clock_unix_us() - lost_us > GOOD_S * INT64_C(1000000))
        return false;
    int length = snprintf(tag, sizeof(tag), "u%d", (int)req->token.user_id);
    lost_us = redis_lost_until_us(redis, tag, (size_t)length);
    return lost_us != 0 && clock_unix_us() - lost_us <= GOOD_S * INT64_C(1000000);
}

static enum refusal judge(struct request *req, const struct gate_answer *answer,
                          bool has_redis)
{
    if (answer->token == GATE_REVOKED)
        return REFUSE_REVOKED;
    if (answer->token == GATE_GOOD && !may_be_wrong(req))
        return REFUSE_NOT;
    return check_family(req, has_redis && answer->token != GATE_GOOD);
}

/*
 * Where this request may read. Without an answer nothing is known: the primary. So it is
 * for a while after one that failed, since meanwhile somebody may have written whom Redis
 * could not be told of; by then every replica in use has that.
 */
static void choose_freshness(struct request *req, const struct gate_answer *answer,
                             bool has_redis)
{
    static uint64_t distrusted_until;
    uint64_t settled_ms = pg_settled_ms(req->server->pg);

    if (settled_ms == 0)
        return;
    if (!has_redis)
        distrusted_until = clock_ms() + settled_ms;
    else if (clock_ms() >= distrusted_until)
        req->reader = answer->reader;
}

/* A good signature: is the token still good, and does its user's limit allow it? */
static enum http_status check_user(struct request *req)
{
    struct gate_answer answer = { .token = GATE_UNKNOWN };
    int rc = gate_ask_user(req->server->cache_redis, &req->token,
                           limits_of(req->route->limit), req->route, &answer);

    if (rc < 0)
        note_failure(rc);
    choose_freshness(req, &answer, rc == 0);
    if (answer.token != GATE_REVOKED) {
        note_limit(req, &answer);
        if (answer.wait > 0)
            return refuse_too_many(req, &answer);
    }
    enum refusal refusal = judge(req, &answer, rc == 0);
    if (refusal == REFUSE_REVOKED && req->route->optional_auth)
        return HTTP_OK;
    if (refusal != REFUSE_NOT)
        return refuse(req, refusal);
    req->user_id = req->token.user_id;
    req->generation = answer.generation;
    return HTTP_OK;
}

enum http_status access_check(struct request *req)
{
    enum access access = req->route->access;

    req->user_id = 0;
    if (access == ACCESS_OPEN || access == ACCESS_REFRESH)
        return check_address(req);

    enum refusal refusal = find_token(req, &req->token);
    if (refusal == REFUSE_NOT)
        return check_user(req);
    enum http_status status = check_address(req);
    if (status != HTTP_OK || req->route->optional_auth)
        return status;
    return refuse(req, refusal);
}

/* ---- revoking ---- */

void access_revoke_token(struct server *server, const struct token *token)
{
    int rc = gate_revoke_token(server->cache_redis, token);

    if (rc < 0)
        log_warn("a revoked token could not be told to Redis; its session's end counts");
}

static void refuse_family(struct server *server, int32_t user_id, const char *family_id,
                          int64_t seconds)
{
    family_forget(family_id);
    gate_put_family(server->cache_redis, user_id, family_id, false, seconds);
}

void access_revoke_family(struct server *server, int32_t user_id, const char *family_id)
{
    /* Longer than any access token of the family lives; then PostgreSQL knows. */
    refuse_family(server, user_id, family_id,
                  (int64_t)(server->options->auth.access_lifetime / 1000) + GOOD_S);
}

void access_suspend_family(struct server *server, int32_t user_id, const char *family_id)
{
    refuse_family(server, user_id, family_id, GOOD_S);
}
