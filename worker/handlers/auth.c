/*
 * auth.c - making an account: register, and is this name free?
 */
#include "common/arena.h"
#include "common/password.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/handlers/account.h"
#include "worker/handlers/forms.h"
#include "worker/handlers/handlers.h"

#include <errno.h>

struct registration {
    const char *sent_username;               /* trimmed, as typed */
    const char *username, *email, *password; /* names in lower case */
    const char *problem;
};

static bool read_registration(struct request *req, const cJSON *body,
                              struct registration *ret)
{
    const char *username = NULL, *email = NULL;
    enum form_field fields[] = {
        form_field(body, "username", &username),
        form_field(body, "email", &email),
        form_field(body, "password", &ret->password),
    };

    ret->problem = NULL;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i] == FORM_OTHER && !ret->problem)
            ret->problem = "Invalid input format";
        if (fields[i] == FORM_ABSENT)
            ret->problem = "Username, email, and password are required";
    }
    if (!body->child)
        ret->problem = "Request body is required";
    if (ret->problem)
        return false;

    ret->sent_username = form_trim(req->arena, username);
    ret->username = form_lower(req->arena, ret->sent_username);
    ret->email = form_lower(req->arena, form_trim(req->arena, email));
    if (!form_is_email(ret->email))
        ret->problem = "Invalid email format";
    else if (!form_is_username(ret->username))
        ret->problem = FORM_USERNAME_TEXT;
    else
        ret->problem = form_password_problem(req->arena, ret->password,
                                             req->server->options->auth.password_min);
    return !ret->problem;
}

static int find_email(struct request *req, const char *email, bool *ret_taken)
{
    struct pg_rows rows;

    int rc = pg_run(req->server->pg, &sql_user_by_email, PG_ARGS(pg_text(email)), &rows);
    if (rc == 0)
        *ret_taken = rows.count > 0;
    return rc;
}

/* POST /api/auth/register */
enum http_status auth_register(struct request *req)
{
    const cJSON *body = request_json(req);
    struct registration form = { 0 };
    struct name_owner owner;
    bool email_taken = false;
    char hash[PASSWORD_HASH_SIZE];

    if (!body)
        return request_json_failed(req);
    if (!read_registration(req, body, &form))
        return reply_message(req, HTTP_BAD_REQUEST, form.problem);

    /* Asked before a quarter second of hashing, and decided by the insert. */
    int rc = account_find_name(req, form.username, &owner);
    if (rc == 0)
        rc = find_email(req, form.email, &email_taken);
    if (rc < 0)
        return reply_failure(req, rc);
    if (owner.user_id != 0 || email_taken)
        return account_conflict(req, form.sent_username, &owner);

    rc =
        password_hash(form.password, (int)req->server->options->auth.bcrypt_rounds, hash);
    if (rc < 0)
        return reply_failure(req, rc);
    rc =
        pg_run(req->server->pg, &sql_user_insert,
               PG_ARGS(pg_text(form.username), pg_text(form.email), pg_text(hash)), NULL);
    if (rc == -EEXIST) { /* somebody was quicker: whose is the name now? */
        rc = account_find_name(req, form.username, &owner);
        if (rc == 0)
            return account_conflict(req, form.sent_username, &owner);
    }
    if (rc < 0)
        return reply_failure(req, rc);
    return reply_message(req, HTTP_CREATED, "User registered successfully");
}

static enum http_status refuse_name(struct request *req, const char *why)
{
    cJSON *answer = cJSON_CreateObject();

    cJSON_AddFalseToObject(answer, "available");
    cJSON_AddStringToObject(answer, "error", why);
    return reply_json(req, HTTP_BAD_REQUEST, answer);
}

/* POST /api/auth/check-username */
enum http_status auth_check_username(struct request *req)
{
    const cJSON *body = request_json(req);
    struct name_owner owner;
    const char *sent;

    if (!body)
        return request_json_failed(req);
    if (form_field(body, "username", &sent) != FORM_TEXT)
        return refuse_name(req, "Username is required");
    sent = form_trim(req->arena, sent);
    if (!form_is_username(sent))
        return refuse_name(req, FORM_USERNAME_TEXT);

    int rc = account_find_name(req, sent, &owner);
    if (rc < 0)
        return reply_failure(req, rc);

    cJSON *answer = cJSON_CreateObject();
    cJSON_AddBoolToObject(answer, "available", owner.user_id == 0);
    cJSON_AddStringToObject(answer, "username", form_lower(req->arena, sent));
    if (owner.user_id != 0) {
        rc = account_add_suggestions(req, answer, sent, &owner);
        if (rc < 0)
            return reply_failure(req, rc);
    }
    return reply_json(req, HTTP_OK, answer);
}
