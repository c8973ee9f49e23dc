/*
 * scoreboard_redis.c - the Redis servers as all processes together see them.
 */
#include "common/scoreboard.h"
#include <stdio.h>
#include <string.h>

static bool is_alive(const struct board_slot *slot)
{
    int state = atomic_load(&slot->state);

    return state == BOARD_READY || state == BOARD_DRAINING;
}

static struct board_redis_sum *sum_for(struct board_redis_sum *sums, size_t *count,
                                       size_t room, const char *name)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(sums[i].name, name) == 0)
            return &sums[i];
    }
    if (*count == room)
        return NULL;
    struct board_redis_sum *sum = &sums[(*count)++];
    *sum = (struct board_redis_sum){ .is_replica = true };
    memcpy(sum->name, name, sizeof(sum->name));
    return sum;
}

/* Its process may rewrite it meanwhile: the name is a copy with an end of its own. */
static void add_server(struct board_redis_sum *sums, size_t *count, size_t room,
                       const struct board_redis *server)
{
    int state = atomic_load(&server->state);
    char name[BOARD_REDIS_NAME];

    if (state == BOARD_REDIS_NONE)
        return;
    memcpy(name, server->name, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    struct board_redis_sum *sum = sum_for(sums, count, room, name);
    if (!sum)
        return;
    sum->is_replica &= atomic_load(&server->is_replica) != 0;
    sum->uses |= atomic_load(&server->uses);
    sum->up += state == BOARD_REDIS_UP;
    sum->away += state == BOARD_REDIS_AWAY;
    sum->idle += state == BOARD_REDIS_IDLE;
}

size_t board_sum_redis(struct scoreboard *board, struct board_redis_sum *ret, size_t room)
{
    size_t count = 0;

    for (size_t i = 0; i < board_slots(board); i++) {
        const struct board_slot *slot = board_slot(board, i);

        for (size_t k = 0; k < BOARD_REDIS && is_alive(slot); k++)
            add_server(ret, &count, room, &slot->redis[k]);
    }
    return count;
}

const char *board_redis_use_name(uint32_t uses)
{
    if (uses & BOARD_REDIS_CLUSTER)
        return "cache cluster";
    if (uses & BOARD_REDIS_QUEUE)
        return uses & BOARD_REDIS_CACHE ? "queue and cache" : "queue";
    return "cache";
}

struct board_redis *board_redis_place(struct board_slot *slot, uint32_t uses,
                                      const char *name)
{
    for (size_t i = 0; slot && i < BOARD_REDIS; i++) {
        struct board_redis *place = &slot->redis[i];

        if (atomic_load(&place->state) != BOARD_REDIS_NONE)
            continue;
        snprintf(place->name, sizeof(place->name), "%s", name);
        atomic_store(&place->is_replica, false);
        atomic_store(&place->uses, uses);
        atomic_store(&place->state, BOARD_REDIS_IDLE);
        return place;
    }
    return NULL;
}
