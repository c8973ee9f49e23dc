/*
 * pool_orphans.c - RQ names of dead consumers, whose jobs the next ones take back.
 */
#include "common/log.h"
#include "master/pool.h"
#include "master/pool_parts.h"
#include <stdio.h>
#include <string.h>

void orphan_add(struct pool *pool, const struct orphaned *orphan)
{
    if (!*orphan->rq_name)
        return;
    if (pool->orphan_count == POOL_ORPHANS_MAX) {
        log_warn("pool %s: too many dead consumers at once; the job of %s waits for "
                 "its registry's deadline",
                 pool->name, orphan->rq_name);
        return;
    }
    pool->orphans[pool->orphan_count++] = *orphan;
}

struct orphaned orphan_take(struct pool *pool)
{
    struct orphaned first = { .rq_name = "" };

    if (pool->orphan_count == 0)
        return first;
    first = pool->orphans[0];
    pool->orphan_count--;
    memmove(&pool->orphans[0], &pool->orphans[1],
            pool->orphan_count * sizeof(pool->orphans[0]));
    return first;
}

void pool_leave_orphan(struct pool *pool, const char *rq_name)
{
    struct orphaned orphan = { .has_overrun = false };

    snprintf(orphan.rq_name, sizeof(orphan.rq_name), "%s", rq_name);
    orphan_add(pool, &orphan);
}
