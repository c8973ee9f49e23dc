/* Dates as pages write them. */
#include "jobs/extract/published.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text, *result; /* NULL: refused */
} dates[] = {
    { "2026-11-23", "2026-11-23T00:00:00+00:00" },
    { " 2026-11-23T14:36:50Z\n", "2026-11-23T14:36:50+00:00" },
    { "2026-11-23T14:36:50.761+01:00", "2026-11-23T14:36:50+01:00" },
    { "2026-11-23 14:36", "2026-11-23T14:36:00+00:00" },
    { "2026-11-23 14:36:50 -0530", "2026-11-23T14:36:50-05:30" },
    { "2026-11-23T14:36:50+05", "2026-11-23T14:36:50+05:00" },
    { "2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00" },
    { "2024-02-29", "2024-02-29T00:00:00+00:00" },
    { "2025-02-29", NULL },
    { "2026-13-01", NULL },
    { "2026-00-10", NULL },
    { "0000-01-01", NULL },
    { "2026-11-23T24:00:00", NULL },
    { "2026-11-23T14:36:50+25:00", NULL },
    { "2026-11-23T14", NULL },
    { "2026-11-23 and more", NULL },
    { "23 November 2026", NULL },
    { "20261123", NULL },
    { "", NULL },
    { "2026-1", NULL },
};

static void reads_dates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        char text[PUBLISHED_SIZE] = "untouched";

        bool is_date = published_read(dates[i].text, text);
        if (is_date != (dates[i].result != NULL) ||
            strcmp(text, is_date ? dates[i].result : "untouched") != 0)
            fail_msg("`%s`: %s", dates[i].text, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_dates) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
