/*
 * test_cron.c - expressions and their due times, in zones whose clocks are changed.
 */
#include "common/calendar.h"
#include "common/cron.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct zone *zone_named(const char *name)
{
    const char *error = NULL;
    struct zone *zone = zone_open(name, &error);

    if (!zone)
        fail_msg("%s %s", name, error);
    return zone;
}

/* "2026-03-29 01:00" as UTC. */
static int64_t utc(const char *text)
{
    int year, month, day, hour, minute;

    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d", &year, &month, &day, &hour, &minute),
                     5);
    return calendar_days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60;
}

static void show(int64_t at, char text[32])
{
    int64_t days = calendar_day_of(at);
    struct date date = calendar_date(days);
    int minute = (int)((at - days * DAY_SECONDS) / 60);

    snprintf(text, 32, "%04d-%02d-%02d %02d:%02d", (int)date.year, date.month, date.day,
             minute / 60, minute % 60);
}

static void expressions_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t minutes;
        uint32_t hours, days, months, weekdays;
        bool any_day, any_weekday;
    } table[] = {
        { "* * * * *", (1ULL << 60) - 1, 0xffffff, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "0 0 1 1 0", 1, 1, 2, 2, 1, false, false },
        { "59 23 31 12 7", 1ULL << 59, 1 << 23, 1U << 31, 1 << 12, 1, false, false },
        { "*/15 */6 * * *", 1 | 1 << 15 | 1 << 30 | 1ULL << 45, 0x041041, 0xfffffffe,
          0x1ffe, 0x7f, true, true },
        { "5/20 9-17/4 1,15 jan-mar,Dec MON-fri", 1 << 5 | 1 << 25 | 1ULL << 45,
          1 << 9 | 1 << 13 | 1 << 17, 1 << 1 | 1 << 15, 0x100e, 0x3e, false, false },
        { "0 0 * * fri-sun", 1, 1, 0xfffffffe, 0x1ffe, 1 | 1 << 5 | 1 << 6, true, false },
        { "0 0 * * 5-7", 1, 1, 0xfffffffe, 0x1ffe, 1 | 1 << 5 | 1 << 6, true, false },
        { "0 0 * * sun-tue", 1, 1, 0xfffffffe, 0x1ffe, 7, true, false },
        { "0 0 * * */2", 1, 1, 0xfffffffe, 0x1ffe, 0x55, true, true },
        { "0 0 */10 * *", 1, 1, 1 << 1 | 1 << 11 | 1 << 21 | 1U << 31, 0x1ffe, 0x7f, true,
          true },
        { " \t0\t0  * * *  ", 1, 1, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "1,1,1,2 0 * * *", 6, 1, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "@hourly", 1, 0xffffff, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "@Daily", 1, 1, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "@midnight", 1, 1, 0xfffffffe, 0x1ffe, 0x7f, true, true },
        { "@weekly", 1, 1, 0xfffffffe, 0x1ffe, 1, true, false },
        { "@monthly", 1, 1, 2, 0x1ffe, 0x7f, false, true },
        { "@yearly", 1, 1, 2, 2, 0x7f, false, true },
        { "@annually", 1, 1, 2, 2, 0x7f, false, true },
        { "0 0 29 2 *", 1, 1, 1 << 29, 4, 0x7f, false, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char error[CRON_ERROR_SIZE] = "";
        struct cron cron = { 0 };

        if (!cron_parse(table[i].text, &cron, error))
            fail_msg("`%s`: %s", table[i].text, error);
        if (cron.minutes != table[i].minutes || cron.hours != table[i].hours ||
            cron.days != table[i].days || cron.months != table[i].months ||
            cron.weekdays != table[i].weekdays || cron.is_any_day != table[i].any_day ||
            cron.is_any_weekday != table[i].any_weekday)
            fail_msg("`%s` was read as %llx %x %x %x %x %d %d", table[i].text,
                     (unsigned long long)cron.minutes, cron.hours, cron.days, cron.months,
                     cron.weekdays, cron.is_any_day, cron.is_any_weekday);
    }
}

static void wrong_expressions_are_explained(void **state)
{
    static const struct {
        const char *text, *error;
    } table[] = {
        { "", "it has 0 fields instead of 5 (minute, hour, day of month, month, day of "
              "week)" },
        { "* * * *", "it has 4 fields instead of 5 (minute, hour, day of month, month, "
                     "day of week)" },
        { "0 * * * * *", "it has 6 fields instead of 5 (minute, hour, day of month, "
                         "month, day of week); seconds are not supported" },
        { "60 * * * *", "the minute field `60`: 60 is not between 0 and 59" },
        { "* 24 * * *", "the hour field `24`: 24 is not between 0 and 23" },
        { "* * 0 * *", "the day of month field `0`: 0 is not between 1 and 31" },
        { "* * * 13 *", "the month field `13`: 13 is not between 1 and 12" },
        { "* * * * 8", "the day of week field `8`: 8 is not between 0 and 7" },
        { "99999999999999999999 * * * *",
          "the minute field `99999999999999999999`: 99999999999999999999 is not between "
          "0 and 59" },
        { "* 1-x * * *", "the hour field `1-x`: x is no number" },
        { "* * * foo *", "the month field `foo`: foo is neither a number nor a name" },
        { "* * * * mon-", "the day of week field `mon-`: a value is missing" },
        { "1,,2 * * * *", "the minute field `1,,2`: , is not understood" },
        { "1, * * * *", "the minute field `1,`: a value is missing" },
        { "*/0 * * * *", "the minute field `*/0`: 0 is no step: a number from 1 on, not "
                         "above the field's range" },
        { "*/60 * * * *", "the minute field `*/60`: 60 is no step: a number from 1 on, "
                          "not above the field's range" },
        { "*/ * * * *", "the minute field `*/`: is no step: a number from 1 on, not "
                        "above the field's range" },
        { "* 22-2 * * *", "the hour field `22-2`: a range ends before it begins; write "
                          "it as two" },
        { "* * * * fri-mon", "the day of week field `fri-mon`: a range ends before it "
                             "begins; write it as two" },
        { "* * L * *", "the day of month field `L`: L is no number" },
        { "* * 15W * *", "the day of month field `15W`: 15W is no number" },
        { "* * * * 5#2", "the day of week field `5#2`: # is not understood" },
        { "* * ? * *", "the day of month field `?`: ? is not understood" },
        { "-1 * * * *", "the minute field `-1`: - is not understood" },
        { "@reboot",
          "`@reboot` is not known: @hourly, @daily, @weekly, @monthly or @yearly" },
        { "0 0 30 2 *", "no month of it has such a day: it would never be due" },
        { "0 0 31 4,6,9,11 *", "no month of it has such a day: it would never be due" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char error[CRON_ERROR_SIZE] = "";
        struct cron cron = { .minutes = 77 };

        if (cron_parse(table[i].text, &cron, error))
            fail_msg("`%s` was taken", table[i].text);
        assert_string_equal(error, table[i].error);
        assert_int_equal(cron.minutes, 77);
    }
}

/* The due times that follow `after`, both UTC. */
static void due_times_are_right(void **state)
{
    static const struct {
        const char *expression, *zone, *after, *due[4];
    } table[] = {
        { "* * * * *",
          "UTC",
          "2026-01-01 00:00",
          { "2026-01-01 00:01", "2026-01-01 00:02" } },
        { "*/20 * * * *",
          "UTC",
          "2026-12-31 23:30",
          { "2026-12-31 23:40", "2027-01-01 00:00", "2027-01-01 00:20" } },
        { "0 12 * * mon-fri",
          "UTC",
          "2026-11-27 12:00", /* a Friday */
          { "2026-11-30 12:00", "2026-12-01 12:00" } },
        { "0 0 31 * *",
          "UTC",
          "2026-01-31 00:00",
          { "2026-03-31 00:00", "2026-05-31 00:00", "2026-07-31 00:00" } },
        { "0 0 29 2 *", "UTC", "2096-02-29 00:00", { "2104-02-29 00:00" } },
        /* Either day will do when both are given. */
        { "0 0 13 * fri",
          "UTC",
          "2026-11-01 00:00",
          { "2026-11-06 00:00", "2026-11-13 00:00", "2026-11-20 00:00",
            "2026-11-27 00:00" } },
        { "0 0 1 * sun",
          "UTC",
          "2026-11-24 00:00",
          { "2026-11-29 00:00", "2026-12-01 00:00", "2026-12-06 00:00" } },
        /* Both, when one of them begins with a star. */
        { "0 0 */2 * mon",
          "UTC",
          "2026-11-01 00:00",
          { "2026-11-09 00:00", "2026-11-23 00:00", "2026-12-07 00:00" } },
        { "0 3 * * *",
          "Asia/Kolkata",
          "2026-06-01 00:00",
          { "2026-06-01 21:30", "2026-06-02 21:30" } },

        /* Berlin: 29 March 2026 2:00 becomes 3:00 (1:00 UTC). */
        { "30 2 * * *",
          "Europe/Berlin",
          "2026-03-28 00:00",
          { "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30" } },
        { "0 3 * * *",
          "Europe/Berlin",
          "2026-03-28 12:00",
          { "2026-03-29 01:00", "2026-03-30 01:00" } },
        { "*/15 2 * * *",
          "Europe/Berlin",
          "2026-03-28 02:00", /* four skipped are one */
          { "2026-03-29 01:00", "2026-03-30 00:00" } },
        { "30 2,3 * * *",
          "Europe/Berlin",
          "2026-03-28 12:00",
          { "2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:30" } },
        { "0 2,3 * * *",
          "Europe/Berlin",
          "2026-03-28 12:00", /* both at once: one */
          { "2026-03-29 01:00", "2026-03-30 00:00" } },
        { "30 * * * *",
          "Europe/Berlin",
          "2026-03-29 00:00",
          { "2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30" } },
        { "30 2 29 3 *",
          "Europe/Berlin",
          "2026-01-01 00:00",
          { "2026-03-29 01:00", "2027-03-29 00:30" } },
        /* 25 October 2026 3:00 becomes 2:00 (1:00 UTC). */
        { "30 2 * * *",
          "Europe/Berlin",
          "2026-10-24 12:00",
          { "2026-10-25 00:30", "2026-10-26 01:30" } },
        { "0 3 * * *",
          "Europe/Berlin",
          "2026-10-24 12:00",
          { "2026-10-25 02:00", "2026-10-26 02:00" } },
        { "*/30 1-3 * * *",
          "Europe/Berlin",
          "2026-10-25 00:00",
          { "2026-10-25 00:30", "2026-10-25 02:00", "2026-10-25 02:30",
            "2026-10-26 00:00" } },
        { "30 * * * *",
          "Europe/Berlin",
          "2026-10-25 00:00",
          { "2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30" } },
        { "@hourly",
          "Europe/Berlin",
          "2026-10-24 23:00",
          { "2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00" } },
        { "0 0-23 * * *",
          "Europe/Berlin",
          "2026-10-24 23:00",
          { "2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00" } },

        /* New York: 8 March 2026 7:00 UTC, 1 November 2026 6:00 UTC. */
        { "30 2 * * *",
          "America/New_York",
          "2026-03-07 12:00",
          { "2026-03-08 07:00", "2026-03-09 06:30" } },
        { "30 1 * * *",
          "America/New_York",
          "2026-10-31 12:00",
          { "2026-11-01 05:30", "2026-11-02 06:30" } },

        /* Lord Howe moves by half an hour: 5 April 2026 2:00 becomes 1:30 (4 April
         * 15:00 UTC), 4 October 2026 2:00 becomes 2:30 (3 October 15:30 UTC). */
        { "45 1 * * *",
          "Australia/Lord_Howe",
          "2026-04-04 00:00",
          { "2026-04-04 14:45", "2026-04-05 15:15" } },
        { "45 * * * *",
          "Australia/Lord_Howe",
          "2026-04-04 14:00",
          { "2026-04-04 14:45", "2026-04-04 15:15", "2026-04-04 16:15" } },
        { "15 2 * * *",
          "Australia/Lord_Howe",
          "2026-10-03 00:00",
          { "2026-10-03 15:30", "2026-10-04 15:15" } },

        /* Cairo skips midnight: 24 April 2026 0:00 becomes 1:00 (23 April 22:00 UTC). */
        { "@daily",
          "Africa/Cairo",
          "2026-04-22 23:00",
          { "2026-04-23 22:00", "2026-04-24 21:00" } },
        /* And shows it twice: 30 October 2026 0:00 becomes 23:00 (29 October 21:00). */
        { "30 23 29 10 *",
          "Africa/Cairo",
          "2026-10-29 00:00",
          { "2026-10-29 20:30", "2027-10-29 21:30" } },
        { "30 * 29 10 *",
          "Africa/Cairo",
          "2026-10-29 20:00",
          { "2026-10-29 20:30", "2026-10-29 21:30", "2027-10-28 22:30" } },

        /* Apia had no 30 December 2011 (the skip: 10:00 UTC). */
        { "0 12 30 12 *",
          "Pacific/Apia",
          "2011-01-01 00:00",
          { "2011-12-30 10:00", "2012-12-29 22:00" } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct zone *zone = zone_named(table[i].zone);
        char error[CRON_ERROR_SIZE];
        char got[32];
        struct cron cron;
        int64_t at = utc(table[i].after);

        assert_true(cron_parse(table[i].expression, &cron, error));
        for (int k = 0; k < 4 && table[i].due[k]; k++) {
            int64_t before = at;

            at = cron_next(&cron, zone, at);
            show(at, got);
            if (strcmp(got, table[i].due[k]) != 0)
                fail_msg("`%s` in %s after %s, number %d: %s instead of %s",
                         table[i].expression, table[i].zone, table[i].after, k, got,
                         table[i].due[k]);
            assert_int_equal(cron_next(&cron, zone, at - 1), at);
            assert_int_equal(cron_last(&cron, zone, at), at);
            if (k > 0)
                assert_int_equal(cron_last(&cron, zone, at - 1), before);
        }
        zone_free(zone);
    }
}

/* ---- against the definition, minute by minute on libc's clock ---- */

#define WINDOW (4 * 24 * 60) /* minutes */

static bool names_wall(const struct cron *cron, const struct tm *wall)
{
    bool by_day = cron->days >> wall->tm_mday & 1;
    bool by_weekday = cron->weekdays >> wall->tm_wday & 1;
    bool is_day = cron->is_any_day || cron->is_any_weekday ? by_day && by_weekday
                                                           : by_day || by_weekday;

    return is_day && cron->minutes >> wall->tm_min & 1 &&
           cron->hours >> wall->tm_hour & 1 && cron->months >> (wall->tm_mon + 1) & 1;
}

/* Walks a window of real minutes: what the clock shows for the first time, or every
 * time; and where it jumps, what it jumped over. */
static void check_window(const char *expression, const struct cron *cron,
                         const struct zone *zone, int64_t begin)
{
    bool is_hourly = cron->hours == (1 << 24) - 1;
    int64_t expected = cron_next(cron, zone, begin - 1);
    int64_t newest = INT64_MIN;

    for (int64_t at = begin - 1440 * 60; at < begin + WINDOW * 60; at += 60) {
        time_t when = at;
        struct tm wall;
        bool is_due = false;

        localtime_r(&when, &wall);
        int64_t shown = at + wall.tm_gmtoff;
        if (newest != INT64_MIN && !is_hourly) {
            for (int64_t skipped = newest + 60; skipped < shown; skipped += 60) {
                time_t as_utc = skipped;
                struct tm missing;

                is_due |= names_wall(cron, gmtime_r(&as_utc, &missing));
            }
        }
        if (is_hourly || shown > newest)
            is_due |= names_wall(cron, &wall);
        if (shown > newest)
            newest = shown;
        if (at < begin)
            continue;
        if (is_due != (at == expected))
            fail_msg("`%s` at %lld: %s", expression, (long long)at,
                     is_due ? "is due" : "is not due");
        if (is_due)
            expected = cron_next(cron, zone, at);
    }
}

static void due_times_are_the_definitions(void **state)
{
    static const char *const zones[] = { "Europe/Berlin",       "America/New_York",
                                         "Australia/Lord_Howe", "Africa/Cairo",
                                         "America/Havana",      "Europe/Dublin",
                                         "Asia/Kathmandu",      "Pacific/Apia" };
    static const char *const expressions[] = {
        "* * * * *",    "*/7 * * * *", "30 2 * * *",         "*/15 2 * * *",
        "0 0 * * *",    "59 23 * * *", "10-50/20 0-3 * * *", "0 */2 * * *",
        "45 1 * * sun", "30 * 29 * *", "30 * * * *",         "5 1,2,3 1-7 * 0",
        "0 3 * 3,10 *",
    };

    (void)state;
    for (size_t z = 0; z < sizeof(zones) / sizeof(zones[0]); z++) {
        struct zone *zone = zone_named(zones[z]);
        int64_t at = 1293840000; /* 2011: Apia's missing day */

        setenv("TZ", zones[z], 1);
        tzset();
        for (int changes = 0; changes < 6; changes++) {
            int64_t change = zone_next_change(zone, at);

            if (change == INT64_MAX)
                change = at + 5000000;
            for (size_t e = 0; e < sizeof(expressions) / sizeof(expressions[0]); e++) {
                char error[CRON_ERROR_SIZE];
                struct cron cron;

                assert_true(cron_parse(expressions[e], &cron, error));
                check_window(expressions[e], &cron, zone,
                             (change - 2 * DAY_SECONDS) / 60 * 60);
            }
            at = change;
        }
        zone_free(zone);
    }
    unsetenv("TZ");
}

static void the_last_due_time_may_be_long_ago(void **state)
{
    struct zone *zone = zone_named("Europe/Berlin");
    char error[CRON_ERROR_SIZE];
    char got[32];
    struct cron cron;

    (void)state;
    assert_true(cron_parse("0 0 29 2 *", &cron, error));
    show(cron_last(&cron, zone, utc("2104-02-28 00:00")), got);
    assert_string_equal(got, "2096-02-28 23:00");
    assert_true(cron_parse("* * * * *", &cron, error));
    assert_int_equal(cron_last(&cron, zone, 1700000059), 1700000040);
    zone_free(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_read),
        cmocka_unit_test(wrong_expressions_are_explained),
        cmocka_unit_test(due_times_are_right),
        cmocka_unit_test(due_times_are_the_definitions),
        cmocka_unit_test(the_last_due_time_may_be_long_ago),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
