/*
 * listener_inherited.c - sockets that were open when this process began, and those that
 * the next one is left.
 */
#include "common/buf.h"
#include "master/listener.h"
#include "master/listener_parts.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What this process was started with: the manager's, and the former master's. */
struct listeners listeners_passed, listeners_left;

/* The name the manager gave it, or its address: for messages. */
static void describe_passed(struct address *address, const char *name)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->as.any.sa_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&address->as.room)->sin_addr, host,
                  sizeof(host));
    else if (address->as.any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address->as.room)->sin6_addr, host,
                  sizeof(host));
    if (*host)
        snprintf(address->text, sizeof(address->text), "%s (%s:%d)", name, host,
                 address_port(address));
    else
        snprintf(address->text, sizeof(address->text), "%s (unix:%s)", name,
                 address->as.un.sun_path);
}

static bool is_listening(int fd)
{
    int type = 0, listens = 0;
    socklen_t length = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
           type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens;
}

static bool adopt_one(struct listeners *into, int fd, const char *name, bool is_managers,
                      struct buf *error)
{
    struct address address = { .v6only = -1, .is_managers = is_managers };
    socklen_t length = sizeof(address.as);

    if (into->count == LISTENERS_MAX) {
        buf_addf(error, "more than %d sockets were passed to this process",
                 LISTENERS_MAX);
        return false;
    }
    if (getsockname(fd, &address.as.any, &length) < 0 || length > sizeof(address.as) ||
        (address.as.any.sa_family != AF_INET && address.as.any.sa_family != AF_INET6 &&
         address.as.any.sa_family != AF_UNIX)) {
        buf_addf(error, "%s: descriptor %d is no socket to serve on: %s", name, fd,
                 strerror(errno));
        return false;
    }
    /* A manager with Accept=yes passes connections. The former master's may not listen
     * yet when it is told to be replaced early. */
    if (is_managers && !is_listening(fd)) {
        buf_addf(error,
                 "%s: descriptor %d is no listening stream socket; a .socket unit needs "
                 "ListenStream= and Accept=no",
                 name, fd);
        return false;
    }
    address.length = length;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    address_note_file(&address);
    describe_passed(&address, name);
    into->fds[into->count] = fd;
    into->addresses[into->count++] = address;
    return true;
}

/* The next of the names, which colons part; in a static buffer. */
static const char *next_name(const char **at)
{
    static char name[64];
    size_t length = *at ? strcspn(*at, ":") : 0;

    if (length == 0)
        return "systemd";
    snprintf(name, sizeof(name), "%.*s", (int)length, *at);
    *at += length + ((*at)[length] == ':');
    return name;
}

/* sd_listen_fds(3): so many, from descriptor 3 on, for this very process. */
static bool adopt_passed(struct buf *error)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");

    if (!pid || !count || strtol(pid, NULL, 10) != getpid())
        return true;
    long number = strtol(count, NULL, 10);
    for (int i = 0; i < number; i++)
        if (!adopt_one(&listeners_passed, STDERR_FILENO + 1 + i, next_name(&names), true,
                       error))
            return false;
    return true;
}

/* "5,s6,7": an s stands before those that are the service manager's. */
static bool adopt_left(struct buf *error)
{
    const char *at = getenv(LISTENERS_VARIABLE);

    while (at && *at) {
        bool is_managers = *at == 's';
        char *end;
        long fd = strtol(at + is_managers, &end, 10);

        if (end == at + is_managers || fd <= STDERR_FILENO || fd > INT_MAX ||
            !adopt_one(is_managers ? &listeners_passed : &listeners_left, (int)fd,
                       is_managers ? "systemd" : "inherited", is_managers, error))
            return false;
        at = end + (*end == ',');
    }
    return true;
}

bool listeners_adopt(bool are_shared, struct buf *error)
{
    bool is_good = adopt_passed(error) && adopt_left(error);

    listeners_share(&listeners_left, are_shared);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    unsetenv(LISTENERS_VARIABLE);
    return is_good;
}

void listeners_hand_over(const struct listeners *listeners, struct buf *out)
{
    for (size_t i = 0; i < listeners->count; i++)
        buf_addf(out, "%s%s%d", i > 0 ? "," : "",
                 listeners->addresses[i].is_managers ? "s" : "", listeners->fds[i]);
}

void listeners_drop_unused(const struct listeners *used)
{
    for (size_t i = 0; i < listeners_left.count; i++)
        if (listeners_find_fd(used, &listeners_left.addresses[i]) !=
            listeners_left.fds[i])
            close(listeners_left.fds[i]);
    listeners_left.count = 0;
}
