/*
 * cron.c - see cron.h: expressions to sets of bits, and the search for the next time.
 *
 * The search runs on the wall clock (seconds since 1970 as if the zone were UTC), day by
 * day; what a wall clock's time is in real time is asked of the zone afterwards.
 */
#include "common/cron.h"
#include "common/calendar.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MINUTE        60
#define LAST_YEAR     9999
#define EVERY_HOUR    ((1U << 24) - 1)
#define WIDEST_OFFSET ((int64_t)26 * 3600)
#define LOOK_BACK     ((int64_t)9 * 366 * DAY_SECONDS) /* 29 February: 8 years */
#define MOST_TEXT     256

/* ---- the expression ---- */

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
                                           "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed",
                                             "thu", "fri", "sat" };

enum { MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS, FIELD_COUNT };

static const struct field {
    const char *name;
    int min, max;
    const char *const *names; /* the first is `min`'s */
    int name_count;
} fields[FIELD_COUNT] = {
    [MINUTES] = { .name = "minute", .min = 0, .max = 59 },
    [HOURS] = { .name = "hour", .min = 0, .max = 23 },
    [DAYS] = { .name = "day of month", .min = 1, .max = 31 },
    [MONTHS] = { "month", 1, 12, month_names, 12 },
    [WEEKDAYS] = { "day of week", 0, 7, weekday_names, 7 },
};

static const struct {
    const char *word, *expression;
} words[] = {
    { "@annually", "0 0 1 1 *" }, { "@daily", "0 0 * * *" },   { "@hourly", "0 * * * *" },
    { "@midnight", "0 0 * * *" }, { "@monthly", "0 0 1 * *" }, { "@weekly", "0 0 * * 0" },
    { "@yearly", "0 0 1 1 *" },
};

/* One field while it is read: `text` is all of it, `at` where we are. */
struct reading {
    const struct field *field;
    const char *text, *at;
    uint64_t bits;
    char *error;
};

static bool wrong(char *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool wrong(char *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, CRON_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

/* "the hour field `25`: 25 is not between 0 and 23" */
static bool field_wrong(const struct reading *r, const char *what, const char *item,
                        size_t length)
{
    return wrong(r->error, "the %s field `%.40s`: %.*s%s%s", r->field->name, r->text,
                 (int)(length < 20 ? length : 20), item, length > 0 ? " " : "", what);
}

static size_t word_length(const char *text)
{
    size_t length = 0;

    while (isalnum((unsigned char)text[length]))
        length++;
    return length;
}

static bool read_name(const struct reading *r, size_t length, int *ret)
{
    for (int i = 0; i < r->field->name_count; i++) {
        if (strlen(r->field->names[i]) == length &&
            strncasecmp(r->at, r->field->names[i], length) == 0) {
            *ret = r->field->min + i;
            return true;
        }
    }
    return false;
}

static bool read_value(struct reading *r, int *ret)
{
    size_t length = word_length(r->at);
    char range[64];

    if (length == 0)
        return field_wrong(r, *r->at ? "is not understood" : "a value is missing", r->at,
                           *r->at != '\0');
    if (strspn(r->at, "0123456789") < length) {
        if (!read_name(r, length, ret))
            return field_wrong(
                r, r->field->names ? "is neither a number nor a name" : "is no number",
                r->at, length);
        r->at += length;
        return true;
    }
    int value = 0;
    for (size_t i = 0; i < length && value < 1000; i++)
        value = value * 10 + (r->at[i] - '0');
    if (value < r->field->min || value > r->field->max) {
        snprintf(range, sizeof(range), "is not between %d and %d", r->field->min,
                 r->field->max);
        return field_wrong(r, range, r->at, length);
    }
    r->at += length;
    *ret = value;
    return true;
}

static bool read_step(struct reading *r, int *ret)
{
    size_t length = strspn(r->at, "0123456789");
    int step = 0;

    for (size_t i = 0; i < length && step < 1000; i++)
        step = step * 10 + (r->at[i] - '0');
    if (length == 0 || step < 1 || step > r->field->max)
        return field_wrong(r,
                           "is no step: a number from 1 on, not above the field's range",
                           r->at, length > 0 ? length : word_length(r->at));
    r->at += length;
    *ret = step;
    return true;
}

/* "fri-sun": Sunday is 7 at a range's end. */
static bool read_range_end(struct reading *r, int first, int *ret)
{
    if (!read_value(r, ret))
        return false;
    if (r->field == &fields[WEEKDAYS] && *ret == 0 && first > 0)
        *ret = 7;
    if (*ret < first)
        return field_wrong(r, "a range ends before it begins; write it as two", "", 0);
    return true;
}

static bool read_item(struct reading *r)
{
    int first = r->field->min, last = r->field->max, step = 1;
    bool is_one = false;

    if (*r->at == '*') {
        r->at++;
        if (r->field == &fields[WEEKDAYS])
            last = 6; /* Sunday once, also in steps */
    } else {
        if (!read_value(r, &first))
            return false;
        is_one = *r->at != '-' && *r->at != '/';
        if (*r->at == '-') {
            r->at++;
            if (!read_range_end(r, first, &last))
                return false;
        } else if (r->field == &fields[WEEKDAYS]) {
            last = 6;
        }
    }
    if (is_one)
        last = first;
    if (*r->at == '/') {
        r->at++;
        if (!read_step(r, &step))
            return false;
    }
    for (int value = first; value <= last; value += step)
        r->bits |= (uint64_t)1 << value;
    return true;
}

static bool read_field(struct reading *r)
{
    r->at = r->text;
    for (;;) {
        if (!read_item(r))
            return false;
        if (!*r->at)
            return true;
        if (*r->at != ',')
            return field_wrong(r, "is not understood", r->at, 1);
        r->at++;
    }
}

/* Blanks become ends of texts. How many fields there are. */
static int split(char *text, char *ret[FIELD_COUNT])
{
    int count = 0;

    for (char *field = strtok_r(text, " \t", &text); field;
         field = strtok_r(NULL, " \t", &text)) {
        if (count < FIELD_COUNT)
            ret[count] = field;
        count++;
    }
    return count;
}

static const char *expression_of(const char *text, char error[CRON_ERROR_SIZE])
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0)
            return words[i].expression;
    }
    wrong(error, "`%.40s` is not known: @hourly, @daily, @weekly, @monthly or @yearly",
          text);
    return NULL;
}

static int64_t next_wall(const struct cron *cron, int64_t wall);

bool cron_parse(const char *text, struct cron *ret, char error[CRON_ERROR_SIZE])
{
    char copy[MOST_TEXT];
    char *parts[FIELD_COUNT];
    uint64_t bits[FIELD_COUNT];

    text += strspn(text, " \t");
    if (*text == '@' && !(text = expression_of(text, error)))
        return false;
    if (strlen(text) >= sizeof(copy))
        return wrong(error, "it is longer than %d characters", MOST_TEXT - 1);
    snprintf(copy, sizeof(copy), "%s", text);
    int count = split(copy, parts);
    if (count != FIELD_COUNT)
        return wrong(error,
                     "it has %d fields instead of 5 (minute, hour, day of month, month, "
                     "day of week)%s",
                     count, count == 6 ? "; seconds are not supported" : "");
    for (int i = 0; i < FIELD_COUNT; i++) {
        struct reading r = { .field = &fields[i], .text = parts[i], .error = error };

        if (!read_field(&r))
            return false;
        bits[i] = r.bits;
    }
    struct cron cron = {
        .minutes = bits[MINUTES],
        .hours = (uint32_t)bits[HOURS],
        .days = (uint32_t)bits[DAYS],
        .months = (uint16_t)bits[MONTHS],
        .weekdays = (uint8_t)((bits[WEEKDAYS] | bits[WEEKDAYS] >> 7) & 0x7f),
        .is_any_day = *parts[DAYS] == '*',
        .is_any_weekday = *parts[WEEKDAYS] == '*',
    };
    if (next_wall(&cron, 0) == CRON_NEVER)
        return wrong(error, "no month of it has such a day: it would never be due");
    *ret = cron;
    return true;
}

/* ---- on the wall clock ---- */

static bool is_day(const struct cron *cron, const struct date *date, int64_t days)
{
    bool by_day = cron->days >> date->day & 1;
    bool by_weekday = cron->weekdays >> calendar_weekday(days) & 1;

    if (cron->is_any_day || cron->is_any_weekday)
        return by_day && by_weekday;
    return by_day || by_weekday;
}

/* The first minute of a day, not before `from`; -1: none. */
static int minute_of_day(const struct cron *cron, int from)
{
    for (int hour = from / 60, minute = from % 60; hour < 24; hour++, minute = 0) {
        uint64_t left = cron->minutes >> minute;

        if (cron->hours >> hour & 1 && left)
            return hour * 60 + minute + __builtin_ctzll(left);
    }
    return -1;
}

/* The first time at or after `wall` (whole minutes) that the expression names. */
static int64_t next_wall(const struct cron *cron, int64_t wall)
{
    int64_t days = calendar_day_of(wall);
    int from = (int)((wall - days * DAY_SECONDS) / MINUTE);

    for (struct date date = calendar_date(days); date.year <= LAST_YEAR;
         date = calendar_date(days), from = 0) {
        if (!(cron->months >> date.month & 1)) {
            days += calendar_month_length(date.year, date.month) - date.day + 1;
            continue;
        }
        int minute = is_day(cron, &date, days) ? minute_of_day(cron, from) : -1;
        if (minute >= 0)
            return days * DAY_SECONDS + (int64_t)minute * MINUTE;
        days++;
    }
    return CRON_NEVER;
}

static int64_t next_minute(int64_t wall)
{
    int64_t days = calendar_day_of(wall);
    int64_t of_day = wall - days * DAY_SECONDS;

    return days * DAY_SECONDS + (of_day + MINUTE - 1) / MINUTE * MINUTE;
}

/* ---- in real time ---- */

/* When the wall clock first shows it; when it skips it, the moment of the skip. */
static int64_t first_shown(const struct zone *zone, int64_t wall)
{
    int64_t begin = wall - WIDEST_OFFSET;

    for (;;) {
        int64_t end = zone_next_change(zone, begin);
        int64_t at = wall - zone_offset(zone, begin);

        if (at < begin)
            return begin;
        if (at < end)
            return at;
        begin = end;
    }
}

/* Hours are named: each time of the wall clock once. */
static int64_t next_named(const struct cron *cron, const struct zone *zone, int64_t after)
{
    int64_t wall = next_minute(after + zone_offset(zone, after) + 1);

    /* Where the clock was set back, it has shown the next ones before. */
    while ((wall = next_wall(cron, wall)) != CRON_NEVER) {
        int64_t at = first_shown(zone, wall);

        if (at > after)
            return at;
        wall += MINUTE;
    }
    return CRON_NEVER;
}

/* Every hour: whenever the wall clock shows it. */
static int64_t next_shown(const struct cron *cron, const struct zone *zone, int64_t after)
{
    int64_t begin = after + 1;

    for (;;) {
        int64_t end = zone_next_change(zone, begin);
        int32_t offset = zone_offset(zone, begin);
        int64_t wall = next_wall(cron, next_minute(begin + offset));

        if (wall == CRON_NEVER)
            return CRON_NEVER;
        if (wall - offset < end)
            return wall - offset;
        begin = end;
    }
}

int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after)
{
    return cron->hours == EVERY_HOUR ? next_shown(cron, zone, after)
                                     : next_named(cron, zone, after);
}

int64_t cron_last(const struct cron *cron, const struct zone *zone, int64_t at)
{
    for (int64_t back = MINUTE; back < 2 * LOOK_BACK; back *= 2) {
        int64_t last = CRON_NEVER;
        int64_t next = cron_next(cron, zone, at - back);

        while (next != CRON_NEVER && next <= at) {
            last = next;
            next = cron_next(cron, zone, last);
        }
        if (last != CRON_NEVER)
            return last;
    }
    return CRON_NEVER;
}
