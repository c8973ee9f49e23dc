/*
 * cache_owed.h - whose writes Redis could not be told of, until it is.
 *
 * A list of users, each once, with the latest position of what they wrote. It knows
 * neither Redis nor time; cache.c tries again.
 */
#ifndef FORKMARK_COMMON_CACHE_OWED_H
#define FORKMARK_COMMON_CACHE_OWED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_OWED_MAX 4096

struct cache_owed {
    struct cache_owed_entry {
        int32_t user_id;
        uint64_t position;
    } entries[CACHE_OWED_MAX];
    size_t count;
};

/* False: the list is full, and one that was on it had to go. */
bool cache_owed_add(struct cache_owed *owed, int32_t user_id, uint64_t position);
/* The one to try next, taken out. False: nobody. */
bool cache_owed_take(struct cache_owed *owed, struct cache_owed_entry *ret);

#endif
