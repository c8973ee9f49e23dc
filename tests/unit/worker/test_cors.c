/*
 * test_cors.c - origins against entries.
 */
#include "../testing.h"
#include "worker/cors.h"
#include "worker/router.h"

const struct route route_table[] = { { .pattern = NULL } };

static const struct {
    const char *entry, *origin;
    enum cors_match match;
} rows[] = {
    { "http://localhost:3000", "http://localhost:3000", CORS_EXACT },
    { "http://localhost:3000", "HTTP://LocalHost:3000", CORS_EXACT },
    { "http://localhost:3000", "http://localhost:30001", CORS_NO },
    { "http://localhost:3000", "http://localhost:300", CORS_NO },
    { "http://localhost:3000", "https://localhost:3000", CORS_NO },
    { "http://localhost:3000", "", CORS_NO },
    { "http://localhost:3000", "null", CORS_NO },
    { "chrome-extension://*", "chrome-extension://abcdef", CORS_PATTERN },
    { "chrome-extension://*", "chrome-extension:/", CORS_NO },
    { "https://*.example.org", "https://a.example.org", CORS_PATTERN },
    { "https://*.example.org", "https://a.b.example.org", CORS_PATTERN },
    { "https://*.example.org", "https://example.org", CORS_NO },
    { "https://*.example.org", "https://a.example.org.evil", CORS_NO },
    { "*", "https://anything", CORS_PATTERN },
    { "h*://*:80*0", "http://x:8080", CORS_PATTERN },
    { "h*://*:80*0", "http://x:8081", CORS_NO },
    { "", "", CORS_EXACT },
};

static void entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (cors_match_entry(rows[i].entry, rows[i].origin) != rows[i].match)
            fail_msg("%s against %s", rows[i].origin, rows[i].entry);
}

static void the_best_match_counts(void **state)
{
    static char *items[] = { "*", "https://a.example", NULL };
    static const struct conf_list list = { .items = items, .count = 2 };
    static const struct conf_list none = { .items = items + 2, .count = 0 };

    (void)state;
    assert_int_equal(cors_match(&list, "https://a.example"), CORS_EXACT);
    assert_int_equal(cors_match(&list, "https://b.example"), CORS_PATTERN);
    assert_int_equal(cors_match(&none, "https://b.example"), CORS_NO);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(entries),
                                        cmocka_unit_test(the_best_match_counts) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
