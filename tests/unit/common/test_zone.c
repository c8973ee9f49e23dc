/*
 * test_zone.c - zones by our reader against libc's, over a century and a half.
 */
#include "common/zone.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Every form of rule there is: none, plain, other hemisphere, half hours, negative
 * summer (Dublin), before midnight (Nuuk), past it (Jerusalem), an end of year
 * (Casablanca has none after 2087). */
static const char *const names[] = {
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Jerusalem",
    "Asia/Tehran",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

static void offsets_are_libcs(void **state)
{
    (void)state;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const char *error = NULL;
        struct zone *zone = zone_open(names[i], &error);

        assert_non_null(zone);
        setenv("TZ", names[i], 1);
        tzset();
        /* Not a multiple of any hour, so that all times of the day are looked at. */
        for (int64_t at = -2000000000; at < 4200000000; at += 86400 * 3 + 4567) {
            time_t when = at;
            struct tm local;

            assert_non_null(localtime_r(&when, &local));
            if (zone_offset(zone, at) != local.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)at,
                         zone_offset(zone, at), local.tm_gmtoff);
            assert_string_equal(zone_abbreviation(zone, at), local.tm_zone);
        }
        zone_free(zone);
    }
    unsetenv("TZ");
}

/* A change is where it is: another offset from it on, none before. */
static void changes_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const char *error = NULL;
        struct zone *zone = zone_open(names[i], &error);
        int64_t at = 0;
        int count = 0;

        while (at < 4000000000) {
            int64_t next = zone_next_change(zone, at);

            if (next == INT64_MAX)
                break;
            assert_true(next > at);
            assert_int_not_equal(zone_offset(zone, next), zone_offset(zone, next - 1));
            for (int64_t between = at; between < next; between += 86400 * 5)
                assert_int_equal(zone_offset(zone, between), zone_offset(zone, at));
            at = next;
            count++;
        }
        if (strcmp(names[i], "Europe/Berlin") == 0)
            assert_in_range(count, 230, 240); /* twice a year, from 1980 to 2096 */
        if (strcmp(names[i], "UTC") == 0)
            assert_int_equal(count, 0);
        zone_free(zone);
    }
}

static void wrong_names_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",       "/etc/passwd", "../zoneinfo/UTC", "Europe/..",
        "Europe", "Mars/Base",   "Europe/Berlin\n", "zone.tab",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *error = NULL;

        assert_null(zone_open(wrong[i], &error));
        assert_non_null(error);
    }
}

/* Every cut and every changed byte of a real file: refused or read, never worse. */
static void broken_files_do_no_harm(void **state)
{
    static unsigned char data[65536];
    FILE *file = fopen("/usr/share/zoneinfo/Africa/Cairo", "rb");

    (void)state;
    assert_non_null(file);
    size_t length = fread(data, 1, sizeof(data), file);
    fclose(file);
    assert_true(length > 100);
    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *copy = malloc(cut + 1);

        memcpy(copy, data, cut);
        zone_free(zone_read(copy, cut));
        free(copy);
    }
    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (unsigned char)(1 << bit);
            struct zone *zone = zone_read(data, length);
            if (zone) {
                zone_offset(zone, 1700000000);
                zone_offset(zone, 4000000000);
                zone_next_change(zone, 4000000000);
            }
            zone_free(zone);
            data[i] ^= (unsigned char)(1 << bit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_libcs),
        cmocka_unit_test(changes_are_found),
        cmocka_unit_test(wrong_names_are_refused),
        cmocka_unit_test(broken_files_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
