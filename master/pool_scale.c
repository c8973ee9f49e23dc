/*
 * pool_scale.c - how many children are wanted: by an operator for a while or until it
 * is taken back, else by the configuration or the load.
 */
#include "common/clock.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/pool_parts.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int pool_room(const struct master *m, const struct pool *pool)
{
    int others = 0;

    for (size_t i = 0; i < m->pool_count; i++)
        if (&m->pools[i] != pool)
            others += m->pools[i].wanted;
    /* One slot stays free for a replacement that starts before the old one ends. */
    return (int)board_slots(m->board) - others - 1;
}

int pool_scale(struct master *m, struct pool *pool, int wanted)
{
    if (wanted < 0 || wanted > pool_room(m, pool))
        return -ENOSPC;
    if (wanted > pool->wanted)
        pool->fork_at = 0; /* somebody asks for it now */
    pool->wanted = wanted;
    pool->is_put_away = false;
    if (pool->role->board == BOARD_WORKER)
        board_shared(m->board)->configured_workers = (uint32_t)wanted;
    return 0;
}

int pool_order(struct master *m, struct pool *pool, int wanted, uint64_t for_ms,
               const char *who)
{
    int rc = pool_scale(m, pool, wanted);

    if (rc < 0)
        return rc;
    pool->order = (struct pool_order){
        .is_given = true,
        .wanted = wanted,
        .since_unix = clock_unix(),
        .until_unix_ms = for_ms ? clock_unix_us() / 1000 + (int64_t)for_ms : 0,
    };
    snprintf(pool->order.who, sizeof(pool->order.who), "%s", who);
    return 0;
}

/* Where the load decides, it goes on from where the operator was. */
static int as_configured(const struct pool *pool)
{
    if (pool->wanted < pool->configured)
        return pool->configured;
    return pool->wanted > pool->most ? pool->most : pool->wanted;
}

int pool_take_back(struct master *m, struct pool *pool)
{
    int rc = pool_scale(m, pool, as_configured(pool));

    if (rc == 0) {
        pool->order = (struct pool_order){ .is_given = false };
        autoscale_restart(&pool->load);
    }
    return rc;
}

/* The wall clock: a limit is a promise about the time of day, also over a suspend. */
uint64_t pool_end_orders(struct master *m, struct pool *pool)
{
    int64_t left = pool->order.until_unix_ms - clock_unix_us() / 1000;
    char who[sizeof(pool->order.who)];
    int before = pool->wanted;

    if (!pool->order.is_given || !pool->order.until_unix_ms)
        return NEVER;
    if (left > 0)
        return m->now + (uint64_t)left;
    if (pool->is_put_away) { /* it says how many come back, not that they do */
        pool->order = (struct pool_order){ .is_given = false };
        return NEVER;
    }
    memcpy(who, pool->order.who, sizeof(who));
    if (pool_take_back(m, pool) < 0) {
        pool->order.until_unix_ms = 0; /* the configured count does not fit: said once */
        log_error("pool %s: there is no room for what is configured", pool->name);
        return NEVER;
    }
    const char *then = pool->most > pool->configured ? "; the load decides again" : "";
    log_info("scale %s: %d -> %d, the time that %s set is over%s", pool_path(pool),
             before, pool->wanted, who, then);
    event_note(EVENT_SCALE, "%s: %d -> %d, the time that %s set is over%s",
               pool_path(pool), before, pool->wanted, who, then);
    return NEVER;
}
