/*
 * reload_trial.c - from the commit on: the new options are the master's, generation
 * follows generation, and the new one may still have to make way for the former.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/reload_parts.h"

/* What the last process with a socket that goes gets to empty its backlog. */
#define LINGER_MS 20
/* A death within this time of its start speaks against the generation, and so does one
 * that never was ready. */
#define YOUNG_MS   10000
#define TRIAL_MS   10000
#define DEATHS_MAX 3

/* ---- commit ---- */

static void take_options(struct master *m, struct options *options)
{
    m->options = options;
    m->services.options = options;
    log_set_level((enum log_level)options->log.level);
    control_moved(m);
}

void reload_commit(struct master *m)
{
    struct reload *r = &m->reload;
    struct options *old = m->options;

    reload_log_lines(buf_text(&r->report), LOGL_INFO, "reload: ");
    if (r->report.length > 0)
        event_note(EVENT_RELOAD, "taken over: %s", buf_text(&r->report));
    for (size_t i = 0; i < m->pool_count; i++) {
        m->pools[i].former = m->pools[i].generation;
        if (r->needs_children)
            m->pools[i].generation = m->generation + 1;
        /* What was wrong may have been put right: nobody waits out a pause for that. */
        m->pools[i].failures = 0;
        m->pools[i].fork_at = 0;
    }
    if (r->next) {
        r->former_listeners = m->listeners;
        m->listeners = r->next_listeners;
        listeners_set_modes(&m->listeners);
        r->former = old;
        take_options(m, r->next);
        pools_configure(m, old);
        r->next = NULL;
    }
    m->generation++;
    if (r->proof)
        r->proof->is_proof = false;
    r->proof = NULL;
    r->deaths = 0;
    r->stage = RELOAD_ROLL;
}

/* ---- roll ---- */

bool reload_is_rolled(const struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool_old(m, pool) > 0 ||
            (!pool->is_removed && pool_ready(m, pool) < pool->wanted))
            return false;
    }
    return true;
}

void reload_finish_roll(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_back = !r->former && !r->is_restart; /* a rollback is complete */

    listeners_close_others(&r->former_listeners, &m->listeners);
    r->former_listeners.count = 0;
    r->has_shut = false;
    if (is_back) {
        log_info("reload: back at the former configuration");
        event_note(EVENT_RELOAD, "back at the former configuration");
        reload_clear(m);
        return;
    }
    log_info("%s", r->is_restart ? "restarted" : "reloaded");
    event_note(EVENT_RELOAD, "%s: generation %u",
               r->is_restart ? "restarted" : "reloaded", m->generation);
    board_shared(m->board)->reloads++;
    r->has_failed = false;
    r->stage = RELOAD_ON_TRIAL;
    r->deadline = m->now + TRIAL_MS;
    control_reload_done(m, true, "");
}

bool reload_lets_last_go(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->stage != RELOAD_ROLL ||
        !listeners_have_others(&r->former_listeners, &m->listeners))
        return true;
    if (!r->has_shut) {
        listeners_shut_others(&r->former_listeners, &m->listeners);
        r->has_shut = true;
        r->deadline = m->now + LINGER_MS;
    }
    return m->now >= r->deadline;
}

/* ---- trial, and the way back ---- */

/* The former sockets serve again; those that only the new had go when it has gone. */
static void swap_listeners(struct master *m)
{
    struct reload *r = &m->reload;
    struct listeners new = m->listeners, back;
    struct buf error = BUF_HEAP;
    int backlog = (int)m->options->server.backlog;

    if (r->former_listeners.count > 0) {
        if (r->has_shut)
            listeners_reopen_others(&r->former_listeners, &new, backlog);
        m->listeners = r->former_listeners;
    } else if (!r->former_listeners_are_same) {
        if (listeners_renew(&back, &new, m->options, &error))
            m->listeners = back;
        else
            log_error("%s", buf_text(&error));
    }
    r->former_listeners = new;
    r->has_shut = false;
    buf_done(&error);
}

static void roll_back(struct master *m, const char *reason)
{
    struct reload *r = &m->reload;
    struct options *bad = m->options;
    struct buf text = BUF_HEAP;

    buf_addf(&text,
             "the new generation cannot stay up (%u deaths, the last: %s): back to the "
             "former configuration\n",
             r->deaths, reason);
    log_error("%.*s", (int)text.length - 1, text.data);
    if (r->former) {
        take_options(m, r->former);
        r->former = NULL;
        pools_configure(m, bad);
        swap_listeners(m);
        options_free(bad);
    }
    for (size_t i = 0; i < m->pool_count; i++) {
        m->pools[i].generation = m->pools[i].former;
        m->pools[i].failures = 0;
        m->pools[i].fork_at = 0;
    }
    r->is_restart = false;
    r->stage = RELOAD_ROLL;
    reload_remember_failure(m, buf_text(&text));
    control_reload_done(m, false, r->failure);
    buf_done(&text);
}

static const char *why_died(struct master *m, const struct child *child, int status)
{
    const struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));

    return slot->last_words[0] ? slot->last_words : status_text(status);
}

void reload_child_died(struct master *m, struct child *child, int status)
{
    struct reload *r = &m->reload;
    const struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));

    if (child == r->proof && child->was_ready) {
        reload_commit(m); /* it has proven what it should, between two turns */
    } else if (child == r->proof) {
        const char *why = why_died(m, child, status);

        r->proof = NULL;
        reload_fail_at(m, reload_option_of(why), why);
        return;
    }
    bool is_on_trial = r->stage == RELOAD_ROLL || r->stage == RELOAD_ON_TRIAL;
    if (!is_on_trial || (!r->former && !r->is_restart) || child->is_draining ||
        child->generation != child->pool->generation ||
        child->pool->generation == child->pool->former ||
        child_ended_on_purpose(child, status) ||
        (child->was_ready && m->now - slot->started_ms > YOUNG_MS))
        return;
    if (++r->deaths >= DEATHS_MAX)
        roll_back(m, why_died(m, child, status));
}
