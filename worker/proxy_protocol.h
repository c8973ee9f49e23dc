/*
 * proxy_protocol.h - who the client is, as a load balancer says it before the first byte.
 *
 * Versions 1 (a line of text) and 2 (binary) of HAProxy's PROXY protocol. A pure parser:
 * whom to believe is the caller's matter.
 */
#ifndef FORKMARK_WORKER_PROXY_PROTOCOL_H
#define FORKMARK_WORKER_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* A header with what balancers add to the addresses (certificates, names); past it the
 * connection is refused. The longest line of version 1 has 107. */
#define PROXY_HEADER_MAX 4096

enum proxy_state {
    PROXY_MORE, /* all of it belongs to a header that is not complete */
    PROXY_GOOD,
    PROXY_BAD, /* no header, or a wrong one */
};

struct proxy_header {
    size_t length; /* of the header: what follows is the client's */
    /* The balancer's own (a health check), or of a kind without an address: the client is
     * the peer. */
    bool is_local;
    bool is_tls; /* the client speaks TLS to the balancer (version 2, PP2_TYPE_SSL) */
    struct sockaddr_storage address; /* AF_INET, AF_INET6, or AF_UNIX without a path */
    socklen_t address_length;
};

/* Outputs are set for PROXY_GOOD only. Reads nothing past `size`. */
enum proxy_state proxy_parse(const void *data, size_t size, struct proxy_header *ret);

#endif
