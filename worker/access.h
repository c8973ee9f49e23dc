/*
 * access.h - may this request pass? Token, CSRF, revocation, rate limit.
 *
 * For a known user one script (scripts/gate.lua) answers in one Redis round
 * trip: the rate limit's counters, whether the token or its family is revoked,
 * and the user's cache generation. Without Redis limits fail open, and the token
 * family is looked up in PostgreSQL, the answer remembered for 5 s in this process
 * (contract 1.3, 1.6, 1.11, D13, D30).
 */
#ifndef FORKMARK_WORKER_ACCESS_H
#define FORKMARK_WORKER_ACCESS_H

#include "worker/request.h"

/* Parses limits and loads scripts; once per process. False: a limit option is wrong
 * (logged). */
bool access_init(struct server *server);

/*
 * Runs before the body is read, by the row req->route. HTTP_OK: go on, with
 * token, user_id, generation and limit fields filled as far as the route asks.
 * Anything else: the reply has been written. Yields.
 */
enum http_status access_check(struct request *req);

/* Reads and checks a refresh or access token as access_check() would, without limits: for
 * handlers with rules of their own (refresh, logout). Does not yield. */
enum token_state access_bearer(struct request *req, struct token *ret, bool *ret_present);

/* After a logout or password change: known at once to every process. The user is part of
 * the keys, so that they share a slot. Yields. Best effort. */
void access_revoke_token(struct server *server, const struct token *token);
void access_revoke_family(struct server *server, int32_t user_id, const char *family_id);
/* Where nobody knows whether PostgreSQL has it: refused for a minute, then it is asked.
 */
void access_suspend_family(struct server *server, int32_t user_id, const char *family_id);

#endif
