/*
 * scoreboard_nodes.c - the cache's nodes as all processes together see them.
 */
#include "common/scoreboard.h"
#include <string.h>

static bool is_alive(const struct board_slot *slot)
{
    int state = atomic_load(&slot->state);

    return state == BOARD_READY || state == BOARD_DRAINING;
}

static struct board_node_sum *sum_for(struct board_node_sum *sums, size_t *count,
                                      size_t room, const char *name)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(sums[i].name, name) == 0)
            return &sums[i];
    }
    if (*count == room)
        return NULL;
    struct board_node_sum *sum = &sums[(*count)++];
    *sum = (struct board_node_sum){ .is_replica = true };
    memcpy(sum->name, name, sizeof(sum->name));
    return sum;
}

/* Its process may rewrite it meanwhile: the name is a copy with an end of its own. */
static void add_node(struct board_node_sum *sums, size_t *count, size_t room,
                     const struct board_cache_node *node)
{
    int state = atomic_load(&node->state);
    char name[BOARD_NODE_NAME];

    if (state == BOARD_NODE_NONE)
        return;
    memcpy(name, node->name, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    struct board_node_sum *sum = sum_for(sums, count, room, name);
    if (!sum)
        return;
    sum->is_replica &= atomic_load(&node->is_replica) != 0;
    sum->up += state == BOARD_NODE_UP;
    sum->away += state == BOARD_NODE_AWAY;
    sum->idle += state == BOARD_NODE_IDLE;
}

size_t board_sum_nodes(struct scoreboard *board, struct board_node_sum *ret, size_t room)
{
    size_t count = 0;

    for (size_t i = 0; i < board_slots(board); i++) {
        const struct board_slot *slot = board_slot(board, i);

        for (size_t k = 0; k < BOARD_CACHE_NODES && is_alive(slot); k++)
            add_node(ret, &count, room, &slot->cache_nodes[k]);
    }
    return count;
}
