/*
 * listener_address.c - addresses as operators write them and as people read them.
 */
#include "common/buf.h"
#include "master/listener.h"
#include "master/listener_parts.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int address_port(const struct address *address)
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
