/*
 * pool_parts.h - what the files about pools and their children share. Nothing else
 * includes this.
 *
 *   pool.c            which pools there are, and what children each of them has
 *   pool_configure.c  the pools that the options ask for
 *   pool_scale.c      how many children are wanted, and by whose order
 *   pool_turn.c       start, replace one in, one out, or drain until that many run
 *   pool_orphans.c    jobs of dead consumers, for the next ones
 *   child.c           one child while it lives
 *   child_end.c       one that has ended
 */
#ifndef FORKMARK_MASTER_POOL_PARTS_H
#define FORKMARK_MASTER_POOL_PARTS_H

#include "master/pool.h"
#include <stdbool.h>
#include <stdint.h>

/* What a pool has, counted once a turn. */
struct census {
    int total; /* not draining, and no reload's proof */
    int draining;
    int starting;                  /* of these, not ready yet */
    int former;                    /* of these, of another generation */
    int old;                       /* those, and the worn ones */
    struct child *oldest, *newest; /* the next to drain */
};

/* pool.c */
struct census pool_census(const struct master *m, const struct pool *pool);

/* pool_scale.c: an operator's count whose time is over is taken back. When the next
 * look is due, or NEVER. */
uint64_t pool_end_orders(struct master *m, struct pool *pool);

/* pool_orphans.c. Adds one as the last; without a name it is none. A full list says so
 * in the log. */
void orphan_add(struct pool *pool, const struct orphaned *orphan);
/* Takes the oldest out; its name is empty when there is none. */
struct orphaned orphan_take(struct pool *pool);

/* child.c. Whether a child is in that slot, and of that pool. */
bool child_is_of(const struct child *child, const struct pool *pool);
/* Its number within the pool, from 1. */
int child_number(const struct master *m, const struct child *child);
/* One more child. NULL when there is no slot or no process to be had; pool->fork_at
 * then says when to try again. */
struct child *child_start(struct master *m, struct pool *pool, unsigned generation,
                          bool is_proof);
/* Notes who became ready since the last turn. */
void pool_note_ready(struct master *m, struct pool *pool);
/* Notes who asks to be replaced, since it has done its share of requests. */
void pool_note_worn(struct master *m, struct pool *pool);
/* The final word to those that should have ended by now. When the next must have. */
uint64_t children_hurry(struct master *m);

#endif
