/*
 * test_limits.c - the text of limits, as truth tables.
 */
#include "common/log.h"
#include "tests/unit/testing.h"
#include "worker/limits.h"
#include <string.h>

static const struct parse_case {
    const char *text;
    int count;             /* -1: wrong */
    int64_t most, seconds; /* of the last window */
    const char *spans, *shown;
} cases[] = {
    { "none", 0, 0, 0, "", NULL },
    { "5/15m", 1, 5, 900, "900", "5 per 15 minute" },
    { "10/1h", 1, 10, 3600, "3600", "10 per 1 hour" },
    { "1000/1d,200/1h,50/1m", 3, 50, 60, "86400,3600,60", "50 per 1 minute" },
    { "1000/1d, 200/1h", 2, 200, 3600, "86400,3600", "200 per 1 hour" },
    { "7/90s", 1, 7, 90, "90", "7 per 90 second" },
    { "7/90", 1, 7, 90, "90", "7 per 90 second" },
    { "1/1d,1/2d,1/3d,1/4d,1/5d,1/6d,1/7d,1/8d", 8, 1, 691200,
      "86400,172800,259200,345600,432000,518400,604800,691200", "1 per 8 day" },
    { "1/1d,1/2d,1/3d,1/4d,1/5d,1/6d,1/7d,1/8d,1/9d", -1, 0, 0, NULL, NULL },
    { "", -1, 0, 0, NULL, NULL },
    { "5", -1, 0, 0, NULL, NULL },
    { "0/1m", -1, 0, 0, NULL, NULL },
    { "-5/1m", -1, 0, 0, NULL, NULL },
    { " 5/1m", -1, 0, 0, NULL, NULL },
    { "5/", -1, 0, 0, NULL, NULL },
    { "5/0s", -1, 0, 0, NULL, NULL },
    { "5/500ms", -1, 0, 0, NULL, NULL },
    { "5/fortnight", -1, 0, 0, NULL, NULL },
    { "5/1m;6/1h", -1, 0, 0, NULL, NULL },
    { "9999999999/1m", -1, 0, 0, NULL, NULL },
    { "5/1m,none", -1, 0, 0, NULL, NULL },
};

static void limits_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct parse_case *c = &cases[i];
        struct limit limit;
        char shown[64];

        if (limit_parse(c->text, &limit) != (c->count >= 0))
            fail_msg("`%s`: taken for right or wrong by mistake", c->text);
        if (c->count < 0)
            continue;
        assert_int_equal(limit.count, c->count);
        assert_string_equal(limit.spans, c->spans);
        if (c->count == 0)
            continue;
        const struct limit_window *last = &limit.windows[c->count - 1];
        assert_int_equal(last->most, c->most);
        assert_int_equal(last->seconds, c->seconds);
        limit_window_show(last, shown, sizeof(shown));
        assert_string_equal(shown, c->shown);
    }
}

static struct options options_with(char *login)
{
    static char empty[] = "", minute[] = "30/1m";
    struct options options = { 0 };

    options.limits.enabled = true;
    options.limits.standard = empty;
    options.limits.login = login;
    options.limits.register_ = options.limits.check_username = minute;
    options.limits.bulk_check = options.limits.search = options.limits.extract = minute;
    return options;
}

static void the_environment_sets_the_standard(void **state)
{
    char login[] = "5/15m";
    struct options options = options_with(login);

    (void)state;
    assert_true(limits_init(&options));
    assert_int_equal(limits_of(LIMIT_STANDARD)->windows[0].most, 100000);
    assert_int_equal(limits_of(LIMIT_LOGIN)->windows[0].most, 5);
    assert_int_equal(limits_of(LIMIT_NONE)->count, 0);
    options.server.environment = ENV_PRODUCTION;
    assert_true(limits_init(&options));
    assert_int_equal(limits_of(LIMIT_STANDARD)->windows[2].most, 50);
    options.limits.enabled = false;
    assert_true(limits_init(&options));
    for (int class = 0; class <= LIMIT_EXTRACT; class ++)
        assert_int_equal(limits_of((enum limit_class) class)->count, 0);
}

static void a_wrong_limit_stops_the_start(void **state)
{
    char login[] = "5 per minute";
    struct options options = options_with(login);

    (void)state;
    assert_false(limits_init(&options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_read),
        cmocka_unit_test(the_environment_sets_the_standard),
        cmocka_unit_test(a_wrong_limit_stops_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
