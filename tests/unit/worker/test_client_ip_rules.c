/*
 * test_client_ip_rules.c - who the client is, as truth tables.
 */
#include "tests/unit/testing.h"
#include "worker/client_ip_rules.h"
#include <string.h>

static const struct walk_case {
    const char *trusted[4]; /* NULL-ended */
    int64_t hops;
    const char *peer, *forwarded, *client;
} walks[] = {
    /* Nobody is trusted: the header is the client's invention. */
    { { NULL }, -1, "192.0.2.1", "198.51.100.7", "192.0.2.1" },
    { { "10.0.0.1" }, -1, "192.0.2.1", "198.51.100.7", "192.0.2.1" },
    /* One trusted proxy. */
    { { "10.0.0.1" }, -1, "10.0.0.1", "198.51.100.7", "198.51.100.7" },
    { { "10.0.0.1" }, -1, "10.0.0.1", NULL, "10.0.0.1" },
    { { "10.0.0.1" }, -1, "10.0.0.1", "", "10.0.0.1" },
    { { "10.0.0.1" }, -1, "10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7" },
    { { "10.0.0.1" }, -1, "10.0.0.1", "1.1.1.1,\t198.51.100.7  ", "198.51.100.7" },
    /* A chain of them, by network. */
    { { "10.0.0.0/8" }, -1, "10.1.2.3", "9.9.9.9, 8.8.8.8, 10.0.0.9", "8.8.8.8" },
    { { "10.0.0.0/8" }, -1, "10.1.2.3", "10.7.7.7, 10.0.0.9", "10.7.7.7" },
    { { "10.0.0.0/31" }, -1, "10.0.0.1", "1.1.1.1, 10.0.0.2", "10.0.0.2" },
    { { "10.0.0.0/31" }, -1, "10.0.0.2", "1.1.1.1", "10.0.0.2" },
    { { "0.0.0.0/0" }, -1, "8.8.8.8", "1.1.1.1, 2001:db8::5", "2001:db8::5" },
    { { "2001:db8::/33", "::1" },
      -1,
      "2001:db8:7fff::1",
      "2001:db8:8000::1",
      "2001:db8:8000::1" },
    { { "2001:db8::/33" }, -1, "2001:db8:8000::1", "1.1.1.1", "2001:db8:8000::1" },
    /* Everybody is trusted. */
    { { "*" }, -1, "8.8.8.8", "1.1.1.1, 2.2.2.2, 3.3.3.3", "1.1.1.1" },
    /* A Unix socket's peer is trusted, whatever the list says. */
    { { NULL }, -1, NULL, "1.1.1.1, 2.2.2.2", "2.2.2.2" },
    { { NULL }, -1, NULL, NULL, "unix" },
    { { "2.2.2.2" }, -1, NULL, "1.1.1.1, 2.2.2.2", "1.1.1.1" },
    /* The cap on hops. */
    { { "*" }, 0, "8.8.8.8", "1.1.1.1", "8.8.8.8" },
    { { "*" }, 1, "8.8.8.8", "1.1.1.1, 2.2.2.2", "2.2.2.2" },
    { { "*" }, 2, "8.8.8.8", "1.1.1.1, 2.2.2.2", "1.1.1.1" },
    { { "*" }, 9, "8.8.8.8", "1.1.1.1, 2.2.2.2", "1.1.1.1" },
    /* What is no address ends the walk at the hop before. */
    { { "*" }, -1, "8.8.8.8", "1.1.1.1, unknown, 3.3.3.3", "3.3.3.3" },
    { { "*" }, -1, "8.8.8.8", "rubbish", "8.8.8.8" },
    { { "*" }, -1, "8.8.8.8", ",,", "8.8.8.8" },
    { { "*" }, -1, "8.8.8.8", "1.1.1.1,", "8.8.8.8" },
    { { "*" }, -1, "8.8.8.8", "1.1.1.256", "8.8.8.8" },
    { { "*" }, -1, "8.8.8.8", "[1.1.1.1", "8.8.8.8" },
    /* Ports, brackets, IPv4 inside IPv6. */
    { { "*" }, -1, "8.8.8.8", "1.1.1.1:4711", "1.1.1.1" },
    { { "*" }, -1, "8.8.8.8", "[2001:db8::1]:4711", "2001:db8::1" },
    { { "*" }, -1, "8.8.8.8", "2001:DB8:0:0::1", "2001:db8::1" },
    { { "10.0.0.0/8" }, -1, "::ffff:10.0.0.1", "::ffff:1.1.1.1", "1.1.1.1" },
    { { "::ffff:10.0.0.0/104" }, -1, "10.0.0.1", "1.1.1.1", "1.1.1.1" },
};

static void the_walk_ends_at_the_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        const struct walk_case *c = &walks[i];
        struct client_ip_rules rules;
        char found[INET6_ADDRSTRLEN];
        const char *wrong;
        size_t count = 0;

        while (c->trusted[count])
            count++;
        assert_true(client_ip_rules_read(&rules, (char *const *)c->trusted, count,
                                         c->hops, &wrong));
        client_ip_walk(&rules, c->peer, c->forwarded, found);
        if (strcmp(found, c->client) != 0)
            fail_msg("case %zu: %s instead of %s", i, found, c->client);
        client_ip_rules_done(&rules);
    }
}

static const char *const wrong_entries[] = {
    "localhost", "10.0.0.0/33", "10.0.0/8",    "::1/129", "",
    "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/8x", "**",      "10.0.0.1 ",
};

static void a_wrong_entry_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_entries) / sizeof(wrong_entries[0]); i++) {
        char *entries[] = { "127.0.0.1", (char *)wrong_entries[i] };
        struct client_ip_rules rules;
        const char *wrong = NULL;

        assert_false(client_ip_rules_read(&rules, entries, 2, -1, &wrong));
        assert_ptr_equal(wrong, wrong_entries[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_walk_ends_at_the_client),
        cmocka_unit_test(a_wrong_entry_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
