/*
 * access_secrets.h - what no line of the access log may tell: the values of tokens and
 * passwords in a query, and of headers such as Authorization and Cookie.
 */
#ifndef FORKMARK_WORKER_ACCESS_SECRETS_H
#define FORKMARK_WORKER_ACCESS_SECRETS_H

#include "common/buf.h"
#include <stdbool.h>

/* Stands where a secret was. */
#define ACCESS_HIDDEN "***"

/* In any case of letters. */
bool access_is_secret_header(const char *name);
/* A query as it was sent, but for the values of parameters that may be secret. */
void access_add_query(struct buf *out, const char *query_string);

#endif
