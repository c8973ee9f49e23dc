/*
 * router.h - from method and path to one row of the route table.
 *
 * Patterns: "/api/bookmarks/<int:id>", "/api/bookmarks/url/<path:url>". <int:x>
 * takes [0-9]+ that fit 32 bits signed, <path:x> the undivided rest (slashes
 * kept). One trailing slash is accepted on every route. More literal wins.
 */
#ifndef FORKMARK_WORKER_ROUTER_H
#define FORKMARK_WORKER_ROUTER_H

#include "worker/request.h"

enum access {
    ACCESS_OPEN,    /* - : anyone */
    ACCESS_USER,    /* A : access token by Bearer, or cookie with CSRF */
    ACCESS_REFRESH, /* R : the handler reads the refresh token itself */
    ACCESS_STREAM,  /* T : as A, or ?token= */
};

/* Which limit counts for it (contract 1.11); each is an option of its own. */
enum limit_class {
    LIMIT_STANDARD,
    LIMIT_NONE,
    LIMIT_LOGIN,
    LIMIT_REGISTER,
    LIMIT_CHECK_USERNAME,
    LIMIT_BULK_CHECK,
    LIMIT_SEARCH,
    LIMIT_EXTRACT,
};

struct route {
    enum http_method method;
    const char *pattern;
    enum access access;
    enum limit_class limit;
    enum http_status (*handle)(struct request *req);
    uint64_t body_limit; /* bytes; 0: server.body_limit */
    bool optional_auth; /* ACCESS_USER: the handler is called without a token too (logout)
                         */
    bool is_inline;     /* runs on the loop's own stack, without a task: it never yields
                           and uses no cJSON; needs no token and has no limit */
};

/* The table, in routes.c; ends with a NULL pattern. */
extern const struct route route_table[];

/* Builds the index over the table; once per process. */
void router_init(void);
/*
 * Fills req->route, params, int_params. 200; 404 unknown path; 405 known path,
 * then `ret_allow` lists the methods in the request's arena.
 */
enum http_status router_find(struct request *req, const char **ret_allow);

#endif
