/*
 * greeting.h - connections of balancers, until their PROXY header is there.
 *
 * With server.proxy_protocol every connection from a peer in server.proxy_allow_ips (or
 * over a Unix socket) begins with such a header, and one without it is closed: guessing
 * would let a client write its own. Others speak HTTP at once, and are who they are.
 *
 * One thing may come without: a question about this server's health (GET or HEAD of
 * /health/... or /api/health...), as balancers and orchestrators ask it themselves. It is
 * answered as the peer's own, X-Forwarded-For is not looked at, and the connection ends.
 * Who says nothing for server.header_timeout is closed as well.
 */
#ifndef FORKMARK_WORKER_GREETING_H
#define FORKMARK_WORKER_GREETING_H

#include "worker/http.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct greeting;

/* `gone` is called when one has been closed without becoming a connection. NULL where
 * server.proxy_protocol is off; that is fine for every other function. */
struct greeting *greeting_new(struct server *server, void (*gone)(void *arg), void *arg);
void greeting_free(struct greeting *greeting);

bool greeting_expects(const struct greeting *greeting, const struct sockaddr *peer);
/* Takes an accepted socket over; http_add() gets it with the client's address. */
void greeting_add(struct greeting *greeting, int fd, const struct sockaddr *peer,
                  socklen_t length);
/* How many have not said all of it. */
size_t greeting_count(const struct greeting *greeting);

#endif
