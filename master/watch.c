/*
 * watch.c - children that are silent, and jobs that outlast their deadline.
 *
 * A child beats its slot as often as its loop turns. One that has been silent for
 * server.timeout blocks, spins or was stopped (its processor time tells which); it is
 * asked for its stack, killed and replaced. If the
 * master itself was late, the whole machine slept (suspend, a frozen container, a
 * debugger), and nobody is to blame: then everybody has the full time again.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define LOOK_EVERY_MS 1000
/* Reading PSS costs the kernel a walk through the process' pages. */
#define MEMORY_EVERY_MS 5000
/* What a child gets to leave its stack. */
#define REPORT_MS 500
/* So many times server.timeout for one that would run but is not let. */
#define STARVED_FACTOR 3
/* Later than this is no scheduling delay. */
#define LATE_MS 1000

void watch_note_lateness(struct master *m)
{
    if (!m->due_at || m->now < m->due_at + LATE_MS)
        return;
    log_warn("this process stood still for %.1f s: no child is called silent for that",
             (double)(m->now - m->due_at) / 1000);
    m->awake_since = m->now;
}

/*
 * It is asked for its stack first, and ends itself after that; one that cannot do even
 * that (in an uninterruptible wait, or before it was ready) is killed soon after.
 */
void watch_kill(struct master *m, size_t index, const char *why, bool is_stopped)
{
    struct child *child = &m->children[index];
    struct board_slot *slot = board_slot(m->board, index);
    struct board_doing doing = { 0 };
    struct buf at = BUF_HEAP;
    char name[48];

    child_title(child->pool, slot->number, name, sizeof(name));
    bool is_whole = board_read_doing(slot, &doing);
    if (doing.since_ms)
        buf_addf(&at, "; the last it began: %s [%s], %.1f s ago, waiting on %s",
                 doing.what, doing.id, (double)(m->now - doing.since_ms) / 1000,
                 doing.waiting_on[0] ? doing.waiting_on : "nothing");
    log_error("%s (pid %d) is killed: %s%s", name, (int)child->pid, why, buf_text(&at));
    event_note(EVENT_KILL, "%s (pid %d) is killed: %s%s", name, (int)child->pid, why,
               buf_text(&at));
    buf_done(&at);
    if (!is_whole)
        log_warn("%s was interrupted while it noted what it does", name);
    board_shared(m->board)->kills++;
    child->was_killed = true;
    child->kill_at = m->now + REPORT_MS;
    autopsy_ask(child->pid, is_stopped);
}

uint64_t watch_silence(const struct master *m, size_t index)
{
    uint64_t beat = board_slot(m->board, index)->count.beat_ms;

    if (m->children[index].is_inherited)
        return 0; /* it beats where the former program looked */
    uint64_t since = beat > m->awake_since ? beat : m->awake_since;

    return m->now > since ? m->now - since : 0;
}

/* True: it has been silent too long, and was given up. */
static bool look_at_silence(struct master *m, size_t index)
{
    struct child *child = &m->children[index];
    uint64_t silent = watch_silence(m, index);
    struct vital now = { 0 };

    if (silent < LOOK_EVERY_MS) {
        child->vital.at_ms = 0;
        return false;
    }
    if (!vital_read(child->pid, m->now, &now))
        return false;
    if (!child->vital.at_ms)
        child->vital = now;
    if (silent <= m->options->server.timeout || now.at_ms == child->vital.at_ms)
        return false;
    enum hang kind = hang_kind(&child->vital, &now);
    /* Throttled, or on a machine that has other things to do: not its fault for long. */
    if (kind == HANG_STARVED && silent <= STARVED_FACTOR * m->options->server.timeout)
        return false;
    struct buf why = BUF_HEAP;
    buf_addf(&why, "silent for %.1f s (server.timeout): ", (double)silent / 1000);
    hang_describe(child->pid, &child->vital, &now, &why);
    watch_kill(m, index, buf_text(&why), kind == HANG_STOPPED);
    buf_done(&why);
    return true;
}

static void look_at_job(struct master *m, size_t index)
{
    const struct board_slot *slot = board_slot(m->board, index);
    struct board_doing doing = { 0 };
    char why[96];

    if (slot->role != BOARD_CONSUMER || !board_read_doing(slot, &doing) ||
        !doing.deadline_ms)
        return;
    uint64_t last = doing.deadline_ms + m->options->jobs.kill_grace;
    if (m->now > last && m->now > m->awake_since + m->options->jobs.kill_grace) {
        snprintf(why, sizeof(why), "its job is %.1f s past its deadline",
                 (double)(m->now - doing.deadline_ms) / 1000);
        m->children[index].has_overrun = true;
        watch_kill(m, index, why, false);
    }
}

/* Others of the group may have been killed before: programs that jobs run, for one. */
static void look_at_oom(struct master *m)
{
    m->oom_kills = m->oom_kills_lately;
    m->oom_kills_lately = autopsy_oom_kills();
}

void watch_say_oom(struct master *m, int status, struct buf *out)
{
    uint64_t kills;

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        return;
    kills = autopsy_oom_kills();
    if (kills > m->oom_kills)
        buf_addf(out, ", out of memory (oom_kill of the control group is %llu)",
                 (unsigned long long)kills);
    if (kills > 0)
        m->oom_kills = m->oom_kills_lately = kills;
}

static uint64_t memory_limit(const struct master *m, const struct child *child)
{
    switch (child->pool->role->board) {
    case BOARD_WORKER:
        return m->options->server.max_rss;
    case BOARD_CONSUMER:
        return m->options->jobs.max_rss;
    default:
        return 0;
    }
}

/* Replaced like one of an older generation: drained, never cut off. */
static void look_at_memory(struct master *m, size_t index)
{
    struct child *child = &m->children[index];
    uint64_t limit = memory_limit(m, child), held;
    char name[48];

    if (limit == 0 || !child->was_ready || child->is_draining || child->is_worn)
        return;
    held = memory_of(child->pid);
    if (held <= limit)
        return;
    child_title(child->pool, board_slot(m->board, index)->number, name, sizeof(name));
    log_warn("%s (pid %d) holds %.1f MB, more than max_rss (%.1f MB): replaced", name,
             (int)child->pid, (double)held / 1048576, (double)limit / 1048576);
    event_note(EVENT_RECYCLE, "%s (pid %d) holds %.1f MB, more than max_rss (%.1f MB)",
               name, (int)child->pid, (double)held / 1048576, (double)limit / 1048576);
    child->is_worn = true;
}

uint64_t watch_turn(struct master *m)
{
    static uint64_t next, memory_at;

    if (m->now < next)
        return next;
    next = m->now + LOOK_EVERY_MS;
    look_at_oom(m);
    bool wants_memory = m->now >= memory_at;
    if (wants_memory)
        memory_at = m->now + MEMORY_EVERY_MS;
    for (size_t i = 0; i < board_slots(m->board); i++) {
        if (!m->children[i].pid || m->children[i].was_killed ||
            m->children[i].is_inherited)
            continue;
        if (!look_at_silence(m, i))
            look_at_job(m, i);
        if (wants_memory)
            look_at_memory(m, i);
    }
    autoscale_look(m);
    return next;
}
