/*
 * upgrade_beside.c - old and new master side by side.
 *
 * The new one is told of the old one in FORMER_VARIABLE, "pid:descriptor of the link".
 * Over the link both say a line at a time; its end tells each that the other has gone.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade.h"
#include "master/upgrade_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The link ---------------------------------------------------------------------- */

/* "4711:5": the former master, and the link to it. */
void upgrade_read_former(const char *text)
{
    char *end;

    upgrade_own.former = (pid_t)strtol(text, &end, 10);
    upgrade_own.link = *end == ':' ? (int)strtol(end + 1, NULL, 10) : -1;
    if (upgrade_own.former <= 0 || upgrade_own.link <= STDERR_FILENO)
        fatal("%s=%s is nothing a former master wrote", FORMER_VARIABLE, text);
    upgrade_set_cloexec(upgrade_own.link, true);
}

void upgrade_send_line(int fd, const char *word, const char *more)
{
    char line[512];

    snprintf(line, sizeof(line), "%s %.*s\n", word, (int)strcspn(more, "\n"), more);
    if (fd >= 0 && send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("the other master was not told `%s`: %s", word, strerror(errno));
}

void upgrade_close_link(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->link.fd < 0)
        return;
    master_unwatch(m, &upgrade->link);
    close(upgrade->link.fd);
    if (upgrade_own.link == upgrade->link.fd)
        upgrade_own.link = -1;
    upgrade->link.fd = -1;
    buf_done(&upgrade->in);
    upgrade->in = (struct buf)BUF_HEAP;
}

/* Whether the sockets are another master's as well: also those that a reload keeps for
 * the case that it is rolled back. */
static void share_sockets(struct master *m, bool are_shared)
{
    listeners_share(&m->listeners, are_shared);
    listeners_share(&m->reload.next_listeners, are_shared);
    listeners_share(&m->reload.former_listeners, are_shared);
}

/* Names without ".2", and the service manager. */
static void promote(struct master *m)
{
    event_note(EVENT_MASTER, "the former master (pid %d) has gone",
               (int)m->upgrade.former);
    log_info("the former master (pid %d) has gone: this one takes its place",
             (int)m->upgrade.former);
    m->upgrade.former = 0;
    m->manager.is_mute = false;
    upgrade_end_history(m);
    share_sockets(m, false);
    control_moved(m);
    if (m->pid_file) {
        char *name = strndup(m->pid_file, strlen(m->pid_file) - strlen(".2"));

        if (name && rename(m->pid_file, name) == 0) {
            free(m->pid_file);
            m->pid_file = name;
        } else {
            log_warn("%s cannot be renamed: %s", m->pid_file, strerror(errno));
            free(name);
        }
    }
}

static void hear(struct master *m, const char *line)
{
    struct upgrade *upgrade = &m->upgrade;

    if (strncmp(line, "version ", 8) == 0) {
        snprintf(upgrade->version, sizeof(upgrade->version), "%s", line + 8);
    } else if (strncmp(line, "ready", 5) == 0) {
        upgrade->successor_serves = true;
        event_note(EVENT_MASTER, "forkmark %s (pid %d) serves beside this one",
                   upgrade->version, (int)upgrade->successor);
        log_info(
            "forkmark %s (pid %d) serves beside this one; TERM or QUIT to one of them "
            "ends it",
            upgrade->version, (int)upgrade->successor);
    } else if (strncmp(line, "failed ", 7) == 0) {
        upgrade_remember_failure(m, line + 7);
    } else if (strncmp(line, "main", 4) == 0) {
        upgrade->has_handed_over = true;
        m->manager.is_mute = false;
        share_sockets(m, false); /* the former one only leaves them */
    }
}

static void successor_ended(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->successor_serves) {
        log_warn("the new master (pid %d) has gone: this one serves on",
                 (int)upgrade->successor);
    } else {
        if (!upgrade->failure)
            upgrade_remember_failure(
                m, "the new master ended before it served; the log may tell");
        log_error("the upgrade failed, this master serves on: %s", upgrade->failure);
    }
    upgrade->successor = 0;
    upgrade->successor_serves = upgrade->completes = false;
    upgrade_end_history(m);
    share_sockets(m, false);
}

/* What has been said; false when the other has gone. */
static bool read_link(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;
    char chunk[512], *end;
    ssize_t got;

    while ((got = recv(upgrade->link.fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0) {
        buf_add(&upgrade->in, chunk, (size_t)got);
        while ((end = memchr(upgrade->in.data, '\n', upgrade->in.length))) {
            *end = '\0';
            hear(m, upgrade->in.data);
            buf_consume(&upgrade->in, (size_t)(end + 1 - upgrade->in.data));
        }
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void on_link(struct watch *watch, uint32_t events)
{
    struct upgrade *upgrade =
        (struct upgrade *)((char *)watch - offsetof(struct upgrade, link));
    struct master *m =
        (struct master *)((char *)upgrade - offsetof(struct master, upgrade));

    (void)events;
    if (read_link(m))
        return;
    upgrade_close_link(m);
    if (upgrade->former)
        promote(m);
    else if (upgrade->successor)
        successor_ended(m);
}

bool upgrade_watch_link(struct master *m, int fd)
{
    m->upgrade.link = (struct watch){ fd, on_link };
    m->upgrade.in = (struct buf)BUF_HEAP;
    return master_watch(m, &m->upgrade.link, EPOLLIN);
}

/* The new master ---------------------------------------------------------------- */

_Noreturn static void be_successor(struct master *m, int link)
{
    char text[64];
    sigset_t none;

    upgrade_set_common(m);
    upgrade_set_cloexec(link, false);
    snprintf(text, sizeof(text), "%d:%d", (int)m->pid, link);
    setenv(FORMER_VARIABLE, text, 1);
    if (m->upgrade.history >= 0) {
        upgrade_set_cloexec(m->upgrade.history, false);
        upgrade_set_number(HISTORY_VARIABLE, m->upgrade.history);
    }
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(upgrade_own.path, upgrade_own.arguments);
    snprintf(text, sizeof(text), "cannot be executed: %s", strerror(errno));
    upgrade_send_line(link, "failed", text);
    _exit(127);
}

/*
 * As a grandchild, which is nobody's child any more: systemd ends a service in order only
 * when the main process is its own child ("Supervising process ... which is not our
 * child" is followed by SIGKILL), and that is what it becomes when its parent ends.
 */
static pid_t fork_successor(struct master *m, int link)
{
    int ends[2];
    pid_t pid = -1;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid_t between = fork();
    if (between == 0) {
        pid = fork();
        if (pid == 0)
            be_successor(m, link);
        _exit(write(ends[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
    }
    close(ends[1]);
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (between < 0 || read(ends[0], &pid, sizeof(pid)) != sizeof(pid) || pid < 0)
        pid = -EAGAIN;
    close(ends[0]);
    return pid;
}

bool upgrade_start_beside(struct master *m, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        buf_addf(report, "no socket pair: %s\n", strerror(errno));
        return false;
    }
    upgrade_share_history(m);
    pid_t pid = fork_successor(m, ends[1]);
    close(ends[1]);
    if (pid < 0 || !upgrade_watch_link(m, ends[0])) {
        buf_addf(report, "no process for the new master: %s\n", strerror(errno));
        close(ends[0]);
        upgrade_end_history(m);
        upgrade->link.fd = -1;
        return false;
    }
    upgrade->successor = pid;
    upgrade->successor_serves = upgrade->has_handed_over = false;
    share_sockets(m, true);
    upgrade->version[0] = '\0';
    log_info("upgrade: %s starts beside this master, pid %d", upgrade_own.path, (int)pid);
    buf_addf(report, "%s starts beside this master, pid %d\n", upgrade_own.path,
             (int)pid);
    return true;
}

bool upgrade_is_second(const struct master *m)
{
    return m->upgrade.former != 0;
}

bool upgrade_shares_sockets(const struct master *m)
{
    return m->upgrade.successor != 0 ||
           (m->upgrade.former != 0 && !m->upgrade.has_handed_over);
}

void upgrade_hand_over(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (!upgrade->successor || upgrade->has_handed_over)
        return;
    upgrade->has_handed_over = true;
    log_info("process %d goes on with the service", (int)upgrade->successor);
    /* In this order: the manager hears nobody but the main process. */
    notify_main_pid(m, upgrade->successor);
    upgrade_send_line(upgrade->link.fd, "main", "");
}

void upgrade_stop_other(struct master *m)
{
    if (!m->upgrade.successor)
        return;
    kill(m->upgrade.successor, SIGTERM);
    m->upgrade.successor = 0;
    upgrade_end_history(m);
    share_sockets(m, false);
    upgrade_close_link(m);
}
