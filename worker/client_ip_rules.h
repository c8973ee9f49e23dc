/*
 * client_ip_rules.h - which proxies are believed, and the walk along
 * X-Forwarded-For. Pure: no request, no socket.
 */
#ifndef FORKMARK_WORKER_CLIENT_IP_RULES_H
#define FORKMARK_WORKER_CLIENT_IP_RULES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* IPv4 stands as ::ffff:a.b.c.d, so that there is one kind of address. */
struct ip_address {
    uint8_t bytes[16];
};

struct ip_network {
    struct ip_address address;
    int bits; /* of 128 */
};

struct client_ip_rules {
    bool trust_all; /* "*" */
    struct ip_network *networks;
    size_t count;
    int64_t most_hops; /* -1: no cap */
};

/* "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"; nothing else. */
bool ip_address_read(struct ip_address *ret, const char *text, size_t length);
void ip_address_show(const struct ip_address *address, char ret[INET6_ADDRSTRLEN]);

/*
 * Entries are addresses, networks ("10.0.0.0/8") or "*". False: `ret_wrong` is the
 * entry that is none. The caller frees with client_ip_rules_done().
 */
bool client_ip_rules_read(struct client_ip_rules *ret, char *const *entries, size_t count,
                          int64_t most_hops, const char **ret_wrong);
void client_ip_rules_done(struct client_ip_rules *rules);

/* `peer` NULL: a Unix socket, which is trusted. */
bool client_ip_is_trusted(const struct client_ip_rules *rules, const char *peer);

/*
 * The client's address for a peer (NULL: a Unix socket) and its X-Forwarded-For
 * (NULL: none): from the right, while hops are trusted and the cap allows; the
 * first that is not is the client. What is no address ends the walk at the hop
 * before it. "unix" when nothing is known.
 */
void client_ip_walk(const struct client_ip_rules *rules, const char *peer,
                    const char *forwarded, char ret[INET6_ADDRSTRLEN]);

#endif
