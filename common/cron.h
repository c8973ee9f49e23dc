/*
 * cron.h - cron expressions: five fields, or a word such as @daily; when they are due.
 *
 *     minute        0-59
 *     hour          0-23
 *     day of month  1-31
 *     month         1-12 or jan-dec
 *     day of week   0-7 or sun-sat (0 and 7 are Sunday)
 *
 * A field is `*`, a value, a range (mon-fri), any of them in steps (9-17/2, 5/15 from 5
 * on), or several joined by commas. When both days are given, either will do (1,15 * mon
 * means the 1st, the 15th and every Monday), as in every cron; a field that begins with
 * a star gives none.
 *
 * Summer time. An expression that names hours means what the wall clock shows: each such
 * time comes exactly once. If the clock skips it, the moment of the skip counts (30 2 * *
 * * on the night without a 2:30 is due at 3:00, and several skipped times are one); if
 * the clock shows it twice, only the first time counts. An expression without hours (*
 * there, or every hour by a step or list) means real time: it is due whenever the wall
 * clock shows it, twice where the clock goes back, and not for what is skipped, so that
 * an hourly job stays hourly.
 *
 * Times are seconds since 1970, UTC.
 */
#ifndef FORKMARK_COMMON_CRON_H
#define FORKMARK_COMMON_CRON_H

#include "common/zone.h"
#include <stdbool.h>
#include <stdint.h>

struct cron {
    uint64_t minutes;                /* bit 0 to 59 */
    uint32_t hours, days;            /* bit 0 to 23, 1 to 31 */
    uint16_t months;                 /* bit 1 to 12 */
    uint8_t weekdays;                /* bit 0 (Sunday) to 6 */
    bool is_any_day, is_any_weekday; /* they begin with a star */
};

#define CRON_ERROR_SIZE 200
#define CRON_NEVER      INT64_MIN

/* False, and in `error` what is wrong with which field; *ret is then untouched. One that
 * is due never (30 February) is wrong, too. */
bool cron_parse(const char *text, struct cron *ret, char error[CRON_ERROR_SIZE]);

/* The first due time after `after`; CRON_NEVER beyond the year 9999. */
int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after);
/* The last one at or before `at`; CRON_NEVER: none in nine years. */
int64_t cron_last(const struct cron *cron, const struct zone *zone, int64_t at);

#endif
