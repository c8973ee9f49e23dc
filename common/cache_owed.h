/*
 * cache_owed.h - whose writes Redis could not be told of, until it is.
 *
 * A set of users, each once, with the latest position of what they wrote (pg.h). It
 * knows neither Redis nor time; cache.c tries again.
 */
#ifndef FORKMARK_COMMON_CACHE_OWED_H
#define FORKMARK_COMMON_CACHE_OWED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_owed_entry {
    int32_t user_id; /* above 0; 0: the place is free */
    uint64_t position;
};

/* Zeroed: empty. */
struct cache_owed {
    struct cache_owed_entry *places; /* a power of two of them */
    size_t room, count;
};

void cache_owed_done(struct cache_owed *owed);
/* Of two positions of a user the greater counts; PG_POSITION_UNKNOWN is the greatest. */
void cache_owed_add(struct cache_owed *owed, int32_t user_id, uint64_t position);
void cache_owed_remove(struct cache_owed *owed, int32_t user_id);
bool cache_owed_has(const struct cache_owed *owed, int32_t user_id);
/* The next one at or behind `*at`, which moves past it. False: there is none. */
bool cache_owed_next(const struct cache_owed *owed, size_t *at,
                     struct cache_owed_entry *ret);

#endif
