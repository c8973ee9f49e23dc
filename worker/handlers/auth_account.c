/*
 * auth_account.c - changing an account: its name, its password.
 */
#include "common/arena.h"
#include "common/cache.h"
#include "common/log.h"
#include "common/password.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/access.h"
#include "worker/handlers/account.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/rows.h"

#include <errno.h>
#include <string.h>

static enum http_status reply_renamed(struct request *req, const char *username)
{
    cJSON *answer = cJSON_CreateObject();

    cJSON_AddStringToObject(answer, "message", "Username updated successfully");
    cJSON_AddStringToObject(answer, "username", username);
    return reply_json(req, HTTP_OK, answer);
}

/* POST /api/auth/update-username: the settings page sends the old name, too. */
enum http_status auth_update_username(struct request *req)
{
    const cJSON *body = request_json(req);
    struct name_owner owner;
    struct pg_rows rows;
    uint64_t position;
    const char *sent;

    if (!body)
        return request_json_failed(req);
    if (form_field(body, "new_username", &sent) != FORM_TEXT)
        return reply_message(req, HTTP_BAD_REQUEST, "New username is required");
    sent = form_trim(req->arena, sent);
    if (!form_is_username(sent))
        return reply_message(req, HTTP_BAD_REQUEST, FORM_USERNAME_TEXT);

    const char *username = form_lower(req->arena, sent);
    struct cache_write *write = cache_write_begin(req->server->cache, req->user_id);
    int rc = pg_write(req->server->pg, &sql_user_rename,
                      PG_ARGS(pg_int(req->user_id), pg_text(username)), &rows, &position);
    cache_write_end(write, rc, position);
    if (rc == -EEXIST) {
        rc = account_find_name(req, username, &owner);
        if (rc == 0)
            return account_conflict(req, sent, &owner);
    }
    if (rc < 0)
        return reply_failure(req, rc);
    if (rows.affected == 0)
        return reply_message(req, HTTP_NOT_FOUND, ACCOUNT_GONE);
    return reply_renamed(req, username);
}

struct password_form {
    const char *new_password, *current; /* current NULL: not given */
    const char *problem;
};

static bool read_passwords(struct request *req, const cJSON *body, bool needs_current,
                           struct password_form *ret)
{
    *ret = (struct password_form){ 0 };
    if (form_field(body, "new_password", &ret->new_password) != FORM_TEXT)
        ret->problem = "New password is required";
    else if (form_field(body, "current_password", &ret->current) != FORM_TEXT &&
             needs_current)
        ret->problem = "Current password required";
    else
        ret->problem = form_password_problem(req->arena, ret->new_password,
                                             req->server->options->auth.password_min);
    return !ret->problem;
}

/*
 * Stores the hash and ends the user's other sessions (D24), in one transaction. The old
 * hash must still be the one that was verified. 1; 0: it is not; or pg's error.
 * *ret_revoked: the sessions that have ended, also those of which it is not known because
 * the answer was lost.
 */
static int replace_password(struct request *req, const char *old_hash,
                            const char *new_hash, struct pg_rows *ret_revoked)
{
    struct pg_rows rows, revoked = { 0 };
    uint64_t position;
    struct pg_tx *tx;

    *ret_revoked = revoked;
    int rc = pg_begin(req->server->pg, &tx);
    if (rc < 0)
        return rc;
    rc = pg_tx_run(tx, &sql_user_set_password,
                   PG_ARGS(pg_int(req->user_id), pg_text(old_hash), pg_text(new_hash)),
                   &rows);
    if (rc == 0 && rows.affected == 0) {
        pg_rollback(tx);
        return 0;
    }
    if (rc == 0)
        rc = pg_tx_run(tx, &sql_family_revoke_others,
                       PG_ARGS(pg_int(req->user_id), pg_text(req->token.family_id),
                               pg_text("password_changed")),
                       &revoked);
    if (rc < 0) {
        pg_rollback(tx);
        return rc;
    }
    rc = pg_commit_at(tx, &position);
    if (rc == 0 || position == PG_POSITION_UNKNOWN)
        *ret_revoked = revoked;
    return rc < 0 ? rc : 1;
}

/* D25: 400, since a 401 would make the web client refresh and repeat the call. */
static enum http_status refuse_password(struct request *req)
{
    return reply_message(req, HTTP_BAD_REQUEST, "Current password is incorrect");
}

/* POST /api/auth/set-password */
enum http_status auth_set_password(struct request *req)
{
    int rounds = (int)req->server->options->auth.bcrypt_rounds;
    const cJSON *body = request_json(req);
    char new_hash[PASSWORD_HASH_SIZE];
    struct password_form form;
    struct pg_rows rows, revoked;

    if (!body)
        return request_json_failed(req);
    int rc =
        pg_run(req->server->pg, &sql_user_password, PG_ARGS(pg_int(req->user_id)), &rows);
    if (rc < 0)
        return reply_failure(req, rc);
    bool is_unknown = rows.count > 0 && pg_get_bool(&rows, 0, 1);
    if (!read_passwords(req, body, !is_unknown, &form))
        return reply_message(req, HTTP_BAD_REQUEST, form.problem);
    if (rows.count == 0)
        return reply_message(req, HTTP_NOT_FOUND, ACCOUNT_GONE);

    const char *old_hash = pg_get_text(&rows, 0, 0);
    if (!is_unknown) {
        int verdict = password_verify(form.current, old_hash, rounds);
        if (verdict == -EBUSY)
            return reply_failure(req, verdict);
        if (verdict != 1)
            return refuse_password(req);
    }
    rc = password_hash(form.new_password, rounds, new_hash);
    if (rc < 0)
        return reply_failure(req, rc);

    rc = replace_password(req, old_hash, new_hash, &revoked);
    for (int i = 0; i < revoked.count; i++) {
        const char *family_id = pg_get_text(&revoked, i, 0);

        if (rc < 0)
            access_suspend_family(req->server, req->user_id, family_id);
        else
            access_revoke_family(req->server, req->user_id, family_id);
    }
    if (rc < 0)
        return reply_failure(req, rc);
    if (rc == 0)
        return refuse_password(req);
    return reply_message(req, HTTP_OK, "Password updated successfully");
}
