/*
 * listener.h - the listening sockets, opened once by the master, shared by workers.
 *
 * Addresses are written "0.0.0.0:7860", "[::]:7860", "*:7860", "localhost:7860",
 * "127.0.0.1" (then with server.port) or "unix:/path?mode=0660". Names are not
 * resolved: the master does not wait for a name server. "[::]" alone serves IPv4 as
 * well, beside an IPv4 address of the same port it does not; "[::]:7860?v6only=1" (or
 * 0) says it outright.
 *
 * Some sockets come from elsewhere: the service manager passes its own, which then take
 * the place of server.bind, and a master that is replaced leaves its to its successor.
 */
#ifndef FORKMARK_MASTER_LISTENER_H
#define FORKMARK_MASTER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
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
    unsigned mode;    /* of a Unix socket */
    int v6only;       /* of an IPv6 socket; -1: not said */
    bool is_managers; /* the service manager's, which goes on listening without us */
    bool is_shared;   /* another master serves there as well: it is left as it is */
    dev_t device;     /* of a Unix socket's file, so that nobody else's is removed */
    ino_t inode;      /* 0: it has none */
    char text[128];   /* as written, for messages */
};

struct listeners {
    int fds[LISTENERS_MAX];
    struct address addresses[LISTENERS_MAX];
    size_t count;
    bool has_tls;      /* those of TCP speak HTTPS */
    bool is_listening; /* listeners_start() has been called, and not taken back */
    bool met_others;   /* a socket could not be bound: another process has its address */
};

/* False with the reason in `error`. */
bool address_parse(const char *text, int port, struct address *ret, struct buf *error);

/*
 * Takes over what this process was started with: LISTEN_FDS of a service manager
 * (sd_listen_fds(3)), and LISTENERS_VARIABLE of the master before. Both variables are
 * taken away. False with the reason: something else than a listening stream socket.
 * Those of the master before are shared as long as it serves beside this one.
 */
#define LISTENERS_VARIABLE "FORKMARK_SOCKETS"
bool listeners_adopt(bool are_shared, struct buf *error);
/* The value of LISTENERS_VARIABLE for a successor, which must inherit the descriptors. */
void listeners_hand_over(const struct listeners *listeners, struct buf *out);
/* Closes those of the master before that nobody wanted; their names stay. */
void listeners_drop_unused(const struct listeners *used);

/*
 * Binds all of server.bind, or none. Nobody can connect before listeners_start(). An
 * address that is in use is tried again for LISTENERS_PATIENCE_MS: the processes of a
 * master that was killed, which have it, end a moment later. Blocks that long.
 */
#define LISTENERS_PATIENCE_MS 3000
bool listeners_open(struct listeners *listeners, const struct options *options,
                    struct buf *error);
bool listeners_start(struct listeners *listeners, int backlog, struct buf *error);
/*
 * From now on nobody new gets in: SYNs are dropped, so that clients try again and
 * meanwhile find another server or a refusal; Unix sockets lose their name. What is
 * in the backlog can still be accepted.
 */
void listeners_shut(struct listeners *listeners);
/* From now on who connects is refused, and who still waits is cut off. The addresses stay
 * ours: listeners_start() opens them again. The service manager's are left alone. */
void listeners_refuse(struct listeners *listeners);
/* Those that another master has as well are only left: see listeners_share(). */
void listeners_close(struct listeners *listeners);
/* Whether another master serves at all of them, too. */
void listeners_share(struct listeners *listeners, bool are_shared);
/* Modes of Unix sockets as the options have them now. */
void listeners_set_modes(const struct listeners *listeners);

/*
 * For a reload: the sockets of `options`, those that `now` has already taken over from
 * it, the others bound, and listening if those do. False with the reason: nothing was
 * left behind.
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
