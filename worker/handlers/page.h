/*
 * page.h - the page's place behind the route table.
 */
#ifndef FORKMARK_WORKER_HANDLERS_PAGE_H
#define FORKMARK_WORKER_HANDLERS_PAGE_H

#include "worker/router.h"

/* Of a path that no row of the table knows: the row that serves the page's files, or
 * NULL where only the API answers (other methods, /api, /health, /metrics). */
const struct route *page_route(const struct request *req);

#endif
