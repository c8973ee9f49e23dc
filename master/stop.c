/*
 * stop.c - the end, stage by stage.
 *
 * Graceful: nobody new gets in while workers empty the backlog for a moment; then
 * all children drain, at most graceful_timeout; then the services end, those that
 * others write to last. Quick: the same without waiting for requests or jobs. (Where
 * another master serves at the same sockets, nothing is in a hurry: then even the quick
 * stop lets requests end, and only jobs go back to their queues at once. A second one is
 * quick there, too.)
 */
#include "common/clock.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade.h"
#include <signal.h>

/* Long enough for a worker to accept what had already connected. */
#define LINGER_MS 20
/* For children told to end at once. */
#define QUICK_MS 3000

static void enter(struct master *m, enum stop_stage stage, uint64_t lasts_ms)
{
    m->stop = stage;
    m->stop_at = m->now + lasts_ms;
}

static void end_quickly(struct master *m, struct child *child)
{
    child->is_draining = true;
    child->why = "the server stops quickly";
    child->kill_at = m->now + QUICK_MS;
    kill(child->pid, SIGINT);
}

static void start_drain(struct master *m)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child->pid)
            continue;
        if (m->stop_returns_jobs && !child->pool->role->has_listeners)
            end_quickly(m, child);
        else
            child_drain(m, child, "the server stops");
    }
    enter(m, STOP_DRAIN, m->options->server.graceful_timeout);
}

/* Whoever does not end at once is killed when the stage is over. */
static void start_quick(struct master *m)
{
    m->stop_is_quick = true;
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid)
            end_quickly(m, &m->children[i]);
    enter(m, STOP_DRAIN, QUICK_MS);
}

void stop_begin(struct master *m, bool quick)
{
    m->now = clock_ms();
    if (m->stop == STOP_SERVICES || (m->stop != STOP_NONE && m->stop_is_quick))
        return;
    if (quick && m->stop == STOP_NONE && upgrade_shares_sockets(m)) {
        log_info("another master serves at the same addresses: requests end first");
        m->stop_returns_jobs = true;
        quick = false;
    }
    log_info("stopping%s: %zu children", quick ? " quickly" : "", pools_left(m));
    event_note(EVENT_MASTER, "stopping%s: %zu children", quick ? " quickly" : "",
               pools_left(m));
    upgrade_hand_over(m);
    notify_stopping(m);
    reload_abort(m, "the server is stopping\n");
    if (m->migration)
        kill(m->migration, SIGKILL); /* its transaction is rolled back */
    if (m->phase == PHASE_SERVING)
        listeners_shut(&m->listeners);
    m->phase = PHASE_STOPPING;
    board_shared(m->board)->is_stopping = 1; /* before anyone is told to drain */
    if (quick)
        start_quick(m);
    else if (m->stop == STOP_NONE)
        enter(m, STOP_LINGER, LINGER_MS);
}

uint64_t stop_turn(struct master *m)
{
    if (m->phase != PHASE_STOPPING)
        return NEVER;
    if (m->stop == STOP_LINGER) {
        if (m->now < m->stop_at)
            return m->stop_at;
        start_drain(m);
    }
    if (m->stop == STOP_DRAIN) {
        if (pools_left(m) > 0 || m->migration)
            return NEVER; /* pools_turn() kills those whose time is over */
        listeners_close(&m->listeners);
        m->stop = STOP_SERVICES;
    }
    uint64_t next = services_stop(m);
    if (!services_left(&m->services))
        m->phase = PHASE_GONE;
    return next;
}
