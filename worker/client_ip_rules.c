/*
 * client_ip_rules.c - see client_ip_rules.h.
 */
#include "worker/client_ip_rules.h"
#include "common/log.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped_v4[12] = { [10] = 0xff, [11] = 0xff };

bool ip_address_read(struct ip_address *ret, const char *text, size_t length)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (length == 0 || length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        memcpy(ret->bytes, mapped_v4, sizeof(mapped_v4));
        memcpy(ret->bytes + sizeof(mapped_v4), &v4, sizeof(v4));
        return true;
    }
    return inet_pton(AF_INET6, copy, ret->bytes) == 1;
}

static bool is_v4(const struct ip_address *address)
{
    return memcmp(address->bytes, mapped_v4, sizeof(mapped_v4)) == 0;
}

void ip_address_show(const struct ip_address *address, char ret[INET6_ADDRSTRLEN])
{
    if (is_v4(address))
        inet_ntop(AF_INET, address->bytes + sizeof(mapped_v4), ret, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address->bytes, ret, INET6_ADDRSTRLEN);
}

/* ---- the rules ---- */

static bool read_network(const char *entry, struct ip_network *ret)
{
    size_t length = strcspn(entry, "/");
    char *end;

    if (!ip_address_read(&ret->address, entry, length))
        return false;
    /* ::ffff:10.0.0.0/104 is written in IPv6's bits, 10.0.0.0/8 in IPv4's. */
    int offset = memchr(entry, ':', length) ? 0 : 96;
    ret->bits = 128;
    if (entry[length] == '\0')
        return true;
    const char *number = entry + length + 1;
    long bits = strtol(number, &end, 10);
    if (*number < '0' || *number > '9' || *end || bits > 128 - offset)
        return false;
    ret->bits = (int)bits + offset;
    return true;
}

bool client_ip_rules_read(struct client_ip_rules *ret, char *const *entries, size_t count,
                          int64_t most_hops, const char **ret_wrong)
{
    *ret = (struct client_ip_rules){ .most_hops = most_hops };
    ret->networks = calloc(count + 1, sizeof(ret->networks[0]));
    if (!ret->networks)
        fatal("out of memory");
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i], "*") == 0) {
            ret->trust_all = true;
        } else if (read_network(entries[i], &ret->networks[ret->count])) {
            ret->count++;
        } else {
            *ret_wrong = entries[i];
            client_ip_rules_done(ret);
            return false;
        }
    }
    return true;
}

void client_ip_rules_done(struct client_ip_rules *rules)
{
    free(rules->networks);
    *rules = (struct client_ip_rules){ 0 };
}

static bool is_inside(const struct ip_address *address, const struct ip_network *network)
{
    size_t whole = (size_t)network->bits / 8;
    int rest = network->bits % 8;

    if (memcmp(address->bytes, network->address.bytes, whole) != 0)
        return false;
    return rest == 0 ||
           ((address->bytes[whole] ^ network->address.bytes[whole]) >> (8 - rest)) == 0;
}

static bool is_trusted(const struct client_ip_rules *rules,
                       const struct ip_address *address)
{
    for (size_t i = 0; !rules->trust_all && i < rules->count; i++) {
        if (is_inside(address, &rules->networks[i]))
            return true;
    }
    return rules->trust_all;
}

bool client_ip_is_trusted(const struct client_ip_rules *rules, const char *peer)
{
    struct ip_address address;

    return !peer || rules->trust_all ||
           (ip_address_read(&address, peer, strlen(peer)) && is_trusted(rules, &address));
}

/* ---- the walk ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/*
 * The entry that ends at `end`, trimmed; returns where the one before it ends, or
 * NULL when this was the first.
 */
static const char *last_entry(const char *start, const char *end, const char **ret_text,
                              size_t *ret_length)
{
    const char *comma = end;

    while (comma > start && comma[-1] != ',')
        comma--;
    const char *text = comma;
    while (text < end && is_blank(*text))
        text++;
    while (end > text && is_blank(end[-1]))
        end--;
    *ret_text = text;
    *ret_length = (size_t)(end - text);
    return comma > start ? comma - 1 : NULL;
}

/* Some proxies write a port: "192.0.2.1:4711", "[2001:db8::1]:4711". */
static bool read_hop(struct ip_address *ret, const char *text, size_t length)
{
    const char *colon = memchr(text, ':', length);

    if (length > 2 && text[0] == '[') {
        const char *close = memchr(text, ']', length);
        return close && ip_address_read(ret, text + 1, (size_t)(close - text - 1));
    }
    if (colon && !memchr(colon + 1, ':', length - (size_t)(colon + 1 - text)))
        length = (size_t)(colon - text);
    return ip_address_read(ret, text, length);
}

void client_ip_walk(const struct client_ip_rules *rules, const char *peer,
                    const char *forwarded, char ret[INET6_ADDRSTRLEN])
{
    bool may_go_on = client_ip_is_trusted(rules, peer);
    const char *end = forwarded ? forwarded + strlen(forwarded) : NULL;
    int64_t hops = 0;

    snprintf(ret, INET6_ADDRSTRLEN, "%s", peer ? peer : "unix");
    while (may_go_on && end && (rules->most_hops < 0 || hops++ < rules->most_hops)) {
        struct ip_address address;
        const char *text;
        size_t length;

        end = last_entry(forwarded, end, &text, &length);
        if (!read_hop(&address, text, length))
            return;
        ip_address_show(&address, ret);
        may_go_on = is_trusted(rules, &address);
    }
}
