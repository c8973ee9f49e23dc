/*
 * redis_stream.c - see redis_stream.h.
 */
#include "common/redis_stream.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_tls.h"
#include "common/task.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GUESS_MS 1000 /* for a second try in the other language */

struct redis_stream {
    int fd;
    struct redis_tls *tls; /* NULL: plain */
    struct arena_deferred *closer;
};

/* ---- names to addresses ---- */

struct lookup {
    struct redis_address address; /* a copy: its owner may go while a thread asks */
    struct addrinfo *found;
    int rc;
};

static void look_up(struct lookup *lookup, int flags)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV | flags };

    lookup->rc =
        getaddrinfo(lookup->address.host, lookup->address.port, &hints, &lookup->found);
}

static void look_up_in_thread(void *arg)
{
    look_up(arg, AI_ADDRCONFIG);
}

static void free_lookup(void *arg)
{
    struct lookup *lookup = arg;

    if (lookup->found)
        freeaddrinfo(lookup->found);
}

/*
 * The resolver has timeouts of its own. We wait for it, so that a silent name
 * server holds at most one thread of the pool for each connection.
 */
static int resolve(const struct redis_address *address, struct addrinfo **ret,
                   char *error, size_t error_size)
{
    struct lookup *lookup = arena_alloc(task_arena(), sizeof(*lookup));

    lookup->address = *address;
    arena_defer(task_arena(), free_lookup, lookup);
    look_up(lookup, AI_NUMERICHOST);
    if (lookup->rc != 0)
        task_work("redis: name", look_up_in_thread, lookup, 0);
    if (lookup->rc != 0) {
        snprintf(error, error_size, "cannot resolve `%s`: %s", address->host,
                 gai_strerror(lookup->rc));
        return -EHOSTUNREACH;
    }
    *ret = lookup->found;
    return 0;
}

/* ---- connecting ---- */

/*
 * What is sent and not acknowledged, or an idle connection whose other end does not
 * answer, is given up by the kernel within half a minute: a last resort behind our own
 * timeouts and pings, for what waits without any (a blocking command).
 */
static void set_socket_options(int fd)
{
    static const struct {
        int level, name, value;
    } table[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },   { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 15 }, { IPPROTO_TCP, TCP_KEEPINTVL, 5 },
        { IPPROTO_TCP, TCP_KEEPCNT, 3 },   { IPPROTO_TCP, TCP_USER_TIMEOUT, 30000 },
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        setsockopt(fd, table[i].level, table[i].name, &table[i].value,
                   sizeof(table[i].value));
}

/* Yields. 0 or a negative errno. */
static int connect_fd(int fd, const struct sockaddr *address, socklen_t length,
                      uint64_t until_ms)
{
    int status;
    socklen_t size = sizeof(status);

    if (connect(fd, address, length) == 0)
        return 0;
    /* A Unix socket whose backlog is full says EAGAIN; there is nothing to wait on. */
    if (errno != EINPROGRESS)
        return -errno;

    uint64_t now = clock_ms();
    int rc = now < until_ms ? task_poll_fd(fd, UV_WRITABLE, until_ms - now) : -ETIMEDOUT;
    if (rc == -ETIMEDOUT)
        return rc;
    /* libuv reports any other failure as EBADF; the socket knows which it was. */
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &size) != 0)
        return -errno;
    return status != 0 ? -status : rc;
}

static void drop_stream(void *arg)
{
    struct redis_stream *stream = arg;

    redis_tls_free(stream->tls);
    if (stream->fd >= 0)
        close(stream->fd);
    free(stream);
}

static struct redis_stream *new_stream(void)
{
    struct redis_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        fatal("out of memory");
    stream->fd = -1;
    stream->closer = arena_defer(task_arena(), drop_stream, stream);
    return stream;
}

static int connect_to(struct redis_stream *stream, int family,
                      const struct sockaddr *address, socklen_t length, uint64_t until_ms)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->fd < 0)
        return -errno;
    if (family != AF_UNIX)
        set_socket_options(stream->fd);
    return connect_fd(stream->fd, address, length, until_ms);
}

static int connect_unix(struct redis_stream *stream, const char *path, uint64_t until_ms)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect_to(stream, AF_UNIX, (const struct sockaddr *)&address, sizeof(address),
                      until_ms);
}

/* Each address in turn, with its share of the time that is left. */
static int connect_any(struct redis_stream *stream, const struct addrinfo *found,
                       uint64_t until_ms)
{
    int rc = -EHOSTUNREACH;
    uint64_t left = 0;

    for (const struct addrinfo *each = found; each; each = each->ai_next)
        left++;
    for (const struct addrinfo *each = found; each; each = each->ai_next, left--) {
        uint64_t now = clock_ms();

        if (now >= until_ms)
            return -ETIMEDOUT;
        rc = connect_to(stream, each->ai_family, each->ai_addr, each->ai_addrlen,
                        now + (until_ms - now + left - 1) / left);
        if (rc == 0)
            break;
    }
    return rc;
}

static int connect_stream(struct redis_stream *stream,
                          const struct redis_address *address, uint64_t until_ms,
                          char *error, size_t error_size)
{
    struct addrinfo *found;
    int rc;

    if (address->is_unix) {
        rc = connect_unix(stream, address->host, until_ms);
    } else {
        rc = resolve(address, &found, error, error_size);
        if (rc < 0)
            return rc;
        rc = connect_any(stream, found, until_ms);
    }
    if (rc < 0)
        snprintf(error, error_size, "cannot connect: %s", strerror(-rc));
    return rc;
}

/*
 * A Redis without TLS takes the hand shake for a command whose end is still to come, and
 * waits. So a hand shake that got no answer is followed by a plain word. Yields.
 */
static bool speaks_plainly(const struct redis_address *address)
{
    static const char ping[] = "PING\r\n";
    struct redis_stream *stream = new_stream();
    uint64_t until_ms = clock_ms() + GUESS_MS;
    char ignored[200], first;

    return connect_stream(stream, address, until_ms, ignored, sizeof(ignored)) == 0 &&
           send(stream->fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL) > 0 &&
           task_poll_fd(stream->fd, UV_READABLE, GUESS_MS) == 0 &&
           recv(stream->fd, &first, 1, 0) == 1 && (first == '+' || first == '-');
}

int redis_stream_open(const struct redis_address *address, uint64_t until_ms,
                      struct redis_stream **ret, char *error, size_t error_size)
{
    struct redis_stream *stream = new_stream();
    int rc = connect_stream(stream, address, until_ms, error, error_size);

    if (rc < 0)
        return rc;
    if (address->tls) {
        stream->tls = redis_tls_new(stream->fd, address, error, error_size);
        if (!stream->tls)
            return -EACCES;
        rc = redis_tls_handshake(stream->tls, until_ms, error, error_size);
        if (rc == -ETIMEDOUT && speaks_plainly(address)) {
            snprintf(error, error_size, "%s", redis_tls_plain);
            return -EACCES;
        }
        if (rc < 0)
            return rc;
    }
    *ret = stream;
    return 0;
}

bool redis_stream_speaks_tls(const struct redis_address *address)
{
    struct redis_address *other = arena_memdup(task_arena(), address, sizeof(*address));
    struct redis_stream *stream;
    char ignored[200];

    other->tls = other->allow_unverified = true;
    other->ca_file[0] = other->certificate[0] = other->key[0] = '\0';
    return redis_stream_open(other, clock_ms() + GUESS_MS, &stream, ignored,
                             sizeof(ignored)) == 0;
}

void redis_stream_keep(struct redis_stream *stream)
{
    arena_undefer(stream->closer);
    stream->closer = NULL;
}

void redis_stream_close(struct redis_stream *stream)
{
    if (stream)
        drop_stream(stream);
}

/* ---- bytes ---- */

int redis_stream_fd(const struct redis_stream *stream)
{
    return stream->fd;
}

static ssize_t moved(ssize_t done)
{
    if (done > 0)
        return done;
    if (done == 0)
        return -ECONNRESET;
    return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

ssize_t redis_stream_read(struct redis_stream *stream, void *data, size_t size)
{
    if (stream->tls)
        return redis_tls_read(stream->tls, data, size);
    return moved(recv(stream->fd, data, size, 0));
}

ssize_t redis_stream_write(struct redis_stream *stream, const void *data, size_t size)
{
    if (stream->tls)
        return redis_tls_write(stream->tls, data, size);
    return moved(send(stream->fd, data, size, MSG_NOSIGNAL));
}

const char *redis_stream_reason(const struct redis_stream *stream, int rc)
{
    if (rc == -EACCES && stream->tls && *redis_tls_refused(stream->tls))
        return redis_tls_refused(stream->tls);
    return rc == -ECONNRESET ? "the server closed the connection" : strerror(-rc);
}

bool redis_stream_lacks_certificate(const struct redis_stream *stream)
{
    return stream->tls && redis_tls_lacks_certificate(stream->tls);
}

bool redis_stream_has_more(const struct redis_stream *stream)
{
    return stream->tls && redis_tls_has_more(stream->tls);
}

bool redis_stream_wants_write(const struct redis_stream *stream)
{
    return stream->tls && redis_tls_wants_write(stream->tls);
}
