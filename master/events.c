/*
 * events.c - see events.h.
 */
#include "master/events.h"
#include "common/buf.h"
#include "common/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A crash loop at its slowest pace needs hours to push everything else out. */
#define EVENTS_KEPT 256
#define EVENT_BYTES 400

#define LINE_WORD "event "

static const char *const kinds[] = {
    [EVENT_START] = "start", [EVENT_END] = "end",         [EVENT_DEATH] = "death",
    [EVENT_KILL] = "kill",   [EVENT_RECYCLE] = "recycle", [EVENT_RELOAD] = "reload",
    [EVENT_SCALE] = "scale", [EVENT_MASTER] = "master",
};

struct event {
    int64_t at_us; /* clock_unix_us() */
    enum event_kind kind;
    char text[EVENT_BYTES];
};

/* One process is one master. */
static struct {
    struct event events[EVENTS_KEPT];
    size_t count; /* ever noted */
} ring;

/* What is on one line here stays on one line there. */
static void put_on_one_line(char *text)
{
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    for (; *text; text++)
        if ((unsigned char)*text < ' ')
            *text = ' ';
}

void event_note(enum event_kind kind, const char *format, ...)
{
    struct event *event = &ring.events[ring.count++ % EVENTS_KEPT];
    va_list args;

    event->at_us = (int64_t)clock_unix_us();
    event->kind = kind;
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
    put_on_one_line(event->text);
}

/* Behind those that are not younger; when all places are taken the oldest one goes. */
static void insert(const struct event *event)
{
    size_t at = ring.count;

    if (at >= EVENTS_KEPT && ring.events[at % EVENTS_KEPT].at_us > event->at_us)
        return;
    ring.count++;
    size_t first = ring.count > EVENTS_KEPT ? ring.count - EVENTS_KEPT : 0;
    for (; at > first && ring.events[(at - 1) % EVENTS_KEPT].at_us > event->at_us; at--)
        ring.events[at % EVENTS_KEPT] = ring.events[(at - 1) % EVENTS_KEPT];
    ring.events[at % EVENTS_KEPT] = *event;
}

size_t events_count(void)
{
    return ring.count;
}

void events_write(size_t since, struct buf *out)
{
    size_t first = ring.count > EVENTS_KEPT ? ring.count - EVENTS_KEPT : 0;

    for (size_t i = since > first ? since : first; i < ring.count; i++) {
        const struct event *event = &ring.events[i % EVENTS_KEPT];

        buf_addf(out, LINE_WORD "%lld %s %s\n", (long long)event->at_us,
                 kinds[event->kind], event->text);
    }
}

/* One that only a later program knows is news of the master. */
static enum event_kind kind_of(const char *word, size_t length)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strlen(kinds[i]) == length && memcmp(kinds[i], word, length) == 0)
            return (enum event_kind)i;
    return EVENT_MASTER;
}

bool events_read(const char *line)
{
    struct event event = { 0 };
    char *word;

    if (strncmp(line, LINE_WORD, strlen(LINE_WORD)) != 0)
        return false;
    event.at_us = strtoll(line + strlen(LINE_WORD), &word, 10);
    word += strspn(word, " ");
    size_t length = strcspn(word, " ");
    event.kind = kind_of(word, length);
    snprintf(event.text, sizeof(event.text), "%s", word[length] ? word + length + 1 : "");
    put_on_one_line(event.text);
    insert(&event);
    return true;
}

void events_show(cJSON *list, struct buf *text)
{
    size_t first = ring.count > EVENTS_KEPT ? ring.count - EVENTS_KEPT : 0;

    for (size_t i = first; i < ring.count; i++) {
        const struct event *event = &ring.events[i % EVENTS_KEPT];
        cJSON *row = cJSON_CreateObject();
        char at[CLOCK_TEXT_SIZE], time[32];

        clock_iso_z(event->at_us, at);
        snprintf(time, sizeof(time), "%.23sZ", at); /* milliseconds are enough */
        cJSON_AddStringToObject(row, "time", time);
        cJSON_AddStringToObject(row, "kind", kinds[event->kind]);
        cJSON_AddStringToObject(row, "text", event->text);
        cJSON_AddItemToArray(list, row);
        buf_addf(text, "%s %-7s %s\n", time, kinds[event->kind], event->text);
    }
}

void events_clear(void)
{
    memset(&ring, 0, sizeof(ring));
}
