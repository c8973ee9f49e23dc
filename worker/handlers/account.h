/*
 * account.h - what several handlers say about accounts, and about their names.
 */
#ifndef FORKMARK_WORKER_HANDLERS_ACCOUNT_H
#define FORKMARK_WORKER_HANDLERS_ACCOUNT_H

#include "common/json.h"
#include "worker/request.h"
#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_EXISTS "An account already exists with those credentials."
/* With 404: the token is good, but its user was deleted meanwhile. */
#define ACCOUNT_GONE "User not found"

struct name_owner {
    int32_t user_id;      /* 0: nobody has it */
    const char *username; /* as it is stored */
};

/* Whose name it is, whatever its case. Yields. 0 or pg's error. */
int account_find_name(struct request *req, const char *username, struct name_owner *ret);

/*
 * Adds `suggestions` (three free names) to an answer, and `case_insensitive_conflict`
 * when the stored spelling is not the one that was sent. Yields. 0 or pg's error.
 */
int account_add_suggestions(struct request *req, cJSON *answer, const char *sent,
                            const struct name_owner *owner);

/* The 409 for a name or an email that somebody has. `owner` without a user: only the
 * email is taken. Yields. */
enum http_status account_conflict(struct request *req, const char *sent,
                                  const struct name_owner *owner);

#endif
