/*
 * client_ip.h - whose request is it, behind proxies (contract 1.11).
 *
 * The address that limits count and the access log shows: the peer's, unless
 * the peer is in server.forwarded_allow_ips (a Unix-socket peer counts as
 * trusted); then X-Forwarded-For is walked from the right while hops are trusted. From
 * such a peer X-Forwarded-Proto says whether the client speaks TLS.
 */
#ifndef FORKMARK_WORKER_CLIENT_IP_H
#define FORKMARK_WORKER_CLIENT_IP_H

#include "worker/http.h"
#include "worker/request.h"
#include <netinet/in.h>

/* Reads server.forwarded_allow_ips; once per process. False: an entry is no
 * address (logged). */
bool client_ip_init(const struct options *options);

/* A peer's address as text; "" for a Unix socket, which has none. */
const char *client_ip_text(const struct sockaddr *peer, char text[INET6_ADDRSTRLEN]);

/* Sets req->client_ip and req->is_secure from req->peer, its connection and the head.
 * Never NULL afterwards; does not yield. */
void client_ip_find(struct request *req, const struct connection *connection);

#endif
