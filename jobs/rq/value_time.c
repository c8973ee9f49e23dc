/*
 * value_time.c - dates, times, time spans and time zones; decimals, which like them
 * are texts with a grammar. What Python would not take is refused.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/value.h"
#include <stdlib.h>
#include <string.h>

#define DAY_S             86400
#define DELTA_MAX_DAYS    999999999
#define SECOND_US         1000000
#define ZONE_NAME_MAX     256
#define DECIMAL_MAX       4400 /* as many digits as a text integer, and an exponent */
#define DECIMAL_EXPONENTS 19

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool is_date(const struct value_moment *moment)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (moment->year < 1 || moment->year > 9999 || moment->month < 1 ||
        moment->month > 12)
        return false;
    unsigned last =
        days[moment->month - 1] + (moment->month == 2 && is_leap(moment->year) ? 1U : 0U);
    return moment->day >= 1 && moment->day <= last;
}

static bool is_time(const struct value_moment *moment)
{
    return moment->hour < 24 && moment->minute < 60 && moment->second < 60 &&
           moment->microsecond < SECOND_US &&
           (!moment->zone || moment->zone->kind == VALUE_TIMEZONE);
}

struct value *value_moment(struct arena *arena, enum value_kind kind,
                           const struct value_moment *moment)
{
    if ((kind != VALUE_TIME && !is_date(moment)) ||
        (kind != VALUE_DATE && !is_time(moment)))
        return NULL;
    struct value *value = arena_alloc(arena, sizeof(*value));
    value->kind = kind;
    value->moment = arena_memdup(arena, moment, sizeof(*moment));
    return value;
}

struct value *value_timedelta(struct arena *arena, const struct value_delta *delta)
{
    if (delta->days < -DELTA_MAX_DAYS || delta->days > DELTA_MAX_DAYS ||
        delta->seconds < 0 || delta->seconds >= DAY_S || delta->microseconds < 0 ||
        delta->microseconds >= SECOND_US)
        return NULL;
    struct value *value = arena_alloc(arena, sizeof(*value));
    value->kind = VALUE_TIMEDELTA;
    value->delta = *delta;
    return value;
}

struct value *value_timezone(struct arena *arena, const struct value *offset,
                             const struct value *name)
{
    if (offset->kind != VALUE_TIMEDELTA)
        return NULL;
    const struct value_delta *delta = &offset->delta;
    bool is_within_a_day =
        delta->days == 0 ||
        (delta->days == -1 && (delta->seconds > 0 || delta->microseconds > 0));
    if (!is_within_a_day ||
        (name && (name->kind != VALUE_TEXT || name->bytes.length > ZONE_NAME_MAX)))
        return NULL;
    struct value *value = arena_alloc(arena, sizeof(*value));
    value->kind = VALUE_TIMEZONE;
    value->zone.offset = offset;
    value->zone.name = name;
    return value;
}

/* +05:30, with seconds and microseconds only where they are not zero. */
static void write_offset(struct buf *out, const struct value_delta *delta)
{
    int64_t offset = (int64_t)delta->days * DAY_S * SECOND_US +
                     (int64_t)delta->seconds * SECOND_US + delta->microseconds;
    int64_t rest = llabs(offset);
    int64_t second = rest / SECOND_US;

    rest %= SECOND_US;
    buf_addf(out, "%c%02d:%02d", offset < 0 ? '-' : '+', (int)(second / 3600),
             (int)(second / 60 % 60));
    if (second % 60 != 0 || rest != 0)
        buf_addf(out, ":%02d", (int)(second % 60));
    if (rest != 0)
        buf_addf(out, ".%06d", (int)rest);
}

void value_write_iso(const struct value *value, struct buf *out)
{
    const struct value_moment *moment = value->moment;

    if (value->kind != VALUE_TIME)
        buf_addf(out, "%04u-%02u-%02u", (unsigned)moment->year, (unsigned)moment->month,
                 (unsigned)moment->day);
    if (value->kind == VALUE_DATETIME)
        buf_addc(out, 'T');
    if (value->kind == VALUE_DATE)
        return;
    buf_addf(out, "%02u:%02u:%02u", (unsigned)moment->hour, (unsigned)moment->minute,
             (unsigned)moment->second);
    if (moment->microsecond != 0)
        buf_addf(out, ".%06u", (unsigned)moment->microsecond);
    if (moment->zone)
        write_offset(out, &moment->zone->zone.offset->delta);
}

/* How many digits `text` begins with; it goes on behind them. */
static size_t digits(const char **text)
{
    size_t count = strspn(*text, "0123456789");

    *text += count;
    return count;
}

/* The grammar of Decimal's own texts: a number, Infinity, NaN123 or sNaN123. */
static bool is_decimal(const char *text)
{
    text += *text == '-';
    if (strcmp(text, "Infinity") == 0)
        return true;
    if (strncmp(text, "NaN", 3) == 0 || strncmp(text, "sNaN", 4) == 0) {
        text += *text == 's' ? 4 : 3;
        digits(&text);
        return *text == '\0';
    }
    size_t count = digits(&text);
    if (*text == '.') {
        text++;
        count += digits(&text);
    }
    if (count == 0)
        return false;
    if (*text == 'E' || *text == 'e') {
        text += text[1] == '+' || text[1] == '-' ? 2 : 1;
        count = digits(&text);
        if (count == 0 || count > DECIMAL_EXPONENTS)
            return false;
    }
    return *text == '\0';
}

struct value *value_decimal(struct arena *arena, const char *text, size_t length)
{
    /* A NUL inside ends the grammar early. */
    if (length > DECIMAL_MAX || strlen(text) != length || !is_decimal(text))
        return NULL;
    return value_view(arena, VALUE_DECIMAL, text, length);
}
