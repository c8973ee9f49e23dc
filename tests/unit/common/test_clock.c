/*
 * test_clock.c - times as text, both ways.
 */
#include "common/clock.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <string.h>

static void times_are_written(void **state)
{
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    assert_string_equal(clock_iso(1709251198123456, text), "2024-02-29T23:59:58.123456");
    assert_string_equal(clock_iso(1709251198000000, text), "2024-02-29T23:59:58");
    assert_string_equal(clock_iso_z(1709251198000000, text),
                        "2024-02-29T23:59:58.000000Z");
    assert_string_equal(clock_iso_z(-1, text), "1969-12-31T23:59:59.999999Z");
    /* The last second written by hand, the first that is not; and the same at 1900. */
    assert_string_equal(clock_iso(253402300799000000, text), "9999-12-31T23:59:59");
    assert_string_equal(clock_iso(253402300800000001, text),
                        "10000-01-01T00:00:00.000001");
    assert_string_equal(clock_iso(-2208988800000000, text), "1900-01-01T00:00:00");
    assert_string_equal(clock_iso(-2208988801000000, text), "1899-12-31T23:59:59");
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t expected; /* -1: refused */
    } table[] = {
        { "2024-02-29T23:59:58.123456Z", 1709251198123456 },
        { "2024-02-29T23:59:58.1Z", 1709251198100000 },
        { "2024-02-29 23:59:58", 1709251198000000 },
        { "2024-02-29T23:59:58Z", 1709251198000000 },
        { "2024-02-29T23:59:58.Z", -1 },
        { "2024-02-29T23:59:58.1234567Z", -1 },
        { "2024-02-29T23:59:58+00:00", -1 },
        { "2024-13-01T00:00:00", -1 },
        { "2024-02-29T24:00:00", -1 },
        { "2024-02-29", -1 },
        { "", -1 },
        { "0000-01-01T00:00:00", -1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int64_t got = -7;
        int rc = clock_parse(table[i].text, strlen(table[i].text), &got);

        assert_int_equal(rc, table[i].expected == -1 ? -EINVAL : 0);
        assert_int_equal(got, table[i].expected == -1 ? -7 : table[i].expected);
    }
}

static void times_are_copied(void **state)
{
    static const struct {
        const char *text, *expected; /* NULL: refused */
    } table[] = {
        { "2026-11-23 14:36:50.761872", "2026-11-23T14:36:50.761872" },
        { "2026-11-23 14:36:50.7", "2026-11-23T14:36:50.700000" },
        { "2026-11-23 14:36:50", "2026-11-23T14:36:50" },
        { "0001-01-01 00:00:00", "0001-01-01T00:00:00" },
        { "2026-11-23 14:36:50.", NULL },
        { "2026-11-23 14:36:50.7618721", NULL },
        { "2026-11-23 14:36:50+00", NULL },
        { "0044-03-15 12:00:00 BC", NULL },
        { "12026-11-23 14:36:50", NULL },
        { "2026-11-23", NULL },
        { "infinity", NULL },
        { "", NULL },
    };
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        bool is_copied = clock_iso_copy(table[i].text, strlen(table[i].text), text);

        assert_int_equal(is_copied, table[i].expected != NULL);
        if (is_copied)
            assert_string_equal(text, table[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(times_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
