/*
 * events.c - see events.h.
 */
#include "master/events.h"
#include "common/buf.h"
#include "common/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A crash loop at its slowest pace needs hours to push everything else out. */
#define EVENTS_KEPT 256
#define EVENT_BYTES 400

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
