/*
 * reload.c - the configuration is read again, whole, and then applied or not at all.
 *
 *   read     in a child (conf_child.c); new addresses are bound
 *   probe    a short-lived child looks at the database: password, schema, room
 *   proof    where children have to be replaced, one of the new generation tries out
 *            what it needs before any of the old drains
 *   commit   the new options are the master's; what is live applies now
 *   roll     one in, one out (pool_turn.c)
 *   trial    for a while more: a generation that cannot stay up is rolled back
 *
 * Until the commit nothing has changed, whatever fails. What needs a restart keeps its
 * old value until then, so that all children, old and new, agree.
 *
 * Here: how one begins, and what each turn does about it. Probe and proof are in
 * reload_proof.c, commit, roll and trial in reload_trial.c, see reload_parts.h.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/reload_parts.h"
#include "master/tls_files.h"

bool reload_is_busy(const struct master *m)
{
    return m->reload.is_wanted ||
           (m->reload.stage != RELOAD_NONE && m->reload.stage != RELOAD_ON_TRIAL);
}

/* ---- the turn ---- */

uint64_t reload_turn(struct master *m)
{
    struct reload *r = &m->reload;

    if (m->phase != PHASE_SERVING)
        return NEVER;
    switch (r->stage) {
    case RELOAD_PROBE:
        if (m->now < r->deadline)
            return r->deadline;
        reload_fail(m, "the database did not answer in time\n");
        return m->now;
    case RELOAD_PROOF:
        if (r->proof->was_ready)
            reload_commit(m);
        else if (m->now >= r->deadline)
            reload_fail(m,
                        "the first process of the new generation did not become ready in "
                        "time\n");
        else
            return r->deadline;
        return m->now;
    case RELOAD_ROLL:
        if (reload_is_rolled(m)) {
            reload_finish_roll(m);
            return m->now;
        }
        return r->has_shut && m->now < r->deadline ? r->deadline : NEVER;
    case RELOAD_ON_TRIAL:
        if (m->now < r->deadline && !r->is_wanted)
            return r->deadline;
        reload_clear(m);
        return m->now;
    default:
        break;
    }
    if (r->is_wanted) {
        struct buf report = BUF_HEAP;

        r->is_wanted = false;
        if (!reload(m, &report) || !reload_is_busy(m))
            control_reload_done(m, !r->has_failed, buf_text(&report));
        else
            control_reload_begun(m, buf_text(&report));
        buf_done(&report);
        return m->now;
    }
    return NEVER;
}

/* ---- the beginning ---- */

/* False: it cannot begin now; `report` says why, or that it will. */
static bool may_begin(struct master *m, struct buf *report, bool *ret_will)
{
    *ret_will = false;
    if (m->phase == PHASE_STOPPING) {
        buf_adds(report, "the server is stopping\n");
        return false;
    }
    if (!m->input) {
        buf_adds(report, "there is nothing to reload\n");
        return false;
    }
    if (m->phase == PHASE_SERVING && !reload_is_busy(m))
        return true;
    m->reload.is_wanted = *ret_will = true;
    buf_adds(report, m->phase == PHASE_SERVING
                         ? "a reload is under way; the next one follows it\n"
                         : "the server is starting; the reload follows\n");
    return false;
}

static bool bind_new(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_port = reload_is_changed(m->options, r->next, "server.port");
    bool is_bind = reload_is_changed(m->options, r->next, "server.bind");
    struct buf error = BUF_HEAP;

    r->next_listeners = m->listeners;
    r->next_listeners.has_tls = *r->next->server.tls_certificate != '\0';
    r->former_listeners_are_same = !is_port && !is_bind;
    if (r->former_listeners_are_same)
        return true;
    bool is_open = listeners_renew(&r->next_listeners, &m->listeners, r->next, &error);
    if (!is_open)
        reload_fail_at(m, is_bind ? "server.bind" : "server.port", buf_text(&error));
    buf_done(&error);
    return is_open;
}

static void check_files(const struct options *options)
{
    struct buf error = BUF_HEAP;

    if (!budget_files(options, &error))
        log_warn("%s", buf_text(&error));
    buf_done(&error);
}

/* As in Gunicorn, HUP starts workers again that WINCH had put away. */
static void bring_back(struct master *m)
{
    struct pool *web = pool_find(m, "web");

    if (!web || !web->is_put_away)
        return;
    if (web->order.is_given)
        pool_scale(m, web, web->order.wanted);
    else
        pool_take_back(m, web);
}

bool reload(struct master *m, struct buf *report)
{
    struct reload *r = &m->reload;
    struct buf errors = BUF_HEAP;
    bool will;

    if (!may_begin(m, report, &will))
        return will;
    notify_reloading(m);
    reload_clear(m);
    r->serial++;
    m->now = clock_ms();
    bring_back(m);
    r->next = options_load_in_child(m->input, &errors);
    if (r->next && !account_check_pools(r->next, &m->account, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (r->next && !tls_files_read(r->next, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (r->next && !services_complete(r->next, &m->services.data, m->embedded, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (!r->next) {
        reload_fail(m, buf_text(&errors));
    } else {
        reload_compare(r, m->options);
        if (r->report.length == 0) {
            buf_adds(report, "nothing changed\n");
            log_info("reloaded: nothing changed");
            event_note(EVENT_RELOAD, "reloaded: nothing changed");
            log_set_level((enum log_level)m->options->log.level); /* `ctl log-level` */
            board_shared(m->board)->reloads++;
            r->has_failed = false;
            reload_clear(m);
        } else if (bind_new(m)) {
            check_files(r->next);
            buf_adds(report, buf_text(&r->report));
            reload_probe(m);
        }
    }
    buf_done(&errors);
    if (r->has_failed && r->stage == RELOAD_NONE) {
        buf_clear(report);
        buf_adds(report, r->failure);
        return false;
    }
    return true;
}

bool reload_restart(struct master *m, struct buf *report)
{
    struct reload *r = &m->reload;

    if (m->phase != PHASE_SERVING || reload_is_busy(m)) {
        buf_adds(report, m->phase == PHASE_STOPPING  ? "the server is stopping\n"
                         : m->phase == PHASE_SERVING ? "a reload is under way\n"
                                                     : "the server is starting\n");
        return false;
    }
    notify_reloading(m);
    reload_clear(m);
    r->serial++;
    m->now = clock_ms();
    r->is_restart = true;
    r->needs_children = true;
    r->former_listeners_are_same = true;
    log_info("every process is replaced, one in, one out");
    buf_adds(report, "every process is replaced, one in, one out\n");
    reload_start_proof(m);
    if (r->stage == RELOAD_NONE) {
        buf_clear(report);
        buf_adds(report, r->failure);
        return false;
    }
    return true;
}
