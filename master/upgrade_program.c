/*
 * upgrade_program.c - the file that is executed again, and what whoever comes next is
 * told in its environment, whichever way it comes.
 */
#include "common/buf.h"
#include "master/master.h"
#include "master/upgrade.h"
#include "master/upgrade_parts.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_this_program(const char *path)
{
    struct stat here, running;

    return stat(path, &here) == 0 && stat("/proc/self/exe", &running) == 0 &&
           here.st_dev == running.st_dev && here.st_ino == running.st_ino;
}

/* In PATH; the place of this very program. */
static bool search(const char *name, char ret[PATH_MAX])
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t length = strcspn(at, ":");

        if (length > 0 &&
            snprintf(ret, PATH_MAX, "%.*s/%s", (int)length, at, name) < PATH_MAX &&
            is_this_program(ret))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/*
 * The path it was called by and not what that is now: a link may lead to another version
 * by then, and a replaced file is shown as deleted in /proc.
 */
void upgrade_init(char **arguments)
{
    const char *name = arguments[0], *given = getenv(PROGRAM_VARIABLE);
    char folder[PATH_MAX];

    upgrade_own.arguments = arguments;
    if (given) { /* another file may be there by now */
        snprintf(upgrade_own.path, sizeof(upgrade_own.path), "%s", given);
        unsetenv(PROGRAM_VARIABLE);
        return;
    }
    if (name[0] == '/')
        snprintf(upgrade_own.path, sizeof(upgrade_own.path), "%s", name);
    else if (strchr(name, '/') && getcwd(folder, sizeof(folder)))
        snprintf(upgrade_own.path, sizeof(upgrade_own.path), "%s/%s", folder, name);
    else if (!search(name, upgrade_own.path))
        upgrade_own.path[0] = '\0';
    if (is_this_program(upgrade_own.path))
        return;
    ssize_t length =
        readlink("/proc/self/exe", upgrade_own.path, sizeof(upgrade_own.path) - 1);
    upgrade_own.path[length > 0 ? length : 0] = '\0';
}

void upgrade_set_cloexec(int fd, bool on)
{
    fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

void upgrade_set_number(const char *name, long number)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", number);
    setenv(name, text, 1);
}

void upgrade_set_common(struct master *m)
{
    struct buf sockets = BUF_HEAP;

    for (size_t i = 0; i < m->listeners.count; i++)
        upgrade_set_cloexec(m->listeners.fds[i], false);
    listeners_hand_over(&m->listeners, &sockets);
    setenv(LISTENERS_VARIABLE, buf_text(&sockets), 1);
    setenv(PROGRAM_VARIABLE, upgrade_own.path, 1);
    buf_done(&sockets);
    upgrade_set_orders(m);
    if (m->manager.fd < 0)
        return;
    setenv("NOTIFY_SOCKET", m->manager.path, 1);
    if (m->manager.watchdog_ms > 0)
        upgrade_set_number("WATCHDOG_USEC", (long)m->manager.watchdog_ms * 1000);
}
