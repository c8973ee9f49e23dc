/*
 * access_log.h - one line per request, if log.access says so.
 *
 * No line holds a secret or begins another one: the values of tokens and passwords in a
 * query and of headers such as Authorization and Cookie are left out, and what could end
 * a value or a line is escaped.
 */
#ifndef FORKMARK_WORKER_ACCESS_LOG_H
#define FORKMARK_WORKER_ACCESS_LOG_H

#include "common/options.h"

struct exchange;
struct MHD_Response;

/* Once per process. */
void access_log_init(const struct options *options);
/* The answer is complete: keeps what the line will say of its headers and of the
 * request's, which are gone when the line is written. */
void access_log_note(struct exchange *exchange, struct MHD_Response *response);
void access_log_forget(struct exchange *exchange);
void access_log_write(const struct exchange *exchange);

#endif
