/*
 * child_end.c - a child has ended: what is said of it, who inherits its job, and what
 * its death means for its pool.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/pool_parts.h"
#include "master/tally.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS   30000

/* ---- what it means for its pool ---- */

uint64_t pool_pause_ms(unsigned failures)
{
    if (failures <= 1)
        return 0; /* the first young death may be an accident: again at once */
    if (failures > 10)
        return PAUSE_MAX_MS;
    uint64_t pause = (uint64_t)PAUSE_FIRST_MS << (failures - 2);
    return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

/* Several deaths of one round count once: only those forked since the last one. */
static void note_young_death(struct master *m, struct child *child)
{
    struct pool *pool = child->pool;

    if (child->attempt != pool->failures)
        return;
    pool->failures++;
    uint64_t pause = pool_pause_ms(pool->failures);
    pool->fork_at = m->now + pause;
    if (pause > 0)
        log_warn("pool %s: %u starts failed, next in %.1f s", pool->name, pool->failures,
                 (double)pause / 1000);
}

/* Its work is over for good: there is one place less, until somebody asks. */
static void note_done(const struct master *m, struct pool *pool)
{
    if (pool->is_removed || pool->wanted == 0)
        return;
    pool->wanted--;
    event_note(EVENT_SCALE, "%s: %d wanted now, a consumer's work is over",
               pool_path(pool), pool->wanted);
    if (m->control) /* `jobs work` has none, and ends */
        log_info(
            "pool %s: %d wanted now; `forkmark ctl scale jobs.%s config` starts it anew",
            pool->name, pool->wanted, pool->name);
}

/* What a dead consumer may still have held: its own job, and its predecessor's. */
static void leave_orphans(struct child *child, const struct board_slot *slot)
{
    struct orphaned own = { .has_overrun = child->has_overrun };

    /* Empty when it said good-bye to Redis itself. */
    memcpy(own.rq_name, slot->rq_name, sizeof(own.rq_name));
    own.rq_name[sizeof(own.rq_name) - 1] = '\0';
    if (!child->was_ready)
        orphan_add(child->pool, &child->predecessor);
    orphan_add(child->pool, &own);
}

/* ---- what is said of it ---- */

static bool is_done(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == ROLE_DONE;
}

/* Before it listens for signals, those that tell it to end do just that (spawn.c). */
static bool was_told_early(const struct child *child, int status)
{
    return child->is_draining && !child->was_ready && WIFSIGNALED(status) &&
           (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
}

bool child_ended_on_purpose(const struct child *child, int status)
{
    if (is_done(status) || was_told_early(child, status))
        return true;
    return status == 0 &&
           (child->is_draining || (child->was_ready && child->pool->role->may_end));
}

/* The signal or exit status, what it used, and whether the kernel wanted its memory. */
static void say_how(struct master *m, int status, struct buf *out)
{
    buf_adds(out, status_text(status));
    watch_say_oom(m, status, out);
    buf_adds(out, "; ");
    autopsy_usage(&m->usage, out);
}

static void say_end(struct master *m, const struct child *child, int status)
{
    struct buf used = BUF_HEAP;

    log_debug("%s (pid %d) ended", child_name(m, child), (int)child->pid);
    autopsy_usage(&m->usage, &used);
    event_note(EVENT_END, "%s (pid %d) ended: %s; %s", child_name(m, child),
               (int)child->pid,
               is_done(status) ? "its work is over"
               : child->why    ? child->why
                               : "by itself, as it may",
               buf_text(&used));
    buf_done(&used);
}

static void say_death(struct master *m, const struct child *child, int status)
{
    struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));
    struct board_doing doing = { 0 };
    struct buf how = BUF_HEAP;

    if (child_ended_on_purpose(child, status)) {
        say_end(m, child, status);
        return;
    }
    if (slot->at_last.since_ms)
        doing = slot->at_last;
    else
        board_read_doing(slot, &doing);
    say_how(m, status, &how);
    if (doing.since_ms)
        buf_addf(&how, "; at %s [%s] for %.1f s%s%s", doing.what, doing.id,
                 (double)(m->now - doing.since_ms) / 1000,
                 doing.waiting_on[0] ? ", waiting on " : "", doing.waiting_on);
    log_error("%s (pid %d) died%s: %s", child_name(m, child), (int)child->pid,
              child->was_ready ? "" : " before it was ready", buf_text(&how));
    event_note(EVENT_DEATH, "%s (pid %d) died%s: %s%s%s", child_name(m, child),
               (int)child->pid, child->was_ready ? "" : " before it was ready",
               slot->last_words, slot->last_words[0] ? "; " : "", buf_text(&how));
    autopsy_log_stack(slot, child_name(m, child));
    buf_done(&how);
}

/* ---- the end ---- */

bool pools_reaped(struct master *m, pid_t pid, int status)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];
        struct board_slot *slot = board_slot(m->board, i);

        if (child->pid != pid)
            continue;
        pool_note_ready(m, child->pool); /* it may have become so since the last turn */
        uint64_t oom_kills = m->oom_kills;
        if (m->phase != PHASE_STOPPING || status != 0)
            say_death(m, child, status);
        tally_end(m, child, status, m->oom_kills > oom_kills);
        reload_child_died(m, child, status);
        if (child->pool->role->board == BOARD_CONSUMER)
            leave_orphans(child, slot);
        if (is_done(status) && !child->is_draining)
            note_done(m, child->pool);
        else if (!child->was_ready && !child->is_draining && !child->is_proof)
            note_young_death(m, child);
        if (!child_ended_on_purpose(child, status) && !child->is_draining)
            board_shared(m->board)->restarts++;
        board_release(m->board, (int)i);
        child_close_link(child);
        *child = (struct child){ 0 };
        return true;
    }
    return false;
}
