/*
 * cors.h - which other origins may read our answers (contract 1.8).
 */
#ifndef FORKMARK_WORKER_CORS_H
#define FORKMARK_WORKER_CORS_H

#include "worker/request.h"

struct MHD_Response;

enum cors_match {
    CORS_NO,
    CORS_PATTERN, /* by an entry with a *: no credentials */
    CORS_EXACT,
};

/* One entry of cors.origins; * stands for any run of characters. */
enum cors_match cors_match_entry(const char *entry, const char *origin);
/* The best match of all entries. */
enum cors_match cors_match(const struct conf_list *origins, const char *origin);

/* OPTIONS on any path: 204, with what may be asked if the origin may. */
enum http_status cors_preflight(struct request *req);
/* On every other answer. */
void cors_add(struct request *req, struct MHD_Response *response);

#endif
