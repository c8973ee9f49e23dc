/*
 * child.c - one child while it lives: started or inherited, ready, worn, told to drain,
 * and killed when it does not. The fork itself is in spawn.c, its end in child_end.c.
 */
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/pool_parts.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- who it is ---- */

bool child_is_of(const struct child *child, const struct pool *pool)
{
    return child->pid != 0 && child->pool == pool;
}

int child_number(const struct master *m, const struct child *child)
{
    return board_slot(m->board, (size_t)(child - m->children))->number;
}

void child_title(const struct pool *pool, int number, char *text, size_t room)
{
    if (pool->role->is_single)
        snprintf(text, room, "%s", pool->role->name);
    else if (pool->role->board == BOARD_CONSUMER)
        snprintf(text, room, "%s %s %d", pool->role->name, pool->name, number);
    else
        snprintf(text, room, "%s %d", pool->role->name, number);
}

const char *child_name(const struct master *m, const struct child *child)
{
    static char text[48];

    child_title(child->pool, child_number(m, child), text, sizeof(text));
    return text;
}

void child_close_link(struct child *child)
{
    if (child->log_link)
        close(child->log_link);
    child->log_link = 0;
}

/* ---- its beginning ---- */

/* The lowest number no child of the pool has, draining ones included. */
static int free_number(const struct master *m, const struct pool *pool)
{
    for (int number = 1;; number++) {
        bool is_taken = false;

        for (size_t i = 0; i < board_slots(m->board) && !is_taken; i++)
            is_taken = child_is_of(&m->children[i], pool) &&
                       child_number(m, &m->children[i]) == number;
        if (!is_taken)
            return number;
    }
}

struct child *child_start(struct master *m, struct pool *pool, unsigned generation,
                          bool is_proof)
{
    int slot = board_take(m->board, pool->role->board, free_number(m, pool), pool->name);

    if (slot < 0) {
        log_warn("pool %s: no slot is free for one more process", pool->name);
        pool->fork_at = m->now + 1000;
        return NULL;
    }
    struct child *child = &m->children[slot];
    *child = (struct child){
        .pool = pool,
        .generation = generation,
        .attempt = pool->failures,
        .is_proof = is_proof,
    };
    child->predecessor = orphan_take(pool);
    pid_t pid = spawn_child(m, child, slot);
    if (pid < 0) {
        log_error("%s cannot be forked: %s; again in a second", child_name(m, child),
                  strerror(-pid));
        orphan_add(pool, &child->predecessor);
        board_release(m->board, slot);
        pool->fork_at = m->now + 1000;
        *child = (struct child){ 0 };
        return NULL;
    }
    child->pid = pid;
    log_debug("%s started with pid %d", child_name(m, child), (int)pid);
    return child;
}

struct child *pool_start_proof(struct master *m, struct pool *pool, unsigned generation)
{
    return child_start(m, pool, generation, true);
}

struct child *pool_inherit(struct master *m, struct pool *pool, pid_t pid, int number,
                           const char *rq_name)
{
    int slot = board_take(m->board, pool->role->board, number, pool->name);

    if (slot < 0)
        return NULL;
    struct board_slot *of_child = board_slot(m->board, (size_t)slot);
    snprintf(of_child->rq_name, sizeof(of_child->rq_name), "%s", rq_name);
    of_child->pid = pid;
    board_set_state(of_child, BOARD_READY);
    m->children[slot] = (struct child){
        .pid = pid,
        .pool = pool,
        .generation = pool->generation - 1,
        .was_ready = true,
        .is_inherited = true,
    };
    return &m->children[slot];
}

/* ---- what becomes of it ---- */

void pool_note_ready(struct master *m, struct pool *pool)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child_is_of(child, pool) || child->was_ready ||
            board_slot(m->board, i)->state < BOARD_READY)
            continue;
        child->was_ready = true;
        child->predecessor = (struct orphaned){ .rq_name = "" };
        if (!child->is_proof) {
            pool->failures = 0;
            pool->fork_at = 0;
        }
        log_debug("%s (pid %d) is ready", child_name(m, child), (int)child->pid);
        event_note(EVENT_START, "%s (pid %d) is ready", child_name(m, child),
                   (int)child->pid);
    }
}

void pool_note_worn(struct master *m, struct pool *pool)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child_is_of(child, pool) || child->is_worn ||
            !board_slot(m->board, i)->is_worn)
            continue;
        child->is_worn = true;
        log_info("%s (pid %d) has done its share of requests: replaced",
                 child_name(m, child), (int)child->pid);
        event_note(EVENT_RECYCLE, "%s (pid %d) has done its share of requests",
                   child_name(m, child), (int)child->pid);
    }
}

/*
 * A worker's drain has graceful_timeout. A consumer finishes its job, however long
 * that may take (watch.c knows the job's deadline); only the final stop hurries it.
 */
void child_drain(struct master *m, struct child *child, const char *why)
{
    bool is_unlimited = child->pool->role->finishes_jobs && m->phase != PHASE_STOPPING;

    child->is_draining = true;
    child->why = why;
    child->kill_at = is_unlimited ? 0 : m->now + m->options->server.graceful_timeout;
    log_debug("%s (pid %d) drains", child_name(m, child), (int)child->pid);
    kill(child->pid, SIGTERM);
}

uint64_t children_hurry(struct master *m)
{
    uint64_t next = NEVER;

    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child->pid || !child->kill_at)
            continue;
        if (m->now < child->kill_at) {
            next = sooner(next, child->kill_at);
            continue;
        }
        if (!child->was_killed) {
            log_warn("%s (pid %d) did not end in time: killed", child_name(m, child),
                     (int)child->pid);
            event_note(EVENT_KILL, "%s (pid %d) did not end in time",
                       child_name(m, child), (int)child->pid);
            board_shared(m->board)->kills++;
        }
        child->kill_at = 0;
        kill(child->pid, SIGKILL);
    }
    return next;
}
