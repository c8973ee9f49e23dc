/*
 * listener.c - see listener.h.
 */
#include "master/listener.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/options.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever may reach the folder may connect, as with TCP. */
#define DEFAULT_UNIX_MODE 0666

static bool parse_unix(const char *path, struct address *ret, struct buf *error)
{
    const char *query = strchr(path, '?');
    size_t length = query ? (size_t)(query - path) : strlen(path);
    struct sockaddr_un *un = &ret->as.un;

    ret->mode = DEFAULT_UNIX_MODE;
    if (query) {
        char *end = NULL;

        if (strncmp(query, "?mode=", 6) == 0)
            ret->mode = (unsigned)strtoul(query + 6, &end, 8);
        if (!end || end == query + 6 || *end || ret->mode > 0777) {
            buf_addf(error, "`%s`: after the path only ?mode=0660 or the like may stand",
                     ret->text);
            return false;
        }
    }
    if (length == 0 || length >= sizeof(un->sun_path)) {
        buf_addf(error, "`%s`: the path of a Unix socket has 1 to %zu characters",
                 ret->text, sizeof(un->sun_path) - 1);
        return false;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length);
    ret->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return true;
}

/* Splits "host:port", "[host]:port" and "host"; false when the port is none. */
static bool split_port(const char *text, char host[64], int *port)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
    const char *first = text[0] == '[' ? text + 1 : text;

    if (text[0] == '[' && !end)
        return false;
    if (!end || (text[0] != '[' && strchr(text, ':') != end))
        end = text + strlen(text); /* no port, or an IPv6 address without brackets */
    size_t length = (size_t)(end - first);
    if (length >= 64)
        return false;
    memcpy(host, first, length);
    host[length] = '\0';

    if (*end == ']')
        end++;
    if (*end == '\0')
        return true;
    char *rest;
    long number = strtol(end + 1, &rest, 10);
    if (*end != ':' || rest == end + 1 || *rest || number < 1 || number > 65535)
        return false;
    *port = (int)number;
    return true;
}

static bool parse_host(const char *host, int port, struct address *ret)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)&ret->as.room;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->as.room;

    if (!*host || strcmp(host, "*") == 0)
        host = "0.0.0.0";
    else if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)port);
        ret->length = sizeof(*in4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        ret->length = sizeof(*in6);
        return true;
    }
    return false;
}

bool address_parse(const char *text, int port, struct address *ret, struct buf *error)
{
    struct address address = { 0 };
    char host[64];

    snprintf(address.text, sizeof(address.text), "%s", text);
    if (strncmp(text, "unix:", 5) == 0) {
        if (!parse_unix(text + 5, &address, error))
            return false;
    } else if (!split_port(text, host, &port) || !parse_host(host, port, &address)) {
        buf_addf(error,
                 "`%s` is no address to listen on; write 127.0.0.1:7860, [::1]:7860 "
                 "or unix:/path",
                 text);
        return false;
    }
    *ret = address;
    return true;
}

static int address_port(const struct address *address)
{
    switch (address->as.any.sa_family) {
    case AF_INET:
        return ntohs(((const struct sockaddr_in *)&address->as.room)->sin_port);
    case AF_INET6:
        return ntohs(((const struct sockaddr_in6 *)&address->as.room)->sin6_port);
    default:
        return 0;
    }
}

/* A socket file nobody listens on is left over from a process that was killed. */
static bool remove_stale(const struct address *address, struct buf *error)
{
    const char *path = address->as.un.sun_path;
    struct stat status;

    if (lstat(path, &status) < 0)
        return true;
    if (!S_ISSOCK(status.st_mode)) {
        buf_addf(error, "%s: there is already something else of that name",
                 address->text);
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_served = fd >= 0 && (connect(fd, &address->as.any, address->length) == 0 ||
                                 errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    if (is_served) {
        buf_addf(error, "%s: another process listens there", address->text);
        return false;
    }
    unlink(path);
    return true;
}

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
    int alone = has_ipv4_neighbour(listeners, address_port(address));
    return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof(alone));
}

static int open_one(struct listeners *listeners, const struct address *address,
                    struct buf *error)
{
    bool is_unix = address->as.any.sa_family == AF_UNIX;

    if (is_unix && !remove_stale(address, error))
        return -1;
    int fd =
        socket(address->as.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || set_options(fd, listeners, address) < 0 ||
        bind(fd, &address->as.any, address->length) < 0 ||
        (is_unix && chmod(address->as.un.sun_path, address->mode) < 0)) {
        say_why(address, errno, error);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static bool is_same(const struct address *a, const struct address *b)
{
    return a->length == b->length && memcmp(&a->as, &b->as, a->length) == 0;
}

/* Its socket in `listeners`, or -1. */
static int find_fd(const struct listeners *listeners, const struct address *address)
{
    for (size_t i = 0; listeners && i < listeners->count; i++)
        if (is_same(&listeners->addresses[i], address))
            return listeners->fds[i];
    return -1;
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
    int fd = find_fd(now, address);
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

bool listeners_open(struct listeners *listeners, const struct options *options,
                    struct buf *error)
{
    if (open_all(listeners, NULL, options, error))
        return true;
    listeners_close(listeners);
    return false;
}

bool listeners_renew(struct listeners *ret, const struct listeners *now,
                     const struct options *options, struct buf *error)
{
    /* listen() on those that are open already only sets their backlog anew. */
    if (open_all(ret, now, options, error) &&
        listeners_start(ret, (int)options->server.backlog, error))
        return true;
    listeners_close_others(ret, now);
    ret->count = 0;
    return false;
}

bool listeners_start(struct listeners *listeners, int backlog, struct buf *error)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (listen(listeners->fds[i], backlog) < 0) {
            say_why(&listeners->addresses[i], errno, error);
            return false;
        }
    }
    return true;
}

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
    if (listeners->addresses[i].as.any.sa_family == AF_UNIX)
        unlink(listeners->addresses[i].as.un.sun_path);
    else
        drop_syns(listeners->fds[i]);
}

static void close_one(struct listeners *listeners, size_t i)
{
    close(listeners->fds[i]);
    if (listeners->addresses[i].as.any.sa_family == AF_UNIX)
        unlink(listeners->addresses[i].as.un.sun_path);
}

void listeners_shut(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        shut_one(listeners, i);
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close_one(listeners, i);
    listeners->count = 0;
}

bool listeners_have_others(const struct listeners *these, const struct listeners *kept)
{
    for (size_t i = 0; i < these->count; i++)
        if (find_fd(kept, &these->addresses[i]) < 0)
            return true;
    return false;
}

void listeners_shut_others(struct listeners *gone, const struct listeners *kept)
{
    for (size_t i = 0; i < gone->count; i++)
        if (find_fd(kept, &gone->addresses[i]) < 0)
            shut_one(gone, i);
}

/* A name that was taken away comes back with a new socket only. */
static void reopen_one(struct listeners *listeners, size_t i, int backlog)
{
    struct buf error = BUF_HEAP;
    int none = 0;

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

void listeners_reopen_others(struct listeners *gone, const struct listeners *kept,
                             int backlog)
{
    for (size_t i = 0; i < gone->count; i++)
        if (find_fd(kept, &gone->addresses[i]) < 0)
            reopen_one(gone, i, backlog);
}

void listeners_close_others(struct listeners *gone, const struct listeners *kept)
{
    for (size_t i = 0; i < gone->count; i++)
        if (find_fd(kept, &gone->addresses[i]) < 0)
            close_one(gone, i);
}

void listeners_describe(const struct listeners *listeners, struct buf *out)
{
    for (size_t i = 0; i < listeners->count; i++) {
        const struct address *address = &listeners->addresses[i];
        char host[INET6_ADDRSTRLEN] = "localhost";

        if (i > 0)
            buf_adds(out, ", ");
        switch (address->as.any.sa_family) {
        case AF_INET: {
            const struct sockaddr_in *in4 = (const void *)&address->as.room;

            if (in4->sin_addr.s_addr != htonl(INADDR_ANY))
                inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
            buf_addf(out, "http://%s:%d", host, address_port(address));
            break;
        }
        case AF_INET6: {
            const struct sockaddr_in6 *in6 = (const void *)&address->as.room;

            if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
                buf_addf(out, "http://localhost:%d", address_port(address));
                break;
            }
            inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
            buf_addf(out, "http://[%s]:%d", host, address_port(address));
            break;
        }
        default:
            buf_addf(out, "unix:%s", address->as.un.sun_path);
        }
    }
}
