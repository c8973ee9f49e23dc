/*
 * http.h - libmicrohttpd on our loop, and its connections.
 *
 * libmicrohttpd parses and writes HTTP; it has no thread and no listening socket
 * of its own. Its epoll descriptor is one handle of our loop, MHD_get_timeout()
 * feeds one timer, and whoever resumes a connection says http_kick(). What happens
 * between a request's head and its answer is in exchange.h.
 *
 * With server.tls_certificate there are two of it, one for TLS on TCP; Unix sockets and
 * the worker's request to itself stay plain.
 */
#ifndef FORKMARK_WORKER_HTTP_H
#define FORKMARK_WORKER_HTTP_H

#include "worker/server.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct http;
struct exchange;
struct MHD_Connection;

enum connection_phase {
    CONNECTION_NEW,  /* nothing received yet: server.header_timeout */
    CONNECTION_HEAD, /* a request line is there: server.header_timeout */
    CONNECTION_BODY, /* the body is on its way: server.body_timeout */
    CONNECTION_BUSY, /* a request is at work or its answer is being sent */
    CONNECTION_IDLE, /* between two requests: server.keepalive */
};

/* What is known of a connection before its first byte of HTTP. */
enum {
    HTTP_TLS = 1,        /* it begins with TLS, which is ours to speak */
    HTTP_BEHIND_TLS = 2, /* the client speaks TLS to a balancer that said so */
    HTTP_CHECK = 4,      /* a balancer's own question about this server's health */
};

/* One accepted socket, from MHD_add_connection() until libmicrohttpd closes it. */
struct connection {
    struct connection *next, *prev;
    struct http *http;
    struct MHD_Connection *mhd;
    struct exchange *exchange; /* the request in progress, or NULL */
    enum connection_phase phase;
    uint64_t phase_since; /* clock_ms() */
    int fd;
    unsigned flags; /* HTTP_TLS and so on */
};

/* Borrows the server. Needs the runtime. Never NULL: a start without HTTP is fatal. */
struct http *http_new(struct server *server);
/* Every connection must have been resumed; closes those that are left. */
void http_free(struct http *http);

struct server *http_server(const struct http *http);
size_t http_connections(const struct http *http);

/* Whether connections that come over such a socket begin with TLS. */
bool http_is_tls(const struct http *http, const struct sockaddr *peer);
/* Whether libmicrohttpd was built with it. */
bool http_can_tls(void);
/* Takes an accepted, non-blocking socket over. False: it has been closed. */
bool http_add(struct http *http, int fd, const struct sockaddr *address, socklen_t length,
              unsigned flags);
/* Called each time a connection has gone: room for another. */
void http_on_close(struct http *http, void (*closed)(void *arg), void *arg);

void connection_set_phase(struct connection *connection, enum connection_phase phase);

/* Resumes a suspended connection; libmicrohttpd runs before the loop waits again. */
void http_resume(struct http *http, struct MHD_Connection *mhd);

/*
 * From now on every answer closes its connection, and idle ones go when their
 * keep-alive time is over (they were promised it).
 */
void http_drain(struct http *http);
/* Ends the requests that are still at work: their clients get 503. */
void http_cancel_all(struct http *http);
/* Clients see the end of their connections, which the end of the process closes. */
void http_hang_up(struct http *http);

#endif
