/*
 * client_ip.c - see client_ip.h.
 *
 * X-Forwarded-For grows to the right: each proxy appends the peer it saw. So the
 * list is believed from its right end on, only as far as the proxies that wrote
 * it are ours; what stands further left may be the client's own invention.
 */
#include "worker/client_ip.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/options.h"
#include "worker/client_ip_rules.h"
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static struct client_ip_rules rules;

bool client_ip_init(const struct options *options)
{
    const char *wrong;

    client_ip_rules_done(&rules);
    if (client_ip_rules_read(&rules, options->server.forwarded_allow_ips.items,
                             options->server.forwarded_allow_ips.count,
                             options->server.trusted_proxies, &wrong))
        return true;
    log_error("server.forwarded_allow_ips: `%s` is no address and no network", wrong);
    return false;
}

const char *client_ip_text(const struct sockaddr *peer, char text[INET6_ADDRSTRLEN])
{
    struct ip_address address;

    text[0] = '\0';
    if (peer && peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
        inet_ntop(AF_INET, &in->sin_addr, text, INET6_ADDRSTRLEN);
    } else if (peer && peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)peer;
        inet_ntop(AF_INET6, &in->sin6_addr, text, INET6_ADDRSTRLEN);
        /* ::ffff:192.0.2.1 on a socket for both is 192.0.2.1. */
        if (ip_address_read(&address, text, strlen(text)))
            ip_address_show(&address, text);
    }
    return text;
}

struct collected {
    const char *name;
    struct buf values;
};

static enum MHD_Result collect(void *arg, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    struct collected *all = arg;

    (void)kind;
    if (strcasecmp(name, all->name) == 0 && value) {
        if (all->values.length > 0)
            buf_adds(&all->values, ", ");
        buf_adds(&all->values, value);
    }
    return MHD_YES;
}

/* HAProxy appends a header of its own instead of a value: all of them are one list. */
static const char *all_values(struct request *req, const char *name)
{
    struct collected all = { .name = name, .values = BUF_IN(req->arena) };

    MHD_get_connection_values(req->connection, MHD_HEADER_KIND, collect, &all);
    return buf_text(&all.values);
}

/* Of several values the last is the nearest hop's, and the only one it vouches for. */
static bool says_https(const char *forwarded)
{
    const char *last = strrchr(forwarded, ',');

    last = last ? last + 1 : forwarded;
    return strcasecmp(last + strspn(last, " \t"), "https") == 0;
}

void client_ip_find(struct request *req, const struct connection *connection)
{
    char peer[INET6_ADDRSTRLEN], found[INET6_ADDRSTRLEN];
    bool is_unix = !req->peer || req->peer->sa_family == AF_UNIX;
    const char *forwarded = NULL;

    req->is_secure = connection->flags & (HTTP_TLS | HTTP_BEHIND_TLS);
    client_ip_text(req->peer, peer);
    /* A balancer's own question is its own, whatever stands in it. */
    if (!(connection->flags & HTTP_CHECK) &&
        client_ip_is_trusted(&rules, is_unix ? NULL : peer)) {
        forwarded = all_values(req, "X-Forwarded-For");
        const char *scheme = all_values(req, "X-Forwarded-Proto");
        if (*scheme)
            req->is_secure = says_https(scheme);
    }
    client_ip_walk(&rules, is_unix ? NULL : peer, forwarded, found);
    req->client_ip = arena_strdup(req->arena, found);
}
