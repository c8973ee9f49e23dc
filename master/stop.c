/*
 * stop.c - the end, stage by stage.
 *
 * Graceful: for drain_delay readiness alone says that the end is near, so that a load
 * balancer sends nothing more; then nobody new gets in while workers empty the backlog
 * for a moment; then all children drain, at most graceful_timeout; then the services
 * end, those that others write to last. Quick: the same without waiting for requests or
 * jobs. (Where another master serves at the same sockets, nothing is in a hurry, and
 * nobody has to be told: then even the quick stop lets requests end, and only jobs go
 * back to their queues at once. A second one is quick there, too.)
 *
 * Without a balancer's notice a client that connects during the drain is not answered at
 * all, and tries again when the next start may be there; with one it is refused at once,
 * as the balancer then asks another server.
 */
#include "common/clock.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade.h"
#include <signal.h>

/* Long enough for a worker to accept what had already connected. */
#define LINGER_MS 20
/* When the workers have emptied the backlog at the latest. */
#define REFUSE_AFTER_MS 250
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

/* After this nobody new gets in. */
static void start_linger(struct master *m)
{
    if (m->had_served)
        listeners_shut(&m->listeners);
    board_shared(m->board)->is_leaving = !upgrade_shares_sockets(m);
    board_shared(m->board)->is_stopping = 1; /* before anyone is told to drain */
    enter(m, STOP_LINGER, LINGER_MS);
}

static void start_drain(struct master *m)
{
    m->refuses_at = m->had_notice ? m->now + REFUSE_AFTER_MS : NEVER;
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
    m->refuses_at = NEVER;
    start_linger(m);
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid)
            end_quickly(m, &m->children[i]);
    enter(m, STOP_DRAIN, QUICK_MS);
}

/* Whether anybody should hear of the end first: not while another master serves at the
 * same addresses, nor where no worker does. */
static bool is_asked_for_readiness(struct master *m)
{
    const struct pool *web = pool_find(m, "web");

    return m->options->server.drain_delay > 0 && m->had_served && web &&
           pool_ready(m, web) > 0 && !upgrade_shares_sockets(m);
}

static void start_notice(struct master *m)
{
    log_info("readiness says no; the drain begins in %.1f s (server.drain_delay)",
             (double)m->options->server.drain_delay / 1000);
    m->had_notice = true;
    board_shared(m->board)->is_leaving = 1;
    enter(m, STOP_NOTICE, m->options->server.drain_delay);
}

void stop_begin(struct master *m, bool quick)
{
    m->now = clock_ms();
    if (m->stop == STOP_SERVICES || (m->stop != STOP_NONE && m->stop_is_quick))
        return;
    if (quick && m->phase == PHASE_SERVING && upgrade_shares_sockets(m)) {
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
    if (m->phase != PHASE_STOPPING)
        m->had_served = m->phase == PHASE_SERVING;
    m->phase = PHASE_STOPPING;
    if (quick)
        start_quick(m);
    else if (m->stop == STOP_NONE && is_asked_for_readiness(m))
        start_notice(m);
    else if (m->stop == STOP_NONE)
        start_linger(m);
}

uint64_t stop_turn(struct master *m)
{
    if (m->phase != PHASE_STOPPING)
        return NEVER;
    if (m->stop == STOP_NOTICE) {
        if (m->now < m->stop_at)
            return m->stop_at;
        start_linger(m);
    }
    if (m->stop == STOP_LINGER) {
        if (m->now < m->stop_at)
            return m->stop_at;
        start_drain(m);
    }
    if (m->stop == STOP_DRAIN) {
        if (m->now >= m->refuses_at) {
            m->refuses_at = NEVER;
            listeners_refuse(&m->listeners);
        }
        if (pools_left(m) > 0 || m->migration)
            return m->refuses_at; /* pools_turn() kills those whose time is over */
        listeners_close(&m->listeners);
        m->stop = STOP_SERVICES;
    }
    uint64_t next = services_stop(m);
    if (!services_left(&m->services))
        m->phase = PHASE_GONE;
    return next;
}
