/*
 * test_cookies.c - the Set-Cookie lines, as browsers are to read them.
 */
#include "tests/unit/testing.h"

#include "common/arena.h"
#include "worker/handlers/cookies.h"

static const struct {
    bool is_http_only, is_secure;
    const char *value, *line;
} rows[] = {
    { true, false, "eyJ.x.y", "name=eyJ.x.y; HttpOnly; Path=/; SameSite=Lax" },
    { false, false, "b6655c55", "name=b6655c55; Path=/; SameSite=Lax" },
    { true, true, "v", "name=v; Secure; HttpOnly; Path=/; SameSite=Lax" },
    { false, true, "v", "name=v; Secure; Path=/; SameSite=Lax" },
    { true, false, NULL,
      "name=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Path=/; SameSite=Lax" },
    { false, true, NULL,
      "name=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; Path=/; SameSite=Lax" },
};

static void test_lines(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cookie_spec cookie = { .name = "name",
                                      .is_http_only = rows[i].is_http_only };

        assert_string_equal(cookie_line(arena, &cookie, rows[i].value, rows[i].is_secure),
                            rows[i].line);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_lines) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
