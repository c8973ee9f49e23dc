/*
 * arbiter.c - the master's loop: wait for something, then let every duty look.
 *
 * Signals arrive through a descriptor, children's news through an eventfd, and each
 * duty says when it wants to be asked again; so nothing here ever sleeps or polls.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/tally.h"
#include "master/upgrade.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONGEST_WAIT_MS 60000

/* The duties, in the order that lets one turn do the most: what a stage makes
 * possible is done by those after it. */
static uint64_t (*const duties[])(struct master *m) = {
    services_turn, start_turn, watch_turn, doors_turn,   pools_turn,
    reload_turn,   stop_turn,  tally_turn, upgrade_turn, notify_turn,
};

/* Signals ------------------------------------------------------------------- */

static void on_child(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &m->usage)) > 0)
        if (!pools_reaped(m, pid, status) && !services_reaped(m, pid, status) &&
            !start_reaped(m, pid, status) && !reload_reaped(m, pid, status) &&
            !upgrade_reaped(m, pid, status))
            log_debug("process %d ended: %s", (int)pid, status_text(status));
}

static void on_reload(struct master *m)
{
    struct buf report = BUF_HEAP;

    event_note(EVENT_RELOAD, "a reload, by signal HUP");
    reload(m, &report); /* logs by itself */
    buf_done(&report);
}

static void scale_web(struct master *m, int by)
{
    struct pool *web = pool_find(m, "web");
    int wanted = web ? web->wanted + by : 0;

    if (!web || wanted < 1)
        return;
    if (pool_order(m, web, wanted, 0, by > 0 ? "signal TTIN" : "signal TTOU") < 0) {
        log_warn("no room for %d workers", wanted);
        return;
    }
    log_info("%d workers wanted now", wanted);
    event_note(EVENT_SCALE, "web: %d -> %d by signal %s", wanted - by, wanted,
               by > 0 ? "TTIN" : "TTOU");
}

static void on_more(struct master *m)
{
    scale_web(m, 1);
}

static void on_fewer(struct master *m)
{
    scale_web(m, -1);
}

/* The workers drain, the master and everybody else stay: HUP, TTIN or `ctl scale` bring
 * workers back, and clients wait in the backlog until then. */
static void on_winch(struct master *m)
{
    struct pool *web = pool_find(m, "web");

    if (!web || m->phase != PHASE_SERVING || web->wanted == 0)
        return;
    log_info("the workers drain; HUP brings them back");
    event_note(EVENT_SCALE, "web: %d -> 0 by signal WINCH", web->wanted);
    pool_scale(m, web, 0);
    web->is_put_away = true;
}

/* The master alone opens files: its children may not get there any more. */
static void on_reopen(struct master *m)
{
    log_reopen();
    if (m->account.changes)
        log_give(m->account.uid, m->account.gid);
    pools_reopen_logs(m);
}

static void on_upgrade(struct master *m)
{
    struct buf report = BUF_HEAP;

    if (!upgrade(m, false, &report))
        log_error("upgrade: %.*s", (int)strcspn(buf_text(&report), "\n"),
                  buf_text(&report));
    buf_done(&report);
}

/* A second one does not wait any longer. */
static void on_terminate(struct master *m)
{
    stop_begin(m, m->phase == PHASE_STOPPING);
}

static void on_quick(struct master *m)
{
    stop_begin(m, true);
}

/* As in Gunicorn, whose operators' fingers know them. */
static const struct {
    int number;
    const char *name;
    void (*act)(struct master *m);
} signals[] = {
    { SIGCHLD, "CHLD", on_child },   { SIGHUP, "HUP", on_reload },
    { SIGTTIN, "TTIN", on_more },    { SIGTTOU, "TTOU", on_fewer },
    { SIGUSR1, "USR1", on_reopen },  { SIGTERM, "TERM", on_terminate },
    { SIGUSR2, "USR2", on_upgrade }, { SIGINT, "INT", on_quick },
    { SIGQUIT, "QUIT", on_quick },   { SIGWINCH, "WINCH", on_winch },
};
#define SIGNAL_COUNT (sizeof(signals) / sizeof(signals[0]))

/* A terminal that is resized tells its foreground processes so (from the kernel, not from
 * a process): for a server that runs there it means nothing. */
static bool is_of_terminal(const struct signalfd_siginfo *info)
{
    return info->ssi_signo == SIGWINCH && info->ssi_code == SI_KERNEL;
}

static void on_signal(struct watch *watch, uint32_t events)
{
    struct master *m =
        (struct master *)((char *)watch - offsetof(struct master, signals));
    struct signalfd_siginfo info;

    (void)events;
    while (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
        for (size_t i = 0; i < SIGNAL_COUNT; i++) {
            if (signals[i].number != (int)info.ssi_signo || is_of_terminal(&info))
                continue;
            /* The service manager means all of the service, whoever is its main process.
             */
            if (info.ssi_signo == SIGTERM && info.ssi_pid == 1 && m->manager.fd >= 0)
                upgrade_stop_other(m);
            if (info.ssi_signo != SIGCHLD)
                log_info("signal %s", signals[i].name);
            signals[i].act(m);
        }
    }
}

/* The scoreboard has the news; the turn that follows reads it. */
static void on_notify(struct watch *watch, uint32_t events)
{
    uint64_t count;

    (void)events;
    while (read(watch->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

const char *status_text(int status)
{
    static char text[64];

    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
    return text;
}

/* The loop ------------------------------------------------------------------ */

bool master_watch(struct master *m, struct watch *watch, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };

    if (epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0)
        return true;
    return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0;
}

void master_unwatch(struct master *m, struct watch *watch)
{
    epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

/* One event at a time: what it does may close the descriptor of the next. */
static void wait_for_events(struct master *m, uint64_t next)
{
    uint64_t before = clock_ms();
    uint64_t timeout = next > before ? next - before : 0;
    struct epoll_event event;

    m->due_at = before + timeout;
    if (epoll_wait(m->epoll_fd, &event, 1, (int)timeout) == 1) {
        struct watch *watch = event.data.ptr;
        watch->call(watch, event.events);
    }
}

void master_turn(struct master *m, uint64_t at_most_ms)
{
    uint64_t next = NEVER;

    m->now = clock_ms();
    watch_note_lateness(m);
    for (size_t i = 0; i < sizeof(duties) / sizeof(duties[0]); i++)
        next = sooner(next, duties[i](m));
    if (m->phase != PHASE_GONE)
        wait_for_events(m, sooner(next, m->now + at_most_ms));
}

int master_run(struct master *m)
{
    while (m->phase != PHASE_GONE)
        master_turn(m, LONGEST_WAIT_MS);
    return m->exit_status;
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaddset(set, signals[i].number);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void master_init(struct master *m, struct options *options, size_t slots)
{
    sigset_t set;

    *m =
        (struct master){ .options = options, .pid = getpid(), .awake_since = clock_ms() };
    m->now = m->awake_since;
    m->manager.fd = -1;
    m->upgrade.link.fd = m->upgrade.check_output = m->upgrade.history = -1;
    m->oom_kills = m->oom_kills_lately = autopsy_oom_kills();
    m->note =
        mmap(NULL, NOTE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    m->board = board_new(slots);
    m->children = calloc(slots, sizeof(*m->children));
    if (!m->board || !m->children || m->note == MAP_FAILED)
        fatal("no memory for %zu processes' slots", slots);
    log_share_level(&board_shared(m->board)->log_level);
    block_signals(&set);
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    m->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    m->signals =
        (struct watch){ signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_signal };
    m->notify = (struct watch){ m->notify_fd, on_notify };
    if (m->epoll_fd < 0 || !master_watch(m, &m->signals, EPOLLIN) ||
        !master_watch(m, &m->notify, EPOLLIN))
        fatal("the master's loop cannot be set up: %s", strerror(errno));
}

void master_done(struct master *m)
{
    upgrade_leave_history(m);
    control_close(m);
    notify_done(m);
    listeners_close(&m->listeners);
    close(m->signals.fd);
    close(m->notify_fd);
    close(m->epoll_fd);
    log_share_level(NULL);
    board_free(m->board);
    munmap(m->note, NOTE_BYTES);
    free(m->children);
    free(m->reload.failure);
    if (m->pid_file)
        unlink(m->pid_file);
    free(m->pid_file);
    upgrade_done(m); /* last: whoever comes after takes those names when the link ends */
}
