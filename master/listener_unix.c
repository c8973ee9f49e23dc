/*
 * listener_unix.c - the files of Unix sockets: left over, somebody else's, ours.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/listener.h"
#include "master/listener_parts.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A socket file nobody listens on is left over from a process that was killed. */
bool address_remove_stale(const struct address *address, struct buf *error)
{
    const char *path = address->as.un.sun_path;
    struct stat status;

    if (lstat(path, &status) < 0)
        return true;
    if (!S_ISSOCK(status.st_mode)) {
        buf_addf(error, "%s: there is already something else of that name",
                 address->text);
        errno = EEXIST;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : connect(fd, &address->as.any, address->length);
    int why = errno;
    if (fd >= 0)
        close(fd);
    /* A full backlog (EAGAIN) is somebody's as well; who may not ask does not know. */
    if (rc == 0 || why != ECONNREFUSED) {
        if (rc == 0 || why == EAGAIN)
            buf_addf(error, "%s: another process listens there", address->text);
        else
            buf_addf(error, "%s: whether another process listens there is not known: %s",
                     address->text, strerror(why));
        errno = rc == 0 || why == EAGAIN ? EADDRINUSE : why;
        return false;
    }
    log_info("%s: the socket of a process that is gone is removed", address->text);
    unlink(path);
    return true;
}

void address_note_file(struct address *address)
{
    struct stat status;

    if (address->as.any.sa_family != AF_UNIX ||
        stat(address->as.un.sun_path, &status) < 0)
        return;
    address->device = status.st_dev;
    address->inode = status.st_ino;
}

void address_remove_name(const struct address *address)
{
    struct stat status;

    if (address->as.any.sa_family == AF_UNIX && !address->is_managers &&
        !address->is_shared && lstat(address->as.un.sun_path, &status) == 0 &&
        status.st_dev == address->device && status.st_ino == address->inode)
        unlink(address->as.un.sun_path);
}

void listeners_set_modes(const struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        const struct address *address = &listeners->addresses[i];

        if (address->as.any.sa_family == AF_UNIX && !address->is_managers &&
            chmod(address->as.un.sun_path, address->mode) < 0)
            log_warn("%s: its mode cannot be set: %s", address->text, strerror(errno));
    }
}
