/*
 * proxy_protocol.c - see proxy_protocol.h.
 *
 * Strict, since nobody types these: one space between words, numbers without leading
 * zeros or signs, nothing but TCP and Unix streams.
 */
#include "worker/proxy_protocol.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define LINE_MAX_V1 107
#define WORD_MAX    (INET6_ADDRSTRLEN + 1)

static const char line_begins[] = "PROXY ";
static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Where both are of the same bytes as far as they go. */
static bool agrees(const void *data, size_t size, const void *begin, size_t length)
{
    return memcmp(data, begin, size < length ? size : length) == 0;
}

static void set_v4(struct proxy_header *header, const void *address, uint16_t port)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)&header->address;

    in4->sin_family = AF_INET;
    memcpy(&in4->sin_addr, address, sizeof(in4->sin_addr));
    in4->sin_port = port;
    header->address_length = sizeof(*in4);
}

static void set_v6(struct proxy_header *header, const void *address, uint16_t port)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&header->address;

    in6->sin6_family = AF_INET6;
    memcpy(&in6->sin6_addr, address, sizeof(in6->sin6_addr));
    in6->sin6_port = port;
    header->address_length = sizeof(*in6);
}

/* ---- version 1 ---- */

/* The next word and the one space (or the end) behind it; NULL: too long, or empty. */
static const char *take_word(const char *at, const char *end, char word[WORD_MAX])
{
    const char *space = memchr(at, ' ', (size_t)(end - at));
    size_t length = (size_t)((space ? space : end) - at);

    if (length == 0 || length >= WORD_MAX || memchr(at, '\0', length))
        return NULL;
    memcpy(word, at, length);
    word[length] = '\0';
    return space ? space + 1 : end;
}

static bool read_port(const char *word, uint16_t *ret)
{
    unsigned number = 0;
    size_t length = strlen(word);

    if (length > 5 || (length > 1 && word[0] == '0'))
        return false;
    for (; *word; word++) {
        if (*word < '0' || *word > '9')
            return false;
        number = 10 * number + (unsigned)(*word - '0');
    }
    *ret = htons((uint16_t)number);
    return number <= 65535;
}

/* Source, destination, their ports. */
static bool read_line(const char *at, const char *end, struct proxy_header *header)
{
    char family[WORD_MAX], words[4][WORD_MAX];
    uint8_t address[2][sizeof(struct in6_addr)];
    uint16_t ports[2];

    at = take_word(at, end, family);
    if (at && strcmp(family, "UNKNOWN") == 0)
        return header->is_local = true;
    if (!at || (strcmp(family, "TCP4") != 0 && strcmp(family, "TCP6") != 0))
        return false;
    int kind = family[3] == '4' ? AF_INET : AF_INET6;
    for (int i = 0; i < 4; i++) {
        if (at == end)
            return false;
        at = take_word(at, end, words[i]);
        if (!at)
            return false;
    }
    if (at != end || end[-1] == ' ' || inet_pton(kind, words[0], address[0]) != 1 ||
        inet_pton(kind, words[1], address[1]) != 1 || !read_port(words[2], &ports[0]) ||
        !read_port(words[3], &ports[1]))
        return false;
    if (kind == AF_INET)
        set_v4(header, address[0], ports[0]);
    else
        set_v6(header, address[0], ports[0]);
    return true;
}

static enum proxy_state parse_line(const char *text, size_t size,
                                   struct proxy_header *header)
{
    const char *feed = memchr(text, '\n', size < LINE_MAX_V1 ? size : LINE_MAX_V1);

    if (!feed)
        return size < LINE_MAX_V1 ? PROXY_MORE : PROXY_BAD;
    const char *first = text + sizeof(line_begins) - 1;
    if (feed <= first || feed[-1] != '\r' || !read_line(first, feed - 1, header))
        return PROXY_BAD;
    header->length = (size_t)(feed + 1 - text);
    return PROXY_GOOD;
}

/* ---- version 2 ---- */

enum {
    HEAD_V2 = 16,
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    TYPE_SSL = 0x20,
    CLIENT_SSL = 0x01,
};

static uint16_t number_at(const uint8_t *data)
{
    return (uint16_t)(data[0] << 8 | data[1]);
}

/* Behind the addresses stand fields of type, length and value. One that is cut short ends
 * the list: what was said before counts. */
static bool says_tls(const uint8_t *data, size_t length)
{
    while (length >= 3) {
        size_t size = number_at(data + 1);

        if (size > length - 3)
            return false;
        if (data[0] == TYPE_SSL)
            return size > 0 && (data[3] & CLIENT_SSL) != 0;
        data += 3 + size;
        length -= 3 + size;
    }
    return false;
}

static size_t addresses_size(uint8_t kind)
{
    return kind == 0x11 ? 12 : kind == 0x21 ? 36 : kind == 0x31 ? 216 : 0;
}

/* Family and kind of socket; the addresses' length. */
static bool read_addresses(uint8_t kind, const uint8_t *data, size_t length,
                           struct proxy_header *header)
{
    size_t size = addresses_size(kind);
    uint16_t port;

    header->is_tls = length > size && says_tls(data + size, length - size);
    switch (kind) {
    case 0x00: /* unspecified */
        return header->is_local = true;
    case 0x11: /* TCP over IPv4: two addresses, two ports */
        if (length < 12)
            return false;
        memcpy(&port, data + 8, sizeof(port));
        set_v4(header, data, port);
        return true;
    case 0x21: /* TCP over IPv6 */
        if (length < 36)
            return false;
        memcpy(&port, data + 32, sizeof(port));
        set_v6(header, data, port);
        return true;
    case 0x31: /* a Unix stream: two paths of 108 bytes, of which nothing is needed */
        if (length < 216)
            return false;
        header->address.ss_family = AF_UNIX;
        header->address_length = sizeof(header->address.ss_family);
        return true;
    default: /* datagrams do not come this way */
        return false;
    }
}

static enum proxy_state parse_binary(const uint8_t *data, size_t size,
                                     struct proxy_header *header)
{
    if (size < HEAD_V2)
        return PROXY_MORE;
    size_t length = number_at(data + 14);
    if ((data[12] != COMMAND_LOCAL && data[12] != COMMAND_PROXY) ||
        HEAD_V2 + length > PROXY_HEADER_MAX)
        return PROXY_BAD;
    if (size < HEAD_V2 + length)
        return PROXY_MORE;
    header->length = HEAD_V2 + length;
    header->is_local = data[12] == COMMAND_LOCAL;
    if (!header->is_local && !read_addresses(data[13], data + HEAD_V2, length, header))
        return PROXY_BAD;
    return PROXY_GOOD;
}

enum proxy_state proxy_parse(const void *data, size_t size, struct proxy_header *ret)
{
    struct proxy_header header = { 0 };
    enum proxy_state state = PROXY_BAD;

    if (agrees(data, size, line_begins, sizeof(line_begins) - 1))
        state =
            size < sizeof(line_begins) - 1 ? PROXY_MORE : parse_line(data, size, &header);
    else if (agrees(data, size, signature, sizeof(signature)))
        state = parse_binary(data, size, &header);
    if (state == PROXY_GOOD)
        *ret = header;
    return state;
}
