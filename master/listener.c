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
#include <limits.h>
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

/* "?v6only=1" behind an IPv6 address; it is cut off. */
static bool parse_v6only(char *text, struct address *ret)
{
    char *query = strchr(text, '?');

    ret->v6only = -1;
    if (!query)
        return true;
    if (text[0] != '[' ||
        (strcmp(query, "?v6only=0") != 0 && strcmp(query, "?v6only=1") != 0))
        return false;
    ret->v6only = query[8] - '0';
    *query = '\0';
    return true;
}

bool address_parse(const char *text, int port, struct address *ret, struct buf *error)
{
    struct address address = { .v6only = -1 };
    char host[64], plain[sizeof(address.text)];

    snprintf(address.text, sizeof(address.text), "%s", text);
    snprintf(plain, sizeof(plain), "%s", text);
    if (strncmp(text, "unix:", 5) == 0) {
        if (!parse_unix(text + 5, &address, error))
            return false;
    } else if (!parse_v6only(plain, &address) || !split_port(plain, host, &port) ||
               !parse_host(host, port, &address)) {
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
        return false;
    }
    log_info("%s: the socket of a process that is gone is removed", address->text);
    unlink(path);
    return true;
}

static void note_file(struct address *address)
{
    struct stat status;

    if (address->as.any.sa_family != AF_UNIX ||
        stat(address->as.un.sun_path, &status) < 0)
        return;
    address->device = status.st_dev;
    address->inode = status.st_ino;
}

/* The name, unless somebody else has it meanwhile. */
static void remove_name(const struct address *address)
{
    struct stat status;

    if (address->as.any.sa_family == AF_UNIX && !address->is_managers &&
        lstat(address->as.un.sun_path, &status) == 0 &&
        status.st_dev == address->device && status.st_ino == address->inode)
        unlink(address->as.un.sun_path);
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
    int alone = address->v6only >= 0
                    ? address->v6only
                    : has_ipv4_neighbour(listeners, address_port(address));
    return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof(alone));
}

static int open_one(struct listeners *listeners, struct address *address,
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
    note_file(address);
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

static int find_fd(const struct listeners *listeners, const struct address *address)
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
    return from->fds[at];
}

/* What this process was started with: the manager's, and the former master's. */
static struct listeners passed, left;

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
    int fd = take_over(now, address);
    if (fd < 0)
        fd = take_over(&left, address);
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
    if (passed.count > 0) {
        *listeners = passed;
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

bool listeners_open(struct listeners *listeners, const struct options *options,
                    struct buf *error)
{
    if (open_all(listeners, NULL, options, error)) {
        if (passed.count > 0)
            log_info(
                "%zu socket%s of the service manager take%s the place of server.bind",
                passed.count, passed.count == 1 ? "" : "s", passed.count == 1 ? "s" : "");
        return true;
    }
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

/* At the manager's sockets clients wait for the next start. */
static void shut_one(struct listeners *listeners, size_t i)
{
    if (listeners->addresses[i].is_managers)
        return;
    if (listeners->addresses[i].as.any.sa_family == AF_UNIX)
        remove_name(&listeners->addresses[i]);
    else
        drop_syns(listeners->fds[i]);
}

static void close_one(struct listeners *listeners, size_t i)
{
    close(listeners->fds[i]);
    remove_name(&listeners->addresses[i]);
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

void listeners_leave(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close(listeners->fds[i]);
    listeners->count = 0;
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

/* ---- sockets from elsewhere ---- */

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
    note_file(&address);
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
        if (!adopt_one(&passed, STDERR_FILENO + 1 + i, next_name(&names), true, error))
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
            !adopt_one(is_managers ? &passed : &left, (int)fd,
                       is_managers ? "systemd" : "inherited", is_managers, error))
            return false;
        at = end + (*end == ',');
    }
    return true;
}

bool listeners_adopt(struct buf *error)
{
    bool is_good = adopt_passed(error) && adopt_left(error);

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
    for (size_t i = 0; i < left.count; i++)
        if (find_fd(used, &left.addresses[i]) != left.fds[i])
            close(left.fds[i]);
    left.count = 0;
}

void listeners_describe(const struct listeners *listeners, struct buf *out)
{
    const char *scheme = listeners->has_tls ? "https" : "http";

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
            buf_addf(out, "%s://%s:%d", scheme, host, address_port(address));
            break;
        }
        case AF_INET6: {
            const struct sockaddr_in6 *in6 = (const void *)&address->as.room;

            if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
                buf_addf(out, "%s://localhost:%d", scheme, address_port(address));
                break;
            }
            inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
            buf_addf(out, "%s://[%s]:%d", scheme, host, address_port(address));
            break;
        }
        default:
            buf_addf(out, "unix:%s", address->as.un.sun_path);
        }
    }
}
