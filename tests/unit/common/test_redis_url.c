/*
 * test_redis_url.c - Redis URLs, as truth tables.
 */
#include "common/redis_url.h"
#include "tests/unit/testing.h"
#include <string.h>

static const struct good {
    const char *url, *host, *port, *user, *password;
    int db;
    bool is_unix, tls, unverified;
    const char *shown;
} goods[] = {
    { "redis://localhost", "localhost", "6379", "", "", 0, false, false, false,
      "localhost:6379" },
    { "redis://localhost/", "localhost", "6379", "", "", 0, false, false, false,
      "localhost:6379" },
    { "REDIS://h:7000/3", "h", "7000", "", "", 3, false, false, false,
      "h:7000, database 3" },
    { "redis://:secret@h", "h", "6379", "", "secret", 0, false, false, false, "h:6379" },
    { "redis://me:se%3acret%40%2F@h:1", "h", "1", "me", "se:cret@/", 0, false, false,
      false, "h:1" },
    { "redis://me:a@b@h", "h", "6379", "me", "a@b", 0, false, false, false, "h:6379" },
    { "redis://me:100%@h", "h", "6379", "me", "100%", 0, false, false, false, "h:6379" },
    { "redis://me@h", "h", "6379", "me", "", 0, false, false, false, "h:6379" },
    { "redis://[2001:db8::1]:6380/1", "2001:db8::1", "6380", "", "", 1, false, false,
      false, "[2001:db8::1]:6380, database 1" },
    { "redis://[::1]", "::1", "6379", "", "", 0, false, false, false, "[::1]:6379" },
    { "redis://h?db=4", "h", "6379", "", "", 4, false, false, false,
      "h:6379, database 4" },
    { "redis://h/1?password=p%20q&user=u", "h", "6379", "u", "p q", 1, false, false,
      false, "h:6379, database 1" },
    { "rediss://me:pw@cache.example.org:6380/0", "cache.example.org", "6380", "me", "pw",
      0, false, true, false, "cache.example.org:6380" },
    { "rediss://h?ssl_cert_reqs=none", "h", "6379", "", "", 0, false, true, true,
      "h:6379" },
    { "rediss://h?ssl_cert_reqs=required", "h", "6379", "", "", 0, false, true, false,
      "h:6379" },
    { "unix:///run/redis/r.sock", "/run/redis/r.sock", "", "", "", 0, true, false, false,
      "/run/redis/r.sock" },
    { "unix:///run/r%20s?db=2", "/run/r s", "", "", "", 2, true, false, false,
      "/run/r s, database 2" },
    { "unix://me:pw@/s?db=0", "/s", "", "me", "pw", 0, true, false, false, "/s" },
};

static void good_urls_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
        const struct good *g = &goods[i];
        struct redis_address address;
        char error[160] = "", shown[320];

        if (!redis_url_parse(g->url, &address, error, sizeof(error)))
            fail_msg("%s: %s", g->url, error);
        assert_string_equal(address.host, g->host);
        assert_string_equal(address.port, g->port);
        assert_string_equal(address.user, g->user);
        assert_string_equal(address.password, g->password);
        assert_int_equal(address.db, g->db);
        assert_int_equal(address.is_unix, g->is_unix);
        assert_int_equal(address.tls, g->tls);
        assert_int_equal(address.allow_unverified, g->unverified);
        redis_address_show(&address, shown, sizeof(shown));
        assert_string_equal(shown, g->shown);
    }
}

static const char *const bad_urls[] = {
    "",
    "localhost:6379",
    "http://localhost",
    "redis:/localhost",
    "redis://",
    "redis://:pw@",
    "redis://h:",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:6379x",
    "redis://h/x",
    "redis://h/-1",
    "redis://h/1x",
    "redis://h/100000",
    "redis://h?db=",
    "redis://h?db",
    "redis://h?colour=blue",
    "redis://h?ssl_cert_reqs=maybe",
    "redis://[::1",
    "redis://[::1]x",
    "redis://%00",
    "redis://a%00b:c@h",
    "unix://",
    "unix:///",
    "unix://relative/path",
};

static void bad_urls_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_urls) / sizeof(bad_urls[0]); i++) {
        struct redis_address address;
        char error[160] = "";

        if (redis_url_parse(bad_urls[i], &address, error, sizeof(error)))
            fail_msg("`%s` was taken", bad_urls[i]);
        assert_true(error[0] != '\0');
    }
}

static void what_is_too_long_is_refused(void **state)
{
    char url[2000] = "redis://:";
    struct redis_address address;
    char error[160];

    (void)state;
    memset(url + 9, 'p', 600);
    strcpy(url + 609, "@h");
    assert_false(redis_url_parse(url, &address, error, sizeof(error)));
    assert_null(strstr(error, "ppp"));
    strcpy(url, "unix:///");
    memset(url + 8, 'p', 600);
    assert_false(redis_url_parse(url, &address, error, sizeof(error)));
    strcpy(url, "redis://");
    memset(url + 8, 'h', 600);
    assert_false(redis_url_parse(url, &address, error, sizeof(error)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_read),
        cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(what_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
