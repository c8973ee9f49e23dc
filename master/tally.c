/*
 * tally.c - see tally.h.
 */
#include "master/tally.h"
#include "master/master.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* However often it is asked for, since the kernel walks through all pages for it. */
#define MEMORY_MS 1000

/* Why ------------------------------------------------------------------------ */

static enum board_restart reason_of_drain(const struct master *m,
                                          const struct child *child)
{
    if (child->generation != child->pool->generation)
        return BOARD_RESTART_RELOAD;
    if (!child->is_worn)
        return BOARD_RESTARTS;
    return board_slot(m->board, (size_t)(child - m->children))->is_worn
               ? BOARD_RESTART_MAX_REQUESTS
               : BOARD_RESTART_MAX_RSS;
}

static enum board_restart reason_of_death(const struct child *child, int status,
                                          bool was_oom)
{
    if (child->has_overrun)
        return BOARD_RESTART_OVERRUN;
    if (child->was_killed)
        return BOARD_RESTART_HUNG;
    if (was_oom)
        return BOARD_RESTART_OOM;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGKILL ? BOARD_RESTART_KILLED : BOARD_RESTART_CRASH;
    return child->was_ready ? BOARD_RESTART_EXIT : BOARD_RESTART_START;
}

/* BOARD_RESTARTS: it is not replaced (scaled down, stopped, done for good). */
static enum board_restart reason_of(const struct master *m, const struct child *child,
                                    int status, bool was_oom)
{
    if (m->phase == PHASE_STOPPING || child->is_proof ||
        (WIFEXITED(status) && WEXITSTATUS(status) == ROLE_DONE))
        return BOARD_RESTARTS;
    if (child->is_operators)
        return BOARD_RESTART_OPERATOR;
    if (child->is_draining)
        return reason_of_drain(m, child);
    if (child_ended_on_purpose(child, status))
        return BOARD_RESTART_ENDED;
    return reason_of_death(child, status, was_oom);
}

void tally_end(struct master *m, const struct child *child, int status, bool was_oom)
{
    enum board_restart reason = reason_of(m, child, status, was_oom);

    if (reason < BOARD_RESTARTS)
        board_shared(m->board)->restarts_by[child->pool->role->board][reason]++;
}

/* How much -------------------------------------------------------------------- */

static void read_memory(struct master *m)
{
    struct board_shared *shared = board_shared(m->board);
    struct memory held;

    for (size_t i = 0; i < board_slots(m->board); i++) {
        if (!m->children[i].pid)
            continue;
        held = memory_read(m->children[i].pid);
        board_slot(m->board, i)->pss = held.pss;
        board_slot(m->board, i)->rss = held.rss;
    }
    held = memory_read(m->pid);
    shared->master_pss = held.pss;
    shared->master_rss = held.rss;
    shared->memory_at_ms = m->now;
}

uint64_t tally_turn(struct master *m)
{
    const struct board_shared *shared = board_shared(m->board);

    if (shared->memory_wanted_ms <= shared->memory_at_ms)
        return NEVER;
    if (m->now < shared->memory_at_ms + MEMORY_MS)
        return shared->memory_at_ms + MEMORY_MS;
    read_memory(m);
    return NEVER;
}
