/*
 * calendar.h - dates of the Gregorian calendar as days since 1970, and back.
 *
 * By arithmetic alone: no zone, no libc state, any year.
 */
#ifndef FORKMARK_COMMON_CALENDAR_H
#define FORKMARK_COMMON_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#define DAY_SECONDS 86400

struct date {
    int64_t year;
    int month, day; /* from 1 */
};

int64_t calendar_days(int64_t year, int month, int day);
struct date calendar_date(int64_t days);
int calendar_weekday(int64_t days); /* 0 is Sunday */
int calendar_month_length(int64_t year, int month);
bool calendar_is_leap(int64_t year);
/* The day a time falls on, also before 1970. */
int64_t calendar_day_of(int64_t seconds);

#endif
