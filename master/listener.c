/*
 * listener.c - see listener.h. Sockets are opened, shut, closed; a reload renews them.
 *
 * Beside it:
 *
 *   listener_address.c    addresses as operators write them and as people read them
 *   listener_unix.c       the files of Unix sockets
 *   listener_inherited.c  sockets of the service manager and of the master before
 */
#include "master/listener.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/options.h"
#include "master/listener_parts.h"
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_MS 50 /* between two tries */

/* Opening ----------------------------------------------------------------------- */

/* "[::]" alone serves IPv4 as well; beside an IPv4 address of that port it must not. */
static bool has_ipv4_neighbour(const struct listeners *listeners, int port)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (listeners->addresses[i].as.any.sa_family == AF_INET &&
            address_port(&listeners->addresses[i]) == port)
            return true;
    return false;
}

static void say_why(const struct address *address, int error_number, struct buf *error)
{
    switch (error_number) {
    case EADDRINUSE:
        buf_addf(error,
                 "cannot listen on %s: the address is in use by another process; choose "
                 "another in server.bind, or PORT for the port",
                 address->text);
        break;
    case EACCES:
        buf_addf(error,
                 "cannot listen on %s: not allowed (ports below 1024 need root); see "
                 "server.bind",
                 address->text);
        break;
    case EADDRNOTAVAIL:
        buf_addf(error,
                 "cannot listen on %s: this machine has no such address; see server.bind",
                 address->text);
        break;
    default:
        buf_addf(error, "cannot listen on %s: %s; see server.bind", address->text,
                 strerror(error_number));
    }
}

static int set_options(int fd, const struct listeners *listeners,
                       const struct address *address)
{
    int one = 1;

    if (address->as.any.sa_family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -1;
    if (address->as.any.sa_family != AF_INET6)
        return 0;
    int alone = address->v6only >= 0
                    ? address->v6only
                    : has_ipv4_neighbour(listeners, address_port(address));
    return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof(alone));
}

static int open_one(struct listeners *listeners, struct address *address,
                    struct buf *error)
{
    bool is_unix = address->as.any.sa_family == AF_UNIX;

    if (is_unix && !address_remove_stale(address, error)) {
        listeners->met_others = errno == EADDRINUSE;
        return -1;
    }
    int fd =
        socket(address->as.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || set_options(fd, listeners, address) < 0 ||
        bind(fd, &address->as.any, address->length) < 0 ||
        (is_unix && chmod(address->as.un.sun_path, address->mode) < 0)) {
        listeners->met_others = errno == EADDRINUSE;
        say_why(address, errno, error);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    address_note_file(address);
    return fd;
}

static bool is_same(const struct address *a, const struct address *b)
{
    return a->length == b->length && memcmp(&a->as, &b->as, a->length) == 0;
}

/* Its place in `listeners`, or -1. */
static int find(const struct listeners *listeners, const struct address *address)
{
    for (size_t i = 0; listeners && i < listeners->count; i++)
        if (is_same(&listeners->addresses[i], address))
            return (int)i;
    return -1;
}

int listeners_find_fd(const struct listeners *listeners, const struct address *address)
{
    int at = find(listeners, address);

    return at < 0 ? -1 : listeners->fds[at];
}

/* Its descriptor there, whose file it also takes over; or -1. */
static int take_over(const struct listeners *from, struct address *address)
{
    int at = find(from, address);

    if (at < 0)
        return -1;
    address->device = from->addresses[at].device;
    address->inode = from->addresses[at].inode;
    address->is_shared = from->addresses[at].is_shared;
    return from->fds[at];
}

/* The kernel takes that decision once, before the socket is bound. */
static bool has_its_v6only(int fd, const struct address *address, struct buf *error)
{
    int is = 0;
    socklen_t length = sizeof(is);

    if (address->v6only < 0 ||
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is, &length) < 0 ||
        is == address->v6only)
        return true;
    buf_addf(error, "%s: an open socket cannot change v6only; it needs a restart",
             address->text);
    return false;
}

/* A socket of `now` is taken over; it may be NULL. */
static bool add(struct listeners *listeners, const struct listeners *now,
                const char *text, int port, struct buf *error)
{
    struct address *address = &listeners->addresses[listeners->count];

    if (listeners->count == LISTENERS_MAX) {
        buf_addf(error, "server.bind: more than %d addresses", LISTENERS_MAX);
        return false;
    }
    if (!address_parse(text, port, address, error))
        return false;
    if (find(listeners, address) >= 0) {
        buf_addf(error, "server.bind: %s is there twice", text);
        return false;
    }
    int fd = take_over(now, address);
    if (fd < 0)
        fd = take_over(&listeners_left, address);
    if (fd >= 0 && !has_its_v6only(fd, address, error))
        return false;
    if (fd < 0)
        fd = open_one(listeners, address, error);
    if (fd < 0)
        return false;
    listeners->fds[listeners->count++] = fd;
    return true;
}

static bool open_all(struct listeners *listeners, const struct listeners *now,
                     const struct options *options, struct buf *error)
{
    const struct conf_list *bind_to = &options->server.bind;
    int port = (int)options->server.port;

    listeners->count = 0;
    listeners->has_tls = *options->server.tls_certificate != '\0';
    if (listeners_passed.count > 0) {
        *listeners = listeners_passed;
        listeners->has_tls = *options->server.tls_certificate != '\0';
        return true;
    }
    if (bind_to->count == 0)
        return add(listeners, now, "0.0.0.0", port, error);
    /* IPv4 first, so that an IPv6 socket knows whether it has the port to itself. */
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < bind_to->count; i++) {
            bool is_ipv6 = bind_to->items[i][0] == '[';

            if (is_ipv6 == (round == 1) &&
                !add(listeners, now, bind_to->items[i], port, error))
                return false;
        }
    }
    return true;
}

/* Signals are taken in the loop, which has not begun. */
static bool is_told_to_end(void)
{
    sigset_t waiting;

    return sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGTERM) || sigismember(&waiting, SIGINT) ||
            sigismember(&waiting, SIGQUIT));
}

static bool open_in_time(struct listeners *listeners, const struct options *options,
                         struct buf *error)
{
    uint64_t end = clock_ms() + LISTENERS_PATIENCE_MS;

    for (bool is_again = false;; is_again = true) {
        buf_clear(error);
        listeners->met_others = false;
        if (open_all(listeners, NULL, options, error))
            return true;
        listeners_close(listeners);
        /* What the master before left is used up. */
        if (!listeners->met_others || listeners_left.count > 0 || clock_ms() >= end ||
            is_told_to_end())
            return false;
        if (!is_again)
            log_info("%s; trying for %d s", buf_text(error),
                     LISTENERS_PATIENCE_MS / 1000);
        usleep(PAUSE_MS * 1000);
    }
}

bool listeners_open(struct listeners *listeners, const struct options *options,
                    struct buf *error)
{
    if (!open_in_time(listeners, options, error))
        return false;
    if (listeners_passed.count > 0)
        log_info("%zu socket%s of the service manager take%s the place of server.bind",
                 listeners_passed.count, listeners_passed.count == 1 ? "" : "s",
                 listeners_passed.count == 1 ? "s" : "");
    return true;
}

/* At the manager's sockets clients wait for the next start; at those that another master
 * has they come to that one. A filter would be that one's as well: it is the socket's. */
static bool is_others(const struct address *address)
{
    return address->is_managers || address->is_shared;
}

/* A name that was taken away comes back with a new socket only. */
static void reopen_one(struct listeners *listeners, size_t i, int backlog)
{
    struct buf error = BUF_HEAP;
    int none = 0;

    if (is_others(&listeners->addresses[i]))
        return;
    if (listeners->addresses[i].as.any.sa_family != AF_UNIX) {
        setsockopt(listeners->fds[i], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
        return;
    }
    int fd = open_one(listeners, &listeners->addresses[i], &error);
    if (fd >= 0 && listen(fd, backlog) == 0) {
        close(listeners->fds[i]);
        listeners->fds[i] = fd;
    } else {
        log_error("%s cannot be opened again: %s", listeners->addresses[i].text,
                  buf_text(&error));
        if (fd >= 0)
            close(fd);
    }
    buf_done(&error);
}

static bool has_lost_its_name(const struct address *address)
{
    return address->as.any.sa_family == AF_UNIX && !is_others(address) &&
           address->inode == 0;
}

bool listeners_start(struct listeners *listeners, int backlog, struct buf *error)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (has_lost_its_name(&listeners->addresses[i])) {
            reopen_one(listeners, i, backlog);
            continue;
        }
        if (listen(listeners->fds[i], backlog) < 0) {
            say_why(&listeners->addresses[i], errno, error);
            return false;
        }
    }
    listeners->is_listening = true;
    return true;
}

/* Shutting and closing ---------------------------------------------------------- */

/*
 * For a listening socket the filter sees every segment from the TCP header on:
 * drop those with SYN set, keep the final ACK of handshakes under way.
 */
static void drop_syns(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
        log_debug("no filter for the last connections: %s", strerror(errno));
}

static void shut_one(struct listeners *listeners, size_t i)
{
    if (is_others(&listeners->addresses[i]))
        return;
    if (listeners->addresses[i].as.any.sa_family == AF_UNIX)
        address_remove_name(&listeners->addresses[i]);
    else
        drop_syns(listeners->fds[i]);
}

static void close_one(struct listeners *listeners, size_t i)
{
    close(listeners->fds[i]);
    address_remove_name(&listeners->addresses[i]);
}

void listeners_shut(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        shut_one(listeners, i);
}

static bool listens(int fd)
{
    int yes = 0;
    socklen_t length = sizeof(yes);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &length) == 0 && yes;
}

static void refuse_one(struct listeners *listeners, size_t i)
{
    int none = 0, fd = listeners->fds[i];

    if (is_others(&listeners->addresses[i]))
        return;
    if (listeners->addresses[i].as.any.sa_family == AF_UNIX) {
        address_remove_name(&listeners->addresses[i]);
        listeners->addresses[i].inode = 0;
    } else if (listens(fd)) {
        /* Of all processes that have it: it is the socket that ends, not a descriptor. */
        shutdown(fd, SHUT_RD);
        setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
    }
}

void listeners_refuse(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        refuse_one(listeners, i);
    listeners->is_listening = false;
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close_one(listeners, i);
    listeners->count = 0;
}

void listeners_share(struct listeners *listeners, bool are_shared)
{
    for (size_t i = 0; i < listeners->count; i++)
        listeners->addresses[i].is_shared = are_shared;
}

/* Renewing ---------------------------------------------------------------------- */

bool listeners_renew(struct listeners *ret, const struct listeners *now,
                     const struct options *options, struct buf *error)
{
    /* listen() on those that are open already only sets their backlog anew. */
    if (open_all(ret, now, options, error) &&
        (!now->is_listening ||
         listeners_start(ret, (int)options->server.backlog, error))) {
        ret->is_listening = now->is_listening;
        return true;
    }
    listeners_close_others(ret, now);
    ret->count = 0;
    return false;
}

bool listeners_have_others(const struct listeners *these, const struct listeners *kept)
{
    for (size_t i = 0; i < these->count; i++)
        if (listeners_find_fd(kept, &these->addresses[i]) < 0)
            return true;
    return false;
}

void listeners_shut_others(struct listeners *gone, const struct listeners *kept)
{
    for (size_t i = 0; i < gone->count; i++)
        if (listeners_find_fd(kept, &gone->addresses[i]) < 0)
            shut_one(gone, i);
}

void listeners_reopen_others(struct listeners *gone, const struct listeners *kept,
                             int backlog)
{
    for (size_t i = 0; i < gone->count; i++)
        if (listeners_find_fd(kept, &gone->addresses[i]) < 0)
            reopen_one(gone, i, backlog);
}

void listeners_close_others(struct listeners *gone, const struct listeners *kept)
{
    for (size_t i = 0; i < gone->count; i++)
        if (listeners_find_fd(kept, &gone->addresses[i]) < 0)
            close_one(gone, i);
}
