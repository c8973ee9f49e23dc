/*
 * address.c - which addresses belong to the public internet.
 *
 * From IANA's special-purpose registries (RFC 6890 and later). An address that
 * carries an IPv4 address inside is judged by that one, since a gateway would
 * connect to it.
 */
#include "jobs/fetch/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct range4 {
    uint8_t prefix[4];
    int bits;
};

static const struct range4 private4[] = {
    { { 0 }, 8 },             /* "this network"; Linux connects 0.0.0.0 to itself */
    { { 10 }, 8 },            /* private */
    { { 100, 64 }, 10 },      /* carrier-grade NAT */
    { { 127 }, 8 },           /* loopback */
    { { 169, 254 }, 16 },     /* link-local, and the clouds' metadata services */
    { { 172, 16 }, 12 },      /* private */
    { { 192, 0, 0 }, 24 },    /* IETF protocol assignments */
    { { 192, 0, 2 }, 24 },    /* documentation */
    { { 192, 88, 99 }, 24 },  /* 6to4 relays, withdrawn */
    { { 192, 168 }, 16 },     /* private */
    { { 198, 18 }, 15 },      /* benchmarks */
    { { 198, 51, 100 }, 24 }, /* documentation */
    { { 203, 0, 113 }, 24 },  /* documentation */
    { { 224 }, 3 },           /* multicast, reserved, broadcast */
};

/* The first row that fits decides. */
static const struct range6 {
    uint8_t prefix[16];
    int bits;
    int inner4; /* where an IPv4 address stands that decides; 0: private */
} ranges6[] = {
    { { [10] = 0xFF, 0xFF }, 96, 12 },      /* IPv4-mapped */
    { { 0x00, 0x64, 0xFF, 0x9B }, 96, 12 }, /* NAT64 */
    { { 0x20, 0x02 }, 16, 2 },              /* 6to4 */
    { { 0x20, 0x01 }, 23, 0 },              /* protocols: Teredo, ORCHID ... */
    { { 0x20, 0x01, 0x0D, 0xB8 }, 32, 0 },  /* documentation */
    { { 0x3F, 0xFF }, 20, 0 },              /* documentation */
};

/* All public IPv6 addresses begin with these three bits (2000::/3). */
static const uint8_t global6[16] = { 0x20 };

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, int bits)
{
    int bytes = bits / 8;
    uint8_t mask = (uint8_t)(0xFF << (8 - bits % 8));

    if (memcmp(address, prefix, (size_t)bytes) != 0)
        return false;
    return bits % 8 == 0 || ((address[bytes] ^ prefix[bytes]) & mask) == 0;
}

static bool is_private4(const uint8_t *address)
{
    for (size_t i = 0; i < sizeof(private4) / sizeof(private4[0]); i++) {
        if (has_prefix(address, private4[i].prefix, private4[i].bits))
            return true;
    }
    return false;
}

static bool is_private6(const uint8_t *address)
{
    for (size_t i = 0; i < sizeof(ranges6) / sizeof(ranges6[0]); i++) {
        if (!has_prefix(address, ranges6[i].prefix, ranges6[i].bits))
            continue;
        return ranges6[i].inner4 == 0 || is_private4(address + ranges6[i].inner4);
    }
    return !has_prefix(address, global6, 3);
}

bool fetch_is_private_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return is_private4((const uint8_t *)&v4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        return is_private6(v6.sin6_addr.s6_addr);
    }
    return true; /* neither: nothing a page lives on */
}
