/*
 * replay.h - stored events again, as the frames they were (contract 1.15 A).
 */
#ifndef FORKMARK_WORKER_REPLAY_H
#define FORKMARK_WORKER_REPLAY_H

#include "common/buf.h"
#include "common/pg.h"
#include <stdint.h>

struct replay {
    struct pg_rows rows;
};

/*
 * The user's events after the one called `event_id`, oldest first, at most `limit`;
 * none if that is unknown or somebody else's. With `event_id` "": those since
 * `since_unix`. Yields. 0 or pg's error.
 */
int replay_read(struct pg *pg, int32_t user_id, const char *event_id, int64_t since_unix,
                int limit, struct replay *ret);
void replay_frame(const struct replay *replay, int row, struct buf *out);

#endif
