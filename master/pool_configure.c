/*
 * pool_configure.c - the pools that the options ask for: new ones, those that go, and
 * those whose children have to be replaced since their work changed.
 */
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include <string.h>

static void configure(struct master *m, const struct role *role, const char *name,
                      const struct conf_count *range)
{
    struct pool *pool = pool_find(m, name);
    int count = conf_count_value(range), most = conf_count_most(range);
    bool is_new = !pool;

    if (is_new)
        pool = pool_add(m, role, name, 0);
    if (!pool) {
        log_error("more than %d pools: %s is not started", POOLS_MAX, name);
        return;
    }
    if (!is_new && pool->configured == count && pool->most == most)
        return; /* what an operator or the load scaled meanwhile stays */
    int before = pool->wanted;
    pool->configured = count;
    pool->most = most;
    if (pool_take_back(m, pool) < 0)
        log_error("pool %s: %d processes are more than this master has slots for (%zu); "
                  "a restart makes room",
                  name, count, board_slots(m->board));
    else if (!is_new && pool->wanted != before)
        event_note(EVENT_SCALE, "%s: %d -> %d, by the configuration", pool_path(pool),
                   before, pool->wanted);
}

bool pool_has_same_work(const struct options *before, const struct pool_options *was,
                        const struct options *now, const struct pool_options *is)
{
    if (!options_same_pool(was, is) || !options_same_group(before, now, "jobs.functions"))
        return false;
    for (size_t i = 0; i < is->queues.count; i++) {
        const char *queue = is->queues.items[i];

        if (options_queue(before, queue)->unknown != options_queue(now, queue)->unknown)
            return false;
    }
    return true;
}

/* The scheduler counts the jobs that wait for pools whose count is a range. */
static bool is_counted_otherwise(const struct options *before, const struct options *now)
{
    for (size_t i = 0; i < now->jobs.pool_count; i++) {
        const struct pool_options *is = &now->jobs.pools[i];
        const struct pool_options *was = options_pool(before, is->name);

        if (is->consumers.is_range && (!was || !was->consumers.is_range ||
                                       !pool_has_same_work(before, was, now, is)))
            return true;
    }
    return false;
}

void pools_configure(struct master *m, const struct options *before)
{
    const struct options *now = m->options;

    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];
        const struct pool_options *was = options_pool(before, pool->name);
        const struct pool_options *is = options_pool(now, pool->name);

        if (pool->role->board != BOARD_CONSUMER || pool->is_removed)
            continue;
        if (!is) {
            pool_scale(m, pool, 0);
            pool->is_removed = true;
        } else if (was && !pool_has_same_work(before, was, now, is) &&
                   pool->generation == pool->former) {
            pool->generation = m->generation + 1;
        }
    }
    configure(m, &role_worker, "web", &now->server.workers);
    for (size_t i = 0; i < now->jobs.pool_count; i++)
        configure(m, &role_consumer, now->jobs.pools[i].name,
                  &now->jobs.pools[i].consumers);
    if (before && (is_counted_otherwise(before, now) ||
                   !(options_same_group(before, now, "jobs.cron") &&
                     options_same_group(before, now, "jobs.functions")))) {
        struct pool *scheduler = pool_find(m, "scheduler");

        if (scheduler && scheduler->generation == scheduler->former)
            scheduler->generation = m->generation + 1;
    }
    configure(m, &role_scheduler, "scheduler",
              &(struct conf_count){ .number = now->jobs.scheduler ? 1 : 0 });
}
