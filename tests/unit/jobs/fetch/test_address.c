/* Which addresses a page may be fetched from. */
#include "jobs/fetch/fetch.h"
#include "tests/unit/testing.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct {
    const char *address;
    bool is_private;
} addresses[] = {
    { "0.0.0.0", true },
    { "0.1.2.3", true },
    { "1.1.1.1", false },
    { "8.8.8.8", false },
    { "9.255.255.255", false },
    { "10.0.0.0", true },
    { "10.255.255.255", true },
    { "11.0.0.0", false },
    { "100.63.255.255", false },
    { "100.64.0.0", true },
    { "100.127.255.255", true },
    { "100.128.0.0", false },
    { "126.255.255.255", false },
    { "127.0.0.1", true },
    { "127.255.255.255", true },
    { "128.0.0.1", false },
    { "169.253.255.255", false },
    { "169.254.169.254", true }, /* the clouds' metadata */
    { "169.255.0.0", false },
    { "172.15.255.255", false },
    { "172.16.0.0", true },
    { "172.31.255.255", true },
    { "172.32.0.0", false },
    { "192.0.0.8", true },
    { "192.0.1.0", false },
    { "192.0.2.1", true },
    { "192.88.99.1", true },
    { "192.167.255.255", false },
    { "192.168.0.0", true },
    { "192.168.255.255", true },
    { "192.169.0.0", false },
    { "198.17.255.255", false },
    { "198.18.0.0", true },
    { "198.19.255.255", true },
    { "198.20.0.0", false },
    { "198.51.100.7", true },
    { "203.0.113.7", true },
    { "203.0.114.0", false },
    { "223.255.255.255", false },
    { "224.0.0.1", true },
    { "239.255.255.255", true },
    { "240.0.0.1", true },
    { "255.255.255.255", true },
    { "::", true },
    { "::1", true },
    { "::7f00:1", true },
    { "::8.8.8.8", true }, /* IPv4-compatible: withdrawn */
    { "::ffff:127.0.0.1", true },
    { "::ffff:10.0.0.1", true },
    { "::ffff:8.8.8.8", false },
    { "64:ff9b::10.0.0.1", true },
    { "64:ff9b::8.8.8.8", false },
    { "64:ff9b:1::8.8.8.8", true },
    { "100::1", true },
    { "2001::1", true },    /* Teredo */
    { "2001:10::1", true }, /* ORCHID */
    { "2001:200::1", false },
    { "2001:4860:4860::8888", false },
    { "2001:db8::1", true },
    { "2001:db9::1", false },
    { "2002:7f00:1::", true }, /* 6to4 of 127.0.0.1 */
    { "2002:a9fe:a9fe::1", true },
    { "2002:808:808::1", false },
    { "2606:4700::1111", false },
    { "3fff::1", true },
    { "3fff:fff:ffff::1", true },
    { "3ffe::1", false },
    { "4000::1", true },
    { "fc00::1", true },
    { "fdff:ffff::1", true },
    { "fe80::1", true },
    { "febf::1", true },
    { "fec0::1", true },
    { "ff02::1", true },
};

static bool is_private(const char *text)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return fetch_is_private_address((const struct sockaddr *)&v4);
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        fail_msg("`%s` is no address", text);
    return fetch_is_private_address((const struct sockaddr *)&v6);
}

static void knows_public_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        if (is_private(addresses[i].address) != addresses[i].is_private)
            fail_msg("%s", addresses[i].address);
    }
}

static void refuses_other_families(void **state)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX };

    (void)state;
    assert_true(fetch_is_private_address((const struct sockaddr *)&local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_public_addresses),
        cmocka_unit_test(refuses_other_families),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
