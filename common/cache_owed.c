/*
 * cache_owed.c - see cache_owed.h: by open addressing.
 */
#include "common/cache_owed.h"
#include "common/log.h"
#include <assert.h>
#include <stdlib.h>

#define FIRST_ROOM 64

static size_t home_of(const struct cache_owed *owed, int32_t user_id)
{
    return (uint32_t)user_id * 2654435761U & (owed->room - 1);
}

/* Where the user is, or would be put. */
static struct cache_owed_entry *find(const struct cache_owed *owed, int32_t user_id)
{
    size_t at = home_of(owed, user_id);

    while (owed->places[at].user_id != 0 && owed->places[at].user_id != user_id)
        at = (at + 1) & (owed->room - 1);
    return &owed->places[at];
}

static void grow(struct cache_owed *owed)
{
    struct cache_owed larger = { .room = owed->room ? 2 * owed->room : FIRST_ROOM };

    larger.places = calloc(larger.room, sizeof(larger.places[0]));
    if (!larger.places)
        fatal("out of memory");
    for (size_t i = 0; i < owed->room; i++) {
        if (owed->places[i].user_id != 0)
            cache_owed_add(&larger, owed->places[i].user_id, owed->places[i].position);
    }
    free(owed->places);
    *owed = larger;
}

void cache_owed_done(struct cache_owed *owed)
{
    free(owed->places);
    *owed = (struct cache_owed){ 0 };
}

void cache_owed_add(struct cache_owed *owed, int32_t user_id, uint64_t position)
{
    assert(user_id > 0);
    if (2 * (owed->count + 1) > owed->room)
        grow(owed);
    struct cache_owed_entry *entry = find(owed, user_id);
    owed->count += entry->user_id == 0;
    entry->user_id = user_id;
    if (position > entry->position)
        entry->position = position;
}

bool cache_owed_has(const struct cache_owed *owed, int32_t user_id)
{
    return owed->count > 0 && find(owed, user_id)->user_id == user_id;
}

void cache_owed_remove(struct cache_owed *owed, int32_t user_id)
{
    if (!cache_owed_has(owed, user_id))
        return;
    size_t at = (size_t)(find(owed, user_id) - owed->places);
    owed->places[at] = (struct cache_owed_entry){ 0 };
    owed->count--;
    /* Those behind it may have been put there because this place was taken. */
    for (at = (at + 1) & (owed->room - 1); owed->places[at].user_id != 0;
         at = (at + 1) & (owed->room - 1)) {
        struct cache_owed_entry moved = owed->places[at];

        owed->places[at] = (struct cache_owed_entry){ 0 };
        *find(owed, moved.user_id) = moved;
    }
}

bool cache_owed_next(const struct cache_owed *owed, size_t *at,
                     struct cache_owed_entry *ret)
{
    while (*at < owed->room) {
        const struct cache_owed_entry *entry = &owed->places[(*at)++];

        if (entry->user_id == 0)
            continue;
        *ret = *entry;
        return true;
    }
    return false;
}
