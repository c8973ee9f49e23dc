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

/* Its process may rewrite it meanwhile: a copy with an end of its own. */
static void copy_name(const struct board_redis *server, char ret[BOARD_REDIS_NAME])
{
    memcpy(ret, server->name, BOARD_REDIS_NAME);
    ret[BOARD_REDIS_NAME - 1] = '\0';
}

/* Of a process' several clients of one server, the one that is worst off. */
static bool speaks_for_its_process(const struct board_slot *slot, size_t place,
                                   const char *name)
{
    int own = atomic_load(&slot->redis[place].state);

    for (size_t i = 0; i < BOARD_REDIS; i++) {
        int state = atomic_load(&slot->redis[i].state);

        if (state != BOARD_REDIS_NONE && (state > own || (state == own && i < place)) &&
            strncmp(slot->redis[i].name, name, BOARD_REDIS_NAME) == 0)
            return false;
    }
    return true;
}

static void add_server(struct board_redis_sum *sums, size_t *count, size_t room,
                       const struct board_slot *slot, size_t place)
{
    const struct board_redis *server = &slot->redis[place];
    int state = atomic_load(&server->state);
    char name[BOARD_REDIS_NAME];

    if (state == BOARD_REDIS_NONE)
        return;
    copy_name(server, name);
    struct board_redis_sum *sum = sum_for(sums, count, room, name);
    if (!sum)
        return;
    sum->is_replica &= atomic_load(&server->is_replica) != 0;
    sum->uses |= atomic_load(&server->uses);
    if (!speaks_for_its_process(slot, place, name))
        return;
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
            add_server(ret, &count, room, slot, k);
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
