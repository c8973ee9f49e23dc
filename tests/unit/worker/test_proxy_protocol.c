/* test_proxy_protocol.c - what balancers send, what they must not, and every cut of it.
 */
#include "tests/unit/testing.h"

#include "worker/proxy_protocol.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_TCP4         \
    V2 "\x21\x11\0\x0c" \
       "\xc0\0\x02\x07" \
       "\x0a\0\0\x01"   \
       "\x12\x67\0\x50"

/* Parsed from memory of exactly that size, so that a byte read past it is found. */
static enum proxy_state parse(const void *text, size_t size, struct proxy_header *ret)
{
    void *copy = malloc(size ? size : 1);

    memcpy(copy, text, size);
    enum proxy_state state = proxy_parse(copy, size, ret);
    free(copy);
    return state;
}

static const char *show(const struct proxy_header *header)
{
    static char text[80];
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in4 = (const void *)&header->address;
    const struct sockaddr_in6 *in6 = (const void *)&header->address;

    if (header->is_local)
        return "local";
    if (header->address.ss_family == AF_UNIX)
        return "unix";
    if (header->address.ss_family == AF_INET)
        snprintf(text, sizeof(text), "%s %d",
                 inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host)),
                 ntohs(in4->sin_port));
    else
        snprintf(text, sizeof(text), "%s %d",
                 inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
                 ntohs(in6->sin6_port));
    return text;
}

struct sample {
    const char *text;
    size_t size;
    const char *client; /* NULL: bad */
};
#define SAMPLE(bytes, who)            \
    {                                 \
        bytes, sizeof(bytes) - 1, who \
    }

static const struct sample good[] = {
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", "192.0.2.7 4711"),
    SAMPLE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
           "255.255.255.255 65535"),
    SAMPLE("PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7 4711"),
    SAMPLE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n", "192.0.2.7 0"),
    SAMPLE("PROXY UNKNOWN\r\n", "local"),
    SAMPLE("PROXY UNKNOWN ffff:: whatever stands here\r\n", "local"),
    SAMPLE(V2_TCP4, "192.0.2.7 4711"),
    /* Three bytes more: what balancers add, and nobody here needs. */
    SAMPLE(V2 "\x21\x11\0\x0f"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50"
              "\x04\0\0",
           "192.0.2.7 4711"),
    SAMPLE(V2 "\x21\x21\0\x24"
              "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
              "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
              "\x12\x67\0\x50",
           "2001:db8::7 4711"),
    SAMPLE(V2 "\x20\x00\0\0", "local"),
    SAMPLE(V2 "\x20\x11\0\x0c"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50",
           "local"),
    SAMPLE(V2 "\x21\x00\0\x02"
              "ab",
           "local"),
};

static const struct sample bad[] = {
    SAMPLE("GET / HTTP/1.1\r\n", NULL),
    SAMPLE("proxy TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 \r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 1\r\n", NULL),
    SAMPLE("PROXY TCP4  192.0.2.7 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 04711 80\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7 10.0.0.1 -1 80\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.300 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY TCP4 2001:db8::7 ::1 4711 80\r\n", NULL),
    SAMPLE("PROXY TCP6 192.0.2.7 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY TCP4 192.0.2.7\0x 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY UDP4 192.0.2.7 10.0.0.1 4711 80\r\n", NULL),
    SAMPLE("PROXY \r\n", NULL),
    SAMPLE("PROXY TCP4\r\n", NULL),
    SAMPLE(V2 "\x11\x11\0\x0c"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50",
           NULL),
    SAMPLE(V2 "\x22\x11\0\x0c"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50",
           NULL),
    SAMPLE(V2 "\x21\x12\0\x0c"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50",
           NULL),
    SAMPLE(V2 "\x21\x11\0\x0b"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0",
           NULL),
    SAMPLE(V2 "\x21\x21\0\x0c"
              "\xc0\0\x02\x07"
              "\x0a\0\0\x01"
              "\x12\x67\0\x50",
           NULL),
    SAMPLE(V2 "\x21\x11\xff\xff", NULL), /* larger than anybody may send */
    SAMPLE("\r\n\r\n\0\r\nQUIX\n", NULL),
};

static void good_headers_name_the_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct proxy_header header = { .length = 77 };
        char room[256];

        /* Whatever follows is the client's. */
        memcpy(room, good[i].text, good[i].size);
        memcpy(room + good[i].size, "GET /", 5);
        assert_int_equal(parse(room, good[i].size + 5, &header), PROXY_GOOD);
        assert_int_equal(header.length, good[i].size);
        assert_string_equal(show(&header), good[i].client);
    }
}

static void cut_headers_wait_for_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        for (size_t size = 0; size < good[i].size; size++) {
            struct proxy_header header = { .length = 77 };

            assert_int_equal(parse(good[i].text, size, &header), PROXY_MORE);
            assert_int_equal(header.length, 77);
        }
}

static void wrong_headers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct proxy_header header = { .length = 77 };

        if (parse(bad[i].text, bad[i].size, &header) != PROXY_BAD)
            fail_msg("%zu: %s", i, bad[i].text);
        assert_int_equal(header.length, 77);
    }
}

static void a_line_has_107_bytes_at_most(void **state)
{
    char text[200] = "PROXY UNKNOWN ";
    struct proxy_header header;

    (void)state;
    memset(text + 14, 'x', sizeof(text) - 14);
    assert_int_equal(parse(text, 106, &header), PROXY_MORE);
    assert_int_equal(parse(text, 107, &header), PROXY_BAD);
    memcpy(text + 105, "\r\n", 2);
    assert_int_equal(parse(text, 107, &header), PROXY_GOOD);
    assert_int_equal(parse(text, 200, &header), PROXY_GOOD);
    text[105] = text[106] = 'x';
    memcpy(text + 106, "\r\n", 2);
    assert_int_equal(parse(text, 200, &header), PROXY_BAD);
}

static void a_binary_header_has_a_limit(void **state)
{
    uint8_t data[PROXY_HEADER_MAX + 1] = V2 "\x20";
    struct proxy_header header;
    size_t most = PROXY_HEADER_MAX - 16;

    (void)state;
    data[14] = (uint8_t)(most >> 8);
    data[15] = (uint8_t)most;
    assert_int_equal(parse(data, 16, &header), PROXY_MORE);
    assert_int_equal(parse(data, PROXY_HEADER_MAX, &header), PROXY_GOOD);
    assert_int_equal(header.length, PROXY_HEADER_MAX);
    data[15]++;
    assert_int_equal(parse(data, 16, &header), PROXY_BAD);
}

static void a_field_says_that_the_client_speaks_tls(void **state)
{
    static const struct {
        const char *fields;
        size_t size;
        bool is_tls;
    } cases[] = {
        { "", 0, false },
        { "\x20\0\5\1\0\0\0\0", 8, true },
        { "\x20\0\5\7\0\0\0\0", 8, true },  /* with a certificate as well */
        { "\x20\0\5\0\0\0\0\0", 8, false }, /* none was spoken */
        { "\2\0\1a\x20\0\5\1\0\0\0\0", 12, true },
        { "\2\0\0\4\0\0", 6, false },
        { "\x20\0\0", 3, false },   /* nothing said */
        { "\x20\0\5\1", 4, false }, /* cut short */
        { "\2\xff\xff\x20\0\5\1\0\0\0\0", 11, false },
        { "\x20", 1, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t data[64] = V2 "\x21\x11\0\0\xc0\0\2\7\x0a\0\0\1\x12\x67\0\x50";
        struct proxy_header header;

        data[15] = (uint8_t)(12 + cases[i].size);
        memcpy(data + 28, cases[i].fields, cases[i].size);
        assert_int_equal(parse(data, 28 + cases[i].size, &header), PROXY_GOOD);
        assert_string_equal(show(&header), "192.0.2.7 4711");
        if (header.is_tls != cases[i].is_tls)
            fail_msg("case %zu", i);
    }
}

static void a_unix_client_has_no_address(void **state)
{
    uint8_t data[16 + 216] = V2 "\x21\x31\0\xd8";
    struct proxy_header header;

    (void)state;
    assert_int_equal(parse(data, sizeof(data), &header), PROXY_GOOD);
    assert_string_equal(show(&header), "unix");
    data[15]--;
    assert_int_equal(parse(data, sizeof(data), &header), PROXY_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers_name_the_client),
        cmocka_unit_test(cut_headers_wait_for_more),
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(a_line_has_107_bytes_at_most),
        cmocka_unit_test(a_binary_header_has_a_limit),
        cmocka_unit_test(a_field_says_that_the_client_speaks_tls),
        cmocka_unit_test(a_unix_client_has_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
