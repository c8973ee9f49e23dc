/*
 * watch.c - children that are silent, and jobs that outlast their deadline.
 *
 * A child beats its slot as often as its loop turns. One that has been silent for
 * server.timeout blocks, spins or was stopped; it is killed and replaced. If the
 * master itself was late, the whole machine slept (suspend, a frozen container, a
 * debugger), and nobody is to blame: then everybody has the full time again.
 */
#include "common/log.h"
#include "master/master.h"
#include <signal.h>
#include <stdio.h>

#define LOOK_EVERY_MS 1000
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

static void kill_child(struct master *m, size_t index, const char *why)
{
    struct child *child = &m->children[index];
    struct board_slot *slot = board_slot(m->board, index);
    struct board_doing doing = { 0 };
    char name[48];

    child_title(child->pool, slot->number, name, sizeof(name));
    bool is_whole = board_read_doing(slot, &doing);
    log_error("%s (pid %d) is killed: %s%s%s%s%s%s%s", name, (int)child->pid, why,
              doing.since_ms ? ", at " : "", doing.what, doing.since_ms ? " [" : "",
              doing.id, doing.since_ms ? "], waiting on " : "",
              !doing.since_ms       ? ""
              : doing.waiting_on[0] ? doing.waiting_on
                                    : "nothing (computing)");
    if (!is_whole)
        log_warn("%s was interrupted while it noted what it does", name);
    board_shared(m->board)->kills++;
    child->was_killed = true;
    kill(child->pid, SIGKILL);
}

/* How long it has been silent, counted from when the master was awake to notice. */
static uint64_t silence(const struct master *m, const struct board_slot *slot)
{
    uint64_t beat = slot->count.beat_ms;
    uint64_t since = beat > m->awake_since ? beat : m->awake_since;

    return m->now > since ? m->now - since : 0;
}

static void look(struct master *m, size_t index)
{
    const struct board_slot *slot = board_slot(m->board, index);
    uint64_t silent = silence(m, slot);
    struct board_doing doing = { 0 };
    char why[96];

    if (silent > m->options->server.timeout) {
        snprintf(why, sizeof(why), "silent for %.1f s (server.timeout)",
                 (double)silent / 1000);
        kill_child(m, index, why);
        return;
    }
    if (slot->role != BOARD_CONSUMER || !board_read_doing(slot, &doing) ||
        !doing.deadline_ms)
        return;
    uint64_t last = doing.deadline_ms + m->options->jobs.kill_grace;
    if (m->now > last && m->now > m->awake_since + m->options->jobs.kill_grace) {
        snprintf(why, sizeof(why), "its job is %.1f s past its deadline",
                 (double)(m->now - doing.deadline_ms) / 1000);
        m->children[index].has_overrun = true;
        kill_child(m, index, why);
    }
}

uint64_t watch_turn(struct master *m)
{
    static uint64_t next;

    if (m->now < next)
        return next;
    next = m->now + LOOK_EVERY_MS;
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid && !m->children[i].was_killed)
            look(m, i);
    return next;
}
