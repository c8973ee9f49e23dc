/*
 * pool_turn.c - a pool's turn: children are started, replaced one in, one out, or
 * drained until what runs is what is wanted.
 */
#include "master/master.h"
#include "master/pool_parts.h"

/*
 * Memory never holds two full sets of workers: those that still drain count as well.
 * (A consumer that finishes a long job does not hold up the others.)
 */
static bool has_room_to_roll(const struct pool *pool, const struct census *census)
{
    int most = 2 * pool->wanted - 1;

    if (pool->role->finishes_jobs || census->draining == 0)
        return true;
    return census->total + census->draining + 1 <= most;
}

/*
 * While an older generation is there: one in, one out. Whoever is new must be ready
 * before somebody old leaves; if it never gets ready, the old ones serve on.
 */
static void roll(struct master *m, struct pool *pool, struct census *census)
{
    if (!census->oldest || census->starting > 0)
        return;
    if (census->total > pool->wanted) {
        if (census->former == 1 && pool->role->has_listeners && !reload_lets_last_go(m))
            return;
        child_drain(m, census->oldest,
                    census->oldest->is_worn ? "recycled" : "replaced by a newer one");
    } else if (m->now >= pool->fork_at && has_room_to_roll(pool, census)) {
        child_start(m, pool, pool->generation, false);
    } else {
        return;
    }
    *census = pool_census(m, pool);
}

static uint64_t balance(struct master *m, struct pool *pool)
{
    struct census census = pool_census(m, pool);

    roll(m, pool, &census);
    while (census.newest && census.old == 0 && census.total > pool->wanted) {
        child_drain(m, census.newest, "fewer are wanted");
        census = pool_census(m, pool);
    }
    while (census.total < pool->wanted) {
        if (m->now < pool->fork_at)
            return pool->fork_at;
        /* After young deaths one child alone shows whether it works again. */
        if (pool->failures > 0 && census.starting > 0)
            return NEVER;
        if (!child_start(m, pool, pool->generation, false))
            return pool->fork_at;
        census = pool_census(m, pool);
    }
    return NEVER;
}

uint64_t pools_turn(struct master *m)
{
    uint64_t next = children_hurry(m);

    if (m->phase != PHASE_SERVING)
        return next;
    for (size_t i = 0; i < m->pool_count; i++) {
        next = sooner(next, pool_end_orders(m, &m->pools[i]));
        pool_note_ready(m, &m->pools[i]);
        pool_note_worn(m, &m->pools[i]);
        next = sooner(next, balance(m, &m->pools[i]));
    }
    return next;
}
