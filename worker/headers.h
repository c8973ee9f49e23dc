/*
 * headers.h - what stands on every answer (contract 1.9).
 */
#ifndef FORKMARK_WORKER_HEADERS_H
#define FORKMARK_WORKER_HEADERS_H

#include "common/options.h"

struct exchange;
struct MHD_Response;

/* Once per process. */
void headers_init(const struct options *options);
/* Request id, security, Cache-Control, CORS, rate limit, Retry-After, keep-alive. */
void headers_add(struct exchange *exchange, struct MHD_Response *response);

#endif
