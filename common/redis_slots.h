/*
 * redis_slots.h - a cluster's own account of who has which slots (CLUSTER SLOTS).
 */
#ifndef FORKMARK_COMMON_REDIS_SLOTS_H
#define FORKMARK_COMMON_REDIS_SLOTS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct slots_place {
    const char *host;
    char port[8];
};

struct slots_range {
    uint16_t first, last;
    const struct slots_place *places; /* the primary, then its replicas */
    size_t place_count;               /* at least 1 */
};

struct slots_map {
    const struct slots_range *ranges;
    size_t range_count;
    size_t slot_count; /* how many slots somebody has */
};

/*
 * Reads the reply; the map lives in `arena` and points into the reply. A node that does
 * not say where it is (an empty or null host) is on `asked_host`, as Redis means it;
 * one whose name is not known ("?") is left out. False: no such reply, or nobody in it.
 */
bool redis_slots_read(const redisReply *reply, const char *asked_host,
                      struct arena *arena, struct slots_map *ret);

#endif
