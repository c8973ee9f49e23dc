/*
 * listener.h - the listening sockets, opened once by the master, shared by workers.
 *
 * Addresses are written "0.0.0.0:7860", "[::]:7860", "*:7860", "localhost:7860",
 * "127.0.0.1" (then with server.port) or "unix:/path?mode=0660". Names are not
 * resolved: the master does not wait for a name server.
 */
#ifndef FORKMARK_MASTER_LISTENER_H
#define FORKMARK_MASTER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct buf;
struct options;

#define LISTENERS_MAX 16

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
        struct sockaddr_un un;
    } as;
    socklen_t length;
    unsigned mode;  /* of a Unix socket */
    char text[128]; /* as written, for messages */
};

struct listeners {
    int fds[LISTENERS_MAX];
    struct address addresses[LISTENERS_MAX];
    size_t count;
};

/* False with the reason in `error`. */
bool address_parse(const char *text, int port, struct address *ret, struct buf *error);

/* Binds all of server.bind, or none. Nobody can connect before listeners_start(). */
bool listeners_open(struct listeners *listeners, const struct options *options,
                    struct buf *error);
bool listeners_start(struct listeners *listeners, int backlog, struct buf *error);
/*
 * From now on nobody new gets in: SYNs are dropped, so that clients try again and
 * meanwhile find another server or a refusal; Unix sockets lose their name. What is
 * in the backlog can still be accepted.
 */
void listeners_shut(struct listeners *listeners);
void listeners_close(struct listeners *listeners);

/*
 * For a reload: the sockets of `options`, those that `now` has already taken over from
 * it, the others bound and listening. False with the reason: nothing was left behind.
 */
bool listeners_renew(struct listeners *ret, const struct listeners *now,
                     const struct options *options, struct buf *error);
/* Shuts, and closes, the sockets of `gone` that `kept` does not have. */
void listeners_shut_others(struct listeners *gone, const struct listeners *kept);
/* They are needed after all: a reload that was rolled back. */
void listeners_reopen_others(struct listeners *gone, const struct listeners *kept,
                             int backlog);
void listeners_close_others(struct listeners *gone, const struct listeners *kept);
bool listeners_have_others(const struct listeners *these, const struct listeners *kept);

/* "http://localhost:7860": where a person would look. In `out`. */
void listeners_describe(const struct listeners *listeners, struct buf *out);

#endif
