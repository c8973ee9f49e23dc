/*
 * pool.c - which pools there are, and what children each of them has; see pool.h.
 */
#include "master/pool.h"
#include "common/log.h"
#include "master/master.h"
#include "master/pool_parts.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- pools ---- */

struct pool *pool_find(struct master *m, const char *name)
{
    for (size_t i = 0; i < m->pool_count; i++)
        if (strcmp(m->pools[i].name, name) == 0 && !m->pools[i].is_removed)
            return &m->pools[i];
    return NULL;
}

/* A removed pool's place is free once its last child has gone. */
static struct pool *free_place(struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];
        bool is_used = !pool->is_removed;

        for (size_t c = 0; c < board_slots(m->board) && !is_used; c++)
            is_used = m->children[c].pid && m->children[c].pool == pool;
        if (!is_used)
            return pool;
    }
    return m->pool_count < POOLS_MAX ? &m->pools[m->pool_count++] : NULL;
}

struct pool *pool_add(struct master *m, const struct role *role, const char *name,
                      int wanted)
{
    struct pool *pool = free_place(m);

    if (!pool)
        return NULL;
    memset(pool, 0, sizeof(*pool));
    pool->role = role;
    pool->configured = pool->most = pool->wanted = wanted;
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    board_name_backlog(m->board, (size_t)(pool - m->pools), name);
    return pool;
}

const char *pool_path(const struct pool *pool)
{
    static char text[48];

    snprintf(text, sizeof(text), "%s%s",
             pool->role->board == BOARD_CONSUMER ? "jobs." : "", pool->name);
    return text;
}

/* ---- their children ---- */

static bool is_former(const struct child *child)
{
    return child->generation != child->pool->generation;
}

static bool is_current(const struct child *child)
{
    return !is_former(child) && !child->is_worn;
}

/* A reload is not held up by the current generation's wear; else by number. */
static bool goes_before(const struct master *m, const struct child *a,
                        const struct child *b)
{
    if (is_former(a) != is_former(b))
        return is_former(a);
    return child_number(m, a) < child_number(m, b);
}

struct census pool_census(const struct master *m, const struct pool *pool)
{
    struct census census = { 0 };

    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child_is_of(child, pool) || child->is_proof)
            continue;
        if (child->is_draining) {
            census.draining++;
            continue;
        }
        census.total++;
        census.starting += !child->was_ready;
        if (!is_current(child)) {
            census.old++;
            census.former += is_former(child);
            if (!census.oldest || goes_before(m, child, census.oldest))
                census.oldest = child;
        }
        if (!census.newest || child_number(m, child) > child_number(m, census.newest))
            census.newest = child;
    }
    return census;
}

int pool_running(const struct master *m, const struct pool *pool)
{
    return pool_census(m, pool).total;
}

int pool_old(const struct master *m, const struct pool *pool)
{
    return pool_census(m, pool).former;
}

int pool_ready(const struct master *m, const struct pool *pool)
{
    struct census census = pool_census(m, pool);

    return census.total - census.starting;
}

bool pools_serve(const struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++)
        if (!m->pools[i].is_removed && pool_ready(m, &m->pools[i]) < m->pools[i].wanted)
            return false;
    return true;
}

size_t pools_left(const struct master *m)
{
    size_t left = 0;

    for (size_t i = 0; i < board_slots(m->board); i++)
        left += m->children[i].pid != 0;
    return left;
}

void pools_reopen_logs(struct master *m)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child->pid)
            continue;
        if (child->log_link)
            log_hand(child->log_link);
        kill(child->pid, SIGUSR1);
    }
}
