/*
 * test_pg_lag.c - positions in the log, and when the primary was where.
 */
#include "common/pg_internal.h"
#include "tests/unit/testing.h"

static void a_page_header_is_no_distance(void **state)
{
    static const struct {
        const char *digits;
        uint64_t position;
    } rows[] = {
        { "", 0 },
        { "16777216", 16777216 },
        { "16777240", 16777216 }, /* behind the header of a page */
        { "16777256", 16777216 }, /* behind the longer one of a file */
        { "16777264", 16777264 },
        { "16785432", 16785408 },
        { "16777239", 16777239 },
        { "18446744073709551000", UINT64_C(18446744073709551000) },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(pg_position_of(rows[i].digits) == rows[i].position);
}

static void a_replica_is_as_old_as_the_latest_moment_it_has_passed(void **state)
{
    struct pg_log log = { .spacing_ms = 0 };

    (void)state;
    assert_int_equal(pg_log_time_of(&log, 100), 0);
    pg_log_add(&log, 1000, 100);
    pg_log_add(&log, 2000, 150);
    pg_log_add(&log, 3000, 150); /* nobody wrote */
    pg_log_add(&log, 4000, 300);
    assert_int_equal(pg_log_time_of(&log, 99), 0);
    assert_int_equal(pg_log_time_of(&log, 100), 1000);
    assert_int_equal(pg_log_time_of(&log, 149), 1000);
    assert_int_equal(pg_log_time_of(&log, 150), 3000);
    assert_int_equal(pg_log_time_of(&log, 299), 3000);
    assert_int_equal(pg_log_time_of(&log, 300), 4000);
    assert_int_equal(pg_log_time_of(&log, 1000), 4000);
}

static void a_new_primary_may_be_behind_the_old_one(void **state)
{
    struct pg_log log = { .spacing_ms = 0 };

    (void)state;
    pg_log_add(&log, 1000, 100);
    pg_log_add(&log, 2000, 500);
    pg_log_add(&log, 3000, 400); /* it had not got the last of it */
    assert_int_equal(pg_log_time_of(&log, 399), 0);
    assert_int_equal(pg_log_time_of(&log, 400), 3000);
}

/* However often it is asked, the log reaches back far enough, and its end is exact. */
static void moments_keep_their_distance(void **state)
{
    struct pg_log log = { .spacing_ms = 100 };

    (void)state;
    for (uint64_t at = 0; at < 100000; at += 10)
        pg_log_add(&log, 1000 + at, 1 + at);
    assert_int_equal(log.count, PG_SAMPLES);
    assert_int_equal(pg_log_time_of(&log, 1 + 99990), 1000 + 99990);
    /* (PG_SAMPLES - 2) distances of 100 ms, less one step of ours each. */
    uint64_t reach = 99990 + 1000 - log.samples[0].at_ms;
    assert_in_range(reach, 11000, 13000);
    for (size_t i = 1; i + 1 < log.count; i++)
        assert_true(log.samples[i].at_ms - log.samples[i - 1].at_ms >= 90);
    uint64_t before = pg_log_time_of(&log, 1 + 95000);
    assert_in_range(before, 1000 + 94900, 1000 + 95000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_header_is_no_distance),
        cmocka_unit_test(a_replica_is_as_old_as_the_latest_moment_it_has_passed),
        cmocka_unit_test(a_new_primary_may_be_behind_the_old_one),
        cmocka_unit_test(moments_keep_their_distance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
