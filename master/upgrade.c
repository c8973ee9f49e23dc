/*
 * upgrade.c - see upgrade.h. What is decided, and when.
 *
 * Each of the two ways has its file:
 *
 *   upgrade_beside.c    old and new master side by side, and the link between them
 *   upgrade_in_place.c  the new program takes this one's place; the way back
 *
 * and so has what both need:
 *
 *   upgrade_program.c   the file that is executed, and the variables it is told things in
 *   upgrade_state.c     children, services and orders that the next program takes over
 *   upgrade_history.c   what has been counted and what has happened
 */
#include "master/upgrade.h"
#include "common/buf.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade_parts.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct upgrade_own upgrade_own = {
    .link = -1, .history = -1, .state = -1, .program = -1, .counted = BUF_HEAP
};

void upgrade_remember_failure(struct master *m, const char *reason)
{
    free(m->upgrade.failure);
    m->upgrade.failure = strndup(reason, strcspn(reason, "\n"));
    event_note(EVENT_MASTER, "an upgrade failed: %s", m->upgrade.failure);
}

void upgrade_adopt(void)
{
    const char *former = getenv(FORMER_VARIABLE), *state = getenv(STATE_VARIABLE);
    const char *failure = getenv(FAILURE_VARIABLE), *orders = getenv(ORDERS_VARIABLE);
    const char *history = getenv(HISTORY_VARIABLE);

    upgrade_own.orders = orders ? strdup(orders) : NULL;
    if (former) {
        upgrade_read_former(former);
    } else if (state) {
        upgrade_keep_variables();
        upgrade_read_state((int)strtol(state, NULL, 10));
        upgrade_own.may_go_back = upgrade_own.program >= 0 && !failure;
    }
    if (failure)
        upgrade_own.failure = strdup(failure);
    if (history) {
        upgrade_own.history = (int)strtol(history, NULL, 10);
        upgrade_set_cloexec(upgrade_own.history, true);
    }
    unsetenv(HISTORY_VARIABLE);
    unsetenv(FORMER_VARIABLE);
    unsetenv(STATE_VARIABLE);
    unsetenv(ORDERS_VARIABLE);
    unsetenv(FAILURE_VARIABLE);
}

void upgrade_open(struct master *m)
{
    upgrade_take_history(m, upgrade_own.counted.data);
    buf_done(&upgrade_own.counted);
    if (upgrade_own.history > STDERR_FILENO)
        upgrade_adopt_history(m, upgrade_own.history);
    if (upgrade_own.failure) {
        log_error("the upgrade failed, this is the former program again: %s",
                  upgrade_own.failure);
        upgrade_remember_failure(m, upgrade_own.failure);
        free(upgrade_own.failure);
        upgrade_own.failure = NULL;
    } else if (upgrade_own.state >= 0) {
        log_info(
            "this program takes the place of forkmark %s: %zu processes are taken over",
            upgrade_own.version, upgrade_own.heir_count);
    }
    if (!upgrade_own.former)
        return;
    m->upgrade.former = upgrade_own.former;
    m->manager.is_mute = true;
    upgrade_send_line(upgrade_own.link, "version", FORKMARK_VERSION);
    if (!upgrade_watch_link(m, upgrade_own.link))
        fatal("the former master cannot be watched: %s", strerror(errno));
    log_info("this master starts beside the former one (pid %d)",
             (int)upgrade_own.former);
}

void upgrade_done(struct master *m)
{
    upgrade_forget_state();
    free(upgrade_own.orders);
    upgrade_own.orders = NULL;
    upgrade_close_link(m);
    if (m->upgrade.history >= 0)
        close(m->upgrade.history);
    if (m->upgrade.check_output >= 0)
        close(m->upgrade.check_output);
    free(m->upgrade.failure);
    m->upgrade.failure = NULL;
}

void upgrade_tell_failure(const char *reason)
{
    if (upgrade_own.link >= 0)
        upgrade_send_line(upgrade_own.link, "failed", reason);
    if (!upgrade_own.may_go_back)
        return;
    upgrade_own.may_go_back = false;
    upgrade_go_back(reason);
}

static bool may_begin(const struct master *m, struct buf *report)
{
    const struct upgrade *upgrade = &m->upgrade;

    if (!m->input || !upgrade_own.path[0])
        buf_adds(report, "there is nothing to upgrade\n");
    else if (m->phase != PHASE_SERVING)
        buf_adds(report, m->phase == PHASE_STOPPING ? "the server is stopping\n"
                                                    : "the server is starting\n");
    else if (reload_is_busy(m))
        buf_adds(report, "a reload is under way\n");
    else if (upgrade->check || (upgrade->successor && !upgrade->successor_serves))
        buf_adds(report, "an upgrade is under way\n");
    else if (upgrade->successor)
        buf_addf(report, "the new master (pid %d) serves already: TERM to one of them\n",
                 (int)upgrade->successor);
    else if (upgrade->former)
        buf_addf(report, "the former master (pid %d) still runs: TERM to one of them\n",
                 (int)upgrade->former);
    return report->length == 0;
}

bool upgrade(struct master *m, bool completes, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;

    /* Asked for a second time: what has begun is brought to its end. */
    if (completes && upgrade->successor) {
        upgrade->completes = true;
        buf_addf(report, "this master ends once process %d serves\n",
                 (int)upgrade->successor);
        return true;
    }
    if (!may_begin(m, report))
        return false;
    free(upgrade->failure);
    upgrade->failure = NULL;
    upgrade->completes = completes;
    if (m->pid == 1 || m->services.is_used)
        return !upgrade_has_other_options(m, report) && upgrade_start_check(m, report);
    return upgrade_start_beside(m, report);
}

bool upgrade_reaped(struct master *m, pid_t pid, int status)
{
    if (m->upgrade.check && pid == m->upgrade.check) {
        upgrade_check_ended(m, status);
        return true;
    }
    for (size_t i = 0; i < upgrade_own.heir_count; i++) {
        if (upgrade_own.heirs[i].pid != pid)
            continue;
        upgrade_own.heirs[i].is_dead = true;
        log_warn("process %d of the former program ended: %s", (int)pid,
                 status_text(status));
        return true;
    }
    return false;
}

uint64_t upgrade_turn(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->former && !upgrade->has_told_ready && m->phase == PHASE_SERVING &&
        pools_serve(m)) {
        upgrade->has_told_ready = true;
        upgrade_send_line(upgrade->link.fd, "ready", "");
    }
    if (upgrade->completes && upgrade->successor_serves && m->phase == PHASE_SERVING) {
        stop_begin(m, false);
        return m->now;
    }
    if (!upgrade->check)
        return NEVER;
    if (m->now >= upgrade->check_deadline) {
        kill(upgrade->check, SIGKILL);
        upgrade->check_deadline = m->now + UPGRADE_CHECK_MS;
    }
    return upgrade->check_deadline;
}

const char *upgrade_stage(const struct master *m)
{
    const struct upgrade *upgrade = &m->upgrade;

    if (upgrade->check)
        return "the new program reads the configuration";
    if (upgrade->successor)
        return upgrade->successor_serves ? "beside the new master"
                                         : "the new master starts";
    if (upgrade->former)
        return "beside the former master";
    if (upgrade_own.heir_count > 0)
        return "the new program starts";
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid && m->children[i].is_inherited &&
            !m->children[i].is_draining)
            return "processes of the former program are replaced";
    return "";
}
