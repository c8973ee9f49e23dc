/*
 * cache_owed.c - see cache_owed.h.
 */
#include "common/cache_owed.h"
#include <string.h>

bool cache_owed_add(struct cache_owed *owed, int32_t user_id, uint64_t position)
{
    bool has_room = owed->count < CACHE_OWED_MAX;

    for (size_t i = 0; i < owed->count; i++) {
        struct cache_owed_entry *entry = &owed->entries[i];

        if (entry->user_id != user_id)
            continue;
        /* PG_POSITION_UNKNOWN is the greatest of all, as it should be. */
        if (position > entry->position)
            entry->position = position;
        return true;
    }
    if (!has_room)
        memmove(owed->entries, owed->entries + 1,
                --owed->count * sizeof(owed->entries[0]));
    owed->entries[owed->count++] = (struct cache_owed_entry){ user_id, position };
    return has_room;
}

bool cache_owed_take(struct cache_owed *owed, struct cache_owed_entry *ret)
{
    if (owed->count == 0)
        return false;
    *ret = owed->entries[--owed->count];
    return true;
}
