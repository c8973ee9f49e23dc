/*
 * bookmark_event.h - telling a user's open pages that a bookmark came, changed or went.
 */
#ifndef FORKMARK_WORKER_HANDLERS_BOOKMARK_EVENT_H
#define FORKMARK_WORKER_HANDLERS_BOOKMARK_EVENT_H

#include "common/pg.h"
#include "worker/request.h"

/*
 * Stores "bookmark.domain.<what>" in the transaction (NULL: `deleted`, whose bookmark is
 * gone); `ret_message` is for events_publish() after the commit. Yields. 0 or pg's error.
 */
int bookmark_event(struct request *req, struct pg_tx *tx, const char *what,
                   int32_t bookmark_id, const char *url, const char *title,
                   const char **ret_message);

#endif
