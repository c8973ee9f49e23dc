/*
 * auth_login.c - signing in with a password.
 *
 * Every way to fail costs one hash and reads the same, so that neither time nor text
 * tells whether the account exists or is locked (contract 1.7). No database connection
 * is held while a hash is computed.
 */
#include "common/log.h"
#include "common/password.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"
#include "worker/handlers/session.h"

#include <errno.h>
#include <string.h>

#define DATABASE_DOWN "Database connection failed. Please try again."

struct account {
    int32_t id; /* 0: nobody by that name */
    const char *username, *email, *password_hash;
    bool is_locked;
};

/* The name goes by either field; the web client calls it `email` whatever it holds. */
static const char *read_login(const cJSON *body, const char **ret_login,
                              const char **ret_password)
{
    enum form_field login = form_field(body, "email", ret_login);
    if (login == FORM_ABSENT)
        login = form_field(body, "username", ret_login);
    enum form_field password = form_field(body, "password", ret_password);

    if (!body->child)
        return "Request body is required";
    if (login == FORM_ABSENT || password == FORM_ABSENT)
        return "Username/email and password required";
    if (login == FORM_OTHER || password == FORM_OTHER)
        return "Invalid input format";
    return NULL;
}

static enum http_status reply_login_failure(struct request *req, int error)
{
    if (error != -EAGAIN && error != -ETIMEDOUT)
        return reply_failure(req, error);
    reply_header(req, "Retry-After", "5");
    return reply_message(req, HTTP_UNAVAILABLE, DATABASE_DOWN);
}

static enum http_status refuse_login(struct request *req)
{
    return reply_message(req, HTTP_UNAUTHORIZED, "Invalid credentials");
}

static int find_account(struct request *req, const char *login, struct account *ret)
{
    struct pg_rows rows;

    int rc = pg_run(req->server->pg, &sql_user_by_login, PG_ARGS(pg_text(login)), &rows);
    if (rc < 0)
        return rc;
    *ret = (struct account){ 0 };
    if (rows.count == 0)
        return 0;
    ret->id = (int32_t)pg_get_int(&rows, 0, 0);
    ret->username = pg_get_text(&rows, 0, 1);
    ret->email = pg_get_text(&rows, 0, 2);
    ret->password_hash = pg_get_text(&rows, 0, 3);
    ret->is_locked = pg_get_bool(&rows, 0, 4);
    return 0;
}

/* One more wrong password; the statement counts and locks in one step. */
static int count_failure(struct request *req, const struct account *account)
{
    const struct options *options = req->server->options;
    struct pg_rows rows;

    int rc = pg_run(req->server->pg, &sql_user_login_failed,
                    PG_ARGS(pg_int(account->id), pg_int(options->auth.max_attempts),
                            pg_int((int64_t)(options->auth.lockout / 1000))),
                    &rows);
    if (rc == 0 && rows.count > 0 && pg_get_bool(&rows, 0, 1))
        log_warn("account %d is locked after %lld wrong passwords", account->id,
                 (long long)pg_get_int(&rows, 0, 0));
    return rc;
}

/*
 * Clears the counter and makes the family, in one transaction. 1, or 0 when the account
 * was locked or got another password while we hashed, or pg's error.
 */
static int open_session(struct request *req, const struct account *account,
                        const char *new_hash, struct session *ret)
{
    struct pg_rows rows;
    struct pg_tx *tx;
    uint64_t position;

    session_new(req, account->id, ret);
    int rc = pg_begin(req->server->pg, &tx);
    if (rc < 0)
        return rc;
    rc = pg_tx_run(
        tx, &sql_user_login_succeeded,
        PG_ARGS(pg_int(account->id), pg_text(account->password_hash), pg_text(new_hash)),
        &rows);
    if (rc == 0 && rows.count == 0) {
        pg_rollback(tx);
        return 0;
    }
    if (rc == 0)
        rc =
            pg_tx_run(tx, &sql_family_insert,
                      PG_ARGS(pg_int(account->id), pg_text(ret->family_id),
                              pg_text(ret->refresh.jti), pg_int(session_lifetime_s(req))),
                      NULL);
    if (rc < 0) {
        pg_rollback(tx);
        return rc;
    }
    rc = pg_commit_at(tx, &position);
    if (rc < 0)
        return rc;
    /* The session's first request may look for it on a replica. */
    cache_note_write(req->server->cache, account->id, position);
    return 1;
}

static enum http_status reply_session(struct request *req, const struct account *account,
                                      const struct session *session)
{
    cJSON *answer = cJSON_CreateObject();
    cJSON_AddStringToObject(answer, "access_token", session->access_text);
    cJSON *user = cJSON_AddObjectToObject(answer, "user");
    cJSON_AddNumberToObject(user, "id", account->id);
    cJSON_AddStringToObject(user, "username", account->username);
    cJSON_AddStringToObject(user, "email", account->email);

    session_set_cookies(req, session);
    return reply_json(req, HTTP_OK, answer);
}

/* POST /api/auth/login */
enum http_status auth_login(struct request *req)
{
    int rounds = (int)req->server->options->auth.bcrypt_rounds;
    const cJSON *body = request_json(req);
    const char *login = NULL, *password = NULL;
    char renewed[PASSWORD_HASH_SIZE];
    struct account account;
    struct session session;

    if (!body)
        return request_json_failed(req);
    const char *problem = read_login(body, &login, &password);
    if (problem)
        return reply_message(req, HTTP_BAD_REQUEST, problem);
    login = form_trim(req->arena, login);

    int rc = find_account(req, login, &account);
    if (rc < 0)
        return reply_login_failure(req, rc);

    int verdict = password_verify(password, account.password_hash, rounds);
    if (verdict == -EBUSY)
        return reply_failure(req, verdict);
    if (verdict < 0)
        log_warn("the password hash of account %d is of no known form", account.id);
    if (account.id == 0 || account.is_locked)
        return refuse_login(req);
    if (verdict != 1) {
        rc = count_failure(req, &account);
        return rc < 0 ? reply_login_failure(req, rc) : refuse_login(req);
    }

    /* The one moment at which the password is known and its hash may be made anew. */
    const char *hash = account.password_hash;
    if (password_is_outdated(hash, rounds) &&
        password_hash(password, rounds, renewed) == 0)
        hash = renewed;

    rc = open_session(req, &account, hash, &session);
    if (rc < 0)
        return reply_login_failure(req, rc);
    if (rc == 0)
        return refuse_login(req);
    return reply_session(req, &account, &session);
}
