/*
 * published.c - see published.h.
 */
#include "jobs/extract/published.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct moment {
    int year, month, day, hour, minute, second;
    char sign;
    int zone_hours, zone_minutes;
};

/* `digits` decimal digits at *at, within bounds; moves behind them. */
static bool read_number(const char **at, int digits, int least, int most, int *ret)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    if (value < least || value > most)
        return false;
    *at += digits;
    *ret = value;
    return true;
}

static bool skip(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static int days_in(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap);
}

static bool read_date(const char **at, struct moment *m)
{
    return read_number(at, 4, 1000, 2999, &m->year) && skip(at, '-') &&
           read_number(at, 2, 1, 12, &m->month) && skip(at, '-') &&
           read_number(at, 2, 1, days_in(m->year, m->month), &m->day);
}

/* Hours and minutes, then perhaps seconds and a fraction. */
static bool read_time(const char **at, struct moment *m)
{
    if (!read_number(at, 2, 0, 23, &m->hour) || !skip(at, ':') ||
        !read_number(at, 2, 0, 59, &m->minute))
        return false;
    if (!skip(at, ':'))
        return true;
    if (!read_number(at, 2, 0, 60, &m->second))
        return false;
    if (m->second == 60) /* a leap second has no place in PostgreSQL's output */
        m->second = 59;
    if (skip(at, '.') || skip(at, ','))
        *at += strspn(*at, "0123456789");
    return true;
}

/* Nothing, Z, +01:00, +0100 or +01. */
static bool read_zone(const char **at, struct moment *m)
{
    skip(at, ' ');
    if (**at == '\0' || skip(at, 'Z') || skip(at, 'z'))
        return true;
    if (**at != '+' && **at != '-')
        return false;
    m->sign = *(*at)++;
    if (!read_number(at, 2, 0, 14, &m->zone_hours))
        return false;
    skip(at, ':');
    return **at == '\0' || read_number(at, 2, 0, 59, &m->zone_minutes);
}

bool published_read(const char *text, char ret[PUBLISHED_SIZE])
{
    struct moment m = { .sign = '+' };

    text += strspn(text, " \t\r\n");
    if (!read_date(&text, &m))
        return false;
    if (*text == 'T' || *text == 't' || *text == ' ') {
        text++;
        if (!read_time(&text, &m) || !read_zone(&text, &m))
            return false;
    }
    if (text[strspn(text, " \t\r\n")] != '\0')
        return false;
    snprintf(ret, PUBLISHED_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d",
             m.year % 10000, m.month % 100, m.day % 100, m.hour % 100, m.minute % 100,
             m.second % 100, m.sign, m.zone_hours % 100, m.zone_minutes % 100);
    return true;
}
