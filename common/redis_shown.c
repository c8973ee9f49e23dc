/*
 * redis_shown.c - see redis_shown.h.
 */
#include "common/redis_shown.h"
#include "common/redis.h"
#include <stdio.h>
#include <string.h>

void redis_shown_name(const char *host, const char *port, char ret[BOARD_REDIS_NAME])
{
    snprintf(ret, BOARD_REDIS_NAME, strchr(host, ':') ? "[%.60s]:%s" : "%.60s:%s", host,
             port);
}

bool redis_shown_is_up(const struct redis *redis)
{
    return redis && redis_link_is_up(&redis->link);
}

bool redis_shown_is_away(const struct redis *redis)
{
    return redis && (redis->is_tripped || *redis_trouble(redis));
}

/* With sentinels, who is spoken to; else what the configuration says. */
static void name_of(const struct redis *redis, char ret[BOARD_REDIS_NAME])
{
    if (redis->settings.sentinels && redis->link.peer.host[0])
        redis_shown_name(redis->link.peer.host, redis->link.peer.port, ret);
    else
        snprintf(ret, BOARD_REDIS_NAME, "%s", redis->settings.place);
}

static void show(void *arg)
{
    struct redis *redis = arg;
    struct board_redis *place = redis->shown;
    enum board_redis_state state = BOARD_REDIS_IDLE;
    char name[BOARD_REDIS_NAME];

    name_of(redis, name);
    if (strcmp(place->name, name) != 0) {
        atomic_store(&place->state, BOARD_REDIS_NONE);
        snprintf(place->name, sizeof(place->name), "%s", name);
    }
    if (redis_shown_is_away(redis))
        state = BOARD_REDIS_AWAY;
    else if (redis_shown_is_up(redis))
        state = BOARD_REDIS_UP;
    atomic_store(&place->state, state);
}

void redis_show(struct redis *redis, struct board_slot *slot, uint32_t uses)
{
    char name[BOARD_REDIS_NAME];

    name_of(redis, name);
    redis->shown = board_redis_place(slot, uses, name);
    if (!redis->shown)
        return;
    redis->changed = show;
    redis->changed_arg = redis;
}

void redis_shown_end(struct redis *redis)
{
    if (redis->shown)
        atomic_store(&redis->shown->state, BOARD_REDIS_NONE);
    redis->shown = NULL;
}
