/*
 * zone.c - see zone.h; the file's layout: RFC 8536.
 *
 * A file lists the changes of the past, and a rule (a POSIX TZ text) for all that come
 * after. Everything is checked when the file is read: a file is not to be trusted.
 */
#include "common/zone.h"
#include "common/calendar.h"
#include "common/log.h"
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FOLDER "/usr/share/zoneinfo"
#define HEAD_SIZE      44
#define MOST_BYTES     ((size_t)1 << 20)
#define MOST_KINDS     256
#define NAME_SIZE      16
#define WIDEST_OFFSET  (26 * 3600) /* real ones stay below 16 h */

/* One kind of local time: CET, CEST ... */
struct kind {
    int32_t offset;
    char name[NAME_SIZE];
};

/* A day of the year in a rule, and the wall clock's time on it. */
struct rule_day {
    enum { DAY_OF_MONTH_WEEK, DAY_JULIAN, DAY_COUNTED } form;
    int month, week, weekday; /* M3.5.0: week 5 is the last one */
    int day;                  /* J60: never 29 February; 59: counted from 0 */
    int32_t seconds;          /* -167 to 167 h */
};

struct rule {
    bool is_there, has_summer;
    struct kind standard, summer;
    struct rule_day to_summer, to_standard;
};

struct zone {
    int64_t *changes; /* ascending */
    uint8_t *kind_of; /* one a change: what begins there */
    size_t change_count;
    struct kind kinds[MOST_KINDS];
    size_t kind_count;
    struct rule rule; /* after the last change */
};

/* ---- the rule: "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool take_number(const char **at, int most, int *ret)
{
    int number = 0;

    if (!isdigit((unsigned char)**at))
        return false;
    while (isdigit((unsigned char)**at)) {
        number = number * 10 + *(*at)++ - '0';
        if (number > most)
            return false;
    }
    *ret = number;
    return true;
}

/* "CET" or "<+0530>". */
static bool take_name(const char **at, char name[NAME_SIZE])
{
    bool is_quoted = take_char(at, '<');
    size_t length = 0;

    while (is_quoted ? (**at && **at != '>') : isalpha((unsigned char)**at)) {
        if (length == NAME_SIZE - 1)
            return false;
        name[length++] = *(*at)++;
    }
    name[length] = '\0';
    return length > 0 && (!is_quoted || take_char(at, '>'));
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static bool take_time(const char **at, int most_hours, int32_t *ret)
{
    int parts[3] = { 0 };
    int32_t sign = **at == '-' ? -1 : 1;

    if (**at == '-' || **at == '+')
        ++*at;
    if (!take_number(at, most_hours, &parts[0]))
        return false;
    for (int i = 1; i < 3 && take_char(at, ':'); i++) {
        if (!take_number(at, 59, &parts[i]))
            return false;
    }
    *ret = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
    return true;
}

static bool take_day(const char **at, struct rule_day *ret)
{
    *ret = (struct rule_day){ .seconds = 2 * 3600 };
    if (take_char(at, 'M')) {
        ret->form = DAY_OF_MONTH_WEEK;
        if (!take_number(at, 12, &ret->month) || !take_char(at, '.') ||
            !take_number(at, 5, &ret->week) || !take_char(at, '.') ||
            !take_number(at, 6, &ret->weekday) || ret->month < 1 || ret->week < 1)
            return false;
    } else if (take_char(at, 'J')) {
        ret->form = DAY_JULIAN;
        if (!take_number(at, 365, &ret->day) || ret->day < 1)
            return false;
    } else {
        ret->form = DAY_COUNTED;
        if (!take_number(at, 365, &ret->day))
            return false;
    }
    return !take_char(at, '/') || take_time(at, 167, &ret->seconds);
}

static bool read_rule(const char *text, struct rule *ret)
{
    struct rule rule = { .is_there = true };
    int32_t west;

    if (!take_name(&text, rule.standard.name) || !take_time(&text, 24, &west))
        return false;
    rule.standard.offset = -west;
    if (*text) {
        rule.has_summer = true;
        if (!take_name(&text, rule.summer.name))
            return false;
        rule.summer.offset = rule.standard.offset + 3600;
        if (*text && *text != ',') {
            if (!take_time(&text, 24, &west))
                return false;
            rule.summer.offset = -west;
        }
        if (!take_char(&text, ',') || !take_day(&text, &rule.to_summer) ||
            !take_char(&text, ',') || !take_day(&text, &rule.to_standard))
            return false;
    }
    if (*text)
        return false;
    *ret = rule;
    return true;
}

/* The wall clock's seconds since 1970 at which that day's change comes. */
static int64_t day_in_year(const struct rule_day *day, int64_t year)
{
    int64_t days = calendar_days(year, 1, 1);

    switch (day->form) {
    case DAY_JULIAN:
        days += day->day - 1 + (calendar_is_leap(year) && day->day >= 60);
        break;
    case DAY_COUNTED:
        days += day->day;
        break;
    case DAY_OF_MONTH_WEEK: {
        int64_t first = calendar_days(year, day->month, 1);
        int64_t after = first + calendar_month_length(year, day->month);

        days = first + (day->weekday - calendar_weekday(first) + 7) % 7 +
               (int64_t)7 * (day->week - 1);
        while (days >= after)
            days -= 7;
        break;
    }
    }
    return days * DAY_SECONDS + day->seconds;
}

/* The rule's changes of the years around `at`, ascending, and what begins at each. */
struct rule_change {
    int64_t at;
    const struct kind *kind;
};
#define RULE_YEARS 4

static size_t rule_changes(const struct rule *rule, int64_t at,
                           struct rule_change ret[2 * RULE_YEARS])
{
    int64_t first = calendar_date(calendar_day_of(at)).year - 1;
    size_t count = 0;

    for (int64_t year = first; year < first + RULE_YEARS; year++) {
        ret[count++] = (struct rule_change){
            day_in_year(&rule->to_summer, year) - rule->standard.offset, &rule->summer
        };
        ret[count++] = (struct rule_change){
            day_in_year(&rule->to_standard, year) - rule->summer.offset, &rule->standard
        };
    }
    for (size_t i = 1; i < count; i++) {
        struct rule_change change = ret[i];
        size_t k = i;

        for (; k > 0 && ret[k - 1].at > change.at; k--)
            ret[k] = ret[k - 1];
        ret[k] = change;
    }
    return count;
}

static const struct kind *rule_kind(const struct rule *rule, int64_t at)
{
    struct rule_change changes[2 * RULE_YEARS];
    const struct kind *kind = &rule->standard;

    if (!rule->has_summer)
        return kind;
    size_t count = rule_changes(rule, at, changes);
    for (size_t i = 0; i < count && changes[i].at <= at; i++)
        kind = changes[i].kind;
    return kind;
}

static int64_t rule_next_change(const struct rule *rule, int64_t at)
{
    struct rule_change changes[2 * RULE_YEARS];

    if (!rule->has_summer)
        return INT64_MAX;
    int32_t offset = rule_kind(rule, at)->offset;
    size_t count = rule_changes(rule, at, changes);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].at > at && changes[i].kind->offset != offset)
            return changes[i].at;
    }
    return INT64_MAX; /* summer and winter are the same */
}

/* ---- the file ---- */

struct head {
    int version;
    uint32_t isut, isstd, leap, changes, kinds, chars;
};

static uint32_t read_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 |
           data[3];
}

static int64_t read_time(const uint8_t *data, size_t size)
{
    if (size == 4)
        return (int32_t)read_u32(data);
    return (int64_t)((uint64_t)read_u32(data) << 32 | read_u32(data + 4));
}

static bool read_head(const uint8_t *data, size_t length, struct head *ret)
{
    if (length < HEAD_SIZE || memcmp(data, "TZif", 4) != 0)
        return false;
    *ret = (struct head){ .version = data[4] ? data[4] - '0' : 1,
                          .isut = read_u32(data + 20),
                          .isstd = read_u32(data + 24),
                          .leap = read_u32(data + 28),
                          .changes = read_u32(data + 32),
                          .kinds = read_u32(data + 36),
                          .chars = read_u32(data + 40) };
    return ret->kinds > 0 && ret->kinds <= MOST_KINDS && ret->changes <= MOST_BYTES &&
           ret->leap <= MOST_BYTES && ret->chars <= MOST_BYTES &&
           ret->isut <= MOST_KINDS && ret->isstd <= MOST_KINDS;
}

/* Of the block behind a head whose times have `size` bytes. */
static size_t block_length(const struct head *head, size_t size)
{
    return head->changes * (size + 1) + head->kinds * (size_t)6 + head->chars +
           head->leap * (size + 4) + head->isstd + head->isut;
}

static bool read_kinds(struct zone *zone, const struct head *head, const uint8_t *data)
{
    const char *names = (const char *)data + head->kinds * (size_t)6;

    zone->kind_count = head->kinds;
    for (size_t i = 0; i < head->kinds; i++, data += 6) {
        struct kind *kind = &zone->kinds[i];
        size_t at = data[5];

        kind->offset = (int32_t)read_u32(data);
        if (at >= head->chars || kind->offset < -WIDEST_OFFSET ||
            kind->offset > WIDEST_OFFSET)
            return false;
        snprintf(kind->name, sizeof(kind->name), "%.*s",
                 (int)strnlen(names + at, head->chars - at), names + at);
    }
    return true;
}

static bool read_changes(struct zone *zone, const struct head *head, const uint8_t *data,
                         size_t size)
{
    const uint8_t *kinds = data + head->changes * size;

    zone->change_count = head->changes;
    if (head->changes == 0)
        return true;
    zone->changes = calloc(head->changes, sizeof(*zone->changes));
    zone->kind_of = calloc(head->changes, 1);
    if (!zone->changes || !zone->kind_of)
        fatal("out of memory");
    for (size_t i = 0; i < head->changes; i++) {
        zone->changes[i] = read_time(data + i * size, size);
        zone->kind_of[i] = kinds[i];
        if (kinds[i] >= head->kinds ||
            (i > 0 && zone->changes[i] <= zone->changes[i - 1]))
            return false;
    }
    return true;
}

static bool read_block(struct zone *zone, const struct head *head, const uint8_t *data,
                       size_t size)
{
    return read_changes(zone, head, data, size) &&
           read_kinds(zone, head, data + head->changes * (size + 1));
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n"; empty: no rule is known. */
static bool read_footer(struct zone *zone, const uint8_t *data, size_t length)
{
    char text[128];
    const uint8_t *end;

    if (length < 2 || data[0] != '\n' || !(end = memchr(data + 1, '\n', length - 1)))
        return false;
    size_t size = (size_t)(end - data - 1);
    if (size >= sizeof(text))
        return false;
    memcpy(text, data + 1, size);
    text[size] = '\0';
    return !*text || read_rule(text, &zone->rule);
}

static bool read_file(struct zone *zone, const uint8_t *data, size_t length)
{
    struct head head;

    if (!read_head(data, length, &head))
        return false;
    size_t first = block_length(&head, 4);
    if (length - HEAD_SIZE < first)
        return false;
    if (head.version < 2)
        return read_block(zone, &head, data + HEAD_SIZE, 4);
    data += HEAD_SIZE + first;
    length -= HEAD_SIZE + first;
    if (!read_head(data, length, &head))
        return false;
    size_t second = block_length(&head, 8);
    return length - HEAD_SIZE >= second && read_block(zone, &head, data + HEAD_SIZE, 8) &&
           read_footer(zone, data + HEAD_SIZE + second, length - HEAD_SIZE - second);
}

static struct zone *new_zone(void)
{
    struct zone *zone = calloc(1, sizeof(*zone));

    if (!zone)
        fatal("out of memory");
    return zone;
}

struct zone *zone_read(const void *data, size_t length)
{
    struct zone *zone = new_zone();

    if (read_file(zone, data, length))
        return zone;
    zone_free(zone);
    return NULL;
}

void zone_free(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->changes);
    free(zone->kind_of);
    free(zone);
}

/* ---- by name ---- */

static bool is_name(const char *name)
{
    if (!*name || *name == '/' || strstr(name, "..") || strlen(name) > 64)
        return false;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("/_+-", *c))
            return false;
    }
    return true;
}

/* Bytes read, or -1. */
static ssize_t read_whole(const char *path, char *data, size_t room)
{
    struct stat status;
    size_t length = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        while (length < room && (got = read(fd, data + length, room - length)) > 0)
            length += (size_t)got;
    }
    close(fd);
    return got < 0 ? -1 : (ssize_t)length;
}

struct zone *zone_open(const char *name, const char **ret_error)
{
    const char *folder = getenv("TZDIR");
    char path[512];

    if (strcmp(name, "UTC") == 0) {
        struct zone *zone = new_zone();

        zone->kind_count = 1;
        snprintf(zone->kinds[0].name, NAME_SIZE, "UTC");
        return zone;
    }
    if (!is_name(name)) {
        *ret_error = "is no time zone's name, such as \"Europe/Berlin\" or \"UTC\"";
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/%s", folder && *folder ? folder : DEFAULT_FOLDER,
             name);
    char *data = malloc(MOST_BYTES);
    if (!data)
        fatal("out of memory");
    ssize_t length = read_whole(path, data, MOST_BYTES);
    struct zone *zone = length > 0 ? zone_read(data, (size_t)length) : NULL;
    free(data);
    if (!zone)
        *ret_error = length < 0 ? "is not in the system's tz database (is the package "
                                  "tzdata installed?)"
                                : "cannot be read: its file is no tz file";
    return zone;
}

/* ---- what time it is there ---- */

/* How many changes are at or before `at`. */
static size_t changes_until(const struct zone *zone, int64_t at)
{
    size_t low = 0, high = zone->change_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (zone->changes[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct kind *kind_at(const struct zone *zone, int64_t at)
{
    size_t count = changes_until(zone, at);

    if (count == zone->change_count && zone->rule.is_there)
        return rule_kind(&zone->rule, at);
    return &zone->kinds[count > 0 ? zone->kind_of[count - 1] : 0];
}

int32_t zone_offset(const struct zone *zone, int64_t at)
{
    return kind_at(zone, at)->offset;
}

const char *zone_abbreviation(const struct zone *zone, int64_t at)
{
    return kind_at(zone, at)->name;
}

int64_t zone_next_change(const struct zone *zone, int64_t at)
{
    int32_t offset = zone_offset(zone, at);

    for (size_t i = changes_until(zone, at); i < zone->change_count; i++) {
        if (zone_offset(zone, zone->changes[i]) != offset)
            return zone->changes[i];
    }
    if (!zone->rule.is_there)
        return INT64_MAX;
    if (zone->change_count > 0 && zone->changes[zone->change_count - 1] > at)
        at = zone->changes[zone->change_count - 1];
    return rule_next_change(&zone->rule, at);
}
