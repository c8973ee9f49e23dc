/*
 * access_log.h - one line per request, if log.access says so.
 */
#ifndef FORKMARK_WORKER_ACCESS_LOG_H
#define FORKMARK_WORKER_ACCESS_LOG_H

struct exchange;

/* Method, path without its query (that may hold a token), status, bytes,
 * milliseconds, client, user, request id. */
void access_log_write(const struct exchange *exchange);

#endif
