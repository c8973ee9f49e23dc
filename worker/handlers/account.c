/*
 * account.c - see account.h.
 */
#include "worker/handlers/account.h"
#include "common/pg.h"
#include "queries.h"
#include "worker/handlers/forms.h"
#include "worker/reply.h"

#include <string.h>

/* A suggestion is the name and up to four digits, and must be a name itself. */
#define SUGGESTION_BASE 46

int account_find_name(struct request *req, const char *username, struct name_owner *ret)
{
    struct pg_rows rows;

    int rc =
        pg_run(req->server->pg, &sql_user_by_username, PG_ARGS(pg_text(username)), &rows);
    if (rc < 0)
        return rc;
    *ret = (struct name_owner){ 0 };
    if (rows.count > 0) {
        ret->user_id = (int32_t)pg_get_int(&rows, 0, 0);
        ret->username = pg_get_text(&rows, 0, 1);
    }
    return 0;
}

int account_add_suggestions(struct request *req, cJSON *answer, const char *sent,
                            const struct name_owner *owner)
{
    const char *base = form_cut(req->arena, sent, SUGGESTION_BASE);
    struct pg_rows rows;

    int rc =
        pg_run(req->server->pg, &sql_username_suggest, PG_ARGS(pg_text(base)), &rows);
    if (rc < 0)
        return rc;

    cJSON *names = cJSON_AddArrayToObject(answer, "suggestions");
    for (int i = 0; i < rows.count; i++)
        cJSON_AddItemToArray(names, cJSON_CreateString(pg_get_text(&rows, i, 0)));
    if (strcmp(owner->username, sent) != 0)
        cJSON_AddStringToObject(answer, "case_insensitive_conflict", owner->username);
    return 0;
}

enum http_status account_conflict(struct request *req, const char *sent,
                                  const struct name_owner *owner)
{
    cJSON *answer = cJSON_CreateObject();

    cJSON_AddStringToObject(answer, "message", ACCOUNT_EXISTS);
    if (owner->user_id != 0) {
        int rc = account_add_suggestions(req, answer, sent, owner);
        if (rc < 0)
            return reply_failure(req, rc);
    }
    return reply_json(req, HTTP_CONFLICT, answer);
}
