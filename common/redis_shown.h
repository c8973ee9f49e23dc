/*
 * redis_shown.h - a Redis server on the scoreboard, for `ctl status` and /metrics.
 */
#ifndef FORKMARK_COMMON_REDIS_SHOWN_H
#define FORKMARK_COMMON_REDIS_SHOWN_H

#include "common/redis_call.h"
#include "common/scoreboard.h"

/* "host:port", "[::1]:port". */
void redis_shown_name(const char *host, const char *port, char ret[BOARD_REDIS_NAME]);

/* Both are false for NULL, and while it was not needed yet. */
bool redis_shown_is_up(const struct redis *redis);
bool redis_shown_is_away(const struct redis *redis);

/* Shows a client of one server (not a cluster's) from now on, with every change: where it
 * is connected, which with sentinels is the master they named last. Until redis_free().
 */
void redis_show(struct redis *redis, struct board_slot *slot, uint32_t uses);
void redis_shown_end(struct redis *redis);

#endif
