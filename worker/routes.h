/*
 * routes.h - the page's routes, which stand behind all others.
 */
#ifndef FORKMARK_WORKER_ROUTES_H
#define FORKMARK_WORKER_ROUTES_H

#include "worker/router.h"

/* Of a path that no row of the table knows: the row that serves the page's files, or
 * NULL where only the API answers (other methods, /api, /health, /metrics). */
const struct route *routes_page(const struct request *req);

#endif
